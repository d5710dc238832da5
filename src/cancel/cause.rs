//! Causes of cancels, and the error that a cancelled call returns.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Instant;

use super::actor::{Actor, Part};
use super::id::{TaskId, TaskInfo, TokenId};
use super::retried::Retried;
use super::text::one_line;
use crate::trace::Site;

/// The cause of a cancel: the event that came first, kept unchanged by every token that inherits
/// the cancel.
///
/// Of several failures, the cause names the failure that was recorded first. That failure can be an
/// [echo](crate::Failure::echo_of): the root, the task that fails for no other reason, may still be
/// dropping its values at that time. [`GroupError::primary`](crate::GroupError::primary) knows all
/// failures, and names the root.
///
/// ```
/// use std::time::Duration;
/// use taskgroup::{CancelCause, CancelToken};
///
/// let token = CancelToken::new();
/// token.cancel_after(Duration::ZERO);
/// let cancelled = token.check().unwrap_err();
/// match cancelled.cause() {
///     CancelCause::Deadline { deadline, .. } => assert!(*deadline <= std::time::Instant::now()),
///     other => panic!("it was something else: {other}"),
/// }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum CancelCause {
    /// `cancel`, `cancel_because` or a variant of them was called.
    Requested {
        /// The text given to `cancel_because`.
        reason: Option<String>,
    },
    /// A task of the group returned an error.
    #[non_exhaustive]
    TaskFailed {
        /// The task that failed first.
        task: TaskInfo,
        /// The text of its error.
        error: String,
    },
    /// A task of the group panicked.
    #[non_exhaustive]
    TaskPanicked {
        /// The task that panicked first.
        task: TaskInfo,
        /// The panic's message.
        message: String,
    },
    /// The body of the group returned an error.
    #[non_exhaustive]
    BodyFailed {
        /// The text of its error.
        error: String,
    },
    /// The body of the group panicked.
    BodyPanicked,
    /// A deadline passed.
    #[non_exhaustive]
    Deadline {
        /// The deadline.
        deadline: Instant,
    },
    /// The process got a signal. The token is one of `signal::ctrl_c` or `signal::termination`.
    #[non_exhaustive]
    Signal {
        /// The number of the signal, for example 15 for SIGTERM.
        signal: i32,
    },
    /// The body and the tasks of the group have ended, so its daemons are to end.
    GroupFinished,
    /// A [`CancelOnDrop`](crate::CancelOnDrop) was dropped.
    Dropped,
    /// Threads of the group waited for each other, and
    /// [`DeadlockPolicy::Cancel`](crate::deadlock::DeadlockPolicy) is set.
    #[non_exhaustive]
    Deadlock {
        /// The threads, and what each waited for.
        cycle: String,
    },
    /// The semaphore that the call asked for a permit was closed. No scope was cancelled. See
    /// [`Semaphore::close`](crate::sync::Semaphore::close).
    SemaphoreClosed,
}

impl fmt::Display for CancelCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Texts of the user are put on one line, so that none looks like a line of a report.
        match self {
            CancelCause::Requested { reason: None } => f.write_str("cancel was requested"),
            CancelCause::Requested {
                reason: Some(reason),
            } => f.write_str(&one_line(reason)),
            CancelCause::TaskFailed { task, error } => {
                write!(f, "{task} failed: {}", one_line(error))
            }
            CancelCause::TaskPanicked { task, message } => {
                write!(f, "{task} panicked: {}", one_line(message))
            }
            CancelCause::BodyFailed { error } => {
                write!(f, "the body of the group failed: {}", one_line(error))
            }
            CancelCause::BodyPanicked => f.write_str("the body of the group panicked"),
            CancelCause::Deadline { .. } => f.write_str("the deadline passed"),
            // These three have the same numbers on every Unix, and no other is asked for.
            CancelCause::Signal { signal: 1 } => f.write_str("SIGHUP"),
            CancelCause::Signal { signal: 2 } => f.write_str("SIGINT"),
            CancelCause::Signal { signal: 15 } => f.write_str("SIGTERM"),
            CancelCause::Signal { signal } => write!(f, "signal {signal}"),
            CancelCause::GroupFinished => f.write_str("the group has finished"),
            CancelCause::Dropped => f.write_str("the drop guard was dropped"),
            CancelCause::Deadlock { cycle } => write!(f, "a deadlock: {}", one_line(cycle)),
            CancelCause::SemaphoreClosed => f.write_str("the semaphore was closed"),
        }
    }
}

/// The error of a blocking point in a cancelled scope. The operation had no effect.
///
/// It is cheap to clone. It has the event that caused the cancel ([`cause`](Self::cause)), the
/// place in the source that the cancel came from ([`location`](Self::location)) and the token that
/// was cancelled ([`origin`](Self::origin)).
///
/// ```
/// use taskgroup::{CancelCause, CancelToken};
///
/// let token = CancelToken::new();
/// token.cancel_because("shutting down");
/// let cancelled = token.check().unwrap_err();
/// let CancelCause::Requested { reason } = cancelled.cause() else { panic!() };
/// assert_eq!(reason.as_deref(), Some("shutting down"));
/// assert_eq!(cancelled.origin(), token.id());
/// ```
#[derive(Clone)]
pub struct Cancelled(Arc<CancelRecord>);

struct CancelRecord {
    cause: CancelCause,
    /// When the cancel happened.
    at: Instant,
    location: &'static Location<'static>,
    origin: TokenId,
    /// The task or body that failed, if that is the cause.
    failed: Option<Arc<Actor>>,
    /// The retry that it ended, with the record of the cancel itself.
    retry: Option<(Retried, Cancelled)>,
}

impl Cancelled {
    pub(crate) fn new(
        cause: CancelCause,
        location: &'static Location<'static>,
        origin: TokenId,
    ) -> Self {
        Self::happened(cause, location, origin, None)
    }

    /// Returns a cancel because `failed` has failed.
    pub(crate) fn by_failure(
        cause: CancelCause,
        location: &'static Location<'static>,
        origin: TokenId,
        failed: Arc<Actor>,
    ) -> Self {
        Self::happened(cause, location, origin, Some(failed))
    }

    /// Returns a cancel that happens now.
    fn happened(
        cause: CancelCause,
        location: &'static Location<'static>,
        origin: TokenId,
        failed: Option<Arc<Actor>>,
    ) -> Self {
        Cancelled(Arc::new(CancelRecord {
            cause,
            at: Instant::now(),
            location,
            origin,
            failed,
            retry: None,
        }))
    }

    /// Returns when the cancel happened. Tokens that inherit it have the same instant.
    pub(crate) fn at(&self) -> Instant {
        self.0.at
    }

    /// Returns the instant from which on the cancel counts. A deadline counts once it has passed,
    /// and a thread notices it later.
    pub(super) fn since(&self) -> Instant {
        match self.cause() {
            CancelCause::Deadline { deadline } => *deadline,
            _ => self.at(),
        }
    }

    /// Returns the task or body that failed, if that is the cause.
    pub(crate) fn failed(&self) -> Option<&Arc<Actor>> {
        self.0.failed.as_ref()
    }

    /// Whether the cause is the failure of this task.
    pub(crate) fn is_by_failure_of(&self, id: TaskId) -> bool {
        let failed = self.failed().and_then(|failed| failed.parts().next());
        matches!(failed, Some(Part::Task(task)) if task.id == id)
    }

    /// Returns the same cancel, which ended a retry.
    pub(crate) fn of_retry(&self, retried: Retried) -> Self {
        // Never a retry of a retry: `same` is the record by which cancels are compared.
        let same = self.record_of_the_cancel();
        Cancelled(Arc::new(CancelRecord {
            cause: same.cause().clone(),
            at: same.at(),
            location: same.location(),
            origin: same.origin(),
            failed: same.failed().cloned(),
            retry: Some((retried, same.clone())),
        }))
    }

    /// Returns the record that all errors of this cancel share.
    fn record_of_the_cancel(&self) -> &Self {
        match &self.0.retry {
            Some((_, same)) => same,
            None => self,
        }
    }

    /// Returns the cause.
    ///
    /// ```
    /// use taskgroup::{CancelCause, CancelToken};
    ///
    /// let token = CancelToken::new();
    /// token.cancel();
    /// let cancelled = token.check().unwrap_err();
    /// assert!(matches!(cancelled.cause(), CancelCause::Requested { reason: None }));
    /// ```
    pub fn cause(&self) -> &CancelCause {
        &self.0.cause
    }

    /// Returns where in the source the cancel came from: the call of `cancel`, the spawn of the
    /// task that failed, or the place that set the deadline.
    ///
    /// ```
    /// let token = taskgroup::CancelToken::new();
    /// let line = line!() + 1;
    /// token.cancel();
    /// assert_eq!(token.check().unwrap_err().location().line(), line);
    /// ```
    pub fn location(&self) -> &'static Location<'static> {
        self.0.location
    }

    /// Returns the token that was cancelled. Tokens that inherited the cancel report the same
    /// origin.
    ///
    /// ```
    /// let token = taskgroup::CancelToken::new();
    /// let child = token.child();
    /// token.cancel();
    /// assert_eq!(child.check().unwrap_err().origin(), token.id());
    /// ```
    pub fn origin(&self) -> TokenId {
        self.0.origin
    }

    /// Returns the attempts that had failed before, if the cancel ended a
    /// [`retry`](fn@crate::retry).
    ///
    /// ```
    /// let token = taskgroup::CancelToken::new();
    /// token.cancel();
    /// assert_eq!(token.check().unwrap_err().retried(), None);
    /// ```
    pub fn retried(&self) -> Option<&Retried> {
        self.0.retry.as_ref().map(|(retried, _)| retried)
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (cause, site) = (self.cause(), Site(self.location()));
        write!(f, "cancelled: {cause} (at {site})")?;

        match self.retried() {
            Some(retried) => write!(f, ", {retried}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Cancelled");
        fields
            .field("cause", self.cause())
            .field("location", &format_args!("{}", self.location()))
            .field("origin", &self.origin());
        if let Some(retried) = self.retried() {
            fields.field("retried", retried);
        }
        fields.finish()
    }
}

impl std::error::Error for Cancelled {}

/// Two errors are equal if they report the same cancel.
impl PartialEq for Cancelled {
    fn eq(&self, other: &Self) -> bool {
        // The record is made once for each cancel, and every token that inherits it has a clone.
        Arc::ptr_eq(
            &self.record_of_the_cancel().0,
            &other.record_of_the_cancel().0,
        )
    }
}

impl Eq for Cancelled {}
