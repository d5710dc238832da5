//! The synchronous connections of redis, to a server of the tests' own. From outside only a command
//! that blocks on the server can be ended.

use std::io::{self, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::redis::{Client, Commands, Connection, RedisResult};
use tempfile::TempDir;

use super::support::{until, watch};
use super::{assert_cancel, cancelled_during};

/// A running server. It is killed when this is dropped.
struct Server {
    server: Child,
    folder: TempDir,
}

impl Server {
    /// Starts a server, or returns none where there is none. Then it says so on stderr, even where
    /// the test harness captures the output of tests.
    fn start() -> Option<Self> {
        let folder = tempfile::Builder::new().prefix("redis").tempdir().unwrap();
        let started = Command::new("redis-server")
            .args(["--port", "0", "--unixsocket", "socket", "--save", ""])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        let server = match started {
            Ok(server) => Server { server, folder },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let test = std::thread::current();
                let test = test.name().unwrap_or("a test");
                // Not `eprintln`, which the harness captures.
                let line = format!("SKIPPED: {test}: redis-server is not installed\n");
                io::stderr().write_all(line.as_bytes()).unwrap();
                return None;
            }
            Err(error) => panic!("redis-server: {error}"),
        };
        until(|| server.try_connect().is_ok());
        Some(server)
    }

    fn try_connect(&self) -> RedisResult<Connection> {
        let socket = self.folder.path().join("socket");
        Client::open(format!("unix://{}", socket.display()))?.get_connection()
    }

    fn connect(&self) -> Connection {
        self.try_connect().unwrap()
    }

    /// Lets other threads run until a client is blocked in a command.
    fn until_blocked(&self) {
        let mut connection = self.connect();
        until(|| {
            let clients: String = ::redis::cmd("INFO")
                .arg("clients")
                .query(&mut connection)
                .unwrap();
            clients.contains("blocked_clients:1")
        });
    }

    /// Answers a command that is blocked.
    fn push(&self) {
        let _: u32 = self.connect().rpush("jobs", "a job").unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Waits for a job without a limit.
fn pop(connection: &mut Connection) -> anyhow::Result<String> {
    let (_, job): (String, String) = connection.blpop("jobs", 0.0)?;
    Ok(job)
}

#[test]
fn a_bare_command_holds_up_its_scope_until_it_is_answered() {
    let _watch = watch();
    let Some(server) = Server::start() else {
        return;
    };
    let token = taskgroup::CancelToken::new();
    std::thread::scope(|threads| {
        let popping = threads.spawn(|| token.run(|| pop(&mut server.connect())));
        server.until_blocked();
        token.cancel();
        server.push();
        // The answer, and no cancel.
        assert_eq!(popping.join().unwrap().unwrap(), "a job");
    });
}

#[test]
fn a_command_that_is_abandoned_is_left_behind_until_it_ends() {
    let _watch = watch();
    let Some(server) = Server::start() else {
        return;
    };
    let mut connection = server.connect();
    let command = || taskgroup::abandon(move || pop(&mut connection))?;
    assert_cancel(&cancelled_during(command, || server.until_blocked()));

    let left = || {
        let abandoned = taskgroup::abandoned();
        let mut places = abandoned.iter().map(|left| left.location.file());
        places.any(|file| file.ends_with("redis_client.rs"))
    };
    assert!(left());
    server.push();
    until(|| !left());
}

#[test]
fn a_command_that_blocks_on_the_server_is_ended_by_another_connection() {
    let _watch = watch();
    let Some(server) = Server::start() else {
        return;
    };
    let (mut connection, other) = (server.connect(), Mutex::new(server.connect()));
    let client: u64 = ::redis::cmd("CLIENT")
        .arg("ID")
        .query(&mut connection)
        .unwrap();
    for _ in 0..20 {
        let called = AtomicBool::new(false);
        let unblock = || {
            // The first call is on the cancelling thread, which must not wait for a server.
            if called.swap(true, Ordering::Relaxed) {
                let mut unblock = ::redis::cmd("CLIENT");
                unblock.arg("UNBLOCK").arg(client).arg("ERROR");
                // An error, or an answer that the client was not blocked: the next call tries
                // again.
                let _ = unblock.exec(&mut *other.lock().unwrap());
            }
        };
        let wait = || {
            let pause = Duration::from_millis(1);
            let wait = || pop(&mut connection);
            let job = taskgroup::with_cancel_hook_repeating(pause, unblock, wait);
            if job.is_err() {
                taskgroup::checkpoint()?;
            }
            job
        };
        assert_cancel(&cancelled_during(wait, || server.until_blocked()));

        // The connection goes on, and no unblock comes late.
        server.push();
        assert_eq!(pop(&mut connection).unwrap(), "a job");
    }
}

#[test]
fn a_time_limit_of_reads_ends_a_command() {
    let _watch = watch();
    let Some(server) = Server::start() else {
        return;
    };
    let mut connection = server.connect();
    let outcome = taskgroup::timeout(Duration::from_millis(50), || {
        connection.set_read_timeout(taskgroup::remaining())?;
        let error = pop(&mut connection).unwrap_err();
        let error = error.downcast_ref::<::redis::RedisError>().unwrap();
        assert!(error.is_timeout(), "{error:?}");
        // The read may end a moment before the deadline.
        taskgroup::sleep(Duration::from_secs(60))?;
        anyhow::Ok(())
    });
    assert!(outcome.unwrap().is_none());
}

#[test]
fn a_command_with_a_limit_and_a_checkpoint_ends_at_a_cancel() {
    let _watch = watch();
    let Some(server) = Server::start() else {
        return;
    };
    let mut connection = server.connect();
    let wait = || -> anyhow::Result<String> {
        loop {
            taskgroup::checkpoint()?;
            let job: Option<(String, String)> = connection.blpop("jobs", 0.05)?;
            if let Some((_, job)) = job {
                return Ok(job);
            }
        }
    };
    assert_cancel(&cancelled_during(wait, || server.until_blocked()));
}
