//! Finds the need of each thread: the threads that have to act before it can go on.
//!
//! Every need here is true at the moment at which the threads that it names are all asleep in the
//! waits that were read:
//!
//! | wait | needs |
//! |---|---|
//! | `Mutex`, `OnceCell`, `Deregister` | the thread that shows the object as held (a) |
//! | `Write` | each thread that shows the lock as held (a) |
//! | `Read` | the thread that writes (a); without one, the writers that are queued (b) |
//! | `Join` | the thread with the task in its frames (c) |
//! | `Join`, `Start` of a queued task | one of the running tasks of its group (d) |
//! | `ScopeEnd` | each thread that has a task of the group in its frames (c); of daemons see (f) |
//! | `ScopeEnd` of a race | one of those, if there are no others (e) |
//! | any, in a task of a race in place | its own, while no other task of the race may win (h) |
//! | `Completion`, `MapUnordered` | one of those, if there are no others (e) |
//! | `Start` of a task without a `Ready` | the thread with the task in its frames (g) |
//!
//! - (a) A guard, a turn and a running callback do not leave their thread.
//! - (b) A reader queues behind a writer.
//! - (c) The frame goes before the end of the task can be seen.
//! - (d) The task waits for a permit, and they have all. A daemon has none.
//! - (e) The end of one may be enough.
//! - (f) The end of a scope cancels its daemons. So of the threads inside of a daemon only those
//!   keep the scope that are in waits that no cancel ends, and wait for nothing that the cancel
//!   ends.
//! - (g) Only the end of the task is left to wait for. A `Ready` may be on any thread of the
//!   process, so a task that has one, or has passed it on, says nothing.
//! - (h) The code below waits for the end of the race, which cancels the task in place.

use std::collections::HashSet;

use super::{Graph, is_candidate, opens};
use crate::deadlock::stuck::{How, Need};
use crate::lanes::{FrameKind, HeldAs, Object, WaitView};
use crate::snapshot::{LimitSnapshot, label_of};
use crate::waiting::WaitKind;

impl Graph {
    /// Returns what a thread needs to go on; none if it runs, or if that is not known.
    pub(super) fn need(&mut self, thread: usize) -> Option<Need> {
        let mut need = self.need_of_wait(thread)?;
        for race in self.races_in_place(thread) {
            need.beside.extend(self.first_to_end(race)?);
        }
        Some(need)
    }

    /// Adds the daemons that keep a scope to the need of the thread at its end.
    pub(super) fn add_daemons(&mut self) {
        let kept: Vec<_> = (0..self.threads.len())
            .map(|thread| self.kept_by_daemons(thread))
            .collect();
        for (need, kept) in self.needs.iter_mut().zip(kept) {
            if let Some(need) = need {
                need.on.extend(kept);
            }
        }
    }

    /// Returns the races of which the thread runs a task in place, if their ends may end its wait.
    fn races_in_place(&mut self, thread: usize) -> Vec<u64> {
        // A cancel does not end the wait at the end of a scope, but ends the tasks of the scope.
        let seen = &self.threads[thread];
        let may_end = |(kind, wait): (WaitKind, &WaitView)| {
            wait.flags.is_cancellable || kind == WaitKind::ScopeEnd
        };
        if !seen.asleep().is_some_and(may_end) {
            return Vec::new();
        }

        // A task in place is above the scope that waits for it.
        let view = &seen.view;
        let tasks = view.frames.iter().filter(|frame| frame.kind.is_task());
        let groups = tasks.map(|frame| frame.group);
        let mut groups: Vec<_> = groups.filter(|group| opens(view, *group)).collect();
        groups.retain(|group| self.limit(*group).is_none_or(|view| view.is_race));
        groups
    }

    /// Returns what the wait of a thread needs, whatever else may end it.
    fn need_of_wait(&mut self, thread: usize) -> Option<Need> {
        // A wait with a limit of its own ends by itself.
        let wait = self.threads[thread].view.wait.filter(is_candidate)?;
        let (kind, _) = label_of(wait.kind)?;
        match (kind, wait.object) {
            (WaitKind::Mutex | WaitKind::OnceCell | WaitKind::Deregister, Object::At(object)) => {
                // More than one only if a guard was leaked: then all of them must be stuck.
                Some(Need::one(self.holders_of(object, Some(HeldAs::Exclusive))))
            }
            (WaitKind::Write, Object::At(object)) => {
                Some(Need::each(self.holders_of(object, None)))
            }
            (WaitKind::Read, Object::At(object)) => self.read_need(thread, object),
            (WaitKind::Join | WaitKind::Start, Object::Task(task)) => match self.running.get(&task)
            {
                // Its `Ready` may be on any thread (g).
                Some((_, false)) if kind == WaitKind::Start => None,
                Some((runner, _)) => Some(Need::one(vec![*runner])),
                // Neither running nor queued: it has ended, or is about to begin.
                None => {
                    let group = self.queued_in(task, Self::keeps_queued)?;
                    self.permit_need(group)
                }
            },
            (WaitKind::ScopeEnd, Object::Group(group)) => self.end_need(group),
            (WaitKind::Completion | WaitKind::MapUnordered, Object::Group(group)) => {
                self.completion_need(thread, group)
            }
            _ => None,
        }
    }

    /// A reader waits for the thread that writes, or for a writer that is queued before it.
    fn read_need(&self, thread: usize, object: usize) -> Option<Need> {
        let writing = self.holders_of(object, Some(HeldAs::Exclusive));
        if !writing.is_empty() {
            return Some(Need::one(writing));
        }

        // If no thread reads either, the lock is free: then a writer waits for no thread that is
        // known, and can go on.
        let others = self.waiters.get(&object)?.iter();
        let (writers, readers): (Vec<_>, Vec<_>) = others
            .copied()
            .filter(|(other, _)| *other != thread)
            .partition(|(_, kind)| *kind == WaitKind::Write);

        // Which of the waiters are before it is not known. A waiter that goes on may let it in.
        Some(Need {
            how: How::One,
            on: writers.into_iter().map(|(writer, _)| writer).collect(),
            beside: readers.into_iter().map(|(reader, _)| reader).collect(),
        })
    }

    /// The end of a scope waits for every task. Its daemons come later, see [`Self::add_daemons`].
    fn end_need(&mut self, group: u64) -> Option<Need> {
        // The first result of a race cancels its other tasks, so one task may be enough.
        if self.limit(group)?.is_race {
            return self.first_to_end(group).map(Need::one);
        }

        let tasks = self.members_of(group).iter();
        let tasks = tasks.filter(|(_, kind)| *kind != FrameKind::Daemon);
        Some(Need::each(tasks.map(|(thread, _)| *thread).collect()))
    }

    /// Returns the threads that keep the scope at the end of which this thread waits, although the
    /// scope cancels its daemons when nothing else is left.
    fn kept_by_daemons(&self, thread: usize) -> Vec<usize> {
        let Some(group) = self.ends(thread) else {
            return Vec::new();
        };

        let (mut kept, mut seen) = (Vec::new(), HashSet::new());
        let mut open: Vec<_> = self.daemons_of(group).collect();
        while let Some(at) = open.pop() {
            let asleep = self.threads[at].asleep();
            let Some((_, wait)) = asleep.filter(|_| seen.insert(at)) else {
                continue;
            };

            // The end of a scope inside a daemon waits for tasks that the cancel comes to as well.
            if let Some(inner) = self.ends(at) {
                open.extend(self.members_of(inner).iter().map(|(member, _)| *member));
            } else if !wait.flags.is_cancellable && !self.is_freed(at, group, thread) {
                kept.push(at);
            }
        }
        kept
    }

    /// Returns whether the cancel of the daemons of `group` may let this thread go on, because
    /// another thread that it waits for is in a daemon too. Such a wait proves nothing. The search
    /// ends at the thread `end`, which waits for all of them.
    fn is_freed(&self, thread: usize, group: u64, end: usize) -> bool {
        let (mut open, mut seen) = (vec![thread], HashSet::from([end]));
        while let Some(at) = open.pop() {
            if !seen.insert(at) {
                continue;
            }
            let wait = self.threads[at].view.wait;
            let is_cancellable = wait.is_some_and(|wait| wait.flags.is_cancellable);
            if is_cancellable && self.is_inside_daemon(at, group) {
                return true;
            }

            // The daemons of other scopes may not have been added yet.
            let need = self.needs[at].iter();
            open.extend(need.flat_map(|need| need.on.iter().chain(&need.beside)));
            open.extend(self.ends(at).into_iter().flat_map(|of| self.daemons_of(of)));
        }
        false
    }

    /// Returns the need of a wait for the next task that ends: it can be any task of the group.
    fn completion_need(&mut self, thread: usize, group: u64) -> Option<Need> {
        // A task that waits for others of its own group is a member.
        let members = self.first_to_end(group)?;
        let others = members.into_iter().filter(|member| *member != thread);
        Some(Need::one(others.collect()))
    }

    /// Returns the threads one of which runs the task of a group that ends first; none if that is
    /// not known.
    fn first_to_end(&mut self, group: u64) -> Option<Vec<usize>> {
        let members = self.members_of(group).iter();
        if !self.are_stuck(members.map(|(thread, _)| *thread)) {
            return None;
        }

        // A queued task that gets a permit may end first.
        let view = self.queue(group)?;
        if view.queued != 0 && !is_full(view.limit) {
            return None;
        }
        self.all_members(group)
    }

    /// Returns whether a task that is queued in the group may have to wait for ever: the limit is
    /// reached, and none of the running tasks can go on.
    fn keeps_queued(&mut self, group: u64) -> bool {
        let limit = self.limit(group).and_then(|view| view.limit);
        is_full(limit) && self.are_stuck(self.with_permits(group))
    }

    /// A queued task waits for a permit. All running tasks of the group may have one, but for its
    /// daemons, which need none.
    fn permit_need(&mut self, group: u64) -> Option<Need> {
        // Of the same moment as the queue.
        if !is_full(self.queue(group)?.limit) {
            return None;
        }
        self.all_members(group)?;
        Some(Need::one(self.with_permits(group).collect()))
    }

    /// Returns the threads that run tasks of a group which need a permit.
    fn with_permits(&self, group: u64) -> impl Iterator<Item = usize> + '_ {
        let tasks = self.members_of(group).iter();
        let tasks = tasks.filter(|(_, kind)| *kind != FrameKind::Daemon);
        tasks.map(|(thread, _)| *thread)
    }
}

/// Returns whether all permits are held. There is nothing to hold without a limit.
fn is_full(limit: Option<LimitSnapshot>) -> bool {
    limit.is_some_and(|limit| limit.held >= limit.total)
}
