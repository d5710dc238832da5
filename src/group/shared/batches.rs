//! How a worker runs the tasks of a group: in batches, of which it gives back what it does not come
//! to.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::erased::ErasedTask;
use super::super::held_permits;
use super::super::job::Claimed;
use super::super::task_end::TaskEnd;
use super::{Dead, Dispatched, Permit, Shared, Taken, Tally};
use crate::facade::{Guard, Mutex, TIME_PASSES, holds, most_stashed};
use crate::workers::{self, Source, Stash, Worker};

/// How many batches a worker takes from one group while others wait, and for how long: a change
/// takes as long as a few dozen small tasks, and a batch as long as up to 32.
const MOST_BATCHES: u32 = 16;
const LONGEST_TURN: Duration = Duration::from_millis(1);

/// How long a worker has been with one group while others wait.
#[derive(Default)]
struct Turn {
    batches: u32,
    since: Option<Instant>,
}

impl Turn {
    /// Asked before each batch.
    #[inline]
    fn is_over(&mut self) -> bool {
        workers::others_wait() && self.is_over_for_others()
    }

    #[cold]
    fn is_over_for_others(&mut self) -> bool {
        self.batches += 1;
        if !TIME_PASSES {
            return self.batches > MOST_BATCHES;
        }
        self.batches > MOST_BATCHES
            || self.since.get_or_insert_with(Instant::now).elapsed() > LONGEST_TURN
    }
}

/// What a worker has taken and not begun, and what it has ended and not reported: both reach the
/// group when the worker comes for more, when it blocks, and when somebody finds that it has not
/// come for too long.
struct TaskStash {
    shared: Arc<Shared>,
    stashed: Mutex<Stashed>,
}

#[derive(Default)]
struct Stashed {
    tasks: VecDeque<ErasedTask>,
    tally: Tally,
}

impl TaskStash {
    fn new(shared: Arc<Shared>) -> Self {
        TaskStash {
            shared,
            stashed: Mutex::new(Stashed::default()),
        }
    }

    fn put(&self, tasks: Vec<ErasedTask>) {
        self.stashed.lock().tasks.extend(tasks);
    }

    fn next(&self) -> Option<ErasedTask> {
        let mut dead = Dead::default();
        let mut stashed = self.stashed.lock();
        loop {
            let task = stashed.tasks.pop_front()?;
            let claimed = task.claimed();
            if claimed == Claimed::No {
                stashed.tally.begun += 1;
                return Some(task);
            }
            dead.bury(task, claimed);
        }
    }

    fn note(&self, end: TaskEnd) {
        self.stashed.lock().tally.add(end);
    }

    /// Takes back that a task was begun: another thread had claimed it. The tally may have been
    /// reported since, so this one can be negative.
    fn note_not_begun(&self) {
        self.stashed.lock().tally.begun -= 1;
    }

    fn tally(&self) -> Tally {
        std::mem::take(&mut self.stashed.lock().tally)
    }
}

impl Stash for TaskStash {
    fn give_back(&self) {
        let stashed = std::mem::take(&mut *self.stashed.lock());
        let mut queue = self.shared.queue.lock();
        for task in stashed.tasks.into_iter().rev() {
            queue.tasks.push_front(task);
        }
        let wake = queue.enter(stashed.tally);
        let list = queue.must_list(self.shared.limit);
        drop(queue);
        if let Some(owner) = wake {
            owner.unpark();
        }
        if list {
            workers::list_unsupplied(self.shared.clone());
        }
        if !holds(Guard::GivingBackDropsNothing) && self.shared.node().is_flagged() {
            self.shared.empty();
        }
    }
}

impl Source for Shared {
    fn work(self: Arc<Self>, worker: &Worker) {
        let _within = self.around.as_ref().map(held_permits::within);
        let stash = Arc::new(TaskStash::new(self.clone()));
        worker.set_stash(Some(stash.clone()));
        let mut size = 1;
        let mut passed_on = false;
        let mut turn = Turn::default();
        loop {
            let taken = match stash.next() {
                Some(task) => Taken {
                    task,
                    permit: Permit::Nothing,
                    precisely: false,
                },
                None => {
                    if turn.is_over() {
                        // Nothing is stashed; what has ended is reported with this.
                        stash.give_back();
                        break;
                    }
                    let Some((first, rest)) = self.take_batch(size, stash.tally()) else {
                        break;
                    };
                    if rest.is_empty() {
                        worker.set_stashing(false);
                    } else {
                        if !holds(Guard::StashIsFlaggedLast) {
                            worker.set_stashing(true);
                        }
                        stash.put(rest);
                        if holds(Guard::StashIsFlaggedLast) {
                            worker.set_stashing(true);
                        }
                        workers::watch_stash();
                    }
                    // A first task that blocks, as most do that block at all, has nothing stashed
                    // behind it.
                    size = (size * 2).min(most_stashed());
                    first
                }
            };
            if !passed_on && holds(Guard::WakeIsPassedOn) {
                workers::pass_on();
                passed_on = true;
            }
            worker.begin_task();
            match self.dispatch(taken) {
                Dispatched::Ended(end) => stash.note(end),
                Dispatched::NotBegun => stash.note_not_begun(),
                Dispatched::Elsewhere => {}
            }
        }
        worker.set_stashing(false);
        worker.set_stash(None);
    }

    fn start_apart(self: Arc<Self>) {
        while let Some((taken, _)) = self.take_batch(1, Tally::default()) {
            match self.dispatch(taken) {
                Dispatched::Ended(end) => self.leave(end, Permit::Nothing, false),
                Dispatched::NotBegun => self.not_begun(Permit::Nothing),
                Dispatched::Elsewhere => {}
            }
        }
    }

    fn refuse(self: Arc<Self>, error: io::Error) {
        let Some((taken, _)) = self.take_batch(1, Tally::default()) else {
            return;
        };
        match taken.task.refuse(error) {
            Some(end) => self.leave(end, taken.permit, false),
            None => self.not_begun(taken.permit),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::{Mutex, mpsc};

    use super::{Stash, TaskStash};
    use crate::TaskGroup;

    #[test]
    fn what_is_given_back_comes_first_and_in_its_order() {
        let order = Mutex::new(Vec::new());
        let (leave, left) = mpsc::channel::<()>();
        TaskGroup::builder()
            .limit(1)
            .scope(|g| {
                let (begin, begun) = mpsc::channel();
                g.spawn(move || {
                    begin.send(())?;
                    Ok(left.recv()?)
                });
                begun.recv()?;
                // The only slot is taken: these stay in the queue.
                for n in 0..5 {
                    let order = &order;
                    g.spawn(move || {
                        order.lock().unwrap().push(n);
                        Ok(())
                    });
                }
                let shared = &g.group().shared;
                let stash = TaskStash::new(shared.clone());
                stash.put(shared.queue.lock().tasks.drain(..3).collect());
                stash.give_back();
                leave.send(())?;
                Ok(())
            })
            .unwrap();
        assert_eq!(order.into_inner().unwrap(), [0, 1, 2, 3, 4]);
    }
}
