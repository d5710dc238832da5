//! How a thread shows what it holds.

use std::panic::Location;

use super::held::{HeldAs, LockRank};
use super::wait::address;
use super::{claimed, mine};

/// Shows that this thread holds `lock` until [`unlocked`], and has taken it at `location`.
#[inline(always)]
pub(crate) fn locked<T: ?Sized>(
    lock: &T,
    access: HeldAs,
    rank: LockRank,
    location: &'static Location<'static>,
) {
    if let Some(lane) = mine() {
        lane.lock(address(lock), access, rank, location);
    }
}

/// Shows that this thread no longer holds `lock`, which it has taken at `location`, if that is
/// known. Two guards to read one lock are told apart by their places.
#[inline(always)]
pub(crate) fn unlocked<T: ?Sized>(lock: &T, location: Option<&'static Location<'static>>) {
    if let Some(lane) = mine() {
        lane.unlock(address(lock), location);
    }
}

/// Shows that this thread, which held `lock` alone, shares it from now on.
pub(crate) fn downgraded<T: ?Sized>(lock: &T) {
    if let Some(lane) = mine() {
        lane.share(address(lock));
    }
}

/// Shows that `lock`, which is dropped, is held by no thread: the guards that this thread still
/// shows were leaked. Returns how many.
#[inline]
pub(crate) fn forgotten<T: ?Sized>(lock: &T) -> usize {
    claimed().map_or(0, |lane| lane.forget(address(lock)))
}

/// Returns where the code that this thread runs has taken `lock` in a way that `excludes` what it
/// is about to wait for: it would wait for itself.
///
/// A task that runs in place of a wait of another task is code of its own: it waits for what that
/// task holds like a task on a worker.
#[cold]
pub(crate) fn locked_here<T: ?Sized>(
    lock: &T,
    excludes: impl Fn(HeldAs) -> bool,
) -> Option<&'static Location<'static>> {
    mine()?.locked_here(address(lock), excludes)
}

/// While it lives, this thread shows that it holds an object other than a lock, for which others
/// may wait.
#[derive(Debug)]
pub(crate) struct Held {
    object: usize,
    location: &'static Location<'static>,
}

impl Held {
    #[track_caller]
    pub(crate) fn begin<T>(object: &T) -> Self {
        Held::begin_at(address(object), Location::caller())
    }

    /// Like [`begin`](Self::begin), at `location`, for the object that waits show as this number.
    pub(crate) fn begin_at(object: usize, location: &'static Location<'static>) -> Self {
        if let Some(lane) = mine() {
            lane.hold(object, HeldAs::Exclusive, location);
        }
        Held { object, location }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(lane) = mine() {
            lane.release(self.object, Some(self.location));
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_shown_as_it_is_held() {
        let lane = mine().expect("the thread lives");
        let access = || {
            let view = lane.view().expect("the lane has a thread");
            let held = view.expect("its thread reads it").held;
            held.iter().map(|held| held.access).collect::<Vec<_>>()
        };
        let lock = 0_u64;
        locked(
            &lock,
            HeldAs::Exclusive,
            LockRank::First,
            Location::caller(),
        );
        assert_eq!(access(), [HeldAs::Exclusive]);
        downgraded(&lock);
        assert_eq!(access(), [HeldAs::Shared]);
        unlocked(&lock, None);
        assert!(access().is_empty());

        let held = Held::begin(&lock);
        assert_eq!(access(), [HeldAs::Exclusive]);
        drop(held);
        assert!(access().is_empty());
    }
}
