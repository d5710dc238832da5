//! Random graphs of tasks that hold objects and wait for one more, of which it is known beforehand
//! which cannot go on.
//!
//! Each task takes what it holds, and then the tasks make one request each, in a random order. The
//! next request comes once the last one has been met, or its task is asleep. So the queue of each
//! object is known. A task whose request is met keeps all that it has until the end, and can go on.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use taskgroup::deadlock;
use taskgroup::sync::{Mutex, OnceCell, RwLock, WriteGuard};
use taskgroup::{TaskGroup, TaskHandle, TaskId, TaskState, snapshot};

use super::quiet;
use super::support::{Gate, LONG, until};

const GRAPHS: u64 = 150;
const OBJECTS: usize = 3;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Object {
    Mutex(usize),
    Write(usize),
    Read(usize),
    Cell(usize),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Request {
    Nothing,
    Take(Object),
    Join(usize),
}

/// One graph.
#[derive(Debug)]
struct Plan {
    /// What each task holds. A lock that is downgraded counts as read.
    holds: Vec<Vec<Object>>,
    is_downgraded: bool,
    requests: Vec<Request>,
    /// The order of the requests.
    order: Vec<usize>,
}

/// Numbers from a seed (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }

    fn shuffle<T>(&mut self, all: &mut [T]) {
        for last in (1..all.len()).rev() {
            all.swap(last, self.below(last + 1));
        }
    }
}

impl Plan {
    fn new(seed: u64) -> Self {
        let mut numbers = Numbers(seed);
        let tasks = 2 + numbers.below(4);
        let mut holds = vec![Vec::new(); tasks];
        for object in 0..OBJECTS {
            // Some are free.
            if let Some(holds) = holds.get_mut(numbers.below(tasks + 1)) {
                holds.push(Object::Mutex(object));
            }
            if let Some(holds) = holds.get_mut(numbers.below(tasks + 1)) {
                holds.push(Object::Cell(object));
            }
            if numbers.below(2) == 0 {
                holds[numbers.below(tasks)].push(Object::Write(object));
                continue;
            }
            for holds in &mut holds {
                if numbers.below(3) == 0 {
                    holds.push(Object::Read(object));
                }
            }
        }
        holds.iter_mut().for_each(|holds| numbers.shuffle(holds));

        let requests = holds.iter().map(|holds| {
            loop {
                let at = numbers.below(OBJECTS);
                let object = match numbers.below(6) {
                    0 => return Request::Nothing,
                    1 => return Request::Join(numbers.below(tasks)),
                    2 => Object::Mutex(at),
                    3 => Object::Write(at),
                    4 => Object::Read(at),
                    _ => Object::Cell(at),
                };

                // A task that locks again panics at once.
                let is_cell = matches!(object, Object::Cell(_));
                if is_cell
                    || !holds
                        .iter()
                        .any(|held| held.excludes(object) || *held == object)
                {
                    return Request::Take(object);
                }
            }
        });
        let requests = requests.collect();
        let mut order: Vec<_> = (0..tasks).collect();
        numbers.shuffle(&mut order);
        Plan {
            holds,
            is_downgraded: numbers.below(2) == 0,
            requests,
            order,
        }
    }

    /// Returns how an object is held that was taken like this.
    fn held(&self, object: Object) -> Object {
        match object {
            Object::Write(lock) if self.is_downgraded => Object::Read(lock),
            other => other,
        }
    }
}

impl Object {
    /// Whether another task that holds this keeps a task from taking `other`.
    fn excludes(self, other: Object) -> bool {
        match (self, other) {
            (Object::Write(lock), Object::Read(of) | Object::Write(of))
            | (Object::Read(lock), Object::Write(of)) => lock == of,
            (Object::Read(_), _) => false,
            (one, other) => one == other,
        }
    }
}

/// What is known of a graph after some of its requests.
struct Known<'p> {
    plan: &'p Plan,
    /// What each task holds now.
    holds: Vec<Vec<Object>>,
    /// The values that have been made.
    made: Vec<usize>,
    /// The tasks that wait, in the order of their requests.
    waits: Vec<usize>,
}

impl<'p> Known<'p> {
    fn new(plan: &'p Plan) -> Self {
        let held = |holds: &Vec<_>| holds.iter().map(|object| plan.held(*object)).collect();
        Known {
            plan,
            holds: plan.holds.iter().map(held).collect(),
            made: Vec::new(),
            waits: Vec::new(),
        }
    }

    /// Returns the tasks that a request waits for. It is met if there are none.
    fn keepers(&self, request: Request) -> Vec<usize> {
        let object = match request {
            Request::Nothing => return Vec::new(),
            Request::Join(task) => return vec![task],
            Request::Take(Object::Cell(cell)) if self.made.contains(&cell) => return Vec::new(),
            Request::Take(object) => object,
        };

        let holders = (0..self.holds.len()).filter(|task| {
            let mut held = self.holds[*task].iter();
            held.any(|held| held.excludes(object))
        });
        let holders: Vec<_> = holders.collect();
        let is_queued = |lock| {
            let mut waits = self.waits.iter();
            waits.any(|task| self.plan.requests[*task] == Request::Take(Object::Write(lock)))
        };
        match object {
            // Behind a writer, which waits for all that read.
            Object::Read(lock) if holders.is_empty() && is_queued(lock) => {
                self.keepers(Request::Take(Object::Write(lock)))
            }
            _ => holders,
        }
    }

    /// Makes the request of a task.
    fn request(&mut self, task: usize) {
        let request = self.plan.requests[task];
        if !self.keepers(request).is_empty() {
            self.waits.push(task);
            return;
        }
        match request {
            Request::Take(Object::Cell(cell)) => self.made.push(cell),
            Request::Take(object) => self.holds[task].push(object),
            _ => {}
        }
    }

    /// Returns the tasks that cannot go on: those that wait for one of these.
    fn stuck(&self) -> BTreeSet<usize> {
        let mut stuck: BTreeSet<_> = self.waits.iter().copied().collect();
        loop {
            let before = stuck.clone();
            stuck.retain(|task| {
                let keepers = self.keepers(self.plan.requests[*task]);
                keepers.iter().any(|keeper| before.contains(keeper))
            });
            if stuck == before {
                return stuck;
            }
        }
    }
}

/// The objects, and how far each task is.
#[derive(Default)]
struct Scene {
    mutexes: [Mutex<()>; OBJECTS],
    locks: [RwLock<()>; OBJECTS],
    cells: [OnceCell<()>; OBJECTS],
    end: Gate,
}

#[derive(Default)]
struct Step {
    has_taken: Gate,
    may_request: Gate,
    is_met: AtomicBool,
}

impl Scene {
    /// Calls `then` with all these objects held.
    fn holding(
        &self,
        plan: &Plan,
        objects: &[Object],
        then: &mut dyn FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let Some((first, rest)) = objects.split_first() else {
            return then();
        };
        match *first {
            Object::Mutex(at) => {
                let _guard = self.mutexes[at].lock()?;
                self.holding(plan, rest, then)
            }
            Object::Write(at) if plan.is_downgraded => {
                let _guard = WriteGuard::downgrade(self.locks[at].write()?);
                self.holding(plan, rest, then)
            }
            Object::Write(at) => {
                let _guard = self.locks[at].write()?;
                self.holding(plan, rest, then)
            }
            Object::Read(at) => {
                let _guard = self.locks[at].read()?;
                self.holding(plan, rest, then)
            }
            Object::Cell(at) => {
                self.cells[at].get_or_try_init(|| self.holding(plan, rest, then))?;
                Ok(())
            }
        }
    }

    /// Makes a request, and keeps what it gets until the end.
    fn request(
        &self,
        request: Request,
        step: &Step,
        tasks: &[OnceLock<TaskHandle<'_, ()>>],
    ) -> anyhow::Result<()> {
        let keep = || {
            step.is_met.store(true, SeqCst);
            self.end.wait();
        };
        match request {
            Request::Nothing => keep(),
            Request::Join(at) => {
                tasks[at].get().expect("all are spawned").wait()?;
                keep();
            }
            Request::Take(Object::Mutex(at)) => {
                let _guard = self.mutexes[at].lock()?;
                keep();
            }
            Request::Take(Object::Write(at)) => {
                let _guard = self.locks[at].write()?;
                keep();
            }
            Request::Take(Object::Read(at)) => {
                let _guard = self.locks[at].read()?;
                keep();
            }
            Request::Take(Object::Cell(at)) => {
                self.cells[at].get_or_init(|| ())?;
                keep();
            }
        }
        Ok(())
    }
}

/// Lets all tasks go on, also after a failure.
struct OpensAll<'a>(&'a Scene, &'a [Step]);

impl Drop for OpensAll<'_> {
    fn drop(&mut self) {
        self.0.end.open();
        self.1.iter().for_each(|step| step.may_request.open());
    }
}

/// Returns whether a task is asleep in a blocking point.
fn is_asleep(id: TaskId) -> bool {
    let seen = snapshot();
    let task = seen.tasks().find(|task| task.id() == id);
    task.is_some_and(|task| {
        let wait = task.waits().filter(|wait| !wait.since().is_zero());
        task.state() == TaskState::Waiting && wait.is_some()
    })
}

/// Searches until exactly these tasks are reported. Fails at once if another one is.
#[track_caller]
fn assert_reported(tasks: &HashMap<TaskId, usize>, stuck: &BTreeSet<usize>, of: (u64, &Plan)) {
    let begun = Instant::now();
    loop {
        let found = deadlock::check();
        let threads = found
            .iter()
            .flat_map(|one| one.threads().iter().chain(one.tail()));
        let numbers = threads.filter_map(|thread| tasks.get(&thread.task()?).copied());
        let reported: BTreeSet<_> = numbers.collect();
        if reported == *stuck {
            return;
        }

        // One that was woken for nothing is not asleep for a moment.
        let is_early = reported.is_subset(stuck) && begun.elapsed() < LONG;
        assert!(is_early, "{reported:?} and not {stuck:?} in {of:?}");
    }
}

/// Runs a graph, and compares what is reported after each request with what is known. Returns how
/// many tasks were stuck in the end.
fn run(seed: u64) -> usize {
    let plan = Plan::new(seed);
    let (scene, mut known) = (Scene::default(), Known::new(&plan));
    let steps: Vec<_> = plan.holds.iter().map(|_| Step::default()).collect();
    let ended = TaskGroup::scope(|g| {
        let _opens = OpensAll(&scene, &steps);
        let handles: Arc<Vec<_>> = Arc::new(steps.iter().map(|_| OnceLock::new()).collect());
        let mut tasks = HashMap::new();
        for (at, step) in steps.iter().enumerate() {
            let (plan, scene, theirs) = (&plan, &scene, handles.clone());
            let task = g.task().dedicated().spawn(move || {
                scene.holding(plan, &plan.holds[at], &mut || {
                    step.has_taken.open();
                    step.may_request.wait();
                    scene.request(plan.requests[at], step, &theirs)
                })
            });
            tasks.insert(task.id(), at);
            assert!(handles[at].set(task).is_ok());
        }
        steps.iter().for_each(|step| step.has_taken.wait());

        for &at in &plan.order {
            known.request(at);
            steps[at].may_request.open();
            let id = handles[at].get().expect("it is spawned").id();
            let is_waiting = known.waits.contains(&at);
            until(|| steps[at].is_met.load(SeqCst) || is_asleep(id));
            assert_eq!(
                !steps[at].is_met.load(SeqCst),
                is_waiting,
                "{seed}: {plan:?}"
            );

            assert_reported(&tasks, &known.stuck(), (seed, &plan));
        }

        // All others end by themselves.
        let stuck = known.stuck();
        scene.end.open();
        for (at, task) in handles.iter().enumerate() {
            if !stuck.contains(&at) {
                task.get().expect("it is spawned").wait()?;
            }
        }
        assert_reported(&tasks, &stuck, (seed, &plan));
        g.cancel();
        anyhow::Ok(stuck.len())
    });
    ended.expect("a cancel by the body is no failure")
}

#[test]
fn of_random_graphs_exactly_the_tasks_are_reported_that_cannot_go_on() {
    let _watch = quiet();
    let stuck: Vec<_> = (0..GRAPHS).map(run).collect();
    let with = stuck.iter().filter(|stuck| **stuck != 0).count();
    assert!((50..100).contains(&with), "{with} graphs have a deadlock");
}
