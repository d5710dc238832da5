//! Snapshots from every place, while everything goes on: in callbacks, destructors and hooks, under
//! locks, from many threads, in processes that end.

#[path = "support/snapshots.rs"]
mod snapshots;
mod support;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, OnceLock, mpsc};
use std::thread;

use snapshots::{task_at, task_in, until};
use support::{Gate, LONG, alone, blocked, is_child, run_in_child, watch, with_busy_workers};
use taskgroup::sync::{Event, Mutex, MutexGuard, RwLock};
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
                let looks: Vec<_> = (0..8)
                    .map(|_| {
                        threads.spawn(|| {
                            for _ in 0..SEEN {
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
                                let kinds =
                                    seen.tasks().filter(|task| task.kind() == TaskKind::Task);
                                assert_eq!(all.count(), kinds.count());
                                drop(seen.to_string());
                            }
                        })
                    })
                    .collect();
                let comes = threads.spawn(|| {
                    // A thousand at a time, for as long as anyone looks.
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

struct Looks(Arc<AtomicUsize>);

impl Drop for Looks {
    fn drop(&mut self) {
        look();
        self.0.fetch_add(1, SeqCst);
    }
}

impl fmt::Display for Looks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", look().all_groups().count())
    }
}

#[test]
fn it_can_be_taken_in_callbacks_destructors_and_displays() {
    let _watch = watch();
    let looked = Arc::new(AtomicUsize::new(0));
    let token = CancelToken::new();
    let theirs = looked.clone();
    let guard = token.on_cancel(move || {
        let seen = look();
        let callback = seen.tasks().flat_map(|task| task.inside());
        let callbacks = callback.filter(|inside| inside.region == RegionKind::Callback);
        assert!(callbacks.count() >= 1, "{seen}");
        theirs.fetch_add(1, SeqCst);
    });
    TaskGroup::scope(|g| {
        token.cancel();
        // A task itself, its result, what it captured, and the callback of its end.
        let (captured, result) = (Looks(looked.clone()), looked.clone());
        let task = g.spawn(move || {
            let _captured = captured;
            assert_ne!(look().all_groups().count(), 0);
            Ok(Looks(result))
        });
        let theirs = looked.clone();
        task.on_finished(move |_| {
            look();
            theirs.fetch_add(1, SeqCst);
        });
        assert_ne!(task.join()?.to_string(), "0");

        // A task that never runs.
        let never = Looks(looked.clone());
        g.cancel();
        g.spawn(move || {
            drop(never);
            Ok(())
        });
        Ok(())
    })
    .expect("no task fails");
    drop(guard);
    assert_eq!(looked.load(SeqCst), 5);
}

#[test]
fn it_can_be_taken_in_a_panic_hook() {
    alone("it_can_be_taken_in_a_panic_hook", || {
        static FOUND: AtomicUsize = AtomicUsize::new(0);
        std::panic::set_hook(Box::new(|_| {
            let seen = look();
            let named = seen.tasks().filter(|task| task.name() == Some("panics"));
            FOUND.store(named.count(), SeqCst);
        }));
        let ended = TaskGroup::builder()
            .on_panic(taskgroup::OnPanic::Collect)
            .scope(|g| {
                g.task()
                    .name("panics")
                    .spawn(|| -> anyhow::Result<()> { panic!("on purpose") });
                Ok::<_, anyhow::Error>(())
            });
        assert!(ended.is_err());
        assert_eq!(FOUND.load(SeqCst), 1);
    });
}

#[test]
fn it_can_be_taken_under_locks_of_the_crate_and_of_std() {
    let _watch = watch();
    let (ours, theirs) = (Mutex::new(()), std::sync::Mutex::new(()));
    let shared = RwLock::new(());
    let held = (
        ours.lock_uncancellable(),
        theirs.lock().expect("no thread panics"),
        shared.read().expect("nothing is cancelled here"),
    );
    thread::scope(|threads| {
        threads.spawn(|| drop(ours.lock_uncancellable()));
        threads.spawn(|| drop(shared.write()));
        threads.spawn(|| drop(theirs.lock()));
        let seen = until(|seen| {
            let waiting = |what: &str| {
                let mut threads = seen.threads().iter().filter_map(|thread| thread.waits());
                let of_this_file = |at: &Location<'_>| at.file() == file!();
                threads.any(|wait| wait.what() == what && wait.location().is_some_and(of_this_file))
            };
            (waiting("Mutex::lock") && waiting("RwLock::write")).then(|| seen.clone())
        });
        assert!(!seen.to_string().is_empty());
        drop(held);
    });
}

#[test]
fn a_lock_that_outlives_the_scope_that_took_it_is_no_later_scopes() {
    let _watch = watch();
    let (lock, event) = (Mutex::new(()), Event::new());
    thread::scope(|threads| {
        let (sender, ids) = mpsc::channel();
        let (lock, event) = (&lock, &event);
        threads.spawn(move || {
            // The body gives its guard out, and another scope is opened after that.
            let guard: MutexGuard<'_, ()> = TaskGroup::scope(|_| Ok(lock.lock()?)).unwrap();
            TaskGroup::builder()
                .name("later")
                .scope(|g| {
                    sender.send(g.token().id())?;
                    Ok::<_, anyhow::Error>(event.wait()?)
                })
                .expect("nothing fails");
            drop(guard);
        });
        let later = ids.recv().expect("the scope is opened");
        let waits_at = line!() + 1;
        threads.spawn(move || drop(lock.lock_uncancellable()));

        let wait = until(|seen| {
            let mut waits = seen.threads().iter().filter_map(|thread| thread.waits());
            let ours = |at: &Location<'_>| at.file() == file!() && at.line() == waits_at;
            let wait = waits.find(|wait| {
                wait.what() == "Mutex::lock"
                    && wait.location().is_some_and(ours)
                    && !wait.held_by().is_empty()
                    && seen.all_groups().any(|group| group.name() == Some("later"))
            })?;
            Some(wait.clone())
        });
        let holder = &wait.held_by()[0];
        assert_eq!(holder.task, None, "{holder:?} of {later:?}");
        assert!(wait.holders().is_empty());
        event.set();
    });
}

#[test]
fn a_holder_is_never_another_task_than_the_one_that_holds() {
    let _watch = watch();
    // The tasks in the order in which they had the lock, and how many have had it.
    let (lock, taken) = (Mutex::new(Vec::new()), AtomicUsize::new(0));
    let (is_kept, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
    let mut named = Vec::new();
    TaskGroup::scope(|g| {
        // Tasks that hold the lock by turns, each with a number of its own.
        for _ in 0..4 {
            g.spawn(|| {
                while !is_over.load(SeqCst) {
                    let id = OnceLock::new();
                    TaskGroup::scope(|h| {
                        let task = h.task().name("holds").spawn(|| {
                            let me: TaskId = loop {
                                match id.get() {
                                    Some(id) => break *id,
                                    None => thread::yield_now(),
                                }
                            };
                            let mut holders = lock.lock()?;
                            holders.push(me);
                            taken.store(holders.len(), SeqCst);
                            thread::yield_now();
                            while is_kept.load(SeqCst) {
                                thread::yield_now();
                            }
                            Ok(())
                        });
                        let _ = id.set(task.id());
                        Ok(task.join()?)
                    })?;
                }
                Ok(())
            });
        }
        let mut look = || {
            let before = taken.load(SeqCst);
            let seen = snapshot();
            let after = taken.load(SeqCst);
            let known = named.len();
            for task in seen.tasks().filter(|task| task.name() == Some("holds")) {
                let Some(wait) = task.waits().filter(|wait| wait.what() == "Mutex::lock") else {
                    continue;
                };
                assert!(!wait.holders().contains(&task.id()), "{seen}");
                let holders = wait.held_by().iter();
                named.extend(holders.map(|holder| (before, after, holder.task)));
            }
            named.len() > known
        };
        for _ in 0..50 {
            // While the lock changes hands, and while it does not: then a holder is named.
            for _ in 0..10 {
                look();
            }
            is_kept.store(true, SeqCst);
            support::until(&mut look);
            is_kept.store(false, SeqCst);
        }
        is_over.store(true, SeqCst);
        Ok(())
    })
    .expect("no task fails");

    // The holder before the snapshot, those meanwhile, and one that had not counted itself yet.
    let holders = lock.try_lock().expect("all tasks have ended");
    for (before, after, task) in named {
        let range = before.saturating_sub(1)..holders.len().min(after + 1);
        let task = task.expect("only tasks take the lock");
        assert!(holders[range].contains(&task), "{task:?}");
    }
}

thread_local! {
    static KEPT: RefCell<Option<MutexGuard<'static, ()>>> = const { RefCell::new(None) };
}

#[test]
fn a_guard_in_a_thread_local_is_given_back_after_the_thread_has_left() {
    let _watch = watch();
    let lock: &'static Mutex<()> = Box::leak(Box::new(Mutex::new(())));
    for _ in 0..50 {
        // The thread-local is made before the thread uses the crate, so it is destroyed after.
        thread::spawn(move || {
            KEPT.with(|kept| {
                *kept.borrow_mut() = Some(lock.lock_uncancellable());
            });
        })
        .join()
        .expect("no panic");
        // The thread that comes next, which may have the same lane, holds nothing. So the one that
        // locks is the only holder: of two, none would be named.
        let (locked, leave) = (Gate::default(), Gate::default());
        thread::scope(|threads| {
            let next = threads.spawn(|| drop(snapshot()));
            next.join().expect("no panic");
            let locks_at = line!() + 2;
            threads.spawn(|| {
                let _guard = lock.lock_uncancellable();
                locked.open();
                leave.wait();
            });
            locked.wait();
            let waits_at = line!() + 1;
            threads.spawn(|| drop(lock.lock_uncancellable()));
            let place = until(|seen| {
                let mut waits = seen.threads().iter().filter_map(|thread| thread.waits());
                let ours = |at: &Location<'_>| at.file() == file!() && at.line() == waits_at;
                let wait = waits.find(|wait| wait.location().is_some_and(ours))?;
                wait.held_by().first()?.location
            });
            assert_eq!(place.line(), locks_at);
            leave.open();
        });
    }
    let guard = lock.try_lock();
    assert!(guard.is_some());
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
                    let seen = until(|seen| {
                        let all = |name: &str| seen.tasks().any(|task| task.name() == Some(name));
                        let runs = seen.threads().iter().any(|thread| {
                            let mut inside = thread.inside().iter();
                            inside.any(|inside| inside.region == RegionKind::Run)
                        });
                        let is_left = seen.abandoned().iter();
                        let is_left =
                            is_left.filter(|left| left.name.as_deref() == Some(name.as_str()));
                        let call = seen.threads().iter();
                        let call = call.filter(|thread| thread.kind() == TaskKind::Abandon);
                        let are_there = all("daemon") && all("own") && all("plain") && runs;
                        (are_there && is_left.count() == 1 && call.count() == 1)
                            .then(|| seen.clone())
                    });
                    let drawn = seen.to_string();
                    let mut lines = drawn.lines();
                    let left = lines.find(|line| line.starts_with("abandoned `stuck"));
                    let place = format!("({}:{line})", file!());
                    assert!(left.is_some_and(|line| line.contains(&place)), "{drawn}");

                    let group = seen
                        .groups()
                        .iter()
                        .find(|group| group.name() == Some("all"));
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

#[cfg(target_os = "linux")]
#[test]
fn a_forked_child_can_look_at_what_it_has() {
    const NAME: &str = "a_forked_child_can_look_at_what_it_has";
    alone(NAME, || {
        let event = Event::new();
        TaskGroup::scope(|g| {
            let task = g.spawn(|| Ok(event.wait()?));
            task_in(TaskState::Waiting, task.id());
            // SAFETY: the child takes a snapshot and ends. It has one thread, and the locks that it
            // takes are tried only; the allocator of the C library is usable after a fork.
            match unsafe { nix::unistd::fork() }.expect("there is a process left") {
                nix::unistd::ForkResult::Child => {
                    let seen = snapshot();
                    let is_there = seen.tasks().any(|seen| seen.id() == task.id());
                    // SAFETY: it ends the process, and runs nothing of it.
                    unsafe { nix::libc::_exit(if is_there { 0 } else { 1 }) }
                }
                nix::unistd::ForkResult::Parent { child } => {
                    let status = nix::sys::wait::waitpid(child, None).expect("it is a child");
                    assert_eq!(status, nix::sys::wait::WaitStatus::Exited(child, 0));
                }
            }
            event.set();
            Ok(())
        })
        .expect("no task fails");
    });
}

/// Looks when the thread, or the process, ends.
struct AtTheEnd;

impl Drop for AtTheEnd {
    fn drop(&mut self) {
        look();
    }
}

thread_local! {
    static AT_THE_END: Cell<Option<AtTheEnd>> = const { Cell::new(None) };
}

#[test]
fn it_can_be_taken_in_the_last_destructors_of_a_thread() {
    let _watch = watch();
    for uses_the_crate_first in [false, true] {
        thread::spawn(move || {
            if uses_the_crate_first {
                drop(look());
                TaskGroup::scope(|_| Ok(())).expect("nothing fails");
            }
            AT_THE_END.set(Some(AtTheEnd));
            TaskGroup::scope(|g| Ok(g.spawn(|| Ok(())).join()?)).expect("nothing fails");
        })
        .join()
        .expect("no panic");
    }
}

#[test]
fn a_process_may_end_inside_of_a_scope() {
    const NAME: &str = "a_process_may_end_inside_of_a_scope";
    if is_child() {
        AT_THE_END.set(Some(AtTheEnd));
        let lock = Mutex::new(());
        let _guard = lock.lock_uncancellable();
        let _ = TaskGroup::scope(|g| -> anyhow::Result<()> {
            g.spawn(|| Err::<(), _>(blocked().into()));
            std::process::exit(7)
        });
    }
    let output = run_in_child(NAME);
    assert_eq!(output.status.code(), Some(7), "{output:?}");
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
