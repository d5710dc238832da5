//! The steps of a block: one function for each group of verbs.

use super::bindings::check_bound;
use super::*;

impl Frame {
    pub(super) fn steps(&self, level: &dyn Opened, steps: &[Step]) -> Result {
        let bound = self.bound.get();
        steps.iter().try_for_each(|step| {
            let result = self.step(level, step);
            check_bound(bound);
            result
        })
    }

    fn step(&self, level: &dyn Opened, step: &Step) -> Result {
        match step {
            Step::Checkpoint
            | Step::Yield
            | Step::Nap
            | Step::Forever(_)
            | Step::AwaitEvent(_)
            | Step::After
            | Step::Tick(_)
            | Step::Io(_)
            | Step::Meet(..) => self.wait_step(step),

            Step::Fail | Step::Panic | Step::Foreign(_) => self.failing_step(step),

            Step::Spawn { .. }
            | Step::Doomed { .. }
            | Step::Wait { .. }
            | Step::Completed { .. }
            | Step::Map { .. }
            | Step::Start { .. }
            | Step::Ready
            | Step::OnFinished { .. } => self.task_step(level, step),

            Step::Open { .. }
            | Step::Whole(..)
            | Step::Shield { .. }
            | Step::Timeout { .. }
            | Step::Run { .. }
            | Step::Winding(_)
            | Step::Hook(_)
            | Step::Bind(_)
            | Step::OnCancel { .. } => self.scope_step(level, step),

            Step::Hold(..) | Step::Lock { .. } | Step::Permits(..) => {
                self.holding_step(level, step)
            }

            Step::CancelGroup(_)
            | Step::Gracefully(_)
            | Step::CancelToken(_)
            | Step::CloseSemaphore(_) => {
                self.ending_step(level, step);
                Ok(())
            }

            Step::Pipe { .. }
            | Step::Send(_)
            | Step::TrySend(_)
            | Step::Receive(_)
            | Step::TryReceive(_)
            | Step::Drain(_)
            | Step::Select { .. } => self.channel_step(level, step),
        }
    }

    /// The steps that are a single blocking point.
    fn wait_step(&self, step: &Step) -> Result {
        match step {
            Step::Checkpoint => self.point("checkpoint", taskgroup::checkpoint),
            Step::Yield => self.point("yield_now", taskgroup::yield_now),
            Step::Nap => self.point("sleep(0)", || taskgroup::sleep(Duration::ZERO)),
            Step::Forever(forever) => self.wait_for_ever(*forever),
            Step::AwaitEvent(event) => self.await_event(*event),
            Step::After => self.after(),
            Step::Tick(count) => self.tick(*count),
            Step::Io(io) => self.exchange(*io),
            Step::Meet(meeting, attendance) => self.meet(*meeting, *attendance),
            other => unreachable!("{other:?} is no blocking point"),
        }
    }

    /// The steps that end a task without a value.
    fn failing_step(&self, step: &Step) -> Result {
        match step {
            Step::Fail => self.fail(),
            Step::Panic => self.panic(),
            Step::Foreign(token) => Ok(self.world.tokens[*token].0.check()?),
            other => unreachable!("{other:?} does not fail"),
        }
    }

    /// The steps that spawn tasks, and that wait for them.
    fn task_step(&self, innermost: &dyn Opened, step: &Step) -> Result {
        match step {
            Step::Spawn {
                level,
                how,
                keep,
                task,
            } => {
                self.level(innermost, *level)
                    .spawn(self, *how, *keep, task, Ends::default());
                Ok(())
            }
            Step::Doomed {
                level,
                how,
                task,
                between,
                by,
            } => {
                let group = self.level(innermost, *level);
                self.doomed(group, *how, task, *by, || self.steps(innermost, between))
            }
            Step::Wait { level, task, way } => {
                self.level(innermost, *level).wait(self, *task, *way)
            }
            Step::Completed { level, tasks } => {
                self.level(innermost, *level).completed(self, tasks)
            }
            Step::Map {
                level,
                ordered,
                items,
                taken,
                block,
            } => self
                .level(innermost, *level)
                .map(self, *ordered, *items, *taken, block),
            Step::Start { level, task } => self.level(innermost, *level).start(self, task),
            Step::Ready => {
                if let Some(ready) = self.ready.take() {
                    ready.send(Some(self.value(Act::Nothing)));
                }
                Ok(())
            }
            Step::OnFinished { level, task, act } => {
                self.level(innermost, *level).on_finished(self, *task, *act);
                Ok(())
            }
            other => unreachable!("{other:?} has no task"),
        }
    }

    /// The steps that open a scope, with steps inside.
    fn scope_step(&self, level: &dyn Opened, step: &Step) -> Result {
        match step {
            Step::Open { group, absorb } => match self.open(Some(level), group) {
                Err(_) if *absorb => Ok(()),
                result => Ok(result?),
            },
            Step::Whole(whole, tasks) => self.whole(level, *whole, tasks),
            Step::Shield { bounded, steps } => self.region(Kind::Shield, &[], || {
                if *bounded {
                    taskgroup::shield_for(HOUR, || self.steps(level, steps))
                } else {
                    taskgroup::shield(|| self.steps(level, steps))
                }
            }),
            Step::Timeout { past, steps } => self.timeout(level, *past, steps),
            Step::Run { token, steps } => {
                let (token, node) = &self.world.tokens[*token];
                self.region(Kind::Plain, &[*node], || {
                    token.run(|| self.steps(level, steps))
                })
            }
            Step::Winding(steps) => self.region(Kind::Winding, &[], || {
                taskgroup::winding_down(|| self.steps(level, steps))
            }),
            Step::Hook(steps) => self.hooked(|| self.steps(level, steps)),
            Step::Bind(steps) => self.binding(|| self.steps(level, steps)),
            Step::OnCancel { token, act, steps } => self.on_cancel(level, *token, *act, steps),
            other => unreachable!("{other:?} opens no scope"),
        }
    }

    /// The steps that hold something while the steps inside run.
    fn holding_step(&self, level: &dyn Opened, step: &Step) -> Result {
        match step {
            Step::Hold(act, steps) => {
                let _held = self.value(*act);
                self.steps(level, steps)
            }
            Step::Lock { lock, steps } => self.locked(level, *lock, steps),
            Step::Permits(semaphore, count, steps) => {
                self.permits(level, *semaphore, *count, steps)
            }
            other => unreachable!("{other:?} holds nothing"),
        }
    }

    /// The steps that cancel or close.
    fn ending_step(&self, level: &dyn Opened, step: &Step) {
        match step {
            Step::CancelGroup(number) => self.level(level, *number).cancel(self, false),
            Step::Gracefully(number) => self.level(level, *number).cancel(self, true),
            Step::CancelToken(token) => cancel_token(&self.world, *token),
            Step::CloseSemaphore(semaphore) => self.close_semaphore(*semaphore),
            other => unreachable!("{other:?} ends nothing"),
        }
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

    /// Spawns a task that waits for ever, calls `between`, and cancels the task on every way out.
    fn doomed(
        &self,
        group: &dyn Opened,
        how: How,
        task: &Arc<Task>,
        by: Doom,
        between: impl FnOnce() -> Result,
    ) -> Result {
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

        let task = match by {
            Doom::Token(token) => within_token(task, token),
            Doom::Handle | Doom::Group => task.clone(),
        };
        group.spawn(self, how, true, &task, Ends::default());

        let cancels = Cancels(self, group, task.id, by);
        let result = between();
        drop(cancels);
        result
    }

    /// Calls `run` in a region with a cancel hook.
    fn hooked(&self, run: impl FnOnce() -> Result) -> Result {
        let hook = self.now();
        let ledger = self.world.ledger.clone();
        let begin = self.now();
        let ran = move || {
            check_bound(None);
            ledger.note(What::HookRan { hook });
        };
        let result = taskgroup::with_cancel_hook(ran, run);
        self.write(begin, What::Hooked { hook });
        result
    }
}

/// The task with its steps inside `CancelToken::run` of a token.
fn within_token(task: &Task, token: usize) -> Arc<Task> {
    let steps = vec![Step::Run {
        token,
        steps: task.block.steps.clone(),
    }];
    Arc::new(Task {
        block: Block {
            steps,
            when_cut: task.block.when_cut,
        },
        ..task.clone()
    })
}
