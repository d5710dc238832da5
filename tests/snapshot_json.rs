//! The serialised form of a snapshot: its version, its shape, and its order.

#[path = "support/snapshots.rs"]
mod snapshots;
mod support;

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use snapshots::task_at;
use support::{LONG, watch};
use taskgroup::sync::{Event, Mutex};
use taskgroup::{Snapshot, TaskGroup, snapshot};

/// Version 1, as docs/seeing.md has it.
#[derive(Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct Whole {
    version: u32,
    groups: Vec<Group>,
    tasks: Vec<Task>,
    workers: Vec<Worker>,
    abandoned: Vec<Abandoned>,
    incomplete: usize,
    notes: Vec<String>,
}

#[derive(Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct Group {
    id: u64,
    parent: Option<u64>,
    name: Option<String>,
    location: Place,
    policy: String,
    limit: Option<Limit>,
    remaining_ns: Option<u64>,
    cancelled: Option<Cancel>,
    queued: usize,
    is_ending: bool,
}

#[derive(Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct Task {
    id: u64,
    kind: String,
    group: Option<u64>,
    name: Option<String>,
    location: Place,
    state: String,
    is_starting: bool,
    thread: Option<String>,
    system_thread: Option<u32>,
    wait: Option<Wait>,
    cancels_seen: u32,
    cancel_seen_at: Option<Place>,
    inside: Vec<Region>,
}

#[derive(Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct Wait {
    what: String,
    location: Option<Place>,
    object: Option<String>,
    target: Option<String>,
    group: Option<u64>,
    holders: Vec<u64>,
    held_by: Vec<Holder>,
    since_ns: u64,
    has_seen_cancel: bool,
    is_cancellable: bool,
}

#[derive(Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct Holder {
    task: Option<u64>,
    name: Option<String>,
    thread: Option<String>,
    location: Option<Place>,
}

#[derive(Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct Limit {
    total: usize,
    held: usize,
    lent: usize,
}

#[derive(Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct Cancel {
    kind: String,
    text: String,
    location: Place,
    origin: u64,
}

#[derive(Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct Region {
    region: String,
    location: Place,
}

#[derive(Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct Worker {
    thread: Option<String>,
    system_thread: Option<u32>,
    task: Option<u64>,
}

#[derive(Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct Abandoned {
    name: Option<String>,
    location: Place,
    since_ns: u64,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
struct Place {
    file: String,
    line: u32,
    column: u32,
}

/// Reads a snapshot back, and fails unless it comes out as it went in.
#[track_caller]
fn read_back(seen: &Snapshot) -> Whole {
    let text = serde_json::to_string(seen).expect("it has no maps with odd keys");
    let whole: Whole =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(serde_json::to_string(&whole).expect("it was read"), text);

    assert!(text.starts_with(&format!("{{\"version\":{},", Snapshot::VERSION)));
    assert_eq!(whole.version, Snapshot::VERSION);
    let mut known = HashSet::new();
    for group in &whole.groups {
        assert!(known.insert(group.id), "group {} is there twice", group.id);
    }
    let mut known = HashSet::new();
    for task in &whole.tasks {
        assert!(known.insert(task.id), "task {} is there twice", task.id);
    }
    // Parents come first, and are all there.
    let mut before = HashSet::new();
    for group in &whole.groups {
        let parent = group.parent.map(|parent| {
            let found = whole.tasks.iter().find(|task| task.id == parent);
            found.expect("the parent is there")
        });
        let around = parent.and_then(|parent| parent.group);
        assert!(around.is_none_or(|around| before.contains(&around)));
        before.insert(group.id);
    }
    assert!(
        whole
            .tasks
            .iter()
            .all(|task| task.group.is_none_or(|group| before.contains(&group)))
    );
    whole
}

#[test]
fn a_snapshot_comes_back_as_it_was() {
    let _watch = watch();
    let (lock, event) = (Mutex::new(()), Event::new());
    let name = format!("two\nlines \u{1b}[2J and {}", "much more ".repeat(1_000));
    let outer = TaskGroup::builder()
        .name(name.clone())
        .limit(4)
        .timeout(LONG);
    outer
        .scope(|g| {
            let holder = g.task().name("holder").spawn(|| {
                let _guard = lock.lock()?;
                TaskGroup::builder()
                    .name("inner")
                    .scope(|h| {
                        h.cancel_because("no more");
                        taskgroup::shield(|| event.wait())?;
                        Ok::<_, anyhow::Error>(())
                    })
                    .map_err(Into::into)
            });
            until_inner();
            let waits = g.spawn(|| {
                drop(lock.lock()?);
                Ok(())
            });
            task_at("Mutex::lock", waits.id());
            // In which no part was busy.
            let seen = snapshots::until(|seen| (seen.incomplete() == 0).then(|| seen.clone()));
            event.set();

            let whole = read_back(&seen);
            let outer = named_group(&whole, &name).expect("names are whole");
            assert!(
                outer
                    .limit
                    .as_ref()
                    .is_some_and(|limit| (limit.total, limit.held) == (4, 2))
            );
            assert!(outer.remaining_ns.is_some_and(|left| left > 0));
            assert_inner_is_whole(&whole, outer);
            drop(holder);
            Ok::<_, anyhow::Error>(())
        })
        .expect("no task fails");
}

fn named_group<'a>(whole: &'a Whole, name: &str) -> Option<&'a Group> {
    let mut groups = whole.groups.iter();
    groups.find(|group| group.name.as_deref() == Some(name))
}

/// The cancelled group `inner` inside `outer`, the task that opened it, and the wait for the lock
/// of that task.
fn assert_inner_is_whole(whole: &Whole, outer: &Group) {
    let inner = named_group(whole, "inner").expect("it is open");
    let cause = inner.cancelled.as_ref().expect("it was cancelled");
    assert_eq!(
        (cause.kind.as_str(), cause.text.as_str()),
        ("requested", "no more")
    );
    assert!(cause.location.file.ends_with("snapshot_json.rs"));
    assert_eq!(cause.origin, inner.id);

    let mut tasks = whole.tasks.iter();
    let holds = tasks.find(|task| task.name.as_deref() == Some("holder"));
    let holds = holds.expect("it runs");
    assert_eq!(inner.parent, Some(holds.id));
    assert_eq!(holds.group, Some(outer.id));
    assert_eq!(holds.state, "in_scope");

    let wait = whole.tasks.iter().filter_map(|task| task.wait.as_ref());
    let wait = wait.filter(|wait| wait.what == "Mutex::lock").find(|wait| {
        wait.location
            .as_ref()
            .is_some_and(|at| at.file.ends_with("snapshot_json.rs"))
    });
    let wait = wait.expect("it waits");
    assert_eq!(wait.holders, [holds.id]);
    assert_eq!(wait.held_by[0].name.as_deref(), Some("holder"));
    assert!(wait.held_by[0].location.is_some() && wait.object.is_some());
    let shielded = whole.tasks.iter().find(|task| task.inside.len() == 1);
    assert!(shielded.is_some_and(|task| task.inside[0].region == "shield"));
}

/// Waits until the inner group of the test is in its shield.
fn until_inner() {
    snapshots::until(|seen| {
        let group = seen
            .all_groups()
            .find(|group| group.name() == Some("inner"))?;
        group.body().waits().map(drop)
    });
}

#[test]
fn scopes_that_are_nested_deep_stay_in_order() {
    fn nested(left: usize) {
        if left == 0 {
            let whole = read_back(&snapshot());
            let mine = whole
                .groups
                .iter()
                .filter(|group| group.location.file.ends_with("json.rs"));
            assert!(mine.count() >= 200);
            return;
        }
        TaskGroup::scope(|_| {
            nested(left - 1);
            Ok(())
        })
        .expect("nothing fails");
    }
    let _watch = watch();
    let deep = std::thread::Builder::new()
        .stack_size(64 << 20)
        .spawn(|| nested(200));
    deep.expect("there is memory left")
        .join()
        .expect("no panic");
}

#[test]
fn threads_and_idle_workers_are_there_too() {
    let _watch = watch();
    let (token, event) = (taskgroup::CancelToken::new(), Event::new());
    std::thread::scope(|threads| {
        threads.spawn(|| token.run(|| event.wait()));
        snapshots::until(|seen| {
            seen.threads()
                .iter()
                .find_map(|thread| thread.waits().map(drop))
        });
        let whole = read_back(&snapshot());
        let thread = whole.tasks.iter().find(|task| task.kind == "thread");
        assert!(thread.is_some_and(|thread| thread.group.is_none() && thread.id != 0));
        event.set();
    });

    // A worker that has run a task stays for the next.
    TaskGroup::scope(|g| {
        g.spawn(|| Ok(event.wait()?));
        Ok::<_, anyhow::Error>(())
    })
    .expect("nothing fails");
    snapshots::until(|seen| {
        let whole = read_back(seen);
        let mut workers = whole.workers.iter();
        workers
            .find(|worker| worker.task.is_none() && worker.thread.is_some())
            .map(drop)
    });
}
