//! How a worker runs the tasks of a group: in batches, of which it gives back the tasks that it
//! does not come to.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::deferred_drops::DeferredDrops;
use super::dispatch::{Dispatched, refused};
use super::end_counts::EndCounts;
use super::group_state::GroupState;
use super::held_permits;
use super::permit::TaskPermit;
use super::queue::{TakenTask, TaskQueue};
use crate::facade::{Mutex, TIME_PASSES, largest_batch};
use crate::group::erased::ErasedTask;
use crate::group::job::Claimed;
use crate::group::stopwatch::Timing;
use crate::lanes::{self, Describe};
use crate::workers::{self, LocalBatch, Source, Worker};

/// How many batches a worker takes from one group while other groups wait, and for how long. A
/// change takes as long as a few dozen small tasks, and a batch as long as up to 32.
const MOST_BATCHES: u32 = 16;
const LONGEST_TURN: Duration = Duration::from_millis(1);

/// How long a worker has been with one group while others wait.
#[derive(Default)]
struct WorkerTurn {
    batches: u32,
    since: Option<Instant>,
}

impl WorkerTurn {
    /// Returns whether the worker should go on to the next group. Called before each batch.
    #[inline]
    fn is_over(&mut self) -> bool {
        workers::others_wait() && self.is_over_for_others()
    }

    #[cold]
    fn is_over_for_others(&mut self) -> bool {
        self.batches += 1;

        // The clock is read only while another group waits.
        if !TIME_PASSES {
            return self.batches > MOST_BATCHES;
        }
        self.batches > MOST_BATCHES
            || self.since.get_or_insert_with(Instant::now).elapsed() > LONGEST_TURN
    }
}

/// The tasks that a worker has taken and not begun, and those that it has ended and not reported.
///
/// Both reach the group when the worker takes its next batch, when it blocks, and when the monitor
/// finds that it has been at one task for too long.
pub(super) struct TaskBatch {
    pub(super) state: Arc<GroupState>,
    pub(super) batch: Mutex<BatchContents>,
}

#[derive(Default)]
pub(super) struct BatchContents {
    pub(super) tasks: VecDeque<ErasedTask>,
    ends: EndCounts,
}

impl BatchContents {
    /// Notes what became of a task that counts as begun.
    fn note(&mut self, dispatched: Dispatched) {
        match dispatched {
            Dispatched::Ended(end, spent) => {
                self.ends.add(end);
                self.ends.spent.extend(spent);
            }
            // Another thread had claimed it. The begin may have been reported already, so the count
            // can become negative.
            Dispatched::NotBegun => self.ends.begun -= 1,
            Dispatched::Elsewhere => {}
        }
    }
}

impl TaskBatch {
    pub(super) fn new(state: Arc<GroupState>) -> Self {
        TaskBatch {
            state,
            batch: Mutex::new(BatchContents::default()),
        }
    }

    pub(super) fn put(&self, tasks: impl Iterator<Item = ErasedTask>) {
        self.batch.lock().tasks.extend(tasks);
    }

    /// Notes what became of the last task, and takes the next unclaimed one, which counts as begun.
    pub(super) fn next(&self, last: Option<Dispatched>) -> Option<TakenTask> {
        let mut drops = DeferredDrops::default();
        let mut batch = self.batch.lock();
        if let Some(last) = last {
            batch.note(last);
        }
        loop {
            let task = batch.tasks.pop_front()?;
            let claimed = task.claimed();
            // A joiner may claim the task between this and the run: see `note`.
            if claimed == Claimed::No {
                batch.ends.begun += 1;
                return Some(TakenTask {
                    task,
                    permit: TaskPermit::None,
                    timing: Timing::Coarse,
                });
            }
            drops.defer(task, claimed);
        }
    }

    fn take_ends(&self) -> EndCounts {
        std::mem::take(&mut self.batch.lock().ends)
    }
}

/// The batch of a worker. The lane of its thread shows it from the first [`show`](Self::show) until
/// this is dropped.
pub(super) struct ShownBatch {
    pub(super) batch: Arc<TaskBatch>,
    is_shown: bool,
}

impl ShownBatch {
    pub(super) fn new(batch: Arc<TaskBatch>) -> Self {
        ShownBatch {
            batch,
            is_shown: false,
        }
    }

    /// Shows the batch, before tasks may be put there. A worker whose tasks all block has at most
    /// one at a time: a snapshot of ten thousand such workers need not lock their batches.
    pub(super) fn show(&mut self) {
        if !self.is_shown {
            self.is_shown = true;
            show_batch(Some(self.batch.clone()));
        }
    }
}

impl Drop for ShownBatch {
    fn drop(&mut self) {
        if self.is_shown {
            show_batch(None);
        }
    }
}

/// Shows the batch on the lane of this thread.
fn show_batch(batch: Option<Arc<dyn Describe>>) {
    if let Some(lane) = lanes::mine() {
        lane.set_batch(batch);
    }
}

impl LocalBatch for TaskBatch {
    fn give_back(&self) {
        // As in `take_rest`, no task is for a moment neither in the queue nor in the batch: a
        // snapshot would miss it.
        let mut queue = self.state.queue.lock();
        let batch = std::mem::take(&mut *self.batch.lock());

        // To the front and from the back, so that they come next and in their order.
        for task in batch.tasks.into_iter().rev() {
            queue.tasks.push_front(task);
        }

        // The owner may be waiting for one of the unreported ends.
        let wake = queue.enter(batch.ends);
        let list = queue.must_list(self.state.limit);
        drop(queue);

        if let Some(owner) = wake {
            owner.unpark();
        }

        // The caller sends the worker. This thread may be about to block, and listing with a worker
        // can run user code.
        //
        // fault: blocking-worker-drops-cancelled-tasks
        if list {
            workers::list_without_worker(self.state.clone());
        }
    }
}

impl GroupState {
    /// Takes the next task that a worker may begin, calls `take_rest` for those behind it, and
    /// reports `ends`. Takes the group off the list if it has none left (invariant 5).
    fn take_first(
        self: &Arc<Self>,
        ends: EndCounts,
        take_rest: impl FnOnce(&mut TaskQueue),
    ) -> Option<TakenTask> {
        let mut drops = DeferredDrops::default();
        let mut queue = self.queue.lock();
        let wake = queue.enter(ends);
        let first = queue.take(self.limit, &mut drops);
        if first.is_some() {
            take_rest(&mut queue);
            queue.note_running(self.ended_from_queue.load(Relaxed));
        }

        // Under the lock of the queue, so that a spawn that follows lists the group again.
        if !queue.has_work(self.limit) {
            queue.listed = false;
            let source: Arc<dyn Source> = self.clone();
            workers::unlist(&source);
        }
        drop(queue);

        // The ends that were reported may have been the last.
        if let Some(owner) = wake {
            owner.unpark();
        }
        first
    }

    /// Moves the rest of a batch of `size` tasks, at most a quarter of the queue, to `batch`.
    /// Returns whether there is one. The lock of the batch is taken inside that of the queue.
    pub(super) fn take_rest(&self, queue: &mut TaskQueue, size: usize, batch: &TaskBatch) -> bool {
        let size = size.min(queue.tasks.len() / 4 + 1);
        if size == 1 {
            return false;
        }

        // While the owner runs tasks from the front, workers take theirs from the back, out of its
        // way.
        let from = if self.has_busy_owner() {
            queue.tasks.len() + 1 - size
        } else {
            0
        };
        batch.put(queue.tasks.drain(from..from + size - 1));
        true
    }

    /// Takes the next batch, moves all but its first task to `shown`, and returns the first.
    /// Reports the tasks that have ended.
    fn refill(
        self: &Arc<Self>,
        shown: &mut ShownBatch,
        size: usize,
        worker: &Worker,
    ) -> Option<TakenTask> {
        // A limited group gives out one task at a time, since each needs a permit.
        let size = if self.is_limited() { 1 } else { size };
        if size > 1 {
            shown.show();
        }

        let batch = &shown.batch;
        let mut has_rest = false;
        let take_rest = |queue: &mut TaskQueue| has_rest = self.take_rest(queue, size, batch);
        // The flag is set last, so that tasks that stay in a batch are never without it.
        //
        // fault: batch-is-announced-before-it-is-there
        let first = self.take_first(batch.take_ends(), take_rest)?;
        if has_rest {
            worker.flag_batch();
            workers::ensure_monitor();
        } else {
            worker.clear_batch_flag();
        }
        Some(first)
    }
}

impl Source for GroupState {
    fn work(self: Arc<Self>, worker: &Worker) {
        let _inside = self.outer_permit.as_ref().map(held_permits::run_inside);
        let batch = Arc::new(TaskBatch::new(self.clone()));
        worker.publish_batch(batch.clone());
        let mut shown = ShownBatch::new(batch.clone());

        let mut size = 1;
        let mut passed_on = false;
        let mut turn = WorkerTurn::default();
        let mut last = None;

        loop {
            let taken = match batch.next(last.take()) {
                Some(taken) => taken,
                None => {
                    if turn.is_over() {
                        // The batch is empty, but ends may be unreported.
                        batch.give_back();
                        break;
                    }
                    let Some(first) = self.refill(&mut shown, size, worker) else {
                        break;
                    };
                    // The first batch is one task: if tasks block, nothing waits behind the
                    // first of them.
                    size = (size * 2).min(largest_batch());
                    first
                }
            };

            // Before the first task runs: if it blocks, the queued ones still get a worker.
            //
            // fault: worker-keeps-the-wake
            if !passed_on {
                workers::pass_on();
                passed_on = true;
            }

            workers::begin_task(worker);
            last = Some(self.dispatch(taken));
        }

        // The batch is empty here, and its ends are reported.
        worker.withdraw_batch();
    }

    fn start_apart(self: Arc<Self>) {
        while let Some(taken) = self.take_first(EndCounts::default(), |_| ()) {
            // Without a worker there is no local batch, so each end is reported at once.
            match self.dispatch(taken) {
                Dispatched::Ended(end, _) => self.leave(end, TaskPermit::None),
                Dispatched::NotBegun => self.not_begun(TaskPermit::None),
                Dispatched::Elsewhere => {}
            }
        }
    }

    fn refuse(self: Arc<Self>, error: io::Error) {
        let Some(taken) = self.take_first(EndCounts::default(), |_| ()) else {
            return;
        };
        match taken.task.refuse(error) {
            Some(end) => self.leave(refused(end), taken.permit),
            None => self.not_begun(taken.permit),
        }
    }
}
