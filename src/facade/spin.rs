//! Spinning, before a thread parks.
//!
//! The thread that makes the condition hold may wait for the very core that the spinning takes. So
//! a spin yields now and then. Where threads of this crate share a core and hand something to and
//! fro, that is several times as quick as parking and waking.
//!
//! Where something else computes on that core, a yield is slow: it gives the core away for a whole
//! time slice, some three milliseconds on Linux. If the condition holds a microsecond later, the
//! thread still waits that long. So each yield is timed. After a slow yield, no thread of the
//! process yields for a while.

use std::hint;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use super::{Leaked, parallelism};

static CORES: Leaked<usize> = Leaked::new();
static EPOCH: Leaked<Instant> = Leaked::new();
static YIELDS: Yields = Yields::new();

/// Spins for a few microseconds until `done` holds, and returns whether it does. On one core, looks
/// at `done` only once.
pub(crate) fn spin(mut done: impl FnMut() -> bool) -> bool {
    const ROUNDS: u32 = 4;
    /// Each has a pause behind it that is twice as long as the one before.
    const LOOKS: u32 = 4;

    // On one core the thread that is waited for cannot run while this one spins.
    if *CORES.get_or_make(parallelism) > 1 {
        for _ in 0..ROUNDS {
            for look in 0..LOOKS {
                if done() {
                    return true;
                }
                (0..1 << look).for_each(|_| hint::spin_loop());
            }

            if done() {
                return true;
            }
            // The thread that is waited for may need this core.
            yield_if_cheap();
        }
    }
    done()
}

/// Looks at `done` now and then for about as long as waking a thread takes. On one core, returns at
/// once.
///
/// It looks rarely, since more looks would gain nothing: a scope of a few small tasks ends before
/// another thread could help. If other threads want the core, it returns at once.
pub(crate) fn linger(mut done: impl FnMut() -> bool) {
    const LOOKS: u32 = 16;
    const PAUSES: u32 = 128;

    // The thread that is waited for would need this very core.
    if *CORES.get_or_make(parallelism) == 1 {
        return;
    }

    for look in 0..LOOKS {
        if done() {
            return;
        }

        // Other threads want the core. Their work comes before a wait for work.
        if look % 4 == 0 && !yield_if_cheap() {
            return;
        }

        (0..PAUSES).for_each(|_| hint::spin_loop());
    }
}

/// Yields, unless an earlier yield was slow. Returns whether it yielded and the yield was cheap.
fn yield_if_cheap() -> bool {
    let before = Instant::now();
    let now = before
        .saturating_duration_since(*EPOCH.get_or_make(Instant::now))
        .as_millis() as u64;

    // A long time means that something else computes on this core.
    YIELDS.try_yield(now, || {
        thread::yield_now();
        before.elapsed()
    })
}

/// Whether threads may yield, from the times of the last yields. Times are in milliseconds.
///
/// Threads that look at the same time may see different values. That can only cost time.
#[derive(Debug)]
struct Yields {
    /// No thread yields before this time. 0 if every thread may.
    resume: AtomicU64,
    /// How long no thread yields after the next slow yield.
    pause: AtomicU64,
}

impl Yields {
    /// A yield that takes this long has given the core to something that computes.
    const SLOW: Duration = Duration::from_micros(500);
    const SHORTEST_PAUSE: u64 = 50;
    const LONGEST_PAUSE: u64 = 1_600;

    const fn new() -> Self {
        Yields {
            resume: AtomicU64::new(0),
            pause: AtomicU64::new(Self::SHORTEST_PAUSE),
        }
    }

    /// Calls `yields`, which returns the time that it took. Returns whether the yield was cheap.
    ///
    /// After a slow yield, there is a pause in which this does nothing and returns `false`. After
    /// the pause, one thread tries for all.
    fn try_yield(&self, now: u64, yields: impl FnOnce() -> Duration) -> bool {
        let resume = self.resume.load(Relaxed);
        let pause = self.pause.load(Relaxed);

        if resume != 0 {
            // One thread tries: it moves the end of the pause, so the others go on waiting.
            let mine = now >= resume
                && self
                    .resume
                    .compare_exchange(resume, now + pause, Relaxed, Relaxed)
                    .is_ok();

            if !mine {
                return false;
            }
        }

        if yields() >= Self::SLOW {
            // The longer the core stays busy, the rarer the tries become.
            self.resume.store(now + pause, Relaxed);
            self.pause
                .store((2 * pause).min(Self::LONGEST_PAUSE), Relaxed);
            return false;
        }

        // The try after the pause was cheap, so all may yield again.
        if resume != 0 {
            self.resume.store(0, Relaxed);
            self.pause.store(Self::SHORTEST_PAUSE, Relaxed);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a thread that asks at `now` yields. A yield takes `takes` microseconds.
    fn yields(state: &Yields, now: u64, takes: u64) -> bool {
        let mut yielded = false;
        state.try_yield(now, || {
            yielded = true;
            Duration::from_micros(takes)
        });
        yielded
    }

    #[test]
    fn a_slow_yield_is_the_last_for_a_while() {
        let state = Yields::new();
        assert!((0..3).all(|now| yields(&state, now, 1)));
        assert!(yields(&state, 10, 3_000));
        assert!((10..60).all(|now| !yields(&state, now, 1)));
        assert!(yields(&state, 60, 1), "the pause is over");
        assert!((60..70).all(|now| yields(&state, now, 1)));
    }

    #[test]
    fn pauses_grow_until_a_yield_is_cheap_again() {
        let state = Yields::new();
        let mut now = 1;
        assert!(yields(&state, now, 3_000));
        let mut next = || {
            let before = now;
            now = (before..)
                .find(|&now| yields(&state, now, 3_000))
                .expect("a pause ends");
            now - before
        };
        assert_eq!(
            [(); 7].map(|()| next()),
            [50, 100, 200, 400, 800, 1_600, 1_600]
        );
        now += 1_600;
        assert!(yields(&state, now, 1) && yields(&state, now, 3_000));
        assert!(
            !yields(&state, now + 49, 1) && yields(&state, now + 50, 1),
            "the pause is short again"
        );
    }

    #[test]
    fn a_slow_yield_is_not_cheap() {
        let state = Yields::new();
        assert!(state.try_yield(0, || Duration::from_micros(499)));
        assert!(!state.try_yield(0, || Duration::from_micros(500)));
        assert!(!state.try_yield(49, || unreachable!("it is too early")));
        assert!(state.try_yield(50, || Duration::ZERO));
    }

    #[test]
    fn after_a_pause_one_thread_tries_for_all() {
        let state = Yields::new();
        assert!(yields(&state, 0, 3_000));
        state.try_yield(50, || {
            assert!(!yields(&state, 50, 1), "another came while one tried");
            Duration::from_micros(3_000)
        });
        assert!(!yields(&state, 51, 1));
    }

    #[cfg(target_os = "linux")]
    mod on_one_core {
        use std::process::Command;

        use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
        use nix::unistd::Pid;

        use super::*;

        /// Returns how often a thread looks while it spins, and while it lingers.
        fn looks() -> (u32, u32) {
            let (mut spun, mut lingered) = (0, 0);
            assert!(!spin(|| {
                spun += 1;
                false
            }));
            linger(|| {
                lingered += 1;
                false
            });
            (spun, lingered)
        }

        #[test]
        fn no_thread_spins() {
            const CHILD: &str = "TASKGROUP_TEST_ON_ONE_CORE";
            if std::env::var_os(CHILD).is_some() {
                assert_eq!((parallelism(), looks()), (1, (1, 0)));
                return;
            }
            if parallelism() > 1 {
                let (spun, lingered) = looks();
                // Where others want the cores, one look is all that a thread lingers for.
                assert!(
                    spun > 1 && lingered >= 1,
                    "{spun} looks, {lingered} while lingering"
                );
            }
            // A child has the cores of the thread that starts it.
            let all = sched_getaffinity(Pid::from_raw(0)).expect("a thread may ask for its cores");
            let first = (0..CpuSet::count())
                .find(|&cpu| all.is_set(cpu) == Ok(true))
                .expect("a thread has a core");
            let mut one = CpuSet::new();
            one.set(first).expect("it was set in the other");
            sched_setaffinity(Pid::from_raw(0), &one).expect("a thread may give up cores");
            let child = Command::new(std::env::current_exe().expect("the test has a path"))
                .args([
                    "--exact",
                    "facade::spin::tests::on_one_core::no_thread_spins",
                    "--nocapture",
                ])
                .env(CHILD, "1")
                .output()
                .expect("the test can be started again");
            let printed = String::from_utf8_lossy(&child.stdout);
            assert!(
                child.status.success() && printed.contains("1 passed"),
                "{printed}"
            );
        }
    }
}
