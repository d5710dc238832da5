//! The limit on the stack that tasks in place use.
//!
//! A task that runs in place, on the thread that waits for it, has only the stack that the tasks
//! around it have left. On a thread of its own it would have a whole stack. So a task begins in
//! place only while little of the stack is used, which the distance of two addresses shows.
//! Otherwise a worker runs it, and the waiting thread blocks.
//!
//! | thread | measured from | may be used |
//! |---|---|---|
//! | a worker, a task's own thread | the start of the thread | a quarter of its stack |
//! | any other | the outermost task in place | `FOREIGN`: a quarter of a stack of 64 KiB |
//!
//! For other threads, neither the size of the stack nor the used part is known. The small limit
//! there costs one wake of a worker. The rest of a deep recursion then runs on that worker, with
//! the room of the first row.

use std::cell::Cell;
use std::env;
use std::marker::PhantomData;

use crate::facade::{Leaked, local};

local! {
    static STACK: Stack = Stack { top: Cell::new(0), room: Cell::new(FOREIGN) };
}

/// How much tasks in place may use of a stack of unknown size.
const FOREIGN: usize = 16 << 10;

/// The stack size of a thread of std, where nothing else is asked for.
const DEFAULT_SIZE: usize = 2 << 20;

struct Stack {
    /// The address from which the used part is measured. 0 if there is none.
    top: Cell<usize>,
    /// How much of the stack may be used when a task begins in place.
    room: Cell<usize>,
}

/// Notes that this thread starts here, with a stack of `size` bytes or of the default size.
pub(super) fn begin_thread(size: Option<usize>) {
    let _ = STACK.try_with(|stack| {
        stack.top.set(here());
        stack.room.set(size.unwrap_or_else(default_size) / 4);
    });
}

/// Returns the stack size that std gives a thread.
fn default_size() -> usize {
    static SIZE: Leaked<usize> = Leaked::new();
    *SIZE.get_or_make(|| {
        let size = env::var_os("RUST_MIN_STACK").and_then(|size| size.to_str()?.parse().ok());
        size.unwrap_or(DEFAULT_SIZE)
    })
}

/// Returns roughly where the stack of this thread ends now.
#[inline]
fn here() -> usize {
    let on_the_stack = 0_u8;
    (&raw const on_the_stack).addr()
}

/// Says that a task runs in place on this thread, while it lives.
#[must_use = "the stack is not measured from here if this is not kept"]
pub(crate) struct InPlace {
    is_outermost: bool,
    _on_this_thread: PhantomData<*const ()>,
}

impl InPlace {
    /// Begins a task in place. `None` if the tasks around have used too much of the stack, so that
    /// a worker has to run it.
    #[inline]
    pub(crate) fn begin() -> Option<Self> {
        let may_begin = |stack: &Stack| {
            let (top, here) = (stack.top.get(), here());

            // The first task in place on a foreign thread: the used part counts from here.
            if top == 0 {
                stack.top.set(here);
                return Some(true);
            }

            // In a model the tasks are on stacks of coroutines, so the distance tells nothing.
            (cfg!(loom) || top.abs_diff(here) <= stack.room.get()).then_some(false)
        };

        // A thread past its thread-locals runs nothing in place.
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
                "the stack that is used before the outermost task does not count"
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
