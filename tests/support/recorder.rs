//! A subscriber that keeps all that it is told: spans with their parents, the threads' stacks of
//! entered spans, and events.
#![allow(dead_code, reason = "each test binary uses a part of this module")]

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, ThreadId};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};
use tracing_core::span::Current;

/// The kinds of calls of a subscriber: those that tell it something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Call {
    New,
    Enter,
    Exit,
    Record,
    Close,
    Event,
}

/// The other calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Query {
    Register,
    Enabled,
    EventEnabled,
    Current,
    Clone,
    Follows,
}

pub(crate) type Fields = BTreeMap<String, String>;

#[derive(Clone, Debug)]
pub(crate) struct SpanSeen {
    pub(crate) metadata: &'static Metadata<'static>,
    /// The index of the parent.
    pub(crate) parent: Option<usize>,
    pub(crate) fields: Fields,
    /// The fields that were recorded after the span was made, in order.
    pub(crate) recorded: Vec<String>,
    pub(crate) follows: Vec<usize>,
    /// The threads that entered it.
    pub(crate) threads: Vec<ThreadId>,
    references: usize,
}

impl SpanSeen {
    pub(crate) fn name(&self) -> &'static str {
        self.metadata.name()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.references == 0
    }

    pub(crate) fn is_ours(&self) -> bool {
        self.metadata.target() == "taskgroup"
    }
}

#[derive(Clone, Debug)]
pub(crate) struct EventSeen {
    pub(crate) level: Level,
    pub(crate) message: String,
    pub(crate) fields: Fields,
    /// The index of the span that it belongs to.
    pub(crate) parent: Option<usize>,
    /// The spans that were entered on its thread, the outermost first.
    pub(crate) stack: Vec<usize>,
}

#[derive(Default)]
struct Seen {
    spans: Vec<SpanSeen>,
    events: Vec<EventSeen>,
    stacks: HashMap<ThreadId, Vec<usize>>,
}

/// The spans and events that a [`Recorder`] has seen.
#[derive(Clone, Default)]
pub(crate) struct Recording(Arc<Mutex<Seen>>);

type OnCall = Box<dyn Fn(Call, &'static Metadata<'static>) + Send + Sync>;
type OnQuery = Box<dyn Fn(Query) + Send + Sync>;

/// The subscriber. It calls `on_call` or `on_query` first, with no lock held.
pub(crate) struct Recorder {
    level: Level,
    recording: Recording,
    on_call: OnCall,
    on_query: OnQuery,
}

impl Recorder {
    /// Returns a subscriber for spans and events of `level` and above, and what it sees.
    pub(crate) fn dispatch(level: Level) -> (Dispatch, Recording) {
        Self::calling(level, |_, _| {})
    }

    pub(crate) fn calling(
        level: Level,
        on_call: impl Fn(Call, &'static Metadata<'static>) + Send + Sync + 'static,
    ) -> (Dispatch, Recording) {
        Self::dispatching(level, Box::new(on_call), Box::new(|_| ()))
    }

    pub(crate) fn querying(
        level: Level,
        on_query: impl Fn(Query) + Send + Sync + 'static,
    ) -> (Dispatch, Recording) {
        Self::dispatching(level, Box::new(|_, _| ()), Box::new(on_query))
    }

    fn dispatching(level: Level, on_call: OnCall, on_query: OnQuery) -> (Dispatch, Recording) {
        let recording = Recording::default();
        let recorder = Recorder {
            level,
            recording: recording.clone(),
            on_call,
            on_query,
        };
        (Dispatch::new(recorder), recording)
    }

    fn called(&self, call: Call, id: &Id) {
        let metadata = self.recording.seen().spans[index(id)].metadata;
        (self.on_call)(call, metadata);
    }
}

fn index(id: &Id) -> usize {
    usize::try_from(id.into_u64()).unwrap() - 1
}

fn id(index: usize) -> Id {
    Id::from_u64(index as u64 + 1)
}

impl Seen {
    fn stack(&mut self) -> &mut Vec<usize> {
        self.stacks.entry(thread::current().id()).or_default()
    }

    fn parent(&mut self, explicit: Option<&Id>, is_contextual: bool) -> Option<usize> {
        match explicit {
            Some(id) => Some(index(id)),
            None if is_contextual => self.stack().last().copied(),
            None => None,
        }
    }

    fn release(&mut self, span: usize) -> bool {
        let seen = &mut self.spans[span];
        assert!(seen.references > 0, "span {span} is closed too often");
        seen.references -= 1;
        let closed = seen.references == 0;
        if let (true, Some(parent)) = (closed, seen.parent) {
            self.release(parent);
        }
        closed
    }
}

impl Recording {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(crate) fn spans(&self) -> Vec<SpanSeen> {
        self.seen().spans.clone()
    }

    /// The spans of the crate with this name.
    pub(crate) fn ours(&self, name: &str) -> Vec<SpanSeen> {
        let mut spans = self.spans();
        spans.retain(|span| span.is_ours() && span.name() == name);
        spans
    }

    pub(crate) fn events(&self) -> Vec<EventSeen> {
        self.seen().events.clone()
    }

    /// The events with this message.
    pub(crate) fn events_of(&self, message: &str) -> Vec<EventSeen> {
        let mut events = self.events();
        events.retain(|event| event.message == message);
        events
    }

    /// The names of a span and the spans above it, the innermost first. A span with a name of its
    /// own is called by that.
    pub(crate) fn path(&self, span: Option<usize>) -> Vec<String> {
        let spans = self.spans();
        std::iter::successors(span, |&span| spans[span].parent)
            .map(|span| {
                let span = &spans[span];
                match span.fields.get("name") {
                    Some(name) => format!("{} {name}", span.name()),
                    None => span.name().to_owned(),
                }
            })
            .collect()
    }

    /// The path of each span, sorted.
    pub(crate) fn tree(&self) -> Vec<String> {
        let spans = 0..self.spans().len();
        let mut paths: Vec<_> = spans
            .map(|span| self.path(Some(span)).join(" < "))
            .collect();
        paths.sort();
        paths
    }

    /// The span that is current on this thread.
    pub(crate) fn current(&self) -> Option<usize> {
        self.seen().stack().last().copied()
    }
}

struct Reads<'a>(&'a mut Fields, Option<&'a mut Vec<String>>);

impl Visit for Reads<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
        if let Some(recorded) = &mut self.1 {
            recorded.push(field.name().to_owned());
        }
    }
}

impl Subscriber for Recorder {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        (self.on_query)(Query::Register);
        // `enabled` decides each time.
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        (self.on_query)(Query::Enabled);
        *metadata.level() <= self.level
    }

    fn event_enabled(&self, _: &Event<'_>) -> bool {
        (self.on_query)(Query::EventEnabled);
        true
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::from_level(self.level))
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        (self.on_call)(Call::New, attributes.metadata());
        let mut fields = Fields::new();
        attributes.record(&mut Reads(&mut fields, None));
        let mut seen = self.recording.seen();
        let parent = seen.parent(attributes.parent(), attributes.is_contextual());
        if let Some(parent) = parent {
            assert!(!seen.spans[parent].is_closed(), "the parent is closed");
            seen.spans[parent].references += 1;
        }
        seen.spans.push(SpanSeen {
            metadata: attributes.metadata(),
            parent,
            fields,
            recorded: Vec::new(),
            follows: Vec::new(),
            threads: Vec::new(),
            references: 1,
        });
        id(seen.spans.len() - 1)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        self.called(Call::Record, span);
        let mut seen = self.recording.seen();
        let span = &mut seen.spans[index(span)];
        assert!(!span.is_closed(), "a record after the close");
        values.record(&mut Reads(&mut span.fields, Some(&mut span.recorded)));
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        (self.on_query)(Query::Follows);
        let mut seen = self.recording.seen();
        assert!(!seen.spans[index(follows)].is_closed(), "it is closed");
        seen.spans[index(span)].follows.push(index(follows));
    }

    fn event(&self, event: &Event<'_>) {
        (self.on_call)(Call::Event, event.metadata());
        let mut fields = Fields::new();
        event.record(&mut Reads(&mut fields, None));
        let mut seen = self.recording.seen();
        let parent = seen.parent(event.parent(), event.is_contextual());
        if let Some(parent) = parent {
            assert!(
                !seen.spans[parent].is_closed(),
                "the span of an event is closed"
            );
        }
        let stack = seen.stack().clone();
        seen.events.push(EventSeen {
            level: *event.metadata().level(),
            message: fields.remove("message").unwrap_or_default(),
            fields,
            parent,
            stack,
        });
    }

    fn enter(&self, span: &Id) {
        self.called(Call::Enter, span);
        let mut seen = self.recording.seen();
        let index = index(span);
        assert!(!seen.spans[index].is_closed(), "a closed span is entered");
        seen.spans[index].threads.push(thread::current().id());
        seen.spans[index].references += 1;
        seen.stack().push(index);
    }

    fn exit(&self, span: &Id) {
        self.called(Call::Exit, span);
        let mut seen = self.recording.seen();
        let index = index(span);
        let stack = seen.stack();
        if let Some(place) = stack.iter().rposition(|&entered| entered == index) {
            stack.remove(place);
            seen.release(index);
        }
    }

    fn clone_span(&self, span: &Id) -> Id {
        (self.on_query)(Query::Clone);
        self.recording.seen().spans[index(span)].references += 1;
        span.clone()
    }

    fn try_close(&self, span: Id) -> bool {
        self.called(Call::Close, &span);
        self.recording.seen().release(index(&span))
    }

    fn current_span(&self) -> Current {
        (self.on_query)(Query::Current);
        let mut seen = self.recording.seen();
        match seen.stack().last().copied() {
            Some(index) => Current::new(id(index), seen.spans[index].metadata),
            None => Current::none(),
        }
    }
}
