//! Callbacks of a cancel.

mod guards;
mod panics;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread;

use taskgroup::{CallbackGuard, CancelToken, Cancelled, GroupError, TaskGroup};

use super::count;
use crate::support::{Gate, LONG};

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
