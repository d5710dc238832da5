//! Tokens that the system refuses, and what the signal does then.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use rustix::process::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::low_level::raise;
use taskgroup::signal::{ctrl_c, termination};

use super::{Process, cause_of, mask};
use crate::support::{is_child, watch};

/// The handler of another part of the program has each signal, and no token is there for it.
#[test]
fn where_a_token_is_refused_the_signal_acts_as_before() {
    if is_child() {
        let _watch = watch();
        let count = Arc::new(AtomicUsize::new(0));
        let counts = [SIGINT, SIGTERM, SIGHUP].map(|signal| {
            let seen = Arc::new(AtomicBool::new(false));
            flag::register(signal, seen.clone()).unwrap();
            (signal, seen)
        });
        let mut held = Vec::new();
        while let Ok(file) = fs::File::open("/dev/null") {
            held.push(file);
        }

        // With one more descriptor each time, it comes one step further.
        while let Err(error) = termination() {
            count.fetch_add(1, SeqCst);
            assert_eq!(
                error.raw_os_error(),
                Some(rustix::io::Errno::MFILE.raw_os_error())
            );
            for (signal, seen) in &counts {
                raise(*signal).unwrap();
                assert!(seen.swap(false, SeqCst));
            }
            held.pop().expect("a token needs a few descriptors");
        }
        assert!(count.load(SeqCst) > 2);

        // None of these signals was one for a token.
        drop(held);
        let stop = termination().unwrap();
        assert!(!stop.is_cancelled());
        raise(SIGTERM).unwrap();
        assert_eq!(cause_of(&stop), "SIGTERM");
        println!("cancelled");
        return;
    }
    let shell = ["sh", "-c", "ulimit -n 64; exec \"$0\" \"$@\""];
    Process::start_by(&shell, "where_a_token_is_refused_the_signal_acts_as_before").end_well();
}

/// The thread takes signals too: if it was there before, a signal could come to it before the
/// handler has its actions.
#[test]
fn the_thread_begins_when_the_handlers_are_there() {
    const TEST: &str = "the_thread_begins_when_the_handlers_are_there";
    if is_child() {
        assert!(termination().is_err());
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            assert!(mask("SigCgt:").contains(&signal));
        }
        println!("refused");
        raise(SIGTERM).unwrap();
        unreachable!("the signal acts as before");
    }
    // No system grants a stack of this size, so no thread is started.
    let stack = format!("RUST_MIN_STACK={}", usize::MAX / 4 * 3);
    let mut child = Process::start_by(&["env", &stack], TEST);
    child.wait_for("refused");
    child.end_of(Signal::TERM);
}

/// From now on no descriptor takes a flag, which is the last step of a handler's registration.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn refuse_the_last_step() {
    use nix::libc::{F_SETFD, SYS_fcntl};
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
        SeccompRule, apply_filter_all_threads,
    };

    let (size, is) = (SeccompCmpArgLen::Dword, SeccompCmpOp::Eq);
    let sets_a_flag = SeccompCondition::new(1, size, is, F_SETFD as u64).unwrap();
    let rule = SeccompRule::new(vec![sets_a_flag]).unwrap();
    let refusal = SeccompAction::Errno(rustix::io::Errno::PERM.raw_os_error().unsigned_abs());
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let rules = [(SYS_fcntl, vec![rule])].into_iter().collect();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refusal, arch).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    apply_filter_all_threads(&program).expect("the system has filters");
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[test]
fn a_signal_that_is_refused_at_the_last_step_ends_the_process() {
    const TEST: &str = "a_signal_that_is_refused_at_the_last_step_ends_the_process";
    if is_child() {
        let _watch = watch();
        refuse_the_last_step();
        let refused = ctrl_c().unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied);
        println!("refused");
        raise(SIGINT).unwrap();
        unreachable!("the signal was lost");
    }
    let mut child = Process::start(TEST);
    child.wait_for("refused");
    child.end_of(Signal::INT);
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[test]
fn a_signal_that_is_refused_at_the_last_step_goes_to_its_handler_alone() {
    const TEST: &str = "a_signal_that_is_refused_at_the_last_step_goes_to_its_handler_alone";
    if is_child() {
        let _watch = watch();
        let handled = Arc::new(AtomicBool::new(false));
        flag::register(SIGINT, handled.clone()).unwrap();
        refuse_the_last_step();
        for _ in 0..3 {
            // Not a token that is cancelled already: no signal was one for a token.
            assert!(ctrl_c().is_err());
            raise(SIGINT).unwrap();
            assert!(handled.swap(false, SeqCst));
        }
        println!("over");
        return;
    }
    let mut child = Process::start(TEST);
    child.wait_for("over");
    child.end_well();
}
