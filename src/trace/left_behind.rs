//! The span of a thread that its caller may leave behind.

use std::panic::Location;

use tracing::{Level, Span};

use super::context::{Context, InsideSpan};
use super::is_on;
use super::site::Site;
use super::telling::{Silence, contain, is_telling, may_tell};

/// The dispatcher and the span of such a thread.
///
/// The span is a root that follows from the span of the caller. A child would keep that span open
/// for as long as the thread is stuck.
pub(crate) struct LeftBehind {
    context: Context,
    span: Span,
    /// The subscriber started the thread (invariant 4).
    silent: bool,
}

impl LeftBehind {
    /// Makes the span, on the thread of the caller; none without a subscriber.
    #[inline]
    pub(crate) fn new(name: Option<&str>, location: &'static Location<'static>) -> Option<Self> {
        if is_on() {
            Self::below_caller(name, location)
        } else {
            None
        }
    }

    #[cold]
    fn below_caller(name: Option<&str>, location: &'static Location<'static>) -> Option<Self> {
        if !may_tell() {
            return None;
        }

        // Invariant 4: a subscriber that calls `abandon` is told nothing of that thread.
        if is_telling() {
            return Some(LeftBehind {
                context: Context::none(),
                span: Span::none(),
                silent: true,
            });
        }

        let mut context = contain(Context::here)?;
        let span = contain(|| span_of(name, location)).unwrap_or_else(Span::none);
        contain(|| {
            span.follows_from(context.around.id());
        });

        // The thread must not keep the span of the caller open.
        context.leave_spans();
        Some(LeftBehind {
            context,
            span,
            silent: false,
        })
    }

    /// Runs `f`, which contains its panics, in the span.
    pub(crate) fn run(self, f: impl FnOnce()) {
        if self.silent {
            let _silence = Silence::begin();
            return f();
        }
        let inside = InsideSpan::enter(&self.context, &self.span);
        f();
        inside.leave(&self.context);
    }
}

fn span_of(name: Option<&str>, location: &'static Location<'static>) -> Span {
    tracing::span!(
        target: "taskgroup",
        parent: None,
        Level::DEBUG,
        "abandon",
        name = name,
        site = %Site(location),
    )
}

impl Drop for LeftBehind {
    fn drop(&mut self) {
        self.context.close(&mut self.span);
    }
}
