//! rusqlite: statements that end with the scope of the thread that runs them.

use std::{ffi::c_int, time::Duration};

use rusqlite::{Connection, ErrorCode};

/// After how many instructions of its virtual machine SQLite asks for the scope again.
const STEPS: c_int = 1_000;

/// Longest pause between two tries to get the lock of a database.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Makes the statements of `connection` end with the scope of the thread that runs them.
///
/// It replaces the busy time-out of the connection, which rusqlite sets to five seconds: from here
/// on a statement waits for a locked database until its scope is cancelled, or its deadline passes.
///
/// # Errors
///
/// The errors of rusqlite, if the connection is not its own.
pub fn cancellable(connection: &Connection) -> rusqlite::Result<()> {
    // SQLite calls both handlers on the thread that runs the statement, so each call sees the scope
    // of that thread. An interrupt handle would act on the statement that runs when it comes, which
    // may be the next one.
    connection.progress_handler(STEPS, Some(taskgroup::is_cancelled))?;
    connection.busy_handler(Some(wait_for_lock))
}

/// Waits a little and returns whether SQLite should try again.
fn wait_for_lock(attempt: c_int) -> bool {
    let pause = Duration::from_millis(1 << attempt.clamp(0, 6));
    taskgroup::sleep(pause.min(LONGEST_PAUSE)).is_ok()
}

/// Runs a statement of a connection that is [`cancellable`].
///
/// # Errors
///
/// The errors of the statement. If it ended because of a cancel, the `Cancelled` of the scope.
///
/// # Cancellation
///
/// Fails at its entry in a cancelled scope: a statement with fewer instructions than the handler
/// waits for would run to its end. SQLite undoes the statement that it interrupts, and rolls the
/// transaction around it back if the statement was a change.
pub fn statement<T>(run: impl FnOnce() -> rusqlite::Result<T>) -> anyhow::Result<T> {
    taskgroup::checkpoint()?;
    let error = match run() {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };

    if let Some(ErrorCode::OperationInterrupted | ErrorCode::DatabaseBusy) =
        error.sqlite_error_code()
    {
        // SQLite cannot say why a handler gave up. If the scope is cancelled, that is why.
        taskgroup::checkpoint()?;
    }
    Err(error.into())
}
