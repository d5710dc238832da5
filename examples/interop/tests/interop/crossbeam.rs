//! A library with channels of crossbeam inside, driven by tasks.

use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded, select};
use taskgroup::TaskGroup;
use taskgroup::channel::crossbeam;

use crate::support::watch;
use crate::{assert_cancel, cancelled_during};

/// A service of another library: a thread that squares numbers, behind two channels of crossbeam.
fn squares() -> (Sender<u64>, Receiver<u64>) {
    let (ask, asked) = bounded::<u64>(0);
    let (answer, answers) = bounded(0);
    thread::spawn(move || {
        asked
            .iter()
            .try_for_each(|number| answer.send(number * number))
    });
    (ask, answers)
}

#[test]
fn answers_come_and_a_cancel_ends_the_wait_for_one() {
    let _watch = watch();
    let (ask, answers) = squares();
    for number in 0..100 {
        // No question was asked, so no answer comes.
        let error = cancelled_during(|| Ok(crossbeam::recv(&answers)?), || ());
        assert_cancel(&error);
        crossbeam::send(&ask, number).unwrap();
        assert_eq!(crossbeam::recv(&answers).unwrap(), number * number);
    }
}

#[test]
fn a_select_of_crossbeam_has_a_case_for_the_cancel() {
    let _watch = watch();
    let (_ask, answers) = squares();
    let wait = || {
        let closed = taskgroup::current_token().unwrap_or_default().closed();
        select! {
            recv(answers) -> answer => Ok(answer?),
            // It has no messages. The cancel disconnects it.
            recv(closed) -> _ => Err(taskgroup::checkpoint().unwrap_err().into()),
        }
    };
    assert_cancel(&cancelled_during(wait, || ()));
}

#[test]
fn a_bare_receive_holds_up_its_scope_until_a_sender_ends_it() {
    let _watch = watch();
    let (send, receive) = bounded::<()>(0);

    // The cure where the call cannot be changed: the hook ends the channel.
    let send = std::sync::Mutex::new(Some(send));
    let outcome = TaskGroup::scope(|g| {
        g.spawn(|| {
            let hook = || drop(send.lock().unwrap().take());
            let ended = taskgroup::with_cancel_hook(hook, || receive.recv());
            assert!(ended.is_err());
            taskgroup::checkpoint()?;
            Ok(())
        });
        g.cancel();
        Ok(())
    });
    outcome.unwrap();
}
