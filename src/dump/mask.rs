//! The signals that the thread of a dump takes.

use nix::sys::signal::{SigSet, Signal};

/// The signals of a write to standard error that fails, each of which can end or stop the process:
/// nothing reads the pipe, the file is as large as it may be, the job is in the background.
const OF_WRITES: [Signal; 3] = [Signal::SIGPIPE, Signal::SIGXFSZ, Signal::SIGTTOU];

/// Lets this thread take `signal`, and no other.
///
/// Every other thread may have blocked the signal, and this one would inherit that. Signals that
/// the program waits for elsewhere stay away from this thread, and a write that fails is an error
/// and nothing more.
pub(super) fn take_only(signal: i32) {
    let mut blocked = SigSet::all();

    // A real-time signal has no name here. It is left to the other threads.
    if let Ok(signal) = Signal::try_from(signal) {
        if !OF_WRITES.contains(&signal) {
            blocked.remove(signal);
        }
    }

    // No mask is refused. Without it, a dump still comes if another thread takes the signal.
    let _ = blocked.thread_set_mask();
}
