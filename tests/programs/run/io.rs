//! Calls that wait in the kernel: for bytes, for a connection, for the end of a child.

use super::*;

#[cfg(not(all(unix, feature = "net", feature = "process", not(taskgroup_models))))]
impl Frame {
    /// Without such calls, a sleep stands in for them.
    pub(super) fn wait_for_ever_in_kernel(&self, _io: Io) -> Result {
        self.forever("sleep", || taskgroup::sleep(HOUR))
    }

    pub(super) fn exchange(&self, _io: Io) -> Result {
        self.point("sleep(0)", || taskgroup::sleep(Duration::ZERO))
    }
}

#[cfg(all(unix, feature = "net", feature = "process", not(taskgroup_models)))]
mod kernel {
    use std::io::{Read as _, Write as _};

    use super::*;
    use taskgroup::net::{TcpListener, TcpStream, UdpSocket, UnixStream};
    use taskgroup::process::Command;

    /// More than a pipe holds.
    const TOO_MUCH: usize = 1 << 20;

    impl Frame {
        /// A call that only a cancel ends.
        pub(in super::super) fn wait_for_ever_in_kernel(&self, io: Io) -> Result {
            match io {
                Io::Pipe => {
                    let (mut reader, _writer) = taskgroup::io::pipe()?;
                    self.forever_by("read of a pipe", || Ok(reader.read_exact(&mut [0])?))
                }
                Io::FullPipe => {
                    let (_reader, mut writer) = taskgroup::io::pipe()?;
                    let bytes = vec![0; TOO_MUCH];
                    self.forever_by("write of a pipe", || Ok(writer.write_all(&bytes)?))
                }
                Io::Stream => {
                    let (mut near, _far) = UnixStream::pair()?;
                    self.forever_by("read of a stream", || Ok(near.read_exact(&mut [0])?))
                }
                Io::Datagram => {
                    let socket = UdpSocket::bind("127.0.0.1:0")?;
                    self.forever_by("recv", || Ok(socket.recv(&mut [0]).map(drop)?))
                }
                Io::Accept => {
                    let listener = TcpListener::bind("127.0.0.1:0")?;
                    self.forever_by("accept", || Ok(listener.accept().map(drop)?))
                }
                Io::Child => self.forever_by("wait of a child", || {
                    let child = Command::new("sleep").arg("3600").spawn()?;
                    Ok(child.wait().map(drop)?)
                }),
            }
        }

        /// A call that finds what it waits for.
        pub(in super::super) fn exchange(&self, io: Io) -> Result {
            let begin = self.now();
            let result = exchange(io);
            self.write_point(begin, "exchange", seen_of(&result), false);
            result
        }
    }

    fn exchange(io: Io) -> Result {
        let mut got = [0];
        match io {
            Io::Pipe => {
                let (mut reader, mut writer) = taskgroup::io::pipe()?;
                writer.write_all(&[7])?;
                reader.read_exact(&mut got)?;
            }
            Io::FullPipe => {
                let (mut reader, mut writer) = taskgroup::io::pipe()?;
                let bytes = vec![7; TOO_MUCH];
                let sum = TaskGroup::scope(|g| {
                    g.spawn(move || Ok(writer.write_all(&bytes)?));
                    let mut all = Vec::new();
                    reader.read_to_end(&mut all)?;
                    Ok(all.len())
                })?;
                assert_eq!(sum, TOO_MUCH, "bytes are lost");
                got = [7];
            }
            Io::Stream => {
                let (mut near, mut far) = UnixStream::pair()?;
                near.write_all(&[7])?;
                far.read_exact(&mut got)?;
            }
            Io::Datagram => {
                let socket = UdpSocket::bind("127.0.0.1:0")?;
                socket.send_to(&[7], socket.local_addr()?)?;
                socket.recv(&mut got)?;
            }
            Io::Accept => {
                let listener = TcpListener::bind("127.0.0.1:0")?;
                let mut near = TcpStream::connect(listener.local_addr()?)?;
                near.write_all(&[7])?;
                listener.accept()?.0.read_exact(&mut got)?;
            }
            Io::Child => {
                let status = Command::new("true").status()?;
                assert!(status.success(), "{status}");
                got = [7];
            }
        }
        assert_eq!(got, [7], "other bytes have come");
        Ok(())
    }
}
