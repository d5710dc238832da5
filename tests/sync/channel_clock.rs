//! The receivers of `after` and `tick`: their messages come from the clock, one by one, and their
//! waits end like any other.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use crate::channels::SHORT;
use crate::support::{LONG, watch};
use taskgroup::channel::{
    Receiver, RecvError, RecvTimeoutError, Select, TryRecvError, after, bounded, select, tick,
    unbounded,
};
use taskgroup::{CancelToken, TaskGroup};

/// A receiver of `after` with a message that is due.
fn due() -> Receiver<Instant> {
    let receiver = after(SHORT);
    thread::sleep(2 * SHORT);
    receiver
}

#[test]
fn after_sends_one_message_and_never_disconnects() {
    let begun = Instant::now();
    let receiver = after(SHORT);
    let message = receiver.recv().unwrap();
    assert!(message >= begun + SHORT && message <= Instant::now());
    assert_eq!(
        (receiver.try_recv(), receiver.len()),
        (Err(TryRecvError::Empty), 0)
    );
    assert!(matches!(
        receiver.recv_timeout(SHORT),
        Err(RecvTimeoutError::Timeout)
    ));
    assert!(receiver.try_iter().next().is_none());
}

#[test]
fn a_message_is_in_the_channel_from_its_due_time() {
    let receiver = after(LONG);
    assert_eq!(
        (receiver.len(), receiver.capacity(), receiver.is_empty()),
        (0, Some(1), true)
    );
    assert!(format!("{receiver:?}").contains("due: Some"));
    let receiver = due();
    assert_eq!((receiver.len(), receiver.is_full()), (1, true));
    let other = receiver.clone();
    assert!(receiver.same_channel(&other) && !receiver.same_channel(&after(SHORT)));
    drop(receiver);
    assert!(other.try_recv().is_ok() && other.is_empty());
}

#[test]
fn a_message_too_far_off_for_the_clock_never_comes() {
    for receiver in [after(Duration::MAX), tick(Duration::MAX)] {
        assert!(matches!(
            receiver.recv_timeout(SHORT),
            Err(RecvTimeoutError::Timeout)
        ));
    }
}

#[test]
fn a_limit_before_the_due_time_ends_the_wait() {
    assert!(matches!(
        after(LONG).recv_timeout(SHORT),
        Err(RecvTimeoutError::Timeout)
    ));
    assert!(matches!(
        after(LONG).recv_deadline(Instant::now()),
        Err(RecvTimeoutError::Timeout)
    ));
    assert!(after(SHORT).recv_timeout(LONG).is_ok());
    assert!(
        due().recv_deadline(Instant::now()).is_ok(),
        "a message is received even after the deadline"
    );
}

#[test]
fn a_message_comes_each_period() {
    let begun = Instant::now();
    let receiver = tick(SHORT);
    let ticks: Vec<_> = receiver.iter().take(5).map(Result::unwrap).collect();
    assert!(ticks[0] >= begun + SHORT);
    assert!(
        ticks.windows(2).all(|two| two[0] + SHORT <= two[1]),
        "{ticks:?}"
    );
    assert!(tick(Duration::ZERO).try_recv().is_ok());
}

#[test]
fn each_message_goes_to_one_receiver() -> anyhow::Result<()> {
    let _watch = watch();
    const EACH: usize = 200;
    let receiver = tick(Duration::from_micros(20));
    let ticks = TaskGroup::scope(|g| {
        let takers = [(); 3]
            .map(|()| g.spawn(|| Ok(receiver.iter().take(EACH).collect::<Result<Vec<_>, _>>()?)));
        let mut ticks = Vec::new();
        for taker in takers {
            ticks.extend(taker.join()?);
        }
        Ok(ticks)
    })?;
    assert_eq!(ticks.iter().collect::<BTreeSet<_>>().len(), 3 * EACH);
    Ok(())
}

#[test]
fn a_cancel_ends_the_wait() -> anyhow::Result<()> {
    let _watch = watch();
    let (slow, never) = (after(LONG), after(Duration::MAX));
    for _ in 0..100 {
        TaskGroup::scope(|g| {
            for receiver in [&slow, &never] {
                g.spawn(move || {
                    assert!(matches!(receiver.recv(), Err(RecvError::Cancelled(_))));
                    Ok(())
                });
                g.spawn(move || {
                    let (_sender, idle) = unbounded::<u8>();
                    assert!(select! { recv(receiver) -> _ => (), recv(idle) -> _ => () }.is_err());
                    Ok(())
                });
            }
            taskgroup::yield_now()?;
            g.cancel();
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_cancelled_scope_takes_no_message() {
    let receiver = due();
    let token = CancelToken::new();
    token.cancel();
    token.run(|| {
        assert!(matches!(receiver.recv(), Err(RecvError::Cancelled(_))));
        assert!(matches!(
            receiver.recv_timeout(LONG),
            Err(RecvTimeoutError::Cancelled(_))
        ));
        assert!(select! { recv(receiver) -> _ => () }.is_err());
        assert!(select! { recv(receiver) -> _ => (), default => () }.is_err());
        assert!(receiver.try_recv().is_ok(), "it never blocks");
    });
}

#[test]
fn a_select_waits_for_the_clock() -> anyhow::Result<()> {
    let (sender, idle) = unbounded::<u8>();
    let begun = Instant::now();
    let at = select! {
        recv(after(LONG)) -> _ => None,
        recv(after(SHORT)) -> at => at.ok(),
        recv(idle) -> _ => None,
    }?;
    assert!(at.is_some_and(|at| at >= begun + SHORT));

    // A message that comes first leaves the message of the clock in place.
    sender.send(1)?;
    let ticks = tick(LONG);
    assert_eq!(
        select! { recv(ticks) -> _ => 0, recv(idle) -> n => n?, }?,
        1
    );
    Ok(())
}

#[test]
fn the_limit_of_a_select_and_the_clock_come_in_their_order() -> anyhow::Result<()> {
    let (_sender, idle) = unbounded::<u8>();
    assert!(select! {
        recv(after(SHORT)) -> _ => true,
        recv(idle) -> _ => false,
        default(LONG) => false,
    }?);
    assert!(select! {
        recv(after(LONG)) -> _ => false,
        recv(idle) -> _ => false,
        default(SHORT) => true,
    }?);
    assert!(
        select! { recv(after(LONG)) -> _ => false, recv(idle) -> _ => false, default => true }?
    );
    assert!(select! { recv(due()) -> _ => true, recv(idle) -> _ => false, default => false }?);
    assert!(select! {
        recv(due()) -> _ => true,
        recv(idle) -> _ => false,
        default(Instant::now()) => false,
    }?);
    Ok(())
}

#[test]
fn a_select_takes_one_message_of_the_clock() -> anyhow::Result<()> {
    let receivers = [due(), due()];
    let mut select = Select::new();
    for receiver in &receivers {
        select.recv(receiver, |at| at.is_ok());
    }
    assert!(select.select()?);
    assert_eq!(receivers.iter().map(Receiver::len).sum::<usize>(), 1);
    assert_eq!(select.try_select()?, Some(true));
    assert_eq!(
        (select.try_select()?, select.select_timeout(SHORT)?),
        (None, None)
    );
    Ok(())
}

#[test]
fn two_selects_share_the_ticks() -> anyhow::Result<()> {
    let _watch = watch();
    const EACH: usize = 100;
    let ticks = tick(Duration::from_micros(50));
    let (sender, idle) = bounded::<u8>(0);
    let taken = TaskGroup::scope(|g| {
        let takers = [(); 2].map(|()| {
            g.spawn(|| {
                let mut taken = Vec::new();
                while taken.len() < EACH {
                    select! { recv(ticks) -> at => taken.push(at?), recv(idle) -> _ => {} }?;
                }
                Ok(taken)
            })
        });
        let mut taken = Vec::new();
        for taker in takers {
            taken.extend(taker.join()?);
        }
        Ok(taken)
    })?;
    drop(sender);
    assert_eq!(taken.into_iter().collect::<BTreeSet<_>>().len(), 2 * EACH);
    Ok(())
}
