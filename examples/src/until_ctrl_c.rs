use std::{
    process::{self, ExitCode},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use taskgroup::CancelToken;

use crate::left_behind;

/// The exit code of a program that Ctrl-C has ended, as shells have it.
const INTERRUPTED: u8 = 130;

/// For how long a further Ctrl-C changes nothing: some terminals and launchers send two for one.
const PATIENCE: Duration = Duration::from_secs(1);

/// Runs `program` in a scope that Ctrl-C cancels, and says at the end how long that took and what threads are left, which is none.
///
/// A SIGTERM or SIGHUP counts as a Ctrl-C. If the program still runs a second later, one more ends the process as it is.
///
/// # Errors
///
/// Those of `program`, unless there was a Ctrl-C: then the exit code is 130.
pub fn until_ctrl_c(program: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<ExitCode> {
    let token = CancelToken::new();
    let pressed = Arc::new(OnceLock::new());
    let (cancel, at) = (token.clone(), pressed.clone());
    ctrlc::set_handler(move || {
        if at.set(Instant::now()).is_ok() {
            cancel.cancel_because("Ctrl-C");
        } else if at.get().is_some_and(|first| first.elapsed() > PATIENCE) {
            process::exit(INTERRUPTED.into());
        }
    })?;
    let outcome = token.run(program);
    println!("threads left: {}", left_behind());
    if let Some(pressed) = pressed.get() {
        println!("over {:.1?} after Ctrl-C", pressed.elapsed());
        return Ok(ExitCode::from(INTERRUPTED));
    }
    outcome.map(|()| ExitCode::SUCCESS)
}
