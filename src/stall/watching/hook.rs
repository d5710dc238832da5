//! Hooks of the user that get reports in place of the default output.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{
    AtomicBool as PlainBool, AtomicU64 as PlainU64, AtomicUsize as PlainUsize,
};

use super::report::StallReport;
use crate::facade::{Before, Mutex, catch, error_event, per_process};
use crate::panics::{PanicPayload, log};

type StallHookFn = dyn Fn(&StallReport) + Send + Sync;

struct Registered {
    id: u64,
    /// It runs on one thread at a time.
    is_running: PlainBool,
    hook: Arc<StallHookFn>,
}

impl Registered {
    /// The same hook, which does not run.
    fn renewed(&self) -> Self {
        Registered {
            id: self.id,
            is_running: PlainBool::new(false),
            hook: self.hook.clone(),
        }
    }
}

per_process! {
    /// A child of `fork` has the hooks of its parent, unless another thread was about to change
    /// them.
    static HOOKS: Mutex<Vec<Arc<Registered>>> = |before| {
        Mutex::new(match before {
            Before::Whole(before) => {
                let hooks = before.lock();
                hooks.iter().map(|hook| Arc::new(hook.renewed())).collect()
            }
            Before::None | Before::Torn => Vec::new(),
        })
    };
}

per_process! {
    static RUNNING: PlainUsize = PlainUsize::new(0);
}

/// Has `hook` called with every report of a stalled scope, in place of the default output, until
/// the [`StallHook`] is dropped.
///
/// The default is one `tracing` event at warning level and one block of text on stderr. With
/// several hooks, all are called, in the order of their registration.
///
/// A hook runs on a thread of its own, outside of any scope, and without scoped values. It may
/// block, open scopes and take snapshots. While it runs, reports of other scopes are not held up:
/// they go to the other hooks, or to the default output if there are none.
///
/// # Panics
///
/// A panic of the hook goes to `tracing` at error level. If no other hook takes that report, it
/// goes to the default output.
///
/// ```
/// use std::sync::mpsc;
/// use std::time::Duration;
/// use taskgroup::{TaskGroup, on_stall, shield};
///
/// let (reports, reported) = mpsc::channel();
/// let hook = on_stall(move |report| {
///     let laggards = report.laggards().iter().map(|laggard| laggard.to_string());
///     let _ = reports.send(laggards.collect::<Vec<_>>());
/// });
/// TaskGroup::builder().stall_after(Duration::from_millis(20)).scope(|g| {
///     g.task().name("saves").spawn(move || {
///         g.cancel();
///         // Waits for a message in a shield: no cancel ends that.
///         let laggards = shield(|| reported.recv())?;
///         assert!(laggards[0].starts_with("task `saves`"));
///         Ok(())
///     });
///     Ok(())
/// })?;
/// drop(hook);
/// # Ok::<(), taskgroup::GroupError>(())
/// ```
pub fn on_stall(hook: impl Fn(&StallReport) + Send + Sync + 'static) -> StallHook {
    static NEXT: PlainU64 = PlainU64::new(0);

    let id = NEXT.fetch_add(1, Relaxed);
    HOOKS.lock().push(Arc::new(Registered {
        id,
        is_running: PlainBool::new(false),
        hook: Arc::new(hook),
    }));
    StallHook { id }
}

/// Keeps the hook of [`on_stall`] registered until it is dropped.
///
/// The drop does not wait for a call of the hook that is running.
///
/// ```
/// drop(taskgroup::on_stall(|report| println!("{report}")));
/// ```
#[must_use = "dropping it takes the hook back"]
pub struct StallHook {
    id: u64,
}

impl Drop for StallHook {
    fn drop(&mut self) {
        let mut hooks = HOOKS.lock();
        let found = hooks.iter().position(|hook| hook.id == self.id);
        let removed = found.map(|index| hooks.remove(index));
        // What the hook has captured is dropped without the lock.
        drop(hooks);
        drop(removed);
    }
}

impl fmt::Debug for StallHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StallHook").field("id", &self.id).finish()
    }
}

/// Returns how many hooks run now, and keep a thread each.
pub(super) fn running() -> usize {
    RUNNING.load(Relaxed)
}

/// Calls all hooks with a report. Returns whether one of them has taken it.
pub(super) fn call_all(report: &StallReport) -> bool {
    let hooks = HOOKS.lock().clone();
    let mut is_taken = false;
    for hook in hooks {
        // A hook that another reporter waits for would keep this one too. Acquire pairs with the
        // release at its end.
        if hook.is_running.swap(true, Acquire) {
            continue;
        }
        RUNNING.fetch_add(1, Relaxed);
        let called = catch(|| (hook.hook)(report));
        RUNNING.fetch_sub(1, Relaxed);
        hook.is_running.store(false, Release);

        match called {
            Ok(()) => is_taken = true,
            Err(payload) => {
                let panic = PanicPayload::new(payload);
                log(|| error_event!(panic = panic.message(), "a stall hook panicked"));
            }
        }
        crate::panics::drop_contained("stall hook", hook);
    }
    is_taken
}

#[cfg(test)]
mod tests {
    use std::panic::Location;
    use std::sync::atomic::Ordering::SeqCst;
    use std::time::Duration;

    use super::*;
    use crate::cancel::WorstLatencies;
    use crate::stall::watching::view::EndedScope;

    const NAME: &str = "told to a hook that panics";

    /// A hook that counts the calls for this test.
    fn counting(calls: &Arc<PlainUsize>, then: fn()) -> StallHook {
        let calls = calls.clone();
        on_stall(move |report| {
            if report.name() == Some(NAME) {
                calls.fetch_add(1, SeqCst);
                then();
            }
        })
    }

    #[test]
    fn a_hook_that_panics_is_called_again_and_hides_no_other() {
        let scope = EndedScope {
            number: 1,
            name: Some(NAME.into()),
            location: Location::caller(),
            cancelled: None,
            worst_latencies: WorstLatencies::default(),
        };
        let report = StallReport::of_end(scope, Duration::ZERO, 1);
        let (bad, good) = (Arc::new(PlainUsize::new(0)), Arc::new(PlainUsize::new(0)));
        let _bad = counting(&bad, || panic!("of a hook"));
        {
            let _good = counting(&good, || ());
            for round in 1..=2 {
                assert!(call_all(&report));
                assert_eq!((bad.load(SeqCst), good.load(SeqCst)), (round, round));
            }
        }

        // Without the other the report is not taken, unless a hook of another test has.
        call_all(&report);
        assert_eq!((bad.load(SeqCst), good.load(SeqCst)), (3, 2));
    }
}
