//! Hooks that stop foreign code that blocks.

use std::panic::Location;
use std::time::Duration;

use crate::cancel::region;

/// Runs `f`, which blocks in code that knows nothing of cancellation, with a `hook` that stops it.
///
/// The hook runs if the current scope is cancelled while `f` runs, at most once. If the scope is
/// cancelled already, the hook runs inside this call, before `f`. `with_cancel_hook` returns when
/// `f` and a hook that has begun have both returned, so both may borrow. Outside any scope the hook
/// never runs.
///
/// The cancelling thread runs the hook. If one cancel has several hooks to run, worker threads
/// help, up to 64 hooks run at once, and the cancel returns when all have ended. So a hook that
/// takes its time does not hold up the next. A hook runs outside any scope, whichever thread runs
/// it: its own calls are not cancelled.
///
/// Threads that block in the scope are woken before its hooks run. A hook must not wait for the
/// code of another hook, which does not return before its own hook has run. Nor may it wait for a
/// lock that the cancelling thread may hold, or for the end of a scope that the cancel reaches:
/// that scope waits until the cancel has been delivered.
///
/// It allocates nothing in the steady state, and calls may be nested.
///
/// # Cancellation
///
/// The hook has to stop `f`: it shuts the socket down, sends the message that ends the `recv`, or
/// closes the pipe. The result of `f` is returned unchanged, even after a cancel, so that no value
/// is lost.
///
/// **An `Ok` of `f` does not mean that `f` was finished.** Some calls report the act of the hook as
/// success: a read from a socket that the hook has shut down returns `Ok(0)`, the end of the
/// stream, and `read_to_end` then returns `Ok` with a part of the data. If an end that the hook
/// made looks like the real end, call [`checkpoint`](crate::checkpoint) after `Ok` too, before the
/// data is used. If an `Ok` can only be a complete value, such as the message of a `recv`, keep the
/// value and check only after an error.
///
/// # Panics
///
/// A panic of the hook does not come out of the cancel. It is a failure of the group around this
/// call, or a `tracing` error if there is no group. If the scope was cancelled already, the panic
/// comes out of `with_cancel_hook`.
///
/// # Examples
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
///     let read = taskgroup::with_cancel_hook(
///         || _ = closer.shutdown(Shutdown::Both),
///         || stream.read_to_string(&mut text),
///     );
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

/// Like [`with_cancel_hook`], with a hook that is called again until `f` has returned.
///
/// Some hooks stop only code that is blocked already: a notification, for example, is lost if no
/// thread waits yet.
///
/// The first call of the hook is the same as with [`with_cancel_hook`]. The hook is called again
/// after `pause`, and then after pauses that double, up to one second, or up to `pause` if that is
/// longer. A pause is at least a millisecond. A thread of this crate makes these calls, one after
/// another, and is kept for as long as a call takes. `with_cancel_hook_repeating` returns when `f`
/// and a call that has begun have both returned.
///
/// It allocates, unlike `with_cancel_hook`.
///
/// # Cancellation
///
/// Like [`with_cancel_hook`].
///
/// # Panics
///
/// Like [`with_cancel_hook`]. A hook that has panicked is not called again.
///
/// ```
/// # fn main() -> Result<(), taskgroup::GroupError> {
/// use std::sync::{Condvar, Mutex};
/// use std::time::Duration;
/// use taskgroup::TaskGroup;
///
/// // A queue of another library, which wakes only the threads that wait already.
/// let (queue, changed) = (Mutex::new(Vec::<u32>::new()), Condvar::new());
/// TaskGroup::scope(|g| {
///     g.spawn(|| {
///         let mut queue = queue.lock().unwrap();
///         let notify = || changed.notify_all();
///         taskgroup::with_cancel_hook_repeating(Duration::from_millis(1), notify, || {
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
