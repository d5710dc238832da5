//! Locks, permits and events, and the messages of the clock.

use std::time::Duration;

use super::*;

impl History<'_> {
    /// Of each lock and semaphore, no more is held at any time than there is.
    pub(super) fn locks(&self) -> Verdict {
        // The clock tells what came first only where it orders.
        if ORDERS {
            let mut changes: BTreeMap<usize, Vec<(u64, isize, usize)>> = BTreeMap::new();
            for entry in self.entries {
                if let What::Held { lock, share, whole } = entry.what {
                    let share = share as isize;
                    let changes = changes.entry(lock).or_default();
                    changes.extend([(entry.begin, share, whole), (entry.end, -share, whole)]);
                }
            }
            for (lock, mut changes) in changes {
                changes.sort_unstable();
                let mut held = 0;
                for (time, share, whole) in changes {
                    held += share;
                    ensure!(
                        held <= whole as isize,
                        "exclusion",
                        "{held} of {whole} of lock {lock} are held at {time}"
                    );
                }
            }
        }
        self.semaphores()
    }

    fn semaphores(&self) -> Verdict {
        for entry in self.entries {
            let What::Acquired { semaphore, seen } = entry.what else {
                continue;
            };
            self.blocking(entry, seen)?;
            let of_it = |what: &What| match what {
                What::Closing { semaphore: of } => *of == semaphore,
                _ => false,
            };
            let closes = || self.entries.iter().filter(|close| of_it(&close.what));
            if seen == Seen::Closed {
                ensure!(
                    closes().any(|close| close.begin < entry.end),
                    "closed",
                    "{entry:?}, and nothing had closed it"
                );
                ensure!(
                    self.must(entry.scope) >= entry.begin,
                    "closed",
                    "{entry:?}, and the scope was cancelled before"
                );
            }
            ensure!(
                seen != Seen::Done || !ORDERS || closes().all(|close| close.end >= entry.begin),
                "closed",
                "{entry:?}, and it had been closed"
            );
        }
        Ok(())
    }

    pub(super) fn events(&self) -> Verdict {
        for entry in self.entries {
            let What::Awaited { event, seen } = entry.what else {
                continue;
            };
            self.blocking(entry, seen)?;
            let set = self.entries.iter().any(|set| {
                set.begin < entry.end && matches!(set.what, What::Set { event: of } if of == event)
            });
            ensure!(
                seen != Seen::Done || set,
                "event",
                "{entry:?}, and nothing had set it"
            );
        }
        Ok(())
    }

    pub(super) fn ticks(&self) -> Verdict {
        for entry in self.entries {
            let What::Ticks { period, ticks } = &entry.what else {
                continue;
            };
            let mut earliest = *period;
            for &(due, received) in ticks {
                ensure!(
                    earliest <= due && due <= received,
                    "clock",
                    "{entry:?}: a message came early"
                );
                earliest = due + *period;
            }
            ensure!(
                *period > Duration::ZERO && !ticks.is_empty(),
                "clock",
                "{entry:?} is of no message"
            );
        }
        Ok(())
    }
}
