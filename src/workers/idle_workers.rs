//! The workers that wait for work, and which of them is woken next.

use std::collections::VecDeque;
use std::sync::Arc;

use super::worker::Worker;

/// More idle workers than this, taken in a row while none becomes idle, are a burst.
const MANY_TAKEN: usize = 64;

/// The order of wakes matters only with more idle workers than this.
const MANY_IDLE: usize = 1024;

/// The idle workers of a pool, under the lock of the pool.
///
/// A wake goes to the warmest worker, but in a burst that has more than a thousand to choose from
/// it goes to the worker that has waited longest.
///
/// Linux searches for the thread to wake in a list of all the threads of the process whose futexes
/// have one hash, the longest waiter first, and gives a process few such lists: 16 on two cores,
/// since Linux 6.17. With 16 000 parked threads, the search for the last is most of what a wake
/// costs.
///
/// The two conditions let surplus workers retire. Tasks that come one by one always find the same
/// few workers, and the longest waiter is taken only while many others are left.
#[derive(Default)]
pub(super) struct IdleWorkers {
    /// The last to become idle is at the back: it is the warmest. The next to retire is at the
    /// front.
    list: VecDeque<Arc<Worker>>,
    /// How many workers were taken since one became idle. Many mean a burst of tasks that block.
    taken_in_row: usize,
}

impl IdleWorkers {
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Adds a worker that has become idle.
    pub(super) fn push(&mut self, worker: Arc<Worker>) {
        self.taken_in_row = 0;
        self.list.push_back(worker);
    }

    /// Takes the worker that is to be woken next.
    pub(super) fn next(&mut self) -> Option<Arc<Worker>> {
        self.taken_in_row += 1;
        if self.taken_in_row > MANY_TAKEN && self.list.len() > MANY_IDLE {
            self.list.pop_front()
        } else {
            self.list.pop_back()
        }
    }

    /// Removes `worker`, if it is listed.
    pub(super) fn remove(&mut self, worker: &Arc<Worker>) {
        let mut list = self.list.iter();
        if let Some(index) = list.position(|idle| Arc::ptr_eq(idle, worker)) {
            self.list.remove(index);
        }
    }

    /// Returns all workers, for the end of a model.
    #[cfg(taskgroup_models)]
    pub(super) fn into_workers(self) -> impl Iterator<Item = Arc<Worker>> {
        self.list.into_iter()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn keys(idle: &mut IdleWorkers, count: usize) -> Vec<usize> {
        let taken = (0..count).filter_map(|_| idle.next());
        taken.map(|worker| worker.key()).collect()
    }

    fn with_idle(count: usize) -> IdleWorkers {
        let mut idle = IdleWorkers::default();
        (0..count).for_each(|key| idle.push(Arc::new(Worker::new(key))));
        idle
    }

    #[test]
    fn the_warmest_worker_is_woken_and_in_a_burst_with_many_idle_the_one_that_has_waited_longest() {
        let most = MANY_IDLE + MANY_TAKEN + 3;
        let mut idle = with_idle(most);

        let warmest: Vec<_> = (0..most).rev().take(MANY_TAKEN).collect();
        assert_eq!(keys(&mut idle, MANY_TAKEN), warmest);
        assert_eq!(keys(&mut idle, 3), [0, 1, 2]);

        // No more than `MANY_IDLE` are left, so the order no longer matters.
        assert_eq!(keys(&mut idle, 1), [most - MANY_TAKEN - 1]);
    }

    #[test]
    fn tasks_that_come_one_by_one_leave_the_surplus_of_idle_workers_alone() {
        let most = 2 * MANY_IDLE;
        let mut idle = with_idle(most);
        for _ in 0..10 * MANY_TAKEN {
            let worker = idle.next().unwrap();
            assert_eq!(worker.key(), most - 1);
            idle.push(worker);
        }
    }
}
