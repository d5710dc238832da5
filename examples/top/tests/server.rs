//! The server, at a real socket.
#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use rustix::thread::{Gid, Uid, set_thread_res_gid, set_thread_res_uid};
use serde_json::{Value, json};
use support::{PATIENCE, alone, served, socket, until};
use taskgroup::sync::Event;
use taskgroup::{CancelCause, TaskGroup};
use taskgroup_top::server::{MOST_VIEWERS, Server, admits};
use taskgroup_top::{Client, Picture};

/// A viewer that is written by hand.
struct Peer(BufReader<UnixStream>);

impl Peer {
    fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Peer(BufReader::new(stream))
    }

    fn send(&mut self, request: &str) {
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    fn ask(&mut self, request: &str) -> Value {
        self.send(request);
        serde_json::from_str(&self.line()).unwrap()
    }

    /// Asks until the answer is as wanted: a picture may lack parts that were busy when it was
    /// taken.
    fn ask_until(&mut self, request: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
        let mut answer = self.ask(request);
        until(|| {
            let is_there = is_wanted(&answer);
            if !is_there {
                answer = self.ask(request);
            }
            is_there
        });
        answer
    }

    /// Whether the server has closed the connection and sent no more.
    fn is_closed(&mut self) -> bool {
        match self.0.read(&mut [0; 64]) {
            Ok(length) => length == 0,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }
}

fn group_named<'a>(picture: &'a Value, name: &str) -> Option<&'a Value> {
    let groups = picture["snapshot"]["groups"].as_array().unwrap();
    groups.iter().find(|group| group["name"] == name)
}

#[test]
fn a_viewer_sees_the_groups_and_cancels_one() {
    let _alone = alone();
    served(|path, offered| {
        let mut peer = Peer::connect(path);
        let ended = TaskGroup::builder().name("imports").scope(|g| {
            offered.offer(g);
            g.task().name("reader").spawn(|| Ok(Event::new().wait()?));

            peer.send("snapshot\n");
            let line = peer.line();
            assert!(line.contains(r#""snapshot":{"version":1,"#), "{line}");
            Picture::read(&line).unwrap();
            let picture = peer.ask_until("snapshot\n", |picture| {
                let tasks = picture["snapshot"]["tasks"].as_array().unwrap();
                let is_there = tasks.iter().any(|task| task["name"] == "reader");
                let groups = ["imports", "served"].map(|name| group_named(picture, name));
                is_there && groups.iter().all(Option::is_some)
            });
            assert_eq!(picture["process"]["id"], std::process::id());
            let id = &group_named(&picture, "imports").unwrap()["id"];
            assert_eq!(picture["cancellable"], json!([id]));

            // A group that is open and not offered.
            let other = &group_named(&picture, "served").unwrap()["id"];
            let refused = json!({ "answer": "not offered" });
            peer.ask_until(&format!("cancel {other}\n"), |answer| *answer == refused);

            let cancel = format!("cancel {id}\n");
            assert_eq!(peer.ask(&cancel), json!({ "answer": "cancelled" }));
            assert_eq!(
                peer.ask(&cancel),
                json!({ "answer": "was cancelled before" })
            );
            let cancelled = g.token().cancelled().unwrap();
            assert!(matches!(cancelled.cause(), CancelCause::Requested { .. }));
            Ok(cancel)
        });

        // The group has ended, and its number is not used again.
        let cancel = ended.unwrap();
        assert_eq!(peer.ask(&cancel), json!({ "answer": "gone" }));
        let picture = peer.ask("snapshot\n");
        assert_eq!(picture["cancellable"], json!([]));
        assert!(group_named(&picture, "imports").is_none());
        assert_eq!(
            peer.ask("cancel 18446744073709551616\n"),
            json!({ "answer": "gone" })
        );
    });
}

#[test]
fn a_group_is_offered_until_its_last_task_has_ended() {
    let _alone = alone();
    served(|path, offered| {
        let mut client = Client::connect(path).unwrap();
        let ended = thread::scope(|threads| {
            let (say, number) = mpsc::channel();
            let group = threads.spawn(move || {
                TaskGroup::scope(|g| {
                    offered.offer(g);
                    g.spawn(|| Ok(Event::new().wait()?));
                    say.send(g.token().id().to_string()).unwrap();
                    Ok(()) // only the task is left
                })
            });
            let number = number.recv().unwrap().parse().unwrap();
            assert_eq!(client.cancel(number).unwrap(), "cancelled");
            group.join().unwrap()
        });
        ended.unwrap(); // a group takes its own cancel for its end
    });
}

#[test]
fn the_socket_is_for_its_user_alone() {
    let _alone = alone();
    assert!(admits(7, 7) && admits(7, 0));
    assert!(!admits(7, 8) && !admits(0, 7));

    served(|path, _| {
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        if !rustix::process::geteuid().is_root() {
            return; // only root can be another user
        }

        fs::set_permissions(path.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(as_another_user(path), Err(ErrorKind::PermissionDenied));
        // If the mode lets it in, its credentials do not.
        fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
        let refused = json!({ "refused": "only user 0 may look at this process" });
        assert_eq!(as_another_user(path), Ok(refused.to_string()));
        assert!(Peer::connect(path).ask("snapshot\n")["process"].is_object());
    });
}

/// Asks from a thread of another user. Returns the last line that it gets.
fn as_another_user(path: &Path) -> Result<String, ErrorKind> {
    thread::scope(|threads| {
        let other = threads.spawn(|| {
            // Of this thread alone, and for good. The system tells a peer by what holds at the
            // connect.
            let (user, group) = (Uid::from_raw(65_534), Gid::from_raw(65_534));
            set_thread_res_gid(group, group, group).unwrap();
            set_thread_res_uid(user, user, user).unwrap();
            let stream = UnixStream::connect(path).map_err(|error| error.kind())?;
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line).unwrap();
            Ok(line.trim_end().to_owned())
        });
        other.join().unwrap()
    })
}

#[test]
fn a_file_in_the_place_of_the_socket_is_an_error_and_stays() {
    let _alone = alone();
    let (_folder, path) = socket();
    let error = |path: &Path| Server::bind(path).unwrap_err().to_string();
    fs::write(&path, "mine").unwrap();
    assert_eq!(
        error(&path),
        format!("{} is there already, and is no socket", path.display())
    );

    let other = Client::connect(&path).unwrap_err().to_string();
    assert_eq!(other, format!("{} is no socket", path.display()));
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    fs::remove_file(&path).unwrap();

    drop(UnixListener::bind(&path).unwrap());
    let left = format!(
        "{} was left by a process that has ended: remove it",
        path.display()
    );

    assert_eq!(error(&path), left);
    let gone = Client::connect(&path).unwrap_err().to_string();
    assert_eq!(
        gone,
        format!("the process that served at {} has ended", path.display())
    );

    fs::remove_file(&path).unwrap();
    let none = Client::connect(&path).unwrap_err().to_string();
    assert_eq!(none, format!("no process serves at {}", path.display()));

    let server = Server::bind(&path).unwrap();
    assert_eq!(
        error(&path),
        format!("{} is in use by another process", path.display())
    );

    assert!(path.exists());
    drop(server);
    assert!(!path.exists());

    // Another process has a socket there by now.
    let server = Server::bind(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let other = UnixListener::bind(&path).unwrap();
    drop(server);
    assert!(path.exists());
    drop(other);
    fs::remove_file(&path).unwrap();
    let nowhere = path.join("below");
    assert!(error(&nowhere).starts_with("cannot make the socket "));
}

#[test]
fn a_viewer_that_does_not_read_is_dropped_and_delays_no_other() {
    let _alone = alone();
    served(|path, offered| {
        let ended = TaskGroup::builder().limit(1).scope(|g| {
            offered.offer(g);
            for _ in 0..300 {
                g.task()
                    .name("x".repeat(10_000))
                    .spawn(|| Ok(Event::new().wait()?));
            }
            // Pictures that are taken at the same time may lack the queue, so that one is small.
            // Together they are more than a socket holds in any case.
            let mut stopped: Vec<_> = (0..8).map(|_| Peer::connect(path)).collect();
            for peer in &mut stopped {
                peer.send(&"snapshot\n".repeat(1_000));
            }
            let mut reading = Client::connect(path).unwrap();
            for _ in 0..3 {
                reading.snapshot().unwrap();
            }

            // Each gets the bytes that were sent before its time was up, and then the end.
            for peer in &mut stopped {
                let mut sent = Vec::new();
                until(|| is_done_with(peer));
                // The server has left requests unread, so the end may be a reset.
                if let Err(error) = peer.0.read_to_end(&mut sent) {
                    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                }
                assert!(sent.starts_with(b"{\"process\":"));
            }
            reading.snapshot().unwrap();
            g.cancel();
            Ok(())
        });
        ended.unwrap();
    });
}

#[test]
fn the_viewers_beyond_the_most_wait_until_others_leave() {
    let _alone = alone();
    served(|path, _| {
        let connect = |_| {
            let mut peer = Peer::connect(path);
            peer.send("snapshot\n");
            peer
        };
        let mut first: Vec<_> = (0..MOST_VIEWERS).map(connect).collect();
        let later: Vec<_> = (0..MOST_VIEWERS + 8).map(connect).collect();
        for peer in &mut first {
            assert!(peer.line().starts_with("{\"process\":"));
        }
        let seen = taskgroup::snapshot();
        let viewers = seen.tasks().filter(|task| task.name() == Some("viewer"));
        assert_eq!(viewers.count(), MOST_VIEWERS);

        drop(first);
        for mut peer in later {
            assert!(peer.line().starts_with("{\"process\":"));
        }
    });
}

/// Whether the server has closed its end.
fn is_done_with(peer: &Peer) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::new(peer.0.get_ref(), PollFlags::RDHUP)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut fds, Some(&now)).unwrap();
    fds[0]
        .revents()
        .intersects(PollFlags::RDHUP | PollFlags::HUP)
}

#[test]
fn a_connection_that_speaks_another_language_is_closed() {
    let _alone = alone();
    served(|path, _| {
        let long = "x".repeat(1_000);
        for request in ["GET / HTTP/1.1\r\n", "\n", "cancel\n", "snapshots\n", &long] {
            let mut peer = Peer::connect(path);
            peer.send(request);
            assert!(peer.is_closed(), "{request:?}");
        }
        let mut bytes = Peer::connect(path);
        bytes.0.get_mut().write_all(b"\xff\xfe\n").unwrap();
        assert!(bytes.is_closed());

        // Several requests in one piece, and one in two. Groups count up from 1: no group of this
        // process has such a number, whichever tests ran before.
        let mut peer = Peer::connect(path);
        peer.send(&format!(
            "cancel {}\ncancel {}\nsnap",
            u64::MAX,
            u64::MAX - 1
        ));
        for _ in 0..2 {
            assert_eq!(peer.line(), "{\"answer\":\"gone\"}\n");
        }
        peer.send("shot\n");
        assert!(peer.line().contains("version"));
        drop(peer);

        // A viewer that leaves before its answer.
        for _ in 0..20 {
            Peer::connect(path).send("snapshot\n");
        }
        assert!(Client::connect(path).unwrap().snapshot().is_ok());
    });
}

#[test]
fn a_client_says_that_the_process_has_ended() {
    let _alone = alone();
    let mut client = served(|path, _| {
        let mut client = Client::connect(path).unwrap();
        client.snapshot().unwrap();
        client
    });
    let text = "the process has closed the connection: it serves no more";
    assert_eq!(client.snapshot().unwrap_err().to_string(), text);
    assert_eq!(client.cancel(1).unwrap_err().to_string(), text);
}

/// Another program may serve at the path.
#[test]
fn a_client_refuses_an_answer_that_has_no_end_or_is_no_text() {
    let _alone = alone();
    let reason = |answers: fn(UnixStream)| {
        let (here, there) = UnixStream::pair().unwrap();
        thread::scope(|threads| {
            threads.spawn(move || answers(there));
            let mut client = Client::new(here.into());
            client.snapshot().unwrap_err().to_string()
        })
    };

    // Until the client has gone.
    let endless = reason(|mut peer| while peer.write_all(&[b'x'; 1 << 16]).is_ok() {});
    let expected = "what the process sends is longer than";
    assert!(endless.starts_with(expected), "{endless}");

    let bytes = reason(|mut peer| {
        let _ = peer.read(&mut [0; 64]);
        peer.write_all(b"\xff\xfe\n").unwrap();
    });
    assert_eq!(bytes, "what the process sends is no text");
}
