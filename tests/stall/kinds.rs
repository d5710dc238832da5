//! A stalled scope with a task in each kind of waiting: the snapshot and the report name them all.
//! Calls of the crate are named with their place and with what holds the object, calls of the
//! system with their descriptor.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::panic::Location;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, epoll};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, WaitId, WaitIdOptions};
use taskgroup::channel::{bounded, select};
use taskgroup::sync::{Barrier, Event, Latch, OnceCell, Promise, RwLock, Semaphore, WaitGroup};
use taskgroup::{
    Cancelled, Snapshot, TaskHandle, TaskSnapshot, TaskState, io, net, process, shield, sync,
};

use super::*;
use crate::support::{until, watch};

/// The expected text of a snapshot and a report about a laggard.
struct Row {
    name: &'static str,
    waits: Waits,
    /// The object that it waits for and the holder of that, in words.
    for_what: Vec<String>,
}

enum Waits {
    /// In a call of the crate, at most six lines below this place.
    Ours(&'static str, &'static Location<'static>),
    /// In one of these calls of the system, which differ with processors and libraries.
    System(&'static [&'static str]),
    Runs,
}

impl Row {
    /// Whether the snapshot of the task says all of it.
    fn is_seen(&self, task: &TaskSnapshot) -> bool {
        let wait = task.waits();
        let says = match self.waits {
            Waits::Ours(what, from) => wait.is_some_and(|wait| {
                let place = wait.location();
                let is_here = place.is_some_and(|place| {
                    let lines = from.line()..from.line() + 7;
                    place.file() == from.file() && lines.contains(&place.line())
                });
                task.state() == TaskState::Waiting && wait.what() == what && is_here
            }),
            Waits::System(calls) => wait.is_some_and(|wait| {
                let foreign = |call| format!("{call} (system call, not of this crate)");
                let is_named = calls.iter().any(|call| wait.what() == foreign(call));
                task.state() == TaskState::Foreign && is_named && wait.location().is_none()
            }),
            Waits::Runs => task.state() == TaskState::Running && wait.is_none(),
        };

        // Its thread is one line, and each holder is one below.
        let text = task.to_string();
        says && self.for_what.iter().all(|part| text.contains(part))
    }

    /// Whether the line of the report says all of it.
    fn is_reported(&self, line: &str) -> bool {
        let says = match self.waits {
            Waits::Ours(what, from) => {
                let mut lines = from.line()..from.line() + 7;
                let at = |line| format!("blocked in {what} ({}:{line})", from.file());
                lines.any(|at_line| line.contains(&at(at_line))) && line.contains("a shield (")
            }
            Waits::System(calls) => {
                let mut calls = calls.iter().map(|call| format!("blocked in {call}"));
                calls.any(|call| line.contains(&call)) && line.contains("in code that is not ours")
            }
            Waits::Runs => line.contains(": running: "),
        };
        says && self.for_what.iter().all(|part| line.contains(part))
    }
}

/// Ends waits when it is dropped.
type End = Box<dyn FnOnce()>;

/// The tasks of the scope, one in each kind of waiting.
struct Kinds<'scope, 'env> {
    group: &'scope TaskGroup<'scope, 'env>,
    /// Ends the calls of the crate.
    token: CancelToken,
    rows: Vec<Row>,
    ends: Vec<End>,
}

impl<'scope> Kinds<'scope, '_> {
    /// Spawns a task in a call of the crate. A shield hides the cancel of the scope from it.
    #[track_caller]
    fn ours<T, F>(&mut self, name: &'static str, what: &'static str, call: F) -> Called<'scope, '_>
    where
        F: FnOnce() -> T + Send + 'scope,
    {
        let token = self.token.clone();
        let call = move || {
            shield(|| token.run(|| drop(call())));
            Ok(())
        };
        let task = self.group.task().name(name).spawn(call);
        self.rows.push(Row {
            name,
            waits: Waits::Ours(what, Location::caller()),
            for_what: Vec::new(),
        });
        let row = self.rows.last_mut().expect("it was added");
        Called { task, row }
    }

    /// Spawns a task in a call of the system, which `end` ends.
    #[track_caller]
    fn system<T, F>(
        &mut self,
        name: &'static str,
        calls: &'static [&'static str],
        call: F,
        end: impl FnOnce() + 'static,
    ) -> Called<'scope, '_>
    where
        F: FnOnce() -> T + Send + 'scope,
    {
        let call = move || {
            drop(call());
            Ok(())
        };
        let task = self.group.task().name(name).spawn(call);
        self.ends.push(Box::new(end));
        self.rows.push(Row {
            name,
            waits: Waits::System(calls),
            for_what: Vec::new(),
        });
        let row = self.rows.last_mut().expect("it was added");
        Called { task, row }
    }
}

impl Drop for Kinds<'_, '_> {
    fn drop(&mut self) {
        self.token.cancel();
        self.ends.drain(..).for_each(|end| end());
    }
}

/// A task that was spawned, with its row.
struct Called<'scope, 'a> {
    task: TaskHandle<'scope, ()>,
    row: &'a mut Row,
}

impl<'scope> Called<'scope, '_> {
    /// Adds what the task waits for, in words.
    fn on(self, for_what: impl std::fmt::Display) -> TaskHandle<'scope, ()> {
        self.row.for_what.push(for_what.to_string());
        self.task
    }
}

/// The objects that one task holds and others want.
struct Held {
    event: Event,
    mutex: sync::Mutex<()>,
    lock: RwLock<()>,
    cell: OnceCell<u8>,
}

fn held<'scope>(kinds: &mut Kinds<'scope, '_>, held: &'scope Held) {
    let holder = kinds.ours("holder", "Event::wait", || {
        let _guards = (held.mutex.lock(), held.lock.write());
        held.event.wait()
    });
    let holder = holder.task;
    let number = holder.id().to_string();
    kinds.ours("maker", "Event::wait", || {
        let made = held.cell.get_or_try_init(|| held.event.wait().map(|()| 1));
        made.map(drop)
    });
    let is_made = || {
        let seen = snapshot();
        let mut tasks = seen.tasks().filter(|task| task.name() == Some("maker"));
        tasks.any(|maker| {
            maker
                .waits()
                .is_some_and(|wait| wait.what() == "Event::wait")
        })
    };
    until(|| held.lock.try_read().is_none() && is_made());

    let lock = kinds.ours("lock", "Mutex::lock", || held.mutex.lock().map(drop));
    lock.on(" `holder`, taken at tests/stall/kinds.rs:");
    let read = kinds.ours("read lock", "RwLock::read", || held.lock.read().map(drop));
    read.on(" `holder`, taken at tests/stall/kinds.rs:");
    let cell = kinds.ours("cell", "OnceCell::get_or_init", || {
        let made = held.cell.get_or_try_init(|| Ok::<_, anyhow::Error>(2));
        made.map(drop)
    });
    cell.on(" `maker`, taken at tests/stall/kinds.rs:");
    let join = kinds.ours("join", "TaskHandle::join", move || holder.wait());
    join.on(format!("of task {number}"));
}

fn pauses_and_signals(kinds: &mut Kinds<'_, '_>) {
    kinds.ours("sleep", "sleep", || taskgroup::sleep(10 * LONG));
    // One park may return early.
    kinds.ours("park", "park", || -> Result<(), Cancelled> {
        loop {
            taskgroup::park()?;
        }
    });
    kinds.ours("token", "CancelToken::wait", || CancelToken::new().wait());
    kinds.ours("condvar", "Condvar::wait", || {
        let (mutex, condvar) = (sync::Mutex::new(()), sync::Condvar::new());
        mutex.lock().map(|mut guard| condvar.wait(&mut guard))
    });
    kinds.ours("semaphore", "Semaphore::acquire", || {
        Semaphore::new(0).acquire().map(drop)
    });
    kinds.ours("barrier", "Barrier::wait", || Barrier::new(2).wait());
    kinds.ours("latch", "Latch::wait", || Latch::new(1).wait());
    let group = WaitGroup::new();
    let member = group.clone();
    kinds.ours("wait group", "WaitGroup::wait", move || group.wait());
    kinds.ends.push(Box::new(move || drop(member)));
    kinds.ours("promise", "Promise::wait", || {
        Promise::<u8>::new().wait().map(drop)
    });
    let (sender, receiver) = bounded::<u8>(1);
    kinds.ours("receive", "Receiver::recv", move || receiver.recv());
    kinds.ends.push(Box::new(move || drop(sender)));
    let (sender, receiver) = bounded::<u8>(0);
    kinds.ours("send", "Sender::send", move || sender.send(1));
    kinds.ends.push(Box::new(move || drop(receiver)));
    let (sender, receiver) = bounded::<u8>(1);
    kinds.ours("select", "select!", move || {
        select! { recv(receiver) -> _ => () }
    });
    kinds.ends.push(Box::new(move || drop(sender)));
}

fn sockets_pipes_and_children(kinds: &mut Kinds<'_, '_>) {
    let listener = net::TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let address = listener.local_addr().expect("it is bound");
    let stream = net::TcpStream::connect(address).expect("it listens");
    let peer = listener.accept().expect("there is a peer");
    let accept = kinds.ours("accept", "TcpListener::accept", move || listener.accept());
    accept.on(format!("a TCP listener on {address}"));
    let read = kinds.ours("socket", "read from a socket", move || {
        (&stream).read(&mut [0]).map(drop)
    });
    read.on(format!("a TCP socket to {address}"));
    kinds.ends.push(Box::new(move || drop(peer)));

    let (reader, writer) = io::pipe().expect("there are descriptors");
    let read = kinds.ours("pipe", "read", move || (&reader).read(&mut [0]).map(drop));
    read.on("a pipe");
    kinds.ends.push(Box::new(move || drop(writer)));

    let mut cat = process::Command::new("cat");
    let child = cat.stdin(Stdio::piped()).spawn();
    let mut child = child.expect("there is cat");
    let (number, open) = (child.id(), child.stdin.take());
    let wait = kinds.ours("child", "Child::wait", move || child.wait());
    wait.on(format!("process {number}"));
    kinds.ends.push(Box::new(move || drop(open)));
}

const FUTEX: &[&str] = &["futex"];

fn pipe() -> (OwnedFd, OwnedFd) {
    rustix::pipe::pipe().expect("there are descriptors")
}

fn foreign_pipes_and_sockets(kinds: &mut Kinds<'_, '_>) {
    let (from, into) = pipe();
    let read = move || rustix::io::read(&from, &mut [0]);
    let read = kinds.system("foreign pipe", &["read"], read, move || drop(into));
    read.on(", a pipe");
    let (from, into) = pipe();
    let mut into = File::from(into);
    let write = move || into.write_all(&[0; 4 << 20]);
    let write = kinds.system("full pipe", &["write"], write, move || drop(from));
    write.on(", a pipe");

    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let address = listener.local_addr().expect("it is bound");
    let stream = std::net::TcpStream::connect(address).expect("it listens");
    let (peer, _) = listener.accept().expect("there is a peer");
    let read = move || (&stream).read(&mut [0]);
    let read = kinds.system("foreign socket", &["recvfrom", "read"], read, || drop(peer));
    read.on(format!(", a TCP socket to {address}"));
    let accept = move || listener.accept();
    let connect = move || drop(std::net::TcpStream::connect(address));
    let accept = kinds.system("foreign accept", &["accept4", "accept"], accept, connect);
    accept.on(format!(", a TCP listener on {address}"));

    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("there is a port");
    let (address, other) = (socket.local_addr(), socket.try_clone());
    let (address, other) = (address.expect("it is bound"), other.expect("it is open"));
    let receive = move || socket.recv(&mut [0]);
    let send = move || assert_eq!(other.send_to(b"x", address).ok(), Some(1));
    let receive = kinds.system("datagram", &["recvfrom"], receive, send);
    receive.on(format!(", a UDP socket on {address}"));
}

fn foreign_polls_and_files(kinds: &mut Kinds<'_, '_>) {
    let (from, into) = pipe();
    let poll = move || {
        let mut fds = [PollFd::new(&from, PollFlags::IN)];
        rustix::event::poll(&mut fds, None)
    };
    kinds.system("poll", &["poll", "ppoll"], poll, move || drop(into));

    let (from, into) = pipe();
    let queue = epoll::create(epoll::CreateFlags::CLOEXEC).expect("there are descriptors");
    let data = epoll::EventData::new_u64(1);
    epoll::add(&queue, &from, data, epoll::EventFlags::IN).expect("it is a pipe");
    let wait = move || {
        let (_open, mut events) = (from, Vec::with_capacity(1));
        epoll::wait(&queue, rustix::buffer::spare_capacity(&mut events), None)
    };
    let calls = &["epoll_wait", "epoll_pwait", "epoll_pwait2"];
    let wait = kinds.system("epoll", calls, wait, move || drop(into));
    wait.on("eventpoll");

    let path = std::env::temp_dir().join(format!("taskgroup-kinds-{}", std::process::id()));
    let holds = File::create(&path).expect("the folder is there");
    let wants = File::open(&path).expect("it was made");
    flock(&holds, FlockOperation::LockExclusive).expect("it is free");
    let lock = move || flock(&wants, FlockOperation::LockExclusive);
    let lock = kinds.system("file", &["flock"], lock, move || drop(holds));
    lock.on(path.display());
    std::fs::remove_file(&path).expect("it was made");
}

fn foreign_sleeps_and_children(kinds: &mut Kinds<'_, '_>) {
    let is_over = Arc::new(AtomicBool::new(false));
    let over = is_over.clone();
    let sleep = move || {
        while !over.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(100));
        }
    };
    let calls = &["clock_nanosleep", "nanosleep"];
    kinds.system("nap", calls, sleep, move || {
        is_over.store(true, Ordering::SeqCst)
    });

    let cat = || {
        let mut cat = std::process::Command::new("cat");
        let mut child = cat.stdin(Stdio::piped()).spawn().expect("there is cat");
        let open = child.stdin.take();
        (child, move || drop(open))
    };
    let (mut child, end) = cat();
    let number = child.id();
    let wait = move || assert!(child.wait().is_ok());
    kinds
        .system("wait4", &["wait4"], wait, end)
        .on(format!("process {number}"));
    let (child, end) = cat();
    let wait = move || {
        rustix::process::waitid(WaitId::Pid(Pid::from_child(&child)), WaitIdOptions::EXITED)
    };
    kinds.system("waitid", &["waitid"], wait, end);
}

fn foreign_locks(kinds: &mut Kinds<'_, '_>) {
    static LOCK: Mutex<()> = Mutex::new(());
    let guard = LOCK.lock().expect("no thread panics");
    let lock = || drop(LOCK.lock());
    kinds.system("std lock", FUTEX, lock, move || drop(guard));

    let pair = Arc::new((Mutex::new(false), Condvar::new()));
    let theirs = pair.clone();
    let wait = move || {
        let is_over = theirs.0.lock().expect("no thread panics");
        drop(theirs.1.wait_while(is_over, |is_over| !*is_over));
    };
    let notify = move || {
        *pair.0.lock().expect("no thread panics") = true;
        pair.1.notify_all();
    };
    kinds.system("std condvar", FUTEX, wait, notify);

    let (sender, receiver) = mpsc::channel::<()>();
    let receive = move || receiver.recv();
    kinds.system("std channel", FUTEX, receive, move || drop(sender));

    let is_over = Arc::new(AtomicBool::new(false));
    let (over, (tells, parked)) = (is_over.clone(), mpsc::channel());
    let park = move || {
        tells.send(thread::current()).expect("the test receives");
        while !over.load(Ordering::SeqCst) {
            thread::park();
        }
    };
    let unpark = move || {
        is_over.store(true, Ordering::SeqCst);
        if let Ok(parked) = parked.recv() {
            parked.unpark();
        }
    };
    kinds.system("std park", FUTEX, park, unpark);
}

fn spinning(kinds: &mut Kinds<'_, '_>) {
    let is_over = Arc::new(AtomicBool::new(false));
    let over = is_over.clone();
    let spin = move || {
        while !over.load(Ordering::SeqCst) {
            std::hint::spin_loop();
        }
    };
    let stop = move || is_over.store(true, Ordering::SeqCst);
    kinds.system("spin", &[], spin, stop).row.waits = Waits::Runs;
}

#[test]
fn a_laggard_in_each_kind_of_waiting_is_named() {
    let _watch = watch();
    let reports = Reports::of("kinds");
    let held_by_tasks = Held {
        event: Event::new(),
        mutex: sync::Mutex::new(()),
        lock: RwLock::new(()),
        cell: OnceCell::new(),
    };

    let builder = TaskGroup::builder().name("kinds").stall_after(SOON);
    let outcome = builder.scope(|g| {
        let mut kinds = Kinds {
            group: g,
            token: CancelToken::new(),
            rows: Vec::new(),
            ends: Vec::new(),
        };
        held(&mut kinds, &held_by_tasks);
        pauses_and_signals(&mut kinds);
        sockets_pipes_and_children(&mut kinds);
        foreign_pipes_and_sockets(&mut kinds);
        foreign_polls_and_files(&mut kinds);
        foreign_sleeps_and_children(&mut kinds);
        foreign_locks(&mut kinds);
        spinning(&mut kinds);
        let rows = &kinds.rows;
        assert!(rows.len() >= 25, "only {} kinds", rows.len());

        until_all_are_seen(rows);
        g.cancel_because("for a test");
        until_all_are_reported(rows, &reports);
        Ok::<_, anyhow::Error>(())
    });
    outcome.expect("no task fails");
}

/// Waits for a snapshot that has all rows.
fn until_all_are_seen(rows: &[Row]) {
    let is_seen = |seen: &Snapshot, row: &Row| {
        let mut tasks = seen.tasks().filter(|task| task.name() == Some(row.name));
        tasks.any(|task| row.is_seen(task))
    };
    let begun = Instant::now();
    loop {
        let last = snapshot();
        let left: Vec<_> = rows.iter().filter(|row| !is_seen(&last, row)).collect();
        if left.is_empty() {
            break;
        }
        let names: Vec<_> = left.iter().map(|row| row.name).collect();
        assert!(begun.elapsed() < LONG, "{names:?} are not in {last}");
    }
}

/// Waits for a report that has all rows.
fn until_all_are_reported(rows: &[Row], reports: &Reports) {
    let is_reported = |seen: &Seen, row: &Row| {
        let task = format!("task `{}` (", row.name);
        let mut lines = seen.laggards.iter();
        lines.any(|line| line.starts_with(&task) && row.is_reported(line))
    };
    let begun = Instant::now();
    for index in 0.. {
        let seen = reports.nth(index);
        let left: Vec<_> = rows.iter().filter(|row| !is_reported(&seen, row)).collect();
        if left.is_empty() {
            break;
        }
        let names: Vec<_> = left.iter().map(|row| row.name).collect();
        assert!(
            begun.elapsed() < LONG / 4,
            "{names:?} are not in {}",
            seen.text
        );
    }
}
