//! Pauses between looks at a child.

use std::time::{Duration, Instant};

use rustix::process::Pid;

use crate::cancel::Cancelled;
use crate::lanes::Object;
use crate::readiness::{self, Watched};
use crate::waiting::{WaitFor, WaitKind};

/// Pauses between looks at children. They last until a child ends. Where the system has no
/// descriptor for the end of a child, they are short, and become longer.
#[derive(Debug)]
pub(super) struct LookPauses {
    /// The wait that the pauses are shown as.
    what: WaitFor,
    next: Duration,
    /// The descriptor has told of the end, and the child cannot be reaped yet: a debugger holds
    /// it. To wait for the descriptor again would be to spin.
    was_told: bool,
}

impl LookPauses {
    const FIRST: Duration = Duration::from_micros(500);
    const LONGEST: Duration = Duration::from_millis(16);

    /// For pauses between looks at several children.
    pub(super) fn new() -> Self {
        LookPauses {
            what: WaitKind::Child.into(),
            next: Self::FIRST,
            was_told: false,
        }
    }

    /// For pauses between looks at the child with this number.
    pub(super) fn at(pid: Pid) -> Self {
        let pid = pid.as_raw_nonzero().get();
        LookPauses {
            what: WaitKind::Child.on(Object::Process(pid.unsigned_abs())),
            ..LookPauses::new()
        }
    }

    /// Whether the next pause is as short as the first.
    #[cfg(test)]
    pub(super) fn is_at_first(&self) -> bool {
        self.next == Self::FIRST
    }

    /// The wait that the pauses are shown as.
    pub(super) fn what(&self) -> WaitFor {
        self.what
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
        readiness::poll(self.what, &mut watched, limit)?;

        self.was_told |= is_told(&watched, end);
        Ok(())
    }

    /// Like [`pause`](Self::pause), but no cancel ends the wait.
    #[track_caller]
    pub(super) fn pause_uncancellable<'a>(
        &mut self,
        end: Option<Watched<'a>>,
        others: Vec<Watched<'a>>,
        limit: Option<Instant>,
    ) {
        let (mut watched, limit) = self.watch(end, others, limit);
        readiness::poll_uncancellable(self.what, &mut watched, limit);
        self.was_told |= is_told(&watched, end);
    }

    /// Adds the end of the child to the descriptors that are watched. Returns an earlier limit if
    /// there is none for it.
    fn watch<'a>(
        &mut self,
        end: Option<Watched<'a>>,
        mut others: Vec<Watched<'a>>,
        limit: Option<Instant>,
    ) -> (Vec<Watched<'a>>, Option<Instant>) {
        match end.filter(|_| !self.was_told) {
            Some(end) => {
                // Last: `is_told` counts on it.
                others.push(end);
                (others, limit)
            }
            None => (others, self.shorten(limit)),
        }
    }

    /// Returns the end of a short pause, or `limit` if that comes first.
    pub(super) fn shorten(&mut self, limit: Option<Instant>) -> Option<Instant> {
        let short = Instant::now() + self.next;
        // Short at first: a child that has just got its signal ends soon.
        self.next = (self.next * 2).min(Self::LONGEST);
        Some(limit.map_or(short, |limit| limit.min(short)))
    }
}

/// Whether the descriptor of the child is ready. It is watched last, if the child has one.
fn is_told(watched: &[Watched<'_>], end: Option<Watched<'_>>) -> bool {
    end.is_some() && watched.last().is_some_and(Watched::is_ready)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::readiness::Interest;

    #[test]
    fn a_child_that_cannot_be_reaped_yet_is_not_waited_for_in_a_spin() {
        let (near, far) = UnixStream::pair().expect("there are descriptors left");
        drop(far);
        let end = || Some(Watched::new(near.as_fd(), Interest::Read));

        // The end of a stream stays readable, like the descriptor of a child that has ended.
        let mut look = LookPauses::new();
        look.pause_uncancellable(end(), Vec::new(), None);
        assert!(look.was_told);

        // From now on it sleeps, longer each time.
        let begun = Instant::now();
        (0..3).for_each(|_| look.pause_uncancellable(end(), Vec::new(), None));
        assert!(begun.elapsed() >= LookPauses::FIRST * 7);
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_end_at_the_limit() {
        let mut look = LookPauses::new();
        let pauses = [(); 8].map(|()| {
            let pause = look.next;
            look.shorten(None);
            pause.as_micros()
        });
        assert_eq!(
            pauses,
            [500, 1_000, 2_000, 4_000, 8_000, 16_000, 16_000, 16_000]
        );

        let now = Instant::now();
        assert_eq!(look.shorten(Some(now)), Some(now));
        let later = now + Duration::from_secs(3_600);
        assert!(look.shorten(Some(later)).is_some_and(|end| end < later));
    }

    #[test]
    fn only_the_descriptor_of_the_child_tells_of_its_end() {
        let (ready, far) = UnixStream::pair().expect("there are descriptors left");
        drop(far);
        let (silent, _far) = UnixStream::pair().expect("there are descriptors left");
        let on = |stream| Watched::new(AsFd::as_fd(stream), Interest::Read);

        // A child without a descriptor, and a stream that is ready.
        let mut look = LookPauses::new();
        look.pause_uncancellable(None, vec![on(&ready)], None);
        look.pause(None, vec![on(&ready)], None).expect("no cancel");
        assert!(!look.was_told);

        // Once it has told, a stream that is not ready takes nothing back.
        for _ in 0..2 {
            look.pause(Some(on(&ready)), vec![on(&silent)], None)
                .expect("no cancel");
            assert!(look.was_told);
        }
        look.pause_uncancellable(Some(on(&ready)), vec![on(&silent)], None);
        assert!(look.was_told);
    }
}
