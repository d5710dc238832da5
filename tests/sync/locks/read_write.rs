//! Locks that several readers hold.

use taskgroup::sync::RwLock;
use taskgroup::{TaskGroup, TaskHandle};

use crate::support::{Gate, panic_of, until_waiting, watch};

/// Spawns a task that writes 1 into `lock`, which is held, and waits until the task waits.
fn spawn_waiting_writer<'scope>(
    g: &'scope TaskGroup<'scope, '_>,
    lock: &'scope RwLock<i32>,
) -> TaskHandle<'scope, ()> {
    let writer = g.spawn(|| {
        *lock.write()? = 1;
        Ok(())
    });
    until_waiting(lock, 1);
    writer
}

#[test]
fn reading_again_is_reported_if_a_writer_waits() -> anyhow::Result<()> {
    let _watch = watch();
    let lock = RwLock::new(0);
    TaskGroup::scope(|g| {
        let reading = lock.read()?;
        drop(lock.read()?);
        let writer = spawn_waiting_writer(g, &lock);
        let message = panic_of(|| lock.read());
        assert!(
            message.contains("this thread holds the lock already"),
            "{message}"
        );
        // It does not wait, so there is nothing to report.
        assert!(lock.try_write().is_none());
        // Another thread waits its turn, as ever.
        let reader = g.spawn(|| Ok(*lock.read()?));
        until_waiting(&lock, 2);
        drop(reading);
        writer.join()?;
        assert_eq!(reader.join()?, 1);
        Ok(())
    })?;
    Ok(())
}

#[test]
fn readers_read_together() -> anyhow::Result<()> {
    let lock = RwLock::new(7);
    let together = std::sync::Barrier::new(3);
    TaskGroup::scope(|g| {
        for _ in 0..3 {
            g.spawn(|| {
                let value = lock.read()?;
                together.wait();
                assert_eq!(*value, 7);
                Ok(())
            });
        }
        Ok(())
    })?;
    Ok(())
}

#[test]
fn readers_that_waited_for_a_writer_read_together() -> anyhow::Result<()> {
    let lock = RwLock::new(0);
    let together = std::sync::Barrier::new(3);
    TaskGroup::scope(|g| {
        let mut writing = lock.write()?;
        for _ in 0..3 {
            g.spawn(|| {
                let value = lock.read()?;
                together.wait();
                assert_eq!(*value, 1);
                Ok(())
            });
        }
        until_waiting(&lock, 3);
        *writing = 1;
        drop(writing);
        Ok(())
    })?;
    Ok(())
}

#[test]
fn readers_queue_behind_a_waiting_writer() -> anyhow::Result<()> {
    let lock = RwLock::new(0);
    TaskGroup::scope(|g| {
        let reading = lock.read()?;
        let writer = spawn_waiting_writer(g, &lock);
        let reader = g.spawn(|| Ok(*lock.read()?));
        until_waiting(&lock, 2);
        drop(reading);
        writer.join()?;
        assert_eq!(reader.join()?, 1);
        Ok(())
    })?;
    Ok(())
}

#[test]
fn a_cancelled_writer_lets_the_readers_behind_it_read() -> anyhow::Result<()> {
    let lock = RwLock::new(0);
    let done = Gate::default();
    TaskGroup::scope(|g| {
        let reading = lock.read()?;
        let writer = spawn_waiting_writer(g, &lock);
        for _ in 0..2 {
            g.spawn(|| {
                assert_eq!(*lock.read()?, 0);
                done.wait();
                Ok(())
            });
        }
        until_waiting(&lock, 3);
        writer.cancel();
        // They read beside this thread, which still does.
        until_waiting(&lock, 0);
        done.open();
        drop(reading);
        Ok(())
    })?;
    Ok(())
}
