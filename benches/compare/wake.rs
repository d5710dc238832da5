//! The time from a cancel to the blocked task being awake, for each place where a task can block.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use taskgroup::sync::{
    Barrier, Condvar, Event, Latch, Mutex, OnceCell, Promise, RwLock, Semaphore,
};
use taskgroup::{CancelToken, TaskGroup, channel};

use crate::report::{Report, Title};
use crate::sampling::{Contestant, Effort, Goal, micros};

/// A sleep of this length ends only by a cancel.
const LONG: Duration = Duration::from_secs(60);

/// Blocks in the primitive until the cancel, and returns whether the cancel ended it.
pub(crate) type Block<'a> = Box<dyn FnOnce() -> bool + Send + 'a>;

pub(crate) fn wake(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let mut contestants = vec![
        Contestant::new("bare unpark of std::thread::park", || unpark(0)),
        Contestant::new("the same, the sleeper having yielded", || unpark(4)),
        cancelled("sleep", || {
            latency(Box::new(|| taskgroup::sleep(LONG).is_err()))
        }),
        cancelled("park", || latency(Box::new(|| taskgroup::park().is_err()))),
        cancelled("CancelToken::wait", || {
            let token = CancelToken::new();
            latency(Box::new(|| token.wait().is_err()))
        }),
        cancelled("TaskHandle::join", join),
    ];
    contestants.extend(locks());
    contestants.extend(signals());
    contestants.extend([
        cancelled("Receiver::recv", || {
            let (_sender, receiver) = channel::unbounded::<()>();
            latency(Box::new(|| receiver.recv().is_err()))
        }),
        cancelled("Sender::send", || {
            let (sender, _receiver) = channel::bounded(0);
            latency(Box::new(|| sender.send(()).is_err()))
        }),
        cancelled("with_cancel_hook, around a park", hook),
    ]);
    let title = Title {
        row: "wake",
        case: "one task blocked, cancel to awake",
        unit: "us",
    };
    report.table(&title, contestants, effort.rounds(61))
}

fn cancelled(name: &str, sample: fn() -> anyhow::Result<f64>) -> Contestant<'static> {
    Contestant::new(name, sample).goal(Goal::InverseRatio(1.2))
}

fn locks() -> Vec<Contestant<'static>> {
    vec![
        cancelled("Mutex::lock", || {
            let mutex = Mutex::new(());
            let _held = mutex.lock_uncancellable();
            latency(Box::new(|| mutex.lock().is_err()))
        }),
        cancelled("RwLock::read", || {
            let lock = RwLock::new(());
            let _held = lock.write_uncancellable();
            latency(Box::new(|| lock.read().is_err()))
        }),
        cancelled("RwLock::write", || {
            let lock = RwLock::new(());
            let _held = lock.read_uncancellable();
            latency(Box::new(|| lock.write().is_err()))
        }),
        cancelled("Condvar::wait", || {
            let (mutex, condvar) = (Mutex::new(()), Condvar::new());
            latency(Box::new(|| {
                mutex
                    .lock()
                    .is_ok_and(|mut held| condvar.wait(&mut held).is_err())
            }))
        }),
    ]
}

fn signals() -> Vec<Contestant<'static>> {
    vec![
        cancelled("Semaphore::acquire", || {
            let semaphore = Semaphore::new(0);
            latency(Box::new(|| semaphore.acquire().is_err()))
        }),
        cancelled("Barrier::wait", || {
            let barrier = Barrier::new(2);
            latency(Box::new(|| barrier.wait().is_err()))
        }),
        cancelled("Event::wait", || {
            let event = Event::new();
            latency(Box::new(|| event.wait().is_err()))
        }),
        cancelled("Latch::wait", || {
            let latch = Latch::new(1);
            latency(Box::new(|| latch.wait().is_err()))
        }),
        cancelled("OnceCell::get_or_init", || {
            let cell = OnceCell::new();
            // The task waits for the value that is made here.
            let mut took = None;
            cell.get_or_init(|| {
                took = Some(latency(Box::new(|| cell.get_or_init(|| ()).is_err())))
            })?;
            took.context("the cell had a value")?
        }),
        cancelled("Promise::wait", || {
            let promise = Promise::<()>::new();
            latency(Box::new(|| promise.wait().is_err()))
        }),
    ]
}

/// Returns the microseconds from the cancel of a task's group to the task's return from `block`.
pub(crate) fn latency(block: Block<'_>) -> anyhow::Result<f64> {
    timed(block, |g| g.cancel())
}

/// Like [`latency`], for a wake that is not a cancel.
fn timed(block: Block<'_>, wake: impl FnOnce(&TaskGroup<'_, '_>)) -> anyhow::Result<f64> {
    let entering = AtomicBool::new(false);
    let awake = OnceLock::new();
    let called = TaskGroup::scope(|g| {
        g.spawn(|| {
            entering.store(true, Ordering::Relaxed);
            let as_meant = block();
            awake.get_or_init(Instant::now);
            ensure!(
                as_meant,
                "what the task blocked in was not ended by the cancel"
            );
            Ok(())
        });
        asleep_after(&entering);
        let called = Instant::now();
        wake(g);
        Ok(called)
    })?;
    let awake = awake.into_inner().context("the task has not run")?;
    Ok(micros(awake.saturating_duration_since(called)))
}

/// A thread that has yielded before it went to sleep has less of a claim to the core when it is
/// woken. Most waits of this crate yield in a spin.
fn unpark(yields: usize) -> anyhow::Result<f64> {
    let flag = AtomicBool::new(false);
    let sleeper = OnceLock::new();
    let block = || {
        let _ = sleeper.set(thread::current());
        (0..yields).for_each(|_| thread::yield_now());
        while !flag.load(Ordering::Acquire) {
            thread::park();
        }
        true
    };
    timed(Box::new(block), |_| {
        flag.store(true, Ordering::Release);
        sleeper.get().expect("the task is asleep").unpark();
    })
}

/// The task that is joined belongs to an outer group, so that the cancel does not end it too.
fn join() -> anyhow::Result<f64> {
    let (begun, beginning) = mpsc::channel();
    let (release, held) = mpsc::channel::<()>();
    let took = TaskGroup::scope(|g| {
        let other = g.spawn(move || {
            begun.send(())?;
            // Ends when `release` is dropped.
            Ok(held.recv().is_err())
        });
        beginning.recv()?;
        let took = latency(Box::new(|| other.join().is_err()));
        drop(release);
        took
    })?;
    Ok(took)
}

fn hook() -> anyhow::Result<f64> {
    let block = || {
        let (sleeper, flag) = (thread::current(), AtomicBool::new(false));
        let stop = || {
            flag.store(true, Ordering::Release);
            sleeper.unpark();
        };
        taskgroup::with_cancel_hook(stop, || {
            while !flag.load(Ordering::Acquire) {
                thread::park();
            }
        });
        taskgroup::is_cancelled()
    };
    latency(Box::new(block))
}

/// Returns when a thread that is about to block has stopped spinning and is asleep.
fn asleep_after(entering: &AtomicBool) {
    while !entering.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_micros(200));
    }
    thread::sleep(Duration::from_millis(3));
}
