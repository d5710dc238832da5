//! Five sleepers, three at once: results in the order of the input, then in the order in which they come, then until one fails.
//!
//! ```text
//! cargo run --release --example map_demo [-- --unit-ms N]
//! ```
//!
//! In the first part, 0 is done at once and its result comes second, after that of 2. Look at when the input is pulled: no sooner than there
//! is room for it, so that in the third part it can be endless. There, one task fails while two are asleep: they are woken at once, and the
//! report names the one.

use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Parser;
use taskgroup::TaskGroup;
use taskgroup_examples::left_behind;

/// Maps a sleep over numbers, three at once.
#[derive(Parser)]
struct Options {
    /// How long one unit of sleep is
    #[arg(long, value_name = "MS", default_value_t = 500)]
    unit_ms: u64,
}

fn main() -> anyhow::Result<()> {
    let unit = Duration::from_millis(Options::parse().unit_ms);
    let start = Instant::now();
    let say = |indent: u32, text: String| {
        println!("[{:6.3}] {:indent$}{text}", start.elapsed().as_secs_f64(), "", indent = 4 * indent as usize);
    };
    let pulled = |n: &u32| say(*n, format!("{n} pulled"));
    let loiter = |n: u32| {
        say(n, format!("{n} sleeps"));
        taskgroup::sleep(unit * n).inspect_err(|_| say(n, format!("{n} is woken")))?;
        say(n, format!("{n} is done"));
        anyhow::Ok(n * 10)
    };

    say(0, "map, in the order of the input".into());
    TaskGroup::builder().limit(3).scope(|g| {
        for result in g.map([2, 0, 3, 1, 4].into_iter().inspect(pulled), loiter) {
            say(0, format!("result {}", result?));
        }
        Ok(())
    })?;

    say(0, "map_unordered, in the order in which they come".into());
    TaskGroup::builder().limit(3).scope(|g| {
        for result in g.map_unordered([9, 1, 3, 0, 4].into_iter().inspect(pulled), loiter) {
            say(0, format!("result {}", result?));
        }
        Ok(())
    })?;

    say(0, "map over an endless input, of which 12 fails after one unit".into());
    let fitful = |n| {
        if n == 12 {
            taskgroup::sleep(unit)?;
            bail!("{n} has a bad dream");
        }
        loiter(n)
    };
    let failed = TaskGroup::builder().name("endless").limit(3).scope(|g| {
        for result in g.map((10..).inspect(pulled), fitful) {
            say(0, format!("result {}", result?));
        }
        Ok(())
    });
    say(0, "over".into());
    if let Err(report) = failed {
        println!("{report:#}\nthreads left: {}", left_behind());
    }
    Ok(())
}
