use std::sync::Arc;

use super::*;
use crate::waiting::{Position, Slot, Waiter};

/// A rate of one permit a second, with its burst of five used up, and a queue.
struct Line {
    rate: Gcra,
    state: RateState,
    slot: Arc<Slot>,
}

impl Line {
    fn new() -> Line {
        let burst = NonZeroU32::new(5).expect("it is not zero");
        let rate = Gcra::new(Duration::from_secs(1), NonZeroU32::MIN, burst);
        let mut state = RateState {
            tat: Tat::START,
            start: None,
            waiters: WaitQueue::new(),
        };
        assert!(state.take(&rate, Duration::ZERO, 5));
        Line {
            rate,
            state,
            slot: Slot::new(),
        }
    }

    fn enter(&mut self, count: u32) -> (Arc<Waiter>, Position) {
        let waiter = Waiter::new(self.slot.clone());
        let position = self.state.waiters.push(waiter.clone(), count);
        (waiter, position)
    }

    /// Serves after this many seconds. Returns when the first of the others is due.
    fn serve(&mut self, seconds: u64) -> Option<u64> {
        let mut wakes = Wakes::default();
        let now = Duration::from_secs(seconds);
        let due = self.state.serve(&self.rate, now, &mut wakes);
        wakes.wake();
        due.map(|due| due.as_secs())
    }
}

#[test]
fn waiters_are_served_in_order_when_they_are_due() {
    let mut line = Line::new();
    let waiters = [2, 1, 1, 4].map(|count| line.enter(count).0);
    // Seconds, how many have been served by then, and when the next is due.
    for (seconds, served, due) in [
        (0, 0, Some(2)),
        (1, 0, Some(2)),
        (2, 1, Some(3)),
        (4, 3, Some(8)),
        (7, 3, Some(8)),
        (8, 4, None),
        (9, 4, None),
    ] {
        assert_eq!(line.serve(seconds), due, "after {seconds} seconds");
        let granted = waiters.each_ref().map(|waiter| waiter.is_granted());
        let expected = [0, 1, 2, 3].map(|n| n < served);
        assert_eq!(granted, expected, "after {seconds} seconds");
    }
}

#[test]
fn a_call_does_not_overtake_a_waiter() {
    let mut line = Line::new();
    let (large, _) = line.enter(4);
    assert_eq!(line.serve(3), Some(4));
    let now = Duration::from_secs(3);
    assert!(!line.state.take(&line.rate, now, 1), "three are there");
    assert_eq!(line.serve(4), None);
    assert!(large.is_granted());
    assert!(!line.state.take(&line.rate, Duration::from_secs(4), 1));
    assert!(line.state.take(&line.rate, Duration::from_secs(5), 1));
}

#[test]
fn a_call_that_never_blocks_serves_the_waiters_that_are_due_before_it() {
    let limiter = RateLimiter::new(Duration::from_nanos(1), NonZeroU32::MIN).burst(NonZeroU32::MAX);
    assert!(limiter.try_take(u32::MAX));
    let waiter = Waiter::new(Slot::new());
    limiter.state.lock().waiters.push(waiter.clone(), 1);

    // Its permit is due and one more, but its thread has not looked yet.
    while limiter.state.lock().now() < Duration::from_nanos(2) {}
    assert!(limiter.try_acquire());
    assert!(waiter.is_granted());
}

#[test]
fn a_waiter_that_leaves_gives_its_slot_to_the_next_and_leaves_no_debt() {
    let mut line = Line::new();
    let (_, first) = line.enter(1);
    let (second, _) = line.enter(1);
    let (third, _) = line.enter(1);
    assert_eq!(line.serve(0), Some(1));
    line.state.waiters.remove(first);
    assert_eq!(line.serve(1), Some(2));
    assert!(second.is_granted() && !third.is_granted());
    assert_eq!(line.serve(2), None);
    assert!(third.is_granted());
    // Two of two have been used, and the third second brings the third permit.
    assert!(!line.state.take(&line.rate, Duration::from_secs(2), 1));
    assert!(line.state.take(&line.rate, Duration::from_secs(3), 1));
}
