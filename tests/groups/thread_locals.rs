//! Code in the destructor of a thread-local that is older than the thread-locals of the crate, and
//! so runs after their destructors.

use std::cell::RefCell;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::support::LONG;
use taskgroup::channel::TryRecvError;
use taskgroup::{CancelToken, GroupError, TaskGroup, channel, sync};

const SHORT: Duration = Duration::from_millis(1);

/// Parks until a cancel: one park may return early.
fn stay_parked() -> anyhow::Result<()> {
    loop {
        taskgroup::park()?;
    }
}

/// Runs a closure when its thread ends.
struct AtExit(Option<Box<dyn FnOnce() + Send>>);

impl Drop for AtExit {
    fn drop(&mut self) {
        if let Some(f) = self.0.take() {
            f();
        }
    }
}

thread_local!(static OLDER: RefCell<Option<AtExit>> = const { RefCell::new(None) });

/// Runs `f` in a destructor of this thread that comes after the destructors of the crate.
fn at_exit(f: impl FnOnce() + Send + 'static) {
    OLDER.with(|older| *older.borrow_mut() = Some(AtExit(Some(Box::new(f)))));
    // The thread-locals of the crate are made now, so they are dropped first.
    taskgroup::sleep(SHORT).expect("nothing is cancelled here");
    sync::Mutex::new(())
        .lock()
        .map(drop)
        .expect("nothing is cancelled here");
    // The body has a record of the values that it drops.
    TaskGroup::builder()
        .limit(1)
        .scope(|g| Ok(g.spawn(|| Ok(())).join()?))
        .expect("the task ends well");
}

/// Checks what `f` returns, called in such a destructor on a foreign thread and on the thread of a
/// task.
#[track_caller]
fn gives<T: PartialEq + std::fmt::Debug + Send + 'static>(expected: T, f: fn() -> T) {
    let (sender, results) = mpsc::channel();
    let of_task = sender.clone();
    let foreign =
        thread::spawn(move || at_exit(move || sender.send(f()).expect("the test receives")));
    assert_eq!(
        results.recv_timeout(LONG).as_ref(),
        Ok(&expected),
        "on a foreign thread"
    );
    foreign.join().expect("its destructors do not panic");
    TaskGroup::scope(|g| {
        g.task().dedicated().spawn(move || {
            at_exit(move || of_task.send(f()).expect("the test receives"));
            Ok(())
        });
        Ok(())
    })
    .expect("the task ends well");
    assert_eq!(
        results.recv_timeout(LONG).as_ref(),
        Ok(&expected),
        "on a thread of a task"
    );
}

#[test]
fn a_timeout_ends_what_it_contains() {
    gives(true, || {
        let cut = taskgroup::timeout(SHORT, stay_parked);
        matches!(cut, Ok(None))
    });
}

#[test]
fn a_body_that_blocks_wakes_when_a_task_fails() {
    gives(1, || {
        let ended = TaskGroup::scope(|g| {
            g.spawn(|| -> anyhow::Result<()> { anyhow::bail!("the server said no") });
            stay_parked()
        });
        ended.map_or_else(|error| error.failures().len(), |()| 0)
    });
}

#[test]
fn a_scope_with_a_timeout_ends() {
    gives(true, || {
        let ended = TaskGroup::builder().timeout(SHORT).scope(|_| stay_parked());
        ended.is_err_and(|error: GroupError| error.timed_out())
    });
}

#[test]
fn a_cancelled_token_is_seen_and_a_shield_hides_it() {
    gives((true, false, true, false), || {
        let token = CancelToken::new();
        token.cancel();
        let before = taskgroup::is_cancelled();
        let inside = token.run(|| {
            (
                taskgroup::is_cancelled(),
                taskgroup::shield(taskgroup::is_cancelled),
            )
        });
        (
            inside.0,
            inside.1,
            token.run(taskgroup::checkpoint).is_err(),
            before,
        )
    });
}

#[test]
fn tasks_channels_and_locks_work() {
    gives(6, || {
        let total = sync::Mutex::new(0);
        let (sender, receiver) = channel::bounded(0);
        TaskGroup::builder()
            .limit(1)
            .scope(|g| {
                g.spawn(|| Ok(g.spawn(|| Ok(())).join()?));
                g.spawn_daemon(move || {
                    for n in 1..=3 {
                        sender.send(n)?;
                    }
                    Ok(())
                });
                for _ in 0..3 {
                    *total.lock()? += receiver.recv()?;
                }
                Ok(())
            })
            .map(|()| total.into_inner())
            .unwrap_or(0)
    });
}

#[test]
fn an_end_that_a_task_in_place_drops_names_the_task() {
    gives(Some(100), || {
        let ends: Vec<_> = (0..100).map(|_| channel::bounded::<()>(1)).collect();
        let (senders, receivers): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
        TaskGroup::scope(|g| {
            let tasks: Vec<_> = senders
                .into_iter()
                .map(|sender| {
                    g.spawn(|| {
                        drop(sender);
                        Ok(())
                    })
                })
                .collect();
            // Of so many, most are run in place.
            tasks.into_iter().try_for_each(|task| task.join())?;
            Ok(())
        })
        .ok()?;
        let names_its_task = |receiver: &channel::Receiver<()>| match receiver.try_recv() {
            Err(TryRecvError::Disconnected(disconnected)) => {
                disconnected.closed_by().is_some() && disconnected.ended_well()
            }
            _ => false,
        };
        Some(
            receivers
                .iter()
                .filter(|receiver| names_its_task(receiver))
                .count(),
        )
    });
}

#[test]
fn a_callback_may_drop_its_own_guard_and_a_hook_is_called() {
    gives((true, true), || {
        let token = CancelToken::new();
        let (sender, guards) = mpsc::channel();
        let guard = token.on_cancel(move || drop(guards.recv()));
        sender.send(guard).expect("the callback receives");
        let (wake, asleep) = mpsc::channel();
        let hooked = token.run(|| {
            let woken = taskgroup::with_cancel_hook(
                || wake.send(()).expect("the region receives"),
                || {
                    token.cancel();
                    asleep.recv()
                },
            );
            woken.is_ok()
        });
        (hooked, token.is_cancelled())
    });
}

#[test]
fn a_lock_that_is_held_by_the_destructor_itself_is_known_to_be_free_afterwards() {
    gives(true, || {
        let lock = sync::Mutex::new(0);
        let is_locked = lock.lock().is_ok_and(|mut value| {
            *value += 1;
            *value == 1
        });
        is_locked && lock.lock().is_ok()
    });
}

#[cfg(all(unix, feature = "net", feature = "process"))]
#[test]
fn sockets_pipes_and_children_are_waited_for_and_cut() {
    use std::io::{Read, Write};
    use taskgroup::net::{TcpListener, UnixStream};
    use taskgroup::{io, process::Command};

    gives((4, [true; 3], Some(3)), || {
        let (mut here, mut there) = UnixStream::pair().expect("there are descriptors left");
        let writer = thread::spawn(move || {
            thread::sleep(SHORT);
            there.write_all(b"late").map(|()| there)
        });
        let read = here.read(&mut [0; 8]).expect("the peer writes");

        // Nothing more comes, so only their deadlines end these.
        let _there = writer.join();
        let (mut pipe, _writer) = io::pipe().expect("there are descriptors left");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let cut = [
            taskgroup::timeout(SHORT, || here.read(&mut [0])),
            taskgroup::timeout(SHORT, || pipe.read(&mut [0])),
            taskgroup::timeout(SHORT, || listener.accept().map(|_| 0)),
        ];
        let status = Command::new("sh").args(["-c", "exit 3"]).status();
        let status = status.expect("the shell starts");
        (read, cut.map(|cut| matches!(cut, Ok(None))), status.code())
    });
}
