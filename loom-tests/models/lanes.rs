//! Models of what a thread shows of itself.

use std::any::Any;
use std::sync::Arc;

use loom::thread;

use super::Bound::Exhaustive;
use super::support::{must_see, saw};
use super::{Model, Watched};
use crate::facade::{AtomicU64, Ordering};
use crate::lanes::{Describe, OpenGroups, Version};

pub(super) const MODELS: &[Model] = &[
    holds!(
        lanes_reader_keeps_one_version,
        Exhaustive,
        Exhaustive,
        "what a reader keeps was there at one moment, and what the owner wrote before it too"
    ),
    breaks!(
        broken_lanes_data_before_the_version,
        "data-is-written-before-the-odd-version" in lanes_reader_keeps_one_version,
        Exhaustive,
        "torn",
        "a reader finds new data under the old version"
    ),
    breaks!(
        broken_lanes_look_before_the_data,
        "version-is-looked-at-before-the-data" in lanes_reader_keeps_one_version,
        Exhaustive,
        "torn",
        "a reader looks at the version a second time before it has read the data"
    ),
    breaks!(
        broken_lanes_keeps_torn_data,
        "torn-data-is-kept" in lanes_reader_keeps_one_version,
        Exhaustive,
        "torn",
        "a reader keeps data of two versions"
    ),
    holds!(
        lanes_groups_are_read_while_they_live,
        Exhaustive,
        Exhaustive,
        "a reader of the groups of a thread finds a list that was there, and has done with it \
             before a group of it goes on to its end"
    ),
    breaks!(
        broken_lanes_group_is_taken_back_beside_a_reader,
        "group-is-taken-back-beside-its-readers" in lanes_groups_are_read_while_they_live,
        Exhaustive,
        "Causality violation",
        "a reader uses a group that its thread has taken back without a look for readers"
    ),
    breaks!(
        broken_lanes_owner_does_not_wait_for_a_reader,
        "owner-does-not-wait-for-readers" in lanes_groups_are_read_while_they_live,
        Exhaustive,
        "Causality violation",
        "a reader uses a group whose thread has seen the reader and not waited"
    ),
    breaks!(
        broken_lanes_reader_begins_during_a_change,
        "reader-begins-during-a-change" in lanes_groups_are_read_while_they_live,
        Exhaustive,
        "Causality violation",
        "a reader that begins while the list is changed uses a group that is taken back"
    ),
    breaks!(
        broken_lanes_group_is_seen_before_its_place,
        "group-is-seen-before-its-place" in lanes_groups_are_read_while_they_live,
        Exhaustive,
        "Causality violation",
        "a reader finds the new length of a list before the group at its end"
    ),
    holds!(
        lanes_group_is_seen_or_sees_its_cancel,
        Exhaustive,
        Exhaustive,
        "a look that is asked for by a cancel finds the group that is opened meanwhile, or the \
             group asks for a look itself"
    ),
    breaks!(
        broken_lanes_group_neither_is_seen_nor_sees_its_cancel,
        "owner-does-not-meet-readers" in lanes_group_is_seen_or_sees_its_cancel,
        Exhaustive,
        "no look comes",
        "a group looks for its cancel before others can see the group"
    ),
];

/// Two words that an owner writes under one version.
struct Shown {
    version: Version,
    words: [AtomicU64; 2],
}

fn lanes_reader_keeps_one_version() {
    must_see(["the first write", "the second write"]);
    let shown = Arc::new(Shown {
        version: Version::new(),
        words: [AtomicU64::new(0), AtomicU64::new(0)],
    });

    let theirs = shown.clone();
    let owner = thread::spawn(move || {
        for value in 1..=2 {
            theirs.version.change(|| {
                for word in &theirs.words {
                    word.store(value, Ordering::Relaxed);
                }
            });
        }
    });

    let read = shown
        .version
        .read(|| [0, 1].map(|word| shown.words[word].load(Ordering::Relaxed)));
    if let Some((version, words)) = read {
        assert_eq!(words, [u64::from(version / 2); 2], "torn");
        match words[0] {
            1 => saw("the first write"),
            2 => saw("the second write"),
            _ => {}
        }
    }
    owner.join().unwrap();
}

/// A scope is cancelled from outside, and a look for scopes that stall begins, while it is opened.
fn lanes_group_is_seen_or_sees_its_cancel() {
    must_see(["the look sees the group", "the owner sees the cancel"]);
    let list = Arc::new(OpenGroups::new());
    let group = Arc::new(Open::new(1));
    let is_cancelled = Arc::new(AtomicU64::new(0));
    let (theirs, opened, cancelled) = (list.clone(), group.clone(), is_cancelled.clone());
    let owner = thread::spawn(move || {
        // SAFETY: this thread is the only one to write, and the group lives until the model ends.
        unsafe { theirs.push(1, &*opened) };
        theirs.meet_readers();
        cancelled.load(Ordering::Relaxed) == 1
    });

    // Relaxed, like the flag of a node.
    is_cancelled.store(1, Ordering::Relaxed);
    let is_listed = list.read(|groups| groups.get(1).is_some());
    let sees_cancel = owner.join().unwrap();
    assert!(is_listed == Ok(true) || sees_cancel, "no look comes");
    if is_listed == Ok(true) {
        saw("the look sees the group");
    }
    if sees_cancel {
        saw("the owner sees the cancel");
    }
}

/// A group that describes itself by its number, while it lives.
struct Open {
    number: u64,
    alive: Watched,
}

impl Open {
    fn new(number: u64) -> Self {
        Open {
            number,
            alive: Watched::new(),
        }
    }
}

impl Describe for Open {
    fn describe(&self, into: &mut dyn Any) {
        self.alive.read();
        *into.downcast_mut().expect("the model asks for a number") = self.number;
    }
}

fn lanes_groups_are_read_while_they_live() {
    must_see(["none", "one", "two", "busy"]);

    // The second one is not among the first, which a model has one of.
    let list = Arc::new(OpenGroups::new());
    // The memory of the groups stays, so that a use that comes too late is one of `alive`.
    let groups = Arc::new([Open::new(1), Open::new(2)]);
    let (theirs, opened) = (list.clone(), groups.clone());
    let owner = thread::spawn(move || {
        for group in &*opened {
            // SAFETY: this thread is the only one to write, and the group lives until the model
            // ends.
            unsafe { theirs.push(group.number, group) };
        }
        for group in opened.iter().rev() {
            // SAFETY: as above.
            unsafe { theirs.remove(group) };
            group.alive.write();
        }
    });

    let read = list.read(|groups| {
        let numbers = groups.iter().map(|(number, group)| {
            let mut described = 0_u64;
            group.describe(&mut described);
            assert_eq!(described, number, "another group");
            number
        });
        numbers.collect::<Vec<_>>()
    });
    match read.as_deref() {
        Err(_) => saw("busy"),
        Ok([]) => saw("none"),
        Ok([1]) => saw("one"),
        Ok([1, 2]) => saw("two"),
        Ok(other) => panic!("the list was never {other:?}"),
    }
    owner.join().unwrap();
}
