//! Real file events, received by tasks that are cancelled.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use notify::{Event, RecursiveMode, Watcher};
use taskgroup::{TaskGroup, channel};
use taskgroup_interop::{FileEvents, watch};

use crate::support;
use crate::{assert_cancel, cancelled_during};

/// Returns the events up to the first one about a file of this name.
fn up_to(events: &FileEvents, name: &str) -> anyhow::Result<Event> {
    loop {
        let event = events.next()?;
        if event.paths.iter().any(|path| path.ends_with(name)) {
            return Ok(event);
        }
    }
}

#[test]
fn an_event_wakes_the_task() {
    let _watch = support::watch();
    let folder = tempfile::tempdir().unwrap();
    let events = watch(folder.path()).unwrap();
    let outcome = TaskGroup::scope(|g| {
        let seen = g.spawn(|| up_to(&events, "new"));
        fs::write(folder.path().join("new"), "text")?;
        Ok(seen.join()?)
    });
    assert!(outcome.unwrap().kind.is_create());
}

#[test]
fn a_cancel_ends_the_wait_and_loses_no_event() {
    let _watch = support::watch();
    let folder = tempfile::tempdir().unwrap();
    let events = watch(folder.path()).unwrap();
    for _ in 0..100 {
        assert_cancel(&cancelled_during(|| events.next(), || ()));
    }
    fs::write(folder.path().join("later"), "text").unwrap();
    up_to(&events, "later").unwrap();
}

#[test]
fn a_path_that_is_not_there_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let error = watch(&folder.path().join("missing")).unwrap_err();
    assert!(
        matches!(error.kind, notify::ErrorKind::PathNotFound),
        "{error}"
    );
}

#[test]
fn a_handler_that_waits_holds_up_all_events() {
    let _watch = support::watch();
    let folder = tempfile::tempdir().unwrap();
    let (entered, go_on) = (
        Arc::new(support::Gate::default()),
        Arc::new(support::Gate::default()),
    );
    let (send, events) = channel::unbounded();
    let (enters, goes_on) = (entered.clone(), go_on.clone());
    let handler = move |event| {
        enters.open();
        goes_on.wait();
        _ = send.send(event);
    };
    let mut watcher = notify::recommended_watcher(handler).unwrap();
    watcher
        .watch(folder.path(), RecursiveMode::NonRecursive)
        .unwrap();

    fs::write(folder.path().join("first"), "text").unwrap();
    entered.wait();
    fs::write(folder.path().join("second"), "text").unwrap();
    // Time for an event of the second file, if it could come.
    std::thread::sleep(Duration::from_millis(20));
    assert!(events.try_recv().is_err());

    go_on.open();
    let is_second = |event: &Event| event.paths.iter().any(|path| path.ends_with("second"));
    while !is_second(&events.recv().unwrap().unwrap()) {}
}

#[test]
fn a_watch_ends_with_its_watcher() {
    let _watch = support::watch();
    let folder = tempfile::tempdir().unwrap();
    let (send, events) = channel::unbounded();
    let handler = move |event| _ = send.send(event);
    let mut watcher = notify::recommended_watcher(handler).unwrap();
    watcher
        .watch(folder.path(), RecursiveMode::NonRecursive)
        .unwrap();
    drop(watcher);
    // Its handler is dropped, and the sender with it.
    while let Ok(event) = events.recv() {
        event.unwrap();
    }
}
