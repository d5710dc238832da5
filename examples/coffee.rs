//! A morning in the kitchen, in four steps: tasks that wait for each other, and that stop when the
//! grinder breaks.
//!
//! ```text
//! cargo run --release --example coffee [-- [STEP] [--minute-ms N]]
//! ```
//!
//! On the left is the time in minutes, of half a second each. A pool of threads can do steps 1 to 3
//! as well. In step 4 a stone breaks the grinder: look which tasks had begun, how they ended, how
//! soon all was over, and at the report.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Parser;
use taskgroup::{Cancelled, GroupError, TaskGroup};
use taskgroup_examples::{left_behind, println};

#[derive(Parser)]
struct Options {
    /// The only step to show.
    #[arg(value_parser = clap::value_parser!(u8).range(1..=4))]
    step: Option<u8>,
    /// How long a minute takes.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..))]
    minute_ms: u64,
}

fn main() -> anyhow::Result<()> {
    let Options { step, minute_ms } = Options::parse();
    let steps = [
        (
            "grind while the water heats",
            grind_and_heat as fn(&Kitchen) -> _,
        ),
        ("pour each when ready", coffee),
        ("chores and a podcast beside it", morning),
        ("a stone in the grinder", morning),
    ];

    for (number, (title, run)) in (1..)
        .zip(steps)
        .filter(|(number, _)| step.is_none_or(|step| step == *number))
    {
        println!("{number}. {title}");
        let minute = Duration::from_millis(minute_ms);
        let kitchen = Kitchen {
            opened: Instant::now(),
            minute,
            stone: number == 4,
            broke: OnceLock::new(),
        };
        match (run(&kitchen), kitchen.broke.get()) {
            (Err(report), Some(broke)) => println!(
                "{report:#}\neverything stopped within {:.1?} of that",
                broke.elapsed()
            ),
            (outcome, _) => outcome?,
        }
    }

    println!("threads left: {}", left_behind());
    Ok(())
}

/// Step 1: pours when both are ready.
fn grind_and_heat(kitchen: &Kitchen) -> Result<(), GroupError> {
    let (beans, water) = taskgroup::join(
        || kitchen.grind(),
        || Ok(kitchen.spend(2, "heating", "water")?),
    )?;
    kitchen.spend(1, "pouring", beans)?;
    kitchen.spend(1, "pouring", water)?;
    Ok(kitchen.brew_and_drink()?)
}

/// Step 2: pours each as soon as it is ready.
fn coffee(kitchen: &Kitchen) -> Result<(), GroupError> {
    TaskGroup::builder().name("coffee").scope(|g| {
        let beans = g.task().name("grinder").spawn(|| kitchen.grind());
        let water = g
            .task()
            .name("kettle")
            .spawn(|| Ok(kitchen.spend(2, "heating", "water")?));
        for ready in g.as_completed([beans, water]) {
            kitchen.spend(1, "pouring", ready?.join()?)?;
        }
        Ok(kitchen.brew_and_drink()?)
    })
}

fn chores(kitchen: &Kitchen) -> Result<(), GroupError> {
    TaskGroup::builder().name("chores").scope(|g| {
        g.task()
            .name("dishes")
            .spawn(|| Ok(kitchen.spend(4, "doing", "dishes")?));
        g.task()
            .name("laundry")
            .spawn(|| Ok(kitchen.spend(6, "doing", "laundry")?));
        Ok(())
    })
}

/// Step 3: runs both, each in a group of its own, until both are done. The podcast ends with them.
/// Step 4: runs step 3 with a stone among the beans.
fn morning(kitchen: &Kitchen) -> Result<(), GroupError> {
    TaskGroup::builder().name("morning").scope(|g| {
        g.task().name("podcast").spawn_daemon(|| {
            loop {
                kitchen.spend(2, "playing", "podcast")?;
            }
        });
        g.task().name("coffee").spawn(|| Ok(coffee(kitchen)?));
        g.task().name("chores").spawn(|| Ok(chores(kitchen)?));
        Ok(())
    })
}

/// A place where each activity takes its time, and prints when it begins, when it is done and when
/// it is cut short.
struct Kitchen {
    opened: Instant,
    minute: Duration,
    /// Whether a stone breaks the grinder, which takes 300 ms however long a minute is.
    stone: bool,
    broke: OnceLock<Instant>,
}

impl Kitchen {
    fn grind(&self) -> anyhow::Result<&str> {
        if self.stone {
            self.say("grinding the beans");
            taskgroup::sleep(Duration::from_millis(300))?;
            self.broke.get_or_init(Instant::now);
            bail!("there is a stone in the grinder");
        }
        Ok(self.spend(3, "grinding", "beans")?)
    }

    fn brew_and_drink(&self) -> Result<(), Cancelled> {
        self.spend(2, "brewing", "coffee")?;
        self.spend(1, "drinking", "coffee").map(drop)
    }

    /// Spends `minutes` on `what`, and returns `what`.
    fn spend<'a>(&self, minutes: u32, doing: &str, what: &'a str) -> Result<&'a str, Cancelled> {
        self.say(&format!("{doing} the {what}"));
        let outcome = taskgroup::sleep(self.minute * minutes);
        self.say(&format!(
            "{} {doing} the {what}",
            if outcome.is_ok() { "done" } else { "STOPPED" }
        ));
        outcome.map(|()| what)
    }

    fn say(&self, what: &str) {
        println!(
            "  {:>5.2}  {what}",
            self.opened.elapsed().as_secs_f64() / self.minute.as_secs_f64()
        );
    }
}
