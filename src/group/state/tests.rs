//! Tests of the queue and of a worker's local batch, which hold the permits by hand.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::completions::Completions;
use super::deferred_drops::DeferredDrops;
use super::group_state::GroupState;
use super::outer_permit::OuterPermit;
use super::permit::TaskPermit;
use super::queue::{TakenTask, TaskQueue};
use super::worker_loop::{ShownBatch, TaskBatch};
use crate::group::permit_wait::PermitWait;
use crate::lanes::{self, Describe};
use crate::snapshot::{BatchView, QueueView, QueueWalk};
use crate::workers::LocalBatch;
use crate::{TaskGroup, TaskStatus};

fn has_room(queue: &mut TaskQueue, limit: usize) -> bool {
    queue.has_room(limit, &mut DeferredDrops::default())
}

/// Runs a body in a group of which all permits seem to be held, so no worker takes a queued task.
/// Afterwards one becomes free, which sends a worker.
fn with_all_permits_held<'env, F>(limit: usize, body: F)
where
    F: for<'scope> FnOnce(&'scope TaskGroup<'scope, 'env>, &Arc<GroupState>),
{
    TaskGroup::builder()
        .limit(limit)
        .scope(|g| {
            let state = &g.core().state;
            state.queue.lock().permits.held = limit;
            body(g, state);
            state.free_permit(TaskPermit::Held);
            Ok(())
        })
        .unwrap();
}

#[test]
fn no_task_begins_in_place_before_one_that_another_task_waits_for() {
    with_all_permits_held(2, |g, state| {
        g.spawn(|| Ok(()));
        g.spawn(|| Ok(()));

        let mut queue = state.queue.lock();
        queue.permits.held = 0;
        let (awaited, mut drops) = (queue.tasks[1].clone(), DeferredDrops::default());
        queue.add_awaited([awaited], 1, &mut drops);
        drop(queue);

        assert_eq!(state.begin_in_place(&PermitWait::default()), None);
        state.not_awaited(1, &mut drops);
        assert_eq!(
            state.begin_in_place(&PermitWait::default()),
            Some(TaskPermit::Held)
        );
    });
}

#[test]
fn claimed_tasks_leave_a_long_queue_once_it_has_doubled() {
    const WAITING: usize = 200;
    with_all_permits_held(1, |g, state| {
        let _waiting: Vec<_> = (0..WAITING).map(|_| g.spawn(|| Ok(()))).collect();
        for _ in 0..20 * WAITING {
            g.spawn(|| Ok(())).cancel();
            assert!(state.queue.lock().tasks.len() <= 2 * WAITING + 2);
        }
        assert!(state.queue.lock().tasks.len() >= WAITING);
    });
}

#[test]
fn what_tasks_wait_for_says_what_it_is() {
    let permit = OuterPermit::new(7, None);
    assert_eq!(format!("{permit:?}"), "OuterPermit { group: 7, .. }");
    let completions = Completions::new();
    assert_eq!(
        format!("{completions:?}"),
        "Completions { happened: 0, .. }"
    );
}

#[test]
fn a_task_that_needs_no_permit_holds_none() {
    TaskGroup::builder()
        .limit(1)
        .scope(|g| {
            let state = &g.core().state;
            assert!(state.hold(TaskPermit::None).is_none());
            assert!(state.hold(TaskPermit::Held).is_some());
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_wait_that_ends_takes_back_its_own_tasks_that_are_still_queued() {
    with_all_permits_held(1, |g, state| {
        let tasks = [(); 3].map(|()| g.spawn(|| Ok(())));

        let mut drops = DeferredDrops::default();
        let mut queue = state.queue.lock();
        let [first, second, claimed] = [0, 1, 2].map(|at| queue.tasks[at].clone());
        queue.add_awaited([first], 1, &mut drops);
        queue.add_awaited([second], 2, &mut drops);
        queue.add_awaited([claimed], 1, &mut drops);
        drop(queue);
        tasks[2].cancel();
        assert_eq!(state.not_awaited(1, &mut drops).len(), 1);
        assert_eq!(state.queue.lock().awaited.len(), 1);

        // A claimed task is awaited no more.
        tasks[1].cancel();
        let mut queue = state.queue.lock();
        assert!(!queue.is_any_awaited(&mut drops) && queue.awaited.is_empty());
        drop(queue);
    });
}

#[test]
fn the_queue_is_shown_without_tasks_that_are_claimed_or_about_to_be() {
    with_all_permits_held(1, |g, state| {
        let tasks = [(); 400].map(|()| g.spawn(|| Ok(())));
        let shown = || {
            let mut view = QueueView::default();
            state.describe(&mut view);
            assert!(!view.is_busy);
            (view.queued, view.watched)
        };
        assert_eq!(shown(), (400, HashSet::new()));
        tasks[399].on_finished(|_| {});
        assert_eq!(shown(), (400, HashSet::from([tasks[399].id()])));
        tasks[0].cancel();
        assert_eq!(shown().0, 399);

        // A worker takes the last one, since another task waits for it, and has not begun it yet.
        let mut drops = DeferredDrops::default();
        let mut queue = state.queue.lock();
        let last = queue.tasks.back().expect("it is queued").clone();
        queue.add_awaited([last], 1, &mut drops);
        queue.permits.held = 0;
        let taken = queue.take(1, &mut drops).expect("a permit is free");
        // One more, so that none is free when the task ends.
        queue.permits.held = 2;
        drop(queue);
        assert_eq!(shown(), (398, HashSet::new()));

        state.run(taken);
        assert_eq!(shown().0, 398);
        assert_eq!(tasks[399].status(), TaskStatus::Finished);

        // Of a queue that another thread works on, nothing is shown.
        let _queue = state.queue.lock();
        let mut view = QueueView::default();
        state.describe(&mut view);
        assert!(view.is_busy);
    });
}

#[test]
fn a_walk_over_a_queue_finds_its_place_again() {
    const TASKS: usize = 1_000;
    with_all_permits_held(1, |g, state| {
        let tasks = [(); TASKS].map(|()| g.spawn(|| Ok(())));
        let begun = || {
            let mut walk = QueueWalk::default();
            state.describe(&mut walk);
            assert!(walk.is_unfinished() && !walk.is_busy);
            walk
        };
        let finished = |mut walk: QueueWalk| {
            while walk.is_unfinished() {
                state.describe(&mut walk);
                assert!(!walk.is_busy);
            }
            let listed: HashSet<_> = walk.tasks.iter().map(|task| task.id).collect();
            assert_eq!(listed.len(), 256);
            walk.queued()
        };
        assert_eq!(finished(begun()), TASKS);

        // Tasks are taken behind the walk, and given back: each is counted as it was read.
        let mut walk = begun();
        let taken: Vec<_> = state.queue.lock().tasks.drain(..50).collect();
        state.describe(&mut walk);
        for task in taken.into_iter().rev() {
            state.queue.lock().tasks.push_front(task);
        }
        assert_eq!(finished(walk), TASKS);

        // Those that are cancelled before they are read are not counted.
        let walk = begun();
        tasks[500..600].iter().for_each(|task| task.cancel());
        let all = TASKS - 100;
        assert_eq!(finished(walk), all);
        assert_eq!(finished(begun()), all);

        // It begins again where its place is gone, and gives up if that happens again and again.
        let mut walk = begun();
        let mut taken = Vec::new();
        for round in 1..=4 {
            let last = walk.place().expect("it has begun").index - 1;
            taken.extend(state.queue.lock().tasks.remove(last));
            state.describe(&mut walk);
            assert_eq!(walk.is_busy, round == 4);
            if round == 3 {
                // Entries of claimed tasks that were not read count as well.
                assert!((all - 3..=TASKS - 3).contains(&walk.queued()));
            }
        }
        state.queue.lock().tasks.extend(taken);

        // A queue that grows as fast as it is read is read up to the length of the begin.
        let (mut walk, mut pieces) = (begun(), 1);
        while walk.is_unfinished() {
            (0..256).for_each(|_| drop(g.spawn(|| Ok(()))));
            state.describe(&mut walk);
            pieces += 1;
        }
        assert_eq!(pieces, TASKS.div_ceil(256));
    });
}

#[test]
fn there_is_room_while_fewer_tasks_wait_than_permits_are_free() {
    with_all_permits_held(3, |g, state| {
        g.spawn(|| Ok(()));
        g.spawn(|| Ok(()));

        let mut queue = state.queue.lock();
        for (permits, room) in [(3, false), (2, false), (1, false), (0, true)] {
            queue.permits.held = permits;
            assert_eq!(
                has_room(&mut queue, 3),
                room,
                "{permits} of 3 permits are held and two tasks wait"
            );
        }

        // The helper frees this one at the end.
        queue.permits.held = 1;
    });
}

#[test]
fn a_task_waits_for_a_permit_if_as_many_are_queued_as_permits_are_free() {
    with_all_permits_held(2, |g, state| {
        g.spawn(|| Ok(()));
        state.queue.lock().permits.held = 1;
        g.spawn(|| Ok(()));
        assert_eq!(state.stats().permit_waits, 2);
    });
}

#[test]
fn tasks_that_are_given_back_come_first_and_in_their_order() {
    let order = Mutex::new(Vec::new());
    let (leave, left) = mpsc::channel::<()>();
    TaskGroup::builder()
        .limit(1)
        .scope(|g| {
            let (begin, begun) = mpsc::channel();
            g.spawn(move || {
                begin.send(())?;
                Ok(left.recv()?)
            });
            begun.recv()?;
            // The only permit is taken: these stay in the queue.
            for n in 0..5 {
                let order = &order;
                g.spawn(move || {
                    order.lock().unwrap().push(n);
                    Ok(())
                });
            }

            let state = &g.core().state;
            let batch = TaskBatch::new(Arc::clone(state));
            batch.put(state.queue.lock().tasks.drain(..3));
            batch.give_back();
            leave.send(())?;
            Ok(())
        })
        .unwrap();
    assert_eq!(order.into_inner().unwrap(), [0, 1, 2, 3, 4]);
}

/// A snapshot that finds a task neither in the queue nor in a batch misses it.
#[test]
fn a_task_does_not_leave_the_queue_or_a_batch_before_it_can_enter_the_other() {
    TaskGroup::scope(|g| {
        let state = &g.core().state;
        // A group that seems to be listed is not listed again, so no worker comes.
        state.queue.lock().listed = true;
        let tasks = [(); 9].map(|()| g.spawn(|| Ok(())));
        let batch = &TaskBatch::new(Arc::clone(state));
        let stay = |task_count: &dyn Fn() -> Option<usize>, count| {
            let until = Instant::now() + Duration::from_millis(100);
            while Instant::now() < until {
                // None if it is locked: a snapshot counts that.
                assert!(
                    task_count().is_none_or(|found| found == count),
                    "a task has left"
                );
            }
        };

        thread::scope(|threads| {
            let locked = batch.batch.lock();
            threads.spawn(|| state.take_rest(&mut state.queue.lock(), 3, batch));
            stay(&|| Some(state.queue.try_lock()?.tasks.len()), tasks.len());
            drop(locked);
        });
        thread::scope(|threads| {
            let locked = state.queue.lock();
            threads.spawn(|| batch.give_back());
            stay(&|| Some(batch.batch.try_lock()?.tasks.len()), 2);
            drop(locked);
        });

        // Beside a test with a subscriber, a task runs on a worker: this spawn lists the group.
        state.queue.lock().listed = false;
        g.spawn(|| Ok(())).wait()?;
        tasks.into_iter().try_for_each(|task| Ok(task.join()?))
    })
    .unwrap();
}

#[test]
fn a_batch_is_shown_from_its_first_tasks_on() {
    let seen = TaskGroup::scope(|g| {
        let state = &g.core().state;
        // A group that seems to be listed is not listed again, so no worker comes.
        state.queue.lock().listed = true;
        let tasks = [(); 2].map(|()| g.spawn(|| Ok(())));

        let lane = lanes::mine().expect("the thread is not in a late destructor");
        // Whether a batch is shown, and its tasks.
        let seen = || {
            let mut view = BatchView::default();
            lane.describe_batch(&mut view)
                .expect("this thread alone writes it");
            (view.group != 0, view.tasks.len())
        };

        let mut shown = ShownBatch::new(Arc::new(TaskBatch::new(Arc::clone(state))));
        let without_tasks = seen();
        shown.show();
        shown.batch.put(state.queue.lock().tasks.drain(..));
        let with_tasks = seen();
        shown.batch.give_back();
        let given_back = seen();
        drop(shown);
        let at_its_end = seen();

        state.queue.lock().listed = false;
        g.spawn(|| Ok(())).wait()?;
        for task in tasks {
            task.join()?;
        }
        Ok([without_tasks, with_tasks, given_back, at_its_end])
    });
    assert_eq!(
        seen.unwrap(),
        [(false, 0), (true, 2), (true, 0), (false, 0)]
    );
}

#[test]
fn counts_that_workers_report_in_another_order_add_up_all_the_same() {
    TaskGroup::scope(|g| {
        let state = &g.core().state;
        // The tasks that were spawned, that workers reported as begun, and that have ended.
        let counts = |spawned, begun, finished| {
            {
                let mut queue = state.queue.lock();
                (queue.spawned, queue.begun) = (spawned, begun);
                queue.ended.finished = finished;
            }
            let stats = state.stats();
            (stats.queued, stats.running, stats.finished)
        };

        assert_eq!(counts(3, 2, 1), (1, 1, 1));
        // The end is known before the beginning.
        assert_eq!(counts(3, 1, 2), (1, 0, 2));
        assert_eq!(counts(3, -1, 0), (3, 0, 0));
        // A task that was claimed elsewhere has begun twice so far.
        assert_eq!(counts(3, 4, 1), (0, 2, 1));
        assert_eq!(counts(0, 0, 0), (0, 0, 0));
        Ok::<_, anyhow::Error>(())
    })
    .unwrap();
}

#[test]
fn daemons_that_were_cancelled_before_they_began_are_not_kept() {
    TaskGroup::scope(|g| {
        let state = &g.core().state;
        // A group that seems to be listed is not listed again, so no worker comes.
        state.queue.lock().listed = true;
        let first = g.spawn_daemon(|| Ok(()));
        for _ in 0..1_000 {
            g.spawn_daemon(|| Ok(())).cancel();
            assert!(state.queue.lock().daemons.len() <= 64);
        }

        // The one that lives is still the first.
        assert_eq!(first.status(), TaskStatus::Queued);
        state.queue.lock().listed = false;
        g.spawn_daemon(|| Ok(())).wait()?;
        assert_eq!(first.wait()?, TaskStatus::Finished);
        Ok(())
    })
    .unwrap();
}

/// Begins a task as a worker does, after its handle has claimed it. Returns the group's counts.
fn counts_of_a_task_that_is_claimed_late(
    limit: Option<usize>,
    take: impl FnOnce(&TaskBatch) -> TakenTask,
) -> [usize; 4] {
    let builder = TaskGroup::builder();
    let builder = match limit {
        Some(limit) => builder.limit(limit),
        None => builder,
    };
    builder
        .scope(|g| {
            let state = &g.core().state;
            // A group that seems to be listed is not listed again, so no worker comes.
            state.queue.lock().listed = true;
            // Of two tasks: with one alone, a count that is too high is cut to it.
            let [task, other] = [(); 2].map(|()| g.spawn(|| Ok(())));
            let batch = TaskBatch::new(Arc::clone(state));
            let taken = take(&batch);
            task.cancel();
            assert!(batch.next(Some(state.dispatch(taken))).is_none());
            batch.give_back();

            let stats = state.stats();
            assert_eq!(state.queue.lock().permits.held, 0);
            state.queue.lock().listed = false;
            g.spawn(|| Ok(())).wait()?;
            other.wait()?;
            Ok([
                stats.queued,
                stats.running,
                stats.cancelled,
                stats.never_ran,
            ])
        })
        .unwrap()
}

#[test]
fn a_task_that_another_thread_claims_as_it_is_begun_is_counted_once() {
    let from_queue = |batch: &TaskBatch| {
        let state = &batch.state;
        let mut drops = DeferredDrops::default();
        let taken = state.queue.lock().take(state.limit, &mut drops);
        taken.expect("a task is queued")
    };
    let from_batch = |batch: &TaskBatch| {
        batch.put(batch.state.queue.lock().tasks.drain(..1));
        batch.next(None).expect("a task is in the batch")
    };
    let once = [1, 0, 1, 1];
    assert_eq!(
        counts_of_a_task_that_is_claimed_late(Some(1), from_queue),
        once
    );
    assert_eq!(
        counts_of_a_task_that_is_claimed_late(None, from_queue),
        once
    );
    assert_eq!(
        counts_of_a_task_that_is_claimed_late(None, from_batch),
        once
    );
}

/// Runs `count` tasks without a handle as a worker does, in one batch that it then reports.
fn run_in_a_batch(state: &Arc<GroupState>, count: usize) {
    let batch = TaskBatch::new(Arc::clone(state));
    batch.put(state.queue.lock().tasks.drain(..count));
    let mut last = None;
    while let Some(taken) = batch.next(last.take()) {
        last = Some(state.dispatch(taken));
    }
    batch.give_back();
}

#[test]
fn the_next_spawn_frees_what_workers_leave_of_tasks_and_few_are_left() {
    TaskGroup::scope(|g| {
        let state = &g.core().state;
        // A group that seems to be listed is not listed again, so no worker comes.
        state.queue.lock().listed = true;
        let left = || state.queue.lock().spent.len();

        for _ in 0..3 {
            g.spawn(|| Ok(()));
        }
        // A task with a handle is freed with its handle.
        let kept = g.spawn(|| Ok(5));
        run_in_a_batch(state, 4);
        assert_eq!(left(), 3);

        drop(g.spawn(|| Ok(())));
        assert_eq!(left(), 0);
        run_in_a_batch(state, 1);

        // However many end before the next spawn.
        (0..200).for_each(|_| drop(g.spawn(|| Ok(()))));
        for _ in 0..200 {
            run_in_a_batch(state, 1);
        }
        assert_eq!(left(), 64);

        // Values of the user are not left until then.
        let value = Arc::new(());
        let captured = value.clone();
        g.spawn(move || {
            drop(captured);
            Ok(())
        });
        run_in_a_batch(state, 1);
        assert_eq!((left(), Arc::strong_count(&value)), (1, 1));
        state.queue.lock().listed = false;
        Ok(kept.join()?)
    })
    .map(|five| assert_eq!(five, 5))
    .unwrap();
}
