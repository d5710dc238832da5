//! A cancel stays a cancel inside of the user's own error types.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use taskgroup::channel::{self, RecvError, SendError};
use taskgroup::{Cancelled, GroupError, TaskError, TaskGroup};

#[derive(Debug, thiserror::Error)]
enum Own {
    #[error("stopped")]
    Cancelled(#[from] Cancelled),
    #[error("group")]
    Group(#[from] GroupError),
    #[error("boxed")]
    Boxed(#[from] Box<GroupError<io::Error>>),
    #[error(transparent)]
    Other(#[from] anyhow::Error),
    #[error("io")]
    Io(#[from] io::Error),
    #[error("receive")]
    Receive(#[from] RecvError),
    #[error("any")]
    Any(#[from] Box<dyn Error + Send + Sync>),
    #[error("shared")]
    Shared(#[source] Arc<dyn Error + Send + Sync>),
    #[error("shared io")]
    SharedIo(#[source] Arc<io::Error>),
    #[error("boxed io")]
    BoxedIo(#[source] Box<io::Error>),
    #[error("cannot read {path}")]
    Read { path: String, source: io::Error },
    #[error("not named")]
    NotNamed(#[source] io::Error),
    #[error("empty")]
    Empty,
}
taskgroup::task_error!(Own {
    Cancelled,
    Group,
    Boxed,
    Other,
    Io,
    Receive,
    Any,
    Shared,
    SharedIo,
    BoxedIo,
    Read { source }
});

const LONG: Duration = Duration::from_secs(3600);

/// Returns the outcome of a group with a task that `f` cuts short.
fn cut_short(f: impl FnOnce() -> Result<(), Own> + Send) -> Result<(), GroupError<Own>> {
    let begun = taskgroup::sync::Event::new();
    TaskGroup::builder().error_type::<Own>().scope(|g| {
        g.spawn(|| {
            begun.set();
            f()
        });
        begun.wait()?;
        g.cancel();
        Ok(())
    })
}

#[test]
fn a_cancel_inside_of_each_named_variant_is_a_cancel() {
    cut_short(|| Ok(taskgroup::sleep(LONG)?)).unwrap();
    cut_short(|| Ok(TaskGroup::scope(|_| Ok(taskgroup::sleep(LONG)?))?)).unwrap();
    let io_group = || {
        TaskGroup::builder()
            .error_type::<io::Error>()
            .scope(|_| Ok(taskgroup::sleep(LONG)?))
    };
    cut_short(move || Ok(io_group().map_err(Box::new)?)).unwrap();
    cut_short(|| Ok((|| -> anyhow::Result<()> { Ok(taskgroup::sleep(LONG)?) })()?)).unwrap();
    cut_short(|| Ok((|| -> io::Result<()> { Ok(taskgroup::sleep(LONG)?) })()?)).unwrap();
    let (_sender, receiver) = channel::bounded::<()>(0);
    cut_short(move || Ok(receiver.recv()?)).unwrap();
    let any = || -> Result<(), Box<dyn Error + Send + Sync>> { Ok(taskgroup::sleep(LONG)?) };
    cut_short(move || Ok(any()?)).unwrap();
    cut_short(move || any().map_err(|error| Own::Shared(error.into()))).unwrap();
    let path = || "a/b".to_owned();
    let read = || -> io::Result<()> { Ok(taskgroup::sleep(LONG)?) };
    cut_short(move || read().map_err(|error| Own::SharedIo(error.into()))).unwrap();
    cut_short(move || read().map_err(|error| Own::BoxedIo(error.into()))).unwrap();
    cut_short(move || {
        read().map_err(|source| Own::Read {
            path: path(),
            source,
        })
    })
    .unwrap();
}

#[test]
fn an_error_that_is_not_named_or_no_cancel_is_a_failure() {
    let error =
        cut_short(|| Err(Own::NotNamed(taskgroup::sleep(LONG).unwrap_err().into()))).unwrap_err();
    assert!(matches!(error.errors().next(), Some(Own::NotNamed(_))));
    let error = cut_short(|| Err(Own::Empty)).unwrap_err();
    assert!(matches!(error.errors().next(), Some(Own::Empty)));
    assert!(
        Own::Other(anyhow::anyhow!("disk full"))
            .cancelled()
            .is_none()
    );
    assert!(Own::Io(io::Error::other("disk full")).cancelled().is_none());
    assert!(Own::Any("disk full".into()).cancelled().is_none());
    let failed =
        TaskGroup::scope(|_| -> anyhow::Result<()> { anyhow::bail!("disk full") }).unwrap_err();
    assert!(Own::Group(failed).cancelled().is_none());
}

#[test]
fn a_cancel_is_found_in_a_boxed_error() {
    let token = taskgroup::CancelToken::new();
    token.cancel();
    let cancelled = token.check().unwrap_err();
    let boxed: Box<dyn Error> = io::Error::from(cancelled.clone()).into();
    assert_eq!(Cancelled::find(&*boxed), Some(&cancelled));
    let other: Box<dyn Error> = "disk full".into();
    assert_eq!(Cancelled::find(&*other), None);
}

#[test]
fn a_send_error_without_its_message_keeps_the_cancel() {
    let text = String::from("a b");
    let (sender, receiver) = channel::bounded(0);
    TaskGroup::scope(|g| {
        let (sender, text) = (&sender, &text);
        g.spawn(move || {
            Ok(text
                .split(' ')
                .try_for_each(|word| sender.send(word))
                .map_err(SendError::without_message)?)
        });
        assert_eq!(receiver.recv()?, "a");
        g.cancel();
        Ok(())
    })
    .unwrap();
    drop(receiver);
    let error = sender.send("c").unwrap_err().without_message();
    assert!(matches!(error, SendError::Disconnected((), _)));
}
