//! Hooks into code that blocks and is not ours.

use std::panic::Location;

use crate::cancel::context;

/// Runs `f`, which blocks in code that knows nothing of cancellation, with a `hook` that makes it stop.
///
/// The hook runs when the current scope is cancelled while `f` runs, on the thread that cancels, at most once; if the
/// scope is cancelled already, it runs here, before `f`. `with_cancel_hook` returns when `f` has, and a hook that has begun
/// too, so both may borrow. Outside of any scope the hook never runs.
///
/// It allocates nothing in the steady state, and calls may be nested.
///
/// # Cancellation
///
/// Whether `f` stops is up to the hook: shut the socket down, send the message that ends the `recv`, kill the child.
///
/// # Panics
///
/// A panic of the hook on the thread that cancels is treated as that of a callback: see
/// [`CancelToken::on_cancel`](crate::CancelToken::on_cancel).
///
/// ```
/// # fn main() -> Result<(), taskgroup::GroupError> {
/// use std::sync::mpsc;
/// use taskgroup::TaskGroup;
///
/// let (wake, asleep) = mpsc::channel::<()>();
/// TaskGroup::scope(|g| {
///     g.spawn(move || {
///         taskgroup::with_cancel_hook(|| drop(wake.send(())), || asleep.recv())?;
///         Ok(())
///     });
///     g.cancel();
///     Ok(())
/// })
/// # }
/// ```
#[track_caller]
pub fn with_cancel_hook<T>(hook: impl Fn() + Send + Sync, f: impl FnOnce() -> T) -> T {
    context::with_hook(Location::caller(), &hook, f)
}
