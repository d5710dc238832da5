//! A run as a picture: one lane for each thread, tasks as bars, cancels as lines, waits hatched.
//!
//! The bars come from the spans that taskgroup sends to a subscriber of `tracing`, the waits from
//! snapshots of the process, taken every few milliseconds while the run lasts.

mod draw;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, SpanRef};

/// How many events and waits are kept. Later events are counted, and the picture has a gap in their
/// place. So the memory of a recorder has a limit, however long the run is.
const MOST_EVENTS: usize = 100_000;

/// The time between two snapshots.
const SAMPLE: Duration = Duration::from_millis(2);

/// Something that happened, at a time since the beginning.
#[derive(Debug)]
enum Happened {
    /// A thread entered the span of a task or a group.
    Enter(ThreadId, u64),
    Exit(ThreadId, u64),
    Cancel(String),
}

/// The recorded facts of a span.
#[derive(Clone, Debug, Default)]
struct Known {
    name: String,
    outcome: Option<String>,
    is_group: bool,
}

#[derive(Debug, Default)]
struct Recorded {
    events: Vec<(Duration, Happened)>,
    /// How many events there was no room for.
    lost: usize,
    /// When the first of them happened.
    lost_from: Duration,
    spans: HashMap<u64, Known>,
    threads: Vec<(ThreadId, String)>,
    /// The numbers of tasks, by the numbers of their spans.
    tasks: HashMap<u64, u64>,
    /// The waits of each task.
    waits: HashMap<u64, Vec<(Duration, Duration)>>,
    /// How many waits there are, of all tasks.
    waits_kept: usize,
    /// The cancels that there is a line for, by the token that was cancelled and the cause.
    cancels: HashSet<(String, String)>,
}

/// Records a run: a layer for a subscriber of `tracing`, and a thread that takes snapshots.
#[derive(Debug)]
pub struct Recorder {
    shared: Arc<Shared>,
    stop: mpsc::Sender<()>,
    sampler: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    begun: Instant,
    recorded: Mutex<Recorded>,
}

/// The layer of a [`Recorder`].
#[derive(Debug)]
pub struct Recording(Arc<Shared>);

impl Shared {
    fn recorded(&self) -> MutexGuard<'_, Recorded> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, event: Happened) {
        let at = self.begun.elapsed();
        self.recorded().push(at, event);
    }
}

impl Recorded {
    /// Whether nothing more is kept.
    fn is_full(&self) -> bool {
        self.events.len() + self.waits_kept >= MOST_EVENTS
    }

    fn push(&mut self, at: Duration, event: Happened) {
        // An event that there is no room for is the beginning of the gap.
        if self.lost == 0 && !self.is_full() {
            self.events.push((at, event));
            return;
        }
        if self.lost == 0 {
            self.lost_from = at;
        }
        self.lost += 1;
    }

    /// Notes that a task was in a wait that had begun at one moment and not ended at the other.
    fn waits_at(&mut self, task: u64, begin: Duration, after: Duration) {
        let is_full = self.is_full();
        let waits = self.waits.entry(task).or_default();
        match waits.last_mut() {
            // The same wait, or another that began within a sample.
            Some((_, end)) if begin.saturating_sub(*end) < 2 * SAMPLE => *end = after,
            _ if is_full => {}
            _ => {
                waits.push((begin, after));
                self.waits_kept += 1;
            }
        }
    }
}

impl Recorder {
    /// Begins to record.
    ///
    /// # Errors
    ///
    /// If the system has no thread for the snapshots.
    pub fn start() -> anyhow::Result<(Self, Recording)> {
        let shared = Arc::new(Shared {
            begun: Instant::now(),
            recorded: Mutex::default(),
        });
        let (stop, stopped) = mpsc::channel();
        let theirs = shared.clone();
        let sampler = thread::Builder::new().name("sampler".into());
        let sampler = sampler.spawn(move || {
            while stopped.recv_timeout(SAMPLE) == Err(mpsc::RecvTimeoutError::Timeout) {
                sample(&theirs);
            }
        })?;
        let recorder = Recorder {
            shared: shared.clone(),
            stop,
            sampler,
        };
        Ok((recorder, Recording(shared)))
    }

    /// Ends the record, and makes a timeline of it.
    ///
    /// # Errors
    ///
    /// If the thread of the snapshots has panicked.
    pub fn finish(self) -> anyhow::Result<Timeline> {
        drop(self.stop);
        self.sampler
            .join()
            .map_err(|_| anyhow!("the sampler has panicked"))?;
        // A little more than the run, so that its end can be seen.
        let end = self.shared.begun.elapsed() * 17 / 16;
        Ok(Timeline::new(&self.shared.recorded(), end))
    }
}

/// Notes what each task waits for now.
fn sample(shared: &Shared) {
    if shared.recorded().is_full() {
        return;
    }
    let before = shared.begun.elapsed();
    let seen = taskgroup::snapshot();
    let waiting: Vec<_> = seen
        .tasks()
        .filter_map(|task| Some((format!("{:?}", task.id()), task.waits()?.since())))
        .collect();
    let after = shared.begun.elapsed();

    let mut recorded = shared.recorded();
    for (id, since) in waiting {
        // Where samples come late, a wait is known from when the thread went to sleep.
        if let Some(id) = number(&id) {
            recorded.waits_at(id, before.saturating_sub(since), after);
        }
    }
}

/// Returns the number in a text such as `TaskId(7)`.
fn number(text: &str) -> Option<u64> {
    text.trim_matches(|c: char| !c.is_ascii_digit())
        .parse()
        .ok()
}

/// The fields of a span or an event, as texts.
#[derive(Default)]
struct Fields(HashMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

/// The name of the task or the group that a span is of.
struct Name(String);

/// Returns the name of the task or the group that a span is of, for layers that come after the
/// recording. Of another span it is the name of the span itself.
pub fn name_of_span<'a, S: LookupSpan<'a>>(span: &SpanRef<'a, S>) -> String {
    let extensions = span.extensions();
    let name = extensions.get::<Name>().map(|name| name.0.clone());
    name.unwrap_or_else(|| span.name().to_owned())
}

/// Returns what an event says.
pub fn message_of(event: &Event<'_>) -> String {
    let mut fields = Fields::default();
    event.record(&mut fields);
    let message = fields.0.remove("message");
    message.unwrap_or_else(|| event.metadata().name().to_owned())
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target() == "taskgroup"
}

impl<S> Layer<S> for Recording
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if !is_ours(attributes.metadata()) {
            return;
        }
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let is_group = attributes.metadata().name() == "group";
        let task = fields.0.remove("id").unwrap_or_default();
        let name = fields.0.remove("name");
        let name = name.unwrap_or_else(|| format!("{} {task}", attributes.metadata().name()));
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(Name(name.clone()));
        }
        let known = Known {
            name,
            outcome: None,
            is_group,
        };

        let mut recorded = self.0.recorded();
        if recorded.is_full() {
            return;
        }
        recorded.spans.insert(id.into_u64(), known);
        if let Ok(task) = task.parse() {
            recorded.tasks.insert(id.into_u64(), task);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        values.record(&mut fields);
        if let Some(known) = self.0.recorded().spans.get_mut(&id.into_u64()) {
            known.outcome = fields.0.remove("outcome").or(known.outcome.take());
        }
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        // Other spans are entered and left too.
        if !context.metadata(id).is_some_and(is_ours) {
            return;
        }
        let thread = thread::current();
        let mut recorded = self.0.recorded();
        if !recorded.is_full() && !recorded.threads.iter().any(|(of, _)| *of == thread.id()) {
            let name = thread.name().unwrap_or("thread").to_owned();
            recorded.threads.push((thread.id(), name));
        }
        drop(recorded);
        self.0.push(Happened::Enter(thread.id(), id.into_u64()));
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        if context.metadata(id).is_some_and(is_ours) {
            self.0
                .push(Happened::Exit(thread::current().id(), id.into_u64()));
        }
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if !is_ours(event.metadata()) {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        if fields.0.get("message").map(String::as_str) != Some("cancelled") {
            return;
        }

        // One line for a cancel, even if it reaches several groups.
        let cause = fields.0.remove("cause").unwrap_or_default();
        let origin = fields.0.remove("origin").unwrap_or_default();
        let cancel = (origin, cause.clone());
        let mut recorded = self.0.recorded();
        if recorded.is_full() || recorded.cancels.insert(cancel) {
            drop(recorded);
            self.0.push(Happened::Cancel(cause));
        }
    }
}

/// A bar: a thread inside of a task, or of the scope of a group.
#[derive(Debug)]
struct Bar {
    name: String,
    is_group: bool,
    begin: Duration,
    /// None if it has not ended.
    end: Option<Duration>,
    outcome: Option<String>,
    /// How many bars of its lane it stands in.
    depth: usize,
    waits: Vec<(Duration, Duration)>,
}

impl Bar {
    /// Returns the bar of a span that is entered inside of `depth` others; none if the span is not
    /// known.
    fn begun(recorded: &Recorded, span: u64, at: Duration, depth: usize) -> Option<Self> {
        let known = recorded.spans.get(&span)?;
        let task = recorded.tasks.get(&span).filter(|_| !known.is_group);
        let waits = task.and_then(|task| recorded.waits.get(task));
        Some(Bar {
            name: known.name.clone(),
            is_group: known.is_group,
            begin: at,
            end: None,
            outcome: known.outcome.clone(),
            depth,
            waits: waits.cloned().unwrap_or_default(),
        })
    }
}

/// A run, as lanes of bars.
#[derive(Debug)]
pub struct Timeline {
    lanes: Vec<(String, Vec<Bar>)>,
    cancels: Vec<(Duration, String)>,
    end: Duration,
    /// How many events are missing, and since when.
    lost: Option<(usize, Duration)>,
}

impl Timeline {
    fn new(recorded: &Recorded, end: Duration) -> Self {
        let mut lanes: Vec<(String, Vec<Bar>)> = Vec::new();
        let mut by_thread = HashMap::new();
        for (thread, name) in &recorded.threads {
            by_thread.insert(*thread, lanes.len());
            lanes.push((name.clone(), Vec::new()));
        }

        let mut open: BTreeMap<usize, Vec<(u64, usize)>> = BTreeMap::new();
        let mut cancels = Vec::new();
        for (at, event) in &recorded.events {
            match event {
                Happened::Cancel(cause) => cancels.push((*at, cause.clone())),
                Happened::Enter(thread, span) => {
                    if let Some(&lane) = by_thread.get(thread) {
                        let inside = open.entry(lane).or_default();
                        let bars = &mut lanes[lane].1;
                        if let Some(bar) = Bar::begun(recorded, *span, *at, inside.len()) {
                            inside.push((*span, bars.len()));
                            bars.push(bar);
                        }
                    }
                }
                Happened::Exit(thread, span) => {
                    let lane = by_thread.get(thread).copied().unwrap_or(usize::MAX);
                    let Some(inside) = open.get_mut(&lane) else {
                        continue;
                    };
                    // Mostly the last. A subscriber may leave spans in another order.
                    if let Some(index) = inside.iter().rposition(|(of, _)| of == span) {
                        let (_, bar) = inside.remove(index);
                        lanes[lane].1[bar].end = Some(*at);
                    }
                }
            }
        }

        let lost = (recorded.lost != 0).then_some((recorded.lost, recorded.lost_from));
        if let Some((_, from)) = lost {
            // Their ends may be missing, so it is not known how long they went on.
            for (lane, inside) in &open {
                let bars = &mut lanes[*lane].1;
                inside
                    .iter()
                    .for_each(|(_, bar)| bars[*bar].end = Some(from));
            }
        }

        Timeline {
            lanes,
            cancels,
            end,
            lost,
        }
    }

    /// Returns how many lanes there are, and how many bars of tasks.
    pub fn size(&self) -> (usize, usize) {
        let bars = self.lanes.iter().flat_map(|(_, bars)| bars);
        (self.lanes.len(), bars.filter(|bar| !bar.is_group).count())
    }
}

#[cfg(test)]
mod tests {
    #[cfg(unix)]
    use std::os::unix::thread::JoinHandleExt;

    use taskgroup::TaskGroup;
    #[cfg(unix)]
    use tracing::Dispatch;
    #[cfg(unix)]
    use tracing::dispatcher;
    use tracing::subscriber::with_default;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// Opens a scope with this many tasks.
    fn run(tasks: usize) {
        let scope = TaskGroup::scope(|g| {
            for _ in 0..tasks {
                g.task().name("brief").spawn(|| Ok(()));
            }
            g.cancel_because("for a test");
            Ok(())
        });
        scope.expect("no task fails");
    }

    /// A system gives the handle of a thread that has ended to a new one.
    #[cfg(unix)]
    #[test]
    fn a_thread_with_the_handle_of_one_that_has_ended_has_a_lane_of_its_own() {
        let (recorder, recording) = Recorder::start().expect("there is a thread left");
        let dispatch = Dispatch::new(tracing_subscriber::registry().with(recording));
        let (mut handles, mut threads) = (HashSet::new(), 0);
        let mut is_new = true;
        while is_new {
            let dispatch = dispatch.clone();
            let opens = || TaskGroup::scope(|_| Ok(()));
            let thread = thread::spawn(move || dispatcher::with_default(&dispatch, opens));
            is_new = handles.insert(thread.as_pthread_t());
            let ended = thread.join().expect("it does not panic");
            ended.expect("there is no task");
            threads += 1;
        }
        let timeline = recorder.finish().expect("no snapshot fails");
        assert_eq!(timeline.size(), (threads, 0));
    }

    #[test]
    fn a_recorder_that_is_full_counts_and_keeps_nothing_more() {
        let (recorder, recording) = Recorder::start().expect("there is a thread left");
        let shared = recorder.shared.clone();
        with_default(tracing_subscriber::registry().with(recording), || {
            run(1);
            // Half of it by events, and half by waits.
            let mut recorded = shared.recorded();
            while recorded.events.len() < MOST_EVENTS / 2 {
                recorded.push(Duration::ZERO, Happened::Cancel("fills it".into()));
            }
            for task in 0.. {
                if recorded.is_full() {
                    break;
                }
                recorded.waits_at(task, Duration::ZERO, Duration::ZERO);
            }
            let kept = sizes(&recorded);
            drop(recorded);

            run(100);
            let recorded = shared.recorded();
            assert_eq!(sizes(&recorded), kept);
            // At least the group was entered and left, and cancelled.
            assert!(recorded.lost >= 3, "{}", recorded.lost);
        });
        let timeline = recorder.finish().expect("it has not panicked");
        assert!(timeline.lost.is_some());
    }

    /// The samples of a busy machine come late.
    #[test]
    fn a_wait_is_known_from_its_begin_although_a_sample_comes_late() {
        const LATE: Duration = Duration::from_millis(30);
        let minute = Duration::from_secs(60);
        let shared = Shared {
            begun: Instant::now().checked_sub(minute).expect("it is up"),
            recorded: Mutex::default(),
        };
        let event = taskgroup::sync::Event::new();
        let scope = TaskGroup::scope(|g| {
            let task = g.spawn(|| Ok(event.wait()?)).id();
            let id = number(&format!("{task:?}")).expect("it has a number");
            let since = || {
                let seen = taskgroup::snapshot();
                let task = seen.tasks().find(|seen| seen.id() == task)?;
                Some(task.waits()?.since())
            };
            while since().is_none_or(|since| since < LATE) {
                thread::yield_now();
            }

            // The second sample finds the same wait.
            while !shared.recorded().waits.contains_key(&id) {
                sample(&shared);
            }
            thread::sleep(4 * SAMPLE);
            sample(&shared);
            let waits = shared.recorded().waits.remove(&id).expect("it waits");
            assert_eq!(waits.len(), 1, "{waits:?}");
            assert!(waits[0].1 - waits[0].0 >= LATE, "{waits:?}");
            event.set();
            Ok(())
        });
        scope.expect("no task fails");
    }

    fn sizes(recorded: &Recorded) -> [usize; 5] {
        [
            recorded.events.len(),
            recorded.spans.len(),
            recorded.tasks.len(),
            recorded.cancels.len(),
            recorded.waits_kept,
        ]
    }
}
