//! Child processes. None is left, and no zombie.

use taskgroup::process::{Child, Command, Partial, Stdio};

use super::*;
use crate::children::{has_children, sh};
use crate::support::until;

pub(super) const CALLS: &[Named] = &[
    ("Child::wait", wait),
    ("Child::wait, of a group", wait_of_a_group),
    ("Child::wait, of a stopped child", wait_of_a_stopped_child),
    ("Child::wait_with_output", wait_with_output),
    ("Command::status", status),
    ("Command::output", output),
    (
        "Command::output, held by a grandchild",
        output_held_by_a_grandchild,
    ),
    ("ChildStdout::read", stdout_read),
    ("ChildStdin::write_all", stdin_write_all),
];

/// The call itself has seen to the end of its child.
fn no_child_is_left() {
    assert!(!has_children(), "a child or a zombie is left");
}

fn sleeping() -> Command {
    let mut command = Command::new("sleep");
    command.arg("600");
    command
}

/// The world of a wait for a child that is there already.
fn wait_world(child: Child) -> World {
    let child = Arc::new(child);
    let theirs = child.clone();
    World::new(
        move || theirs.wait().map(drop),
        || {
            move || {
                no_child_is_left();
                let status = child.try_wait().expect("it was reaped here");
                assert!(!status.expect("it has ended").success());
            }
        },
    )
}

fn wait() -> World {
    wait_world(sleeping().spawn().expect("it starts"))
}

fn wait_of_a_group() -> World {
    let mut leader = sh("sleep 600 & wait");
    let (reader, writer) = super::files::pipe();
    let child = leader.own_group().stdout(writer).spawn();
    drop(leader);
    let mut world = wait_world(child.expect("it starts"));
    let feed = world.feed;
    world.feed = Box::new(|| {
        let is_whole = feed();
        Box::new(move || {
            is_whole();
            // The members of the group held the pipe.
            let mut reader = reader;
            assert_eq!(done(|| reader.read(&mut [0; 8])), 0);
        })
    });
    world
}

fn wait_of_a_stopped_child() -> World {
    let child = sleeping().spawn().expect("it starts");
    let pid = i32::try_from(child.id()).ok();
    let pid = pid.and_then(rustix::process::Pid::from_raw).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).expect("it is ours");
    wait_world(child)
}

fn wait_with_output() -> World {
    let mut command = sleeping();
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = Some(command.spawn().expect("it starts"));
    let wait = move || {
        let child = child.take().expect("it is called once");
        child.wait_with_output().map(drop)
    };
    World::new(wait, || no_child_is_left)
}

fn status() -> World {
    World::new(|| sleeping().status().map(drop), || no_child_is_left)
}

fn output() -> World {
    let output = || {
        let outcome = sh("echo begun; exec sleep 600").output();
        if let Some(partial) = outcome
            .as_ref()
            .err()
            .and_then(|error| Partial::find(error))
        {
            assert!(partial.cancelled().is_some());
            assert!(b"begun\n".starts_with(partial.stdout()));
        }
        outcome.map(drop)
    };
    World::new(output, || no_child_is_left)
}

/// The grandchild is in another group and holds the pipe until this process has closed it.
fn output_held_by_a_grandchild() -> World {
    let (reader, writer) = super::files::pipe();
    drop(reader);
    let script = "setsid sh -c 'while echo x; do sleep 0.02; done' & exec sleep 600";
    let output = move || {
        let mut command = sh(script);
        command
            .pipe_delay(Duration::from_millis(1))
            .output()
            .map(drop)
    };
    drop(writer);
    World::new(output, || no_child_is_left)
}

fn stdout_read() -> World {
    let mut child = sleeping()
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdout = child.stdout.take().expect("it is piped");
    World::new(
        move || stdout.read(&mut [0; 8]).map(drop),
        || {
            move || {
                assert!(child.try_wait().expect("it is a child").is_none());
                drop(child);
                until(|| !has_children());
            }
        },
    )
}

fn stdin_write_all() -> World {
    let mut child = sleeping().stdin(Stdio::piped()).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    World::new(
        move || stdin.write_all(&vec![7; MUCH]),
        || {
            move || {
                drop(child);
                until(|| !has_children());
            }
        },
    )
}
