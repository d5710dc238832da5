//! How readers read a lane.

use std::any::Any;
use std::borrow::Cow;
use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use std::sync::atomic::fence;
use std::thread::Thread;

use super::{Lane, OpenGroup};
use crate::lanes::frames::FrameView;
#[cfg(all(unix, feature = "signal"))]
use crate::lanes::glance::Glance;
use crate::lanes::held::HeldView;
use crate::lanes::wait::WaitView;

/// A lane, as a reader finds it at one moment.
#[derive(Clone, Debug)]
#[allow(dead_code, reason = "which parts are read depends on the features")]
pub(crate) struct LaneView {
    pub(crate) number: u64,
    /// The number of the thread in the system; 0 where that is not known.
    pub(crate) system: i32,
    pub(crate) version: u32,
    pub(crate) is_worker: bool,
    /// It waits for work.
    pub(crate) is_idle: bool,
    /// The outermost first.
    pub(crate) frames: Vec<FrameView>,
    pub(crate) wait: Option<WaitView>,
    pub(crate) held: Vec<HeldView>,
}

/// A part of a lane could not be read: its thread was writing it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Busy;

impl Lane {
    /// Reads the lane. Returns none if no thread has it, and an error if its thread is busy writing
    /// it.
    pub(crate) fn view(&self) -> Option<Result<LaneView, Busy>> {
        // Acquire pairs with `claim`.
        let number = self.number.load(Acquire);
        if number == 0 {
            return None;
        }

        // The number is read again under the version: another thread may have the lane by now.
        let read = self.version.read(|| LaneView {
            number: self.number.load(Relaxed),
            system: self.system.load(Relaxed),
            version: 0,
            is_worker: self.is_worker.load(Relaxed),
            is_idle: self.is_idle.load(Relaxed),
            frames: self.frames.view(),
            wait: self.wait.view(),
            held: self
                .first_lock
                .view()
                .into_iter()
                .chain(self.held.view())
                .collect(),
        });

        match read {
            None => Some(Err(Busy)),
            Some((_, view)) if view.number != number => None,
            Some((version, view)) => Some(Ok(LaneView { version, ..view })),
        }
    }

    /// Like [`view`](Self::view), without an allocation.
    #[cfg(all(unix, feature = "signal"))]
    pub(crate) fn glance(&self) -> Option<Result<Glance, Busy>> {
        // Acquire pairs with `claim`.
        let number = self.number.load(Acquire);
        if number == 0 {
            return None;
        }

        let read = self.version.read(|| {
            let system = self.system.load(Relaxed);
            let mut glance = Glance::new(system, self.frames.depth(), self.wait.view());
            self.frames.copy_to(&mut glance.frames);

            let held = self.first_lock.view().into_iter();
            let held = held.chain(self.held.view());
            for (place, held) in glance.held.iter_mut().zip(held) {
                *place = Some(held);
            }
            (self.number.load(Relaxed), glance)
        });

        match read {
            None => Some(Err(Busy)),
            Some((_, (now, _))) if now != number => None,
            Some((_, (_, glance))) => Some(Ok(glance)),
        }
    }

    /// Reads only the wait. Returns none if there is none, or the thread is writing the lane.
    pub(crate) fn wait(&self) -> Option<WaitView> {
        // Acquire pairs with `claim`.
        let is_claimed = self.number.load(Acquire) != 0;
        let read = is_claimed.then(|| self.version.read(|| self.wait.view()));
        read.flatten()?.1
    }

    /// Returns whether the thread that was read as `view` still has the lane.
    pub(crate) fn is_still(&self, view: &LaneView) -> bool {
        // A read under a lock of the lane since then orders this look behind the end of the
        // thread, if it belongs to a later thread.
        self.number.load(Relaxed) == view.number
    }

    /// Returns the count at which the thread has looked at its wait once more, from the beginning.
    pub(crate) fn next_look(&self) -> u32 {
        // See `begin_look`.
        fence(SeqCst);
        // A look that has begun counts for nothing: it may be before what the reader has seen.
        self.looks.load(Relaxed).wrapping_add(3) & !1
    }

    /// Returns whether the thread has come to the count `look`.
    pub(crate) fn has_looked(&self, look: u32) -> bool {
        // Invariant 4. By difference, since the count wraps around.
        self.looks.load(Acquire).wrapping_sub(look) as i32 >= 0
    }

    /// Calls `f` with the groups that the thread has opened, the outermost first. The thread waits
    /// meanwhile, if it opens or ends a scope.
    ///
    /// # Errors
    ///
    /// Another thread holds the lock of the list.
    pub(crate) fn with_groups<T>(
        &self,
        f: impl FnOnce(&[(u64, OpenGroup)]) -> T,
    ) -> Result<T, Busy> {
        // Invariant 5: a reader only tries the locks.
        self.groups.try_read().map(|groups| f(&groups)).ok_or(Busy)
    }

    /// Describes the batch of a worker, if it has one.
    ///
    /// # Errors
    ///
    /// Another thread holds the lock.
    pub(crate) fn describe_batch(&self, into: &mut dyn Any) -> Result<(), Busy> {
        let batch = self.batch.try_read().ok_or(Busy)?;
        if let Some(batch) = &*batch {
            batch.describe(into);
        }
        Ok(())
    }

    /// Returns the names of the tasks that the thread runs.
    ///
    /// # Errors
    ///
    /// Another thread holds the lock of the list.
    pub(crate) fn names(&self) -> Result<Vec<(u64, Cow<'static, str>)>, Busy> {
        self.names.try_read().map(|names| names.clone()).ok_or(Busy)
    }

    /// Calls `f` with the name of a task that the thread runs, if it has one and no other thread
    /// holds the lock of the names.
    #[cfg(all(unix, feature = "signal"))]
    pub(crate) fn with_name<T>(&self, task: u64, f: impl FnOnce(&str) -> T) -> Option<T> {
        let names = self.names.try_read()?;
        let (_, name) = names.iter().find(|(of, _)| *of == task)?;
        Some(f(name))
    }

    /// Calls `f` with the thread of the lane, if it still has one. No handle is cloned, since its
    /// drop could be the last.
    ///
    /// # Errors
    ///
    /// Another thread holds the lock.
    pub(crate) fn with_thread<T>(&self, f: impl FnOnce(Option<&Thread>) -> T) -> Result<T, Busy> {
        self.thread
            .try_read()
            .map(|thread| f(thread.as_ref()))
            .ok_or(Busy)
    }

    /// Returns the thread of the lane, if it still has one.
    ///
    /// # Errors
    ///
    /// Another thread holds the lock.
    pub(crate) fn thread(&self) -> Result<Option<Thread>, Busy> {
        self.thread
            .try_read()
            .map(|thread| thread.clone())
            .ok_or(Busy)
    }
}
