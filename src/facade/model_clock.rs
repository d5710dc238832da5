//! The clock of a model, for models in which time passes.
//!
//! It moves only when the model calls [`pass`], in steps that are long compared to the time that
//! the model itself takes. A model that does not [start it](start_clock) pays nothing for it:
//! there, a wait with a limit lasts until it is woken.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::{Mutex, Unparker, park};

static RUNS: AtomicBool = AtomicBool::new(false);

struct Clock {
    /// The time that has passed in this execution.
    passed: Duration,
    /// The threads that wait for the clock.
    asleep: Vec<Unparker>,
}

loom::lazy_static! {
    static ref CLOCK: Mutex<Clock> = Mutex::new(Clock {
        passed: Duration::ZERO,
        asleep: Vec::new(),
    });
}

loom::thread_local! {
    /// The time that had passed when this thread last looked.
    static SEEN: Cell<Duration> = Cell::new(Duration::ZERO);
}

/// Starts the clock, for the rest of the process.
#[allow(dead_code, reason = "for models")]
pub(crate) fn start_clock() {
    RUNS.store(true, Relaxed);
}

/// Lets time pass, and wakes the threads that wait with a limit. Each looks whether its limit has
/// passed.
#[allow(dead_code, reason = "for models")]
pub(crate) fn pass(time: Duration) {
    let woken = {
        let mut clock = CLOCK.lock();
        clock.passed += time;
        std::mem::take(&mut clock.asleep)
    };

    // Outside of the lock, which each woken thread takes.
    woken.iter().for_each(Unparker::unpark);
}

pub(crate) fn now() -> Instant {
    if !RUNS.load(Relaxed) {
        return Instant::now();
    }

    let passed = CLOCK.lock().passed;

    // A park compares with this, so it misses no step that comes in between.
    SEEN.with(|seen| seen.set(passed));
    Instant::now() + passed
}

/// Parks the thread until it is woken or the clock moves. Returns at once if the clock has moved
/// since the thread looked.
pub(super) fn park_until_it_goes_on() {
    if !RUNS.load(Relaxed) {
        return park();
    }
    {
        // One lock for the look and the entry, so that no step comes in between.
        let mut clock = CLOCK.lock();
        if clock.passed != SEEN.with(Cell::get) {
            return;
        }

        clock.asleep.push(Unparker::current());
    }
    park();

    // Another wake may have ended the park. Then the clock still lists the thread.
    CLOCK
        .lock()
        .asleep
        .retain(|other| !other.is_of_thread_of(&Unparker::current()));
}
