//! Hooks into code that blocks and is not ours.

use std::panic::Location;
use std::time::Duration;

use crate::cancel::region;

/// Runs `f`, which blocks in code that knows nothing of cancellation, with a `hook` that makes it
/// stop.
///
/// The hook runs when the current scope is cancelled while `f` runs, at most once; if the scope is
/// cancelled already, it runs here, before `f`. `with_cancel_hook` returns when `f` has, and a hook
/// that has begun too, so both may borrow. Outside of any scope the hook never runs.
///
/// The thread that cancels runs the hook. Where one cancel has several hooks to run, worker threads
/// help, up to 64 hooks run at once, and the cancel returns when all have ended. So a hook that
/// takes its time does not hold up the next. A hook runs outside of any scope, whichever thread
/// runs it: what it calls is not cancelled.
///
/// Threads that block in the scope are woken before its hooks run. A hook must not wait for the
/// code of another hook, which does not return before its own hook has run, nor for a lock that the
/// thread that cancels may hold.
///
/// It allocates nothing in the steady state, and calls may be nested.
///
/// # Cancellation
///
/// Whether `f` stops is up to the hook: shut the socket down, send the message that ends the
/// `recv`, close the pipe. What `f` returns comes out as it is, also after a cancel, so that
/// nothing it has produced is lost.
///
/// **An `Ok` of `f` does not mean that `f` was finished.** Some calls report the act of the hook as
/// success: a read from a socket that the hook has shut down returns `Ok(0)`, the end of the
/// stream, and `read_to_end` then returns `Ok` with a part of the data. Where an end that the hook
/// made looks like the real one, ask with [`checkpoint`](crate::checkpoint) after `Ok` too, before
/// the data is used. Where an `Ok` can only be a complete value, such as the message of a `recv`,
/// keep the value and ask only after an error.
///
/// # Panics
///
/// A panic of the hook does not come out of the cancel: it is a failure of the group that this is
/// in, or a `tracing` error where there is none. Where the scope was cancelled already, it comes
/// out of `with_cancel_hook`.
///
/// A message that has come is whole, so only an error can be the act of the hook:
///
/// ```
/// # fn main() -> Result<(), taskgroup::GroupError> {
/// use std::sync::mpsc;
/// use taskgroup::TaskGroup;
///
/// let (wake, asleep) = mpsc::channel::<()>();
/// TaskGroup::scope(|g| {
///     g.spawn(move || {
///         let message = taskgroup::with_cancel_hook(|| drop(wake.send(())), || asleep.recv());
///         if message.is_err() {
///             // The cancel, if it was that, and otherwise the error of the channel.
///             taskgroup::checkpoint()?;
///         }
///         Ok(message?)
///     });
///     g.cancel();
///     Ok(())
/// })
/// # }
/// ```
///
/// A text that has ended may be the part that came before the shutdown:
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// use std::io::Read;
/// use std::net::{Shutdown, TcpListener, TcpStream};
/// use std::time::Duration;
///
/// let listener = TcpListener::bind("127.0.0.1:0")?; // it never answers
/// let mut stream = TcpStream::connect(listener.local_addr()?)?;
/// let closer = stream.try_clone()?;
/// let text = taskgroup::timeout(Duration::from_millis(10), || -> anyhow::Result<String> {
///     let mut text = String::new();
///     let read = taskgroup::with_cancel_hook(|| _ = closer.shutdown(Shutdown::Both), || stream.read_to_string(&mut text));
///     taskgroup::checkpoint()?; // `read` is `Ok(0)`, and the text is not complete
///     read?;
///     Ok(text)
/// })?;
/// assert_eq!(text, None);
/// # Ok(())
/// # }
/// ```
#[track_caller]
pub fn with_cancel_hook<T>(hook: impl Fn() + Send + Sync, f: impl FnOnce() -> T) -> T {
    region::with_hook(Location::caller(), &hook, f)
}

/// As [`with_cancel_hook`], with a hook that is called again until `f` has returned: for one that
/// stops only what is blocked already, such as a message that is lost where nobody receives yet.
///
/// The first call is that of [`with_cancel_hook`]. After it the hook is called again when `pause`
/// has passed, and then after pauses that double, up to one second or to `pause` where that is
/// longer. A pause is a millisecond at the least. These calls are made by a thread of this crate,
/// one after another; the thread is kept as long as a call takes. `with_cancel_hook_repeating`
/// returns when `f` has, and a call that has begun too.
///
/// It allocates, where `with_cancel_hook` does not.
///
/// # Cancellation
///
/// As [`with_cancel_hook`].
///
/// # Panics
///
/// As [`with_cancel_hook`]. A hook that has panicked is not called again.
///
/// ```
/// # fn main() -> Result<(), taskgroup::GroupError> {
/// use std::sync::{Condvar, Mutex};
/// use std::time::Duration;
/// use taskgroup::TaskGroup;
///
/// // A queue of another library, which wakes those who wait and nobody else.
/// let (queue, changed) = (Mutex::new(Vec::<u32>::new()), Condvar::new());
/// TaskGroup::scope(|g| {
///     g.spawn(|| {
///         let mut queue = queue.lock().unwrap();
///         taskgroup::with_cancel_hook_repeating(Duration::from_millis(1), || changed.notify_all(), || {
///             while queue.is_empty() && !taskgroup::is_cancelled() {
///                 // A notification that comes here is lost, and is given again.
///                 queue = changed.wait(queue).unwrap();
///             }
///         });
///         Ok(())
///     });
///     g.cancel();
///     Ok(())
/// })
/// # }
/// ```
#[track_caller]
pub fn with_cancel_hook_repeating<T>(
    pause: Duration,
    hook: impl Fn() + Send + Sync,
    f: impl FnOnce() -> T,
) -> T {
    region::with_repeating_hook(Location::caller(), pause, &hook, f)
}
