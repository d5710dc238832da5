//! The lines of a dump.

use std::fmt;
use std::panic::Location;
use std::time::{Duration, Instant};

use super::line::Line;
use super::proc::{Reserve, SystemState};
use crate::cancel::Name;
use crate::lanes::{self, FrameKind, FrameView, Glance, Lane, Object, WaitView, since_epoch};
use crate::snapshot::label;
use crate::trace::Site;

/// How many bytes of the name of a thread are copied at most.
const LONGEST_NAME: usize = 64;

/// Makes the state of the process that a dump reads.
pub(super) fn prepare() {
    let _ = lanes::mine();
    let _ = since_epoch(Instant::now());
    let _ = label::object(0);
}

/// Prints what all threads do.
pub(super) fn print(reserve: &mut Reserve, process: u32) {
    // In a child that `fork` has made there is no such thread, so this is the process itself.
    let mut line = Line::new();
    line.write(format_args!(
        "taskgroup: what the threads of process {process} are doing"
    ));

    // Lanes are never freed and the list of them only grows, so no lock is needed.
    let mut busy = 0_usize;
    for lane in lanes::all() {
        match lane.glance() {
            None => {}
            Some(Err(lanes::Busy)) => busy += 1,
            Some(Ok(glance)) => print_thread(&mut line, lane, &glance, reserve),
        }
    }

    if busy != 0 {
        line.write(format_args!(
            "taskgroup: {busy} more, which were busy at that moment"
        ));
    }

    line.write(format_args!(
        "taskgroup: end of the dump of process {process}"
    ));
}

/// Copies the name of the thread of a lane, if no other thread holds the lock of it.
///
/// A clone of the handle of the thread could be the last, and its drop would free memory.
fn copy_name<'a>(lane: &Lane, bytes: &'a mut [u8; LONGEST_NAME]) -> &'a str {
    let copied = lane.with_thread(|thread| {
        let name = thread.and_then(std::thread::Thread::name)?;
        // A name is cut between two characters.
        let mut end = name.len().min(bytes.len());
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        bytes[..end].copy_from_slice(&name.as_bytes()[..end]);
        Some(end)
    });

    let end = copied.ok().flatten();
    let name = end.and_then(|end| std::str::from_utf8(&bytes[..end]).ok());
    name.unwrap_or("?")
}

fn print_thread(line: &mut Line, lane: &Lane, glance: &Glance, reserve: &mut Reserve) {
    // A thread that is in nothing of ours, such as an idle worker, is left out.
    if glance.depth == 0 && glance.wait.is_none() {
        return;
    }

    // The head of the thread, then its frames from the outermost on, and what it does last.
    let mut bytes = [0; LONGEST_NAME];
    let name = copy_name(lane, &mut bytes);
    line.write(format_args!("thread {} `{}`", glance.system, Name(name)));
    for frame in glance.frames() {
        print_frame(line, lane, frame);
    }

    // A glance has room for the outermost frames.
    if glance.depth as usize > glance.frames().count() {
        let more = glance.depth as usize - glance.frames().count();
        line.write(format_args!("    {more} more inside of these"));
    }

    // The kernel is asked only of threads that are in no blocking point of the crate.
    match &glance.wait {
        Some(wait) => print_wait(line, wait),
        None => match reserve.doing(glance.system) {
            SystemState::Runs => line.write(format_args!("    runs")),
            SystemState::Blocked(call, Some(descriptor)) => line.write(format_args!(
                "    in {call} on fd {descriptor} (system call, not of this crate)"
            )),
            SystemState::Blocked(call, None) => {
                line.write(format_args!(
                    "    in {call} (system call, not of this crate)"
                ));
            }
            SystemState::Unknown => {}
        },
    }

    // What others may wait for.
    for held in glance.held() {
        let object = label::object(held.object);
        line.write(format_args!(
            "    holds {object}, taken at {}",
            SiteIfKnown(held.location)
        ));
    }
}

fn print_frame(line: &mut Line, lane: &Lane, frame: &FrameView) {
    // A line is one write, so lines of other threads do not come in between.
    let at = SiteIfKnown(Some(frame.location));
    let (id, group) = (frame.id, frame.group);
    match frame.kind {
        FrameKind::Task | FrameKind::Daemon | FrameKind::Drops => {
            let what = if frame.kind != FrameKind::Drops {
                "task"
            } else {
                "drops of task"
            };
            // A copy of the name would allocate, so it goes into the line under its lock. The line
            // is written outside: standard error may block, and the task that ends would wait.
            let named = lane.with_name(id, |name| {
                line.set(format_args!(
                    "    {what} {id} `{}` of group {group} ({at}){}",
                    Name(name),
                    Told(frame)
                ));
            });
            if named.is_none() {
                line.set(format_args!(
                    "    {what} {id} of group {group} ({at}){}",
                    Told(frame)
                ));
            }
            line.send();
        }
        FrameKind::Scope => line.write(format_args!("    group {id} ({at}){}", Told(frame))),
        FrameKind::Region => line.write(format_args!("    CancelToken::run ({at}){}", Told(frame))),
        FrameKind::Shield => line.write(format_args!("    a shield ({at})")),
        FrameKind::WindingDown => line.write(format_args!("    winding_down ({at})")),
        FrameKind::Hook => line.write(format_args!("    with_cancel_hook ({at})")),
        FrameKind::Callback => line.write(format_args!("    a callback of a cancel ({at})")),
        FrameKind::Abandon => line.write(format_args!("    abandon ({at})")),
    }
}

fn print_wait(line: &mut Line, wait: &WaitView) {
    let name = label::of(wait.kind).map_or("a blocking point", |(_, name)| name);
    let at = SiteIfKnown(Some(wait.location));
    let age = Age(wait.since);

    // By numbers alone: the name of a task or a group would need a lock.
    match wait.object {
        Object::None => line.write(format_args!("    waits: {name} ({at}){age}")),
        Object::At(address) => {
            let object = label::object(address);
            line.write(format_args!("    waits: {name} ({at}) {object}{age}"));
        }
        Object::Task(task) => {
            line.write(format_args!("    waits: {name} ({at}) of task {task}{age}"))
        }
        Object::Group(group) => {
            line.write(format_args!(
                "    waits: {name} ({at}) of group {group}{age}"
            ));
        }
        Object::Descriptor(fd) => {
            line.write(format_args!("    waits: {name} ({at}) on fd {fd}{age}"))
        }
        Object::Process(process) => {
            line.write(format_args!(
                "    waits: {name} ({at}) for process {process}{age}"
            ));
        }
    }
}

struct SiteIfKnown(Option<&'static Location<'static>>);

impl fmt::Display for SiteIfKnown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(at) => Site(at).fmt(f),
            None => f.write_str("an unknown place"),
        }
    }
}

/// How often the code of a frame was told of a cancel.
struct Told<'a>(&'a FrameView);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.told {
            0 => Ok(()),
            told => write!(
                f,
                ", has seen the cancel {told} time{}, last at {}",
                if told == 1 { "" } else { "s" },
                SiteIfKnown(self.0.told_at)
            ),
        }
    }
}

/// How long a thread has slept, from when it went to sleep.
struct Age(u64);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It has not slept yet.
        if self.0 == 0 {
            return Ok(());
        }

        let slept = since_epoch(Instant::now()).saturating_sub(self.0);
        let slept = Duration::from_nanos(slept);
        write!(
            f,
            ", asleep for {}.{:01} s",
            slept.as_secs(),
            slept.subsec_millis() / 100
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::Mutex;
    use crate::{TaskGroup, shield};

    #[test]
    fn a_dump_allocates_nothing() {
        let (lock, mut reserve) = (Mutex::new(()), Reserve::take().expect("one is left"));
        TaskGroup::builder()
            .name("dumped")
            .scope(|g| {
                let _guard = lock.lock()?;
                let task = g.task().name("inner").spawn(|| {
                    // The first disguise of an object is made once for the process.
                    print(&mut reserve, 0);
                    let dumped = allocation_counter::measure(|| {
                        shield(|| print(&mut reserve, 0));
                    });
                    assert_eq!(dumped.count_total, 0);
                    Ok(())
                });
                task.join()?;
                Ok::<_, anyhow::Error>(())
            })
            .unwrap();
    }
}
