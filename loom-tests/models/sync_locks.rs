//! Models of locks: grants against cancels, and locks that are handed over.

use std::sync::Arc;

use loom::thread;

use super::Bound::Preemptions;
use super::support::until_waiting;
use super::{Model, Watched};
use crate::CancelToken;
use crate::facade::set_paces_are_due;
use crate::sync::{Latch, Mutex, RwLock, WriteGuard};

pub(super) const MODELS: &[Model] = &[
    holds!(
        sync_mutex_excludes,
        Preemptions(3),
        Preemptions(4),
        "one thread at a time holds the mutex, and an unlock wakes a waiter"
    ),
    breaks!(
        broken_sync_mutex_without_fence,
        "unlock-without-fence" in sync_mutex_excludes,
        Preemptions(3),
        "deadlock",
        "an unlock that looks for waiters before it is visible misses one"
    ),
    holds!(
        sync_mutex_cancel_passes_wake_on,
        Preemptions(2),
        Preemptions(3),
        "a waiter that is cancelled when it is woken to try wakes the next"
    ),
    breaks!(
        broken_sync_mutex_cancel_keeps_wake,
        "cancelled-waiter-keeps-its-wake" in sync_mutex_cancel_passes_wake_on,
        Preemptions(2),
        "deadlock",
        "a cancelled waiter that does not pass its wake on leaves the mutex free and the next \
         waiter asleep"
    ),
    holds!(
        sync_mutex_hand_over_against_relock,
        Preemptions(3),
        Preemptions(4),
        "a thread that locks again at once gets the mutex after the waiter that it was handed \
             to"
    ),
    breaks!(
        broken_sync_mutex_hand_over_bars_no_thread,
        "hand-over-bars-no-thread" in sync_mutex_hand_over_against_relock,
        Preemptions(3),
        "overtaken",
        "a mutex that is handed over without keeping other threads out goes to the fastest one"
    ),
    holds!(
        sync_mutex_hand_over_against_cancel,
        Preemptions(2),
        Preemptions(3),
        "a mutex that is handed to a cancelled waiter goes to the next waiter, or to any thread"
    ),
    breaks!(
        broken_sync_mutex_hand_over_to_an_empty_queue,
        "empty-queue-bars" in sync_mutex_hand_over_against_cancel,
        Preemptions(2),
        "the mutex is kept for a waiter that has left",
        "a cancelled waiter that leaves the mutex handed to an empty queue keeps every thread \
         out"
    ),
    breaks!(
        broken_sync_mutex_hand_over_is_dropped,
        "cancelled-waiter-keeps-its-wake" in sync_mutex_hand_over_against_cancel,
        Preemptions(2),
        "deadlock",
        "a cancelled waiter that does not pass a hand-over on leaves the mutex free and the \
         next waiter asleep"
    ),
    holds!(
        sync_mutex_hand_over_in_order,
        Preemptions(2),
        Preemptions(3),
        "a mutex that is handed over at each unlock goes to the waiters in the order of the \
             queue"
    ),
    holds!(
        sync_rwlock_excludes,
        Preemptions(2),
        Preemptions(3),
        "a writer excludes all others, and its writes happen before the reads"
    ),
    holds!(
        sync_rwlock_hand_over_to_readers,
        Preemptions(1),
        Preemptions(3),
        "a lock that is handed to readers lets all of them read, and then a writer write"
    ),
    holds!(
        sync_rwlock_hand_over_against_relock,
        Preemptions(3),
        Preemptions(4),
        "a writer that locks again at once gets the lock after the reader that it was handed to"
    ),
    holds!(
        sync_rwlock_hand_over_against_cancel,
        Preemptions(2),
        Preemptions(3),
        "a lock that is handed to a cancelled writer goes to the readers behind it"
    ),
    holds!(
        sync_rwlock_last_reader_wakes_the_writer,
        Preemptions(1),
        Preemptions(3),
        "of two readers that unlock at the same time, one sees the waiting writer"
    ),
    breaks!(
        broken_sync_rwlock_without_fence,
        "unlock-without-fence" in sync_rwlock_last_reader_wakes_the_writer,
        Preemptions(1),
        "deadlock",
        "a reader that looks for waiters before its unlock is visible misses the writer"
    ),
    holds!(
        sync_rwlock_cancelled_writer_lets_readers_pass,
        Preemptions(3),
        Preemptions(4),
        "a reader behind a cancelled writer reads beside the readers that hold the lock"
    ),
    breaks!(
        broken_sync_rwlock_cancelled_writer_bars_readers,
        "cancelled-writer-bars-readers" in sync_rwlock_cancelled_writer_lets_readers_pass,
        Preemptions(3),
        "deadlock",
        "a cancelled writer that does not wake the readers behind it leaves a reader waiting \
         for readers"
    ),
    holds!(
        sync_rwlock_readers_read_together,
        Preemptions(1),
        Preemptions(3),
        "two readers that waited for a writer hold the lock together, whichever was woken by \
             its unlock"
    ),
    breaks!(
        broken_sync_rwlock_reader_tells_no_reader,
        "reader-tells-no-reader" in sync_rwlock_readers_read_together,
        Preemptions(1),
        "deadlock",
        "a reader that gets the lock by itself and wakes no reader leaves the reader behind \
         it waiting for its unlock"
    ),
    holds!(
        sync_rwlock_downgrade_lets_readers_in,
        Preemptions(3),
        Preemptions(4),
        "a reader that waits for a writer reads beside it once the writer is downgraded, and \
             the write happens before the read"
    ),
    breaks!(
        broken_sync_rwlock_downgrade_tells_no_reader,
        "downgrade-tells-no-reader" in sync_rwlock_downgrade_lets_readers_in,
        Preemptions(3),
        "deadlock",
        "a writer that downgrades and wakes no reader leaves a reader waiting for its unlock"
    ),
    breaks!(
        broken_sync_rwlock_downgrade_without_fence,
        "downgrade-without-fence" in sync_rwlock_downgrade_lets_readers_in,
        Preemptions(3),
        "deadlock",
        "a writer that looks for waiters before its downgrade is visible misses a reader"
    ),
    holds!(
        sync_rwlock_downgrade_against_writer_and_reader,
        Preemptions(2),
        Preemptions(3),
        "no writer gets in between a downgrade and the unlock, and a waiting writer and \
             reader get the lock after it"
    ),
    holds!(
        sync_rwlock_downgrade_hands_over,
        Preemptions(3),
        Preemptions(4),
        "a lock that is handed over at a downgrade goes to the reader, and then to any thread"
    ),
];

fn sync_mutex_excludes() {
    let mutex = Arc::new(Mutex::new(Watched::new()));
    let others = [(); 2].map(|()| {
        let mutex = mutex.clone();
        thread::spawn(move || mutex.lock().unwrap().write())
    });
    mutex.lock().unwrap().write();
    for other in others {
        other.join().unwrap();
    }
}

fn sync_mutex_cancel_passes_wake_on() {
    let mutex = Arc::new(Mutex::new(()));
    let token = CancelToken::new();
    let held = mutex.lock().unwrap();
    let cancelled = thread::spawn({
        let (mutex, token) = (mutex.clone(), token.clone());
        move || drop(token.run(|| mutex.lock()))
    });
    let next = thread::spawn({
        let mutex = mutex.clone();
        move || drop(mutex.lock().unwrap())
    });
    drop(held);
    token.cancel();
    cancelled.join().unwrap();
    next.join().unwrap();
    assert!(
        mutex.try_lock().is_some(),
        "the mutex is kept for a waiter that has left"
    );
}

fn sync_mutex_hand_over_against_relock() {
    set_paces_are_due(true);
    let mutex = Arc::new(Mutex::new(false));
    let mut held = mutex.lock().unwrap();
    let waiter = thread::spawn({
        let mutex = mutex.clone();
        move || *mutex.lock().unwrap() = true
    });
    until_waiting(&mutex, 1);
    drop(held);
    held = mutex.lock().unwrap();
    assert!(*held, "overtaken");
    drop(held);
    waiter.join().unwrap();
    assert!(
        mutex.try_lock().is_some(),
        "the mutex is kept for a waiter that has left"
    );
}

fn sync_mutex_hand_over_against_cancel() {
    set_paces_are_due(true);
    sync_mutex_cancel_passes_wake_on();
}

fn sync_mutex_hand_over_in_order() {
    set_paces_are_due(true);
    let mutex = Arc::new(Mutex::new(Vec::new()));
    let held = mutex.lock().unwrap();
    let waiters = [1, 2].map(|n| {
        let waiter = thread::spawn({
            let mutex = mutex.clone();
            move || mutex.lock().unwrap().push(n)
        });
        until_waiting(&mutex, n);
        waiter
    });
    drop(held);
    mutex.lock().unwrap().push(3);
    for waiter in waiters {
        waiter.join().unwrap();
    }
    let order = mutex.lock().unwrap();
    let at = |n| order.iter().position(|thread| *thread == n);
    assert!(order.len() == 3 && at(1) < at(2), "{order:?}");
}

fn sync_rwlock_hand_over_to_readers() {
    set_paces_are_due(true);
    sync_rwlock_last_reader_wakes_the_writer();
}

fn sync_rwlock_hand_over_against_relock() {
    set_paces_are_due(true);
    let lock = Arc::new(RwLock::new(Watched::new()));
    let reader = thread::spawn({
        let lock = lock.clone();
        move || lock.read().unwrap().read()
    });
    for _ in 0..2 {
        lock.write().unwrap().write();
    }
    reader.join().unwrap();
    assert!(
        lock.try_write().is_some(),
        "the lock is kept for a waiter that has left"
    );
}

fn sync_rwlock_hand_over_against_cancel() {
    set_paces_are_due(true);
    let lock = Arc::new(RwLock::new(()));
    let token = CancelToken::new();
    let writing = lock.write().unwrap();
    let writer = thread::spawn({
        let (lock, token) = (lock.clone(), token.clone());
        move || drop(token.run(|| lock.write()))
    });
    let reader = thread::spawn({
        let lock = lock.clone();
        move || drop(lock.read().unwrap())
    });
    drop(writing);
    token.cancel();
    writer.join().unwrap();
    reader.join().unwrap();
    assert!(
        lock.try_write().is_some(),
        "the lock is kept for a waiter that has left"
    );
}

fn sync_rwlock_excludes() {
    let lock = Arc::new(RwLock::new(Watched::new()));
    let writer = thread::spawn({
        let lock = lock.clone();
        move || lock.write().unwrap().write()
    });
    let reader = thread::spawn({
        let lock = lock.clone();
        move || lock.read().unwrap().read()
    });
    lock.write().unwrap().write();
    writer.join().unwrap();
    reader.join().unwrap();
}

fn sync_rwlock_last_reader_wakes_the_writer() {
    let lock = Arc::new(RwLock::new(Watched::new()));
    let readers = [(); 2].map(|()| {
        let lock = lock.clone();
        thread::spawn(move || lock.read().unwrap().read())
    });
    lock.write().unwrap().write();
    for reader in readers {
        reader.join().unwrap();
    }
}

fn sync_rwlock_cancelled_writer_lets_readers_pass() {
    let lock = Arc::new(RwLock::new(()));
    let token = CancelToken::new();
    let reading = lock.read().unwrap();
    let writer = thread::spawn({
        let (lock, token) = (lock.clone(), token.clone());
        move || assert!(token.run(|| lock.write().is_err()), "wrote beside a reader")
    });
    let reader = thread::spawn({
        let lock = lock.clone();
        move || drop(lock.read().unwrap())
    });
    token.cancel();
    writer.join().unwrap();
    reader.join().unwrap();
    drop(reading);
}

fn sync_rwlock_readers_read_together() {
    let shared = Arc::new((RwLock::new(()), Latch::new(2)));
    let writing = shared.0.write().unwrap();
    let readers = [(); 2].map(|()| {
        let shared = shared.clone();
        thread::spawn(move || {
            let _reading = shared.0.read().unwrap();
            shared.1.count_down();
            shared.1.wait().unwrap();
        })
    });
    drop(writing);
    for reader in readers {
        reader.join().unwrap();
    }
}

fn sync_rwlock_downgrade_lets_readers_in() {
    let shared = Arc::new((RwLock::new(Watched::new()), Latch::new(1)));
    let writing = shared.0.write().unwrap();
    let reader = thread::spawn({
        let shared = shared.clone();
        move || {
            shared.0.read().unwrap().read();
            shared.1.count_down();
        }
    });
    writing.write();
    let reading = WriteGuard::downgrade(writing);
    // The reader does not depend on the unlock.
    shared.1.wait().unwrap();
    reading.read();
    drop(reading);
    reader.join().unwrap();
    assert!(
        shared.0.try_write().is_some(),
        "the lock is kept for a waiter that has left"
    );
}

fn sync_rwlock_downgrade_against_writer_and_reader() {
    let lock = Arc::new(RwLock::new((Watched::new(), 0)));
    let mut writing = lock.write().unwrap();
    let writer = thread::spawn({
        let lock = lock.clone();
        move || {
            let mut writing = lock.write().unwrap();
            writing.0.write();
            writing.1 += 1;
        }
    });
    let reader = thread::spawn({
        let lock = lock.clone();
        move || lock.read().unwrap().0.read()
    });
    writing.0.write();
    writing.1 = 10;
    let reading = WriteGuard::downgrade(writing);
    reading.0.read();
    assert_eq!(reading.1, 10, "a writer came in between");
    drop(reading);
    writer.join().unwrap();
    reader.join().unwrap();
    assert_eq!(lock.read().unwrap().1, 11);
}

fn sync_rwlock_downgrade_hands_over() {
    set_paces_are_due(true);
    sync_rwlock_downgrade_lets_readers_in();
}
