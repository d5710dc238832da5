//! A PostgreSQL of the tests' own, on a socket in a folder of its own.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use postgres::{Client, Config, NoTls};
use tempfile::TempDir;

/// Longer than a start takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(100);

/// A running server. It is stopped, and its folder removed, when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    shell: Child,
    folder: TempDir,
}

/// The server that all tests share while any of them uses it.
static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());

/// Returns a running server, or none where PostgreSQL is not installed. Then it says so on stderr,
/// also where the test harness captures the output of tests.
pub(crate) fn server() -> Option<Arc<Server>> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = shared.upgrade() {
        return Some(server);
    }

    let Some(programs) = programs() else {
        let test = std::thread::current();
        let test = test.name().unwrap_or("a test");
        // Not `eprintln`, which the harness captures.
        let line = format!("SKIPPED: {test}: PostgreSQL is not installed\n");
        io::stderr().write_all(line.as_bytes()).unwrap();
        return None;
    };

    let server = Arc::new(Server::start(&programs));
    *shared = Arc::downgrade(&server);
    Some(server)
}

/// Returns the folder of `initdb` and `postgres`: in the path, or where Debian has it.
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let debian = debian.filter_map(|version| Some(version.ok()?.path().join("bin")));
    std::env::split_paths(&path)
        .chain(debian)
        .find(|folder| folder.join("initdb").exists() && folder.join("postgres").exists())
}

impl Server {
    fn start(programs: &Path) -> Self {
        // The path of a socket has at most some hundred bytes.
        let folder = tempfile::Builder::new().prefix("pg").tempdir().unwrap();
        let data = folder.path().join("data");
        let user = user();
        if let Some((user, group)) = user {
            chown(folder.path(), Some(user), Some(group)).unwrap();
        }

        let command = |program: &Path| {
            let mut command = Command::new(program);
            command.current_dir(folder.path()).env("LC_ALL", "C");
            if let Some((user, group)) = user {
                command.uid(user).gid(group);
            }
            command
        };

        let output = command(&programs.join("initdb"))
            .args(["--auth=trust", "--username=tests", "--encoding=UTF8"])
            .args(["--no-locale", "--no-sync", "--pgdata"])
            .arg(&data)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "initdb: {text}");

        // The shell ends the server when its stdin ends: when the `Server` is dropped, and also
        // when the process of the tests is killed.
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let shell = command(Path::new("sh"))
            .args(["-c", "\"$@\" & read -r _; kill -QUIT $!; wait $!", "sh"])
            .arg(programs.join("postgres"))
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(folder.path())
            .args(["-c", "listen_addresses=", "-c", "fsync=off"])
            .args(["-c", "shared_buffers=16MB", "-c", "max_connections=50"])
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let server = Server { shell, folder };
        server.wait_until_up();
        server
    }

    fn wait_until_up(&self) {
        let started = std::time::Instant::now();
        while let Err(error) = self.config().connect(NoTls) {
            let log = || fs::read_to_string(self.folder.path().join("log"));
            assert!(started.elapsed() < PATIENCE, "{error}: {:?}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Returns the configuration of its clients.
    pub(crate) fn config(&self) -> Config {
        let mut config = Client::configure();
        config
            .host_path(self.folder.path())
            .user("tests")
            .dbname("postgres")
            .connect_timeout(PATIENCE);
        config
    }

    /// Returns the configuration of a client of this database, for a command line.
    pub(crate) fn url(&self, database: &str) -> String {
        let folder = self.folder.path().display();
        format!("host={folder} user=tests dbname={database}")
    }

    /// Returns a connection that no pool has.
    pub(crate) fn client(&self) -> Client {
        self.config().connect(NoTls).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

/// Returns the user and group to run the server as, if this process is root, which PostgreSQL
/// refuses to run as.
fn user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }

    // Both users exist on every system that has a PostgreSQL package and its own tests.
    let users = fs::read_to_string("/etc/passwd").unwrap();
    ["postgres", "nobody"].iter().find_map(|name| {
        let line = users
            .lines()
            .find(|line| line.split(':').next() == Some(name))?;
        let mut ids = line.split(':').skip(2).map(str::parse);
        Some((ids.next()?.ok()?, ids.next()?.ok()?))
    })
}
