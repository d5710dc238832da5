//! The response to a deadlock: reports, hooks, the cancel.

use std::panic::Location;
use std::process;
use std::sync::atomic::{AtomicU64 as PlainU64, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::policy::DeadlockPolicy;
use super::report::{Deadlock, Response};
use crate::cancel::{CancelCause, Node};
use crate::facade::{
    Before, PlainMutex, catch, error_event, per_process, start_thread, warn_event, write_to_stderr,
};
use crate::panics::{PanicPayload, drop_contained, log};

type DeadlockHookFn = Arc<dyn Fn(&Deadlock) + Send + Sync>;

per_process! {
    /// A child of `fork` has the hooks of its parent, unless another thread was about to change
    /// them.
    static HOOKS: PlainMutex<Vec<(u64, DeadlockHookFn)>> = |before| {
        PlainMutex::new(match before {
            Before::Whole(before) => before.lock().clone(),
            Before::None | Before::Torn => Vec::new(),
        })
    };
}

/// Keeps a hook of [`on_found`]. Dropping it takes the hook back.
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use taskgroup::deadlock::{self, DeadlockHook};
///
/// static FOUND: AtomicUsize = AtomicUsize::new(0);
///
/// /// Counts deadlocks for as long as the server runs.
/// struct Server {
///     _counts: DeadlockHook,
/// }
///
/// let server = Server {
///     _counts: deadlock::on_found(|_| _ = FOUND.fetch_add(1, Ordering::Relaxed)),
/// };
/// drop(server);
/// assert_eq!(FOUND.load(Ordering::Relaxed), 0);
/// ```
#[must_use = "dropping it takes the hook back"]
#[derive(Debug)]
pub struct DeadlockHook(u64);

/// Calls `hook` for each deadlock that is found, in place of the default report, until the returned
/// value is dropped. Of several hooks, each is called.
///
/// It is called on the thread that searches, outside of any scope. While it runs, no other deadlock
/// is found. What the [policy](DeadlockPolicy) says comes after it, or two seconds after its begin.
///
/// # Panics
///
/// A panic of the hook goes no further, and is a `tracing` error. So is a panic of a destructor of
/// what it has captured, if it is taken back while it runs.
///
/// ```
/// let hook = taskgroup::deadlock::on_found(|deadlock| eprintln!("{deadlock}"));
/// drop(hook);
/// ```
pub fn on_found(hook: impl Fn(&Deadlock) + Send + Sync + 'static) -> DeadlockHook {
    static NEXT: PlainU64 = PlainU64::new(1);

    // A number, since two hooks cannot be compared.
    let id = NEXT.fetch_add(1, Relaxed);
    HOOKS.lock().push((id, Arc::new(hook)));
    DeadlockHook(id)
}

impl Drop for DeadlockHook {
    fn drop(&mut self) {
        let mut hooks = HOOKS.lock();
        let found = hooks.iter().position(|(id, _)| *id == self.0);
        let taken = found.map(|index| hooks.remove(index));
        // What the hook captured is the user's, and is dropped outside of the lock.
        drop(hooks);
        drop(taken);
    }
}

/// How long user code and stderr may delay what the policy says.
const REPORT_LIMIT: Duration = Duration::from_secs(2);

/// The action of a policy beside the report.
#[derive(Clone)]
enum PolicyAction {
    Cancel(Arc<Node>, CancelCause, &'static Location<'static>),
    Abort,
}

impl PolicyAction {
    fn of(policy: DeadlockPolicy, deadlock: &Deadlock) -> Option<Self> {
        match policy {
            DeadlockPolicy::Ignore | DeadlockPolicy::Report => None,
            DeadlockPolicy::Cancel => cancel(deadlock),
            DeadlockPolicy::Abort => Some(PolicyAction::Abort),
        }
    }

    /// Returns the action as the report names it.
    fn response(&self) -> Response {
        match self {
            PolicyAction::Cancel(..) => Response::Cancel,
            PolicyAction::Abort => Response::Abort,
        }
    }

    fn take(self) {
        match self {
            PolicyAction::Cancel(node, cause, location) => _ = node.cancel(cause, location),
            PolicyAction::Abort => process::abort(),
        }
    }
}

/// Does what the policy says about a deadlock.
pub(super) fn act(mut deadlock: Deadlock, policy: DeadlockPolicy) {
    let action = PolicyAction::of(policy, &deadlock);
    deadlock.response = Some(
        action
            .as_ref()
            .map_or(Response::Nothing, PolicyAction::response),
    );
    let Some(action) = action else {
        return report(&deadlock);
    };

    // The report comes first: a cancel may end the process, and an abort does. But a hook or the
    // subscriber may wait for a lock that a thread of the cycle has, so its time is limited. A
    // cancel runs user code too, and the search goes on meanwhile.
    let (reported, is_reported) = mpsc::channel::<()>();
    let acts = action.clone();
    let started = start_thread("taskgroup-deadlock-act", None, move || {
        // The end of the report drops the sender, which is an error here.
        let _ = is_reported.recv_timeout(REPORT_LIMIT);
        acts.take();
    });

    report(&deadlock);
    drop(reported);
    if let Err(error) = started {
        log(|| warn_event!(%error, "no thread to act on a deadlock: the search waits for it"));
        action.take();
    }
}

/// Reports a deadlock.
pub(super) fn report(deadlock: &Deadlock) {
    // Copied, so that no hook runs under the lock: it may add or take back a hook.
    let hooks: Vec<DeadlockHookFn> = HOOKS.lock().iter().map(|(_, hook)| hook.clone()).collect();
    let is_taken = !hooks.is_empty();
    for hook in hooks {
        if let Err(payload) = catch(|| hook(deadlock)) {
            let panic = PanicPayload::new(payload);
            log(|| error_event!(panic = panic.message(), "the hook of a deadlock panicked"));
        }

        // If it was taken back meanwhile, this is the last of it, and drops what it captured.
        drop_contained("deadlock hook", hook);
    }

    if is_taken {
        return;
    }

    let text = deadlock.to_string();

    // Stderr first: a subscriber may keep this thread, stderr only for a moment.
    write_to_stderr(&format!("taskgroup: {text}\n"));
    log(|| error_event!("{text}"));
}

/// Returns the cancel of the innermost group that has the whole cycle.
fn cancel(deadlock: &Deadlock) -> Option<PolicyAction> {
    // A cancel that ends no wait would only hide the report among other errors.
    let group = deadlock
        .group
        .as_ref()
        .filter(|_| deadlock.is_cancellable())?;
    let node = group.token.node().clone();
    let cause = CancelCause::Deadlock {
        cycle: deadlock.summary(),
    };
    let location = deadlock.threads.first()?.location();
    Some(PolicyAction::Cancel(node, cause, location))
}
