//! Real file events, received by tasks that are cancelled.

use std::fs;

use notify::Event;
use taskgroup::TaskGroup;
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
