//! Whether another thread of this process is asleep, as the system sees it.

use super::worker::Worker;

/// What a look at a thread found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Look {
    /// It sleeps, or waits for a device.
    Asleep,
    /// It runs, or could.
    Awake,
    /// This look does not tell; a later one will.
    Unknown,
}

#[cfg(target_os = "linux")]
pub(super) use linux::Looks;

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::HashMap;
    use std::time::{Duration, Instant};

    use nix::time::ClockId;

    use super::super::worker::ThreadId;
    use super::{Look, Worker};

    /// For how long the clock of a sleeping thread has stood still. Longer than a thread that could
    /// run usually waits for a core: to take such a thread for a sleeper costs a thread too many.
    const STILL_FOR: Duration = Duration::from_millis(5);

    /// The looks of one monitor.
    ///
    /// `/proc` says what a thread does. A look opens a file, which fails where the process has no
    /// descriptor left, or where `/proc` is not mounted. The processor time of the thread needs no
    /// file: a thread is then taken for a sleeper once its time has stood still for `STILL_FOR` in
    /// one task.
    #[derive(Default)]
    pub(in super::super) struct Looks {
        /// By the key of the worker.
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

        /// Forgets what is known of workers that may have left.
        pub(in super::super) fn clear(&mut self) {
            self.still.clear();
        }

        fn look_at_clock(&mut self, worker: &Worker) -> Look {
            let tasks = worker.tasks();
            // The thread has ended since, or is about to.
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

    /// The letter that `/proc` has for what the thread does.
    fn state(thread: ThreadId) -> Option<char> {
        let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).ok()?;
        // The state follows the name, which is in parentheses and may hold some of its own.
        stat.rsplit(')').next()?.trim_start().chars().next()
    }

    /// The processor time that the thread has used.
    fn processor_time(thread: ThreadId) -> Option<Duration> {
        // The kernel makes the identity of a thread's clock from that of the thread, and libc has
        // no constants for it: the lowest bits say "of one thread" (4) and "its running time, in
        // nanoseconds" (2).
        let clock = ClockId::from_raw((!thread.as_raw() << 3) | 4 | 2);
        clock.now().ok().map(Duration::from)
    }
}

/// Not known here: a task that has run for a whole tick counts as blocked.
#[cfg(not(target_os = "linux"))]
#[derive(Default)]
pub(super) struct Looks;

#[cfg(not(target_os = "linux"))]
impl Looks {
    pub(super) fn look(&mut self, _worker: &Worker) -> Look {
        Look::Asleep
    }

    pub(super) fn clear(&mut self) {}
}
