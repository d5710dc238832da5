//! The kinds of blocking points.

/// The kind of a blocking point, recorded in the slot of the thread that is in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[allow(dead_code, reason = "some kinds belong to features")]
pub(crate) enum WaitKind {
    /// Not in a blocking point.
    None,
    /// `sleep`, `sleep_until`, the pauses of `retry`.
    Sleep,
    /// `park`, `park_timeout`.
    Park,
    /// `TaskHandle::join`, `wait`, `wait_timeout`, `cancel_and_wait`.
    Join,
    /// `CancelToken::wait`, `wait_timeout`.
    Token,
    /// `AsCompleted::next`.
    Completion,
    /// The end of a scope, which waits for its tasks.
    ScopeEnd,
    /// The drop of a `CallbackGuard` while its callback runs.
    Deregister,
    /// `abandon`.
    Abandon,
    /// `CancelToken::cancel` and its kin, while hooks of the cancel run on other threads.
    Cancel,
    /// `sync::Mutex::lock`, and the end of a `Condvar::wait`, which locks again.
    Mutex,
    /// `sync::RwLock::read`.
    Read,
    /// `sync::RwLock::write`.
    Write,
    /// `sync::Condvar::wait` and its kin.
    Condvar,
    /// `sync::Semaphore::acquire` and its kin.
    Semaphore,
    /// `sync::Barrier::wait`.
    Barrier,
    /// `sync::Event::wait`, `wait_timeout`.
    Event,
    /// `sync::Latch::wait`, `wait_timeout`.
    Latch,
    /// `sync::WaitGroup::wait`, `wait_timeout`.
    WaitGroup,
    /// `sync::OnceCell::get_or_try_init` while another thread makes the value.
    OnceCell,
    /// `sync::Promise::wait`, `wait_timeout`.
    Promise,
    /// `channel::Sender::send`, `send_timeout`.
    Send,
    /// `channel::Receiver::recv`, `recv_timeout`.
    Receive,
    /// `channel::Select::select`, `select_timeout`, and `channel::select!`.
    Select,
    /// `accept` of a listener, and `Incoming::next`.
    Accept,
    /// `connect` of a stream.
    Connect,
    /// A read from a stream socket.
    SocketRead,
    /// A write to a stream socket.
    SocketWrite,
    /// The receipt of a datagram.
    DatagramReceive,
    /// The sending of a datagram.
    DatagramSend,
    /// `net::lookup`, and each call that looks a name up.
    Lookup,
    /// A read from a pipe, or from another descriptor that can be polled.
    DescriptorRead,
    /// A write to a pipe, or to another descriptor that can be polled.
    DescriptorWrite,
    /// A read from `io::stdin`.
    Stdin,
    /// `io::open_fifo`.
    Fifo,
    /// `io::lock_file`.
    FileLock,
    /// The wait for a child process.
    Child,
    /// `sync::RateLimiter::acquire`, `acquire_many`.
    RateLimit,
    /// `TaskGroup::start`, `TaskBuilder::start`.
    Start,
    /// `MapUnordered::next`.
    MapUnordered,
    /// `map`, while it has handed out as many items as it may.
    Map,
    /// The accept of a connection on a Unix socket.
    AcceptUnix,
    /// The connect of a Unix socket.
    ConnectUnix,
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::num::NonZeroU32;
    use std::panic::Location;
    use std::sync::{Arc, Barrier as StdBarrier, mpsc};
    use std::thread;
    use std::time::{Duration, Instant};

    use super::WaitKind;
    use crate::channel::{bounded, select, unbounded};
    use crate::lanes::{self, FrameKind, Lane, Object};
    use crate::sync::{
        Barrier, Condvar, Event, Latch, Mutex, OnceCell, Promise, RateLimiter, RwLock, Semaphore,
        WaitGroup,
    };
    use crate::waiting::Slot;
    use crate::{CancelToken, Cancelled, TaskGroup};

    const LONG: Duration = Duration::from_secs(60);

    /// Returns the kind and the place of the wait that a lane shows.
    fn point(lane: &Lane) -> Option<(u8, &'static Location<'static>)> {
        let wait = lane.view()?.ok()?.wait?;
        Some((wait.kind, wait.location))
    }

    /// Fails unless a thread in `block`, which is called at `line` or just below, records `kind`
    /// and that place. Then the thread is cancelled.
    #[track_caller]
    fn records<T>(kind: WaitKind, line: u32, block: impl FnOnce() -> T + Send) {
        let token = CancelToken::new();
        let (sender, lanes) = mpsc::channel();
        let (here, theirs) = (Location::caller().file(), token.clone());
        thread::scope(|threads| {
            threads.spawn(move || {
                theirs.run(|| {
                    sender.send(lanes::mine()).expect("the test receives");
                    drop(block());
                });
            });
            let lane = lanes.recv().expect("the thread sends its lane");
            let lane = lane.expect("the thread is not in a late destructor");
            let begun = Instant::now();
            let is_there = |recorded: Option<(u8, &'static Location<'static>)>| {
                recorded.is_some_and(|(found, at)| {
                    let at = at.file() == here && (line..line + 5).contains(&at.line());
                    found == kind as u8 && at
                })
            };
            while !is_there(point(lane)) && begun.elapsed() < LONG / 4 {
                thread::yield_now();
            }
            let recorded = point(lane);
            token.cancel();
            assert!(
                is_there(recorded),
                "not {kind:?} at line {line}, but {recorded:?}"
            );
        });
    }

    #[test]
    fn pauses_and_tokens_say_where_they_block() {
        records(WaitKind::Sleep, line!(), || crate::sleep(LONG));
        records(WaitKind::Sleep, line!(), || {
            crate::sleep_until(Instant::now() + LONG)
        });
        records(WaitKind::Sleep, line!(), || {
            let policy = crate::Backoff::exponential(LONG).jitter(crate::Jitter::None);
            crate::retry(policy, |_| Err::<(), _>(anyhow::anyhow!("for now")))
        });
        records(WaitKind::Park, line!(), || crate::park());
        records(WaitKind::Park, line!(), || crate::park_timeout(LONG));
        records(WaitKind::Token, line!(), || CancelToken::new().wait());
        records(WaitKind::Token, line!(), || {
            CancelToken::new().wait_timeout(LONG)
        });
        records(WaitKind::Abandon, line!(), || {
            crate::abandon(|| thread::park_timeout(LONG))
        });
    }

    /// Runs `wait` in a scope with a task that ends when it is cancelled.
    fn beside_a_task(
        wait: impl Fn(crate::TaskHandle<'_, ()>) -> Result<(), Cancelled> + Send + Sync,
    ) {
        let _ = TaskGroup::scope(|g| {
            let asleep = g.task().dedicated().spawn(|| Ok(crate::sleep(LONG)?));
            Ok(wait(asleep)?)
        });
    }

    #[test]
    fn handles_say_where_they_block() {
        records(WaitKind::Join, line!(), || {
            beside_a_task(|task| task.join())
        });
        records(WaitKind::Join, line!(), || {
            beside_a_task(|task| task.wait().map(drop))
        });
        records(WaitKind::Join, line!(), || {
            beside_a_task(|task| task.wait_timeout(LONG).map(drop))
        });
        let begun = StdBarrier::new(2);
        records(WaitKind::Join, line!() + 8, || {
            let test = crate::current_token().expect("the test runs under one");
            TaskGroup::scope(|g| {
                let stays = g.task().dedicated().spawn(|| {
                    begun.wait();
                    Ok(crate::shield(|| test.wait())?)
                });
                begun.wait();
                Ok(stays.cancel_and_wait()?)
            })
        });
    }

    #[test]
    fn groups_say_where_they_block() {
        records(WaitKind::ScopeEnd, line!(), || {
            TaskGroup::scope(|g| {
                g.task().dedicated().spawn(|| Ok(crate::sleep(LONG)?));
                Ok(())
            })
        });

        // A daemon that goes on when it is told to end.
        records(WaitKind::ScopeEnd, line!() + 2, || {
            let test = crate::current_token().expect("the test runs under one");
            TaskGroup::scope(|g| {
                let begun = Arc::new(StdBarrier::new(2));
                let theirs = begun.clone();
                g.spawn_daemon(move || {
                    theirs.wait();
                    Ok(crate::shield(|| test.wait())?)
                });
                begun.wait();
                Ok(())
            })
        });
        records(WaitKind::Completion, line!() + 2, || {
            TaskGroup::scope(|g| {
                Ok(
                    g.as_completed([g.task().dedicated().spawn(|| Ok(crate::sleep(LONG)?))])
                        .next()
                        .transpose()
                        .map(drop)?,
                )
            })
        });
        records(WaitKind::Start, line!() + 1, || {
            TaskGroup::scope(|g| Ok(g.start(|_ready: crate::Ready<()>| Ok(crate::sleep(LONG)?))?))
        });
        records(WaitKind::MapUnordered, line!() + 1, || {
            TaskGroup::scope(|g| {
                Ok(g.map_unordered([LONG], |long| Ok(crate::sleep(long)?))
                    .next()
                    .transpose()
                    .map(drop)?)
            })
        });
    }

    #[test]
    fn primitives_say_where_they_block() {
        let mutex = Mutex::new(());
        let held = mutex.lock_uncancellable();
        records(WaitKind::Mutex, line!(), || mutex.lock().map(drop));
        drop(held);
        let condvar = Condvar::new();
        records(WaitKind::Condvar, line!(), || {
            mutex.lock().map(|mut guard| condvar.wait(&mut guard))
        });
        let lock = RwLock::new(());
        let held = lock.write().expect("nothing is cancelled here");
        records(WaitKind::Read, line!(), || lock.read().map(drop));
        drop(held);
        let held = lock.read().expect("nothing is cancelled here");
        records(WaitKind::Write, line!(), || lock.write().map(drop));
        drop(held);
        records(WaitKind::Semaphore, line!(), || {
            Semaphore::new(0).acquire().map(drop)
        });
        let limiter = RateLimiter::new(LONG, NonZeroU32::MIN);
        assert!(limiter.try_acquire());
        records(WaitKind::RateLimit, line!(), || limiter.acquire());
        records(WaitKind::RateLimit, line!(), || limiter.acquire_many(1));
        records(WaitKind::Barrier, line!(), || Barrier::new(2).wait());
        records(WaitKind::Event, line!(), || Event::new().wait());
        records(WaitKind::Latch, line!(), || Latch::new(1).wait());
        let (group, _other) = {
            let group = WaitGroup::new();
            (group.clone(), group)
        };
        records(WaitKind::WaitGroup, line!(), || group.wait());
        records(WaitKind::WaitGroup, line!(), || group.wait_timeout(LONG));
        records(WaitKind::Promise, line!(), || {
            Promise::<u8>::new().wait().map(drop)
        });
        let cell = OnceCell::new();
        let made = cell.get_or_try_init(|| {
            records(WaitKind::OnceCell, line!(), || {
                cell.get_or_try_init(|| Ok::<_, Cancelled>(1)).map(drop)
            });
            Ok::<_, Cancelled>(2)
        });
        assert_eq!(made.ok(), Some(&2));
    }

    #[test]
    fn channels_say_where_they_block() {
        let (sender, receiver) = bounded(1);
        records(WaitKind::Receive, line!(), || receiver.recv());
        sender.send(1).expect("there is room");
        records(WaitKind::Send, line!(), || sender.send(2));
        let (_kept, empty) = unbounded::<u8>();
        records(
            WaitKind::Select,
            line!(),
            || select! { recv(empty) -> _ => () },
        );
    }

    #[cfg(all(unix, feature = "net"))]
    #[test]
    fn sockets_say_where_they_block() {
        use std::io::{Read, Write};

        use crate::net::{TcpListener, UdpSocket, UnixDatagram, UnixStream};

        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port left");
        records(WaitKind::Accept, line!(), || listener.accept().map(drop));
        records(WaitKind::Accept, line!(), || {
            listener.incoming().next().map(drop)
        });

        let (stream, _there) = UnixStream::pair().expect("there is a descriptor left");
        records(WaitKind::SocketRead, line!(), || (&stream).read(&mut [0]));
        records(WaitKind::SocketRead, line!(), || {
            (&stream).read_vectored(&mut [std::io::IoSliceMut::new(&mut [0])])
        });
        let text = vec![0; 8 << 20];
        records(WaitKind::SocketWrite, line!(), || {
            (&stream).write_all(&text)
        });

        let socket = UdpSocket::bind("127.0.0.1:0").expect("there is a port left");
        records(WaitKind::DatagramReceive, line!(), || {
            socket.recv_from(&mut [0]).map(drop)
        });
        let (socket, _there) = UnixDatagram::pair().expect("there is a descriptor left");
        socket.set_nonblocking(true).expect("it is open");
        while socket.send(b"x").is_ok() {}
        socket.set_nonblocking(false).expect("it is open");
        records(WaitKind::DatagramSend, line!(), || socket.send(b"x"));
    }

    #[test]
    fn a_thread_that_is_not_blocked_says_so() {
        let token = CancelToken::new();
        token.run(|| {
            assert!(crate::sleep(Duration::from_millis(1)).is_ok());
            assert_eq!(lanes::mine().and_then(point), None);
        });
    }

    #[test]
    fn a_region_with_a_hook_is_shown_as_a_frame() {
        let frames = || {
            let lane = lanes::mine().expect("the thread is alive");
            let view = lane.view().expect("it has a thread");
            view.expect("its own thread reads it").frames
        };
        let here = Location::caller();
        let outside = frames().len();
        let inside = Slot::new().with_hook(here, &|| (), frames);
        assert_eq!(inside.len(), outside + 1);
        let hook = inside[outside];
        assert_eq!((hook.kind, hook.location), (FrameKind::Hook, here));
        assert_eq!(frames().len(), outside);
    }

    #[test]
    fn a_wait_says_for_which_object_and_what_ends_it() {
        let lock = Mutex::new(());
        let held = lock.lock_uncancellable();
        let (sender, lanes) = mpsc::channel();
        thread::scope(|threads| {
            threads.spawn(|| {
                sender.send(lanes::mine()).expect("the test receives");
                drop(lock.lock_uncancellable());
            });
            let lane = lanes
                .recv()
                .expect("the thread sends its lane")
                .expect("it is alive");
            let wait = loop {
                if let Some(wait) = lane.view().and_then(|view| view.ok()?.wait) {
                    break wait;
                }
                thread::yield_now();
            };
            assert!(!wait.flags.is_cancellable && !wait.flags.is_limited);

            // The holder shows the same object, with the place where it locked.
            let mine = lanes::mine().expect("the thread is alive");
            let view = mine
                .view()
                .expect("it has a thread")
                .expect("its own thread reads it");
            let held_objects: Vec<_> = view
                .held
                .iter()
                .map(|held| Object::At(held.object))
                .collect();
            assert_eq!(held_objects, [wait.object]);
            assert_eq!(view.held[0].location.map(Location::file), Some(file!()));
            drop(held);
        });
    }
}
