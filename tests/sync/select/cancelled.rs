//! Selects in cancelled scopes, and the cancel of a token as a case.

use std::time::Instant;

use taskgroup::channel::{Select, bounded, select, unbounded};
use taskgroup::{CancelToken, Cancelled};

use super::{scope, select_of};
use crate::channels::{SHORT, is_deserted, until_blocked};
use crate::support::LONG;

#[test]
fn a_cancel_ends_the_wait_without_effect() -> anyhow::Result<()> {
    let ((sender, receiver), (_other, silent)) = (bounded(1), bounded::<u8>(0));
    sender.send("first")?;
    let token = CancelToken::new();
    scope(|g| {
        let (cancelled, watched, quiet) = (token.clone(), receiver.clone(), silent.clone());
        let ended = g.spawn(move || {
            let mut message = Some("second");
            let ended = cancelled.run(|| {
                select! {
                    recv(silent) -> _ => anyhow::bail!("nothing was sent"),
                    send(sender, &mut message) -> _ => anyhow::bail!("the channel is full"),
                }
                .map_err(anyhow::Error::from)
            });
            let why = ended.unwrap_err().downcast::<Cancelled>()?;
            Ok((message, why.origin()))
        });
        until_blocked(&watched, 1, 0);
        token.cancel();
        assert_eq!(ended.join()?, (Some("second"), token.id()));
        assert!(is_deserted(&watched) && is_deserted(&quiet));
        Ok(())
    })?;
    assert_eq!(receiver.try_recv(), Ok("first"));
    assert!(receiver.try_recv().is_err());
    Ok(())
}

#[test]
fn a_cancelled_scope_fails_at_each_entry_without_effect() -> anyhow::Result<()> {
    let (sender, receiver) = unbounded();
    sender.send(1)?;
    let token = CancelToken::new();
    token.cancel();
    let mut message = Some(2);
    token.run(|| {
        for _ in 0..2 {
            let ended: Result<(), Cancelled> = select! {
                recv(receiver) -> _ => {},
                send(sender, &mut message) -> _ => {},
            };
            assert_eq!(ended.unwrap_err().origin(), token.id());
            let ended: Result<(), Cancelled> = select! {
                recv(receiver) -> _ => {},
                default => {}
            };
            assert!(ended.is_err(), "a loop around a select with a default ends");
            assert!(select_of(&receiver).select().is_err());
            assert!(select_of(&receiver).select_timeout(LONG).is_err());
        }
        assert_eq!((receiver.len(), message), (1, Some(2)));
        assert_eq!(select_of(&receiver).try_select().unwrap(), Some(Ok(1)));
    });
    Ok(())
}

#[test]
fn in_a_cancelled_scope_a_disconnect_is_reported_as_the_cancel() -> anyhow::Result<()> {
    let ((sender, receiver), (_, closed), (unread, _)) = (unbounded(), unbounded(), unbounded());
    (0..50).try_for_each(|n| sender.send(n))?;
    let token = CancelToken::new();
    token.cancel();
    token.run(|| {
        let mut message = Some(7);
        let mut select = Select::new();
        select.recv(&closed, |message: Result<i32, _>| message);
        select.recv(&receiver, |message| message);
        select.send(&unread, &mut message, |sent| sent.map(|()| -1));
        let received: Vec<_> = (0..50)
            .map(|_| select.try_select().unwrap().unwrap().unwrap())
            .collect();
        assert_eq!(
            received,
            (0..50).collect::<Vec<_>>(),
            "a ready case comes before the cancel"
        );
        assert_eq!(select.try_select().unwrap_err().origin(), token.id());
        drop(select);
        assert_eq!(message, Some(7));
        let mut alone = Select::new();
        alone.recv(&closed, |message: Result<i32, _>| message);
        assert_eq!(alone.try_select().unwrap_err().origin(), token.id());
    });
    Ok(())
}

#[test]
fn a_cancelled_pipeline_of_selects_does_not_fail() -> anyhow::Result<()> {
    for _ in 0..200 {
        let ((sender, receiver), (_quiet, silent)) = (bounded(0), unbounded::<u8>());
        let watched = sender.clone();
        scope(move |g| {
            let other = silent.clone();
            g.spawn(move || -> anyhow::Result<()> {
                loop {
                    select! {
                        send(sender, &mut Some(1)) -> sent => sent?,
                        recv(other) -> _ => anyhow::bail!("nothing was sent"),
                    }?;
                }
            });
            g.spawn(move || {
                select! {
                    recv(receiver) -> message => message?,
                    recv(silent) -> message => message?,
                }?;
                taskgroup::sleep(LONG)?;
                drop(receiver);
                Ok(())
            });
            crate::support::until(|| format!("{watched:?}").contains("sending: 1"));
            g.cancel();
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn the_cancel_of_another_token_is_a_case() -> anyhow::Result<()> {
    let (_sender, receiver) = bounded::<u8>(0);
    let (token, late) = (CancelToken::new(), CancelToken::new());
    scope(|g| {
        let (stop, watched) = (token.clone(), receiver.clone());
        let why = g.spawn(move || {
            Ok(select! {
                recv(receiver) -> _ => None,
                cancelled(stop) -> why => Some(why.origin()),
            }?)
        });
        until_blocked(&watched, 0, 1);
        token.cancel();
        assert_eq!(why.join()?, Some(token.id()));
        assert!(is_deserted(&watched));

        late.cancel_at(Instant::now() + SHORT);
        let mut select = Select::new();
        select.recv(&watched, |_| None);
        select.cancelled(&late, |why| Some(why.origin()));
        assert_eq!(select.select()?, Some(late.id()));
        Ok(())
    })?;
    Ok(())
}
