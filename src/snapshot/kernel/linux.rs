//! Linux: `/proc/self/task`.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::Doing;
use super::calls::{self, Call, Entered, parse};
use super::descriptors::Sockets;

/// The threads of this process.
const TASKS: &str = "/proc/self/task";

/// What the kernel tells, for one snapshot.
#[derive(Debug, Default)]
pub(in super::super) struct Kernel {
    sockets: Sockets,
    /// A file could not be read.
    keeps_quiet: bool,
}

impl Kernel {
    /// Returns what a thread of this process does.
    pub(in super::super) fn doing(&mut self, thread: i32) -> Doing {
        // This thread is here, and not in the call that reads the file.
        if thread == nix::unistd::gettid().as_raw() {
            return Doing::Runs;
        }

        let text = match self.read(thread) {
            Ok(text) => text,
            // It has just ended.
            Err(Silence::Gone) => return Doing::Runs,
            Err(Silence::Unreadable) => return Doing::Unknown,
        };
        // `running`, or -1 for a thread that the kernel has stopped outside of a call.
        let Some(entered) = parse(&text) else {
            return Doing::Runs;
        };
        let Some(call) = calls::by_number(entered.number) else {
            return Doing::Blocked {
                call: "a system call",
                target: Some(format!("number {}", entered.number)),
            };
        };

        Doing::Blocked {
            call: call.name,
            target: self.target(thread, entered, call),
        }
    }

    /// Returns what a call is about, if the thread is still in the call after that was read. The
    /// descriptor may have been closed and opened again meanwhile.
    fn target(&mut self, thread: i32, entered: Entered, call: Call) -> Option<String> {
        if let Some(process) = entered.process(call) {
            return Some(format!("process {process}"));
        }

        let descriptor = entered.descriptor(call)?;
        let text = self.sockets.describe(descriptor);
        let again = self.read(thread).ok()?;
        let is_same = parse(&again) == Some(entered);
        Some(if is_same {
            text
        } else {
            format!("fd {descriptor}")
        })
    }

    /// Returns a descriptor of this process in words.
    pub(in super::super) fn describe(&mut self, descriptor: i32) -> String {
        self.sockets.describe(descriptor)
    }

    /// Returns what there is to say about what is missing.
    pub(in super::super) fn note(&self) -> Option<String> {
        let note = "the system does not tell what threads do in code that is not of this crate";
        self.keeps_quiet.then(|| note.to_owned())
    }

    fn read(&mut self, thread: i32) -> Result<String, Silence> {
        let read = fs::read_to_string(format!("/proc/self/task/{thread}/syscall"));
        read.map_err(|error| {
            // Without a /proc, no thread has a file.
            let is_gone = error.kind() == ErrorKind::NotFound && Path::new(TASKS).exists();
            self.keeps_quiet |= !is_gone;
            if is_gone {
                Silence::Gone
            } else {
                Silence::Unreadable
            }
        })
    }
}

/// Why nothing is known of a thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Silence {
    /// The thread has ended.
    Gone,
    /// The system does not tell.
    Unreadable,
}
