//! The first step of a snapshot: everything is copied, part by part.
//!
//! The queues come first, then the lanes: a task moves from a queue to a batch to a lane, and never
//! misses all of them while it lives. A task that was seen twice is kept where it was seen last.

use std::borrow::Cow;
use std::collections::HashMap;

use super::view::{BatchView, GroupView};
use crate::lanes::{self, Lane, LaneView};

/// A group, with the number of its token.
pub(super) type NumberedGroup = (u64, GroupView);

/// One thread, copied.
pub(super) struct Thread {
    /// The lane itself, to look at it again.
    pub(super) source: &'static Lane,
    pub(super) lane: LaneView,
    pub(super) name: Option<String>,
    /// The names of its tasks, by their numbers.
    pub(super) names: HashMap<u64, Cow<'static, str>>,
}

/// Everything that a snapshot is made of.
#[derive(Default)]
pub(super) struct Collected {
    pub(super) groups: Vec<NumberedGroup>,
    pub(super) batches: Vec<BatchView>,
    pub(super) threads: Vec<Thread>,
    /// How many parts could not be read.
    pub(super) incomplete: usize,
}

impl Collected {
    /// Copies what all lanes show now.
    pub(super) fn take() -> Self {
        let mut collected = Collected::default();

        lanes::all().for_each(|lane| collected.take_queues(lane));
        lanes::all().for_each(|lane| collected.take_thread(lane));
        collected
    }

    /// Copies the groups that a thread has opened, and its batch if it is a worker.
    fn take_queues(&mut self, lane: &Lane) {
        let mut batch = BatchView::default();
        let described = lane.describe_batch(&mut batch);
        self.incomplete += usize::from(described.is_err() || batch.is_busy);
        if batch.group != 0 {
            self.batches.push(batch);
        }

        // Under the lock of the list, which its owner waits for at the end of a scope. Each group is
        // described where it is: a reference of this thread could be the last, and drop values of
        // the user's here.
        let described = lane.with_groups(|groups| {
            let describe = groups.iter().map(|(number, group)| {
                let mut view = GroupView::default();
                group.describe(&mut view);
                (*number, view)
            });
            describe.collect::<Vec<_>>()
        });
        match described {
            Ok(groups) => {
                self.incomplete += groups.iter().filter(|(_, view)| view.is_busy).count();
                self.groups.extend(groups);
            }
            Err(lanes::Busy) => self.incomplete += 1,
        }
    }

    fn take_thread(&mut self, lane: &'static Lane) {
        let view = match lane.view() {
            None => return,
            Some(Err(lanes::Busy)) => {
                self.incomplete += 1;
                return;
            }
            Some(Ok(view)) => view,
        };

        // What a busy lock keeps back is a name, no task.
        let (thread, names) = (lane.thread(), lane.names());
        self.incomplete += usize::from(thread.is_err()) + usize::from(names.is_err());
        let name = thread.ok().flatten();
        let name = name.as_ref().and_then(std::thread::Thread::name);
        self.threads.push(Thread {
            source: lane,
            lane: view,
            name: name.map(str::to_owned),
            names: names.unwrap_or_default().into_iter().collect(),
        });
    }
}
