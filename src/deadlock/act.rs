//! The response to a deadlock: reports, hooks, the cancel.

use std::io::Write as _;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64 as PlainU64, Ordering::Relaxed};

use super::policy::DeadlockPolicy;
use super::report::Deadlock;
use crate::cancel::CancelCause;
use crate::facade::{PlainMutex, catch, start_thread};
use crate::panics::log;

type Hook = Arc<dyn Fn(&Deadlock) + Send + Sync>;

static HOOKS: PlainMutex<Vec<(u64, Hook)>> = PlainMutex::new(Vec::new());

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
/// is found. Its panic goes no further, and is a `tracing` error.
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

/// Does what the policy says about a deadlock.
pub(super) fn act(deadlock: &Deadlock, policy: DeadlockPolicy) {
    // The report first: a cancel may end the process, and an abort does.
    report(deadlock);
    match policy {
        DeadlockPolicy::Ignore | DeadlockPolicy::Report => {}
        DeadlockPolicy::Cancel => cancel(deadlock),
        DeadlockPolicy::Abort => process::abort(),
    }
}

/// Reports a deadlock.
pub(super) fn report(deadlock: &Deadlock) {
    // Copied, so that no hook runs under the lock: it may add or take back a hook.
    let hooks: Vec<Hook> = HOOKS.lock().iter().map(|(_, hook)| hook.clone()).collect();
    for hook in &hooks {
        if catch(|| hook(deadlock)).is_err() {
            log(|| tracing::error!("the hook of a deadlock panicked"));
        }
    }
    if !hooks.is_empty() {
        return;
    }

    let text = deadlock.to_string();
    // A closed stderr is no reason to lose the thread: the event says it all once more.
    let _ = writeln!(std::io::stderr(), "taskgroup: {text}");
    log(|| tracing::error!(target: "taskgroup", "{text}"));
}

/// Cancels the innermost group that has the whole circle.
fn cancel(deadlock: &Deadlock) {
    // A cancel that ends no wait would only hide the report among other errors.
    let group = deadlock
        .group
        .as_ref()
        .filter(|_| deadlock.is_cancellable());
    let (Some(group), Some(first)) = (group, deadlock.threads.first()) else {
        return;
    };

    let (node, location) = (group.token.node().clone(), first.location());
    let cause = CancelCause::Deadlock {
        cycle: deadlock.summary(),
    };
    // A cancel runs hooks and callbacks of the user's, which may take any time. The search goes on
    // meanwhile.
    let started = start_thread("taskgroup-deadlock-cancel", None, move || {
        node.cancel(cause, location);
    });
    if let Err(error) = started {
        log(|| tracing::error!(%error, "no thread to cancel a deadlock"));
    }
}
