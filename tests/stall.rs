//! Reports of scopes that were cancelled and do not end.
#![cfg(unix)]

mod support;

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use support::{Bomb, Drops, Gate, LONG, traced_errors};
use taskgroup::sync::Event;
use taskgroup::{
    CancelToken, GroupError, OnPanic, RegionKind, StallHook, StallPolicy, TaskGroup, on_stall,
    shield, snapshot, winding_down,
};

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

/// What the tests look at in a report.
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
fn nested_scopes_that_stall_over_one_task_have_one_block() {
    let reports = Reports::of("nest");
    let (gate, begun, ready) = (Gate::default(), Gate::default(), Event::new());
    let token = CancelToken::new();
    thread::scope(|threads| {
        threads.spawn(|| {
            begun.wait();
            token.cancel();
            let first = reports.nth(0);
            assert_eq!((first.name.as_str(), first.count), ("nest outer", 1));
            // The task of the innermost scope comes first, and those that wait for it are left out.
            assert_eq!(first.names, ["innermost", "beside"]);
            has(&first.laggards[0], &["task `innermost`"]);

            // Again after 2 and 4 times the delay.
            let counts = [1, 2].map(|index| reports.nth(index).count);
            assert_eq!(counts, [2, 3]);
            gate.open();
        });
        let nest = |name, body: &dyn Fn() -> anyhow::Result<()>| {
            let builder = TaskGroup::builder().name(name).stall_after(SOON);
            builder.scope(|_| body())
        };
        let outer = TaskGroup::builder()
            .name("nest outer")
            .parent(&token)
            .stall_after(SOON);
        let outcome = outer.scope(|g| {
            let (gate, begun, ready) = (&gate, &begun, &ready);
            g.task().name("beside").spawn(move || {
                ready.set();
                pass(gate)
            });
            ready.wait()?;
            nest("nest middle", &|| {
                let inner = TaskGroup::builder().name("nest inner").stall_after(SOON);
                Ok(inner.scope(|g| {
                    g.task().name("innermost").spawn(move || {
                        begun.open();
                        pass(gate)
                    });
                    Ok(())
                })?)
            })?;
            Ok(())
        });
        outcome.expect("all have produced their values");
    });

    // The scopes inside say nothing of their own: neither while they stall nor at the end.
    let (last, _) = reports.end();
    let all = reports.all();
    assert_eq!(all.len(), last + 1, "{all:#?}");
    assert!(all.iter().all(|seen| seen.name == "nest outer"), "{all:#?}");
    assert!(
        all[..last]
            .iter()
            .enumerate()
            .all(|(index, seen)| { seen.count == index as u32 + 1 && !seen.has_ended })
    );
}

#[test]
fn many_laggards_at_one_line_are_drawn_as_one_with_ten_named() {
    const TASKS: usize = 1000;
    let reports = Reports::of("many");
    let (gate, begun) = (Event::new(), AtomicUsize::new(0));
    let builder = TaskGroup::builder().name("many").stall_after(SOON);
    let outcome = builder.scope(|g| {
        for _ in 0..TASKS {
            g.spawn(|| {
                begun.fetch_add(1, Ordering::SeqCst);
                Ok::<_, anyhow::Error>(shield(|| gate.wait())?)
            });
        }
        support::until(|| begun.load(Ordering::SeqCst) == TASKS);
        g.cancel();
        // All of them sleep in a later one, at the latest.
        let full = (0..)
            .map(|index| reports.nth(index))
            .find(|seen| seen.text.contains("1000 tasks ("))
            .expect("`nth` gives up at some time");
        gate.set();
        // The body waits for the report.
        assert_eq!(full.laggards.len(), TASKS + 1);
        let line = full
            .text
            .lines()
            .find(|line| line.contains("1000 tasks"))
            .unwrap();
        let (_, named) = line
            .split_once("the first of them ")
            .expect("some are named");
        let (named, _) = named.split_once(": ").expect("what they do follows");
        assert_eq!(named.split(", ").count(), 10);
        has(line, &["blocked in Event::wait", "inside a shield"]);
        assert!(full.text.lines().count() < 8, "{}", full.text);
        Ok(())
    });
    outcome.expect("all have produced their values");
}

#[test]
fn code_that_winds_down_is_not_reported_before_the_grace_has_ended() {
    let reports = Reports::of("winds down");
    let canary = Reports::of("in no grace");
    let (gate, begun) = (Gate::default(), Gate::default());
    let token = CancelToken::new();
    thread::scope(|threads| {
        threads.spawn(|| {
            begun.wait();
            // A body that has not come to its end would be a laggard, with no grace.
            support::until(|| {
                let seen = snapshot();
                let mut groups = seen.all_groups();
                groups.any(|group| group.name() == Some("winds down") && group.is_ending())
            });
            token.cancel_gracefully(LONG);
            // A scope without a grace, cancelled later, is reported twice, and this one is not.
            let other = TaskGroup::builder().name("in no grace").stall_after(SOON);
            let outcome = other.scope(|g| {
                g.cancel();
                canary.nth(1);
                Ok::<_, anyhow::Error>(())
            });
            outcome.expect("the body has returned a value");
            assert_eq!(reports.all().len(), 0);

            // The grace ends early.
            token.cancel();
            let first = reports.nth(0);
            assert_eq!(first.names, ["request"]);
            has(&first.laggards[0], &["inside winding_down"]);
            gate.open();
        });
        let builder = TaskGroup::builder().name("winds down").stall_after(SOON);
        let outcome = builder.parent(&token).scope(|g| {
            g.task().name("request").spawn(|| {
                winding_down(|| {
                    begun.open();
                    gate.wait();
                });
                Ok::<_, anyhow::Error>(())
            });
            Ok(())
        });
        outcome.expect("the request was served");
    });
}

#[test]
fn code_in_a_shield_is_reported_with_the_place_of_the_shield() {
    let reports = Reports::of("shielded");
    let (event, begun) = (Event::new(), Gate::default());
    let builder = TaskGroup::builder().name("shielded").stall_after(SOON);
    let line = line!() + 5;
    let outcome = builder.scope(|g| {
        g.task().name("saves").spawn(|| {
            begun.open();
            // The place of the shield:
            shield(|| event.wait())?;
            Ok::<_, anyhow::Error>(())
        });
        begun.wait();
        g.cancel();
        let found = (0..)
            .map(|index| reports.nth(index))
            .find(|seen| seen.text.contains("Event::wait"))
            .expect("`nth` gives up at some time");
        event.set();
        let place = format!("inside a shield ({}:{line})", file!());
        has(
            &found.laggards[0],
            &["blocked in Event::wait", &place, "`shield_for`"],
        );
        Ok(())
    });
    outcome.expect("the task has saved");
}

#[test]
fn a_callback_that_does_not_return_is_reported() {
    let reports = Reports::of("callback");
    let (gate, begun) = (Arc::new(Gate::default()), Arc::new(Gate::default()));
    thread::scope(|threads| {
        let builder = TaskGroup::builder().name("callback").stall_after(SOON);
        let (in_callback, has_begun) = (gate.clone(), begun.clone());
        let line = line!() + 2;
        let outcome = builder.scope(|g| {
            let guard = g.token().on_cancel(move || {
                has_begun.open();
                in_callback.wait();
            });
            guard.forget();
            let token = g.token().clone();
            threads.spawn(move || token.cancel());
            begun.wait();
            let opener = gate.clone();
            let reports = &reports;
            threads.spawn(move || {
                // The body comes to the end of its scope.
                let first = reports.when(|seen| seen.laggards.len() == 1);
                let place = format!("in the callback or hook of a cancel ({}:{line})", file!());
                has(&first.laggards[0], &["the thread that cancels", &place]);
                opener.open();
            });
            Ok::<_, anyhow::Error>(())
        });
        outcome.expect("the body has returned a value");
    });
}

#[test]
fn a_callback_that_was_slow_is_named() {
    let reports = Reports::of("slow callback");
    let gate = Gate::default();
    let begun = Gate::default();
    let builder = TaskGroup::builder().name("slow callback").stall_after(SOON);
    let line = line!() + 6;
    let outcome = builder.scope(|g| {
        g.spawn(|| {
            begun.open();
            pass(&gate)
        });
        let guard = g.token().on_cancel(|| {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(15) {}
        });
        guard.forget();
        begun.wait();
        g.cancel();
        let found = (0..)
            .map(|index| reports.nth(index))
            .find(|seen| seen.text.contains("kept the cancelling thread"))
            .expect("`nth` gives up at some time");
        has(
            &found.text,
            &[&format!("the callback or hook at {}:{}", file!(), line)],
        );
        gate.open();
        Ok(())
    });
    outcome.expect("the task has ended well");
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
fn the_panic_policy_panics_once_all_has_ended_and_the_value_is_dropped() {
    let reports = Reports::of("panics");
    let drops = Drops::default();
    let gate = Gate::default();
    let begun = Gate::default();
    let builder = TaskGroup::builder().name("panics").stall_after(SOON);
    let builder = builder.stall_policy(StallPolicy::Panic);
    let ended = AtomicBool::new(false);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        builder.scope(|g| {
            g.spawn(|| {
                begun.open();
                gate.wait();
                ended.store(true, Ordering::SeqCst);
                Ok::<_, anyhow::Error>(())
            });
            begun.wait();
            g.cancel_because("it is late");
            reports.nth(0);
            gate.open();
            Ok(drops.counted())
        })
    }));
    let payload = outcome.expect_err("the policy panics");
    let text = payload.downcast_ref::<String>().expect("it is a text");
    has(text, &["the scope `panics`", "stalled", "it is late"]);
    assert!(ended.load(Ordering::SeqCst));
    assert_eq!(drops.count(), 1);
    reports.end();
}

#[test]
fn the_panic_policy_does_nothing_to_a_scope_that_ends_in_time() {
    fn builder() -> taskgroup::Builder {
        let builder = TaskGroup::builder().name("ends in time").stall_after(LONG);
        builder.stall_policy(StallPolicy::Panic)
    }

    let value = builder().scope(|g| {
        g.cancel();
        anyhow::Ok(7)
    });
    assert_eq!(value.unwrap(), 7);

    // Beside another panic the policy would log.
    let of_the_body = || builder().scope(|_| -> anyhow::Result<()> { panic!("of the body") });
    let of_a_task = || {
        builder().on_panic(OnPanic::Resume).scope(|g| {
            g.spawn(|| -> anyhow::Result<()> { panic!("of a task") });
            Ok(())
        })
    };
    for scope in [&of_the_body as &dyn Fn() -> _, &of_a_task] {
        let (panicked, errors) = traced_errors(|| catch_unwind(AssertUnwindSafe(scope)));
        assert!(panicked.is_err());
        assert_eq!(errors, Vec::<String>::new());
    }
}

/// Returns nothing: the type is for a body that could have ended well.
fn panic_with(message: &'static str) -> anyhow::Result<()> {
    std::panic::panic_any(message)
}

#[test]
fn a_panic_of_the_body_comes_before_the_one_of_the_policy() {
    let reports = Reports::of("body panics");
    let builder = TaskGroup::builder().name("body panics").stall_after(SOON);
    let builder = builder.stall_policy(StallPolicy::Panic);
    let (outcome, errors) = traced_errors(|| {
        catch_unwind(AssertUnwindSafe(|| {
            builder.scope(|g| {
                g.cancel();
                reports.nth(0);
                panic_with("of the body")
            })
        }))
    });
    let payload = outcome.expect_err("the body panics");
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"of the body"));
    assert!(
        errors.iter().any(|error| error.contains("`body panics`")),
        "{errors:?}"
    );
}

#[test]
fn in_a_destructor_during_a_panic_the_policy_only_logs() {
    struct Stalls<'a>(&'a Reports);
    impl Drop for Stalls<'_> {
        fn drop(&mut self) {
            let builder = TaskGroup::builder().name("unwinds").stall_after(SOON);
            let builder = builder.stall_policy(StallPolicy::Panic);
            let outcome = builder.scope(|g| {
                g.cancel();
                self.0.nth(0);
                Ok::<_, anyhow::Error>(3)
            });
            assert_eq!(outcome.expect("the result is kept"), 3);
        }
    }

    let reports = Reports::of("unwinds");
    let (outcome, errors) = traced_errors(|| {
        catch_unwind(AssertUnwindSafe(|| {
            let _stalls = Stalls(&reports);
            panic!("the first");
        }))
    });
    let payload = outcome.expect_err("it panics");
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"the first"));
    assert!(
        errors.iter().any(|error| error.contains("`unwinds`")),
        "{errors:?}"
    );
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
        // While one report is kept by the hook, those of other scopes come.
        blocked.wait();
        stalls("bad hook panics", &|| reported("bad hook panics"));
        stalls("bad hook third", &|| reported("bad hook third"));
        assert!(!gate.is_open());
        gate.open();
    });
    drop(bad);
}

#[test]
fn names_with_escapes_stay_on_their_line() {
    let reports = Reports::of("odd");
    let (gate, begun) = (Gate::default(), Gate::default());
    let builder = TaskGroup::builder()
        .name("odd\n\u{1b}[2J name")
        .stall_after(SOON);
    let outcome = builder.scope(|g| {
        let long = "x".repeat(10_000) + "\n";
        g.task().name(long).spawn(|| {
            begun.open();
            pass(&gate)
        });
        begun.wait();
        g.cancel_because("first line\nsecond line");
        let first = reports.nth(0);
        gate.open();
        assert!(!first.text.contains('\u{1b}'), "{}", first.text);
        // The heading, the cause, the task and the body, which waits for this report.
        assert_eq!(first.text.lines().count(), 4, "{}", first.text);
        assert!(first.text.len() < 2000, "the name was not cut");
        Ok(())
    });
    outcome.expect("the task has ended well");
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

#[test]
fn a_destructor_that_blocks_is_named() {
    struct Blocks<'a>(&'a Gate);
    impl Drop for Blocks<'_> {
        fn drop(&mut self) {
            self.0.wait();
        }
    }

    let reports = Reports::of("drops");
    let gate = Gate::default();
    let builder = TaskGroup::builder().name("drops").stall_after(SOON);
    thread::scope(|threads| {
        threads.spawn(|| {
            let found = (0..)
                .map(|index| reports.nth(index))
                .find(|seen| seen.text.contains("dropping its values"))
                .expect("`nth` gives up at some time");
            has(&found.text, &["let destructors not block"]);
            gate.open();
        });
        let outcome = builder.scope(|g| {
            let captured = Blocks(&gate);
            g.cancel();
            let never_runs = g.spawn(move || {
                let _captured = &captured;
                Ok::<_, anyhow::Error>(())
            });
            assert!(never_runs.join().is_err());
            Ok(())
        });
        outcome.expect("a scope absorbs its own cancel");
    });
}

#[test]
fn a_region_is_in_the_laggard_as_data_too() {
    let found = Arc::new(Mutex::new(None));
    let into = found.clone();
    let gate = Arc::new(Gate::default());
    let opens = gate.clone();
    let hook = on_stall(move |report| {
        if report.name() != Some("region") || report.has_ended() {
            return;
        }
        // In the first the body may not have come to its end, or the task may be writing its lane.
        let mut laggards = report.laggards().iter();
        let Some(task) = laggards.find(|laggard| laggard.region().is_some()) else {
            return;
        };
        let region = task.region().map(|inside| inside.region);
        let in_group = report.group().map(|group| group.tasks().len());
        *into.lock().unwrap() = Some((region, in_group, task.task().location().file()));
        opens.open();
    });
    let begun = Gate::default();
    let builder = TaskGroup::builder().name("region").stall_after(SOON);
    let outcome = builder.scope(|g| {
        g.spawn(|| {
            shield(|| {
                begun.open();
                gate.wait();
            });
            Ok::<_, anyhow::Error>(())
        });
        begun.wait();
        g.cancel();
        Ok(())
    });
    outcome.expect("the task has ended well");
    let found = found.lock().unwrap().take();
    assert_eq!(found, Some((Some(RegionKind::Shield), Some(1), file!())));
    drop(hook);
}

#[test]
fn a_value_whose_drop_panics_does_not_hide_the_stall() {
    let reports = Reports::of("bomb");
    let builder = TaskGroup::builder().name("bomb").stall_after(SOON);
    let builder = builder.stall_policy(StallPolicy::Panic);
    let (outcome, errors) = traced_errors(|| {
        catch_unwind(AssertUnwindSafe(|| {
            builder.scope(|g| {
                g.cancel();
                reports.nth(0);
                Ok::<_, anyhow::Error>(Bomb("of the value"))
            })
        }))
    });
    let payload = outcome.map(drop).expect_err("the policy panics");
    let text = payload.downcast_ref::<String>().expect("it is a text");
    has(text, &["the scope `bomb`", "stalled"]);
    assert!(
        errors.iter().any(|error| error.contains("of the value")),
        "{errors:?}"
    );
}
