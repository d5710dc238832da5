//! Models of what a thread shows of itself.

use std::sync::Arc;

use loom::thread;

use super::Bound::Exhaustive;
use super::Model;
use super::support::{must_see, saw};
use crate::facade::{AtomicU64, Ordering};
use crate::lanes::Version;

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
