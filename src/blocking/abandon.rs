//! Code that blocks, cannot be woken, and may be left behind.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::panic::{Location, resume_unwind};
use std::sync::Arc;
use std::thread::ThreadId;
use std::time::Instant;

use super::abandoned::{Abandoned, ListedThread};
use crate::cancel::{Cancelled, context, current};
use crate::facade::{Mutex, Payload, catch, error_event, start_thread, this_thread, warn_event};
use crate::lanes::{self, FrameKind, ShownFrame};
use crate::panics::{PanicPayload, log};
use crate::scoped::unbound;
use crate::trace::LeftBehind;
use crate::waiting::{Slot, WaitKind};

/// The state that a call of `abandon` shares with its thread.
///
/// Under its lock is decided which of the two comes first, the result or the leaving of the caller.
/// A result that has been stored belongs to the caller. A thread that finds its caller gone keeps
/// the result.
struct SharedCall<T, F> {
    /// The closure, until the thread takes it. The caller takes it if there is no thread, or if the
    /// thread comes too late.
    f: Option<F>,
    /// The thread, once it has begun.
    thread: Option<ThreadId>,
    caller: Caller,
    result: Option<Result<T, Payload>>,
}

enum Caller {
    Waits(Arc<Slot>),
    /// It has gone. The thread is listed until it drops this.
    Gone(#[allow(dead_code, reason = "kept for its drop")] ListedThread),
}

/// Runs `f` on a thread of its own, and leaves the thread behind if the scope is cancelled.
///
/// This is a last resort for code that blocks and cannot be woken: resolving a name, a library
/// without timeouts, a file on a network that is down. If there is a way to wake the code, use
/// [`with_cancel_hook`](crate::with_cancel_hook). A thread that is left behind keeps everything it
/// holds. So `f` owns all that it uses, runs outside any scope, and sees no
/// [`ScopedValue`](crate::ScopedValue).
/// [`abandoned`](crate::abandoned) lists the threads that are left behind.
///
/// The threads are called `taskgroup-abandoned`. [`abandon_named`] gives them another name. If the
/// system refuses a thread, `f` runs on the calling thread, and is not left behind.
///
/// # Cancellation
///
/// A blocking point. In a cancelled scope `f` does not begin. If the scope is cancelled while `f`
/// runs, `abandon` returns immediately. The value that `f` returns later is dropped on its thread,
/// and a panic of `f` goes to the log of `tracing`. If the thread has not begun to run `f` yet, `f`
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
///     let lookup = || ("localhost", 80).to_socket_addrs().map(Iterator::count);
///     let found = g.spawn(move || Ok(taskgroup::abandon(lookup)??));
///     Ok(found.join()?)
/// });
/// # drop(found);
/// # Ok(())
/// # }
/// ```
#[track_caller]
pub fn abandon<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Result<T, Cancelled> {
    call(WaitKind::Abandon, None, f)
}

/// Like [`abandon`], with a name for the thread. The system shows the name, and so does
/// [`abandoned`](crate::abandoned).
///
/// # Cancellation
///
/// Like [`abandon`].
///
/// # Errors
///
/// Like [`abandon`].
///
/// # Panics
///
/// Like [`abandon`].
///
/// ```
/// # fn main() -> Result<(), taskgroup::Cancelled> {
/// let own_name = || std::thread::current().name().map(str::to_owned);
/// let name = taskgroup::abandon_named("resolver", own_name)?;
/// assert_eq!(name.as_deref(), Some("resolver"));
/// # Ok(())
/// # }
/// ```
#[track_caller]
pub fn abandon_named<T: Send + 'static>(
    name: impl Into<Cow<'static, str>>,
    f: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Cancelled> {
    call(WaitKind::Abandon, Some(name.into()), f)
}

/// Like [`abandon_named`], for a blocking point of the kind `kind`.
#[cfg(all(feature = "net", unix, not(loom)))]
#[track_caller]
pub(crate) fn abandon_as<T: Send + 'static>(
    kind: WaitKind,
    name: String,
    f: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Cancelled> {
    call(kind, Some(name.into()), f)
}

#[track_caller]
fn call<T, F>(kind: WaitKind, name: Option<Cow<'static, str>>, f: F) -> Result<T, Cancelled>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    context::check()?;

    let call = SharedCall {
        f: Some(f),
        thread: None,
        caller: Caller::Waits(context::slot()),
        result: None,
    };
    let call = Arc::new(Mutex::new(call));

    let location = Location::caller();
    let (theirs, actor) = (call.clone(), current::actor());
    let traced = LeftBehind::new(name.as_deref(), location);
    let begin = move || {
        // Values that `f` owns, such as the end of a channel, are dropped for the calling task.
        let _recorded = current::begin_for(actor);
        let _shown = lanes::push(ShownFrame {
            kind: FrameKind::Abandon,
            id: 0,
            group: 0,
            location,
        });
        match traced {
            Some(traced) => traced.run(|| run(&theirs)),
            None => run(&theirs),
        }
    };

    if let Err(error) = start_thread(
        name.as_deref().unwrap_or("taskgroup-abandoned"),
        None,
        begin,
    ) {
        return Ok(call_here(&call, &error));
    }

    let waited = context::wait(kind, None, || call.lock().result.is_some());

    // The lock decides: a result that has come by now is returned in spite of a cancel.
    let mut call = call.lock();
    match (call.result.take(), waited) {
        (Some(Ok(value)), _) => Ok(value),
        (Some(Err(payload)), _) => resume_unwind(payload),
        (None, Err(cancelled)) => {
            let unrun = call.leave(name, Location::caller());
            // Outside the lock: the drop of the closure may run user code.
            drop(call);
            drop(unrun);
            Err(cancelled)
        }
        (None, Ok(_)) => unreachable!("the wait has seen the result"),
    }
}

/// Calls the closure on the thread of the caller, since the system has refused a thread with
/// `error`.
#[cold]
fn call_here<T, F: FnOnce() -> T>(call: &Mutex<SharedCall<T, F>>, error: &io::Error) -> T {
    log(|| {
        warn_event!(
            %error,
            "no thread for `abandon`: the closure runs on the thread of its caller"
        );
    });

    // Without a thread the caller has to wait for `f` in any case.
    let f = call.lock().f.take();
    match f {
        Some(f) => unbound(f),
        None => unreachable!("there is no thread that could have taken the closure"),
    }
}

impl<T, F> SharedCall<T, F> {
    /// Lets the caller go without a result. Returns the closure, if the thread has not begun it.
    fn leave(
        &mut self,
        name: Option<Cow<'static, str>>,
        location: &'static Location<'static>,
    ) -> Option<F> {
        let unrun = self.f.take();

        // Only a thread that has begun `f` is left behind.
        if let (None, Some(thread)) = (&unrun, self.thread) {
            let left = Abandoned {
                name: name.map(Cow::into_owned),
                location,
                since: Instant::now(),
                thread,
            };
            self.caller = Caller::Gone(ListedThread::of(left));
        }

        unrun
    }
}

fn run<T, F: FnOnce() -> T>(call: &Mutex<SharedCall<T, F>>) {
    let begun = {
        let mut call = call.lock();
        call.thread = Some(this_thread());
        call.f.take()
    };

    // The caller has gone, and has dropped the closure.
    let Some(f) = begun else { return };

    let result = catch(f);

    // The lock decides: a caller that is still there gets the result, in spite of a cancel.
    let mut call = call.lock();
    if let Caller::Waits(caller) = &call.caller {
        let caller = caller.clone();
        call.result = Some(result);
        drop(call);
        return caller.unpark();
    }

    drop(call);

    // The panic of `f`, or of the destructor of its value. The thread is taken off the list with
    // the call, which no other thread has now.
    if let Err(payload) = result.and_then(|value| catch(|| drop(value))) {
        log(|| {
            error_event!(
                panic = PanicPayload::new(payload).message(),
                "an abandoned thread panicked"
            )
        });
    }
}

impl<T, F> fmt::Debug for SharedCall<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedCall")
            .field("abandoned", &matches!(self.caller, Caller::Gone(_)))
            .finish_non_exhaustive()
    }
}
