//! tiny_http: a wait for requests that ends with its scope.

use std::{io, time::Duration};

use tiny_http::{Request, Server};

/// Returns the next request of `server`. Any number of threads may call it at once.
///
/// # Errors
///
/// The errors of the server, and the `Cancelled` of the scope.
///
/// # Cancellation
///
/// Ends the wait. A request that has come is returned.
pub fn accept(server: &Server) -> anyhow::Result<Request> {
    loop {
        taskgroup::checkpoint()?;
        // An `unblock` ends one wait: of any thread, maybe of one in another scope, which then
        // waits again. So each waiting thread has a hook of its own, which goes on until that
        // thread is out.
        let request = taskgroup::with_cancel_hook_repeating(
            Duration::from_millis(1),
            || server.unblock(),
            || server.recv(),
        );
        match request {
            // Also after a cancel: the client waits for an answer.
            Ok(request) => return Ok(request),
            // If it was for this thread, the checkpoint ends the loop. If not, the wait goes on.
            Err(error) if is_unblock(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// tiny_http tells an unblock from an error of the socket by its text alone.
fn is_unblock(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Other && error.to_string() == "thread unblocked"
}
