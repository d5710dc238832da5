//! Locks of files.

use std::fs::File;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use taskgroup::TaskGroup;
use taskgroup::io::{lock_file, unlock_file};

use crate::descriptors::{assert_cancelled, cancelled_inside, in_a_cancelled_scope};
use crate::folder::Folder;
use crate::support::watch;

#[test]
fn a_lock_that_is_held_elsewhere_is_waited_for_until_a_cancel() {
    let _watch = watch();
    let folder = Folder::new();
    let path = folder.0.join("lock");
    let (first, second) = (File::create(&path).unwrap(), File::create(&path).unwrap());
    lock_file(&first).unwrap();
    lock_file(&first).unwrap(); // the same handle has it already
    for _ in 0..10 {
        assert_cancelled(cancelled_inside(|| lock_file(&second)));
    }

    // The cancelled waits have left nothing.
    unlock_file(&first).unwrap();
    assert_cancelled(in_a_cancelled_scope(|| lock_file(&second)));
    lock_file(&first).unwrap();
    thread::scope(|threads| {
        let waiter = threads.spawn(|| lock_file(&second));
        (0..3).for_each(|_| thread::yield_now());
        assert!(!waiter.is_finished());
        drop(first);
        waiter.join().unwrap().unwrap();
    });
}

#[test]
fn threads_take_turns_with_a_lock() {
    let _watch = watch();
    let folder = Folder::new();
    let path = folder.0.join("lock");
    let inside = AtomicUsize::new(0);
    TaskGroup::scope(|g| {
        for _ in 0..4 {
            g.spawn(|| {
                for _ in 0..5 {
                    let file = File::create(&path)?;
                    lock_file(&file)?;
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    unlock_file(&file)?;
                }
                Ok(())
            });
        }
        Ok(())
    })
    .unwrap();
}
