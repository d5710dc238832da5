//! The state of each node: it runs, waits, or is kept by another node of its thread.

use std::time::Duration;

use super::collect::ReadThread;
use super::holders::still_waits;
use super::kernel::Doing;
use super::parts::{Membership, Parts};
use super::{ObjectId, TaskState, Wait, label};
use crate::cancel::{TaskId, TokenId};
use crate::lanes::{Object, WaitView, since_epoch};
use crate::waiting::WaitKind;

impl Parts {
    /// Says what the nodes of a thread do: the innermost waits, or runs; each other is kept by the
    /// next.
    pub(super) fn set_states(&mut self, thread: &ReadThread, inner: &[usize]) {
        // A thread runs its innermost node alone.
        for pair in inner.windows(2) {
            let keeps = self.nodes[pair[1]]
                .as_ref()
                .map(|node| (node.place, node.task.id));
            let Some(node) = self.nodes[pair[0]].as_mut() else {
                continue;
            };
            match keeps {
                Some((Membership::InGroup(_), task)) => {
                    node.task.state = TaskState::InPlace;
                    node.task.waits = Some(in_place(task, node.task.told != 0));
                }
                _ => node.task.state = TaskState::InScope,
            }
        }

        // The innermost node does what the thread does.
        let Some(&last) = inner.last() else { return };
        let Some(node) = &self.nodes[last] else {
            return;
        };

        let has_seen_cancel = node.task.told != 0;
        let found = match &thread.lane.wait {
            Some(wait) => self.waiting(thread, wait, has_seen_cancel),
            None => self.outside_of_a_wait(thread, has_seen_cancel),
        };

        if let (Some((state, waits)), Some(node)) = (found, &mut self.nodes[last]) {
            // A destructor that is blocked in other code still is a destructor.
            if node.task.state != TaskState::Dropping || state == TaskState::Waiting {
                node.task.state = state;
            }
            node.task.waits = waits;
        }
    }

    /// The thread is in a blocking point of this crate.
    fn waiting(
        &mut self,
        thread: &ReadThread,
        wait: &WaitView,
        has_seen_cancel: bool,
    ) -> Option<(TaskState, Option<Wait>)> {
        let (kind, what) = label::of(wait.kind)?;

        // Threads that hold the object, and tasks that the wait is for: both are its holders.
        let held_by = match wait.object {
            Object::At(address) => self.holders.hold(address, kind, thread),
            _ => Vec::new(),
        };

        let mut holders: Vec<_> = held_by.iter().filter_map(|holder| holder.task).collect();
        if let Object::Task(task) = wait.object {
            holders.push(TaskId(task));
        }

        // Zero means that the thread has not slept yet: it has just come, or a grant is on its way.
        let slept = since_epoch(self.now).saturating_sub(wait.since);
        let waits = Wait {
            what: what.into(),
            location: Some(wait.location),
            object: match wait.object {
                Object::At(address) => Some(ObjectId::of(address)),
                _ => None,
            },
            target: self.target(kind, wait.object, thread),
            group: match wait.object {
                Object::Group(group) => Some(TokenId(group)),
                _ => None,
            },
            holders,
            held_by,
            since: Duration::from_nanos(if wait.since == 0 { 0 } else { slept }),
            has_seen_cancel,
            is_cancellable: wait.flags.is_cancellable,
        };
        Some((TaskState::Waiting, Some(waits)))
    }

    /// The thread runs, or is blocked in code that is not of this crate.
    fn outside_of_a_wait(
        &mut self,
        thread: &ReadThread,
        has_seen_cancel: bool,
    ) -> Option<(TaskState, Option<Wait>)> {
        let (call, target) = match self.kernel.doing(thread.lane.system) {
            Doing::Runs => return None,
            Doing::Blocked { call, target } => (call, target),
            Doing::Unknown => return Some((TaskState::Elsewhere, None)),
        };

        // There is no place and no age: the thread notes nothing at a call that is not of this
        // crate.
        let waits = Wait {
            what: format!("{call} (system call, not of this crate)").into(),
            location: None,
            object: None,
            target,
            group: None,
            holders: Vec::new(),
            held_by: Vec::new(),
            since: Duration::ZERO,
            has_seen_cancel,
            is_cancellable: false,
        };
        Some((TaskState::Foreign, Some(waits)))
    }

    /// Returns what a wait of this thread is for, in words.
    fn target(&mut self, kind: WaitKind, object: Object, thread: &ReadThread) -> Option<String> {
        match object {
            Object::None | Object::At(_) | Object::Task(_) => None,
            // The end of a scope stands below the group itself.
            Object::Group(_) if kind == WaitKind::ScopeEnd => None,
            Object::Group(group) => {
                let parts = self.groups.get(&group);
                Some(match parts.and_then(|parts| parts.view.name.as_ref()) {
                    Some(name) => format!("a task of group {group} `{name}`"),
                    None => format!("a task of group {group}"),
                })
            }
            Object::Descriptor(descriptor) => {
                let text = self.kernel.describe(descriptor);
                // While it waits the thread keeps the descriptor open. Afterwards it may be closed,
                // and its number belong to another file.
                Some(if still_waits(thread) {
                    text
                } else {
                    format!("fd {descriptor}")
                })
            }
            Object::Process(process) => Some(format!("process {process}")),
        }
    }
}

/// The wait for a task that runs on the thread of its joiner.
fn in_place(task: TaskId, has_seen_cancel: bool) -> Wait {
    // No object, place or age: the thread does not sleep, and the task below shows what it does.
    Wait {
        what: "a task that runs in place".into(),
        location: None,
        object: None,
        target: None,
        group: None,
        holders: vec![task],
        held_by: Vec::new(),
        since: Duration::ZERO,
        has_seen_cancel,
        is_cancellable: false,
    }
}

#[cfg(all(test, target_os = "linux", not(loom)))]
mod tests {
    use std::fs::File;
    use std::os::fd::AsRawFd;
    use std::panic::Location;

    use super::*;
    use crate::lanes::{Lane, Share, WaitFlags};
    use crate::snapshot::collect::Collected;

    #[test]
    fn a_descriptor_of_a_wait_that_has_ended_is_a_number_alone() {
        let file = File::open("/dev/null").expect("there is a descriptor left");
        let object = Object::Descriptor(file.as_raw_fd());
        let (kind, lane) = (WaitKind::SocketRead, Lane::apart());
        let flags = WaitFlags {
            is_cancellable: true,
            is_limited: false,
            is_foreign: false,
            share: Share::default(),
        };
        lane.begin_wait(kind as u8, object, flags, Location::caller());

        let (thread, mut parts) = (ReadThread::of(lane), Parts::of(Collected::default()));
        let number = format!("fd {}", file.as_raw_fd());
        let whole = Some(format!("{number}, /dev/null"));
        assert_eq!(parts.target(kind, object, &thread), whole);
        lane.end_wait();
        assert_eq!(parts.target(kind, object, &thread), Some(number));
    }
}
