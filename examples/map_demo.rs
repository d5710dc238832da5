//! Five sleepers, three at once: results in the order of the input, then in the order in which they
//! come, then until one fails.
//!
//! ```text
//! cargo run --release --example map_demo
//! ```
//!
//! In the first part, 1 and 3 are done long before 7, and yet their results come after it. Look
//! when the input is pulled: only when there is room for it, so in the third part it can be
//! endless. There, 2 wakes up and fails while two tasks are asleep: they are woken at once, and the
//! report names the failed task. On the left are seconds.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use taskgroup::{Cancelled, TaskGroup};
use taskgroup_examples::{left_behind, println};

const UNIT: Duration = Duration::from_millis(300);

fn main() -> anyhow::Result<()> {
    let start = Instant::now();
    let say = |indent: u32, text: String| {
        println!(
            "[{:7.4}] {:indent$}{text}",
            start.elapsed().as_secs_f64(),
            "",
            indent = 4 * indent as usize
        );
    };

    let pulled = |n: &u32| say(*n, format!("{n} pulled"));
    let loiter = |n: u32| {
        say(n, format!("{n} sleeps"));
        taskgroup::sleep(UNIT * n).inspect_err(|_| say(n, format!("{n} is woken")))?;
        say(n, format!("{n} wakes up"));
        ensure!(n != 2, "{n} had a bad dream");
        Ok(n * 10)
    };

    let given = |result: Result<u32, Cancelled>| {
        Ok(result.map(|result| say(0, format!("result {result}")))?)
    };
    let sleepers = [7, 1, 3, 0, 4];

    say(0, "map, in the order of the input".into());
    let three = || TaskGroup::builder().limit(3);
    three().scope(|g| {
        g.map(sleepers.into_iter().inspect(pulled), loiter)
            .try_for_each(given)
    })?;

    say(0, "map_unordered, in the order in which they come".into());
    three().scope(|g| {
        g.map_unordered(sleepers.into_iter().inspect(pulled), loiter)
            .try_for_each(given)
    })?;

    say(0, "map over an endless input, of which 2 fails".into());
    let dreams = three().name("endless").scope(|g| {
        g.map((2..).step_by(2).inspect(pulled), loiter)
            .try_for_each(given)
    });

    say(0, "over".into());
    println!(
        "{:#}\nthreads left: {}",
        dreams.err().context("no dream was bad")?,
        left_behind()
    );
    Ok(())
}
