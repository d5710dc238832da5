//! The parts that both ends of a channel share.

/// Implements an end of a channel, which counts itself with `$add` and `$remove`.
macro_rules! end {
    ($End:ident, $add:ident, $remove:ident) => {
        impl<T> $End<T> {
            pub(super) fn new(chan: Arc<Chan<T>>) -> Self {
                $End(chan)
            }

            pub(super) fn chan(&self) -> &Chan<T> {
                &self.0
            }

            /// Returns the number of messages in the channel.
            ///
            /// ```
            /// let (sender, receiver) = taskgroup::channel::unbounded();
            /// sender.send(1)?;
            /// assert_eq!((sender.len(), receiver.len()), (1, 1));
            /// # Ok::<(), taskgroup::channel::SendError<i32>>(())
            /// ```
            pub fn len(&self) -> usize {
                self.0.len()
            }

            /// Returns whether there is no message in the channel.
            ///
            /// ```
            /// let (sender, receiver) = taskgroup::channel::unbounded::<u8>();
            /// assert!(sender.is_empty() && receiver.is_empty());
            /// ```
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// Returns whether there is no room for another message. A channel with a capacity of
            /// zero is always full.
            ///
            /// ```
            /// let (sender, receiver) = taskgroup::channel::bounded(1);
            /// sender.send(1)?;
            /// assert!(sender.is_full() && receiver.is_full());
            /// # Ok::<(), taskgroup::channel::SendError<i32>>(())
            /// ```
            pub fn is_full(&self) -> bool {
                self.len() >= self.0.capacity
            }

            /// Returns whether both are ends of the same channel. All receivers of
            /// [`never`](crate::channel::never) are of the same channel.
            ///
            /// ```
            /// let (sender, receiver) = taskgroup::channel::unbounded::<u8>();
            /// let (other, others) = taskgroup::channel::unbounded::<u8>();
            /// assert!(sender.same_channel(&sender.clone()) && !sender.same_channel(&other));
            /// assert!(receiver.same_channel(&receiver.clone()));
            /// assert!(!receiver.same_channel(&others));
            /// ```
            pub fn same_channel(&self, other: &Self) -> bool {
                self.0.id == other.0.id
            }

            /// Returns the number of messages that the channel has room for, or `None` for any
            /// number.
            ///
            /// ```
            /// let (sender, receiver) = taskgroup::channel::bounded::<u8>(3);
            /// assert_eq!((sender.capacity(), receiver.capacity()), (Some(3), Some(3)));
            /// ```
            pub fn capacity(&self) -> Option<usize> {
                (self.0.capacity != usize::MAX).then_some(self.0.capacity)
            }
        }

        // A panic cannot leave a channel in a wrong state: no user code runs under its lock.
        impl<T> UnwindSafe for $End<T> {}
        impl<T> RefUnwindSafe for $End<T> {}

        impl<T> Clone for $End<T> {
            fn clone(&self) -> Self {
                self.0.$add();
                $End(self.0.clone())
            }
        }

        impl<T> Drop for $End<T> {
            fn drop(&mut self) {
                self.0.$remove();
            }
        }

        impl<T> fmt::Debug for $End<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($End)).field(&self.0).finish()
            }
        }
    };
}

pub(super) use end;
