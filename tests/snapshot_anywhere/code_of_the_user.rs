//! Snapshots in callbacks, destructors and hooks, and under locks.

use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

#[cfg(target_os = "linux")]
use taskgroup::sync::Event;
use taskgroup::sync::{Mutex, RwLock};
use taskgroup::{CancelToken, RegionKind, TaskGroup};
#[cfg(target_os = "linux")]
use taskgroup::{TaskState, snapshot};

use super::look;
#[cfg(target_os = "linux")]
use crate::snapshots::task_in;
use crate::snapshots::until;
use crate::support::{alone, blocked, is_child, run_in_child, watch};

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

#[cfg(target_os = "linux")]
#[test]
fn a_forked_child_finds_nothing_of_its_parent() {
    const NAME: &str = "a_forked_child_finds_nothing_of_its_parent";
    alone(NAME, || {
        let event = Event::new();
        TaskGroup::scope(|g| {
            let task = g.spawn(|| Ok(event.wait()?));
            task_in(TaskState::Waiting, task.id());
            // SAFETY: the child takes a snapshot and ends. The crate and the allocator of the C
            // library are usable after a fork.
            match unsafe { nix::unistd::fork() }.expect("there is a process left") {
                nix::unistd::ForkResult::Child => {
                    let seen = snapshot();
                    let is_there = seen.tasks().any(|seen| seen.id() == task.id());
                    // SAFETY: it ends the process, and runs nothing of it.
                    unsafe { nix::libc::_exit(if is_there { 1 } else { 0 }) }
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
