//! The last resort for a panic that no report can take: its text is logged and its payload dropped.

use std::any::Any;
use std::borrow::Cow;
use std::error::Error;
use std::mem;

use crate::facade::{catch, error_event};
use crate::trace::log;

/// Drops a payload. A panic of its destructor is logged and goes no further.
pub(crate) fn discard(payload: Box<dyn Any + Send>) {
    // The destructor may panic with a payload that has such a destructor too. Where that does not
    // end, the last payload is leaked.
    const MOST_NESTED: usize = 8;

    let mut payload = payload;
    for _ in 0..MOST_NESTED {
        match catch(|| drop(payload)) {
            Ok(()) => return,
            Err(next) => {
                log(|| {
                    error_event!(
                        "the destructor of a panic payload panicked: {}",
                        message_of(&*next)
                    )
                });
                payload = next;
            }
        }
    }
    mem::forget(payload);
}

/// Returns the message of a payload. Never unwinds, although it may run the `Display` of an error
/// of the user.
pub(super) fn message_of(payload: &(dyn Any + Send)) -> Cow<'static, str> {
    // `panic!` raises these two: a text without arguments, and a formatted text.
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        return Cow::Borrowed(text);
    }
    if let Some(text) = payload.downcast_ref::<String>() {
        return Cow::Owned(text.clone());
    }

    if let Some(text) = payload.downcast_ref::<Cow<'static, str>>() {
        return text.clone();
    }

    // `panic_any` with a boxed error: the error has the text.
    let error: &dyn Error =
        if let Some(error) = payload.downcast_ref::<Box<dyn Error + Send + Sync>>() {
            &**error
        } else if let Some(error) = payload.downcast_ref::<Box<dyn Error + Send>>() {
            &**error
        } else {
            return Cow::Borrowed("a payload that is neither a text nor an error");
        };

    // That `Display` is the user's code.
    catch(|| error.to_string()).map_or_else(
        |panicked| {
            discard(panicked);
            Cow::Borrowed("an error whose `Display` panicked")
        },
        Cow::Owned,
    )
}
