//! How long a thread that has slept waits for its turn while every core computes.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use taskgroup::TaskGroup;

use crate::channel::{CROSSBEAM, FLUME, Kind, STD, TASKGROUP, UNBOUNDED};
use crate::process;
use crate::report::{Report, Title};
use crate::sampling::{Contestant, Effort, micros};

/// Long enough for the waiting thread to fall asleep.
const PAUSE: Duration = Duration::from_millis(1);

pub(crate) fn busy(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let over = AtomicBool::new(false);
    thread::scope(|threads| {
        let _over = SetOnDrop(&over);
        for _ in 0..process::cores() {
            threads.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    black_box(());
                }
            });
        }
        let contestants = vec![sent(TASKGROUP), sent(CROSSBEAM), sent(FLUME), sent(STD)];
        report.table(
            &title("from a send to its receive"),
            contestants,
            effort.rounds(101),
        )?;
        let contestants = vec![
            Contestant::new("taskgroup", || {
                let (tell, told) = mpsc::channel();
                let taken = TaskGroup::scope(|g| {
                    let spawned = pause();
                    g.spawn(move || Ok(tell.send(spawned.elapsed())?));
                    Ok(told.recv()?)
                });
                Ok(micros(taken?))
            }),
            Contestant::new("rayon::spawn", || {
                let (tell, told) = mpsc::channel();
                let spawned = pause();
                rayon::spawn(move || tell.send(spawned.elapsed()).expect("it is waited for"));
                Ok(micros(told.recv()?))
            }),
            Contestant::new("std::thread::spawn", || {
                let (tell, told) = mpsc::channel();
                let spawned = pause();
                let thread =
                    thread::spawn(move || tell.send(spawned.elapsed()).expect("it is waited for"));
                let taken = told.recv()?;
                ensure!(thread.join().is_ok(), "the thread does not panic");
                Ok(micros(taken))
            }),
        ];
        report.table(
            &title("from a spawn to its beginning"),
            contestants,
            effort.rounds(101),
        )
    })
}

/// Ends the computing threads, however the row ends.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn title(case: &str) -> Title<'_> {
    Title {
        row: "busy",
        case,
        unit: "us",
    }
}

fn pause() -> Instant {
    thread::sleep(PAUSE);
    Instant::now()
}

/// Each sample is the time of one message to a sleeping thread, which replies by the same means.
fn sent<S: Send + 'static, R: Send + 'static>(kind: Kind<S, R>) -> Contestant<'static> {
    let ((sender, receiver), (tell, told)) = ((kind.make)(UNBOUNDED), (kind.make)(UNBOUNDED));
    let began = Instant::now();

    // The thread ends when the contestant, and with it the sender, is dropped.
    thread::spawn(move || {
        TaskGroup::scope(|_| {
            while let Some(sent) = (kind.recv)(&receiver) {
                let way = began.elapsed().saturating_sub(Duration::from_nanos(sent));
                ensure!((kind.send)(&tell, way.as_nanos() as u64));
            }
            Ok(())
        })
    });
    Contestant::new(kind.name, move || {
        let way = TaskGroup::scope(|_| {
            let now = pause().duration_since(began);
            ensure!((kind.send)(&sender, now.as_nanos() as u64));
            (kind.recv)(&told).context("the receiver has ended")
        });
        Ok(micros(Duration::from_nanos(way?)))
    })
}
