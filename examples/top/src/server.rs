//! Shows a process to viewers, over a Unix socket. This file may be used as it is in other
//! programs.
//!
//! The process opts in by [`Server::bind`] and [`Server::serve`], and says with [`Offered::offer`]
//! which of its groups a viewer may cancel. A viewer sends lines, and gets one line of JSON for
//! each:
//!
//! | request | answer |
//! |---|---|
//! | `snapshot` | `{"process":{..},"cancellable":[5],"snapshot":{..}}` |
//! | `cancel 5` | `{"answer":".."}`: `cancelled`, `was cancelled before`, `gone` or `not offered` |
//!
//! A viewer of another user gets `{"refused":".."}`. Nothing is sent that was not asked for. So a
//! viewer that has stopped costs a thread that sleeps, and delays no other. At most
//! [`MOST_VIEWERS`] are answered at once; the next waits for one of them to leave.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use taskgroup::net::{UnixListener, UnixStream};
use taskgroup::sync::Semaphore;
use taskgroup::{CancelToken, GroupSnapshot, Snapshot, TaskError, TaskGroup};

/// How long a viewer may take to read an answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The most viewers at once. Further connections wait to be accepted, and cost this process neither
/// a thread nor a descriptor.
pub const MOST_VIEWERS: usize = 32;

/// Before the next try, where a connection cannot be accepted: most likely no descriptor is left,
/// and the try would fail at once.
const PAUSE: Duration = Duration::from_millis(100);

/// The most bytes of a request.
const LONGEST: u64 = 64;

/// The groups that viewers may cancel, by their numbers, which are never used again.
#[derive(Debug, Default)]
pub struct Offered(Mutex<BTreeMap<String, CancelToken>>);

impl Offered {
    /// Lets viewers cancel the group until its last task has ended.
    pub fn offer<'scope, E: TaskError>(&'scope self, g: &'scope TaskGroup<'scope, '_, E>) {
        let number = g.token().id().to_string();
        self.groups().insert(number.clone(), g.token().clone());
        g.on_release(move || {
            self.groups().remove(&number);
            Ok(())
        });
    }

    fn cancel(&self, number: &str) -> &'static str {
        let offered = self.groups().get(number).cloned();

        // Without the lock: callbacks of the cancel may offer a group.
        match offered {
            Some(token) if token.cancel_because("a viewer asked for it") => "cancelled",
            Some(_) => "was cancelled before",
            None if is_open(&taskgroup::snapshot(), number) => "not offered",
            None => "gone",
        }
    }

    fn groups(&self) -> MutexGuard<'_, BTreeMap<String, CancelToken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_open(snapshot: &Snapshot, number: &str) -> bool {
    let mut ids = snapshot.all_groups().map(GroupSnapshot::id);
    ids.any(|id| id.to_string() == number)
}

/// A socket that the same user may connect to. Its file is removed when it is dropped.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
    /// The device and the number of the file, so that it is known again.
    file: (u64, u64),
}

impl Server {
    /// Makes the socket.
    ///
    /// # Errors
    ///
    /// A file is there already, which stays; or the system refuses the socket or its mode.
    pub fn bind(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => anyhow::bail!(occupied(path)),
            bound => bound.with_context(|| format!("cannot make the socket {shown}"))?,
        };

        let server = Server {
            listener,
            path: path.to_owned(),
            file: identity(path).with_context(|| format!("cannot find {shown}"))?,
        };

        // A connection of another user that comes before this is refused by its credentials.
        let own = fs::Permissions::from_mode(0o600);
        fs::set_permissions(path, own)
            .with_context(|| format!("cannot keep {shown} to this user"))?;
        Ok(server)
    }

    /// Answers viewers until the scope is cancelled. It is for a daemon.
    ///
    /// # Errors
    ///
    /// The cancel of the scope. A viewer that fails ends nothing else.
    pub fn serve(&self, offered: &Offered) -> anyhow::Result<()> {
        let room = Semaphore::new(MOST_VIEWERS);
        TaskGroup::builder().name("viewers").scope(|g| {
            // It fails once the scope is cancelled.
            while let Ok(place) = room.acquire() {
                match self.listener.accept() {
                    Ok((stream, _)) => {
                        let viewer = g.task().name("viewer").with((stream, place));
                        // Its failure is logged, and ends no other task of the program.
                        drop(viewer.spawn_isolated(|(stream, _)| attend(stream, offered)));
                    }
                    // A connection that failed is not a reason to stop, but a cancel is.
                    Err(_) => taskgroup::sleep(PAUSE)?,
                }
            }
            Ok(taskgroup::checkpoint()?)
        })?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // If it was removed by hand, another process may have a socket there by now.
        if identity(&self.path).is_ok_and(|file| file == self.file) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let file = fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino()))
}

/// Says why a socket cannot be made where there is a file.
fn occupied(path: &Path) -> String {
    let is_socket = fs::metadata(path).is_ok_and(|file| file.file_type().is_socket());
    let why = match std::os::unix::net::UnixStream::connect(path) {
        _ if !is_socket => "is there already, and is no socket",
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            "was left by a process that has ended: remove it"
        }
        _ => "is in use by another process",
    };
    format!("{} {why}", path.display())
}

/// Answers one viewer until it leaves.
///
/// # Errors
///
/// The cancel of the scope, or a picture that cannot be serialised.
pub fn attend(stream: &UnixStream, offered: &Offered) -> anyhow::Result<()> {
    let own = own_user();
    if !peer(stream).is_ok_and(|user| admits(own, user)) {
        let refused = format!("only user {own} may look at this process");
        return answer(stream, &serde_json::json!({ "refused": refused })).map(drop);
    }

    let mut requests = BufReader::new(stream);
    loop {
        let mut request = String::new();
        let read = (&mut requests).take(LONGEST).read_line(&mut request);
        taskgroup::checkpoint()?;
        // A viewer that has gone, or sends bytes that are no text, has no more requests.
        if !matches!(read, Ok(1..)) {
            return Ok(());
        }

        let is_read = match request.trim_end().split_once(' ') {
            None if request == "snapshot\n" => answer(stream, &Picture::take(offered))?,
            Some(("cancel", number)) => {
                let outcome = offered.cancel(number);
                answer(stream, &serde_json::json!({ "answer": outcome }))?
            }
            _ => return Ok(()),
        };
        if !is_read {
            return Ok(());
        }
    }
}

/// Sends one line. Returns false if the viewer has gone, or does not read.
fn answer(mut stream: &UnixStream, answer: &impl Serialize) -> anyhow::Result<bool> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    let sent = taskgroup::timeout(PATIENCE, || stream.write_all(&line));
    taskgroup::checkpoint()?;
    Ok(matches!(sent, Ok(Some(()))))
}

/// Returns whether a process of the user `own` shows itself to a viewer of this user.
pub fn admits(own: u32, viewer: u32) -> bool {
    // The root user could read the memory of the process anyway.
    viewer == own || viewer == 0
}

#[derive(Serialize)]
struct Picture {
    process: Process,
    cancellable: Vec<u64>,
    snapshot: Snapshot,
}

/// The numbers of the process.
#[derive(Serialize)]
struct Process {
    id: u32,
    name: String,
    queued: u64,
    running: u64,
    finished: u64,
    failed: u64,
    cancelled: u64,
    threads: usize,
    peak_threads: usize,
    idle_workers: usize,
    longest_cancel_ns: u64,
}

impl Picture {
    fn take(offered: &Offered) -> Self {
        let program = std::env::args_os().next().map(PathBuf::from);
        let name = program.as_deref().and_then(Path::file_name);
        let stats = taskgroup::stats();
        let process = Process {
            id: std::process::id(),
            name: name.unwrap_or_default().to_string_lossy().into_owned(),
            queued: stats.queued,
            running: stats.running,
            finished: stats.finished,
            failed: stats.failed,
            cancelled: stats.cancelled,
            threads: stats.threads,
            peak_threads: stats.peak_threads,
            idle_workers: stats.idle_workers,
            longest_cancel_ns: stats.cancel_latency.longest().as_nanos() as u64,
        };

        let groups = offered.groups();
        let cancellable = groups.keys().filter_map(|id| id.parse().ok()).collect();
        drop(groups);
        Picture {
            process,
            cancellable,
            snapshot: taskgroup::snapshot(),
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn peer(stream: &UnixStream) -> io::Result<u32> {
    let peer = rustix::net::sockopt::socket_peercred(stream)?;
    Ok(peer.uid.as_raw())
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn peer(stream: &UnixStream) -> io::Result<u32> {
    let (user, _) = nix::unistd::getpeereid(stream)?;
    Ok(user.as_raw())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn own_user() -> u32 {
    nix::unistd::geteuid().as_raw()
}
