//! Describes the state of a laggard, and what its author can do about it.

use std::panic::Location;

use crate::cancel::{Name, TaskId};
use crate::snapshot::{GUARD_DROP, Holder, Inside, RegionKind, TaskSnapshot, TaskState, holder};
use crate::trace::Site;

/// The state of a laggard, as far as it is known.
#[derive(Clone, Debug)]
pub(super) struct LaggardState<'a> {
    state: TaskState,
    /// The blocking point, or the system call.
    what: &'a str,
    /// The object of the wait or call, in words.
    target: Option<&'a str>,
    waits_at: Option<&'static Location<'static>>,
    held_by: &'a [Holder],
    /// The tasks that it waits for.
    awaited: &'a [TaskId],
    is_cancellable: bool,
    is_at_scope_end: bool,
    /// How often the task has been told of the cancel, and where last.
    told: (u32, Option<&'static Location<'static>>),
    region: Option<Inside>,
    foreign: ForeignCalls,
}

/// Whether a snapshot shows the system calls of threads that are in no blocking point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ForeignCalls {
    /// The kernel tells them.
    Shown,
    /// The kernel does not tell them: such a thread may run, or be blocked.
    Unknown,
}

impl<'a> LaggardState<'a> {
    pub(super) fn of(
        task: &'a TaskSnapshot,
        region: Option<Inside>,
        foreign: ForeignCalls,
    ) -> Self {
        let wait = task.waits();
        LaggardState {
            state: task.state(),
            what: wait.map_or("", |wait| wait.what()),
            target: wait.and_then(|wait| wait.target()),
            waits_at: wait.and_then(|wait| wait.location()),
            held_by: wait.map_or(&[], |wait| wait.held_by()),
            awaited: wait.map_or(&[], |wait| wait.holders()),
            is_cancellable: wait.is_some_and(|wait| wait.is_cancellable()),
            is_at_scope_end: task.is_at_scope_end(),
            told: task.cancels_seen(),
            region,
            foreign,
        }
    }

    /// The name of the system call, without the words that say that it is none of ours.
    fn call(&self) -> &str {
        self.what.split(' ').next().unwrap_or_default()
    }

    fn is_inside(&self, region: RegionKind) -> bool {
        self.region.is_some_and(|inside| inside.region == region)
    }
}

/// Returns what a laggard does, and what would end it.
pub(super) fn advice(doing: &LaggardState<'_>) -> String {
    let mut text = seen(doing);

    // The region tells why the cancel does not end the call.
    if let Some(inside) = doing.region {
        let place = Site(inside.location);
        text += &match inside.region {
            RegionKind::Shield => format!(", inside a shield ({place})"),
            RegionKind::WindingDown => format!(", inside winding_down ({place})"),
            RegionKind::CancelHook => format!(", inside with_cancel_hook ({place})"),
            RegionKind::Callback => format!(", in the callback or hook of a cancel ({place})"),
            RegionKind::Run => String::new(),
        };
    }

    // Where it was told shows which error was thrown away.
    if let (times @ 1.., Some(at)) = doing.told {
        let plural = if times == 1 { "" } else { "s" };
        let at = Site(at);
        text += &format!("; it has seen the cancel {times} time{plural}, last at {at}");
    }
    text + ": " + &to_do(doing)
}

/// Says what the task does.
fn seen(doing: &LaggardState<'_>) -> String {
    match doing.state {
        TaskState::Foreign => {
            // The kernel names the call; the descriptor tells which of the user's objects it is.
            let mut text = format!("blocked in {}", doing.call());
            if let Some(target) = doing.target {
                text += &format!(" on {}", Name(target));
            }
            text + ", in code that is not ours"
        }
        TaskState::Waiting if doing.is_at_scope_end => "at the end of its scope".to_owned(),
        TaskState::Waiting => {
            let mut text = format!("blocked in {}", doing.what);
            if let Some(at) = doing.waits_at {
                text += &format!(" ({})", Site(at));
            }
            // The threads that hold a lock are named at the end, with their tasks.
            if doing.held_by.is_empty() && !doing.awaited.is_empty() {
                let tasks = doing.awaited.iter().map(|task| format!("task {}", task.0));
                text += &format!(" of {}", tasks.collect::<Vec<_>>().join(", "));
            }
            if let Some(target) = doing.target {
                text += &format!(", {}", Name(target));
            }

            // The laggard may only wait for another task, which is named then.
            for held in doing.held_by {
                text += &format!(", {}", holder(held));
            }
            text
        }
        TaskState::InPlace => "waiting for a task that it runs on its own thread".to_owned(),
        TaskState::InScope => "inside of another scope".to_owned(),
        TaskState::Dropping => "dropping its values".to_owned(),
        _ if doing.foreign == ForeignCalls::Shown => "running".to_owned(),
        _ => "running, or blocked in code that is not ours".to_owned(),
    }
}

/// Says what would end it.
fn to_do(doing: &LaggardState<'_>) -> String {
    // The regions first: inside of one, the usual advice would not help.
    if doing.is_inside(RegionKind::Callback) {
        return "no scope ends before its callbacks have; let them only set, send or close \
                something"
            .to_owned();
    }

    // A wait of this crate inside of a hook sees the cancel by itself.
    if doing.is_inside(RegionKind::CancelHook) && doing.state != TaskState::Waiting {
        return "its hook has not made the code return".to_owned();
    }
    if doing.is_inside(RegionKind::Shield) {
        return match doing.state {
            TaskState::Foreign => format!(
                "a shield hides the cancel; use `shield_for`, and inside of it {}",
                in_place_of(doing)
            ),
            _ => "a shield hides the cancel; use `shield_for`".to_owned(),
        };
    }

    // A task that was told of the cancel has thrown the error away.
    let is_told = doing.told.0 != 0;
    match doing.state {
        TaskState::Foreign => format!("use {}", in_place_of(doing)),
        TaskState::Waiting if doing.is_at_scope_end => {
            "its tasks have ended; a cancel is still being delivered on another thread".to_owned()
        }
        TaskState::Waiting if doing.what == GUARD_DROP => {
            "it waits for the callback to return; let callbacks only set, send or close something"
                .to_owned()
        }
        TaskState::Waiting if !doing.is_cancellable => {
            "no cancel ends this wait; use the call that a cancel ends".to_owned()
        }
        TaskState::Waiting if is_told => "it goes on after the error; return the error".to_owned(),
        TaskState::Waiting => {
            "the cancel has not come to it; it waits in a scope of its own".to_owned()
        }
        TaskState::Dropping => "let destructors not block".to_owned(),
        TaskState::InPlace | TaskState::InScope => "see what it waits for".to_owned(),
        _ if is_told => "it goes on after the error; return the error".to_owned(),
        _ => "it does not look at the cancel; call `checkpoint()?` now and then, or give it a \
              cancel hook"
            .to_owned(),
    }
}

/// Names the call or the type of this crate to use in place of a call of the system.
fn in_place_of(doing: &LaggardState<'_>) -> String {
    const HOOK: &str = "a cancel hook (`with_cancel_hook`)";

    // The object tells more than the call: `read` serves sockets, pipes and files alike.
    let target = doing.target.unwrap_or_default();
    let ours = match doing.call() {
        // Every lock, channel and condition variable waits in this one call.
        "futex" => {
            return format!(
                "the locks of `sync` and the channels of `channel` in place of others, or {HOOK}"
            );
        }
        "nanosleep" | "clock_nanosleep" => Some("`taskgroup::sleep`"),
        "wait4" | "waitid" => Some("`process::Command`"),
        "flock" | "fcntl" => Some("`io::lock_file`"),
        // An event loop waits for many objects at once, so no single type of this crate can take
        // its place.
        "poll" | "ppoll" | "select" | "pselect6" | "epoll_wait" | "epoll_pwait" => {
            return format!("{HOOK} that wakes the event loop");
        }

        // From here to the pipes the object decides. After them the object is unknown, and the
        // call has to.
        _ if target.contains("TCP listener") => Some("`net::TcpListener`"),
        _ if target.contains("TCP socket") => Some("`net::TcpStream`"),
        _ if target.contains("UDP socket") => Some("`net::UdpSocket`"),
        _ if target.contains("Unix socket") => Some("`net::UnixStream`"),
        _ if target.contains("a pipe") => Some("`io::pipe` or `process::Command`"),
        "connect" => Some("`net::TcpStream::connect`"),
        "accept" | "accept4" => Some("`net::TcpListener`"),
        "recvfrom" | "recvmsg" | "recvmmsg" | "sendto" | "sendmsg" | "sendmmsg" => {
            Some("the sockets of `net`")
        }
        _ if target.starts_with("fd 0,") => Some("`io::stdin`"),
        "read" | "readv" | "write" | "writev" => Some("`io::Cancellable`"),
        "openat" | "open" => Some("`io::open_fifo`"),
        _ => None,
    };

    match ours {
        Some(ours) => format!("{ours} or {HOOK}"),
        None => format!("{HOOK}, or `abandon`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running() -> LaggardState<'static> {
        LaggardState {
            state: TaskState::Running,
            what: "",
            target: None,
            waits_at: None,
            held_by: &[],
            awaited: &[],
            is_cancellable: false,
            is_at_scope_end: false,
            told: (0, None),
            region: None,
            foreign: ForeignCalls::Shown,
        }
    }

    fn foreign(what: &'static str, target: Option<&'static str>) -> LaggardState<'static> {
        LaggardState {
            state: TaskState::Foreign,
            what,
            target,
            ..running()
        }
    }

    fn waiting(what: &'static str) -> LaggardState<'static> {
        LaggardState {
            state: TaskState::Waiting,
            what,
            waits_at: Some(Location::caller()),
            is_cancellable: true,
            ..running()
        }
    }

    #[track_caller]
    fn inside(region: RegionKind, doing: LaggardState<'static>) -> LaggardState<'static> {
        LaggardState {
            region: Some(Inside {
                region,
                location: Location::caller(),
                group: 0,
            }),
            ..doing
        }
    }

    /// Asserts that the advice has all these parts.
    #[track_caller]
    fn says(doing: &LaggardState<'_>, parts: &[&str]) {
        let text = advice(doing);
        for part in parts {
            assert!(text.contains(part), "`{part}` is not in: {text}");
        }
    }

    #[test]
    fn a_foreign_read_of_a_socket_names_the_socket_and_the_type_to_use() {
        let doing = foreign(
            "read (system call, not of this crate)",
            Some("fd 7, a TCP socket to 127.0.0.1:5432"),
        );
        assert_eq!(
            advice(&doing),
            "blocked in read on fd 7, a TCP socket to 127.0.0.1:5432, in code that is not ours: \
             use `net::TcpStream` or a cancel hook (`with_cancel_hook`)"
        );
    }

    #[test]
    fn a_guard_that_waits_for_its_callback_says_so() {
        let doing = LaggardState {
            is_cancellable: false,
            ..waiting(GUARD_DROP)
        };
        says(&doing, &["of on_cancel (", "for the callback to return"]);
    }

    #[test]
    fn each_system_call_has_a_cure() {
        for (call, target, cure) in [
            (
                "accept4",
                Some("fd 3, a TCP listener on 0.0.0.0:80"),
                "`net::TcpListener`",
            ),
            ("accept4", None, "`net::TcpListener`"),
            (
                "recvfrom",
                Some("fd 3, a UDP socket on 0.0.0.0:53"),
                "`net::UdpSocket`",
            ),
            (
                "read",
                Some("fd 3, a Unix socket on /run/x"),
                "`net::UnixStream`",
            ),
            ("recvmsg", None, "the sockets of `net`"),
            ("connect", None, "`net::TcpStream::connect`"),
            ("read", Some("fd 3, a pipe"), "`io::pipe`"),
            ("read", Some("fd 0, /dev/pts/1"), "`io::stdin`"),
            ("read", Some("fd 5, /dev/ttyS0"), "`io::Cancellable`"),
            ("openat", None, "`io::open_fifo`"),
            ("flock", None, "`io::lock_file`"),
            ("futex", None, "the locks of `sync`"),
            ("clock_nanosleep", None, "`taskgroup::sleep`"),
            ("wait4", None, "`process::Command`"),
            (
                "epoll_wait",
                Some("fd 4, eventpoll"),
                "wakes the event loop",
            ),
            ("ioctl", Some("fd 4, /dev/x"), "`abandon`"),
        ] {
            says(
                &foreign(call, target),
                &["in code that is not ours: use ", cure, "hook"],
            );
        }
    }

    #[test]
    fn running_code_is_told_to_look_or_to_return() {
        says(
            &running(),
            &["running: it does not look at the cancel", "`checkpoint()?`"],
        );
        let unknown = LaggardState {
            foreign: ForeignCalls::Unknown,
            ..running()
        };
        says(&unknown, &["running, or blocked in code that is not ours"]);

        let here = Location::caller();
        let told = LaggardState {
            told: (3, Some(here)),
            ..running()
        };
        let place = format!("seen the cancel 3 times, last at {}", Site(here));
        says(&told, &[&place, "return the error"]);
        let once = LaggardState {
            told: (1, Some(here)),
            ..running()
        };
        says(&once, &["1 time, last"]);
    }

    #[test]
    fn a_wait_of_ours_says_why_the_cancel_does_not_end_it() {
        says(
            &waiting("Event::wait"),
            &["blocked in Event::wait (", "a scope of its own"],
        );
        let told = LaggardState {
            told: (2, Some(Location::caller())),
            ..waiting("sleep")
        };
        says(&told, &["2 times", "return the error"]);
        let stubborn = LaggardState {
            is_cancellable: false,
            ..waiting("Mutex::lock")
        };
        says(&stubborn, &["no cancel ends this wait"]);
        let joins = LaggardState {
            awaited: &[TaskId(7)],
            ..waiting("TaskHandle::join")
        };
        says(&joins, &[") of task 7: "]);
        let end = LaggardState {
            is_at_scope_end: true,
            ..waiting("the end of the scope")
        };
        says(&end, &["at the end of its scope", "still being delivered"]);
    }

    #[test]
    fn a_region_is_named_with_its_place() {
        let shielded = inside(RegionKind::Shield, waiting("Event::wait"));
        let place = Site(shielded.region.unwrap().location).to_string();
        says(&shielded, &["inside a shield", &place, "use `shield_for`"]);
        let foreign_read = foreign("read", Some("fd 3, a pipe"));
        let shielded = inside(RegionKind::Shield, foreign_read.clone());
        says(
            &shielded,
            &[
                "inside a shield",
                "`shield_for`, and inside of it `io::pipe`",
            ],
        );
        let hooked = inside(RegionKind::CancelHook, foreign_read.clone());
        says(
            &hooked,
            &["inside with_cancel_hook", "has not made the code return"],
        );
        let callback = inside(RegionKind::Callback, foreign_read);
        says(
            &callback,
            &[
                "in the callback or hook of a cancel",
                "only set, send or close",
            ],
        );
        let winding = inside(RegionKind::WindingDown, waiting("sleep"));
        says(&winding, &["inside winding_down"]);
        let run = inside(RegionKind::Run, running());
        assert_eq!(advice(&run), advice(&running()));
    }

    #[test]
    fn the_rest_is_named_too() {
        let dropping = LaggardState {
            state: TaskState::Dropping,
            ..running()
        };
        says(&dropping, &["dropping its values", "destructors"]);
        let in_place = LaggardState {
            state: TaskState::InPlace,
            ..running()
        };
        says(&in_place, &["on its own thread"]);
        let in_scope = LaggardState {
            state: TaskState::InScope,
            ..running()
        };
        says(&in_scope, &["inside of another scope"]);
        let odd = foreign("read", Some("fd 3, a Unix socket on /x\n\u{1b}[2J"));
        assert!(!advice(&odd).contains('\u{1b}') && !advice(&odd).contains('\n'));
    }
}
