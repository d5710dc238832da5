//! The dump when the system has nothing left to give, or hides what it knows.

use nix::libc;
use taskgroup::deadlock::{self, DeadlockPolicy};

use super::*;

/// All memory that the system gives. It is given back when this is dropped.
struct NoMemory {
    taken: Vec<Vec<u8>>,
    before: Rlimit,
}

impl NoMemory {
    fn take() -> Self {
        let mut taken = Vec::with_capacity(1 << 16);
        let before = getrlimit(Resource::As);
        let none = Rlimit {
            current: Some(1),
            maximum: before.maximum,
        };
        setrlimit(Resource::As, none).expect("it may be lowered");

        // What the allocator has kept of earlier days goes too, down to its smallest pieces.
        for size in [1 << 20, 1 << 16, 1 << 12, 1 << 10, 256, 64, 16] {
            while taken.len() < taken.capacity() {
                let mut piece = Vec::new();
                if piece.try_reserve_exact(size).is_err() {
                    break;
                }
                taken.push(piece);
            }
        }
        let mut piece = Vec::<u8>::new();
        assert!(piece.try_reserve_exact(16).is_err(), "there is some left");
        NoMemory { taken, before }
    }
}

impl Drop for NoMemory {
    fn drop(&mut self) {
        setrlimit(Resource::As, self.before).expect("it may be raised to what it was");
        self.taken.clear();
    }
}

/// Waits until all other threads sleep, and the one that looks at the workers has nothing to do. A
/// thread that begins takes memory, and so does a look. The process ends where there is none.
fn until_the_others_sleep() {
    let this = nix::unistd::gettid().to_string();
    let asleep = || {
        let threads = std::fs::read_dir("/proc/self/task").expect("there is a /proc");
        let mut threads = threads.map(|thread| thread.expect("the process runs").path());
        threads.all(|thread| {
            let read = |file| std::fs::read_to_string(thread.join(file)).unwrap_or_default();
            let (name, call) = (read("comm"), read("syscall"));
            let fields: Vec<_> = call.split(' ').collect();
            let number = fields[0].parse().unwrap_or(-1);
            if number == libc::SYS_futex && name.starts_with("taskgroup-monit") {
                // The fourth argument is the time limit.
                return fields.get(4) == Some(&"0x0");
            }
            let sleeps = [libc::SYS_futex, libc::SYS_read, libc::SYS_recvfrom];
            thread.ends_with(&this) || sleeps.contains(&number)
        })
    };
    support::until(asleep);
}

#[test]
fn a_dump_comes_when_no_memory_or_descriptor_is_left() {
    const TEST: &str = "a_dump_comes_when_no_memory_or_descriptor_is_left";
    if is_child() {
        // A search for deadlocks takes memory too.
        deadlock::set_policy(DeadlockPolicy::Ignore);
        return serve_with_stuck_tasks(|| {
            // Its buffer is made at the first use.
            drop(io::stdin());
            until_the_others_sleep();
            let descriptors = no_descriptors();
            (NoMemory::take(), descriptors)
        });
    }
    // Otherwise each thread has memory that the system has set aside for it.
    let mut command = Command::new(this_test());
    command.env("MALLOC_ARENA_MAX", "1");
    let mut child = Process::start_by(&mut command, TEST);
    for _ in 0..2 {
        assert_complete(&dump_while_reading(&mut child));
    }
    child.end_well();
}

/// In a mount namespace of its own, where the system allows one.
#[test]
fn a_dump_without_proc_shows_what_the_crate_knows() {
    const TEST: &str = "a_dump_without_proc_shows_what_the_crate_knows";
    if is_child() {
        assert!(File::open("/proc/self/stat").is_err());
        return serve_with_stuck_tasks(|| ());
    }

    let Some(mut isolated) = support::without_proc() else {
        return eprintln!("SKIPPED {TEST}: this system allows no mount namespace");
    };
    let mut child = Process::start_by(isolated.arg(this_test()), TEST);
    let dump = child.dump();
    assert_complete(&dump);
    assert!(!dump.contains("not of this crate"), "{dump}");
    child.end_well();
}

/// A program that is between a call and its error must find the error of that call.
#[test]
fn a_signal_leaves_the_error_of_the_last_call() {
    const TEST: &str = "a_signal_leaves_the_error_of_the_last_call";
    const MARK: i32 = 77;
    support::alone(TEST, || {
        let _watch = watch();
        dump_on_signal(SIGQUIT).expect("there is a thread left");
        // A dump that cannot go on takes no more signals, so that at last the handler fails.
        let (_unread, full) = support::unread_stderr();
        let before = rustix::io::dup(rustix::stdio::stderr()).expect("there are descriptors");
        rustix::stdio::dup2_stderr(&full).expect("it can be replaced");
        let is_left = (0..2_000).all(|_| {
            nix::errno::Errno::set_raw(MARK);
            raise(SIGQUIT).is_ok() && nix::errno::Errno::last_raw() == MARK
        });
        rustix::stdio::dup2_stderr(&before).expect("it can be replaced");
        assert!(is_left);
    });
}
