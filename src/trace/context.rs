//! The dispatcher and the span of a thread, and how a thread runs code under others.

use std::mem;

use tracing::dispatcher::{self, DefaultGuard, Dispatch};
use tracing::{Id, Span};

use super::telling::{contain, tell};

/// How many spans a task may leave entered that are left for it. More are left to the subscriber.
const PATIENCE: usize = 64;

/// The default dispatcher of a thread, and the span that is current there.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) dispatch: Dispatch,
    /// The current span, or none.
    pub(super) around: Span,
    /// The subscriber says which span is current.
    pub(super) is_known: bool,
}

impl Context {
    /// No subscriber and no span.
    pub(super) fn none() -> Self {
        Context {
            dispatch: Dispatch::none(),
            around: Span::none(),
            is_known: false,
        }
    }

    /// The context of this thread. It calls the subscriber.
    pub(super) fn here() -> Self {
        let dispatch = dispatcher::get_default(Dispatch::clone);
        Context {
            is_known: dispatch.current_span().is_known(),
            around: Span::current(),
            dispatch,
        }
    }

    /// Whether the span of this context is current on this thread, as its dispatcher sees it.
    pub(super) fn is_here(&self) -> bool {
        let is_here = || {
            let current = self.dispatch.current_span();
            // A subscriber that does not say which span is current may still see one.
            current.is_known() && current.id() == self.around.id().as_ref()
        };
        tell(is_here).unwrap_or(false)
    }

    /// Runs `f` with this dispatcher.
    pub(super) fn within<T>(&self, f: impl FnOnce() -> T) -> T {
        dispatcher::with_default(&self.dispatch, f)
    }

    /// Drops a reference to a span of this dispatcher, which closes the span if it is the last. One
    /// at a time: while a panic unwinds, a second one ends the process.
    pub(super) fn close(&self, span: &mut Span) {
        let span = mem::replace(span, Span::none());
        if !span.is_disabled() {
            // With its dispatcher as the default: a registry closes the parents of a span with the
            // default one (invariant 6).
            contain(|| self.within(|| drop(span)));
        }
    }

    /// Forgets the span.
    pub(super) fn leave_span(&mut self) {
        let mut around = mem::replace(&mut self.around, Span::none());
        self.close(&mut around);
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        self.leave_span();
        // The last reference drops the subscriber.
        let dispatch = mem::replace(&mut self.dispatch, Dispatch::none());
        contain(|| drop(dispatch));
    }
}

/// A thread that runs code in a span. The thread must leave it by [`Inside::leave`].
pub(super) struct Inside {
    default: DefaultGuard,
    entered: Option<Id>,
    /// The span that was current before; none if the subscriber does not say.
    before: Option<Option<Id>>,
}

impl Inside {
    /// Enters `span`, or the span of `context` if the subscriber does not want that one.
    pub(super) fn enter(context: &Context, span: &Span) -> Self {
        let default = dispatcher::set_default(&context.dispatch);
        let before = tell(|| current(&context.dispatch)).flatten();

        let nearest = span.id().or_else(|| context.around.id());
        let is_current = |id: &Id| matches!(&before, Some(Some(before)) if before == id);
        let entered = nearest
            .filter(|id| !is_current(id))
            // If the subscriber panics, the span is not entered.
            .filter(|id| tell(|| context.dispatch.enter(id)).is_some());
        Inside {
            default,
            entered,
            before,
        }
    }

    /// Leaves the span, the spans that the code has left entered, and the dispatcher, in this order
    /// (invariant 5).
    pub(super) fn leave(self, dispatch: &Dispatch) {
        if let Some(id) = self.entered {
            contain(|| dispatch.exit(&id));
        }

        if let Some(before) = self.before {
            for _ in 0..PATIENCE {
                match contain(|| current(dispatch)).flatten() {
                    Some(Some(left)) if Some(&left) != before.as_ref() => {
                        contain(|| dispatch.exit(&left));
                    }
                    _ => break,
                }
            }
        }

        drop(self.default);
    }
}

/// The span that is current on this thread for `dispatch`; none if the subscriber does not say.
fn current(dispatch: &Dispatch) -> Option<Option<Id>> {
    let current = dispatch.current_span();
    current.is_known().then(|| current.id().cloned())
}
