//! Calls allocate what the documentation says, and no more.

mod support;

use std::time::Duration;

use allocation_counter::measure;
use support::with_busy_workers;
use taskgroup::sync::{Event, Latch, Mutex, OnceCell, RwLock, Semaphore};
use taskgroup::{
    CancelToken, Cancelled, GroupError, TaskGroup, channel, timeout, winding_down, with_cancel_hook,
};

const TIMES: u64 = 100;

/// How often memory is allocated on this thread by `f`, which is called once before that.
fn allocations(mut f: impl FnMut()) -> u64 {
    f();
    measure(f).count_total
}

#[test]
fn a_region_with_a_hook_allocates_nothing() {
    CancelToken::new().run(|| {
        let (mut runs, borrowed) = (0, String::from("borrowed"));
        let hook = || assert!(borrowed.is_empty(), "nothing is cancelled here");
        let nested = || {
            (0..TIMES).for_each(|_| with_cancel_hook(hook, || with_cancel_hook(hook, || runs += 1)))
        };
        assert_eq!(allocations(nested), 0);
        assert_eq!(runs, 2 * TIMES);
    });
}

#[test]
fn a_time_limit_and_a_region_that_winds_down_allocate_nothing() {
    let hour = Duration::from_secs(3600);
    CancelToken::new().run(|| {
        let mut runs = 0;
        let mut limited = || {
            timeout(hour, || {
                taskgroup::checkpoint()?;
                taskgroup::sleep(Duration::from_micros(1))?;
                assert!(taskgroup::remaining() <= Some(hour));
                runs += 1;
                Ok::<_, Cancelled>(())
            })
        };
        let nested =
            || (0..TIMES).for_each(|_| winding_down(|| assert_eq!(limited(), Ok(Some(())))));
        assert_eq!(allocations(nested), 0);
        assert_eq!(runs, 2 * TIMES);
    });
}

#[test]
fn what_need_not_block_allocates_nothing() -> Result<(), GroupError> {
    let (mutex, lock, semaphore) = (Mutex::new(0), RwLock::new(0), Semaphore::new(2));
    let (event, latch, cell) = (Event::new(), Latch::new(0), OnceCell::new());
    let (sender, receiver) = channel::bounded(4);
    event.set();
    TaskGroup::scope(|_| {
        let mut outcome = Ok(());
        let all = || -> anyhow::Result<()> {
            taskgroup::checkpoint()?;
            std::thread::current().unpark();
            taskgroup::park()?;
            *mutex.lock()? += 1;
            *lock.write()? += 1;
            assert!(*lock.read()? > 0);
            drop(semaphore.acquire_many(2)?);
            event.wait()?;
            latch.wait()?;
            cell.get_or_init(|| 2)?;
            sender.send(1)?;
            assert_eq!(receiver.recv()?, 1);
            Ok(())
        };
        assert_eq!(
            allocations(|| outcome = (0..TIMES).try_for_each(|_| all())),
            0
        );
        outcome
    })
}

#[test]
fn a_scope_is_two_allocations_and_a_task_in_place_one() {
    let scope = || TaskGroup::scope(|_| Ok(())).expect("nothing fails");
    assert_eq!(allocations(scope), 2);
    with_busy_workers(|| {
        TaskGroup::scope(|g| {
            let mut sum = 0;
            let tasks = || {
                for n in 0..TIMES {
                    sum += g.spawn(move || Ok(n)).join().expect("nothing fails");
                }
            };
            // The queue grows now and then, to twice its room.
            let growth = u64::from(TIMES.ilog2());
            assert!((TIMES..=TIMES + growth).contains(&allocations(tasks)));
            assert_eq!(sum, TIMES * (TIMES - 1));
            Ok(())
        })
        .expect("nothing fails");
    });
}
