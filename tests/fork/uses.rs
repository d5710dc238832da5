//! What a process does with the parts of the crate.

use std::io::Read as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::signal::{Signal, raise};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use taskgroup::net::UnixStream;
use taskgroup::process::Command;
use taskgroup::signal::ctrl_c;
use taskgroup::sync::Mutex;
use taskgroup::{CancelToken, TaskGroup, channel, sleep, snapshot, stats, timeout};

use crate::support::{LONG, MOMENT, until};

/// Tasks that begin, wait, and pass a value.
pub(crate) fn use_tasks() {
    let sum = TaskGroup::builder()
        .limit(2)
        .scope(|g| {
            let quick = g.task().name("quick").spawn(|| Ok(1));
            let sleeps = g.task().name("sleeps").spawn(|| {
                sleep(MOMENT)?;
                Ok(2)
            });
            let own_thread = g.task().dedicated().spawn(|| Ok(4));
            Ok(quick.join()? + sleeps.join()? + own_thread.join()?)
        })
        .expect("nothing fails");
    assert_eq!(sum, 7);
}

/// A time limit, which the waiting thread sees, and a deadline, for which a thread watches the
/// clock.
pub(crate) fn use_deadlines() {
    assert!(
        timeout(MOMENT, || sleep(LONG))
            .expect("no cancel")
            .is_none()
    );

    let (ring, rung) = mpsc::channel();
    let token = CancelToken::new();
    let _guard = token.on_cancel(move || ring.send(()).expect("the receiver waits"));
    token.cancel_at(Instant::now() + MOMENT);
    rung.recv_timeout(LONG / 6).expect("the deadline passes");
}

/// A read that a cancel ends.
pub(crate) fn use_net() {
    let (mut reads, _writes) = UnixStream::pair().expect("there is a descriptor left");
    let token = CancelToken::new();
    TaskGroup::scope(|g| {
        let to_cancel = token.clone();
        g.spawn(move || {
            sleep(MOMENT)?;
            to_cancel.cancel();
            Ok(())
        });
        let read = token.run(|| reads.read(&mut [0]));
        assert!(read.is_err(), "{read:?}");
        Ok(())
    })
    .expect("nothing fails");
}

/// A child that is waited for, and one that is dropped, which a thread ends and reaps.
pub(crate) fn use_processes() {
    assert!(Command::new("true").status().expect("it starts").success());

    drop(Command::new("sleep").arg("60").spawn().expect("it starts"));
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
    until(|| waitid(Id::All, flags) == Err(Errno::ECHILD));
}

/// A snapshot shows the tasks of this process, and none of its parent.
pub(crate) fn use_snapshot() {
    let lock = Mutex::new(());
    TaskGroup::scope(|g| {
        let guard = lock.lock()?;
        let task = g.task().name("of the child").spawn(|| {
            drop(lock.lock()?);
            Ok(())
        });
        let waits = |name: &str| {
            let seen = snapshot();
            let named = seen.tasks().find(|task| task.name() == Some(name));
            named.is_some_and(|task| task.waits().is_some())
        };
        until(|| waits("of the child"));
        assert!(!waits("of the parent"));
        drop(guard);
        Ok(task.join()?)
    })
    .expect("nothing fails");
    assert!(stats().spawned() < 20, "the counts begin again");
}

/// A token that a signal to this process cancels.
pub(crate) fn use_signals() {
    let token = ctrl_c().expect("the signal can be handled");
    raise(Signal::SIGINT).expect("it can be sent");
    until(|| token.is_cancelled());
}

pub(crate) fn use_everything() {
    use_tasks();
    use_deadlines();
    use_net();
    use_processes();
    use_snapshot();
    use_signals();
}

/// Calls `forks` while other threads use all parts of the crate, and then ends these threads, which
/// have gone on until then.
pub(crate) fn while_others_are_busy(forks: impl FnOnce()) {
    let (stop, rounds) = (AtomicBool::new(false), AtomicUsize::new(0));
    let uses: [&(dyn Fn() + Sync); 6] = [
        &use_tasks,
        &use_deadlines,
        &use_net,
        &|| drop(snapshot()),
        &|| {
            let (sends, receives) = channel::bounded(1);
            TaskGroup::scope(|g| {
                g.spawn(move || Ok((0..20).try_for_each(|n| sends.send(n))?));
                assert_eq!(receives.iter().filter(Result::is_ok).count(), 20);
                Ok(())
            })
            .expect("nothing fails");
        },
        // Nothing that has a thread start or end each time: see `hangs_in_std`.
        &|| assert!(Command::new("true").status().expect("it starts").success()),
    ];
    thread::scope(|threads| {
        for one in uses {
            let (stop, rounds) = (&stop, &rounds);
            threads.spawn(move || {
                while !stop.load(SeqCst) {
                    one();
                    rounds.fetch_add(1, SeqCst);
                }
            });
        }
        until(|| rounds.load(SeqCst) > 20);
        let done = catch_unwind(AssertUnwindSafe(forks));
        // All of them go on.
        let before = rounds.load(SeqCst);
        until(|| rounds.load(SeqCst) > before + 20);
        stop.store(true, SeqCst);
        done.expect("no child fails");
    });
}
