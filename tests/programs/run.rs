//! Runs a program on the crate, and writes what it does into the ledger.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{panic_any, resume_unwind, AssertUnwindSafe};
use std::sync::{Arc, Condvar as StdCondvar, Mutex as StdMutex, PoisonError};
use std::time::{Duration, Instant};

use super::grammar::{
    Act, Block, Deadline, Doom, Forever, Group, How, Program, Step, Task, Token, Way, WhenCut, LOCKS, PERMITS,
};
use super::ledger::{cut, number_in, Entry, Fault, Kind, Ledger, Node, Outcome, Reported, Role, Seen, What, OUTSIDE};
use super::taskgroup::channel::{self, Receiver, RecvError, Select, SendError, Sender, TryRecvError, TrySendError};
use super::taskgroup::sync::{Barrier, Condvar, Event, Mutex, Promise, Semaphore};
use super::taskgroup::{
    self, CancelToken, Cancelled, Failure, FailureKind, GroupError, OnFailure, Ready, SpawnErrorKind, StartError, TaskError,
    TaskGroup, TaskHandle, TaskStatus,
};

/// Longer than any run.
const HOUR: Duration = Duration::from_secs(3600);

/// A panic may be caught here, and is none of a model's own.
const CATCHES: bool = !cfg!(taskgroup_models);

/// What all tasks of a run share.
struct World {
    ledger: Arc<Ledger>,
    tokens: Vec<(CancelToken, Node)>,
    locks: [Mutex<()>; LOCKS],
    semaphores: [Semaphore; PERMITS.len()],
    events: Vec<Event>,
}

type Handed = Option<Value>;
type Result<T = ()> = anyhow::Result<T>;

/// A value whose drop is in the ledger, and whose destructor may do something.
struct Value {
    number: u64,
    act: Act,
    world: Arc<World>,
}

impl Value {
    fn new(world: &Arc<World>, act: Act) -> Value {
        let number = world.ledger.now();
        world.ledger.note(What::Made { value: number });
        Value { number, act, world: world.clone() }
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.world.ledger.note(What::Dropped { value: self.number });
        perform(&self.world, self.act, None);
    }
}

/// Sets an event when it is dropped.
struct Sets(Arc<World>, usize);

impl Drop for Sets {
    fn drop(&mut self) {
        self.0.events[self.1].set();
    }
}

/// An end of a channel, whose drop is in the ledger.
struct End<T> {
    end: Option<T>,
    channel: u64,
    sender: bool,
    world: Arc<World>,
}

impl<T> Drop for End<T> {
    fn drop(&mut self) {
        let ledger = &self.world.ledger;
        let begin = ledger.now();
        drop(self.end.take());
        let what = What::Closed { channel: self.channel, sender: self.sender };
        ledger.write(Entry { task: OUTSIDE, scope: OUTSIDE, begin, end: ledger.now(), what });
    }
}

/// What a task has of the channels.
#[derive(Default)]
struct Ends {
    senders: BTreeMap<usize, End<Sender<Value>>>,
    receivers: BTreeMap<usize, End<Receiver<Value>>>,
}

/// Does what a destructor or callback does. A panic that the crate is known to contain names the group that reports it.
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
    }
}

fn cancel_token(world: &Arc<World>, token: usize) {
    let ledger = &world.ledger;
    let begin = ledger.now();
    let (token, target) = &world.tokens[token];
    token.cancel_because(format!("act {begin}"));
    let what = What::Cancel { target: *target, gracefully: false };
    ledger.write(Entry { task: OUTSIDE, scope: OUTSIDE, begin, end: ledger.now(), what });
}

/// What an error of the crate says.
fn seen(error: &anyhow::Error) -> Seen {
    match error.cancelled() {
        Some(cancelled) => Seen::Cut(cut(cancelled)),
        None => Seen::Disconnected,
    }
}

fn seen_by<T>(result: &std::result::Result<T, Cancelled>) -> Seen {
    match result {
        Ok(_) => Seen::Done,
        Err(cancelled) => Seen::Cut(cut(cancelled)),
    }
}

enum Handle<'scope> {
    Plain(TaskHandle<'scope, Handed>),
    Isolated(TaskHandle<'scope, std::result::Result<Handed, Failure<anyhow::Error>>>),
    Daemon(TaskHandle<'scope, ()>),
}

macro_rules! each {
    ($handle:expr, $of:ident => $result:expr) => {
        match $handle {
            Handle::Plain($of) => $result,
            Handle::Isolated($of) => $result,
            Handle::Daemon($of) => $result,
        }
    };
}

/// A handle and the node of its task.
type Kept<'scope> = (Arc<Handle<'scope>>, Node);

/// A group that is open, with the groups that it is in.
struct Level<'scope, 'env> {
    group: &'scope TaskGroup<'scope, 'env>,
    node: Node,
    handles: Arc<StdMutex<BTreeMap<usize, Kept<'scope>>>>,
    outer: Option<&'env (dyn Opened + 'env)>,
    world: Arc<World>,
}

impl Clone for Level<'_, '_> {
    fn clone(&self) -> Self {
        Level { handles: self.handles.clone(), world: self.world.clone(), ..*self }
    }
}

/// A [`Level`] without its lifetimes, which differ from group to group.
trait Opened: Send + Sync {
    fn outer(&self) -> Option<&dyn Opened>;
    /// Spawns a task and returns its node.
    fn spawn(&self, frame: &Frame, how: How, keep: bool, task: &Arc<Task>, ends: Ends) -> Node;
    fn wait(&self, frame: &Frame, task: usize, way: Way) -> Result;
    fn cancel_handle(&self, frame: &Frame, task: usize);
    fn completed(&self, frame: &Frame, tasks: &[usize]) -> Result;
    fn map(&self, frame: &Frame, ordered: bool, items: usize, taken: usize, block: &Arc<Block>) -> Result;
    fn start(&self, frame: &Frame, task: &Arc<Task>) -> Result;
    fn on_finished(&self, frame: &Frame, task: usize, act: Act);
    fn cancel(&self, frame: &Frame, gracefully: bool);
}

/// A task on its thread: its scope, its ends of channels, and what it has yet to write into the ledger.
struct Frame {
    world: Arc<World>,
    task: Node,
    scope: std::cell::Cell<Node>,
    entries: RefCell<Vec<Entry>>,
    ends: RefCell<Ends>,
    ready: RefCell<Option<Ready<Handed>>>,
}

impl Drop for Frame {
    fn drop(&mut self) {
        self.world.ledger.extend(self.entries.get_mut());
    }
}

impl Frame {
    fn new(world: &Arc<World>, task: Node, ends: Ends) -> Frame {
        Frame {
            world: world.clone(),
            task,
            scope: std::cell::Cell::new(task),
            entries: RefCell::default(),
            ends: RefCell::new(ends),
            ready: RefCell::default(),
        }
    }

    fn now(&self) -> u64 {
        self.world.ledger.now()
    }

    fn write(&self, begin: u64, what: What) {
        let end = self.now();
        self.entries.borrow_mut().push(Entry { task: self.task, scope: self.scope.get(), begin, end, what });
    }

    fn note(&self, what: What) {
        self.write(self.now(), what);
    }

    fn value(&self, act: Act) -> Value {
        Value::new(&self.world, act)
    }

    /// A blocking point that a cancel alone keeps from being passed.
    fn point<T>(&self, name: &'static str, call: impl FnOnce() -> std::result::Result<T, Cancelled>) -> Result<T> {
        self.point_that(name, false, call)
    }

    fn forever<T>(&self, name: &'static str, call: impl FnOnce() -> std::result::Result<T, Cancelled>) -> Result {
        self.point_that(name, true, call).map(drop)
    }

    fn point_that<T>(
        &self,
        name: &'static str,
        forever: bool,
        call: impl FnOnce() -> std::result::Result<T, Cancelled>,
    ) -> Result<T> {
        let begin = self.now();
        let result = call();
        self.write(begin, What::Point { name, seen: seen_by(&result), forever });
        Ok(result?)
    }

    /// Calls `run` as the inside of a scope that is opened by it.
    fn region<T>(&self, kind: Kind, more: &[Node], run: impl FnOnce() -> T) -> T {
        struct Back<'a>(&'a Frame, Node);
        impl Drop for Back<'_> {
            fn drop(&mut self) {
                self.0.scope.set(self.1);
            }
        }
        let (outer, inner) = (self.scope.get(), self.now());
        let parents = [outer].into_iter().chain(more.iter().copied()).collect();
        let _back = Back(self, outer);
        self.scope.set(inner);
        self.note(What::Opened { kind, parents, token: None });
        run()
    }

    fn fail(&self) -> Result {
        Err(Fault(self.now()).into())
    }

    fn panic(&self) -> ! {
        panic_any(Fault(self.now()).to_string())
    }

    /// Runs a block to its end; what it returns is of the task, or of the body of a group.
    fn block(&self, level: &dyn Opened, block: &Block) -> Result {
        match self.steps(level, &block.steps) {
            Err(error) if error.cancelled().is_some() => match block.when_cut {
                WhenCut::Return => Err(error),
                WhenCut::Swallow => Ok(()),
                WhenCut::Fail => self.fail(),
                WhenCut::Panic => self.panic(),
            },
            other => other,
        }
    }

    fn steps(&self, level: &dyn Opened, steps: &[Step]) -> Result {
        steps.iter().try_for_each(|step| self.step(level, step))
    }

    /// The group of this number, counted from the outermost.
    fn level<'a>(&self, innermost: &'a dyn Opened, number: usize) -> &'a dyn Opened {
        let depth = |mut level: &'a dyn Opened| {
            let mut depth = 0;
            while let Some(outer) = level.outer() {
                (level, depth) = (outer, depth + 1);
            }
            depth
        };
        let mut level = innermost;
        for _ in number..depth(innermost) {
            level = level.outer().unwrap_or(level);
        }
        level
    }

    fn step(&self, level: &dyn Opened, step: &Step) -> Result {
        let world = &self.world;
        match step {
            Step::Checkpoint => self.point("checkpoint", taskgroup::checkpoint),
            Step::Yield => self.point("yield_now", taskgroup::yield_now),
            Step::Nap => self.point("sleep(0)", || taskgroup::sleep(Duration::ZERO)),
            Step::Forever(forever) => self.wait_for_ever(*forever),
            Step::Fail => self.fail(),
            Step::Panic => self.panic(),
            Step::Foreign(token) => match world.tokens[*token].0.check() {
                Err(cancelled) => Err(cancelled.into()),
                Ok(()) => Ok(()),
            },
            Step::Hold(act, steps) => {
                let _held = self.value(*act);
                self.steps(level, steps)
            }
            Step::Spawn { level: number, how, keep, task } => {
                self.level(level, *number).spawn(self, *how, *keep, task, Ends::default());
                Ok(())
            }
            Step::Doomed { level: number, how, task, between, by } => {
                struct Cancels<'a>(&'a Frame, &'a dyn Opened, usize, Doom);
                impl Drop for Cancels<'_> {
                    fn drop(&mut self) {
                        match self.3 {
                            Doom::Handle => self.1.cancel_handle(self.0, self.2),
                            Doom::Group => self.1.cancel(self.0, false),
                            Doom::Token(token) => cancel_token(&self.0.world, token),
                        }
                    }
                }
                let of = self.level(level, *number);
                let task = match by {
                    Doom::Token(token) => {
                        let steps = vec![Step::Run { token: *token, steps: task.block.steps.clone() }];
                        let block = Block { steps, when_cut: task.block.when_cut };
                        Arc::new(Task { block, ..(**task).clone() })
                    }
                    _ => task.clone(),
                };
                of.spawn(self, *how, true, &task, Ends::default());
                let cancels = Cancels(self, of, task.id, *by);
                let result = self.steps(level, between);
                drop(cancels);
                result
            }
            Step::Wait { level: number, task, way } => self.level(level, *number).wait(self, *task, *way),
            Step::Completed { level: number, tasks } => self.level(level, *number).completed(self, tasks),
            Step::Map { level: number, ordered, items, taken, block } => {
                self.level(level, *number).map(self, *ordered, *items, *taken, block)
            }
            Step::Start { level: number, task } => self.level(level, *number).start(self, task),
            Step::Ready => {
                if let Some(ready) = self.ready.take() {
                    ready.send(Some(self.value(Act::Nothing)));
                }
                Ok(())
            }
            Step::OnFinished { level: number, task, act } => {
                self.level(level, *number).on_finished(self, *task, *act);
                Ok(())
            }
            Step::Open { group, absorb } => match self.open(Some(level), group) {
                Err(_) if *absorb => Ok(()),
                result => Ok(result?),
            },
            Step::Shield(steps) => self.region(Kind::Shield, &[], || taskgroup::shield(|| self.steps(level, steps))),
            Step::Timeout { past, steps } => self.timeout(level, *past, steps),
            Step::Run { token, steps } => {
                let (token, node) = &world.tokens[*token];
                self.region(Kind::Plain, &[*node], || token.run(|| self.steps(level, steps)))
            }
            Step::Winding(steps) => self.region(Kind::Winding, &[], || taskgroup::winding_down(|| self.steps(level, steps))),
            Step::Hook(steps) => {
                let hook = self.now();
                let ledger = world.ledger.clone();
                let begin = self.now();
                let result =
                    taskgroup::with_cancel_hook(move || ledger.note(What::HookRan { hook }), || self.steps(level, steps));
                self.write(begin, What::Hooked { hook });
                result
            }
            Step::OnCancel { token, act, steps } => self.on_cancel(level, *token, *act, steps),
            Step::CancelGroup(number) => {
                self.level(level, *number).cancel(self, false);
                Ok(())
            }
            Step::Gracefully(number) => {
                self.level(level, *number).cancel(self, true);
                Ok(())
            }
            Step::CancelToken(token) => {
                cancel_token(world, *token);
                Ok(())
            }
            Step::Lock(lock, steps) => {
                let _guard = self.point("lock", || world.locks[*lock].lock())?;
                self.steps(level, steps)
            }
            Step::Permits(semaphore, count, steps) => {
                let _permit = self.point("acquire", || world.semaphores[*semaphore].acquire_many(*count))?;
                self.steps(level, steps)
            }
            Step::AwaitEvent(event) => self.point("event", || world.events[*event].wait()),
            Step::Pipe { level: number, channel, capacity, tasks } => {
                self.pipe(self.level(level, *number), *channel, *capacity, tasks);
                Ok(())
            }
            Step::Send(_)
            | Step::TrySend(_)
            | Step::Receive(_)
            | Step::TryReceive(_)
            | Step::Drain(_)
            | Step::Select { .. } => self.channel_step(step),
        }
    }

    fn wait_for_ever(&self, forever: Forever) -> Result {
        match forever {
            Forever::Sleep => self.forever("sleep", || taskgroup::sleep(HOUR)),
            Forever::Park => self.forever("park", || -> std::result::Result<(), Cancelled> {
                loop {
                    taskgroup::park()?;
                }
            }),
            Forever::Event => self.forever("event that is not set", || Event::new().wait()),
            Forever::Permit => self.forever("no permit", || Semaphore::new(0).acquire().map(drop)),
            Forever::Token => self.forever("token", || CancelToken::new().wait()),
            Forever::Promise => self.forever("promise", || Promise::<()>::new().wait().map(drop)),
            Forever::Barrier => {
                let barrier = Barrier::new(2);
                let begin = self.now();
                let result = barrier.wait().map(drop).map_err(anyhow::Error::from);
                self.write(begin, What::Point { name: "barrier", seen: seen_of(&result), forever: true });
                result
            }
            Forever::Condition => self.forever("condition", || {
                let (lock, condition) = (Mutex::new(()), Condvar::new());
                let mut guard = lock.lock()?;
                condition.wait_while(&mut guard, |()| true)
            }),
            Forever::Receive => {
                let (_sender, receiver) = channel::bounded::<()>(1);
                let begin = self.now();
                let result = receiver.recv().map_err(anyhow::Error::from);
                self.write(begin, What::Point { name: "recv of nothing", seen: seen_of(&result), forever: true });
                result
            }
            Forever::Send => {
                let (sender, _receiver) = channel::bounded::<()>(0);
                let begin = self.now();
                let result = sender.send(()).map_err(anyhow::Error::from);
                self.write(begin, What::Point { name: "send to nobody", seen: seen_of(&result), forever: true });
                result
            }
            Forever::Select => self.forever("select", || {
                let ((sender, _receiver), (_sender, receiver)) = (channel::bounded::<()>(0), channel::bounded::<()>(1));
                let mut message = Some(());
                let mut select = Select::new();
                select.recv(&receiver, |_| ());
                select.send(&sender, &mut message, |_| ());
                select.select()
            }),
            Forever::Hook => {
                let (released, changed) = (StdMutex::new(false), StdCondvar::new());
                let begin = self.now();
                taskgroup::with_cancel_hook(
                    || {
                        *released.lock().unwrap_or_else(PoisonError::into_inner) = true;
                        changed.notify_all();
                    },
                    || {
                        let guard = released.lock().unwrap_or_else(PoisonError::into_inner);
                        drop(changed.wait_while(guard, |released| !*released));
                    },
                );
                let result = taskgroup::checkpoint();
                self.write(begin, What::Point { name: "foreign wait", seen: seen_by(&result), forever: true });
                Ok(result?)
            }
        }
    }

    fn timeout(&self, level: &dyn Opened, past: bool, steps: &[Step]) -> Result {
        let duration = if past { Duration::ZERO } else { HOUR };
        let kind = if past { Kind::Past } else { Kind::Plain };
        let (begin, mut inner) = (self.now(), Seen::Done);
        let result = self.region(kind, &[], || {
            taskgroup::timeout(duration, || {
                let result = self.steps(level, steps);
                inner = match &result {
                    Ok(()) => Seen::Done,
                    Err(error) => seen(error),
                };
                result
            })
        });
        let (none, outer) = match &result {
            Ok(value) => (value.is_none(), Seen::Done),
            Err(error) => (false, seen(error)),
        };
        self.write(begin, What::Timeout { past, inner, outer, none });
        result.map(drop)
    }

    fn on_cancel(&self, level: &dyn Opened, token: usize, act: Act, steps: &[Step]) -> Result {
        struct Guard<'a, G>(&'a Frame, u64, Option<G>);
        impl<G> Drop for Guard<'_, G> {
            fn drop(&mut self) {
                let begin = self.0.now();
                drop(self.2.take());
                self.0.write(begin, What::Unregistered { callback: self.1 });
            }
        }
        let (token, node) = &self.world.tokens[token];
        let (callback, world) = (self.now(), self.world.clone());
        let begin = self.now();
        let guard = token.on_cancel(move || {
            world.ledger.note(What::Called { callback });
            // Of a token that is no group's own, the panic of a callback is logged and not reported.
            if act != Act::Panic {
                perform(&world, act, None);
            } else if CATCHES {
                panic_any(Fault(0).to_string());
            }
        });
        self.write(begin, What::Registered { callback, token: *node });
        let _guard = Guard(self, callback, Some(guard));
        self.steps(level, steps)
    }

    fn pipe(&self, level: &dyn Opened, channel: usize, capacity: Option<usize>, tasks: &[Arc<Task>]) {
        let (sender, receiver) = capacity.map_or_else(channel::unbounded, channel::bounded);
        let number = self.now();
        self.note(What::Channel { channel: number, capacity });
        // The channel's own ends go before a task can be first to close it: they are moved into the last tasks.
        let mut ends: Vec<Ends> = tasks.iter().map(|_| Ends::default()).collect();
        let (mut sender, mut receiver) = (Some(sender), Some(receiver));
        let last = |of: fn(&Task) -> &Vec<usize>| tasks.iter().rposition(|task| of(task).contains(&channel));
        let (last_sender, last_receiver) = (last(|task| &task.sends), last(|task| &task.receives));
        for (index, task) in tasks.iter().enumerate() {
            let world = &self.world;
            if task.sends.contains(&channel) {
                let end = if last_sender == Some(index) { sender.take() } else { sender.clone() };
                ends[index].senders.insert(channel, End { end, channel: number, sender: true, world: world.clone() });
            }
            if task.receives.contains(&channel) {
                let end = if last_receiver == Some(index) { receiver.take() } else { receiver.clone() };
                ends[index].receivers.insert(channel, End { end, channel: number, sender: false, world: world.clone() });
            }
        }
        for (task, ends) in tasks.iter().zip(ends) {
            level.spawn(self, How::Plain, false, task, ends);
        }
    }

    fn channel_step(&self, step: &Step) -> Result {
        let ends = self.ends.borrow();
        match step {
            Step::Send(channel) => {
                let end = &ends.senders[channel];
                let message = self.value(Act::Nothing);
                let (number, begin) = (message.number, self.now());
                let (seen, result) = match end.end.as_ref().map(|sender| sender.send(message)) {
                    None | Some(Ok(())) => (Seen::Done, Ok(())),
                    Some(Err(SendError::Cancelled(message, cancelled))) => {
                        assert_eq!(message.number, number, "another message came back");
                        (Seen::Cut(cut(&cancelled)), Err(cancelled.into()))
                    }
                    Some(Err(other)) => {
                        assert_eq!(other.into_inner().number, number, "another message came back");
                        (Seen::Disconnected, self.fail())
                    }
                };
                self.write(begin, What::Sent { channel: end.channel, message: number, seen });
                result
            }
            Step::TrySend(channel) => {
                let end = &ends.senders[channel];
                let message = self.value(Act::Nothing);
                let (number, begin) = (message.number, self.now());
                let seen = match end.end.as_ref().map(|sender| sender.try_send(message)) {
                    None | Some(Ok(())) => Seen::Done,
                    Some(Err(TrySendError::Full(_))) => Seen::NotNow,
                    Some(Err(other)) => {
                        assert_eq!(other.into_inner().number, number, "another message came back");
                        Seen::NotNow
                    }
                };
                self.write(begin, What::Sent { channel: end.channel, message: number, seen });
                Ok(())
            }
            Step::Receive(channel) => self
                .receive(&ends.receivers[channel], |receiver| {
                    receiver.recv().map_err(|error: RecvError| anyhow::Error::from(error))
                })
                .map(drop),
            Step::Drain(channel) => {
                let end = &ends.receivers[channel];
                while self.receive(end, |receiver| receiver.recv().map_err(anyhow::Error::from))? {}
                Ok(())
            }
            Step::TryReceive(channel) => {
                let end = &ends.receivers[channel];
                let begin = self.now();
                let (message, seen) = match end.end.as_ref().map(Receiver::try_recv) {
                    Some(Ok(message)) => (Some(message), Seen::Done),
                    None | Some(Err(TryRecvError::Empty)) => (None, Seen::NotNow),
                    Some(Err(other)) => (None, seen(&other.into())),
                };
                let number = message.as_ref().map(|message| message.number);
                self.write(begin, What::Received { channel: end.channel, message: number, seen, blocking: false });
                Ok(())
            }
            Step::Select { receives, sends, once } => self.select(&ends, receives, sends, *once),
            _ => Ok(()),
        }
    }

    /// Receives one message; false where there will be none any more.
    fn receive(&self, end: &End<Receiver<Value>>, call: impl FnOnce(&Receiver<Value>) -> Result<Value>) -> Result<bool> {
        let begin = self.now();
        let received = end.end.as_ref().map(call);
        let (message, seen, result) = match received {
            Some(Ok(message)) => (Some(message), Seen::Done, Ok(true)),
            None => (None, Seen::Disconnected, Ok(false)),
            Some(Err(error)) => match seen(&error) {
                Seen::Cut(cut) => (None, Seen::Cut(cut), Err(error)),
                other => (None, other, Ok(false)),
            },
        };
        let number = message.as_ref().map(|message| message.number);
        self.write(begin, What::Received { channel: end.channel, message: number, seen, blocking: true });
        result
    }

    fn select(&self, ends: &Ends, receives: &[usize], sends: &[usize], once: bool) -> Result {
        /// What a case did, for the ledger.
        enum Did {
            Received(u64, Option<Value>),
            Sent(u64, u64, bool),
        }
        let mut messages: Vec<_> = sends.iter().map(|_| Some(self.value(Act::Nothing))).collect();
        let mut select = Select::new();
        for channel in receives {
            let end = &ends.receivers[channel];
            if let Some(receiver) = &end.end {
                select.recv(receiver, move |message| Did::Received(end.channel, message.ok()));
            }
        }
        for (channel, message) in sends.iter().zip(&mut messages) {
            let end = &ends.senders[channel];
            if let Some(sender) = &end.end {
                let number = message.as_ref().map_or(0, |message| message.number);
                select.send(sender, message, move |sent| Did::Sent(end.channel, number, sent.is_ok()));
            }
        }
        let begin = self.now();
        let did = if once { select.try_select() } else { select.select().map(Some) };
        match did {
            Ok(Some(Did::Received(channel, message))) => {
                let seen = if message.is_some() { Seen::Done } else { Seen::Disconnected };
                let number = message.as_ref().map(|message| message.number);
                self.write(begin, What::Received { channel, message: number, seen, blocking: !once });
                Ok(())
            }
            Ok(Some(Did::Sent(channel, message, sent))) => {
                let seen = if sent { Seen::Done } else { Seen::Disconnected };
                self.write(begin, What::Sent { channel, message, seen });
                if sent || once {
                    Ok(())
                } else {
                    self.fail()
                }
            }
            Ok(None) => Ok(()),
            Err(cancelled) => {
                self.write(begin, What::Point { name: "select", seen: Seen::Cut(cut(&cancelled)), forever: false });
                Err(cancelled.into())
            }
        }
    }

    /// Opens a group inside of this frame, runs its body, and writes what the scope returned.
    fn open(&self, outer: Option<&dyn Opened>, group: &Group) -> std::result::Result<(), GroupError> {
        let world = &self.world;
        let node = self.now();
        let mut builder = TaskGroup::builder();
        if let Some(limit) = group.limit {
            builder = builder.limit(limit);
        }
        if group.collects {
            builder = builder.on_failure(OnFailure::Collect);
        }
        match group.deadline {
            Deadline::None => {}
            Deadline::Past => builder = builder.deadline(Instant::now()),
            Deadline::Far => builder = builder.timeout(HOUR),
        }
        let mut parents = vec![self.scope.get()];
        if let Some(token) = group.parent {
            builder = builder.parent(&world.tokens[token].0);
            parents.push(world.tokens[token].1);
        }
        let around = self.scope.get();
        let begin = self.now();
        let result = caught(|| {
            builder.scope(|g| {
                let opened = self.now();
                let past = group.deadline == Deadline::Past;
                let kind = Kind::Group { limit: group.limit, collects: group.collects, past };
                let token = Some(g.token().id());
                let mut entries = self.entries.borrow_mut();
                let what = What::Opened { kind, parents, token };
                entries.push(Entry { task: self.task, scope: node, begin: opened, end: opened, what });
                drop(entries);
                self.scope.set(node);
                let level = Level { group: g, node, handles: Arc::default(), outer, world: world.clone() };
                if let Some(act) = group.release {
                    let (world, value) = (world.clone(), self.value(Act::Nothing));
                    g.on_release(move || {
                        let _value = value;
                        world.ledger.note(What::Released { group: node });
                        perform(&world, act, Some(node));
                        Ok(())
                    });
                }
                let begin = self.now();
                let result = caught(|| self.block(&level, &group.body));
                let (outcome, result) = self.outcome(result);
                self.write(begin, What::Body { group: node, outcome });
                result.unwrap_or_else(|payload| resume_unwind(payload))
            })
        });
        self.scope.set(around);
        let what = match &result {
            Ok(Ok(())) => What::Value { group: node },
            Ok(Err(error)) => report(node, error),
            Err(_) => What::Panic { group: node },
        };
        self.write(begin, what);
        result.unwrap_or_else(|payload| resume_unwind(payload))
    }

    /// How a closure ended, and the same with its error marked by a fault.
    #[allow(clippy::type_complexity, reason = "the result of a caught call")]
    fn outcome<T>(&self, result: std::thread::Result<Result<T>>) -> (Outcome, std::thread::Result<Result<T>>) {
        match result {
            Ok(Ok(value)) => (Outcome::Value, Ok(Ok(value))),
            Ok(Err(error)) => {
                if let Some(cancelled) = error.cancelled() {
                    let fault = self.now();
                    let cut = cut(cancelled);
                    let own = taskgroup::current_token().map(|token| token.id());
                    (Outcome::Cut { fault, cut, own }, Ok(Err(error.context(Fault(fault)))))
                } else {
                    // An error that a task passes on is another failure.
                    let fault = match error.is::<Fault>() && error.chain().count() == 1 {
                        true => error.downcast_ref::<Fault>().map_or(0, |fault| fault.0),
                        false => self.now(),
                    };
                    (Outcome::Failed(fault), Ok(Err(error.context(Fault(fault)))))
                }
            }
            Err(payload) => {
                let text = payload.downcast_ref::<String>().map(String::as_str);
                let Some(fault) = text.and_then(|text| number_in(text, "fault ")) else { resume_unwind(payload) };
                (Outcome::Panicked(fault), Err(payload))
            }
        }
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

fn fault_of(kind: &FailureKind<anyhow::Error>) -> (Option<u64>, bool) {
    match kind {
        FailureKind::Error(error) => (error.downcast_ref::<Fault>().map(|fault| fault.0), false),
        FailureKind::Panic(panic) => (number_in(panic.message(), "fault "), true),
        _ => (None, false),
    }
}

fn report(group: Node, error: &GroupError) -> What {
    let failures = error.failures().iter().map(|failure| {
        let (fault, panic) = fault_of(failure.kind());
        Reported { fault, panic, after_cancel: failure.after_cancel() }
    });
    let primary =
        error.primary().and_then(|primary| error.failures().iter().position(|failure| std::ptr::eq(failure, primary)));
    What::Error { group, failures: failures.collect(), primary, cut: error.cancelled().map(cut) }
}

/// Runs a task on its thread.
fn run_task(
    world: &Arc<World>,
    level: &dyn Opened,
    node: Node,
    task: &Task,
    belongings: (Ends, Option<Value>, Option<Sets>),
    ready: Option<Ready<Handed>>,
) -> Result<Handed> {
    let (ends, captured, sets) = belongings;
    let frame = Frame::new(world, node, ends);
    *frame.ready.borrow_mut() = ready;
    let begin = frame.now();
    let result = caught(|| {
        let _sets = sets;
        let captured = captured;
        let result = frame.block(level, &task.block);
        drop(frame.ready.take());
        drop(frame.ends.take());
        // Before there is a result: rustc forgets a return value when the destructor of a local panics (rust#47949).
        drop(captured);
        result.map(|()| task.result.map(|act| frame.value(act)))
    });
    drop(frame.ready.take());
    drop(frame.ends.take());
    let (outcome, result) = frame.outcome(result);
    frame.write(begin, What::Ran { outcome });
    drop(frame);
    result.unwrap_or_else(|payload| resume_unwind(payload))
}

impl<'scope, 'env> Level<'scope, 'env> {
    fn keep(&self, task: usize, handle: Handle<'scope>, node: Node) {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner).insert(task, (Arc::new(handle), node));
    }

    fn handle(&self, task: usize) -> Option<Kept<'scope>> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner).get(&task).cloned()
    }

    fn take(&self, task: usize) -> Option<Kept<'scope>> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner).remove(&task)
    }

    fn belongings(&self, frame: &Frame, task: &Task, ends: Ends) -> (Ends, Option<Value>, Option<Sets>) {
        let captured = task.captured.map(|act| frame.value(act));
        (ends, captured, task.sets.map(|event| Sets(self.world.clone(), event)))
    }

    fn opened(&self, frame: &Frame, node: Node) {
        let what = What::Opened { kind: Kind::Task, parents: vec![self.node], token: None };
        let now = frame.now();
        frame.entries.borrow_mut().push(Entry { task: frame.task, scope: node, begin: now, end: now, what });
    }
}

impl<'scope, 'env> Opened for Level<'scope, 'env> {
    fn outer(&self) -> Option<&dyn Opened> {
        self.outer.map(|outer| outer as &dyn Opened)
    }

    fn spawn(&self, frame: &Frame, how: How, keep: bool, task: &Arc<Task>, ends: Ends) -> Node {
        let (world, level, node, id) = (self.world.clone(), self.clone(), frame.now(), task.id);
        let belongings = self.belongings(frame, task, ends);
        self.opened(frame, node);
        let task = task.clone();
        let run = move || run_task(&world, &level, node, &task, belongings, None);
        let begin = frame.now();
        let (handle, role) = match how {
            How::Plain => (Handle::Plain(self.group.spawn(run)), Role::Plain),
            How::Named => (Handle::Plain(self.group.task().name("named").spawn(run)), Role::Plain),
            How::Dedicated => (Handle::Plain(self.group.task().dedicated().spawn(run)), Role::Plain),
            How::Isolated => (Handle::Isolated(self.group.spawn_isolated(run)), Role::Isolated),
            How::Daemon => (Handle::Daemon(self.group.spawn_daemon(move || run().map(drop))), Role::Daemon),
            How::Try => match self.group.try_spawn(run) {
                Ok(handle) => (Handle::Plain(handle), Role::Plain),
                Err(refused) => {
                    let refused_with = match refused.kind() {
                        SpawnErrorKind::Cancelled(cancelled) => Seen::Cut(cut(cancelled)),
                        _ => Seen::NotNow,
                    };
                    let refused_with = Some(refused_with);
                    frame
                        .write(begin, What::Spawned { task: node, group: self.node, role: Role::Plain, refused: refused_with });
                    drop(refused);
                    return node;
                }
            },
        };
        frame.write(begin, What::Spawned { task: node, group: self.node, role, refused: None });
        if keep {
            self.keep(id, handle, node);
        }
        node
    }

    fn wait(&self, frame: &Frame, task: usize, way: Way) -> Result {
        let kept = if matches!(way, Way::Join | Way::Drop) { self.take(task) } else { self.handle(task) };
        let Some((handle, node)) = kept else {
            frame.note(What::Skipped);
            return Ok(());
        };
        let begin = frame.now();
        let wrote = |seen, status| {
            frame.write(begin, What::Waited { task: node, group: self.node, seen, status });
        };
        let waited = |result: std::result::Result<TaskStatus, Cancelled>| {
            wrote(seen_by(&result), result.as_ref().ok().copied());
            Ok(result.map(drop)?)
        };
        match way {
            Way::Drop => {
                drop(handle);
                Ok(())
            }
            Way::Cancel => {
                self.cancel_by(frame, &handle, node);
                Ok(())
            }
            Way::Wait => waited(each!(&*handle, handle => handle.wait())),
            Way::WaitZero | Way::WaitLong => {
                let duration = if way == Way::WaitZero { Duration::ZERO } else { HOUR };
                let result = each!(&*handle, handle => handle.wait_timeout(duration));
                match &result {
                    Ok(Some(status)) => wrote(Seen::Done, Some(*status)),
                    Ok(None) => wrote(Seen::NotNow, None),
                    Err(cancelled) => wrote(Seen::Cut(cut(cancelled)), None),
                }
                assert!(way == Way::WaitZero || !matches!(result, Ok(None)), "an hour has passed");
                result.map(drop)?;
                Ok(())
            }
            Way::CancelAndWait => {
                let cancel = frame.now();
                let result = each!(&*handle, handle => handle.cancel_and_wait());
                // The cancel is somewhere in the call.
                frame.write(cancel, What::Cancel { target: node, gracefully: false });
                wrote(seen_by(&result), result.as_ref().ok().copied());
                result.map(drop)?;
                Ok(())
            }
            Way::Join => match Arc::try_unwrap(handle) {
                // Another task waits with the same handle.
                Err(shared) => waited(each!(&*shared, handle => handle.wait())),
                Ok(Handle::Plain(handle)) => {
                    let result = handle.join();
                    wrote(seen_by(&result), result.as_ref().ok().map(|_| TaskStatus::Finished));
                    drop(result?);
                    Ok(())
                }
                Ok(Handle::Isolated(handle)) => {
                    let result = handle.join();
                    let status = match &result {
                        Ok(Ok(_)) => Some(TaskStatus::Finished),
                        Ok(Err(failure)) if matches!(failure.kind(), FailureKind::Panic(_)) => Some(TaskStatus::Panicked),
                        Ok(Err(_)) => Some(TaskStatus::Failed),
                        Err(_) => None,
                    };
                    wrote(seen_by(&result), status);
                    drop(result?);
                    Ok(())
                }
                Ok(Handle::Daemon(handle)) => {
                    let result = handle.join();
                    wrote(seen_by(&result), result.as_ref().ok().map(|()| TaskStatus::Finished));
                    Ok(result?)
                }
            },
        }
    }

    fn cancel_handle(&self, frame: &Frame, task: usize) {
        if let Some((handle, node)) = self.handle(task) {
            self.cancel_by(frame, &handle, node);
        }
    }

    fn completed(&self, frame: &Frame, tasks: &[usize]) -> Result {
        let (mut plain, mut isolated) = (Vec::new(), Vec::new());
        for task in tasks {
            let Some((handle, node)) = self.take(*task) else { continue };
            match Arc::try_unwrap(handle) {
                Ok(Handle::Plain(handle)) => plain.push((handle, node)),
                Ok(Handle::Isolated(handle)) => isolated.push((handle, node)),
                // Another task waits with the same handle, or it is a daemon's.
                Ok(Handle::Daemon(_)) | Err(_) => {}
            }
        }
        self.all_of(frame, plain, |value| match value {
            Ok(value) => {
                drop(value);
                Some(TaskStatus::Finished)
            }
            Err(_) => None,
        })?;
        self.all_of(frame, isolated, |value| match value {
            Ok(Ok(_)) => Some(TaskStatus::Finished),
            Ok(Err(failure)) if matches!(failure.kind(), FailureKind::Panic(_)) => Some(TaskStatus::Panicked),
            Ok(Err(_)) => Some(TaskStatus::Failed),
            Err(_) => None,
        })
    }

    fn map(&self, frame: &Frame, ordered: bool, items: usize, taken: usize, block: &Arc<Block>) -> Result {
        let (world, level, block) = (self.world.clone(), self.clone(), block.clone());
        // The time of an item's spawn is not known: it is somewhere after the items were made.
        let mut nodes = Vec::new();
        for _ in 0..items {
            let node = frame.now();
            self.opened(frame, node);
            nodes.push((node, frame.value(Act::Nothing)));
        }
        let spawned: Vec<Node> = nodes.iter().map(|(node, _)| *node).collect();
        let begin = frame.now();
        for node in &spawned {
            frame.write(begin, What::Spawned { task: *node, group: self.node, role: Role::Item, refused: None });
        }
        let run = move |(node, value): (Node, Value)| {
            let task = Task {
                id: usize::MAX,
                captured: None,
                result: Some(Act::Nothing),
                sends: Vec::new(),
                receives: Vec::new(),
                sets: None,
                block: (*block).clone(),
            };
            run_task(&world, &level, node, &task, (Ends::default(), Some(value), None), None)
        };
        if ordered {
            self.take_all(frame, self.group.map(nodes, run), taken)
        } else {
            self.take_all(frame, self.group.map_unordered(nodes, run), taken)
        }
    }

    fn start(&self, frame: &Frame, task: &Arc<Task>) -> Result {
        let (world, level, node) = (self.world.clone(), self.clone(), frame.now());
        let belongings = self.belongings(frame, task, Ends::default());
        self.opened(frame, node);
        let task = task.clone();
        let begin = frame.now();
        frame.write(begin, What::Spawned { task: node, group: self.node, role: Role::Started, refused: None });
        let result = self.group.start(move |ready| run_task(&world, &level, node, &task, belongings, Some(ready)).map(drop));
        let (seen, ready, fault) = match &result {
            Ok(_) => (Seen::Done, true, None),
            Err(StartError::Cancelled(cancelled)) => (Seen::Cut(cut(cancelled)), false, None),
            Err(StartError::Failed(failure)) => (Seen::Done, false, fault_of(failure.kind()).0),
            Err(_) => (Seen::NotNow, false, None),
        };
        frame.write(begin, What::Started { task: node, group: self.node, seen, ready, fault });
        match result {
            Err(StartError::Cancelled(cancelled)) => Err(cancelled.into()),
            // A program passes on no failure of a start, since it could not say whose it is.
            _ => Ok(()),
        }
    }

    fn on_finished(&self, frame: &Frame, task: usize, act: Act) {
        let Some((handle, node)) = self.handle(task) else { return frame.note(What::Skipped) };
        let (callback, world, group) = (frame.now(), self.world.clone(), self.node);
        frame.note(What::OnFinished { callback, task: node });
        each!(&*handle, handle => handle.on_finished(move |status| {
            world.ledger.note(What::Finished { callback, status });
            perform(&world, act, Some(group));
        }));
    }

    fn cancel(&self, frame: &Frame, gracefully: bool) {
        let begin = frame.now();
        let reason = format!("act {begin}");
        if gracefully {
            self.group.cancel_gracefully_because(HOUR, reason);
        } else {
            self.group.cancel_because(reason);
        }
        frame.write(begin, What::Cancel { target: self.node, gracefully });
    }
}

impl<'scope, 'env> Level<'scope, 'env> {
    fn cancel_by(&self, frame: &Frame, handle: &Handle<'scope>, node: Node) {
        let begin = frame.now();
        each!(handle, handle => handle.cancel());
        frame.write(begin, What::Cancel { target: node, gracefully: false });
    }

    /// Takes the handles as their tasks end, and joins each.
    fn all_of<T: Send + 'scope>(
        &self,
        frame: &Frame,
        handles: Vec<(TaskHandle<'scope, T>, Node)>,
        status: impl Fn(std::result::Result<T, Cancelled>) -> Option<TaskStatus>,
    ) -> Result {
        let nodes: BTreeMap<_, _> = handles.iter().map(|(handle, node)| (format!("{:?}", handle.id()), *node)).collect();
        let mut ended = self.group.as_completed(handles.into_iter().map(|(handle, _)| handle));
        loop {
            let begin = frame.now();
            let Some(next) = ended.next() else { return Ok(()) };
            frame.write(begin, What::WaitedForAny { group: self.node, seen: seen_by(&next) });
            let handle = next?;
            assert!(handle.is_finished(), "a handle was given before its task has ended");
            let node = nodes[&format!("{:?}", handle.id())];
            let begin = frame.now();
            let result = handle.join();
            let seen = seen_by(&result);
            frame.write(begin, What::Waited { task: node, group: self.node, seen, status: status(result) });
        }
    }

    fn take_all(
        &self,
        frame: &Frame,
        mut results: impl Iterator<Item = std::result::Result<Handed, Cancelled>>,
        taken: usize,
    ) -> Result {
        for _ in 0..taken {
            let begin = frame.now();
            let Some(result) = results.next() else { break };
            frame.write(begin, What::WaitedForAny { group: self.node, seen: seen_by(&result) });
            drop(result?);
        }
        Ok(())
    }
}

/// Runs the program once, and gives what it wrote.
pub fn run(program: &Program) -> Vec<Entry> {
    let ledger = Ledger::new();
    let mut tokens: Vec<(CancelToken, Node)> = Vec::new();
    for token in &program.tokens {
        let (token, parents) = match *token {
            Token::New => (CancelToken::new(), vec![]),
            Token::Child(parent) => (tokens[parent].0.child(), vec![tokens[parent].1]),
            Token::Linked(one, other) => {
                (CancelToken::linked([&tokens[one].0, &tokens[other].0]), vec![tokens[one].1, tokens[other].1])
            }
        };
        let node = ledger.now();
        let what = What::Opened { kind: Kind::Token, parents, token: Some(token.id()) };
        ledger.write(Entry { task: OUTSIDE, scope: node, begin: node, end: node, what });
        tokens.push((token, node));
    }
    let world = Arc::new(World {
        ledger: ledger.clone(),
        tokens,
        locks: std::array::from_fn(|_| Mutex::new(())),
        semaphores: PERMITS.map(Semaphore::new),
        events: (0..program.events).map(|_| Event::new()).collect(),
    });
    let frame = Frame::new(&world, OUTSIDE, Ends::default());
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
