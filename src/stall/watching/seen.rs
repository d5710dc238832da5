//! A look at all open groups of the process.

use std::time::Instant;

use super::pace::pause;
use super::view::StallView;
use crate::lanes;

/// The findings of a look at all open groups.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) stalling: Vec<(u64, Instant, StallView)>,
    /// The earliest instant at which a look is needed for a deadline.
    pub(super) upcoming: Option<Instant>,
    /// A part could not be read.
    pub(super) is_busy: bool,
}

impl Seen {
    /// Reads all groups that are open. Only tries locks.
    pub(super) fn now(now: Instant) -> Self {
        let mut seen = Seen::default();
        for lane in lanes::all() {
            let read = lane.with_groups(|groups| {
                for (number, group) in groups.iter() {
                    let mut view = StallView::default();
                    group.describe(&mut view);
                    seen.add(number, view, now);
                }
            });
            seen.is_busy |= read.is_err();
        }
        seen
    }

    fn add(&mut self, number: u64, view: StallView, now: Instant) {
        self.is_busy |= view.is_busy;

        // The user may have asked for no report, with a delay that never ends.
        let can_stall = |since: Instant| since.checked_add(view.after).is_some();

        match (view.due_since, view.deadline) {
            (Some(since), _) if can_stall(since) => self.stalling.push((number, since, view)),
            // No thread has noticed yet that the deadline has passed.
            (None, Some(deadline)) if deadline <= now && can_stall(deadline) => {
                self.stalling.push((number, deadline, view));
            }

            // A scope that may stall later: one look after its deadline is enough.
            (None, Some(deadline)) if can_stall(deadline) => {
                let look = deadline.checked_add(pause(view.after));
                self.upcoming = self.upcoming.into_iter().chain(look).min();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Returns the findings of a look at a scope with this cancel and deadline.
    fn found(cancelled: Option<Instant>, deadline: Option<Instant>, after: Duration) -> Seen {
        let view = StallView {
            due_since: cancelled,
            deadline,
            after,
            ..StallView::default()
        };
        let mut seen = Seen::default();
        seen.add(1, view, Instant::now());
        seen
    }

    #[test]
    fn a_scope_with_an_endless_delay_is_never_followed() {
        let (past, soon) = (Instant::now(), Instant::now() + Duration::from_secs(60));
        for after in [Duration::ZERO, Duration::MAX] {
            let follows = usize::from(after.is_zero());
            assert_eq!(found(Some(past), None, after).stalling.len(), follows);
            assert_eq!(found(None, Some(past), after).stalling.len(), follows);
            let upcoming = found(None, Some(soon), after);
            assert_eq!(upcoming.stalling.len(), 0);
            assert_eq!(usize::from(upcoming.upcoming.is_some()), follows);
        }
    }
}
