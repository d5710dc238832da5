//! Panics of the program, after which the terminal is as it was.

use std::process::Command;
use std::time::{Duration, Instant};

use taskgroup::TaskGroup;
use taskgroup_top::{App, Screen};

use crate::pty::Terminal;
use crate::support::alone;

/// Runs a test of this file in a terminal. It is to panic.
#[track_caller]
fn panics(test: &str) -> String {
    let _alone = alone();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([
            "--exact",
            &format!("panics::{test}"),
            "--nocapture",
            "--test-threads=1",
        ])
        .env("TASKGROUP_TEST_CHILD", "1");
    let (status, text, has_begun) = Terminal::start(command).ends_with();
    assert_eq!(status.code(), Some(101), "{text}");
    assert!(has_begun, "{text}");
    text
}

fn is_child() -> bool {
    std::env::var_os("TASKGROUP_TEST_CHILD").is_some()
}

fn open() -> (Screen, App) {
    let picture = r#"{"process":{},"cancellable":[],"snapshot":{"version":1,"groups":[],
        "tasks":[],"abandoned":[],"incomplete":0,"notes":[]}}"#;
    let picture = taskgroup_top::Picture::read(picture).unwrap();
    (
        Screen::open().unwrap(),
        App::new(picture, Instant::now(), true),
    )
}

#[test]
fn a_panic_of_the_thread_of_the_terminal_restores_it() {
    if is_child() {
        let (mut screen, mut app) = open();
        screen
            .draw(|frame| app.draw(frame, Instant::now()))
            .unwrap();
        panic!("between two pictures");
    }
    let text = panics("a_panic_of_the_thread_of_the_terminal_restores_it");
    assert!(text.contains("between two pictures"), "{text}");
}

#[test]
fn a_panic_while_it_draws_restores_the_terminal() {
    if is_child() {
        let (mut screen, _) = open();
        let outcome = screen.draw(|_| panic!("inside a picture"));
        unreachable!("{outcome:?}");
    }
    let text = panics("a_panic_while_it_draws_restores_the_terminal");
    assert!(text.contains("inside a picture"), "{text}");
}

#[test]
fn a_panic_of_a_task_restores_the_terminal() {
    if is_child() {
        let (mut screen, mut app) = open();
        let outcome = TaskGroup::scope(|g| {
            g.spawn::<(), _>(|| panic!("beside the picture"));
            loop {
                // Nothing more is drawn once the panic is printed.
                screen.draw(|frame| app.draw(frame, Instant::now()))?;
                taskgroup::sleep(Duration::from_millis(1))?;
            }
            #[allow(unreachable_code, reason = "it says the type")]
            Ok(())
        });
        drop(screen);
        panic!("{}", outcome.unwrap_err());
    }

    let text = panics("a_panic_of_a_task_restores_the_terminal");
    assert_eq!(text.matches("beside the picture").count(), 2, "{text}");
}
