//! The clock of a model, for models in which time passes.
//!
//! It goes on only where the model says so, by [`pass`], in steps that are long against the time
//! that the model takes. A model that does not [start it](start_clock) pays nothing for it: a wait
//! with a limit lasts until it is woken there.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::{Mutex, Unparker, park};

static RUNS: AtomicBool = AtomicBool::new(false);

struct Clock {
    /// How much time has passed in this execution.
    passed: Duration,
    /// The threads that wait for the clock.
    asleep: Vec<Unparker>,
}

loom::lazy_static! {
    static ref CLOCK: Mutex<Clock> = Mutex::new(Clock { passed: Duration::ZERO, asleep: Vec::new() });
}

loom::thread_local! {
    /// What had passed when this thread last looked.
    static SEEN: Cell<Duration> = Cell::new(Duration::ZERO);
}

/// Starts the clock, for the rest of the process.
#[allow(dead_code, reason = "for models")]
pub(crate) fn start_clock() {
    RUNS.store(true, Relaxed);
}

/// Lets time pass, and wakes the threads whose waits have a limit: each looks whether its limit has
/// passed.
#[allow(dead_code, reason = "for models")]
pub(crate) fn pass(time: Duration) {
    let woken = {
        let mut clock = CLOCK.lock();
        clock.passed += time;
        std::mem::take(&mut clock.asleep)
    };
    woken.iter().for_each(Unparker::unpark);
}

pub(crate) fn now() -> Instant {
    if !RUNS.load(Relaxed) {
        return Instant::now();
    }
    let passed = CLOCK.lock().passed;
    SEEN.with(|seen| seen.set(passed));
    Instant::now() + passed
}

/// Parks the thread until it is woken or the clock goes on. Returns at once if the clock has gone
/// on since the thread looked.
pub(super) fn park_until_it_goes_on() {
    if !RUNS.load(Relaxed) {
        return park();
    }
    {
        let mut clock = CLOCK.lock();
        if clock.passed != SEEN.with(Cell::get) {
            return;
        }
        clock.asleep.push(Unparker::current());
    }
    park();
    CLOCK
        .lock()
        .asleep
        .retain(|other| !other.is_of_thread_of(&Unparker::current()));
}
