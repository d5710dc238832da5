//! How a thread shows that it holds an object.

use std::panic::Location;

use super::lane::Lane;
use super::mine;
use super::wait::address;

/// While it lives, the lane of this thread shows that the thread holds an object.
#[derive(Debug)]
pub(crate) struct Held {
    lane: Option<&'static Lane>,
    object: usize,
}

impl Held {
    /// Shows that this thread holds `object`, for which others may wait.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn begin<T: ?Sized>(object: &T) -> Self {
        let object = address(object);
        let lane = mine();
        if let Some(lane) = lane {
            lane.hold(object, Location::caller());
        }
        Held { lane, object }
    }
}

impl Drop for Held {
    #[inline(always)]
    fn drop(&mut self) {
        if let Some(lane) = self.lane {
            lane.release(self.object);
        }
    }
}
