//! Panics of the user's code: their payload and their place, and how a panic is kept from going
//! further where no report can take it.

mod contain;
mod discard;
mod payload;
mod record;

#[cfg(all(test, not(loom)))]
pub(crate) mod testing;

pub(crate) use crate::trace::log;
pub(crate) use contain::{drop_contained, drop_each_contained};
pub(crate) use discard::discard;
pub use payload::PanicPayload;
#[cfg(all(test, not(loom)))]
pub(crate) use record::forget_panics;
pub(crate) use record::{PanicRecord, PayloadIdentity, keep_record};
