//! The hooks of one cancel, of which none holds up another.

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread::{self, ThreadId};
use std::time::Duration;

use support::{Gate, LONG};
use taskgroup::{CancelToken, GroupError, TaskGroup, channel, sync, with_cancel_hook};

/// How many hooks of one cancel run at once.
const MOST: usize = 64;

type Hook<'a> = &'a (dyn Fn(usize) + Send + Sync);

/// Runs `f` in as many regions, one in another, as `hooks` says, with `hook` as the hook of each,
/// which gets its number.
fn nested(hooks: usize, hook: Hook<'_>, f: &mut dyn FnMut()) {
    match hooks.checked_sub(1) {
        Some(number) => with_cancel_hook(|| hook(number), || nested(number, hook, f)),
        None => f(),
    }
}

/// Cancels a token with as many hooks.
fn cancel_with(hooks: usize, hook: Hook<'_>) {
    let token = CancelToken::new();
    token.run(|| nested(hooks, hook, &mut || assert!(token.cancel())));
}

/// Counts arrivals, and blocks until there have been enough.
#[derive(Default)]
struct Meeting {
    arrived: Mutex<usize>,
    changed: Condvar,
}

impl Meeting {
    fn arrive_and_wait(&self, for_all: usize) {
        let mut arrived = self.arrived.lock().unwrap();
        *arrived += 1;
        self.changed.notify_all();
        let (arrived, timed_out) = self
            .changed
            .wait_timeout_while(arrived, LONG, |arrived| *arrived < for_all)
            .unwrap();
        drop(arrived);
        assert!(
            !timed_out.timed_out(),
            "the others did not come within a minute"
        );
    }

    fn arrived(&self) -> usize {
        *self.arrived.lock().unwrap()
    }
}

#[test]
fn up_to_64_hooks_run_at_once() {
    for hooks in [2, 3, 8, MOST] {
        let meeting = Meeting::default();
        cancel_with(hooks, &|_| meeting.arrive_and_wait(hooks));
        assert_eq!(meeting.arrived(), hooks);
    }
}

#[test]
fn more_than_64_hooks_wait_for_their_turn() {
    let (meeting, running, most) = (Meeting::default(), AtomicUsize::new(0), AtomicUsize::new(0));
    cancel_with(MOST + 36, &|_| {
        most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        meeting.arrive_and_wait(MOST);
        running.fetch_sub(1, Ordering::SeqCst);
    });
    assert_eq!(meeting.arrived(), MOST + 36, "each runs once");
    assert_eq!(most.into_inner(), MOST);
}

#[test]
fn the_cancel_returns_when_all_hooks_have_ended() {
    let (meeting, ended) = (Meeting::default(), AtomicUsize::new(0));
    let token = CancelToken::new();
    let hook = |number| {
        meeting.arrive_and_wait(4);
        // A cancel that does not wait returns within this loop.
        (0..number * 100).for_each(|_| thread::yield_now());
        ended.fetch_add(1, Ordering::SeqCst);
    };
    token.run(|| {
        nested(4, &hook, &mut || {
            token.cancel();
            assert_eq!(ended.load(Ordering::SeqCst), 4);
        });
    });
}

#[test]
fn a_deadline_runs_its_hooks_at_once_too() {
    let (meeting, all_began) = (Meeting::default(), Gate::default());
    let token = CancelToken::new();
    let hook = |_| {
        meeting.arrive_and_wait(8);
        all_began.open();
    };
    token.run(|| {
        nested(8, &hook, &mut || {
            // Set when all are there: a hook that comes after the deadline runs before its region
            // is entered.
            token.cancel_after(Duration::from_millis(1));
            all_began.wait();
        });
    });
    assert_eq!(meeting.arrived(), 8);
}

#[test]
fn a_hook_may_cancel_and_run_hooks_of_its_own() {
    let (inner, outer) = (Meeting::default(), Meeting::default());
    cancel_with(3, &|_| {
        // All threads that run the outer hooks wait for inner ones.
        outer.arrive_and_wait(3);
        cancel_with(3, &|_| inner.arrive_and_wait(9));
    });
    assert_eq!((outer.arrived(), inner.arrived()), (3, 9));
}

#[test]
fn a_hook_may_cancel_its_own_token_again() {
    let token = CancelToken::new();
    let meeting = Meeting::default();
    let hook = |_| {
        assert!(!token.cancel(), "it is cancelled already");
        meeting.arrive_and_wait(3);
    };
    token.run(|| nested(3, &hook, &mut || assert!(token.cancel())));
    assert_eq!(meeting.arrived(), 3);
}

#[test]
fn hooks_that_panic_are_failures_and_stop_no_other() {
    let meeting = Meeting::default();
    let error = TaskGroup::scope(|g| {
        let hook = |number| {
            meeting.arrive_and_wait(5);
            assert!(number % 2 == 0, "hook {number}");
        };
        nested(5, &hook, &mut || g.cancel());
        Ok(())
    })
    .unwrap_err();
    assert_eq!(meeting.arrived(), 5);
    let mut messages: Vec<_> = error
        .panics()
        .map(|panic| panic.message().to_owned())
        .collect();
    messages.sort();
    assert_eq!(messages, ["hook 1", "hook 3"]);
}

#[test]
fn a_region_ends_while_hooks_of_others_run() -> Result<(), GroupError> {
    let (quick, slow) = (Gate::default(), Gate::default());
    let (left, both) = (Gate::default(), sync::Latch::new(2));
    let ended = AtomicBool::new(false);
    TaskGroup::scope(|g| {
        // Whichever of the two hooks is first in the queue.
        g.task().dedicated().spawn(|| {
            let hook = || {
                left.wait();
                ended.store(true, Ordering::SeqCst);
                slow.open();
            };
            with_cancel_hook(hook, || {
                both.count_down();
                slow.wait();
            });
            Ok(())
        });
        g.task().dedicated().spawn(|| {
            with_cancel_hook(
                || quick.open(),
                || {
                    both.count_down();
                    quick.wait();
                },
            );
            assert!(
                !ended.load(Ordering::SeqCst),
                "the other hook waits for this"
            );
            left.open();
            Ok(())
        });
        both.wait()?;
        g.cancel();
        assert!(
            ended.load(Ordering::SeqCst),
            "the cancel has run both hooks"
        );
        Ok(())
    })
}

#[test]
fn a_thread_that_holds_locks_may_cancel() -> Result<(), GroupError> {
    let (lock, permits) = (sync::Mutex::new(0), sync::Semaphore::new(1));
    let meeting = Meeting::default();
    let held = lock.lock_uncancellable();
    let permit = permits.acquire().expect("nothing is cancelled here");
    cancel_with(4, &|_| meeting.arrive_and_wait(4));
    assert!(lock.try_lock().is_none(), "the lock is held as before");
    drop((held, permit));
    assert_eq!(meeting.arrived(), 4);
    // A task in place, of a body that holds a lock.
    TaskGroup::scope(|g| {
        let held = lock.lock()?;
        g.spawn(|| {
            cancel_with(4, &|_| meeting.arrive_and_wait(8));
            Ok(())
        })
        .join()?;
        drop(held);
        Ok(())
    })
}

#[test]
fn a_hook_is_outside_of_any_scope_whichever_thread_runs_it() {
    for hooks in [1, 2, 5] {
        for before in [true, false] {
            let token = CancelToken::new();
            let (sender, receiver) = channel::unbounded();
            let hook = |_| {
                assert!(taskgroup::current_token().is_none());
                taskgroup::checkpoint().expect("no cancel reaches a hook");
                sender.send(()).expect("no cancel reaches a hook");
            };
            if before {
                token.cancel();
            }
            token.run(|| {
                nested(hooks, &hook, &mut || {
                    token.cancel();
                    assert!(taskgroup::checkpoint().is_err());
                });
            });
            assert_eq!(receiver.len(), hooks, "cancelled before: {before}");
        }
    }
}

#[test]
fn without_threads_the_canceller_runs_all_hooks_in_order() {
    const NAME: &str = "without_threads_the_canceller_runs_all_hooks_in_order";
    if support::is_child() {
        let (ran, here) = (
            Mutex::new(Vec::<(usize, ThreadId)>::new()),
            thread::current().id(),
        );
        cancel_with(5, &|number| {
            ran.lock().unwrap().push((number, thread::current().id()))
        });
        assert_eq!(
            ran.into_inner().unwrap(),
            [4, 3, 2, 1, 0].map(|number| (number, here))
        );
        return;
    }
    let output = support::run_in_child_without_threads(NAME);
    support::assert_passed(&output);
}
