//! Deadlocks of which it is not known which thread should go on.
//!
//! Any thread may set an event or send a message, so no cycle can be drawn. But if every thread of
//! the process sleeps in this crate, none has a time limit, and nothing comes from outside, then no
//! thread is left to do so.
//!
//! Each of these makes the search silent, since it could still wake a thread:
//!
//! - a thread that is not known to this crate, or is outside of its blocking points: it may run, or
//!   return from a system call;
//! - a wait with a time limit, in a scope with a deadline, or for a descriptor, a child or a token;
//! - a wait in a crossbeam channel: the thread does not look at it when it is woken;
//! - an alarm of the timer: a deadline with a callback, a hook that repeats;
//! - a signal handler;
//! - a task that is queued and may begin.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize as PlainUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use super::act;
use super::confirm::{Suspect, have_looked};
use super::describe::{describe_all, describe_group};
use super::graph::{Graph, ReadLane, has_known_wakers};
use super::report::{Certainty, Deadlock, Response};
use crate::cancel;
use crate::facade::{Before, PlainMutex, per_process};
use crate::lanes;
use crate::snapshot::{LimitSnapshot, QueueView};
use crate::waiting::WaitKind;

/// How many searches are asked for. It changes under the lock of `QUIET`.
static WANTED: PlainUsize = PlainUsize::new(0);

per_process! {
    /// The quiet times that are asked for, and since when the threads have been quiet. A child of
    /// `fork` asks for what its parent has asked for, unless another thread was about to change
    /// that.
    static QUIET: PlainMutex<Quiet> = |before| {
        let asked = match before {
            Before::Whole(before) => before.lock().asked.clone(),
            Before::None | Before::Torn => Vec::new(),
        };
        PlainMutex::new(Quiet {
            asked,
            state: Vec::new(),
            since: None,
            reported: Vec::new(),
        })
    };
}

/// A thread by its number, and the version of its lane.
type LaneVersions = Vec<(u64, u32)>;

struct Quiet {
    asked: Vec<Duration>,
    state: LaneVersions,
    since: Option<Instant>,
    /// The last state that was reported.
    reported: LaneVersions,
}

/// Asks for a search.
pub(super) fn add(quiet_for: Duration) {
    let mut quiet = QUIET.lock();
    quiet.asked.push(quiet_for);
    // Under the lock: a look that finds the search wanted finds its time too.
    WANTED.store(quiet.asked.len(), SeqCst);
}

/// Takes back what [`add`] has asked for.
pub(super) fn remove(quiet_for: Duration) {
    let mut quiet = QUIET.lock();
    if let Some(index) = quiet.asked.iter().position(|asked| *asked == quiet_for) {
        quiet.asked.swap_remove(index);
    }
    WANTED.store(quiet.asked.len(), SeqCst);
}

pub(super) fn is_wanted() -> bool {
    WANTED.load(SeqCst) != 0
}

/// Looks once. For the thread that looks for deadlocks.
pub(super) fn look() {
    if !is_wanted() {
        return;
    }

    let state = match quiet_state() {
        Some((_, state)) => state,
        None => Vec::new(),
    };

    // The time counts from when the last thread has gone to sleep: a thread that has waited again
    // has another version.
    let is_due = {
        let mut quiet = QUIET.lock();
        if quiet.state != state {
            quiet.since = Some(Instant::now());
            quiet.state.clone_from(&state);
        }
        let long = quiet.since.map_or(Duration::ZERO, |since| since.elapsed());
        let asked = quiet.asked.iter().min().copied();

        // One report for one state. The state is kept while nothing moves.
        let is_new = !state.is_empty() && quiet.reported != state;
        is_new && asked.is_some_and(|asked| long >= asked)
    };

    if !is_due {
        return;
    }

    // Outside the lock: hooks of the user may ask for another search.
    if let Some(deadlock) = confirm(&state) {
        QUIET.lock().reported = state;
        act::report(&deadlock);
    }
}

/// Lets every thread look at its wait, and finds all as they were.
fn confirm(state: &LaneVersions) -> Option<Deadlock> {
    let (graph, before) = quiet_state()?;

    // A wake would end a `park`, which has nothing to look at.
    let looks = |seen: &&ReadLane| {
        seen.asleep()
            .is_some_and(|(kind, _)| kind != WaitKind::Park)
    };

    let suspects: Vec<_> = graph
        .threads
        .iter()
        .filter(looks)
        .map(|seen| Suspect::new(seen.source, &seen.view))
        .collect();

    // Every thread must have looked: a thread that has not may have been granted its wait.
    let count = suspects.len();
    if before != *state || have_looked(suspects).len() != count {
        return None;
    }

    // Nothing has moved from before the looks to now.
    let (mut graph, after) = quiet_state()?;
    if after != *state {
        return None;
    }

    // Idle workers have nothing to say.
    let all = 0..graph.threads.len();
    let asleep: Vec<_> = all
        .filter(|thread| graph.threads[*thread].asleep().is_some())
        .collect();
    let group = graph.common_group(&asleep);
    Some(Deadlock {
        certainty: Certainty::Suspected,
        threads: describe_all(&mut graph, &asleep),
        tail: Vec::new(),
        group: group.and_then(|group| describe_group(&mut graph, group)),
        notes: queued_notes(&mut graph),
        response: Some(Response::Nothing),
    })
}

/// Returns all threads, if nothing is there that could wake one.
fn quiet_state() -> Option<(Graph, LaneVersions)> {
    // A limit of its own ends a wait, and so may the world outside: a descriptor, a child, a token.
    let graph = Graph::read();
    let is_asleep = |seen: &ReadLane| {
        seen.asleep().is_some_and(|(kind, wait)| {
            let is_over_by_itself = wait.flags.is_limited || wait.flags.is_foreign;
            !is_over_by_itself && (has_known_wakers(kind) || is_signal(kind))
        })
    };

    let (asleep, others): (Vec<_>, Vec<_>) = graph.threads.iter().partition(|seen| is_asleep(seen));

    // The thread that looks has a lane if a hook of it used the crate.
    let here = system::this_thread();
    let mut others = others.into_iter().filter(|seen| seen.view.system != here);

    // Any other thread with a lane may run, and so may a worker between two tasks.
    let is_idle = |seen: &ReadLane| seen.view.is_idle;
    let may_begin = || graph.threads.iter().any(has_work);
    if asleep.is_empty() || !others.all(is_idle) || cancel::has_alarms() || may_begin() {
        return None;
    }

    // The kernel has the last word: it lists threads without a lane, and knows what each does.
    let sleepers: HashSet<_> = asleep.iter().map(|seen| seen.view.system).collect();
    let idle = graph.threads.iter().filter(|seen| !is_asleep(seen));
    let idle: HashSet<_> = idle
        .map(|seen| seen.view.system)
        .chain(lanes::helpers())
        .collect();
    if !system::all_asleep(&sleepers, &idle) || system::has_signal_handlers() {
        return None;
    }

    let state = graph
        .threads
        .iter()
        .map(|seen| (seen.view.number, seen.view.version));
    let state = state.collect();
    Some((graph, state))
}

/// Returns whether a thread of the process can end a wait of this kind, and nothing from outside.
fn is_signal(kind: WaitKind) -> bool {
    matches!(
        kind,
        WaitKind::Park
            | WaitKind::Condvar
            | WaitKind::Semaphore
            | WaitKind::Barrier
            | WaitKind::Event
            | WaitKind::Latch
            | WaitKind::WaitGroup
            | WaitKind::Promise
            | WaitKind::Send
            | WaitKind::Receive
            | WaitKind::Select
            | WaitKind::Map
    )
}

/// Returns whether a group of this thread, or its batch, has a task that may begin, or cannot be
/// read.
fn has_work(seen: &ReadLane) -> bool {
    // A task behind a full limit begins only when another ends, and all others sleep.
    let groups = seen.source.with_groups(|groups| {
        groups.iter().any(|(_, group)| {
            let mut view = QueueView::default();
            group.describe(&mut view);
            let is_full = view.limit.is_some_and(|limit| limit.held >= limit.total);
            view.is_busy || (view.queued != 0 && !is_full)
        })
    });

    let mut batch = crate::snapshot::BatchView::default();
    let described = seen.source.describe_batch(&mut batch);
    groups.unwrap_or(true) || described.is_err() || batch.is_busy || !batch.tasks.is_empty()
}

/// Says which groups have tasks that wait for a permit.
fn queued_notes(graph: &mut Graph) -> Vec<String> {
    let scopes: Vec<_> = graph.groups().collect();

    // A group without a limit cannot keep its tasks from beginning, so it explains nothing.
    let notes = scopes.into_iter().filter_map(|(group, location)| {
        let view = graph.queue(group).filter(|view| view.queued != 0)?;
        let LimitSnapshot { total, held, .. } = view.limit?;
        let queued = view.queued;
        let plural = if queued == 1 { " is" } else { "s are" };
        let (file, line) = (location.file(), location.line());
        Some(format!(
            "{queued} task{plural} queued behind the limit of {total} of the group at \
             {file}:{line}: {held} of {total} permits are held"
        ))
    });
    notes.collect()
}

/// The state of the threads of this process, as the system tells it.
#[cfg(target_os = "linux")]
mod system {
    use std::fs;

    use super::HashSet;
    use nix::libc;

    pub(super) fn this_thread() -> i32 {
        nix::unistd::gettid().as_raw()
    }

    /// Returns whether the `sleepers` sleep without a time limit, the `idle` threads sleep, and
    /// there are no others.
    pub(super) fn all_asleep(sleepers: &HashSet<i32>, idle: &HashSet<i32>) -> bool {
        let Ok(threads) = fs::read_dir("/proc/self/task") else {
            return false;
        };

        let mut seen = 0;
        for thread in threads {
            let name = thread
                .ok()
                .and_then(|thread| thread.file_name().into_string().ok());
            let Some(thread) = name.and_then(|name| name.parse::<i32>().ok()) else {
                return false;
            };

            // A thread that has ended since it was listed is not fine either: it may have woken
            // another.
            let is_fine = if thread == this_thread() {
                true
            } else if sleepers.contains(&thread) {
                seen += 1;
                call_of(thread)
                    .is_some_and(|(number, timeout)| number == libc::SYS_futex && timeout == 0)
            } else {
                idle.contains(&thread)
                    && call_of(thread).is_some_and(|(number, _)| number == libc::SYS_futex)
            };
            if !is_fine {
                return false;
            }
        }

        // Each sleeper was listed, so its thread has not ended.
        seen == sleepers.len()
    }

    /// Returns the call that a thread sleeps in, and its fourth argument: the time limit of a
    /// futex.
    fn call_of(thread: i32) -> Option<(libc::c_long, u64)> {
        let text = fs::read_to_string(format!("/proc/self/task/{thread}/syscall")).ok()?;

        // `running` for a thread that runs.
        let mut fields = text.split_whitespace();

        // The number of the call, and then its arguments.
        let number = fields.next()?.parse().ok()?;
        let fourth = fields.nth(3)?.strip_prefix("0x")?;
        Some((number, u64::from_str_radix(fourth, 16).ok()?))
    }

    /// Returns whether a handler is set, but for those that the runtimes of C and Rust set in every
    /// process.
    pub(super) fn has_signal_handlers() -> bool {
        const OF_RUNTIMES: [u32; 4] = [libc::SIGBUS as u32, libc::SIGSEGV as u32, 32, 33];

        // What cannot be read could be a handler.
        let Ok(status) = fs::read_to_string("/proc/self/status") else {
            return true;
        };
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let Some(caught) = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()) else {
            return true;
        };

        // Signal `n` is bit `n - 1`.
        let allowed = OF_RUNTIMES
            .iter()
            .fold(0, |mask, signal| mask | 1 << (signal - 1));
        caught & !allowed != 0
    }
}

/// Other systems do not tell.
#[cfg(not(target_os = "linux"))]
mod system {
    use super::HashSet;

    pub(super) fn this_thread() -> i32 {
        0
    }

    pub(super) fn all_asleep(_sleepers: &HashSet<i32>, _idle: &HashSet<i32>) -> bool {
        false
    }

    pub(super) fn has_signal_handlers() -> bool {
        true
    }
}
