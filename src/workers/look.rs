//! Asking the system whether another thread of this process sleeps.

use super::worker::Worker;

/// The finding of a look at a thread.
#[cfg_attr(
    not(target_os = "linux"),
    expect(dead_code, reason = "elsewhere every thread is taken for asleep")
)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Look {
    /// It sleeps, or waits for a device.
    Asleep,
    /// It runs, or would if it had a core.
    Awake,
    /// This look does not tell. A later one will.
    Unknown,
}

#[cfg(target_os = "linux")]
pub(super) use linux::Looks;

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::HashMap;
    use std::time::{Duration, Instant};

    use nix::time::ClockId;
    use nix::unistd::Pid;

    use super::{Look, Worker};

    /// How long the processor time of a thread must stand still for the thread to count as asleep.
    ///
    /// It is longer than a thread that could run usually waits for a core. To take such a thread
    /// for a sleeper costs one thread too many.
    const STILL_FOR: Duration = Duration::from_millis(5);

    /// The looks of one monitor.
    ///
    /// `/proc` says what a thread does. A look at it opens a file, which fails if the process has
    /// no descriptor left or `/proc` is not mounted. The processor time of a thread needs no file.
    /// So where `/proc` fails, a thread counts as asleep once its time has stood still for
    /// `STILL_FOR` in one task.
    #[derive(Default)]
    pub(in super::super) struct Looks {
        /// The findings of the last look, by the key of the worker.
        still: HashMap<usize, Still>,
    }

    struct Still {
        tasks: u32,
        used: Duration,
        since: Instant,
    }

    impl Looks {
        pub(in super::super) fn look(&mut self, worker: &Worker) -> Look {
            match state(worker.thread()) {
                Some('S' | 'D') => Look::Asleep,
                Some(_) => Look::Awake,
                None => self.look_at_clock(worker),
            }
        }

        /// Forgets all workers, since they may have left.
        pub(in super::super) fn clear(&mut self) {
            self.still.clear();
        }

        fn look_at_clock(&mut self, worker: &Worker) -> Look {
            let tasks = worker.tasks();

            // The thread has ended, or is about to.
            let Some(used) = processor_time(worker.thread()) else {
                return Look::Unknown;
            };

            let now = Instant::now();
            match self.still.get(&worker.key()) {
                Some(still) if still.tasks == tasks && still.used == used => {
                    let is_long = now.duration_since(still.since) >= STILL_FOR;
                    if is_long { Look::Asleep } else { Look::Unknown }
                }
                before => {
                    // In the same task the time has moved, so the thread has run since.
                    let look = if before.is_some_and(|still| still.tasks == tasks) {
                        Look::Awake
                    } else {
                        Look::Unknown
                    };

                    self.still.insert(
                        worker.key(),
                        Still {
                            tasks,
                            used,
                            since: now,
                        },
                    );
                    look
                }
            }
        }
    }

    /// Returns the letter by which `/proc` says what the thread does.
    fn state(thread: Pid) -> Option<char> {
        let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).ok()?;
        // The state follows the name, which stands in parentheses and may contain some itself.
        stat.rsplit(')').next()?.trim_start().chars().next()
    }

    /// Returns the processor time that the thread has used.
    fn processor_time(thread: Pid) -> Option<Duration> {
        // The kernel makes the id of a thread's clock from the id of the thread. libc has no
        // constants for that: the lowest bits say "of one thread" (4) and "its running time, in
        // nanoseconds" (2).
        let clock = ClockId::from_raw((!thread.as_raw() << 3) | 4 | 2);
        clock.now().ok().map(Duration::from)
    }
}

/// This system is not asked: a task that has run for a whole tick counts as blocked.
#[cfg(not(target_os = "linux"))]
#[derive(Default)]
pub(super) struct Looks(());

#[cfg(not(target_os = "linux"))]
impl Looks {
    pub(super) fn look(&mut self, _worker: &Worker) -> Look {
        Look::Asleep
    }

    pub(super) fn clear(&mut self) {}
}
