//! How a thread shows the code that it is inside of.

use std::marker::PhantomData;
use std::panic::Location;
use std::time::Duration;

use super::frames::{FrameKind, ShownFrame, StartMark};
use super::mine;

/// While it lives, the lane of this thread shows a frame.
///
/// It holds nothing, since a task has one: to move a value through memory costs more than the look
/// for the lane. A thread that has no lane at the push has none at the pop.
#[must_use = "the frame is gone at once if this is not kept"]
#[derive(Debug)]
pub(crate) struct Pushed(PhantomData<*const ()>);

impl Drop for Pushed {
    #[inline(always)]
    fn drop(&mut self) {
        if let Some(lane) = mine() {
            lane.pop();
        }
    }
}

/// Shows `frame` on the lane of this thread until the value is dropped.
#[inline(always)]
pub(crate) fn push(frame: ShownFrame) -> Pushed {
    if let Some(lane) = mine() {
        lane.push(frame);
    }
    Pushed(PhantomData)
}

/// Shows on the lane of this thread, until the value is dropped, that it is inside of something
/// that is not a task.
#[inline(always)]
#[track_caller]
pub(crate) fn push_here(kind: FrameKind, id: u64) -> Pushed {
    push(ShownFrame {
        kind,
        id,
        group: 0,
        location: Location::caller(),
    })
}

/// Returns how long after its cancel the task in the innermost frame of this thread first saw it,
/// if it has.
pub(crate) fn to_sight() -> Option<Duration> {
    mine()?.to_sight().map(Duration::from_nanos)
}

/// Marks the task that this thread has just begun as being started.
pub(crate) fn mark_starting() -> Option<StartMark> {
    mine()?.mark_starting()
}
