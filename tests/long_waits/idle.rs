//! The threads of the crate leave when they have had nothing to do for ten seconds, and come again.

use std::io::Write;
use std::sync::{Arc, Barrier};
use std::{fs, thread};

use taskgroup::TaskGroup;
use taskgroup::deadlock::{self, DeadlockPolicy};
use taskgroup::process::{Command, Stdio};
use taskgroup::sync::Mutex;

use crate::children::{LONG, SHORT, has_children, line, ready, sh};
use crate::deadlocks::cross;
use crate::support::{Gate, alone, until, watch};

trials![
    the_threads_of_the_crate_leave_when_they_are_idle,
    a_child_outlives_the_worker_that_started_it,
    a_search_that_has_ended_begins_again_with_the_next_wait,
];

/// As much of the name of the reaping thread as the system keeps.
const REAPER: &str = "taskgroup-reape";

/// Whether a thread with one of these names is there.
fn are_there(wanted: &[&str]) -> bool {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    let names =
        threads.filter_map(|thread| fs::read_to_string(thread.unwrap().path().join("comm")).ok());
    names
        .into_iter()
        .any(|name| wanted.contains(&name.trim_end()))
}

/// Waits until no thread with one of these names is there.
fn until_left(threads: &[&str]) {
    until(|| {
        thread::sleep(SHORT);
        !are_there(threads)
    });
}

/// Cancels a token that hears of cancels of tokio, for which a thread of the crate is needed.
#[cfg(feature = "tokio")]
fn cancel_by_tokio() {
    let theirs = tokio_util::sync::CancellationToken::new();
    let (ours, _link) = taskgroup::tokio_bridge::token_from(&theirs);
    theirs.cancel();
    ours.wait().unwrap();
}

/// Runs a group that leaves workers, and the thread that looks after deadlines.
fn run_group() {
    let all = Barrier::new(8);
    let outcome = TaskGroup::builder().timeout(60 * LONG).scope(|g| {
        // Nothing is left of this but the thread that looks after such deadlines.
        drop(g.token().on_cancel(|| ()));
        for _ in 0..8 {
            g.spawn(|| {
                all.wait();
                Ok(())
            });
        }
        Ok(())
    });
    assert!(outcome.is_ok(), "{outcome:?}");
}

fn the_threads_of_the_crate_leave_when_they_are_idle() {
    const OURS: [&str; 3] = ["taskgroup", "taskgroup-timer", REAPER];

    alone("the_threads_of_the_crate_leave_when_they_are_idle", || {
        let _watch = watch();
        assert!(!are_there(&OURS));
        #[cfg(feature = "tokio")]
        cancel_by_tokio();

        run_group();
        for thread in &OURS[..2] {
            assert!(are_there(&[thread]), "the cache keeps no {thread}");
        }

        // It comes again after it has left.
        for _ in 0..2 {
            assert!(!are_there(&[REAPER]));
            drop(ready(&mut sh("echo ready; exec sleep 600")));
            until(|| are_there(&[REAPER]));
            until_left(&[REAPER]);
            assert!(!has_children());
        }
        until_left(&OURS);

        // The thread that delivers cancels of tokio. Another one comes for the next.
        #[cfg(feature = "tokio")]
        {
            until_left(&["taskgroup-cance"]);
            cancel_by_tokio();
        }
    });
}

fn a_child_outlives_the_worker_that_started_it() {
    alone("a_child_outlives_the_worker_that_started_it", || {
        let _watch = watch();
        let mut cat = Command::new("cat");
        let cat = cat.stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = TaskGroup::scope(|g| {
            let starting = g.spawn(|| Ok(cat.spawn()?));
            // A join could run it on this thread.
            until(|| starting.is_finished());
            Ok(starting.join()?)
        });
        let mut child = child.unwrap();
        assert!(are_there(&["taskgroup"]));
        until_left(&["taskgroup"]);
        child.stdin.as_mut().unwrap().write_all(b"alive\n").unwrap();
        assert_eq!(line(child.stdout.as_mut().unwrap()), "alive");
        assert!(child.wait().unwrap().success());
    });
}

/// The thread that searches ends after ten seconds without a wait.
fn a_search_that_has_ended_begins_again_with_the_next_wait() {
    const SEARCH: &str = "taskgroup-deadl";

    alone(
        "a_search_that_has_ended_begins_again_with_the_next_wait",
        || {
            let found = Arc::new(Gate::default());
            let opens = found.clone();
            let _hook = deadlock::on_found(move |_| opens.open());
            deadlock::set_policy(DeadlockPolicy::Report);
            until(|| are_there(&[SEARCH]));
            until_left(&[SEARCH]);

            let (a, b, both) = (Mutex::new(()), Mutex::new(()), Barrier::new(2));
            TaskGroup::scope(|g| {
                g.task().dedicated().spawn(|| cross(&a, &b, &both));
                g.task().dedicated().spawn(|| cross(&b, &a, &both));
                found.wait();
                g.cancel();
                Ok(())
            })
            .unwrap();
        },
    );
}
