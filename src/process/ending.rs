//! How a child is ended.

use std::time::Duration;

use rustix::process::Signal;

/// The effect of a cancel on the child.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ending {
    /// The signal that asks it to end.
    pub(super) signal: Signal,
    /// How long it has before it is killed.
    pub(super) grace: Duration,
    /// Whether it leads a process group of its own, which ends with it.
    pub(super) group: bool,
}

impl Default for Ending {
    fn default() -> Self {
        Ending {
            signal: Signal::TERM,
            grace: Duration::from_secs(5),
            group: false,
        }
    }
}
