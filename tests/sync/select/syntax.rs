//! The forms of the macro.

use taskgroup::CancelToken;
use taskgroup::channel::{Disconnected, Receiver, Sender, bounded, select, unbounded};

use crate::channels::SHORT;

#[test]
fn messages_may_borrow() -> anyhow::Result<()> {
    let text = String::from("borrowed");
    let (sender, receiver) = bounded(1);
    let mut message = Some(&*text);
    select! { send(sender, &mut message) -> sent => sent? }?;
    let received = select! { recv(receiver) -> message => message? }?;
    assert_eq!(received, "borrowed");
    Ok(())
}

#[test]
fn bodies_may_return_break_and_continue() -> anyhow::Result<()> {
    fn first_even(receiver: &Receiver<u32>) -> anyhow::Result<u32> {
        loop {
            let n = select! {
                recv(receiver) -> n => match n? {
                    0 => continue,
                    99 => break,
                    n => n,
                },
            }?;
            if n % 2 == 0 {
                return Ok(n);
            }
            select! { recv(receiver) -> n => if n? == 4 { return Ok(4); } }?;
        }
        Ok(99)
    }
    let (sender, receiver) = unbounded();
    [0, 1, 2, 6, 1, 4, 99]
        .iter()
        .try_for_each(|&n| sender.send(n))?;
    drop(sender);
    assert_eq!(
        (
            first_even(&receiver)?,
            first_even(&receiver)?,
            first_even(&receiver)?
        ),
        (6, 4, 99)
    );
    assert!(first_even(&receiver).unwrap_err().is::<Disconnected>());
    Ok(())
}

#[test]
fn bodies_may_be_expressions_of_a_callers_macro() -> anyhow::Result<()> {
    macro_rules! ask {
        ($receiver:expr, $body:expr, $otherwise:expr) => {
            select! { recv($receiver) -> _ => $body, default => $otherwise }
        };
    }
    macro_rules! ask_last {
        ($receiver:expr, $body:expr, $otherwise:expr) => {
            select! { default => $otherwise, recv($receiver) -> _ => $body }
        };
    }
    let (sender, receiver) = unbounded();
    assert_eq!(
        (ask!(receiver, 1 + 1, 3)?, ask_last!(receiver, 1, { 3 })?),
        (3, 3)
    );
    sender.send(())?;
    sender.send(())?;
    assert_eq!(
        (ask!(receiver, 1 + 1, 3)?, ask_last!(&receiver, 1, 3)?),
        (2, 1)
    );
    Ok(())
}

#[test]
fn operands_may_be_any_expressions() -> anyhow::Result<()> {
    struct Ends(Vec<(Sender<String>, Receiver<String>)>);
    impl Ends {
        fn receiver(&self) -> &Receiver<String> {
            &self.0[0].1
        }
    }
    let ends = Ends(vec![unbounded()]);
    let mut messages = [Some(String::from("a"))];
    select! { send(ends.0[0].0.clone(), &mut messages[0]) -> sent => sent?, }?;
    let received = select! {
        recv(ends.receiver()) -> message => message?,
        recv(ends.receiver().clone()) -> message => message?,
        cancelled(CancelToken::new()) -> why => why.to_string(),
    }?;
    assert_eq!((received.as_str(), &messages[0]), ("a", &None));
    // A long operand stands on lines of its own, with a comma.
    let idle = select! {
        recv(ends.receiver(),) -> message => message?.is_empty(),
        default(SHORT,) => true,
    }?;
    assert!(idle);
    Ok(())
}
