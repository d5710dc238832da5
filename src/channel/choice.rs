//! Does one of several cases: the first that can be done.
//!
//! # Steps
//!
//! 1. The select tries the cases in a random order. The thread is in no queue yet, so no other
//!    thread can grant it anything.
//! 2. If no case can be done, one waiter enters the queues of all cases. Cases of one channel enter
//!    in a random order. The word of the waiter names the case that was granted, and takes one
//!    write only. Another thread writes it when it hands over a message or drops the last end of a
//!    channel. The waiting thread itself writes it when it withdraws: because it was cancelled,
//!    because its time is over, or because it found that a case can be done after all. So at most
//!    one case is ever done.
//! 3. The waiter leaves all queues, and the messages that it would have sent come back. The select
//!    finishes the case that was granted. If another thread took the message first, the select
//!    begins again.
//!
//! The other waits of a channel are settled under one lock: see
//! [`Enqueued`](crate::waiting::Enqueued). A select has several locks, so the word of its waiter
//! takes that part.
//!
//! A select that gives up, at once or when its time is over, stood in all queues and was granted
//! nothing. So at the instant at which it withdrew, none of the cases could be done. Trying each
//! case once would not show that, since a message can come to the first case while the last one is
//! tried. A single case needs no queue for that: trying it is one step.
//!
//! A message to send goes into the queue of its channel together with the waiter. So the thread
//! that receives it is done at once. If the message were asked for only when its case is chosen,
//! the receiver in a channel without room would have to wait for code of another thread, and could
//! not be cancelled meanwhile.
//!
//! A case of the [clock](super::ticker) has no queue. The select waits until the first of these
//! cases is due, and tries all of them again. It gives up only if its own time is over before that.
//! If it does not wait, it gives up only if none of these cases is due at an instant at which it
//! stands in all queues.
//!
//! # Progress
//!
//! Suppose that two selects could serve each other. The select that enters the queue of their
//! channel second finds the first one there, withdraws, and tries again. They cannot drive each
//! other out for ever, because queues are entered in the order of the channels' ids. A select that
//! withdraws because of another one came to a queue later than the other. In a cycle of selects,
//! each would have come later than itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::case::{Case, Entered, Tried};
use super::ticker::{comes_first, first};
use crate::cancel::Cancelled;
use crate::cancel::context::{self, Outcome};
use crate::facade::{self, Random, spin};
use crate::waiting::{WaitKind, Waiter};

/// How long a select waits for one of its cases.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub enum SelectPatience {
    /// Not at all. It looks for a cancel nevertheless.
    None,
    /// For this time at most.
    For(Duration),
    /// Until this instant at most.
    Until(Instant),
    /// Without a limit.
    Unlimited,
}

impl From<Duration> for SelectPatience {
    fn from(duration: Duration) -> Self {
        SelectPatience::For(duration)
    }
}

impl From<Instant> for SelectPatience {
    fn from(deadline: Instant) -> Self {
        SelectPatience::Until(deadline)
    }
}

/// The cases of a select, wherever they are kept.
pub(super) trait Cases {
    fn len(&self) -> usize;
    /// Returns the case with this index, unless it was removed or is paused.
    fn case(&mut self, index: usize) -> Option<&mut dyn Case>;
}

/// The indices of the cases, in the order in which they are tried.
struct Order {
    few: [u32; Order::FEW],
    many: Vec<u32>,
    count: usize,
}

impl Order {
    /// Up to this many cases need no allocation.
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

    /// Tries the cases in a random order until one is done. Returns its index.
    ///
    /// Each order is equally likely. It is drawn only as far as it is needed.
    ///
    /// # Errors
    ///
    /// Fails with the cancel of the scope if a case came to that and no other was done.
    #[inline(always)]
    fn try_each(&mut self, cases: &mut (impl Cases + ?Sized)) -> Result<Option<usize>, Cancelled> {
        let indices = self.indices();
        let mut random = Random::here();
        let mut cut_short = None;

        for tried in 0..indices.len() {
            // One step of a Fisher-Yates shuffle.
            let next = tried + random.below(indices.len() - tried);
            indices.swap(tried, next);
            let index = indices[tried] as usize;

            match cases
                .case(index)
                .map_or(Tried::NotNow, |case| case.attempt())
            {
                Tried::Done => return Ok(Some(index)),
                Tried::NotNow => {}
                // Kept, since another case may still be done.
                Tried::Cancelled(cancelled) => cut_short = Some(cancelled),
            }
        }

        cut_short.map_or(Ok(None), Err)
    }
}

/// Does one of the cases and returns its index, or `None` if the time is over.
#[track_caller]
pub(super) fn run(
    cases: &mut (impl Cases + ?Sized),
    patience: SelectPatience,
) -> Result<Option<usize>, Cancelled> {
    // A cancelled scope fails even if a case can be done.
    context::check()?;

    // Step 1. A case that can be done needs no waiter, and a time limit no look at the clock.
    let mut order = Order::new(cases.len());
    let done = order.try_each(cases)?;

    let limit = match patience {
        _ if done.is_some() => return Ok(done),
        SelectPatience::None => return poll_slowly(cases, order),
        SelectPatience::For(duration) => facade::now().checked_add(duration),
        SelectPatience::Until(deadline) => Some(deadline),
        SelectPatience::Unlimited => None,
    };

    run_slowly(cases, order, limit)
}

/// Does one of the cases if one need not wait. Works in a cancelled scope.
pub(super) fn poll(cases: &mut (impl Cases + ?Sized)) -> Result<Option<usize>, Cancelled> {
    let mut order = Order::new(cases.len());
    match order.try_each(cases)? {
        None => poll_slowly(cases, order),
        done => Ok(done),
    }
}

/// Like [`poll`], after each of the cases has been tried.
#[cold]
fn poll_slowly(
    cases: &mut (impl Cases + ?Sized),
    mut order: Order,
) -> Result<Option<usize>, Cancelled> {
    let queues = Queues::of(cases);

    // A single case was tried in one step, so there was an instant at which it could not be done.
    //
    // fault: each-case-is-tried-once
    if queues.entries.len() <= 1 {
        return Ok(None);
    }

    // With several cases, only a stay in all queues shows an instant at which none could be done.
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

    // No spin if a case sends without room: see `SendCase::may_spin`.
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
            // A stay that need not wait does not look at the scope.
            Came::Again => context::check()?,
        }

        done = order.try_each(cases)?;
    }

    Ok(done)
}

/// The queues that a select enters, in the order in which it enters them.
struct Queues {
    /// The rank of the case, a random number for cases of the same rank, and the index of the case.
    entries: Vec<(u64, usize, usize)>,
    may_spin: bool,
}

/// How long a select stays in its queues.
#[derive(Clone, Copy)]
enum Stay {
    /// Until it has seen whether a case can be done.
    JustLook,
    /// Until a case can be done, the scope is cancelled, or the time is over.
    Until(Option<Instant>),
}

/// The outcome of a stay in the queues.
enum Came {
    /// This case was done.
    Done(usize),
    /// A case could be done at some time, but was not.
    Again,
    /// The select stood in all queues until the time was over, and none of the cases could be done
    /// then.
    Nothing,
}

/// Where a select stands after it has entered its queues.
struct InQueues {
    /// The number of queues that it has entered. It need not wait if a queue is missing.
    entered: usize,
    /// When the first of its cases of the clock is due.
    due: Option<Instant>,
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

        // By rank, so that selects cannot drive each other out for ever; by chance within a rank.
        entries.sort_unstable();
        Queues { entries, may_spin }
    }

    /// Puts `waiter` into the queues, up to the first case that can be done.
    fn enter(&self, cases: &mut (impl Cases + ?Sized), waiter: &Arc<Waiter>) -> InQueues {
        let mut standing = InQueues {
            entered: 0,
            due: None,
        };

        for &(_, _, index) in &self.entries {
            let entered = cases
                .case(index)
                .map_or(Entered::Waits, |case| case.enter(waiter, index as u32));

            match entered {
                // The select withdraws and tries all cases again: no other queue is needed.
                Entered::NeedNotWait => break,
                Entered::Waits => {}
                Entered::WaitsUntil(at) => standing.due = first(standing.due, Some(at)),
            }
            standing.entered += 1;
        }

        standing
    }

    /// Blocks until the waiter is granted a case, or as long as `stay` says. It stands in all
    /// queues. Returns `Ready` if a case can or could be done.
    #[track_caller]
    fn block(
        &self,
        waiter: &Waiter,
        due: Option<Instant>,
        stay: Stay,
    ) -> Result<Outcome, Cancelled> {
        let limit = match stay {
            // The clock is read once for all cases, so there is one instant at which none was due.
            Stay::JustLook if due.is_some_and(|due| due <= facade::now()) => {
                return Ok(Outcome::Ready);
            }
            Stay::JustLook => return Ok(Outcome::TimedOut),
            Stay::Until(limit) => limit,
        };

        // Where a spin outside of the queues was useless, one inside of them can help.
        if !self.may_spin {
            spin(|| waiter.is_granted());
        }

        // fault: select-ignores-the-clock
        match context::wait(WaitKind::Select, first(due, limit), || waiter.is_granted()) {
            Ok(Outcome::TimedOut) if comes_first(due, limit) => Ok(Outcome::Ready),
            ended => ended,
        }
    }

    /// Enters the queues, waits as long as `stay` says unless a case can be done, and leaves them.
    #[track_caller]
    fn stay(&self, cases: &mut (impl Cases + ?Sized), stay: Stay) -> Result<Came, Cancelled> {
        // Step 2. With a queue missing there is a case that need not wait.
        let waiter = Waiter::new(context::slot());
        let InQueues { entered, due } = self.enter(cases, &waiter);
        let ended = if entered < self.entries.len() {
            Ok(Outcome::Ready)
        } else {
            self.block(&waiter, due, stay)
        };

        // From here on no other thread grants anything: the first write of the word decides.
        let granted = waiter.withdraw();

        // Step 3: the messages of the other cases come back. The case that was granted is finished
        // below, and leaves its queue there.
        for &(_, _, index) in &self.entries[..entered] {
            if granted.is_none_or(|(_, chosen)| chosen as usize != index) {
                cases.case(index).into_iter().for_each(|case| case.leave());
            }
        }

        if let Some((grant, chosen)) = granted {
            let finished = cases
                .case(chosen as usize)
                .map_or(Tried::NotNow, |case| case.granted(grant));

            match finished {
                // The grant beats the cancel.
                //
                // fault: cancelled-select-drops-its-message
                Tried::Done => return Ok(Came::Done(chosen as usize)),
                // Another thread took the message first.
                Tried::NotNow => {}
                Tried::Cancelled(cancelled) => return Err(cancelled),
            }
        }

        // fault: select-times-out-with-a-grant
        match ended? {
            // Granted nothing in all queues: no case could be done when it withdrew.
            Outcome::TimedOut if granted.is_none() => Ok(Came::Nothing),
            Outcome::TimedOut | Outcome::Ready => Ok(Came::Again),
        }
    }
}
