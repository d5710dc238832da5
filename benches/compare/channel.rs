//! Channels: ready messages, messages to and fro, and many threads to many.

use std::hint::black_box;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use anyhow::{Context, ensure};
use taskgroup::channel::{self, crossbeam};
use taskgroup::{CancelToken, TaskGroup};

use crate::report::{Report, Title};
use crate::sampling::{Contestant, Effort, Goal, millis, nanos, repeated};

const ROUND_TRIPS: u32 = 10_000;
const MESSAGES: u64 = 1_000_000;
const THREADS: u64 = 4;

/// One kind of channel. All kinds are used through pointers, at the same cost for each.
#[derive(Clone, Copy)]
pub(crate) struct Kind<S, R> {
    pub(crate) name: &'static str,
    pub(crate) make: fn(usize) -> (S, R),
    pub(crate) send: fn(&S, u64) -> bool,
    pub(crate) recv: fn(&R) -> Option<u64>,
}

pub(crate) const UNBOUNDED: usize = usize::MAX;

pub(crate) const TASKGROUP: Kind<channel::Sender<u64>, channel::Receiver<u64>> = Kind {
    name: "taskgroup",
    make: channel::bounded,
    send: |sender, n| sender.send(n).is_ok(),
    recv: |receiver| receiver.recv().ok(),
};

pub(crate) const CROSSBEAM: Kind<crossbeam_channel::Sender<u64>, crossbeam_channel::Receiver<u64>> =
    Kind {
        name: "crossbeam-channel",
        make: |room| {
            if room == UNBOUNDED {
                crossbeam_channel::unbounded()
            } else {
                crossbeam_channel::bounded(room)
            }
        },
        send: |sender, n| sender.send(n).is_ok(),
        recv: |receiver| receiver.recv().ok(),
    };

pub(crate) const FLUME: Kind<flume::Sender<u64>, flume::Receiver<u64>> = Kind {
    name: "flume",
    make: |room| {
        if room == UNBOUNDED {
            flume::unbounded()
        } else {
            flume::bounded(room)
        }
    },
    send: |sender, n| sender.send(n).is_ok(),
    recv: |receiver| receiver.recv().ok(),
};

pub(crate) const STD: Kind<mpsc::Sender<u64>, mpsc::Receiver<u64>> = Kind {
    name: "std mpsc",
    make: |_| mpsc::channel(),
    send: |sender, n| sender.send(n).is_ok(),
    recv: |receiver| receiver.recv().ok(),
};

const STD_BOUNDED: Kind<mpsc::SyncSender<u64>, mpsc::Receiver<u64>> = Kind {
    name: "std mpsc",
    make: mpsc::sync_channel,
    send: |sender, n| sender.send(n).is_ok(),
    recv: |receiver| receiver.recv().ok(),
};

const BEST: Goal = Goal::Ratio(1.0);

pub(crate) fn channel(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    one_thread(effort, report)?;
    several_threads(effort, report)?;
    report.table(
        &title(
            "select of two receives, one ready",
            "ns per send and select",
        ),
        select(),
        effort.rounds(15),
    )
}

fn one_thread(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let contestants = vec![
        ready(TASKGROUP, 64),
        ready(CROSSBEAM, 64).goal(BEST),
        ready(FLUME, 64).goal(BEST),
        ready(STD_BOUNDED, 64).goal(BEST),
    ];
    report.table(
        &title("send and receive, bounded, ready", "ns per message"),
        contestants,
        effort.rounds(15),
    )?;
    let contestants = vec![
        ready(TASKGROUP, UNBOUNDED),
        ready(CROSSBEAM, UNBOUNDED).goal(BEST),
        ready(FLUME, UNBOUNDED).goal(BEST),
        ready(STD, UNBOUNDED).goal(BEST),
    ];
    report.table(
        &title("send and receive, unbounded, ready", "ns per message"),
        contestants,
        effort.rounds(15),
    )?;

    report.table(
        &title("receive from crossbeam's, ready", "ns per send and receive"),
        adapter(),
        effort.rounds(15),
    )
}

fn several_threads(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    for (room, case) in [(1, "to and fro, bounded(1)"), (0, "to and fro, bounded(0)")] {
        let contestants = vec![
            ping_pong(TASKGROUP, room),
            ping_pong(CROSSBEAM, room).goal(BEST),
            ping_pong(FLUME, room),
        ];
        report.table(
            &title(case, "ns per round trip"),
            contestants,
            effort.rounds(9),
        )?;
    }

    let near = Goal::Ratio(1.2);
    for (room, case) in [(1_024, "bounded(1024)"), (UNBOUNDED, "unbounded")] {
        let contestants = vec![
            many(TASKGROUP, room),
            many(CROSSBEAM, room).goal(near),
            many(FLUME, room).goal(near),
        ];
        let case = format!("{MESSAGES} messages from {THREADS} to {THREADS} threads, {case}");
        report.table(&title(&case, "ms"), contestants, effort.rounds(9))?;
    }
    Ok(())
}

fn title<'a>(case: &'a str, unit: &'a str) -> Title<'a> {
    Title {
        row: "channel",
        case,
        unit,
    }
}

/// One thread sends and receives a message, in a scope, since this crate's channels check the
/// scope.
fn ready<S: Send + 'static, R: Send + 'static>(
    kind: Kind<S, R>,
    room: usize,
) -> Contestant<'static> {
    let (sender, receiver) = (kind.make)(room);
    in_scope(kind.name, move || {
        ensure!((kind.send)(&sender, black_box(1)));
        black_box((kind.recv)(&receiver)).context("the message is there")?;
        Ok(())
    })
}

fn in_scope(
    name: &str,
    once: impl FnMut() -> anyhow::Result<()> + Send + 'static,
) -> Contestant<'static> {
    let mut sample = repeated(1, once);
    Contestant::new(name, move || Ok(TaskGroup::scope(|_| sample())?))
}

fn adapter() -> Vec<Contestant<'static>> {
    let (sender, receiver) = crossbeam_channel::bounded(64);
    let ours = in_scope("channel::crossbeam::recv", move || {
        sender.send(black_box(1_u64))?;
        black_box(crossbeam::recv(&receiver)?);
        Ok(())
    });
    let (sender, receiver) = crossbeam_channel::bounded(64);
    let bare = in_scope("try_recv", move || {
        sender.send(black_box(1_u64))?;
        black_box(receiver.try_recv()?);
        Ok(())
    });
    let (sender, receiver) = crossbeam_channel::bounded(64);
    let token = CancelToken::new();
    let closed = token.closed();
    let selected = in_scope("their select! with CancelToken::closed", move || {
        sender.send(black_box(1_u64))?;
        crossbeam_channel::select! {
            recv(receiver) -> message => { black_box(message?); }
            recv(closed) -> _ => token.check()?,
        }
        Ok(())
    });
    vec![ours, bare, selected]
}

fn select() -> Vec<Contestant<'static>> {
    let ((sender, receiver), (quiet, silent)) = (channel::bounded(64), channel::bounded(64));
    let ours = in_scope("channel::select!", move || {
        sender.send(black_box(1_u64))?;
        channel::select! {
            recv(receiver) -> message => { black_box(message?); }
            recv(silent) -> message => { black_box::<u64>(message?); }
        }?;
        ensure!(quiet.is_empty());
        Ok(())
    });
    let ((sender, receiver), (quiet, silent)) = (
        crossbeam_channel::bounded(64),
        crossbeam_channel::bounded(64),
    );
    let theirs = in_scope("crossbeam_channel::select!", move || {
        sender.send(black_box(1_u64))?;
        crossbeam_channel::select! {
            recv(receiver) -> message => { black_box(message?); }
            recv(silent) -> message => { black_box::<u64>(message?); }
        }
        ensure!(quiet.is_empty());
        Ok(())
    });
    vec![ours, theirs]
}

/// A message from one thread to another and back.
fn ping_pong<S: Send + 'static, R: Send + 'static>(
    kind: Kind<S, R>,
    room: usize,
) -> Contestant<'static> {
    Contestant::new(kind.name, move || {
        let (there, back) = ((kind.make)(room), (kind.make)(room));
        let took = TaskGroup::scope(|g| {
            let (incoming, outgoing) = (there.1, back.0);
            let echo = move || {
                while let Some(n) = (kind.recv)(&incoming) {
                    ensure!((kind.send)(&outgoing, n));
                }
                Ok(())
            };
            let (outgoing, incoming) = (there.0, back.1);
            let first = move || {
                let started = Instant::now();
                for n in 0..ROUND_TRIPS {
                    ensure!((kind.send)(&outgoing, n.into()));
                    (kind.recv)(&incoming).context("the message comes back")?;
                }
                Ok(nanos(started.elapsed()) / f64::from(ROUND_TRIPS))
            };
            g.task().dedicated().spawn(echo);
            let first = g.task().dedicated().spawn(first);
            Ok(first.join()?)
        })?;
        Ok(took)
    })
}

/// All messages from some threads to other threads.
fn many<S: Clone + Send + 'static, R: Clone + Send + 'static>(
    kind: Kind<S, R>,
    room: usize,
) -> Contestant<'static> {
    Contestant::new(kind.name, move || {
        let (sender, receiver) = (kind.make)(room);
        let started = Instant::now();
        let received = thread::scope(|threads| {
            for _ in 0..THREADS {
                let sender = sender.clone();
                threads.spawn(move || (0..MESSAGES / THREADS).all(|n| (kind.send)(&sender, n)));
            }
            drop(sender);
            let receivers: Vec<_> = (0..THREADS)
                .map(|_| {
                    let receiver = receiver.clone();
                    threads
                        .spawn(move || std::iter::from_fn(|| (kind.recv)(&receiver)).count() as u64)
                })
                .collect();
            receivers
                .into_iter()
                .map(|receiver| receiver.join().unwrap_or_default())
                .sum::<u64>()
        });
        ensure!(received == MESSAGES, "{received} messages of {MESSAGES}");
        Ok(millis(started.elapsed()))
    })
}
