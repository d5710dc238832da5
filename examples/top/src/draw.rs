//! Draws the screen. Only the rows that are on it are drawn.

use std::time::Instant;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;
use unicode::{cut, padded};

use crate::app::{App, Fate, Mode};
use crate::picture::{Group, Task, escaped, span};
use crate::tree::{Node, Row};

mod unicode;

/// The hint for each key, the most useful first.
const KEYS: [(&str, &str); 7] = [
    ("q", "quit"),
    ("?", "help"),
    ("↑↓", "move"),
    ("←→", "fold"),
    ("enter", "details"),
    ("c", "cancel group"),
    ("p", "pause"),
];

const HELP: [&str; 18] = [
    "↑ ↓ k j             move",
    "page up, page down  move by a screen",
    "home end g G        to the first, the last row",
    "→ ←                 unfold, fold or go to the row around",
    "enter, space        fold a group, or show the details of a task",
    "c                   cancel the group of the row",
    "p                   pause: keep this picture",
    "ctrl-l              draw all again",
    "q, ctrl-c           quit",
    "",
    "×  the group was cancelled",
    "!  it was, five seconds ago or more, and has not ended",
    "",
    "running    in its own code",
    "foreign    in a system call, or in code of others",
    "waiting    in a blocking point of taskgroup",
    "in scope   waits for the tasks of the group below",
    "queued     has no thread or no permit yet",
];

/// The widths of the columns. A column that there is no room for has none.
#[derive(Clone, Copy)]
struct Columns {
    tree: usize,
    state: usize,
    wait: usize,
    since: usize,
    held: usize,
}

impl Columns {
    /// Shares a width out. The tree has what it wants, within bounds.
    fn of(width: usize, tree: usize) -> Self {
        let [state, since, held] = match width {
            0..36 => [0, 0, 0],
            36..64 => [10, 0, 0],
            64..110 => [10, 8, 0],
            _ => [10, 8, 20],
        };

        let rest = width.saturating_sub(state + since + held);
        let tree = match width {
            0..64 => rest,
            _ => tree.clamp(rest / 3, rest * 3 / 5),
        };

        Columns {
            tree,
            state,
            wait: rest - tree,
            since,
            held,
        }
    }
}

impl App {
    /// Draws the whole view.
    pub fn draw(&mut self, frame: &mut Frame<'_>, now: Instant) {
        let area = frame.area();
        let buffer = frame.buffer_mut();

        // On a low screen, the rows get the lines that are left.
        let (head, foot) = match area.height {
            0 => return,
            1 => (0, 0),
            2..=3 => (0, 1),
            4..=7 => (1, 1),
            _ => (3, 1),
        };

        let line = |row: u16| Rect::new(area.x, area.y + row, area.width, 1);

        if head > 0 {
            self.first_line(now).render(line(0), buffer);
        }
        let height = area.height - head - foot;
        let body = Rect::new(area.x, area.y + head, area.width, height);
        let first = self.scroll(usize::from(height));
        let columns = self.columns(first, body);
        if head > 1 {
            self.second_line().render(line(1), buffer);
            self.titles(columns).render(line(2), buffer);
        }

        match self.mode {
            Mode::Help => help(body, buffer),
            _ => self.draw_rows(first, columns, body, buffer),
        }
        if foot > 0 {
            self.footer(usize::from(area.width))
                .render(line(area.height - 1), buffer);
        }
    }

    /// Returns columns that are wide enough for the tree on the screen. They are not narrowed while
    /// the screen is as wide, so that they move little.
    fn columns(&mut self, first: usize, body: Rect) -> Columns {
        let width = usize::from(body.width);
        let shown = self.rows.iter().skip(first).take(usize::from(body.height));
        let needed = shown.map(|row| match self.cells(row) {
            Some(cells) => unicode::width(&before(row, ' ')) + unicode::width(&cells.title) + 2,
            None => 0,
        });

        let needed = needed.max().unwrap_or(0);
        self.widths = match self.widths {
            (before, tree) if before == width => (width, tree.max(needed)),
            _ => (width, needed),
        };
        Columns::of(width, self.widths.1)
    }

    fn draw_rows(&self, first: usize, columns: Columns, body: Rect, buffer: &mut Buffer) {
        let shown = self.rows.iter().enumerate().skip(first);
        for ((at, row), y) in shown.zip(body.y..body.bottom()) {
            let line = Rect::new(body.x, y, body.width, 1);
            self.row(row, columns).render(line, buffer);
            if at == self.selected {
                buffer.set_style(line, Modifier::REVERSED);
            }
        }
    }

    fn first_line(&self, now: Instant) -> Line<'static> {
        let snapshot = &self.picture.snapshot;
        let process = &self.picture.process;
        let age = now.saturating_duration_since(self.taken).as_secs();
        let note = match (self.is_paused, age) {
            (true, _) => "   PAUSED".to_owned(),
            (false, 0..3) => String::new(),
            (false, age) => format!("   NO ANSWER FOR {age} s"),
        };

        let name = format!(" {} ({})", escaped(&process.name), process.id);
        let idle = process.idle_workers;
        let groups = counted(snapshot.groups.len(), "group");
        let threads = counted(process.threads, "thread");
        let text = format!(
            "   {groups}, {} running, {} queued, {threads} ({idle} idle, at most {})",
            process.running, process.queued, process.peak_threads
        );

        let strong = Style::new().add_modifier(Modifier::BOLD);
        Line::from(vec![
            Span::styled(name, strong),
            Span::raw(text),
            Span::styled(note, strong.patch(self.colour(Color::Yellow))),
        ])
    }

    fn second_line(&self) -> Line<'static> {
        let process = &self.picture.process;
        let snapshot = &self.picture.snapshot;
        let mut text = format!(
            " ended: {} finished, {} failed, {} cancelled",
            process.finished, process.failed, process.cancelled
        );

        if process.longest_cancel_ns != 0 {
            let longest = span(process.longest_cancel_ns);
            text.push_str(&format!(", up to {longest} after their cancel"));
        }
        if !snapshot.abandoned.is_empty() {
            let count = counted(snapshot.abandoned.len(), "thread");
            text.push_str(&format!("; {count} left behind"));
        }

        if snapshot.incomplete != 0 {
            text.push_str(&format!("; {} parts were busy", snapshot.incomplete));
        }
        Line::raw(text)
    }

    fn titles(&self, columns: Columns) -> Line<'static> {
        let mut text = padded("  GROUPS AND TASKS", columns.tree);
        text += &padded("STATE", columns.state);
        text += &padded("WAITS FOR", columns.wait);
        text += &padded("SINCE", columns.since);
        text += &padded("HELD BY", columns.held);
        Line::styled(text, Style::new().add_modifier(Modifier::UNDERLINED))
    }

    fn row(&self, row: &Row, columns: Columns) -> Line<'static> {
        let fate = self.fate(row.group);
        let before = before(row, fate.mark());
        let Some(cells) = self.cells(row) else {
            let Node::Text(text) = &row.node else {
                return Line::default();
            };
            let width = columns.whole();
            let style = Style::new().add_modifier(Modifier::DIM);
            return Line::styled(cut(&format!("{before}{text}"), width), style);
        };

        let indent = cut(&before, columns.tree);
        let room = columns.tree - unicode::width(&indent);
        let mut rest = padded(&cells.title, room);
        rest += &padded(&cells.state, columns.state);
        if cells.since.is_empty() && cells.held.is_empty() {
            // There is room for more.
            rest += &padded(&cells.wait, columns.wait + columns.since + columns.held);
        } else {
            rest += &padded(&cells.wait, columns.wait);
            rest += &padded(&cells.since, columns.since);
            rest += &padded(&cells.held, columns.held);
        }

        // The branches keep their colour, so that the tree stays one picture.
        let branches = match fate {
            Fate::Going => Style::new().add_modifier(Modifier::DIM),
            _ => self.fated(fate),
        };

        Line::from(vec![
            Span::styled(indent, branches),
            Span::styled(rest, cells.style),
        ])
    }

    /// Returns what a row says in its columns; none for a line of text.
    fn cells(&self, row: &Row) -> Option<Cells> {
        let fate = self.fate(row.group);
        let snapshot = &self.picture.snapshot;
        match &row.node {
            Node::Text(_) => None,
            Node::Group(index) => {
                let group = &snapshot.groups[*index];
                Some(Cells {
                    title: group.shown(),
                    state: group_state(group, fate),
                    wait: about(group),
                    since: String::new(),
                    held: String::new(),
                    style: self.fated(fate).add_modifier(Modifier::BOLD),
                })
            }
            Node::Task(index) => {
                let task = &snapshot.tasks[*index];
                Some(Cells {
                    title: title(task),
                    state: task_state(task),
                    wait: waits(task),
                    since: asleep(task),
                    held: held(task),
                    style: self.fated(fate).patch(self.by_state(task, fate)),
                })
            }
        }
    }

    fn fated(&self, fate: Fate) -> Style {
        match fate {
            Fate::Going => Style::new(),
            Fate::Cancelled => self.colour(Color::Red),
            Fate::Stalled => self.colour(Color::Magenta).add_modifier(Modifier::BOLD),
        }
    }

    fn by_state(&self, task: &Task, fate: Fate) -> Style {
        match &*task.state {
            "queued" => Style::new().add_modifier(Modifier::DIM),
            _ if fate != Fate::Going => Style::new(),
            "running" | "in_place" => self.colour(Color::Green),
            "foreign" | "elsewhere" => self.colour(Color::Yellow),
            _ => Style::new(),
        }
    }

    fn colour(&self, colour: Color) -> Style {
        match self.has_colour {
            true => Style::new().fg(colour),
            false => Style::new(),
        }
    }

    fn footer(&self, width: usize) -> Line<'static> {
        let strong = Style::new().add_modifier(Modifier::BOLD);
        if let Mode::Confirm(group) = self.mode {
            let tasks = counted(self.tasks_of(group), "task");
            let question = format!(" cancel {} with {tasks}? y/n", self.name_of(group));
            return Line::styled(cut(&question, width), strong);
        }

        if !self.message.is_empty() {
            return Line::styled(cut(&format!(" {}", self.message), width), strong);
        }

        let mut line = Line::default();
        for (key, does) in KEYS {
            let next = [
                Span::styled(format!(" {key}"), strong),
                Span::raw(format!(" {does} ")),
            ];
            let more: usize = next.iter().map(Span::width).sum();
            if line.width() + more > width {
                break;
            }
            line.spans.extend(next);
        }
        line
    }
}

impl Columns {
    fn whole(self) -> usize {
        self.tree + self.state + self.wait + self.since + self.held
    }
}

/// The texts of a row.
struct Cells {
    title: String,
    state: String,
    wait: String,
    since: String,
    held: String,
    style: Style,
}

impl Fate {
    fn mark(self) -> char {
        match self {
            Fate::Going => ' ',
            Fate::Cancelled => '×',
            Fate::Stalled => '!',
        }
    }
}

/// Returns what stands before the title of a row.
fn before(row: &Row, mark: char) -> String {
    let fold = match (row.is_open, &row.node) {
        (Some(true), _) => "▾ ",
        // Any task has details.
        (Some(false), Node::Task(_)) | (None, _) => "",
        (Some(false), _) => "▸ ",
    };
    format!("{mark} {}{fold}", row.branches)
}

fn help(body: Rect, buffer: &mut Buffer) {
    for (text, y) in HELP.iter().zip(body.y..body.bottom()) {
        let line = Rect::new(body.x, y, body.width, 1);
        Line::raw(format!("  {text}")).render(line, buffer);
    }
}

fn group_state(group: &Group, fate: Fate) -> String {
    let state = match fate {
        Fate::Stalled => "stalled",
        Fate::Cancelled => "cancelled",
        Fate::Going if group.is_ending => "ending",
        Fate::Going => "open",
    };
    state.to_owned()
}

/// Says what there is to know about a group, beside its name.
fn about(group: &Group) -> String {
    let mut parts = vec![group.location.short()];
    if let Some(limit) = &group.limit {
        parts.push(format!("limit {} ({} held)", limit.total, limit.held));
    }
    if group.queued != 0 {
        parts.push(format!("{} queued", group.queued));
    }
    if let Some(remaining) = group.remaining_ns {
        parts.push(format!("{} left", span(remaining)));
    }
    parts.join(", ")
}

fn title(task: &Task) -> String {
    match &*task.kind {
        "body" => "body".to_owned(),
        "thread" => {
            let name = task.thread.as_deref().unwrap_or_default();
            format!("thread `{}`", escaped(name))
        }
        "abandon" => "abandoned call".to_owned(),
        _ => crate::picture::named("task", task.id, task.name.as_deref()),
    }
}

fn task_state(task: &Task) -> String {
    match &*task.state {
        _ if task.is_starting => "starting".to_owned(),
        state => escaped(state).replace('_', " "),
    }
}

fn waits(task: &Task) -> String {
    let Some(wait) = &task.wait else {
        return String::new();
    };

    // The state says the rest.
    let what = wait
        .what
        .trim_end_matches(" (system call, not of this crate)");
    let mut text = escaped(what);
    if let Some(place) = &wait.location {
        text.push_str(&format!(" {}", place.short()));
    }

    for more in [&wait.target, &wait.object].into_iter().flatten() {
        text.push_str(&format!(", {}", escaped(more)));
    }
    text
}

fn asleep(task: &Task) -> String {
    match task.wait.as_ref().map(|wait| wait.since_ns) {
        None | Some(0) => String::new(),
        Some(since) => span(since),
    }
}

fn held(task: &Task) -> String {
    let Some(wait) = &task.wait else {
        return String::new();
    };
    match (&*wait.held_by, &*wait.holders, wait.group) {
        ([holder, ..], _, _) => holder.shown(),
        ([], [task], _) => format!("task {task}"),
        ([], [_, _, ..], _) => format!("{} tasks", wait.holders.len()),
        ([], [], Some(group)) => format!("group {group}"),
        ([], [], None) => String::new(),
    }
}

fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}
