//! Which thread waits for which: read from the lanes.
//!
//! A node is a lane. The frames of a lane stack, so a task that runs in place keeps every task,
//! body and callback below it on the same lane. `needs` says what each thread waits for.

mod needs;

use std::collections::HashMap;
use std::panic::Location;

use super::stuck::Need;
use crate::cancel::TaskId;
use crate::lanes::{self, FrameKind, HeldAs, Lane, LaneView, Object, WaitView};
use crate::snapshot::{BatchView, LimitView, QueueView, label_of};
use crate::waiting::WaitKind;

/// A lane, as it was read.
pub(super) struct ReadLane {
    pub(super) source: &'static Lane,
    pub(super) view: LaneView,
}

impl ReadLane {
    /// The kind of the wait, if the thread is asleep in one.
    pub(super) fn asleep(&self) -> Option<(WaitKind, &WaitView)> {
        let wait = self.view.wait.as_ref().filter(|wait| wait.since != 0)?;
        let (kind, _) = label_of(wait.kind)?;
        Some((kind, wait))
    }
}

/// Returns whether a wait of this kind has wakers that are known.
pub(super) fn has_known_wakers(kind: WaitKind) -> bool {
    matches!(
        kind,
        WaitKind::Mutex
            | WaitKind::Read
            | WaitKind::Write
            | WaitKind::OnceCell
            | WaitKind::Deregister
            | WaitKind::Join
            | WaitKind::ScopeEnd
            | WaitKind::Completion
            | WaitKind::MapUnordered
            | WaitKind::Start
    )
}

/// Returns whether the wait can be part of a certain deadlock.
pub(super) fn is_candidate(wait: &WaitView) -> bool {
    let kind = label_of(wait.kind).map(|(kind, _)| kind);
    wait.since != 0 && !wait.flags.is_limited && kind.is_some_and(has_known_wakers)
}

/// All lanes, read once, and the questions that the needs ask of them.
pub(super) struct Graph {
    pub(super) threads: Vec<ReadLane>,
    /// The threads that show an object as held.
    holders: HashMap<usize, Vec<(usize, HeldAs)>>,
    /// The threads that wait for a lock.
    waiters: HashMap<usize, Vec<(usize, WaitKind)>>,
    /// The thread that has a task in its frames, and whether a call of `start` waits for its end.
    running: HashMap<u64, (usize, bool)>,
    /// The threads that have tasks of a group in their frames, one entry for each frame.
    members: HashMap<u64, Vec<(usize, FrameKind)>>,
    /// The limits of the groups that were asked for; none for a group that could not be read.
    limits: HashMap<u64, Option<LimitView>>,
    /// The queues of the groups that were asked for; none for a queue that could not be read.
    /// Reading a long queue takes long: see [`Graph::are_stuck`].
    queues: HashMap<u64, Option<QueueView>>,
    /// How many tasks of each group are in the batches of workers.
    batched: HashMap<u64, usize>,
    /// A batch could not be read.
    is_batch_unread: bool,
    pub(super) needs: Vec<Option<Need>>,
}

impl Graph {
    /// Reads all lanes. A lane that its thread is writing belongs to a thread that runs, and is
    /// left out.
    pub(super) fn read() -> Self {
        let seen = lanes::all().filter_map(|source| {
            let view = source.view()?.ok()?;
            Some(ReadLane { source, view })
        });
        Graph::of(seen.collect())
    }

    fn of(threads: Vec<ReadLane>) -> Self {
        let mut graph = Graph {
            threads,
            holders: HashMap::new(),
            waiters: HashMap::new(),
            running: HashMap::new(),
            members: HashMap::new(),
            limits: HashMap::new(),
            queues: HashMap::new(),
            batched: HashMap::new(),
            is_batch_unread: false,
            needs: Vec::new(),
        };

        // The needs ask for threads by what they show, so all lanes are indexed first.
        graph.index();
        graph.needs = (0..graph.threads.len())
            .map(|thread| graph.need(thread))
            .collect();

        // Last, since the needs of all threads say what a daemon waits for.
        graph.add_daemons();
        graph
    }

    fn index(&mut self) {
        for (thread, seen) in self.threads.iter().enumerate() {
            for held in &seen.view.held {
                let holders = self.holders.entry(held.object).or_default();
                holders.push((thread, held.access));
            }

            // Only sleepers: a thread that is about to wait may still take the lock.
            if let Some((kind, wait)) = seen.asleep() {
                if let Object::At(object) = wait.object {
                    self.waiters.entry(object).or_default().push((thread, kind));
                }
            }

            // A task in place is a frame above the task that waits for it, on the same lane.
            for frame in seen.view.frames.iter().filter(|frame| frame.kind.is_task()) {
                let running = (thread, frame.is_without_ready);
                self.running.insert(frame.id, running);
                let members = self.members.entry(frame.group).or_default();
                members.push((thread, frame.kind));
            }

            // Tasks that a worker has taken and not begun are in no queue and in no frame.
            let mut batch = BatchView::default();
            let described = seen.source.describe_batch(&mut batch);
            self.is_batch_unread |= described.is_err() || batch.is_busy;
            *self.batched.entry(batch.group).or_default() += batch.tasks.len();
        }
    }

    /// Returns the threads that hold an object, in this way if one is given.
    pub(super) fn holders_of(&self, object: usize, access: Option<HeldAs>) -> Vec<usize> {
        let holders = self.holders.get(&object).map_or(&[][..], Vec::as_slice);
        let wanted = holders
            .iter()
            .filter(|(_, held)| access.is_none_or(|access| access == *held));
        wanted.map(|(thread, _)| *thread).collect()
    }

    /// Returns how many threads are asleep in waits for an object.
    pub(super) fn sleepers_at(&self, object: usize) -> usize {
        self.waiters.get(&object).map_or(0, Vec::len)
    }

    fn members_of(&self, group: u64) -> &[(usize, FrameKind)] {
        self.members.get(&group).map_or(&[], Vec::as_slice)
    }

    fn daemons_of(&self, group: u64) -> impl Iterator<Item = usize> + '_ {
        let members = self.members_of(group).iter();
        let daemons = members.filter(|(_, kind)| *kind == FrameKind::Daemon);
        daemons.map(|(thread, _)| *thread)
    }

    /// Returns the group at the end of which this thread waits.
    fn ends(&self, thread: usize) -> Option<u64> {
        match self.threads[thread].asleep()? {
            (WaitKind::ScopeEnd, wait) => match wait.object {
                Object::Group(group) => Some(group),
                _ => None,
            },
            _ => None,
        }
    }

    /// Returns the threads that have tasks of a group in their frames. Returns none if the group
    /// has other tasks that may go on, such as a task that has been taken and not begun, or that
    /// runs its last callbacks.
    fn all_members(&mut self, group: u64) -> Option<Vec<usize>> {
        let view = self.queue(group)?;
        let (live, queued) = (view.live, view.queued);

        // Rule of the completeness: every live task is in a frame or in the queue.
        let is_batched = self.batched.get(&group).is_some_and(|tasks| *tasks != 0);
        let members = self.members.get(&group)?;
        let is_all = !is_batched && !self.is_batch_unread && members.len() + queued == live;
        is_all.then(|| members.iter().map(|(thread, _)| *thread).collect())
    }

    /// Returns whether all of these threads sleep in waits with known wakers. If one of them does
    /// not, it can go on, and no wait for one of them is part of a deadlock. So nothing else needs
    /// to be read.
    fn are_stuck(&self, threads: impl IntoIterator<Item = usize>) -> bool {
        let mut waits = threads
            .into_iter()
            .map(|thread| self.threads[thread].view.wait.as_ref());
        waits.all(|wait| wait.is_some_and(is_candidate))
    }

    /// Returns the limit of a group; none if it could not be read.
    pub(super) fn limit(&mut self, group: u64) -> Option<&LimitView> {
        let threads = &self.threads;
        let view = self.limits.entry(group).or_insert_with(|| {
            let view: LimitView = described(threads, group)?;
            (!view.is_busy).then_some(view)
        });
        view.as_ref()
    }

    /// Returns the queue of a group, all of it; none if it could not be read.
    pub(super) fn queue(&mut self, group: u64) -> Option<&QueueView> {
        let threads = &self.threads;
        let view = self.queues.entry(group).or_insert_with(|| {
            let view: QueueView = described(threads, group)?;
            (!view.is_busy).then_some(view)
        });
        view.as_ref()
    }

    /// Returns the group that has a task in its queue, out of those that `may` have it there. The
    /// queues of the others are not read.
    pub(super) fn queued_in(
        &mut self,
        task: u64,
        may: impl Fn(&mut Self, u64) -> bool,
    ) -> Option<u64> {
        // Copied, since a group is read when it is asked for.
        let groups: Vec<_> = self.groups().map(|(group, _)| group).collect();
        groups.into_iter().find(|group| {
            // A thread that waits for the task watches it.
            let is_watched = |view: &QueueView| view.watched.contains(&TaskId(task));
            may(self, *group) && self.queue(*group).is_some_and(is_watched)
        })
    }

    /// Returns the open groups, each with the place of its scope.
    pub(super) fn groups(&self) -> impl Iterator<Item = (u64, &'static Location<'static>)> + '_ {
        let frames = self.threads.iter().flat_map(|seen| &seen.view.frames);
        let scopes = frames.filter(|frame| frame.kind == FrameKind::Scope);
        scopes.map(|frame| (frame.id, frame.location))
    }

    /// Returns the innermost group that all of these threads are inside of.
    pub(super) fn common_group(&self, threads: &[usize]) -> Option<u64> {
        let (first, others) = threads.split_first()?;
        let others: Vec<_> = others
            .iter()
            .map(|other| self.groups_around(*other))
            .collect();
        let around = self.groups_around(*first).into_iter();
        around
            .into_iter()
            .find(|group| others.iter().all(|others| others.contains(group)))
    }

    /// Returns the groups that the innermost code of a thread is inside of, the innermost first.
    fn groups_around(&self, thread: usize) -> Vec<u64> {
        let around = self.around(thread).into_iter();
        around.map(|(group, _)| group).collect()
    }

    /// Returns whether a thread runs a daemon of this group, or code that a daemon waits for.
    fn is_inside_daemon(&self, thread: usize, group: u64) -> bool {
        self.around(thread).contains(&(group, FrameKind::Daemon))
    }

    /// Returns the bodies and tasks that the innermost code of a thread is inside of, each with its
    /// group, the innermost first.
    fn around(&self, thread: usize) -> Vec<(u64, FrameKind)> {
        let mut around = Vec::new();
        let mut at = Some((thread, self.threads[thread].view.frames.len()));
        while let Some((thread, depth)) = at {
            let frames = self.threads[thread].view.frames.iter().take(depth);

            // Regions and callbacks are inside of the scope around them.
            let inner = frames
                .enumerate()
                .rev()
                .find(|(_, frame)| frame.kind.is_task() || frame.kind == FrameKind::Scope);
            at = inner.and_then(|(index, frame)| match frame.kind {
                FrameKind::Scope => {
                    around.push((frame.id, frame.kind));
                    Some((thread, index))
                }
                _ => {
                    around.push((frame.group, frame.kind));

                    // Goes on outside of the scope that opened the group of the task. Each step
                    // goes out in the tree of groups; a torn reading must not loop for ever.
                    let opened = self.opening(frame.group);
                    opened.filter(|_| around.len() < 1000)
                }
            });
        }
        around
    }

    /// Returns the thread that has opened a group, and the place of the scope in its frames.
    pub(super) fn opening(&self, group: u64) -> Option<(usize, usize)> {
        let mut threads = self.threads.iter().enumerate();
        threads.find_map(|(thread, seen)| {
            let mut frames = seen.view.frames.iter();
            let index = frames.position(|frame| is_scope(frame, group))?;
            Some((thread, index))
        })
    }
}

fn is_scope(frame: &lanes::FrameView, group: u64) -> bool {
    frame.kind == FrameKind::Scope && frame.id == group
}

/// Asks a group for a view of it. Returns none if its thread opens or ends a scope just now.
fn described<V: Default + 'static>(threads: &[ReadLane], group: u64) -> Option<V> {
    // A group is open in the lane of the thread that opened it.
    let opened = threads.iter().find(|seen| opens(&seen.view, group))?;
    let described = opened.source.with_groups(|groups| {
        let mut view = V::default();
        groups.get(group)?.describe(&mut view);
        Some(view)
    });
    described.ok().flatten()
}

fn opens(view: &LaneView, group: u64) -> bool {
    view.frames.iter().any(|frame| is_scope(frame, group))
}

#[cfg(all(test, not(loom)))]
mod tests;
