//! All workers of a pool, and the busy ones that the monitor looks at.

use std::mem;
use std::sync::Arc;

use slab::Slab;

use super::worker::{Activity, Worker};

/// The workers of a pool, under the lock of the pool.
///
/// Workers that are busy are listed apart, since thousands may be blocked: the monitor looks at
/// busy workers only, and at a few of them in each tick.
#[derive(Default)]
pub(super) struct Members {
    workers: Slab<Member>,
    /// The keys of the workers in a place, in no order.
    busy: Vec<usize>,
    /// Whether a task has begun since the monitor asked.
    progress: Progress,
    /// Where among the busy the monitor goes on.
    looks_from: usize,
}

/// Whether tasks have begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Progress {
    /// At least one has.
    Made,
    #[default]
    None,
}

/// A worker, and what the pool knows of it.
struct Member {
    worker: Arc<Worker>,
    /// Its index among the busy, if it is one.
    busy: Option<usize>,
    /// How many tasks it had begun when that was last looked at.
    seen: u32,
    /// It has been busy since the monitor looked at it.
    watched: bool,
}

impl Members {
    /// Adds the worker that `make` makes for a key.
    pub(super) fn add(&mut self, make: impl FnOnce(usize) -> Worker) -> Arc<Worker> {
        let entry = self.workers.vacant_entry();
        let worker = Arc::new(make(entry.key()));
        entry.insert(Member {
            worker: worker.clone(),
            busy: None,
            seen: 0,
            watched: false,
        });
        worker
    }

    /// Removes a worker that leaves. It is in no place.
    pub(super) fn remove(&mut self, worker: &Worker) {
        self.workers.try_remove(worker.key());
    }

    /// Returns how many workers there are.
    pub(super) fn len(&self) -> usize {
        self.workers.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.workers.is_empty()
    }

    /// Returns how many places are taken.
    pub(super) fn busy(&self) -> usize {
        self.busy.len()
    }

    /// Whether a busy worker may have tasks in its local batch.
    pub(super) fn has_batch(&self) -> bool {
        self.busy
            .iter()
            .any(|&key| self.workers[key].worker.has_batch())
    }

    /// Says what `worker` does. The places taken are counted here and nowhere else.
    pub(super) fn set_activity(&mut self, worker: &Worker, activity: Activity) {
        let (key, before) = (worker.key(), worker.swap_activity(activity));
        match (before == Activity::Busy, activity == Activity::Busy) {
            (false, true) => {
                let member = &mut self.workers[key];
                member.busy = Some(self.busy.len());
                // It may have come a moment ago, so the next look does not suspect it.
                member.watched = false;
                self.busy.push(key);
            }
            (true, false) => {
                let member = &mut self.workers[key];
                // The monitor will no longer look at it, so the tasks that it has begun count here.
                if member.has_begun() {
                    self.progress = Progress::Made;
                }

                if let Some(index) = member.busy.take() {
                    self.busy.swap_remove(index);
                    // The last of the busy has moved into the gap.
                    if let Some(&moved) = self.busy.get(index) {
                        self.workers[moved].busy = Some(index);
                    }
                }
            }
            _ => {}
        }
    }

    /// Looks at the next `most` busy workers. Returns the workers that have been at one task
    /// since the look before.
    pub(super) fn look(&mut self, most: usize) -> Vec<Arc<Worker>> {
        let (count, from) = (self.busy.len(), self.looks_from);
        let mut suspects = Vec::new();

        for step in 0..count.min(most) {
            let member = &mut self.workers[self.busy[(from + step) % count]];
            let has_begun = member.has_begun();
            if has_begun {
                self.progress = Progress::Made;
            }

            // A worker that took its place after the look before has had less than a tick.
            let was_watched = mem::replace(&mut member.watched, true);
            if was_watched && !has_begun {
                suspects.push(member.worker.clone());
            }
        }

        // Where there are more, the next look goes on behind these, so each gets its look.
        self.looks_from = if count > most {
            (from + most) % count
        } else {
            0
        };
        suspects
    }

    /// Returns whether a task has begun since this was last asked, as far as the looks and the
    /// moves of workers tell.
    pub(super) fn take_progress(&mut self) -> Progress {
        mem::take(&mut self.progress)
    }

    /// Returns all workers, for models.
    #[cfg(taskgroup_models)]
    pub(super) fn all(&self) -> Vec<Arc<Worker>> {
        let members = self.workers.iter();
        members.map(|(_, member)| member.worker.clone()).collect()
    }
}

impl Member {
    /// Whether the worker has begun a task since this was last asked.
    fn has_begun(&mut self) -> bool {
        let tasks = self.worker.tasks();
        mem::replace(&mut self.seen, tasks) != tasks
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn busy(members: &Members) -> Vec<usize> {
        let mut busy = members.busy.clone();
        busy.sort_unstable();
        for (index, key) in members.busy.iter().enumerate() {
            assert_eq!(members.workers[*key].busy, Some(index));
        }
        busy
    }

    #[test]
    fn the_busy_are_those_in_a_place_whatever_the_order_of_their_moves() {
        let mut members = Members::default();
        let workers: Vec<_> = (0..7).map(|_| members.add(Worker::new)).collect();
        let mut expected = BTreeSet::new();
        for step in 0..500_usize {
            // Each worker in turn, to an activity that is another one each time round.
            let index = step * 5 % 7;
            let activity = [
                Activity::Busy,
                Activity::Blocked,
                Activity::Busy,
                Activity::Stalled,
                Activity::Away,
            ][step % 5];
            members.set_activity(&workers[index], activity);
            if activity == Activity::Busy {
                expected.insert(workers[index].key());
            } else {
                expected.remove(&workers[index].key());
            }
            assert_eq!(busy(&members), Vec::from_iter(expected.iter().copied()));
        }
    }

    #[test]
    fn a_worker_is_suspected_at_the_second_look_in_one_task_and_a_look_has_a_bound() {
        let mut members = Members::default();
        let workers: Vec<_> = (0..10).map(|_| members.add(Worker::new)).collect();
        for worker in &workers {
            members.set_activity(worker, Activity::Busy);
        }
        let keys = |suspects: Vec<Arc<Worker>>| {
            let keys = suspects.iter().map(|worker| worker.key());
            keys.collect::<Vec<_>>()
        };

        // All are looked at within three looks at four, and none is suspected before its second.
        for _ in 0..2 {
            assert!(keys(members.look(4)).is_empty());
        }
        assert_eq!(keys(members.look(4)), [workers[0].key(), workers[1].key()]);

        // A worker that has begun a task since is not suspected, nor is a worker that has left its
        // place and come back.
        workers[2].count_task();
        members.set_activity(&workers[3], Activity::Blocked);
        members.set_activity(&workers[3], Activity::Busy);
        let seen: Vec<_> = (0..2).flat_map(|_| keys(members.look(4))).collect();
        assert!(
            !seen.is_empty()
                && !seen.contains(&workers[2].key())
                && !seen.contains(&workers[3].key()),
            "{seen:?}"
        );
        assert_eq!(members.take_progress(), Progress::Made);
        assert_eq!(members.take_progress(), Progress::None);
    }

    #[test]
    fn a_task_begun_by_a_worker_that_has_blocked_since_is_progress() {
        let mut members = Members::default();
        let worker = members.add(Worker::new);
        members.set_activity(&worker, Activity::Busy);
        worker.count_task();
        members.set_activity(&worker, Activity::Blocked);
        assert_eq!(members.take_progress(), Progress::Made);
        assert_eq!(members.look(64).len(), 0);

        // The same task goes on, which is not progress.
        members.set_activity(&worker, Activity::Busy);
        members.set_activity(&worker, Activity::Blocked);
        assert_eq!(members.take_progress(), Progress::None);
    }
}
