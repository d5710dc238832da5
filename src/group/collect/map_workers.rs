//! A whole map: the items of an iterator, a function over them, and the tasks that share the work.
//!
//! A task for each item would cost more than most items do. Here a task is a *lane*: it takes a
//! batch of items and calls the function for one after the other. The caller pulls the input, since
//! the iterator need not be `Send`.
//!
//! # Invariants
//!
//! 1. An item that has not been begun is in the queue or in the batch of a lane, where every other
//!    lane finds it. So an item never waits behind one that blocks, while the limit allows for one
//!    more lane.
//! 2. While there is such an item and fewer lanes are alive than the limit says, one is spare:
//!    spawned and not begun. It gets a thread when a core is free or a lane blocks, like any task,
//!    takes its part, and spawns the next.
//! 3. The items of a batch follow one another in the input, and so do the results of a run. A lane
//!    takes its items from the front of its batch. A thief takes the front half, since what is next
//!    in line is what a blocked item may wait for; the lane then begins a new run.
//!
//! # Lock order
//!
//! The lock of the state, then that of one batch. A lane that runs takes that of its batch alone.
//! No item is dropped and nothing of the user's is called with either held.

use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cancel::{Cancelled, context};
use crate::error::TaskError;
use crate::facade::{FIRST_BATCH, Guard, Mutex, TIME_PASSES, batches_ahead, holds, spin};
use crate::group::scope::TaskGroup;
use crate::group::task::failed_item;
use crate::group::task_end::Role;
use crate::waiting::{Point, Slot};

/// A batch that took less was too small to be worth its locks and clocks, and one that took longer
/// than the other is large enough to leave lanes without work at the end.
const SHORT: Duration = Duration::from_micros(20);
const LONG: Duration = Duration::from_micros(200);
/// The most items of a batch, and by how much batches grow at once.
const MOST: usize = 4096;
const GROWTH: usize = 8;

/// Consecutive items.
struct Batch<Item> {
    /// The place of the first of them in the input.
    first: usize,
    items: VecDeque<Item>,
}

/// Consecutive results.
struct Run<T> {
    first: usize,
    results: Vec<T>,
}

pub(crate) struct MapWorkers<Item, T, F> {
    f: F,
    limit: usize,
    location: &'static Location<'static>,
    /// So many batches are pulled ahead at most.
    ahead: usize,
    state: Mutex<State<Item, T>>,
}

struct State<Item, T> {
    queue: VecDeque<Batch<Item>>,
    /// The batches of the lanes that have begun.
    taken: Vec<Arc<Mutex<Batch<Item>>>>,
    /// MapWorkers that have been spawned and not ended.
    alive: usize,
    /// One of them has not begun.
    spare: bool,
    /// How many items the next batch is to have.
    size: usize,
    /// Who pulls, while it waits for the queue to get shorter.
    puller: Option<Arc<Slot>>,
    runs: Vec<Run<T>>,
}

impl<Item: Send, T: Send, F> MapWorkers<Item, T, F> {
    #[track_caller]
    pub(crate) fn new(limit: usize, f: F) -> Self {
        let state = State {
            queue: VecDeque::new(),
            taken: Vec::new(),
            alive: 0,
            spare: false,
            size: FIRST_BATCH,
            puller: None,
            runs: Vec::new(),
        };
        MapWorkers {
            f,
            limit,
            location: Location::caller(),
            ahead: batches_ahead(),
            state: Mutex::new(state),
        }
    }

    /// Pulls all of `items` and has them worked on by tasks of `group`. Returns when nothing is
    /// left to pull.
    ///
    /// # Errors
    ///
    /// The current scope was cancelled before that.
    #[track_caller]
    pub(crate) fn feed<'scope, E>(
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
            let size = self.room()?;
            let batch: VecDeque<_> = items.by_ref().take(size).collect();
            let pulled = batch.len();
            if pulled > 0 {
                let mut state = self.state.lock();
                state.queue.push_back(Batch {
                    first,
                    items: batch,
                });
                let spawn = state.wants_spare(self.limit);
                drop(state);
                if spawn {
                    self.spawn(group);
                }
            }
            if pulled < size {
                return Ok(());
            }
            first += pulled;
        }
    }

    /// Waits until the queue has room, and says for how many items.
    #[track_caller]
    fn room(&self) -> Result<usize, Cancelled> {
        context::check()?;
        let mut room = None;
        let mut look = || {
            let state = self.state.lock();
            room = (state.queue.len() < self.ahead).then_some(state.size);
            room.is_some()
        };
        if !spin(&mut look) {
            let mut state = self.state.lock();
            if state.queue.len() >= self.ahead {
                state.puller = Some(context::slot());
            }
            drop(state);
            context::wait(Point::Completion, None, &mut look)?;
        }
        Ok(room.unwrap_or_else(|| unreachable!("the wait has seen room")))
    }

    fn spawn<'scope, E>(&'scope self, group: &'scope TaskGroup<'scope, '_, E>)
    where
        E: TaskError,
        F: Fn(Item) -> Result<T, E> + Send + Sync,
    {
        let lane = move || {
            failed_item::noted(|at| {
                let rest = self.begin();
                while let Some((place, item)) = self.take(&rest, group) {
                    self.work(place, item, &rest, at)?;
                }
                Ok(())
            })
        };
        drop(group.task().launch(self.location, Role::Task, None, lane));
    }

    fn begin(&self) -> Arc<Mutex<Batch<Item>>> {
        let rest = Arc::new(Mutex::new(Batch {
            first: 0,
            items: VecDeque::new(),
        }));
        let mut state = self.state.lock();
        state.spare = false;
        state.taken.push(rest.clone());
        rest
    }

    /// Gets a batch for the lane that keeps it in `rest`: its first item, and the place of that in
    /// the input. None if there is nothing to do, and the lane has ended.
    fn take<'scope, E>(
        &'scope self,
        rest: &Arc<Mutex<Batch<Item>>>,
        group: &'scope TaskGroup<'scope, '_, E>,
    ) -> Option<(usize, Item)>
    where
        E: TaskError,
        F: Fn(Item) -> Result<T, E> + Send + Sync,
    {
        let mut state = self.state.lock();
        let Some(mut batch) = state.queue.pop_front().or_else(|| state.steal()) else {
            state.alive -= 1;
            state.taken.retain(|taken| !Arc::ptr_eq(taken, rest));
            return None;
        };
        let first = batch.next();
        // The batch that this replaces is empty.
        *rest.lock() = batch;
        let spawn = state.wants_spare(self.limit);
        let puller = if state.queue.len() <= self.ahead / 2 {
            state.puller.take()
        } else {
            None
        };
        drop(state);
        if let Some(puller) = puller.filter(|_| holds(Guard::LaneWakesPuller)) {
            puller.unpark();
        }
        if spawn {
            self.spawn(group);
        }
        first
    }

    /// Works on an item and on the rest of its batch; `at` says which it is at.
    fn work<E>(
        &self,
        mut place: usize,
        mut item: Item,
        rest: &Mutex<Batch<Item>>,
        at: &Cell<Option<usize>>,
    ) -> Result<(), E>
    where
        E: TaskError,
        F: Fn(Item) -> Result<T, E>,
    {
        let begun = TIME_PASSES.then(Instant::now);
        let mut done = 0;
        let mut run = Run {
            first: place,
            results: Vec::with_capacity(1 + rest.lock().items.len()),
        };
        loop {
            context::check()?;
            if place != run.first + run.results.len() {
                // A thief has been here.
                let finished = std::mem::replace(
                    &mut run,
                    Run {
                        first: place,
                        results: Vec::new(),
                    },
                );
                done += finished.results.len();
                self.state.lock().runs.push(finished);
            }
            at.set(Some(place));
            run.results.push((self.f)(item)?);
            let next = rest.lock().next();
            match next {
                Some(next) => (place, item) = next,
                None => break,
            }
        }
        done += run.results.len();
        let took = begun.map(|begun| begun.elapsed());
        let mut state = self.state.lock();
        match took {
            Some(took) if took < SHORT && done >= state.size => {
                state.size = (state.size * GROWTH).min(MOST)
            }
            Some(took) if took > LONG => state.size = (state.size / GROWTH).max(1),
            _ => {}
        }
        state.runs.push(run);
        Ok(())
    }

    /// The results in the order of the input, when all lanes have ended.
    pub(crate) fn into_results(self) -> Vec<T> {
        let mut runs = self.state.into_inner().runs;
        runs.sort_unstable_by_key(|run| run.first);
        let mut results = Vec::with_capacity(runs.iter().map(|run| run.results.len()).sum());
        for run in &mut runs {
            results.append(&mut run.results);
        }
        results
    }
}

impl<Item> Batch<Item> {
    /// The next item and its place.
    #[inline]
    fn next(&mut self) -> Option<(usize, Item)> {
        let item = self.items.pop_front()?;
        let place = self.first;
        self.first += 1;
        Some((place, item))
    }

    /// The front half.
    fn split(&mut self) -> Option<Self> {
        let goes = self.items.len().div_ceil(2);
        if goes == 0 {
            return None;
        }
        let back = self.items.split_off(goes);
        let front = Batch {
            first: self.first,
            items: std::mem::replace(&mut self.items, back),
        };
        self.first += goes;
        Some(front)
    }
}

impl<Item, T> State<Item, T> {
    /// Half of what another lane has taken and not begun: the lane whose next item comes first.
    fn steal(&mut self) -> Option<Batch<Item>> {
        let next = |taken: &Arc<Mutex<Batch<Item>>>| {
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

    /// Whether there is something that a lane more could do.
    fn wants_spare(&mut self, limit: usize) -> bool {
        let wants = !self.spare
            && (holds(Guard::LaneIsSpare) || self.alive == 0)
            && self.alive < limit
            && (!self.queue.is_empty()
                || self
                    .taken
                    .iter()
                    .any(|taken| !taken.lock().items.is_empty()));
        self.spare |= wants;
        self.alive += usize::from(wants);
        wants
    }
}
