//! Chooses channels, and the steps that use their ends.

use std::sync::Arc;

use super::generator::{Generator, Place};
use super::*;

impl Generator {
    pub(super) fn pipe(&mut self, at: &mut Place) -> Option<Step> {
        let level = at.levels.len() - 1;
        // Rule 1 of the module.
        if !self.has(PIPE)
            || at.levels[level].0
            || level < at.fence
            || self.tasks + 2 > self.size.tasks
        {
            return None;
        }
        let limited = at.levels.iter().any(|(limited, _)| *limited);
        let mut channels = Vec::new();
        for _ in 0..self.choices.weighed(&[(2, 1), (1, 2)]) {
            let capacity = self.choices.pick(&[Some(1), Some(0), Some(2), None]);
            let capacity = if self.has(RENDEZVOUS) {
                capacity
            } else {
                capacity.map(|capacity: usize| capacity.max(1))
            };
            channels.push((self.channels, capacity));
            self.channels += 1;
        }
        let fence = if limited { level } else { at.fence };
        // Rule 2: producers first. A producer has one channel, so that it is held up by no other;
        // consumers have all.
        let mut tasks = Vec::new();
        let producers = channels.len().max(1 + self.choices.below(2));
        for producer in 0..producers {
            let channel = channels[producer % channels.len()].0;
            tasks.push(self.pipe_task(at, level, |place| {
                place.fence = fence;
                place.sends.push(channel);
            }));
        }
        for _ in 0..1 + self.choices.below(2) {
            tasks.push(self.pipe_task(at, level, |place| {
                place.fence = fence;
                place
                    .receives
                    .extend(channels.iter().map(|(channel, _)| *channel));
            }));
        }
        Some(Step::Pipe {
            level,
            channels,
            tasks,
        })
    }

    fn pipe_task(
        &mut self,
        at: &Place,
        level: usize,
        change: impl FnOnce(&mut Place),
    ) -> Arc<Task> {
        let task = self.task(at, level, false, change);
        let with = self.has(WITH) && self.choices.chance(40);
        Arc::new(Task { with, ..task })
    }

    pub(super) fn channel_step(&mut self, at: &mut Place) -> Option<Step> {
        if let Some(&channel) = at.sends.first() {
            return Some(match self.choices.below(4) {
                0 | 1 => Step::Send(channel),
                2 if self.has(SELECT) => self.select(Vec::new(), vec![channel]),
                _ => Step::TrySend(channel),
            });
        }
        if at.receives.is_empty() {
            return None;
        }
        let channel = self.choices.pick(&at.receives);
        Some(match self.choices.below(5) {
            0 | 1 => Step::Receive(channel),
            2 => Step::Drain(channel),
            3 if self.has(SELECT) => self.select(at.receives.clone(), Vec::new()),
            _ => Step::TryReceive(channel),
        })
    }

    fn select(&mut self, receives: Vec<usize>, sends: Vec<usize>) -> Step {
        Step::Select {
            receives,
            sends,
            once: self.has(DEFAULT) && self.choices.chance(30),
            timed: self.has(TIMES) && self.choices.chance(30),
        }
    }
}
