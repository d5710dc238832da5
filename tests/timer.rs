//! Deadlines under which no thread waits: what their callbacks cost others, and what they leave.

mod support;

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use support::{Gate, LONG};
use taskgroup::{CancelToken, GroupError, timeout, with_cancel_hook};

const SOON: Duration = Duration::from_millis(1);
/// A deadline that needs longer was not announced to the thread of the deadlines, which checks by
/// itself after ten seconds.
const TOLD: Duration = Duration::from_secs(8);

#[test]
fn a_callback_that_blocks_delays_no_other_deadline() {
    let tokens: Vec<_> = (0..8).map(|_| CancelToken::new()).collect();
    let fired: Vec<_> = tokens.iter().map(|_| Arc::new(Gate::default())).collect();
    let (done, all_done) = mpsc::channel();
    // Each callback waits for the callback that is due after it.
    for (index, token) in tokens.iter().enumerate() {
        let (own, next, done) = (
            fired[index].clone(),
            fired.get(index + 1).cloned(),
            done.clone(),
        );
        token
            .on_cancel(move || {
                if let Some(next) = next {
                    next.wait();
                }
                own.open();
                done.send(()).expect("the test receives");
            })
            .forget();
    }
    // Set the last deadline first: a deadline that has passed when it is set fires on this thread.
    for (index, token) in tokens.iter().enumerate().rev() {
        token.cancel_after(SOON * (1 + index as u32));
    }
    for _ in &tokens {
        all_done
            .recv_timeout(TOLD)
            .expect("the callback of another deadline delayed a deadline");
    }
}

#[test]
fn a_deadline_that_is_set_while_a_callback_blocks_fires() {
    let (slow, quick) = (CancelToken::new(), CancelToken::new());
    let (begun, ended) = (Arc::new(Gate::default()), Arc::new(Gate::default()));
    let (has_begun, end) = (begun.clone(), ended.clone());
    slow.on_cancel(move || {
        begun.open();
        ended.wait();
    })
    .forget();
    // A deadline that has passed when it is set fires on the thread that sets it.
    let setter = thread::spawn({
        let slow = slow.clone();
        move || slow.cancel_after(SOON)
    });
    has_begun.wait();
    let (fired, is_fired) = mpsc::channel();
    quick
        .on_cancel(move || fired.send(()).expect("the test receives"))
        .forget();
    quick.cancel_after(SOON);
    let outcome = is_fired.recv_timeout(TOLD);
    end.open();
    setter.join().expect("nothing panics");
    outcome.expect("the callback of another deadline delayed a deadline");
}

#[test]
fn a_hook_that_blocks_delays_no_deadline() -> Result<(), GroupError> {
    let quick = CancelToken::new();
    let (fired, is_fired) = mpsc::channel();
    let is_fired = std::sync::Mutex::new(is_fired);
    quick
        .on_cancel(move || fired.send(()).expect("the region waits"))
        .forget();
    let code = || {
        let (stop, stopped) = mpsc::channel();
        let hook = || {
            quick.cancel_after(SOON);
            is_fired
                .lock()
                .unwrap()
                .recv_timeout(TOLD)
                .expect("a deadline was held up by a hook");
            stop.send(()).expect("the region waits");
        };
        with_cancel_hook(hook, || {
            stopped.recv_timeout(LONG).expect("the hook was not called")
        });
        Ok::<_, GroupError>(())
    };
    timeout(SOON, code).map(drop)
}

#[test]
fn a_deadline_that_is_moved_fires_at_the_new_instant() {
    for later in [false, true] {
        let token = CancelToken::new();
        let (fired, is_fired) = mpsc::channel();
        token
            .on_cancel(move || fired.send(()).expect("the test receives"))
            .forget();
        token.cancel_after(if later {
            Duration::from_millis(20)
        } else {
            LONG * 2
        });
        token.cancel_after(if later {
            Duration::from_millis(40)
        } else {
            SOON
        });
        is_fired
            .recv_timeout(TOLD)
            .expect("the deadline did not fire");
    }
}

#[test]
fn a_deadline_that_is_nearer_than_the_one_watched_for_fires() {
    let far = CancelToken::new();
    far.cancel_after(60 * LONG);
    far.on_cancel(|| ()).forget();
    // More than once: whether the thread sleeps already is its own affair.
    for _ in 0..20 {
        let near = CancelToken::new();
        let (fired, is_fired) = mpsc::channel();
        near.on_cancel(move || fired.send(()).expect("the test receives"))
            .forget();
        near.cancel_after(SOON);
        is_fired
            .recv_timeout(TOLD)
            .expect("the thread that waits for a later deadline was not woken");
    }
}

/// Whether this process has a thread for its deadlines.
#[cfg(target_os = "linux")]
fn has_a_timer() -> bool {
    let threads = std::fs::read_dir("/proc/self/task").expect("the system has it");
    let name = |thread: std::fs::DirEntry| {
        std::fs::read_to_string(thread.path().join("comm")).unwrap_or_default()
    };
    threads
        .flatten()
        .any(|thread| name(thread).trim_end() == "taskgroup-timer")
}

#[cfg(target_os = "linux")]
#[test]
fn only_a_callback_or_a_hook_under_a_deadline_needs_a_thread_for_it() {
    use taskgroup::{TaskGroup, shield_for};

    support::alone(
        "only_a_callback_or_a_hook_under_a_deadline_needs_a_thread_for_it",
        || {
            // The watch over stalled scopes is a reason of its own for the thread.
            let builder = || TaskGroup::builder().stall_after(Duration::MAX);
            let within = timeout(SOON, || builder().scope(|_| Ok(taskgroup::sleep(LONG)?)));
            assert!(within.is_ok_and(|within| within.is_none()));
            let late = builder().timeout(SOON).scope(|g| {
                g.spawn(|| Ok(taskgroup::sleep(LONG)?));
                g.spawn_daemon(|| Ok(shield_for(SOON, || taskgroup::sleep(LONG))?));
                Ok(())
            });
            assert!(late.is_err_and(|error| error.timed_out()));
            let token = CancelToken::new();
            token.cancel_after(SOON);
            assert!(token.wait().is_ok());
            let undated = CancelToken::new();
            let guard = undated.on_cancel(|| ());
            with_cancel_hook(|| (), || undated.cancel());
            drop(guard);
            assert!(
                !has_a_timer(),
                "a deadline under which a thread waits has a thread of the timer"
            );

            let token = CancelToken::new();
            token.cancel_after(2 * LONG);
            let guard = token.on_cancel(|| ());
            support::until(has_a_timer);
            drop(guard);
        },
    );
}

/// The memory of this process, in KiB.
#[cfg(target_os = "linux")]
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("the system has it");
    let pages: u64 = pages
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .expect("the second field is a number");
    pages * 4
}

#[cfg(target_os = "linux")]
#[test]
fn hooks_under_a_distant_deadline_leave_nothing_behind() {
    support::alone(
        "hooks_under_a_distant_deadline_leave_nothing_behind",
        || {
            let hooks = |times: u32| (0..times).for_each(|_| with_cancel_hook(|| (), || ()));
            let under_one = |times: u32| {
                let within = timeout(60 * LONG, || {
                    hooks(times);
                    Ok::<_, GroupError>(())
                });
                assert!(within.is_ok_and(|within| within.is_some()));
            };
            let token = CancelToken::new();
            token.cancel_after(60 * LONG);
            let round = |times: u32| {
                under_one(times);
                (0..times / 4).for_each(|_| under_one(1));
                (0..times).for_each(|_| drop(token.wait_timeout(Duration::ZERO)));
                (0..times).for_each(|_| drop(token.on_cancel(|| ())));
            };
            round(1_000);
            let before = resident();
            round(200_000);
            let more = resident().saturating_sub(before);
            assert!(more < 4 * 1024, "{more} KiB more");
        },
    );
}
