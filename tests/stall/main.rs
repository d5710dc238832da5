//! Reports of scopes that were cancelled and do not end.
#![cfg(unix)]

#[path = "../support/mod.rs"]
mod support;

#[cfg(all(target_os = "linux", feature = "net", feature = "process"))]
mod kinds;
mod laggards;
mod policy;

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use support::{Gate, LONG};
use taskgroup::{CancelToken, GroupError, StallHook, StallPolicy, TaskGroup, on_stall, snapshot};

/// After this time a scope of these tests counts as stalled.
const SOON: Duration = Duration::from_millis(40);

/// A deadline so far away is set before it passes, also on a busy machine: the call that sets one
/// that has passed cancels.
const LATER: Duration = Duration::from_millis(200);

/// Returns once the gate is open.
fn pass(gate: &Gate) -> anyhow::Result<()> {
    gate.wait();
    Ok(())
}

/// The parts of a report that the tests look at.
#[derive(Clone, Debug)]
struct Seen {
    name: String,
    text: String,
    count: u32,
    has_ended: bool,
    laggards: Vec<String>,
    names: Vec<String>,
    cause: Option<String>,
}

/// The reports about the scopes with one name.
struct Reports {
    seen: Arc<(Mutex<Vec<Seen>>, Condvar)>,
    _hook: StallHook,
}

impl Reports {
    /// Records the reports about scopes with names that begin with `name`.
    fn of(name: &'static str) -> Self {
        let seen = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let record = seen.clone();
        let hook = on_stall(move |report| {
            if !report.name().is_some_and(|found| found.starts_with(name)) {
                return;
            }
            let laggards = report.laggards().iter();
            record.0.lock().unwrap().push(Seen {
                name: report.name().unwrap_or_default().to_owned(),
                text: report.to_string(),
                count: report.count(),
                has_ended: report.has_ended(),
                laggards: laggards
                    .clone()
                    .map(|laggard| laggard.to_string())
                    .collect(),
                names: laggards
                    .filter_map(|laggard| laggard.task().name().map(str::to_owned))
                    .collect(),
                cause: report.cancelled().map(|cancelled| cancelled.to_string()),
            });
            record.1.notify_all();
        });
        Reports { seen, _hook: hook }
    }

    /// Waits for the report with this index.
    #[track_caller]
    fn nth(&self, index: usize) -> Seen {
        let seen = self.seen.0.lock().unwrap();
        let is_short = |seen: &mut Vec<Seen>| seen.len() <= index;
        let (seen, _) = self
            .seen
            .1
            .wait_timeout_while(seen, LONG, is_short)
            .unwrap();
        let reports: Vec<_> = seen.iter().map(|seen| seen.text.clone()).collect();
        seen.get(index)
            .cloned()
            .unwrap_or_else(|| panic!("there was no report {index}, but {reports:#?}"))
    }

    /// Waits for a report that fits: the first can come before the other threads are where the test
    /// wants them.
    #[track_caller]
    fn when(&self, fits: impl Fn(&Seen) -> bool) -> Seen {
        let mut all = (0..).map(|index| self.nth(index));
        all.find(fits).expect("`nth` gives up at some time")
    }

    /// Waits for the report that a scope has ended. Returns it with its index.
    #[track_caller]
    fn end(&self) -> (usize, Seen) {
        (0..)
            .map(|index| (index, self.nth(index)))
            .find(|(_, seen)| seen.has_ended)
            .expect("`nth` gives up at some time")
    }

    fn all(&self) -> Vec<Seen> {
        self.seen.0.lock().unwrap().clone()
    }
}

#[track_caller]
fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

#[test]
fn a_scope_that_only_works_for_long_is_not_reported() -> Result<(), GroupError> {
    let reports = Reports::of("works");
    let canary = Reports::of("stalls meanwhile");
    let (gate, other, begun) = (Gate::default(), Gate::default(), Gate::default());
    thread::scope(|threads| {
        threads.spawn(|| {
            let builder = TaskGroup::builder().name("stalls meanwhile");
            builder.stall_after(SOON).scope(|g| {
                g.spawn(|| {
                    begun.open();
                    pass(&other)
                });
                begun.wait();
                g.cancel();
                Ok(())
            })
        });
        let builder = TaskGroup::builder().name("works").stall_after(SOON);
        let worked = builder.scope(|g| {
            g.spawn(|| pass(&gate));
            // The watcher has looked at both scopes several times by then.
            canary.nth(2);
            gate.open();
            Ok(())
        });
        other.open();
        worked
    })?;
    assert_eq!(reports.all().len(), 0);
    Ok(())
}

#[test]
fn a_task_that_swallows_the_cancel_is_named_with_the_place_that_told_it() -> Result<(), GroupError>
{
    let reports = Reports::of("swallows");
    let enough = AtomicBool::new(false);
    let builder = TaskGroup::builder().name("swallows").stall_after(SOON);
    let line = line!() + 4;
    builder.scope(|g| {
        g.task().name("stubborn").spawn(|| {
            while !enough.load(Ordering::Relaxed) {
                let _ = taskgroup::checkpoint();
                thread::yield_now();
            }
            Ok::<_, anyhow::Error>(())
        });
        // Not before it has begun, or it never runs.
        support::until(|| {
            snapshot().tasks().any(|task| {
                task.name() == Some("stubborn") && task.state() != taskgroup::TaskState::Queued
            })
        });
        g.cancel_because("enough of it");
        let first = reports.when(|seen| seen.text.contains("has seen the cancel"));
        enough.store(true, Ordering::Relaxed);

        assert_eq!(first.names, ["stubborn"]);
        let place = format!("last at {}:{line}", file!());
        has(
            &first.laggards[0],
            &["running", "has seen the cancel", &place, "return the error"],
        );
        has(&first.cause.expect("it is cancelled"), &["enough of it"]);
        Ok(())
    })
}

#[test]
fn a_body_that_is_stuck_in_foreign_code_is_reported() {
    let reports = Reports::of("stuck body");
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let token = CancelToken::new();
    let builder = TaskGroup::builder().name("stuck body").parent(&token);
    let (canceller, peer) = (token.clone(), &theirs);
    thread::scope(|threads| {
        let reports = &reports;
        threads.spawn(move || {
            // The body opens the scope before this thread cancels it.
            support::until(|| {
                snapshot()
                    .all_groups()
                    .any(|group| group.name() == Some("stuck body"))
            });
            canceller.cancel();
            let is_read = |seen: &Seen| !cfg!(target_os = "linux") || seen.text.contains("in re");
            let first = reports.when(is_read);
            peer.shutdown(std::net::Shutdown::Both).unwrap();
            has(&first.laggards[0], &["the body of the scope at"]);
            #[cfg(target_os = "linux")]
            has(
                &first.laggards[0],
                &[
                    "blocked in re",
                    "a Unix socket",
                    "in code that is not ours: use `net::UnixStream`",
                ],
            );
        });
        let outcome = builder.stall_after(SOON).scope(|_| {
            let mut buffer = [0];
            Ok::<_, anyhow::Error>(ours.read(&mut buffer)?)
        });
        assert_eq!(outcome.expect("its value counts"), 0);
    });
}

#[test]
fn the_report_has_the_cause_before_the_scope_ends() {
    let reports = Reports::of("first failure");
    let (gate, begun) = (Gate::default(), Gate::default());
    let builder = TaskGroup::builder().name("first failure").stall_after(SOON);
    let outcome = builder.scope(|g| {
        g.task().name("rows").spawn(|| {
            begun.open();
            pass(&gate)
        });
        g.task().name("parser").spawn(|| {
            begun.wait();
            Ok("x".parse::<u32>()?)
        });
        let first = reports.nth(0);
        let cause = first.cause.expect("it is cancelled");
        has(&cause, &["task `parser`", "invalid digit found in string"]);
        has(&first.text, &[&cause, "scope `first failure`"]);
        assert!(!first.has_ended);
        gate.open();
        Ok(())
    });
    assert_eq!(outcome.unwrap_err().failures().len(), 1);
    let (_, last) = reports.end();
    has(
        &last.text,
        &[
            "scope `first failure`",
            "ended after all",
            "; task `rows` (",
            " after its cancel; no task of this group saw it",
        ],
    );
}

#[test]
fn a_deadline_that_no_thread_notices_is_reported() {
    let reports = Reports::of("deadline");
    let gate = Gate::default();
    let builder = TaskGroup::builder().name("deadline").stall_after(SOON);
    thread::scope(|threads| {
        threads.spawn(|| {
            let first = reports.nth(0);
            has(
                &first.text,
                &["is past its deadline for", "and has not ended"],
            );
            assert_eq!(first.cause, None);
            gate.open();
        });
        let outcome = builder.scope(|g| {
            // Here, since a scope that opens after its deadline notices.
            g.token().cancel_after(LATER);
            pass(&gate)
        });
        outcome.expect("a value that was produced is kept");
    });
}

#[test]
fn a_scope_with_a_deadline_that_was_moved_into_the_future_is_reported_no_more() {
    let reports = Reports::of("deadline moved");
    let canary = Reports::of("not moved");
    let (gate, token) = (Gate::default(), CancelToken::new());
    let builder = TaskGroup::builder().name("deadline moved").parent(&token);
    thread::scope(|threads| {
        threads.spawn(|| {
            has(&reports.nth(0).text, &["is past its deadline for"]);
            token.cancel_after(10 * LONG);

            // A report may have been on its way. Those about another scope show that time passes.
            let other = TaskGroup::builder().name("not moved").stall_after(SOON);
            let outcome = other.scope(|g| {
                g.cancel();
                let first = canary.nth(0);
                let before = reports.all().len();
                assert_eq!((first.count, canary.nth(4).count), (1, 5));
                assert_eq!(reports.all().len(), before);

                // It stalls again, and is reported again.
                token.cancel_after(LATER);
                has(&reports.nth(before).text, &["is past its deadline for"]);
                Ok::<_, anyhow::Error>(())
            });
            outcome.expect("the body has returned a value");
            gate.open();
        });
        let outcome = builder.stall_after(SOON).scope(|_| {
            token.cancel_after(LATER);
            pass(&gate)
        });
        outcome.expect("a value that was produced is kept");
    });
    let (_, last) = reports.end();
    has(&last.text, &["ended after all"]);
}

#[test]
fn a_scope_opened_in_a_cancelled_scope_is_reported() {
    let reports = Reports::of("opened late");
    let builder = TaskGroup::builder().name("opened late").stall_after(SOON);
    let token = CancelToken::new();
    token.cancel();
    let outcome = token.run(|| {
        builder.scope(|_| {
            has(&reports.nth(0).text, &["was cancelled"]);
            Ok::<_, anyhow::Error>(())
        })
    });
    outcome.expect("the body has returned a value");
}

#[test]
fn a_hook_that_blocks_panics_or_opens_a_scope_holds_up_no_other_report() {
    let (gate, blocked) = (Arc::new(Gate::default()), Arc::new(Gate::default()));
    let (in_hook, in_block) = (gate.clone(), blocked.clone());
    let bad = on_stall(move |report| match report.name() {
        Some("bad hook blocks") if !report.has_ended() => {
            // No scope is around a hook, and any call works in there.
            assert!(taskgroup::current_token().is_none());
            let opened = TaskGroup::scope(|g| Ok(g.spawn(|| Ok(1)).join()?));
            assert_eq!(opened.unwrap(), 1);
            assert!(
                snapshot()
                    .all_groups()
                    .any(|group| group.name() == report.name())
            );
            in_block.open();
            in_hook.wait();
        }
        Some("bad hook panics") => panic!("of a hook"),
        _ => {}
    });
    let (too, in_worse) = (Arc::new(Gate::default()), gate.clone());
    let in_too = too.clone();
    let worse = on_stall(move |report| {
        if report.name() == Some("bad hook blocks too") && !report.has_ended() {
            in_too.open();
            in_worse.wait();
        }
    });
    let good = Reports::of("bad hook");

    thread::scope(|threads| {
        let (good, gate, blocked) = (&good, &gate, &blocked);
        let stalls = |name: &'static str, until: &dyn Fn()| {
            let builder = TaskGroup::builder().name(name).stall_after(SOON);
            let outcome = builder.scope(|g| {
                g.cancel();
                until();
                Ok::<_, anyhow::Error>(())
            });
            outcome.expect("the body has returned a value");
        };
        let reported = |name: &str| {
            support::until(|| good.all().iter().any(|seen| seen.name == name));
        };
        threads.spawn(move || stalls("bad hook blocks", &|| gate.wait()));
        // While reports are kept by two hooks, those of other scopes come.
        blocked.wait();
        threads.spawn(move || stalls("bad hook blocks too", &|| gate.wait()));
        too.wait();
        stalls("bad hook panics", &|| reported("bad hook panics"));
        stalls("bad hook third", &|| reported("bad hook third"));
        assert!(!gate.is_open());
        gate.open();
    });
    drop((bad, worse));
}

#[test]
fn the_end_of_a_scope_that_was_not_reported_says_nothing() {
    let reports = Reports::of("in time");
    for _ in 0..100 {
        let builder = TaskGroup::builder().name("in time").stall_after(LONG);
        let outcome = builder.stall_policy(StallPolicy::Abort).scope(|g| {
            g.spawn(|| Ok::<_, anyhow::Error>(taskgroup::sleep(LONG)?));
            g.cancel();
            Ok(())
        });
        outcome.expect("a scope absorbs its own cancel");
    }
    assert_eq!(reports.all().len(), 0);
}
