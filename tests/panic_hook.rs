//! The output of a task's panic, with the hook of this crate and with a hook of the user.

mod support;

use std::panic;
use std::process::Command;

use taskgroup::channel::Select;
use taskgroup::{TaskGroup, install_panic_hook};

/// A task of this name panics, and then one without a name.
fn two_panics(name: &'static str) {
    for named in [true, false] {
        let outcome = TaskGroup::scope(|g| {
            let task = || -> anyhow::Result<()> { panic!("out of ink") };
            if named {
                g.task().name(name).dedicated().spawn(task);
            } else {
                g.task().dedicated().spawn(task);
            }
            Ok(())
        });
        let error = outcome.expect_err("the task panicked");
        assert!(error.panics().all(|panic| {
            panic
                .location()
                .is_some_and(|location| location.starts_with(file!()))
        }));
    }
}

/// A child process that runs `test`, where `asked` is the value of `RUST_BACKTRACE`.
fn child_of(test: &str, asked: Option<&str>) -> Command {
    let mut child = support::test_in_child(test);
    child.envs(asked.map(|asked| ("RUST_BACKTRACE", asked)));
    child
}

/// Runs a test in a child. Returns its standard error.
fn printed(test: &str, asked: Option<&str>) -> String {
    let output = child_of(test, asked)
        .output()
        .expect("the test binary starts");
    support::assert_passed(&output);
    String::from_utf8(output.stderr).expect("it prints text")
}

/// Returns the line before each line that says `message`.
fn headings<'a>(printed: &'a str, message: &str) -> Vec<&'a str> {
    let lines: Vec<_> = printed.lines().collect();
    lines
        .windows(2)
        .filter(|pair| pair[1] == message)
        .map(|pair| pair[0])
        .collect()
}

#[test]
fn the_panic_of_a_named_task_is_printed_with_the_name_of_the_task() {
    const TEST: &str = "the_panic_of_a_named_task_is_printed_with_the_name_of_the_task";
    if support::is_child() {
        install_panic_hook();
        return two_panics("a printer\nthread 'forged'");
    }
    for asked in [None, Some("1"), Some("full")] {
        let printed = printed(TEST, asked);
        let headings = headings(&printed, "out of ink");
        assert_eq!(headings.len(), 2, "{printed}");
        let place = format!("panicked at {}:", file!());
        assert!(
            headings[0].starts_with(r"thread 'a printer\nthread 'forged''")
                && headings[0].contains(&place),
            "{printed}"
        );
        assert!(
            headings[1].starts_with("thread 'taskgroup'") && headings[1].contains(&place),
            "{printed}"
        );
        let backtraces = printed
            .lines()
            .filter(|line| *line == "stack backtrace:")
            .count();
        assert_eq!(backtraces, if asked.is_some() { 2 } else { 0 }, "{printed}");
        assert_eq!(
            printed.contains("RUST_BACKTRACE=1"),
            asked.is_none(),
            "{printed}"
        );
    }
}

#[test]
fn the_report_has_the_place_of_a_callback_that_panicked_on_another_thread() {
    const TEST: &str = "the_report_has_the_place_of_a_callback_that_panicked_on_another_thread";
    support::alone(TEST, || {
        install_panic_hook();
        let failed = TaskGroup::scope(|g| {
            let _registered = g.token().on_cancel(|| panic!("out of ink"));
            std::thread::scope(|threads| threads.spawn(|| g.cancel()).join().unwrap());
            Ok(())
        });
        let error = failed.unwrap_err();
        let panic = error.panics().next().expect("the callback panicked");
        let place = panic.location().expect("the hook is installed");
        assert!(place.starts_with(file!()), "{place}");
    });
}

#[test]
fn a_hook_of_ones_own_prints_what_it_likes() {
    const TEST: &str = "a_hook_of_ones_own_prints_what_it_likes";
    if support::is_child() {
        panic::set_hook(Box::new(|_| eprintln!("a task has panicked")));
        install_panic_hook();
        return two_panics("printer");
    }
    let printed = printed(TEST, None);
    assert_eq!(
        printed
            .lines()
            .filter(|line| *line == "a task has panicked")
            .count(),
        2,
        "{printed}"
    );
    assert!(
        !printed.contains("printer") && !printed.contains("out of ink"),
        "{printed}"
    );
}

#[cfg(unix)]
#[test]
fn a_panic_is_contained_where_nothing_can_be_printed() {
    const TEST: &str = "a_panic_is_contained_where_nothing_can_be_printed";
    if support::is_child() {
        install_panic_hook();
        return two_panics("printer");
    }
    let (standard_error, reader) =
        std::os::unix::net::UnixStream::pair().expect("the system has sockets");
    drop(reader);
    let mut child = child_of(TEST, None);
    let output = child
        .stderr(std::os::fd::OwnedFd::from(standard_error))
        .output()
        .expect("the test binary starts");
    support::assert_passed(&output);
}

#[test]
fn a_panic_about_a_case_that_a_select_lacks_names_the_line_of_the_caller() {
    install_panic_hook();
    let calls: [fn(&mut Select<'_, ()>); 3] = [
        |select| select.remove(7),
        |select| select.pause(7),
        |select| select.resume(7),
    ];
    for call in calls {
        let error = TaskGroup::scope(|g| {
            g.spawn(move || {
                call(&mut Select::new());
                Ok(())
            });
            Ok(())
        })
        .expect_err("there is no such case");
        let places: Vec<_> = error.panics().map(|panic| panic.location()).collect();
        assert!(
            matches!(places[..], [Some(place)] if place.starts_with(file!())),
            "{places:?}"
        );
    }
}
