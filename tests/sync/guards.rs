//! Guards of locks: mapped, downgraded, covariant, and known to the check for locks of one's own.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

#[cfg(debug_assertions)]
use crate::support::panic_of;
use crate::support::{until_waiting, watch};
use taskgroup::TaskGroup;
use taskgroup::sync::{
    Latch, MappedMutexGuard, MappedWriteGuard, Mutex, MutexGuard, ReadGuard, RwLock, WriteGuard,
};

#[test]
fn a_mapped_guard_of_a_mutex_holds_it() -> anyhow::Result<()> {
    let mutex = Mutex::new((String::from("a"), [1, 2]));
    let array = MutexGuard::map(mutex.lock()?, |value| &mut value.1);
    let mut last = MappedMutexGuard::map(array, |array| &mut array[1]);
    assert!(mutex.try_lock().is_none());
    *last += 10;
    assert_eq!(format!("{last} {last:?}"), "12 12");
    drop(last);
    assert_eq!(mutex.lock()?.1, [1, 12]);

    // A `try_map` that finds no part gives the guard back, locked.
    let whole = MutexGuard::try_map(mutex.lock()?, |value| value.1.get_mut(2)).unwrap_err();
    assert!(mutex.try_lock().is_none());
    let text = MutexGuard::try_map(whole, |value| Some(&mut value.0)).unwrap();
    let mut text = MappedMutexGuard::try_map(text, |_| None::<&mut str>).unwrap_err();
    assert!(mutex.try_lock().is_none());
    text.push('b');
    let text = MappedMutexGuard::try_map(text, |text| Some(text.as_mut_str())).unwrap();
    assert_eq!(&*text, "ab");
    drop(text);
    assert!(mutex.try_lock().is_some());
    Ok(())
}

#[test]
fn a_mapped_guard_to_write_holds_the_lock() -> anyhow::Result<()> {
    let lock = RwLock::new((String::from("a"), [1, 2]));
    let array = WriteGuard::map(lock.write()?, |value| &mut value.1);
    let mut last = MappedWriteGuard::map(array, |array| &mut array[1]);
    assert!(lock.try_read().is_none());
    *last += 10;
    assert_eq!(format!("{last} {last:?}"), "12 12");
    drop(last);

    let whole = WriteGuard::try_map(lock.write()?, |value| value.1.get_mut(2)).unwrap_err();
    assert!(lock.try_read().is_none());
    let text = WriteGuard::try_map(whole, |value| Some(&mut value.0)).unwrap();
    let mut text = MappedWriteGuard::try_map(text, |_| None::<&mut str>).unwrap_err();
    text.push('b');
    drop(MappedWriteGuard::try_map(text, |text| Some(text.as_mut_str())).unwrap());
    assert_eq!(*lock.read()?, (String::from("ab"), [1, 12]));
    Ok(())
}

#[test]
fn a_mapped_guard_to_read_holds_the_lock() -> anyhow::Result<()> {
    let lock = RwLock::new((String::from("ab"), [1, 2]));
    let last = ReadGuard::map(lock.read()?, |value| &value.1[1]);
    assert!(lock.try_write().is_none() && lock.try_read().is_some());
    assert_eq!(format!("{last} {last:?}"), "2 2");
    let whole = ReadGuard::try_map(lock.read()?, |value| value.1.get(2)).unwrap_err();
    drop(last);
    assert!(lock.try_write().is_none());
    let text = ReadGuard::try_map(whole, |value| value.0.get(1..)).unwrap();
    assert!(lock.try_write().is_none());
    assert_eq!(&*text, "b");
    drop(text);
    assert!(lock.try_write().is_some());
    Ok(())
}

#[test]
fn a_map_that_panics_unlocks() {
    let (mutex, lock) = (Mutex::new(1), RwLock::new(1));
    let panics = |f: &dyn Fn()| assert!(catch_unwind(AssertUnwindSafe(f)).is_err());
    panics(&|| {
        drop(MutexGuard::map(
            mutex.lock_uncancellable(),
            |_| -> &mut u8 { std::panic::resume_unwind(Box::new(())) },
        ))
    });
    panics(&|| {
        drop(WriteGuard::map(
            lock.write_uncancellable(),
            |_| -> &mut u8 { std::panic::resume_unwind(Box::new(())) },
        ))
    });
    panics(&|| {
        drop(ReadGuard::map(lock.read_uncancellable(), |_| -> &u8 {
            std::panic::resume_unwind(Box::new(()))
        }))
    });
    // Neither are they locked, nor does the check take this task for a holder.
    assert_eq!(*mutex.lock_uncancellable() + *lock.write_uncancellable(), 2);
}

#[test]
fn mapped_guards_wake_waiting_threads() -> anyhow::Result<()> {
    let _watch = watch();
    let (mutex, lock) = (Mutex::new((1, 2)), RwLock::new((1, 2)));
    TaskGroup::scope(|g| {
        let locked = MutexGuard::map(mutex.lock()?, |pair| &mut pair.0);
        let writing = WriteGuard::map(lock.write()?, |pair| &mut pair.0);
        let locks = g.spawn(|| Ok(mutex.lock()?.0));
        let reads = g.spawn(|| Ok(lock.read()?.0));
        until_waiting(&mutex, 1);
        until_waiting(&lock, 1);
        drop((locked, writing));
        assert_eq!((locks.join()?, reads.join()?), (1, 1));
        let reading = ReadGuard::map(lock.read()?, |pair| &pair.1);
        let writes = g.spawn(|| Ok(lock.write()?.1));
        until_waiting(&lock, 1);
        drop(reading);
        assert_eq!(writes.join()?, 2);
        Ok(())
    })?;
    Ok(())
}

#[test]
fn a_downgraded_guard_lets_readers_in_and_writers_not() -> anyhow::Result<()> {
    let _watch = watch();
    let (lock, read) = (RwLock::new(0), Latch::new(2));
    TaskGroup::scope(|g| {
        let mut writing = lock.write()?;
        for waiting in 1..=2 {
            g.spawn(|| {
                let reading = lock.read()?;
                read.count_down();
                assert_eq!(*reading, 1);
                Ok(())
            });
            until_waiting(&lock, waiting);
        }
        *writing = 1;
        let reading = WriteGuard::downgrade(writing);
        read.wait()?;
        // A waiting writer has to wait for this guard, and keeps readers out like elsewhere.
        let writes = g.spawn(|| {
            *lock.write()? += 1;
            Ok(())
        });
        until_waiting(&lock, 1);
        assert_eq!(*reading, 1);
        assert!(lock.try_write().is_none());
        drop(reading);
        writes.join()?;
        assert_eq!(*lock.read()?, 2);
        Ok(())
    })?;
    Ok(())
}

#[test]
fn a_downgrade_leaves_a_writer_that_came_first_before_the_readers() -> anyhow::Result<()> {
    let _watch = watch();
    let lock = RwLock::new(Vec::new());
    TaskGroup::scope(|g| {
        let writing = lock.write()?;
        g.spawn(|| {
            lock.write()?.push("written");
            Ok(())
        });
        until_waiting(&lock, 1);
        let reads = g.spawn(|| Ok(lock.read()?.len()));
        until_waiting(&lock, 2);
        let reading = WriteGuard::downgrade(writing);
        assert!(reading.is_empty());
        until_waiting(&lock, 2);
        drop(reading);
        assert_eq!(reads.join()?, 1);
        Ok(())
    })?;
    Ok(())
}

/// Compiles only if a guard to read is covariant in its value, and every guard in its lifetime.
#[test]
fn guards_are_covariant() -> anyhow::Result<()> {
    fn both<'a>(guard: ReadGuard<'a, &'a str>, other: &'a str) -> [usize; 2] {
        [*guard, other].map(str::len)
    }
    fn shorter<'a>(guard: ReadGuard<'static, &'static str>, _: &'a str) -> ReadGuard<'a, &'a str> {
        guard
    }
    fn shorter_to_write<'a>(
        guards: (MutexGuard<'static, u8>, WriteGuard<'static, u8>),
        _: &'a u8,
    ) -> (MutexGuard<'a, u8>, WriteGuard<'a, u8>) {
        guards
    }
    fn shorter_mapped<'a>(
        guards: (MappedMutexGuard<'static, u8>, MappedWriteGuard<'static, u8>),
        _: &'a u8,
    ) -> (MappedMutexGuard<'a, u8>, MappedWriteGuard<'a, u8>) {
        guards
    }

    static WORD: RwLock<&'static str> = RwLock::new("static");
    static NUMBER: (Mutex<u8>, RwLock<u8>) = (Mutex::new(1), RwLock::new(2));
    let local = String::from("local");
    assert_eq!(both(WORD.read()?, &local), [6, 5]);
    assert_eq!(*shorter(WORD.read()?, &local), "static");
    assert_eq!(
        *shorter_to_write((NUMBER.0.lock()?, NUMBER.1.write()?), &0).1,
        2
    );
    let mapped = (
        MutexGuard::map(NUMBER.0.lock()?, |n| n),
        WriteGuard::map(NUMBER.1.write()?, |n| n),
    );
    assert_eq!(*shorter_mapped(mapped, &0).0, 1);
    Ok(())
}

#[test]
fn a_part_that_is_not_sync_is_written_through_a_mapped_guard() -> anyhow::Result<()> {
    let lock = RwLock::new(Mutex::new(Cell::new(1)));
    let cell = WriteGuard::map(lock.write()?, |inner| inner.get_mut().get_mut());
    drop(cell);
    assert_eq!(lock.read()?.lock()?.get(), 1);
    Ok(())
}

#[test]
#[cfg(debug_assertions)]
fn waiting_for_an_own_mapped_or_downgraded_guard_names_both_places() -> anyhow::Result<()> {
    let _watch = watch();
    let names = |message: String, first| {
        assert!(
            message.contains(&format!("{}:{first}:", file!())),
            "{message}"
        )
    };
    let (mutex, lock) = (Mutex::new((1, 2)), RwLock::new((1, 2)));

    let first = line!() + 1;
    let mapped = MutexGuard::map(mutex.lock()?, |pair| &mut pair.0);
    names(panic_of(|| mutex.lock()), first);
    drop(mapped);
    assert_eq!(mutex.lock()?.0, 1);

    let first = line!() + 1;
    let mapped = WriteGuard::map(lock.write()?, |pair| &mut pair.0);
    names(panic_of(|| lock.read()), first);
    names(panic_of(|| lock.write()), first);
    drop(mapped);

    let first = line!() + 1;
    let mapped = ReadGuard::map(lock.read()?, |pair| &pair.0);
    names(panic_of(|| lock.write()), first);
    drop((lock.read()?, mapped));

    let first = line!() + 1;
    let downgraded = WriteGuard::downgrade(lock.write()?);
    assert_eq!(lock.read()?.0, 1, "a reader may read beside itself");
    names(panic_of(|| lock.write()), first);
    TaskGroup::scope(|g| {
        let writes = g.spawn(|| Ok(*lock.write()?));
        until_waiting(&lock, 1);
        names(panic_of(|| lock.read()), first);
        writes.cancel();
        Ok(())
    })?;
    drop(downgraded);
    assert_eq!(lock.write()?.0, 1);
    Ok(())
}

#[test]
#[cfg(debug_assertions)]
fn guards_dropped_in_any_order_are_told_apart() -> anyhow::Result<()> {
    let lock = RwLock::new(0);
    let first = lock.read()?;
    let line = line!() + 1;
    let second = lock.read()?;
    drop(first);
    assert!(panic_of(|| lock.write()).contains(&format!("{}:{line}:", file!())));
    drop(second);
    assert_eq!(*lock.write()?, 0);
    Ok(())
}
