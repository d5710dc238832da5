//! Pauses between looks at a child.

use std::time::{Duration, Instant};

use crate::cancel::Cancelled;
use crate::readiness::{self, Watched};
use crate::waiting::WaitKind;

/// Pauses between looks at children. They last until a child ends. Where the system has no
/// descriptor for the end of a child, they are short, and become longer.
#[derive(Debug)]
pub(super) struct Look(Duration);

impl Look {
    const FIRST: Duration = Duration::from_micros(500);
    const LONGEST: Duration = Duration::from_millis(16);

    pub(super) fn new() -> Self {
        Look(Self::FIRST)
    }

    /// Blocks until the child may have ended, one of `others` is ready, or `limit` has passed.
    /// `end` is what becomes ready when the child ends, if there is such a descriptor.
    ///
    /// # Errors
    ///
    /// The cancel of the scope.
    #[track_caller]
    pub(super) fn pause<'a>(
        &mut self,
        end: Option<Watched<'a>>,
        others: Vec<Watched<'a>>,
        limit: Option<Instant>,
    ) -> Result<(), Cancelled> {
        let (mut watched, limit) = self.watch(end, others, limit);
        readiness::poll(WaitKind::Child, &mut watched, limit).map(drop)
    }

    /// Like [`pause`](Self::pause), whatever is cancelled.
    #[track_caller]
    pub(super) fn pause_uncancellable<'a>(
        &mut self,
        end: Option<Watched<'a>>,
        others: Vec<Watched<'a>>,
        limit: Option<Instant>,
    ) {
        let (mut watched, limit) = self.watch(end, others, limit);
        readiness::poll_uncancellable(WaitKind::Child, &mut watched, limit);
    }

    /// Adds the end of the child to what is watched. Returns an earlier limit if it cannot be.
    fn watch<'a>(
        &mut self,
        end: Option<Watched<'a>>,
        mut others: Vec<Watched<'a>>,
        limit: Option<Instant>,
    ) -> (Vec<Watched<'a>>, Option<Instant>) {
        let limit = match end {
            Some(_) => limit,
            None => self.shorten(limit),
        };
        others.extend(end);
        (others, limit)
    }

    /// Returns the end of a short pause, or `limit` if that comes first.
    pub(super) fn shorten(&mut self, limit: Option<Instant>) -> Option<Instant> {
        let short = Instant::now() + self.0;
        self.0 = (self.0 * 2).min(Self::LONGEST);
        Some(limit.map_or(short, |limit| limit.min(short)))
    }
}
