//! The dump while the allocator is stuck: a thread holds its lock for ever, so every call of it
//! blocks. And one whose thread may not call the allocator at all. A process has one allocator, so
//! the tests have a binary of their own.
#![cfg(all(target_os = "linux", feature = "signal"))]

#[path = "support/dumping.rs"]
mod dumping;
mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering::SeqCst};
use std::thread;

use dumping::{Process, assert_has};
use signal_hook::consts::SIGQUIT;
use support::{is_child, until, watch};
use taskgroup::sync::{Event, Mutex};
use taskgroup::{TaskGroup, TaskState, dump_on_signal, snapshot};

/// The allocator of the system, which blocks while it is stuck.
struct Stuck;

static IS_STUCK: AtomicBool = AtomicBool::new(false);
/// The calls that were made while it was stuck.
static CALLS: AtomicUsize = AtomicUsize::new(0);

/// The thread that may not call the allocator, or 0.
static KEPT_OUT: AtomicI32 = AtomicI32::new(0);

fn pass() {
    let kept_out = KEPT_OUT.load(SeqCst);
    if kept_out != 0 && nix::unistd::gettid().as_raw() == kept_out {
        let _ = rustix::io::write(rustix::stdio::stderr(), b"it calls the allocator\n");
        std::process::abort();
    }
    if IS_STUCK.load(SeqCst) {
        CALLS.fetch_add(1, SeqCst);
        while IS_STUCK.load(SeqCst) {
            thread::yield_now();
        }
    }
}

// SAFETY: all calls go to the allocator of the system, unchanged.
unsafe impl GlobalAlloc for Stuck {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        pass();
        // SAFETY: the caller keeps the contract of the same method.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        pass();
        // SAFETY: like above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        pass();
        // SAFETY: like above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Stuck = Stuck;

/// Makes the allocator stuck, and lets it go once the parent has seen two dumps.
fn be_stuck() {
    let stderr = rustix::stdio::stderr();
    let stdin = rustix::stdio::stdin();

    IS_STUCK.store(true, SeqCst);
    while CALLS.load(SeqCst) == 0 {
        thread::yield_now();
    }
    // Nothing here allocates: neither the line nor the read.
    rustix::io::write(stderr, b"ready\n").expect("the parent reads it");
    let ended = rustix::io::read(stdin, &mut [0; 1]).expect("it is a pipe");
    IS_STUCK.store(false, SeqCst);
    assert_eq!(ended, 0, "the parent closes it");
}

#[test]
fn a_dump_comes_while_every_allocation_blocks() {
    if is_child() {
        return wait_beside_a_stuck_allocator();
    }
    let mut child = Process::start("a_dump_comes_while_every_allocation_blocks");
    for _ in 0..2 {
        assert_has(
            &child.dump(),
            &[
                "`holder` of group",
                "`allocates` of group",
                "Event::wait (tests/dump_stuck_allocator.rs:",
                "Mutex::lock (tests/dump_stuck_allocator.rs:",
                "taken at tests/dump_stuck_allocator.rs:",
            ],
        );
    }
    child.end_well();
}

/// Runs tasks of which two wait, and one is inside of the allocator, until the parent has seen the
/// dumps.
fn wait_beside_a_stuck_allocator() {
    let _watch = watch();
    dump_on_signal(SIGQUIT).expect("there is a thread left");
    let (lock, event) = (Mutex::new(()), Event::new());
    let (has_begun, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
    let scope = TaskGroup::builder().name("stuck").scope(|g| {
        let held = &lock;
        let holder = g.task().name("holder").spawn(|| {
            let _guard = held.lock()?;
            Ok(event.wait()?)
        });
        until(|| lock.try_lock().is_none());
        let waits = g.spawn(|| {
            let guard = held.lock()?;
            drop(guard);
            Ok(())
        });
        g.task().name("allocates").spawn(|| {
            has_begun.store(true, SeqCst);
            while !is_over.load(SeqCst) {
                if IS_STUCK.load(SeqCst) {
                    drop(black_box(Box::new(0)));
                }
                thread::yield_now();
            }
            Ok(())
        });

        let is_waiting = |id| {
            let seen = snapshot();
            let mut tasks = seen.tasks();
            tasks.any(|task| task.id() == id && task.state() == TaskState::Waiting)
        };
        until(|| is_waiting(holder.id()) && is_waiting(waits.id()));
        until(|| has_begun.load(SeqCst));
        be_stuck();
        is_over.store(true, SeqCst);
        event.set();
        Ok::<_, anyhow::Error>(())
    });
    scope.expect("no task fails");
}

/// Keeps the thread of the dump out of the allocator from now on. It has begun.
fn keep_the_dump_out() {
    let threads = std::fs::read_dir("/proc/self/task").expect("there is a /proc");
    let mut paths = threads.map(|thread| thread.expect("the process runs").path());
    let dump = paths.find(|thread| {
        let name = std::fs::read_to_string(thread.join("comm"));
        name.is_ok_and(|name| name.starts_with("taskgroup-dump"))
    });
    let number = dump.as_ref().and_then(|path| path.file_name()?.to_str());
    let number = number.expect("it has its name").parse();
    KEPT_OUT.store(number.expect("threads have numbers"), SeqCst);
}

/// Neither the first dump nor a later one, and with neither a lock, a call of the system nor a task
/// that runs in it.
#[test]
fn the_thread_of_the_dump_never_calls_the_allocator() {
    if is_child() {
        let _watch = watch();
        dump_on_signal(SIGQUIT).expect("there is a thread left");
        keep_the_dump_out();
        let (lock, is_over) = (Mutex::new(()), AtomicBool::new(false));
        let scope = TaskGroup::builder().name("busy").scope(|g| {
            let held = lock.lock()?;
            let name = "waits ".repeat(1_000);
            g.task().name(name).spawn(|| {
                drop(lock.lock()?);
                Ok(())
            });
            g.task().name("runs").spawn(|| {
                until(|| is_over.load(SeqCst));
                Ok(())
            });
            let is_begun = || taskgroup::stats().running == 2;
            until(|| is_begun() && format!("{lock:?}").contains("waiting: 1"));
            eprintln!("ready");
            // Reads what the parent never writes.
            std::io::stdin().read_line(&mut String::new())?;
            is_over.store(true, SeqCst);
            drop(held);
            Ok::<_, anyhow::Error>(())
        });
        return scope.expect("no task fails");
    }

    let mut child = Process::start("the_thread_of_the_dump_never_calls_the_allocator");
    for _ in 0..20 {
        assert_has(
            &child.dump(),
            &[
                "`waits waits ",
                "`runs` of group",
                "Mutex::lock (tests/dump_stuck_allocator.rs:",
                "taken at tests/dump_stuck_allocator.rs:",
            ],
        );
    }
    child.end_well();
}
