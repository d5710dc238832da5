//! Code that blocks, cannot be woken, and may be left behind.

use std::fmt;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize as PlainUsize, Ordering::Relaxed};
use std::sync::Arc;

use crate::cancel::{context, Cancelled};
use crate::error::PanicPayload;
use crate::facade::{catch, start_thread, Mutex, Payload};
use crate::waiting::{Point, Slot};

/// Threads that were left behind and have not ended.
static ABANDONED: PlainUsize = PlainUsize::new(0);

/// What a call of `abandon` and its thread have in common. The first of the two to lock it after the fact decides: a result
/// that is there is the caller's, and a thread whose caller has gone keeps its own.
struct Call<T, F> {
    /// Until the thread takes it, or, where there is no thread, the caller.
    f: Option<F>,
    caller: Option<Arc<Slot>>,
    result: Option<Result<T, Payload>>,
}

/// Runs `f`, which blocks in code that nothing can wake, on a thread of its own, and leaves the thread behind on cancel.
///
/// A last resort: for a name to be resolved, a library without timeouts, a file on a network that is down. Where there is a
/// way to wake what blocks, use [`with_cancel_hook`](crate::with_cancel_hook). A thread that is left behind goes on holding
/// what it holds, so `f` owns all that it uses, and runs outside of any scope. [`abandoned`] says how many there are.
///
/// The threads are called `taskgroup-abandoned`. Where the system has no thread to give, `f` runs on this one, and is not
/// left behind.
///
/// # Cancellation
///
/// A blocking point; in a cancelled scope `f` does not begin. When the scope is cancelled while `f` runs, `abandon` returns at
/// once; what `f` returns is dropped on its thread when it ends, and what it panics with goes to the log of `tracing`.
///
/// # Errors
///
/// The cancel of the scope.
///
/// # Panics
///
/// With the panic of `f`.
///
/// ```
/// # fn main() -> Result<(), taskgroup::GroupError> {
/// use std::net::ToSocketAddrs;
/// use taskgroup::TaskGroup;
///
/// let found = TaskGroup::scope(|g| {
///     let lookup = g.spawn(|| Ok(taskgroup::abandon(|| ("localhost", 80).to_socket_addrs().map(Iterator::count))??));
///     Ok(lookup.join()?)
/// });
/// # drop(found);
/// # Ok(())
/// # }
/// ```
#[track_caller]
pub fn abandon<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Result<T, Cancelled> {
    context::check()?;
    let call = Arc::new(Mutex::new(Call { f: Some(f), caller: Some(context::slot()), result: None }));
    let theirs = call.clone();
    if let Err(error) = start_thread("taskgroup-abandoned", None, move || run(&theirs)) {
        tracing::warn!(%error, "no thread for `abandon`: the closure runs on the thread of its caller");
        let f = call.lock().f.take();
        return match f {
            Some(f) => Ok(f()),
            None => unreachable!("there is no thread that could have taken the closure"),
        };
    }
    let waited = context::wait(Point::Abandon, None, || call.lock().result.is_some());
    let mut call = call.lock();
    match (call.result.take(), waited) {
        (Some(Ok(value)), _) => Ok(value),
        (Some(Err(payload)), _) => {
            drop(call);
            resume_unwind(payload)
        }
        (None, Err(cancelled)) => {
            call.caller = None;
            ABANDONED.fetch_add(1, Relaxed);
            Err(cancelled)
        }
        (None, Ok(_)) => unreachable!("the wait has seen the result"),
    }
}

fn run<T, F: FnOnce() -> T>(call: &Mutex<Call<T, F>>) {
    let f = call.lock().f.take();
    let Some(f) = f else { return };
    let result = catch(f);
    let mut call = call.lock();
    if let Some(caller) = call.caller.clone() {
        call.result = Some(result);
        drop(call);
        return caller.unpark();
    }
    drop(call);
    // Panics of `f` and of the destructor of its value alike.
    if let Err(payload) = result.and_then(|value| catch(|| drop(value))) {
        tracing::error!(panic = PanicPayload::new(payload).message(), "an abandoned thread panicked");
    }
    ABANDONED.fetch_sub(1, Relaxed);
}

/// How many threads [`abandon`] has left behind that have not ended yet.
///
/// ```
/// assert_eq!(taskgroup::abandoned(), 0);
/// ```
pub fn abandoned() -> usize {
    ABANDONED.load(Relaxed)
}

impl<T, F> fmt::Debug for Call<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("abandoned", &self.caller.is_none()).finish_non_exhaustive()
    }
}
