//! An echo is recognised by the errors in its chain, even inside of the user's own error types.

use std::error::Error;
use std::io;

use crate::echoing::{Root, assert_echo, disk_full, names, primary, report, spawn_echo};
use crate::support::Gate;
use taskgroup::channel::{self, Disconnected, RecvError, SendError};
use taskgroup::sync::{Barrier, BarrierError};
use taskgroup::{Cancelled, GroupError, OnFailure, TaskError, TaskGroup};

#[derive(Debug, thiserror::Error)]
enum Own {
    #[error("stopped")]
    Cancelled(#[from] Cancelled),
    #[error("cannot send")]
    Send(#[from] SendError<u32>),
    #[error("barrier")]
    Barrier(#[from] BarrierError),
    #[error(transparent)]
    Receive(#[from] RecvError),
    #[error(transparent)]
    Disconnected(#[from] Disconnected),
    #[error(transparent)]
    Other(#[from] anyhow::Error),
    #[error("disk full")]
    Full,
}
taskgroup::task_error!(Own {
    Cancelled,
    Send,
    Barrier,
    Receive,
    Disconnected,
    Other
});

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Opaque {
    #[from]
    source: anyhow::Error,
}
impl From<Cancelled> for Opaque {
    fn from(cancelled: Cancelled) -> Self {
        Opaque {
            source: cancelled.into(),
        }
    }
}
taskgroup::task_error!(struct Opaque { source });

/// Implements the trait by hand, and may hide that it is an error.
#[derive(Debug, thiserror::Error)]
#[error("stopped")]
struct ByHand<const SHOWS: bool>(#[source] anyhow::Error);
impl<const SHOWS: bool> From<Cancelled> for ByHand<SHOWS> {
    fn from(cancelled: Cancelled) -> Self {
        ByHand(cancelled.into())
    }
}
impl<const SHOWS: bool> TaskError for ByHand<SHOWS> {
    fn cancelled(&self) -> Option<&Cancelled> {
        self.0.cancelled()
    }

    fn as_error(&self) -> Option<&(dyn Error + 'static)> {
        SHOWS.then_some(self)
    }
}

fn of_recv<E: TaskError>(
    wrap: impl FnOnce(RecvError) -> E + Send,
    full: impl FnOnce() -> E + Send,
) -> GroupError<E> {
    let (sender, receiver) = channel::bounded::<u32>(0);
    report(
        OnFailure::CancelSiblings,
        sender,
        move || receiver.recv().map(drop).map_err(wrap),
        full,
    )
}

fn disconnected(error: RecvError) -> Disconnected {
    match error {
        RecvError::Disconnected(disconnected) => disconnected,
        other => panic!("{other}"),
    }
}

#[test]
fn anyhow_and_io_errors_pass_it_on() {
    use anyhow::Context;

    let context = |error: RecvError| {
        Err::<(), _>(error)
            .context("reading")
            .context("importing")
            .unwrap_err()
    };
    assert_echo(&of_recv(context, disk_full));
    assert_echo(&of_recv(
        |error| anyhow::Error::from(disconnected(error)),
        disk_full,
    ));
    assert_echo(&of_recv(io::Error::other, || io::Error::other("disk full")));
    assert_echo(&of_recv(
        |error| anyhow::Error::from(io::Error::other(error)).context("reading"),
        disk_full,
    ));
}

#[test]
fn an_enum_passes_it_on_through_every_variant() {
    assert_echo(&of_recv(Own::from, || Own::Full));
    assert_echo(&of_recv(
        |error| Own::from(disconnected(error)),
        || Own::Full,
    ));
    assert_echo(&of_recv(
        |error| Own::Other(disconnected(error).into()),
        || Own::Full,
    ));
    assert_echo(&of_recv(
        |error| Own::Other(anyhow::Error::from(error).context("reading")),
        || Own::Full,
    ));

    let (sender, receiver) = channel::bounded(0);
    assert_echo(&report(
        OnFailure::CancelSiblings,
        receiver,
        move || Ok(sender.send(1)?),
        || Own::Full,
    ));

    let barrier = Barrier::new(2);
    let ended = Gate::default();
    let error = TaskGroup::builder()
        .error_type::<Own>()
        .scope(|g| {
            spawn_echo(g, &ended, || Ok(barrier.wait().map(drop)?));
            crate::support::until_waiting(&barrier, 1);
            g.task().name("root").spawn(|| {
                barrier.reset();
                Root(&ended).fails((), || Own::Full)
            });
            Ok(())
        })
        .unwrap_err();
    assert_echo(&error);
}

#[test]
fn a_struct_passes_it_on_whatever_its_sources_say() {
    let opaque = |error: anyhow::Error| Opaque::from(error);
    assert_echo(&of_recv(
        |error| opaque(error.into()),
        || opaque(disk_full()),
    ));
    assert_echo(&of_recv(
        |error| opaque(disconnected(error).into()),
        || opaque(disk_full()),
    ));
}

#[test]
fn an_error_that_is_shown_is_searched() {
    assert_echo(&of_recv(
        |error| ByHand::<true>(error.into()),
        || ByHand(disk_full()),
    ));
    let error = of_recv(
        |error| ByHand::<false>(error.into()),
        || ByHand(disk_full()),
    );
    assert_eq!(
        (names(&error), primary(&error)),
        (vec![("echo", None), ("root", None)], "echo")
    );
}
