//! Code that blocks, cannot be woken, and may be left behind.

use std::borrow::Cow;
use std::fmt;
use std::panic::{Location, resume_unwind};
use std::sync::Arc;
use std::thread::ThreadId;
use std::time::Instant;

use super::abandoned::{Abandoned, Entry};
use crate::cancel::{Cancelled, context, current};
use crate::facade::{Mutex, Payload, catch, start_thread, this_thread};
use crate::panics::{PanicPayload, log};
use crate::waiting::{Point, Slot};

/// What a call of `abandon` and its thread have in common. The first of the two to lock it after
/// the fact decides: a result that is there is the caller's, and a thread whose caller has gone
/// keeps its own.
struct Call<T, F> {
    /// Until the thread takes it, or, where there is no thread or it comes too late, the caller.
    f: Option<F>,
    /// The thread, once it has begun.
    thread: Option<ThreadId>,
    caller: Caller,
    result: Option<Result<T, Payload>>,
}

enum Caller {
    Waits(Arc<Slot>),
    /// It has gone, and this is in the list until the thread drops it.
    Gone(#[allow(dead_code, reason = "kept for its drop")] Entry),
}

/// Runs `f`, which blocks in code that nothing can wake, on a thread of its own, and leaves the
/// thread behind on cancel.
///
/// A last resort: for a name to be resolved, a library without timeouts, a file on a network that
/// is down. Where there is a way to wake what blocks, use
/// [`with_cancel_hook`](crate::with_cancel_hook). A thread that is left behind goes on holding what
/// it holds, so `f` owns all that it uses, and runs outside of any scope.
/// [`abandoned`](crate::abandoned) lists those that are left behind.
///
/// The threads are called `taskgroup-abandoned`; [`abandon_named`] gives them another name. Where
/// the system has no thread to give, `f` runs on this one, and is not left behind.
///
/// # Cancellation
///
/// A blocking point; in a cancelled scope `f` does not begin. When the scope is cancelled while `f`
/// runs, `abandon` returns at once; what `f` returns is dropped on its thread when it ends, and
/// what it panics with goes to the log of `tracing`. An `f` that its thread has not come to begin
/// is dropped unrun.
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
    call(None, f)
}

/// As [`abandon`], with a name for the thread: the system shows it, and so does
/// [`abandoned`](crate::abandoned).
///
/// # Cancellation
///
/// As [`abandon`].
///
/// # Errors
///
/// As [`abandon`].
///
/// # Panics
///
/// As [`abandon`].
///
/// ```
/// # fn main() -> Result<(), taskgroup::Cancelled> {
/// let name = taskgroup::abandon_named("resolver", || std::thread::current().name().map(str::to_owned))?;
/// assert_eq!(name.as_deref(), Some("resolver"));
/// # Ok(())
/// # }
/// ```
#[track_caller]
pub fn abandon_named<T: Send + 'static>(
    name: impl Into<Cow<'static, str>>,
    f: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Cancelled> {
    call(Some(name.into()), f)
}

#[track_caller]
fn call<T, F>(name: Option<Cow<'static, str>>, f: F) -> Result<T, Cancelled>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    context::check()?;
    let call = Call {
        f: Some(f),
        thread: None,
        caller: Caller::Waits(context::slot()),
        result: None,
    };
    let call = Arc::new(Mutex::new(call));
    let (theirs, actor) = (call.clone(), current::actor());
    let begin = move || {
        // What `f` owns, the end of a channel say, is dropped for the task that calls.
        let _recorded = current::begin_for(actor);
        run(&theirs);
    };
    if let Err(error) = start_thread(
        name.as_deref().unwrap_or("taskgroup-abandoned"),
        None,
        begin,
    ) {
        log(
            || tracing::warn!(%error, "no thread for `abandon`: the closure runs on the thread of its caller"),
        );
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
            let unrun = call.f.take();
            if let (None, Some(thread)) = (&unrun, call.thread) {
                let name = name.map(Cow::into_owned);
                let entry = Abandoned {
                    name,
                    location: Location::caller(),
                    since: Instant::now(),
                    thread,
                };
                call.caller = Caller::Gone(Entry::of(entry));
            }
            drop(call);
            drop(unrun);
            Err(cancelled)
        }
        (None, Ok(_)) => unreachable!("the wait has seen the result"),
    }
}

fn run<T, F: FnOnce() -> T>(call: &Mutex<Call<T, F>>) {
    let begun = {
        let mut call = call.lock();
        call.thread = Some(this_thread());
        call.f.take()
    };
    let Some(f) = begun else { return };
    let result = catch(f);
    let mut call = call.lock();
    if let Caller::Waits(caller) = &call.caller {
        let caller = caller.clone();
        call.result = Some(result);
        drop(call);
        return caller.unpark();
    }
    drop(call);
    // Panics of `f` and of the destructor of its value alike. The entry goes with the call, which
    // the thread has to itself.
    if let Err(payload) = result.and_then(|value| catch(|| drop(value))) {
        log(|| {
            tracing::error!(
                panic = PanicPayload::new(payload).message(),
                "an abandoned thread panicked"
            )
        });
    }
}

impl<T, F> fmt::Debug for Call<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("abandoned", &matches!(self.caller, Caller::Gone(_)))
            .finish_non_exhaustive()
    }
}
