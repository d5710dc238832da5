//! The calls that set which deadlocks are looked for.

use std::time::Duration;

use super::policy::DeadlockPolicy;
use super::{suspected, watch};

/// Sets what this process does about deadlocks that are certain, from now on.
///
/// The search begins at once, and looks also at threads that have gone to sleep before.
///
/// ```
/// use taskgroup::deadlock::{self, DeadlockPolicy};
///
/// // A release build looks for them too.
/// deadlock::set_policy(DeadlockPolicy::Report);
/// ```
pub fn set_policy(policy: DeadlockPolicy) {
    policy.set();
    watch::begin();
}

/// Keeps a search for suspected deadlocks going. Dropping it ends the search.
///
/// ```
/// use std::time::Duration;
/// use taskgroup::deadlock::{self, SuspectedWatch};
///
/// /// A program that consists of tasks of this crate, and says where it hangs.
/// struct Pipeline {
///     _watch: SuspectedWatch,
/// }
///
/// let pipeline = Pipeline { _watch: deadlock::watch_suspected(Duration::from_secs(5)) };
/// # drop(pipeline);
/// ```
#[must_use = "dropping it ends the search"]
#[derive(Debug)]
pub struct SuspectedWatch(Duration);

/// Looks for deadlocks of waits that any thread could end, until the returned value is dropped: for
/// events, messages, notifications, permits, barriers, promises, latches, `unpark`.
///
/// The process is *suspected* to be in a deadlock if, for `quiet_for`, every thread of it has slept
/// in a blocking point of this crate, and nothing is left that could wake one: no time limit or
/// deadline, no wait for a descriptor, a child or a token, no signal handler, no task that may
/// begin. It is reported once, like [`on_found`](super::on_found) says, with the
/// [certainty](super::Deadlock::certainty) [`Suspected`](super::Certainty::Suspected). It is never
/// cancelled.
///
/// It is meant for programs that consist of tasks of this crate. It reports nothing while any of
/// these exists:
///
/// - a thread of another library, such as the runtime of tokio, or the main thread in a `join` of
///   std's;
/// - a thread that waits in a crossbeam channel, also by `channel::crossbeam`;
/// - a handler of a signal, also that of [`dump_on_signal`](crate::dump_on_signal) or of
///   [`signal`](crate::signal);
/// - a scope that was cancelled and has not ended;
/// - the thread of the timers, which stays for ten seconds after the last timer.
///
/// So it finds nothing below the usual test harness, which waits in std: there, give the scope of
/// the test a [`timeout`](crate::Builder::timeout), and print a [`snapshot`](crate::snapshot) when
/// it has passed. Works on Linux; elsewhere nothing is found. A suspicion can be wrong: what
/// another process writes into memory that it shares, or a debugger, is not seen.
///
/// Until it is dropped, a thread looks twice a second.
///
/// ```
/// let watch = taskgroup::deadlock::watch_suspected(std::time::Duration::from_secs(10));
/// drop(watch);
/// ```
pub fn watch_suspected(quiet_for: Duration) -> SuspectedWatch {
    suspected::add(quiet_for);
    watch::begin();
    SuspectedWatch(quiet_for)
}

impl Drop for SuspectedWatch {
    fn drop(&mut self) {
        suspected::remove(self.0);
    }
}
