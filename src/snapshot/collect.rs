//! The first step of a snapshot: everything is copied, part by part.
//!
//! The queues come first, then the lanes: a task moves from a queue to a batch to a lane, and never
//! misses all of them while it lives. A task that was seen twice is kept where it was seen last.

use std::borrow::Cow;
use std::hint;
use std::sync::Arc;

use super::queue_walk::QueueWalk;
use super::view::{BatchView, GroupView};
use crate::lanes::{self, Lane, LaneView, ReadGroups};
use crate::workers;

/// How many groups of a thread are described at once. A thread that opens or ends a scope waits
/// meanwhile.
const CHUNK: usize = 8;

/// How often a piece of a queue is asked for, while threads spawn into the group.
const TRIES: usize = 100;

/// A group, with the number of its token.
pub(super) type NumberedGroup = (u64, GroupView);

/// One thread, copied.
pub(super) struct ReadThread {
    /// The lane itself, to look at it again.
    pub(super) source: &'static Lane,
    pub(super) lane: LaneView,
    pub(super) name: Option<Arc<str>>,
    /// The names of its tasks, with the numbers of the tasks. A thread has few at once.
    names: Vec<(u64, Cow<'static, str>)>,
}

impl ReadThread {
    /// Returns the name of a task that the thread runs, if it has one.
    pub(super) fn task_name(&self, task: u64) -> Option<String> {
        let mut names = self.names.iter().rev();
        let (_, name) = names.find(|(of, _)| *of == task)?;
        Some(name.to_string())
    }
}

#[cfg(all(test, not(loom)))]
impl ReadThread {
    /// The thread of a lane, as it is now.
    pub(super) fn of(source: &'static Lane) -> Self {
        let lane = source.view().expect("a thread has it");
        ReadThread {
            source,
            lane: lane.expect("it is not being written"),
            name: None,
            names: Vec::new(),
        }
    }
}

/// Everything that a snapshot is made of.
#[derive(Default)]
pub(super) struct Collected {
    pub(super) groups: Vec<NumberedGroup>,
    pub(super) batches: Vec<BatchView>,
    pub(super) threads: Vec<ReadThread>,
    /// How many parts could not be read.
    pub(super) incomplete: usize,
}

impl Collected {
    /// Copies what all lanes show now.
    pub(super) fn take() -> Self {
        // Growing would copy the threads collected so far.
        let most = lanes::all().size_hint().1.unwrap_or(0);
        let mut collected = Collected {
            threads: Vec::with_capacity(most),
            ..Collected::default()
        };

        // The batches twice: a task may go from a batch back to its queue, and on into a batch.
        lanes::all().for_each(|lane| collected.take_batch(lane));
        lanes::all().for_each(|lane| collected.take_groups(lane));
        lanes::all().for_each(|lane| collected.take_batch(lane));
        let worker_name = Arc::from(workers::THREAD_NAME);
        lanes::all().for_each(|lane| collected.take_thread(lane, &worker_name));
        collected
    }

    /// Copies the tasks that a worker has taken and not begun.
    fn take_batch(&mut self, lane: &Lane) {
        let mut batch = BatchView::default();
        let batched = lane.describe_batch(&mut batch);
        self.incomplete += usize::from(batched.is_err() || batch.is_busy);
        if !batch.tasks.is_empty() {
            self.batches.push(batch);
        }
    }

    /// Copies the groups that a thread has opened.
    fn take_groups(&mut self, lane: &Lane) {
        // Most threads are workers whose tasks open none. To be counted as a reader takes longer
        // than this look.
        if !lane.has_groups() {
            return;
        }

        // In chunks: a group that is there all the time keeps its place in the list, since scopes
        // end in the reverse order.
        let mut seen = 0;
        loop {
            let mut chunk = match lane.with_groups(|groups| described(groups, seen)) {
                Ok(chunk) => chunk,
                Err(lanes::Busy) => {
                    self.incomplete += 1;
                    return;
                }
            };

            seen += chunk.len();
            let is_last = chunk.len() < CHUNK;
            self.incomplete += chunk.iter().filter(|(_, view)| view.is_busy).count();
            for (number, view) in &mut chunk {
                self.incomplete += usize::from(walk(lane, *number, &mut view.queue).is_err());
                view.queued = view.queue.queued();
            }
            self.groups.extend(chunk);
            if is_last {
                return;
            }
        }
    }

    /// Copies a thread.
    fn take_thread(&mut self, lane: &'static Lane, worker_name: &Arc<str>) {
        let view = match lane.view() {
            None => return,
            Some(Err(lanes::Busy)) => {
                self.incomplete += 1;
                return;
            }
            Some(Ok(view)) => view,
        };

        // What a busy lock keeps back is a name, no task.
        let name = if view.is_worker {
            Ok(Some(Arc::clone(worker_name)))
        } else {
            thread_name(lane, &view)
        };
        let names = lane.names();
        self.incomplete += usize::from(name.is_err()) + usize::from(names.is_err());
        self.threads.push(ReadThread {
            source: lane,
            lane: view,
            name: name.ok().flatten(),
            names: names.unwrap_or_default(),
        });
    }
}

/// Reads the rest of the queue of a group, a piece at a time: no lock is held in between.
///
/// # Errors
///
/// Other threads hold a lock again and again.
fn walk(lane: &Lane, number: u64, queue: &mut QueueWalk) -> Result<(), lanes::Busy> {
    let mut tries = TRIES;
    while queue.is_unfinished() {
        let found = lane.with_groups(|groups| {
            let group = groups.get(number);
            group.map(|group| group.describe(queue)).is_some()
        });
        match found {
            // The group has ended.
            Ok(false) => queue.end(),
            Ok(true) if !queue.is_busy => tries = TRIES,
            _ => {
                tries = tries.checked_sub(1).ok_or(lanes::Busy)?;
                hint::spin_loop();
            }
        }
    }
    Ok(())
}

/// Returns the name of the thread that was read as `view`, if it still has the lane.
fn thread_name(lane: &Lane, view: &LaneView) -> Result<Option<Arc<str>>, lanes::Busy> {
    let name = lane.with_thread(|thread| {
        let name = thread.and_then(std::thread::Thread::name)?;
        Some(Arc::from(name))
    })?;

    // The thread of the view may have ended, and its lane be another thread's by now.
    Ok(name.filter(|_| lane.is_still(view)))
}

/// Describes the groups from `first` on, up to the size of a chunk.
///
/// Each group is described where it is: a reference of this thread could be the last, and drop
/// values of the user here.
fn described(groups: &ReadGroups<'_>, first: usize) -> Vec<NumberedGroup> {
    let chunk = groups.iter().skip(first).take(CHUNK);
    let describe = chunk.map(|(number, group)| {
        let mut view = GroupView::default();
        group.describe(&mut view);
        (number, view)
    });
    describe.collect()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::any::Any;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::super::{LARGEST_LISTING, Place};
    use super::*;
    use crate::lanes::{Describe, Listed};

    #[test]
    fn the_name_of_a_later_thread_of_a_lane_is_not_that_of_the_earlier() {
        let lane = lanes::mine().expect("the thread is not in a late destructor");
        let view = lane.view().expect("it lives").expect("it does not write");
        let name = thread_name(lane, &view).expect("no other thread writes it");
        assert_eq!(name.as_deref(), thread::current().name());

        let earlier = LaneView {
            number: u64::MAX,
            ..view
        };
        assert_eq!(thread_name(lane, &earlier), Ok(None));
    }

    #[test]
    fn a_worker_has_the_name_that_std_knows() {
        let (tell, told) = mpsc::channel();
        // The body waits for the message alone, so the task does not run in its place.
        let named = crate::TaskGroup::scope(|g| {
            g.spawn(move || {
                let lane = lanes::mine().expect("the thread is not in a late destructor");
                let mut collected = Collected::default();
                collected.take_thread(lane, &Arc::from(workers::THREAD_NAME));
                let seen = collected.threads.pop().expect("the thread does not write");
                let in_std = thread::current().name().map(str::to_owned);
                tell.send((seen.lane.is_worker, seen.name, in_std))?;
                Ok(())
            });
            Ok(told.recv()?)
        });
        let (is_worker, seen, in_std) = named.expect("nothing fails");
        assert!(is_worker);
        assert!(seen.is_some() && seen.as_deref() == in_std.as_deref());
    }

    /// Opens `left` scopes inside of each other, and then calls `inside`.
    fn nested(left: usize, inside: &mut dyn FnMut()) {
        if left == 0 {
            return inside();
        }
        let opened = crate::TaskGroup::scope(|_| {
            nested(left - 1, inside);
            Ok(())
        });
        opened.expect("nothing fails");
    }

    #[test]
    fn a_list_of_groups_is_read_a_chunk_at_a_time() {
        const ALL: usize = 2 * CHUNK + 1;
        nested(ALL, &mut || {
            let lane = lanes::mine().expect("the thread is not in a late destructor");
            // Only this thread writes the list.
            let chunk = |first| lane.with_groups(|groups| described(groups, first));
            let chunk = |first| chunk(first).expect("other readers do not matter");
            let chunks = [0, CHUNK, 2 * CHUNK, ALL].map(|first| chunk(first).len());
            assert_eq!(chunks, [CHUNK, CHUNK, 1, 0]);

            let mut collected = Collected::default();
            collected.take_groups(lane);
            let mut numbers: Vec<_> = collected.groups.iter().map(|(number, _)| *number).collect();
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), ALL);
        });
    }

    const TASKS: usize = 10_000;
    const PIECES: usize = TASKS.div_ceil(LARGEST_LISTING);

    /// A group on a lane, with a long queue. A group inside of it ends after each piece.
    struct Crowded {
        lane: &'static Lane,
        read: AtomicUsize,
        ends: mpsc::Sender<()>,
    }

    impl Describe for Crowded {
        fn describe(&self, into: &mut dyn Any) {
            let Some(queue) = into.downcast_mut::<QueueWalk>() else {
                return;
            };
            let read = self.read.fetch_add(1, Relaxed);
            let inside = self.lane.with_groups(|groups| groups.iter().count() - 1);
            assert_eq!(
                inside,
                Ok(PIECES - read),
                "no group ends between two pieces"
            );
            queue.go_on(Place::default(), queue.piece());

            // Until the thread of the lane has come to wait for this reader.
            self.ends.send(()).expect("the thread is there");
            while self.lane.with_groups(|_| ()).is_ok() {
                thread::yield_now();
            }
        }
    }

    /// A group of which nothing is shown.
    struct Plain(#[allow(dead_code, reason = "its place tells it from others")] u8);

    impl Describe for Plain {
        fn describe(&self, _: &mut dyn Any) {}
    }

    #[test]
    fn a_scope_ends_between_two_pieces_of_a_long_queue() {
        let (ends, to_end) = mpsc::channel();
        let (shows, shown) = mpsc::channel();
        thread::scope(|threads| {
            threads.spawn(move || {
                let lane = lanes::mine().expect("the thread is not in a late destructor");
                let read = AtomicUsize::new(0);
                let _crowded = Listed::new(0, Arc::new(Crowded { lane, read, ends }));
                let inside =
                    (1..=PIECES).map(|number| Listed::new(number as u64, Arc::new(Plain(0))));
                let mut inside: Vec<_> = inside.collect();
                shows.send(lane).expect("the test waits");
                while !inside.is_empty() {
                    let piece = to_end.recv_timeout(Duration::from_secs(60));
                    piece.expect("a piece is read");
                    inside.pop();
                }
            });

            let lane = shown.recv().expect("the thread has a lane");
            let mut queue = QueueWalk::default();
            queue.start(TASKS);
            // It gives up where a scope takes long to end.
            while walk(lane, 0, &mut queue).is_err() {}
            assert!(!queue.is_unfinished());
        });
    }

    #[test]
    fn a_list_of_groups_that_is_being_written_is_left_out_and_counted() {
        let lane = lanes::mine().expect("the thread is not in a late destructor");
        nested(1, &mut || {
            let (done, ends) = mpsc::channel();
            thread::scope(|threads| {
                // A reader that waited for the lock would wait for this test.
                let taken = lane.keep_busy(|| {
                    threads.spawn(move || done.send(Collected::take().incomplete));
                    ends.recv_timeout(Duration::from_secs(60))
                });
                assert!(taken.expect("it waits for no lock") > 0);
            });
        });
    }
}
