//! The grammar: what a program is made of, and how one is chosen.
//!
//! | part | forms |
//! |---|---|
//! | program | tokens (new, child, linked), then a group |
//! | group | limit none, 1, 2, 3; cancels or collects; deadline none, past, far; another parent; a release hook; a body |
//! | task | what it captures and returns (values with destructors), ends of channels, an event that it sets when it is dropped, steps |
//! | a way to spawn | `spawn`, `spawn_isolated`, `spawn_daemon`, `try_spawn`, `start`, named, dedicated, items of a map |
//! | a way to wait | `join`, `wait`, `wait_timeout`, `cancel_and_wait`, `as_completed`, `map`, `map_unordered`, the end of the scope |
//! | a region | inner group, `shield`, `timeout`, `CancelToken::run`, `winding_down`, `with_cancel_hook`, `on_cancel`, a lock, permits |
//! | an end | a value, an error, a panic, the `Cancelled` of a foreign token, one's own cancel: passed on, swallowed, an error |
//!
//! # Every program ends
//!
//! Number the tasks in the order in which a walk through the program leaves them, children before their parents. A task waits
//! only for tasks of lower numbers: its own, and those that were spawned before it. So the waits have no circle. The rest is
//! kept by [`Place`]:
//!
//! 1. A wait for an event, and a pipe, needs tasks that can begin whoever waits: both belong to a group without a limit, and what
//!    they wait for spawns into no group around it.
//! 2. Channels go from earlier tasks to later ones, and the end of a task closes the ends that it has.
//! 3. What waits for ever is in a scope that will be cancelled: a daemon, or a task that its spawner cancels on every way out. What a
//!    daemon does before it cancels such a task waits for no cancel, since the daemon's own comes when the task has ended.
//! 4. While a lock or a permit is held, nothing waits, except for a lock with a higher number.

use std::fmt::{self, Write as _};
use std::sync::Arc;

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

/// Features in which differences are known: tasks of an inner group that wait for queued ones of a limited group around it.
pub const PENDING: u64 = OUTWARD;

/// A program.
#[derive(Debug, Clone)]
pub struct Program {
    pub tokens: Vec<Token>,
    pub group: Group,
    /// How many events it has.
    pub events: usize,
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

/// Steps, and what is done where one of them is cancelled.
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

/// What a destructor or a callback does. None of it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Nothing,
    Panic,
    Cancel(usize),
    Check,
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
    Condition,
    Select,
    Hook,
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
    Spawn { level: usize, how: How, keep: bool, task: Arc<Task> },
    Doomed { level: usize, how: How, task: Arc<Task>, between: Vec<Step>, by: Doom },
    Wait { level: usize, task: usize, way: Way },
    Completed { level: usize, tasks: Vec<usize> },
    Map { level: usize, ordered: bool, items: usize, taken: usize, block: Arc<Block> },
    Start { level: usize, task: Arc<Task> },
    Ready,
    OnFinished { level: usize, task: usize, act: Act },
    Open { group: Box<Group>, absorb: bool },
    Shield(Vec<Step>),
    Timeout { past: bool, steps: Vec<Step> },
    Run { token: usize, steps: Vec<Step> },
    Winding(Vec<Step>),
    Hook(Vec<Step>),
    OnCancel { token: usize, act: Act, steps: Vec<Step> },
    CancelGroup(usize),
    Gracefully(usize),
    CancelToken(usize),
    Lock(usize, Vec<Step>),
    Permits(usize, usize, Vec<Step>),
    AwaitEvent(usize),
    Pipe { level: usize, channel: usize, capacity: Option<usize>, tasks: Vec<Arc<Task>> },
    Send(usize),
    TrySend(usize),
    Receive(usize),
    TryReceive(usize),
    Drain(usize),
    Select { receives: Vec<usize>, sends: Vec<usize>, once: bool },
}

/// How many permits each semaphore of a program has.
pub const PERMITS: [usize; 2] = [1, 2];
/// How many locks a program has.
pub const LOCKS: usize = 2;

/// Where choices come from: a list, and after its end a seed or zeros.
pub struct Choices {
    given: Vec<u32>,
    next: usize,
    state: Option<u64>,
}

impl Choices {
    pub fn of_seed(seed: u64) -> Self {
        Choices { given: Vec::new(), next: 0, state: Some(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d) }
    }

    pub fn of_list(given: Vec<u32>) -> Self {
        Choices { given, next: 0, state: None }
    }

    /// The choices that have been made.
    pub fn made(mut self) -> Vec<u32> {
        self.given.truncate(self.next);
        self.given
    }

    /// A number below `bound`; zero is the plainest choice.
    fn below(&mut self, bound: usize) -> usize {
        if self.next == self.given.len() {
            let drawn = match &mut self.state {
                // splitmix64.
                Some(state) => {
                    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                    let mut z = *state;
                    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                    (z ^ (z >> 31)) as u32 >> 1
                }
                None => 0,
            };
            self.given.push(drawn % bound as u32);
        }
        self.next += 1;
        self.given[self.next - 1] as usize % bound
    }

    /// Whether something comes true that does so `in_hundred` times of a hundred.
    fn chance(&mut self, in_hundred: usize) -> bool {
        self.below(100) >= 100 - in_hundred
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

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
    pub const USUAL: Size = Size { depth: 3, tasks: 9, steps: 4, features: !PENDING };
}

/// What may stand at a place of the program.
#[derive(Clone)]
struct Place {
    depth: usize,
    /// For each group around: whether it has a limit, and whether it is cancelled sooner or later.
    levels: Vec<(bool, bool)>,
    /// Spawns go to no group further out.
    fence: usize,
    /// The scope is cancelled sooner or later.
    doomed: bool,
    /// Nothing may wait.
    quiet: bool,
    /// Its own tasks, with their level.
    own: Vec<(usize, usize)>,
    /// Tasks that were spawned before, by others.
    earlier: Vec<(usize, usize)>,
    sends: Vec<usize>,
    receives: Vec<usize>,
    /// Events that tasks which were spawned before set.
    events: Vec<usize>,
    /// Locks below this are held.
    lock: usize,
    permits: bool,
    /// Inside of a daemon, which is cancelled when the tasks of its group have ended, and not before.
    serves: bool,
}

struct Generator {
    choices: Choices,
    size: Size,
    tasks: usize,
    channels: usize,
    events: usize,
    tokens: usize,
}

/// The program of these choices, and the choices that it took.
pub fn generate(choices: Choices, size: Size) -> (Program, Vec<u32>) {
    let mut generator = Generator { choices, size, tasks: 0, channels: 0, events: 0, tokens: 0 };
    let tokens = generator.tokens();
    let place = Place {
        depth: 0,
        levels: Vec::new(),
        fence: 0,
        doomed: false,
        quiet: false,
        own: Vec::new(),
        earlier: Vec::new(),
        sends: Vec::new(),
        receives: Vec::new(),
        events: Vec::new(),
        lock: 0,
        permits: false,
        serves: false,
    };
    let group = generator.group(&place);
    let program = Program { tokens, group, events: generator.events };
    (program, generator.choices.made())
}

impl Generator {
    fn has(&self, feature: u64) -> bool {
        self.size.features & feature != 0
    }

    fn tokens(&mut self) -> Vec<Token> {
        let count = self.choices.below(4);
        self.tokens = count;
        let token = |number: usize| match self.choices.below(3) {
            1 if number > 0 => Token::Child(self.choices.below(number)),
            2 if number > 1 => Token::Linked(self.choices.below(number), self.choices.below(number)),
            _ => Token::New,
        };
        (0..count).map(token).collect()
    }

    fn act(&mut self) -> Act {
        if !self.has(DESTRUCTORS) {
            return Act::Nothing;
        }
        match self.choices.below(8) {
            1 if self.has(PANICS) => Act::Panic,
            2 | 3 if self.tokens > 0 => Act::Cancel(self.choices.below(self.tokens)),
            4 => Act::Check,
            _ => Act::Nothing,
        }
    }

    fn some_act(&mut self, in_hundred: usize) -> Option<Act> {
        if self.choices.chance(in_hundred) {
            Some(self.act())
        } else {
            None
        }
    }

    /// A group that is opened here.
    fn group(&mut self, at: &Place) -> Group {
        let limit =
            if self.has(LIMIT) { self.choices.pick(&[None, None, None, Some(1), Some(1), Some(2), Some(3)]) } else { None };
        let collects = self.choices.chance(25);
        let deadline = self.choices.pick(&[
            Deadline::None,
            Deadline::None,
            Deadline::None,
            Deadline::None,
            Deadline::None,
            Deadline::None,
            Deadline::Far,
            Deadline::Past,
        ]);
        let deadline = if self.has(TIMES) { deadline } else { Deadline::None };
        let parent = if self.tokens > 0 && self.choices.chance(20) { Some(self.choices.below(self.tokens)) } else { None };
        let release = self.some_act(8);
        let mut inside = at.clone();
        inside.depth += 1;
        inside.doomed |= deadline == Deadline::Past;
        inside.levels.push((limit.is_some(), inside.doomed));
        inside.earlier.append(&mut inside.own);
        let body = self.block(&mut inside);
        Group { limit, collects, deadline, parent, release, body }
    }

    fn block(&mut self, at: &mut Place) -> Block {
        let steps = self.steps(at);
        let when_cut = self.choices.pick(&[
            WhenCut::Return,
            WhenCut::Return,
            WhenCut::Return,
            WhenCut::Return,
            WhenCut::Return,
            WhenCut::Swallow,
            WhenCut::Fail,
            WhenCut::Panic,
        ]);
        let when_cut = if when_cut == WhenCut::Panic && !self.has(PANICS) { WhenCut::Fail } else { when_cut };
        Block { steps, when_cut }
    }

    fn steps(&mut self, at: &mut Place) -> Vec<Step> {
        let count = self.choices.below(self.size.steps + 1);
        (0..count).map(|_| self.step(at)).collect()
    }

    /// Steps in a region inside of this place. What is spawned there may be waited for afterwards.
    fn inside(&mut self, at: &mut Place, change: impl FnOnce(&mut Place)) -> Vec<Step> {
        let mut place = at.clone();
        change(&mut place);
        let steps = self.steps(&mut place);
        at.own = place.own;
        // No events: a timeout may have cut the region short before their tasks were spawned, and goes on.
        steps
    }

    /// A group that may be spawned into, with its level.
    fn level(&mut self, at: &Place) -> Option<usize> {
        let innermost = at.levels.len() - 1;
        if innermost < at.fence {
            return None;
        }
        if self.has(OUTWARD) && innermost > at.fence && self.choices.chance(20) {
            return Some(at.fence + self.choices.below(innermost - at.fence));
        }
        Some(innermost)
    }

    fn has_tasks(&self) -> bool {
        self.tasks < self.size.tasks
    }

    /// A task that is spawned into the group of this level.
    fn task(&mut self, at: &Place, level: usize, doomed: bool, change: impl FnOnce(&mut Place)) -> Task {
        let id = self.tasks;
        self.tasks += 1;
        let mut place = at.clone();
        place.levels.truncate(level + 1);
        place.depth = level + 1;
        place.doomed = doomed || at.levels[level].1;
        place.quiet = false;
        place.earlier.append(&mut place.own);
        // A task of an inner group that waits for one of an outer group is a feature of its own.
        let outward = self.has(OUTWARD);
        place.earlier.retain(|(of, _)| *of == level || (*of < level && outward));
        place.sends.clear();
        place.receives.clear();
        place.lock = 0;
        place.permits = false;
        change(&mut place);
        let (sends, receives) = (place.sends.clone(), place.receives.clone());
        let captured = self.some_act(25);
        let result = self.some_act(15);
        let block = self.block(&mut place);
        Task { id, captured, result, sends, receives, sets: None, block }
    }

    fn step(&mut self, at: &mut Place) -> Step {
        // Steps that cannot stand here turn into the plainest.
        self.try_step(at).unwrap_or(Step::Checkpoint)
    }

    fn try_step(&mut self, at: &mut Place) -> Option<Step> {
        let channels = at.sends.len() + at.receives.len();
        if channels > 0 && !at.quiet && self.choices.chance(60) {
            return self.channel_step(at);
        }
        if at.doomed && !at.quiet && self.choices.chance(30) {
            return Some(Step::Forever(self.forever()));
        }
        match self.choices.below(100) {
            0..=4 => Some(Step::Checkpoint),
            5..=8 => Some(Step::Yield),
            9..=10 => Some(Step::Nap),
            11..=14 => Some(Step::Fail),
            15..=17 if self.has(PANICS) => Some(Step::Panic),
            18 if self.has(FOREIGN) && self.tokens > 0 => Some(Step::Foreign(self.choices.below(self.tokens))),
            19..=21 => Some(Step::Hold(self.act(), self.inside(at, |_| ()))),
            22..=39 => self.spawn(at),
            40..=46 => self.doomed(at),
            47..=60 => self.wait(at),
            61..=64 => self.completed(at),
            65..=68 => self.map(at),
            69..=71 => self.start(at),
            72 => self.on_finished(at),
            73..=79 => self.open(at),
            80..=81 => Some(Step::Shield(self.inside(at, |place| place.doomed = false))),
            82..=83 if self.has(TIMES) => {
                let past = self.choices.chance(50);
                let steps = self.inside(at, |place| place.doomed |= past);
                Some(Step::Timeout { past, steps })
            }
            84 if self.has(RUN) && self.tokens > 0 => {
                let token = self.choices.below(self.tokens);
                Some(Step::Run { token, steps: self.inside(at, |_| ()) })
            }
            85 if self.has(GRACE) => Some(Step::Winding(self.inside(at, |place| place.doomed = false))),
            86 => Some(Step::Hook(self.inside(at, |_| ()))),
            87..=88 if self.tokens > 0 => {
                let (token, act) = (self.choices.below(self.tokens), self.act());
                Some(Step::OnCancel { token, act, steps: self.inside(at, |_| ()) })
            }
            89..=90 => Some(Step::CancelGroup(self.choices.below(at.levels.len()))),
            91 if self.has(GRACE) => Some(Step::Gracefully(self.choices.below(at.levels.len()))),
            92..=93 if self.tokens > 0 => Some(Step::CancelToken(self.choices.below(self.tokens))),
            94..=95 => self.lock(at),
            96 => self.permits(at),
            97 => self.await_event(at),
            _ => self.pipe(at),
        }
    }

    fn forever(&mut self) -> Forever {
        self.choices.pick(&[
            Forever::Sleep,
            Forever::Park,
            Forever::Event,
            Forever::Permit,
            Forever::Receive,
            Forever::Send,
            Forever::Token,
            Forever::Barrier,
            Forever::Promise,
            Forever::Condition,
            Forever::Select,
            Forever::Hook,
        ])
    }

    fn spawn(&mut self, at: &mut Place) -> Option<Step> {
        let level = self.level(at).filter(|_| self.has_tasks())?;
        let how = self.choices.pick(&[
            How::Plain,
            How::Plain,
            How::Plain,
            How::Isolated,
            How::Daemon,
            How::Try,
            How::Named,
            How::Dedicated,
        ]);
        let keep = self.choices.chance(75);
        let daemon = how == How::Daemon;
        let mut task = self.task(at, level, daemon, |place| place.serves |= daemon);
        if daemon {
            task.result = None;
        }
        // Rule 1 of the module.
        let unlimited = !at.levels[level].0;
        let fenced = at.fence == level || at.levels[..level].iter().all(|(limited, _)| !limited);
        if unlimited && fenced && !daemon && self.choices.chance(30) {
            task.sets = Some(self.events);
            at.events.push(self.events);
            self.events += 1;
        }
        if !daemon && keep {
            at.own.push((level, task.id));
        }
        Some(Step::Spawn { level, how, keep, task: Arc::new(task) })
    }

    /// A task that waits for ever, and is cancelled.
    fn doomed(&mut self, at: &mut Place) -> Option<Step> {
        let level = self.level(at).filter(|_| self.has_tasks())?;
        let how = self.choices.pick(&[How::Plain, How::Plain, How::Isolated, How::Named, How::Dedicated]);
        let by = match self.choices.below(4) {
            0 | 1 => Doom::Handle,
            2 if self.has(RUN) && self.tokens > 0 => Doom::Token(self.choices.below(self.tokens)),
            _ => Doom::Group,
        };
        let task = self.task(at, level, true, |_| ());
        // It keeps its permit for as long as it waits, so nothing may need one until it has been cancelled.
        let limited = at.levels.iter().any(|(limited, _)| *limited);
        let between = self.inside(at, |place| {
            place.quiet |= limited;
            place.own.clear();
            place.doomed &= !place.serves;
        });
        at.own.push((level, task.id));
        Some(Step::Doomed { level, how, task: Arc::new(task), between, by })
    }

    fn wait(&mut self, at: &mut Place) -> Option<Step> {
        let own = !at.own.is_empty() && (at.earlier.is_empty() || self.choices.chance(80));
        let way = if own {
            self.choices.pick(&[
                Way::Join,
                Way::Join,
                Way::Wait,
                Way::WaitZero,
                Way::WaitLong,
                Way::CancelAndWait,
                Way::Cancel,
                Way::Drop,
            ])
        } else {
            self.choices.pick(&[Way::Wait, Way::WaitZero, Way::WaitLong, Way::CancelAndWait, Way::Cancel])
        };
        if at.quiet && !matches!(way, Way::WaitZero | Way::Cancel | Way::Drop) {
            return None;
        }
        let from = if own { &mut at.own } else { &mut at.earlier };
        if from.is_empty() {
            return None;
        }
        let index = self.choices.below(from.len());
        let (level, task) = if matches!(way, Way::Join | Way::Drop) { from.remove(index) } else { from[index] };
        Some(Step::Wait { level, task, way })
    }

    fn completed(&mut self, at: &mut Place) -> Option<Step> {
        let &(level, _) = at.own.last().filter(|_| !at.quiet)?;
        let tasks = at.own.iter().filter(|(of, _)| *of == level).map(|(_, task)| *task).collect();
        at.own.retain(|(of, _)| *of != level);
        Some(Step::Completed { level, tasks })
    }

    fn map(&mut self, at: &mut Place) -> Option<Step> {
        if at.quiet || !self.has_tasks() {
            return None;
        }
        let level = self.level(at)?;
        let items = 1 + self.choices.below(3);
        self.tasks += items;
        let (ordered, taken) = (self.choices.chance(50), items + 1 - self.choices.below(items + 1));
        let mut place = at.clone();
        place.levels.truncate(level + 1);
        place.depth = level + 1;
        place.doomed = at.levels[level].1;
        place.fence = level + 1;
        place.earlier.append(&mut place.own);
        let outward = self.has(OUTWARD);
        place.earlier.retain(|(of, _)| *of == level || (*of < level && outward));
        place.sends.clear();
        place.receives.clear();
        place.lock = 0;
        place.permits = false;
        let block = self.block(&mut place);
        Some(Step::Map { level, ordered, items, taken, block: Arc::new(block) })
    }

    fn start(&mut self, at: &mut Place) -> Option<Step> {
        if at.quiet || !self.has_tasks() || !self.has(START) {
            return None;
        }
        let level = self.level(at)?;
        let mut task = self.task(at, level, false, |_| ());
        // Such a task returns nothing, and neither does a daemon.
        task.result = None;
        if self.choices.chance(75) {
            let index = self.choices.below(task.block.steps.len() + 1);
            task.block.steps.insert(index, Step::Ready);
        }
        Some(Step::Start { level, task: Arc::new(task) })
    }

    fn on_finished(&mut self, at: &mut Place) -> Option<Step> {
        let &(level, task) = at.own.last()?;
        let act = self.act();
        Some(Step::OnFinished { level, task, act })
    }

    fn open(&mut self, at: &mut Place) -> Option<Step> {
        if at.depth >= self.size.depth || at.quiet {
            return None;
        }
        let absorb = self.choices.chance(50);
        let group = self.group(at);
        Some(Step::Open { group: Box::new(group), absorb })
    }

    fn lock(&mut self, at: &mut Place) -> Option<Step> {
        if at.lock >= LOCKS || (at.quiet && at.lock == 0) {
            return None;
        }
        let lock = at.lock + self.choices.below(LOCKS - at.lock);
        let steps = self.inside(at, |place| {
            place.lock = lock + 1;
            place.quiet = true;
        });
        Some(Step::Lock(lock, steps))
    }

    fn permits(&mut self, at: &mut Place) -> Option<Step> {
        if at.quiet || at.permits {
            return None;
        }
        let semaphore = self.choices.below(PERMITS.len());
        let count = 1 + self.choices.below(PERMITS[semaphore]);
        let steps = self.inside(at, |place| {
            place.permits = true;
            place.quiet = true;
            place.lock = LOCKS;
        });
        Some(Step::Permits(semaphore, count, steps))
    }

    fn await_event(&mut self, at: &mut Place) -> Option<Step> {
        if at.quiet || at.events.is_empty() {
            return None;
        }
        Some(Step::AwaitEvent(self.choices.pick(&at.events)))
    }

    fn pipe(&mut self, at: &mut Place) -> Option<Step> {
        let level = at.levels.len() - 1;
        // Rule 1 of the module.
        if !self.has(PIPE) || at.levels[level].0 || level < at.fence || self.tasks + 2 > self.size.tasks {
            return None;
        }
        let limited = at.levels.iter().any(|(limited, _)| *limited);
        let capacity = if self.has(RENDEZVOUS) {
            self.choices.pick(&[Some(1), Some(0), Some(2), None])
        } else {
            self.choices.pick(&[Some(1), Some(2), None])
        };
        let channel = self.channels;
        self.channels += 1;
        let fence = if limited { level } else { at.fence };
        // Rule 2: producers first. A stage has the receiver of one channel and the sender of the next.
        let mut tasks = Vec::new();
        for _ in 0..1 + self.choices.below(2) {
            let task = self.task(at, level, false, |place| {
                place.fence = fence;
                place.sends.push(channel);
            });
            tasks.push(Arc::new(task));
        }
        for _ in 0..1 + self.choices.below(2) {
            let task = self.task(at, level, false, |place| {
                place.fence = fence;
                place.receives.push(channel);
            });
            tasks.push(Arc::new(task));
        }
        Some(Step::Pipe { level, channel, capacity, tasks })
    }

    fn channel_step(&mut self, at: &mut Place) -> Option<Step> {
        if let Some(&channel) = at.sends.first() {
            return Some(match self.choices.below(4) {
                0 | 1 => Step::Send(channel),
                2 if self.has(SELECT) => Step::Select {
                    receives: Vec::new(),
                    sends: vec![channel],
                    once: self.has(DEFAULT) && self.choices.chance(30),
                },
                _ => Step::TrySend(channel),
            });
        }
        let &channel = at.receives.first()?;
        Some(match self.choices.below(5) {
            0 | 1 => Step::Receive(channel),
            2 => Step::Drain(channel),
            3 if self.has(SELECT) => {
                Step::Select { receives: vec![channel], sends: Vec::new(), once: self.has(DEFAULT) && self.choices.chance(30) }
            }
            _ => Step::TryReceive(channel),
        })
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, token) in self.tokens.iter().enumerate() {
            writeln!(f, "let token{number} = {token:?};")?;
        }
        let mut text = String::new();
        draw_group(&mut text, 0, "", &self.group);
        f.write_str(&text)
    }
}

fn line(text: &mut String, depth: usize, line: impl fmt::Display) {
    let _ = writeln!(text, "{:width$}{line}", "", width = depth * 4);
}

fn draw_group(text: &mut String, depth: usize, prefix: &str, group: &Group) {
    let mut options = String::new();
    if let Some(limit) = group.limit {
        let _ = write!(options, ".limit({limit})");
    }
    if group.collects {
        options += ".on_failure(Collect)";
    }
    if group.deadline != Deadline::None {
        let _ = write!(options, ".deadline({:?})", group.deadline);
    }
    if let Some(parent) = group.parent {
        let _ = write!(options, ".parent(token{parent})");
    }
    line(text, depth, format_args!("{prefix}group{options}.scope {{"));
    if let Some(act) = group.release {
        line(text, depth + 1, format_args!("on_release({act:?})"));
    }
    draw_block(text, depth + 1, &group.body);
    line(text, depth, "}");
}

fn draw_block(text: &mut String, depth: usize, block: &Block) {
    draw_steps(text, depth, &block.steps);
    if block.when_cut != WhenCut::Return {
        line(text, depth, format_args!("when cancelled: {:?}", block.when_cut));
    }
}

fn draw_task(text: &mut String, depth: usize, prefix: &str, task: &Task) {
    let mut with = format!("{prefix}task{} ", task.id);
    if let Some(act) = task.captured {
        let _ = write!(with, "captures({act:?}) ");
    }
    if let Some(act) = task.result {
        let _ = write!(with, "returns({act:?}) ");
    }
    for channel in &task.sends {
        let _ = write!(with, "sends(channel{channel}) ");
    }
    for channel in &task.receives {
        let _ = write!(with, "receives(channel{channel}) ");
    }
    if let Some(event) = task.sets {
        let _ = write!(with, "sets(event{event}) ");
    }
    line(text, depth, format_args!("{with}{{"));
    draw_block(text, depth + 1, &task.block);
    line(text, depth, "}");
}

fn draw_region(text: &mut String, depth: usize, name: impl fmt::Display, steps: &[Step]) {
    line(text, depth, format_args!("{name} {{"));
    draw_steps(text, depth + 1, steps);
    line(text, depth, "}");
}

fn draw_steps(text: &mut String, depth: usize, steps: &[Step]) {
    for step in steps {
        match step {
            Step::Spawn { level, how, keep, task } => {
                let dropped = if *keep { "" } else { ", handle dropped" };
                draw_task(text, depth, &format!("spawn {how:?} (group {level}{dropped}) "), task);
            }
            Step::Doomed { level, how, task, between, by } => {
                draw_task(text, depth, &format!("spawn {how:?} (group {level}) "), task);
                draw_region(text, depth, format_args!("then cancel it by {by:?}, after"), between);
            }
            Step::Map { level, ordered, items, taken, block } => {
                let name = if *ordered { "map" } else { "map_unordered" };
                line(text, depth, format_args!("{name} (group {level}) of {items}, next() {taken} times {{"));
                draw_block(text, depth + 1, block);
                line(text, depth, "}");
            }
            Step::Start { level, task } => draw_task(text, depth, &format!("start (group {level}) "), task),
            Step::Open { group, absorb } => draw_group(text, depth, if *absorb { "(error dropped) " } else { "" }, group),
            Step::Hold(act, steps) => draw_region(text, depth, format_args!("hold a value({act:?})"), steps),
            Step::Shield(steps) => draw_region(text, depth, "shield", steps),
            Step::Timeout { past, steps } => {
                draw_region(text, depth, if *past { "timeout(0)" } else { "timeout(an hour)" }, steps);
            }
            Step::Run { token, steps } => draw_region(text, depth, format_args!("token{token}.run"), steps),
            Step::Winding(steps) => draw_region(text, depth, "winding_down", steps),
            Step::Hook(steps) => draw_region(text, depth, "with_cancel_hook", steps),
            Step::OnCancel { token, act, steps } => {
                draw_region(text, depth, format_args!("token{token}.on_cancel({act:?}), guard held"), steps);
            }
            Step::Lock(lock, steps) => draw_region(text, depth, format_args!("lock{lock}"), steps),
            Step::Permits(semaphore, count, steps) => {
                draw_region(text, depth, format_args!("semaphore{semaphore}, {count} permits"), steps);
            }
            Step::Pipe { level, channel, capacity, tasks } => {
                line(text, depth, format_args!("channel{channel} of capacity {capacity:?}, group {level}"));
                tasks.iter().for_each(|task| draw_task(text, depth, "spawn ", task));
            }
            plain => line(text, depth, format_args!("{plain:?}")),
        }
    }
}
