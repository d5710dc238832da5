//! Chooses channels, and what is done with their ends.

use std::sync::Arc;

use super::generator::{Generator, Place};
use super::*;

impl Generator {
    pub(super) fn pipe(&mut self, at: &mut Place) -> Option<Step> {
        let level = at.levels.len() - 1;
        // Rule 1 of the module.
        if !self.has(PIPE) || at.levels[level].0 || level < at.fence || self.tasks + 2 > self.size.tasks {
            return None;
        }
        let limited = at.levels.iter().any(|(limited, _)| *limited);
        let capacity = if self.has(RENDEZVOUS) {
            self.choices.pick(&[Some(1), Some(0), Some(2), None])
        } else {
            self.choices.pick(&[Some(1), Some(2), None])
        };
        let channel = self.channels;
        self.channels += 1;
        let fence = if limited { level } else { at.fence };
        // Rule 2: producers first. A stage has the receiver of one channel and the sender of the next.
        let mut tasks = Vec::new();
        for _ in 0..1 + self.choices.below(2) {
            let task = self.task(at, level, false, |place| {
                place.fence = fence;
                place.sends.push(channel);
            });
            tasks.push(Arc::new(task));
        }
        for _ in 0..1 + self.choices.below(2) {
            let task = self.task(at, level, false, |place| {
                place.fence = fence;
                place.receives.push(channel);
            });
            tasks.push(Arc::new(task));
        }
        Some(Step::Pipe { level, channel, capacity, tasks })
    }

    pub(super) fn channel_step(&mut self, at: &mut Place) -> Option<Step> {
        if let Some(&channel) = at.sends.first() {
            return Some(match self.choices.below(4) {
                0 | 1 => Step::Send(channel),
                2 if self.has(SELECT) => Step::Select {
                    receives: Vec::new(),
                    sends: vec![channel],
                    once: self.has(DEFAULT) && self.choices.chance(30),
                },
                _ => Step::TrySend(channel),
            });
        }
        let &channel = at.receives.first()?;
        Some(match self.choices.below(5) {
            0 | 1 => Step::Receive(channel),
            2 => Step::Drain(channel),
            3 if self.has(SELECT) => {
                Step::Select { receives: vec![channel], sends: Vec::new(), once: self.has(DEFAULT) && self.choices.chance(30) }
            }
            _ => Step::TryReceive(channel),
        })
    }
}
