//! A caught panic: its payload, its message and, with the hook installed, where it happened.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::panic;
use std::sync::OnceLock;

use super::discard::{discard, message_of};
use super::record::{PanicRecord, keep_record, take_record};
use crate::facade::PlainMutex;

/// The panic of a task: its message, its payload and, with
/// [`install_panic_hook`](crate::install_panic_hook), its place.
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// use taskgroup::TaskGroup;
///
/// let error = TaskGroup::scope(|g| {
///     g.spawn(|| -> anyhow::Result<()> { panic!("index 3 of 2") });
///     Ok(())
/// })
/// .unwrap_err();
/// let panic = error.panics().next().ok_or(anyhow::anyhow!("the task panicked"))?;
/// assert_eq!(panic.message(), "index 3 of 2");
/// # Ok(())
/// # }
/// ```
pub struct PanicPayload(Box<Inner>);

struct Inner {
    message: Cow<'static, str>,
    /// The lock is never contended. It makes a payload that is only `Send` shareable. `None` only
    /// while a method that consumes the whole takes the payload out.
    payload: PlainMutex<Option<Box<dyn Any + Send>>>,
    record: Option<PanicRecord>,
    backtrace: OnceLock<String>,
}

impl PanicPayload {
    /// Makes a payload from the error of `catch_unwind`, with the record that the hook made of that
    /// panic on this thread.
    pub(crate) fn new(payload: Box<dyn Any + Send>) -> Self {
        // First, since the user's `Display` below may panic, which adds a record.
        let record = take_record(&*payload);
        let message = message_of(&*payload);

        PanicPayload(Box::new(Inner {
            message,
            payload: PlainMutex::new(Some(payload)),
            record,
            backtrace: OnceLock::new(),
        }))
    }

    /// Returns the message of the panic: the text given to `panic!`, or the `Display` of a boxed
    /// error.
    ///
    /// A payload of any other type has no message. The text then says so.
    ///
    /// ```
    /// use taskgroup::TaskGroup;
    ///
    /// let error = TaskGroup::scope(|g| {
    ///     g.spawn(|| -> anyhow::Result<()> { panic!("index 3 of 2") });
    ///     Ok(())
    /// })
    /// .unwrap_err();
    /// assert_eq!(error.panics().next().map(|panic| panic.message()), Some("index 3 of 2"));
    /// ```
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns where the panic happened, as `file:line:column`. `None` without
    /// [`install_panic_hook`](crate::install_panic_hook).
    ///
    /// A panic raised by [`std::panic::resume_unwind`] runs no hook. It has a location only if its
    /// payload comes from a panic of the same thread.
    ///
    /// ```
    /// taskgroup::install_panic_hook();
    /// use taskgroup::TaskGroup;
    ///
    /// let error = TaskGroup::scope(|g| {
    ///     g.spawn(|| -> anyhow::Result<()> { panic!("index 3 of 2") });
    ///     Ok(())
    /// })
    /// .unwrap_err();
    /// assert!(error.panics().all(|panic| panic.location().is_some()));
    /// ```
    pub fn location(&self) -> Option<&str> {
        self.0.record.as_ref()?.location.as_deref()
    }

    /// Returns the backtrace of the panic. `None` without
    /// [`install_panic_hook`](crate::install_panic_hook), or if the environment asks for no
    /// backtraces (see [`Backtrace::capture`](std::backtrace::Backtrace::capture)).
    ///
    /// The report leaves it out.
    ///
    /// ```
    /// taskgroup::install_panic_hook();
    /// use taskgroup::TaskGroup;
    ///
    /// let error = TaskGroup::scope(|g| {
    ///     g.spawn(|| -> anyhow::Result<()> { panic!("index 3 of 2") });
    ///     Ok(())
    /// })
    /// .unwrap_err();
    /// for panic in error.panics() {
    ///     println!("{}", panic.backtrace().unwrap_or("set RUST_BACKTRACE=1 to see where"));
    /// }
    /// ```
    pub fn backtrace(&self) -> Option<&str> {
        let backtrace = self.0.record.as_ref()?.backtrace.as_ref()?;

        // Resolving the symbols takes long, so that is left until something asks for the text.
        Some(self.0.backtrace.get_or_init(|| backtrace.to_string()))
    }

    /// Returns the payload itself, to downcast or to raise again.
    ///
    /// ```
    /// # fn main() -> anyhow::Result<()> {
    /// use taskgroup::{FailureKind, TaskGroup};
    ///
    /// #[derive(Debug, PartialEq)]
    /// struct Code(u8);
    ///
    /// let failed = TaskGroup::scope(|g| {
    ///     let task = g.spawn_isolated(|| -> anyhow::Result<()> {
    ///         std::panic::panic_any(Code(3))
    ///     });
    ///     Ok(task.join()?)
    /// })?;
    /// match failed.map_err(|failure| failure.into_kind()) {
    ///     Err(FailureKind::Panic(panic)) => {
    ///         assert_eq!(panic.into_inner().downcast_ref(), Some(&Code(3)))
    ///     }
    ///     _ => panic!("it did not panic"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn into_inner(mut self) -> Box<dyn Any + Send> {
        self.take()
    }

    /// Raises the panic again on this thread, with its payload and without running panic hooks
    /// again.
    ///
    /// # Panics
    ///
    /// Always: that is its purpose.
    ///
    /// ```should_panic
    /// use taskgroup::{FailureKind, TaskGroup};
    ///
    /// let mut failures = TaskGroup::scope(|g| {
    ///     g.spawn(|| -> anyhow::Result<()> { panic!("index 3 of 2") });
    ///     Ok(())
    /// })
    /// .unwrap_err()
    /// .into_failures();
    /// if let Some(FailureKind::Panic(panic)) = failures.pop().map(|failure| failure.into_kind()) {
    ///     panic.resume();
    /// }
    /// ```
    pub fn resume(mut self) -> ! {
        let payload = self.take();

        // The next catch on this thread finds the place of the panic again.
        if let Some(record) = self.0.record.take() {
            keep_record(record);
        }
        drop(self);
        panic::resume_unwind(payload)
    }

    fn take(&mut self) -> Box<dyn Any + Send> {
        self.0
            .payload
            .get_mut()
            .take()
            .expect("only methods that consume self take the payload")
    }
}

impl Drop for PanicPayload {
    fn drop(&mut self) {
        // A destructor of the payload may panic. `discard` contains that.
        if let Some(payload) = self.0.payload.get_mut().take() {
            discard(payload);
        }
    }
}

impl fmt::Display for PanicPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl fmt::Debug for PanicPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PanicPayload")
            .field("message", &self.message())
            .field("location", &self.location())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::error::Error;
    use std::panic::{catch_unwind, panic_any};

    use super::super::testing::{caught, errors_logged};
    use super::*;

    struct Bomb(usize);

    impl Drop for Bomb {
        fn drop(&mut self) {
            match self.0.checked_sub(1) {
                Some(left) => panic_any(Bomb(left)),
                None => panic!("the last one"),
            }
        }
    }

    #[derive(Debug)]
    struct Unprintable;

    impl fmt::Display for Unprintable {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("no text")
        }
    }

    impl Error for Unprintable {}

    #[test]
    fn payload_is_send_sync_and_static() {
        fn check<T: Send + Sync + 'static>() {}
        check::<PanicPayload>();
    }

    #[test]
    fn messages_of_every_kind_of_payload() {
        assert_eq!(caught(|| panic!("a literal")).message(), "a literal");
        assert_eq!(caught(|| panic!("item {}", 3)).message(), "item 3");
        assert_eq!(
            caught(|| panic_any(Cow::Borrowed("a cow"))).message(),
            "a cow"
        );
        let shared: Box<dyn Error + Send + Sync> = "an error".into();
        assert_eq!(caught(|| panic_any(shared)).message(), "an error");
        let sent: Box<dyn Error + Send> = Box::new(fmt::Error);
        assert_eq!(caught(|| panic_any(sent)).message(), fmt::Error.to_string());
        let unprintable: Box<dyn Error + Send + Sync> = Box::new(Unprintable);
        assert_eq!(
            caught(|| panic_any(unprintable)).message(),
            "an error whose `Display` panicked"
        );
        let number = caught(|| panic_any(7u8));
        assert_eq!(
            number.message(),
            "a payload that is neither a text nor an error"
        );
        assert_eq!(number.into_inner().downcast_ref(), Some(&7u8));
    }

    #[test]
    fn resuming_raises_the_same_payload() {
        let again = catch_unwind(|| caught(|| panic_any(7u8)).resume()).unwrap_err();
        assert_eq!(again.downcast_ref(), Some(&7u8));
    }

    #[test]
    fn a_panicking_destructor_is_logged_and_goes_no_further() {
        let ((), logged) = errors_logged(|| drop(PanicPayload::new(Box::new(Bomb(1)))));
        assert_eq!(logged.len(), 2, "{logged:?}");
        assert!(logged[1].contains("the last one"), "{logged:?}");
    }

    #[test]
    fn a_payload_that_never_stops_panicking_is_leaked() {
        let ((), logged) = errors_logged(|| drop(PanicPayload::new(Box::new(Bomb(1_000)))));
        assert!(!logged.is_empty() && logged.len() < 1_000);
    }

    #[test]
    fn a_payload_dropped_while_a_panic_unwinds_does_not_abort() {
        let outer = caught(|| {
            let _inner = PanicPayload::new(Box::new(Bomb(0)));
            panic!("outer");
        });
        assert_eq!(outer.message(), "outer");
    }
}
