//! Walking an error's sources, and what is looked for on the way.

use std::error::Error;
use std::{io, iter};

use crate::cancel::Cancelled;

/// The error and its sources, outermost first.
///
/// The payload of an `io::Error` is visited too: `io::Error::source()` steps over it to the payload's own source.
pub(super) fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |&error| match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(payload) => Some(payload),
        None => error.source(),
    })
}

/// The first `Cancelled` along the chain.
///
/// A group with failures is a failure whatever lies below it, and the chain ends there: its source is an
/// [`Outline`](super::tree::Outline), which has none. A group that was only cancelled has its `Cancelled` as source.
pub(super) fn find_cancelled<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Cancelled> {
    chain(error).find_map(|error| error.downcast_ref())
}
