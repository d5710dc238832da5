//! A snapshot as a viewer gets it: version 1 of its form, as far as it is shown.

use std::time::Duration;

use serde::Deserialize;

/// The one version of the form that this viewer reads.
pub(crate) const VERSION: u32 = 1;

/// A process at one moment.
#[derive(Debug, Default, Deserialize)]
pub struct Picture {
    pub(crate) process: Process,
    pub(crate) cancellable: Vec<u64>,
    pub(crate) snapshot: Snapshot,
}

/// The numbers of the process.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Process {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) queued: u64,
    pub(crate) running: u64,
    pub(crate) finished: u64,
    pub(crate) failed: u64,
    pub(crate) cancelled: u64,
    pub(crate) threads: usize,
    pub(crate) peak_threads: usize,
    pub(crate) idle_workers: usize,
    pub(crate) longest_cancel_ns: u64,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Snapshot {
    pub(crate) groups: Vec<Group>,
    pub(crate) tasks: Vec<Task>,
    pub(crate) abandoned: Vec<Abandoned>,
    pub(crate) incomplete: usize,
    pub(crate) notes: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Group {
    pub(crate) id: u64,
    pub(crate) parent: Option<u64>,
    pub(crate) name: Option<String>,
    pub(crate) location: Place,
    pub(crate) limit: Option<Limit>,
    pub(crate) remaining_ns: Option<u64>,
    pub(crate) cancelled: Option<Cancel>,
    pub(crate) queued: usize,
    pub(crate) is_ending: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Limit {
    pub(crate) total: usize,
    pub(crate) held: usize,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Cancel {
    pub(crate) text: String,
    pub(crate) location: Place,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Task {
    pub(crate) id: u64,
    pub(crate) kind: String,
    pub(crate) group: Option<u64>,
    pub(crate) name: Option<String>,
    pub(crate) location: Place,
    pub(crate) state: String,
    pub(crate) is_starting: bool,
    pub(crate) thread: Option<String>,
    pub(crate) system_thread: Option<u32>,
    pub(crate) wait: Option<Wait>,
    pub(crate) cancels_seen: u32,
    pub(crate) cancel_seen_at: Option<Place>,
    pub(crate) inside: Vec<Inside>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Wait {
    pub(crate) what: String,
    pub(crate) location: Option<Place>,
    pub(crate) object: Option<String>,
    pub(crate) target: Option<String>,
    pub(crate) group: Option<u64>,
    pub(crate) holders: Vec<u64>,
    pub(crate) held_by: Vec<Holder>,
    pub(crate) since_ns: u64,
    pub(crate) is_cancellable: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Holder {
    pub(crate) task: Option<u64>,
    pub(crate) name: Option<String>,
    pub(crate) thread: Option<String>,
    pub(crate) location: Option<Place>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Inside {
    pub(crate) region: String,
    pub(crate) location: Place,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Abandoned {
    pub(crate) name: Option<String>,
    pub(crate) location: Place,
    pub(crate) since_ns: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Place {
    pub(crate) file: String,
    pub(crate) line: u32,
}

/// The version of a picture, whatever its other fields are.
#[derive(Debug, Deserialize)]
struct Form {
    snapshot: Version,
}

#[derive(Debug, Deserialize)]
struct Version {
    version: u32,
}

/// Any line that a server sends.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Line {
    Outcome { answer: String },
    Refused { refused: String },
}

impl Picture {
    /// Reads the line that a server sends.
    ///
    /// # Errors
    ///
    /// The line is a refusal, no picture, or a picture of another version.
    pub fn read(json: &str) -> anyhow::Result<Self> {
        let no_picture = |error| anyhow::anyhow!("this is no picture of a process: {error}");

        // First the version: another one may lack fields that this one has.
        let form: Form = match serde_json::from_str(json) {
            Ok(form) => form,
            Err(error) => match serde_json::from_str(json) {
                Ok(Line::Refused { refused }) => anyhow::bail!(escaped(&refused)),
                _ => return Err(no_picture(error)),
            },
        };
        let version = form.snapshot.version;
        if version != VERSION {
            anyhow::bail!("the process sends version {version}, and this reads {VERSION}");
        }
        serde_json::from_str(json).map_err(no_picture)
    }
}

/// The most characters of a name that are shown.
const LONGEST_NAME: usize = 120;

/// Returns a text of the process with its control characters escaped, and cut if it is long.
pub fn escaped(text: &str) -> String {
    let mut shown = String::new();
    for (at, c) in text.chars().enumerate() {
        if at == LONGEST_NAME {
            shown.push_str("..");
            break;
        }
        // Characters that turn the direction of the text would turn the rest of the line as well.
        let is_turn = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}' | '\u{61c}');
        if c.is_control() || is_turn {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Returns a time in the unit that fits.
pub(crate) fn span(nanos: u64) -> String {
    let time = Duration::from_nanos(nanos);
    match time.as_secs() {
        0 if time.as_millis() == 0 => format!("{} µs", time.as_micros()),
        0 => format!("{} ms", time.as_millis()),
        1..100 => format!("{:.1} s", time.as_secs_f64()),
        100..6000 => format!("{} min", time.as_secs() / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

impl Place {
    pub(crate) fn shown(&self) -> String {
        format!("{}:{}", escaped(&self.file), self.line)
    }

    /// Returns the file with its folder alone, and the line.
    pub(crate) fn short(&self) -> String {
        let mut parts = self.file.rsplitn(3, '/');
        let (name, folder) = (parts.next().unwrap_or_default(), parts.next());
        match folder {
            Some(folder) => format!("{}/{}:{}", escaped(folder), escaped(name), self.line),
            None => format!("{}:{}", escaped(name), self.line),
        }
    }
}

/// Returns a number with a name, if there is one.
pub(crate) fn named(kind: &str, id: u64, name: Option<&str>) -> String {
    match name {
        Some(name) => format!("{kind} {id} `{}`", escaped(name)),
        None => format!("{kind} {id}"),
    }
}

impl Group {
    pub(crate) fn shown(&self) -> String {
        named("group", self.id, self.name.as_deref())
    }
}

impl Holder {
    pub(crate) fn shown(&self) -> String {
        match (self.task, &self.thread) {
            (Some(task), _) => named("task", task, self.name.as_deref()),
            (None, Some(thread)) => format!("thread `{}`", escaped(thread)),
            (None, None) => "a thread".to_owned(),
        }
    }
}
