//! Signals that cancel: each test sends them to a process of its own, which runs the same test.
#![cfg(all(target_os = "linux", feature = "signal"))]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::os::unix::process::ExitStatusExt;
use std::process::{ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::low_level::raise;
use support::{LONG, blocked, is_child, until, watch};
use taskgroup::signal::{ctrl_c, termination};
use taskgroup::{CancelCause, CancelToken, TaskGroup};

/// A process that runs one test, in its role as the child.
struct Process {
    process: std::process::Child,
    lines: Lines<BufReader<ChildStdout>>,
    printed: String,
}

impl Process {
    /// Runs the test of this name.
    fn start(test: &str) -> Self {
        Self::start_by(&[], test)
    }

    /// Runs the test of this name by a command that ends with the path of the program.
    fn start_by(command: &[&str], test: &str) -> Self {
        let program = std::env::current_exe().unwrap();
        // A signal that is ignored here, because this runs in the background, is not to be ignored
        // there.
        let ignored = mask("SigIgn:");
        let mut words = Vec::new();
        if [SIGHUP, SIGINT, SIGTERM]
            .iter()
            .any(|signal| ignored.contains(signal))
        {
            words.extend(["env", "--default-signal=HUP,INT,TERM"]);
        }
        words.extend(command);

        let mut line = words.iter().map(|word| (*word).into()).collect::<Vec<_>>();
        line.push(program.into_os_string());
        let mut process = Command::new(&line[0])
            .args(&line[1..])
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env("TASKGROUP_TEST_CHILD", "1")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the test binary starts");
        let stdout = process.stdout.take().unwrap();
        Process {
            process,
            lines: BufReader::new(stdout).lines(),
            printed: String::new(),
        }
    }

    /// Waits for a line with the text, and returns what comes after it.
    fn wait_for(&mut self, text: &str) -> String {
        for line in self.lines.by_ref() {
            let line = line.expect("a child prints text");
            self.printed += &format!("{line}\n");
            if let Some((_, rest)) = line.split_once(text) {
                return rest.trim().to_owned();
            }
        }
        let status = self.process.wait().unwrap();
        panic!("no {text:?} from the child, {status}:\n{}", self.printed)
    }

    fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("the child is there");
    }

    /// Waits for the end.
    fn end(mut self) -> ExitStatus {
        for line in self.lines.by_ref() {
            self.printed += &format!("{}\n", line.expect("a child prints text"));
        }
        let status = self.process.wait().unwrap();
        print!("{}", self.printed);
        status
    }

    /// Waits for the end of a child that runs a test, which passes.
    #[track_caller]
    fn end_well(self) {
        let status = self.end();
        assert!(status.success(), "{status}");
    }

    /// Waits for the end of a child that a signal ends.
    #[track_caller]
    fn end_of(self, signal: Signal) {
        let status = self.end();
        assert_eq!(status.signal(), Some(signal.as_raw()), "{status}");
    }
}

/// Returns the signals in a mask of this thread or process, without SIGPIPE, which every program of
/// Rust ignores, and without those that the library of C uses.
fn mask(label: &str) -> Vec<i32> {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(label));
    let mask = u64::from_str_radix(line.unwrap().trim(), 16).unwrap();
    (1..32)
        .filter(|signal| mask >> (signal - 1) & 1 == 1 && *signal != 13)
        .collect()
}

/// Waits for the cancel of the token, and returns what its cause reads.
fn cause_of(token: &CancelToken) -> String {
    token.wait().unwrap();
    token.cancelled().unwrap().cause().to_string()
}

#[test]
fn the_first_signal_cancels_and_the_cause_names_it() {
    if is_child() {
        let _watch = watch();
        let line = line!() + 1;
        let stop = termination().unwrap();
        let signal = stop.run(|| {
            println!("ready");
            let cancelled = blocked();
            let CancelCause::Signal { signal, .. } = cancelled.cause() else {
                panic!("another cause: {cancelled}");
            };
            assert_eq!(cancelled.origin(), stop.id());
            assert_eq!(cancelled.location().line(), line);
            println!("read: {cancelled}");
            *signal
        });
        println!("number: {signal}");
        return;
    }

    for (signal, name) in [
        (Signal::TERM, "SIGTERM"),
        (Signal::INT, "SIGINT"),
        (Signal::HUP, "SIGHUP"),
    ] {
        let mut child = Process::start("the_first_signal_cancels_and_the_cause_names_it");
        child.wait_for("ready");
        child.send(signal);
        let read = child.wait_for("read: ");
        assert!(
            read.starts_with(&format!("cancelled: {name} (at ")),
            "{read}"
        );
        assert_eq!(child.wait_for("number: "), signal.as_raw().to_string());
        child.end_well();
    }
}

#[test]
fn ctrl_c_leaves_the_other_signals_alone() {
    if is_child() {
        let _stop = ctrl_c().unwrap();
        println!("ready");
        blocked();
    }
    for signal in [Signal::TERM, Signal::HUP] {
        let mut child = Process::start("ctrl_c_leaves_the_other_signals_alone");
        child.wait_for("ready");
        child.send(signal);
        child.end_of(signal);
    }
}

#[test]
fn the_second_signal_ends_the_process_while_a_callback_of_the_first_blocks() {
    if is_child() {
        let _watch = watch();
        let stop = termination().unwrap();
        // The thread of the signals runs this.
        let clean_up = || {
            println!("cleaning up");
            blocked();
        };
        stop.on_cancel(clean_up).forget();
        println!("ready");
        blocked();
    }
    // The second one need not be of the same kind.
    for (first, second) in [
        (Signal::TERM, Signal::TERM),
        (Signal::INT, Signal::INT),
        (Signal::HUP, Signal::TERM),
        (Signal::TERM, Signal::INT),
    ] {
        let mut child = Process::start(
            "the_second_signal_ends_the_process_while_a_callback_of_the_first_blocks",
        );
        child.wait_for("ready");
        child.send(first);
        child.wait_for("cleaning up");
        child.send(second);
        child.end_of(second);
    }
}

#[test]
fn the_second_signal_ends_the_process_as_soon_as_a_cancel_is_seen() {
    if is_child() {
        let _watch = watch();
        let stop = termination().unwrap();
        println!("ready");
        until(|| stop.is_cancelled());
        // Before any thread that the cancel wakes can have run.
        raise(SIGTERM).unwrap();
        unreachable!("the second signal was lost");
    }
    for _ in 0..20 {
        let mut child =
            Process::start("the_second_signal_ends_the_process_as_soon_as_a_cancel_is_seen");
        child.wait_for("ready");
        child.send(Signal::TERM);
        child.end_of(Signal::TERM);
    }
}

#[test]
fn a_burst_of_signals_ends_the_process() {
    if is_child() {
        let _watch = watch();
        let _stop = termination().unwrap();
        println!("ready");
        blocked();
    }
    for _ in 0..20 {
        let mut child = Process::start("a_burst_of_signals_ends_the_process");
        child.wait_for("ready");
        // Signals that come before the system has delivered the first count as one.
        let mut status = None;
        until(|| {
            child.send(Signal::INT);
            status = child.process.try_wait().unwrap();
            status.is_some()
        });
        assert_eq!(status.and_then(|status| status.signal()), Some(SIGINT));
    }
}

#[test]
fn process_1_exits() {
    const COMMAND: [&str; 5] = ["unshare", "--user", "--map-root-user", "--pid", "--fork"];
    if is_child() {
        let _watch = watch();
        assert_eq!(std::process::id(), 1);
        let stop = termination().unwrap();
        raise(SIGTERM).unwrap();
        assert_eq!(cause_of(&stop), "SIGTERM");
        println!("cancelled");
        raise(SIGTERM).unwrap();
        blocked();
    }
    let can_unshare = Command::new(COMMAND[0])
        .args(&COMMAND[1..])
        .arg("true")
        .status()
        .is_ok_and(|status| status.success());
    if !can_unshare {
        eprintln!("SKIPPED process_1_exits: `unshare --pid` is not allowed here");
        return;
    }
    let mut child = Process::start_by(&COMMAND, "process_1_exits");
    child.wait_for("cancelled");
    assert_eq!(child.end().code(), Some(128 + SIGTERM));
}

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

#[test]
fn all_tokens_and_handlers_see_the_signal() {
    if is_child() {
        let _watch = watch();
        let (before, after) = (Arc::default(), Arc::default());
        flag::register(SIGINT, Arc::clone(&before)).unwrap();
        let tokens = [ctrl_c(), ctrl_c(), termination(), ctrl_c()].map(Result::unwrap);
        flag::register(SIGINT, Arc::clone(&after)).unwrap();
        assert_ne!(tokens[0], tokens[1]);

        raise(SIGINT).unwrap();
        for token in &tokens {
            assert_eq!(cause_of(token), "SIGINT");
            assert_eq!(token.cancelled().unwrap().origin(), token.id());
        }
        assert!(before.load(SeqCst) && after.load(SeqCst));
        println!("all");
        return;
    }
    let mut child = Process::start("all_tokens_and_handlers_see_the_signal");
    child.wait_for("all");
    child.end_well();
}

#[test]
fn a_handler_that_was_there_before_sees_the_second_signal_too() {
    if is_child() {
        let _watch = watch();
        // Each call of this handler writes a byte. The output outlives the process.
        let output = rustix::io::dup(std::io::stdout()).unwrap();
        signal_hook::low_level::pipe::register(SIGINT, output).unwrap();
        let stop = ctrl_c().unwrap();
        raise(SIGINT).unwrap();
        assert_eq!(cause_of(&stop), "SIGINT");
        println!(" cancelled");
        raise(SIGINT).unwrap();
        unreachable!("the second signal was lost");
    }
    let mut child = Process::start("a_handler_that_was_there_before_sees_the_second_signal_too");
    child.wait_for("X cancelled");
    let last = child.lines.next().expect("the handler wrote").unwrap();
    assert_eq!(last, "X");
    child.end_of(Signal::INT);
}

#[test]
fn threads_of_all_tokens_wake_before_the_callback_of_any_runs() {
    if is_child() {
        let _watch = watch();
        let tokens = [ctrl_c(), ctrl_c()].map(Result::unwrap);
        let woken = Arc::new(AtomicUsize::new(0));
        for token in &tokens {
            let woken = woken.clone();
            // Each blocks until the threads of both have woken.
            token
                .on_cancel(move || until(|| woken.load(SeqCst) == 2))
                .forget();
        }
        std::thread::scope(|threads| {
            for token in &tokens {
                threads.spawn(|| {
                    println!("ready");
                    token.run(blocked);
                    woken.fetch_add(1, SeqCst);
                });
            }
        });
        return;
    }
    let mut child = Process::start("threads_of_all_tokens_wake_before_the_callback_of_any_runs");
    child.wait_for("ready");
    child.wait_for("ready");
    child.send(Signal::INT);
    child.end_well();
}

#[test]
fn after_the_first_signal_a_new_token_is_cancelled_already() {
    if is_child() {
        let _watch = watch();
        let first = ctrl_c().unwrap();
        raise(SIGINT).unwrap();
        // The handler has run. The thread of the signals may not have come to it.
        let second = ctrl_c().unwrap();
        assert!(second.is_cancelled());
        assert_eq!(
            termination()
                .unwrap()
                .cancelled()
                .unwrap()
                .cause()
                .to_string(),
            "SIGINT"
        );
        assert_eq!(cause_of(&first), "SIGINT");

        drop((first, second));
        let line = line!() + 1;
        let third = ctrl_c().unwrap().cancelled().unwrap();
        assert_eq!(third.location().line(), line);
        println!("cancelled");
        raise(SIGINT).unwrap();
        unreachable!("the second signal was lost");
    }
    let mut child = Process::start("after_the_first_signal_a_new_token_is_cancelled_already");
    child.wait_for("cancelled");
    child.end_of(Signal::INT);
}

#[test]
fn a_child_of_the_token_keeps_the_signal() {
    if is_child() {
        let _watch = watch();
        let stop = termination().unwrap();
        let (clone, child) = (stop.clone(), stop.child());
        drop((stop, clone));
        println!("a child is left");
        raise(SIGHUP).unwrap();
        assert_eq!(cause_of(&child), "SIGHUP");
        println!("cancelled");
        return;
    }
    Process::start("a_child_of_the_token_keeps_the_signal").end_well();
}

#[test]
fn the_drop_of_one_token_leaves_the_signal_to_another() {
    if is_child() {
        let _watch = watch();
        let (first, second) = (ctrl_c().unwrap(), termination().unwrap());
        drop(first);
        raise(SIGINT).unwrap();
        assert_eq!(cause_of(&second), "SIGINT");
        println!("cancelled");
        return;
    }
    Process::start("the_drop_of_one_token_leaves_the_signal_to_another").end_well();
}

#[test]
fn a_new_token_does_not_take_the_second_signal() {
    if is_child() {
        let _watch = watch();
        let stop = termination().unwrap();
        raise(SIGTERM).unwrap();
        assert_eq!(cause_of(&stop), "SIGTERM");
        // A SIGINT has not come yet, and is the second signal.
        let _late = ctrl_c().unwrap();
        println!("asked");
        raise(SIGINT).unwrap();
        unreachable!("the second signal was lost");
    }
    let mut child = Process::start("a_new_token_does_not_take_the_second_signal");
    child.wait_for("asked");
    child.end_of(Signal::INT);
}

/// The callback runs on the thread of the signals.
#[test]
fn a_callback_of_a_token_may_ask_for_another() {
    if is_child() {
        let _watch = watch();
        let (stop, asked) = (ctrl_c().unwrap(), Arc::new(AtomicBool::new(false)));
        let in_callback = asked.clone();
        stop.on_cancel(move || {
            assert!(ctrl_c().unwrap().is_cancelled());
            drop(termination().unwrap());
            in_callback.store(true, SeqCst);
        })
        .forget();
        raise(SIGINT).unwrap();
        until(|| asked.load(SeqCst));
        println!("asked");
        return;
    }
    Process::start("a_callback_of_a_token_may_ask_for_another").end_well();
}

#[test]
fn all_tokens_share_one_thread() {
    if is_child() {
        let _watch = watch();
        let threads = || fs::read_dir("/proc/self/task").unwrap().count();
        let first = ctrl_c().unwrap();
        let with_one = threads();
        let others = [ctrl_c().unwrap(), termination().unwrap()];
        assert_eq!(threads(), with_one);
        raise(SIGINT).unwrap();
        assert_eq!(cause_of(&first), "SIGINT");
        drop(others);
        return;
    }
    Process::start("all_tokens_share_one_thread").end_well();
}

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

/// Makes tokens in every way, and drops them.
fn drop_all() {
    let _watch = watch();
    for _ in 0..3 {
        let (stop, other) = (termination().unwrap(), ctrl_c().unwrap());
        drop(stop.clone());
        // Without a task: the thread of one may hold the scope for a moment after its end.
        let group = TaskGroup::builder().parent(&stop).scope(|_| {
            other.run(|| drop(ctrl_c().unwrap()));
            Ok(())
        });
        group.unwrap();
        // A cancel by hand does not count as a signal.
        stop.cancel();
    }
    println!("dropped");
    blocked();
}

#[test]
fn after_the_last_drop_ctrl_c_ends_the_process() {
    if is_child() {
        return drop_all();
    }
    let mut child = Process::start("after_the_last_drop_ctrl_c_ends_the_process");
    child.wait_for("dropped");
    child.send(Signal::INT);
    child.end_of(Signal::INT);
}

#[test]
fn after_the_last_drop_sigterm_ends_the_process() {
    if is_child() {
        return drop_all();
    }
    let mut child = Process::start("after_the_last_drop_sigterm_ends_the_process");
    child.wait_for("dropped");
    child.send(Signal::TERM);
    child.end_of(Signal::TERM);
}

#[test]
fn a_scope_under_the_token_keeps_the_signal() {
    if is_child() {
        let _watch = watch();
        let stop = ctrl_c().unwrap();
        let builder = TaskGroup::builder().parent(&stop);
        drop(stop);
        let outcome = builder.scope(|_| {
            println!("ready");
            Err::<(), _>(blocked().into())
        });
        let error = outcome.unwrap_err();
        println!("cause: {}", error.cancelled().unwrap().cause());
        return;
    }
    let mut child = Process::start("a_scope_under_the_token_keeps_the_signal");
    child.wait_for("ready");
    child.send(Signal::INT);
    assert_eq!(child.wait_for("cause: "), "SIGINT");
    child.end_well();
}

#[test]
fn a_token_that_was_cancelled_by_hand_still_takes_the_first_signal() {
    if is_child() {
        let _watch = watch();
        let stop = ctrl_c().unwrap();
        stop.cancel();
        raise(SIGINT).unwrap();
        // Another one, with a cancel that is seen.
        assert!(ctrl_c().unwrap().is_cancelled());
        assert_eq!(cause_of(&stop), "cancel was requested");
        println!("alive");
        raise(SIGINT).unwrap();
        unreachable!("the second signal was lost");
    }
    let mut child =
        Process::start("a_token_that_was_cancelled_by_hand_still_takes_the_first_signal");
    child.wait_for("alive");
    child.end_of(Signal::INT);
}

#[test]
fn a_handler_that_was_there_before_has_the_signal_after_the_last_drop() {
    if is_child() {
        let _watch = watch();
        let count = Arc::new(AtomicBool::new(false));
        flag::register(SIGINT, count.clone()).unwrap();
        for _ in 0..3 {
            drop(ctrl_c().unwrap());
            for _ in 0..3 {
                raise(SIGINT).unwrap();
                assert!(count.swap(false, SeqCst));
            }
        }
        // None of these signals has cancelled a token.
        let stop = ctrl_c().unwrap();
        assert!(!stop.is_cancelled());
        raise(SIGINT).unwrap();
        assert_eq!(cause_of(&stop), "SIGINT");
        assert!(count.load(SeqCst));
        println!("cancelled");
        raise(SIGINT).unwrap();
        unreachable!("the second signal was lost");
    }
    let mut child =
        Process::start("a_handler_that_was_there_before_has_the_signal_after_the_last_drop");
    child.wait_for("cancelled");
    child.end_of(Signal::INT);
}

#[test]
fn no_signal_is_lost_while_tokens_come_and_go() {
    if is_child() {
        let _watch = watch();
        println!("ready");
        // Either the process ends, or a token says why.
        until(|| ctrl_c().unwrap().is_cancelled());
        println!("cancelled");
        return;
    }
    for _ in 0..20 {
        let mut child = Process::start("no_signal_is_lost_while_tokens_come_and_go");
        child.wait_for("ready");
        child.send(Signal::INT);
        let status = child.end();
        assert!(
            status.success() || status.signal() == Some(SIGINT),
            "{status}"
        );
    }
}

#[test]
fn signals_interrupt_no_other_wait() {
    if is_child() {
        let _watch = watch();
        let stop = ctrl_c().unwrap();
        let other = CancelToken::new();
        std::thread::scope(|threads| {
            let sleeper = threads.spawn(|| other.run(|| taskgroup::sleep(LONG)));
            raise(SIGINT).unwrap();
            stop.wait().unwrap();
            assert!(!other.is_cancelled());
            other.cancel_because("the end");
            let cause = sleeper.join().unwrap().unwrap_err().cause().to_string();
            assert_eq!(cause, "the end");
        });
        println!("over");
        return;
    }
    let mut child = Process::start("signals_interrupt_no_other_wait");
    child.wait_for("over");
    child.end_well();
}

#[test]
fn nothing_else_changes_a_disposition_or_a_mask() {
    if is_child() {
        let _watch = watch();
        let masks = || ["SigIgn:", "SigCgt:", "SigBlk:"].map(mask);
        let before = masks();
        let group = TaskGroup::builder().timeout(LONG).scope(|g| {
            let token = g.token();
            token.on_cancel(|| ()).forget();
            let tasks = g.map([1, 2, 3], |n| Ok(masks() == before && n > 0));
            Ok(tasks.collect::<Result<Vec<_>, _>>()?)
        });
        assert_eq!(group.unwrap(), [true; 3]);
        assert_eq!(masks(), before);
        println!("over");
        return;
    }
    let mut child = Process::start("nothing_else_changes_a_disposition_or_a_mask");
    child.wait_for("over");
    child.end_well();
}
