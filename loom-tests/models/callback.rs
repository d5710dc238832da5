//! Models of the code that a cancel runs: callbacks, and the hooks of regions in a scope.

use std::sync::{Arc, Mutex};

use loom::thread;

use super::Bound::{Exhaustive, Preemptions};
use super::cancel::cancel_in_thread;
use super::support::{Gate, Note, block, must_see, saw, with_pool};
use super::{Model, Watched};
use crate::{CallbackGuard, CancelToken, TaskGroup, with_cancel_hook};

pub(super) const MODELS: &[Model] = &[
    holds!(
        cancel_callback_sees_what_came_before,
        Exhaustive,
        Exhaustive,
        "a callback sees the writes before its registration and before the cancel, and runs \
             once"
    ),
    breaks!(
        broken_cancel_registers_after_a_look,
        "callback-is-registered-after-the-look" in cancel_callback_sees_what_came_before,
        Exhaustive,
        "a callback was not run",
        "a callback that is registered after the check for the cancel is never run"
    ),
    holds!(
        cancel_hook_ends_before_its_region_returns,
        Exhaustive,
        Exhaustive,
        "a cancel hook has ended when its region returns, and sees the writes before it"
    ),
    holds!(
        cancel_callback_runs_while_its_guard_is_dropped,
        Exhaustive,
        Exhaustive,
        "once the guard is dropped, its callback has ended or never runs"
    ),
    breaks!(
        broken_cancel_deregister_does_not_wait,
        "guard-does-not-wait" in cancel_callback_runs_while_its_guard_is_dropped,
        Exhaustive,
        "Causality violation",
        "a guard that does not wait is dropped while its callback runs"
    ),
    holds!(
        cancel_two_callbacks_deregister_each_other,
        Preemptions(3),
        Preemptions(5),
        "two callbacks that unregister each other both end"
    ),
    breaks!(
        broken_cancel_callbacks_wait_for_each_other,
        "callbacks-wait-for-each-other" in cancel_two_callbacks_deregister_each_other,
        Preemptions(3),
        "deadlock",
        "two callbacks that wait for each other wait for ever"
    ),
    holds!(
        cancel_callback_uses_its_own_token,
        Exhaustive,
        Exhaustive,
        "a callback may use the token that runs it: cancel it, check it, link to it and \
             register with it"
    ),
    breaks!(
        broken_cancel_callback_under_the_lock,
        "callback-runs-under-the-lock" in cancel_callback_uses_its_own_token,
        Exhaustive,
        "deadlock",
        "a callback that runs under the lock of its token cannot use that token"
    ),
    holds!(
        cancel_callback_waits_for_a_scope_below,
        Preemptions(3),
        Preemptions(4),
        "a callback may wait until a scope below its token, or beside it, has ended"
    ),
    breaks!(
        broken_cancel_callbacks_before_quiet_nodes,
        "callbacks-run-before-quiet-nodes" in cancel_callback_waits_for_a_scope_below,
        Preemptions(3),
        "deadlock",
        "a scope waits for ever for the callback of a token above it, if that callback waits \
         for the scope"
    ),
    holds!(
        cancel_callback_waits_for_a_waiter,
        Exhaustive,
        Exhaustive,
        "a callback may wait until a thread that waits for its token has continued"
    ),
    breaks!(
        broken_cancel_callbacks_before_waiters,
        "callbacks-run-before-waiters-wake" in cancel_callback_waits_for_a_waiter,
        Exhaustive,
        "deadlock",
        "a thread that waits for a token and is woken after the callbacks is never woken if a \
         callback waits for it"
    ),
    holds!(
        cancel_hook_waits_for_a_sleeper,
        Preemptions(3),
        Preemptions(4),
        "a cancel hook may wait until a thread that sleeps in the same scope has continued"
    ),
    holds!(
        cancel_returns_after_all_of_its_hooks,
        Preemptions(3),
        Exhaustive,
        "a cancel with several hooks returns when all have ended, whichever thread runs them"
    ),
    breaks!(
        broken_cancel_returns_while_hooks_run,
        "cancel-leaves-its-hooks" in cancel_returns_after_all_of_its_hooks,
        Preemptions(2),
        "Causality violation",
        "a cancel that does not wait for the hooks on a worker returns before they have ended"
    ),
    holds!(
        cancel_hook_waits_for_another_hook,
        Preemptions(3),
        Exhaustive,
        "one hook of a cancel does not delay another"
    ),
    breaks!(
        broken_cancel_hooks_before_wakes,
        "hooks-run-before-sleepers-wake" in cancel_hook_waits_for_a_sleeper,
        Preemptions(3),
        "deadlock",
        "a thread that sleeps and is woken after the hooks is never woken if a hook waits for \
         it"
    ),
];

fn cancel_callback_sees_what_came_before() {
    must_see([
        "it ran where it was registered",
        "it ran where it was cancelled",
    ]);
    let shared = Arc::new((Watched::new(), Watched::new()));
    let token = CancelToken::new();
    let canceller = thread::spawn({
        let (token, shared) = (token.clone(), shared.clone());
        move || {
            shared.1.write();
            token.cancel();
        }
    });
    shared.0.write();
    let runs = Note::default();
    let guard = token.on_cancel({
        let (shared, runs) = (shared.clone(), runs.clone());
        move || {
            shared.0.read();
            shared.1.read();
            runs.set();
        }
    });
    saw(if format!("{guard:?}").contains("false") {
        "it ran where it was registered"
    } else {
        "it ran where it was cancelled"
    });
    canceller.join().unwrap();
    assert!(runs.is_set(), "a callback was not run");
    assert_eq!(runs.times(), 1);
    drop(guard);
}

fn cancel_hook_ends_before_its_region_returns() {
    must_see(["a hook that ran", "a hook that never ran"]);
    let shared = Arc::new((Watched::new(), Watched::new()));
    let token = CancelToken::new();
    let canceller = cancel_in_thread(&token);
    let runs = Note::default();
    shared.0.write();
    token.run(|| {
        let hook = || {
            shared.0.read();
            shared.1.write();
            runs.set();
        };
        with_cancel_hook(hook, || ());
        shared.1.write();
    });
    assert!(runs.times() <= 1);
    saw(if runs.is_set() {
        "a hook that ran"
    } else {
        "a hook that never ran"
    });
    canceller.join().unwrap();
}

fn cancel_callback_runs_while_its_guard_is_dropped() {
    must_see(["it ran", "it was unregistered"]);
    let token = CancelToken::new();
    let shared = Arc::new(Watched::new());
    let runs = Note::default();
    let guard = token.on_cancel({
        let (shared, runs) = (shared.clone(), runs.clone());
        move || {
            shared.write();
            runs.set();
        }
    });
    let canceller = cancel_in_thread(&token);
    drop(guard);
    shared.write();
    let ran = runs.is_set();
    canceller.join().unwrap();
    assert_eq!(
        runs.is_set(),
        ran,
        "a callback ran after its guard was dropped"
    );
    saw(if ran { "it ran" } else { "it was unregistered" });
}

fn cancel_two_callbacks_deregister_each_other() {
    must_see(["both ran", "one was unregistered"]);
    type Shared = Arc<Mutex<Option<CallbackGuard>>>;
    let runs = Note::default();
    let register = |token: &CancelToken, other: &Shared| {
        let (other, runs) = (other.clone(), runs.clone());
        token.on_cancel(move || {
            runs.set();
            let guard = other.lock().unwrap().take();
            drop(guard);
        })
    };
    let tokens = (CancelToken::new(), CancelToken::new());
    let guards = (Shared::default(), Shared::default());
    let first = register(&tokens.0, &guards.1);
    let second = register(&tokens.1, &guards.0);
    *guards.0.lock().unwrap() = Some(first);
    *guards.1.lock().unwrap() = Some(second);
    let canceller = cancel_in_thread(&tokens.0);
    tokens.1.cancel();
    canceller.join().unwrap();
    saw(if runs.times() == 2 {
        "both ran"
    } else {
        "one was unregistered"
    });
}

fn cancel_callback_uses_its_own_token() {
    let token = CancelToken::new();
    let runs = Note::default();
    token
        .on_cancel({
            let (token, runs) = (token.clone(), runs.clone());
            move || {
                assert!(token.is_cancelled() && !token.cancel());
                assert!(token.child().is_cancelled());
                let inner = runs.clone();
                drop(token.on_cancel(move || inner.set()));
                runs.set();
            }
        })
        .forget();
    let canceller = cancel_in_thread(&token);
    token.cancel();
    canceller.join().unwrap();
    assert_eq!(runs.times(), 2);
}

fn cancel_callback_waits_for_a_scope_below() {
    let token = CancelToken::new();
    let ended = Arc::new(Gate::new());
    let wait = |ended: &Arc<Gate>| {
        let ended = ended.clone();
        move || ended.wait().unwrap()
    };
    token.on_cancel(wait(&ended)).forget();
    let (mut canceller, mut beside) = (None, None);
    token.run(|| {
        let outcome = TaskGroup::scope(|_| {
            // A token that is neither above the scope nor below it.
            let beside = beside.insert(token.child());
            beside.on_cancel(wait(&ended)).forget();
            canceller = Some(cancel_in_thread(&token));
            block()?;
            Ok(())
        });
        assert!(outcome.is_err());
    });
    ended.open();
    canceller.unwrap().join().unwrap();
}

fn cancel_callback_waits_for_a_waiter() {
    let token = CancelToken::new();
    let gone = Arc::new(Gate::new());
    token
        .on_cancel({
            let gone = gone.clone();
            move || gone.wait().unwrap()
        })
        .forget();
    let canceller = cancel_in_thread(&token);
    token.wait().unwrap();
    gone.open();
    canceller.join().unwrap();
}

fn cancel_hook_waits_for_a_sleeper() {
    let token = CancelToken::new();
    let gone = Arc::new(Gate::new());
    token.run(|| {
        with_cancel_hook(
            || gone.wait().unwrap(),
            || {
                let sleeper = thread::spawn({
                    let (token, gone) = (token.clone(), gone.clone());
                    move || {
                        assert!(token.run(block).is_err());
                        gone.open();
                    }
                });
                let canceller = cancel_in_thread(&token);
                sleeper.join().unwrap();
                canceller.join().unwrap();
            },
        );
    });
}

fn cancel_returns_after_all_of_its_hooks() {
    must_see(["hooks on one thread", "hooks on two threads"]);
    with_pool(1, || {
        let token = CancelToken::new();
        let [first, second] = [Watched::new(), Watched::new()];
        let by = Mutex::new(Vec::new());
        let run = |what: &Watched| {
            what.write();
            by.lock().unwrap().push(thread::current().id());
        };
        token.run(|| {
            with_cancel_hook(
                || run(&first),
                || {
                    with_cancel_hook(
                        || run(&second),
                        || {
                            token.cancel();
                            first.read();
                            second.read();
                        },
                    );
                },
            );
        });
        let by = by.into_inner().unwrap();
        assert_eq!(by.len(), 2, "a hook was not run, or twice");
        saw(if by[0] == by[1] {
            "hooks on one thread"
        } else {
            "hooks on two threads"
        });
    });
}

fn cancel_hook_waits_for_another_hook() {
    with_pool(1, || {
        let token = CancelToken::new();
        let gone = Gate::new();
        token.run(|| {
            with_cancel_hook(
                || gone.wait().unwrap(),
                || with_cancel_hook(|| gone.open(), || token.cancel()),
            )
        });
    });
}
