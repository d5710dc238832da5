//! Failures that came about because another task failed.
//!
//! The error of a call whose counterpart has gone names what it went with, and what that is in: an
//! [`Actor`]. A failure whose error holds such an error is an *echo* of the failure of that actor,
//! or of the innermost part around it that failed.
//!
//! # From the error to the echo
//!
//! 1. When a failure is recorded, the chain of its error is searched for [`Traces`](super::traces::Traces).
//! 2. Where the chain holds the report of a nested group, its traces are those of that report's
//!    primary failure. So a report passes on what its group has not caused itself.
//! 3. When the report is made, all failures of the group are known. [`find_echoes`] looks up the
//!    actors among them.
//!
//! A failure may trace back to one that traces back to itself. In such a circle, the failure that
//! was recorded first is no echo.

use std::collections::HashMap;
use std::sync::Arc;

use super::failure::Failure;
use super::traces::Root;
use crate::cancel::actor::{Actor, Part};
use crate::cancel::{TaskId, TokenId};

/// An origin, as it is looked up.
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

/// Finds out which failures of the group that has this token are echoes of others.
pub(crate) fn find_echoes<E>(failures: &mut [Failure<E>], group: TokenId) {
    if failures.iter().all(|failure| failure.traces().is_none()) {
        return;
    }
    let mut places = places(failures);
    for (i, failure) in failures.iter().enumerate() {
        for task in failure
            .traces()
            .into_iter()
            .flat_map(|traces| traces.holds())
        {
            places.entry(Key::Task(*task)).or_insert(i);
        }
    }
    // The innermost part that failed.
    let place_of = |actor: &Arc<Actor>| {
        let keys = actor.parts().filter_map(|part| match part {
            Part::Task(task) => Some(Key::Task(task.id)),
            Part::Body(token) => (*token == group).then_some(Key::Body),
        });
        keys.filter_map(|key| places.get(&key)).copied().next()
    };
    let root_of = |(i, failure): (usize, &Failure<E>)| {
        failure
            .traces()?
            .actors()
            .iter()
            .filter_map(place_of)
            .find(|&place| place != i)
    };
    let links = without_circles(failures.iter().enumerate().map(root_of).collect());
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

/// For each failure the place of the one that it is an echo of, if that is among them.
pub(super) fn links<E>(failures: &[Failure<E>]) -> Vec<Option<usize>> {
    let is_echo = |failure: &Failure<E>| failure.root().is_some();
    if !failures.iter().any(is_echo) {
        return vec![None; failures.len()];
    }
    let places = places(failures);
    // Those of a task with two failures, divided by `split`, may form a circle.
    without_circles(
        failures
            .iter()
            .map(|failure| places.get(&Key::of(failure.root()?)).copied())
            .collect(),
    )
}

/// For each place the one at the end of its links, which have no circles.
pub(super) fn ends(links: &[Option<usize>]) -> Vec<usize> {
    let mut ends = vec![None; links.len()];
    for start in 0..links.len() {
        let mut passed = Vec::new();
        let mut place = start;
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
    ends.into_iter().flatten().collect()
}

/// Where each task, and the body, failed first.
fn places<E>(failures: &[Failure<E>]) -> HashMap<Key, usize> {
    let mut places = HashMap::new();
    for (i, failure) in failures.iter().enumerate() {
        if let Some(root) = Root::of(failure.origin()) {
            places.entry(Key::of(&root)).or_insert(i);
        }
    }
    places
}

/// Takes the link of the first place of each circle away.
fn without_circles(mut links: Vec<Option<usize>>) -> Vec<Option<usize>> {
    // The walk that has come to a place: each begins at a place that none has come to.
    let mut walks = vec![usize::MAX; links.len()];
    for start in 0..links.len() {
        let mut next = Some(start);
        while let Some(place) = next.filter(|&place| walks[place] == usize::MAX) {
            walks[place] = start;
            next = links[place];
        }
        // Back at a place of this walk: a circle.
        if let Some(back) = next.filter(|&place| walks[place] == start) {
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
    fn circles_are_opened_at_their_first_place() {
        let opened = |links: &[usize]| {
            let links = links
                .iter()
                .map(|&link| (link != 9).then_some(link))
                .collect();
            ends(&without_circles(links))
        };
        assert_eq!(opened(&[1, 0]), [0, 0]);
        assert_eq!(
            opened(&[2, 2, 1]),
            [1, 1, 1],
            "0 leads into the circle of 1 and 2"
        );
        assert_eq!(opened(&[9, 0, 1, 2]), [0, 0, 0, 0]);
        assert_eq!(opened(&[3, 2, 1, 4, 0, 2]), [0, 1, 1, 0, 0, 1]);
        assert_eq!(opened(&[9, 9]), [0, 1]);
    }
}
