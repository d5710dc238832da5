//! Linux: `/proc/self/task`.

use std::fs;

use super::Doing;
use super::calls::{self, Call, Entered, parse};
use super::descriptors::Sockets;

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

        let Some(text) = self.read(thread) else {
            return Doing::Unknown;
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
        let descriptor = entered.descriptor(call)?;
        let text = self.sockets.describe(descriptor);
        let again = self.read(thread)?;
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

    fn read(&mut self, thread: i32) -> Option<String> {
        let read = fs::read_to_string(format!("/proc/self/task/{thread}/syscall"));
        // A thread that has just ended has no file, which is no reason for a note.
        if let Err(error) = &read {
            self.keeps_quiet |= error.kind() != std::io::ErrorKind::NotFound;
        }
        read.ok()
    }
}
