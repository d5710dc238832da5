//! Standard input of each kind. Each test that reads runs in a process of its own, with a standard
//! input that is given to it.
#![cfg(target_os = "linux")]

#[path = "support/blocked.rs"]
mod blocked;
#[path = "support/descriptors.rs"]
mod descriptors;
#[path = "support/program.rs"]
mod program;
mod support;

use std::fs::{self, File};
use std::io::{BufRead, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Stdio;
use std::thread;

use descriptors::{assert_cancelled, cancelled_inside, filling, in_a_cancelled_scope, terminal};
use program::{Program, argument, say};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use support::{is_child, until, watch};
use taskgroup::io::{self, PipeWriter, stdin};
use taskgroup::{CancelToken, Cancelled};

fn pipe_with(text: &[u8]) -> (io::PipeReader, PipeWriter) {
    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(text).unwrap();
    (reader, writer)
}

const TEXT: &str = "first\nsecond\n";

/// More than the buffer holds.
const LARGE: usize = 20_000;

#[test]
fn input_of_every_kind_is_read_to_its_end() {
    const TEST: &str = "input_of_every_kind_is_read_to_its_end";
    let _watch = watch();
    if is_child() {
        let mut text = String::new();
        stdin().read_to_string(&mut text).unwrap();
        assert_eq!(text, argument());
        assert_eq!(stdin().read(&mut [0; 4]).unwrap_or(0), 0);
        return;
    }

    let (reader, writer) = pipe_with(TEXT.as_bytes());
    drop(writer);
    Program::start(TEST, reader, TEXT).succeeds();

    let (near, mut far) = std::os::unix::net::UnixStream::pair().unwrap();
    far.write_all(TEXT.as_bytes()).unwrap();
    drop(far);
    Program::start(TEST, OwnedFd::from(near), TEXT).succeeds();

    Program::start(TEST, File::open("/dev/null").unwrap(), "").succeeds();
    let file = std::fs::read_to_string("Cargo.toml").unwrap();
    Program::start(TEST, File::open("Cargo.toml").unwrap(), &file).succeeds();

    // With the character that ends the input of a terminal.
    let (program, user) = terminal();
    let program = Program::start(TEST, program, TEXT);
    rustix::io::write(&user, format!("{TEXT}\u{4}\u{4}").as_bytes()).unwrap();
    program.succeeds();
}

#[test]
fn a_cancelled_read_leaves_the_descriptor_as_it_was() {
    const TEST: &str = "a_cancelled_read_leaves_the_descriptor_as_it_was";
    let _watch = watch();
    if is_child() {
        let before = fcntl_getfl(stdin()).unwrap();
        for _ in 0..20 {
            assert_cancelled(cancelled_inside(|| stdin().read(&mut [0; 4])));
        }
        assert_eq!(fcntl_getfl(stdin()).unwrap(), before);
        say("cancelled");
        let read = stdin().read(&mut [0; 4]);
        unreachable!("the program is killed, and does not read {read:?}");
    }

    let (reader, _writer) = io::pipe().unwrap();
    let (near, _far) = std::os::unix::net::UnixStream::pair().unwrap();
    let (program, _user) = terminal();
    for fd in [OwnedFd::from(reader), near.into(), program] {
        let before = fcntl_getfl(&fd).unwrap();
        assert!(!before.contains(OFlags::NONBLOCK));
        let mut program = Program::start(TEST, fd.try_clone().unwrap(), "");
        program.says("cancelled");
        assert_eq!(fcntl_getfl(&fd).unwrap(), before);
        program.child.kill().unwrap();
        program.child.wait().unwrap();
        assert_eq!(fcntl_getfl(&fd).unwrap(), before);
    }
}

#[test]
fn a_closed_input_is_empty_and_no_waker_takes_its_number() {
    const TEST: &str = "a_closed_input_is_empty_and_no_waker_takes_its_number";
    let _watch = watch();
    if !is_child() {
        return Program::start(TEST, Stdio::null(), "").succeeds();
    }

    nix::unistd::close(0).unwrap();
    assert_eq!(stdin().read(&mut [0; 4]).unwrap(), 0);
    assert_eq!(stdin().read_line(&mut String::new()).unwrap(), 0);
    assert!(stdin().lines().next().is_none());
    assert_cancelled(in_a_cancelled_scope(|| stdin().read(&mut [0; 4])));
    // Also without the buffer.
    assert_eq!(stdin().read(&mut vec![0; LARGE]).unwrap(), 0);
    let mut input = stdin().lock();
    assert_cancelled(in_a_cancelled_scope(|| input.read(&mut vec![0; LARGE])));
    drop(input);

    let (low_reader, low_writer) = io::pipe().unwrap();
    let high = |end: std::os::fd::BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(end, 10).unwrap();
    let mut reader = io::PipeReader::from(high(low_reader.as_fd()));
    let _writer = high(low_writer.as_fd());
    drop((low_reader, low_writer));
    // The number 0 is free now, and a thread that waits gets a waker.
    assert_cancelled(cancelled_inside(|| reader.read(&mut [0; 4])));
    let zero = rustix::fs::fstat(rustix::stdio::stdin());
    assert_eq!(zero.unwrap_err(), rustix::io::Errno::BADF);
}

/// Another process takes the lines of the terminal as soon as they are announced. A read that had
/// been told of a line must not wait for the next one where no cancel reaches it.
#[test]
fn a_line_that_another_process_takes_does_not_hold_the_read() {
    const TEST: &str = "a_line_that_another_process_takes_does_not_hold_the_read";
    const LINES: usize = 300;
    let _watch = watch();
    if is_child() {
        let (mut taken, mut bytes) = (0, [0; 64]);
        say("begun");
        loop {
            let limit = std::time::Duration::from_millis(100);
            match taskgroup::timeout(limit, || stdin().read(&mut bytes)).unwrap() {
                Some(length) if bytes[..length].ends_with(b"end\n") => break,
                Some(_) => taken += 1,
                None => say("waits"),
            }
        }
        return say(&format!("took {taken}"));
    }

    let (program, user) = terminal();
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let path = rustix::pty::ptsname(&user, Vec::new()).unwrap();
    let other = rustix::fs::open(path, flags, rustix::fs::Mode::empty()).unwrap();
    let mut program = Program::start(TEST, program, "");
    program.says("begun");
    let mut taken = 0;
    for _ in 0..LINES {
        rustix::io::write(&user, b"line\n").unwrap();
        taken += usize::from(rustix::io::read(&other, &mut [0; 64][..]).is_ok());
        until(|| filling(&other) == 0);
    }
    // It waits within the reach of its time limit.
    program.says("waits");
    rustix::io::write(&user, b"end\n").unwrap();
    program.says(&format!("took {}", LINES - taken));
    program.succeeds();
}

#[test]
fn a_line_that_a_cancel_cuts_goes_on_with_the_next_read() {
    const TEST: &str = "a_line_that_a_cancel_cuts_goes_on_with_the_next_read";
    let _watch = watch();
    if is_child() {
        let token = CancelToken::new();
        let mut line = String::from("> ");
        thread::scope(|threads| {
            let read = threads.spawn(|| token.run(|| stdin().read_line(&mut line)));
            until(|| filling(stdin()) == 0);
            token.cancel();
            assert_cancelled(read.join().unwrap());
        });
        // The second byte of the last character has not come yet.
        assert!(line == "> half a caf" || line == "> ", "{line}");
        say("cut");
        stdin().read_line(&mut line).unwrap();
        assert_eq!(line, "> half a café\n");
        assert_eq!(stdin().read_line(&mut line).unwrap(), 5);
        assert!(line.ends_with("\nlast\n"));
        return;
    }

    let (reader, mut writer) = pipe_with(b"half a caf\xc3");
    let mut program = Program::start(TEST, reader, "");
    program.says("cut");
    writer.write_all(b"\xa9\nlast\n").unwrap();
    program.succeeds();
}

#[test]
fn lines_yield_one_error_after_a_cancel_and_then_go_on() {
    const TEST: &str = "lines_yield_one_error_after_a_cancel_and_then_go_on";
    let _watch = watch();
    if !is_child() {
        let (reader, writer) = pipe_with(b"one\r\nt\xffwo\nthree\nfo");
        let mut program = Program::start(TEST, reader, "");
        program.says("cut");
        let mut writer = writer;
        writer.write_all(b"ur").unwrap();
        drop(writer);
        return program.succeeds();
    }

    let mut lines = stdin().lines();
    assert_eq!(lines.next().unwrap().unwrap(), "one");
    in_a_cancelled_scope(|| {
        // A loop that does not stop at errors stops all the same.
        assert_eq!(lines.by_ref().filter(|line| line.is_err()).count(), 1);
        assert_cancelled(lines.next().unwrap());
        assert!(lines.next().is_none());
    });
    assert_eq!(
        lines.next().unwrap().unwrap_err().kind(),
        ErrorKind::InvalidData
    );
    assert_eq!(lines.next().unwrap().unwrap(), "three");
    // On this thread, since it has the lock.
    let token = CancelToken::new();
    token.cancel_after(std::time::Duration::from_millis(20));
    assert_cancelled(token.run(|| lines.next().unwrap()));
    say("cut");
    assert_eq!(lines.next().unwrap().unwrap(), "four");
    assert!(lines.next().is_none());
}

#[test]
fn a_cancelled_scope_takes_nothing_out_of_the_buffer() {
    const TEST: &str = "a_cancelled_scope_takes_nothing_out_of_the_buffer";
    let _watch = watch();
    if !is_child() {
        let (reader, _writer) = pipe_with(b"a\nb\nc\n\xff\nd\n");
        return Program::start(TEST, reader, "").succeeds();
    }

    let mut line = String::new();
    assert_eq!(stdin().read_line(&mut line).unwrap(), 2);
    in_a_cancelled_scope(|| {
        let mut input = stdin().lock();
        assert_cancelled(input.fill_buf());
        assert_cancelled(input.read(&mut [0; 4]));
        assert_cancelled(input.read_line(&mut line));
        assert_cancelled(input.read_to_string(&mut line));
        assert_cancelled(input.read_exact(&mut [0; 2]));
        assert_cancelled((&stdin()).read_to_end(&mut Vec::new()));
        input.consume(3); // nothing was returned to be consumed
        // In a shield the handle locks after all.
        taskgroup::shield(|| assert_eq!(input.read_line(&mut line).unwrap(), 2));
        assert_cancelled(input.read_line(&mut line));
    });
    assert_eq!(line, "a\nb\n");
    let mut input = stdin().lock();
    assert_eq!(input.fill_buf().unwrap(), b"c\n\xff\nd\n");
    assert_eq!(input.read_line(&mut line).unwrap(), 2);
    assert_eq!(
        input.read_line(&mut line).unwrap_err().kind(),
        ErrorKind::InvalidData
    );
    assert_eq!(input.read_line(&mut line).unwrap(), 2);
    assert_eq!(line, "a\nb\nc\nd\n");
}

#[test]
fn the_buffer_is_taken_first_and_no_further_than_it_is_filled() {
    const TEST: &str = "the_buffer_is_taken_first_and_no_further_than_it_is_filled";
    let _watch = watch();
    if is_child() {
        let mut input = stdin().lock();
        let mut line = String::new();
        assert_eq!(input.read_line(&mut line).unwrap(), 2);
        // A large read does not pass the bytes that are in the buffer.
        assert_eq!(input.read(&mut vec![0; LARGE]).unwrap(), 4);

        say("empty");
        assert_eq!(input.fill_buf().unwrap(), b"more");
        input.consume(LARGE);
        say("consumed");
        assert_eq!(input.fill_buf().unwrap(), b"last");
        return;
    }

    let (reader, mut writer) = pipe_with(b"a\nrest");
    let mut program = Program::start(TEST, reader, "");
    program.says("empty");
    writer.write_all(b"more").unwrap();
    program.says("consumed");
    writer.write_all(b"last").unwrap();
    program.succeeds();
}

#[test]
fn a_long_line_that_is_no_text_is_skipped() {
    const TEST: &str = "a_long_line_that_is_no_text_is_skipped";
    let _watch = watch();
    if is_child() {
        let mut line = String::new();
        let error = stdin().read_line(&mut line).unwrap_err();
        assert_eq!((error.kind(), line.as_str()), (ErrorKind::InvalidData, ""));
        assert_eq!(stdin().read_line(&mut line).unwrap(), 5);
        return assert_eq!(line, "next\n");
    }

    let mut text = vec![b'x'; LARGE];
    text.extend(b"\xff\nnext\n");
    let (reader, _writer) = pipe_with(&text);
    Program::start(TEST, reader, "").succeeds();
}

#[test]
fn an_input_that_cannot_be_read_is_empty() {
    const TEST: &str = "an_input_that_cannot_be_read_is_empty";
    let _watch = watch();
    if is_child() {
        assert_eq!(stdin().read(&mut [0; 4]).unwrap(), 0);
        return assert!(stdin().lines().next().is_none());
    }

    let null = File::options().write(true).open("/dev/null").unwrap();
    Program::start(TEST, null, "").succeeds();
}

#[test]
fn a_terminal_is_read_by_a_description_of_its_own() {
    const TEST: &str = "a_terminal_is_read_by_a_description_of_its_own";
    let _watch = watch();
    if !is_child() {
        let (program, user) = terminal();
        let program = Program::start(TEST, program, "");
        rustix::io::write(&user, b"line\n").unwrap();
        return program.succeeds();
    }

    // The number of the standard error is free, and a terminal that is opened would become the one
    // of this session.
    nix::unistd::close(2).unwrap();
    rustix::process::setsid().unwrap();
    let mut line = String::new();
    stdin().read_line(&mut line).unwrap();
    assert_eq!(line, "line\n");

    let is_open = |number| fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_ok();
    assert!(!is_open(2), "a stream of the program has its number");
    assert!(File::open("/dev/tty").is_err(), "it became the terminal");
    assert!(!fcntl_getfl(stdin()).unwrap().contains(OFlags::NONBLOCK));

    let terminal = fs::read_link("/proc/self/fd/0").unwrap();
    let is_same = |number: &i32| {
        let path = fs::read_link(format!("/proc/self/fd/{number}"));
        path.is_ok_and(|path| path == terminal)
    };
    let own: Vec<i32> = (3..1000).filter(is_same).collect();
    let &[own] = own.as_slice() else {
        panic!("it is read by {own:?}")
    };
    let settings = fs::read_to_string(format!("/proc/self/fdinfo/{own}")).unwrap();
    let flags = settings
        .lines()
        .find_map(|line| line.strip_prefix("flags:"));
    let flags = u32::from_str_radix(flags.unwrap().trim(), 8).unwrap();
    let flags = OFlags::from_bits_retain(flags);
    assert!(
        flags.contains(OFlags::NONBLOCK | OFlags::CLOEXEC),
        "{flags:?}"
    );
}

#[test]
fn a_thread_that_waits_for_the_lock_wakes_alone() {
    const TEST: &str = "a_thread_that_waits_for_the_lock_wakes_alone";
    let _watch = watch();
    if !is_child() {
        let (reader, mut writer) = io::pipe().unwrap();
        let mut program = Program::start(TEST, reader, "");
        program.says("cancelled");
        writer.write_all(b"for the reader\n").unwrap();
        return program.succeeds();
    }

    thread::scope(|threads| {
        let mut input = stdin().lock();
        let waiter = threads.spawn(|| cancelled_inside(|| stdin().read_line(&mut String::new())));
        assert_cancelled(waiter.join().unwrap());
        say("cancelled");
        let mut line = String::new();
        input.read_line(&mut line).unwrap();
        assert_eq!(line, "for the reader\n");
    });
}

#[test]
fn in_a_cancelled_scope_the_end_of_the_input_is_the_cancel() {
    const TEST: &str = "in_a_cancelled_scope_the_end_of_the_input_is_the_cancel";
    let _watch = watch();
    if !is_child() {
        let (reader, mut writer) = pipe_with(b"text");
        let mut program = Program::start(TEST, reader, "");
        program.says("cancelled");
        writer.flush().unwrap();
        drop(writer);
        return program.succeeds();
    }

    let token = CancelToken::new();
    let mut text = String::new();
    thread::scope(|threads| {
        let read = threads.spawn(|| token.run(|| stdin().read_to_string(&mut text)));
        until(|| filling(stdin()) == 0);
        token.cancel();
        say("cancelled");
        assert_cancelled(read.join().unwrap());
    });
    // Outside, the rest is there, and the end.
    stdin().read_to_string(&mut text).unwrap();
    assert_eq!(text, "text");
}

#[test]
fn an_input_that_is_replaced_is_read_as_what_it_is_now() {
    const TEST: &str = "an_input_that_is_replaced_is_read_as_what_it_is_now";
    let _watch = watch();
    if !is_child() {
        return Program::start(TEST, File::open("Cargo.toml").unwrap(), "").succeeds();
    }

    let mut text = String::new();
    stdin().read_to_string(&mut text).unwrap();
    assert!(text.contains("[package]"));

    // A file is read without a wait, a pipe is not.
    let (reader, mut writer) = io::pipe().unwrap();
    rustix::stdio::dup2_stdin(reader.as_fd()).unwrap();
    assert_cancelled(cancelled_inside(|| stdin().read(&mut [0; 4])));
    writer.write_all(b"x\n").unwrap();
    assert_eq!(stdin().read_line(&mut text).unwrap(), 2);

    let (program, user) = terminal();
    rustix::stdio::dup2_stdin(program.as_fd()).unwrap();
    assert!(stdin().is_terminal());
    assert_cancelled(cancelled_inside(|| stdin().read(&mut [0; 4])));
    rustix::io::write(&user, b"line\n").unwrap();
    assert_eq!(stdin().read_line(&mut text).unwrap(), 5);

    // The other side of a terminal cannot be opened anew.
    rustix::stdio::dup2_stdin(user.as_fd()).unwrap();
    assert_cancelled(cancelled_inside(|| stdin().read(&mut [0; 4])));
    rustix::io::write(&program, b"shown").unwrap();
    assert_eq!(stdin().read(&mut [0; 8]).unwrap(), 5);
}

#[test]
fn an_input_that_is_nonblocking_waits() {
    const TEST: &str = "an_input_that_is_nonblocking_waits";
    let _watch = watch();
    if is_child() {
        say("begun");
        let mut line = String::new();
        stdin().read_line(&mut line).unwrap();
        return assert_eq!(line, "late\n");
    }

    let (reader, mut pipe_end) = io::pipe().unwrap();
    let (near, mut socket_end) = std::os::unix::net::UnixStream::pair().unwrap();
    let (terminal_end, user) = terminal();
    let late = |fd: OwnedFd, write: &mut dyn FnMut()| {
        fcntl_setfl(&fd, fcntl_getfl(&fd).unwrap() | OFlags::NONBLOCK).unwrap();
        let mut program = Program::start(TEST, fd, "");
        program.says("begun");
        write();
        program.succeeds();
    };
    late(reader.into(), &mut || {
        pipe_end.write_all(b"late\n").unwrap()
    });
    late(near.into(), &mut || {
        socket_end.write_all(b"late\n").unwrap()
    });
    late(terminal_end, &mut || {
        assert!(rustix::io::write(&user, b"late\n").is_ok())
    });
}

#[test]
fn a_cancel_of_the_input_says_that_it_is_one() {
    let error = in_a_cancelled_scope(|| stdin().read(&mut [0; 4])).unwrap_err();
    assert!(Cancelled::find(&error).is_some());
    assert!(format!("{:?}", stdin()).contains("fd: 0"));
}
