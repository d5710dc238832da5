//! Every way to look inside, from every place, at scopes in every state.
//!
//! The tests of a look know what it shows, and the tests of a state know the state. Here each look
//! meets each place and each state: none hangs, panics or misses a task, and the counts add up.
#![cfg(all(target_os = "linux", feature = "signal"))]

mod support;

use std::collections::HashSet;
use std::fmt::Debug;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use signal_hook::consts::SIGQUIT;
use signal_hook::low_level::raise;
use support::{Gate, LONG, Listener, alone, blocked, until, watch};
use taskgroup::{
    Builder, CancelToken, GroupError, Snapshot, TaskGroup, TaskId, TaskSnapshot, TokenId,
    abandon_named, abandoned, on_stall, shield, snapshot, timeout, winding_down,
};

/// What every look has to find.
#[derive(Clone, Debug)]
struct Scene {
    group: TokenId,
    /// The tasks that run.
    run: Vec<TaskId>,
    /// The tasks in the queue.
    wait: Vec<TaskId>,
    abandoned: usize,
}

type Checked = Result<(), String>;

/// Returns an error with a text if the values differ.
fn same<T: PartialEq + Debug>(what: &str, is: T, should: T) -> Checked {
    if is == should {
        return Ok(());
    }
    Err(format!("{what}: {is:?} in place of {should:?}"))
}

/// A look at the scene. It must not panic: it runs in a panic hook, too.
type Look = fn(&Scene) -> Checked;

const LOOKS: &[(&str, Look)] = &[
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
fn catch_dumps() {
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

fn a_dump(scene: &Scene) -> Checked {
    raise(SIGQUIT).map_err(|error| error.to_string())?;
    let dumps = DUMPS.get().ok_or("nothing catches the dumps")?;
    let dump = dumps.lock().unwrap().recv_timeout(LONG);
    let dump = dump.map_err(|error| error.to_string())?;
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

type Job = Arc<dyn Fn() + Send + Sync>;

/// Runs a job in a place, on the thread of a task.
type Place = fn(Job);

const PLACES: &[(&str, Place)] = &[
    ("a task", |job| job()),
    ("a callback", in_a_callback),
    ("a destructor", in_a_destructor),
    ("a panic hook", in_a_panic_hook),
    ("another thread", in_another_thread),
];

fn in_a_callback(job: Job) {
    let token = CancelToken::new();
    let guard = token.on_cancel(move || job());
    token.cancel();
    drop(guard);
}

struct OnDrop(Job);

impl Drop for OnDrop {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// In the destructor of a value that a panic drops.
fn in_a_destructor(job: Job) {
    let dropped = OnDrop(job);
    let unwound = catch_unwind(AssertUnwindSafe(move || {
        let _dropped = dropped;
        panic_any(());
    }));
    assert!(unwound.is_err());
}

/// What the panic hook does next.
static IN_HOOK: Mutex<Option<Job>> = Mutex::new(None);

fn in_a_panic_hook(job: Job) {
    *IN_HOOK.lock().unwrap() = Some(job);
    assert!(catch_unwind(|| panic_any(())).is_err());
}

fn set_hook() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let job = IN_HOOK.lock().unwrap().take();
        match job {
            Some(job) => job(),
            None if info.payload().is::<()>() => {}
            None => before(info),
        }
    }));
}

fn in_another_thread(job: Job) {
    let looks = thread::spawn(move || job());
    looks.join().expect("a look does not panic");
}

/// Calls the function in a task of a scope in this state.
type State = fn(&(dyn Fn(Scene) + Sync));

const STATES: &[(&str, State)] = &[
    ("a scope that runs", a_scope_that_runs),
    ("a cancelled scope", a_cancelled_scope),
    ("a scope past its deadline", a_scope_past_its_deadline),
    ("a shield", a_shield),
    ("a scope that winds down", a_scope_that_winds_down),
    ("a scope with a daemon", a_scope_with_a_daemon),
    ("a thread left behind", a_thread_left_behind),
    ("a task in place", a_task_in_place),
    ("a limited scope with a queue", a_limited_scope_with_a_queue),
];

/// Runs `in_task` in a task of a group, beside another task that is blocked meanwhile, and
/// `in_body` in the body once both have begun.
fn with_another(
    builder: Builder,
    in_task: impl FnOnce(&Gate, Scene) + Send,
    in_body: impl FnOnce(&TaskGroup<'_, '_>),
) -> Result<(), GroupError> {
    let (begun, known, over) = (Gate::default(), Gate::default(), Gate::default());
    let scene = Mutex::new(None);
    builder.scope(|g| {
        let other = g.spawn(|| {
            begun.open();
            over.wait();
            Ok(())
        });
        begun.wait();
        let task = g.spawn(|| {
            known.wait();
            let scene = scene.lock().unwrap().take().expect("it is known");
            let goes_on = Gate::default();
            in_task(&goes_on, scene);
            over.open();
            Ok(())
        });
        *scene.lock().unwrap() = Some(Scene {
            group: g.token().id(),
            run: vec![other.id(), task.id()],
            wait: Vec::new(),
            abandoned: 0,
        });
        // Once it has begun, a cancel finds it running.
        until(|| task.status() == taskgroup::TaskStatus::Running);
        known.open();
        in_body(g);
        Ok(())
    })
}

fn a_scope_that_runs(look: &(dyn Fn(Scene) + Sync)) {
    let outcome = with_another(TaskGroup::builder(), |_, scene| look(scene), |_| ());
    outcome.expect("no task fails");
}

fn a_cancelled_scope(look: &(dyn Fn(Scene) + Sync)) {
    let in_task = |_: &Gate, scene| {
        blocked();
        look(scene);
    };
    let outcome = with_another(TaskGroup::builder(), in_task, |g| g.cancel());
    outcome.expect("a scope absorbs its own cancel");
}

fn a_scope_past_its_deadline(look: &(dyn Fn(Scene) + Sync)) {
    let in_task = |_: &Gate, scene| {
        blocked();
        look(scene);
    };
    // The deadline is set once both tasks run.
    let in_body = |g: &TaskGroup<'_, '_>| g.token().cancel_after(Duration::from_millis(1));
    // Whether it was cut short depends on which of its tasks look.
    let _outcome = with_another(TaskGroup::builder(), in_task, in_body);
}

fn a_shield(look: &(dyn Fn(Scene) + Sync)) {
    let cancelled = Gate::default();
    let in_task = |_: &Gate, scene| {
        shield(|| {
            cancelled.wait();
            look(scene);
        });
    };
    let in_body = |g: &TaskGroup<'_, '_>| {
        g.cancel();
        cancelled.open();
    };
    let outcome = with_another(TaskGroup::builder(), in_task, in_body);
    outcome.expect("a scope absorbs its own cancel");
}

fn a_scope_that_winds_down(look: &(dyn Fn(Scene) + Sync)) {
    let in_task = |_: &Gate, scene| {
        blocked();
        winding_down(|| look(scene));
    };
    let in_body = |g: &TaskGroup<'_, '_>| g.cancel_gracefully(LONG);
    let outcome = with_another(TaskGroup::builder(), in_task, in_body);
    outcome.expect("a scope absorbs its own cancel");
}

fn a_scope_with_a_daemon(look: &(dyn Fn(Scene) + Sync)) {
    let begun = Gate::default();
    let outcome = TaskGroup::scope(|g| {
        let daemon = g.spawn_daemon(|| {
            begun.open();
            Err(blocked().into())
        });
        begun.wait();
        let (group, daemon) = (g.token().id(), daemon.id());
        let task = g.spawn(move || {
            look(Scene {
                group,
                run: vec![daemon],
                wait: Vec::new(),
                abandoned: 0,
            });
            Ok(())
        });
        Ok(task.wait()?)
    });
    outcome.expect("no task fails");
}

fn a_thread_left_behind(look: &(dyn Fn(Scene) + Sync)) {
    let leaves = Arc::new(Gate::default());
    let in_task = |_: &Gate, scene: Scene| {
        let stays = leaves.clone();
        let left = timeout(Duration::ZERO, || {
            Ok::<_, anyhow::Error>(abandon_named("stays", move || stays.wait())?)
        });
        // With no time at all, it may not have begun.
        let left = left.expect("the time limit ends it").is_none();
        look(Scene {
            abandoned: usize::from(left && !abandoned().is_empty()),
            ..scene
        });
    };
    let outcome = with_another(TaskGroup::builder(), in_task, |_| ());
    outcome.expect("no task fails");
    leaves.open();
    until(|| abandoned().is_empty());
}

fn a_task_in_place(look: &(dyn Fn(Scene) + Sync)) {
    let first_may_end = Gate::default();
    let outcome = TaskGroup::builder().limit(1).scope(|g| {
        g.spawn(|| {
            first_may_end.wait();
            Ok(())
        });
        let group = g.token().id();
        // It has the only permit then, so that the task that it joins runs in place.
        drop(g.spawn(move || {
            let here = thread::current().id();
            let task = g.spawn(move || {
                assert_eq!(thread::current().id(), here, "it runs in place");
                look(Scene {
                    group,
                    run: Vec::new(),
                    wait: Vec::new(),
                    abandoned: 0,
                });
                Ok(())
            });
            Ok(task.join()?)
        }));
        first_may_end.open();
        Ok::<_, anyhow::Error>(())
    });
    outcome.expect("no task fails");
}

fn a_limited_scope_with_a_queue(look: &(dyn Fn(Scene) + Sync)) {
    let (known, scene) = (Gate::default(), Mutex::new(None));
    let outcome = TaskGroup::builder().limit(1).scope(|g| {
        let task = g.spawn(|| {
            known.wait();
            look(scene.lock().unwrap().take().expect("it is known"));
            Ok(())
        });
        let wait = (0..5).map(|_| g.spawn(|| Ok(())).id()).collect();
        *scene.lock().unwrap() = Some(Scene {
            group: g.token().id(),
            run: vec![task.id()],
            wait,
            abandoned: 0,
        });
        known.open();
        Ok::<_, anyhow::Error>(())
    });
    outcome.expect("no task fails");
}

/// Runs one combination. Returns the faults that it shows.
fn combine(state: State, place: Place, look: Look) -> Vec<String> {
    let looked = Arc::new(AtomicUsize::new(0));
    let faults = Arc::new(Mutex::new(Vec::new()));
    let ended = catch_unwind(AssertUnwindSafe(|| {
        state(&|scene| {
            let (looked, faults) = (looked.clone(), faults.clone());
            place(Arc::new(move || {
                let checked = look(&scene);
                faults.lock().unwrap().extend(checked.err());
                looked.fetch_add(1, SeqCst);
            }));
        });
    }));

    let mut faults = std::mem::take(&mut *faults.lock().unwrap());
    if let Err(payload) = ended {
        let text = payload.downcast_ref::<String>();
        faults.push(format!("a panic: {text:?}"));
    }
    faults.extend(same("looks", looked.load(SeqCst), 1).err());

    // All scopes have ended.
    faults.extend(same("live tasks", taskgroup::stats().live(), 0).err());
    faults
}

#[test]
fn every_look_from_every_place_at_every_state() {
    alone("every_look_from_every_place_at_every_state", || {
        let _watch = watch();
        set_hook();
        catch_dumps();
        let mut faults = Vec::new();
        for (state, enter) in STATES {
            for (place, run) in PLACES {
                for (look, see) in LOOKS {
                    let found = combine(*enter, *run, *see);
                    let named = |fault| format!("{look} in {place} of {state}: {fault}");
                    faults.extend(found.into_iter().map(named));
                }
            }
        }
        // Standard error has been replaced.
        let text = faults.join("\n");
        println!("{text}");
        assert!(faults.is_empty(), "{text}");
    });
}
