//! How readers read a lane.

use std::any::Any;
use std::borrow::Cow;
use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use std::sync::atomic::fence;
use std::thread::Thread;

use super::Lane;
use crate::lanes::frames::FrameView;
#[cfg(all(unix, feature = "signal"))]
use crate::lanes::glance::Glance;
use crate::lanes::held::HeldView;
use crate::lanes::open_groups::{Busy, ReadGroups};
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
        // Invariant 4: the thread counts its looks. By difference, since the count wraps around.
        self.looks.load(Acquire).wrapping_sub(look) as i32 >= 0
    }

    /// Returns whether the thread has opened a group. It waits for no reader meanwhile.
    pub(crate) fn has_groups(&self) -> bool {
        self.groups.has_any()
    }

    /// Calls `f` with the groups that the thread has opened. The thread waits meanwhile, if it ends
    /// a scope.
    ///
    /// # Errors
    ///
    /// The thread changes the list just now.
    pub(crate) fn with_groups<T>(&self, f: impl FnOnce(&ReadGroups<'_>) -> T) -> Result<T, Busy> {
        // Invariant 5: a reader does not wait.
        self.groups.read(f)
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

#[cfg(all(test, not(loom)))]
mod tests {
    use std::any::Any;
    use std::panic::Location;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::thread;

    use super::Lane;
    use crate::lanes::open_groups::Describe;
    use crate::lanes::wait::{Object, Share, WaitFlags};

    #[test]
    fn a_wait_is_read_as_it_is_shown() {
        let lane = Lane::apart();
        let objects = [
            Object::None,
            Object::At(0x1230),
            Object::Task(3),
            Object::Group(4),
            Object::Descriptor(5),
            Object::Process(6),
        ];
        for object in objects {
            for flags in 0..8 {
                let flags = WaitFlags {
                    is_cancellable: flags & 1 != 0,
                    is_limited: flags & 2 != 0,
                    is_foreign: flags & 4 != 0,
                    share: Share::new(2, 7),
                };
                lane.begin_wait(1, object, flags, Location::caller());
                let wait = lane.wait().expect("the thread waits");
                assert_eq!((wait.kind, wait.object, wait.flags), (1, object, flags));
                lane.end_wait();
                assert!(lane.wait().is_none());
            }
        }
    }

    #[test]
    fn a_thread_is_shown_as_a_worker_and_as_idle() {
        let lane = Lane::apart();
        let shown = || {
            let view = lane.view().expect("the lane has a thread");
            let view = view.expect("its thread reads it");
            (view.is_worker, view.is_idle)
        };
        assert_eq!(shown(), (false, false));
        assert!(format!("{lane:?}").starts_with("Lane { number: "));
        lane.become_worker();
        for is_idle in [true, false] {
            lane.set_idle(is_idle);
            assert_eq!(shown(), (true, is_idle));
        }
    }

    #[test]
    fn a_lane_is_not_read_between_two_threads() {
        let (lane, over) = (&Lane::new(), &AtomicBool::new(false));
        thread::scope(|threads| {
            threads.spawn(|| {
                for number in 1..=20_000 {
                    lane.claim(number, 0, thread::current());
                    lane.give_back();
                }
                over.store(true, Relaxed);
            });
            while !over.load(Relaxed) {
                let view = lane.view().and_then(Result::ok);
                assert!(view.is_none_or(|view| view.number != 0));
            }
        });
    }

    #[test]
    fn a_look_that_had_begun_is_not_the_next_one() {
        let lane = Lane::apart();
        for _ in 0..3 {
            let before = lane.next_look();
            lane.begin_look();
            let during = lane.next_look();
            assert!(!lane.has_looked(before) && !lane.has_looked(during));

            lane.end_look();
            assert!(lane.has_looked(before) && !lane.has_looked(during));
            lane.begin_look();
            lane.end_look();
            assert!(lane.has_looked(during));
        }
    }

    #[test]
    fn groups_and_names_are_shown_until_they_are_taken_back() {
        // Not of size 0: its address tells it from others.
        struct Nothing(#[allow(dead_code, reason = "only its place matters")] u8);
        impl Describe for Nothing {
            fn describe(&self, _: &mut dyn Any) {}
        }

        let lane = Lane::apart();
        let shown = || {
            let groups = lane.with_groups(|groups| groups.iter().map(|(group, _)| group).collect());
            let names = lane.names().expect("no other thread has the lane");
            let names = names.iter().map(|(task, _)| *task).collect();
            (groups.expect("no other thread has the lane"), names)
        };
        let is_shown = |expected: &[u64]| shown() == (expected.to_vec(), expected.to_vec());
        let groups = [(); 3].map(|()| Arc::new(Nothing(0)));
        for depth in 1..=3 {
            lane.open(depth, groups[depth as usize - 1].clone());
            lane.add_name(depth, "a task".into());
        }
        assert!(is_shown(&[1, 2, 3]));
        for depth in (1..=3).rev() {
            lane.close(&*groups[depth as usize - 1]);
            lane.take_name();
            assert!(is_shown(&[1, 2, 3][..depth as usize - 1]));
        }
    }
}
