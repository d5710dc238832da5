//! The cancel of a token as the disconnect of a crossbeam channel, for its `select!`.

use std::convert::Infallible;
use std::sync::Arc;

use crossbeam_channel::{Receiver, bounded};

use super::node::Node;
use super::token::CancelToken;

impl Node {
    /// Returns a receiver of nothing. The cancel of the node drops its sender.
    pub(crate) fn closed(self: &Arc<Self>) -> &Receiver<Infallible> {
        if let Some(closed) = self.closed.get() {
            return closed;
        }

        // A deadline that has passed is seen first, while no lock is held.
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

        // The drop of the sender wakes threads, so it comes after the lock.
        drop(unused);

        if self.is_timed() {
            self.arm();
        }
        closed
    }
}

impl CancelToken {
    /// Returns a receiver of crossbeam's that disconnects when the token is cancelled, for use in
    /// their `select!`.
    ///
    /// It never gets a message. Each call returns a clone of the same receiver. Needs the feature
    /// `crossbeam`.
    ///
    /// The receiver disconnects as well when the last clone of the token is gone: keep the token
    /// while you wait. For a single `send` or `recv`, the functions of
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
