//! The dump beside other signals: those that are blocked, those that a write may send, and those of
//! other dumps.

use std::os::unix::process::CommandExt;

use nix::libc;
use nix::sys::signal::{SigHandler, SigSet, Signal as Number, signal};
use signal_hook::consts::SIGUSR2;

use super::folder::Folder;
use super::stderr::{beside_many_tasks, until_the_dump_is_stuck};
use super::*;

/// Programs that wait for their signals in one thread block them in all others.
#[test]
fn a_dump_comes_where_every_thread_of_the_program_blocks_the_signal() {
    const TEST: &str = "a_dump_comes_where_every_thread_of_the_program_blocks_the_signal";
    if is_child() {
        let mask = SigSet::thread_get_mask().expect("it can be read");
        assert!(mask.contains(Number::SIGQUIT));
        return serve_with_stuck_tasks(|| ());
    }

    let mut command = Command::new(this_test());
    let block = || Ok(SigSet::all().thread_set_mask()?);
    // SAFETY: one call of the system, which is allowed between `fork` and `exec`.
    unsafe { command.pre_exec(block) };
    let mut child = Process::start_by(&mut command, TEST);
    assert_complete(&dump_while_reading(&mut child));
    child.end_well();
}

/// Waits until the thread of the dump waits for the next signal.
fn until_the_dump_is_idle() {
    let is_idle = || {
        let threads = std::fs::read_dir("/proc/self/task").expect("there is a /proc");
        let mut threads = threads.map(|thread| thread.expect("the process runs").path());
        threads.any(|thread| {
            let read = |file| std::fs::read_to_string(thread.join(file)).unwrap_or_default();
            let receives = format!("{} ", libc::SYS_recvfrom);
            // A name is cut after 15 characters.
            read("comm").starts_with("taskgroup-dump") && read("syscall").starts_with(&receives)
        })
    };
    support::until(is_idle);
}

/// Many programs for a terminal have SIGPIPE end them.
#[test]
fn a_reader_that_goes_during_a_dump_ends_no_program_that_sigpipe_would_end() {
    const TEST: &str = "a_reader_that_goes_during_a_dump_ends_no_program_that_sigpipe_would_end";
    support::alone(TEST, || {
        let _watch = watch();
        // SAFETY: no handler is set.
        unsafe { signal(Number::SIGPIPE, SigHandler::SigDfl) }.expect("it can be set");
        dump_on_signal(SIGQUIT).expect("there is a thread left");
        beside_many_tasks(|| {
            let (reads, _writes) = small_stderr();
            raise(SIGQUIT).expect("it can be sent");
            until_the_dump_is_stuck();
            drop(reads);
            until_the_dump_is_idle();

            // The next dump is whole.
            let (mut reads, _writes) = small_stderr();
            raise(SIGQUIT).expect("it can be sent");
            read_dump(&mut reads);
        });
    });
}

#[test]
fn a_file_that_may_not_grow_ends_no_program() {
    const TEST: &str = "a_file_that_may_not_grow_ends_no_program";
    const MOST: u64 = 64;
    support::alone(TEST, || {
        let _watch = watch();
        dump_on_signal(SIGQUIT).expect("there is a thread left");
        let folder = Folder::new();
        let file = File::create(folder.0.join("stderr")).expect("there is room");
        rustix::stdio::dup2_stderr(&file).expect("it can be replaced");
        let few = Rlimit {
            current: Some(MOST),
            maximum: Some(MOST),
        };
        setrlimit(Resource::Fsize, few).expect("it may be lowered");

        raise(SIGQUIT).expect("it can be sent");
        support::until(|| file.metadata().expect("it is open").len() == MOST);
        until_the_dump_is_idle();
        let (mut reads, _writes) = small_stderr();
        raise(SIGQUIT).expect("it can be sent");
        read_dump(&mut reads);
    });
}

#[test]
fn the_dumps_of_two_signals_do_not_mix() {
    const TEST: &str = "the_dumps_of_two_signals_do_not_mix";
    support::alone(TEST, || {
        let _watch = watch();
        dump_on_signal(SIGQUIT).expect("there is a thread left");
        dump_on_signal(SIGUSR2).expect("there is a thread left");
        let before = rustix::io::dup(rustix::stdio::stderr()).expect("there are descriptors");
        let (mut reads, _writes) = small_stderr();
        let mut dumps = [String::new(), String::new()];
        beside_many_tasks(|| {
            raise(SIGQUIT).expect("it can be sent");
            until_the_dump_is_stuck();
            raise(SIGUSR2).expect("it can be sent");
            for dump in &mut dumps {
                while !dump.contains("end of the dump") {
                    assert_ne!(reads.read_line(dump).expect("it is text"), 0);
                }
            }
        });

        // What fails is said where it can be read.
        rustix::stdio::dup2_stderr(&before).expect("it can be replaced");
        for dump in dumps {
            assert_eq!(dump.matches("are doing").count(), 1, "{dump}");
        }
    });
}
