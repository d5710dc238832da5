//! Runs a program on the crate, and writes the events of the run into the ledger.

mod bindings;
mod channels;
mod frame;
mod groups;
mod handles;
mod io;
mod joins;
mod level;
mod locks;
mod meetings;
mod steps;
mod waits;
mod wholes;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, panic_any, resume_unwind};
use std::sync::{Arc, Condvar as StdCondvar, Mutex as StdMutex, PoisonError};
use std::time::{Duration, Instant};

#[cfg(taskgroup_models)]
use loom::sync::Mutex as PlainMutex;
#[cfg(not(taskgroup_models))]
use std::sync::Mutex as PlainMutex;

use super::grammar::{
    Act, Attendance, Block, Deadline, Doom, Forever, Group, How, Io, MUTEXES, Meeting, PERMITS,
    Program, Step, Task, Token, Way, WhenCut,
};
use super::ledger::{
    Entry, Fatal, Fault, Kind, Ledger, Node, OUTSIDE, Outcome, Reported, Role, Seen, What, cut,
    number_in,
};
use super::taskgroup::channel::{
    self, Disconnected, Receiver, RecvError, Select, SendError, Sender, TryRecvError, TrySendError,
};
use super::taskgroup::sync::{
    Barrier, Condvar, Event, Latch, Mutex, OnceCell, Promise, RwLock, Semaphore, WaitGroup,
};
use super::taskgroup::{
    self, Builder, CancelToken, Cancelled, Failure, FailureKind, GroupError, OnFailure, Ready,
    SpawnError, SpawnErrorKind, StartError, TaskError, TaskGroup, TaskHandle, TaskStatus, TokenId,
};

use frame::Frame;
use level::Opened;

/// Longer than any run.
const HOUR: Duration = Duration::from_secs(3600);

/// Long enough that a receive waits for the clock.
const SOON: Duration = Duration::from_micros(20);

/// A panic may be caught here, and is none of a model's own.
const CATCHES: bool = !cfg!(taskgroup_models);

/// The state that all tasks of a run share.
struct World {
    ledger: Arc<Ledger>,
    tokens: Vec<(CancelToken, Node)>,
    mutexes: [Mutex<Pair>; MUTEXES],
    rw_lock: RwLock<Pair>,
    once: OnceCell<()>,
    semaphores: [Semaphore; PERMITS.len()],
    events: Vec<Signal>,
}

/// The data of a lock: a pair, so that a guard can be mapped to a part.
type Pair = ((), ());

type Handed = Option<Value>;
type Result<T = ()> = anyhow::Result<T>;

/// A value that writes its drop into the ledger. Its destructor may do something.
struct Value {
    number: u64,
    act: Act,
    world: Arc<World>,
}

impl Value {
    fn new(world: &Arc<World>, act: Act) -> Value {
        let number = world.ledger.now();
        world.ledger.note(What::Made { value: number });
        Value {
            number,
            act,
            world: world.clone(),
        }
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.world.ledger.note(What::Dropped { value: self.number });
        perform(&self.world, self.act, None);
    }
}

/// A primitive that tells other tasks that an event has happened.
enum Signal {
    Event(Event),
    Latch(Latch),
    Promise(Promise<()>),
    /// A piece of work that is not done.
    Work(PlainMutex<Option<WaitGroup>>),
}

impl Signal {
    /// A different one for each number.
    fn of(number: usize) -> Signal {
        match number % 4 {
            0 => Signal::Event(Event::new()),
            1 => Signal::Latch(Latch::new(1)),
            2 => Signal::Promise(Promise::new()),
            _ => Signal::Work(PlainMutex::new(Some(WaitGroup::new()))),
        }
    }

    fn set(&self) {
        match self {
            Signal::Event(event) => event.set(),
            Signal::Latch(latch) => latch.count_down(),
            // A step of a map is run for each item.
            Signal::Promise(promise) => _ = promise.set(()),
            Signal::Work(piece) => {
                let piece = piece.lock().unwrap_or_else(PoisonError::into_inner).take();
                // The work grows before it is done.
                let more = piece.clone();
                drop(piece);
                drop(more);
            }
        }
    }

    fn wait(&self) -> std::result::Result<(), Cancelled> {
        match self {
            Signal::Event(event) => event.wait(),
            Signal::Latch(latch) => latch.wait(),
            Signal::Promise(promise) => promise.wait().copied(),
            Signal::Work(piece) => {
                let waits = piece.lock().unwrap_or_else(PoisonError::into_inner).clone();
                // All of it is done where there is none.
                waits.unwrap_or_default().wait()
            }
        }
    }
}

/// Sets an event when it is dropped.
struct Sets(Arc<World>, usize);

impl Drop for Sets {
    fn drop(&mut self) {
        let Sets(world, event) = self;
        let begin = world.ledger.now();
        world.events[*event].set();
        world
            .ledger
            .write_outside(begin, What::Set { event: *event });
    }
}

/// An end of a channel that writes its drop into the ledger.
struct End<T> {
    end: Option<T>,
    channel: u64,
    sender: bool,
    /// The task that has it, and whether it was given `with` the task.
    by: Node,
    with: bool,
    world: Arc<World>,
}

impl Ends {
    /// Says which task has them.
    fn belong_to(&mut self, task: Node, given_with: bool) {
        for end in self.senders.values_mut() {
            (end.by, end.with) = (task, given_with);
        }
        for end in self.receivers.values_mut() {
            (end.by, end.with) = (task, given_with);
        }
    }
}

impl<T> Drop for End<T> {
    fn drop(&mut self) {
        let ledger = &self.world.ledger;
        let begin = ledger.now();
        drop(self.end.take());
        let what = What::Closed {
            channel: self.channel,
            sender: self.sender,
            by: self.by,
            with: self.with,
        };
        ledger.write_outside(begin, what);
    }
}

/// The ends of the channels that a task has.
#[derive(Default)]
struct Ends {
    senders: BTreeMap<usize, End<Sender<Value>>>,
    receivers: BTreeMap<usize, End<Receiver<Value>>>,
}

/// Does what a destructor or callback does. A panic that the crate is known to contain names the
/// group that reports it.
fn perform(world: &Arc<World>, act: Act, contained: Option<Node>) {
    match act {
        Act::Nothing => {}
        Act::Panic => {
            if CATCHES && !std::thread::panicking() {
                let fault = world.ledger.now();
                world.ledger.note(What::Raised { fault, contained });
                panic_any(Fault(fault).to_string());
            }
        }
        Act::Cancel(token) => cancel_token(world, token),
        Act::Check => _ = taskgroup::checkpoint(),
        Act::Scope => open_scope(),
    }
}

/// Opens a group in which one task waits for another one, through a channel and by a join.
fn open_scope() {
    let (sender, receiver) = channel::bounded(0);
    let sum = TaskGroup::builder().limit(1).scope(|g| {
        let outer = g.spawn(|| {
            let inner = g.spawn(|| Ok(2));
            Ok(inner.join()? + 1)
        });
        g.spawn_daemon(move || Ok(sender.send(4)?));
        Ok(outer.join()? + receiver.recv()?)
    });
    let right = match &sum {
        Ok(sum) => *sum == 7,
        // By a cancel of the scope that it is in.
        Err(error) => error.failures().is_empty() && error.cancelled().is_some(),
    };
    if !right {
        // A panic would be contained, and could be taken for one of the program.
        println!("differs a scope in a destructor or callback: {sum:?}");
        std::process::exit(1);
    }
}

fn cancel_token(world: &Arc<World>, token: usize) {
    let ledger = &world.ledger;
    let begin = ledger.now();
    let (token, target) = &world.tokens[token];
    token.cancel_because(format!("act {begin}"));
    let what = What::Cancel {
        target: *target,
        gracefully: false,
    };
    ledger.write_outside(begin, what);
}

/// Returns the ledger's entry for an error of the crate.
fn seen(error: &anyhow::Error) -> Seen {
    match error.cancelled() {
        Some(cancelled) => Seen::cut(cut(cancelled)),
        None => match error.downcast_ref::<RecvError>() {
            Some(RecvError::Disconnected(disconnected)) => gone(disconnected),
            _ => Seen::Disconnected,
        },
    }
}

/// How the other side of a channel has gone.
fn gone(disconnected: &Disconnected) -> Seen {
    if disconnected.ended_well() {
        Seen::Disconnected
    } else {
        Seen::Broken
    }
}

fn seen_by<T>(result: &std::result::Result<T, Cancelled>) -> Seen {
    match result {
        Ok(_) => Seen::Done,
        Err(cancelled) => Seen::cut(cut(cancelled)),
    }
}
fn seen_of<T>(result: &Result<T>) -> Seen {
    match result {
        Ok(_) => Seen::Done,
        Err(error) => seen(error),
    }
}

fn caught<T>(f: impl FnOnce() -> T) -> std::thread::Result<T> {
    if CATCHES {
        std::panic::catch_unwind(AssertUnwindSafe(f))
    } else {
        Ok(f())
    }
}

/// An error that a fault marks.
trait FaultOf {
    fn fault(&self) -> Option<u64>;
}

impl FaultOf for anyhow::Error {
    fn fault(&self) -> Option<u64> {
        self.downcast_ref::<Fault>().map(|fault| fault.0)
    }
}

fn fault_of<E: FaultOf>(kind: &FailureKind<E>) -> (Option<u64>, bool) {
    match kind {
        FailureKind::Error(error) => (error.fault(), false),
        FailureKind::Panic(panic) => (number_in(panic.message(), "fault "), true),
        _ => (None, false),
    }
}

fn report<E: FaultOf>(group: Node, error: &GroupError<E>) -> What {
    let failures = error.failures().iter().map(|failure| {
        let (fault, panic) = fault_of(failure.kind());
        Reported {
            fault,
            panic,
            after_cancel: failure.after_cancel(),
        }
    });
    let primary = error.primary().and_then(|primary| {
        error
            .failures()
            .iter()
            .position(|failure| std::ptr::eq(failure, primary))
    });
    What::Error {
        group,
        failures: failures.collect(),
        primary,
        cut: error.cancelled().map(cut),
    }
}

/// Runs the program once, and returns the ledger.
pub fn run(program: &Program) -> Vec<Entry> {
    let ledger = Ledger::new();
    let mut tokens: Vec<(CancelToken, Node)> = Vec::new();
    for token in &program.tokens {
        let (token, parents) = match *token {
            Token::New => (CancelToken::new(), vec![]),
            Token::Child(parent) => (tokens[parent].0.child(), vec![tokens[parent].1]),
            Token::Linked(one, other) => (
                CancelToken::linked([&tokens[one].0, &tokens[other].0]),
                vec![tokens[one].1, tokens[other].1],
            ),
        };
        let node = ledger.now();
        let what = What::Opened {
            kind: Kind::Token,
            parents,
            token: Some(token.id()),
        };
        ledger.write(Entry {
            task: OUTSIDE,
            scope: node,
            begin: node,
            end: node,
            what,
        });
        tokens.push((token, node));
    }
    let world = Arc::new(World {
        ledger: ledger.clone(),
        tokens,
        mutexes: std::array::from_fn(|_| Mutex::default()),
        rw_lock: RwLock::default(),
        once: OnceCell::new(),
        semaphores: PERMITS.map(Semaphore::new),
        // Most programs have one event, so the kind depends on another number too.
        events: (0..program.events)
            .map(|number| Signal::of(number + program.tokens.len()))
            .collect(),
    });
    let frame = Frame::new(&world, OUTSIDE, Ends::default(), None);
    let result = caught(|| frame.open(None, &program.group));
    drop(frame);
    if let Err(payload) = result {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        if text.and_then(|text| number_in(text, "fault ")).is_none() {
            resume_unwind(payload);
        }
    }
    ledger.read()
}
