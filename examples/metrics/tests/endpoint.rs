//! Scrapes the program as Prometheus does, and checks what it reads.
#![cfg(unix)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

const FILES: usize = 30;

/// The program at work. Killed if the test fails.
struct Program {
    child: Child,
    stdout: BufReader<UnixStream>,
    address: String,
}

impl Drop for Program {
    fn drop(&mut self) {
        // It has ended already unless the test is failing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    fn start(folder: &Path) -> Self {
        Self::start_with(folder, UnixStream::pair().unwrap(), Stdio::null())
    }

    /// Starts it with a stdout, which has this other end, and a stderr.
    fn start_with(
        folder: &Path,
        (stdout, reader): (UnixStream, UnixStream),
        stderr: Stdio,
    ) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_taskgroup-metrics"))
            .arg(folder)
            .stdout(OwnedFd::from(stdout))
            .stderr(stderr)
            .spawn()
            .expect("it starts");
        let mut stdout = BufReader::new(reader);
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap();
        Program {
            child,
            address: address.to_owned(),
            stdout,
        }
    }

    fn get(&self, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("a whole answer");
        (head.to_owned(), body.to_owned())
    }

    fn scrape(&self) -> Page {
        let (head, body) = self.get("/metrics");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains("Content-Type: text/plain; version=0.0.4"));
        Page::parse(&body)
    }
}

/// A page in Prometheus's text format.
#[derive(Debug)]
struct Page {
    types: BTreeMap<String, String>,
    /// By the name with its labels.
    samples: BTreeMap<String, f64>,
}

impl Page {
    fn parse(text: &str) -> Self {
        let (mut types, mut samples) = (BTreeMap::new(), BTreeMap::new());
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(comment) = line.strip_prefix("# ") {
                if let Some(of) = comment.strip_prefix("TYPE ") {
                    let (name, kind) = of.split_once(' ').expect("a name and a type");
                    types.insert(name.to_owned(), kind.to_owned());
                }
                continue;
            }
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            let value = value.parse().unwrap_or_else(|_| panic!("{line:?}"));
            assert!(samples.insert(name.to_owned(), value).is_none(), "{line:?}");
        }
        Page { types, samples }
    }

    fn value(&self, name: &str) -> f64 {
        let value = self.samples.get(name);
        *value.unwrap_or_else(|| panic!("{name} is not on the page {self:#?}"))
    }

    fn ended(&self, prefix: &str, outcome: &str) -> f64 {
        self.value(&format!(
            "{prefix}_tasks_ended_total{{outcome=\"{outcome}\"}}"
        ))
    }
}

#[test]
fn the_page_has_the_tasks_of_the_group_and_of_the_process() {
    let folder = tempfile::tempdir().unwrap();
    for file in 0..FILES {
        fs::write(folder.path().join(file.to_string()), [7; 1000]).unwrap();
    }

    // A file that cannot be read.
    symlink("/nothing/is/here", folder.path().join("gone")).unwrap();
    let program = Program::start(folder.path());
    scrape_until_ended(&program, FILES as f64 + 1.0);

    let page = program.scrape();
    assert_eq!(page.ended("checksums", "finished"), FILES as f64);
    assert_eq!(page.ended("checksums", "failed"), 1.0);
    for prefix in ["checksums", "taskgroup"] {
        assert_daemon_is_left(&page, prefix);
    }
    assert!(page.value("taskgroup_threads") >= page.value("taskgroup_workers"));
    assert!(page.value("taskgroup_workers") >= page.value("taskgroup_workers_idle"));
    assert_types_and_labels(&page);

    let (head, _) = program.get("/elsewhere");
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    end_by_signal(program);
}

/// Scrapes the page until so many files have been read.
fn scrape_until_ended(program: &Program, files: f64) {
    scrape_until(program, |page| {
        page.ended("checksums", "finished") + page.ended("checksums", "failed") == files
    });
}

/// Scrapes the page until the condition holds. No counter falls from one scrape to the next.
fn scrape_until(program: &Program, condition: impl Fn(&Page) -> bool) {
    let begun = Instant::now();
    let mut before = program.scrape();
    loop {
        let page = program.scrape();
        for (name, value) in &before.samples {
            if name.contains("_total") {
                assert!(page.value(name) >= *value, "{name} fell");
            }
        }
        before = page;
        if condition(&before) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{before:#?}");
    }
}

/// The daemon that serves the page is the task that has not ended.
fn assert_daemon_is_left(page: &Page, prefix: &str) {
    let value = |metric: &str| page.value(&format!("{prefix}_{metric}"));
    let spawned = FILES as f64 + 2.0;
    assert_eq!(value("tasks_spawned_total"), spawned, "{prefix}");
    assert_eq!(value("tasks_started_total"), spawned);
    assert_eq!((value("tasks_running"), value("tasks_queued")), (1.0, 0.0));
    let outcomes = ["finished", "failed", "panicked", "cancelled", "never_ran"];
    let ended: f64 = outcomes.iter().map(|of| page.ended(prefix, of)).sum();
    assert_eq!(ended, spawned - 1.0);
    assert!(value("permit_waits_total") <= spawned);
    assert!(value("threads_peak") >= 1.0);
}

/// Types are declared, and there is no label but the outcome and the buckets.
fn assert_types_and_labels(page: &Page) {
    let kind = |name: &str| page.types.get(name).map(String::as_str);
    assert_eq!(kind("taskgroup_tasks_ended_total"), Some("counter"));
    assert_eq!(kind("checksums_tasks_queued"), Some("gauge"));
    let labels: BTreeSet<_> = page
        .samples
        .keys()
        .filter_map(|name| name.split_once('{')?.1.split_once('='))
        .map(|(label, _)| label)
        .collect();
    assert!(
        labels.is_subset(&BTreeSet::from(["outcome", "le"])),
        "{labels:?}"
    );
}

/// Writes until there is no room.
fn fill(mut stream: &UnixStream) {
    // The program shares this flag; its writes never rely on it.
    stream.set_nonblocking(true).unwrap();
    let full = loop {
        if let Err(error) = stream.write(&[b'.'; 4096]) {
            break error;
        }
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    stream.set_nonblocking(false).unwrap();
}

/// Neither the tasks nor the last line have room.
#[test]
fn a_signal_ends_it_when_its_output_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("0"), "text").unwrap();
    let (near, far) = UnixStream::pair().unwrap();
    let stdout = (near.try_clone().unwrap(), far);
    let mut program = Program::start_with(folder.path(), stdout, Stdio::null());
    scrape_until_ended(&program, 1.0);
    fill(&near);
    assert_ends_by_signal(&mut program);
}

/// The files fail, and each of their tasks waits to say so.
#[test]
fn a_signal_ends_it_when_its_errors_are_not_read() {
    let folder = tempfile::tempdir().unwrap();
    for file in 0..FILES {
        symlink("/nothing/is/here", folder.path().join(file.to_string())).unwrap();
    }
    let (stderr, _far) = UnixStream::pair().unwrap();
    fill(&stderr);
    let stderr = OwnedFd::from(stderr).into();
    let mut program = Program::start_with(folder.path(), UnixStream::pair().unwrap(), stderr);

    // No other task has a permit.
    scrape_until(&program, |page| {
        page.value("checksums_tasks_running") == 5.0
    });
    assert_ends_by_signal(&mut program);
}

/// Sends the program a signal, and waits for its end.
fn assert_ends_by_signal(program: &mut Program) {
    kill_process(Pid::from_child(&program.child), Signal::TERM).unwrap();
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = program.child.try_wait().unwrap() {
            break status;
        }
        assert!(begun.elapsed() < PATIENCE, "it has not ended");
        thread::sleep(Duration::from_millis(5));
    };
    assert!(status.success());
}

/// Ends the program by a signal. The daemon is the one task that this cuts short.
fn end_by_signal(mut program: Program) {
    let pid = Pid::from_child(&program.child);
    kill_process(pid, Signal::TERM).unwrap();
    let mut rest = String::new();
    program.stdout.read_to_string(&mut rest).unwrap();
    assert!(program.child.wait().unwrap().success());
    assert_eq!(
        rest.lines().filter(|line| line.contains("  /")).count(),
        FILES
    );

    let last = rest.lines().last().unwrap();
    assert!(last.starts_with("cancelled: 1, the longest for "), "{last}");
}
