//! The monitor: a thread that finds workers blocked in code that is not ours, while tasks are
//! queued.
//!
//! It looks every tick at the workers whose task has not changed since the last one. One that the
//! system says is asleep gives its place to another worker, and one that has been at its task for a
//! tick gives back what it has stashed. What it finds sets its pace: when every worker it looks at
//! is asleep, it opens twice as many places at the next tick, so that a thousand tasks that block
//! get their threads in a few dozen ticks; when they run, it opens none, so that tasks that compute
//! stay near the number of cores. Only where no task at all begins for a while does it send one
//! worker more, ever more rarely: the running tasks may be spinning until a queued one has run.

use std::time::Duration;

use super::look::{Look, Looks};
use super::pool::{POOL, State};
use super::worker::Place;
use crate::facade::{MutexGuard, TIME_PASSES, Unparker, contained, park_timeout, start_thread};
use crate::panics::log;

/// Between two looks at workers that are at work.
const TICK: Duration = Duration::from_millis(1);
/// Between two looks while each finds nothing but sleepers.
const FAST_TICK: Duration = Duration::from_micros(100);
/// For how many ticks the monitor stays up with nothing queued; waking it costs more than its
/// ticks.
const LINGER: u32 = 50;
/// After how many ticks without a new task the first worker more is sent; doubled each time, up to
/// the second.
const PATIENCE: u32 = 10;
const MOST_PATIENCE: u32 = 500;
/// The most places opened in one tick.
const BURST: usize = 64;
/// The most workers looked at in one tick. More are at work at once only when many have been woken
/// together, and then the looks go round: a tick costs the same however many threads there are.
const LOOKS: usize = 64;

/// What the monitor's thread is doing; under the lock of the pool.
#[derive(Default)]
pub(super) enum Standing {
    #[default]
    Absent,
    Parked(Unparker),
    Running,
}

/// Makes the monitor run. Takes the lock and releases it.
pub(super) fn rouse(mut state: MutexGuard<'_, State>) {
    if !TIME_PASSES {
        return;
    }
    match std::mem::replace(&mut state.monitor, Standing::Running) {
        Standing::Running => {}
        Standing::Parked(thread) => {
            drop(state);
            thread.unpark();
        }
        Standing::Absent => {
            drop(state);
            if let Err(error) = start_thread("taskgroup-monitor", None, || contained(run)) {
                POOL.lock().monitor = Standing::Absent;
                log(
                    || tracing::error!(%error, "no thread to look for blocked workers: queued tasks wait for running ones"),
                );
            }
        }
    }
}

fn run() {
    let mut looks = Looks::default();
    let mut quiet = 0;
    let mut burst = 1;
    let mut patience = PATIENCE;
    let mut stuck = 0;
    loop {
        park_timeout(if burst > 1 { FAST_TICK } else { TICK });
        let mut state = POOL.lock();
        if !state.needs_monitor() {
            drop(state);
            looks.clear();
            burst = 1;
            quiet += 1;
            if quiet > LINGER {
                quiet = 0;
                wait_for_work();
            }
            continue;
        }
        quiet = 0;
        let suspects = state.look(LOOKS);
        let progress = state.take_progress();
        drop(state);
        let (mut asleep, mut awake, mut refusal) = (0, 0, None);
        for worker in &suspects {
            worker.give_back();
            let tasks = worker.tasks();
            match looks.look(worker) {
                Look::Asleep => {}
                Look::Awake => {
                    awake += 1;
                    continue;
                }
                Look::Unknown => continue,
            }
            let mut state = POOL.lock();
            if worker.tasks() == tasks && worker.place() == Place::Busy {
                state.set_place(worker, Place::Stalled);
                asleep += 1;
            }
        }
        burst = match (asleep, awake) {
            (0, 0) => burst,
            (_, 0) => (burst * 2).min(BURST),
            _ => 1,
        };
        if progress {
            (stuck, patience) = (0, PATIENCE);
        } else {
            stuck += 1;
        }
        if stuck > patience {
            (stuck, patience) = (0, (patience * 2).min(MOST_PATIENCE));
            refusal = POOL.supply_beyond().and_then(Result::err);
        }
        // What was found asleep has left its places, and those are refilled; a burst goes beyond
        // them.
        let sent = if asleep > 0 { burst } else { 0 };
        for _ in 0..sent {
            match POOL.supply_beyond() {
                Some(Ok(())) if refusal.is_none() => {}
                Some(Err(refused)) => refusal = refusal.or(Some(refused)),
                _ => break,
            }
        }
        // What was given back may want a worker, too.
        let refusal = refusal.or_else(|| POOL.supply(POOL.lock()));
        if let Some(refusal) = refusal {
            if !stand_in(|| refusal.fail()) {
                return;
            }
        }
    }
}

/// Runs `f`, which may block, while another thread is the monitor, if one is to be had; false if
/// that has stayed.
fn stand_in(f: impl FnOnce()) -> bool {
    POOL.lock().monitor = Standing::Absent;
    rouse(POOL.lock());
    contained(f);
    let mut state = POOL.lock();
    let is_absent = matches!(state.monitor, Standing::Absent);
    if is_absent {
        state.monitor = Standing::Running;
    }
    is_absent
}

fn wait_for_work() {
    let mut state = POOL.lock();
    if state.needs_monitor() {
        return;
    }
    state.monitor = Standing::Parked(Unparker::current());
    drop(state);
    while !matches!(POOL.lock().monitor, Standing::Running) {
        crate::facade::park();
    }
}
