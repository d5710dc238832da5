//! The buffer of standard input.

use std::io;

use super::lines::not_utf8;
use super::stdin_source::StdinSource;
use crate::cancel::context;

/// As in std.
const CAPACITY: usize = 8 << 10;

/// Standard input with its buffer. There is one, behind a lock.
//
// `bytes[start..end]` was read from the system and not by the program yet. It is all that is lost
// to other readers of the descriptor.
#[derive(Debug)]
pub(super) struct StdinBuffer {
    source: StdinSource,
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl StdinBuffer {
    pub(super) const fn new() -> Self {
        StdinBuffer {
            source: StdinSource::new(),
            bytes: Vec::new(),
            start: 0,
            end: 0,
        }
    }

    fn buffered(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Returns the bytes in the buffer. If there are none, reads first.
    #[track_caller]
    pub(super) fn fill(&mut self) -> io::Result<&[u8]> {
        // In a cancelled scope bytes that are there stay, too.
        context::check()?;

        if self.start == self.end {
            // Before the read, which may fail: the buffer is empty then, and not stale.
            (self.start, self.end) = (0, 0);
            self.bytes.resize(CAPACITY, 0);
            self.end = self.source.read(&mut self.bytes)?;
        }
        Ok(self.buffered())
    }

    pub(super) fn consume(&mut self, length: usize) {
        self.start = (self.start + length).min(self.end);
    }

    #[track_caller]
    pub(super) fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        // A large read needs no buffer.
        if self.start == self.end && buf.len() >= CAPACITY {
            return self.source.read(buf);
        }

        let buffered = self.fill()?;
        let length = buffered.len().min(buf.len());
        buf[..length].copy_from_slice(&buffered[..length]);
        self.consume(length);
        Ok(length)
    }

    /// Puts bytes back that were taken out of the buffer, which is empty since then.
    fn put_back(&mut self, taken: &[u8]) {
        debug_assert!(self.buffered().is_empty());
        self.bytes = taken.to_vec();
        (self.start, self.end) = (0, taken.len());
    }

    /// Appends the next line to `text`, with its end. Returns its length in bytes, which is 0 at
    /// the end of the input.
    #[track_caller]
    pub(super) fn read_line(&mut self, text: &mut String) -> io::Result<usize> {
        // Most lines are in the buffer.
        let buffered = self.fill()?;
        if let Some(at) = buffered.iter().position(|&byte| byte == b'\n') {
            let line = std::str::from_utf8(&buffered[..=at]);
            let line = line.map(|line| text.push_str(line));
            self.consume(at + 1);
            return line.map(|()| at + 1).map_err(|_| not_utf8());
        }

        self.read_text(Some(b'\n'), text)
    }

    /// Appends text up to `last`, or to the end of the input, to `text`. Returns its length in
    /// bytes.
    ///
    /// After an error, `text` has the characters that were read, and the bytes of an incomplete one
    /// are in the buffer. Text that is not UTF-8 is not appended.
    #[track_caller]
    pub(super) fn read_text(&mut self, last: Option<u8>, text: &mut String) -> io::Result<usize> {
        let mut taken = Vec::new();
        let outcome = self.take_until(last, &mut taken);

        match (outcome, std::str::from_utf8(&taken)) {
            // The text first: after an error the caller has it.
            (outcome, Ok(valid)) => {
                text.push_str(valid);
                outcome.map(|()| taken.len())
            }
            // The text is skipped, as in std, so that the next call goes on behind it.
            (Ok(()), Err(_)) => Err(not_utf8()),
            (Err(error), Err(invalid)) => {
                // The cut may be in the middle of a character. The buffer is empty: a fill fails
                // only where it has nothing to return, or at once, and then nothing was taken.
                let (valid, rest) = taken.split_at(invalid.valid_up_to());
                text.push_str(&String::from_utf8_lossy(valid));
                self.put_back(rest);
                Err(error)
            }
        }
    }

    #[track_caller]
    fn take_until(&mut self, last: Option<u8>, taken: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let buffered = self.fill()?;
            let found = last.and_then(|last| buffered.iter().position(|&byte| byte == last));
            let length = found.map_or(buffered.len(), |at| at + 1);
            taken.extend_from_slice(&buffered[..length]);
            self.consume(length);

            if found.is_some() || length == 0 {
                return Ok(());
            }
        }
    }
}
