//! The frames of a lane: what its thread is inside of, the outermost first.

use std::panic::Location;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU8 as PlainU8, AtomicU32 as PlainU32, AtomicU64 as PlainU64};

use crossbeam_utils::atomic::AtomicCell;

/// How many frames a piece of the stack has.
const PIECE: usize = 8;

/// In the number of a task: the task is still being started. Numbers are counted up from 1, so none
/// has this bit.
const STARTING: u64 = 1 << 63;

/// In the number of a task that is being started: nothing but its end lets the call of `start` go
/// on.
const WITHOUT_READY: u64 = 1 << 62;

/// In the number of times that a frame was told of a cancel: the frame is a task, which has seen
/// its own cancel. In one word with the number, so that a push need not set it back.
const HAS_SEEN: u32 = 1 << 31;

/// The kind of code that a thread is inside of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum FrameKind {
    /// A task.
    Task,
    /// A scope, from its opening to its report.
    Scope,
    /// `CancelToken::run`.
    Region,
    /// `shield`, `shield_for`.
    Shield,
    /// `winding_down`.
    WindingDown,
    /// Foreign code inside `with_cancel_hook`.
    Hook,
    /// A callback of a token, or a hook, on the thread that cancels.
    Callback,
    /// The values of a task that never ran, or did not end well, are dropped.
    Drops,
    /// A call of `abandon`, on the thread that was started for it.
    Abandon,
    /// A task that its scope ends when the others have ended.
    Daemon,
}

impl FrameKind {
    const ALL: [FrameKind; 10] = [
        FrameKind::Task,
        FrameKind::Scope,
        FrameKind::Region,
        FrameKind::Shield,
        FrameKind::WindingDown,
        FrameKind::Hook,
        FrameKind::Callback,
        FrameKind::Drops,
        FrameKind::Abandon,
        FrameKind::Daemon,
    ];

    /// Whether the frame counts for its group: a task, or values of a task that are dropped.
    pub(crate) fn is_task(self) -> bool {
        matches!(self, FrameKind::Task | FrameKind::Daemon | FrameKind::Drops)
    }
}

/// A frame, as its thread pushes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShownFrame {
    pub(crate) kind: FrameKind,
    /// The number of the task; otherwise the number of the token, or 0.
    pub(crate) id: u64,
    /// The number of the token of the group that the task belongs to, or 0.
    pub(crate) group: u64,
    pub(crate) location: &'static Location<'static>,
}

/// A frame, as a reader finds it.
#[derive(Clone, Copy, Debug)]
#[allow(dead_code, reason = "which parts are read depends on the features")]
pub(crate) struct FrameView {
    pub(crate) kind: FrameKind,
    pub(crate) id: u64,
    pub(crate) group: u64,
    /// The call of `start` that began the task still waits for it to be ready.
    pub(crate) is_starting: bool,
    /// No thread can still say that the task is ready: the call waits for its end.
    pub(crate) is_without_ready: bool,
    pub(crate) location: &'static Location<'static>,
    /// How often code in this frame has been told of a cancel.
    pub(crate) told: u32,
    /// Where it was told last.
    pub(crate) told_at: Option<&'static Location<'static>>,
}

#[derive(Debug)]
struct FrameCell {
    kind: PlainU8,
    told: PlainU32,
    id: PlainU64,
    group: PlainU64,
    location: AtomicCell<Option<&'static Location<'static>>>,
    told_at: AtomicCell<Option<&'static Location<'static>>>,
    /// From the cancel of the task to its first sight, in nanoseconds, once it `HAS_SEEN` it. Only
    /// the owner reads it.
    to_sight: PlainU64,
}

impl FrameCell {
    const fn new() -> Self {
        FrameCell {
            kind: PlainU8::new(0),
            told: PlainU32::new(0),
            id: PlainU64::new(0),
            group: PlainU64::new(0),
            location: AtomicCell::new(None),
            told_at: AtomicCell::new(None),
            to_sight: PlainU64::new(0),
        }
    }

    #[inline(always)]
    fn set(&self, frame: ShownFrame) {
        self.kind.store(frame.kind as u8, Relaxed);
        self.id.store(frame.id, Relaxed);
        self.group.store(frame.group, Relaxed);
        self.location.store(Some(frame.location));
        // The place and the time are read only if it was told.
        self.told.store(0, Relaxed);
    }

    fn view(&self) -> Option<FrameView> {
        // Acquire pairs with `note_told`.
        let told = self.told.load(Acquire) & !HAS_SEEN;
        let id = self.id.load(Relaxed);
        Some(FrameView {
            kind: *FrameKind::ALL.get(usize::from(self.kind.load(Relaxed)))?,
            id: id & !(STARTING | WITHOUT_READY),
            is_starting: id & STARTING != 0,
            is_without_ready: id & WITHOUT_READY != 0,
            group: self.group.load(Relaxed),
            location: self.location.load()?,
            told,
            told_at: self.told_at.load().filter(|_| told != 0),
        })
    }
}

/// The mark of a task that is being started, in the frame of that task.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StartMark {
    cell: &'static FrameCell,
    task: u64,
}

impl StartMark {
    /// Shows that `start` no longer waits for the task. For any thread.
    ///
    /// The cell may have got another frame since. No two tasks have one number, so that frame keeps
    /// its mark.
    pub(crate) fn clear(self) {
        self.replace(self.task);
    }

    /// Shows that the call of `start` waits for the end of the task, ready or not. For any thread,
    /// like [`clear`](Self::clear).
    pub(crate) fn lose_ready(self) {
        self.replace(self.task | STARTING | WITHOUT_READY);
    }

    fn replace(self, shown: u64) {
        let marked = self.task | STARTING;
        let id = &self.cell.id;
        // Where this fails, the task has sent or has ended.
        let _ = id.compare_exchange(marked, shown, Relaxed, Relaxed);
    }
}

/// A piece of the stack. It is made when a thread first comes so deep, and never freed.
#[derive(Debug)]
struct StackPiece {
    frames: [FrameCell; PIECE],
    next: OnceLock<Box<StackPiece>>,
}

impl StackPiece {
    const fn new() -> Self {
        StackPiece {
            frames: [const { FrameCell::new() }; PIECE],
            next: OnceLock::new(),
        }
    }
}

/// The step of a walk to a frame where the next piece of the stack has not been made.
#[derive(Clone, Copy)]
enum IfMissing {
    /// For the owner, which pushes the frame.
    Make,
    /// For readers: a dump must not allocate.
    Stop,
}

/// The frames of one lane.
#[derive(Debug)]
pub(super) struct ShownFrames {
    depth: PlainU32,
    first: StackPiece,
}

impl ShownFrames {
    pub(super) const fn new() -> Self {
        ShownFrames {
            depth: PlainU32::new(0),
            first: StackPiece::new(),
        }
    }

    #[inline(always)]
    pub(super) fn depth(&self) -> u32 {
        self.depth.load(Relaxed)
    }

    /// Pushes a frame. For the owner, under the version.
    #[inline(always)]
    pub(super) fn push(&self, frame: ShownFrame) {
        let depth = self.depth();

        // Most stacks are no deeper than the first piece, which needs no call.
        match self.first.frames.get(depth as usize) {
            Some(cell) => cell.set(frame),
            None => self
                .deep(depth as usize, IfMissing::Make)
                .into_iter()
                .for_each(|cell| cell.set(frame)),
        }
        self.depth.store(depth + 1, Relaxed);
    }

    /// Takes back the frame that was pushed last. For the owner.
    #[inline(always)]
    pub(super) fn pop(&self) {
        self.depth.store(self.depth().wrapping_sub(1), Relaxed);
    }

    /// Pushes the frames of a lane that the owner had before. For the owner, under the version.
    #[cold]
    pub(super) fn copy(&self, before: &Self) {
        let depth = before.depth() as usize;
        let cells = (0..depth).map_while(|index| before.deep(index, IfMissing::Stop));
        for view in cells.filter_map(FrameCell::view) {
            self.push(ShownFrame {
                kind: view.kind,
                id: view.id,
                group: view.group,
                location: view.location,
            });
        }
    }

    /// Takes back all frames. For the owner.
    pub(super) fn clear(&self) {
        self.depth.store(0, Relaxed);
    }

    /// Returns the cell of a frame behind the first piece.
    #[cold]
    fn deep(&self, index: usize, if_missing: IfMissing) -> Option<&FrameCell> {
        let mut piece = &self.first;

        for _ in 0..index / PIECE {
            piece = match if_missing {
                IfMissing::Make => piece.next.get_or_init(|| Box::new(StackPiece::new())),
                IfMissing::Stop => piece.next.get()?,
            };
        }

        piece.frames.get(index % PIECE)
    }

    /// Notes in the innermost frame that its code has been told of a cancel. For the owner.
    pub(super) fn note_told(&self, location: &'static Location<'static>) {
        let Some(index) = self.depth().checked_sub(1) else {
            return;
        };

        let Some(cell) = self.deep(index as usize, IfMissing::Stop) else {
            return;
        };

        cell.told_at.store(Some(location));
        let told = cell.told.load(Relaxed);
        let times = (told & !HAS_SEEN).saturating_add(1).min(HAS_SEEN - 1);

        // Release: a reader that sees the count finds a place of this frame, and none of a frame
        // that had the cell before.
        cell.told.store(told & HAS_SEEN | times, Release);
    }

    /// Notes that the innermost task has seen its own cancel, with the time from the cancel to now
    /// in nanoseconds: only its first sight counts. For the owner.
    ///
    /// Calls `to_sight` with the number of the token of the task's group. It returns none if the
    /// cancel is not one of the task's.
    pub(super) fn note_sight(&self, to_sight: impl FnOnce(u64) -> Option<u64>) {
        let Some(cell) = self.running_task() else {
            return;
        };

        // Before `to_sight`, which walks up the tree of tokens: only the first sight pays for it.
        let told = cell.told.load(Relaxed);
        if told & HAS_SEEN != 0 {
            return;
        }

        if let Some(nanos) = to_sight(cell.group.load(Relaxed)) {
            cell.to_sight.store(nanos, Relaxed);

            // The owner alone reads the time; the order is for the count that shares the word.
            cell.told.store(told | HAS_SEEN, Release);
        }
    }

    /// Returns the time that was noted for the task in the innermost frame. For the owner.
    pub(super) fn to_sight(&self) -> Option<u64> {
        let cell = self.deep(self.depth().checked_sub(1)? as usize, IfMissing::Stop)?;
        let has_seen = cell.told.load(Relaxed) & HAS_SEEN != 0;
        has_seen.then(|| cell.to_sight.load(Relaxed))
    }

    /// Returns the frame of the task that this thread runs. None if the code that runs belongs
    /// to no task, such as a callback. For the owner.
    fn running_task(&self) -> Option<&FrameCell> {
        let mut task = None;
        let mut rest = self.depth() as usize;
        let mut piece = Some(&self.first);
        while let Some(at) = piece.filter(|_| rest != 0) {
            // From the outermost frame inwards, since a piece does not know the one before it.
            for cell in at.frames.iter().take(rest) {
                match FrameKind::ALL.get(usize::from(cell.kind.load(Relaxed)))? {
                    FrameKind::Task | FrameKind::Daemon => task = Some(cell),
                    FrameKind::Callback | FrameKind::Drops | FrameKind::Abandon => task = None,
                    // The code of the task goes on in these.
                    FrameKind::Scope
                    | FrameKind::Region
                    | FrameKind::Shield
                    | FrameKind::WindingDown
                    | FrameKind::Hook => {}
                }
            }
            rest = rest.saturating_sub(PIECE);
            piece = at.next.get().map(|next| &**next);
        }
        task
    }

    /// Marks the task in the innermost frame as being started. For the owner, under the
    /// version.
    pub(super) fn mark_starting(&'static self) -> Option<StartMark> {
        let cell = self.deep(self.depth().checked_sub(1)? as usize, IfMissing::Stop)?;
        // In the number, so that one exchange tells whether the task still has the frame.
        let task = cell.id.load(Relaxed);
        cell.id.store(task | STARTING, Relaxed);
        Some(StartMark { cell, task })
    }

    /// Copies the outermost frames, as many as there is room for. Under the version.
    #[cfg(all(unix, feature = "signal"))]
    pub(super) fn copy_to(&self, views: &mut [Option<FrameView>]) {
        let depth = self.depth() as usize;
        let mut piece = Some(&self.first);
        for (index, view) in views.iter_mut().enumerate().take(depth) {
            if index != 0 && index % PIECE == 0 {
                piece = piece.and_then(|piece| piece.next.get()).map(|next| &**next);
            }
            *view = piece.and_then(|piece| piece.frames[index % PIECE].view());
        }
    }

    /// Returns which of the first `depth` frames is the innermost task. For the owner.
    pub(super) fn innermost_task(&self, depth: u32) -> Option<u32> {
        // The place in the stack, since frames of values that are dropped have the number of their
        // task too.
        (0..depth).rev().find(|index| self.is_task(*index))
    }

    /// Whether the frame with this index is a task, or was one, if it was popped last. For the
    /// owner.
    pub(super) fn is_task(&self, index: u32) -> bool {
        let cell = self.deep(index as usize, IfMissing::Stop);
        let kind = cell.map(|cell| usize::from(cell.kind.load(Relaxed)));
        kind.and_then(|kind| FrameKind::ALL.get(kind))
            .is_some_and(|kind| kind.is_task())
    }

    /// Returns the frames, the outermost first. Under the version.
    pub(super) fn view(&self) -> Vec<FrameView> {
        let depth = self.depth() as usize;
        let mut views = Vec::with_capacity(depth);
        let mut piece = Some(&self.first);
        while let Some(at) = piece.filter(|_| views.len() < depth) {
            // In a torn read, cells are left out. Then the version has changed, and the reader
            // tries again.
            let rest = depth - views.len();
            views.extend(at.frames.iter().take(rest).filter_map(FrameCell::view));
            piece = at.next.get().map(|next| &**next);
        }
        views
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn task(id: u64) -> ShownFrame {
        ShownFrame {
            kind: FrameKind::Task,
            id,
            group: 0,
            location: Location::caller(),
        }
    }

    #[test]
    fn a_stack_of_several_pieces_is_read_to_its_depth() {
        let frames = ShownFrames::new();
        let deepest = 3 * PIECE;
        (1..=deepest as u64).for_each(|id| frames.push(task(id)));

        // Frames that were taken back stay in the cells.
        for depth in (0..=deepest).rev() {
            let shown: Vec<u64> = frames.view().iter().map(|view| view.id).collect();
            assert!(shown.iter().copied().eq(1..=depth as u64), "{shown:?}");

            #[cfg(all(unix, feature = "signal"))]
            {
                let mut views = [None; 3 * PIECE];
                frames.copy_to(&mut views);
                let copied: Vec<u64> = views.iter().flatten().map(|view| view.id).collect();
                assert_eq!(copied, shown);
            }
            frames.pop();
        }
    }

    #[test]
    fn a_lane_that_is_given_back_shows_no_frame() {
        let frames = ShownFrames::new();
        frames.push(task(1));
        frames.clear();
        assert!(frames.view().is_empty());
    }

    #[test]
    fn how_often_a_frame_was_told_is_counted_up_to_a_most() {
        let frames = ShownFrames::new();
        frames.push(task(1));
        for told in 0..3 {
            assert_eq!(frames.view()[0].told, told);
            frames.note_told(Location::caller());
        }

        let count = &frames.first.frames[0].told;
        for seen in [0, HAS_SEEN] {
            count.store(seen | (HAS_SEEN - 2), Relaxed);
            for _ in 0..3 {
                frames.note_told(Location::caller());
                assert_eq!(count.load(Relaxed), seen | (HAS_SEEN - 1));
            }
        }
    }
}
