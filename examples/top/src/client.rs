//! A viewer's end of the socket.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use anyhow::Context;
use taskgroup::net::UnixStream;

use crate::picture::{Line, Picture, escaped};

/// The most bytes of an answer: a picture of some hundred thousand tasks. What serves at the path
/// may be another program, which sends without an end.
const LONGEST: u64 = 64 << 20;

/// A connection to a process that shows itself.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Connects to the process that serves at a path.
    ///
    /// # Errors
    ///
    /// No process serves there, the process belongs to another user, or the scope was cancelled.
    pub fn connect(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let stream = UnixStream::connect(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => anyhow::anyhow!("no process serves at {shown}"),
            // The system refuses a connection to a file of another kind in the same way.
            ErrorKind::ConnectionRefused if !is_socket(path) => {
                anyhow::anyhow!("{shown} is no socket")
            }
            ErrorKind::ConnectionRefused => {
                anyhow::anyhow!("the process that served at {shown} has ended")
            }
            ErrorKind::PermissionDenied => {
                anyhow::anyhow!("the process at {shown} is of another user")
            }
            _ => anyhow::Error::new(error).context(format!("cannot connect to {shown}")),
        })?;
        Ok(Client::new(stream))
    }

    /// Takes a connected socket.
    pub fn new(stream: UnixStream) -> Self {
        Client {
            stream: BufReader::new(stream),
        }
    }

    /// Asks for a picture.
    ///
    /// # Errors
    ///
    /// The connection is lost, the process refuses this user or sends another version of the form,
    /// or the scope was cancelled.
    pub fn snapshot(&mut self) -> anyhow::Result<Picture> {
        let line = self.ask("snapshot\n")?;
        Picture::read(&line)
    }

    /// Asks the process to cancel a group. Returns the answer of the process.
    ///
    /// # Errors
    ///
    /// The connection is lost, the process refuses this user, or the scope was cancelled.
    pub fn cancel(&mut self, group: u64) -> anyhow::Result<String> {
        let line = self.ask(&format!("cancel {group}\n"))?;
        match serde_json::from_str(&line).context("this is no answer")? {
            Line::Outcome { answer } => Ok(answer),
            Line::Refused { refused } => anyhow::bail!(escaped(&refused)),
        }
    }

    fn ask(&mut self, request: &str) -> anyhow::Result<String> {
        let mut line = String::new();
        let sent = self.stream.get_mut().write_all(request.as_bytes());
        taskgroup::checkpoint()?;

        // A process that refuses has closed its end, and its answer says why.
        let read = (&mut self.stream).take(LONGEST).read_line(&mut line);
        taskgroup::checkpoint()?;
        match (sent, read) {
            (_, Ok(1..)) if line.ends_with('\n') => Ok(line),
            (_, Ok(read)) if read as u64 == LONGEST => {
                anyhow::bail!("what the process sends is longer than {LONGEST} bytes")
            }
            (_, Err(error)) if error.kind() == ErrorKind::InvalidData => {
                anyhow::bail!("what the process sends is no text")
            }
            _ => anyhow::bail!("the process has closed the connection: it serves no more"),
        }
    }
}

fn is_socket(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.file_type().is_socket())
}
