//! A program to run, with its arguments, surroundings and end.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::Path;
use std::process::{CommandArgs, CommandEnvs, ExitStatus, Output, Stdio};
use std::time::Duration;

use super::child::Child;
use super::ending::Ending;
use super::streams::{StreamChoice, Unchosen};
use crate::cancel::context;

/// A program to run: like [`std::process::Command`], but a cancel of the scope around a wait ends
/// the program.
///
/// Everything about the program is as in std, with the same defaults.
/// [`stop_with`](Self::stop_with), [`grace`](Self::grace), [`own_group`](Self::own_group) and
/// [`pipe_delay`](Self::pipe_delay) set how it is ended. For everything else that std's command can
/// do, such as `uid`, `arg0` or `pre_exec`, convert one: `Command::from(std_command)`.
///
/// # Cancellation
///
/// A cancelled [`status`](Self::status) or [`output`](Self::output) has ended and reaped the child
/// before it returns. See [`Child`] for what ending means.
///
/// ```
/// use taskgroup::process::Command;
/// use taskgroup::TaskGroup;
///
/// let texts = TaskGroup::scope(|g| {
///     let echoes = g.map(["a", "b"], |text| {
///         let output = Command::new("echo").arg(text).output()?;
///         Ok(String::from_utf8(output.stdout)?)
///     });
///     Ok(echoes.collect::<Result<Vec<_>, _>>()?)
/// })?;
/// assert_eq!(texts, ["a\n", "b\n"]);
/// # Ok::<(), taskgroup::GroupError>(())
/// ```
///
/// Use `timeout` to limit the time of the program:
///
/// ```
/// use std::time::Duration;
/// use taskgroup::process::Command;
///
/// let sleep = || Command::new("sleep").arg("60").status();
/// let status = taskgroup::timeout(Duration::from_millis(20), sleep)?;
/// assert!(status.is_none()); // the child has ended
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Command {
    pub(super) inner: std::process::Command,
    stdin: StreamChoice,
    stdout: StreamChoice,
    stderr: StreamChoice,
    pub(super) ending: Ending,
    pub(super) pipe_delay: Option<Duration>,
}

#[cfg(target_vendor = "apple")]
crate::facade::per_process! {
    /// Between the making of a pipe and the mark that closes it in children, another thread could
    /// start a child, which would hold the pipe open. Systems that make and mark at once need no
    /// lock.
    static STARTS: crate::facade::Mutex<()> = crate::facade::Mutex::new(());
}

impl Command {
    /// Creates a command that runs `program`, found like std finds it.
    ///
    /// ```
    /// use taskgroup::process::Command;
    ///
    /// assert!(Command::new("true").status()?.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new<S: AsRef<OsStr>>(program: S) -> Self {
        std::process::Command::new(program).into()
    }

    /// Adds an argument.
    ///
    /// ```
    /// # use taskgroup::process::Command;
    /// assert_eq!(Command::new("echo").arg("a b").output()?.stdout, b"a b\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn arg<S: AsRef<OsStr>>(&mut self, arg: S) -> &mut Self {
        self.inner.arg(arg);
        self
    }

    /// Adds arguments.
    ///
    /// ```
    /// # use taskgroup::process::Command;
    /// assert_eq!(Command::new("echo").args(["a", "b"]).output()?.stdout, b"a b\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn args<I, S>(&mut self, args: I) -> &mut Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.inner.args(args);
        self
    }

    /// Sets a variable of the child's environment.
    ///
    /// ```
    /// # use taskgroup::process::Command;
    /// let output = Command::new("sh").args(["-c", "echo $COLOUR"]).env("COLOUR", "red").output()?;
    /// assert_eq!(output.stdout, b"red\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn env<K: AsRef<OsStr>, V: AsRef<OsStr>>(&mut self, key: K, value: V) -> &mut Self {
        self.inner.env(key, value);
        self
    }

    /// Sets variables of the child's environment.
    ///
    /// ```
    /// # use taskgroup::process::Command;
    /// let mut command = Command::new("sh");
    /// command.args(["-c", "echo $A$B"]).envs([("A", "1"), ("B", "2")]);
    /// assert_eq!(command.output()?.stdout, b"12\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn envs<I, K, V>(&mut self, vars: I) -> &mut Self
    where
        I: IntoIterator<Item = (K, V)>,
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        self.inner.envs(vars);
        self
    }

    /// Removes a variable from the child's environment.
    ///
    /// ```
    /// # use taskgroup::process::Command;
    /// let mut command = Command::new("sh");
    /// command.args(["-c", "echo ${HOME-none}"]).env_remove("HOME");
    /// assert_eq!(command.output()?.stdout, b"none\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn env_remove<K: AsRef<OsStr>>(&mut self, key: K) -> &mut Self {
        self.inner.env_remove(key);
        self
    }

    /// Gives the child none of this process's environment.
    ///
    /// ```
    /// # use taskgroup::process::Command;
    /// assert_eq!(Command::new("/usr/bin/env").env_clear().output()?.stdout, b"");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn env_clear(&mut self) -> &mut Self {
        self.inner.env_clear();
        self
    }

    /// Sets the working directory of the child.
    ///
    /// ```
    /// # use taskgroup::process::Command;
    /// assert_eq!(Command::new("pwd").current_dir("/").output()?.stdout, b"/\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn current_dir<P: AsRef<Path>>(&mut self, dir: P) -> &mut Self {
        self.inner.current_dir(dir);
        self
    }

    /// Sets the standard input of the child. By default, the child inherits the standard input of
    /// this process; with [`output`](Self::output), it has none.
    ///
    /// ```
    /// use taskgroup::process::{Command, Stdio};
    ///
    /// assert!(Command::new("cat").stdin(Stdio::null()).status()?.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stdin<T: Into<Stdio>>(&mut self, stdin: T) -> &mut Self {
        self.inner.stdin(stdin);
        self.stdin = StreamChoice::Chosen;
        self
    }

    /// Sets the standard output of the child. By default, the child inherits the standard output of
    /// this process, and [`output`](Self::output) captures it.
    ///
    /// ```
    /// use std::io::Read;
    /// use taskgroup::process::{Command, Stdio};
    ///
    /// let mut child = Command::new("echo").arg("hello").stdout(Stdio::piped()).spawn()?;
    /// let mut text = String::new();
    /// child.stdout.take().unwrap().read_to_string(&mut text)?;
    /// assert_eq!(text, "hello\n");
    /// assert!(child.wait()?.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stdout<T: Into<Stdio>>(&mut self, stdout: T) -> &mut Self {
        self.inner.stdout(stdout);
        self.stdout = StreamChoice::Chosen;
        self
    }

    /// Sets the standard error of the child. By default, the child inherits the standard error of
    /// this process, and [`output`](Self::output) captures it.
    ///
    /// ```
    /// use taskgroup::process::{Command, Stdio};
    ///
    /// let status = Command::new("cat").arg("/no/such/file").stderr(Stdio::null()).status()?;
    /// assert!(!status.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stderr<T: Into<Stdio>>(&mut self, stderr: T) -> &mut Self {
        self.inner.stderr(stderr);
        self.stderr = StreamChoice::Chosen;
        self
    }

    /// Starts the program. The child inherits the streams of this process that were not set.
    ///
    /// The child is ended when the [`Child`] is dropped.
    ///
    /// # Cancellation
    ///
    /// A blocking point, though it does not block: in a cancelled scope nothing is started.
    ///
    /// # Errors
    ///
    /// The cancel of the scope, and the errors of [`std::process::Command::spawn`]: `NotFound` if
    /// there is no such program or directory, `InvalidInput` for a NUL in an argument.
    ///
    /// ```
    /// use taskgroup::process::Command;
    ///
    /// let child = Command::new("true").spawn()?;
    /// assert!(child.wait()?.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn spawn(&mut self) -> io::Result<Child> {
        self.start(Unchosen::Inherited)
    }

    /// Runs the program, and returns its status. The child inherits the streams of this process
    /// that were not set.
    ///
    /// # Cancellation
    ///
    /// A blocking point. A cancel ends the program, and this call returns when it has ended: after
    /// the [`grace`](Self::grace) at the latest. In a cancelled scope nothing is started.
    ///
    /// # Errors
    ///
    /// The errors of [`spawn`](Self::spawn) and [`Child::wait`].
    ///
    /// ```
    /// use taskgroup::process::Command;
    ///
    /// assert_eq!(Command::new("false").status()?.code(), Some(1));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn status(&mut self) -> io::Result<ExitStatus> {
        self.start(Unchosen::Inherited)?.wait()
    }

    /// Runs the program, and returns its status and what it wrote to its standard output and error.
    /// It has no standard input, unless one was set.
    ///
    /// # Cancellation
    ///
    /// A blocking point. A cancel ends the program, and this call returns when it has ended and the
    /// [`pipe_delay`](Self::pipe_delay) has passed at the latest. The error holds a
    /// [`Partial`](super::Partial) with the bytes that were read. In a cancelled scope nothing is
    /// started.
    ///
    /// # Errors
    ///
    /// The errors of [`spawn`](Self::spawn) and [`Child::wait_with_output`].
    ///
    /// ```
    /// use taskgroup::process::Command;
    ///
    /// let output = Command::new("sh").args(["-c", "echo out; echo err >&2"]).output()?;
    /// assert_eq!((&*output.stdout, &*output.stderr), (&b"out\n"[..], &b"err\n"[..]));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn output(&mut self) -> io::Result<Output> {
        self.start(Unchosen::Captured)?.wait_with_output()
    }

    #[track_caller]
    fn start(&mut self, unchosen: Unchosen) -> io::Result<Child> {
        // Before the fork: a call that fails has started no child.
        context::check()?;

        // std does not tell which streams were set, so the fields of this type do.
        let (nothing, pipe) = (Stdio::null, Stdio::piped);
        if self.stdin.takes(unchosen) {
            self.inner.stdin(unchosen.or_inherited(nothing));
        }

        if self.stdout.takes(unchosen) {
            self.inner.stdout(unchosen.or_inherited(pipe));
        }
        if self.stderr.takes(unchosen) {
            self.inner.stderr(unchosen.or_inherited(pipe));
        }

        #[cfg(target_vendor = "apple")]
        let _alone = STARTS.lock();
        let child = self.inner.spawn()?;

        Ok(Child::new(child, self.ending, self.pipe_delay))
    }

    /// Returns the program.
    ///
    /// ```
    /// # use taskgroup::process::Command;
    /// assert_eq!(Command::new("echo").get_program(), "echo");
    /// ```
    pub fn get_program(&self) -> &OsStr {
        self.inner.get_program()
    }

    /// Returns the arguments.
    ///
    /// ```
    /// # use taskgroup::process::Command;
    /// assert!(Command::new("echo").args(["a", "b"]).get_args().eq(["a", "b"]));
    /// ```
    pub fn get_args(&self) -> CommandArgs<'_> {
        self.inner.get_args()
    }

    /// Returns the variables that were set and, with the value `None`, those that were removed.
    ///
    /// ```
    /// # use taskgroup::process::Command;
    /// assert_eq!(Command::new("echo").env("A", "1").get_envs().count(), 1);
    /// ```
    pub fn get_envs(&self) -> CommandEnvs<'_> {
        self.inner.get_envs()
    }

    /// Returns the working directory that was set.
    ///
    /// ```
    /// # use taskgroup::process::Command;
    /// assert_eq!(Command::new("pwd").get_current_dir(), None);
    /// ```
    pub fn get_current_dir(&self) -> Option<&Path> {
        self.inner.get_current_dir()
    }
}

/// Streams that were set before are kept, except by [`output`](Command::output), which captures the
/// streams that were not set on this type. A process group that was set before does not end with
/// the child, unlike with [`own_group`](Command::own_group).
impl From<std::process::Command> for Command {
    fn from(inner: std::process::Command) -> Self {
        Command {
            inner,
            stdin: StreamChoice::Default,
            stdout: StreamChoice::Default,
            stderr: StreamChoice::Default,
            ending: Ending::default(),
            pipe_delay: None,
        }
    }
}

/// Shows the command line, like std's.
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
