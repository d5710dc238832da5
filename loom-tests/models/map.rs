//! Models of a whole map: workers that share batches, and the thread that pulls.

use super::Bound::Preemptions;
use super::Model;
use super::support::{Gate, Note, with_pool};
use crate::TaskGroup;

pub(super) const MODELS: &[Model] = &[
    holds!(
        map_batch_is_shared,
        Preemptions(2),
        Preemptions(3),
        "with one place, an item that waits for a later item of its batch lets another worker \
             steal the later one"
    ),
    breaks!(
        broken_map_without_a_spare_worker,
        "no-map-worker-is-spare" in map_batch_is_shared,
        Preemptions(1),
        "deadlock",
        "without a spare worker, an item waits for ever behind a blocking item"
    ),
    holds!(
        map_puller_is_woken,
        Preemptions(2),
        Preemptions(3),
        "a thread that pulls and finds the queue full is woken by a worker that takes from it"
    ),
    breaks!(
        broken_map_worker_does_not_wake_the_puller,
        "puller-is-not-woken" in map_puller_is_woken,
        Preemptions(1),
        "deadlock",
        "a worker that takes from the queue and wakes no thread leaves the rest of the input \
         unpulled"
    ),
    holds!(
        map_keeps_its_values_from_a_late_cancel,
        Preemptions(2),
        Preemptions(3),
        "a cancel that comes after all calls have begun takes no value from a whole map"
    ),
    breaks!(
        broken_map_loses_its_values_to_a_late_cancel,
        "late-cancel-takes-the-values" in map_keeps_its_values_from_a_late_cancel,
        Preemptions(2),
        "the values were lost",
        "a map that fails because of a worker that had nothing left to do loses all values"
    ),
];

fn map_batch_is_shared() {
    with_pool(1, || {
        let second = Gate::new();
        let doubled = crate::map(0..2, 2, |n| {
            match n {
                0 => second.wait()?,
                _ => second.open(),
            }
            anyhow::Ok(n * 2)
        });
        assert_eq!(doubled.expect("no item fails"), [0, 2]);
    });
}

fn map_puller_is_woken() {
    with_pool(1, || {
        let doubled = crate::map(0..5, 1, |n| anyhow::Ok(n * 2));
        assert_eq!(doubled.expect("no item fails"), [0, 2, 4, 6, 8]);
    });
}

fn map_keeps_its_values_from_a_late_cancel() {
    with_pool(1, || {
        TaskGroup::scope(|g| {
            let returned = Note::default();
            let doubled = crate::map(0..2, 2, |n| {
                if n == 1 {
                    g.cancel();
                }
                returned.set();
                anyhow::Ok(n * 2)
            });
            if returned.times() == 2 {
                assert_eq!(doubled.expect("the values were lost"), [0, 2]);
            }
            Ok(())
        })
        .unwrap();
    });
}
