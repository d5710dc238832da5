use std::{
    process::ExitCode,
    sync::{Arc, OnceLock},
    time::Instant,
};

use taskgroup::signal;

use crate::{
    exit_code, left_behind,
    print::{PROGRAM, UNREAD},
    println,
};

/// Runs `program` in a scope that Ctrl-C cancels. At the end it prints how long that took and which
/// threads are left, namely none.
///
/// A SIGTERM or SIGHUP counts as a Ctrl-C, and a second signal ends the process as it is. The
/// program is also cancelled when the reader of [`println!`](crate::println) has gone.
///
/// # Errors
///
/// The errors of `program`. After a signal there is its [`exit_code`] instead, and 141 after the
/// reader has gone.
pub fn until_ctrl_c(program: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<ExitCode> {
    let signal = signal::termination()?;
    let pressed = Arc::new(OnceLock::new());
    let at = pressed.clone();
    let _guard = signal.on_cancel(move || _ = at.set(Instant::now()));
    let token = PROGRAM.get_or_init(|| signal.child());
    let outcome = token.run(program);

    // In the scope of the program: a Ctrl-C also ends a print that no one reads.
    token.run(|| println!("threads left: {}", left_behind()));
    if let Some(cancelled) = signal.cancelled() {
        // A cancel wakes the program before it runs callbacks: all may be over by then.
        let pressed = pressed.get_or_init(Instant::now);
        let elapsed = pressed.elapsed();
        token.run(|| println!("interrupted: all was over {elapsed:.1?} later"));
        return Ok(exit_code(&cancelled));
    }

    if token.is_cancelled() {
        return Ok(ExitCode::from(UNREAD));
    }
    outcome.map(|()| ExitCode::SUCCESS)
}
