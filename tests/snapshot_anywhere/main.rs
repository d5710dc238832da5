//! Snapshots from every place, while everything goes on: in callbacks, destructors and hooks, under
//! locks, from many threads, in processes that end.

mod code_of_the_user;
mod holders;
#[path = "../support/snapshots.rs"]
mod snapshots;
#[path = "../support/mod.rs"]
mod support;

use std::collections::{HashMap, HashSet};
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::thread;

use snapshots::{task_at, task_in, until};
use support::{Gate, LONG, alone, blocked, watch, with_busy_workers};
use taskgroup::sync::Event;
use taskgroup::{
    CancelToken, RegionKind, Snapshot, TaskGroup, TaskId, TaskKind, TaskState, snapshot,
};

#[test]
fn tasks_that_come_and_go_are_there_at_most_once_and_the_others_exactly_once() {
    const SEEN: usize = 50;
    let _watch = watch();
    let (event, is_over) = (Event::new(), AtomicBool::new(false));
    TaskGroup::builder()
        .name("busy")
        .scope(|g| {
            let stay: HashSet<TaskId> = (0..20)
                .map(|_| g.spawn(|| Ok(event.wait()?)).id())
                .collect();
            for id in &stay {
                task_in(TaskState::Waiting, *id);
            }
            thread::scope(|threads| {
                let look = || (0..SEEN).for_each(|_| assert_each_is_there_once(&stay));
                let looks = [(); 8].map(|()| threads.spawn(look));
                let comes = threads.spawn(|| {
                    // A thousand at a time, for as long as a thread looks.
                    while !is_over.load(SeqCst) {
                        let many: Vec<_> = (0..1_000)
                            .map(|number| g.spawn(move || Ok(number)))
                            .collect();
                        for (number, task) in many.into_iter().enumerate() {
                            assert_eq!(task.join().ok(), Some(number));
                        }
                    }
                });
                for look in looks {
                    look.join().expect("nothing is wrong with any snapshot");
                }
                is_over.store(true, SeqCst);
                comes.join().expect("all tasks end well");
            });
            event.set();
            Ok::<_, anyhow::Error>(())
        })
        .expect("no task fails");
}

/// In a snapshot each task is there at most once, and each that stays is there, unless its lane was
/// being written.
fn assert_each_is_there_once(stay: &HashSet<TaskId>) {
    let seen = snapshot();
    let mut times = HashMap::new();
    for task in seen.tasks() {
        *times.entry(task.id()).or_insert(0) += 1;
        let waits = task.waits().is_some();
        match task.state() {
            TaskState::Running | TaskState::Queued => assert!(!waits),
            TaskState::Waiting | TaskState::Foreign => assert!(waits),
            _ => {}
        }
    }
    assert!(times.values().all(|times| *times == 1), "{seen}");
    // A lane that was being written is counted, and its task left out.
    let missing = stay.iter().filter(|id| !times.contains_key(id));
    assert!(missing.count() <= seen.incomplete(), "{seen}");

    // Each task of this group stands in it, and it stands nowhere else.
    let groups = seen.all_groups();
    let busy = groups.filter(|group| group.name() == Some("busy"));
    assert!(busy.count() <= 1 + seen.incomplete(), "{seen}");
    let all = seen.all_groups().flat_map(|group| group.tasks());
    let kinds = seen.tasks().filter(|task| task.kind() == TaskKind::Task);
    assert_eq!(all.count(), kinds.count());
    drop(seen.to_string());
}

/// Opens a scope with two tasks that wait for each other's next layer, `left` layers deep.
fn layers(left: usize, arrived: &Barrier, event: &Event) -> anyhow::Result<()> {
    if left == 0 {
        arrived.wait();
        return Ok(event.wait()?);
    }
    TaskGroup::scope(|g| {
        let tasks = [
            g.spawn(|| layers(left - 1, arrived, event)),
            g.spawn(|| Ok(event.wait()?)),
        ];
        for task in tasks {
            task.join()?;
        }
        Ok(())
    })?;
    Ok(())
}

#[test]
fn twenty_layers_are_drawn_by_ownership_in_lines_that_grow_with_the_tasks() {
    let _watch = watch();
    let (arrived, event) = (Barrier::new(2), Event::new());
    thread::scope(|threads| {
        let runs = threads.spawn(|| {
            TaskGroup::builder().name("layers").scope(|g| {
                g.spawn(|| layers(20, &arrived, &event));
                Ok::<_, anyhow::Error>(())
            })
        });
        arrived.wait();
        let root = until(|seen| {
            let root = seen
                .groups()
                .iter()
                .find(|group| group.name() == Some("layers"))?;
            let waiting = root.to_string().matches("Event::wait").count();
            (waiting == 21).then(|| root.clone())
        });
        let drawn = root.to_string();
        let (groups, tasks) = (21, 1 + 20 * 2);
        // A line for each group, its body and each task, and at most one more for each.
        assert!(drawn.lines().count() <= 2 * (2 * groups + tasks), "{drawn}");
        let deepest = drawn
            .lines()
            .map(|line| line.chars().take_while(|c| " │├└─".contains(*c)));
        assert!(
            deepest.map(Iterator::count).max() >= Some(20 * 3),
            "{drawn}"
        );
        event.set();
        runs.join().expect("no panic").expect("no task fails");
    });
}

/// Takes a snapshot and draws it.
fn look() -> Snapshot {
    let seen = snapshot();
    assert!(!seen.to_string().is_empty());
    seen
}

/// Whether a snapshot has the tasks of the next test, a thread that runs with a token, and the call
/// of this name that was left behind.
fn has_each_kind(seen: &Snapshot, left_behind: &str) -> bool {
    let is_there = |name: &&str| seen.tasks().any(|task| task.name() == Some(name));
    let runs = seen.threads().iter().any(|thread| {
        let mut inside = thread.inside().iter();
        inside.any(|inside| inside.region == RegionKind::Run)
    });
    let left = seen.abandoned().iter();
    let left = left.filter(|left| left.name.as_deref() == Some(left_behind));
    let call = seen.threads().iter();
    let call = call.filter(|thread| thread.kind() == TaskKind::Abandon);
    ["daemon", "own", "plain"].iter().all(is_there)
        && runs
        && left.count() == 1
        && call.count() == 1
}

#[test]
fn every_kind_of_task_is_listed() {
    const NAME: &str = "every_kind_of_task_is_listed";
    alone(NAME, || {
        let (event, token) = (Event::new(), CancelToken::new());
        let stuck = Arc::new(Gate::default());
        // Longer than a name that is drawn whole.
        let name = &"stuck\n".repeat(100);
        thread::scope(|threads| {
            threads.spawn(|| token.run(|| event.wait()));
            let line = line!() + 3;
            let call = || {
                let theirs = stuck.clone();
                taskgroup::abandon_named(name.clone(), move || theirs.wait())
            };
            // A time limit that passes before the call begins leaves nothing behind.
            let limit = std::time::Duration::from_millis(10);
            while taskgroup::abandoned().is_empty() {
                let done = taskgroup::timeout(limit, call).expect("the call does not fail");
                assert!(done.is_none());
            }
            TaskGroup::builder()
                .name("all")
                .scope(|g| {
                    let daemon = g
                        .task()
                        .name("daemon")
                        .spawn_daemon(|| Err::<(), _>(blocked().into()));
                    let dedicated = g.task().dedicated().name("own").spawn(|| Ok(event.wait()?));
                    let plain = g.task().name("plain").spawn(|| Ok(event.wait()?));
                    drop((daemon, dedicated, plain));

                    let seen = until(|seen| has_each_kind(seen, name).then(|| seen.clone()));
                    let drawn = seen.to_string();
                    let mut lines = drawn.lines();
                    let left = lines.find(|line| line.starts_with("abandoned `stuck"));
                    let place = format!("({}:{line})", file!());
                    assert!(left.is_some_and(|line| line.contains(&place)), "{drawn}");

                    let mut groups = seen.groups().iter();
                    let group = groups.find(|group| group.name() == Some("all"));
                    let body = group.expect("it is open").body();
                    assert_eq!(
                        (body.kind(), body.state()),
                        (TaskKind::Body, TaskState::Running)
                    );
                    event.set();
                    Ok::<_, anyhow::Error>(())
                })
                .expect("no task fails");
            stuck.open();
        });
    });
}

#[test]
fn queued_tasks_and_those_in_the_batch_of_a_worker_are_listed_once() {
    const NAME: &str = "queued_tasks_and_those_in_the_batch_of_a_worker_are_listed_once";
    alone(NAME, || {
        let (leave, is_over) = (Gate::default(), AtomicBool::new(false));
        let begun = AtomicUsize::new(0);
        TaskGroup::builder()
            .name("many")
            .scope(|g| {
                let tasks: Vec<_> = (0..2_000)
                    .map(|_| {
                        g.spawn(|| {
                            // Each worker is busy with one, and has more in its batch.
                            begun.fetch_add(1, SeqCst);
                            while !is_over.load(SeqCst) {
                                thread::yield_now();
                            }
                            Ok(())
                        })
                    })
                    .collect();
                support::until(|| begun.load(SeqCst) > 0);
                let ids: HashSet<_> = tasks.iter().map(|task| task.id()).collect();
                for _ in 0..20 {
                    let seen = snapshot();
                    let group = seen.all_groups().find(|group| group.name() == Some("many"));
                    let Some(group) = group.filter(|_| seen.incomplete() == 0) else {
                        continue;
                    };
                    let listed: Vec<_> = group.tasks().iter().map(|task| task.id()).collect();
                    let distinct: HashSet<_> = listed.iter().copied().collect();
                    assert_eq!(listed.len(), distinct.len());
                    assert!(distinct.is_subset(&ids));
                    // All are counted, those that are listed and those that are not.
                    let begun = group.tasks().iter();
                    let begun = begun
                        .filter(|task| task.state() != TaskState::Queued)
                        .count();
                    assert!(
                        group.queued() + begun <= ids.len() + 64,
                        "{}",
                        group.queued()
                    );
                    assert!(
                        group.queued() + begun + 64 >= ids.len(),
                        "{}",
                        group.queued()
                    );
                }
                is_over.store(true, SeqCst);
                leave.open();
                Ok::<_, anyhow::Error>(())
            })
            .expect("no task fails");
    });
}

/// Calls the function for each part of a text.
struct EachPart<F>(F);

impl<F: FnMut()> fmt::Write for EachPart<F> {
    fn write_str(&mut self, _: &str) -> fmt::Result {
        (self.0)();
        Ok(())
    }
}

#[test]
fn ten_thousand_tasks_go_on_while_they_are_drawn() {
    let _watch = watch();
    let event = Event::new();
    let drawn = TaskGroup::builder().limit(1).scope(|g| {
        let first = g.spawn(|| Ok(event.wait()?));
        task_in(TaskState::Waiting, first.id());
        (0..10_000).for_each(|_| drop(g.spawn(|| Ok(()))));

        let (seen, mut parts) = (snapshot(), 0);
        let go_on = || {
            parts += 1;
            drop(g.spawn(|| Ok(())));
            let ended =
                TaskGroup::scope(|g| Ok(g.task().name("inside").spawn(|| Ok(())).join()?));
            ended.expect("no task fails");
        };
        write!(EachPart(go_on), "{seen}")?;
        event.set();
        Ok::<_, anyhow::Error>(parts)
    });
    assert!(drawn.expect("no task fails") > 0);
}

#[test]
fn a_kept_snapshot_keeps_nothing_alive() {
    let _watch = watch();
    let (alive, event) = (Arc::new(()), Arc::new(Event::new()));
    let kept = TaskGroup::scope(|g| {
        let (captured, theirs) = (alive.clone(), event.clone());
        let task = g.spawn(move || {
            let _captured = captured;
            theirs.wait()?;
            Ok(())
        });
        task_at("Event::wait", task.id());
        let kept = snapshot();
        event.set();
        Ok(kept)
    })
    .expect("no task fails");
    assert_eq!(
        (Arc::strong_count(&alive), Arc::strong_count(&event)),
        (1, 1)
    );
    assert!(kept.to_string().contains("Event::wait"));
}

/// Opens `left` scopes inside of each other, and then calls `inside`.
fn nested(left: usize, inside: &mut dyn FnMut()) {
    if left == 0 {
        return inside();
    }
    TaskGroup::scope(|_| {
        nested(left - 1, inside);
        Ok(())
    })
    .expect("nothing fails");
}

#[test]
fn ten_thousand_scopes_inside_of_each_other_need_no_large_stack() {
    const NAME: &str = "ten_thousand_scopes_inside_of_each_other_need_no_large_stack";
    const DEPTH: usize = 10_000;
    alone(NAME, || {
        let deep = thread::Builder::new().stack_size(1 << 30);
        let deep = deep.spawn(|| {
            nested(DEPTH, &mut || {
                // A thread with a small stack builds it, clones it, draws it and drops it.
                let small = thread::Builder::new().stack_size(256 << 10);
                let small = small.spawn(|| {
                    let seen = snapshot();
                    assert_eq!(seen.all_groups().count(), DEPTH);
                    let copy = seen.clone();
                    drop(seen);
                    assert!(copy.to_string().lines().count() > 2 * DEPTH);
                    // Each is in its parent, or says in which it was opened.
                    let roots = copy
                        .groups()
                        .iter()
                        .filter(|group| group.opened_in().is_none());
                    assert_eq!(roots.count(), 1);
                });
                small
                    .expect("there is a thread left")
                    .join()
                    .expect("no panic");
            });
        });
        deep.expect("there is memory left")
            .join()
            .expect("no panic");
    });
}

#[test]
fn threads_that_have_ended_are_not_shown() {
    const NAME: &str = "threads_that_have_ended_are_not_shown";
    alone(NAME, || {
        let event = Event::new();
        for _ in 0..20 {
            thread::scope(|threads| {
                for _ in 0..100 {
                    threads.spawn(|| event.wait_timeout(LONG));
                }
                until(|seen| (seen.threads().len() == 100).then_some(()));
                event.set();
            });
            assert_eq!(snapshot().threads().len(), 0);
            event.reset();
        }
    });
}

#[test]
fn an_awaited_task_that_runs_nowhere_is_queued() {
    const NAME: &str = "an_awaited_task_that_runs_nowhere_is_queued";
    alone(NAME, || {
        with_busy_workers(|| {
            TaskGroup::builder()
                .name("narrow")
                .limit(1)
                .scope(|g| {
                    let task = g.task().name("waits").spawn(|| Ok(()));
                    // In a queue or in a batch, of which a part may be busy.
                    let queued =
                        until(|seen| seen.tasks().find(|seen| seen.id() == task.id()).cloned());
                    assert_eq!(queued.state(), TaskState::Queued);
                    assert_eq!(queued.thread(), None);
                    Ok::<_, anyhow::Error>(())
                })
                .expect("no task fails");
        });
    });
}
