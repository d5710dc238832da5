//! The settings of a command for the end of its child.

use std::os::unix::process::CommandExt;
use std::time::Duration;

use rustix::process::Signal;

#[cfg(doc)]
use super::child::Child;
use super::command::Command;

impl Command {
    /// Puts the child into the process group with this number, or for 0 into a new one, like
    /// [`CommandExt::process_group`]. A cancel ends the child alone; see
    /// [`own_group`](Self::own_group).
    ///
    /// ```
    /// # use taskgroup::process::Command;
    /// assert!(Command::new("true").process_group(0).status()?.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn process_group(&mut self, group: i32) -> &mut Self {
        self.inner.process_group(group);
        // A group that other processes may be in does not end with this child.
        self.ending.group = false;
        self
    }

    /// Lets the child lead a process group of its own, which is ended with it: a cancel,
    /// [`Child::stop`], [`Child::kill`] and the drop of a [`Child`] signal all processes of the
    /// group. When the child itself has ended, the others are killed, before the child is reaped.
    /// So a child that waits for its helpers gives them its own grace.
    ///
    /// A child that ends by itself and is waited for ends no other process. What it leaves in the
    /// group goes on, and cannot be ended by the [`Child`] any more: the number of the group may be
    /// that of another one by then.
    ///
    /// A process that leaves the group (`setsid`) is not ended with it. In a terminal the group is
    /// in the background: it does not get the SIGINT of Ctrl-C, and it is stopped when it reads
    /// from the terminal, until a cancel ends it.
    ///
    /// ```
    /// use taskgroup::process::{Command, Stdio};
    ///
    /// let mut command = Command::new("sh");
    /// command.args(["-c", "sleep 60 & wait"]).stdout(Stdio::piped()).own_group();
    /// let mut child = command.spawn()?;
    /// child.stop()?;
    /// // Both have ended: nothing holds the pipe.
    /// assert_eq!(std::io::copy(&mut child.stdout.take().unwrap(), &mut std::io::sink())?, 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn own_group(&mut self) -> &mut Self {
        // The system makes the group before the program runs, so no signal comes too early for it.
        self.inner.process_group(0);
        self.ending.group = true;
        self
    }

    /// Sets the signal with which a cancel, [`Child::stop`] and the drop of a [`Child`] ask the
    /// child to end: SIGTERM (15) by default. SIGCONT follows it, since a stopped process sees no
    /// signal but SIGKILL and SIGCONT. A child that blocks or ignores the signal is killed when its
    /// [`grace`](Self::grace) is over. A program in the background of a shell, and with it its
    /// children, often ignores SIGINT (2).
    ///
    /// # Panics
    ///
    /// If the system has no signal of that number, or only one without a name.
    ///
    /// ```
    /// use std::os::unix::process::ExitStatusExt;
    /// # use taskgroup::process::Command;
    ///
    /// let child = Command::new("sleep").arg("60").stop_with(14).spawn()?; // SIGALRM
    /// assert_eq!(child.stop()?.signal(), Some(14));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn stop_with(&mut self, signal: i32) -> &mut Self {
        match Signal::from_named_raw(signal) {
            // Refused here, at the mistake, and not when the first child is to end.
            Some(signal) => self.ending.signal = signal,
            None => panic!("{signal} is not the number of a signal with a name"),
        }
        self
    }

    /// Sets how long a child has to end after its signal, before it is killed: 5 seconds by
    /// default. With [`Duration::MAX`] it is never killed.
    ///
    /// ```
    /// use std::os::unix::process::ExitStatusExt;
    /// use std::time::Duration;
    /// # use taskgroup::process::{Command, Stdio};
    ///
    /// let mut command = Command::new("sh");
    /// command.args(["-c", "trap '' TERM; echo; exec sleep 60"]).grace(Duration::from_millis(20));
    /// let mut child = command.stdout(Stdio::piped()).spawn()?;
    /// // The shell ignores the signal from here on.
    /// std::io::Read::read(child.stdout.as_mut().unwrap(), &mut [0])?;
    /// assert_eq!(child.stop()?.signal(), Some(9));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn grace(&mut self, grace: Duration) -> &mut Self {
        self.ending.grace = grace;
        self
    }

    /// Sets how long after the end of the child [`output`](Self::output) and
    /// [`wait_with_output`](Child::wait_with_output) go on reading pipes that other processes hold
    /// open. Without it they read to the end. After a cancel they read for 1 second from the end of
    /// the child, or from the cancel if the child had ended before.
    ///
    /// A child hands its pipes on to its own children, which may outlive it. When the delay has
    /// passed without a cancel, the error is `TimedOut` and holds a [`Partial`](super::Partial)
    /// with the bytes that were read: a cut stream never looks complete. With
    /// [`own_group`](Self::own_group) the group is ended then, and otherwise the processes live on.
    ///
    /// ```
    /// use std::io::ErrorKind;
    /// use std::time::Duration;
    /// # use taskgroup::process::Command;
    ///
    /// let mut command = Command::new("sh");
    /// command.args(["-c", "sleep 60 &"]).own_group().pipe_delay(Duration::from_millis(10));
    /// assert_eq!(command.output().unwrap_err().kind(), ErrorKind::TimedOut);
    /// ```
    pub fn pipe_delay(&mut self, delay: Duration) -> &mut Self {
        self.pipe_delay = Some(delay);
        self
    }
}
