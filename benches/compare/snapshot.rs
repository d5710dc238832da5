//! A snapshot while many tasks are blocked, in this crate and in other code.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use taskgroup::sync::Event;
use taskgroup::{TaskGroup, TaskState};

use crate::report::{Report, Title};
use crate::sampling::{Contestant, Effort, Goal, Rounds, millis};

/// How many tasks are blocked in this crate.
const OURS: usize = 10_000;
/// How many are in calls of the system.
const FOREIGN: usize = 1_000;

pub(crate) fn snapshot(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let event = Event::new();
    TaskGroup::scope(|g| {
        let tasks = (0..OURS).map(|_| g.spawn(|| Ok(event.wait()?)));
        let tasks: Vec<_> = tasks.collect();
        until_blocked(TaskState::Waiting, OURS);
        let contestants = vec![
            Contestant::new("snapshot", || Ok(millis(taken(OURS)?))).goal(Goal::Median(20.0)),
            Contestant::new("and its drawing", || Ok(millis(drawn()))),
        ];
        let case = format!("{OURS} tasks that wait in this crate");
        table(report, &case, "ms", contestants, effort.rounds(15))?;

        // What a task of the same group loses meanwhile, at worst: the longest step of a task that
        // opens and ends scopes, which its lane and the snapshots share.
        let contestants = vec![
            Contestant::new("beside snapshots", || longest_step(true)),
            Contestant::new("without", || longest_step(false)).goal(Goal::Excess(100.0)),
        ];
        let case = format!("{OURS} tasks, the 99.9th percentile of a scope in another thread");
        table(report, &case, "us", contestants, effort.rounds(7))?;
        event.set();
        drop(tasks);
        Ok(())
    })?;

    foreign(effort, report)
}

fn foreign(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let mut far = Vec::new();
    TaskGroup::scope(|g| {
        for _ in 0..FOREIGN {
            let mut near = TcpStream::connect(address)?;
            far.push(listener.accept()?.0);
            // The end of the stream ends the read.
            g.spawn(move || Ok(near.read(&mut [0]).map(drop)?));
        }
        until_blocked(TaskState::Foreign, FOREIGN);
        let contestants = vec![
            Contestant::new("snapshot", || Ok(millis(taken(FOREIGN)?))).goal(Goal::Median(50.0)),
        ];
        let case = format!("{FOREIGN} tasks that read from sockets of std's");
        table(report, &case, "ms", contestants, effort.rounds(15))?;
        far.clear();
        Ok(())
    })?;
    Ok(())
}

fn table(
    report: &mut Report,
    case: &str,
    unit: &str,
    contestants: Vec<Contestant<'_>>,
    rounds: Rounds,
) -> anyhow::Result<()> {
    let title = Title {
        row: "snapshot",
        case,
        unit,
    };
    report.table(&title, contestants, rounds)
}

fn until_blocked(state: TaskState, count: usize) {
    let is_there = || {
        let seen = taskgroup::snapshot();
        seen.tasks().filter(|task| task.state() == state).count() >= count
    };
    while !is_there() {
        thread::sleep(Duration::from_millis(10));
    }
}

fn taken(at_least: usize) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let seen = taskgroup::snapshot();
    let took = begun.elapsed();
    anyhow::ensure!(seen.tasks().count() >= at_least, "tasks are missing");
    Ok(took)
}

fn drawn() -> Duration {
    let begun = Instant::now();
    drop(taskgroup::snapshot().to_string());
    begun.elapsed()
}

/// Opens and ends scopes for a while. Returns the 99.9th percentile of the times, in us.
fn longest_step(beside_snapshots: bool) -> anyhow::Result<f64> {
    const SCOPES: usize = 20_000;

    let (is_over, taken) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|threads| {
        let taker = threads.spawn(|| {
            while beside_snapshots && !is_over.load(Ordering::Relaxed) {
                drop(taskgroup::snapshot());
                taken.fetch_add(1, Ordering::Relaxed);
            }
        });
        let mut steps = Vec::with_capacity(SCOPES);
        for _ in 0..SCOPES {
            let begun = Instant::now();
            TaskGroup::scope(|_| Ok(()))?;
            steps.push(begun.elapsed());
        }
        is_over.store(true, Ordering::Relaxed);
        taker
            .join()
            .map_err(|_| anyhow::anyhow!("a snapshot panicked"))?;

        steps.sort_unstable();
        Ok(steps[SCOPES - SCOPES / 1_000].as_secs_f64() * 1e6)
    })
}
