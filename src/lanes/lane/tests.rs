use std::panic::Location;

use super::Lane;
use crate::lanes::frames::{FrameKind, ShownFrame};
use crate::lanes::held::{HeldAs, LockRank};

const FRAME: ShownFrame = ShownFrame {
    kind: FrameKind::Scope,
    id: 1,
    group: 1,
    location: Location::caller(),
};

/// The objects that the lane shows, each with the number of frames in which it was taken.
fn held(lane: &Lane) -> Vec<(usize, u32)> {
    let view = lane.view().expect("the lane has a thread");
    let view = view.expect("this thread is not writing it");
    view.held
        .iter()
        .map(|held| (held.object, held.depth))
        .collect()
}

#[test]
fn a_lock_that_outlives_its_frame_belongs_to_the_frame_around() {
    let (first, second, here) = (8, 16, Location::caller());
    for locks in [&[first] as &[_], &[first, second]] {
        let lane = Lane::apart();
        lane.push(FRAME);
        for lock in locks {
            let rank = if *lock == first {
                LockRank::First
            } else {
                LockRank::Further
            };
            lane.lock(*lock, HeldAs::Exclusive, rank, here);
        }
        let shown = |depth| locks.iter().map(|lock| (*lock, depth)).collect::<Vec<_>>();
        assert_eq!(held(lane), shown(1));
        lane.pop();
        assert_eq!(held(lane), shown(0));
        lane.push(FRAME);
        assert_eq!(held(lane), shown(0), "the next frame has not taken it");
    }
}

#[test]
fn an_unlock_takes_back_its_own_entry_alone() {
    let (first, second, unknown) = (8, 16, 24);
    let (here, there) = (Location::caller(), FRAME.location);
    let lane = Lane::apart();
    lane.lock(first, HeldAs::Shared, LockRank::First, here);
    lane.lock(second, HeldAs::Shared, LockRank::Further, here);
    lane.unlock(unknown, Some(here));
    lane.unlock(first, Some(there));
    assert_eq!(held(lane), [(first, 0), (second, 0)]);

    // The last one of two guards from one place.
    lane.push(FRAME);
    lane.lock(first, HeldAs::Shared, LockRank::Further, here);
    lane.unlock(first, Some(here));
    assert_eq!(held(lane), [(first, 0), (second, 0)]);
    lane.unlock(first, Some(here));
    assert_eq!(held(lane), [(second, 0)]);
}
