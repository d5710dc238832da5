//! Taking samples: contestants in turn, round after round.

use std::time::{Duration, Instant};

/// A sample shorter than this says more about the clock and the scheduler than about the
/// contestant.
const SHORTEST_SAMPLE: Duration = Duration::from_millis(2);

/// How many rounds a row gets.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    quick: bool,
}

impl Effort {
    pub(crate) fn new(quick: bool) -> Self {
        Effort { quick }
    }

    /// `usual` rounds after a warm-up, or a few when in a hurry.
    pub(crate) fn rounds(self, usual: usize) -> Rounds {
        Rounds {
            warm_up: 2,
            timed: if self.quick { 3 } else { usual },
        }
    }

    /// Like [`rounds`](Self::rounds), for figures of a new process, where nothing needs to warm up.
    pub(crate) fn cold_rounds(self, usual: usize) -> Rounds {
        Rounds {
            warm_up: 0,
            ..self.rounds(usual)
        }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Rounds {
    warm_up: usize,
    timed: usize,
}

/// The goal of a contestant.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    /// The contestant's own median is at most this.
    Median(f64),
    /// The contestant's largest sample is at most this.
    Largest(f64),
    /// The first contestant's median is at most this many times the contestant's.
    Ratio(f64),
    /// The contestant's median is at most this many times the first contestant's.
    InverseRatio(f64),
    /// The first contestant's median is at most this much above the contestant's.
    Excess(f64),
}

/// One side of a table: its name, its goals and a way to take one sample.
pub(crate) struct Contestant<'a> {
    pub(crate) name: String,
    pub(crate) goals: Vec<Goal>,
    sample: Box<dyn FnMut() -> anyhow::Result<f64> + 'a>,
}

impl<'a> Contestant<'a> {
    pub(crate) fn new(
        name: impl Into<String>,
        sample: impl FnMut() -> anyhow::Result<f64> + 'a,
    ) -> Self {
        Contestant {
            name: name.into(),
            goals: Vec::new(),
            sample: Box::new(sample),
        }
    }

    pub(crate) fn goal(mut self, goal: Goal) -> Self {
        self.goals.push(goal);
        self
    }
}

/// The samples of one contestant, in ascending order.
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn median(&self) -> f64 {
        let middle = self.0.len() / 2;
        if self.0.len() % 2 == 1 {
            self.0[middle]
        } else {
            (self.0[middle - 1] + self.0[middle]) / 2.0
        }
    }

    pub(crate) fn smallest(&self) -> f64 {
        self.0[0]
    }

    pub(crate) fn largest(&self) -> f64 {
        self.0[self.0.len() - 1]
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}

/// Lets the contestants take turns, and returns the samples of each, in the order of the
/// contestants.
pub(crate) fn take_turns(
    contestants: &mut [Contestant<'_>],
    rounds: Rounds,
) -> anyhow::Result<Vec<Samples>> {
    let mut taken = vec![Vec::with_capacity(rounds.timed); contestants.len()];
    for round in 0..rounds.warm_up + rounds.timed {
        for (contestant, samples) in contestants.iter_mut().zip(&mut taken) {
            let sample = (contestant.sample)()?;
            if round >= rounds.warm_up {
                samples.push(sample);
            }
        }
    }
    Ok(taken
        .into_iter()
        .map(|mut samples| {
            samples.sort_by(f64::total_cmp);
            Samples(samples)
        })
        .collect())
}

/// Returns a sampler that repeats `once` until a sample is long enough, and gives nanoseconds for
/// each of the `parts` of one repetition.
///
/// The clock is read around all repetitions, not around each: reading it costs as much as some of
/// the measured calls.
pub(crate) fn repeated(
    parts: usize,
    mut once: impl FnMut() -> anyhow::Result<()> + Send,
) -> impl FnMut() -> anyhow::Result<f64> + Send {
    let mut repetitions = 1_u32;
    move || loop {
        let started = Instant::now();
        for _ in 0..repetitions {
            once()?;
        }
        let took = started.elapsed();
        if took >= SHORTEST_SAMPLE {
            return Ok(nanos(took) / f64::from(repetitions) / parts as f64);
        }
        repetitions *= 2;
    }
}

pub(crate) fn nanos(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e9
}

pub(crate) fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
