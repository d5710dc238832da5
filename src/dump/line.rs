//! Lines that are put together and written without an allocation.

use std::fmt;
use std::io;

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

fn write_all(mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(stdio::stderr(), bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
