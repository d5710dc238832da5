//! A cancel without a token: a loop that computes, as in the original, and then five tasks that
//! block in five ways, and stop where they are when a sixth fails.
//!
//! ```text
//! cargo run --release --example cancellation
//! ```
//!
//! None of the five has a loop, a timeout, a flag or a token. Look how soon after the failure each
//! stops. A hand-made token is seen only at its next check, and never by a thread in `recv`,
//! `accept` or `read`.

use std::io::Read;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use taskgroup::net::{TcpListener, TcpStream};
use taskgroup::sync::{Latch, Semaphore};
use taskgroup::{GroupError, TaskGroup, channel};
use taskgroup_examples::{left_behind, println};

fn main() -> anyhow::Result<()> {
    one_loop()?;

    let (_sender, inbox) = channel::unbounded::<()>();
    let permits = Semaphore::new(0);
    let door = TcpListener::bind("127.0.0.1:0")?;
    let line = TcpStream::connect(door.local_addr()?)?;
    let _silent = door.accept()?;

    let tasks: [(&str, &(dyn Fn() -> anyhow::Result<()> + Sync)); 5] = [
        ("sleeping", &|| Ok(taskgroup::sleep(Duration::MAX)?)),
        ("receiving", &|| Ok(inbox.recv()?)),
        ("acquiring", &|| Ok(permits.acquire().map(drop)?)),
        ("accepting", &|| Ok(door.accept().map(drop)?)),
        ("reading", &|| Ok((&line).read_exact(&mut [0])?)),
    ];

    let (begun, failed) = (Latch::new(tasks.len()), OnceLock::new());
    let outcome = TaskGroup::builder().name("five and one").scope(|g| {
        for (name, block) in tasks {
            let task = g.task().name(name).spawn(|| {
                begun.count_down();
                block()
            });
            // The first instant is the failure: the five end only after it.
            let after = || failed.get_or_init(Instant::now).elapsed();
            task.on_finished(move |_| println!("{name:<20}{:>9.1?}", after()));
        }
        g.task().name("failing").spawn(|| {
            begun.wait()?;
            taskgroup::sleep(Duration::from_secs(1))?;
            failed.get_or_init(Instant::now);
            Err::<(), _>(anyhow!("the disk is full"))
        });
        Ok(())
    });

    let failed = failed.get().context("nothing has failed")?;
    println!("{:<20}{:>9.1?}\n", "all over", failed.elapsed());
    let report = outcome.err().context("a failure was lost")?;
    println!("{report:#}\nthreads left: {}", left_behind());
    Ok(())
}

/// The original: a loop that computes is cancelled after a second, and waited for.
fn one_loop() -> Result<(), GroupError> {
    TaskGroup::scope(|g| {
        let task = g.spawn(|| -> anyhow::Result<()> {
            loop {
                taskgroup::checkpoint()?;
            }
        });
        taskgroup::sleep(Duration::from_secs(1))?;
        println!("{:<20}{:?}\n", "a loop", task.cancel_and_wait()?);
        Ok(())
    })
}
