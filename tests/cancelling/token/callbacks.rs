//! Callbacks of a cancel, and the guards that take them back.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread;
use std::time::Instant;

use taskgroup::{CallbackGuard, CancelToken, Cancelled, FailureKind, GroupError, TaskGroup};

use super::count;
use crate::support::{Bomb, Gate, LONG, traced_errors};

/// The callbacks that have run, by number.
#[derive(Clone, Default)]
struct Record(Arc<Mutex<Vec<u32>>>);

impl Record {
    fn entry(&self, n: u32) -> impl FnOnce() + Send + use<> {
        let entries = self.0.clone();
        move || entries.lock().unwrap().push(n)
    }

    fn entries(&self) -> Vec<u32> {
        self.0.lock().unwrap().clone()
    }
}

#[test]
fn callbacks_run_last_registered_first_and_once() {
    let record = Record::default();
    let token = CancelToken::new();
    let guards: Vec<CallbackGuard> = (0..4).map(|n| token.on_cancel(record.entry(n))).collect();
    token.cancel();
    token.cancel();
    drop(guards);
    assert_eq!(record.entries(), [3, 2, 1, 0]);
}

#[test]
fn callbacks_run_on_the_thread_that_cancels_and_outside_of_locks() {
    let token = CancelToken::new();
    let (sender, receiver) = mpsc::channel();
    let _guard = token.on_cancel({
        let token = token.clone();
        move || {
            let inside =
                token.child().is_cancelled() && !token.cancel() && token.cancelled().is_some();
            drop(token.on_cancel(|| ()));
            sender.send((thread::current().id(), inside)).unwrap();
        }
    });
    token.cancel();
    assert_eq!(receiver.try_recv(), Ok((thread::current().id(), true)));
}

#[test]
fn a_callback_on_a_child_runs_when_the_parent_is_cancelled() {
    let record = Record::default();
    let root = CancelToken::new();
    let child = root.child();
    let _guard = child.on_cancel(record.entry(1));
    root.cancel();
    assert_eq!(record.entries(), [1]);
}

#[test]
fn a_callback_registered_after_the_cancel_runs_inline_and_once() {
    let record = Record::default();
    let token = CancelToken::new();
    token.cancel();
    let guard = token.on_cancel(record.entry(1));
    assert_eq!(record.entries(), [1]);
    token.cancel();
    drop(guard);
    assert_eq!(record.entries(), [1]);
}

#[test]
fn dropping_the_guard_removes_a_callback_that_has_not_begun() {
    let record = Record::default();
    let token = CancelToken::new();
    let (kept, dropped) = (
        token.on_cancel(record.entry(1)),
        token.on_cancel(record.entry(2)),
    );
    drop(dropped);
    token.cancel();
    drop(kept);
    assert_eq!(record.entries(), [1]);
}

#[test]
fn dropping_the_guard_waits_for_the_running_callback() {
    let token = CancelToken::new();
    let [entered, dropping] = [(); 2].map(|()| Arc::new(Gate::default()));
    let (dropped, early) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let ended = Arc::new(AtomicBool::new(false));
    let guard = token.on_cancel({
        let (entered, dropping) = (entered.clone(), dropping.clone());
        let (dropped, early, ended) = (dropped.clone(), early.clone(), ended.clone());
        move || {
            entered.open();
            dropping.wait();
            // A drop that does not wait returns within this loop. A drop that waits cannot,
            // whatever the scheduler does.
            for _ in 0..1_000 {
                thread::yield_now();
                early.fetch_or(dropped.load(Ordering::SeqCst), Ordering::SeqCst);
            }
            ended.store(true, Ordering::SeqCst);
        }
    });
    let canceller = thread::spawn(move || token.cancel());
    entered.wait();
    dropping.open();
    drop(guard);
    dropped.store(true, Ordering::SeqCst);
    assert!(ended.load(Ordering::SeqCst) && !early.load(Ordering::SeqCst));
    assert!(canceller.join().expect("callbacks do not panic here"));
}

#[test]
fn a_guard_says_whether_its_callback_is_registered() {
    let token = CancelToken::new();
    let guard = token.on_cancel(|| ());
    let text = format!("{guard:?}");
    assert!(text.starts_with("CallbackGuard {"), "{text}");
    assert!(text.contains("registered: true"), "{text}");
    token.cancel();
    let late = format!("{:?}", token.on_cancel(|| ()));
    assert!(late.contains("registered: false"), "{late}");
}

#[test]
fn a_callback_may_drop_its_own_guard() {
    let token = CancelToken::new();
    let guard = Arc::new(Mutex::new(None));
    let ran = Arc::new(AtomicUsize::new(0));
    *guard.lock().unwrap() = Some(token.on_cancel({
        let (guard, ran) = (guard.clone(), ran.clone());
        move || {
            drop(guard.lock().unwrap().take());
            ran.fetch_add(1, Ordering::SeqCst);
        }
    }));
    token.cancel();
    assert!(guard.lock().unwrap().is_none());
    assert_eq!(ran.load(Ordering::SeqCst), 1);
}

#[test]
fn dropping_a_guard_does_not_wait_for_other_callbacks() {
    let token = CancelToken::new();
    let [entered, leave] = [(); 2].map(|()| Arc::new(Gate::default()));
    let record = Record::default();
    let waiting = token.on_cancel(record.entry(1));
    let blocking = token.on_cancel({
        let (entered, leave) = (entered.clone(), leave.clone());
        move || {
            entered.open();
            leave.wait();
        }
    });
    let canceller = thread::spawn({
        let token = token.clone();
        move || token.cancel()
    });
    entered.wait();
    drop(waiting);
    leave.open();
    canceller.join().expect("callbacks do not panic here");
    drop(blocking);
    assert_eq!(record.entries(), [], "the removed callback had not begun");
}

#[test]
fn dropping_the_guard_of_a_callback_that_has_ended_waits_for_no_other() {
    let token = CancelToken::new();
    let [entered, leave] = [(); 2].map(|()| Arc::new(Gate::default()));
    let record = Record::default();
    let blocking = token.on_cancel({
        let (entered, leave) = (entered.clone(), leave.clone());
        let blocked = record.entry(2);
        move || {
            entered.open();
            leave.wait();
            blocked();
        }
    });
    // Registered last, so it runs first.
    let ended = token.on_cancel(record.entry(1));
    let canceller = thread::spawn(move || token.cancel());
    entered.wait();
    drop(ended);
    assert_eq!(
        record.entries(),
        [1],
        "the drop waited for a callback of another guard"
    );
    leave.open();
    canceller.join().expect("callbacks do not panic here");
    drop(blocking);
    assert_eq!(record.entries(), [1, 2]);
}

#[test]
fn a_callback_may_drop_the_guard_of_another_that_has_not_begun() {
    let token = CancelToken::new();
    let record = Record::default();
    let first = token.on_cancel(record.entry(1));
    let _second = token.on_cancel(move || drop(first));
    token.cancel();
    assert_eq!(record.entries(), []);
}

#[test]
fn a_panicking_callback_stops_no_other_and_is_traced() {
    let record = Record::default();
    let token = CancelToken::new();
    let (cancelled, traced) = traced_errors(|| {
        let _guards = (
            token.on_cancel(record.entry(1)),
            token.on_cancel(|| panic!("callback two")),
            token.on_cancel(record.entry(3)),
            token.on_cancel(|| panic!("callback four")),
        );
        catch_unwind(AssertUnwindSafe(|| token.cancel()))
    });
    assert!(cancelled.expect("a panic of a callback does not come out of cancel"));
    assert_eq!(record.entries(), [3, 1]);
    for message in ["callback two", "callback four"] {
        assert!(
            traced.iter().any(|event| event.contains(message)),
            "{message}: {traced:?}"
        );
    }
}

#[test]
fn panics_of_several_callbacks_are_failures_of_the_group_with_the_token() {
    let error = TaskGroup::scope(|g| {
        let _one = g.token().on_cancel(|| panic!("callback one"));
        let _two = g.token().on_cancel(|| panic!("callback two"));
        g.cancel();
        Ok(())
    })
    .unwrap_err();
    let panics: Vec<_> = error.panics().map(|panic| panic.message()).collect();
    assert_eq!(panics, ["callback two", "callback one"]);
    assert!(
        error
            .failures()
            .iter()
            .all(|failure| matches!(failure.kind(), FailureKind::Panic(_)))
    );
}

#[test]
fn a_callback_registered_late_that_panics_does_not_harm_the_registering_thread() {
    let (registered, traced) = traced_errors(|| {
        let token = CancelToken::new();
        token.cancel();
        catch_unwind(AssertUnwindSafe(|| {
            drop(token.on_cancel(|| panic!("inline callback")))
        }))
    });
    assert!(registered.is_ok());
    assert!(
        traced.iter().any(|event| event.contains("inline callback")),
        "{traced:?}"
    );
}

#[test]
fn a_group_in_the_cancel_callback_of_another_works() -> Result<(), GroupError> {
    static SUM: OnceLock<u32> = OnceLock::new();
    TaskGroup::scope(|g| {
        let _guard = g.token().on_cancel(|| {
            let sum = taskgroup::shield(|| {
                TaskGroup::scope(|inner| Ok(inner.spawn(|| Ok(2)).join()? + 1))
            });
            SUM.set(sum.unwrap_or(0)).expect("the callback runs once");
        });
        g.cancel();
        Ok(())
    })?;
    assert_eq!(SUM.get(), Some(&3));
    Ok(())
}

#[test]
fn a_callback_may_wait_for_a_group_below_its_token_to_end() {
    let stop = CancelToken::new();
    let (below, inside) = (stop.clone(), Arc::new(Gate::default()));
    let (up, ended) = (inside.clone(), Arc::new(Gate::default()));
    let down = ended.clone();
    let callbacks = Arc::new(AtomicUsize::new(0));
    let theirs = callbacks.clone();
    let group = thread::spawn(move || {
        let outcome = TaskGroup::builder().parent(&below).scope(|g| {
            let own = theirs.clone();
            g.token().on_cancel(move || count(&own)).forget();
            let task = g.spawn(move || {
                let token = taskgroup::current_token().expect("a task has a token");
                token.on_cancel(move || count(&theirs)).forget();
                up.open();
                taskgroup::sleep(LONG)?;
                Ok(())
            });
            Ok(task.join()?)
        });
        assert!(outcome.is_err());
        down.open();
    });
    let seen = callbacks.clone();
    stop.on_cancel(move || {
        ended.wait();
        count(&seen);
    })
    .forget();
    inside.wait();
    stop.cancel();
    group.join().expect("nothing panics");
    assert_eq!(
        callbacks.load(Ordering::Relaxed),
        3,
        "the callback of the token waited in vain"
    );
}

#[test]
fn a_callback_may_wait_for_a_thread_that_waits_for_its_token() -> Result<(), Cancelled> {
    let token = CancelToken::new();
    let gone = Arc::new(Gate::default());
    let waiter = {
        let (token, gone) = (token.clone(), gone.clone());
        thread::spawn(move || {
            let outcome = token.wait();
            gone.open();
            outcome
        })
    };
    let seen = Arc::new(AtomicUsize::new(0));
    let theirs = seen.clone();
    token
        .on_cancel(move || {
            gone.wait();
            count(&theirs);
        })
        .forget();
    token.cancel();
    assert_eq!(
        seen.load(Ordering::Relaxed),
        1,
        "the callback waited in vain"
    );
    waiter.join().expect("nothing panics")
}

#[test]
fn a_callback_of_a_task_that_panics_is_a_failure_of_its_group() {
    for (kept, daemon) in [(true, false), (false, false), (true, true), (false, true)] {
        let error = TaskGroup::scope(|g| {
            let (registered, is_registered) = mpsc::channel();
            let task = move || {
                let token = taskgroup::current_token().expect("a task has a token");
                token.on_cancel(|| panic!("in a callback")).forget();
                registered.send(())?;
                taskgroup::sleep(LONG)?;
                Ok(())
            };
            let handle = if daemon {
                g.spawn_daemon(task)
            } else {
                g.spawn(task)
            };
            let handle = kept.then_some(handle);
            is_registered.recv()?;
            g.cancel();
            drop(handle);
            Ok(())
        })
        .expect_err("the callback panics");
        let panics: Vec<_> = error.panics().map(|panic| panic.message()).collect();
        assert_eq!(panics, ["in a callback"], "kept: {kept}, daemon: {daemon}");
    }
}

#[test]
fn callbacks_of_a_task_have_run_when_the_scope_returns() -> Result<(), GroupError> {
    let begun = Arc::new(Gate::default());
    let [returned, early, ended] = [(); 3].map(|()| Arc::new(AtomicBool::new(false)));
    let mut canceller = None;
    TaskGroup::scope(|g| {
        let (token, tokens) = mpsc::channel();
        let (begun, callback_begun) = (begun.clone(), begun.clone());
        let (returned, early, ended) = (returned.clone(), early.clone(), ended.clone());
        g.spawn(move || {
            let own = taskgroup::current_token().expect("a task has a token");
            own.on_cancel(move || {
                begun.open();
                // A scope that does not wait returns within this loop. A scope that waits cannot,
                // whatever the scheduler does.
                for _ in 0..1_000 {
                    thread::yield_now();
                    early.fetch_or(returned.load(Ordering::SeqCst), Ordering::SeqCst);
                }
                ended.store(true, Ordering::SeqCst);
            })
            .forget();
            token.send(own).expect("the body receives");
            taskgroup::sleep(LONG)?;
            Ok(())
        });
        let token = tokens.recv()?;
        canceller = Some(thread::spawn(move || token.cancel()));
        callback_begun.wait();
        Ok(())
    })?;
    returned.store(true, Ordering::SeqCst);
    assert!(
        ended.load(Ordering::SeqCst) && !early.load(Ordering::SeqCst),
        "a callback outlived its scope"
    );
    canceller.take().map(thread::JoinHandle::join);
    Ok(())
}

#[test]
fn guards_dropped_in_any_order_take_back_their_own_callbacks() {
    const EACH: usize = 8;
    // Of eight callbacks, each of these orders takes the even ones back; a place that has become
    // free is used again.
    for order in [[0, 2, 4, 6], [6, 4, 2, 0], [4, 0, 6, 2], [2, 6, 0, 4]] {
        let (token, ran) = (CancelToken::new(), Arc::new(Mutex::new(Vec::new())));
        let register = |n: usize| {
            let ran = ran.clone();
            Some(token.on_cancel(move || ran.lock().unwrap().push(n)))
        };
        let mut guards: Vec<_> = (0..EACH).map(register).collect();
        for n in order {
            drop(guards[n].take());
        }
        guards.push(register(EACH));
        drop(guards.pop());
        guards.push(register(EACH + 1));
        token.cancel();
        assert_eq!(
            *ran.lock().unwrap(),
            [EACH + 1, 7, 5, 3, 1],
            "dropped in the order {order:?}"
        );
    }
}

#[test]
fn many_guards_are_dropped_quickly_in_the_order_of_their_registration() {
    const MANY: usize = 200_000;
    let token = CancelToken::new();
    let guards: Vec<_> = (0..MANY).map(|_| token.on_cancel(|| ())).collect();
    let begun = Instant::now();
    drop(guards);
    // A search for each takes minutes.
    assert!(begun.elapsed() < LONG / 4, "{:?}", begun.elapsed());
}

#[test]
fn destructors_of_forgotten_callbacks_that_panic_are_logged_each() {
    let ((), logged) = traced_errors(|| {
        let token = CancelToken::new();
        for text in ["first", "second"] {
            let bomb = Bomb(text);
            token.on_cancel(move || drop(bomb)).forget();
        }
    });
    assert_eq!(logged.len(), 2, "{logged:?}");
    assert!(
        logged[0].contains("second") && logged[1].contains("first"),
        "{logged:?}"
    );
}

#[test]
fn a_callback_with_a_capture_that_panics_as_its_token_goes_harms_no_task() -> Result<(), GroupError>
{
    for dedicated in [false, true] {
        let value = TaskGroup::scope(|g| {
            let task = || {
                let bomb = Bomb("the token is dropped");
                let token = taskgroup::current_token().expect("a task has one");
                token.on_cancel(move || drop(bomb)).forget();
                Ok(1)
            };
            let handle = if dedicated {
                g.task().dedicated().spawn(task)
            } else {
                g.spawn(task)
            };
            handle.wait()?;
            Ok(handle.join()?)
        })?;
        assert_eq!(value, 1);
    }
    Ok(())
}
