//! The panic hook, which records where a panic happened.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::panic::PanicHookInfo;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::{env, panic, ptr, thread};

use crate::cancel::{Name, current};
use crate::panics::{PanicRecord, PayloadIdentity, keep_record};

type PanicHookFn = dyn Fn(&PanicHookInfo<'_>) + Send + Sync;

/// Installs a panic hook that records the location of each panic and, if the environment asks for
/// backtraces, its backtrace. Panics of named tasks are printed with the name of the task.
///
/// The panic hook belongs to the whole process, so the crate never installs one by itself. Call
/// this once, early in `main`. Further calls do nothing. A hook that you have set before is still
/// called for each panic, so what it prints or sends is unchanged. A hook that is set afterwards
/// replaces this one, unless it calls the previous hook in turn.
///
/// If you have set no hook, a panic of a named task is printed like std prints it, with the name of
/// the task instead of the thread: `thread 'reader' panicked at src/main.rs:10:5:`. All other
/// panics are printed by std.
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// use taskgroup::TaskGroup;
///
/// static SEEN: AtomicUsize = AtomicUsize::new(0);
/// std::panic::set_hook(Box::new(|_| {
///     SEEN.fetch_add(1, Ordering::Relaxed);
/// }));
/// taskgroup::install_panic_hook();
/// taskgroup::install_panic_hook();
///
/// let error = TaskGroup::scope(|g| {
///     g.spawn(|| -> anyhow::Result<()> { panic!("index 3 of 2") });
///     Ok(())
/// })
/// .unwrap_err();
/// let panic = error.panics().next().ok_or(anyhow::anyhow!("the task panicked"))?;
/// assert!(panic.location().is_some());
/// assert_eq!(SEEN.load(Ordering::Relaxed), 1);
/// # Ok(())
/// # }
/// ```
///
/// # Panics
///
/// When called on a thread that is panicking, like [`std::panic::set_hook`].
pub fn install_panic_hook() {
    static INSTALL: Once = Once::new();

    // `take_hook` would panic as well. Inside of `call_once` that poisons `INSTALL` for good.
    assert!(
        !thread::panicking(),
        "cannot install a panic hook on a thread that is panicking"
    );

    // A second call would make this hook the previous one of itself.
    INSTALL.call_once(|| {
        let previous = panic::take_hook();

        // No hook is set now, so the one to compare with is std's own.
        let is_of_std = is_same(&*previous, &*panic::take_hook());

        panic::set_hook(Box::new(move |info| {
            // Captures nothing unless the environment asks for backtraces.
            let backtrace = Backtrace::capture();

            // A hook of the user keeps what it prints. Only std's own output is replaced.
            let task = if is_of_std { current::task() } else { None };
            match task.and_then(|task| task.name) {
                Some(name) => print(&name, info, &backtrace),
                None => previous(info),
            }

            keep_record(PanicRecord {
                identity: PayloadIdentity::of(info.payload()),
                location: info.location().map(ToString::to_string),
                backtrace: (backtrace.status() == BacktraceStatus::Captured).then_some(backtrace),
            });
        }));
    });
}

/// Whether two hooks are the same function that captures nothing. May be wrong where it says no.
fn is_same(one: &PanicHookFn, other: &PanicHookFn) -> bool {
    size_of_val(one) == 0 && ptr::eq(one, other)
}

/// Prints a panic like std's hook does, with the name of the task instead of the thread.
///
/// Does not use `eprint!`, which panics where there is no standard error. That would abort the
/// process here.
fn print(name: &str, info: &PanicHookInfo<'_>, captured: &Backtrace) {
    /// Whether the note about backtraces has been printed.
    static TOLD: AtomicBool = AtomicBool::new(false);

    // Put together first and written at once, so that no other thread prints in between.
    let mut text = format!("\nthread '{}' panicked", Name(name));
    if let Some(location) = info.location() {
        let _ = write!(text, " at {location}");
    }

    // std's hook knows the texts of these two types only.
    let payload = info.payload();
    let message = match payload.downcast_ref::<&'static str>() {
        Some(message) => *message,
        None => payload
            .downcast_ref::<String>()
            .map_or("Box<dyn Any>", String::as_str),
    };
    let _ = writeln!(text, ":\n{message}");

    // `Backtrace::capture` asks for another variable first, so it may have captured nothing here.
    match env::var_os("RUST_BACKTRACE").filter(|asked| asked != "0") {
        Some(_) if captured.status() == BacktraceStatus::Captured => {
            let _ = writeln!(text, "stack backtrace:\n{captured}");
        }
        Some(_) => {
            let _ = writeln!(text, "stack backtrace:\n{}", Backtrace::force_capture());
        }

        // std says this once in a process, too.
        None if !TOLD.swap(true, Relaxed) => {
            text +=
                "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n";
        }
        None => {}
    }

    // There is no place left where an error could be reported.
    let _ = io::stderr().write_all(text.as_bytes());
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::any::Any;
    use std::hint::black_box;
    use std::panic::{catch_unwind, panic_any, resume_unwind};
    use std::process::Command;

    use super::super::testing::caught;
    use super::*;
    use crate::panics::forget_panics;

    #[test]
    fn the_hook_records_the_location() {
        install_panic_hook();
        install_panic_hook();
        let line = line!() + 1;
        let panic = caught(|| panic!("here"));
        let location = panic.location().expect("the hook is installed");
        assert!(
            location.starts_with(&format!("{}:{line}:", file!())),
            "{location}"
        );

        // A payload that is not text has a place, too.
        let line = line!() + 1;
        let any = caught(|| panic_any(7u8));
        assert!(
            any.location()
                .is_some_and(|location| location.contains(&format!(":{line}:")))
        );
    }

    #[test]
    fn the_backtrace_is_there_when_the_environment_asks() {
        const TEST: &str =
            "error::panic_hook::tests::the_backtrace_is_there_when_the_environment_asks";
        const CHILD: &str = "TASKGROUP_TEST_BACKTRACE";

        // std reads the variable once in a process, so each value needs a process of its own.
        if let Some(asked) = std::env::var_os(CHILD) {
            install_panic_hook();
            let panic = caught(|| panic!("here"));
            assert_eq!(
                panic
                    .backtrace()
                    .is_some_and(|frames| frames.contains("panic_hook")),
                asked == "1"
            );
            return;
        }

        for asked in ["0", "1"] {
            let mut child =
                Command::new(std::env::current_exe().expect("a test binary knows its path"));
            child
                .args(["--exact", TEST])
                .env(CHILD, asked)
                .env("RUST_BACKTRACE", asked)
                .env_remove("RUST_LIB_BACKTRACE");

            let output = child.output().expect("the test binary starts");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(
                output.status.success() && text.contains("1 passed"),
                "RUST_BACKTRACE={asked}: {text}"
            );
        }
    }

    #[test]
    fn a_resumed_panic_does_not_get_the_record_of_an_older_one() {
        install_panic_hook();
        let resumed = |payload: Box<dyn Any + Send>| caught(|| resume_unwind(payload));

        // The older text is on the heap, since equal literals may have one address, and it lives
        // on, since the allocator may reuse its address.
        let older = || catch_unwind(|| panic!("item {}", black_box(1))).unwrap_err();
        let first = older();
        assert!(first.is::<String>());
        assert_eq!(resumed(Box::new("item 1".to_owned())).location(), None);
        let second = older();
        assert_eq!(resumed(Box::new("item 1")).location(), None);
        let third = older();
        assert_eq!(resumed(Box::new(7u8)).location(), None);
        drop([first, second, third]);

        // A payload that is not text is known by its type alone, so the record has to be dropped.
        let _ = catch_unwind(|| panic_any(7u8));
        forget_panics();
        assert_eq!(resumed(Box::new(8u8)).location(), None);

        let twice = resumed(caught(|| panic!("item {}", 1)).into_inner());
        assert_eq!(twice.location(), None, "its record has been used");
    }

    #[test]
    fn a_panic_that_is_caught_and_raised_again_keeps_its_record() {
        install_panic_hook();
        let line = line!() + 1;
        let by_hand = catch_unwind(|| panic!("item {}", 1)).unwrap_err();
        let by_hand = caught(|| resume_unwind(by_hand));

        assert!(
            by_hand
                .location()
                .is_some_and(|location| location.contains(&format!(":{line}:")))
        );

        // `resume` hands the record back to the thread, for the next catch.
        let by_us = caught(|| by_hand.resume());
        assert!(
            by_us
                .location()
                .is_some_and(|location| location.contains(&format!(":{line}:")))
        );
    }

    #[test]
    fn panics_nested_in_destructors_do_not_take_the_outer_record() {
        struct Nest;
        impl Drop for Nest {
            fn drop(&mut self) {
                forget_panics();
                assert_eq!(caught(|| panic!("inner")).message(), "inner");
                let _ = catch_unwind(|| panic!("unasked"));
            }
        }

        install_panic_hook();
        let line = line!() + 3;
        let outer = caught(|| {
            let _nest = Nest;
            panic!("outer");
        });

        assert!(
            outer
                .location()
                .is_some_and(|location| location.contains(&format!(":{line}:")))
        );
    }
}
