use std::{
    fmt,
    io::{self, ErrorKind, Write},
    process,
    sync::OnceLock,
};

use taskgroup::CancelToken;

/// The exit code after the reader of the output has gone, as in shells.
pub(crate) const UNREAD: u8 = 141;

/// The scope of the program, if it has a scope to leave in good order.
pub(crate) static PROGRAM: OnceLock<CancelToken> = OnceLock::new();

/// Prints a line, like `std::println`, but does not panic if the reader has gone, as in
/// `| head -1`.
///
/// Then it cancels the program in [`until_ctrl_c`](crate::until_ctrl_c), or ends any other program
/// on the spot. In both cases the exit code is 141.
#[macro_export]
macro_rules! println {
    ($($line:tt)*) => {
        $crate::print_line(::std::format_args!($($line)*))
    };
}

#[doc(hidden)]
pub fn print_line(line: fmt::Arguments<'_>) {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => match PROGRAM.get() {
            Some(program) => _ = program.cancel_because("the reader of the output has gone"),
            None => process::exit(UNREAD.into()),
        },
        outcome => outcome.expect("stdout can be written to"),
    }
}
