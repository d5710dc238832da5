//! A whole map: the items of an iterator, a function over them, and the tasks that share the work.
//!
//! A task for each item would cost more than most items do. Here a task is a *map worker*: it takes
//! a batch of items and calls the function for one after the other. The caller pulls the input,
//! since the iterator need not be `Send`.
//!
//! # Invariants
//!
//! 1. An item that has not been begun is in the queue or in the batch of a map worker, where every
//!    other map worker finds it. So an item never waits behind an item that blocks, as long as the
//!    limit allows one more map worker.
//! 2. While there is such an item and fewer map workers are alive than the limit says, one is
//!    spare: spawned and not begun. It gets a thread when a core is free or a map worker blocks,
//!    like any task. Then it takes its part and spawns the next.
//! 3. The items of a batch follow one another in the input, and so do the results of a run. A map
//!    worker takes items from the front of its batch. A thief takes the front half, since a blocked
//!    item may wait for the next ones in line. The map worker then begins a new run.
//!
//! # Lock order
//!
//! The lock of the work, then the lock of one batch. A map worker that calls the function takes
//! only the lock of its own batch. No item is dropped and no user code is called with either held.
//!
//! # Values that are left
//!
//! A map that fails or is cancelled drops items and results that it has not handed out. Their
//! destructors are user code. A panic of one must neither hide the failure that the map reports nor
//! end the process, which it would during an unwinding or beside another panic. So batches and runs
//! drop their values one by one, and each panic is logged.

use std::cell::Cell;
use std::collections::VecDeque;
use std::mem;
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cancel::{Cancelled, context};
use crate::error::TaskError;
use crate::facade::{FIRST_BATCH, Mutex, TIME_PASSES, batches_ahead, spin};
use crate::group::scope::TaskGroup;
use crate::group::task::failed_item;
use crate::group::task_end::Role;
use crate::panics::drop_each_contained;
use crate::trace;
use crate::waiting::{Slot, WaitKind};

/// A batch that took less time than `SHORT` was too small to be worth its locks and clocks. One
/// that took longer than `LONG` is large enough to leave map workers without work at the end.
const SHORT: Duration = Duration::from_micros(20);
const LONG: Duration = Duration::from_micros(200);
/// The most items of a batch, and the factor by which batches grow at once.
const MOST: usize = 4096;
const GROWTH: usize = 8;

/// Consecutive items.
struct ItemBatch<Item> {
    /// The index in the input of the first of them.
    first: usize,
    items: VecDeque<Item>,
}

/// The batch of a map worker, which others take items from.
type SharedBatch<Item> = Arc<Mutex<ItemBatch<Item>>>;

/// Consecutive results.
struct ResultRun<T> {
    first: usize,
    results: Vec<T>,
}

pub(super) struct MapWorkers<Item, T, F> {
    f: F,
    limit: usize,
    location: &'static Location<'static>,
    /// How many batches are pulled ahead at most.
    ahead: usize,
    work: Mutex<Work<Item, T>>,
}

struct Work<Item, T> {
    queue: VecDeque<ItemBatch<Item>>,
    /// The batches of the map workers that have begun.
    taken: Vec<SharedBatch<Item>>,
    /// Map workers that have been spawned and have not ended.
    alive: usize,
    /// One of them has not begun.
    has_spare: bool,
    /// How many items the next batch will have.
    size: usize,
    /// The thread that pulls the input, while it waits for the queue to get shorter.
    puller: Option<Arc<Slot>>,
    /// How many items the input had, once all of them have been pulled.
    pulled: Option<usize>,
    runs: Vec<ResultRun<T>>,
}

impl<Item: Send, T: Send, F> MapWorkers<Item, T, F> {
    #[track_caller]
    pub(super) fn new(limit: usize, f: F) -> Self {
        let work = Work {
            queue: VecDeque::new(),
            taken: Vec::new(),
            alive: 0,
            has_spare: false,
            size: FIRST_BATCH,
            puller: None,
            pulled: None,
            runs: Vec::new(),
        };

        MapWorkers {
            f,
            limit,
            location: Location::caller(),
            ahead: batches_ahead(),
            work: Mutex::new(work),
        }
    }

    /// Pulls all of `items` and lets tasks of `group` work on them. Returns when nothing is left to
    /// pull.
    ///
    /// # Errors
    ///
    /// The current scope was cancelled before that.
    #[track_caller]
    pub(super) fn feed<'scope, E>(
        &'scope self,
        group: &'scope TaskGroup<'scope, '_, E>,
        mut items: impl Iterator<Item = Item>,
    ) -> Result<(), Cancelled>
    where
        E: TaskError,
        F: Fn(Item) -> Result<T, E> + Send + Sync,
    {
        let mut first = 0;
        loop {
            // The iterator is user code, so it is pulled outside of the lock.
            let size = self.wait_for_room()?;
            // If it panics, the batch drops the items before.
            let mut batch = ItemBatch {
                first,
                items: VecDeque::new(),
            };
            batch.items.extend(items.by_ref().take(size));
            let pulled = batch.items.len();
            if pulled > 0 {
                let mut work = self.work.lock();
                work.queue.push_back(batch);
                let spawn = work.wants_spare(self.limit);
                drop(work);
                if spawn {
                    self.spawn(group);
                }
            }

            // An input that says that it is spent is not waited for again. So a cancel that comes
            // now cuts calls short, but not this thread.
            first += pulled;
            if pulled < size || items.size_hint().1 == Some(0) {
                self.work.lock().pulled = Some(first);
                return Ok(());
            }
        }
    }

    /// Waits until the queue has room. Returns for how many items.
    fn wait_for_room(&self) -> Result<usize, Cancelled> {
        context::check_at(self.location)?;

        let mut room = None;
        let mut look = || {
            let work = self.work.lock();
            room = (work.queue.len() < self.ahead).then_some(work.size);
            room.is_some()
        };

        if !spin(&mut look) {
            // In the critical section that sees the queue full: the map worker that empties it
            // finds the thread to wake.
            let mut work = self.work.lock();
            if work.queue.len() >= self.ahead {
                work.puller = Some(context::slot());
            }
            drop(work);
            context::wait_at(self.location, WaitKind::Map, None, &mut look)?;
        }
        Ok(room.unwrap_or_else(|| unreachable!("the wait has seen room")))
    }

    /// Spawns a map worker.
    fn spawn<'scope, E>(&'scope self, group: &'scope TaskGroup<'scope, '_, E>)
    where
        E: TaskError,
        F: Fn(Item) -> Result<T, E> + Send + Sync,
    {
        let worker = move || {
            failed_item::noted(|at| {
                let rest = self.begin();
                // The first failure ends this map worker, and cancels the others.
                while let Some((index, item)) = self.take(&rest, group) {
                    self.work_on(index, item, &rest, at)?;
                }
                Ok(())
            })
        };
        drop(group.task().launch(self.location, Role::Task, None, worker));
    }

    /// Notes that the spare map worker has begun. Returns its batch, which is empty.
    fn begin(&self) -> SharedBatch<Item> {
        let rest = Arc::new(Mutex::new(ItemBatch {
            first: 0,
            items: VecDeque::new(),
        }));

        let mut work = self.work.lock();
        work.has_spare = false;
        work.taken.push(rest.clone());
        rest
    }

    /// Gets a batch for the map worker that keeps it in `rest`. Returns its first item, with the
    /// index in the input. Returns none if there is nothing to do, and the map worker has ended.
    fn take<'scope, E>(
        &'scope self,
        rest: &SharedBatch<Item>,
        group: &'scope TaskGroup<'scope, '_, E>,
    ) -> Option<(usize, Item)>
    where
        E: TaskError,
        F: Fn(Item) -> Result<T, E> + Send + Sync,
    {
        let mut work = self.work.lock();
        let Some(mut batch) = work.queue.pop_front().or_else(|| work.steal()) else {
            work.alive -= 1;
            work.taken.retain(|taken| !Arc::ptr_eq(taken, rest));
            return None;
        };

        // Invariant 1: the rest is found by others before this call returns. The batch that it
        // replaces is empty.
        let first = batch.next();
        *rest.lock() = batch;

        // Invariant 2: the rest may need a spare map worker, which is spawned after the unlock.
        let spawn = work.wants_spare(self.limit);
        let puller = if work.queue.len() <= self.ahead / 2 {
            work.puller.take()
        } else {
            None
        };
        drop(work);

        // fault: puller-is-not-woken
        if let Some(puller) = puller {
            puller.unpark();
        }
        if spawn {
            // To a subscriber, all map workers are children of the caller of the map.
            trace::beside(|| self.spawn(group));
        }
        first
    }

    /// Works on an item and on the rest of its batch. `at` is set to the index of each.
    fn work_on<E>(
        &self,
        mut index: usize,
        mut item: Item,
        rest: &Mutex<ItemBatch<Item>>,
        at: &Cell<Option<usize>>,
    ) -> Result<(), E>
    where
        E: TaskError,
        F: Fn(Item) -> Result<T, E>,
    {
        let begun = TIME_PASSES.then(Instant::now);
        let mut done = 0;
        let mut run = ResultRun {
            first: index,
            results: Vec::with_capacity(1 + rest.lock().items.len()),
        };

        loop {
            // Items may be quick and many, so each of them is a checkpoint.
            context::check()?;
            if index != run.first + run.results.len() {
                // A thief has taken the items between, so a new run begins (invariant 3).
                let next_run = ResultRun {
                    first: index,
                    results: Vec::new(),
                };
                let finished = mem::replace(&mut run, next_run);
                done += finished.results.len();
                self.work.lock().runs.push(finished);
            }

            at.set(Some(index));
            run.results.push((self.f)(item)?);

            // The lock of the batch is not held while the next item is worked on.
            let next = rest.lock().next();
            match next {
                Some(next) => (index, item) = next,
                None => break,
            }
        }

        // The size of the next batches depends on how long this one took.
        done += run.results.len();
        let took = begun.map(|begun| begun.elapsed());
        let mut work = self.work.lock();
        work.adapt_size(took, done);
        work.runs.push(run);
        Ok(())
    }

    /// Returns whether every item of the input has its result. To be called when all map workers
    /// have ended.
    pub(super) fn has_all_results(&self) -> bool {
        let work = self.work.lock();
        let results = work.runs.iter().map(|run| run.results.len()).sum();
        work.pulled == Some(results)
    }

    /// Returns the results in the order of the input. To be called when all map workers have ended.
    pub(super) fn into_results(self) -> Vec<T> {
        let mut runs = self.work.into_inner().runs;
        runs.sort_unstable_by_key(|run| run.first);

        let mut results = Vec::with_capacity(runs.iter().map(|run| run.results.len()).sum());
        for run in &mut runs {
            results.append(&mut run.results);
        }
        results
    }
}

impl<Item> Drop for ItemBatch<Item> {
    fn drop(&mut self) {
        drop_each_contained("item of a map", mem::take(&mut self.items));
    }
}

impl<T> Drop for ResultRun<T> {
    fn drop(&mut self) {
        drop_each_contained("result of a map", mem::take(&mut self.results));
    }
}

impl<Item> ItemBatch<Item> {
    /// Takes the next item, with its index.
    #[inline]
    fn next(&mut self) -> Option<(usize, Item)> {
        let item = self.items.pop_front()?;
        let index = self.first;
        self.first += 1;
        Some((index, item))
    }

    /// Takes the front half.
    fn split(&mut self) -> Option<Self> {
        let goes = self.items.len().div_ceil(2);
        if goes == 0 {
            return None;
        }

        // The items in front were pulled first, and items begin roughly in order.
        let back = self.items.split_off(goes);
        let front = ItemBatch {
            first: self.first,
            items: mem::replace(&mut self.items, back),
        };

        self.first += goes;
        Some(front)
    }
}

impl<Item, T> Work<Item, T> {
    /// Takes half of the items that another map worker has taken and not begun. Of all map workers,
    /// it chooses the one with the first next item in the input.
    fn steal(&mut self) -> Option<ItemBatch<Item>> {
        let next = |taken: &SharedBatch<Item>| {
            let batch = taken.lock();
            (!batch.items.is_empty()).then_some(batch.first)
        };

        let (_, victim) = self
            .taken
            .iter()
            .filter_map(|taken| Some((next(taken)?, taken)))
            .min_by_key(|(first, _)| *first)?;
        victim.lock().split()
    }

    /// Returns whether the caller has to spawn a map worker, which counts as spare from now on
    /// (invariant 2).
    fn wants_spare(&mut self, limit: usize) -> bool {
        // fault: no-map-worker-is-spare
        let has_room = !self.has_spare && self.alive < limit;
        let has_items = || {
            let mut taken = self.taken.iter();
            !self.queue.is_empty() || taken.any(|taken| !taken.lock().items.is_empty())
        };
        let wants = has_room && has_items();
        self.has_spare |= wants;
        self.alive += usize::from(wants);
        wants
    }

    /// Adapts the size of the next batches to the time that `done` items took.
    fn adapt_size(&mut self, took: Option<Duration>, done: usize) {
        match took {
            Some(took) if took < SHORT && done >= self.size => {
                self.size = (self.size * GROWTH).min(MOST);
            }
            Some(took) if took > LONG => self.size = (self.size / GROWTH).max(1),
            _ => {}
        }
    }
}
