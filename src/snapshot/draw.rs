//! The drawing of a snapshot.
//!
//! ```text
//! 1 group, 3 tasks, 2 workers (0 idle)
//! group 5 `imports` (src/main.rs:9), limit 2 (2 held, 0 lent), 4.2 s left
//! ├─ body: the end of the scope (src/main.rs:9), asleep for 1.3 s
//! ├─ task 6 `parser` (src/main.rs:12): Mutex::lock (src/main.rs:14) #93d70b5c1e2a, asleep for 1.3 s
//! │     held by task 7, taken at src/main.rs:21
//! └─ task 7 (src/main.rs:20): read (system call, not of this crate), fd 5, a pipe
//! ```
//!
//! Names are the user's, so control characters in them are escaped, and a long name is cut.

use std::fmt::{self, Write as _};

use super::{GroupSnapshot, Holder, RegionKind, Snapshot, TaskKind, TaskSnapshot, TaskState, Wait};
use crate::cancel::{Escaped, Name, Span};
use crate::trace::Site;

/// The policy of a group for which nothing else was asked.
pub(crate) const USUAL_POLICY: &str = "cancel siblings";

/// How many queued tasks of a group are drawn, and how many other tasks at one place.
const MOST_QUEUED: usize = 3;

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The counts are of the whole tree, however deep; bodies and threads are not tasks.
        let groups = self.all_groups().count();
        let tasks = self.tasks().filter(|task| task.kind == TaskKind::Task);
        let idle = self.workers.iter().filter(|worker| worker.is_idle());
        write!(
            f,
            "{}, {}, {} ({} idle)",
            counted(groups, "group"),
            counted(tasks.count(), "task"),
            counted(self.workers.len(), "worker"),
            idle.count()
        )?;

        // All lines are made before the first is written, so that no writer of the user runs in
        // between.
        let mut drawing = Drawing::default();
        for group in &self.groups {
            drawing.group(group, &[]);
        }

        for thread in &self.threads {
            drawing.task(thread, &[]);
        }
        for line in drawing.lines {
            write!(f, "\n{line}")?;
        }

        // Threads that were left behind are no longer in a group.
        for abandoned in &self.abandoned {
            f.write_str("\nabandoned")?;
            if let Some(name) = &abandoned.name {
                write!(f, " `{}`", Name(name))?;
            }
            let (place, age) = (Site(abandoned.location), abandoned.since.elapsed());
            write!(f, " ({place}), {} ago", Span(age))?;
        }

        // A reader must not take a tree with gaps for the whole.
        if self.incomplete != 0 {
            let parts = counted(self.incomplete, "part");
            write!(f, "\n{parts} left out: being written at that moment")?;
        }

        for note in &self.notes {
            write!(f, "\nnote: {note}")?;
        }
        Ok(())
    }
}

impl fmt::Display for GroupSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut drawing = Drawing::default();
        drawing.group(self, &[]);
        f.write_str(&drawing.lines.join("\n"))
    }
}

impl fmt::Display for TaskSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut drawing = Drawing::default();
        drawing.task(self, &[]);
        f.write_str(&drawing.lines.join("\n"))
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if let Some(location) = self.location {
            write!(f, " ({})", Site(location))?;
        }

        if let Some(object) = self.object {
            write!(f, " {object}")?;
        }
        if let Some(target) = &self.target {
            write!(f, ", {}", Name(target))?;
        }

        // The threads that hold the object have lines of their own, below the task.
        if self.held_by.is_empty() && !self.holders.is_empty() {
            let tasks = self.holders.iter().map(|task| format!("task {}", task.0));
            write!(f, " of {}", tasks.collect::<Vec<_>>().join(", "))?;
        }

        // A thread that has not slept yet has no time to show.
        if !self.since.is_zero() {
            write!(f, ", asleep for {}", Span(self.since))?;
        }
        Ok(())
    }
}

/// The lines of a drawing.
#[derive(Default)]
struct Drawing {
    lines: Vec<String>,
}

/// Whether each of the branches that lead to a line is the last of its node.
type Branches<'a> = &'a [bool];

impl Drawing {
    fn group(&mut self, group: &GroupSnapshot, branches: Branches<'_>) {
        self.line(branches, &heading(group));

        // It stands too deep for its place in the tree.
        if let (true, Some(task)) = (branches.is_empty(), group.opened_in) {
            let text = format!("opened in task {}", task.0);
            self.below(branches, Children::Follow, &text);
        }

        // The cause is a text of the user and may have several lines.
        if let Some(cancelled) = &group.cancelled {
            let text = cancelled.to_string();
            self.below(branches, Children::Follow, &format!("{}", Escaped(&text)));
        }

        // Tasks that run come first: a reader looks for these. Of a long queue only the
        // first are drawn.
        let (queued, begun): (Vec<_>, Vec<_>) = group
            .tasks
            .iter()
            .partition(|task| task.state == TaskState::Queued);
        let shown = queued.iter().take(MOST_QUEUED).copied();
        let children: Vec<_> = std::iter::once(&group.body)
            .chain(begun)
            .chain(shown)
            .collect();

        // The group counts more queued tasks than it lists, if there are many.
        let hidden = group.queued.saturating_sub(MOST_QUEUED.min(queued.len()));

        for (index, child) in children.iter().enumerate() {
            let is_last = index + 1 == children.len() && hidden == 0;
            self.task(child, &[branches, &[is_last]].concat());
        }
        if hidden != 0 {
            let more = format!("{} more, queued", counted(hidden, "task"));
            self.line(&[branches, &[true]].concat(), &more);
        }
    }

    fn task(&mut self, task: &TaskSnapshot, branches: Branches<'_>) {
        self.line(branches, &describe(task));
        let children = if task.groups.is_empty() {
            Children::None
        } else {
            Children::Follow
        };

        if let Some(wait) = &task.waits {
            // One line for each, since several threads can hold one lock to read.
            for holder in &wait.held_by {
                self.below(branches, children, &held_by(holder));
            }
        }

        // What keeps a cancel from the task, or lets another one in.
        for inside in &task.inside {
            let region = region(inside.region);
            self.below(
                branches,
                children,
                &format!("inside {region} ({})", Site(inside.location)),
            );
        }

        // A task that was told of its cancel and goes on is why a scope does not end.
        if let (1.., Some(at)) = (task.told, task.told_at) {
            let times = counted(task.told as usize, "time");
            self.below(
                branches,
                children,
                &format!("has seen the cancel {times}, last at {}", Site(at)),
            );
        }

        // The groups stand in the order in which they were opened.
        for (index, group) in task.groups.iter().enumerate() {
            let is_last = index + 1 == task.groups.len();
            self.group(group, &[branches, &[is_last]].concat());
        }
    }

    /// Adds a line for a node at the end of `branches`.
    fn line(&mut self, branches: Branches<'_>, text: &str) {
        // The last branch is drawn as a corner, and those around it as lines that go on or have
        // ended.
        let mut line = indent(branches.split_last().map_or(&[], |(_, outer)| outer));
        if let Some(is_last) = branches.last() {
            line.push_str(if *is_last { "└─ " } else { "├─ " });
        }
        line.push_str(text);
        self.lines.push(line);
    }

    /// Adds a line that says more about the node at the end of `branches`.
    fn below(&mut self, branches: Branches<'_>, children: Children, text: &str) {
        let branch = match children {
            Children::None => " ",
            Children::Follow => "│",
        };
        let line = format!("{}{branch}  {text}", indent(branches));
        self.lines.push(line);
    }
}

/// Whether the children of a node stand below the lines about the node itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Children {
    None,
    Follow,
}

fn indent(branches: Branches<'_>) -> String {
    let parts = branches
        .iter()
        .map(|is_last| if *is_last { "   " } else { "│  " });
    parts.collect()
}

fn heading(group: &GroupSnapshot) -> String {
    let mut text = match &group.name {
        Some(name) => {
            let number = group.id.0;
            format!("group {number} `{}` ({})", Name(name), Site(group.location))
        }
        None => format!("group {} ({})", group.id.0, Site(group.location)),
    };

    // The usual policy is not drawn.
    if !matches!(group.policy, "" | USUAL_POLICY) {
        let _ = write!(text, ", {}", group.policy);
    }

    // What else may keep tasks from beginning, or end them.
    if let Some(limit) = group.limit {
        let (total, held, lent) = (limit.total, limit.held, limit.lent);
        let _ = write!(text, ", limit {total} ({held} held, {lent} lent)");
    }

    if let Some(remaining) = group.remaining {
        let _ = write!(text, ", {} left", Span(remaining));
    }
    text
}

fn describe(task: &TaskSnapshot) -> String {
    let mut text = match (task.kind, &task.name) {
        (TaskKind::Body, _) => "body".to_owned(),
        (TaskKind::Thread, _) => "thread".to_owned(),
        (TaskKind::Abandon, _) => format!("abandon ({})", Site(task.location)),
        (TaskKind::Task, Some(name)) => {
            let number = task.id.0;
            format!("task {number} `{}` ({})", Name(name), Site(task.location))
        }
        (TaskKind::Task, None) => format!("task {} ({})", task.id.0, Site(task.location)),
    };

    // The name helps in a debugger, the number in the tools of the system.
    match (&task.thread, task.system_thread) {
        (Some(name), Some(number)) => {
            let _ = write!(text, " on `{}` ({number})", Name(name));
        }
        (Some(name), None) => {
            let _ = write!(text, " on `{}`", Name(name));
        }
        (None, Some(number)) => {
            let _ = write!(text, " on thread {number}");
        }
        (None, None) => {}
    }

    if task.is_starting {
        text.push_str(", starting");
    }

    // A wait says more than the state that goes with it.
    let doing = match (task.state, &task.waits) {
        (TaskState::Dropping, Some(wait)) => format!("drops its values, in {wait}"),
        (_, Some(wait)) => wait.to_string(),
        (TaskState::Queued, None) => "queued".to_owned(),
        (TaskState::Elsewhere, None) => "in code that is not of this crate".to_owned(),
        (TaskState::InScope, None) => "in a scope".to_owned(),
        (TaskState::Dropping, None) => "drops its values".to_owned(),
        (_, None) => "running".to_owned(),
    };

    let _ = write!(text, ": {doing}");
    text
}

/// Says which thread holds an object, and where it took it.
pub(crate) fn held_by(holder: &Holder) -> String {
    let mut text = String::from("held by ");

    // The task is known by its number; a thread outside of tasks only by its name.
    match (holder.task, &holder.name, &holder.thread) {
        (Some(task), Some(name), _) => {
            let _ = write!(text, "task {} `{}`", task.0, Name(name));
        }
        (Some(task), None, _) => {
            let _ = write!(text, "task {}", task.0);
        }
        (None, _, Some(thread)) => {
            let _ = write!(text, "thread `{}`", Name(thread));
        }
        (None, _, None) => text.push_str("a thread"),
    }

    if let Some(location) = holder.location {
        let _ = write!(text, ", taken at {}", Site(location));
    }
    text
}

fn region(kind: RegionKind) -> &'static str {
    match kind {
        RegionKind::Run => "CancelToken::run",
        RegionKind::Shield => "a shield",
        RegionKind::WindingDown => "winding_down",
        RegionKind::CancelHook => "with_cancel_hook",
        RegionKind::Callback => "a callback of a cancel",
    }
}

fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}
