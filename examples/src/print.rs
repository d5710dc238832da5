use std::{
    fmt,
    io::{self, ErrorKind, Write},
    process,
    sync::OnceLock,
};

use taskgroup::CancelToken;

/// The exit code of a program whose output nobody reads to its end, as shells have it.
pub(crate) const UNREAD: u8 = 141;

/// The scope of the program, if it has one that is to be left in good order.
pub(crate) static PROGRAM: OnceLock<CancelToken> = OnceLock::new();

/// Prints a line, as `std::println` does; but that nobody reads on, as in `| head -1`, is no panic.
///
/// It cancels what runs in [`until_ctrl_c`](crate::until_ctrl_c), and ends any other program on the
/// spot. In both cases the exit code is 141.
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
            Some(program) => _ = program.cancel_because("nobody reads on"),
            None => process::exit(UNREAD.into()),
        },
        outcome => outcome.expect("stdout can be written to"),
    }
}
