//! A morning in the kitchen, in four steps: what waits for what, and what stops when the grinder breaks.
//!
//! ```text
//! cargo run --release --example coffee [-- [STEP] [--minute-ms N]]
//! ```
//!
//! On the left is the time in minutes, of half a second each. Steps 1 to 3 are what a pool of threads can do as well. In step 4 a stone
//! breaks the grinder: see what had begun, what came of it, how soon it was over, and what the report says.

use std::{
    fmt::Display,
    sync::OnceLock,
    time::{Duration, Instant},
};

use anyhow::{bail, Context};
use clap::Parser;
use taskgroup::{Cancelled, GroupError, TaskGroup};
use taskgroup_examples::left_behind;

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
    let options = Options::parse();
    for step in options.step.map_or(1..=4, |step| step..=step) {
        let minute = Duration::from_millis(options.minute_ms);
        let kitchen = &Kitchen { opened: Instant::now(), minute, stone: step == 4, broke: OnceLock::new() };
        let steps =
            ["grind while the water heats", "pour what is ready", "chores and a podcast beside it", "a stone in the grinder"];
        println!("{step}. {}", steps[usize::from(step) - 1]);
        match step {
            1 => grind_and_heat(kitchen)?,
            2 => coffee(kitchen)?,
            3 => morning(kitchen)?,
            _ => bad_morning(kitchen)?,
        }
    }
    println!("threads left: {}", left_behind());
    Ok(())
}

/// Step 1: pours when both are ready.
fn grind_and_heat(kitchen: &Kitchen) -> Result<(), GroupError> {
    let (beans, water) = taskgroup::join(|| kitchen.grind(), || kitchen.heat())?;
    kitchen.pour(beans)?;
    kitchen.pour(water)?;
    Ok(kitchen.brew_and_drink()?)
}

/// Step 2: pours each as soon as it is ready.
fn coffee(kitchen: &Kitchen) -> Result<(), GroupError> {
    TaskGroup::builder().name("coffee").scope(|g| {
        let beans = g.task().name("grinder").spawn(|| kitchen.grind());
        let water = g.task().name("kettle").spawn(|| kitchen.heat());
        for ready in g.as_completed([beans, water]) {
            kitchen.pour(ready?.join()?)?;
        }
        Ok(kitchen.brew_and_drink()?)
    })
}

fn chores(kitchen: &Kitchen) -> Result<(), GroupError> {
    TaskGroup::builder().name("chores").scope(|g| {
        for (name, minutes) in [("dishes", 4), ("laundry", 6)] {
            g.task().name(name).spawn(move || Ok(kitchen.spend(minutes, format_args!("doing the {name}"))?));
        }
        Ok(())
    })
}

/// Step 3: both, each with a group of its own, until both are done; the podcast ends with them.
fn morning(kitchen: &Kitchen) -> Result<(), GroupError> {
    TaskGroup::builder().name("morning").scope(|g| {
        g.task().name("podcast").spawn_daemon(|| loop {
            kitchen.spend(2, "playing a podcast")?;
        });
        g.task().name("coffee").spawn(|| Ok(coffee(kitchen)?));
        g.task().name("chores").spawn(|| Ok(chores(kitchen)?));
        Ok(())
    })
}

/// Step 4: the same with a stone among the beans.
fn bad_morning(kitchen: &Kitchen) -> anyhow::Result<()> {
    let error = morning(kitchen).err().context("coffee was made with a stone in it")?;
    let took = kitchen.broke.get().context("the grinder is whole")?.elapsed();
    println!("{error:#}\neverything had stopped {took:.1?} after the grinder broke");
    Ok(())
}

/// A place where everything takes its time, and says when it begins, when it is done and when it is cut short.
struct Kitchen {
    opened: Instant,
    minute: Duration,
    /// Whether a stone breaks the grinder, which takes 300 ms however long a minute is.
    stone: bool,
    broke: OnceLock<Instant>,
}

impl Kitchen {
    fn grind(&self) -> anyhow::Result<&'static str> {
        if self.stone {
            self.say("grinding the beans");
            taskgroup::sleep(Duration::from_millis(300))?;
            self.broke.get_or_init(Instant::now);
            bail!("there is a stone in the grinder");
        }
        self.spend(3, "grinding the beans")?;
        Ok("beans")
    }

    fn heat(&self) -> anyhow::Result<&'static str> {
        self.spend(2, "heating the water")?;
        Ok("water")
    }

    fn pour(&self, what: &str) -> Result<(), Cancelled> {
        self.spend(1, format_args!("pouring the {what}"))
    }

    fn brew_and_drink(&self) -> Result<(), Cancelled> {
        self.spend(2, "brewing")?;
        self.spend(1, "drinking the coffee")
    }

    fn spend(&self, minutes: u32, doing: impl Display) -> Result<(), Cancelled> {
        self.say(&doing);
        let outcome = taskgroup::sleep(self.minute * minutes);
        self.say(format_args!("{} {doing}", if outcome.is_ok() { "done" } else { "STOPPED" }));
        outcome
    }

    fn say(&self, what: impl Display) {
        println!("  {:>5.2}  {what}", self.opened.elapsed().as_secs_f64() / self.minute.as_secs_f64());
    }
}
