//! Lines of output, each in one piece. They end with their scope, unlike a `println!`, which a
//! reader that does not read holds up.

use std::fmt::Display;
use std::fs::File;
use std::io::{Write, stderr, stdout};
use std::os::fd::AsFd;

use taskgroup::sync::Mutex;
use taskgroup::{Cancelled, io};

/// Prints a line.
///
/// # Errors
///
/// The cancel of the scope, and the errors of standard output.
pub(crate) fn print(line: impl Display) -> io::Result<()> {
    static TURN: Mutex<()> = Mutex::new(());
    write(&TURN, &stdout(), line)
}

/// Tells of an error on standard error. A cancel is no news.
pub(crate) fn report(error: &anyhow::Error) {
    static TURN: Mutex<()> = Mutex::new(());
    if Cancelled::find(&**error).is_none() {
        // If it cannot be written, there is no place left to say so.
        let _ = write(&TURN, &stderr(), format_args!("{error:#}"));
    }
}

fn write(turn: &Mutex<()>, stream: &impl AsFd, line: impl Display) -> io::Result<()> {
    let _turn = turn.lock()?;
    let stream = File::from(stream.as_fd().try_clone_to_owned()?);
    // One for each line: a cancel in the middle of a line breaks it, and another line may follow.
    writeln!(io::Cancellable::new(stream)?, "{line}")
}
