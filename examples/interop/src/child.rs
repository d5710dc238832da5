//! The `Child` of std, for code that is handed one. `taskgroup::process` needs none of this.

use std::{
    io,
    process::{Child, ExitStatus},
    time::Duration,
};

/// Longest pause between two looks at the child.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// Waits for the end of `child`.
///
/// # Errors
///
/// The errors of std. After a cancel, an error that holds the `Cancelled` of the scope.
///
/// # Cancellation
///
/// Kills the child and reaps it, and only then returns. Its own children live on, and may hold its
/// pipes open.
pub fn wait(child: &mut Child) -> io::Result<ExitStatus> {
    let mut pause = Duration::from_millis(1);
    loop {
        // `kill` and `wait` both want `&mut`, so no hook on another thread could kill under a
        // `wait`. This thread does both, between pauses that a cancel ends.
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if let Err(cancelled) = taskgroup::sleep(pause) {
            // Not reaped yet, so the id is still its own and no other process is hit.
            child.kill()?;
            child.wait()?;
            return Err(cancelled.into());
        }
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}
