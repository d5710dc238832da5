//! The thread that ends and reaps children after the drop of their handles.
//!
//! It begins with the first such child, looks after all of them, and leaves after a while without
//! any.
//!
//! # Invariants
//!
//! 1. A child in the list is looked after by the thread, or the thread has not been started and the
//!    next child that is handed over tries again.
//! 2. The lock of the list is never held together with the lock of a child.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::look::LookPauses;
use super::state::Process;
use crate::facade::{Mutex, Waker, contained, error_event, per_process, start_thread};
use crate::panics::log;
use crate::readiness::{self, Interest, Watched};
use crate::waiting::WaitKind;

/// How long the thread stays without anything to do.
const IDLE_LIMIT: Duration = Duration::from_secs(10);

per_process! {
    /// The children that the thread has not taken yet. Those of a parent are not the child's.
    static REAPER: Mutex<Reaper> = Mutex::new(Reaper {
        handed_over: Vec::new(),
        thread: ReaperThread::None,
    });
}

struct Reaper {
    handed_over: Vec<Arc<Process>>,
    thread: ReaperThread,
}

enum ReaperThread {
    None,
    /// It runs, or is on its way. Without a waker it looks at the list from time to time.
    Runs(Option<Arc<Waker>>),
}

/// Has the child reaped, and killed if it was asked to end and does not. Never blocks.
pub(super) fn adopt(child: Arc<Process>) {
    let mut reaper = REAPER.lock();
    reaper.handed_over.push(child);
    if let ReaperThread::Runs(waker) = &reaper.thread {
        let waker = waker.clone();
        // The thread that wakes needs the lock at once.
        drop(reaper);
        if let Some(waker) = waker {
            waker.wake();
        }
        return;
    }

    // Under the lock still, so that two drops do not start two threads.
    let waker = Waker::new().ok().map(Arc::new);
    reaper.thread = ReaperThread::Runs(waker.clone());
    drop(reaper);

    let run = move || contained(|| run(waker.as_deref()));
    if let Err(error) = start_thread("taskgroup-reaper", None, run) {
        without_a_thread();
        log(|| error_event!(%error, "no thread for dropped child processes: they are killed"));
    }
}

/// Does at once what can be done without waiting. The next child that is dropped tries again to
/// start the thread.
fn without_a_thread() {
    let mut children = {
        let mut reaper = REAPER.lock();
        // With the list: a drop that comes now finds no thread, and tries to start one.
        reaper.thread = ReaperThread::None;
        std::mem::take(&mut reaper.handed_over)
    };

    // Invariant 2: outside the lock of the list.
    children.retain(|child| {
        child.kill_if_asked();
        // The killed child may be a zombie only later. Those that were reaped are not kept.
        matches!(child.try_wait(), Ok(None))
    });
    REAPER.lock().handed_over.append(&mut children);
}

fn run(waker: Option<&Waker>) {
    let mut children = Vec::new();
    let mut look = LookPauses::new();
    let mut idle_until = None;
    let mut was_told = false;
    loop {
        // Drained before the list is read: a child that comes after that wakes again.
        if let Some(waker) = waker {
            waker.drain();
        }

        let handed_over = std::mem::take(&mut REAPER.lock().handed_over);
        take_over(handed_over, &mut children, &mut look);

        let before = children.len();
        let mut limit = look_after(&mut children);

        // The descriptor tells of the end of a child that cannot be reaped yet: a debugger holds
        // it. To wait for the descriptor again would be to spin.
        let is_held = was_told && children.len() == before;
        if children.is_empty() {
            let until = *idle_until.get_or_insert_with(|| Instant::now() + IDLE_LIMIT);
            // Without a waker it would look at an empty list again and again.
            let is_over = until <= Instant::now() || waker.is_none();
            if is_over && REAPER.lock().lets_thread_leave() {
                return;
            }
            limit = Some(until);
        } else {
            idle_until = None;
        }

        let mut ends = &children[..];
        if is_held {
            limit = look.shorten(limit);
            ends = &[];
        }
        was_told = pause(waker, ends, &mut look, limit);
    }
}

impl Reaper {
    /// Marks the thread as gone, unless there is a child for it (invariant 1). Returns whether it
    /// leaves.
    fn lets_thread_leave(&mut self) -> bool {
        let leaves = self.handed_over.is_empty();
        if leaves {
            self.thread = ReaperThread::None;
        }
        leaves
    }
}

/// Adds the children that were handed over to those that the thread looks after.
fn take_over(
    mut handed_over: Vec<Arc<Process>>,
    children: &mut Vec<Arc<Process>>,
    look: &mut LookPauses,
) {
    if !handed_over.is_empty() {
        // Short pauses again: a new child has just had its signal, and may end soon.
        *look = LookPauses::new();
        children.append(&mut handed_over);
    }
}

/// Reaps the children that have ended, and kills those past their grace. Returns when the next
/// grace ends.
fn look_after(children: &mut Vec<Arc<Process>>) -> Option<Instant> {
    children.retain(|child| matches!(child.try_wait(), Ok(None)));
    // A child that may not be killed is reaped when it ends by itself.
    let grace = children
        .iter()
        .filter_map(|child| child.enforce().ok().flatten());
    grace.min()
}

/// Blocks until one of `children` may have ended, or another is handed over. Returns whether a
/// descriptor has told of an end.
fn pause(
    waker: Option<&Waker>,
    children: &[Arc<Process>],
    look: &mut LookPauses,
    mut limit: Option<Instant>,
) -> bool {
    let waker = waker.map(|waker| Watched::new(waker.as_fd(), Interest::Read));
    let mut is_blind = waker.is_none();
    let mut watched: Vec<_> = waker.into_iter().collect();
    let wakers = watched.len();

    for child in children {
        match child.watched() {
            Some(end) => watched.push(end),
            // One such child makes all pauses short.
            None => is_blind = true,
        }
    }

    if is_blind {
        limit = look.shorten(limit);
    }

    // The thread runs in no scope, so there is no cancel to see.
    readiness::poll_uncancellable(WaitKind::Child, &mut watched, limit);
    watched[wakers..].iter().any(Watched::is_ready)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rustix::process::Pid;

    use super::super::ending::Ending;
    use super::*;

    #[test]
    fn a_new_child_makes_the_pauses_short_again() {
        let mut child = Command::new("true").spawn().expect("the program starts");
        let process = Process::unwatched(Pid::from_child(&child), Ending::default());
        let (mut children, mut look) = (Vec::new(), LookPauses::new());
        look.shorten(None);

        // No child has come.
        take_over(Vec::new(), &mut children, &mut look);
        assert!(!look.is_at_first());

        take_over(vec![Arc::new(process)], &mut children, &mut look);
        assert!(look.is_at_first());
        assert_eq!(children.len(), 1);
        child.wait().expect("it is a child");
    }

    #[test]
    fn a_child_that_comes_as_the_thread_leaves_keeps_it() {
        let mut child = Command::new("true").spawn().expect("the program starts");
        let process = Process::new(Pid::from_child(&child), Ending::default());
        let mut reaper = Reaper {
            handed_over: vec![Arc::new(process)],
            thread: ReaperThread::Runs(None),
        };
        assert!(!reaper.lets_thread_leave());
        assert!(matches!(reaper.thread, ReaperThread::Runs(_)));

        reaper.handed_over.clear();
        assert!(reaper.lets_thread_leave());
        // So the next child starts a thread.
        assert!(matches!(reaper.thread, ReaperThread::None));
        child.wait().expect("it is a child");
    }
}
