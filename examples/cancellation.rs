//! The token that nobody has to look at: five tasks block in five ways, a sixth fails, and all five stop where they are.
//!
//! ```text
//! cargo run --release --example cancellation [-- --after-ms N]
//! ```
//!
//! Not one of the five has a loop, a timeout or a flag; none is given a token. See how soon after the failure each stops: a hand-made token
//! is seen when somebody looks at it next, and by a thread in `recv`, `accept` or `read` never.

use std::{
    io::{self, Read},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Mutex, OnceLock},
    time::{Duration, Instant},
};

use anyhow::{anyhow, Context};
use clap::Parser;
use taskgroup::{channel, sync, sync::Latch, with_cancel_hook, TaskGroup};
use taskgroup_examples::left_behind;

#[derive(Parser)]
struct Options {
    /// How long all is well.
    #[arg(long, default_value_t = 1000)]
    after_ms: u64,
}

fn main() -> anyhow::Result<()> {
    let well = Duration::from_millis(Options::parse().after_ms);
    let (_sender, inbox) = channel::unbounded::<String>();
    let ledger = sync::Mutex::new(());
    let _kept = ledger.lock()?;
    let door = TcpListener::bind("127.0.0.1:0")?;
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let line = TcpStream::connect(silent.local_addr()?)?;

    let tasks: [(&str, &(dyn Fn() -> anyhow::Result<()> + Sync)); 5] = [
        ("sleeping", &|| Ok(taskgroup::sleep(Duration::MAX)?)),
        ("receiving", &|| inbox.recv().map(drop).context("no message")),
        ("locking", &|| Ok(ledger.lock().map(drop)?)),
        ("accepting", &|| accept(&door).map(drop).context("no guest")),
        ("reading", &|| read(&line, &mut [0; 80]).map(drop).context("no answer")),
    ];
    let begun = Latch::new(tasks.len());
    let failed = OnceLock::new();
    let stopped = Mutex::new(Vec::new());
    let outcome = TaskGroup::builder().name("five and one").scope(|g| {
        for (name, block) in tasks {
            let (begun, stopped) = (&begun, &stopped);
            g.task().name(name).spawn(move || {
                begun.count_down();
                let outcome = block();
                stopped.lock().unwrap().push((name, Instant::now()));
                outcome
            });
        }
        g.task().name("failing").spawn(|| {
            begun.wait()?;
            taskgroup::sleep(well)?;
            failed.get_or_init(Instant::now);
            Err::<(), _>(anyhow!("the disk is full"))
        });
        Ok(())
    });
    let returned = Instant::now();

    let failed = *failed.get().context("nothing has failed")?;
    for (name, at) in stopped.into_inner().unwrap() {
        println!("{name:<20}{:>9.1?}", at - failed);
    }
    println!("{:<20}{:>9.1?}\n", "all over", returned - failed);
    println!("{:#}\nthreads left: {}", outcome.err().context("a failure was lost")?, left_behind());
    Ok(())
}

/// `TcpListener::accept` knows nothing of cancellation. The hook is the guest who wakes it.
fn accept(door: &TcpListener) -> io::Result<TcpStream> {
    let address = door.local_addr()?;
    let (guest, _) = with_cancel_hook(|| drop(TcpStream::connect(address)), || door.accept())?;
    taskgroup::checkpoint()?;
    Ok(guest)
}

/// Nor does `TcpStream::read`. A stream that has been shut down reads as ended.
fn read(mut line: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let length = with_cancel_hook(|| drop(line.shutdown(Shutdown::Both)), || line.read(buffer))?;
    taskgroup::checkpoint()?;
    Ok(length)
}
