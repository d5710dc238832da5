//! The queue worker in processes of its own, on a real PostgreSQL, with a server that holds back
//! the answers.

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;

use postgres::Client;
use rustix::process::{Pid, Signal, kill_process};
use tiny_http::{Request, Response};

use crate::postgres_server::{Server, server};
use crate::support::{until, watch};

/// Cargo puts the examples beside the folder of the test executables, and builds them before
/// `cargo test` runs any test.
fn program() -> PathBuf {
    let test = env::current_exe().unwrap();
    let program = test
        .ancestors()
        .nth(2)
        .unwrap()
        .join("examples/queue_worker");
    assert!(
        program.exists(),
        "{} is missing: `cargo test --test` alone does not build examples",
        program.display()
    );
    program
}

/// A process of workers. It is killed when this is dropped.
struct Worker {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Worker {
    fn start(url: &str, workers: u32) -> Self {
        Self::start_with(&[url, &workers.to_string()])
    }

    fn start_with(arguments: &[&str]) -> Self {
        let mut child = Command::new(program())
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut worker = Worker { child, lines };
        worker.wait_for("ready");
        worker
    }

    /// Reads lines up to this one.
    fn wait_for(&mut self, expected: &str) {
        let mut line = String::new();
        while line.trim_end() != expected {
            line.clear();
            let read = self.lines.read_line(&mut line).unwrap();
            assert!(read > 0, "it ended without saying {expected:?}");
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Returns the lines up to the end of the process, and its status.
    fn end(mut self) -> (Vec<String>, ExitStatus) {
        let lines = self.lines.by_ref().lines().map(Result::unwrap).collect();
        (lines, self.child.wait().unwrap())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // After `end` there is nothing left to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A queue of its own: a database, and the server that the jobs call.
struct Queue {
    client: Client,
    url: String,
    http: tiny_http::Server,
    _server: Arc<Server>,
}

/// Returns an empty queue with this name, or none where there is no PostgreSQL.
fn queue(name: &str) -> Option<Queue> {
    let server = server()?;
    server
        .client()
        .batch_execute(&format!("CREATE DATABASE {name}"))
        .unwrap();
    let mut config = server.config();
    Some(Queue {
        client: config.dbname(name).connect(postgres::NoTls).unwrap(),
        url: server.url(name),
        http: tiny_http::Server::http("127.0.0.1:0").unwrap(),
        _server: server,
    })
}

impl Queue {
    fn add(&mut self, jobs: i32) {
        let url = format!("http://{}/", self.http.server_addr());
        let add = "INSERT INTO jobs (url) SELECT $1 || n FROM generate_series(1, $2) AS n";
        self.client.execute(add, &[&url, &jobs]).unwrap();
    }

    fn number(&mut self, condition: &str) -> i64 {
        let count = format!("SELECT count(*) FROM jobs WHERE {condition}");
        self.client.query_one(&count, &[]).unwrap().get(0)
    }

    /// Returns how many jobs are neither done nor held by a worker.
    fn free(&mut self) -> usize {
        let free = "SELECT id FROM jobs WHERE answer IS NULL FOR UPDATE SKIP LOCKED";
        self.client.query(free, &[]).unwrap().len()
    }

    /// Returns the call of a worker, which waits for an answer.
    fn call(&self) -> Request {
        self.http.recv().unwrap()
    }
}

fn answer(call: Request) {
    call.respond(Response::from_string("an answer")).unwrap();
}

#[test]
fn several_processes_do_every_job_once() {
    let _watch = watch();
    let Some(mut queue) = queue("several") else {
        return;
    };

    // Each makes the table, at the same time.
    let workers: Vec<_> = std::thread::scope(|s| {
        let starts: Vec<_> = (0..3)
            .map(|_| s.spawn(|| Worker::start(&queue.url, 2)))
            .collect();
        starts
            .into_iter()
            .map(|start| start.join().unwrap())
            .collect()
    });

    queue.add(30);
    let mut called: Vec<_> = (0..30)
        .map(|_| {
            let call = queue.call();
            let path = call.url().trim_start_matches('/').parse::<u32>().unwrap();
            answer(call);
            path
        })
        .collect();
    called.sort_unstable();
    assert!(called.into_iter().eq(1..=30), "each once");
    until(|| queue.number("answer = 'an answer'") == 30);
    for worker in workers {
        worker.signal(Signal::TERM);
        let (lines, status) = worker.end();
        assert!(status.success());
        // Idle workers may end before the callback that drains them has written its line.
        assert!(
            lines.iter().any(|line| line == "drained: SIGTERM"),
            "{lines:?}"
        );
    }
}

#[test]
fn a_job_of_a_killed_worker_is_free_again_at_once() {
    let _watch = watch();
    let Some(mut queue) = queue("killed") else {
        return;
    };

    let worker = Worker::start(&queue.url, 1);
    queue.add(1);
    let unanswered = queue.call();
    assert_eq!(queue.free(), 0);
    worker.signal(Signal::KILL);
    until(|| queue.free() == 1);
    drop(unanswered);

    let _next = Worker::start(&queue.url, 1);
    answer(queue.call());
    until(|| queue.number("answer IS NOT NULL AND failures = 0") == 1);
}

#[test]
fn a_drain_finishes_the_job_that_has_begun_and_takes_no_other() {
    let _watch = watch();
    let Some(mut queue) = queue("drained") else {
        return;
    };

    let mut worker = Worker::start(&queue.url, 1);
    queue.add(2);
    let begun = queue.call();
    worker.signal(Signal::TERM);
    worker.wait_for("draining");
    answer(begun);
    let (lines, status) = worker.end();
    assert!(status.success());
    assert_eq!(lines, ["job 1: done", "drained: SIGTERM"]);
    assert_eq!(queue.number("answer IS NOT NULL"), 1);
    assert_eq!(queue.free(), 1);
}

#[test]
fn a_second_signal_ends_the_process_and_frees_its_job() {
    let _watch = watch();
    let Some(mut queue) = queue("second") else {
        return;
    };

    let mut worker = Worker::start(&queue.url, 1);
    queue.add(1);
    let unanswered = queue.call();
    until(|| {
        // The first drains, and the next ends it.
        let alive = worker.child.try_wait().unwrap().is_none();
        if alive {
            worker.signal(Signal::TERM);
        }
        !alive
    });

    until(|| queue.free() == 1);
    drop(unanswered);
}

#[test]
fn a_job_that_fails_is_tried_three_times() {
    let _watch = watch();
    let Some(mut queue) = queue("failing") else {
        return;
    };
    let _worker = Worker::start(&queue.url, 2);
    queue.add(1);
    for _ in 0..3 {
        let refusal = Response::from_string("no").with_status_code(500);
        queue.call().respond(refusal).unwrap();
    }
    until(|| queue.number("failures = 3 AND error IS NOT NULL AND answer IS NULL") == 1);
}

/// If such a job were free again as it was, each worker would take it again and again, and no
/// other.
#[test]
fn an_answer_that_the_table_cannot_hold_is_a_failure() {
    let _watch = watch();
    let Some(mut queue) = queue("unheld") else {
        return;
    };
    let _worker = Worker::start(&queue.url, 1);
    queue.add(2);
    let mut calls = Vec::new();
    while calls.len() < 4 {
        let call = queue.call();
        let path = call.url().to_owned();
        let text = if path == "/1" { "a\0b" } else { "an answer" };
        call.respond(Response::from_string(text)).unwrap();
        calls.push(path);
    }
    assert_eq!(calls, ["/1", "/2", "/1", "/1"]);
    until(|| queue.number("id = 1 AND failures = 3 AND error LIKE '%UTF8%'") == 1);
    assert_eq!(
        queue.number("id = 2 AND failures = 0 AND answer IS NOT NULL"),
        1
    );
}

#[test]
fn a_call_that_takes_too_long_is_a_failure() {
    let _watch = watch();
    let Some(mut queue) = queue("slow") else {
        return;
    };
    let _worker = Worker::start_with(&[&queue.url, "1", "1"]);
    queue.add(1);
    // One that is dropped would be answered.
    let _unanswered = [(); 3].map(|()| queue.call());
    until(|| queue.number("failures = 3 AND error = 'no answer in time'") == 1);
}
