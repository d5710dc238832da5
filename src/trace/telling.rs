//! Calls of the subscriber, which is user code and runs on any thread.

use std::cell::Cell;
use std::mem;

use crate::facade::catch;

thread_local! {
    // It has a destructor, so it is out of reach in the later destructors of other thread-locals,
    // in which the subscriber is not called.
    static THREAD: ThreadFlags = const { ThreadFlags::new() };
}

struct ThreadFlags {
    /// The subscriber is being called, or the task was spawned by it (invariant 4).
    telling: Cell<bool>,
    /// A destructor of the crate runs.
    in_destructor: Cell<bool>,
    /// The thread has run its last task.
    ends: Cell<bool>,
}

impl ThreadFlags {
    const fn new() -> Self {
        ThreadFlags {
            telling: Cell::new(false),
            in_destructor: Cell::new(false),
            ends: Cell::new(false),
        }
    }
}

impl Drop for ThreadFlags {
    fn drop(&mut self) {}
}

/// Sets a flag of this thread, until it is dropped.
struct Flag {
    flag: fn(&ThreadFlags) -> &Cell<bool>,
    before: bool,
}

impl Flag {
    fn set(flag: fn(&ThreadFlags) -> &Cell<bool>) -> Self {
        let before = THREAD.try_with(|thread| flag(thread).replace(true));
        Flag {
            flag,
            before: before.unwrap_or(false),
        }
    }
}

impl Drop for Flag {
    fn drop(&mut self) {
        // A thread that has dropped its flags has nothing to restore.
        let _ = THREAD.try_with(|thread| (self.flag)(thread).set(self.before));
    }
}

/// Calls `f`, which calls the subscriber, unless this thread must not. Returns `None` in that
/// case, and if the subscriber panicked.
pub(super) fn tell<T>(f: impl FnOnce() -> T) -> Option<T> {
    let may_tell = THREAD.try_with(|thread| !thread.telling.get() && !thread.ends.get());
    if may_tell.unwrap_or(false) {
        contain(f)
    } else {
        None
    }
}

/// Calls `f`, which calls the subscriber, on any thread. For calls that undo others: one leaves
/// a span that was entered, or closes a span that was made.
pub(super) fn contain<T>(f: impl FnOnce() -> T) -> Option<T> {
    let _telling = Flag::set(|thread| &thread.telling);

    // `catch` asserts that this thread holds no lock of the crate (invariant 2).
    catch(f)
        // The destructor of the payload is the subscriber's too, and its panic could not be
        // reported.
        .map_err(mem::forget)
        .ok()
}

/// Calls `write`, which logs an error that no report can hold, even on a thread that ends. A
/// panic of the subscriber ends here, since there is no better place to report it.
pub(crate) fn log(write: impl FnOnce()) {
    // The subscriber is not told of its own errors, since that might never end.
    if !is_telling() {
        contain(write);
    }
}

/// Whether code that the subscriber runs is running.
pub(super) fn is_telling() -> bool {
    THREAD
        .try_with(|thread| thread.telling.get())
        .unwrap_or(false)
}

/// Whether this thread may make spans.
pub(super) fn may_tell() -> bool {
    THREAD
        .try_with(|thread| !thread.ends.get())
        .unwrap_or(false)
}

/// While it lives, this thread runs a task that the subscriber has spawned (invariant 4).
pub(super) struct Silence(#[allow(dead_code, reason = "held for its drop")] Flag);

impl Silence {
    pub(super) fn begin() -> Self {
        Silence(Flag::set(|thread| &thread.telling))
    }
}

/// Runs `f`, which a destructor of the crate calls (invariant 2).
pub(crate) fn in_destructor<T>(f: impl FnOnce() -> T) -> T {
    let _flag = Flag::set(|thread| &thread.in_destructor);
    f()
}

pub(super) fn is_in_destructor() -> bool {
    THREAD
        .try_with(|thread| thread.in_destructor.get())
        .unwrap_or(true)
}

/// Says that this thread has run its last task: only destructors of thread-locals follow.
pub(crate) fn thread_ends() {
    // A thread without flags does not call the subscriber in any case.
    let _ = THREAD.try_with(|thread| thread.ends.set(true));
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::panic::panic_any;
    use std::sync::atomic::AtomicBool as PlainBool;
    use std::sync::atomic::Ordering::SeqCst;
    use std::thread;

    use super::*;

    #[test]
    fn the_subscriber_is_not_called_while_it_is_called() {
        assert_eq!(tell(|| tell(|| ())), Some(None));
        // Afterwards it is, even after a panic.
        assert_eq!(tell(|| panic!("of the subscriber")), None::<()>);
        assert_eq!(tell(|| ()), Some(()));
    }

    #[test]
    fn what_the_subscriber_does_wrong_is_not_logged_to_it() {
        let mut logged = 0;
        contain(|| log(|| logged += 1));
        assert_eq!(logged, 0);
        log(|| logged += 1);
        assert_eq!(logged, 1);
    }

    #[test]
    fn after_the_last_task_of_a_thread_nothing_is_told() {
        thread::scope(|threads| {
            threads.spawn(|| {
                assert!(may_tell() && tell(|| ()).is_some());
                thread_ends();
                assert!(!may_tell() && tell(|| ()).is_none());

                // Spans that were entered before are still left.
                assert!(contain(|| ()).is_some());
            });
        });
    }

    #[test]
    fn the_payload_of_a_panic_of_the_subscriber_is_not_dropped() {
        static DROPPED: PlainBool = PlainBool::new(false);
        struct Payload;
        impl Drop for Payload {
            fn drop(&mut self) {
                DROPPED.store(true, SeqCst);
            }
        }

        assert!(contain(|| panic_any(Payload)).is_none());
        assert!(!DROPPED.load(SeqCst));
    }
}
