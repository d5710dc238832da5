//! What is done with the payload of a panic that has nowhere to go: its text is logged, and it is
//! dropped.

use std::any::Any;
use std::borrow::Cow;
use std::error::Error;
use std::mem;

use crate::facade::catch;

/// Drops a payload. If its destructor panics, that is reported to `tracing` and goes no further.
pub(crate) fn discard(payload: Box<dyn Any + Send>) {
    // The destructor may panic with a payload whose destructor panics. Whoever does that without
    // end loses the memory.
    const PATIENCE: usize = 8;
    let mut payload = payload;
    for _ in 0..PATIENCE {
        match catch(|| drop(payload)) {
            Ok(()) => return,
            Err(next) => {
                log(|| {
                    tracing::error!(
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

/// Writes to the log. A panic of the user's subscriber goes no further: there is no better place to
/// report it.
pub(crate) fn log(write: impl FnOnce()) {
    if let Err(payload) = catch(write) {
        // Its destructor is the user's, too, and could not be reported either.
        mem::forget(payload);
    }
}

/// Never unwinds, though it may run the `Display` of somebody's error.
pub(super) fn message_of(payload: &(dyn Any + Send)) -> Cow<'static, str> {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        return Cow::Borrowed(text);
    }
    if let Some(text) = payload.downcast_ref::<String>() {
        return Cow::Owned(text.clone());
    }
    if let Some(text) = payload.downcast_ref::<Cow<'static, str>>() {
        return text.clone();
    }
    let error: &dyn Error =
        if let Some(error) = payload.downcast_ref::<Box<dyn Error + Send + Sync>>() {
            &**error
        } else if let Some(error) = payload.downcast_ref::<Box<dyn Error + Send>>() {
            &**error
        } else {
            return Cow::Borrowed("a payload that is neither a text nor an error");
        };
    catch(|| error.to_string()).map_or_else(
        |panicked| {
            discard(panicked);
            Cow::Borrowed("an error whose `Display` panicked")
        },
        Cow::Owned,
    )
}
