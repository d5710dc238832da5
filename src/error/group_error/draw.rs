//! How a report is printed and drawn.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::GroupError;
use crate::cancel::Name;
use crate::error::echo::{ends, links};
use crate::error::task_error::TaskError;
use crate::error::tree::{Outline, TreeNode};
use crate::trace::Site;

/// The worst latency to the end is drawn from here on: a reader asks then why the scope took so
/// long. A scope that was not cancelled has none.
const WORTH_A_LINE: Duration = Duration::from_secs(1);

impl<E: TaskError> GroupError<E> {
    /// Returns what a sentence calls the group.
    fn label(&self) -> String {
        match (&self.0.name, self.0.location) {
            (Some(name), _) => format!("group `{}`", Name(name)),
            (None, Some(location)) => format!("the group at {}", Site(location)),
            (None, None) => "a group".to_owned(),
        }
    }

    fn summary(&self) -> &str {
        // Kept, since the line is a part of the lines of the groups around.
        self.0.summary.get_or_init(|| self.summarize())
    }

    fn summarize(&self) -> String {
        match (self.primary(), self.failures().len(), self.cancelled()) {
            (Some(primary), 1, _) => format!("1 failure in {}: {primary}", self.label()),
            (Some(primary), n, _) => format!("{n} failures in {}, first: {primary}", self.label()),
            // "was cancelled: why" holds the whole text of the `Cancelled` below, so a drawing of
            // the chain does not repeat that.
            (None, _, Some(cancelled)) => format!("{} was {cancelled}", self.label()),
            (None, _, None) => format!("{} had no tasks to give a result", self.label()),
        }
    }

    fn node(&self) -> TreeNode {
        let mut heading = "group".to_owned();

        // A report made of a bare `Cancelled` has neither a name nor a place.
        if let Some(name) = &self.0.name {
            heading += &format!(" `{}`", Name(name));
        }
        if let Some(location) = self.0.location {
            heading += &format!(" ({})", Site(location));
        }

        // A count of zero would not tell a group that was cut short from a group without tasks.
        heading += &match (self.failures().len(), self.cancelled()) {
            (0, Some(_)) => " was cut short".to_owned(),
            (0, None) => " had no tasks to give a result".to_owned(),
            (1, _) => ": 1 failure".to_owned(),
            (n, _) => format!(": {n} failures"),
        };

        let mut node = TreeNode::new(heading);
        for child in self.nodes() {
            node.add_child(child);
        }

        // The cancel is not a failure, so it stands behind all of them.
        if let Some(cancelled) = self.cancelled() {
            node.add_child(TreeNode::new(cancelled.to_string()));
        }

        let worst = self.worst_latencies();
        if worst
            .to_end()
            .is_some_and(|end| end.latency() >= WORTH_A_LINE)
        {
            // No failure either: the task may be one of those above.
            node.add_child(TreeNode::new(format!("note: {worst}")));
        }
        node
    }

    /// Returns the nodes of the failures. All echoes of a failure, and theirs in turn, stand right
    /// below it.
    fn nodes(&self) -> impl Iterator<Item = TreeNode> {
        let failures = self.failures();
        let links = links(failures);

        let node = |i: usize| {
            // An echo that does not stand below its own root names it.
            let echo = failures[i].root().map(|root| match links[i] {
                Some(above) if links[above].is_none() => "echo".to_owned(),
                _ => format!("echo of {root}"),
            });

            // A single failure needs no telling apart.
            let told_apart = failures.len() > 1 && self.0.canceller == Some(i);

            let notes: Vec<_> = echo
                .as_deref()
                .into_iter()
                .chain(told_apart.then_some("cancelled the group"))
                .collect();
            failures[i].node(&notes)
        };

        // A failure that is not an echo is a node of its own. The others are added to these.
        let mut nodes: Vec<_> = (0..failures.len())
            .map(|i| links[i].is_none().then(|| node(i)))
            .collect();

        // All echoes hang at the end of their links, so the drawing does not deepen with a chain.
        for (i, end) in ends(&links)
            .into_iter()
            .enumerate()
            .filter(|&(i, end)| i != end)
        {
            // An end has no link, so it has its node already.
            nodes[end]
                .as_mut()
                .into_iter()
                .for_each(|root| root.add_child(node(i)));
        }

        nodes.into_iter().flatten()
    }

    fn outline(&self) -> &Outline {
        // A group around finds by these what caused this report (step 2 in `echo`).
        let traces = || {
            self.primary()?
                .traces()
                .map(|traces| traces.actors().to_vec())
        };

        // Drawn once, since the drawings of the groups around share it.
        self.0.outline.get_or_init(|| Outline {
            summary: self.summary().to_owned(),
            root: Arc::new(self.node()),
            traces: traces().unwrap_or_default(),
        })
    }
}

impl<E: TaskError> fmt::Display for GroupError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return self.outline().fmt(f);
        }
        f.write_str(self.summary())
    }
}

impl<E: TaskError> fmt::Debug for GroupError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.outline(), f)
    }
}

impl<E: TaskError> Error for GroupError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self.cancelled() {
            Some(cancelled) if self.failures().is_empty() => Some(cancelled),
            None if self.failures().is_empty() => None,
            // A chain ends at the drawing, which has no source.
            _ => Some(self.outline()),
        }
    }
}
