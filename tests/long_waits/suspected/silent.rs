//! Processes in which a thread, or code outside of this crate, may still wake another.

use std::thread;

use taskgroup::channel::bounded;
use taskgroup::sync::{Event, Mutex, Promise, Semaphore};
use taskgroup::{CancelToken, GroupError, TaskGroup};

use super::cases::{Case, LONG, planted};

/// Sets an event when it is dropped, after a long time in code of no scope.
struct Sets<'a>(&'a Event);

impl Drop for Sets<'_> {
    fn drop(&mut self) {
        thread::park_timeout(LONG);
        self.0.set();
    }
}

/// The threads have not been asleep for long enough.
pub(crate) const A_LONG_QUIET_TIME: &str = "a_quiet_time_that_is_not_over";

/// The search is silent at once, and wakes no thread.
pub(crate) const UNWOKEN: &str = "a_channel_of_crossbeam";

/// A task waits for an event, beside a task that does `other`.
fn event_beside(other: impl FnOnce() -> anyhow::Result<()> + Send) -> Result<(), GroupError> {
    event_set_by(|_| other())
}

/// A task waits for an event, beside a task that does `other` and may set it.
fn event_set_by(other: impl FnOnce(&Event) -> anyhow::Result<()> + Send) -> Result<(), GroupError> {
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
