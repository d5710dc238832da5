//! Timeouts and deadlines: which scope they belong to, how they nest, and what wins against them.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::support::{Drops, LONG, blocked};
use taskgroup::{
    CancelCause, CancelToken, Cancelled, GroupError, TaskGroup, TaskStatus, deadline, remaining,
    timeout,
};

const SHORT: Duration = Duration::from_millis(5);

#[test]
fn a_timeout_that_cuts_its_closure_short_gives_none() -> anyhow::Result<()> {
    let cut = timeout(SHORT, || {
        taskgroup::sleep(LONG)?;
        anyhow::Ok(1)
    })?;
    assert_eq!(cut, None);
    taskgroup::sleep(SHORT)?;
    Ok(())
}

#[test]
fn a_value_produced_in_spite_of_the_timeout_wins() -> anyhow::Result<()> {
    let value = timeout(SHORT, || {
        blocked();
        anyhow::Ok("in spite of it")
    })?;
    assert_eq!(value, Some("in spite of it"));
    Ok(())
}

#[test]
fn another_error_wins_over_the_timeout() {
    let error = timeout(SHORT, || {
        blocked();
        Err::<(), _>(anyhow::anyhow!("another"))
    })
    .unwrap_err();
    assert_eq!(error.to_string(), "another");
}

#[test]
fn a_cancel_from_outside_is_not_a_timeout() {
    let token = CancelToken::new();
    token.cancel_because("from outside");
    let outcome = token.run(|| timeout(LONG, || taskgroup::sleep(LONG)));
    assert_eq!(
        outcome.map_err(|cancelled| cancelled.origin()),
        Err(token.id())
    );
}

#[test]
fn a_foreign_deadline_is_not_ones_own() {
    let foreign = CancelToken::new();
    foreign.cancel_at(Instant::now());
    foreign.wait().expect("nothing cancels this thread");
    let outcome = timeout(LONG, || foreign.check());
    assert_eq!(
        outcome.map_err(|cancelled| cancelled.origin()),
        Err(foreign.id())
    );
}

#[test]
fn the_outer_of_two_timeouts_cuts_both() -> anyhow::Result<()> {
    let mut inner = None;
    let outer = timeout(SHORT, || {
        let outcome = timeout(LONG, || {
            taskgroup::sleep(LONG)?;
            anyhow::Ok(())
        });
        inner = Some(outcome.is_err());
        outcome
    })?;
    assert_eq!((outer.is_none(), inner), (true, Some(true)));
    Ok(())
}

#[test]
fn the_inner_of_two_timeouts_leaves_the_outer_running() -> anyhow::Result<()> {
    let outer = timeout(LONG, || {
        let inner = timeout(SHORT, || {
            taskgroup::sleep(LONG)?;
            anyhow::Ok(())
        })?;
        taskgroup::checkpoint()?;
        anyhow::Ok(inner)
    })?;
    assert_eq!(outer, Some(None));
    Ok(())
}

#[test]
fn deadlines_are_inherited_as_the_minimum() -> anyhow::Result<()> {
    let near = Instant::now() + LONG;
    let far = near + LONG;
    let seen = deadline(near, || {
        assert!(remaining().is_some_and(|left| left <= LONG));
        deadline(far, || {
            assert!(remaining().is_some_and(|left| left <= LONG));
            anyhow::Ok(taskgroup::current_token().and_then(|token| token.deadline()))
        })
    })?;
    assert_eq!(seen, Some(Some(Some(near))));
    let tightened = deadline(far, || deadline(near, || anyhow::Ok(remaining())))?;
    assert!(
        tightened
            .flatten()
            .flatten()
            .is_some_and(|left| left <= LONG)
    );
    Ok(())
}

#[test]
fn tasks_inherit_the_deadline_of_their_group() -> Result<(), GroupError> {
    let until = Instant::now() + LONG;
    let seen = TaskGroup::builder().deadline(until).scope(|g| {
        let task = g.spawn(|| {
            Ok((
                taskgroup::current_token().and_then(|token| token.deadline()),
                remaining(),
            ))
        });
        Ok(task.join()?)
    })?;
    assert_eq!(seen.0, Some(until));
    assert!(seen.1.is_some_and(|left| left <= LONG));
    Ok(())
}

#[test]
fn without_a_deadline_there_is_no_remaining_time() -> Result<(), GroupError> {
    TaskGroup::scope(|g| {
        assert_eq!(
            (remaining(), g.token().deadline(), g.token().remaining()),
            (None, None, None)
        );
        Ok(())
    })
}

#[test]
fn zero_remains_of_a_past_deadline() {
    let token = CancelToken::new();
    token.cancel_at(Instant::now());
    assert_eq!(token.remaining(), Some(Duration::ZERO));
}

#[test]
fn a_timed_out_scope_says_so_and_has_no_failures() {
    let error = TaskGroup::builder()
        .timeout(SHORT)
        .scope(|g| {
            g.spawn(|| Ok(taskgroup::sleep(LONG)?));
            Ok(taskgroup::sleep(LONG)?)
        })
        .unwrap_err();
    assert!(error.timed_out() && error.failures().is_empty());
    assert!(
        error
            .cancelled()
            .is_some_and(|cancelled| matches!(cancelled.cause(), CancelCause::Deadline { .. }))
    );
}

#[test]
fn a_scope_that_ends_in_time_is_not_touched_by_its_deadline() -> anyhow::Result<()> {
    let token = CancelToken::new();
    token.run(|| {
        let value = TaskGroup::builder()
            .timeout(Duration::from_millis(20))
            .scope(|_| Ok(1));
        assert!(value.is_ok_and(|value| value == 1));
        taskgroup::sleep(Duration::from_millis(40))
    })?;
    Ok(())
}

#[test]
fn a_past_deadline_cancels_before_any_task_runs() {
    let drops = Drops::default();
    let mut status = None;
    let error = TaskGroup::builder()
        .deadline(Instant::now())
        .scope(|g| {
            let own = drops.counted();
            let task = g.spawn(move || {
                let _own = &own;
                Ok(())
            });
            status = Some(task.status());
            assert_eq!(drops.count(), 1);
            Ok(taskgroup::checkpoint()?)
        })
        .unwrap_err();
    assert_eq!(status, Some(TaskStatus::NeverRan));
    assert!(error.timed_out());
}

#[test]
fn a_deadline_moved_earlier_wakes_a_task_that_sleeps() {
    let mut asleep = None;
    let error = TaskGroup::builder()
        .timeout(LONG)
        .scope(|g| {
            let (started, waits) = mpsc::channel();
            asleep = Some(Instant::now());
            g.spawn(move || {
                started.send(())?;
                Ok(taskgroup::sleep(LONG)?)
            });
            waits.recv()?;
            g.token().cancel_at(Instant::now());
            Ok(taskgroup::sleep(LONG)?)
        })
        .unwrap_err();
    assert!(error.timed_out());
    assert!(asleep.is_some_and(|since| since.elapsed() < LONG / 2));
}

#[test]
fn a_deadline_moved_earlier_wakes_a_thread_that_sleeps_already() -> Result<(), GroupError> {
    for _ in 0..20 {
        let (outer, started) = (CancelToken::new(), std::sync::Barrier::new(2));
        outer.cancel_after(2 * LONG);
        TaskGroup::scope(|g| {
            // It alone is under the deadline, so no other thread looks at the clock for it.
            let asleep = g.spawn(|| {
                started.wait();
                Ok(outer
                    .run(|| taskgroup::sleep(2 * LONG))
                    .map_err(|cancelled| cancelled.origin()))
            });
            started.wait();
            outer.cancel_after(SHORT);
            assert_eq!(asleep.wait_timeout(LONG)?, Some(TaskStatus::Finished));
            assert_eq!(asleep.join()?, Err(outer.id()));
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_deadline_that_has_passed_unseen_comes_before_a_later_cancel() {
    let token = CancelToken::new();
    let deadline = Instant::now() + SHORT;
    token.cancel_at(deadline);
    while Instant::now() <= deadline {
        std::thread::yield_now();
    }
    assert!(!token.cancel(), "the deadline was first");
    assert!(matches!(
        token.check().unwrap_err().cause(),
        CancelCause::Deadline { .. }
    ));
}

#[test]
fn a_timeout_that_is_over_cuts_nothing_short() -> anyhow::Result<()> {
    let within = timeout(SHORT, || anyhow::Ok(1))?;
    assert!(within.is_none_or(|value| value == 1));
    taskgroup::sleep(SHORT * 4)?;
    Ok(())
}

#[test]
fn a_deadline_moved_later_no_longer_cuts_at_the_old_one() -> Result<(), GroupError> {
    let first = Instant::now() + Duration::from_secs(2);
    TaskGroup::builder().deadline(first).scope(|g| {
        g.token().cancel_at(first + LONG);
        assert_eq!(g.token().deadline(), Some(first + LONG));
        let task = g.spawn(move || Ok(taskgroup::sleep_until(first + Duration::from_millis(50))?));
        taskgroup::sleep_until(first + Duration::from_millis(50))?;
        Ok(task.join()?)
    })
}

#[test]
fn a_deadline_moved_later_stays_within_the_parents() {
    let parent = CancelToken::new();
    let until = Instant::now() + LONG;
    parent.cancel_at(until);
    let child = parent.child();
    child.cancel_at(Instant::now() + LONG / 2);
    child.cancel_at(until + LONG);
    assert_eq!(child.deadline(), Some(until));
    assert!(!child.is_cancelled());
}

#[test]
fn a_deadline_fires_callbacks_without_a_waiting_thread() {
    let token = CancelToken::new();
    let (sender, receiver) = mpsc::channel();
    let _guard = token
        .child()
        .on_cancel(move || sender.send(()).expect("the test waits"));
    token.cancel_after(SHORT);
    assert_eq!(receiver.recv_timeout(LONG), Ok(()));
    assert!(matches!(
        token.check().unwrap_err().cause(),
        CancelCause::Deadline { .. }
    ));
}

#[test]
fn a_deadline_set_before_the_callback_fires_it_too() {
    let token = CancelToken::new();
    token.cancel_after(SHORT);
    let (sender, receiver) = mpsc::channel();
    let _guard = token.on_cancel(move || sender.send(()).expect("the test waits"));
    assert_eq!(receiver.recv_timeout(LONG), Ok(()));
}

#[test]
fn a_passed_deadline_is_seen_by_checks_that_do_not_wait() {
    let token = CancelToken::new();
    token.cancel_at(Instant::now());
    assert!(token.check().is_err() && token.is_cancelled() && token.cancelled().is_some());
    assert!(token.child().is_cancelled());
    assert!(!token.cancel(), "the deadline was first");
    let seen = deadline(Instant::now(), || {
        Ok::<_, Cancelled>(taskgroup::is_cancelled())
    });
    assert!(seen.is_ok_and(|seen| seen == Some(true)));
}

#[test]
fn callbacks_of_several_tokens_with_one_deadline_all_run() {
    let (rings, rung) = mpsc::channel();
    let at = Instant::now() + SHORT;
    let tokens: Vec<_> = (0..3)
        .map(|n| {
            let (token, rings) = (CancelToken::new(), rings.clone());
            token.cancel_at(at);
            token.on_cancel(move || rings.send(n).unwrap()).forget();
            token
        })
        .collect();
    let mut seen = [(); 3].map(|()| rung.recv_timeout(LONG).expect("each of them is called"));
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2]);
    assert!(tokens.iter().all(CancelToken::is_cancelled));
}

#[test]
fn an_endless_duration_takes_the_deadline_away() {
    let token = CancelToken::new();
    token.cancel_after(LONG);
    assert!(token.deadline().is_some());
    token.cancel_after(Duration::MAX);
    assert_eq!(token.deadline(), None);
    assert_eq!(token.child().remaining(), None);
    token.cancel_after(Duration::ZERO);
    assert!(token.is_cancelled());
}

#[test]
fn endless_durations_do_not_overflow() -> anyhow::Result<()> {
    assert_eq!(timeout(Duration::MAX, || anyhow::Ok(1))?, Some(1));
    assert_eq!(
        TaskGroup::builder()
            .timeout(Duration::MAX)
            .scope(|g| Ok(g.spawn(|| Ok(2)).join()?))?,
        2
    );
    assert_eq!(taskgroup::shield_for(Duration::MAX, || 3), 3);
    let token = CancelToken::new();
    token.cancel_after(Duration::MAX);
    assert!(!token.is_cancelled());
    token.cancel();
    assert!(token.wait_timeout(Duration::MAX)?);
    let points: [fn() -> Result<(), Cancelled>; 2] = [
        || taskgroup::sleep(Duration::MAX),
        || taskgroup::park_timeout(Duration::MAX),
    ];
    for point in points {
        let started = std::sync::Barrier::new(2);
        TaskGroup::scope(|g| {
            let task = g.spawn(|| {
                started.wait();
                loop {
                    point()?;
                }
                #[allow(unreachable_code, reason = "names the type of the result")]
                Ok(())
            });
            started.wait();
            assert_eq!(task.wait_timeout(SHORT)?, None);
            g.cancel();
            assert_eq!(
                taskgroup::shield(|| task.wait_timeout(Duration::MAX))?,
                Some(TaskStatus::Cancelled)
            );
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_cancel_of_its_token_by_hand_is_not_a_timeout() {
    let cut = timeout(LONG, || {
        taskgroup::current_token()
            .expect("a timeout has a token")
            .cancel_because("by hand");
        taskgroup::checkpoint()
    });
    assert!(matches!(
        cut.unwrap_err().cause(),
        CancelCause::Requested { .. }
    ));
}
