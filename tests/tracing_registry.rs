//! The spans of groups and tasks in the registry of `tracing-subscriber`, as its layers see them.

mod support;

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use support::{Gate, blocked, on_a_used_worker};
use taskgroup::TaskGroup;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::subscriber::{set_default, with_default};
use tracing::{Event, Subscriber, info, info_span};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

/// The record of a layer: the spans that are open, and each event with the spans around it, the
/// innermost first.
#[derive(Default)]
struct Seen {
    open: Vec<&'static str>,
    events: Vec<(String, Vec<&'static str>)>,
}

#[derive(Clone, Default)]
struct Layered(Arc<Mutex<Seen>>);

impl Layered {
    fn open(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().open.clone()
    }

    /// The spans around the only event with this message.
    fn around(&self, message: &str) -> Vec<&'static str> {
        let seen = self.0.lock().unwrap();
        let mut found = seen.events.iter().filter(|event| event.0 == message);
        let event = found.next().expect("the event was sent");
        assert!(found.next().is_none(), "{message} was sent twice");
        event.1.clone()
    }
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Layered {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        self.0
            .lock()
            .unwrap()
            .open
            .push(attributes.metadata().name());
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        let scope = context.event_scope(event).into_iter().flatten();
        let around = scope.map(|span| span.name()).collect();
        self.0.lock().unwrap().events.push((message.0, around));
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let name = context.span(&id).expect("it is there until now").name();
        let mut seen = self.0.lock().unwrap();
        let place = seen.open.iter().rposition(|open| *open == name);
        seen.open.remove(place.expect("it was opened"));
    }
}

/// A layer that wants all, and one that does not want the spans of the crate.
fn layers() -> (impl Subscriber + Send + Sync, Layered, Layered) {
    let (all, own) = (Layered::default(), Layered::default());
    let filter = filter_fn(|metadata| metadata.target() != "taskgroup");
    let registry = Registry::default()
        .with(all.clone())
        .with(own.clone().with_filter(filter));
    (registry, all, own)
}

#[test]
fn a_layer_that_wants_no_span_of_the_crate_does_not_see_the_joiner_either() {
    let (registry, all, own) = layers();
    let outcome = with_default(registry, || {
        TaskGroup::scope(|g| {
            let task = info_span!("spawner").in_scope(|| {
                g.spawn(|| {
                    info!("in the task");
                    Ok(())
                })
            });
            info_span!("joiner").in_scope(|| task.join())?;
            Ok(())
        })
    });
    assert!(outcome.is_ok());
    assert_eq!(all.around("in the task"), ["task", "spawner", "group"]);
    assert_eq!(own.around("in the task"), ["spawner"]);
}

#[test]
fn a_layer_that_wants_no_span_of_the_crate_sees_the_span_around_the_group() {
    let (registry, all, own) = layers();
    let outcome = with_default(registry, || {
        info_span!("request").in_scope(|| {
            TaskGroup::scope(|g| {
                let task = g.spawn(|| {
                    TaskGroup::scope(|g| {
                        g.task().dedicated().spawn(|| {
                            info!("in the inner task");
                            Ok(())
                        });
                        Ok(())
                    })?;
                    info!("in the outer task");
                    Ok(())
                });
                Ok(task.wait()?)
            })
        })
    });
    assert!(outcome.is_ok());
    let tree = ["task", "group", "task", "group", "request"];
    assert_eq!(all.around("in the inner task"), tree);
    for message in ["in the inner task", "in the outer task"] {
        assert_eq!(own.around(message), ["request"]);
    }
    assert!(all.open().is_empty() && own.open().is_empty());
}

#[test]
fn all_spans_are_closed_whatever_threads_the_tasks_ran_on() {
    let (registry, all, own) = layers();
    let begun = Gate::default();
    let outcome = with_default(registry, || {
        TaskGroup::scope(|g| {
            let _request = info_span!("request").entered();
            g.spawn(|| Ok(())).wait()?;
            g.spawn(|| Ok(())).join()?;
            g.task().dedicated().spawn(|| Ok(())).wait()?;
            g.task().name("named").spawn(|| {
                begun.open();
                Err::<(), _>(blocked().into())
            });
            begun.wait();
            for _ in 0..100 {
                g.spawn(|| Ok(()));
            }
            g.cancel();
            Ok(())
        })
    });
    assert!(outcome.is_ok());
    assert!(all.open().is_empty(), "{:?}", all.open());
    assert!(own.open().is_empty());
    assert_eq!(all.around("cancelled"), ["group"]);
}

#[test]
fn a_span_that_a_task_leaves_entered_is_not_current_in_the_next_task() {
    let (registry, all, own) = layers();
    let _default = set_default(registry);
    let sent = AtomicUsize::new(0);
    let message = on_a_used_worker(
        |spawn| spawn(),
        || std::mem::forget(info_span!("forgotten").entered()),
        || {
            let message = format!("next {}", sent.fetch_add(1, Relaxed));
            info!("{message}");
            message
        },
    );
    assert_eq!(all.around(&message), ["task", "group"]);
    assert!(own.around(&message).is_empty());
}
