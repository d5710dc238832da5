//! A select with any number of cases, as a value.

use std::fmt;
use std::time::{Duration, Instant};

use super::case::{CancelledCase, Case, RecvCase, SendCase};
use super::choice::{self, Cases, SelectPatience};
use super::{Disconnected, Receiver, Sender};
use crate::cancel::{CancelToken, Cancelled};

/// Waits for several sends and receives, and does one of them.
///
/// Use [`select!`](super::select!) for a fixed number of cases. A `Select` takes any number, made
/// at run time. Each case has a handler, which turns the output of the case into the result of the
/// select.
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
/// A case can be done if it need not wait. If the other end of its channel is gone, it can be done
/// too, and its output is [`Disconnected`]. If several cases can be done, each is equally likely to
/// be chosen. A `Select` can be used again, with the same cases.
///
/// A message to send is lent in an `Option`. It is taken out only when it is sent, so no message is
/// lost, whatever the outcome of the select. While there is none, the case is never chosen.
///
/// # Cancellation
///
/// The cancel of the current scope is not a case, so it cannot be left out:
/// [`select`](Self::select) and [`select_timeout`](Self::select_timeout) are blocking points. If
/// they fail, nothing was received or sent. The output of a case that was done while the scope was
/// being cancelled is returned. The cancel of another token is a case:
/// [`cancelled`](Self::cancelled).
#[must_use = "a select does nothing until it is asked to"]
pub struct Select<'a, R> {
    arms: Vec<Arm<'a, R>>,
}

/// A case with its handler, at its index.
struct Arm<'a, R> {
    /// `None` after it was removed.
    case: Option<Box<dyn Handled<R> + 'a>>,
    is_paused: bool,
}

/// A case with its handler, without the types of both.
trait Handled<R> {
    /// Returns the case.
    fn case(&mut self) -> &mut dyn Case;
    /// Returns the result of the case, which was done.
    fn handle(&mut self) -> R;
}

struct HandledCase<C, F> {
    case: C,
    handler: F,
}

macro_rules! handled {
    ($([$($generics:tt)*] $case:ty => $output:ty;)*) => {$(
        impl<$($generics)* R, F: FnMut($output) -> R> Handled<R> for HandledCase<$case, F> {
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
    /// Creates a select without cases.
    ///
    /// ```
    /// assert_eq!(taskgroup::channel::Select::<()>::new().try_select().unwrap(), None);
    /// ```
    pub fn new() -> Self {
        Select { arms: Vec::new() }
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
    pub fn recv<T>(
        &mut self,
        receiver: &'a Receiver<T>,
        handler: impl FnMut(Result<T, Disconnected>) -> R + 'a,
    ) -> usize {
        self.add(Box::new(HandledCase {
            case: RecvCase::new(Some(receiver)),
            handler,
        }))
    }

    /// Adds a send of the message in `message`, and returns the index of the case. The message is
    /// taken out when it is sent. Without a message the case is never chosen.
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
        self.add(Box::new(HandledCase {
            case: SendCase::new(sender, message),
            handler,
        }))
    }

    /// Adds the cancel of `token`, and returns the index of the case. The cancel of the current
    /// scope needs no case.
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
    pub fn cancelled(
        &mut self,
        token: &'a CancelToken,
        handler: impl FnMut(Cancelled) -> R + 'a,
    ) -> usize {
        self.add(Box::new(HandledCase {
            case: CancelledCase::new(token),
            handler,
        }))
    }

    fn add(&mut self, case: Box<dyn Handled<R> + 'a>) -> usize {
        self.arms.push(Arm {
            case: Some(case),
            is_paused: false,
        });
        self.arms.len() - 1
    }

    /// Removes a case, for example after the other end of its channel has gone. The other cases
    /// keep their indices.
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
        // The arm stays, so that the other cases keep their indices.
        self.arm(index).case = None;
    }

    /// Switches a case off: it is not chosen until it is [resumed](Self::resume). The others keep
    /// their indices.
    ///
    /// # Panics
    ///
    /// If there is no case with this index.
    ///
    /// ```
    /// # fn main() -> anyhow::Result<()> {
    /// use taskgroup::channel::{unbounded, Select};
    ///
    /// let (jobs, incoming) = unbounded();
    /// jobs.send("job")?;
    ///
    /// let mut select = Select::new();
    /// let receive = select.recv(&incoming, |job| job);
    /// select.pause(receive);
    /// assert_eq!(select.try_select()?, None);
    /// select.resume(receive);
    /// assert_eq!(select.try_select()?, Some(Ok("job")));
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn pause(&mut self, index: usize) {
        self.arm(index).is_paused = true;
    }

    /// Switches a [paused](Self::pause) case on again. Does nothing if the case is not paused.
    ///
    /// # Panics
    ///
    /// If there is no case with this index.
    ///
    /// ```
    /// # fn main() -> anyhow::Result<()> {
    /// let (sender, receiver) = taskgroup::channel::unbounded();
    /// sender.send(1)?;
    ///
    /// let mut select = taskgroup::channel::Select::new();
    /// let receive = select.recv(&receiver, |message| message);
    /// select.pause(receive);
    /// select.resume(receive);
    /// assert_eq!(select.select()?, Ok(1));
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn resume(&mut self, index: usize) {
        self.arm(index).is_paused = false;
    }

    #[track_caller]
    fn arm(&mut self, index: usize) -> &mut Arm<'a, R> {
        // The index of a case that was removed is not given out again.
        match self.arms.get_mut(index) {
            Some(arm) if arm.case.is_some() => arm,
            _ => panic!("the select has no case {index}"),
        }
    }

    /// Blocks until one of the cases can be done, and does it.
    ///
    /// # Cancellation
    ///
    /// A blocking point: see [`Select`].
    ///
    /// # Errors
    ///
    /// Fails if the scope is cancelled.
    ///
    /// # Panics
    ///
    /// If there are no cases: the call would wait for ever. Paused cases count.
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
        assert!(
            self.arms.iter().any(|arm| arm.case.is_some()),
            "a select without cases would wait for ever"
        );

        match self.run(SelectPatience::Unlimited)? {
            Some(result) => Ok(result),
            None => unreachable!("the wait has no limit"),
        }
    }

    /// Like [`select`](Self::select), but blocks for at most `duration`. Returns `None` if no case
    /// could be done by then.
    ///
    /// # Cancellation
    ///
    /// Like [`select`](Self::select).
    ///
    /// # Errors
    ///
    /// Fails if the scope is cancelled.
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
        self.run(SelectPatience::For(duration))
    }

    /// Like [`select`](Self::select), but blocks until `deadline` at the latest. Returns `None` if
    /// no case could be done by then.
    ///
    /// # Cancellation
    ///
    /// Like [`select`](Self::select).
    ///
    /// # Errors
    ///
    /// Fails if the scope is cancelled.
    ///
    /// ```
    /// # fn main() -> anyhow::Result<()> {
    /// use std::time::{Duration, Instant};
    ///
    /// let (sender, receiver) = taskgroup::channel::unbounded();
    /// sender.send(1)?;
    /// let deadline = Instant::now() + Duration::from_millis(1);
    /// let mut select = taskgroup::channel::Select::new();
    /// select.recv(&receiver, |message| message);
    /// assert_eq!(select.select_deadline(deadline)?, Some(Ok(1)));
    /// assert_eq!(select.select_deadline(deadline)?, None);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn select_deadline(&mut self, deadline: Instant) -> Result<Option<R>, Cancelled> {
        self.run(SelectPatience::Until(deadline))
    }

    /// Does one of the cases if one can be done now. Never blocks, and works in a cancelled scope.
    ///
    /// `None` means that there was an instant at which no case could be done.
    ///
    /// # Errors
    ///
    /// Fails if the scope is cancelled, the other end of a channel has gone, and no other case can
    /// be done.
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
        let done = choice::poll(&mut self.arms[..])?;
        Ok(done.and_then(|index| self.handle(index)))
    }

    #[track_caller]
    fn run(&mut self, patience: SelectPatience) -> Result<Option<R>, Cancelled> {
        let done = choice::run(&mut self.arms[..], patience)?;
        Ok(done.and_then(|index| self.handle(index)))
    }

    fn handle(&mut self, index: usize) -> Option<R> {
        // The case is there: only a case that is in its arm is ever done. So the callers can take
        // `None` for the end of the time.
        self.arms[index].case.as_mut().map(|case| case.handle())
    }
}

impl<R> Default for Select<'_, R> {
    fn default() -> Self {
        Select::new()
    }
}

impl<R> fmt::Debug for Select<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cases = self.arms.iter().filter(|arm| arm.case.is_some()).count();
        f.debug_struct("Select").field("cases", &cases).finish()
    }
}

impl<R> Cases for [Arm<'_, R>] {
    fn len(&self) -> usize {
        <[_]>::len(self)
    }

    fn case(&mut self, index: usize) -> Option<&mut dyn Case> {
        let arm = &mut self[index];
        // To the select, a paused case is like a removed one.
        match &mut arm.case {
            Some(case) if !arm.is_paused => Some(case.case()),
            _ => None,
        }
    }
}
