//! Failures that came about because another task failed.
//!
//! If the other side of a call has gone, the error of the call names the actor that it went with,
//! and everything around it: an [`Actor`]. A failure with an error that holds such an error is an
//! *echo* of the failure of that actor, or of the innermost part around it that failed.
//!
//! # From the error to the echo
//!
//! 1. When a failure is recorded, the chain of its error is searched for
//!    [`Traces`](super::traces::Traces).
//! 2. Where the chain holds the report of a nested group, the traces are the traces of the primary
//!    failure of that report. So a report passes on a cause from outside of its group.
//! 3. When the report is made, all failures of the group are known. [`find_echoes`] looks up the
//!    actors among them.
//!
//! Failures may trace back to each other in a cycle. The first to be recorded is not an echo.

use std::collections::HashMap;
use std::sync::Arc;

use super::failure::Failure;
use super::traces::Root;
use crate::cancel::actor::{Actor, Part};
use crate::cancel::{TaskId, TokenId};

/// An origin, as a key to look it up by.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Task(TaskId),
    Body,
}

impl Key {
    fn of(root: &Root) -> Self {
        match root {
            Root::Task(task) => Key::Task(task.id),
            Root::Body => Key::Body,
        }
    }
}

/// Finds out which failures are echoes of others. `group` is the token of their group.
pub(crate) fn find_echoes<E>(failures: &mut [Failure<E>], group: TokenId) {
    // Without traces there are no echoes, and no table is needed to find them.
    if failures.iter().all(|failure| failure.traces().is_none()) {
        return;
    }

    let mut places = places(failures);

    // A failure also stands for the failures that its error holds, of isolated and started tasks.
    for (i, failure) in failures.iter().enumerate() {
        for task in failure
            .traces()
            .into_iter()
            .flat_map(|traces| traces.holds())
        {
            places.entry(Key::Task(*task)).or_insert(i);
        }
    }

    // The innermost part of an actor that failed.
    let place_of = |actor: &Arc<Actor>| {
        let keys = actor.parts().filter_map(|part| match part {
            Part::Task(task) => Some(Key::Task(task.id)),
            // The body of another group is not among the failures of this one.
            Part::Body(token) => (*token == group).then_some(Key::Body),
        });
        keys.filter_map(|key| places.get(&key)).copied().next()
    };

    // What a task did to itself is not an echo.
    let root_of = |(i, failure): (usize, &Failure<E>)| {
        failure
            .traces()?
            .actors()
            .iter()
            .filter_map(place_of)
            .find(|&place| place != i)
    };

    // All failures of a cycle would be echoes, and the drawing would have no place for them.
    let links = without_cycles(failures.iter().enumerate().map(root_of).collect());

    // All roots are looked up before the loop below borrows the failures to change them.
    let roots: Vec<_> = links
        .into_iter()
        .map(|link| link.and_then(|root| Root::of(failures[root].origin())))
        .collect();

    for (failure, root) in failures.iter_mut().zip(roots) {
        if let Some(traces) = failure.traces_mut() {
            traces.set_echo_of(root);
        }
    }
}

/// Returns for each failure the place of its root, if it is an echo and its root is among them.
pub(super) fn links<E>(failures: &[Failure<E>]) -> Vec<Option<usize>> {
    let is_echo = |failure: &Failure<E>| failure.root().is_some();
    if !failures.iter().any(is_echo) {
        return vec![None; failures.len()];
    }

    let places = places(failures);

    // Two failures of one task that `split` has divided may form a cycle.
    without_cycles(
        failures
            .iter()
            .map(|failure| places.get(&Key::of(failure.root()?)).copied())
            .collect(),
    )
}

/// Returns for each place the place at the end of its links, which form no cycle.
pub(super) fn ends(links: &[Option<usize>]) -> Vec<usize> {
    let mut ends = vec![None; links.len()];
    for start in 0..links.len() {
        // Each place that is passed on the way has the same end, so no link is followed twice.
        let mut passed = Vec::new();
        let mut place = start;

        // The links form no cycle, so each walk ends.
        let end = loop {
            match (ends[place], links[place]) {
                (Some(end), _) => break end,
                (None, None) => break place,
                (None, Some(next)) => passed.push(std::mem::replace(&mut place, next)),
            }
        };

        passed.into_iter().for_each(|place| ends[place] = Some(end));
        ends[place] = Some(end);
    }

    // Each place has got its end, so none is left out here.
    ends.into_iter().flatten().collect()
}

/// Returns where each task, and the body, failed first.
fn places<E>(failures: &[Failure<E>]) -> HashMap<Key, usize> {
    let mut places = HashMap::new();
    for (i, failure) in failures.iter().enumerate() {
        if let Some(root) = Root::of(failure.origin()) {
            places.entry(Key::of(&root)).or_insert(i);
        }
    }
    places
}

/// Removes the link of the first place in each cycle.
fn without_cycles(mut links: Vec<Option<usize>>) -> Vec<Option<usize>> {
    // The walk that came to each place, named by the place it began at.
    let mut walks = vec![usize::MAX; links.len()];
    for start in 0..links.len() {
        // The walk stops at a place that has been walked before: all walks together pass each once.
        let mut next = Some(start);
        while let Some(place) = next.filter(|&place| walks[place] == usize::MAX) {
            walks[place] = start;
            next = links[place];
        }

        // It came back to a place of its own: a cycle.
        if let Some(back) = next.filter(|&place| walks[place] == start) {
            // The failure that was recorded first has the lowest index. It is the root of the
            // cycle.
            let mut first = back;
            let mut place = links[back];
            while let Some(at) = place.filter(|&at| at != back) {
                first = first.min(at);
                place = links[at];
            }
            links[first] = None;
        }
    }
    links
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn cycles_are_opened_at_their_first_place() {
        let opened = |links: &[usize]| {
            let links = links
                .iter()
                .map(|&link| (link != 9).then_some(link))
                .collect();
            ends(&without_cycles(links))
        };
        assert_eq!(opened(&[1, 0]), [0, 0]);
        assert_eq!(
            opened(&[2, 2, 1]),
            [1, 1, 1],
            "0 leads into the cycle of 1 and 2"
        );
        assert_eq!(opened(&[9, 0, 1, 2]), [0, 0, 0, 0]);
        assert_eq!(opened(&[3, 2, 1, 4, 0, 2]), [0, 1, 1, 0, 0, 1]);
        assert_eq!(opened(&[9, 9]), [0, 1]);
    }
}
