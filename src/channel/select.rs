//! Waiting for whichever of several sends and receives can be done first.
//!
//! # How
//!
//! 1. The cases are tried in a random order. The thread is in no queue then, so no other thread can do anything to it.
//! 2. If none can be done, one waiter enters the queues of all of them, those of one channel in a random order. Its word says
//!    for which case it was granted, and takes one grant only: that of a message, of the end of a channel, or of the thread
//!    itself, which withdraws when it is cancelled, out of time, or has found that one of the cases can be done after all. So
//!    at most one case is ever done.
//! 3. It leaves all queues; the messages that it would have sent come back. What was granted is finished, or, if another
//!    thread was faster at taking the message it was told of, all begins again.
//!
//! A select that gives up, at once or when its time is over, has stood in all queues and was granted nothing: at the instant
//! at which it withdrew, none of the cases could be done. To try each of them once would not show that, since a message can
//! come to the first case while the last is tried. One case alone need not wait for that: trying it is one step.
//!
//! A message to send goes into the queue of its channel with the waiter, so that whoever receives it is done with it at once.
//! Were it asked for only when its case is chosen, whoever is matched with it in a channel without room would have to wait for
//! code of another thread, and could not be cancelled meanwhile.
//!
//! # Progress
//!
//! Of two who select and could serve each other, the one that enters the queue of their channel second finds the first there,
//! withdraws, and tries again. They cannot drive each other out for ever: queues are entered in the order of the channels'
//! ids, so among any number of them, one that has to withdraw because of another came later to a queue than that one did, and
//! in a circle each would have come later than itself.

use std::cell::Cell;
use std::fmt;
use std::time::{Duration, Instant};

use super::case::{Attempt, CancelledCase, Case, RecvCase, SendCase};
use super::{Disconnected, Receiver, Sender};
use crate::cancel::context::{self, Outcome};
use crate::cancel::{CancelToken, Cancelled};
use crate::facade::{self, holds, local, spin, Guard};
use crate::waiting::{Point, Waiter};

/// Waits for several sends and receives, and does one of them.
///
/// [`select!`](super::select!) is the way to write down a fixed number of cases; a `Select` takes any number, made at run time.
/// Each case has a handler, which turns what the case came to into the result of the select.
///
/// ```
/// use taskgroup::channel::{self, Select};
///
/// # fn main() -> anyhow::Result<()> {
/// let channels: Vec<_> = (0..4).map(|_| channel::unbounded()).collect();
/// channels[2].0.send("hello")?;
///
/// let mut select = Select::new();
/// for (index, (_, receiver)) in channels.iter().enumerate() {
///     select.recv(receiver, move |message| (index, message));
/// }
/// assert_eq!(select.select()?, (2, Ok("hello")));
/// # Ok(())
/// # }
/// ```
///
/// Of several cases that can be done, each is equally likely to be chosen. A case can be done if it need not wait; that the other end of
/// its channel is gone counts too, and gives it [`Disconnected`]. A `Select` may be used again, with the same cases.
///
/// A message to send is lent in an `Option`: it is taken out only when it is sent, and while there is none the case is never
/// chosen. No message is lost, whatever a select comes to.
///
/// # Cancellation
///
/// The cancel of the current scope is no case, and cannot be left out: [`select`](Self::select) and
/// [`select_timeout`](Self::select_timeout) are blocking points. With `Err`, nothing was received and nothing sent. What was
/// done while the scope was being cancelled is returned. The cancel of another token is a case:
/// [`cancelled`](Self::cancelled).
#[must_use = "a select does nothing until it is asked to"]
pub struct Select<'a, R> {
    cases: Vec<Option<Box<dyn Handled<R> + 'a>>>,
}

/// A case with its handler.
trait Handled<R> {
    fn case(&mut self) -> &mut dyn Case;
    /// The result of the case, which was done.
    fn handle(&mut self) -> R;
}

struct With<C, F> {
    case: C,
    handler: F,
}

macro_rules! handled {
    ($([$($generics:tt)*] $case:ty => $output:ty;)*) => {$(
        impl<$($generics)* R, F: FnMut($output) -> R> Handled<R> for With<$case, F> {
            fn case(&mut self) -> &mut dyn Case {
                &mut self.case
            }

            fn handle(&mut self) -> R {
                match self.case.take() {
                    Some(output) => (self.handler)(output),
                    None => unreachable!("the case was done"),
                }
            }
        }
    )*};
}
handled! {
    [T,] RecvCase<'_, T> => Result<T, Disconnected>;
    [T,] SendCase<'_, T> => Result<(), Disconnected>;
    [] CancelledCase<'_> => Cancelled;
}

impl<'a, R> Select<'a, R> {
    /// A select without cases.
    ///
    /// ```
    /// assert_eq!(taskgroup::channel::Select::<()>::new().try_select().unwrap(), None);
    /// ```
    pub fn new() -> Self {
        Select { cases: Vec::new() }
    }

    /// Adds a receive, and returns the index of the case.
    ///
    /// ```
    /// # fn main() -> anyhow::Result<()> {
    /// use taskgroup::channel::{unbounded, Disconnected, Select};
    ///
    /// enum Event {
    ///     Job(Result<u32, Disconnected>),
    ///     Text(Result<String, Disconnected>),
    /// }
    /// let (jobs, texts) = (unbounded(), unbounded());
    /// jobs.0.send(1)?;
    ///
    /// let mut select = Select::new();
    /// select.recv(&jobs.1, Event::Job);
    /// select.recv(&texts.1, Event::Text);
    /// assert!(matches!(select.select()?, Event::Job(Ok(1))));
    /// # Ok(())
    /// # }
    /// ```
    pub fn recv<T>(&mut self, receiver: &'a Receiver<T>, handler: impl FnMut(Result<T, Disconnected>) -> R + 'a) -> usize {
        self.add(Box::new(With { case: RecvCase::new(receiver), handler }))
    }

    /// Adds a send of the message in `message`, and returns the index of the case. The message is taken out when it is sent;
    /// without one, the case is never chosen.
    ///
    /// ```
    /// # fn main() -> anyhow::Result<()> {
    /// use taskgroup::channel::{bounded, Select};
    ///
    /// let (sender, receiver) = bounded(1);
    /// let mut next = Some(7);
    /// let mut select = Select::new();
    /// select.send(&sender, &mut next, |sent| sent.is_ok());
    /// assert!(select.select()?);
    /// drop(select);
    /// assert_eq!((next, receiver.recv()?), (None, 7));
    /// # Ok(())
    /// # }
    /// ```
    pub fn send<T>(
        &mut self,
        sender: &'a Sender<T>,
        message: &'a mut Option<T>,
        handler: impl FnMut(Result<(), Disconnected>) -> R + 'a,
    ) -> usize {
        self.add(Box::new(With { case: SendCase::new(sender, message), handler }))
    }

    /// Adds the cancel of `token`, and returns the index of the case. That of the current scope needs no case.
    ///
    /// ```
    /// # fn main() -> anyhow::Result<()> {
    /// use taskgroup::{channel, CancelToken};
    ///
    /// let (_sender, receiver) = channel::unbounded::<u8>();
    /// let token = CancelToken::new();
    /// token.cancel_because("enough");
    ///
    /// let mut select = channel::Select::new();
    /// select.recv(&receiver, |_| None);
    /// select.cancelled(&token, Some);
    /// assert_eq!(select.select()?.map(|why| why.origin()), Some(token.id()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn cancelled(&mut self, token: &'a CancelToken, handler: impl FnMut(Cancelled) -> R + 'a) -> usize {
        self.add(Box::new(With { case: CancelledCase::new(token), handler }))
    }

    fn add(&mut self, case: Box<dyn Handled<R> + 'a>) -> usize {
        self.cases.push(Some(case));
        self.cases.len() - 1
    }

    /// Takes a case out, one whose channel has lost its other end for example. The others keep their indices.
    ///
    /// # Panics
    ///
    /// If there is no case with this index.
    ///
    /// ```
    /// # fn main() -> anyhow::Result<()> {
    /// use taskgroup::channel::{unbounded, Select};
    ///
    /// let (_, closed) = unbounded::<u8>();
    /// let (sender, receiver) = unbounded();
    /// sender.send(1)?;
    ///
    /// let mut select = Select::new();
    /// let first = select.recv(&closed, |message| message);
    /// select.recv(&receiver, |message| message);
    /// select.remove(first);
    /// assert_eq!(select.select()?, Ok(1));
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn remove(&mut self, index: usize) {
        let removed = self.cases.get_mut(index).and_then(Option::take).is_some();
        assert!(removed, "the select has no case {index}");
    }

    /// Waits until one of the cases can be done, and does it.
    ///
    /// # Cancellation
    ///
    /// A blocking point: see [`Select`].
    ///
    /// # Errors
    ///
    /// The cancel of the scope.
    ///
    /// # Panics
    ///
    /// If there are no cases, rather than wait for ever.
    ///
    /// ```
    /// # fn main() -> anyhow::Result<()> {
    /// let (sender, receiver) = taskgroup::channel::bounded(0);
    /// let received = taskgroup::TaskGroup::scope(|g| {
    ///     g.spawn(|| Ok(sender.send("hello")?));
    ///     let mut select = taskgroup::channel::Select::new();
    ///     select.recv(&receiver, |message| message);
    ///     Ok(select.select()??)
    /// })?;
    /// assert_eq!(received, "hello");
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn select(&mut self) -> Result<R, Cancelled> {
        assert!(self.cases.iter().any(Option::is_some), "a select without cases would wait for ever");
        match self.run(Patience::Unlimited)? {
            Some(result) => Ok(result),
            None => unreachable!("the wait has no limit"),
        }
    }

    /// As [`select`](Self::select), waiting for at most `duration`: `None` if nothing could be done by then.
    ///
    /// # Cancellation
    ///
    /// As [`select`](Self::select).
    ///
    /// # Errors
    ///
    /// The cancel of the scope.
    ///
    /// ```
    /// # fn main() -> anyhow::Result<()> {
    /// use std::time::Duration;
    /// use taskgroup::channel::{bounded, Select};
    ///
    /// let (sender, _receiver) = bounded(0);
    /// let mut next = Some("kept");
    /// let mut select = Select::new();
    /// select.send(&sender, &mut next, |sent| sent);
    /// assert_eq!(select.select_timeout(Duration::from_millis(1))?, None);
    /// drop(select);
    /// assert_eq!(next, Some("kept"));
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn select_timeout(&mut self, duration: Duration) -> Result<Option<R>, Cancelled> {
        self.run(Patience::For(duration))
    }

    /// Does one of the cases if that takes no wait. Never blocks, and works in a cancelled scope.
    ///
    /// `None` means that there was an instant at which none of the cases could be done.
    ///
    /// # Errors
    ///
    /// The cancel of the scope, if the other end of a channel has gone and no other case can be done.
    ///
    /// ```
    /// # fn main() -> anyhow::Result<()> {
    /// let (sender, receiver) = taskgroup::channel::unbounded();
    /// let mut select = taskgroup::channel::Select::new();
    /// select.recv(&receiver, |message| message);
    /// assert_eq!(select.try_select()?, None);
    /// sender.send(1)?;
    /// assert_eq!(select.try_select()?, Some(Ok(1)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_select(&mut self) -> Result<Option<R>, Cancelled> {
        let done = poll(&mut self.cases[..])?;
        Ok(done.and_then(|index| self.handle(index)))
    }

    #[track_caller]
    fn run(&mut self, patience: Patience) -> Result<Option<R>, Cancelled> {
        let done = run(&mut self.cases[..], patience)?;
        Ok(done.and_then(|index| self.handle(index)))
    }

    fn handle(&mut self, index: usize) -> Option<R> {
        self.cases[index].as_mut().map(|case| case.handle())
    }
}

impl<R> Default for Select<'_, R> {
    fn default() -> Self {
        Select::new()
    }
}

impl<R> fmt::Debug for Select<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cases = self.cases.iter().filter(|case| case.is_some()).count();
        f.debug_struct("Select").field("cases", &cases).finish()
    }
}

/// A case without its types.
#[doc(hidden)]
#[allow(missing_debug_implementations, reason = "for the macro")]
pub struct Erased<'a>(pub(super) &'a mut dyn Case);

impl Cases for [Erased<'_>] {
    fn len(&self) -> usize {
        <[_]>::len(self)
    }

    fn case(&mut self, index: usize) -> Option<&mut dyn Case> {
        Some(&mut *self[index].0)
    }
}

/// How long a select waits.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub enum Patience {
    /// Not at all; it looks for a cancel all the same.
    None,
    /// So long at most.
    For(Duration),
    /// For ever.
    Unlimited,
}

/// The cases of a select, wherever they are kept.
pub(super) trait Cases {
    fn len(&self) -> usize;
    /// The case with this index, unless it was removed.
    fn case(&mut self, index: usize) -> Option<&mut dyn Case>;
}

impl<R> Cases for [Option<Box<dyn Handled<R> + '_>>] {
    fn len(&self) -> usize {
        <[_]>::len(self)
    }

    fn case(&mut self, index: usize) -> Option<&mut dyn Case> {
        self[index].as_mut().map(|case| case.case())
    }
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

    /// Tries the cases in a random order, each order as likely as any other, until one was done; says which.
    ///
    /// The order is drawn only as far as it is needed.
    ///
    /// # Errors
    ///
    /// The cancel of the scope, if that is what one of the cases came to and no other was done.
    #[inline]
    fn try_each(&mut self, cases: &mut (impl Cases + ?Sized)) -> Result<Option<usize>, Cancelled> {
        let indices = self.indices();
        let mut random = Random::here();
        let mut cut_short = None;
        for tried in 0..indices.len() {
            let next = tried + random.below(indices.len() - tried);
            indices.swap(tried, next);
            let index = indices[tried] as usize;
            match cases.case(index).map_or(Attempt::NotNow, |case| case.attempt()) {
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
pub(super) fn run(cases: &mut (impl Cases + ?Sized), patience: Patience) -> Result<Option<usize>, Cancelled> {
    context::check()?;
    let mut order = Order::new(cases.len());
    let done = order.try_each(cases)?;
    let limit = match patience {
        _ if done.is_some() => return Ok(done),
        Patience::None => return poll_slowly(cases, order),
        Patience::For(duration) => Instant::now().checked_add(duration),
        Patience::Unlimited => None,
    };
    run_slowly(cases, order, limit)
}

/// Does one of the cases if that takes no wait, whatever is cancelled.
fn poll(cases: &mut (impl Cases + ?Sized)) -> Result<Option<usize>, Cancelled> {
    let mut order = Order::new(cases.len());
    match order.try_each(cases)? {
        None => poll_slowly(cases, order),
        done => Ok(done),
    }
}

/// As [`poll`], once each of the cases has been tried.
#[cold]
fn poll_slowly(cases: &mut (impl Cases + ?Sized), mut order: Order) -> Result<Option<usize>, Cancelled> {
    let queues = Queues::of(cases);
    if queues.entries.len() <= 1 || !holds(Guard::LooksFromTheQueues) {
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
fn run_slowly(cases: &mut (impl Cases + ?Sized), mut order: Order, limit: Option<Instant>) -> Result<Option<usize>, Cancelled> {
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
    /// The select stood in all queues until the time was over, and none of the cases could be done then.
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

    /// Enters the queues, waits as `stay` says unless one of the cases can be done, and leaves them.
    #[track_caller]
    fn stay(&self, cases: &mut (impl Cases + ?Sized), stay: Stay) -> Result<Came, Cancelled> {
        let waiter = Waiter::new(context::slot());
        let enter =
            |&(_, _, index): &(u64, usize, usize)| cases.case(index).is_none_or(|case| case.enter(&waiter, index as u32));
        let entered = self.entries.iter().map(enter).take_while(|&entered| entered).count();
        let ended = match stay {
            _ if entered < self.entries.len() => Ok(Outcome::Ready),
            Stay::JustLook => Ok(Outcome::TimedOut),
            Stay::Until(limit) => {
                if !self.may_spin {
                    spin(|| waiter.is_granted());
                }
                context::wait(Point::Select, limit, || waiter.is_granted())
            }
        };

        let granted = waiter.withdraw();
        for &(_, _, index) in &self.entries[..entered] {
            if granted.is_none_or(|(_, chosen)| chosen as usize != index) {
                cases.case(index).into_iter().for_each(|case| case.leave());
            }
        }
        if let Some((grant, chosen)) = granted {
            match cases.case(chosen as usize).map_or(Attempt::NotNow, |case| case.granted(grant)) {
                Attempt::Done if ended.is_ok() || holds(Guard::GrantBeatsCancel) => return Ok(Came::Done(chosen as usize)),
                Attempt::Done | Attempt::NotNow => {}
                Attempt::Cancelled(cancelled) => return Err(cancelled),
            }
        }
        match ended? {
            Outcome::TimedOut if granted.is_none() => Ok(Came::Nothing),
            Outcome::TimedOut | Outcome::Ready => Ok(Came::Again),
        }
    }
}

local! {
    static RANDOM: Cell<u32> = Cell::new(0);
}

/// The random numbers of this thread.
struct Random(u32);

impl Random {
    fn here() -> Self {
        Random(match RANDOM.try_with(Cell::get).unwrap_or(0) {
            0 => facade::seed().max(1),
            state => state,
        })
    }

    /// A number below `limit`, each as likely as any other.
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        ((u64::from(self.0) * limit as u64) >> 32) as usize
    }
}

impl Drop for Random {
    fn drop(&mut self) {
        // A thread whose locals are gone begins anew each time.
        let _ = RANDOM.try_with(|state| state.set(self.0));
    }
}

/// What [`select!`](super::select!) is made of.
#[doc(hidden)]
pub mod parts {
    pub use super::super::case::{CancelledCase, RecvCase, SendCase};
    pub use super::Patience;
    use super::{run, Cancelled, Erased};

    /// Does one of the cases, which then has its output; false if the time ran out.
    #[track_caller]
    pub fn select(cases: &mut [Erased<'_>], patience: Patience) -> Result<bool, Cancelled> {
        run(cases, patience).map(|done| done.is_some())
    }
}
