//! The rows of a picture: a flat list of the unfolded nodes, in the order of the tree.

use std::collections::{HashMap, HashSet};

use crate::picture::{Group, Picture, Task, escaped, named, span};

/// The longest indent, in bytes.
const DEEPEST: usize = 200;

/// How many queued tasks of a group are shown at first.
const FEW: usize = 3;

/// The identity of a row. It stays the same from one picture to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    Group(u64),
    /// The thread that has opened the group of this number.
    Body(u64),
    Task(u64),
    /// A thread outside of any group, by the number that the system gave it.
    Thread(u32),
    /// The other queued tasks of the group of this number.
    Queued(u64),
    /// A line about the row above.
    Detail,
}

/// The content of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    /// By its place in the picture.
    Group(usize),
    /// By its place in the picture.
    Task(usize),
    Text(String),
}

#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) key: Key,
    pub(crate) node: Node,
    /// The branches that lead to it.
    pub(crate) branches: String,
    /// None for a row that cannot be folded.
    pub(crate) is_open: Option<bool>,
    /// The group that it belongs to.
    pub(crate) group: Option<u64>,
}

/// The nodes that are folded otherwise than at first: then groups are open, and all else is closed.
pub(crate) type Folds = HashSet<Key>;

/// A node without rows so far.
struct Pending {
    node: Node,
    key: Key,
    /// The text before its branch.
    indent: String,
    is_last: bool,
    is_root: bool,
    group: Option<u64>,
}

impl Pending {
    /// Returns the branch to the node, and the indent of the rows inside of it.
    fn branches(&self) -> (&'static str, String) {
        let (branch, below) = match (self.is_root, self.is_last) {
            (true, _) => return ("", String::new()),
            (false, true) => ("└─ ", "   "),
            (false, false) => ("├─ ", "│  "),
        };

        // Scopes may be nested deeper than any screen is wide.
        if self.indent.len() > DEEPEST {
            return (branch, self.indent.clone());
        }
        (branch, format!("{}{below}", self.indent))
    }
}

/// Where everything belongs.
struct Children {
    groups: HashMap<u64, Vec<usize>>,
    tasks: HashMap<u64, Vec<usize>>,
}

/// Returns the rows from the top to the bottom.
pub(crate) fn rows(picture: &Picture, folds: &Folds) -> Vec<Row> {
    let (children, roots) = arrange(picture);
    let mut rows = Vec::new();

    // By hand and not by recursion, since scopes may be nested very deep. The last is the next.
    let mut pending = Vec::new();
    push(&mut pending, roots, "", true);
    while let Some(next) = pending.pop() {
        let (branch, inside) = next.branches();
        let is_folded = folds.contains(&next.key);
        let (is_open, details, below) = match &next.node {
            Node::Group(index) => {
                let group = &picture.snapshot.groups[*index];
                let below = (!is_folded).then(|| inside_group(picture, &children, group, folds));
                (Some(!is_folded), cancel_of(group), below)
            }
            Node::Task(index) => {
                let task = &picture.snapshot.tasks[*index];
                let details = match is_folded {
                    true => details(task),
                    false => Vec::new(),
                };
                let groups = groups_of(&children, picture, task);
                (Some(is_folded), details, Some(groups))
            }
            Node::Text(_) => {
                let is_rest = matches!(next.key, Key::Queued(_));
                (is_rest.then_some(is_folded), Vec::new(), None)
            }
        };

        rows.push(Row {
            key: next.key,
            node: next.node,
            branches: format!("{}{branch}", next.indent),
            is_open,
            group: next.group,
        });
        let below = below.unwrap_or_default();
        let stem = if below.is_empty() { "   " } else { "│  " };
        rows.extend(details.into_iter().map(|text| Row {
            key: Key::Detail,
            node: Node::Text(text),
            branches: format!("{inside}{stem}"),
            is_open: None,
            group: next.group,
        }));
        push(&mut pending, below, &inside, false);
    }
    rows
}

type Below = Vec<(Node, Key, Option<u64>)>;

fn push(pending: &mut Vec<Pending>, nodes: Below, indent: &str, is_root: bool) {
    let count = nodes.len();
    let nodes = nodes.into_iter().enumerate().rev();
    pending.extend(nodes.map(|(at, (node, key, group))| Pending {
        node,
        key,
        indent: indent.to_owned(),
        is_last: at + 1 == count,
        is_root,
        group,
    }));
}

/// Returns where everything belongs, and what belongs to nothing.
fn arrange(picture: &Picture) -> (Children, Below) {
    let snapshot = &picture.snapshot;
    let mut children = Children {
        groups: HashMap::new(),
        tasks: HashMap::new(),
    };

    let known: HashSet<u64> = snapshot.groups.iter().map(|group| group.id).collect();
    let openers: HashSet<u64> = snapshot.tasks.iter().map(|task| task.id).collect();

    let mut roots = Vec::new();
    for (index, group) in snapshot.groups.iter().enumerate() {
        match group.parent.filter(|parent| openers.contains(parent)) {
            // The body of a group has the number of the group.
            Some(parent) if parent != group.id => {
                children.groups.entry(parent).or_default().push(index);
            }
            _ => roots.push((Node::Group(index), Key::Group(group.id), Some(group.id))),
        }
    }

    for (index, task) in snapshot.tasks.iter().enumerate() {
        match task.group.filter(|group| known.contains(group)) {
            Some(group) => children.tasks.entry(group).or_default().push(index),
            None => roots.push((Node::Task(index), task.key(), None)),
        }
    }

    let abandoned = snapshot.abandoned.iter().map(|call| {
        let name = call.name.as_deref().unwrap_or_default();
        let (place, age) = (call.location.shown(), span(call.since_ns));
        format!("abandoned `{}` ({place}) {age} ago", escaped(name))
    });

    let notes = snapshot.notes.iter().map(|note| escaped(note));
    roots.extend(
        abandoned
            .chain(notes)
            .map(|text| (Node::Text(text), Key::Detail, None)),
    );

    // The queued ones come last, in their order.
    for tasks in children.tasks.values_mut() {
        tasks.sort_by_key(|index| {
            let task = &snapshot.tasks[*index];
            (task.state == "queued", task.kind != "body")
        });
    }
    (children, roots)
}

/// Returns the body and the tasks of a group, with few of the queued ones unless they are unfolded.
fn inside_group(picture: &Picture, children: &Children, group: &Group, folds: &Folds) -> Below {
    let tasks = children.tasks.get(&group.id).map_or(&[][..], Vec::as_slice);
    let all = &picture.snapshot.tasks;
    let is_begun = |index: &&usize| all[**index].state != "queued";
    let begun = tasks.iter().filter(is_begun).count();
    let listed = tasks.len() - begun;

    let rest = Key::Queued(group.id);
    let shown = match folds.contains(&rest) {
        true => listed,
        false => listed.min(FEW),
    };

    let tasks = tasks.iter().take(begun + shown);
    let mut below: Below = tasks
        .map(|index| (Node::Task(*index), all[*index].key(), Some(group.id)))
        .collect();
    let hidden = group.queued.saturating_sub(shown);
    if hidden != 0 || listed > FEW {
        let text = format!("{hidden} more, queued");
        below.push((Node::Text(text), rest, Some(group.id)));
    }
    below
}

fn groups_of(children: &Children, picture: &Picture, task: &Task) -> Below {
    let groups = children.groups.get(&task.id).into_iter().flatten();
    groups
        .map(|index| {
            let id = picture.snapshot.groups[*index].id;
            (Node::Group(*index), Key::Group(id), Some(id))
        })
        .collect()
}

fn cancel_of(group: &Group) -> Vec<String> {
    let cancel = group.cancelled.iter();
    cancel
        .map(|cancel| {
            let (text, place) = (escaped(&cancel.text), cancel.location.shown());
            format!("cancelled: {text} ({place})")
        })
        .collect()
}

/// Returns what there is to know about a task.
fn details(task: &Task) -> Vec<String> {
    let verb = match &*task.kind {
        "body" => "opened",
        "task" => "spawned",
        _ => "entered",
    };

    let mut lines = vec![format!("{verb} at {}", task.location.shown())];
    if let Some(number) = task.system_thread {
        let name = escaped(task.thread.as_deref().unwrap_or_default());
        lines.push(format!("on thread {number} `{name}`"));
    }

    if let Some(wait) = &task.wait {
        let place = wait.location.as_ref();
        let place = place.map_or(String::new(), |place| format!(" at {}", place.shown()));
        let object = wait.object.as_deref().map_or(String::new(), |object| {
            format!(", for object {}", escaped(object))
        });
        lines.push(format!("waits: {}{place}{object}", escaped(&wait.what)));
        if let Some(target) = &wait.target {
            lines.push(format!("for {}", escaped(target)));
        }
        lines.extend(wait.held_by.iter().map(|holder| {
            let at = holder.location.as_ref();
            let at = at.map_or(String::new(), |at| format!(", taken at {}", at.shown()));
            format!("held by {}{at}", holder.shown())
        }));
        if wait.held_by.is_empty() && !wait.holders.is_empty() {
            let tasks = wait.holders.iter().map(|task| named("task", *task, None));
            lines.push(format!("of {}", tasks.collect::<Vec<_>>().join(", ")));
        }
        if wait.since_ns != 0 {
            lines.push(format!("asleep for {}", span(wait.since_ns)));
        }
        if !wait.is_cancellable {
            lines.push("a cancel does not end this wait".to_owned());
        }
    }

    for inside in &task.inside {
        let region = escaped(&inside.region).replace('_', " ");
        lines.push(format!("inside {region} ({})", inside.location.shown()));
    }
    if let (1.., Some(at)) = (task.cancels_seen, &task.cancel_seen_at) {
        let times = task.cancels_seen;
        lines.push(format!(
            "has seen the cancel {times} times, last at {}",
            at.shown()
        ));
    }
    lines
}

impl Task {
    pub(crate) fn key(&self) -> Key {
        match (&*self.kind, self.system_thread) {
            ("body", _) => Key::Body(self.id),
            // It gets a new number in each picture.
            ("thread", Some(thread)) => Key::Thread(thread),
            _ => Key::Task(self.id),
        }
    }
}
