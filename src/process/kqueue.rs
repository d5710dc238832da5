//! Children on macOS and the BSDs: a kqueue that holds the event of the end.
//!
//! The event is never taken out of the queue, so the queue stays readable, for all threads.

use std::os::fd::OwnedFd;

use nix::sys::event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};
use rustix::process::Pid;

/// Returns a descriptor that becomes readable when the process ends. None when no descriptor is
/// left, or if the child has ended already: then the first look at it shows that.
pub(super) fn open(pid: Pid) -> Option<OwnedFd> {
    let queue = Kqueue::new().ok()?;
    let end = KEvent::new(
        pid.as_raw_nonzero().get() as usize,
        EventFilter::EVFILT_PROC,
        EvFlags::EV_ADD,
        FilterFlag::NOTE_EXIT,
        0,
        0,
    );

    // No room for events: it only adds the filter, and returns at once.
    queue.kevent(&[end], &mut [], None).ok()?;
    Some(queue.into())
}
