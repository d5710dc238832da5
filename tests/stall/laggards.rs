//! The laggards that a report names, and how.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Gate, LONG};
use taskgroup::sync::Event;
use taskgroup::{
    Builder, CancelToken, RegionKind, TaskGroup, on_stall, shield, snapshot, winding_down,
};

use super::{Reports, SOON, has, pass};

fn stalling(name: &'static str) -> Builder {
    TaskGroup::builder().name(name).stall_after(SOON)
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
        let outer = stalling("nest outer").parent(&token);
        let outcome = outer.scope(|g| {
            let (gate, begun, ready) = (&gate, &begun, &ready);
            g.task().name("beside").spawn(move || {
                ready.set();
                pass(gate)
            });
            ready.wait()?;
            stalling("nest middle").scope(|_| {
                Ok(stalling("nest inner").scope(|g| {
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
        crate::support::until(|| begun.load(Ordering::SeqCst) == TASKS);
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
            crate::support::until(|| {
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
