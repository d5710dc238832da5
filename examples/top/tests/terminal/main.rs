//! The program in a pseudo-terminal: what a person sees, and how the terminal is left.
#![cfg(target_os = "linux")]

mod panics;
mod pty;
#[path = "../support/mod.rs"]
mod support;

use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use taskgroup::sync::Event;
use taskgroup::{CancelToken, TaskGroup};
use taskgroup_top::Client;
use taskgroup_top::server::Offered;

use pty::{Terminal, view};
use support::{PATIENCE, alone, served, socket};

/// Runs a test beside a group that may be cancelled, with a task that waits for that.
fn beside_a_group(offered: &Offered, test: impl FnOnce(&mpsc::Receiver<()>)) {
    let token = CancelToken::new();
    thread::scope(|threads| {
        let (say, ended) = mpsc::channel();
        // A test that fails ends it.
        let _guard = token.clone().drop_guard();
        let token = &token;
        threads.spawn(move || {
            let group = TaskGroup::builder()
                .name("imports")
                .parent(token)
                .scope(|g| {
                    offered.offer(g);
                    g.task()
                        .name("reader\u{1b}[2J")
                        .spawn(|| Ok(Event::new().wait()?));
                    Ok(())
                });
            // The test has ended already if it does not wait for it.
            let _ = say.send(());
            group
        });
        test(&ended);
    });
}

#[test]
fn a_person_looks_cancels_a_group_and_quits() {
    let _alone = alone();
    served(|path, offered| {
        let mut terminal = Terminal::start(view(&[path.to_str().unwrap()]));
        beside_a_group(offered, |ended| {
            terminal.shows("`imports`");
            terminal.shows("task ");
            terminal.shows("`reader\\u{1b}[2J`");
            terminal.shows("Event::wait terminal/main.rs:");
            assert!(terminal.screen.screen().alternate_screen());
            assert!(terminal.screen.screen().hide_cursor());

            terminal.selects("task", "`reader");
            terminal.types("\r");
            terminal.shows("spawned at examples/top/tests/terminal/main.rs:");
            terminal.types("\r");
            terminal.until(|screen| !screen.contents().contains("spawned at"));

            terminal.types("c");
            terminal.shows("`imports` with 1 task? y/n");
            assert!(ended.try_recv().is_err());
            terminal.types("y");
            ended.recv_timeout(PATIENCE).expect("the group ends");
        });
        // In its rows, and not in the footer, which has the answer.
        terminal.shows("`imports`: cancelled");
        let has_gone = |screen: &vt100::Screen| {
            !screen
                .rows(0, 100)
                .take(29)
                .any(|row| row.contains("`imports`"))
        };
        terminal.until(has_gone);

        // The group that serves is not offered.
        terminal.selects("group", "`served`");
        terminal.types("c");
        terminal.shows("is not offered");
        terminal.types("?");
        terminal.shows("cancel the group of the row");
        terminal.quits_help();
        terminal.quits();
    });
}

#[test]
fn ctrl_c_quits_and_no_colour_is_used_if_none_is_wanted() {
    let _alone = alone();
    served(|path, _| {
        for no_color in ["", "1"] {
            let mut command = view(&[path.to_str().unwrap()]);
            // `start` removes it from the command itself.
            command = in_env(command, no_color);
            let mut terminal = Terminal::start(command);
            terminal.shows("`served`");
            let screen = terminal.screen.screen();
            let cells = (0..30).flat_map(|row| (0..100).map(move |column| (row, column)));
            let has_colour = cells
                .filter_map(|(row, column)| screen.cell(row, column))
                .any(|cell| cell.fgcolor() != vt100::Color::Default);
            assert_eq!(has_colour, no_color.is_empty());
            terminal.types("\x03");
            let (status, text) = terminal.ends();
            assert_eq!((status.code(), text.trim()), (Some(0), ""));
        }
    });
}

fn in_env(command: Command, no_color: &str) -> Command {
    let mut env = Command::new("env");
    env.arg(format!("NO_COLOR={no_color}"));
    env.arg(command.get_program()).args(command.get_args());
    env
}

/// Whether this process, and so each that it starts, ignores a signal.
fn is_ignored(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .unwrap();
    let ignored = u64::from_str_radix(ignored.trim(), 16).unwrap();
    ignored >> (signal.as_raw() - 1) & 1 == 1
}

#[test]
fn a_signal_restores_the_terminal() {
    let _alone = alone();
    served(|path, _| {
        for signal in [Signal::TERM, Signal::HUP] {
            // Under `nohup` it stays ignored.
            if is_ignored(signal) {
                continue;
            }
            let mut terminal = Terminal::start(view(&[path.to_str().unwrap()]));
            terminal.shows("`served`");
            terminal.signal(signal);
            let (status, text) = terminal.ends();
            assert_eq!(status.code(), Some(128 + signal.as_raw()), "{text}");
            assert_eq!(text.trim(), "");
        }
    });
}

#[test]
fn a_terminal_that_goes_away_ends_the_view() {
    let _alone = alone();
    served(|path, _| {
        let mut terminal = Terminal::start(view(&[path.to_str().unwrap()]));
        terminal.shows("`served`");
        // Its other side is closed, and no signal is sent: the program is in no foreground.
        terminal.user = File::open("/dev/null").unwrap();
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = terminal.child.try_wait().unwrap() {
                break status;
            }
            assert!(begun.elapsed() < PATIENCE, "it runs on");
            thread::sleep(Duration::from_millis(1));
        };
        assert_eq!(status.code(), Some(1));
    });
}

#[test]
fn a_process_that_ends_is_told_after_the_terminal_was_restored() {
    let _alone = alone();
    let terminal = served(|path, _| {
        let mut terminal = Terminal::start(view(&[path.to_str().unwrap()]));
        terminal.shows("`served`");
        terminal
    });

    let (status, text) = terminal.ends();
    assert_eq!(status.code(), Some(1));
    assert_eq!(
        text.trim(),
        "taskgroup-top: the process has closed the connection: it serves no more"
    );
}

#[test]
fn a_stopped_viewer_delays_no_other_and_goes_on() {
    let _alone = alone();
    served(|path, offered| {
        let mut terminal = Terminal::start(view(&[path.to_str().unwrap()]));
        terminal.shows("`served`");
        terminal.signal(Signal::STOP);
        let id = WaitId::Pid(Pid::from_child(&terminal.child));
        waitid(id, WaitIdOptions::STOPPED).unwrap();

        let mut other = Client::connect(path).unwrap();
        for _ in 0..50 {
            other.snapshot().unwrap();
        }
        beside_a_group(offered, |ended| {
            terminal.signal(Signal::CONT);
            terminal.selects("group", "`imports`");
            terminal.types("cy");
            ended.recv_timeout(PATIENCE).expect("the group ends");
        });
        terminal.quits();
    });
}

#[test]
fn a_tiny_terminal_grows_and_shrinks() {
    let _alone = alone();
    served(|path, _| {
        let mut terminal = Terminal::start_in(view(&[path.to_str().unwrap()]), 10, 3);
        terminal.shows("q quit");
        terminal.resize(100, 30);
        terminal.shows("`served`");
        terminal.resize(1, 1);
        terminal.until(|screen| screen.contents().trim().chars().count() <= 1);
        terminal.resize(80, 24);
        terminal.shows("GROUPS AND TASKS");
        terminal.shows("`served`");
        terminal.quits();
    });
}

#[test]
fn the_demo_is_seen_in_its_own_process() {
    let _alone = alone();
    let mut terminal = Terminal::start_in(view(&[]), 120, 60);
    for text in [
        "`demo`",
        "`imports`",
        "limit 4",
        "`listen`",
        "`writer`",
        "Mutex::lock",
    ] {
        terminal.shows(text);
    }

    // It starts again after its cancel, with another number.
    terminal.selects("group", "`bridge`");
    terminal.types("cy");
    terminal.shows("`bridge`: cancelled");
    terminal.quits();
}

#[test]
fn the_demo_is_served_until_a_signal() {
    let _alone = alone();
    let (_folder, path) = socket();
    let mut demo = Command::new(env!("CARGO_BIN_EXE_taskgroup-top"));
    let mut demo = demo
        .arg("--serve")
        .arg(&path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = [0; 11];
    demo.stdout.take().unwrap().read_exact(&mut line).unwrap();
    assert_eq!(&line, b"serving at ");

    let mut terminal = Terminal::start(view(&[path.to_str().unwrap()]));
    terminal.shows("`shards`");
    kill_process(Pid::from_child(&demo), Signal::TERM).unwrap();
    let (status, text) = terminal.ends();
    assert_eq!(status.code(), Some(1), "{text}");
    assert_eq!(demo.wait().unwrap().code(), Some(128 + 15));
    assert!(!path.exists());
}

#[test]
fn without_a_terminal_and_with_wrong_arguments_it_says_so() {
    let _alone = alone();
    let run = |arguments: &[&str]| {
        let mut command = view(arguments);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        let line = stderr.lines().next().unwrap_or_default().to_owned();
        (output.status.code().unwrap(), line)
    };

    let error = |code: i32, text: &str| (code, format!("taskgroup-top: {text}"));
    assert_eq!(run(&[]), error(1, "standard input is not a terminal"));
    assert_eq!(run(&["a"]), error(1, "standard input is not a terminal"));
    assert_eq!(run(&["a", "b"]), error(2, "b is too much"));
    assert_eq!(run(&["--colour"]), error(2, "--colour is unknown"));
    assert_eq!(
        run(&["--every", "0"]),
        error(2, "--every 0: no number of seconds")
    );

    assert_eq!(run(&["--serve"]), error(2, "--serve needs a path"));
    assert_eq!(run(&["--help"]), (0, String::new()));
    let (code, line) = run(&["--serve", "/nowhere/at/all"]);
    assert_eq!(code, 1);
    assert!(
        line.contains("cannot make the socket /nowhere/at/all: "),
        "{line}"
    );

    // Nothing is there: said before the screen is touched.
    let terminal = Terminal::start(view(&["/nowhere/at/all"]));
    let (status, text) = terminal.ends();
    assert_eq!(status.code(), Some(1));
    assert_eq!(
        text.trim(),
        "taskgroup-top: no process serves at /nowhere/at/all"
    );
}
