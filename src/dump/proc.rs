//! Reads the state of a thread from the kernel, without an allocation.

use std::ffi::CStr;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};

use rustix::fs::{Mode, OFlags};

use crate::snapshot::calls;

/// A descriptor that is given up while a file is read, so that one can be read when the process has
/// no other left.
pub(super) struct Reserve(Option<File>);

impl Reserve {
    pub(super) fn take() -> io::Result<Self> {
        File::open("/dev/null").map(|file| Reserve(Some(file)))
    }
}

/// The state of a thread, as the kernel tells it.
pub(super) enum SystemState {
    Runs,
    /// The call, and its first argument if that is a descriptor.
    Blocked(&'static str, Option<i32>),
    Unknown,
}

impl Reserve {
    /// Returns what a thread does.
    pub(super) fn doing(&mut self, thread: i32) -> SystemState {
        let mut path = Path::new();
        let _ = fmt::Write::write_fmt(&mut path, format_args!("/proc/self/task/{thread}/syscall"));

        // A number and eight words in hexadecimal digits.
        let mut bytes = [0; 256];
        let text = path.as_c_str().and_then(|path| self.read(path, &mut bytes));
        match text.map(calls::parse) {
            None => SystemState::Unknown,
            Some(None) => SystemState::Runs,
            Some(Some(entered)) => match calls::by_number(entered.number) {
                None => SystemState::Blocked("a system call", None),
                Some(call) => SystemState::Blocked(call.name, entered.descriptor(call)),
            },
        }
    }

    fn read<'a>(&mut self, path: &CStr, bytes: &'a mut [u8]) -> Option<&'a str> {
        // Another thread may take the descriptor meanwhile. Then this one has none until it finds
        // one again.
        self.0 = None;
        let opened = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let length = opened
            .ok()
            .and_then(|file| File::from(file).read(bytes).ok());
        let null = rustix::fs::open(
            c"/dev/null",
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        );

        self.0 = null.ok().map(File::from);

        std::str::from_utf8(bytes.get(..length?)?).ok()
    }
}

/// A path that ends with a zero, in a buffer of its own.
struct Path {
    bytes: [u8; 64],
    length: usize,
}

impl Path {
    fn new() -> Self {
        Path {
            bytes: [0; 64],
            length: 0,
        }
    }

    fn as_c_str(&self) -> Option<&CStr> {
        CStr::from_bytes_until_nul(&self.bytes).ok()
    }
}

impl fmt::Write for Path {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();

        // The last byte stays zero.
        let room = self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.length = end;
        if end < self.bytes.len() {
            Ok(())
        } else {
            Err(fmt::Error)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::process::{Command, Stdio};

    use rustix::process::{Resource, Rlimit, setrlimit};

    use super::*;

    #[test]
    fn a_read_needs_no_other_descriptor_and_leaves_none() {
        const CHILD: &str = "TASKGROUP_TEST_WITHOUT_DESCRIPTORS";
        const NAME: &str = "dump::proc::tests::a_read_needs_no_other_descriptor_and_leaves_none";

        // The limit holds for a whole process.
        if env::var_os(CHILD).is_none() {
            let status = Command::new(env::current_exe().expect("a test binary knows its path"))
                .args(["--exact", NAME, "--test-threads=1"])
                .env(CHILD, "1")
                .stdout(Stdio::null())
                .status()
                .expect("the test binary starts");
            return assert!(status.success());
        }

        let mut reserve = Reserve::take().expect("there is a descriptor left");
        let few = Rlimit {
            current: Some(64),
            maximum: Some(64),
        };
        setrlimit(Resource::Nofile, few).expect("it may be lowered");
        let mut all = Vec::new();
        for _ in 0..3 {
            // Whatever the look before has left over goes to others.
            while let Ok(file) = File::open("/dev/null") {
                all.push(file);
            }
            let doing = reserve.doing(nix::unistd::gettid().as_raw());
            // A thread that looks at itself finds itself in the read.
            assert!(!matches!(doing, SystemState::Unknown));
        }
        drop(all);
    }
}
