//! The cancel of a token as the end of a channel of crossbeam's, for use in their `select!`.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::node::Node;
use super::{CancelToken, timer};

/// Made when it is first asked for, and freed with its node.
pub(super) type Closed = OnceLock<Receiver<Infallible>>;

/// What keeps the receiver connected.
pub(super) type Closing = Sender<Infallible>;

impl Node {
    /// A receiver of nothing, whose sender is dropped when the node is cancelled.
    pub(crate) fn closed(self: &Arc<Self>) -> &Receiver<Infallible> {
        if let Some(closed) = self.closed.get() {
            return closed;
        }
        // A deadline that has passed is seen first, where no lock is held.
        self.is_cancelled();
        let mut inner = self.inner.lock();
        let mut unused = None;
        let closed = self.closed.get_or_init(|| {
            let (sender, receiver) = bounded(0);
            if inner.cancelled.is_some() {
                unused = Some(sender);
            } else {
                inner.watchers().closing = Some(sender);
            }
            receiver
        });
        drop(inner);
        drop(unused);
        if self.is_timed() {
            timer::arm(self);
        }
        closed
    }
}

impl CancelToken {
    /// A receiver of crossbeam's that never gets a message and disconnects when the token is
    /// cancelled, for use in their `select!`. Each call gives a clone of the same one. Needs the
    /// feature `crossbeam`.
    ///
    /// It disconnects as well when the last clone of the token is gone: keep the token while you
    /// wait. For a single `send` or `recv`, those of
    /// [`channel::crossbeam`](crate::channel::crossbeam) are simpler, and faster when they need not
    /// wait.
    ///
    /// ```
    /// use taskgroup::CancelToken;
    ///
    /// # fn main() -> anyhow::Result<()> {
    /// let (_sender, jobs) = crossbeam_channel::unbounded::<u32>();
    /// let token = CancelToken::new();
    /// token.cancel();
    ///
    /// let closed = token.closed();
    /// let job = crossbeam_channel::select! {
    ///     recv(jobs) -> job => Some(job?),
    ///     recv(closed) -> _ => None,
    /// };
    /// assert_eq!(job, None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn closed(&self) -> Receiver<Infallible> {
        self.node().closed().clone()
    }
}
