//! Linux: `/proc/self/task`.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::libc;

use super::Doing;
use super::calls::{self, EnteredCall, SystemCall, parse};
use super::descriptors::Sockets;

/// The threads of this process.
const TASKS: &str = "/proc/self/task";

/// Reads the state of threads from the kernel, for one snapshot.
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

        let path = format!("/proc/self/task/{thread}/syscall");
        let entered = File::open(path).and_then(|file| Ok((entered(&file)?, file)));
        let (entered, file) = match entered {
            Ok((Some(entered), file)) => (entered, file),
            // `running`, or -1 for a thread that the kernel has stopped outside of a call.
            Ok((None, _)) => return Doing::Runs,
            // It has just ended. Without a /proc, no thread has a file.
            Err(error) if is_gone(&error) && Path::new(TASKS).exists() => return Doing::Runs,
            Err(_) => {
                self.keeps_quiet = true;
                return Doing::Unknown;
            }
        };

        // A call that the table does not have is named by its number.
        let Some(call) = calls::by_number(entered.number) else {
            return Doing::Blocked {
                call: "a system call",
                target: Some(format!("number {}", entered.number)),
            };
        };

        Doing::Blocked {
            call: call.name,
            target: self.target(&file, entered, call),
        }
    }

    /// Returns what a call is about, if the thread is still in the call after that was read. The
    /// descriptor may have been closed and opened again meanwhile.
    fn target(&mut self, file: &File, before: EnteredCall, call: SystemCall) -> Option<String> {
        if let Some(process) = before.process(call) {
            return Some(format!("process {process}"));
        }

        let descriptor = before.descriptor(call)?;
        let text = self.sockets.describe(descriptor);

        // The thread is still in this call, or in one like it: the descriptor was not closed,
        // unless it has got the same number again in between.
        let is_same = entered(file).ok()? == Some(before);
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

    /// Returns a note if the system did not answer.
    pub(in super::super) fn note(&self) -> Option<String> {
        let note = "the system does not tell what threads do in code that is not of this crate";
        self.keeps_quiet.then(|| note.to_owned())
    }
}

/// Reads which call a thread is in now, from its open file. The file is written again for each read
/// at its beginning.
fn entered(file: &File) -> io::Result<Option<EnteredCall>> {
    // A number and eight words in hexadecimal digits.
    let mut bytes = [0; 256];
    let length = file.read_at(&mut bytes, 0)?;
    Ok(std::str::from_utf8(&bytes[..length]).ok().and_then(parse))
}

/// Whether an error says that the thread has ended: there is no such file, or no such process for a
/// file that was open already.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::{env, fs, process};

    use super::*;

    #[test]
    fn a_descriptor_of_a_call_that_has_changed_is_a_number_alone() {
        let null = File::open("/dev/null").expect("there is a descriptor left");
        let number = format!("fd {}", null.as_raw_fd());
        let call_on = |argument| format!("{} {:#x} 0x0", libc::SYS_read, argument);
        let before = call_on(null.as_raw_fd());
        let entered = parse(&before).expect("it is in a call");
        let call = calls::by_number(entered.number).expect("the call is known");

        // What the kernel would write for the thread: it is in the call, in another one, in none.
        let path = env::temp_dir().join(format!("taskgroup-call-{}", process::id()));
        let target = |now: &str| {
            fs::write(&path, now).expect("the folder can be written");
            let file = File::open(&path).expect("it was written");
            Kernel::default().target(&file, entered, call)
        };
        let (same, other) = (target(&before), target(&call_on(-1)));
        let none = target("running\n");
        fs::remove_file(&path).expect("it was written");

        assert_eq!(same, Some(format!("{number}, /dev/null")));
        assert_eq!(other.as_ref(), Some(&number));
        assert_eq!(none, Some(number));
    }
}
