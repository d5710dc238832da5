//! Tokens of one side that are cancelled with a token of the other.

use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Wake, Waker};

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::aside::run_aside;
use crate::cancel::{CallbackGuard, CancelCause, CancelToken, Node};

/// Keeps a token of this crate and a token of tokio linked. Dropping it ends the link.
///
/// A cancel that came before the drop still reaches the other token. A cancel that comes after it
/// has no effect there.
///
/// ```
/// use taskgroup::{CancelToken, tokio_bridge::token_into};
///
/// let token = CancelToken::new();
/// let (theirs, link) = token_into(&token);
/// drop(link);
/// token.cancel();
/// assert!(!theirs.is_cancelled());
/// ```
#[must_use = "dropping the link ends it"]
pub struct Link(LinkState);

/// The registration that a link keeps.
enum LinkState {
    /// The token was cancelled already.
    Nothing,
    /// The future that wakes the [`Canceller`].
    From(
        #[allow(dead_code, reason = "kept for its drop")] Pin<Box<WaitForCancellationFutureOwned>>,
    ),
    Into(#[allow(dead_code, reason = "kept for its drop")] CallbackGuard),
}

/// Returns a token of this crate that is cancelled when `token` is, for as long as the [`Link`]
/// lives.
///
/// Cancelling the returned token does not cancel `token`. If `token` is cancelled already, so is
/// the returned token. Otherwise a thread of this crate cancels it and runs its callbacks, so the
/// cancel of `token` takes no longer. Works outside a runtime too.
///
/// ```
/// use std::time::Duration;
/// use taskgroup::{TaskGroup, tokio_bridge::token_from};
/// use tokio_util::sync::CancellationToken;
///
/// let shutdown = CancellationToken::new();
/// let (token, _link) = token_from(&shutdown);
/// let worked = TaskGroup::builder().parent(&token).scope(|g| {
///     g.spawn(|| Ok(taskgroup::sleep(Duration::MAX)?)); // until the shutdown
///     shutdown.cancel();
///     Ok(())
/// });
/// assert!(worked.unwrap_err().cancelled().is_some());
/// ```
#[track_caller]
pub fn token_from(token: &CancellationToken) -> (CancelToken, Link) {
    let ours = CancelToken::new();
    let canceller = Canceller {
        node: Arc::downgrade(ours.node()),
        location: Location::caller(),
    };

    // The one poll registers the waker, which nothing but a cancel wakes. It needs no runtime.
    let mut cancelled = Box::pin(token.clone().cancelled_owned());
    let waker = Waker::from(Arc::new(canceller));
    let poll = cancelled.as_mut().poll(&mut Context::from_waker(&waker));

    if poll.is_pending() {
        return (ours, Link(LinkState::From(cancelled)));
    }

    // No other thread has the token yet, so none is to be woken.
    ours.node().cancel(cause(), Location::caller());
    (ours, Link(LinkState::Nothing))
}

/// Returns a token of tokio that is cancelled when `token` is, for as long as the [`Link`] lives.
///
/// Cancelling the returned token does not cancel `token`. If `token` is cancelled already, so is
/// the returned token. The futures that wait for it are woken by the thread that cancels `token`.
///
/// A deadline of `token` cancels the returned token as well. The link keeps `token` alive.
///
/// ```
/// use taskgroup::{CancelToken, tokio_bridge::token_into};
///
/// # fn main() -> std::io::Result<()> {
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// let stop = CancelToken::new();
/// let (theirs, _link) = token_into(&stop);
/// let canceller = std::thread::spawn(move || stop.cancel());
/// runtime.block_on(theirs.cancelled());
/// # canceller.join().unwrap();
/// # Ok(())
/// # }
/// ```
pub fn token_into(token: &CancelToken) -> (CancellationToken, Link) {
    let theirs = CancellationToken::new();
    let cancelled = theirs.clone();
    // The cancel of tokio only wakes tasks, so the cancelling thread may make it.
    let guard = token.on_cancel(move || cancelled.cancel());
    (theirs, Link(LinkState::Into(guard)))
}

/// Cancels a node when it is woken.
struct Canceller {
    /// A token that has no scope and no clone left needs no cancel.
    node: Weak<Node>,
    location: &'static Location<'static>,
}

impl Wake for Canceller {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(node) = self.node.upgrade() {
            let location = self.location;
            // Invariant 1: from here on the cancel does not depend on the link.
            run_aside(move || _ = node.cancel(cause(), location));
        }
    }
}

fn cause() -> CancelCause {
    CancelCause::Requested {
        reason: Some("a CancellationToken of tokio was cancelled".to_owned()),
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.0 {
            LinkState::Nothing => "over",
            LinkState::From(_) => "from tokio",
            LinkState::Into(_) => "into tokio",
        };
        f.debug_tuple("Link").field(&kind).finish()
    }
}
