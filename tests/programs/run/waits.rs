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
            // A model has no thread that it could leave behind, and sees no locks of std's.
            Forever::Abandon if !CATCHES => self.forever("sleep", || taskgroup::sleep(HOUR)),
            Forever::Abandon => self.abandoned(),
            Forever::Hook if !CATCHES => self.shielded_foreign_wait(),
            Forever::Hook => self.foreign_wait(),

            Forever::Event
            | Forever::Permit
            | Forever::Token
            | Forever::Promise
            | Forever::Latch
            | Forever::WaitGroup
            | Forever::Barrier
            | Forever::Condition => self.wait_for_ever_for_signal(forever),

            Forever::After
            | Forever::Tick
            | Forever::Never
            | Forever::Receive
            | Forever::Send
            | Forever::Select => self.wait_for_ever_in_channel(forever),

            Forever::Io(io) => self.wait_for_ever_in_kernel(io),
        }
    }

    /// A wait at a lock or signal, of which no other thread knows.
    fn wait_for_ever_for_signal(&self, forever: Forever) -> Result {
        match forever {
            Forever::Event => self.forever("event that is not set", || Event::new().wait()),
            Forever::Permit => self.forever("no permit", || Semaphore::new(0).acquire().map(drop)),
            Forever::Token => self.forever("token", || CancelToken::new().wait()),
            Forever::Promise => self.forever("promise", || Promise::<()>::new().wait().map(drop)),
            Forever::Latch => self.forever("latch", || Latch::new(1).wait()),
            Forever::WaitGroup => self.forever("wait group", || {
                let work = WaitGroup::new();
                let _piece = work.clone();
                work.wait()
            }),
            Forever::Barrier => {
                let barrier = Barrier::new(2);
                self.forever_by("barrier", || {
                    barrier.wait().map(drop).map_err(anyhow::Error::from)
                })
            }
            Forever::Condition => self.forever("condition", || {
                let (lock, condition) = (Mutex::new(()), Condvar::new());
                let mut guard = lock.lock()?;
                condition.wait_while(&mut guard, |()| true)
            }),
            other => unreachable!("{other:?} has no signal"),
        }
    }

    /// A wait at a channel in which no message comes, or that has no room.
    fn wait_for_ever_in_channel(&self, forever: Forever) -> Result {
        match forever {
            Forever::After => self.receive_for_ever("after", &channel::after(HOUR)),
            Forever::Tick => self.receive_for_ever("tick", &channel::tick(HOUR)),
            Forever::Never => self.receive_for_ever("never", &channel::never::<()>()),
            Forever::Receive => {
                let (_sender, receiver) = channel::bounded::<()>(1);
                self.receive_for_ever("recv of nothing", &receiver)
            }
            Forever::Send => {
                let (sender, _receiver) = channel::bounded::<()>(0);
                self.forever_by("send without a receiver", || Ok(sender.send(())?))
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
            other => unreachable!("{other:?} has no channel"),
        }
    }

    fn receive_for_ever<T>(&self, name: &'static str, receiver: &Receiver<T>) -> Result {
        self.forever_by(name, || {
            receiver.recv().map(drop).map_err(anyhow::Error::from)
        })
    }

    /// A wait that only a cancel ends, by a call with an error that can also say something else.
    pub(super) fn forever_by(&self, name: &'static str, call: impl FnOnce() -> Result) -> Result {
        let begin = self.now();
        let result = call();
        self.write_point(begin, name, seen_of(&result), true);
        result
    }

    /// A wait of std's, on a thread that is left behind.
    fn abandoned(&self) -> Result {
        let (leave, left) = std::sync::mpsc::channel::<()>();
        let result = self.forever("abandon", || {
            taskgroup::abandon(move || left.recv().is_ok())
        });
        drop(leave);
        result
    }

    /// A wait of std's that a hook ends.
    fn foreign_wait(&self) -> Result {
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
        self.foreign_wait_ended(begin)
    }

    /// The same in a model. The wait is one of the crate's, and a shield hides the cancel from it.
    fn shielded_foreign_wait(&self) -> Result {
        let (begin, released) = (self.now(), Event::new());
        let wait = || taskgroup::shield(|| released.wait());
        taskgroup::with_cancel_hook(|| released.set(), wait)?;
        self.foreign_wait_ended(begin)
    }

    /// Checks that a cancel has ended the wait.
    fn foreign_wait_ended(&self, begin: u64) -> Result {
        let result = taskgroup::checkpoint();
        self.write_point(begin, "foreign wait", seen_by(&result), true);
        Ok(result?)
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
}
