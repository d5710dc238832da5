//! The token: a handle to a node of the tree.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::callback::CallbackGuard;
use super::callbacks::Callback;
use super::cause::{CancelCause, Cancelled};
use super::frames;
use super::grace::Grace;
use super::id::TokenId;
use super::node::Node;
use super::report::timed;
use crate::lanes::{self, FrameKind, ShownFrame};

/// A token that cancels scopes, and can be asked whether it is cancelled.
///
/// Tokens form a tree. Cancelling a token cancels its children and never its parent. Clones are the
/// same token, and two tokens are equal if they are the same token. Every
/// [`TaskGroup`](crate::TaskGroup) has a token ([`token`](crate::TaskGroup::token)). A token of
/// your own cancels a group through [`Builder::parent`](crate::Builder::parent), and any code
/// through [`run`](Self::run).
///
/// A cancel is not atomic across the tree: for a moment a token can be cancelled while its child is
/// not yet. A deadline, once it is set, passes for all tokens below it at once. A thread that sees
/// a cancel also sees everything that happened before it.
///
/// ```
/// use taskgroup::CancelToken;
///
/// let root = CancelToken::new();
/// let child = root.child();
/// assert!(root.cancel_because("shutting down"));
/// assert_eq!(child.check().unwrap_err().to_string().lines().count(), 1);
/// assert!(!child.cancel(), "it was cancelled already");
/// ```
#[derive(Clone)]
pub struct CancelToken(Arc<Node>);

impl CancelToken {
    pub(crate) fn from_node(node: Arc<Node>) -> Self {
        CancelToken(node)
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.0
    }

    /// Returns a new token without a parent.
    ///
    /// ```
    /// assert!(!taskgroup::CancelToken::new().is_cancelled());
    /// ```
    pub fn new() -> Self {
        CancelToken(Node::root())
    }

    /// Returns a token that is cancelled when this token is, and can be cancelled by itself.
    ///
    /// ```
    /// let token = taskgroup::CancelToken::new();
    /// let child = token.child();
    /// child.cancel();
    /// assert!(!token.is_cancelled());
    /// ```
    pub fn child(&self) -> Self {
        CancelToken(Node::child_of([&self.0]))
    }

    /// Returns a token that is cancelled when any of `tokens` is. Without any, it is a new token.
    ///
    /// ```
    /// use taskgroup::CancelToken;
    ///
    /// let (user, server) = (CancelToken::new(), CancelToken::new());
    /// let either = CancelToken::linked([&user, &server]);
    /// server.cancel();
    /// assert_eq!(either.cancelled().map(|c| c.origin()), Some(server.id()));
    /// ```
    pub fn linked<'a>(tokens: impl IntoIterator<Item = &'a CancelToken>) -> Self {
        CancelToken(Node::child_of(tokens.into_iter().map(|token| &token.0)))
    }

    /// Cancels the token. Returns true if this call cancelled it.
    ///
    /// The cancel wakes every blocking point of the token's scopes, then runs the callbacks. If the
    /// token was cancelled [gracefully](Self::cancel_gracefully) before, this call ends the grace.
    ///
    /// ```
    /// let token = taskgroup::CancelToken::new();
    /// assert!(token.cancel());
    /// assert!(!token.cancel());
    /// ```
    #[track_caller]
    pub fn cancel(&self) -> bool {
        self.0
            .cancel(CancelCause::Requested { reason: None }, Location::caller())
    }

    /// Cancels the token with a reason for people to read. Returns true if this call cancelled it.
    ///
    /// ```
    /// let token = taskgroup::CancelToken::new();
    /// token.cancel_because("Ctrl-C");
    /// assert!(token.check().unwrap_err().to_string().contains("Ctrl-C"));
    /// ```
    #[track_caller]
    pub fn cancel_because(&self, reason: impl Into<String>) -> bool {
        self.0.cancel(
            CancelCause::Requested {
                reason: Some(reason.into()),
            },
            Location::caller(),
        )
    }

    /// Cancels the token, but spares code inside [`winding_down`](crate::winding_down) for at most
    /// `grace`. Returns true if this call cancelled the token.
    ///
    /// Everything else wakes immediately, like with [`cancel`](Self::cancel). The grace ends early
    /// at any other cancel of the token or of a scope between it and the region, at a deadline
    /// around the region, and at the end of a shorter grace. A failure does not end it. A grace of
    /// zero makes this call a plain `cancel`. A grace too long to express lasts until something
    /// else ends it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use taskgroup::{checkpoint, winding_down, CancelToken};
    ///
    /// let token = CancelToken::new();
    /// token.cancel_gracefully(Duration::from_secs(60));
    /// token.run(|| {
    ///     assert!(checkpoint().is_err());
    ///     assert!(winding_down(checkpoint).is_ok());
    ///     token.cancel();
    ///     assert!(winding_down(checkpoint).is_err());
    /// });
    /// ```
    #[track_caller]
    pub fn cancel_gracefully(&self, grace: Duration) -> bool {
        self.0.cancel_sparing(
            CancelCause::Requested { reason: None },
            Location::caller(),
            grace_of(grace),
        )
    }

    /// Like [`cancel_gracefully`](Self::cancel_gracefully), with a reason for people to read.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let token = taskgroup::CancelToken::new();
    /// assert!(token.cancel_gracefully_because(Duration::from_secs(60), "SIGTERM"));
    /// assert!(token.check().unwrap_err().to_string().contains("SIGTERM"));
    /// ```
    #[track_caller]
    pub fn cancel_gracefully_because(&self, grace: Duration, reason: impl Into<String>) -> bool {
        let cause = CancelCause::Requested {
            reason: Some(reason.into()),
        };
        self.0
            .cancel_sparing(cause, Location::caller(), grace_of(grace))
    }

    /// Sets the token's deadline, or moves it, earlier or later.
    ///
    /// A deadline has no effect on a token that is cancelled. The deadline of a parent also holds
    /// for its children, whatever their own deadlines are. A deadline that has passed cancels
    /// immediately.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let token = taskgroup::CancelToken::new();
    /// token.cancel_at(Instant::now() + Duration::from_secs(60));
    /// assert!(!token.is_cancelled());
    /// token.cancel_at(Instant::now());
    /// assert!(token.is_cancelled());
    /// ```
    #[track_caller]
    pub fn cancel_at(&self, deadline: Instant) {
        self.0.set_deadline(deadline, Location::caller());
    }

    /// Sets the token's deadline to `duration` from now. See [`cancel_at`](Self::cancel_at).
    ///
    /// A duration too long to express removes the deadline.
    ///
    /// ```
    /// let token = taskgroup::CancelToken::new();
    /// token.cancel_after(std::time::Duration::ZERO);
    /// assert!(token.is_cancelled());
    /// ```
    #[track_caller]
    pub fn cancel_after(&self, duration: Duration) {
        match Instant::now().checked_add(duration) {
            Some(deadline) => self.0.set_deadline(deadline, Location::caller()),
            None => self.0.clear_deadline(),
        }
    }

    /// Returns whether the token is cancelled.
    ///
    /// This costs one load, and a look at the clock if a deadline holds.
    ///
    /// ```
    /// assert!(!taskgroup::CancelToken::new().is_cancelled());
    /// ```
    #[inline]
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Returns `Ok` while the token is not cancelled.
    ///
    /// # Errors
    /// Fails with the cancel of the token, once it is cancelled.
    ///
    /// ```
    /// assert!(taskgroup::CancelToken::new().check().is_ok());
    /// ```
    #[inline]
    pub fn check(&self) -> Result<(), Cancelled> {
        // The flag first: only the cause takes the lock of the node.
        if self.0.is_cancelled() {
            self.0.check()
        } else {
            Ok(())
        }
    }

    /// Returns the cancel that cancelled the token.
    ///
    /// ```
    /// assert!(taskgroup::CancelToken::new().cancelled().is_none());
    /// ```
    pub fn cancelled(&self) -> Option<Cancelled> {
        self.0.cancelled()
    }

    /// Blocks until the token is cancelled.
    ///
    /// # Cancellation
    ///
    /// This is a blocking point of the current scope, even if the token is the scope's own.
    ///
    /// # Errors
    ///
    /// Fails if the current scope is cancelled and the token is not.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// let token = taskgroup::CancelToken::new();
    /// token.cancel();
    /// token.wait()
    /// # }
    /// ```
    #[track_caller]
    pub fn wait(&self) -> Result<(), Cancelled> {
        self.0.wait_until(None).map(drop)
    }

    /// Blocks until the token is cancelled or `duration` has passed. Returns true if it was
    /// cancelled.
    ///
    /// # Cancellation
    ///
    /// Like [`wait`](Self::wait).
    ///
    /// # Errors
    ///
    /// Like [`wait`](Self::wait).
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// let token = taskgroup::CancelToken::new();
    /// assert!(!token.wait_timeout(std::time::Duration::ZERO)?);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn wait_timeout(&self, duration: Duration) -> Result<bool, Cancelled> {
        self.0.wait_until(Instant::now().checked_add(duration))
    }

    /// Registers `callback`, which runs when the token is cancelled. If the token is cancelled
    /// already, the callback runs inside this call.
    ///
    /// Each callback runs once, on the cancelling thread, the last registered first, with no lock
    /// of this crate held and outside any scope. The callbacks of the tokens below run first, so a
    /// callback may wait for a scope below to end. A callback that blocks delays the callbacks
    /// after it, the `cancel` that runs them, and the end of the scope or the task that the token
    /// belongs to. No other thread has to wait for it. A deadline is noticed by a thread that waits
    /// or checks below it, and such a thread then runs the callbacks.
    ///
    /// Dropping the guard takes the callback back, even in code that the same cancel has just
    /// woken. So a guard in a local variable of a body may be gone before the callback has begun.
    /// Hand it to the group, with `g.on_release(move || Ok(drop(guard)))`, or put the code that
    /// blocks inside [`with_cancel_hook`](crate::with_cancel_hook).
    ///
    /// # Panics
    ///
    /// The panic of a callback stops no other callback and does not come out of `cancel`. It is a
    /// failure of the group if this is the token of a group or of one of its tasks, and a `tracing`
    /// error otherwise.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicBool, Ordering};
    ///
    /// static CALLED: AtomicBool = AtomicBool::new(false);
    /// let token = taskgroup::CancelToken::new();
    /// let guard = token.on_cancel(|| CALLED.store(true, Ordering::Relaxed));
    /// token.cancel();
    /// drop(guard);
    /// assert!(CALLED.load(Ordering::Relaxed));
    /// ```
    #[track_caller]
    pub fn on_cancel(&self, callback: impl FnOnce() + Send + 'static) -> CallbackGuard {
        // A deadline that has passed unseen is seen now.
        self.0.is_cancelled();
        let location = Location::caller();
        let id = self.id().0;

        // A node that its own callback held would never be freed.
        let node = Arc::downgrade(&self.0);
        let call = Box::new(move || {
            let group = node.upgrade().and_then(|node| node.group_that_waits());
            let _shown = lanes::push(ShownFrame {
                kind: FrameKind::Callback,
                id,
                group: group.as_ref().map_or(0, |group| group.number),
                location,
            });
            timed(group.as_ref(), location, callback);
        });
        self.0.register(Callback { call, location })
    }

    /// Runs `f` under this token, for example on a thread that is not a task.
    ///
    /// Every blocking point inside fails once the token is cancelled, and groups opened inside are
    /// children of the token.
    ///
    /// Inside a scope the token is *added* to that scope, like with
    /// [`Builder::parent`](crate::Builder::parent). A cancel of an enclosing scope still ends a
    /// blocking call in `f`, and deadlines only get shorter. Use [`shield`](crate::shield) to hide
    /// them.
    ///
    /// The token that [`current_token`](crate::current_token) returns inside `f` depends on the
    /// place of the call:
    ///
    /// | `run` is called | the current token in `f` |
    /// |---|---|
    /// | outside any scope, or in a [`shield`](crate::shield) | this token |
    /// | in the scope of this token, or in a scope below it | the same as before: nothing is added |
    /// | in any other scope | a new token below both; its cancel ends the calls in `f`, and nothing else |
    ///
    /// ```
    /// use std::time::Duration;
    /// use taskgroup::CancelToken;
    ///
    /// let (shutdown, request) = (CancelToken::new(), CancelToken::new());
    /// shutdown.run(|| {
    ///     request.run(|| {
    ///         shutdown.cancel();
    ///         assert!(taskgroup::sleep(Duration::from_secs(60)).is_err());
    ///     });
    /// });
    /// assert!(!request.is_cancelled());
    /// ```
    #[track_caller]
    pub fn run<T>(&self, f: impl FnOnce() -> T) -> T {
        let _shown = lanes::push_here(FrameKind::Region, self.id().0);

        // A token at or above the scope cancels it anyway: no node is added.
        match frames::current() {
            None => frames::within(self.0.clone(), f),
            Some(current) if current.is_at_or_below(&self.0) => f(),
            Some(current) => frames::within(Node::child_of([&current, &self.0]), f),
        }
    }

    /// Returns the earliest deadline of the token and of the tokens above it.
    ///
    /// ```
    /// assert_eq!(taskgroup::CancelToken::new().deadline(), None);
    /// ```
    pub fn deadline(&self) -> Option<Instant> {
        self.0.effective_deadline()
    }

    /// Returns the time left until [`deadline`](Self::deadline), or zero if it has passed.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let token = taskgroup::CancelToken::new();
    /// token.cancel_after(Duration::from_secs(60));
    /// assert!(token.child().remaining() <= Some(Duration::from_secs(60)));
    /// ```
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline()
            .map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Returns the identity of the token.
    ///
    /// ```
    /// let token = taskgroup::CancelToken::new();
    /// assert_eq!(token.id(), token.clone().id());
    /// ```
    pub fn id(&self) -> TokenId {
        self.0.id()
    }
}

/// Returns the grace that ends `duration` from now.
fn grace_of(duration: Duration) -> Grace {
    // A cancel that spares nothing, which needs no look at the clock.
    if duration.is_zero() {
        return Grace::Over;
    }

    Instant::now()
        .checked_add(duration)
        .map_or(Grace::Endless, Grace::Until)
}

impl Default for CancelToken {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for CancelToken {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for CancelToken {}

impl Hash for CancelToken {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken")
            .field("id", &self.id())
            .field("cancelled", &self.0.is_flagged())
            .finish()
    }
}
