//! How a deadlock is written.

use std::fmt;

use super::report::{Certainty, Deadlock, DeadlockedThread, Response};
use crate::cancel::Name;
use crate::lanes::FrameKind;
use crate::trace::Site;

/// How many threads that wait for a deadlock from outside are named.
const MOST_NAMED: usize = 10;

impl Deadlock {
    /// The threads and their waits, on one line.
    pub(super) fn summary(&self) -> String {
        let threads = self.threads.iter().map(|thread| {
            let (thread_text, place) = (thread.to_string(), Site(thread.location));
            format!("{thread_text} in {} ({place})", thread.what)
        });
        threads.collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Deadlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.threads.len();
        match (self.certainty, count) {
            (Certainty::Certain, 1) => f.write_str("deadlock: a thread waits for itself")?,
            (Certainty::Certain, _) => write!(f, "deadlock: {count} threads wait for each other")?,
            (Certainty::Suspected, _) => write!(
                f,
                "suspected deadlock: all threads sleep, and none is left to wake one of these \
                 {count}"
            )?,
        }

        for thread in &self.threads {
            thread.draw(f, "")?;
        }

        // The tail may be long: half of a program can wait for one deadlock.
        if !self.tail.is_empty() {
            write!(f, "\n  {} more wait for them:", self.tail.len())?;
        }

        for thread in self.tail.iter().take(MOST_NAMED) {
            thread.draw(f, "  ")?;
        }

        // The count says how much is left out.
        if self.tail.len() > MOST_NAMED {
            write!(f, "\n    and {} others", self.tail.len() - MOST_NAMED)?;
        }

        for note in &self.notes {
            write!(f, "\n  {note}")?;
        }

        // The remedy stands last, where a reader of a log looks first.
        match &self.group {
            _ if !self.is_cancellable() => f.write_str("\n  a cancel cannot end this")?,
            None => f.write_str("\n  they have no group in common; a cancel of one ends this")?,
            Some(group) => {
                f.write_str("\n  a cancel of ")?;
                match (&group.name, group.location) {
                    (Some(name), _) => write!(f, "group `{}`", Name(name))?,
                    (None, Some(location)) => {
                        write!(f, "the group that was opened at {}", Site(location))?;
                    }
                    (None, None) => write!(f, "group {}", group.id.0)?,
                }
                f.write_str(" ends this")?;
            }
        }

        // A call that finds a deadlock leaves the response to its caller, so there is none then.
        f.write_str(match self.response {
            None => "",
            Some(Response::Nothing) => "; nothing was done but this report",
            Some(Response::Cancel) => "; it is cancelled now",
            Some(Response::Abort) => "; the process aborts now",
        })
    }
}

/// The task, body or thread, as a report names it.
impl fmt::Display for DeadlockedThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.task, &self.name) {
            (_, Some(name)) => write!(f, "task `{}`", Name(name)),
            (Some(task), None) => write!(f, "task {}", task.0),
            (None, None) => match (self.kind, &self.thread) {
                (FrameKind::Scope, _) => f.write_str("the body of a scope"),
                (_, Some(thread)) => write!(f, "thread `{}`", Name(thread)),
                (_, None) => f.write_str("a thread"),
            },
        }
    }
}

impl DeadlockedThread {
    fn draw(&self, f: &mut fmt::Formatter<'_>, indent: &str) -> fmt::Result {
        write!(f, "\n{indent}  {self}")?;
        if let Some(location) = self.begun_at {
            write!(f, " ({})", Site(location))?;
        }
        match (&self.thread, self.system) {
            // The number 0 stands for a thread without a known number in the system.
            (Some(thread), 0) => write!(f, " on `{}`", Name(thread))?,
            (Some(thread), number) => write!(f, " on `{}` ({number})", Name(thread))?,
            (None, 0) => {}
            (None, number) => write!(f, " on thread {number}")?,
        }
        write!(f, ": {} ({})", self.what, Site(self.location))?;
        if let Some(object) = self.object {
            write!(f, " {object}")?;
        }

        write!(f, ", asleep for {:.1} s", self.since.as_secs_f64())?;

        if !self.in_place_of.is_empty() {
            let tasks = self.in_place_of.iter().map(|task| task.0.to_string());
            let tasks = tasks.collect::<Vec<_>>().join(", ");
            write!(f, "\n{indent}    runs in place of a wait of task {tasks}")?;
        }

        if let Some(note) = &self.note {
            write!(f, "\n{indent}    {note}")?;
        }

        // A writer may wait for hundreds of readers.
        for holder in self.waits_for.iter().take(MOST_NAMED) {
            write!(f, "\n{indent}    waits for ")?;
            match (&holder.name, holder.task, &holder.thread) {
                (Some(name), ..) => write!(f, "task `{}`", Name(name))?,
                (None, Some(task), _) => write!(f, "task {}", task.0)?,
                (None, None, Some(thread)) => write!(f, "thread `{}`", Name(thread))?,
                (None, None, None) => f.write_str("a thread")?,
            }
            if let Some(location) = holder.location {
                write!(f, ", which took it at {}", Site(location))?;
            }
        }
        Ok(())
    }
}
