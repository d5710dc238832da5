//! A caught panic and a log collector, for tests.

use std::cell::RefCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use tracing::field::{Field, Visit};
use tracing::span;

use super::PanicPayload;

/// Returns the panic that `f` raises.
pub(crate) fn caught(f: impl FnOnce()) -> PanicPayload {
    PanicPayload::new(catch_unwind(AssertUnwindSafe(f)).expect_err("it panics"))
}

/// Runs `f` and returns, with its result, the messages logged at error level on this thread.
///
/// The collector is a global one. `tracing` remembers for the whole process whether a collector
/// wants an event. If there are only collectors of single threads, it may ask a thread that has
/// none.
pub(crate) fn errors_logged<T>(f: impl FnOnce() -> T) -> (T, Vec<String>) {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        tracing::subscriber::set_global_default(Collector)
            .expect("no other test installs a global subscriber");
        tracing::callsite::rebuild_interest_cache();
    });
    LOGGED.take();
    let result = f();
    (result, LOGGED.take())
}

thread_local! {
    static LOGGED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

struct Collector;

impl tracing::Subscriber for Collector {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::ERROR
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        LOGGED.with_borrow_mut(|logged| logged.push(message.0));
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}
