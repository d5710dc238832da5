use std::{
    fmt,
    fs::File,
    io::{self, ErrorKind, Write},
    os::fd::{AsFd, AsRawFd},
    process,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use taskgroup::{CancelToken, Cancelled, io::Cancellable, shield_for, sync::Mutex};

/// The exit code after the reader of the output has gone, as in shells.
pub(crate) const UNREAD: u8 = 141;

/// How long the reader has to take a text once the scope of its writer is cancelled. A reader that
/// reads needs much less.
const MOMENT: Duration = Duration::from_secs(1);

/// The scope of the program, if it has a scope to leave in good order.
pub(crate) static PROGRAM: OnceLock<CancelToken> = OnceLock::new();

/// Prints a line, like `std::println`, but does not panic if the reader has gone, as in
/// `| head -1`, and does not hold up a cancelled scope if the reader does not read.
///
/// If the reader has gone, it cancels the program in [`until_ctrl_c`](crate::until_ctrl_c), or ends
/// any other program on the spot. In both cases the exit code is 141.
#[macro_export]
macro_rules! println {
    ($($line:tt)*) => {
        $crate::print_line(::std::format_args!($($line)*))
    };
}

#[doc(hidden)]
pub fn print_line(line: fmt::Arguments<'_>) {
    match write_whole(&io::stdout(), format!("{line}\n").as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => match PROGRAM.get() {
            Some(program) => _ = program.cancel_because("the reader of the output has gone"),
            None => process::exit(UNREAD.into()),
        },
        Err(error) if Cancelled::find(&error).is_some() => {}
        outcome => outcome.expect("stdout can be written to"),
    }
}

/// Writes a text to standard output or standard error, in one piece.
///
/// Writes of std wait until the reader of a pipe reads, and no cancel ends that. This ends with its
/// scope. After a cancel each reader has a moment more, once: what is done is also told.
///
/// A write to one of the streams does not wait for the reader of the other. So if both are the same
/// file, a long text may be interrupted by a text of the other stream.
///
/// # Errors
///
/// The errors of the stream, and the cancel of the scope if the reader does not read. A part of the
/// text may have been written then.
pub fn write_whole(stream: &impl AsFd, text: &[u8]) -> io::Result<()> {
    // Of standard output, and of standard error.
    static TURNS: [Mutex<()>; 2] = [const { Mutex::new(()) }; 2];
    static GIVEN_UP: [AtomicBool; 2] = [const { AtomicBool::new(false) }; 2];

    if text.is_empty() {
        // It would wait for its turn, for nothing.
        return Ok(());
    }

    let is_stderr = stream.as_fd().as_raw_fd() == io::stderr().as_raw_fd();
    let which = usize::from(is_stderr);
    let (whose_turn, given_up) = (&TURNS[which], &GIVEN_UP[which]);

    // Not the buffer of std, which hides the error of the last write.
    let mut stream = Cancellable::new(File::from(stream.as_fd().try_clone_to_owned()?))?;
    let (mut turn, mut rest) = (None, text);
    let mut go_on = || {
        if turn.is_none() {
            turn = Some(whose_turn.lock()?);
        }
        // Not `write_all`: a cancel would break the stream, and the rest could not follow.
        while !rest.is_empty() {
            match stream.write(rest)? {
                0 => return Err(ErrorKind::WriteZero.into()),
                written => rest = &rest[written..],
            }
        }
        Ok(())
    };

    let is_cancel = |error: &io::Error| Cancelled::find(error).is_some();
    match go_on() {
        // Relaxed: it orders nothing.
        Err(error) if is_cancel(&error) && !given_up.load(Ordering::Relaxed) => {
            let outcome = shield_for(MOMENT, go_on);
            if outcome.as_ref().is_err_and(is_cancel) {
                given_up.store(true, Ordering::Relaxed);
            }
            outcome
        }
        outcome => outcome,
    }
}
