//! Lines that are put together and written without an allocation.

use std::fmt;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::stdio;

/// The longest line that is written whole.
const LENGTH: usize = 1024;

/// A line for standard error, in a buffer of its own.
pub(super) struct Line {
    bytes: [u8; LENGTH],
    length: usize,
}

impl Line {
    pub(super) const fn new() -> Self {
        Line {
            bytes: [0; LENGTH],
            length: 0,
        }
    }

    /// Writes a line with the text `arguments`. What does not fit is cut. May block.
    pub(super) fn write(&mut self, arguments: fmt::Arguments<'_>) {
        self.set(arguments);
        self.send();
    }

    /// Makes `arguments` the text of the line, for [`send`](Self::send). Does not block.
    pub(super) fn set(&mut self, arguments: fmt::Arguments<'_>) {
        self.length = 0;
        // A line that is full ends here.
        let _ = fmt::Write::write_fmt(self, arguments);
        self.bytes[self.length] = b'\n';
    }

    /// Writes the line. May block, so the caller holds no lock.
    pub(super) fn send(&mut self) {
        // No other thread could do more about an error.
        let _ = write_all(&self.bytes[..=self.length]);
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // Room is kept for the end of the line.
        let room = LENGTH - 1 - self.length;
        let mut taken = text.len().min(room);
        // The last character is whole or left out.
        while !text.is_char_boundary(taken) {
            taken -= 1;
        }
        let end = self.length + taken;
        self.bytes[self.length..end].copy_from_slice(&text.as_bytes()[..taken]);
        self.length += taken;
        if taken < text.len() {
            return Err(fmt::Error);
        }
        Ok(())
    }
}

/// Writes all of it to standard error.
fn write_all(bytes: &[u8]) -> Result<(), Errno> {
    write_all_by(
        bytes,
        |rest| rustix::io::write(stdio::stderr(), rest),
        || {
            let stderr = stdio::stderr();
            rustix::event::poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], None)
        },
    )
}

/// Writes all bytes by `write`. If standard error is non-blocking and full, waits until it is
/// `ready`. Another process that shares it may have made it non-blocking.
fn write_all_by(
    mut bytes: &[u8],
    mut write: impl FnMut(&[u8]) -> Result<usize, Errno>,
    mut ready: impl FnMut() -> Result<usize, Errno>,
) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match write(bytes) {
            // A write that takes nothing would be repeated for ever.
            Ok(0) => return Err(Errno::IO),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => match ready() {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            },
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn short_counts_interrupts_and_full_buffers_lose_and_repeat_no_byte() {
        let (written, waits) = (RefCell::new(Vec::new()), RefCell::new(0));
        let mut turn = 0;
        let write = |rest: &[u8]| {
            turn += 1;
            match turn % 4 {
                0 => Err(Errno::INTR),
                1 => Err(Errno::AGAIN),
                turn => {
                    let count = rest.len().min(turn);
                    written.borrow_mut().extend_from_slice(&rest[..count]);
                    Ok(count)
                }
            }
        };
        let ready = || {
            *waits.borrow_mut() += 1;
            if *waits.borrow() % 2 == 0 {
                return Err(Errno::INTR);
            }
            Ok(1)
        };
        let text = b"what the threads of process 7 are doing\n";
        assert_eq!(write_all_by(text, write, ready), Ok(()));
        assert_eq!(*written.borrow(), text);
        assert!(*waits.borrow() > 1);
    }

    #[test]
    fn a_standard_error_that_takes_nothing_is_given_up() {
        let ready = || Ok(1);
        let mut calls = 0;
        let nothing = |_: &[u8]| {
            calls += 1;
            assert_eq!(calls, 1, "it is tried again");
            Ok(0)
        };
        assert!(write_all_by(b"x", nothing, ready).is_err());
        let closed = |_: &[u8]| Err(Errno::PIPE);
        assert_eq!(write_all_by(b"x", closed, ready), Err(Errno::PIPE));
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_between_two_characters() {
        let mut line = Line::new();
        line.set(format_args!("x{}", "\u{e9}".repeat(LENGTH)));
        let text = std::str::from_utf8(&line.bytes[..=line.length]).expect("it is text");
        assert_eq!((text.len(), text.ends_with("\u{e9}\n")), (LENGTH, true));

        // It is used again for the next.
        line.set(format_args!("short"));
        assert!(line.write_str("er").is_ok());
        assert_eq!(&line.bytes[..line.length], b"shorter");
    }
}
