//! How much stack the tasks that run in place may use.
//!
//! A task that runs in place, on the thread that waits for it, finds what the tasks around it have
//! left of the stack. On a thread of its own it would have all of it. So a task begins in place
//! only while little of the stack is used, as the distance of two addresses shows; after that a
//! worker runs it, and the thread that waits blocks.
//!
//! | thread | measured from | may be used |
//! |---|---|---|
//! | a worker, a task's own thread | the beginning of the thread | a quarter of its stack |
//! | any other | the outermost task in place | `FOREIGN`: a quarter of a stack of 64 KiB |
//!
//! The size of the stack of other threads is not known, nor what is used of it. The small limit
//! costs one wake of a worker, on which the rest of a deep recursion then has the room of the first
//! row.

use std::cell::Cell;
use std::env;
use std::marker::PhantomData;
use std::sync::OnceLock;

use crate::facade::local;

local! {
    static STACK: Stack = Stack { top: Cell::new(0), room: Cell::new(FOREIGN) };
}

/// What the tasks in place may use on threads of which nothing is known.
const FOREIGN: usize = 16 << 10;

/// The stack of a thread of std's, where nothing else is asked for.
const DEFAULT_SIZE: usize = 2 << 20;

struct Stack {
    /// The address from which the used part is measured; 0 if there is none.
    top: Cell<usize>,
    /// How much may be used for a task to begin in place.
    room: Cell<usize>,
}

/// Says that this thread begins here, with a stack of `size` bytes, or of the default size.
pub(super) fn begin_thread(size: Option<usize>) {
    let _ = STACK.try_with(|stack| {
        stack.top.set(here());
        stack.room.set(size.unwrap_or_else(default_size) / 4);
    });
}

/// The size that std gives a thread.
fn default_size() -> usize {
    static SIZE: OnceLock<usize> = OnceLock::new();
    *SIZE.get_or_init(|| {
        let size = env::var_os("RUST_MIN_STACK").and_then(|size| size.to_str()?.parse().ok());
        size.unwrap_or(DEFAULT_SIZE)
    })
}

/// Where the stack of this thread ends now, more or less.
#[inline]
fn here() -> usize {
    let on_the_stack = 0_u8;
    (&raw const on_the_stack).addr()
}

/// While it lives, tasks run in place on this thread.
#[must_use = "the stack is not measured from here if this is not kept"]
pub(crate) struct InPlace {
    is_outermost: bool,
    _on_this_thread: PhantomData<*const ()>,
}

impl InPlace {
    /// None if the tasks around have used too much of the stack: the task is for a worker then.
    #[inline]
    pub(crate) fn begin() -> Option<Self> {
        let may_begin = |stack: &Stack| {
            let (top, here) = (stack.top.get(), here());
            if top == 0 {
                stack.top.set(here);
                return Some(true);
            }
            // On the stack of a coroutine the distance says nothing, and is long.
            (cfg!(loom) || top.abs_diff(here) <= stack.room.get()).then_some(false)
        };
        let is_outermost = STACK.try_with(may_begin).ok().flatten()?;
        Some(InPlace {
            is_outermost,
            _on_this_thread: PhantomData,
        })
    }
}

impl Drop for InPlace {
    #[inline]
    fn drop(&mut self) {
        if self.is_outermost {
            let _ = STACK.try_with(|stack| stack.top.set(0));
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[inline(never)]
    fn below<T>(f: impl FnOnce() -> T) -> T {
        let mut used = [0_u8; FOREIGN + 1];
        std::hint::black_box(&mut used);
        let value = f();
        std::hint::black_box(&used);
        value
    }

    #[test]
    fn what_the_outermost_task_has_used_counts_until_it_ends() {
        for _ in 0..3 {
            let outermost = below(|| InPlace::begin().is_some());
            assert!(
                outermost,
                "what is used before the outermost does not count"
            );
            let outer = InPlace::begin().expect("nothing is used");
            assert!(InPlace::begin().is_some());
            assert!(below(InPlace::begin).is_none());
            drop(outer);
        }
    }

    #[test]
    fn a_thread_of_known_size_is_measured_from_its_beginning() {
        begin_thread(Some(8 * FOREIGN));
        assert!(below(InPlace::begin).is_some());
        assert!(below(|| below(InPlace::begin)).is_none());
        begin_thread(Some(FOREIGN));
        assert!(below(InPlace::begin).is_none());
    }
}
