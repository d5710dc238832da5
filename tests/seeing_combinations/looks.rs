//! The ways to look inside. Each compares what it shows with the scene.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use signal_hook::consts::SIGQUIT;
use signal_hook::low_level::raise;
use taskgroup::{Snapshot, TaskGroup, TaskSnapshot, on_stall, shield, snapshot};

use super::{Checked, Scene, same};
use crate::support::{LONG, Listener};

/// A look at the scene. It must not panic: it runs in a panic hook, too.
pub(super) type Look = fn(&Scene) -> Checked;

pub(super) const LOOKS: &[(&str, Look)] = &[
    ("a snapshot", a_snapshot),
    ("a stall report", a_stall_report),
    ("a dump", a_dump),
    ("a subscriber", a_subscriber),
    ("stats", stats),
];

/// Takes a snapshot in which no part was busy.
fn whole() -> Result<Snapshot, String> {
    // Other threads write their lanes meanwhile, this one does not.
    for _ in 0..10_000 {
        let seen = snapshot();
        if seen.incomplete() == 0 {
            return Ok(seen);
        }
        thread::yield_now();
    }
    Err("a part is busy in each snapshot".to_owned())
}

fn check(seen: &Snapshot, scene: &Scene) -> Checked {
    let ids: Vec<_> = seen.tasks().map(TaskSnapshot::id).collect();
    let distinct: HashSet<_> = ids.iter().copied().collect();
    same("ids of tasks", distinct.len(), ids.len())?;
    let groups: Vec<_> = seen.all_groups().map(|group| group.id()).collect();
    let distinct: HashSet<_> = groups.iter().copied().collect();
    same("ids of groups", distinct.len(), groups.len())?;

    let mut groups = seen.all_groups();
    let group = groups.find(|group| group.id() == scene.group);
    let group = group.ok_or_else(|| format!("no group of the scene in {seen}"))?;
    let tasks: HashSet<_> = group.tasks().iter().map(TaskSnapshot::id).collect();
    for id in scene.run.iter().chain(&scene.wait) {
        if !tasks.contains(id) {
            return Err(format!("no {id:?} in {seen}"));
        }
    }
    same("queued tasks", group.queued(), scene.wait.len())?;
    same(
        "threads left behind",
        seen.abandoned().len(),
        scene.abandoned,
    )?;
    same("an empty text", seen.to_string().is_empty(), false)
}

fn a_snapshot(scene: &Scene) -> Checked {
    check(&whole()?, scene)
}

/// Opens a scope that stalls until its report has come.
fn a_stall_report(scene: &Scene) -> Checked {
    let (reports, reported) = mpsc::channel();
    let theirs = scene.clone();
    let _hook = on_stall(move |report| {
        if report.name() == Some("stalls") && !report.has_ended() {
            let seen = whole().and_then(|seen| check(&seen, &theirs));
            let bodies = report.laggards().len();
            let checked = seen.and_then(|()| same("laggards", bodies, 1));
            // Another report may come before the first is taken.
            reports.send(checked).unwrap_or(());
        }
    });
    let builder = TaskGroup::builder().name("stalls");
    let outcome = builder.stall_after(Duration::from_millis(1)).scope(|g| {
        g.cancel();
        Ok::<_, anyhow::Error>(reported.recv_timeout(LONG)?)
    });
    outcome.unwrap_or_else(|error| Err(format!("{error:#}")))
}

/// The dumps of this process, as texts.
static DUMPS: OnceLock<Mutex<mpsc::Receiver<String>>> = OnceLock::new();

/// Sends the dumps, and all else that is written to stderr, to `DUMPS`.
pub(super) fn catch_dumps() {
    let (reads, writes) = UnixStream::pair().expect("there are descriptors");
    rustix::stdio::dup2_stderr(&writes).expect("it can be replaced");
    taskgroup::dump_on_signal(SIGQUIT).expect("it can be handled");

    let (sends, dumps) = mpsc::channel();
    thread::spawn(move || {
        let mut dump = String::new();
        for line in BufReader::new(reads).lines() {
            let line = line.expect("a dump is a text");
            dump = dump + &line + "\n";
            if line.contains("end of the dump") {
                sends.send(std::mem::take(&mut dump)).unwrap_or(());
            }
        }
    });
    DUMPS.get_or_init(|| Mutex::new(dumps));
}

/// Takes a dump in which no thread was busy.
fn whole_dump() -> Result<String, String> {
    let dumps = DUMPS.get().ok_or("nothing catches the dumps")?;
    for _ in 0..10_000 {
        raise(SIGQUIT).map_err(|error| error.to_string())?;
        let dump = dumps.lock().unwrap().recv_timeout(LONG);
        let dump = dump.map_err(|error| error.to_string())?;
        if !dump.contains("busy at that moment") {
            return Ok(dump);
        }
        thread::yield_now();
    }
    Err("a thread is busy in each dump".to_owned())
}

fn a_dump(scene: &Scene) -> Checked {
    let dump = whole_dump()?;
    for id in &scene.run {
        // Numbers are counted up, so each is one word.
        let number = format!("{id:?}");
        let number = number.trim_matches(|c: char| !c.is_ascii_digit());
        if !dump.contains(&format!("task {number} ")) {
            return Err(format!("no task {number} in {dump}"));
        }
    }
    Ok(())
}

/// Runs a scope under a subscriber that looks at the scene whenever it is called.
fn a_subscriber(scene: &Scene) -> Checked {
    let faults = Arc::new(Mutex::new(Vec::new()));
    let calls = Arc::new(AtomicUsize::new(0));
    let (found, called, scene) = (faults.clone(), calls.clone(), scene.clone());
    let listener = Listener {
        level: tracing::Level::TRACE,
        hears: move |_| {
            called.fetch_add(1, SeqCst);
            let checked = whole().and_then(|seen| check(&seen, &scene));
            found.lock().unwrap().extend(checked.err());
        },
    };
    let outcome = tracing::subscriber::with_default(listener, || {
        // In a shield, so that its task runs in each state.
        shield(|| {
            TaskGroup::scope(|g| {
                g.spawn(|| -> anyhow::Result<()> { anyhow::bail!("for an event") });
                Ok(())
            })
        })
    });
    same("an outcome", outcome.is_err(), true)?;
    same("no event", calls.load(SeqCst) == 0, false)?;
    let mut faults = faults.lock().unwrap();
    faults.drain(..).next().map_or(Ok(()), Err)
}

fn stats(scene: &Scene) -> Checked {
    let stats = taskgroup::stats();
    let live = (scene.run.len() + scene.wait.len()) as u64;
    same("too few live tasks", stats.live() < live, false)?;
    same(
        "too few queued tasks",
        stats.queued < scene.wait.len() as u64,
        false,
    )
}
