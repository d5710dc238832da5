//! The output of a command that was cut short.

use std::error::Error;
use std::fmt;
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use crate::cancel::Cancelled;
use crate::error::chain;

/// The output that [`Command::output`](super::Command::output) or
/// [`Child::wait_with_output`](super::Child::wait_with_output) had read when it was cut short: the
/// payload of its [`io::Error`].
///
/// After a cancel the child may go on to write, for the whole [`grace`](super::Command::grace) if
/// it ignores its signal. So of each stream at most the first MiB that is read after the cancel is
/// kept. The rest is read, for the child to go on, and dropped.
///
/// The kind of the error is `Other` after a cancel, and `TimedOut` if the
/// [`pipe_delay`](super::Command::pipe_delay) has passed. [`Partial::find`] finds this type in the
/// error.
///
/// ```
/// use std::time::Duration;
/// use taskgroup::process::{Command, Partial};
///
/// // The shell ends, but leaves a child of its own that holds the pipe.
/// let error = Command::new("sh")
///     .args(["-c", "echo complete?; sleep 60 &"])
///     .own_group()
///     .pipe_delay(Duration::from_millis(10))
///     .output()
///     .unwrap_err();
/// assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
/// let partial = Partial::find(&error).unwrap();
/// assert_eq!(partial.stdout(), b"complete?\n");
/// assert!(partial.status().is_some_and(|status| status.success()));
/// ```
///
/// [`timeout`](crate::timeout) returns `None` in place of the error if the time has passed. To keep
/// the output, take it inside:
///
/// ```
/// use std::time::Duration;
/// use taskgroup::process::{Command, Partial};
///
/// let mut begun = None;
/// let ended = taskgroup::timeout(Duration::from_millis(500), || {
///     let output = Command::new("sh").args(["-c", "echo begun; exec sleep 60"]).output();
///     output.inspect_err(|error| {
///         begun = Partial::find(error).map(|partial| partial.stdout().to_vec());
///     })
/// })?;
/// assert!(ended.is_none() && begun.is_some());
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Partial {
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    pub(super) status: Option<ExitStatus>,
    pub(super) why: CutBy,
}

/// The reason why the output was cut short.
#[derive(Debug, Clone)]
pub(super) enum CutBy {
    Cancelled(Cancelled),
    /// The pipes were still open this long after the end of the child.
    Delay(Duration),
}

impl Partial {
    /// Finds the partial output in an error of any type, along its sources.
    ///
    /// ```
    /// use taskgroup::process::{Command, Partial};
    ///
    /// let error = Command::new("/no/such/program").output().unwrap_err();
    /// assert!(Partial::find(&error).is_none());
    /// ```
    pub fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Partial> {
        chain(error).find_map(|error| error.downcast_ref())
    }

    /// Returns the bytes that were read from the standard output of the child.
    ///
    /// ```
    /// # use taskgroup::process::Partial;
    /// fn last_line(partial: &Partial) -> Option<&[u8]> {
    ///     partial.stdout().split(|byte| *byte == b'\n').last()
    /// }
    /// ```
    pub fn stdout(&self) -> &[u8] {
        &self.stdout
    }

    /// Returns the bytes that were read from the standard error of the child.
    ///
    /// ```
    /// # use taskgroup::process::Partial;
    /// fn complained(partial: &Partial) -> bool {
    ///     !partial.stderr().is_empty()
    /// }
    /// ```
    pub fn stderr(&self) -> &[u8] {
        &self.stderr
    }

    /// Returns the status with which the child ended. `None` if it is not known: the child could
    /// not be signalled and runs on, or another part of the program has reaped it.
    ///
    /// ```
    /// # use taskgroup::process::Partial;
    /// fn succeeded(partial: &Partial) -> bool {
    ///     partial.status().is_some_and(|status| status.success())
    /// }
    /// ```
    pub fn status(&self) -> Option<ExitStatus> {
        self.status
    }

    /// Returns the cancel that cut the output short. `None` if it was the
    /// [`pipe_delay`](super::Command::pipe_delay).
    ///
    /// ```
    /// # use taskgroup::process::Partial;
    /// fn was_cancelled(partial: &Partial) -> bool {
    ///     partial.cancelled().is_some()
    /// }
    /// ```
    pub fn cancelled(&self) -> Option<&Cancelled> {
        match &self.why {
            CutBy::Cancelled(cancelled) => Some(cancelled),
            CutBy::Delay(_) => None,
        }
    }

    /// Returns the error that holds this output.
    pub(super) fn into_error(self) -> io::Error {
        // For a cancel, never a kind that a library retries.
        let kind = match self.why {
            CutBy::Cancelled(_) => io::ErrorKind::Other,
            CutBy::Delay(_) => io::ErrorKind::TimedOut,
        };
        io::Error::new(kind, self)
    }
}

impl fmt::Display for Partial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            CutBy::Cancelled(_) => f.write_str("the child was stopped")?,
            CutBy::Delay(delay) => write!(
                f,
                "the pipes of the child were still open {delay:?} after its end"
            )?,
        }

        // The numbers alone: the bytes may be many, and need not be text.
        write!(
            f,
            ", with {} bytes of stdout and {} bytes of stderr read",
            self.stdout.len(),
            self.stderr.len()
        )?;

        match self.status {
            Some(status) => write!(f, " ({status})"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Partial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partial")
            .field("stdout", &format_args!("{} bytes", self.stdout.len()))
            .field("stderr", &format_args!("{} bytes", self.stderr.len()))
            .field("status", &self.status)
            .field("why", &self.why)
            .finish()
    }
}

impl Error for Partial {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        // The cancel as the source, so that the group of the caller finds it.
        self.cancelled().map(|cancelled| cancelled as _)
    }
}
