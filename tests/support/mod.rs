//! Helpers of several test files: latches, counters, destructors that count or panic, a record of
//! traced errors, and child processes.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses a part of this module"
)]

mod child;

use std::fmt::{self, Write as _};
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

#[allow(unused_imports, reason = "each test binary uses a part of this module")]
pub(crate) use child::*;
use taskgroup::{Builder, Cancelled, GroupError, GroupStats, PanicPayload, TaskGroup, TaskHandle};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Longer than any test: a sleep of this length ends only by a cancel.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Blocks until this thread's scope is cancelled.
#[track_caller]
pub(crate) fn blocked() -> Cancelled {
    taskgroup::sleep(LONG).expect_err("no cancel came within a minute")
}

/// A latch that no cancel interrupts, to order the threads of a test.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    pub(crate) fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    pub(crate) fn is_open(&self) -> bool {
        *self.open.lock().unwrap()
    }

    /// Blocks until the gate is open.
    pub(crate) fn wait(&self) {
        let (open, timed_out) = self
            .opened
            .wait_timeout_while(self.open.lock().unwrap(), LONG, |open| !*open)
            .expect("no holder panics");
        drop(open);
        assert!(!timed_out.timed_out(), "the gate stayed shut for a minute");
    }
}

/// The limit of a wait that is meant to time out.
pub(crate) const MOMENT: Duration = Duration::from_millis(1);

/// Counts the calls that are inside, and keeps the highest count.
#[derive(Debug, Default)]
pub(crate) struct Peak {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Peak {
    pub(crate) fn inside<T>(&self, f: impl FnOnce() -> T) -> T {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        let value = f();
        self.now.fetch_sub(1, Ordering::SeqCst);
        value
    }

    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

/// Counts how many of its values were dropped.
#[derive(Debug, Default)]
pub(crate) struct Drops(Arc<AtomicUsize>);

/// A value with a drop that [`Drops`] counts.
#[derive(Debug)]
pub(crate) struct Counted(Arc<AtomicUsize>);

impl Drops {
    pub(crate) fn counted(&self) -> Counted {
        Counted(self.0.clone())
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A value that panics with this text when it is dropped.
#[derive(Debug)]
pub(crate) struct Bomb(pub(crate) &'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("{}", self.0);
        }
    }
}

/// Returns the message of the panic of `f`.
#[track_caller]
pub(crate) fn panic_of<T>(f: impl FnOnce() -> T) -> String {
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| drop(f())));
    let payload = outcome.expect_err("it panics");
    match payload.downcast::<String>() {
        Ok(message) => *message,
        Err(payload) => (*payload.downcast_ref::<&str>().expect("the payload is text")).to_owned(),
    }
}

/// Returns the messages of the panics in a report, in their order.
pub(crate) fn panic_messages<E>(error: &GroupError<E>) -> Vec<&str> {
    error.panics().map(PanicPayload::message).collect()
}

/// Runs `f` and returns the events that its thread traced at error level during it, each as a
/// string with all its fields.
pub(crate) fn traced_errors<T>(f: impl FnOnce() -> T) -> (T, Vec<String>) {
    traced(Level::ERROR, f)
}

/// Like [`traced_errors`], for the events of `level` and of more severe ones.
pub(crate) fn traced<T>(level: Level, f: impl FnOnce() -> T) -> (T, Vec<String>) {
    let events = Arc::new(Mutex::new(Vec::new()));
    let heard = events.clone();
    let listener = Listener {
        level,
        hears: move |event| heard.lock().unwrap().push(event),
    };
    let value = tracing::subscriber::with_default(listener, f);
    let events = events.lock().unwrap().clone();
    (value, events)
}

/// Passes on each event of a level or a more severe one, as a string with all its fields.
pub(crate) struct Listener<F> {
    pub(crate) level: Level,
    pub(crate) hears: F,
}

impl<F: Fn(String) + 'static> Subscriber for Listener<F> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Each event of the crate has this target.
        *metadata.level() <= self.level && metadata.target() == "taskgroup"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        struct Text(String);
        impl Visit for Text {
            fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
                let _ = write!(self.0, "{field}={value:?} ");
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        (self.hears)(text.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Runs `f` while a worker spins on every core, so that no worker takes the tasks that `f` queues.
/// Needs a process of its own: see [`alone`].
pub(crate) fn with_busy_workers<T>(f: impl FnOnce() -> T) -> T {
    let (spinning, over) = (AtomicUsize::new(0), Gate::default());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            TaskGroup::scope(|g| {
                for _ in 0..cores {
                    g.spawn(|| {
                        spinning.fetch_add(1, Ordering::SeqCst);
                        until(|| over.is_open());
                        Ok(())
                    });
                }
                over.wait();
                Ok(())
            })
        });
        until(|| spinning.load(Ordering::SeqCst) == cores);
        let value = f();
        over.open();
        value
    })
}

/// Runs `first` on several workers at once, from tasks that `spawning` spawns by its argument, and
/// then `next` on several. Returns what `next` returned on one of the workers that ran `first`.
pub(crate) fn on_a_used_worker<T: Send>(
    spawning: impl Fn(&dyn Fn()),
    first: impl Fn() + Sync,
    next: impl Fn() -> T + Sync,
) -> T {
    const AT_ONCE: usize = 4;
    let used = Mutex::new(Vec::new());
    for _ in 0..1_000 {
        // All are on workers at the same time, since each waits for the others.
        let barrier = taskgroup::sync::Barrier::new(AT_ONCE);
        let done = TaskGroup::scope(|g| {
            spawning(&|| {
                for _ in 0..AT_ONCE {
                    g.task().name("first").spawn(|| {
                        barrier.wait()?;
                        first();
                        used.lock().unwrap().push(std::thread::current().id());
                        Ok(())
                    });
                }
            });
            Ok(())
        });
        done.expect("the first tasks succeed");

        let found = Mutex::new(None);
        let done = TaskGroup::scope(|g| {
            for _ in 0..AT_ONCE {
                g.task().name("next").spawn(|| {
                    barrier.wait()?;
                    let value = next();
                    if used.lock().unwrap().contains(&std::thread::current().id()) {
                        *found.lock().unwrap() = Some(value);
                    }
                    Ok(())
                });
            }
            Ok(())
        });
        done.expect("the next tasks succeed");
        if let Some(value) = found.into_inner().unwrap() {
            return value;
        }
    }
    panic!("none of the workers has come back")
}

/// Runs `body` in a scope, with a limit if there is one. Returns the stats of the group after the
/// end of all tasks. Failures are the subject of other tests.
pub(crate) fn stats_of<'env>(
    builder: Builder,
    limit: Option<usize>,
    body: impl for<'scope> FnOnce(&'scope TaskGroup<'scope, 'env>) -> anyhow::Result<()>,
) -> GroupStats {
    let stats = Arc::new(Mutex::new(None));
    let keep = stats.clone();
    let builder = match limit {
        Some(limit) => builder.limit(limit),
        None => builder,
    };
    let _report = builder.scope(|g| {
        g.on_release(move || {
            *keep.lock().unwrap() = Some(g.stats());
            Ok(())
        });
        body(g)
    });
    let stats = stats.lock().unwrap().take();
    stats.expect("the hook has run")
}

/// Spawns a task that opens `running`, and ends when `leave` is open. Returns once it runs.
pub(crate) fn spawn_holder<'scope>(
    g: &'scope TaskGroup<'scope, '_>,
    running: &'scope Gate,
    leave: &'scope Gate,
) -> TaskHandle<'scope, ()> {
    let holder = g.spawn(|| {
        running.open();
        leave.wait();
        Ok(())
    });
    running.wait();
    holder
}

/// Lets other threads run until `condition` holds.
pub fn until(mut condition: impl FnMut() -> bool) {
    let started = std::time::Instant::now();
    while !condition() {
        assert!(
            started.elapsed() < LONG,
            "the condition did not hold within a minute"
        );
        std::thread::yield_now();
    }
}

/// Lets other threads run until so many wait at `primitive`, according to its `Debug`.
pub fn until_waiting(primitive: &impl fmt::Debug, count: usize) {
    let text = format!("waiting: {count}");
    until(|| {
        let shown = format!("{primitive:?}");
        shown
            .split(['{', ',', '}'])
            .any(|field| field.trim() == text)
    });
}

/// Ends the process if it is held for two minutes, for tests that would hang if a wake was lost.
pub struct Watch(#[allow(dead_code, reason = "held for its drop")] std::sync::mpsc::Sender<()>);

/// Returns a watch over the test that calls it.
#[must_use]
pub fn watch() -> Watch {
    let (alive, ended) = std::sync::mpsc::channel();
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    std::thread::spawn(move || {
        if ended.recv_timeout(2 * LONG) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            eprintln!("{test} hangs");
            std::process::abort();
        }
    });
    Watch(alive)
}
