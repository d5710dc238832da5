//! Suspected deadlocks: processes in which no thread is left to wake another, and processes in
//! which one is.
//!
//! Each case is a process of its own, with its main thread inside of a scope: in a process of the
//! usual test harness there is always a thread that does not belong to this crate. So this binary
//! has its own `main`, which starts itself once for each case.

#[cfg(target_os = "linux")]
mod cases {
    use std::thread;
    use std::time::Duration;

    use taskgroup::channel::{bounded, select};
    use taskgroup::sync::{Barrier, Condvar, Event, Latch, Mutex, Promise, Semaphore};
    use taskgroup::{CancelToken, GroupError, TaskGroup};

    const LONG: Duration = Duration::from_secs(60);

    pub(crate) type Case = (&'static str, fn() -> Result<(), GroupError>);

    /// Says that the last step before the deadlock has come.
    fn planted() {
        println!("planted");
    }

    fn has_monitor() -> bool {
        let threads = std::fs::read_dir("/proc/self/task").expect("there is a /proc");
        threads.into_iter().any(|thread| {
            let name =
                thread.and_then(|thread| std::fs::read_to_string(thread.path().join("comm")));
            // A thread may end while they are listed.
            name.is_ok_and(|name| name.starts_with("taskgroup-monit"))
        })
    }

    pub(crate) const FOUND: &[Case] = &[
        ("ready_with_a_task_that_waits_for_the_starter", || {
            let go_on = Event::new();
            TaskGroup::scope(|g| {
                planted();
                let go_on = &go_on;
                g.start(move |ready| {
                    let sends = g.spawn(move || {
                        go_on.wait()?;
                        ready.send(());
                        Ok(())
                    });
                    Ok(sends.join()?)
                })?;
                go_on.set();
                Ok(())
            })
        }),
        ("ready_of_a_task_that_wants_a_lock_of_the_starter", || {
            let lock = Mutex::new(());
            TaskGroup::scope(|g| {
                planted();
                let _held = lock.lock()?;
                g.start(|ready| {
                    drop(lock.lock()?);
                    ready.send(());
                    Ok(())
                })?;
                Ok(())
            })
        }),
        ("an_event_that_a_queued_task_would_set", || {
            let event = Event::new();
            TaskGroup::builder().limit(1).scope(|g| {
                planted();
                g.spawn(|| Ok(event.wait()?));
                g.spawn(|| {
                    event.set();
                    Ok(())
                });
                anyhow::Ok(())
            })
        }),
        ("full_channels_crosswise", || {
            let (to_a, from_a) = bounded(1);
            let (to_b, from_b) = bounded(1);
            TaskGroup::scope(|g| {
                planted();
                for (sender, receiver) in [(to_a, from_b), (to_b, from_a)] {
                    g.spawn(move || {
                        sender.send(1)?;
                        sender.send(2)?;
                        receiver.recv()?;
                        Ok(())
                    });
                }
                Ok(())
            })
        }),
        ("receivers_that_hold_each_others_senders", || {
            let (to_a, from_a) = bounded::<()>(1);
            let (to_b, from_b) = bounded::<()>(1);
            TaskGroup::scope(|g| {
                planted();
                for (sender, receiver) in [(to_a, from_b), (to_b, from_a)] {
                    g.spawn(move || {
                        receiver.recv()?;
                        Ok(sender.send(())?)
                    });
                }
                Ok(())
            })
        }),
        ("selections_that_hold_each_others_senders", || {
            let (to_a, from_a) = bounded::<()>(1);
            let (to_b, from_b) = bounded::<()>(1);
            TaskGroup::scope(|g| {
                planted();
                for (sender, receiver) in [(to_a, from_b), (to_b, from_a)] {
                    g.spawn(move || {
                        select! { recv(receiver) -> _message => () }?;
                        Ok(sender.send(())?)
                    });
                }
                Ok(())
            })
        }),
        ("a_barrier_that_lacks_one", || {
            let barrier = Barrier::new(3);
            TaskGroup::scope(|g| {
                planted();
                for _ in 0..2 {
                    g.spawn(|| Ok(barrier.wait().map(drop)?));
                }
                g.spawn(|| Ok(()));
                Ok(())
            })
        }),
        ("a_notification_before_the_wait", || {
            let (lock, condvar) = (Mutex::new(()), Condvar::new());
            TaskGroup::scope(|g| {
                condvar.notify_one();
                planted();
                g.spawn(|| {
                    let mut guard = lock.lock()?;
                    Ok(condvar.wait(&mut guard)?)
                });
                Ok(())
            })
        }),
        ("permits_that_are_held_one_by_one", || {
            let (semaphore, both) = (Semaphore::new(2), std::sync::Barrier::new(2));
            TaskGroup::scope(|g| {
                planted();
                for _ in 0..2 {
                    g.task().dedicated().spawn(|| {
                        let _one = semaphore.acquire()?;
                        both.wait();
                        drop(semaphore.acquire()?);
                        Ok(())
                    });
                }
                Ok(())
            })
        }),
        // The thread of the timer ends after a while, and the search waits for that.
        ("an_event_beside_a_timer_that_has_nothing_to_do", || {
            let (event, past) = (Event::new(), CancelToken::new());
            let (rung, rings) = std::sync::mpsc::channel();
            let _guard = past.on_cancel(move || rung.send(()).expect("the body listens"));
            // Later, since a deadline that has passed already cancels here.
            past.cancel_after(Duration::from_millis(20));
            rings.recv().expect("the timer calls back");
            TaskGroup::scope(|g| {
                planted();
                g.spawn(|| Ok(event.wait()?));
                Ok(())
            })
        }),
        ("an_event_beside_a_monitor_that_has_nothing_to_do", || {
            // The thread that looks after blocked workers comes with the first of them, and stays.
            while !has_monitor() {
                TaskGroup::scope(|g| {
                    for _ in 0..64 {
                        g.spawn(|| {
                            thread::sleep(Duration::from_millis(5));
                            Ok(())
                        });
                    }
                    Ok(())
                })?;
            }
            let event = Event::new();
            TaskGroup::scope(|g| {
                planted();
                g.spawn(|| Ok(event.wait()?));
                Ok(())
            })
        }),
        ("a_latch_that_lacks_one", || {
            let latch = Latch::new(2);
            TaskGroup::scope(|g| {
                planted();
                latch.count_down();
                g.spawn(|| Ok(latch.wait()?));
                Ok(())
            })
        }),
        ("a_park_without_an_unpark", || {
            TaskGroup::scope(|g| {
                planted();
                g.spawn(|| Ok(taskgroup::park()?));
                Ok(())
            })
        }),
        ("a_promise_that_its_waiter_keeps", || {
            let promise = Promise::<u8>::new();
            TaskGroup::scope(|g| {
                planted();
                g.spawn(|| {
                    promise.wait()?;
                    promise.set(1).expect("no other task sets it");
                    Ok(())
                });
                Ok(())
            })
        }),
    ];

    /// The threads have not been asleep for long enough.
    pub(crate) const A_LONG_QUIET_TIME: &str = "a_quiet_time_that_is_not_over";

    /// The search is silent at once, and wakes no thread.
    pub(crate) const UNWOKEN: &str = "a_channel_of_crossbeam";

    /// A task waits for an event, beside a task that does `other`.
    fn event_beside(other: impl FnOnce() -> anyhow::Result<()> + Send) -> Result<(), GroupError> {
        event_set_by(|_| other())
    }

    /// A task waits for an event, beside a task that does `other` and may set it.
    fn event_set_by(
        other: impl FnOnce(&Event) -> anyhow::Result<()> + Send,
    ) -> Result<(), GroupError> {
        let event = Event::new();
        TaskGroup::scope(|g| {
            planted();
            g.task().dedicated().spawn(|| Ok(event.wait()?));
            g.task().dedicated().spawn(|| other(&event));
            Ok(())
        })
    }

    pub(crate) const SILENT: &[Case] = &[
        ("a_sleeper", || event_beside(|| Ok(taskgroup::sleep(LONG)?))),
        ("a_wait_with_a_time_limit", || {
            event_beside(|| {
                let (_sender, receiver) = bounded::<()>(1);
                Ok(receiver.recv_timeout(LONG)?)
            })
        }),
        ("a_read_of_a_socket", || {
            event_beside(|| {
                use std::io::Read;
                let (mut stream, _other) = taskgroup::net::UnixStream::pair()?;
                stream.read_exact(&mut [0])?;
                Ok(())
            })
        }),
        // The thread does not look at its wait when the search wakes it.
        (UNWOKEN, || {
            event_beside(|| {
                let (_sender, receiver) = crossbeam_channel::bounded::<()>(1);
                Ok(taskgroup::channel::crossbeam::recv(&receiver)?)
            })
        }),
        ("a_read_of_a_pipe_before_it_sends", || {
            event_set_by(|event| {
                use std::io::Read;
                let (mut reader, _writer) = taskgroup::io::pipe()?;
                reader.read_exact(&mut [0])?;
                event.set();
                Ok(())
            })
        }),
        ("a_read_of_stdin_before_it_sends", || {
            event_set_by(|event| {
                use std::io::Read;
                taskgroup::io::stdin().read_exact(&mut [0])?;
                event.set();
                Ok(())
            })
        }),
        ("a_wait_for_a_child_before_it_sends", || {
            event_set_by(|event| {
                use taskgroup::process::{Command, Stdio};
                // It ends with this process, which has the other end of its input.
                let mut child = Command::new("cat").stdin(Stdio::piped()).spawn()?;
                let input = child.stdin.take();
                child.wait()?;
                drop(input);
                event.set();
                Ok(())
            })
        }),
        ("a_cancel_hook_that_will_set_it", || {
            use std::sync::Barrier as StdBarrier;
            let (event, token) = (Event::new(), CancelToken::new());
            let (inside, fired) = (StdBarrier::new(2), StdBarrier::new(2));
            let hook = || {
                fired.wait();
                thread::park_timeout(LONG);
                event.set();
            };
            TaskGroup::scope(|g| {
                g.task().dedicated().spawn(|| Ok(event.wait()?));
                g.task().dedicated().spawn(|| {
                    token.run(|| {
                        taskgroup::with_cancel_hook(hook, || {
                            inside.wait();
                            fired.wait();
                        });
                    });
                    Ok(())
                });
                g.task().dedicated().spawn(|| {
                    inside.wait();
                    token.cancel();
                    Ok(())
                });
                planted();
                Ok(())
            })
        }),
        ("a_thread_of_std", || {
            event_beside(|| {
                thread::spawn(|| thread::park_timeout(LONG));
                Ok(())
            })
        }),
        ("a_task_in_foreign_code", || {
            event_beside(|| {
                thread::park_timeout(LONG);
                Ok(())
            })
        }),
        ("a_task_that_runs", || {
            event_beside(|| {
                let lock = Mutex::new(());
                let _held = lock.lock()?;
                while lock.try_lock().is_none() {
                    taskgroup::yield_now()?;
                }
                Ok(())
            })
        }),
        ("an_abandoned_thread", || {
            event_beside(|| Ok(taskgroup::abandon(|| thread::park_timeout(LONG))?))
        }),
        ("an_abandoned_thread_that_will_send", || {
            let (sender, receiver) = bounded::<()>(1);
            let (begun, token) = (std::sync::Arc::new(Event::new()), CancelToken::new());
            let begins = begun.clone();
            TaskGroup::scope(|g| {
                g.task().dedicated().spawn(|| {
                    begun.wait()?;
                    token.cancel();
                    Ok(())
                });
                // The call returns and leaves its thread behind.
                let left = token.run(|| {
                    taskgroup::abandon(move || {
                        begins.set();
                        thread::park_timeout(LONG);
                        sender.send(())
                    })
                });
                assert!(left.is_err());
                planted();
                g.task().dedicated().spawn(|| Ok(receiver.recv()?));
                Ok(())
            })
        }),
        ("a_handle_for_unpark_that_is_kept_outside", || {
            let (send, parked) = std::sync::mpsc::channel::<thread::Thread>();
            thread::spawn(move || {
                let parked = parked.recv().expect("the task sends it");
                thread::park_timeout(LONG);
                parked.unpark();
            });
            TaskGroup::scope(|g| {
                planted();
                g.task().dedicated().spawn(|| {
                    send.send(thread::current())?;
                    Ok(taskgroup::park()?)
                });
                Ok(())
            })
        }),
        ("an_idle_server_with_a_token_for_signals", || {
            let stop = taskgroup::signal::ctrl_c().expect("a handler can be set");
            let (_sender, receiver) = bounded::<()>(1);
            TaskGroup::scope(|g| {
                planted();
                for _ in 0..2 {
                    g.spawn(|| Ok(receiver.recv()?));
                }
                Ok(stop.wait()?)
            })
        }),
        ("a_signal_handler_that_could_set_it", || {
            use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
            extern "C" fn handle(_signal: i32) {}

            let action = SigAction::new(
                SigHandler::Handler(handle),
                SaFlags::SA_RESTART,
                SigSet::empty(),
            );
            // SAFETY: the handler does nothing.
            unsafe { sigaction(Signal::SIGUSR1, &action) }.expect("a handler can be set");
            event_beside(|| Ok(()))
        }),
        ("a_wait_for_a_token", || {
            event_beside(|| Ok(CancelToken::new().wait()?))
        }),
        ("a_deadline_of_the_scope", || {
            let event = Event::new();
            TaskGroup::builder().timeout(LONG).scope(|g| {
                planted();
                g.spawn(|| Ok(event.wait()?));
                anyhow::Ok(())
            })
        }),
        ("a_callback_at_a_deadline", || {
            let (event, token) = (std::sync::Arc::new(Event::new()), CancelToken::new());
            token.cancel_after(LONG);
            let sets = event.clone();
            let _guard = token.on_cancel(move || sets.set());
            TaskGroup::scope(|g| {
                planted();
                g.spawn(|| Ok(event.wait()?));
                Ok(())
            })
        }),
        ("a_task_of_tokio_that_will_complete_the_promise", || {
            let promise = std::sync::Arc::new(Promise::new());
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .build()
                .expect("a runtime starts");
            let completes = promise.clone();
            runtime.spawn(async move {
                std::future::pending::<()>().await;
                completes.set(1)
            });
            TaskGroup::scope(|g| {
                planted();
                g.spawn(|| Ok(promise.wait().map(drop)?));
                Ok(())
            })
        }),
        ("a_callback_that_will_set_it", || {
            let (event, token) = (std::sync::Arc::new(Event::new()), CancelToken::new());
            let sets = event.clone();
            let _guard = token.on_cancel(move || {
                thread::park_timeout(LONG);
                sets.set();
            });
            TaskGroup::scope(|g| {
                planted();
                g.task().dedicated().spawn(|| Ok(event.wait()?));
                g.task().dedicated().spawn(|| {
                    token.cancel();
                    Ok(())
                });
                Ok(())
            })
        }),
        ("a_callback_of_a_task_that_has_ended", || {
            let (event, go_on) = (Event::new(), Event::new());
            TaskGroup::scope(|g| {
                planted();
                g.task().dedicated().spawn(|| Ok(event.wait()?));
                let ends = g.task().dedicated().spawn(|| Ok(go_on.wait()?));
                ends.on_finished(|_| {
                    thread::park_timeout(LONG);
                    event.set();
                });
                go_on.set();
                Ok(())
            })
        }),
        ("a_callback_on_a_worker", || {
            let [event, begun, go_on] = [const { Event::new() }; 3];
            TaskGroup::scope(|g| {
                planted();
                g.task().dedicated().spawn(|| Ok(event.wait()?));
                let ends = g.spawn(|| {
                    begun.set();
                    Ok(go_on.wait()?)
                });
                ends.on_finished(|_| {
                    thread::park_timeout(LONG);
                    event.set();
                });
                // Otherwise this thread could run the task at the end of the scope.
                begun.wait()?;
                go_on.set();
                Ok(())
            })
        }),
        ("the_destructor_of_a_result_on_a_worker", || {
            struct Sets<'a>(&'a Event);
            impl Drop for Sets<'_> {
                fn drop(&mut self) {
                    thread::park_timeout(LONG);
                    self.0.set();
                }
            }

            let [event, begun, go_on] = [const { Event::new() }; 3];
            TaskGroup::scope(|g| {
                planted();
                g.task().dedicated().spawn(|| Ok(event.wait()?));
                drop(g.spawn(|| {
                    begun.set();
                    go_on.wait()?;
                    Ok(Sets(&event))
                }));
                begun.wait()?;
                go_on.set();
                Ok(())
            })
        }),
        ("a_release_hook_that_will_set_it", || {
            let event = Event::new();
            TaskGroup::scope(|outer| {
                planted();
                outer.task().dedicated().spawn(|| Ok(event.wait()?));
                TaskGroup::scope(|g| {
                    g.on_release(|| {
                        thread::park_timeout(LONG);
                        event.set();
                        Ok(())
                    });
                    anyhow::Ok(())
                })?;
                Ok(())
            })
        }),
        ("a_destructor_that_will_set_it", || {
            struct Sets<'a>(&'a Event);
            impl Drop for Sets<'_> {
                fn drop(&mut self) {
                    thread::park_timeout(LONG);
                    self.0.set();
                }
            }

            let event = Event::new();
            let captured = Sets(&event);
            TaskGroup::scope(|g| {
                planted();
                g.task().dedicated().spawn(|| Ok(event.wait()?));
                g.task().dedicated().spawn(move || {
                    let _captured = &captured;
                    Ok(())
                });
                Ok(())
            })
        }),
        ("a_static_that_a_thread_outside_can_reach", || {
            static PERMITS: Semaphore = Semaphore::new(0);
            thread::spawn(|| {
                thread::park_timeout(LONG);
                PERMITS.add_permits(1);
            });
            TaskGroup::scope(|g| {
                planted();
                g.spawn(|| Ok(PERMITS.acquire().map(drop)?));
                Ok(())
            })
        }),
        (A_LONG_QUIET_TIME, || {
            let event = Event::new();
            TaskGroup::scope(|g| {
                planted();
                g.spawn(|| Ok(event.wait()?));
                Ok(())
            })
        }),
        ("a_group_of_another_thread_that_goes_on", || {
            thread::spawn(|| {
                TaskGroup::scope(|g| {
                    g.task().dedicated().spawn(|| Ok(taskgroup::sleep(LONG)?));
                    Ok(())
                })
            });
            let event = Event::new();
            TaskGroup::scope(|g| {
                planted();
                g.spawn(|| Ok(event.wait()?));
                Ok(())
            })
        }),
    ];
}

#[cfg(target_os = "linux")]
fn main() {
    runner::main();
}

/// Elsewhere the system does not tell what other threads do, and nothing is suspected.
#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
mod runner {
    use std::collections::HashMap;
    use std::env;
    use std::ffi::OsString;
    use std::fs;
    use std::io::{BufRead, BufReader, Read};
    use std::process::{Child, Command, Stdio, exit};
    use std::sync::mpsc::{self, RecvTimeoutError};
    use std::thread;
    use std::time::Duration;

    use taskgroup::deadlock::{self, DeadlockPolicy};

    use super::cases::{A_LONG_QUIET_TIME, Case, FOUND, SILENT, UNWOKEN};

    const CASE: &str = "TASKGROUP_TEST_CASE";

    /// How long all threads sleep before a deadlock is suspected.
    const QUIET: Duration = Duration::from_millis(200);

    /// How many cases run at once.
    const SIDE_BY_SIDE: usize = 4;

    pub(super) fn main() {
        if let Ok(name) = env::var(CASE) {
            return run_case(&name);
        }

        let filter = env::args()
            .skip(1)
            .find(|argument| !argument.starts_with('-'));
        let is_listing = env::args().any(|argument| argument == "--list");
        let all = FOUND.iter().map(|(name, _)| (*name, true));
        let all = all.chain(SILENT.iter().map(|(name, _)| (*name, false)));
        let wanted = |name: &str| {
            filter
                .as_ref()
                .is_none_or(|part| name.contains(part.as_str()))
        };
        let cases: Vec<_> = all.filter(|(name, _)| wanted(name)).collect();
        if is_listing {
            cases.iter().for_each(|(name, _)| println!("{name}: test"));
            return;
        }

        // Most of the time of a case goes by in sleep.
        let mut failed = 0;
        for some in cases.chunks(SIDE_BY_SIDE) {
            let results = thread::scope(|threads| {
                let watch = |(name, is_deadlock): &(&'static str, bool)| {
                    let (name, is_deadlock) = (*name, *is_deadlock);
                    (name, threads.spawn(move || watch_case(name, is_deadlock)))
                };
                let watches: Vec<_> = some.iter().map(watch).collect();
                let join = |(name, watch): (_, thread::ScopedJoinHandle<'_, _>)| {
                    (name, watch.join().expect("it returns its failure"))
                };
                watches.into_iter().map(join).collect::<Vec<_>>()
            });
            for (name, result) in results {
                failed += usize::from(result.is_err());
                let text = result.map_or_else(|error| format!("FAILED: {error}"), |()| "ok".into());
                println!("test {name} ... {text}");
            }
        }
        if failed != 0 {
            exit(101);
        }
    }

    /// Runs a case on the main thread of this process.
    fn run_case(name: &str) {
        deadlock::set_policy(DeadlockPolicy::Ignore);
        let quiet_for = match name {
            A_LONG_QUIET_TIME => Duration::from_secs(60),
            _ => QUIET,
        };
        let _watch = deadlock::watch_suspected(quiet_for);
        let cases: Vec<&Case> = FOUND.iter().chain(SILENT).collect();
        let (_, case) = cases
            .into_iter()
            .find(|(of, _)| *of == name)
            .expect("there is such a case");
        println!("ended: {:?}", case());
    }

    /// Ends the process of a case, however the case goes.
    struct Killed(Child);

    impl Drop for Killed {
        fn drop(&mut self) {
            // It fails only if the process has ended, and then there is nothing to kill.
            let _ = self.0.kill();
            self.0.wait().expect("it is a child of this process");
        }
    }

    /// Starts a process for a case, and compares what it reports.
    fn watch_case(name: &str, is_deadlock: bool) -> Result<(), String> {
        let this = env::current_exe().expect("a test binary knows its path");
        let mut child = Command::new(this)
            .env(CASE, name)
            .env_remove("RUST_BACKTRACE")
            // Nothing comes from there, and it does not end.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the test binary starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let stderr = child.stderr.take().expect("it is piped");
        let child = Killed(child);

        let (line, lines) = mpsc::channel();
        let reads = thread::spawn(move || {
            for text in BufReader::new(stderr).lines() {
                let text = text.expect("the report is text");
                if line.send(text).is_err() {
                    return;
                }
            }
        });
        let mut first = String::new();
        stdout
            .read_line(&mut first)
            .expect("it says that it has begun");
        let result = if first.trim() != "planted" {
            Err(format!("it began with {first:?}"))
        } else if is_deadlock {
            expect_report(&lines, name)
        } else {
            // Several times as long as a report takes.
            let before = sleeps(child.0.id());
            match lines.recv_timeout(Duration::from_secs(3)) {
                Err(RecvTimeoutError::Timeout) => {}
                other => return Err(format!("{other:?}")),
            }
            // A search that wakes the threads does so 500 times a second.
            let now = sleeps(child.0.id());
            let slept: u64 = now
                .iter()
                .map(|(thread, sleeps)| sleeps.saturating_sub(*before.get(thread).unwrap_or(&0)))
                .sum();
            match name {
                UNWOKEN if slept > 200 => Err(format!("its threads went to sleep {slept} times")),
                _ => Ok(()),
            }
        };

        drop(child);
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).expect("it is text");
        drop(lines);
        reads.join().expect("it reads to the end");
        match result {
            Ok(()) if !rest.is_empty() => Err(format!("the case ended: {rest}")),
            result => result,
        }
    }

    /// Returns how often each thread of a process has gone to sleep.
    fn sleeps(pid: u32) -> HashMap<OsString, u64> {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs");
        let sleeps = threads.filter_map(|thread| {
            let thread = thread.expect("the process runs");
            // A thread may end while they are listed.
            let status = fs::read_to_string(thread.path().join("status")).ok()?;
            let mut lines = status.lines();
            let sleeps = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            let sleeps = sleeps.expect("the kernel counts them").trim();
            Some((thread.file_name(), sleeps.parse().expect("a number")))
        });
        sleeps.collect()
    }

    fn expect_report(lines: &mpsc::Receiver<String>, name: &str) -> Result<(), String> {
        let mut report = Vec::new();
        loop {
            let line = lines.recv_timeout(Duration::from_secs(60));
            report.push(line.map_err(|error| format!("{error}, after {report:?}"))?);
            // The last line of a report.
            if report.last().is_some_and(|line| line.contains("cancel")) {
                break;
            }
        }
        // Several more looks find the same, and report it no more.
        match lines.recv_timeout(Duration::from_secs(2)) {
            Err(RecvTimeoutError::Timeout) => {}
            other => return Err(format!("more than one report: {other:?}")),
        }

        let text = report.join("\n");
        // What the report has to say of how much is taken.
        let share = match name {
            "a_barrier_that_lacks_one" => "2 of 3 threads are at the barrier",
            "permits_that_are_held_one_by_one" => "2 of 2 permits were taken when the wait began",
            "an_event_that_a_queued_task_would_set" => "queued behind the limit of 1 of the group",
            _ => "",
        };
        let held = match name {
            "an_event_that_a_queued_task_would_set" => ": 1 of 1 permits are held",
            _ => "",
        };
        if !text.contains("taskgroup: suspected deadlock") {
            Err(text)
        } else if !text.contains(share) || !text.contains(held) {
            Err(format!("it does not say `{share}`: {text}"))
        } else {
            Ok(())
        }
    }
}
