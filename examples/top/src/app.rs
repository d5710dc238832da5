//! The state of the program, and the effect of each key.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::picture::{Picture, Task, escaped};
use crate::tree::{self, Folds, Key, Row};

/// A group that was cancelled so long ago and is still there is stalled, as for `stall_after`.
const STALLED: Duration = Duration::from_secs(5);

/// The action of the program after a key.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// To show the change.
    Draw,
    /// To show all of the screen again.
    Redraw,
    /// To ask the process to cancel the group of this number.
    Cancel(u64),
    /// To end.
    Quit,
}

/// The use of the footer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mode {
    Normal,
    /// It asks whether the group of this number is to be cancelled.
    Confirm(u64),
    Help,
}

/// How a group stands to its cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Going,
    Cancelled,
    Stalled,
}

/// The state of the view.
#[derive(Debug)]
pub struct App {
    pub(crate) picture: Picture,
    pub(crate) rows: Vec<Row>,
    folds: Folds,
    /// The place of the selected row, and of the first one on the screen.
    pub(crate) selected: usize,
    pub(crate) top: usize,
    /// How many rows there was room for, so that a page can be turned.
    pub(crate) page: usize,
    pub(crate) mode: Mode,
    pub(crate) message: String,
    pub(crate) is_paused: bool,
    /// When the picture came.
    pub(crate) taken: Instant,
    /// When each cancelled group was first seen to be.
    cancelled: HashMap<u64, Instant>,
    pub(crate) has_colour: bool,
    /// The width of the screen, and of the tree on it.
    pub(crate) widths: (usize, usize),
}

impl App {
    /// Starts with a first picture.
    pub fn new(picture: Picture, now: Instant, has_colour: bool) -> Self {
        let mut app = App {
            picture: Picture::default(),
            rows: Vec::new(),
            folds: Folds::new(),
            selected: 0,
            top: 0,
            page: 1,
            mode: Mode::Normal,
            message: String::new(),
            is_paused: false,
            taken: now,
            cancelled: HashMap::new(),
            has_colour,
            widths: (0, 0),
        };

        app.show(picture, now);
        app
    }

    /// Takes a new picture. The selected row stays, wherever it is now.
    pub fn show(&mut self, picture: Picture, now: Instant) {
        if self.is_paused {
            return;
        }

        self.picture = picture;
        self.taken = now;
        let mut before = std::mem::take(&mut self.cancelled);
        let groups = self.picture.snapshot.groups.iter();
        let cancelled = groups.filter(|group| group.cancelled.is_some());
        self.cancelled = cancelled
            .map(|group| (group.id, before.remove(&group.id).unwrap_or(now)))
            .collect();
        self.arrange();
    }

    /// Tells what the process has answered.
    pub fn answered(&mut self, group: u64, answer: &str) {
        let group = self.name_of(group);
        self.message = match answer {
            "gone" => format!("{group} is gone: it has ended"),
            "not offered" => {
                format!("{group} is not offered: the program lets no viewer cancel it")
            }
            "not asked" => format!("{group}: the process has not answered the last cancels yet"),
            other => format!("{group}: {}", escaped(other)),
        };
    }

    /// Does what a key says.
    pub fn press(&mut self, key: KeyEvent) -> Option<Action> {
        if key.kind == KeyEventKind::Release {
            return None;
        }

        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Some(Action::Quit),
                KeyCode::Char('l') => Some(Action::Redraw),
                _ => None,
            };
        }

        self.message.clear();
        match self.mode.clone() {
            Mode::Confirm(group) => {
                self.mode = Mode::Normal;
                if matches!(key.code, KeyCode::Char('y' | 'Y')) {
                    return Some(Action::Cancel(group));
                }
                self.message = "not cancelled".to_owned();
            }
            Mode::Help => self.mode = Mode::Normal,
            Mode::Normal => return self.press_normal(key.code),
        }
        Some(Action::Draw)
    }

    fn press_normal(&mut self, key: KeyCode) -> Option<Action> {
        let last = self.rows.len().saturating_sub(1);
        let page = self.page.max(1);
        match key {
            KeyCode::Char('q') => return Some(Action::Quit),
            KeyCode::Up | KeyCode::Char('k') => self.select(self.selected.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.select(self.selected + 1),
            KeyCode::PageUp => self.select(self.selected.saturating_sub(page)),
            KeyCode::PageDown => self.select(self.selected + page),
            KeyCode::Home | KeyCode::Char('g') => self.select(0),
            KeyCode::End | KeyCode::Char('G') => self.select(last),
            KeyCode::Right | KeyCode::Char('l') => self.fold(Some(true)),
            KeyCode::Left | KeyCode::Char('h') => self.fold(Some(false)),
            KeyCode::Enter | KeyCode::Char(' ') => self.fold(None),
            KeyCode::Char('p') => self.is_paused = !self.is_paused,
            KeyCode::Char('?') => self.mode = Mode::Help,
            KeyCode::Char('c') => self.ask(),
            _ => return None,
        }
        Some(Action::Draw)
    }

    /// Selects a row, or the last one if there are not so many.
    fn select(&mut self, row: usize) {
        self.selected = row.min(self.rows.len().saturating_sub(1));
    }

    /// Opens or closes the selected row. A closed row closes the row around it.
    fn fold(&mut self, opens: Option<bool>) {
        let Some(row) = self.rows.get(self.selected) else {
            return;
        };

        match (row.is_open, opens) {
            (Some(is_open), _) if opens != Some(is_open) => {
                let key = row.key;
                if !self.folds.remove(&key) {
                    self.folds.insert(key);
                }
                self.arrange();
            }
            (_, Some(false)) => self.select(self.around(self.selected)),
            _ => {}
        }
    }

    /// Returns the nearest row above that is further to the left.
    fn around(&self, row: usize) -> usize {
        let depth = |row: usize| self.rows[row].branches.chars().count();
        let mut above = (0..row).rev();
        above
            .find(|above| depth(*above) < depth(row))
            .unwrap_or(row)
    }

    fn ask(&mut self) {
        match self.rows.get(self.selected).and_then(|row| row.group) {
            Some(group) if self.picture.cancellable.contains(&group) => {
                self.mode = Mode::Confirm(group);
            }
            Some(group) => self.answered(group, "not offered"),
            None => self.message = "this is in no group".to_owned(),
        }
    }

    fn arrange(&mut self) {
        let key = |rows: &[Row], at: usize| rows.get(at).map(|row| row.key);
        let selected = key(&self.rows, self.selected);
        self.rows = tree::rows(&self.picture, &self.folds);

        // Where nothing of it is left, the row that has come to its place is selected. Lines about
        // a task are not told apart.
        let is_there = key(&self.rows, self.selected) == selected || selected == Some(Key::Detail);
        if !is_there {
            let mut rows = self.rows.iter();
            if let Some(at) = rows.position(|row| Some(row.key) == selected) {
                self.selected = at;
            }
        }

        self.select(self.selected);

        // Rows that have gone no longer need a fold: numbers are not used again.
        let snapshot = &self.picture.snapshot;
        let groups = snapshot.groups.iter().map(|group| Key::Group(group.id));
        let queued = snapshot.groups.iter().map(|group| Key::Queued(group.id));
        let groups = groups.chain(queued);
        let there: HashSet<Key> = groups.chain(snapshot.tasks.iter().map(Task::key)).collect();
        self.folds.retain(|key| there.contains(key));
    }

    pub(crate) fn name_of(&self, group: u64) -> String {
        let mut groups = self.picture.snapshot.groups.iter();
        match groups.find(|candidate| candidate.id == group) {
            Some(group) => group.shown(),
            None => format!("group {group}"),
        }
    }

    /// Returns the number of tasks of a group that have not ended.
    pub(crate) fn tasks_of(&self, group: u64) -> usize {
        let snapshot = &self.picture.snapshot;
        let begun = snapshot.tasks.iter().filter(|task| {
            task.group == Some(group) && task.kind == "task" && task.state != "queued"
        });
        let mut groups = snapshot.groups.iter();
        let queued = groups.find(|candidate| candidate.id == group);
        begun.count() + queued.map_or(0, |group| group.queued)
    }

    pub(crate) fn fate(&self, group: Option<u64>) -> Fate {
        match group.and_then(|group| self.cancelled.get(&group)) {
            None => Fate::Going,
            Some(since) if self.taken.duration_since(*since) < STALLED => Fate::Cancelled,
            Some(_) => Fate::Stalled,
        }
    }

    /// Scrolls so that the selected row is among `count` rows on the screen. Returns the first.
    pub(crate) fn scroll(&mut self, count: usize) -> usize {
        self.page = count;
        let most = self.rows.len().saturating_sub(count);
        let lowest = (self.selected + 1).saturating_sub(count);
        self.top = self
            .top
            .clamp(lowest.min(self.selected), self.selected)
            .min(most);
        self.top
    }
}
