//! Chooses the ways to spawn tasks and to wait for them.

use std::sync::Arc;

use super::generator::{Generator, Place};
use super::*;

impl Generator {
    pub(super) fn forever(&mut self) -> Forever {
        if self.has(IO) && self.choices.chance(25) {
            return Forever::Io(self.choices.weighed(&Io::ALL));
        }
        match self.choices.pick(&Forever::ALL) {
            Forever::After | Forever::Tick if !self.has(TIMES) => Forever::Never,
            forever => forever,
        }
    }

    pub(super) fn spawn(&mut self, at: &mut Place) -> Option<Step> {
        let level = self.level(at).filter(|_| self.has_tasks())?;
        let how = self.choices.weighed(&[
            (3, How::Plain),
            (1, How::Isolated),
            (1, How::Daemon),
            (1, How::Try),
            (1, How::Named),
            (1, How::Dedicated),
        ]);
        let keep = self.choices.chance(75);
        let daemon = how == How::Daemon;
        let mut task = self.task(at, level, daemon, |place| place.serves |= daemon);
        if daemon {
            task.result = None;
        }
        // Rule 1 of the module.
        let unlimited = !at.levels[level].0;
        let fenced = at.fence == level || at.levels[..level].iter().all(|(limited, _)| !limited);
        if unlimited && fenced && !daemon && self.choices.chance(30) {
            task.sets = Some(self.events);
            at.events.push(self.events);
            self.events += 1;
        }
        if !daemon && keep {
            at.own.push((level, task.id));
        }
        Some(Step::Spawn {
            level,
            how,
            keep,
            task: Arc::new(task),
        })
    }

    /// A task that waits for ever, and is cancelled.
    pub(super) fn doomed(&mut self, at: &mut Place) -> Option<Step> {
        let level = self.level(at).filter(|_| self.has_tasks())?;
        let how = self.choices.pick(&[
            How::Plain,
            How::Plain,
            How::Isolated,
            How::Named,
            How::Dedicated,
        ]);
        let by = match self.choices.below(4) {
            0 | 1 => Doom::Handle,
            2 if self.has(RUN) && self.tokens > 0 => Doom::Token(self.choices.below(self.tokens)),
            _ => Doom::Group,
        };
        let task = self.task(at, level, true, |_| ());
        // It keeps its permit for as long as it waits, so nothing may need one until it has been
        // cancelled.
        let limited = at.levels.iter().any(|(limited, _)| *limited);
        let between = self.inside(at, |place| {
            place.quiet |= limited;
            place.own.clear();
            // Rule 3 of the module: no task is waited for that only the end of the daemon cancels.
            if place.serves {
                place.doomed = false;
                place.levels.iter_mut().for_each(|level| level.1 = false);
                place.earlier.clear();
                place.events.clear();
            }
        });
        at.own.push((level, task.id));
        Some(Step::Doomed {
            level,
            how,
            task: Arc::new(task),
            between,
            by,
        })
    }

    pub(super) fn wait(&mut self, at: &mut Place) -> Option<Step> {
        let own = !at.own.is_empty() && (at.earlier.is_empty() || self.choices.chance(80));
        let way = if own {
            self.choices.pick(&[
                Way::Join,
                Way::Join,
                Way::Wait,
                Way::WaitZero,
                Way::WaitLong,
                Way::CancelAndWait,
                Way::Cancel,
                Way::Drop,
            ])
        } else {
            self.choices.pick(&[
                Way::Wait,
                Way::WaitZero,
                Way::WaitLong,
                Way::CancelAndWait,
                Way::Cancel,
            ])
        };
        if at.quiet && !matches!(way, Way::WaitZero | Way::Cancel | Way::Drop) {
            return None;
        }
        let from = if own { &mut at.own } else { &mut at.earlier };
        if from.is_empty() {
            return None;
        }
        let index = self.choices.below(from.len());
        let (level, task) = if matches!(way, Way::Join | Way::Drop) {
            from.remove(index)
        } else {
            from[index]
        };
        Some(Step::Wait { level, task, way })
    }

    pub(super) fn completed(&mut self, at: &mut Place) -> Option<Step> {
        let &(level, _) = at.own.last().filter(|_| !at.quiet)?;
        let tasks = at
            .own
            .iter()
            .filter(|(of, _)| *of == level)
            .map(|(_, task)| *task)
            .collect();
        at.own.retain(|(of, _)| *of != level);
        Some(Step::Completed { level, tasks })
    }

    pub(super) fn map(&mut self, at: &mut Place) -> Option<Step> {
        if at.quiet || !self.has_tasks() {
            return None;
        }
        let level = self.level(at)?;
        let items = 1 + self.choices.below(3);
        self.tasks += items;
        let (ordered, taken) = (
            self.choices.chance(50),
            items + 1 - self.choices.below(items + 1),
        );
        let mut place = self.place_of_task(at, level);
        place.fence = level + 1;
        let block = self.block(&mut place);
        Some(Step::Map {
            level,
            ordered,
            items,
            taken,
            block: Arc::new(block),
        })
    }

    pub(super) fn start(&mut self, at: &mut Place) -> Option<Step> {
        if at.quiet || !self.has_tasks() || !self.has(START) {
            return None;
        }
        let level = self.level(at)?;
        let mut task = self.task(at, level, false, |_| ());
        // Such a task returns nothing, and neither does a daemon.
        task.result = None;
        if self.choices.chance(75) {
            let index = self.choices.below(task.block.steps.len() + 1);
            task.block.steps.insert(index, Step::Ready);
        }
        Some(Step::Start {
            level,
            task: Arc::new(task),
        })
    }

    pub(super) fn on_finished(&mut self, at: &mut Place) -> Option<Step> {
        let &(level, task) = at.own.last()?;
        let act = self.act();
        Some(Step::OnFinished { level, task, act })
    }
}
