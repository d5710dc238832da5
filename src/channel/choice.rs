//! Does one of several cases, whichever can be done first.
//!
//! # How
//!
//! 1. The cases are tried in a random order. The thread is in no queue then, so no other thread can
//!    do anything to it.
//! 2. If none can be done, one waiter enters the queues of all of them, those of one channel in a
//!    random order. Its word says for which case it was granted, and takes one grant only: that of
//!    a message, of the end of a channel, or of the thread itself, which withdraws when it is
//!    cancelled, out of time, or has found that one of the cases can be done after all. So at most
//!    one case is ever done.
//! 3. It leaves all queues; the messages that it would have sent come back. What was granted is
//!    finished, or, if another thread was faster at taking the message it was told of, all begins
//!    again.
//!
//! A select that gives up, at once or when its time is over, has stood in all queues and was
//! granted nothing: at the instant at which it withdrew, none of the cases could be done. To try
//! each of them once would not show that, since a message can come to the first case while the last
//! is tried. One case alone need not wait for that: trying it is one step.
//!
//! A message to send goes into the queue of its channel with the waiter, so that whoever receives
//! it is done with it at once. Were it asked for only when its case is chosen, whoever is matched
//! with it in a channel without room would have to wait for code of another thread, and could not
//! be cancelled meanwhile.
//!
//! A case of the [clock](super::timer) has no queue. The select waits until the first of these
//! cases is due, and tries all of them again. It gives up only if its own time is over before that,
//! or, where it does not wait, if none of them is due at an instant at which it stands in all
//! queues.
//!
//! # Progress
//!
//! Of two who select and could serve each other, the one that enters the queue of their channel
//! second finds the first there, withdraws, and tries again. They cannot drive each other out for
//! ever: queues are entered in the order of the channels' ids, so among any number of them, one
//! that has to withdraw because of another came later to a queue than that one did, and in a circle
//! each would have come later than itself.

use std::time::{Duration, Instant};

use super::case::{Attempt, Case, Entered};
use super::random::Random;
use super::timer::{comes_first, first};
use crate::cancel::Cancelled;
use crate::cancel::context::{self, Outcome};
use crate::facade::{self, spin};
use crate::waiting::{WaitKind, Waiter};

/// How long a select waits.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub enum Patience {
    /// Not at all; it looks for a cancel all the same.
    None,
    /// So long at most.
    For(Duration),
    /// Until then at most.
    Until(Instant),
    /// For ever.
    Unlimited,
}

impl From<Duration> for Patience {
    fn from(duration: Duration) -> Self {
        Patience::For(duration)
    }
}

impl From<Instant> for Patience {
    fn from(deadline: Instant) -> Self {
        Patience::Until(deadline)
    }
}

/// The cases of a select, wherever they are kept.
pub(super) trait Cases {
    fn len(&self) -> usize;
    /// The case with this index, unless it was removed.
    fn case(&mut self, index: usize) -> Option<&mut dyn Case>;
}

/// The indices of the cases, in the order in which they are tried.
struct Order {
    few: [u32; Order::FEW],
    many: Vec<u32>,
    count: usize,
}

impl Order {
    /// As many need no allocation.
    const FEW: usize = 8;

    fn new(count: usize) -> Self {
        let mut few = [0; Order::FEW];
        let mut many = Vec::new();
        if count <= Order::FEW {
            few.iter_mut().zip(0..).for_each(|(index, n)| *index = n);
        } else {
            many.extend(0..count as u32);
        }
        Order { few, many, count }
    }

    fn indices(&mut self) -> &mut [u32] {
        if self.count <= Order::FEW {
            &mut self.few[..self.count]
        } else {
            &mut self.many
        }
    }

    /// Tries the cases in a random order, each order as likely as any other, until one was done;
    /// says which.
    ///
    /// The order is drawn only as far as it is needed.
    ///
    /// # Errors
    ///
    /// The cancel of the scope, if that is what one of the cases came to and no other was done.
    #[inline(always)]
    fn try_each(&mut self, cases: &mut (impl Cases + ?Sized)) -> Result<Option<usize>, Cancelled> {
        let indices = self.indices();
        let mut random = Random::here();
        let mut cut_short = None;
        for tried in 0..indices.len() {
            let next = tried + random.below(indices.len() - tried);
            indices.swap(tried, next);
            let index = indices[tried] as usize;
            match cases
                .case(index)
                .map_or(Attempt::NotNow, |case| case.attempt())
            {
                Attempt::Done => return Ok(Some(index)),
                Attempt::NotNow => {}
                Attempt::Cancelled(cancelled) => cut_short = Some(cancelled),
            }
        }
        cut_short.map_or(Ok(None), Err)
    }
}

/// Does one of the cases, and says which; `None` if the time ran out.
#[track_caller]
pub(super) fn run(
    cases: &mut (impl Cases + ?Sized),
    patience: Patience,
) -> Result<Option<usize>, Cancelled> {
    context::check()?;
    let mut order = Order::new(cases.len());
    let done = order.try_each(cases)?;
    let limit = match patience {
        _ if done.is_some() => return Ok(done),
        Patience::None => return poll_slowly(cases, order),
        Patience::For(duration) => facade::now().checked_add(duration),
        Patience::Until(deadline) => Some(deadline),
        Patience::Unlimited => None,
    };
    run_slowly(cases, order, limit)
}

/// Does one of the cases if that takes no wait, whatever is cancelled.
pub(super) fn poll(cases: &mut (impl Cases + ?Sized)) -> Result<Option<usize>, Cancelled> {
    let mut order = Order::new(cases.len());
    match order.try_each(cases)? {
        None => poll_slowly(cases, order),
        done => Ok(done),
    }
}

/// As [`poll`], once each of the cases has been tried.
#[cold]
fn poll_slowly(
    cases: &mut (impl Cases + ?Sized),
    mut order: Order,
) -> Result<Option<usize>, Cancelled> {
    let queues = Queues::of(cases);
    // fault: each-case-is-tried-once
    if queues.entries.len() <= 1 {
        return Ok(None);
    }
    loop {
        match queues.stay(cases, Stay::JustLook)? {
            Came::Done(index) => return Ok(Some(index)),
            Came::Nothing => return Ok(None),
            Came::Again => {}
        }
        if let Some(done) = order.try_each(cases)? {
            return Ok(Some(done));
        }
    }
}

#[cold]
#[track_caller]
fn run_slowly(
    cases: &mut (impl Cases + ?Sized),
    mut order: Order,
    limit: Option<Instant>,
) -> Result<Option<usize>, Cancelled> {
    let queues = Queues::of(cases);
    let mut tried = Ok(None);
    let _ = queues.may_spin
        && spin(|| {
            tried = order.try_each(cases);
            !matches!(tried, Ok(None))
        });
    let mut done = tried?;
    while done.is_none() {
        match queues.stay(cases, Stay::Until(limit))? {
            Came::Done(index) => return Ok(Some(index)),
            Came::Nothing => return Ok(None),
            Came::Again => context::check()?,
        }
        done = order.try_each(cases)?;
    }
    Ok(done)
}

/// The queues that a select enters, in the order in which it does.
struct Queues {
    /// The rank of the case, a random number for those of the same rank, and the index of the case.
    entries: Vec<(u64, usize, usize)>,
    may_spin: bool,
}

/// How long a select stays in its queues.
#[derive(Clone, Copy)]
enum Stay {
    /// For as long as it takes to see whether anything can be done.
    JustLook,
    /// Until one of the cases can be done, the scope is cancelled, or the time is over.
    Until(Option<Instant>),
}

/// What a stay in the queues came to.
enum Came {
    /// This case was done.
    Done(usize),
    /// One of the cases could be done at some time, and was not.
    Again,
    /// The select stood in all queues until the time was over, and none of the cases could be done
    /// then.
    Nothing,
}

impl Queues {
    fn of(cases: &mut (impl Cases + ?Sized)) -> Self {
        let count = cases.len();
        let mut entries = Vec::with_capacity(count);
        let mut random = Random::here();
        let mut may_spin = true;
        for index in 0..count {
            if let Some(case) = cases.case(index) {
                may_spin &= case.may_spin();
                entries.push((case.rank(), random.below(1 << 31), index));
            }
        }
        entries.sort_unstable();
        Queues { entries, may_spin }
    }

    /// Enters the queues, waits as `stay` says unless one of the cases can be done, and leaves
    /// them.
    #[track_caller]
    fn stay(&self, cases: &mut (impl Cases + ?Sized), stay: Stay) -> Result<Came, Cancelled> {
        let waiter = Waiter::new(context::slot());
        let mut due = None;
        let enter = |&(_, _, index): &(u64, usize, usize)| {
            match cases
                .case(index)
                .map_or(Entered::Waits, |case| case.enter(&waiter, index as u32))
            {
                Entered::NeedNotWait => return false,
                Entered::Waits => {}
                Entered::WaitsUntil(at) => due = first(due, Some(at)),
            }
            true
        };
        let entered = self
            .entries
            .iter()
            .map(enter)
            .take_while(|&entered| entered)
            .count();
        let ended = match stay {
            _ if entered < self.entries.len() => Ok(Outcome::Ready),
            // The clock is read once for all: what was not due until then is not due at that
            // instant.
            Stay::JustLook if due.is_some_and(|due| due <= facade::now()) => Ok(Outcome::Ready),
            Stay::JustLook => Ok(Outcome::TimedOut),
            Stay::Until(limit) => {
                if !self.may_spin {
                    spin(|| waiter.is_granted());
                }
                // fault: select-ignores-the-clock
                match context::wait(WaitKind::Select, first(due, limit), || waiter.is_granted()) {
                    Ok(Outcome::TimedOut) if comes_first(due, limit) => Ok(Outcome::Ready),
                    ended => ended,
                }
            }
        };

        let granted = waiter.withdraw();
        for &(_, _, index) in &self.entries[..entered] {
            if granted.is_none_or(|(_, chosen)| chosen as usize != index) {
                cases.case(index).into_iter().for_each(|case| case.leave());
            }
        }
        if let Some((grant, chosen)) = granted {
            match cases
                .case(chosen as usize)
                .map_or(Attempt::NotNow, |case| case.granted(grant))
            {
                // fault: cancelled-select-drops-its-message
                Attempt::Done => return Ok(Came::Done(chosen as usize)),
                Attempt::NotNow => {}
                Attempt::Cancelled(cancelled) => return Err(cancelled),
            }
        }
        // fault: select-times-out-with-a-grant
        match ended? {
            Outcome::TimedOut if granted.is_none() => Ok(Came::Nothing),
            Outcome::TimedOut | Outcome::Ready => Ok(Came::Again),
        }
    }
}
