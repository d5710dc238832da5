//! Steps that hold a lock or permits, and steps that wait for an event or the clock.

use super::super::grammar::Lock;
use super::*;

use super::super::taskgroup::sync::{MutexGuard, ReadGuard, WriteGuard};

/// The shares of a lock that readers have one each of, and a writer all.
const READERS: usize = 1000;
/// The numbers of the locks in the ledger: the mutexes, the lock for readers, and the semaphores.
const RW_LOCK: usize = MUTEXES;
const FIRST_SEMAPHORE: usize = RW_LOCK + 1;

/// Writes, when it is dropped, that a share of a lock was held since it was made. Dropped before
/// the guard.
struct Held<'a> {
    frame: &'a Frame,
    begin: u64,
    lock: usize,
    share: usize,
    whole: usize,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let what = What::Held {
            lock: self.lock,
            share: self.share,
            whole: self.whole,
        };
        self.frame.write(self.begin, what);
    }
}

impl Frame {
    fn holds(&self, lock: usize, share: usize, whole: usize) -> Held<'_> {
        Held {
            frame: self,
            begin: self.now(),
            lock,
            share,
            whole,
        }
    }

    pub(super) fn locked(&self, level: &dyn Opened, lock: Lock, steps: &[Step]) -> Result {
        let rw_lock = &self.world.rw_lock;
        let write = || self.point("write", || rw_lock.write());
        let read = || self.point("read", || rw_lock.read());
        let writes = || self.holds(RW_LOCK, READERS, READERS);
        let reads = || self.holds(RW_LOCK, 1, READERS);
        match lock {
            Lock::Mutex(number) => {
                let _guard = self.point("lock", || self.world.mutexes[number].lock())?;
                let _held = self.holds(number, 1, 1);
                self.steps(level, steps)
            }
            Lock::MutexPart(number) => {
                let guard = self.point("lock", || self.world.mutexes[number].lock())?;
                let held = self.holds(number, 1, 1);
                let _part = MutexGuard::map(guard, |pair| &mut pair.1);
                // Moved behind the guard, so that it is dropped first.
                let _held = held;
                self.steps(level, steps)
            }
            Lock::Write => {
                let _guard = write()?;
                let _held = writes();
                self.steps(level, steps)
            }
            Lock::WritePart => {
                let guard = write()?;
                let held = writes();
                let _part = WriteGuard::map(guard, |pair| &mut pair.1);
                let _held = held;
                self.steps(level, steps)
            }
            Lock::Downgrade => {
                let guard = write()?;
                drop(writes());
                let _guard = WriteGuard::downgrade(guard);
                let _held = reads();
                self.steps(level, steps)
            }
            Lock::Read => {
                let _guard = read()?;
                let _held = reads();
                self.steps(level, steps)
            }
            Lock::ReadPart => {
                let guard = read()?;
                let held = reads();
                let _part = ReadGuard::map(guard, |pair| &pair.1);
                let _held = held;
                self.steps(level, steps)
            }
            Lock::Once => self.once(level, steps),
        }
    }

    fn once(&self, level: &dyn Opened, steps: &[Step]) -> Result {
        let (begin, is_ours) = (self.now(), std::cell::Cell::new(false));
        let result = self.world.once.get_or_try_init(|| {
            is_ours.set(true);
            self.steps(level, steps)
        });
        // What the steps came to is theirs to say.
        if !is_ours.get() {
            self.write_point(begin, "once", seen_of(&result), false);
        }
        result.copied()
    }

    pub(super) fn permits(
        &self,
        level: &dyn Opened,
        semaphore: usize,
        count: usize,
        steps: &[Step],
    ) -> Result {
        let begin = self.now();
        let permit = self.world.semaphores[semaphore].acquire_many(count);
        self.write(
            begin,
            What::Acquired {
                semaphore,
                seen: seen_by(&permit),
            },
        );
        let _permit = permit?;
        let _held = self.holds(FIRST_SEMAPHORE + semaphore, count, PERMITS[semaphore]);
        self.steps(level, steps)
    }

    pub(super) fn close_semaphore(&self, semaphore: usize) {
        let begin = self.now();
        self.world.semaphores[semaphore].close();
        self.write(begin, What::Closing { semaphore });
    }

    pub(super) fn await_event(&self, event: usize) -> Result {
        let begin = self.now();
        let result = self.world.events[event].wait();
        self.write(
            begin,
            What::Awaited {
                event,
                seen: seen_by(&result),
            },
        );
        Ok(result?)
    }

    /// Receives from `after`, which gives one message.
    pub(super) fn after(&self) -> Result {
        let start = Instant::now();
        let receiver = channel::after(SOON);
        self.receive_ticks("after", &receiver, start, 1)?;
        assert!(
            matches!(receiver.try_recv(), Err(TryRecvError::Empty)),
            "there is one message, and no end"
        );
        Ok(())
    }

    pub(super) fn tick(&self, count: usize) -> Result {
        let start = Instant::now();
        self.receive_ticks("tick", &channel::tick(SOON), start, count)
    }

    /// Receives so many messages of the clock, and writes when each was due and when it came.
    fn receive_ticks(
        &self,
        name: &'static str,
        receiver: &Receiver<Instant>,
        start: Instant,
        count: usize,
    ) -> Result {
        let mut ticks = Vec::new();
        for _ in 0..count {
            let begin = self.now();
            let received = receiver.recv().map_err(anyhow::Error::from);
            self.write_point(begin, name, seen_of(&received), false);
            ticks.push((received?.saturating_duration_since(start), start.elapsed()));
        }
        self.note(What::Ticks {
            period: SOON,
            ticks,
        });
        Ok(())
    }
}
