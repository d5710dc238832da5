use std::{
    process::ExitCode,
    sync::{Arc, OnceLock},
    time::Instant,
};

use taskgroup::CancelToken;

use crate::left_behind;

/// The exit code of a program that Ctrl-C has ended, as shells have it.
const INTERRUPTED: u8 = 130;

/// Runs `program` in a scope that Ctrl-C cancels, and says at the end how long that took and what threads are left, which is none.
///
/// # Errors
///
/// Those of `program`, unless there was a Ctrl-C: then the exit code is 130.
pub fn until_ctrl_c(program: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<ExitCode> {
    let token = CancelToken::new();
    let pressed = Arc::new(OnceLock::new());
    let (cancel, at) = (token.clone(), pressed.clone());
    ctrlc::set_handler(move || {
        // At the second Ctrl-C there is nothing left to do.
        if at.set(Instant::now()).is_ok() {
            cancel.cancel_because("Ctrl-C");
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
