//! The dump while the allocator is stuck: a thread holds its lock for ever, so every call of it
//! blocks. A process has one allocator, so the test has a binary of its own.
#![cfg(all(target_os = "linux", feature = "signal"))]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::SIGQUIT;
use support::{is_child, until, watch};
use taskgroup::sync::{Event, Mutex};
use taskgroup::{TaskGroup, TaskState, dump_on_signal, snapshot};

/// The allocator of the system, which blocks while it is stuck.
struct Stuck;

static IS_STUCK: AtomicBool = AtomicBool::new(false);
/// The calls that were made while it was stuck.
static CALLS: AtomicUsize = AtomicUsize::new(0);

fn pass() {
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
    rustix::io::write(stderr, b"stuck\n").expect("the parent reads it");
    let ended = rustix::io::read(stdin, &mut [0; 1]).expect("it is a pipe");
    IS_STUCK.store(false, SeqCst);
    assert_eq!(ended, 0, "the parent closes it");
}

#[test]
fn a_dump_comes_while_every_allocation_blocks() {
    const TEST: &str = "a_dump_comes_while_every_allocation_blocks";
    let _watch = watch();
    if is_child() {
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
            // One task is inside of the allocator.
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
        return scope.expect("no task fails");
    }

    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture", "--test-threads=1"])
        .env("TASKGROUP_TEST_CHILD", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the test binary starts");
    let stdin = child.stdin.take();
    let mut stderr = BufReader::new(child.stderr.take().expect("it is piped"));
    let mut lines_until = |text: &str| {
        let mut printed = String::new();
        loop {
            let from = printed.len();
            let read = stderr.read_line(&mut printed).expect("a child prints text");
            assert_ne!(read, 0, "no {text:?} from the child:\n{printed}");
            if printed[from..].contains(text) {
                return printed;
            }
        }
    };

    lines_until("stuck");
    for _ in 0..2 {
        kill_process(Pid::from_child(&child), Signal::QUIT).expect("the child is there");
        let dump = lines_until("end of the dump");
        for part in [
            "`holder` of group",
            "`allocates` of group",
            "Event::wait (tests/dump_stuck_allocator.rs:",
            "Mutex::lock (tests/dump_stuck_allocator.rs:",
            "taken at tests/dump_stuck_allocator.rs:",
        ] {
            assert!(dump.contains(part), "no {part:?} in:\n{dump}");
        }
    }
    drop(stdin);
    assert!(child.wait().expect("it is a child").success());
}
