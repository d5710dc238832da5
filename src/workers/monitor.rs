//! The monitor: a thread that finds workers blocked in code that is not ours, while tasks are
//! queued.
//!
//! It looks every tick at the workers that have begun no task since the last one. A worker that
//! the system says is asleep gives its place to another, and a worker that has been at its task for
//! a tick gives back its local batch. What the monitor finds sets its pace:
//!
//! - Every worker that it looks at is asleep: it sends twice as many workers at the next tick. So a
//!   thousand tasks that block get their threads in a few dozen ticks.
//! - They run: it sends none. So tasks that compute stay near the number of cores.
//! - No task at all begins for a while: it sends one more worker, more and more rarely. The running
//!   tasks may be spinning until a queued one has run.

use std::sync::Arc;
use std::time::Duration;

use super::look::{Look, Looks};
use super::members::Progress;
use super::pool::{MonitorState, Pool};
use super::source::Refusal;
use super::worker::{Activity, Worker};
use crate::facade::{Unparker, contained, park, park_timeout};

/// Between two looks at workers that are at work.
const TICK: Duration = Duration::from_millis(1);
/// Between two looks while each finds nothing but sleepers.
const FAST_TICK: Duration = Duration::from_micros(100);
/// For how many ticks the monitor stays up with nothing queued. Waking it costs more than its
/// ticks.
const LINGER: u32 = 50;
/// After how many ticks without a new task the first worker more is sent. Doubled each time, up to
/// `MOST_TICKS`.
const FIRST_TICKS: u32 = 10;
const MOST_TICKS: u32 = 500;
/// The most workers sent in one tick.
const MOST_PER_TICK: usize = 64;
/// The most workers looked at in one tick. More are at work at once only when many have been woken
/// together, and then the looks rotate: a tick costs the same however many threads there are.
const LOOKS: usize = 64;

/// Whether this thread is still the monitor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Duty {
    Kept,
    HandedOver,
}

/// The state that the monitor keeps from tick to tick.
struct Monitor {
    pool: &'static Pool,
    looks: Looks,
    /// How many ticks in a row had nothing to look after.
    quiet: u32,
    /// How many workers are sent in a tick that finds nothing but sleepers.
    burst: usize,
    /// How many ticks in a row saw no task begin.
    stuck: u32,
    /// How many of these it takes until another worker is sent.
    patience: u32,
}

/// The findings of the looks of one tick.
#[derive(Default)]
struct Findings {
    /// Workers that sleep, and have lost their places.
    asleep: usize,
    /// Workers that run.
    awake: usize,
}

/// Runs the monitor of `pool` on this thread, until another has taken the duty over.
pub(super) fn run(pool: &'static Pool) {
    #[cfg(not(loom))]
    let _helper = crate::lanes::Helper::begin();
    let mut monitor = Monitor {
        pool,
        looks: Looks::default(),
        quiet: 0,
        burst: 1,
        stuck: 0,
        patience: FIRST_TICKS,
    };

    // Where looks find nothing but sleepers, most of the queued tasks will sleep too.
    loop {
        park_timeout(if monitor.burst > 1 { FAST_TICK } else { TICK });
        if monitor.tick() == Duty::HandedOver {
            return;
        }
    }
}

impl Monitor {
    fn tick(&mut self) -> Duty {
        let mut state = self.pool.lock();
        if !state.needs_monitor() {
            drop(state);
            self.rest();
            return Duty::Kept;
        }
        self.quiet = 0;

        // To ask the system takes long, so the looks themselves come after the lock.
        let suspects = state.members.look(LOOKS);
        let progress = state.members.take_progress();
        drop(state);

        let found = self.look_at(&suspects);
        let refusal = self.send(found, progress);

        // Invariant 5: to fail a task runs user code, which may block.
        match refusal {
            Some(refusal) => self.hand_over_during(|| refusal.fail()),
            None => Duty::Kept,
        }
    }

    /// Spends a tick with nothing to look after. After a while of these the monitor sleeps.
    fn rest(&mut self) {
        self.looks.clear();
        self.burst = 1;
        self.quiet += 1;

        if self.quiet > LINGER {
            self.quiet = 0;
            self.wait_for_work();
        }
    }

    /// Gives back the local batches of `suspects`, and frees the places of suspects that sleep.
    fn look_at(&mut self, suspects: &[Arc<Worker>]) -> Findings {
        let mut found = Findings::default();
        for worker in suspects {
            // Invariant 2: the tasks behind a task that takes a tick are for others now.
            worker.give_back();

            let tasks = worker.tasks();
            match self.looks.look(worker) {
                Look::Asleep => {}
                Look::Awake => {
                    found.awake += 1;
                    continue;
                }
                Look::Unknown => continue,
            }

            // The look took its time: the worker may have gone on to another task, or blocked in
            // one of our blocking points.
            let mut state = self.pool.lock();
            if worker.tasks() == tasks && worker.activity() == Activity::Busy {
                state.members.set_activity(worker, Activity::Stalled);
                found.asleep += 1;
            }
        }
        found
    }

    /// Sends as many workers as this tick calls for. Returns the first refusal.
    fn send(&mut self, found: Findings, progress: Progress) -> Option<Refusal> {
        self.burst = match (found.asleep, found.awake) {
            (0, 0) => self.burst,
            (_, 0) => (self.burst * 2).min(MOST_PER_TICK),
            _ => 1,
        };

        // Where no task begins, the running ones may be spinning until a queued one has run.
        let mut refusal = None;
        match progress {
            Progress::Made => (self.stuck, self.patience) = (0, FIRST_TICKS),
            Progress::None => self.stuck += 1,
        }
        if self.stuck > self.patience {
            (self.stuck, self.patience) = (0, (self.patience * 2).min(MOST_TICKS));
            refusal = self.pool.send_extra_worker().and_then(Result::err);
        }

        // The sleepers have left their places, and those are refilled. A burst goes beyond them.
        let sent = if found.asleep > 0 { self.burst } else { 0 };
        for _ in 0..sent {
            match self.pool.send_extra_worker() {
                Some(Ok(())) if refusal.is_none() => {}
                Some(Err(refused)) => refusal = refusal.or(Some(refused)),
                _ => break,
            }
        }

        // The tasks that were given back may need a worker, too.
        refusal.or_else(|| self.pool.ensure_worker(self.pool.lock()))
    }

    /// Runs `f`, which may block, while another thread is the monitor, if the system has one.
    fn hand_over_during(&self, f: impl FnOnce()) -> Duty {
        // Absent, so that the next line starts another thread.
        self.pool.lock().monitor = MonitorState::Absent;
        self.pool.ensure_monitor(self.pool.lock());

        contained(f);

        let mut state = self.pool.lock();
        if !matches!(state.monitor, MonitorState::Absent) {
            return Duty::HandedOver;
        }

        // The system had no thread for another monitor.
        state.monitor = MonitorState::Running;
        Duty::Kept
    }

    /// Sleeps until something asks for the monitor.
    fn wait_for_work(&self) {
        let mut state = self.pool.lock();
        if state.needs_monitor() {
            return;
        }

        // Under the lock of the look above, so that no request is missed in between.
        state.monitor = MonitorState::Parked(Unparker::current());
        drop(state);

        // The park may return early. A request sets the state before it unparks.
        while !matches!(self.pool.lock().monitor, MonitorState::Running) {
            park();
        }
    }
}
