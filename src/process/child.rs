//! A child process that was started.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Output};
use std::sync::Arc;
use std::time::Duration;

use super::ending::Ending;
use super::output;
use super::reaper;
use super::state::Process;
use super::stdio::{ChildStderr, ChildStdin, ChildStdout};

/// A child process: a handle to wait for it, and to end it. Made by
/// [`Command::spawn`](super::Command::spawn).
///
/// Like [`std::process::Child`], but
///
/// - a cancel of the scope around a wait ends the child,
/// - the methods take `&self`, so one thread can wait while another ends the child, and
/// - **a `Child` that is dropped unwaited is ended**: it gets its signal, and a thread of the crate
///   kills it after its grace and reaps it. The child of a dropped std handle runs on;
///   [`detach`](Self::detach) is for that.
///
/// Ending a child means: it gets the signal of [`stop_with`](super::Command::stop_with) (SIGTERM),
/// then SIGCONT, so that a stopped child sees the signal, and SIGKILL when its
/// [`grace`](super::Command::grace) (5 seconds) is over. With
/// [`own_group`](super::Command::own_group) its whole process group gets these signals, and SIGKILL
/// as soon as the child itself has ended.
///
/// This handle does not end descendants of the child, unless the child leads a group of its own;
/// descendants that have left that group; and children that are alive when this process is killed
/// or calls `exit`. A child that was dropped shortly before the end of this process has got its
/// signal.
///
/// ```
/// use taskgroup::process::Command;
/// use taskgroup::TaskGroup;
///
/// # fn main() -> anyhow::Result<()> {
/// let server = Command::new("sleep").arg("60").spawn()?;
/// TaskGroup::scope(|g| {
///     let status = g.spawn(|| Ok(server.wait()?));
///     server.stop()?; // wakes the task
///     assert!(!status.join()?.success());
///     Ok(())
/// })?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Child {
    /// The standard input of the child, if it was [`piped`](std::process::Stdio::piped).
    pub stdin: Option<ChildStdin>,
    /// The standard output of the child, if it was [`piped`](std::process::Stdio::piped).
    pub stdout: Option<ChildStdout>,
    /// The standard error of the child, if it was [`piped`](std::process::Stdio::piped).
    pub stderr: Option<ChildStderr>,
    owner: Owner,
}

/// The part of a handle that ends the child when it is dropped. The streams can so be moved out of
/// the handle, like out of std's.
struct Owner {
    process: Arc<Process>,
    pipe_delay: Option<Duration>,
    on_drop: OnDrop,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum OnDrop {
    End,
    Detach,
}

impl Child {
    pub(super) fn new(
        mut child: std::process::Child,
        ending: Ending,
        pipe_delay: Option<Duration>,
    ) -> Self {
        // std's handle is given up here. It would reap nothing, and its drop does nothing.
        let pid = i32::try_from(child.id()).ok();
        let pid = pid.and_then(rustix::process::Pid::from_raw);
        let process = Process::new(pid.expect("the pid of a child is positive"), ending);

        Child {
            stdin: child.stdin.take().map(own),
            stdout: child.stdout.take().map(own),
            stderr: child.stderr.take().map(own),
            owner: Owner {
                process: Arc::new(process),
                pipe_delay,
                on_drop: OnDrop::End,
            },
        }
    }

    /// Returns the process identifier of the child. After the child was waited for, the system may
    /// give it to another process.
    ///
    /// ```
    /// use taskgroup::process::Command;
    ///
    /// let child = Command::new("true").spawn()?;
    /// assert_ne!(child.id(), std::process::id());
    /// # child.wait()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn id(&self) -> u32 {
        self.owner
            .process
            .pid()
            .as_raw_nonzero()
            .get()
            .unsigned_abs()
    }

    /// Blocks until the child has ended, and returns its status. The same status is returned each
    /// time.
    ///
    /// Closes the standard input of the child first, if it is still in this handle: a child that
    /// reads it to its end would wait for ever.
    ///
    /// Several threads may wait for one child.
    ///
    /// # Cancellation
    ///
    /// A blocking point. A cancel ends the child: it gets its signal, is killed if it still runs
    /// when its grace is over, and is reaped before this call returns. Other threads that wait then
    /// get the status that it ended with, or the cancel if it has reached their scope too. If the
    /// child had ended before the cancel woke this call, the status is returned. In a scope that is
    /// cancelled already this call fails, and the child is ended and reaped as well;
    /// [`try_wait`](Self::try_wait) then returns the status.
    ///
    /// # Errors
    ///
    /// The cancel of the scope. `ECHILD`, if this program ignores SIGCHLD or has reaped the child
    /// in another way.
    ///
    /// ```
    /// use taskgroup::process::Command;
    ///
    /// let child = Command::new("sh").args(["-c", "exit 3"]).spawn()?;
    /// assert_eq!(child.wait()?.code(), Some(3));
    /// assert_eq!(child.wait()?.code(), Some(3));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn wait(&self) -> io::Result<ExitStatus> {
        self.close_stdin();
        self.owner.process.wait()
    }

    fn close_stdin(&self) {
        if let Some(stdin) = &self.stdin {
            stdin.close();
        }
    }

    /// Returns the status of the child if it has ended. Does not close its standard input.
    ///
    /// Not a blocking point, so it works in a cancelled scope.
    ///
    /// # Errors
    ///
    /// `ECHILD`, if this program ignores SIGCHLD or has reaped the child in another way.
    ///
    /// ```
    /// use taskgroup::process::{Command, Stdio};
    ///
    /// let child = Command::new("cat").stdin(Stdio::piped()).spawn()?;
    /// assert_eq!(child.try_wait()?, None); // it reads
    /// child.wait()?;
    /// assert!(child.try_wait()?.is_some());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        self.owner.process.try_wait()
    }

    /// Reads the standard output and error of the child to their ends, waits for the child, and
    /// returns all of it. Closes its standard input first, if it is still in this handle.
    ///
    /// The streams must be [`piped`](std::process::Stdio::piped), and still be in this handle;
    /// otherwise they are empty.
    ///
    /// If the child has left processes behind that hold its pipes, this call goes on reading. See
    /// [`pipe_delay`](super::Command::pipe_delay).
    ///
    /// # Cancellation
    ///
    /// A blocking point. A cancel ends the child like in [`wait`](Self::wait). What the child and
    /// its descendants write meanwhile is read as well, for at most the
    /// [`pipe_delay`](super::Command::pipe_delay) after the end of the child. Where none is set, it
    /// is 1 second after the end, or after the cancel if the child had ended before. The error
    /// holds a [`Partial`](super::Partial) with everything that was read.
    ///
    /// # Errors
    ///
    /// The cancel of the scope. `TimedOut`, with a [`Partial`](super::Partial), if a pipe was still
    /// open when the `pipe_delay` had passed. `ECHILD` like [`wait`](Self::wait). An error of a
    /// read; the child is then ended like at a drop.
    ///
    /// ```
    /// use taskgroup::process::{Command, Stdio};
    ///
    /// let child = Command::new("echo").arg("hello").stdout(Stdio::piped()).spawn()?;
    /// assert_eq!(child.wait_with_output()?.stdout, b"hello\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn wait_with_output(mut self) -> io::Result<Output> {
        // Before the reads: a child that reads its input to the end would write no more, and wait.
        drop(self.stdin.take());

        let (stdout, stderr) = (self.stdout.take(), self.stderr.take());
        output::collect(&self.owner.process, stdout, stderr, self.owner.pipe_delay)
    }

    /// Kills the child, with its group if it leads one of its own
    /// ([`own_group`](super::Command::own_group)). Does not wait for its end, and has no effect on
    /// a child that has been waited for.
    ///
    /// # Errors
    ///
    /// `PermissionDenied`, if the child runs as another user.
    ///
    /// ```
    /// use std::os::unix::process::ExitStatusExt;
    /// use taskgroup::process::Command;
    ///
    /// let child = Command::new("sleep").arg("60").spawn()?;
    /// child.kill()?;
    /// assert_eq!(child.wait()?.signal(), Some(9));
    /// child.kill()?; // no effect
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn kill(&self) -> io::Result<()> {
        self.owner.process.kill()
    }

    /// Ends the child, and returns its status: it gets its signal
    /// ([`stop_with`](super::Command::stop_with)) and has its grace
    /// ([`grace`](super::Command::grace)). Blocks until it has ended. A child that had ended by
    /// itself is only reaped. Closes its standard input first, like [`wait`](Self::wait).
    ///
    /// Several threads may stop a child, and it gets the signal once.
    ///
    /// # Cancellation
    ///
    /// Not ended by a cancel: the grace bounds it, and it works in a cancelled scope.
    ///
    /// # Errors
    ///
    /// `PermissionDenied`, if the child runs as another user; it is not ended. `ECHILD` like
    /// [`wait`](Self::wait).
    ///
    /// ```
    /// use std::os::unix::process::ExitStatusExt;
    /// use taskgroup::process::Command;
    ///
    /// let child = Command::new("sleep").arg("60").spawn()?;
    /// assert_eq!(child.stop()?.signal(), Some(15));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn stop(&self) -> io::Result<ExitStatus> {
        self.close_stdin();
        self.owner.process.stop()
    }

    /// Lets the child run on by itself. A thread of the crate reaps it when it has ended; it gets
    /// no signal.
    ///
    /// Its pipes are closed, unless they were taken out of this handle.
    ///
    /// ```
    /// use taskgroup::process::Command;
    ///
    /// Command::new("true").spawn()?.detach();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn detach(mut self) {
        self.owner.on_drop = OnDrop::Detach;
    }
}

/// Takes a pipe over from std.
fn own<S: Into<OwnedFd>, P: From<OwnedFd>>(pipe: S) -> P {
    pipe.into().into()
}

impl Drop for Owner {
    fn drop(&mut self) {
        if self.on_drop == OnDrop::End {
            // The signal is sent here, so that the child has it even if this process ends now. A
            // child that may not be signalled is reaped when it ends by itself.
            let _ = self.process.ask_to_end();
        }

        // The usual child has been waited for, and needs no thread.
        if let Ok(None) = self.process.try_wait() {
            reaper::adopt(self.process.clone());
        }
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.process.fmt(f)
    }
}
