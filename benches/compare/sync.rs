//! Locks and signals: with one thread, between two threads, and the price of being cancellable.

use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{self, Arc, PoisonError};
use std::task::{Context, Poll, Wake};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use taskgroup::sync::{Condvar, Event, Mutex, Permit, RwLock, Semaphore};
use taskgroup::{Cancelled, TaskGroup};

use crate::report::{Report, Title};
use crate::sampling::{Contestant, Effort, Goal, nanos};

/// Calls of one thread alone: the sample takes ten milliseconds or so.
const ALONE: u32 = 1_000_000;
/// Calls of each of two threads that want the same lock: many more than the first makes before the
/// second has begun.
const CONTENDED: u32 = 1_000_000;
/// Round trips between two threads, each of which may put a core to sleep twice.
const TRIPS: u32 = 2_000;

pub(crate) fn mutex(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let ours = Mutex::new(0_u64);
    let parking_lot = parking_lot::Mutex::new(0_u64);
    let std = sync::Mutex::new(0_u64);
    let add_ours = || ours.lock().map(|mut n| *n += 1);
    let add_parking_lot = || *parking_lot.lock() += 1;
    let add_std = || *held(std.lock()) += 1;
    for (case, goal, calls) in [
        ("one thread", 1.1, Calls::Alone),
        ("two threads", 1.2, Calls::ByTwo),
    ] {
        let contestants = vec![
            Contestant::new("taskgroup::sync::Mutex", || calls.time(add_ours)),
            Contestant::new("parking_lot::Mutex", || calls.time(add_parking_lot))
                .goal(Goal::Ratio(goal)),
            Contestant::new("std::sync::Mutex", || calls.time(add_std)).goal(Goal::Ratio(goal)),
        ];
        let case = format!("lock, add, unlock; {case}");
        report.table(
            &Title {
                row: "mutex",
                case: &case,
                unit: "ns",
            },
            contestants,
            effort.rounds(15),
        )?;
    }
    Ok(())
}

pub(crate) fn rwlock(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let ours = RwLock::new(0_u64);
    let parking_lot = parking_lot::RwLock::new(0_u64);
    let std = sync::RwLock::new(0_u64);
    let read_ours = || ours.read().map(|n| _ = black_box(*n));
    let read_parking_lot = || _ = black_box(*parking_lot.read());
    let read_std = || _ = black_box(*held(std.read()));
    for (case, goal, calls) in [
        ("one thread", 1.1, Calls::Alone),
        ("two threads", 1.2, Calls::ByTwo),
    ] {
        let contestants = vec![
            Contestant::new("taskgroup::sync::RwLock", || calls.time(read_ours)),
            Contestant::new("parking_lot::RwLock", || calls.time(read_parking_lot))
                .goal(Goal::Ratio(goal)),
            Contestant::new("std::sync::RwLock", || calls.time(read_std)).goal(Goal::Ratio(goal)),
        ];
        let case = format!("read, unlock; {case}");
        report.table(
            &Title {
                row: "rwlock",
                case: &case,
                unit: "ns",
            },
            contestants,
            effort.rounds(15),
        )?;
    }
    let contestants = vec![
        Contestant::new("taskgroup::sync::RwLock", || {
            alone(|| ours.write().map(|mut n| *n += 1))
        }),
        Contestant::new("parking_lot::RwLock", || {
            alone(|| *parking_lot.write() += 1)
        })
        .goal(Goal::Ratio(1.1)),
        Contestant::new("std::sync::RwLock", || alone(|| *held(std.write()) += 1))
            .goal(Goal::Ratio(1.1)),
    ];
    let title = Title {
        row: "rwlock",
        case: "write, unlock; one thread",
        unit: "ns",
    };
    report.table(&title, contestants, effort.rounds(15))
}

pub(crate) fn semaphore(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let title = |case, unit| Title {
        row: "semaphore",
        case,
        unit,
    };
    let ours = Semaphore::new(1);
    let tokio = tokio::sync::Semaphore::new(1);
    let by_hand = Counter::new(1);
    let contestants = vec![
        Contestant::new("taskgroup's acquire", || alone(|| ours.acquire().map(drop))),
        Contestant::new("tokio's try_acquire", || {
            alone(|| drop(tokio.try_acquire()))
        })
        .goal(Goal::Ratio(1.0)),
        Contestant::new("by hand: Mutex and Condvar of std", || {
            alone(|| {
                by_hand.take();
                by_hand.give()
            })
        })
        .goal(Goal::Ratio(1.0)),
    ];
    report.table(
        &title("a permit taken and put back; one thread", "ns"),
        contestants,
        effort.rounds(15),
    )?;

    let contestants = vec![
        Contestant::new("taskgroup", || {
            hand_over(
                || Semaphore::new(0),
                |s| s.add_permits(1),
                |s| s.acquire().map(Permit::forget),
            )
        }),
        Contestant::new("tokio, on threads that park", || {
            let new = || tokio::sync::Semaphore::new(0);
            hand_over(
                new,
                |s| s.add_permits(1),
                |s| block_on(s.acquire()).expect("never closed").forget(),
            )
        })
        .goal(Goal::Ratio(1.0)),
        Contestant::new("by hand: Mutex and Condvar of std", || {
            hand_over(|| Counter::new(0), Counter::give, |s| s.take())
        })
        .goal(Goal::Ratio(1.0)),
    ];
    report.table(
        &title("a permit from thread to thread and back", "ns per way"),
        contestants,
        effort.rounds(15),
    )
}

const EVENT_BY_HAND: &str = "by hand: Mutex and Condvar of std";

fn event_title<'a>(case: &'a str, unit: &'a str) -> Title<'a> {
    Title {
        row: "event",
        case,
        unit,
    }
}

pub(crate) fn event(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let (ours, by_hand) = (Event::new(), Flag::default());
    ours.set();
    by_hand.set();
    let contestants = vec![
        Contestant::new("taskgroup", || alone(|| ours.wait())),
        Contestant::new(EVENT_BY_HAND, || alone(|| by_hand.wait())).goal(Goal::Ratio(1.0)),
    ];
    report.table(
        &event_title("wait for an event that is set; one thread", "ns"),
        contestants,
        effort.rounds(15),
    )?;

    let contestants = vec![
        Contestant::new("taskgroup", || {
            alone(|| {
                ours.set();
                ours.reset()
            })
        }),
        Contestant::new(EVENT_BY_HAND, || {
            alone(|| {
                by_hand.set();
                by_hand.reset()
            })
        })
        .goal(Goal::Ratio(1.0)),
    ];
    report.table(
        &event_title("set and reset; one thread", "ns"),
        contestants,
        effort.rounds(15),
    )?;

    signals(effort, report)
}

/// Signals from one thread to another and back.
fn signals(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let contestants = vec![
        Contestant::new("taskgroup", || {
            hand_over(Event::new, Event::set, |event| {
                event.wait()?;
                event.reset();
                Ok(())
            })
        }),
        Contestant::new(EVENT_BY_HAND, || {
            hand_over(Flag::default, Flag::set, |flag| {
                flag.wait();
                flag.reset()
            })
        })
        .goal(Goal::Ratio(1.0)),
    ];
    report.table(
        &event_title("a signal from thread to thread and back", "ns per way"),
        contestants,
        effort.rounds(15),
    )
}

pub(crate) fn condvar(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let ours = || {
        let (turn, passed) = (Mutex::new(0), Condvar::new());
        by_two(TRIPS, |me| {
            let mut now = turn.lock()?;
            passed.wait_while(&mut now, |now| *now != me)?;
            *now = 1 - me;
            passed.notify_one();
            Ok(())
        })
    };
    let parking_lot = || {
        let (turn, passed) = (parking_lot::Mutex::new(0), parking_lot::Condvar::new());
        by_two(TRIPS, |me| {
            let mut now = turn.lock();
            passed.wait_while(&mut now, |now| *now != me);
            *now = 1 - me;
            passed.notify_one();
        })
    };
    let std = || {
        let (turn, passed) = (sync::Mutex::new(0), sync::Condvar::new());
        by_two(TRIPS, |me| {
            let mut now = held(passed.wait_while(held(turn.lock()), |now| *now != me));
            *now = 1 - me;
            passed.notify_one()
        })
    };
    let contestants = vec![
        Contestant::new("taskgroup", ours),
        Contestant::new("parking_lot", parking_lot).goal(Goal::Ratio(1.0)),
        Contestant::new("std", std).goal(Goal::Ratio(1.0)),
    ];
    let title = Title {
        row: "condvar",
        case: "the turn from thread to thread and back",
        unit: "ns per way",
    };
    report.table(&title, contestants, effort.rounds(15))
}

/// Calls that could block and need not, beside the same calls without cancellation.
pub(crate) fn overhead(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    const LITTLE: Goal = Goal::Excess(10.0);
    let mutex = Mutex::new(0_u64);
    let tables = [
        (
            "lock of a mutex that is free",
            Contestant::new("lock", || alone(|| mutex.lock().map(|mut n| *n += 1))),
            Contestant::new("lock_uncancellable", || {
                alone(|| *mutex.lock_uncancellable() += 1)
            }),
        ),
        (
            "a sleep of no time",
            Contestant::new("taskgroup::sleep", || {
                alone(|| taskgroup::sleep(Duration::ZERO))
            }),
            Contestant::new("std::thread::sleep", || {
                alone(|| thread::sleep(Duration::ZERO))
            }),
        ),
        (
            "a park after its wake",
            Contestant::new("taskgroup::park", || {
                alone(|| {
                    thread::current().unpark();
                    taskgroup::park()
                })
            }),
            Contestant::new("std::thread::park", || {
                alone(|| {
                    thread::current().unpark();
                    thread::park()
                })
            }),
        ),
    ];
    for (case, ours, without) in tables {
        let contestants = vec![ours, without.goal(LITTLE)];
        report.table(
            &Title {
                row: "overhead",
                case,
                unit: "ns",
            },
            contestants,
            effort.rounds(15),
        )?;
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Calls {
    Alone,
    ByTwo,
}

impl Calls {
    fn time<R: Outcome>(self, once: impl Fn() -> R + Sync) -> anyhow::Result<f64> {
        match self {
            Calls::Alone => alone(once),
            Calls::ByTwo => by_two(CONTENDED, |_| once()),
        }
    }
}

/// Returns the nanoseconds for one call, in a task.
fn alone<R: Outcome>(once: impl Fn() -> R + Sync) -> anyhow::Result<f64> {
    let took = TaskGroup::scope(|g| {
        let task = g.spawn(|| {
            let started = Instant::now();
            for _ in 0..ALONE {
                once().outcome()?;
            }
            Ok(started.elapsed())
        });
        Ok(task.join()?)
    })?;
    Ok(nanos(took) / f64::from(ALONE))
}

/// Returns the nanoseconds for each of the calls that two tasks make at the same time, `each` calls
/// per task. A call gets the number of its task, 0 or 1.
fn by_two<R: Outcome>(each: u32, once: impl Fn(usize) -> R + Sync) -> anyhow::Result<f64> {
    let here = AtomicUsize::new(0);
    let took = TaskGroup::scope(|g| {
        let tasks = [0, 1].map(|me| {
            let (here, once) = (&here, &once);
            g.spawn(move || {
                // A barrier would not do: the thread that it wakes starts some 50 us after the
                // other one.
                here.fetch_add(1, Ordering::Relaxed);
                while here.load(Ordering::Relaxed) < 2 {
                    thread::yield_now();
                }
                let started = Instant::now();
                for _ in 0..each {
                    once(me).outcome()?;
                }
                Ok(started.elapsed())
            })
        });
        let mut longest = Duration::ZERO;
        for task in tasks {
            longest = longest.max(task.join()?);
        }
        Ok(longest)
    })?;
    Ok(nanos(took) / f64::from(2 * each))
}

/// Returns the nanoseconds for one way of a round trip over two signals: each side gives one and
/// takes the other.
fn hand_over<S: Sync, R: Outcome>(
    new: impl Fn() -> S,
    give: impl Fn(&S) + Sync,
    take: impl Fn(&S) -> R + Sync,
) -> anyhow::Result<f64> {
    let (there, back) = (new(), new());
    by_two(TRIPS, |me| {
        if me == 0 {
            give(&there);
            take(&back).outcome()
        } else {
            take(&there).outcome()?;
            give(&back);
            Ok(())
        }
    })
}

/// The result of a call: nothing, or nothing unless it was cancelled.
trait Outcome {
    fn outcome(self) -> Result<(), Cancelled>;
}

impl Outcome for () {
    fn outcome(self) -> Result<(), Cancelled> {
        Ok(())
    }
}

impl Outcome for Result<(), Cancelled> {
    fn outcome(self) -> Result<(), Cancelled> {
        self
    }
}

fn held<G>(locked: Result<G, PoisonError<G>>) -> G {
    locked.expect("no holder panics")
}

/// A semaphore as people write it.
struct Counter {
    permits: sync::Mutex<usize>,
    given: sync::Condvar,
}

impl Counter {
    fn new(permits: usize) -> Self {
        Counter {
            permits: sync::Mutex::new(permits),
            given: sync::Condvar::new(),
        }
    }

    fn give(&self) {
        *held(self.permits.lock()) += 1;
        self.given.notify_one();
    }

    fn take(&self) {
        *held(
            self.given
                .wait_while(held(self.permits.lock()), |permits| *permits == 0),
        ) -= 1;
    }
}

/// An event as people write it.
#[derive(Default)]
struct Flag {
    up: sync::Mutex<bool>,
    raised: sync::Condvar,
}

impl Flag {
    fn set(&self) {
        *held(self.up.lock()) = true;
        self.raised.notify_all();
    }

    fn reset(&self) {
        *held(self.up.lock()) = false;
    }

    fn wait(&self) {
        drop(held(
            self.raised.wait_while(held(self.up.lock()), |up| !*up),
        ));
    }
}

/// Blocks this thread until `future` is ready: the way from an async primitive to a thread.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let mut future = pin!(future);
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        thread::park();
    }
}
