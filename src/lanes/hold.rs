//! How a thread shows what it holds.

use std::panic::Location;

use super::mine;
use super::wait::address;

/// Shows that this thread holds `lock` until [`unlocked`]. It holds no other lock if this
/// `is_first`.
#[inline(always)]
#[track_caller]
pub(crate) fn locked<T: ?Sized>(lock: &T, is_first: bool) {
    if let Some(lane) = mine() {
        lane.lock(address(lock), is_first, Location::caller());
    }
}

/// Shows that this thread does not hold `lock` any more.
#[inline(always)]
pub(crate) fn unlocked<T: ?Sized>(lock: &T) {
    if let Some(lane) = mine() {
        lane.unlock(address(lock));
    }
}

/// While it lives, this thread shows that it holds an object other than a lock, for which others
/// may wait.
#[derive(Debug)]
pub(crate) struct Held<'a, T>(&'a T);

impl<'a, T> Held<'a, T> {
    #[track_caller]
    pub(crate) fn begin(object: &'a T) -> Self {
        if let Some(lane) = mine() {
            lane.hold(address(object), Location::caller());
        }
        Held(object)
    }
}

impl<T> Drop for Held<'_, T> {
    fn drop(&mut self) {
        if let Some(lane) = mine() {
            lane.release(address(self.0));
        }
    }
}
