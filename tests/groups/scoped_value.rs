//! Scoped values: the tasks of a group see the values that were bound where it was opened.

use std::panic::{catch_unwind, panic_any};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use crate::support::{Gate, LONG, blocked};
use taskgroup::{
    CancelToken, GroupError, Ready, ScopedValue, TaskGroup, join, map, on_stall, race,
};

static NAME: ScopedValue<&str> = ScopedValue::new();
static NUMBER: ScopedValue<u64> = ScopedValue::new();

/// A value for the tests in which a destructor, a callback or another thread looks.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<Option<&'static str>>>>);

impl Seen {
    fn look(&self) {
        self.0.lock().unwrap().push(NAME.cloned());
    }

    /// Looks when it is dropped.
    fn on_drop(&self) -> impl Drop + Send + use<> {
        struct Looks(Seen);
        impl Drop for Looks {
            fn drop(&mut self) {
                self.0.look();
            }
        }
        Looks(self.clone())
    }

    #[track_caller]
    fn assert(&self, expected: &[Option<&str>]) {
        assert_eq!(*self.0.lock().unwrap(), expected);
    }
}

#[test]
fn tasks_of_every_kind_see_what_is_bound_around_their_group() -> Result<(), GroupError> {
    let see = || Ok::<_, anyhow::Error>(NAME.cloned());
    NAME.with(&"ada", || {
        TaskGroup::scope(|g| {
            assert_eq!(g.spawn(see).join()?, Some("ada"));
            assert_eq!(g.task().dedicated().spawn(see).join()?, Some("ada"));
            assert_eq!(g.spawn_isolated(see).join()?.ok(), Some(Some("ada")));
            let (sender, receiver) = mpsc::channel();
            g.spawn_daemon(move || Ok(sender.send(NAME.cloned())?));
            assert_eq!(receiver.recv()?, Some("ada"));
            let started = g.start(|ready: Ready<_>| {
                ready.send(NAME.cloned());
                Ok(())
            })?;
            assert_eq!(started, Some("ada"));
            let mapped: Result<Vec<_>, _> = g.map(0..40, |_| see()).collect();
            assert!(mapped?.iter().all(|seen| *seen == Some("ada")));
            let mapped: Result<Vec<_>, _> = g.map_unordered(0..40, |_| see()).collect();
            assert!(mapped?.iter().all(|seen| *seen == Some("ada")));
            Ok(())
        })?;

        assert_eq!(join(see, see)?, (Some("ada"), Some("ada")));
        assert_eq!(race([see, see])?, Some("ada"));
        let mapped: Vec<_> = map(0..3, 2, |_| see())?;
        assert_eq!(mapped, [Some("ada"); 3]);
        assert_eq!(NAME.cloned(), Some("ada"));
        Ok::<_, GroupError>(())
    })?;
    assert_eq!(NAME.cloned(), None);
    Ok(())
}

#[test]
fn groups_inside_of_tasks_see_it_too_at_any_depth() -> Result<(), GroupError> {
    fn nest(depth: u64) -> anyhow::Result<u64> {
        let seen = NUMBER.cloned();
        assert_eq!(seen, Some(7));
        if depth == 0 {
            return Ok(0);
        }
        Ok(TaskGroup::scope(|g| {
            Ok(1 + g.task().dedicated().spawn(|| nest(depth - 1)).join()?)
        })?)
    }
    let depth = NUMBER.with(&7, || TaskGroup::scope(|_| nest(10)))?;
    assert_eq!(depth, 10);
    Ok(())
}

#[test]
fn a_task_that_binds_anew_changes_its_own_subtree_only() -> Result<(), GroupError> {
    NAME.with(&"outer", || {
        TaskGroup::scope(|g| {
            let inner = g.spawn(|| {
                let seen = NAME.with(&"inner", || {
                    TaskGroup::scope(|g| Ok(g.spawn(|| Ok(NAME.cloned())).join()?))
                })?;
                Ok((seen, NAME.cloned()))
            });
            assert_eq!(inner.join()?, (Some("inner"), Some("outer")));
            assert_eq!(g.spawn(|| Ok(NAME.cloned())).join()?, Some("outer"));
            Ok(())
        })
    })
}

#[test]
fn a_panic_restores_the_binding_before() {
    NAME.with(&"outer", || {
        let panicked = catch_unwind(|| NAME.with(&"inner", || panic_any(1)));
        assert!(panicked.is_err());
        assert_eq!(NAME.cloned(), Some("outer"));
    });
    assert_eq!(NAME.cloned(), None);
}

#[test]
fn a_spawn_does_not_inherit_what_is_bound_around_it() -> Result<(), GroupError> {
    let outside = TaskGroup::scope(|g| {
        NAME.with(&"at the spawn", || {
            let on_a_thread = g.task().dedicated().spawn(|| Ok(NAME.cloned()));
            assert_eq!(on_a_thread.join()?, None);

            // In place, on this thread, which has its own binding again afterwards.
            let in_place = g.spawn(|| Ok(NAME.cloned())).join()?;
            assert_eq!(NAME.cloned(), Some("at the spawn"));
            Ok(in_place)
        })
    })?;
    assert_eq!(outside, None);

    NAME.with(&"at the opening", || {
        TaskGroup::scope(|g| {
            NAME.with(&"at the spawn", || {
                for _ in 0..64 {
                    assert_eq!(
                        g.spawn(|| Ok(NAME.cloned())).join()?,
                        Some("at the opening")
                    );
                }
                assert_eq!(NAME.cloned(), Some("at the spawn"));
                Ok(())
            })
        })
    })
}

#[test]
fn a_builder_binds_where_its_scope_is_opened() -> Result<(), GroupError> {
    let builder = NAME.with(&"at the builder", || TaskGroup::builder().name("late"));
    NAME.with(&"at the scope", || {
        builder.scope(|g| {
            assert_eq!(g.spawn(|| Ok(NAME.cloned())).join()?, Some("at the scope"));
            Ok(())
        })
    })
}

#[test]
fn keys_are_told_apart_by_their_place() {
    static OTHERS: [ScopedValue<&str>; 2] = [ScopedValue::new(), ScopedValue::new()];
    static UNIT: ScopedValue<()> = ScopedValue::new();
    static ANOTHER_UNIT: ScopedValue<()> = ScopedValue::new();
    NAME.with(&"name", || {
        assert_eq!([OTHERS[0].cloned(), OTHERS[1].cloned()], [None, None]);
        OTHERS[0].with(&"first", || {
            assert_eq!(NAME.cloned(), Some("name"));
            assert_eq!(OTHERS[0].cloned(), Some("first"));
            assert_eq!(OTHERS[1].cloned(), None);
        });
    });
    UNIT.with(&(), || {
        assert_eq!((UNIT.cloned(), ANOTHER_UNIT.cloned()), (Some(()), None))
    });
    assert_ne!(size_of::<ScopedValue<()>>(), 0);
}

#[test]
fn callbacks_hooks_and_dropped_values_of_a_cancel_see_nothing() -> Result<(), GroupError> {
    let seen = Seen::default();
    NAME.with(&"group", || {
        TaskGroup::builder().limit(1).scope(|g| {
            let token = g.token().clone();
            let theirs = seen.clone();
            let _guard = token.on_cancel(move || theirs.look());

            // A task in a region with a hook, and a queued one with captures that the cancel drops.
            let begun = Arc::new(Gate::default());
            let (hooked, stop) = (seen.clone(), Arc::new(Gate::default()));
            g.spawn({
                let (begun, stop) = (begun.clone(), stop.clone());
                move || {
                    let hook = || {
                        hooked.look();
                        stop.open();
                    };
                    taskgroup::with_cancel_hook(hook, || {
                        begun.open();
                        stop.wait();
                    });
                    Ok(())
                }
            });
            begun.wait();
            let captured = seen.on_drop();
            g.spawn(move || {
                drop(captured);
                Ok(())
            });

            thread::scope(|threads| {
                threads.spawn(|| NAME.with(&"canceller", || token.cancel()));
            });
            Ok(())
        })
    })?;
    seen.assert(&[None, None, None]);
    Ok(())
}

#[test]
fn a_callback_that_is_registered_too_late_and_the_end_of_a_task_see_nothing()
-> Result<(), GroupError> {
    let seen = Seen::default();
    let token = CancelToken::new();
    token.cancel();
    NAME.with(&"caller", || {
        let theirs = seen.clone();
        drop(token.on_cancel(move || theirs.look()));
        assert_eq!(NAME.cloned(), Some("caller"));
        TaskGroup::scope(|g| {
            let theirs = seen.clone();
            g.spawn(|| Ok(())).on_finished(move |_| theirs.look());
            // A result that nothing takes.
            drop(g.spawn(|| Ok(seen.on_drop())));
            Ok(())
        })
    })?;
    seen.assert(&[None, None, None]);
    Ok(())
}

#[test]
fn release_hooks_see_what_was_bound_at_the_opening() -> Result<(), GroupError> {
    let seen = Seen::default();
    NAME.with(&"opening", || {
        TaskGroup::scope(|g| {
            NAME.with(&"registration", || {
                g.on_release(|| {
                    seen.look();
                    Ok(())
                })
            });
            Ok(())
        })
    })?;
    seen.assert(&[Some("opening")]);
    Ok(())
}

#[test]
fn threads_that_outlive_the_code_see_nothing() {
    NAME.with(&"caller", || {
        assert_eq!(taskgroup::abandon(|| NAME.cloned()).unwrap(), None);
        assert_eq!(thread::spawn(|| NAME.cloned()).join().unwrap(), None);
    });
}

/// The timer calls back at a deadline, and the reporter the hook of a stall.
#[test]
fn threads_of_the_crate_see_nothing() -> Result<(), GroupError> {
    let (calls, called) = mpsc::channel();
    let (reports, reported) = mpsc::channel();
    let _hook = on_stall(move |_| reports.send(NAME.cloned()).unwrap_or(()));
    NAME.with(&"caller", || {
        let token = CancelToken::new();
        let _guard = token.on_cancel(move || calls.send(NAME.cloned()).unwrap_or(()));
        // Later, since a deadline that has passed already cancels here.
        token.cancel_after(Duration::from_millis(20));
        assert_eq!(called.recv_timeout(LONG), Ok(None));

        let stalls = TaskGroup::builder().stall_after(Duration::from_millis(20));
        stalls.scope(|g| {
            g.cancel();
            assert_eq!(reported.recv_timeout(LONG)?, None);
            Ok(())
        })
    })
}

#[test]
fn a_worker_has_put_the_bindings_away_after_each_task() -> Result<(), GroupError> {
    // Tasks of a bound and of an unbound group, on the same workers.
    for round in 0..50 {
        let bound = &AtomicUsize::new(0);
        NUMBER.with(&round, || {
            TaskGroup::scope(|g| {
                for task in 0..64 {
                    let spawned = g.spawn_isolated(move || {
                        bound.fetch_add(
                            usize::from(NUMBER.cloned() == Some(round)),
                            Ordering::Relaxed,
                        );
                        if task == 7 {
                            panic_any("the worker puts it away after a panic, too");
                        }
                        Ok(())
                    });
                    drop(spawned);
                }
                Ok(())
            })
        })?;
        assert_eq!(bound.load(Ordering::Relaxed), 64);
        TaskGroup::scope(|g| {
            for _ in 0..64 {
                g.spawn(|| {
                    assert_eq!(NUMBER.cloned(), None);
                    Ok(())
                });
            }
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn destructors_of_thread_locals_see_nothing() {
    struct Looker(Option<mpsc::Sender<Option<&'static str>>>);
    impl Drop for Looker {
        fn drop(&mut self) {
            if let Some(sender) = &self.0 {
                sender.send(NAME.cloned()).unwrap();
            }
        }
    }
    thread_local! {
        static SENDS: std::cell::RefCell<Looker> = const { std::cell::RefCell::new(Looker(None)) };
    }
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        NAME.with(&"thread", || {
            SENDS.with(|sends| sends.borrow_mut().0 = Some(sender))
        });
    })
    .join()
    .unwrap();
    assert_eq!(receiver.recv().unwrap(), None);
}

#[test]
fn code_of_the_value_may_use_the_key() {
    struct Curious;
    static CURIOUS: ScopedValue<Curious> = ScopedValue::new();
    impl Drop for Curious {
        fn drop(&mut self) {
            CURIOUS.get(|_| CURIOUS.with(self, || CURIOUS.get(|inner| assert!(inner.is_some()))));
        }
    }
    let nested = CURIOUS.with(&Curious, || {
        CURIOUS.get(|outer| {
            assert!(outer.is_some());
            CURIOUS.with(&Curious, || CURIOUS.get(|inner| inner.is_some()))
        })
    });
    assert!(nested);
}

#[test]
fn the_outermost_of_a_thousand_bindings_is_found() {
    static DEPTH: ScopedValue<usize> = ScopedValue::new();
    fn bind(depth: usize) {
        if depth == 0 {
            assert_eq!(NAME.cloned(), Some("outermost"));
            assert_eq!(DEPTH.cloned(), Some(1));
            return;
        }
        DEPTH.with(&depth, || bind(depth - 1));
    }
    NAME.with(&"outermost", || bind(1_000));
}

#[test]
fn a_cancelled_task_sees_its_bindings_to_the_end() {
    let seen = Seen::default();
    let begun = Gate::default();
    let result = NAME.with(&"group", || {
        TaskGroup::scope(|g| {
            thread::scope(|threads| {
                let task = g.task().dedicated().spawn(|| {
                    begun.open();
                    drop(blocked());
                    seen.look();
                    Ok(())
                });
                begun.wait();
                threads.spawn(|| NAME.with(&"canceller", || g.cancel()));
                drop(task);
            });
            Ok(())
        })
    });
    result.unwrap();
    seen.assert(&[Some("group")]);
}

#[test]
fn values_may_borrow_locals_and_many_tasks_may_read_them() -> Result<(), GroupError> {
    static NUMBERS: ScopedValue<Mutex<Vec<u32>>> = ScopedValue::new();
    let numbers = Mutex::new(Vec::new());
    NUMBERS.with(&numbers, || {
        TaskGroup::scope(|g| {
            for number in 0..100 {
                g.spawn(move || {
                    NUMBERS.get(|numbers| numbers.unwrap().lock().unwrap().push(number));
                    Ok(())
                });
            }
            Ok(())
        })
    })?;
    let mut numbers = numbers.into_inner().unwrap();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..100));
    Ok(())
}
