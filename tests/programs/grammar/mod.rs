//! The grammar: the parts of a program, and how a program is chosen.
//!
//! - program: tokens (new, child, linked), then a group
//! - group: limit none, 1, 2, 3; cancels or collects; deadline none, past, far; another parent;
//!   a release hook; a body
//! - task: the values with destructors that it captures and returns, ends of channels, an event
//!   that it sets when it is dropped, steps
//! - a way to spawn: `spawn`, `spawn_isolated`, `spawn_daemon`, `try_spawn`, `start`, named,
//!   dedicated, items of a map
//! - a way to wait: `join`, `wait`, `wait_timeout`, `cancel_and_wait`, `as_completed`, `map`,
//!   `map_unordered`, the end of the scope
//! - a region: inner group, `taskgroup::join`, `race` and `map`, a group with an error type of
//!   `task_error!`, `shield`, `shield_for`, `timeout`, `CancelToken::run`, `winding_down`,
//!   `with_cancel_hook`, `on_cancel`, a scoped value, a mutex, a read or write lock, each perhaps
//!   by a guard of a part or downgraded, the making of a `OnceCell`'s value, permits
//! - a plain step: a checkpoint, a yield, a sleep, a cancel of a group or token, the close of a
//!   semaphore, a wait for an event, latch, promise or wait group, receives from a channel of
//!   the clock, bytes through a pipe or socket, a child process, tasks that meet at a barrier, in
//!   turns, over a promise, latch or wait group, or after retries, perhaps without one of them
//! - a pipe: one or two channels; selects perhaps with a case of the clock; producers have one
//!   of them each, consumers all; the ends moved into the closures or given `with` them
//! - an end: a value, an error, a panic, the `Cancelled` of a foreign token, one's own cancel:
//!   passed on, swallowed, an error
//! - a destructor or callback: nothing, a panic, a cancel of a token, a checkpoint, a scope with
//!   tasks that wait for each other
//!
//! # Every program ends
//!
//! Number the tasks in the order in which a walk through the program leaves them, children before
//! their parents. A task waits only for tasks of lower numbers: its own, and earlier ones. So the
//! waits have no cycle. [`Place`] keeps these rules:
//!
//! 1. A wait for an event, and a pipe, needs tasks that can begin whichever tasks wait. So both
//!    belong to a group without a limit, and the tasks that they wait for spawn into no group
//!    around it.
//! 2. Channels go from earlier tasks to later ones, and the end of a task closes the ends that it
//!    has.
//! 3. A wait without an end is in a scope that will be cancelled: a daemon, or a task that its
//!    spawner cancels on every way out. Until a daemon cancels such a task, it waits for no cancel
//!    itself, and for no task that does: its own cancel comes when the task has ended.
//! 4. While a lock or a permit is held, nothing waits, except for a lock with a higher number.

mod channels;
mod choices;
mod draw;
mod generator;
mod tasks;

use std::sync::Arc;

pub use choices::Choices;
pub use generator::generate;

/// Features that can be left out, one bit each.
pub const FEATURES: &[(&str, u64)] = &[
    ("limit", LIMIT),
    ("outward", OUTWARD),
    ("pipe", PIPE),
    ("run", RUN),
    ("grace", GRACE),
    ("select", SELECT),
    ("destructors", DESTRUCTORS),
    ("start", START),
    ("foreign", FOREIGN),
    ("rendezvous", RENDEZVOUS),
    ("default", DEFAULT),
    ("permits", EXACT_LIMIT),
    ("streams", STREAMS),
    ("panics", PANICS),
    ("times", TIMES),
    ("with", WITH),
    ("outward-limited", OUTWARD_LIMITED),
    ("scopes", SCOPES),
    ("io", IO),
    ("bindings", BINDINGS),
    ("meetings", MEETINGS),
];
/// Groups with a limit.
pub const LIMIT: u64 = 1;
/// Spawns from an inner group into an outer one.
pub const OUTWARD: u64 = 1 << 1;
/// Tasks that send and receive.
pub const PIPE: u64 = 1 << 2;
/// `CancelToken::run` inside of a scope.
pub const RUN: u64 = 1 << 3;
/// Graceful cancels and `winding_down`.
pub const GRACE: u64 = 1 << 4;
/// `Select`.
pub const SELECT: u64 = 1 << 5;
/// Destructors that panic or cancel.
pub const DESTRUCTORS: u64 = 1 << 6;
/// `TaskGroup::start`.
pub const START: u64 = 1 << 7;
/// Cancels of foreign tokens as errors.
pub const FOREIGN: u64 = 1 << 8;
/// Channels without room.
pub const RENDEZVOUS: u64 = 1 << 9;
/// `try_select`.
pub const DEFAULT: u64 = 1 << 10;
/// The check of how many tasks run at once.
pub const EXACT_LIMIT: u64 = 1 << 11;
/// The check that a stream that was cut short does not look complete.
pub const STREAMS: u64 = 1 << 12;
/// Panics.
pub const PANICS: u64 = 1 << 13;
/// Deadlines and timeouts.
pub const TIMES: u64 = 1 << 14;
/// Ends of channels that tasks are given, and that outlive their outcome.
pub const WITH: u64 = 1 << 15;
/// [`OUTWARD`] where a group around has a limit.
pub const OUTWARD_LIMITED: u64 = 1 << 16;
/// Destructors and callbacks that open scopes.
pub const SCOPES: u64 = 1 << 17;
/// Waits in the kernel: pipes, sockets and child processes.
pub const IO: u64 = 1 << 18;
/// Scoped values.
pub const BINDINGS: u64 = 1 << 19;
/// Tasks that meet.
pub const MEETINGS: u64 = 1 << 20;

/// Features in which differences are known: none.
pub const PENDING: u64 = 0;

/// A program.
#[derive(Debug, Clone)]
pub struct Program {
    pub tokens: Vec<Token>,
    pub group: Group,
    /// How many events it has.
    pub events: usize,
    /// How many tasks it can spawn.
    #[allow(dead_code, reason = "the models ask for it")]
    pub tasks: usize,
}

#[derive(Debug, Clone, Copy)]
pub enum Token {
    New,
    Child(usize),
    Linked(usize, usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deadline {
    None,
    Past,
    Far,
}

#[derive(Debug, Clone)]
pub struct Group {
    pub limit: Option<usize>,
    pub collects: bool,
    pub deadline: Deadline,
    pub parent: Option<usize>,
    pub release: Option<Act>,
    pub body: Block,
}

/// Steps, and how they end where one of them is cancelled.
#[derive(Debug, Clone)]
pub struct Block {
    pub steps: Vec<Step>,
    pub when_cut: WhenCut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenCut {
    /// The cancel is returned.
    Return,
    /// A value is returned all the same.
    Swallow,
    Fail,
    Panic,
}

#[derive(Debug, Clone)]
pub struct Task {
    /// Tells it from every other task of the program.
    pub id: usize,
    pub captured: Option<Act>,
    pub result: Option<Act>,
    pub sends: Vec<usize>,
    pub receives: Vec<usize>,
    /// It was given its ends with `TaskBuilder::with`.
    pub with: bool,
    pub sets: Option<usize>,
    pub block: Block,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Plain,
    Isolated,
    Daemon,
    Try,
    Named,
    Dedicated,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Join,
    Wait,
    WaitZero,
    WaitLong,
    CancelAndWait,
    Cancel,
    Drop,
}

/// The action of a destructor or a callback. It waits for nothing but tasks that it has spawned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Nothing,
    Panic,
    Cancel(usize),
    Check,
    /// Opens a group with a limit, in which one task waits for another one.
    Scope,
}

/// How a task that waits for ever is cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doom {
    Handle,
    Group,
    Token(usize),
}

/// A wait that only a cancel ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forever {
    Sleep,
    Park,
    Event,
    Permit,
    Receive,
    Send,
    Token,
    Barrier,
    Promise,
    Latch,
    Condition,
    Select,
    Hook,
    Abandon,
    /// A channel of the clock that is not due within any run.
    After,
    Tick,
    Never,
    WaitGroup,
    /// A call that waits in the kernel.
    Io(Io),
}

/// The calls that wait in the kernel, each for something that does not come if the wait is one
/// without an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Io {
    Pipe,
    FullPipe,
    Stream,
    Datagram,
    Accept,
    Child,
}

impl Io {
    /// A child costs as much as hundreds of the others.
    pub const ALL: [(usize, Io); 6] = [
        (12, Io::Pipe),
        (12, Io::FullPipe),
        (12, Io::Stream),
        (12, Io::Datagram),
        (12, Io::Accept),
        (1, Io::Child),
    ];
}

impl Forever {
    /// All but the calls that wait in the kernel.
    pub const ALL: [Forever; 18] = [
        Forever::Sleep,
        Forever::Park,
        Forever::Event,
        Forever::Permit,
        Forever::Receive,
        Forever::Send,
        Forever::Token,
        Forever::Barrier,
        Forever::Promise,
        Forever::Latch,
        Forever::Condition,
        Forever::Select,
        Forever::Hook,
        Forever::Abandon,
        Forever::After,
        Forever::Tick,
        Forever::Never,
        Forever::WaitGroup,
    ];
}

#[derive(Debug, Clone)]
pub enum Step {
    Checkpoint,
    Yield,
    Nap,
    Forever(Forever),
    Fail,
    Panic,
    Foreign(usize),
    Hold(Act, Vec<Step>),
    Spawn {
        level: usize,
        how: How,
        keep: bool,
        task: Arc<Task>,
    },
    Doomed {
        level: usize,
        how: How,
        task: Arc<Task>,
        between: Vec<Step>,
        by: Doom,
    },
    Wait {
        level: usize,
        task: usize,
        way: Way,
    },
    Completed {
        level: usize,
        tasks: Vec<usize>,
    },
    Map {
        level: usize,
        ordered: bool,
        items: usize,
        taken: usize,
        block: Arc<Block>,
    },
    Start {
        level: usize,
        task: Arc<Task>,
    },
    Ready,
    OnFinished {
        level: usize,
        task: usize,
        act: Act,
    },
    Open {
        group: Box<Group>,
        absorb: bool,
    },
    /// For an hour at most, or without an end.
    Shield {
        bounded: bool,
        steps: Vec<Step>,
    },
    Timeout {
        past: bool,
        steps: Vec<Step>,
    },
    Run {
        token: usize,
        steps: Vec<Step>,
    },
    Winding(Vec<Step>),
    Hook(Vec<Step>),
    /// Binds a scoped value.
    Bind(Vec<Step>),
    /// A call that would wait in the kernel, but finds what it waits for.
    Io(Io),
    /// A scope of tasks that meet.
    Meet(Meeting, Attendance),
    OnCancel {
        token: usize,
        act: Act,
        steps: Vec<Step>,
    },
    CancelGroup(usize),
    Gracefully(usize),
    CancelToken(usize),
    Lock {
        lock: Lock,
        steps: Vec<Step>,
    },
    Permits(usize, usize, Vec<Step>),
    CloseSemaphore(usize),
    AwaitEvent(usize),
    /// Receives from a channel of the clock: once from `after`, or so many times from `tick`.
    After,
    Tick(usize),
    /// Channels with their capacities, and the tasks that have their ends.
    Pipe {
        level: usize,
        channels: Vec<(usize, Option<usize>)>,
        tasks: Vec<Arc<Task>>,
    },
    /// One call that runs these tasks in a scope of their own.
    Whole(Whole, Vec<Arc<Task>>),
    Send(usize),
    TrySend(usize),
    Receive(usize),
    TryReceive(usize),
    Drain(usize),
    Select {
        receives: Vec<usize>,
        sends: Vec<usize>,
        once: bool,
        /// It has a case of the clock.
        timed: bool,
    },
}

/// How the tasks of a scope of their own meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meeting {
    Barrier,
    /// They take turns, with a condition variable.
    Turns,
    Promise,
    WaitGroup,
    Latch,
    /// One has to try several times.
    Retries,
}

impl Meeting {
    pub const ALL: [Meeting; 6] = [
        Meeting::Barrier,
        Meeting::Turns,
        Meeting::Promise,
        Meeting::WaitGroup,
        Meeting::Latch,
        Meeting::Retries,
    ];
}

/// Whether the tasks that are to meet come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attendance {
    All,
    /// One of them fails before.
    OneIsAway,
}

/// The calls that run tasks in a scope of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whole {
    /// `taskgroup::join`, of two.
    Join,
    /// `taskgroup::race`.
    Race,
    /// `taskgroup::map`, with a limit.
    Map(usize),
    /// A group that perhaps collects, with an error type that `task_error!` implements.
    Typed { collects: bool },
}

/// How many permits each semaphore of a program has.
pub const PERMITS: [usize; 2] = [1, 2];

/// An object that one task has at a time, in the order in which one may be asked for while another
/// is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    Mutex(usize),
    /// The same, by a guard of a part of the value.
    MutexPart(usize),
    Write,
    WritePart,
    /// Written, and then read without being unlocked.
    Downgrade,
    Read,
    ReadPart,
    /// The making of the value of a `OnceCell`, and nothing once it has been made.
    Once,
}

impl Lock {
    /// All of them, each with its number.
    pub const ALL: [(usize, Lock); 10] = [
        (0, Lock::Mutex(0)),
        (0, Lock::MutexPart(0)),
        (1, Lock::Mutex(1)),
        (1, Lock::MutexPart(1)),
        (2, Lock::Write),
        (2, Lock::WritePart),
        (2, Lock::Downgrade),
        (2, Lock::Read),
        (2, Lock::ReadPart),
        (3, Lock::Once),
    ];
    /// How many numbers there are.
    pub const NUMBERS: usize = 4;
}

/// How many mutexes a program has.
pub const MUTEXES: usize = 2;

/// How large a program may be.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Groups inside of each other.
    pub depth: usize,
    pub tasks: usize,
    /// Steps of one block.
    pub steps: usize,
    pub features: u64,
}

impl Size {
    pub const USUAL: Size = Size {
        depth: 3,
        tasks: 9,
        steps: 4,
        features: !PENDING,
    };
}
