//! A walk over the queue of a group, piece by piece.

use std::borrow::Cow;
use std::panic::Location;

use crate::cancel::TaskId;

/// How many queued tasks of one queue are listed, and how many of its entries are read at once.
/// The lock of the queue is held meanwhile.
pub(crate) const LARGEST_LISTING: usize = 256;

/// How often a walk begins.
const MOST_STARTS: u32 = 4;

/// The part of a queue that a snapshot has read so far.
///
/// The lock of the queue is released between two pieces, and the entries move meanwhile: tasks are
/// taken from the front or given back there, and claimed ones are swept out. The walk finds its
/// place again by the last entry that it has read. If that entry is gone, the walk begins again.
#[derive(Debug, Default)]
pub(crate) struct QueueWalk {
    /// How many of the entries so far are of tasks that no thread has claimed.
    counted: usize,
    /// The first of these tasks.
    pub(crate) tasks: Vec<QueuedTask>,
    /// How many entries are still to be read. They are counted at the start, since a queue that
    /// grows as fast as it is read has no end.
    left: usize,
    place: Place,
    starts: u32,
    /// The last piece could not be read.
    pub(crate) is_busy: bool,
}

/// A place in the lists of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// In which of the lists it is.
    pub(crate) list: usize,
    /// How many entries of the list come before it.
    pub(crate) index: usize,
    /// The address of the last of these. It is compared with those of entries, and never followed.
    pub(crate) last: usize,
}

impl QueueWalk {
    /// Begins the walk over a queue with so many entries. Returns false if it has begun too often.
    pub(crate) fn start(&mut self, entries: usize) -> bool {
        self.is_busy = self.starts == MOST_STARTS;
        if self.is_busy {
            return false;
        }
        *self = QueueWalk {
            left: entries,
            starts: self.starts + 1,
            ..QueueWalk::default()
        };
        true
    }

    /// Returns where the next piece begins, once the walk has begun.
    pub(crate) fn place(&self) -> Option<Place> {
        (self.starts != 0).then_some(self.place)
    }

    /// Returns how many entries the next piece may have.
    pub(crate) fn piece(&self) -> usize {
        self.left.min(LARGEST_LISTING)
    }

    /// Counts an entry of a task that no thread has claimed.
    pub(crate) fn count(&mut self, task: impl FnOnce() -> QueuedTask) {
        self.counted += 1;
        if self.tasks.len() < LARGEST_LISTING {
            self.tasks.push(task());
        }
    }

    /// Goes on to `place`, past so many entries.
    pub(crate) fn go_on(&mut self, place: Place, entries: usize) {
        self.place = place;
        self.left = self.left.saturating_sub(entries);
    }

    /// Ends the walk: there is no further entry.
    pub(crate) fn end(&mut self) {
        self.left = 0;
    }

    /// Returns whether entries are left to be read.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.left != 0
    }

    /// Returns how many tasks are queued. Entries that were not read count as well.
    pub(crate) fn queued(&self) -> usize {
        self.counted + self.left
    }
}

/// A task that has not begun.
#[derive(Clone, Debug)]
pub(crate) struct QueuedTask {
    pub(crate) id: TaskId,
    pub(crate) name: Option<Cow<'static, str>>,
    pub(crate) location: &'static Location<'static>,
    /// A call of `start` waits for it.
    pub(crate) is_starting: bool,
}
