//! A program in a pseudo-terminal, and the screen that it shows.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

use crate::support::PATIENCE;

/// The row of the first task or group.
pub(crate) const BODY: u16 = 3;

/// The sequence that asks a terminal for a screen beside the usual one.
const OWN_SCREEN: &[u8] = b"\x1b[?1049h";

/// A program at a terminal. It is killed if the test fails.
pub(crate) struct Terminal {
    pub(crate) child: Child,
    /// The side of the program, which keeps the terminal and its settings after the program.
    own: OwnedFd,
    pub(crate) user: File,
    pub(crate) screen: vt100::Parser,
    /// All that the program has written.
    written: Vec<u8>,
    before: Termios,
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It has ended already unless the test is failing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn view(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_taskgroup-top"));
    command.args(["--every", "0.02"]).args(arguments);
    command
}

impl Terminal {
    pub(crate) fn start(command: Command) -> Self {
        Terminal::start_in(command, 100, 30)
    }

    pub(crate) fn start_in(mut command: Command, columns: u16, rows: u16) -> Self {
        let user = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&user).unwrap();
        unlockpt(&user).unwrap();
        let path = ptsname(&user, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let own = rustix::fs::open(path, flags, Mode::empty()).unwrap();
        let before = tcgetattr(&own).unwrap();
        tcsetwinsize(&own, size(columns, rows)).unwrap();

        let end = || Stdio::from(own.try_clone().unwrap());
        let child = command
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .env_remove("RUST_BACKTRACE")
            .env_remove("NO_COLOR")
            .spawn()
            .unwrap();
        Terminal {
            child,
            own,
            user: user.into(),
            screen: vt100::Parser::new(rows, columns, 0),
            written: Vec::new(),
            before,
        }
    }

    pub(crate) fn resize(&mut self, columns: u16, rows: u16) {
        tcsetwinsize(&self.own, size(columns, rows)).unwrap();
        self.screen.set_size(rows, columns);
        // The terminal tells its foreground, and the program here is in none.
        self.signal(Signal::WINCH);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn types(&mut self, keys: &str) {
        self.user.write_all(keys.as_bytes()).unwrap();
    }

    /// Takes what the program has written within a moment. Returns whether there was anything.
    pub(crate) fn reads(&mut self) -> bool {
        let mut fds = [PollFd::new(&self.user, PollFlags::IN)];
        let moment = Timespec {
            tv_sec: 0,
            tv_nsec: 10_000_000,
        };

        poll(&mut fds, Some(&moment)).unwrap();
        if !fds[0].revents().contains(PollFlags::IN) {
            return false;
        }
        let mut bytes = [0; 8192];
        let length = self.user.read(&mut bytes).unwrap();
        self.screen.process(&bytes[..length]);
        self.written.extend(&bytes[..length]);
        true
    }

    #[track_caller]
    pub(crate) fn until(&mut self, condition: impl Fn(&vt100::Screen) -> bool) {
        let begun = Instant::now();
        while !condition(self.screen.screen()) {
            self.reads();
            let text = self.screen.screen().contents();
            assert!(begun.elapsed() < PATIENCE, "the screen is\n{text}");
        }
    }

    #[track_caller]
    pub(crate) fn shows(&mut self, text: &str) {
        self.until(|screen| screen.contents().contains(text));
    }

    /// Selects the row that has both of these texts.
    #[track_caller]
    pub(crate) fn selects(&mut self, kind: &str, name: &str) {
        let row = |screen: &vt100::Screen| {
            let mut rows = screen.rows(0, screen.size().1);
            let row = rows.position(|row| row.contains(kind) && row.contains(name));
            row.map(|row| row as u16)
        };

        // Rows above it may come and go, so that each step looks again.
        let begun = Instant::now();
        loop {
            self.reads();
            let screen = self.screen.screen();
            let at = (BODY..screen.size().0).find(|at| is_selected(screen, *at));
            let (at, to) = match (at, row(screen)) {
                (Some(at), Some(to)) if at == to => return,
                (Some(at), Some(to)) => (at, to),
                _ => {
                    assert!(begun.elapsed() < PATIENCE, "there is no {kind} {name}");
                    continue;
                }
            };
            let (key, next) = if at < to {
                ("j", at + 1)
            } else {
                ("k", at - 1)
            };
            self.types(key);
            self.until(|screen| is_selected(screen, next) || row(screen) != Some(to));
        }
    }

    /// Waits for the end of the program, and checks that the terminal is as it was.
    #[track_caller]
    pub(crate) fn ends(self) -> (ExitStatus, String) {
        let (status, text, _) = self.ends_with();
        (status, text)
    }

    /// Like `ends`. Returns also whether the program has had a screen of its own.
    #[track_caller]
    pub(crate) fn ends_with(mut self) -> (ExitStatus, String, bool) {
        let begun = Instant::now();
        let status = loop {
            let is_empty = !self.reads();
            if let (Some(status), true) = (self.child.try_wait().unwrap(), is_empty) {
                break status;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{}",
                self.screen.screen().contents()
            );
        };

        while self.reads() {}

        let screen = self.screen.screen();
        assert!(!screen.alternate_screen(), "it is in the alternate screen");
        assert!(!screen.hide_cursor(), "the cursor is hidden");
        let text = screen.contents();
        let after = tcgetattr(&self.own).unwrap();
        assert_eq!(format!("{after:?}"), format!("{:?}", self.before));
        let has_begun = self
            .written
            .windows(OWN_SCREEN.len())
            .any(|bytes| bytes == OWN_SCREEN);
        (status, text, has_begun)
    }

    #[track_caller]
    pub(crate) fn quits(mut self) {
        self.types("q");
        let (status, text) = self.ends();
        assert_eq!(status.code(), Some(0), "{text}");
        assert_eq!(text.trim(), "");
    }
}

fn size(columns: u16, rows: u16) -> Winsize {
    Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

pub(crate) fn is_selected(screen: &vt100::Screen, row: u16) -> bool {
    screen.cell(row, 0).is_some_and(vt100::Cell::inverse)
}

impl Terminal {
    pub(crate) fn quits_help(&mut self) {
        self.types("x");
        self.until(|screen| !screen.contents().contains("the group of the row"));
    }
}
