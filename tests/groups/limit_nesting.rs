//! Tasks of a limited group wait for tasks of the same group, in every nesting of the ways to wait,
//! to depth 3. Each program ends, and runs no more tasks at once than the limit says.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use crate::support::watch;
use taskgroup::{Cancelled, TaskGroup, TaskHandle, TaskStatus};

/// How a task waits for its two children.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Join,
    Wait,
    AsCompleted,
    Map,
    MapUnordered,
    // A wait of these ways can end without the end of a running task. The group then runs one task
    // more than its limit.
    WaitTimeout,
    CancelAndWait,
    Start,
}

use Way::{AsCompleted, CancelAndWait, Join, Map, MapUnordered, Start, Wait, WaitTimeout};

const WAYS: [Way; 8] = [
    Join,
    Wait,
    AsCompleted,
    Map,
    MapUnordered,
    WaitTimeout,
    CancelAndWait,
    Start,
];
/// After these, a waiting task goes on with the permit of the task that has ended.
const WITHIN: [Way; 5] = [Join, Wait, AsCompleted, Map, MapUnordered];

/// Counts the tasks that run and do not wait for others, and the most of them at once.
#[derive(Default)]
struct Running {
    now: AtomicUsize,
    most: AtomicUsize,
}

struct Runs<'a>(&'a Running);

impl Running {
    fn enter(&self) -> Runs<'_> {
        self.most
            .fetch_max(self.now.fetch_add(1, SeqCst) + 1, SeqCst);
        Runs(self)
    }

    fn away<T>(&self, wait: impl FnOnce() -> T) -> T {
        self.now.fetch_sub(1, SeqCst);
        let value = wait();
        self.most
            .fetch_max(self.now.fetch_add(1, SeqCst) + 1, SeqCst);
        value
    }
}

impl Drop for Runs<'_> {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, SeqCst);
    }
}

/// Runs a task that waits for its children in the first of these ways, and they for theirs in the
/// next. Returns the number of tasks that have ended well.
fn task<'scope>(
    g: &'scope TaskGroup<'scope, '_>,
    ways: &'scope [Way],
    counts: (&'scope Running, &'scope Running),
) -> anyhow::Result<usize> {
    let (running, begun) = counts;
    let (_runs, _begun) = (running.enter(), begun.enter());
    let Some((&way, rest)) = ways.split_first() else {
        return Ok(1);
    };
    let below = Below { g, rest, counts };
    Ok(1 + match way {
        Join | Wait | WaitTimeout => below.join_each(way)?,
        AsCompleted => below.join_as_completed()?,
        Map => below.sum(g.map(0..2, move |_| task(g, rest, counts)))?,
        MapUnordered => below.sum(g.map_unordered(0..2, move |_| task(g, rest, counts)))?,
        CancelAndWait => below.cancel_each()?,
        Start => below.start_each()?,
    })
}

/// The two children of a task, and the ways to wait for them. Each returns the number of tasks that
/// have ended well.
struct Below<'scope, 'env> {
    g: &'scope TaskGroup<'scope, 'env>,
    rest: &'scope [Way],
    counts: (&'scope Running, &'scope Running),
}

impl<'scope> Below<'scope, '_> {
    fn spawn_both(&self) -> [TaskHandle<'scope, usize>; 2] {
        let (g, rest, counts) = (self.g, self.rest, self.counts);
        [(); 2].map(|()| g.spawn(move || task(g, rest, counts)))
    }

    fn away<T>(&self, wait: impl FnOnce() -> T) -> T {
        self.counts.0.away(wait)
    }

    fn join_each(&self, way: Way) -> anyhow::Result<usize> {
        let mut sum = 0;
        for child in self.spawn_both() {
            sum += match way {
                Wait => {
                    self.away(|| child.wait())?;
                    child.join()?
                }
                WaitTimeout => {
                    self.away(|| wait_in_steps(&child))?;
                    child.join()?
                }
                _ => self.away(|| child.join())?,
            };
        }
        Ok(sum)
    }

    fn join_as_completed(&self) -> anyhow::Result<usize> {
        let mut sum = 0;
        let mut children = self.g.as_completed(self.spawn_both());
        while let Some(child) = self.away(|| children.next()) {
            sum += child?.join()?;
        }
        Ok(sum)
    }

    fn sum(
        &self,
        mut results: impl Iterator<Item = Result<usize, Cancelled>>,
    ) -> anyhow::Result<usize> {
        let mut sum = 0;
        while let Some(result) = self.away(|| results.next()) {
            sum += result?;
        }
        Ok(sum)
    }

    fn cancel_each(&self) -> anyhow::Result<usize> {
        for child in self.spawn_both() {
            let status = self.away(|| child.cancel_and_wait())?;
            assert!(
                matches!(
                    status,
                    TaskStatus::NeverRan | TaskStatus::Cancelled | TaskStatus::Finished
                ),
                "{status:?}"
            );
        }
        Ok(0)
    }

    fn start_each(&self) -> anyhow::Result<usize> {
        let (g, rest, counts) = (self.g, self.rest, self.counts);
        let mut sum = 0;
        for _ in 0..2 {
            sum += self.away(|| {
                g.start(move |ready| {
                    ready.send(1);
                    task(g, rest, counts).map(drop)
                })
            })?;
        }
        Ok(sum)
    }
}

fn wait_in_steps<T>(child: &TaskHandle<'_, T>) -> anyhow::Result<()> {
    while child.wait_timeout(Duration::from_micros(50))?.is_none() {}
    Ok(())
}

/// The outcome of a group.
struct Outcome {
    /// How many tasks ended well.
    sum: usize,
    /// The most tasks that ran at once.
    most_running: usize,
    /// The most tasks that had begun and not ended.
    most_begun: usize,
}

/// Runs so many such tasks in a group with that limit.
fn run(limit: usize, tops: usize, ways: &[Way]) -> Outcome {
    let (running, begun) = (Running::default(), Running::default());
    let sum = TaskGroup::builder().limit(limit).scope(|g| {
        let (ways, counts) = (&ways, (&running, &begun));
        let tops: Vec<_> = (0..tops)
            .map(|_| g.spawn(move || task(g, ways, counts)))
            .collect();
        let mut sum = 0;
        for top in tops {
            sum += top.join()?;
        }
        Ok(sum)
    });
    Outcome {
        sum: sum.unwrap_or_else(|error| panic!("limit {limit}, {ways:?}: {error:#}")),
        most_running: running.most.into_inner(),
        most_begun: begun.most.into_inner(),
    }
}

fn nestings(ways: &[Way]) -> impl Iterator<Item = [Way; 3]> {
    ways.iter().flat_map(move |&a| {
        ways.iter()
            .flat_map(move |&b| ways.iter().map(move |&c| [a, b, c]))
    })
}

#[test]
fn every_nesting_of_waits_ends() {
    let _watch = watch();
    for limit in 1..=3 {
        for ways in nestings(&WAYS) {
            run(limit, 2, &ways);
        }
    }
}

#[test]
fn waits_for_tasks_of_the_group_keep_its_limit() {
    let _watch = watch();
    for limit in 1..=3 {
        for ways in nestings(&WITHIN) {
            let ran = run(limit, 2, &ways);
            assert_eq!(
                ran.sum,
                2 * (1 + 2 * (1 + 2 * (1 + 2))),
                "limit {limit}, {ways:?}"
            );
            assert!(
                ran.most_running <= limit,
                "limit {limit}, {ways:?}: {} tasks ran at once",
                ran.most_running
            );
        }
    }
}

#[test]
fn few_tasks_begin_while_others_wait() {
    let _watch = watch();
    const TOPS: usize = 60;
    for limit in 1..=3 {
        for (a, b) in WAYS.into_iter().flat_map(|a| WITHIN.map(|b| (a, b))) {
            let ran = run(limit, TOPS, &[a, b]);
            // A task that waits is one for each level above a task that runs. If the permit that it
            // gives away went to the next in the queue, nearly all would begin.
            let most = ran.most_begun;
            assert!(
                most <= 6 * limit,
                "limit {limit}, {:?}: {most} of {TOPS} had begun at once",
                [a, b]
            );
        }
    }
}
