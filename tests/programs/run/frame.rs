//! A task on its thread: it does the steps of its block, one after the other.

use super::level::Level;
use super::*;

/// A task on its thread: its scope, its ends of channels, and the entries that it has not yet
/// written into the ledger.
pub(super) struct Frame {
    pub(super) world: Arc<World>,
    pub(super) task: Node,
    pub(super) scope: std::cell::Cell<Node>,
    pub(super) entries: RefCell<Vec<Entry>>,
    pub(super) ends: RefCell<Ends>,
    pub(super) ready: RefCell<Option<Ready<Handed>>>,
}

impl Drop for Frame {
    fn drop(&mut self) {
        self.world.ledger.extend(self.entries.get_mut());
    }
}

impl Frame {
    pub(super) fn new(world: &Arc<World>, task: Node, ends: Ends) -> Frame {
        Frame {
            world: world.clone(),
            task,
            scope: std::cell::Cell::new(task),
            entries: RefCell::default(),
            ends: RefCell::new(ends),
            ready: RefCell::default(),
        }
    }

    pub(super) fn now(&self) -> u64 {
        self.world.ledger.now()
    }

    pub(super) fn write(&self, begin: u64, what: What) {
        let end = self.now();
        self.entries.borrow_mut().push(Entry {
            task: self.task,
            scope: self.scope.get(),
            begin,
            end,
            what,
        });
    }

    pub(super) fn note(&self, what: What) {
        self.write(self.now(), what);
    }

    pub(super) fn value(&self, act: Act) -> Value {
        Value::new(&self.world, act)
    }

    /// A blocking point that a cancel alone keeps from being passed.
    pub(super) fn point<T>(
        &self,
        name: &'static str,
        call: impl FnOnce() -> std::result::Result<T, Cancelled>,
    ) -> Result<T> {
        self.point_that(name, false, call)
    }

    pub(super) fn forever<T>(
        &self,
        name: &'static str,
        call: impl FnOnce() -> std::result::Result<T, Cancelled>,
    ) -> Result {
        self.point_that(name, true, call).map(drop)
    }

    pub(super) fn point_that<T>(
        &self,
        name: &'static str,
        forever: bool,
        call: impl FnOnce() -> std::result::Result<T, Cancelled>,
    ) -> Result<T> {
        let begin = self.now();
        let result = call();
        self.write(
            begin,
            What::Point {
                name,
                seen: seen_by(&result),
                forever,
            },
        );
        Ok(result?)
    }

    /// Calls `run` as the inside of a scope that is opened by it.
    pub(super) fn region<T>(&self, kind: Kind, more: &[Node], run: impl FnOnce() -> T) -> T {
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
        self.note(What::Opened {
            kind,
            parents,
            token: None,
        });
        run()
    }

    pub(super) fn fail(&self) -> Result {
        Err(Fault(self.now()).into())
    }

    pub(super) fn panic(&self) -> ! {
        panic_any(Fault(self.now()).to_string())
    }

    /// Runs a block to its end, and returns the outcome of the task, or of the body of a group.
    pub(super) fn block(&self, level: &dyn Opened, block: &Block) -> Result {
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

    pub(super) fn steps(&self, level: &dyn Opened, steps: &[Step]) -> Result {
        steps.iter().try_for_each(|step| self.step(level, step))
    }

    /// The group of this number, counted from the outermost.
    pub(super) fn level<'a>(&self, innermost: &'a dyn Opened, number: usize) -> &'a dyn Opened {
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

    pub(super) fn step(&self, level: &dyn Opened, step: &Step) -> Result {
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
            Step::Spawn {
                level: number,
                how,
                keep,
                task,
            } => {
                self.level(level, *number)
                    .spawn(self, *how, *keep, task, Ends::default());
                Ok(())
            }
            Step::Doomed {
                level: number,
                how,
                task,
                between,
                by,
            } => {
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
                        let steps = vec![Step::Run {
                            token: *token,
                            steps: task.block.steps.clone(),
                        }];
                        let block = Block {
                            steps,
                            when_cut: task.block.when_cut,
                        };
                        Arc::new(Task {
                            block,
                            ..(**task).clone()
                        })
                    }
                    _ => task.clone(),
                };
                of.spawn(self, *how, true, &task, Ends::default());
                let cancels = Cancels(self, of, task.id, *by);
                let result = self.steps(level, between);
                drop(cancels);
                result
            }
            Step::Wait {
                level: number,
                task,
                way,
            } => self.level(level, *number).wait(self, *task, *way),
            Step::Completed {
                level: number,
                tasks,
            } => self.level(level, *number).completed(self, tasks),
            Step::Map {
                level: number,
                ordered,
                items,
                taken,
                block,
            } => self
                .level(level, *number)
                .map(self, *ordered, *items, *taken, block),
            Step::Start {
                level: number,
                task,
            } => self.level(level, *number).start(self, task),
            Step::Ready => {
                if let Some(ready) = self.ready.take() {
                    ready.send(Some(self.value(Act::Nothing)));
                }
                Ok(())
            }
            Step::OnFinished {
                level: number,
                task,
                act,
            } => {
                self.level(level, *number).on_finished(self, *task, *act);
                Ok(())
            }
            Step::Open { group, absorb } => match self.open(Some(level), group) {
                Err(_) if *absorb => Ok(()),
                result => Ok(result?),
            },
            Step::Shield {
                bounded: false,
                steps,
            } => self.region(Kind::Shield, &[], || {
                taskgroup::shield(|| self.steps(level, steps))
            }),
            Step::Shield {
                bounded: true,
                steps,
            } => self.region(Kind::Shield, &[], || {
                taskgroup::shield_for(HOUR, || self.steps(level, steps))
            }),
            Step::Timeout { past, steps } => self.timeout(level, *past, steps),
            Step::Run { token, steps } => {
                let (token, node) = &world.tokens[*token];
                self.region(Kind::Plain, &[*node], || {
                    token.run(|| self.steps(level, steps))
                })
            }
            Step::Winding(steps) => self.region(Kind::Winding, &[], || {
                taskgroup::winding_down(|| self.steps(level, steps))
            }),
            Step::Hook(steps) => {
                let hook = self.now();
                let ledger = world.ledger.clone();
                let begin = self.now();
                let result = taskgroup::with_cancel_hook(
                    move || ledger.note(What::HookRan { hook }),
                    || self.steps(level, steps),
                );
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
            Step::Lock { lock, steps } => self.locked(level, *lock, steps),
            Step::Whole(whole, tasks) => self.whole(level, *whole, tasks),
            Step::Permits(semaphore, count, steps) => {
                self.permits(level, *semaphore, *count, steps)
            }
            Step::CloseSemaphore(semaphore) => {
                self.close_semaphore(*semaphore);
                Ok(())
            }
            Step::AwaitEvent(event) => self.await_event(*event),
            Step::After => self.after(),
            Step::Tick(count) => self.tick(*count),
            Step::Pipe {
                level: number,
                channels,
                tasks,
            } => {
                self.pipe(self.level(level, *number), channels, tasks);
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

    /// Opens a group inside of this frame, runs its body, and writes what the scope returned.
    pub(super) fn open(
        &self,
        outer: Option<&dyn Opened>,
        group: &Group,
    ) -> std::result::Result<(), GroupError> {
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
                let kind = Kind::Group {
                    limit: group.limit,
                    fatal: if group.collects {
                        Fatal::None
                    } else {
                        Fatal::All
                    },
                    past,
                };
                let token = Some(g.token().id());
                let mut entries = self.entries.borrow_mut();
                let what = What::Opened {
                    kind,
                    parents,
                    token,
                };
                entries.push(Entry {
                    task: self.task,
                    scope: node,
                    begin: opened,
                    end: opened,
                    what,
                });
                drop(entries);
                self.scope.set(node);
                let level = Level::new(g, node, outer, world);
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
                self.write(
                    begin,
                    What::Body {
                        group: node,
                        outcome,
                    },
                );
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
    pub(super) fn outcome<T>(
        &self,
        result: std::thread::Result<Result<T>>,
    ) -> (Outcome, std::thread::Result<Result<T>>) {
        match result {
            Ok(Ok(value)) => (Outcome::Value, Ok(Ok(value))),
            Ok(Err(error)) => {
                if let Some(cancelled) = error.cancelled() {
                    let fault = self.now();
                    let cut = cut(cancelled);
                    let own = taskgroup::current_token().map(|token| token.id());
                    (
                        Outcome::Cut { fault, cut, own },
                        Ok(Err(error.context(Fault(fault)))),
                    )
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
                let Some(fault) = text.and_then(|text| number_in(text, "fault ")) else {
                    resume_unwind(payload)
                };
                (Outcome::Panicked(fault), Err(payload))
            }
        }
    }
}
