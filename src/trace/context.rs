//! The dispatcher and the span of a thread, and how a thread runs code under others.

use std::cell::RefCell;
use std::mem;
use std::sync::Arc;

use tracing::dispatcher::{self, DefaultGuard, Dispatch};
use tracing::subscriber::NoSubscriber;
use tracing::{Id, Span};

use super::telling::{contain, tell};

/// How many spans a task may leave entered that are left for it. More are left to the subscriber.
const MOST_LEFT_SPANS: usize = 64;

/// The target of the spans of the crate.
const TARGET: &str = "taskgroup";

thread_local! {
    /// The context of the innermost group or task that this thread is in.
    static INNERMOST: RefCell<Option<Arc<Context>>> = const { RefCell::new(None) };
}

/// Makes `context` the innermost one of this thread. Returns the one before.
pub(super) fn replace_innermost(context: Option<Arc<Context>>) -> Option<Arc<Context>> {
    INNERMOST
        .try_with(|innermost| innermost.replace(context))
        .unwrap_or(None)
}

/// The context of the innermost group or task that this thread is in.
pub(super) fn innermost() -> Option<Arc<Context>> {
    INNERMOST
        .try_with(|innermost| innermost.borrow().clone())
        .unwrap_or(None)
}

/// The default dispatcher of a thread, and the span that is current there.
pub(super) struct Context {
    pub(super) dispatch: Dispatch,
    /// The current span, or none.
    pub(super) around: Span,
    /// If the current span is one of the crate: the nearest span around it that is not.
    beyond: Span,
    /// The subscriber says which span is current.
    pub(super) is_known: bool,
}

impl Context {
    /// No subscriber and no span.
    pub(super) fn none() -> Self {
        Context {
            dispatch: Dispatch::none(),
            around: Span::none(),
            beyond: Span::none(),
            is_known: false,
        }
    }

    /// The context of this thread. It calls the subscriber.
    pub(super) fn here() -> Self {
        let mut context = Context::none();
        context.dispatch = dispatcher::get_default(Dispatch::clone);
        context.is_known = context.dispatch.current_span().is_known();
        context.around = Span::current();

        if is_ours(&context.around) {
            if let Some(innermost) = innermost() {
                context.beyond = innermost.users_span().clone();
            }
        }
        context
    }

    /// The nearest span that is not one of the crate.
    fn users_span(&self) -> &Span {
        if is_ours(&self.around) {
            &self.beyond
        } else {
            &self.around
        }
    }

    /// Whether the span of this context is current on this thread, as its dispatcher sees it.
    pub(super) fn is_here(&self) -> bool {
        // The maximum level stays when a subscriber goes. Where none is left, there is no span to
        // hide, neither here nor at the spawn.
        if self.dispatch.is::<NoSubscriber>() {
            return dispatcher::get_default(|here| here.is::<NoSubscriber>());
        }

        let is_here = || {
            let current = self.dispatch.current_span();

            // A subscriber that does not say which span is current may still see one.
            current.is_known() && current.id() == self.around.id().as_ref()
        };
        tell(is_here).unwrap_or(false)
    }

    /// Runs `f` with this dispatcher.
    pub(super) fn within<T>(&self, f: impl FnOnce() -> T) -> T {
        let _default = self.set_default();
        f()
    }

    /// Makes this dispatcher the default of this thread, until the returned value is dropped.
    fn set_default(&self) -> Option<DefaultGuard> {
        // A subscriber that an event of the user calls has no dispatcher, and `tracing` panics
        // where a default is set inside of it.
        let is_none = |dispatch: &Dispatch| dispatch.is::<NoSubscriber>();
        let is_set = is_none(&self.dispatch) && dispatcher::get_default(is_none);
        (!is_set).then(|| dispatcher::set_default(&self.dispatch))
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

    /// Forgets the spans.
    pub(super) fn leave_spans(&mut self) {
        let mut around = mem::replace(&mut self.around, Span::none());
        self.close(&mut around);
        let mut beyond = mem::replace(&mut self.beyond, Span::none());
        self.close(&mut beyond);
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        self.leave_spans();
        // The last reference drops the subscriber.
        let dispatch = mem::replace(&mut self.dispatch, Dispatch::none());
        contain(|| drop(dispatch));
    }
}

/// Whether a span is one of the crate.
fn is_ours(span: &Span) -> bool {
    span.metadata()
        .is_some_and(|metadata| metadata.target() == TARGET)
}

/// A thread that runs code in a span. The thread must leave it by [`InsideSpan::leave`].
pub(super) struct InsideSpan {
    default: Option<DefaultGuard>,
    /// The span of the user around the other has been entered.
    in_users_span: bool,
    entered: Option<Id>,
    /// The span that was current before; none if the subscriber does not say.
    before: Option<Option<Id>>,
}

impl InsideSpan {
    /// Enters `span`, or the span of `context` if the subscriber does not want that one.
    ///
    /// A span of the user around it is entered first. A layer with a filter that does not want the
    /// spans of the crate looks for the innermost span that it wants among those that are entered
    /// on the thread, and not among their parents.
    pub(super) fn enter(context: &Context, span: &Span) -> Self {
        let default = context.set_default();
        let before = tell(|| current(&context.dispatch)).flatten();
        let is_current = |id: &Id| matches!(&before, Some(Some(before)) if before == id);

        // Where the span of the spawn is current, all spans around it are entered already.
        let at_home = context.around.id().is_some_and(|id| is_current(&id));
        let enter = |(id, dispatch): (&Id, &Dispatch)| tell(|| dispatch.enter(id)).is_some();
        let in_users_span =
            !at_home && context.users_span().with_subscriber(enter).unwrap_or(false);

        // If the subscriber panics, the span is not entered. Without a span of its own, the task is
        // in the span of its spawn, which is a span of the user.
        let entered = span
            .id()
            .filter(|id| tell(|| context.dispatch.enter(id)).is_some());
        InsideSpan {
            default,
            in_users_span,
            entered,
            before,
        }
    }

    /// Leaves the spans, those that the code has left entered, and the dispatcher, in this order
    /// (invariant 5).
    pub(super) fn leave(self, context: &Context) {
        // The innermost first. A panic of the subscriber must not keep the others from being left.
        let dispatch = &context.dispatch;
        if let Some(id) = self.entered {
            contain(|| dispatch.exit(&id));
        }

        if self.in_users_span {
            context
                .users_span()
                .with_subscriber(|(id, dispatch)| contain(|| dispatch.exit(id)));
        }

        // Spans that the task has entered and not left. A subscriber that does not leave a span
        // must not hold this thread for ever.
        if let Some(before) = self.before {
            for _ in 0..MOST_LEFT_SPANS {
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn code_can_run_in_the_context_of_a_subscriber_that_is_being_called() {
        let dispatch = Dispatch::new(tracing_subscriber::registry());
        dispatcher::with_default(&dispatch, || {
            // An event calls the subscriber like this.
            dispatcher::get_default(|_| {
                let context = Context::here();
                assert!(context.dispatch.is::<NoSubscriber>());
                assert_eq!(context.within(|| 1), 1);
                InsideSpan::enter(&context, &Span::none()).leave(&context);
            });

            // A context without a dispatcher hides the one of the thread.
            let is_none = |dispatch: &Dispatch| dispatch.is::<NoSubscriber>();
            assert!(Context::none().within(|| dispatcher::get_default(is_none)));
            assert!(!dispatcher::get_default(is_none));
        });
    }
}
