//! Standard error, for threads that it must not keep.

/// How much is written at once. A pipe that is ready for writing takes this much without a block.
#[cfg(unix)]
const CHUNK: usize = 4096;

/// Writes a report to the standard error of the process, as far as it takes it soon. Whatever is
/// wrong with it, the report is given up: there is no better place to say so.
///
/// Does not take the lock of [`std::io::stderr`]: a thread that the report is about may hold it.
#[cfg(unix)]
pub(crate) fn write_to_stderr(text: &str) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    // A second at most for each chunk, and a report has few of them.
    let limit = Timespec {
        tv_sec: 1,
        tv_nsec: 0,
    };
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let stderr = rustix::stdio::stderr();
        let mut polled = [PollFd::new(&stderr, PollFlags::OUT)];
        // A pipe that nothing reads is ready too, with an error. In a program that has SIGPIPE end
        // it, a write would.
        let is_ready = match poll(&mut polled, Some(&limit)) {
            Ok(_) => polled[0].revents() == PollFlags::OUT,
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => false,
        };
        if !is_ready {
            return;
        }

        // A pipe that is ready takes a chunk of this size without a wait.
        match rustix::io::write(stderr, &rest[..rest.len().min(CHUNK)]) {
            Ok(0) => return,
            Ok(written) => rest = &rest[written..],
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

/// Writes a report to the standard error of the process.
#[cfg(not(unix))]
pub(crate) fn write_to_stderr(text: &str) {
    use std::io::Write as _;

    // There is no better place to report an error of stderr itself.
    let _ = std::io::stderr().write_all(text.as_bytes());
}
