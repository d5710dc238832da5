//! The action of the process on deadlocks.

use std::sync::atomic::{AtomicU8 as PlainU8, Ordering::Relaxed};

use crate::facade::{warn_event, write_to_stderr};
use crate::panics::log;

/// The variable of the environment that sets the policy at the start.
const VARIABLE: &str = "TASKGROUP_DEADLOCKS";

/// The action of the process on deadlocks that are certain.
///
/// The default is [`Report`](Self::Report) in builds with debug assertions, and
/// [`Ignore`](Self::Ignore) in others. The variable `TASKGROUP_DEADLOCKS` of the environment sets
/// another: `ignore`, `report`, `cancel` or `abort`. So a run of tests in CI can fail where it
/// would hang. [`set_policy`](super::set_policy) comes before both.
///
/// ```
/// use taskgroup::deadlock::{self, DeadlockPolicy};
///
/// deadlock::set_policy(DeadlockPolicy::Cancel); // at the start of a server
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum DeadlockPolicy {
    /// No thread looks for them. [`check`](super::check) still does when it is called.
    Ignore,
    /// Each is reported once: to the hooks of [`on_found`](super::on_found), or with one `tracing`
    /// error and one block on stderr.
    Report,
    /// Like `Report`, and the innermost group that has the whole cycle is cancelled with the cause
    /// [`Deadlock`](crate::CancelCause::Deadlock). Other groups go on. Where the threads have no
    /// group in common, or none of their waits can be cancelled, it is only reported. The cancel
    /// waits for the report for two seconds at most: a hook or the subscriber may need what a
    /// thread of the cycle has.
    Cancel,
    /// Like `Report`, and the process aborts, two seconds later at most.
    Abort,
}

const UNSET: u8 = 0;

static POLICY: PlainU8 = PlainU8::new(UNSET);

impl DeadlockPolicy {
    const ALL: [(u8, DeadlockPolicy, &'static str); 4] = [
        (1, DeadlockPolicy::Ignore, "ignore"),
        (2, DeadlockPolicy::Report, "report"),
        (3, DeadlockPolicy::Cancel, "cancel"),
        (4, DeadlockPolicy::Abort, "abort"),
    ];

    /// Returns the policy that holds.
    pub(super) fn current() -> Self {
        let number = POLICY.load(Relaxed);

        // Relaxed: nothing else is published with the policy.
        let set = Self::ALL.iter().find(|(of, _, _)| *of == number);
        match set {
            Some((_, policy, _)) => *policy,
            // Two threads may both come here, and find the same.
            None => {
                let policy = Self::at_the_start();
                policy.set();
                policy
            }
        }
    }

    fn at_the_start() -> Self {
        // A bad value must be seen, and is not a reason to end the program.
        let variable = std::env::var(VARIABLE).ok();
        let named = variable.as_deref().and_then(|text| {
            let mut all = Self::ALL.iter();
            let found = all.find(|(_, _, name)| *name == text);
            if found.is_none() {
                log(|| warn_event!(text, "{VARIABLE} has no such policy"));

                // Few runs of tests have a subscriber.
                write_to_stderr(&format!("taskgroup: {VARIABLE} has no policy {text:?}\n"));
            }
            found.map(|(_, policy, _)| *policy)
        });

        named.unwrap_or(if cfg!(debug_assertions) {
            DeadlockPolicy::Report
        } else {
            DeadlockPolicy::Ignore
        })
    }

    pub(super) fn set(self) {
        let all = Self::ALL.iter().find(|(_, policy, _)| *policy == self);
        POLICY.store(all.map_or(UNSET, |(number, _, _)| *number), Relaxed);
    }
}
