//! The panic of a task: its payload, its message and, with the hook installed, where it happened.

use std::any::{Any, TypeId};
use std::backtrace::{Backtrace, BacktraceStatus};
use std::borrow::Cow;
use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Once, OnceLock};
use std::thread;

use parking_lot::Mutex;

/// What a task panicked with: the message, the payload and, after [`install_panic_hook`], the place.
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
    /// Never contended: the lock makes a payload that is only `Send` shareable. `None` only once it is on its way out.
    payload: Mutex<Option<Box<dyn Any + Send>>>,
    record: Option<Record>,
    backtrace: OnceLock<String>,
}

impl PanicPayload {
    /// Takes what `catch_unwind` returned, with what the hook recorded about that panic on this thread.
    pub(crate) fn new(payload: Box<dyn Any + Send>) -> Self {
        let record = take_record(&*payload);
        let message = message_of(&*payload);
        PanicPayload(Box::new(Inner { message, payload: Mutex::new(Some(payload)), record, backtrace: OnceLock::new() }))
    }

    /// The message of the panic: the text given to `panic!`, or the `Display` of a boxed error.
    ///
    /// A payload of any other type has no message; the text then says so.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Where the panic happened, as `file:line:column`, if [`install_panic_hook`] was called before.
    ///
    /// A panic raised by [`std::panic::resume_unwind`] runs no hook. It has a location only if its payload is that of a
    /// panic of the same thread.
    pub fn location(&self) -> Option<&str> {
        self.0.record.as_ref()?.location.as_deref()
    }

    /// The backtrace of the panic, if [`install_panic_hook`] was called before and the environment asks for backtraces
    /// (`RUST_BACKTRACE` or `RUST_LIB_BACKTRACE`, as for [`Backtrace::capture`]).
    pub fn backtrace(&self) -> Option<&str> {
        let backtrace = self.0.record.as_ref()?.backtrace.as_ref()?;
        Some(self.0.backtrace.get_or_init(|| backtrace.to_string()))
    }

    /// The payload itself, to downcast or to raise again.
    pub fn into_inner(mut self) -> Box<dyn Any + Send> {
        self.take()
    }

    /// Goes on with the panic on this thread, with its payload and without running panic hooks again.
    pub fn resume(mut self) -> ! {
        let payload = self.take();
        if let Some(record) = self.0.record.take() {
            keep_record(record);
        }
        drop(self);
        panic::resume_unwind(payload)
    }

    fn take(&mut self) -> Box<dyn Any + Send> {
        self.0.payload.get_mut().take().expect("only methods that consume self take the payload")
    }
}

impl Drop for PanicPayload {
    fn drop(&mut self) {
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

/// Drops a payload. If its destructor panics, that is reported to `tracing` and goes no further.
pub(crate) fn discard(payload: Box<dyn Any + Send>) {
    // The destructor may panic with a payload whose destructor panics. Whoever does that without end loses the memory.
    const PATIENCE: usize = 8;
    let mut payload = payload;
    for _ in 0..PATIENCE {
        match panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            Ok(()) => return,
            Err(next) => {
                tracing::error!("the destructor of a panic payload panicked: {}", message_of(&*next));
                payload = next;
            }
        }
    }
    mem::forget(payload);
}

/// Never unwinds, though it may run the `Display` of somebody's error.
fn message_of(payload: &(dyn Any + Send)) -> Cow<'static, str> {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        return Cow::Borrowed(text);
    }
    if let Some(text) = payload.downcast_ref::<String>() {
        return Cow::Owned(text.clone());
    }
    if let Some(text) = payload.downcast_ref::<Cow<'static, str>>() {
        return text.clone();
    }
    let error: &dyn Error = if let Some(error) = payload.downcast_ref::<Box<dyn Error + Send + Sync>>() {
        &**error
    } else if let Some(error) = payload.downcast_ref::<Box<dyn Error + Send>>() {
        &**error
    } else {
        return Cow::Borrowed("a payload that is neither a text nor an error");
    };
    panic::catch_unwind(AssertUnwindSafe(|| error.to_string())).map_or_else(
        |panicked| {
            discard(panicked);
            Cow::Borrowed("an error whose `Display` panicked")
        },
        Cow::Owned,
    )
}

/// Makes the panics of tasks carry their location and, where the environment asks for one, their backtrace.
///
/// Opt-in, because the panic hook belongs to the whole process: the crate never installs one by itself. Call it once, early in
/// `main`; further calls do nothing. The hook that was there before goes on being called for each panic, so what it prints or
/// sends is unchanged. A hook set afterwards replaces this one, unless it calls the one before it in turn.
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// use taskgroup::TaskGroup;
///
/// taskgroup::install_panic_hook();
/// let error = TaskGroup::scope(|g| {
///     g.spawn(|| -> anyhow::Result<()> { panic!("index 3 of 2") });
///     Ok(())
/// })
/// .unwrap_err();
/// let panic = error.panics().next().ok_or(anyhow::anyhow!("the task panicked"))?;
/// assert!(panic.location().is_some());
/// # Ok(())
/// # }
/// ```
///
/// # Panics
///
/// When called on a thread that is panicking, as [`std::panic::set_hook`].
pub fn install_panic_hook() {
    static INSTALL: Once = Once::new();
    assert!(!thread::panicking(), "cannot install a panic hook on a thread that is panicking");
    INSTALL.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let backtrace = Backtrace::capture();
            keep_record(Record {
                identity: Identity::of(info.payload()),
                location: info.location().map(ToString::to_string),
                backtrace: (backtrace.status() == BacktraceStatus::Captured).then_some(backtrace),
            });
            previous(info);
        }));
    });
}

/// What the hook saw of one panic.
struct Record {
    identity: Identity,
    location: Option<String>,
    backtrace: Option<Backtrace>,
}

/// How the payload that comes out of `catch_unwind` is matched with the one the hook saw.
///
/// Between the two the payload moves into a box, so its own address tells nothing; the address of a text it points to does.
/// The text is compared as well, since the allocator hands out the address of a dropped text again. For other types there is
/// only the type: a record can then be wrong if the task caught such a panic itself, and later *resumes* another
/// payload of the same type.
#[derive(PartialEq)]
enum Identity {
    Text { address: usize, text: String },
    Type(TypeId),
}

impl Identity {
    fn of(payload: &(dyn Any + Send)) -> Self {
        let text = match payload.downcast_ref::<&'static str>() {
            Some(text) => Some(*text),
            None => payload.downcast_ref::<String>().map(String::as_str),
        };
        match text {
            Some(text) => Identity::Text { address: text.as_ptr().addr(), text: text.to_owned() },
            None => Identity::Type(payload.type_id()),
        }
    }
}

/// Panics nest: a destructor that runs while a panic unwinds may raise and catch others.
const NESTED: usize = 8;

thread_local! {
    /// The latest panics of this thread that nobody asked about yet, oldest first.
    static RECORDS: RefCell<Vec<Record>> = const { RefCell::new(Vec::new()) };
}

fn keep_record(record: Record) {
    // A panic of a thread that is past its thread-locals goes unrecorded.
    let _ = RECORDS.try_with(|records| {
        let mut records = records.borrow_mut();
        if records.len() == NESTED {
            records.remove(0);
        }
        records.push(record);
    });
}

fn take_record(payload: &(dyn Any + Send)) -> Option<Record> {
    let record = RECORDS
        .try_with(|records| {
            let mut records = records.borrow_mut();
            if records.is_empty() {
                return None;
            }
            let identity = Identity::of(payload);
            let found = records.iter().rposition(|record| record.identity == identity)?;
            Some(records.remove(found))
        })
        .ok()
        .flatten();
    forget_panics();
    record
}

/// Drops what is recorded of this thread's panics, for a thread that begins a task: those it caught before are not the task's.
///
/// While a panic unwinds the thread nothing is dropped, as its record is still wanted.
pub(crate) fn forget_panics() {
    if !thread::panicking() {
        let _ = RECORDS.try_with(|records| records.borrow_mut().clear());
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{catch_unwind, panic_any, resume_unwind};

    use super::super::testing::errors_logged;
    use super::*;

    fn caught(f: impl FnOnce()) -> PanicPayload {
        PanicPayload::new(catch_unwind(AssertUnwindSafe(f)).expect_err("it panics"))
    }

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
        assert_eq!(caught(|| panic_any(Cow::Borrowed("a cow"))).message(), "a cow");
        let shared: Box<dyn Error + Send + Sync> = "an error".into();
        assert_eq!(caught(|| panic_any(shared)).message(), "an error");
        let sent: Box<dyn Error + Send> = Box::new(fmt::Error);
        assert_eq!(caught(|| panic_any(sent)).message(), fmt::Error.to_string());
        let unprintable: Box<dyn Error + Send + Sync> = Box::new(Unprintable);
        assert_eq!(caught(|| panic_any(unprintable)).message(), "an error whose `Display` panicked");
        let number = caught(|| panic_any(7u8));
        assert_eq!(number.message(), "a payload that is neither a text nor an error");
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

    #[test]
    fn the_hook_records_the_location() {
        install_panic_hook();
        install_panic_hook();
        let line = line!() + 1;
        let panic = caught(|| panic!("here"));
        let location = panic.location().expect("the hook is installed");
        assert!(location.contains("panic.rs") && location.contains(&format!(":{line}:")), "{location}");
        let line = line!() + 1;
        let any = caught(|| panic_any(7u8));
        assert!(any.location().is_some_and(|location| location.contains(&format!(":{line}:"))));
    }

    #[test]
    fn the_backtrace_is_there_when_the_environment_asks() {
        install_panic_hook();
        let asked = Backtrace::capture().status() == BacktraceStatus::Captured;
        assert_eq!(caught(|| panic!("here")).backtrace().is_some(), asked);
    }

    #[test]
    fn a_resumed_panic_does_not_get_the_record_of_an_older_one() {
        install_panic_hook();
        let resumed = |payload: Box<dyn Any + Send>| caught(|| resume_unwind(payload));
        let _ = catch_unwind(|| panic!("item {}", 1));
        assert_eq!(resumed(Box::new("item 1".to_owned())).location(), None);
        let _ = catch_unwind(|| panic!("item {}", 1));
        assert_eq!(resumed(Box::new("item 1")).location(), None);
        let _ = catch_unwind(|| panic!("item {}", 1));
        assert_eq!(resumed(Box::new(7u8)).location(), None);
        let _ = catch_unwind(|| panic_any(7u8));
        forget_panics();
        assert_eq!(resumed(Box::new(8u8)).location(), None);
        let twice = resumed(caught(|| panic!("item {}", 1)).into_inner());
        assert_eq!(twice.location(), None, "its record has been used");
    }

    #[test]
    fn a_panic_that_is_caught_and_raised_again_keeps_its_record() {
        install_panic_hook();
        let line = line!() + 1;
        let by_hand = catch_unwind(|| panic!("item {}", 1)).unwrap_err();
        let by_hand = caught(|| resume_unwind(by_hand));
        assert!(by_hand.location().is_some_and(|location| location.contains(&format!(":{line}:"))));
        let by_us = caught(|| by_hand.resume());
        assert!(by_us.location().is_some_and(|location| location.contains(&format!(":{line}:"))));
    }

    #[test]
    fn panics_nested_in_destructors_do_not_take_the_outer_record() {
        struct Nest;
        impl Drop for Nest {
            fn drop(&mut self) {
                forget_panics();
                assert_eq!(caught(|| panic!("inner")).message(), "inner");
                let _ = catch_unwind(|| panic!("unasked"));
            }
        }
        install_panic_hook();
        let line = line!() + 3;
        let outer = caught(|| {
            let _nest = Nest;
            panic!("outer");
        });
        assert!(outer.location().is_some_and(|location| location.contains(&format!(":{line}:"))));
    }
}
