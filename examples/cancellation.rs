//! A cancel without polling: five tasks block in five ways, a sixth fails, and all five stop where
//! they are.
//!
//! ```text
//! cargo run --release --example cancellation
//! ```
//!
//! None of the five has a loop, a timeout, a flag or a token. Look how soon after the failure each
//! stops. A hand-made token is seen only at its next check, and never by a thread in `recv`,
//! `accept` or `read`.

use std::io::{self, Read};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use taskgroup::{TaskGroup, channel, sync, sync::Latch, with_cancel_hook};
use taskgroup_examples::{left_behind, println};

fn main() -> anyhow::Result<()> {
    let (_sender, inbox) = channel::unbounded::<String>();
    let ledger = sync::Mutex::new(());
    let _kept = ledger.lock()?;
    let door = TcpListener::bind("127.0.0.1:0")?;
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let line = TcpStream::connect(silent.local_addr()?)?;

    let tasks: [(&str, &(dyn Fn() -> anyhow::Result<()> + Sync)); 5] = [
        ("sleeping", &|| Ok(taskgroup::sleep(Duration::MAX)?)),
        ("receiving", &|| {
            inbox.recv().map(drop).context("no message")
        }),
        ("locking", &|| Ok(ledger.lock().map(drop)?)),
        ("accepting", &|| accept(&door).map(drop).context("no guest")),
        ("reading", &|| {
            read(&line, &mut [0; 80]).map(drop).context("no answer")
        }),
    ];
    let (begun, failed) = (Latch::new(tasks.len()), OnceLock::new());
    let outcome = TaskGroup::builder().name("five and one").scope(|g| {
        for (name, block) in tasks {
            let (begun, failed) = (&begun, &failed);
            g.task().name(name).spawn(move || {
                begun.count_down();
                // The first instant is the failure: the other tasks fail only after it.
                block().inspect_err(|_| {
                    println!(
                        "{name:<20}{:>9.1?}",
                        failed.get_or_init(Instant::now).elapsed()
                    )
                })
            });
        }
        g.task().name("failing").spawn(|| {
            begun.wait()?;
            taskgroup::sleep(Duration::from_secs(1))?;
            failed.get_or_init(Instant::now);
            Err::<(), _>(anyhow!("the disk is full"))
        });
        Ok(())
    });
    println!(
        "{:<20}{:>9.1?}\n",
        "all over",
        failed.get().context("nothing has failed")?.elapsed()
    );
    println!(
        "{:#}\nthreads left: {}",
        outcome.err().context("a failure was lost")?,
        left_behind()
    );
    Ok(())
}

/// Accepts a connection. `TcpListener::accept` knows nothing of cancellation, so the hook wakes it
/// by a connection.
fn accept(door: &TcpListener) -> io::Result<TcpStream> {
    let address = door.local_addr()?;
    let (guest, _) = with_cancel_hook(|| drop(TcpStream::connect(address)), || door.accept())?;
    taskgroup::checkpoint()?;
    Ok(guest)
}

/// Reads from the stream. The hook shuts the stream down, which then reads as ended.
fn read(mut line: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let length = with_cancel_hook(|| drop(line.shutdown(Shutdown::Both)), || line.read(buffer))?;
    taskgroup::checkpoint()?;
    Ok(length)
}
