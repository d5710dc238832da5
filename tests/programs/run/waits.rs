//! The waits that only a cancel ends, and the regions that a cancel is looked for in.

use super::*;

impl Frame {
    pub(super) fn wait_for_ever(&self, forever: Forever) -> Result {
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
            Forever::Latch => self.forever("latch", || Latch::new(1).wait()),
            // A model has no thread that it could leave behind.
            Forever::Abandon if !CATCHES => self.forever("sleep", || taskgroup::sleep(HOUR)),
            Forever::Abandon => {
                let (leave, left) = std::sync::mpsc::channel::<()>();
                let result = self.forever("abandon", || {
                    taskgroup::abandon(move || left.recv().is_ok())
                });
                drop(leave);
                result
            }
            Forever::Barrier => {
                let barrier = Barrier::new(2);
                let begin = self.now();
                let result = barrier.wait().map(drop).map_err(anyhow::Error::from);
                self.write(
                    begin,
                    What::Point {
                        name: "barrier",
                        seen: seen_of(&result),
                        forever: true,
                    },
                );
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
                self.write(
                    begin,
                    What::Point {
                        name: "recv of nothing",
                        seen: seen_of(&result),
                        forever: true,
                    },
                );
                result
            }
            Forever::Send => {
                let (sender, _receiver) = channel::bounded::<()>(0);
                let begin = self.now();
                let result = sender.send(()).map_err(anyhow::Error::from);
                self.write(
                    begin,
                    What::Point {
                        name: "send to nobody",
                        seen: seen_of(&result),
                        forever: true,
                    },
                );
                result
            }
            Forever::Select => self.forever("select", || {
                let ((sender, _receiver), (_sender, receiver)) =
                    (channel::bounded::<()>(0), channel::bounded::<()>(1));
                let mut message = Some(());
                let mut select = Select::new();
                select.recv(&receiver, |_| ());
                select.send(&sender, &mut message, |_| ());
                select.select()
            }),
            Forever::Hook if !CATCHES => {
                // A model sees no locks of std's.
                let (begin, released) = (self.now(), Event::new());
                let wait = || taskgroup::shield(|| released.wait());
                taskgroup::with_cancel_hook(|| released.set(), wait)?;
                let result = taskgroup::checkpoint();
                self.write(
                    begin,
                    What::Point {
                        name: "foreign wait",
                        seen: seen_by(&result),
                        forever: true,
                    },
                );
                Ok(result?)
            }
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
                self.write(
                    begin,
                    What::Point {
                        name: "foreign wait",
                        seen: seen_by(&result),
                        forever: true,
                    },
                );
                Ok(result?)
            }
        }
    }

    pub(super) fn timeout(&self, level: &dyn Opened, past: bool, steps: &[Step]) -> Result {
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
        self.write(
            begin,
            What::Timeout {
                past,
                inner,
                outer,
                none,
            },
        );
        result.map(drop)
    }

    pub(super) fn on_cancel(
        &self,
        level: &dyn Opened,
        token: usize,
        act: Act,
        steps: &[Step],
    ) -> Result {
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
            // Of a token that is no group's own, the panic of a callback is logged and not
            // reported.
            if act != Act::Panic {
                perform(&world, act, None);
            } else if CATCHES {
                panic_any(Fault(0).to_string());
            }
        });
        self.write(
            begin,
            What::Registered {
                callback,
                token: *node,
            },
        );
        let _guard = Guard(self, callback, Some(guard));
        self.steps(level, steps)
    }

    pub(super) fn locked(&self, level: &dyn Opened, lock: Lock, steps: &[Step]) -> Result {
        let world = &self.world;
        match lock {
            Lock::Mutex(number) => {
                let _guard = self.point("lock", || world.mutexes[number].lock())?;
                self.steps(level, steps)
            }
            Lock::Write => {
                let _guard = self.point("write", || world.rw_lock.write())?;
                self.steps(level, steps)
            }
            Lock::Read => {
                let _guard = self.point("read", || world.rw_lock.read())?;
                self.steps(level, steps)
            }
            Lock::Once => {
                let (begin, is_ours) = (self.now(), std::cell::Cell::new(false));
                let result = world.once.get_or_try_init(|| {
                    is_ours.set(true);
                    self.steps(level, steps)
                });
                // What the steps came to is theirs to say.
                if !is_ours.get() {
                    self.write(
                        begin,
                        What::Point {
                            name: "once",
                            seen: seen_of(&result),
                            forever: false,
                        },
                    );
                }
                result.copied()
            }
        }
    }

    /// Runs two tasks as a group of their own.
    pub(super) fn both(&self, level: &dyn Opened, first: &Arc<Task>, second: &Arc<Task>) -> Result {
        let (group, around) = (self.now(), self.scope.get());
        let kind = Kind::Group {
            limit: None,
            collects: false,
            past: false,
        };
        self.scope.set(group);
        self.note(What::Opened {
            kind,
            parents: vec![around],
            token: None,
        });
        let tasks = [first, second].map(|task| {
            let node = self.now();
            self.scope.set(node);
            self.note(What::Opened {
                kind: Kind::Task,
                parents: vec![group],
                token: None,
            });
            self.scope.set(group);
            let captured = task.captured.map(|act| self.value(act));
            let begin = self.now();
            self.write(
                begin,
                What::Spawned {
                    task: node,
                    group,
                    role: Role::Item,
                    refused: None,
                },
            );
            let (world, task) = (self.world.clone(), task.clone());
            move || {
                level::run_task(
                    &world,
                    level,
                    node,
                    &task,
                    (Ends::default(), captured, None),
                    None,
                    None,
                )
            }
        });
        self.note(What::Body {
            group,
            outcome: Outcome::Value,
        });
        let begin = self.now();
        let [first, second] = tasks;
        let result = taskgroup::join(first, second);
        self.scope.set(around);
        self.write(
            begin,
            match &result {
                Ok(_) => What::Value { group },
                Err(error) => report(group, error),
            },
        );
        result?;
        Ok(())
    }
}
