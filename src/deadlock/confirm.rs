//! The search: two readings of all lanes, and in between a look of each thread at its own wait.
//!
//! The first reading gives the threads that seem stuck. Something may be on its way to one of them:
//! a lock that was handed on, a cancel, a deadline, a wake. So each of them is woken. It looks
//! whether its wait is over, as it does at every wake, and goes back to sleep if it is not. Then
//! all lanes are read again. A thread is confirmed if the version of its lane says that it was in
//! the same wait both times, and if it has itself found in between that the wait is not over. It is
//! stuck if it is still stuck among the confirmed threads.
//!
//! So there is a moment at which all of them were asleep, each had looked, and each needed others
//! of them. Only a cancel or a deadline can still end such waits. A program in which no threads
//! seem stuck is only read: none of its threads is woken.

use std::collections::HashSet;
use std::thread;
use std::time::{Duration, Instant};

use super::graph::Graph;
use super::report::Deadlock;
use super::stuck;
use crate::lanes::{Lane, LaneView};

/// How long the threads have to look. On a busy machine a search fails, and the next may succeed.
const LOOK_LIMIT: Duration = Duration::from_secs(2);

/// Between two wakes of a thread that has not looked yet.
const AGAIN: Duration = Duration::from_millis(2);

/// A thread that seems stuck, in one wait.
pub(super) struct Suspect {
    lane: &'static Lane,
    /// The number of the thread, and the version of its lane.
    wait: (u64, u32),
    /// Its count of looks after it has looked once more.
    look: u32,
}

/// Returns the certain deadlocks of this moment, where every thread has been asleep since `before`.
pub(super) fn search(before: Instant) -> Vec<Deadlock> {
    confirmed(Graph::read(), before)
}

/// Returns the deadlocks of a first reading that are certain.
fn confirmed(mut first: Graph, before: Instant) -> Vec<Deadlock> {
    // The first reading says which threads seem stuck. It takes time, so it may never have been
    // true.
    let suspects = have_looked(first.suspects(before));
    if suspects.is_empty() {
        return Vec::new();
    }

    // The second reading has the same waits for the threads that are still stuck. From the last
    // look until now none of them has run, so all their needs were true at one moment.
    let mut second = Graph::read();
    second.keep(&suspects);

    let stuck = stuck::stuck(&second.needs);
    let cycles = stuck::cycles(&second.needs, &stuck).into_iter();
    cycles
        .map(|cycle| Deadlock::of(&mut second, &cycle))
        .collect()
}

impl Graph {
    /// Returns the threads that seem stuck.
    fn suspects(&mut self, before: Instant) -> Vec<Suspect> {
        // A thread that has just gone to sleep usually goes on by itself.
        let before = crate::lanes::since_epoch(before);
        for (seen, need) in self.threads.iter().zip(&mut self.needs) {
            let slept = seen.view.wait.is_some_and(|wait| wait.since <= before);
            *need = need.take().filter(|_| slept);
        }

        // The tail of a cycle is woken too: a report lists it.
        let stuck = stuck::stuck(&self.needs);
        let threads = self.threads.iter().zip(stuck);
        let suspects = threads.filter(|(_, is_stuck)| *is_stuck);
        suspects
            .map(|(seen, _)| Suspect::new(seen.source, &seen.view))
            .collect()
    }

    /// Lets every thread go on that is not in the wait of a suspect.
    fn keep(&mut self, suspects: &[Suspect]) {
        let waits: HashSet<_> = suspects.iter().map(|suspect| suspect.wait).collect();
        for (seen, need) in self.threads.iter().zip(&mut self.needs) {
            // The same number and version: the same wait (invariant 3 of the lanes).
            let is_same = waits.contains(&(seen.view.number, seen.view.version));
            *need = need.take().filter(|_| is_same);
        }
    }
}

impl Suspect {
    pub(super) fn new(lane: &'static Lane, view: &LaneView) -> Self {
        Suspect {
            lane,
            wait: (view.number, view.version),
            look: lane.next_look(),
        }
    }

    /// Returns whether the thread is in the same wait still.
    fn still_waits(&self) -> bool {
        let view = self.lane.view().and_then(Result::ok);
        view.is_some_and(|view| view.wait.is_some() && self.wait == (view.number, view.version))
    }

    /// Wakes the thread, unless it has looked.
    fn wake(&self) {
        if self.lane.has_looked(self.look) {
            return;
        }

        // A thread that has gone on meanwhile finds a wake too many, at its next wait.
        if let Ok(Some(thread)) = self.lane.thread() {
            thread.unpark();
        }
    }
}

/// Wakes the threads, and waits until each has looked whether its wait is over. Returns the threads
/// that have looked and wait still.
pub(super) fn have_looked(mut suspects: Vec<Suspect>) -> Vec<Suspect> {
    let begun = Instant::now();
    loop {
        // A thread that has gone on is not a suspect, and need not be waited for.
        suspects.retain(Suspect::still_waits);
        suspects.iter().for_each(Suspect::wake);
        let has_looked = |suspect: &Suspect| suspect.lane.has_looked(suspect.look);
        if suspects.iter().all(has_looked) {
            return suspects;
        }

        // A thread that has not looked may have been granted what it waits for.
        if begun.elapsed() > LOOK_LIMIT {
            suspects.retain(has_looked);
            return suspects;
        }

        // A look that had begun before counts for nothing, so one wake may not be enough.
        thread::sleep(AGAIN);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
    use std::sync::atomic::AtomicU32 as PlainU32;
    use std::sync::atomic::Ordering::SeqCst;
    use std::sync::mpsc;

    use super::*;
    use crate::cancel::context;
    use crate::deadlock::stuck::Need;
    use crate::lanes;
    use crate::waiting::WaitKind;

    /// Runs `test` beside a thread that waits until the number is 1, and then until it is 2, and
    /// wakes the thread in the end.
    fn beside_a_sleeper(test: impl FnOnce(&'static Lane, &PlainU32)) {
        let granted = PlainU32::new(0);
        let (begun, begins) = mpsc::channel();
        thread::scope(|threads| {
            let sleeper = threads.spawn(|| {
                let lane = lanes::mine().expect("the thread has a lane");
                begun.send(lane).expect("the test listens");
                for until in 1..=2 {
                    let ended =
                        context::wait(WaitKind::Event, None, || granted.load(SeqCst) >= until);
                    ended.expect("no scope is cancelled");
                }
            });
            let lane = begins.recv().expect("the thread has begun");
            let tested = catch_unwind(AssertUnwindSafe(|| test(lane, &granted)));

            // Also after a failure, which would wait for the thread for ever.
            granted.store(2, SeqCst);
            sleeper.thread().unpark();
            tested.unwrap_or_else(|failure| resume_unwind(failure));
        });
    }

    /// Waits until the thread of the lane sleeps.
    fn asleep(lane: &'static Lane) -> Suspect {
        loop {
            let view = lane.view().expect("the thread lives").ok();
            match view.filter(|view| view.wait.is_some_and(|wait| wait.since != 0)) {
                Some(view) => return Suspect::new(lane, &view),
                None => thread::yield_now(),
            }
        }
    }

    #[test]
    fn a_thread_that_finds_its_wait_not_to_be_over_is_stuck() {
        beside_a_sleeper(|lane, _| {
            for _ in 0..3 {
                assert_eq!(have_looked(vec![asleep(lane)]).len(), 1);
            }
        });
    }

    #[test]
    fn a_thread_that_was_granted_what_it_waits_for_and_not_woken_is_not_stuck() {
        beside_a_sleeper(|lane, granted| {
            let suspect = asleep(lane);
            granted.store(1, SeqCst);
            assert!(have_looked(vec![suspect]).is_empty());
        });
    }

    #[test]
    fn a_later_wait_of_the_same_thread_for_the_same_is_another_wait() {
        beside_a_sleeper(|lane, granted| {
            let first = asleep(lane);
            granted.store(1, SeqCst);

            // The look ends the first wait, and the second begins.
            have_looked(vec![asleep(lane)]);
            asleep(lane);
            assert!(have_looked(vec![first]).is_empty());
        });
    }

    #[test]
    fn a_thread_in_a_later_wait_needs_nothing_in_the_second_reading() {
        // What the thread needs, if the search finds that it waits for itself.
        fn kept(lane: &'static Lane, suspect: &Suspect) -> bool {
            let mut graph = Graph::read();
            let mut threads = graph.threads.iter();
            let thread = threads.position(|seen| std::ptr::eq(seen.source, lane));
            let thread = thread.expect("the thread lives");
            graph.needs[thread] = Some(Need::one(vec![thread]));
            graph.keep(std::slice::from_ref(suspect));
            graph.needs[thread].is_some()
        }

        beside_a_sleeper(|lane, granted| {
            let suspect = asleep(lane);
            assert!(kept(lane, &suspect));
            granted.store(1, SeqCst);
            have_looked(vec![asleep(lane)]);
            asleep(lane);
            assert!(!kept(lane, &suspect));
        });
    }

    #[test]
    fn a_need_that_the_second_reading_does_not_find_is_no_deadlock() {
        beside_a_sleeper(|lane, _| {
            asleep(lane);
            let mut first = Graph::read();
            let mut threads = first.threads.iter();
            let thread = threads.position(|seen| std::ptr::eq(seen.source, lane));

            // An edge that was read and is not there: the wait is for an event.
            let thread = thread.expect("the thread lives");
            first.needs[thread] = Some(Need::one(vec![thread]));
            assert!(confirmed(first, Instant::now()).is_empty());
        });
    }

    #[test]
    fn a_thread_that_has_not_looked_in_time_is_not_stuck() {
        beside_a_sleeper(|lane, _| {
            let far = lane.next_look().wrapping_add(1 << 30);
            let late = Suspect {
                look: far,
                ..asleep(lane)
            };
            assert!(have_looked(vec![late]).is_empty());
        });
    }
}
