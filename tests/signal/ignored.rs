//! Signals that were ignored before the first token.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::low_level::raise;
use taskgroup::signal::{ctrl_c, termination};

use super::{Process, cause_of, mask};
use crate::support::{is_child, until, watch};

#[test]
fn a_hang_up_stays_ignored_under_nohup() {
    if is_child() {
        let _watch = watch();
        let stop = termination().unwrap();
        // A shell ignores further signals for a job in the background.
        assert!(mask("SigIgn:").contains(&SIGHUP));
        raise(SIGHUP).unwrap();
        assert!(!stop.wait_timeout(Duration::from_millis(20)).unwrap());
        raise(SIGTERM).unwrap();
        println!("cause: {}", cause_of(&stop));
        // Not the second signal: it is ignored still.
        raise(SIGHUP).unwrap();
        println!("alive");
        return;
    }
    let mut child = Process::start_by(&["nohup"], "a_hang_up_stays_ignored_under_nohup");
    assert_eq!(child.wait_for("cause: "), "SIGTERM");
    child.wait_for("alive");
    child.end_well();
}

/// The program handles the signal later, and a token is asked for again.
#[test]
fn a_token_that_was_made_while_a_signal_was_ignored_never_takes_it() {
    const TEST: &str = "a_token_that_was_made_while_a_signal_was_ignored_never_takes_it";
    if is_child() {
        let _watch = watch();
        let early = termination().unwrap();
        let handled = Arc::new(AtomicBool::new(false));
        flag::register(SIGHUP, handled.clone()).unwrap();
        let late = termination().unwrap();
        // All tokens of a signal are cancelled before the callbacks run.
        let over = Arc::new(AtomicBool::new(false));
        let is_over = over.clone();
        late.on_cancel(move || is_over.store(true, SeqCst)).forget();

        raise(SIGHUP).unwrap();
        until(|| over.load(SeqCst));
        assert!(handled.load(SeqCst));
        assert!(!early.is_cancelled());
        println!("over");
        return;
    }
    let mut child = Process::start_by(&["nohup"], TEST);
    child.wait_for("over");
    child.end_well();
}

#[test]
fn ctrl_c_stays_ignored_in_the_background_of_a_shell() {
    if is_child() {
        let _watch = watch();
        let (ours, all) = (ctrl_c().unwrap(), termination().unwrap());
        assert!(mask("SigIgn:").contains(&SIGINT));
        raise(SIGINT).unwrap();
        assert!(!all.wait_timeout(Duration::from_millis(20)).unwrap());
        raise(SIGTERM).unwrap();
        println!("cause: {}", cause_of(&all));
        assert!(!ours.is_cancelled());
        drop(ours);
        return;
    }
    let shell = ["sh", "-c", "\"$0\" \"$@\" & wait $!"];
    let mut child = Process::start_by(&shell, "ctrl_c_stays_ignored_in_the_background_of_a_shell");
    assert_eq!(child.wait_for("cause: "), "SIGTERM");
    child.end_well();
}

#[test]
fn a_sigterm_is_always_taken_and_ignored_again_at_the_end() {
    if is_child() {
        let _watch = watch();
        let stop = termination().unwrap();
        drop(stop);
        raise(SIGTERM).unwrap();
        let stop = termination().unwrap();
        assert!(!stop.is_cancelled());
        raise(SIGTERM).unwrap();
        println!("cause: {}", cause_of(&stop));
        return;
    }
    let shell = ["sh", "-c", "trap '' TERM; exec \"$0\" \"$@\""];
    let mut child = Process::start_by(
        &shell,
        "a_sigterm_is_always_taken_and_ignored_again_at_the_end",
    );
    assert_eq!(child.wait_for("cause: "), "SIGTERM");
    child.end_well();
}
