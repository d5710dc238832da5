//! The text of a report.
//!
//! ```text
//! scope `imports` (src/main.rs:9) was cancelled 5.0 s ago and has not ended
//!   cancelled: task `parser` (src/main.rs:12) failed: invalid digit (at src/main.rs:12)
//!   waits for task `rows` (src/main.rs:20) on `taskgroup` (4711): blocked in read on fd 7, a TCP socket to 127.0.0.1:5432, in code that is not ours: use `net::TcpStream` or a cancel hook
//!   waits for 1000 tasks (src/main.rs:30), the first of them 4, 5, 6, 7, 8, 9, 10, 11, 12, 13: running: ..
//!   waits for tasks 14, `parser` (src/main.rs:40): running: ..
//! ```
//!
//! Names are the user's, so control characters in them are escaped, and a long name is cut.

use std::fmt;
use std::panic::Location;

use super::report::{Laggard, StallReport};
use crate::cancel::{Name, Span};
use crate::snapshot::{RegionKind, TaskKind};
use crate::trace::Site;

/// How many tasks at one place are named.
const MOST_NAMED: usize = 10;

impl fmt::Display for StallReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("scope ")?;
        if let Some(name) = &self.name {
            write!(f, "`{}` ", Name(name))?;
        }

        write!(f, "({}) ", Site(self.location))?;

        let since = Span(self.since);
        match (&self.cancelled, self.has_ended) {
            (Some(_), false) => write!(f, "was cancelled {since} ago and has not ended")?,
            (None, false) => {
                write!(f, "is past its deadline for {since} and has not ended")?;
            }
            (Some(_), true) => write!(f, "ended after all, {since} after its cancel")?,
            (None, true) => write!(f, "ended after all, {since} after its deadline")?,
        }

        if self.has_ended {
            return match self.worst_latencies() {
                worst if worst.to_end().is_some() => write!(f, "; {worst}"),
                // Its body, or a callback, has kept it.
                _ => Ok(()),
            };
        }

        // A reader of a log sees that it is the same stall.
        if self.count > 1 {
            write!(f, " (report {})", self.count)?;
        }
        if let Some(cancelled) = &self.cancelled {
            write!(f, "\n  {cancelled}")?;
        }

        // A thousand tasks in one line of code are one line of the report.
        for alike in by_place(&self.laggards) {
            f.write_str("\n  waits for ")?;
            draw_alike(&alike, f)?;
        }

        // A callback that has returned is no longer a laggard, but may still be the reason.
        for kept in &self.kept {
            let (place, ran) = (Site(kept.location), Span(kept.ran));
            write!(
                f,
                "\n  the callback or hook at {place} kept the cancelling thread for {ran}"
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Laggard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        draw_alike(&[self], f)
    }
}

/// The properties that laggards share if they are drawn as one.
#[derive(PartialEq)]
struct Alike<'a> {
    kind: TaskKind,
    spawned: &'static Location<'static>,
    group: &'static Location<'static>,
    what: Option<&'a str>,
    waits_at: Option<&'static Location<'static>>,
    region: Option<&'static Location<'static>>,
}

fn alike(laggard: &Laggard) -> Alike<'_> {
    let wait = laggard.task.waits();
    Alike {
        kind: laggard.task.kind(),
        spawned: laggard.task.location(),
        group: laggard.group_location,
        what: wait.map(|wait| wait.what()),
        waits_at: wait.and_then(|wait| wait.location()),
        region: laggard.region.map(|region| region.location),
    }
}

/// Puts laggards at one place together, in the order of the first of each.
fn by_place(laggards: &[Laggard]) -> Vec<Vec<&Laggard>> {
    let mut places: Vec<(Alike<'_>, Vec<&Laggard>)> = Vec::new();
    for laggard in laggards {
        // In order: the first laggard is the innermost.
        let key = alike(laggard);
        match places.iter_mut().find(|(place, _)| *place == key) {
            Some((_, together)) => together.push(laggard),
            None => places.push((key, vec![laggard])),
        }
    }
    places.into_iter().map(|(_, together)| together).collect()
}

/// The first of these tasks, by their names or numbers.
struct Named<'a>(&'a [&'a Laggard]);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, laggard) in self.0.iter().take(MOST_NAMED).enumerate() {
            f.write_str(if index == 0 { "" } else { ", " })?;
            match laggard.task.name() {
                Some(name) => write!(f, "`{}`", Name(name))?,
                None => write!(f, "{}", laggard.task.id().0)?,
            }
        }
        Ok(())
    }
}

/// Draws laggards that are alike, of which there is at least one.
fn draw_alike(alike: &[&Laggard], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Some(first) = alike.first() else {
        return Ok(());
    };

    let place = Site(first.task.location());
    if alike.len() == 1 {
        draw_one(first, f)?;
    } else {
        // All of them where that makes a line that can be read, or enough to find some in a log.
        let named = Named(alike);
        if alike.len() <= MOST_NAMED {
            write!(f, "tasks {named} ({place})")?;
        } else {
            write!(
                f,
                "{} tasks ({place}), the first of them {named}",
                alike.len()
            )?;
        }
    }
    write!(f, ": {}", first.advice())
}

fn draw_one(laggard: &Laggard, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let task = &laggard.task;

    // Usually, a thread that runs a callback of the cancel is in no task.
    let place = Site(task.location());
    let is_callback = laggard
        .region
        .is_some_and(|region| region.region == RegionKind::Callback);
    match (task.kind(), task.name()) {
        (TaskKind::Task, Some(name)) => write!(f, "task `{}` ({place})", Name(name))?,
        (TaskKind::Task, None) => write!(f, "task {} ({place})", task.id().0)?,
        (TaskKind::Body, _) => write!(f, "the body of the scope at {place}")?,
        (TaskKind::Thread, _) if is_callback => f.write_str("the thread that cancels")?,
        _ => write!(f, "a thread ({place})")?,
    }

    match (task.thread(), task.system_thread()) {
        (Some(thread), Some(number)) => write!(f, " on `{}` ({number})", Name(thread)),
        (Some(thread), None) => write!(f, " on `{}`", Name(thread)),
        (None, Some(number)) => write!(f, " on thread {number}"),
        (None, None) => Ok(()),
    }
}
