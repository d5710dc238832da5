//! The state of a group that the reports of stalls read and set.

use std::time::Instant;

use super::group_state::GroupState;
use crate::cancel::{Cancelled, Grace, KeptCanceller};
use crate::stall::{self, ReportClaim, StallView};

/// How many slow callbacks of a group are named.
const MOST_KEPT: usize = 16;

impl GroupState {
    /// Has the watcher look at the group in time, if it is cancelled or has a deadline. To be
    /// called once the group is on the lane of its thread, and has met the readers there if another
    /// thread may cancel it.
    #[inline]
    pub(crate) fn ask_for_look(&self) {
        // Relaxed loads of one word: all that a group pays that is neither.
        if self.node().is_flagged() || self.node().is_timed() {
            self.ask_for_look_now();
        }
    }

    #[cold]
    pub(super) fn ask_for_look_now(&self) {
        let since = if self.node().is_flagged() {
            // Close enough, and the lock of the node is not taken for it.
            Some(Instant::now())
        } else {
            self.node().effective_deadline()
        };
        if let Some(since) = since {
            stall::ask_after(since, self.info().stall_after);
        }
    }

    /// Describes what the watcher asks for. Called by a reader of the open groups.
    pub(super) fn describe_stall(&self, view: &mut StallView) {
        let info = self.info();
        view.after = info.stall_after;
        view.policy = info.stall_policy;

        // The cause of a cancel is under the lock of the node.
        let cancelled = if self.node().is_flagged() {
            self.node().try_recorded()
        } else {
            Some(None)
        };

        match cancelled {
            None => view.is_busy = true,
            Some(Some(cancelled)) => {
                view.due_since = Some(cancelled.at());
                match self.node().try_grace() {
                    Some(grace) => view.grace = grace,
                    None => view.is_busy = true,
                }
                if let Some(kept) = self.kept.try_lock() {
                    view.kept.clone_from(&kept);
                }
            }
            Some(None) if self.node().is_timed() => {
                view.grace = Grace::Over;
                view.deadline = self.node().effective_deadline();
            }
            Some(None) => {}
        }
    }

    /// Counts a report. Called by a reader of the open groups.
    pub(super) fn claim_report(&self, claim: &mut ReportClaim) {
        self.note_stall();
        claim.is_made = true;
    }

    /// Notes what kept the cancelling thread, for the reports.
    pub(super) fn note_kept(&self, kept: KeptCanceller) {
        let mut all = self.kept.lock();
        if all.len() < MOST_KEPT {
            all.push(kept);
        }
    }

    /// The cancel of the group, for its last report.
    pub(crate) fn cancelled(&self) -> Option<Cancelled> {
        self.node().recorded()
    }
}
