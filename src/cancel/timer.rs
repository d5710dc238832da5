//! The thread that fires deadlines nobody waits under.
//!
//! A wait under a deadline ends by itself, and a check reads the clock. Only a callback or a hook needs somebody else to
//! look at the time, and so does a hook that is to be run again; the thread starts with the first of these, and ends when
//! none is left.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Weak};
use std::time::Instant;

use super::node::Node;
use super::repeat::Repeat;
use crate::facade::{self, contained, global, park_timeout, start_thread, Mutex, Unparker};

global! {
    /// The deadlines to fire.
    static TIMER: Mutex<Timer> = Mutex::new(Timer::default());
}

#[derive(Default)]
struct Timer {
    entries: BinaryHeap<Reverse<Entry>>,
    thread: Option<Unparker>,
    starting: bool,
}

struct Entry {
    at: Instant,
    task: Task,
}

enum Task {
    /// Look at the limits of a node.
    Expire(Weak<Node>),
    /// Run a hook again.
    Repeat(Weak<Repeat>),
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

/// Sees to it that `node` is looked at when its next limit is reached.
pub(super) fn arm(node: &Arc<Node>) {
    if let Some(at) = node.next_limit() {
        push(Entry { at, task: Task::Expire(Arc::downgrade(node)) });
    }
}

/// Sees to it that a hook is run again.
pub(super) fn arm_repeat(at: Instant, repeat: Weak<Repeat>) {
    push(Entry { at, task: Task::Repeat(repeat) });
}

fn push(entry: Entry) {
    if !facade::TIME_PASSES {
        return;
    }
    let mut timer = TIMER.lock();
    let earliest = timer.entries.peek().is_none_or(|Reverse(first)| entry.at < first.at);
    timer.entries.push(Reverse(entry));
    if let Some(thread) = timer.thread.clone().filter(|_| earliest) {
        drop(timer);
        thread.unpark();
    } else if timer.thread.is_none() && !timer.starting {
        timer.starting = true;
        drop(timer);
        if let Err(error) = start_thread("taskgroup-timer", None, || contained(run)) {
            TIMER.lock().starting = false;
            tracing::error!(%error, "no thread for the deadlines of cancel callbacks and for hooks that repeat");
        }
    }
}

fn run() {
    let mut timer = TIMER.lock();
    timer.thread = Some(Unparker::current());
    timer.starting = false;
    loop {
        let now = Instant::now();
        let Some(Reverse(first)) = timer.entries.peek() else { break };
        if first.at > now {
            let left = first.at - now;
            drop(timer);
            park_timeout(left);
            timer = TIMER.lock();
            continue;
        }
        let Some(Reverse(entry)) = timer.entries.pop() else { break };
        drop(timer);
        match entry.task {
            Task::Expire(node) => {
                if let Some(node) = node.upgrade() {
                    node.expire();
                    // A deadline that was moved, or a shield that was lifted, leaves a later limit.
                    if !node.is_flagged() {
                        arm(&node);
                    }
                }
            }
            Task::Repeat(repeat) => {
                if let Some(repeat) = repeat.upgrade() {
                    repeat.fire();
                }
            }
        }
        timer = TIMER.lock();
    }
    timer.thread = None;
}
