//! All blocking calls in one table: a cancel of the scope ends each of them, and in a cancelled
//! scope each fails at its entry, with the cancel as its error. The primitives are statics, since
//! their constructors are `const`.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{Gate, LONG, until, until_waiting, watch};
use taskgroup::channel::{self, Disconnected, Receiver, Select, Sender, crossbeam, select};
use taskgroup::sync::{
    Barrier, Condvar, Event, Latch, Mutex, OnceCell, Promise, RwLock, Semaphore,
};
use taskgroup::{CancelToken, CancellableExt, Cancelled, TaskError, TaskGroup};

static MUTEX: Mutex<()> = Mutex::new(());
static TABLE: RwLock<()> = RwLock::new(());
static VALUE: Mutex<u8> = Mutex::new(0);
static CHANGED: Condvar = Condvar::new();
static PERMITS: Semaphore = Semaphore::new(2);
static BARRIER: Barrier = Barrier::new(2);
static EVENT: Event = Event::new();
static LATCH: Latch = Latch::new(1);
static CELL: OnceCell<u8> = OnceCell::new();
static PROMISE: Promise<u8> = Promise::new();

/// A wait that only a cancel ends. Returns its outcome.
type Point = fn() -> anyhow::Result<()>;

const POINTS: &[(&str, Point)] = &[
    ("sleep", || Ok(taskgroup::sleep(LONG)?)),
    ("park", || {
        Ok(std::iter::repeat_with(taskgroup::park).collect::<Result<(), _>>()?)
    }),
    ("token wait", || Ok(CancelToken::new().wait()?)),
    ("cancellable", || {
        Ok(std::iter::repeat(())
            .cancellable()
            .collect::<Result<(), _>>()?)
    }),
    ("mutex", || Ok(MUTEX.lock().map(drop)?)),
    ("rwlock read", || Ok(TABLE.read().map(drop)?)),
    ("rwlock write", || Ok(TABLE.write().map(drop)?)),
    ("condvar wait", || Ok(CHANGED.wait(&mut VALUE.lock()?)?)),
    ("condvar wait_while", || {
        Ok(CHANGED.wait_while(&mut VALUE.lock()?, |_| true)?)
    }),
    ("condvar wait_timeout", || {
        Ok(CHANGED.wait_timeout(&mut VALUE.lock()?, LONG).map(drop)?)
    }),
    ("condvar wait_while_timeout", || {
        Ok(CHANGED
            .wait_while_timeout(&mut VALUE.lock()?, |_| true, LONG)
            .map(drop)?)
    }),
    ("semaphore acquire", || Ok(PERMITS.acquire().map(drop)?)),
    ("semaphore acquire_many", || {
        Ok(PERMITS.acquire_many(2).map(drop)?)
    }),
    ("barrier", || Ok(BARRIER.wait().map(drop)?)),
    ("event", || Ok(EVENT.wait()?)),
    ("event wait_timeout", || {
        Ok(EVENT.wait_timeout(LONG).map(drop)?)
    }),
    ("latch", || Ok(LATCH.wait()?)),
    ("latch wait_timeout", || {
        Ok(LATCH.wait_timeout(LONG).map(drop)?)
    }),
    ("once cell get_or_init", || {
        Ok(CELL
            .get_or_init(|| unreachable!("another makes it"))
            .map(drop)?)
    }),
    ("once cell get_or_try_init", || {
        CELL.get_or_try_init(|| anyhow::bail!("another makes it"))
            .map(drop)
    }),
    ("promise", || Ok(PROMISE.wait().map(drop)?)),
    ("promise wait_timeout", || {
        Ok(PROMISE.wait_timeout(LONG).map(drop)?)
    }),
    ("send", || with_ends(|sender, _| Ok(sender.send(1)?))),
    ("send_timeout", || {
        with_ends(|sender, _| Ok(sender.send_timeout(1, LONG)?))
    }),
    ("recv", || {
        with_ends(|_, receiver| Ok(receiver.recv().map(drop)?))
    }),
    ("recv_timeout", || {
        with_ends(|_, receiver| Ok(receiver.recv_timeout(LONG).map(drop)?))
    }),
    ("iter", || {
        with_ends(|_, receiver| Ok(receiver.iter().try_for_each(|message| message.map(drop))?))
    }),
    ("select!", || {
        with_ends(|_, receiver| Ok(select! { recv(receiver) -> _ => () }?))
    }),
    ("Select", || {
        with_ends(|_, receiver| Ok(select_of(receiver).select().map(drop)?))
    }),
    ("Select select_timeout", || {
        with_ends(|_, receiver| Ok(select_of(receiver).select_timeout(LONG).map(drop)?))
    }),
    ("crossbeam send", || {
        let (sender, _receiver) = crossbeam_channel::bounded(0);
        Ok(crossbeam::send(&sender, 1)?)
    }),
    ("crossbeam send_timeout", || {
        let (sender, _receiver) = crossbeam_channel::bounded(0);
        Ok(crossbeam::send_timeout(&sender, 1, LONG)?)
    }),
    ("crossbeam recv", || {
        Ok(crossbeam::recv(&crossbeam_channel::never::<()>())?)
    }),
    ("crossbeam recv_timeout", || {
        Ok(crossbeam::recv_timeout(
            &crossbeam_channel::never::<()>(),
            LONG,
        )?)
    }),
    ("crossbeam iter", || {
        Ok(crossbeam::iter(&crossbeam_channel::never::<()>()).collect::<Result<(), _>>()?)
    }),
];

/// Runs `f` with the ends of a channel without room, of which it uses one.
fn with_ends(f: fn(&Sender<u8>, &Receiver<u8>) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let (sender, receiver) = channel::bounded(0);
    f(&sender, &receiver)
}

fn select_of(receiver: &Receiver<u8>) -> Select<'_, Result<u8, Disconnected>> {
    let mut select = Select::new();
    select.recv(receiver, |message| message);
    select
}

#[test]
fn a_cancel_ends_every_blocking_point_each_time() -> anyhow::Result<()> {
    let _watch = watch();
    let (making, made) = (Gate::default(), Gate::default());
    let token = CancelToken::new();
    let is_its_own = |name: &str, outcome: anyhow::Result<()>| {
        let error = outcome
            .err()
            .unwrap_or_else(|| panic!("{name} was not cancelled"));
        assert_eq!(
            error.cancelled().map(Cancelled::origin),
            Some(token.id()),
            "{name}: {error:?}"
        );
    };
    TaskGroup::scope(|g| {
        g.spawn(|| {
            CELL.get_or_init(|| {
                making.open();
                made.wait();
                1
            })?;
            Ok(())
        });
        making.wait();
        let held = (MUTEX.lock()?, TABLE.write()?, PERMITS.acquire_many(2)?);
        let entered = AtomicUsize::new(0);
        std::thread::scope(|threads| {
            for (name, point) in POINTS {
                let (token, entered) = (&token, &entered);
                threads.spawn(move || {
                    entered.fetch_add(1, Ordering::SeqCst);
                    is_its_own(name, token.run(point));
                    // And again, without a wait.
                    is_its_own(name, token.run(point));
                });
            }
            until(|| entered.load(Ordering::SeqCst) == POINTS.len());
            until_waiting(&MUTEX, 1);
            until_waiting(&TABLE, 2);
            until_waiting(&CHANGED, 4);
            until_waiting(&PERMITS, 2);
            until_waiting(&BARRIER, 1);
            until_waiting(&EVENT, 2);
            until_waiting(&LATCH, 2);
            until_waiting(&CELL, 2);
            until_waiting(&PROMISE, 2);
            token.cancel();
        });
        drop(held);
        made.open();
        Ok(())
    })?;
    // No waiter is left in a queue.
    assert!(
        MUTEX.try_lock().is_some() && TABLE.try_write().is_some() && VALUE.try_lock().is_some()
    );
    assert_eq!(PERMITS.available(), 2);
    assert!(BARRIER.is_broken());
    Ok(())
}
