//! Reads facts about this machine and process from the operating system, and figures from a child.

use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use anyhow::{Context, ensure};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Resource, getrlimit, setrlimit};

pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) cpu: String,
    pub(crate) load: String,
    pub(crate) kernel: String,
    pub(crate) rustc: String,
}

pub(crate) fn machine() -> Machine {
    let cpu = fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| field(&text, "model name").map(str::to_owned));
    let load = fs::read_to_string("/proc/loadavg").ok();
    let kernel = ["ostype", "osrelease"]
        .map(|part| fs::read_to_string(format!("/proc/sys/kernel/{part}")).ok());
    let rustc = Command::new("rustc")
        .arg("--version")
        .output()
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok());
    Machine {
        cores: cores(),
        cpu: cpu.unwrap_or_else(|| "unknown processor".to_owned()),
        load: load
            .as_deref()
            .and_then(|text| text.split_whitespace().next())
            .unwrap_or("unknown")
            .to_owned(),
        kernel: match kernel {
            // The version is followed by the name of a build.
            [Some(system), Some(release)] => {
                format!(
                    "{} {}",
                    system.trim(),
                    release.split('-').next().unwrap_or_default().trim()
                )
            }
            _ => env::consts::OS.to_owned(),
        },
        rustc: rustc.map_or_else(|| "unknown".to_owned(), |version| version.trim().to_owned()),
    }
}

pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Lets this process open `count` descriptors beside those of its idle workers and of its own.
pub(crate) fn need_descriptors(count: usize) -> anyhow::Result<()> {
    let needed = count as u64 + 200;
    let mut limit = getrlimit(Resource::Nofile);
    ensure!(
        limit.maximum.is_none_or(|maximum| maximum >= needed),
        "it takes {needed} descriptors, and `ulimit -Hn` allows {}",
        limit.maximum.unwrap_or_default()
    );
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).context("cannot raise the limit of descriptors")
}

/// Returns whether a process can have so many threads here. Otherwise says on stderr what it lacks.
///
/// A thread that std starts has four mappings: two stacks, each with its guard. A process that
/// comes to the limit of its mappings while a thread starts is aborted.
pub(crate) fn can_have_threads(row: &str, threads: usize) -> bool {
    let needed = 4 * threads + 2_000;
    let allowed = fs::read_to_string("/proc/sys/vm/max_map_count");
    let allowed = allowed.ok().and_then(|allowed| allowed.trim().parse().ok());
    let enough = allowed.is_none_or(|allowed: usize| allowed >= needed);
    if !enough {
        eprintln!(
            "{row}: {threads} threads are left out: they take {needed} mappings, and \
             vm.max_map_count allows {}",
            allowed.unwrap_or_default()
        );
    }
    enough
}

/// Whether this system has the figures that are read from `/proc`.
pub(crate) fn has_proc() -> bool {
    cfg!(target_os = "linux")
}

/// Processor time so far, in ticks: of the whole machine, its busy part, and the part of this
/// process and its children.
#[derive(Clone, Copy)]
pub(crate) struct Ticks {
    total: u64,
    busy: u64,
    own: u64,
}

impl Ticks {
    pub(crate) fn now() -> Option<Self> {
        let stat = fs::read_to_string("/proc/stat").ok()?;

        // user, nice, system, idle, iowait, irq, softirq, steal; the later fields are contained in
        // the first two.
        let all: Vec<u64> = stat
            .lines()
            .next()?
            .split_whitespace()
            .skip(1)
            .take(8)
            .map_while(|n| n.parse().ok())
            .collect();
        let total = all.iter().sum();
        let idle = all.get(3)? + all.get(4)?;
        let own = fs::read_to_string("/proc/self/stat").ok()?;

        // The second field is the program's name, which may hold spaces; utime, stime, cutime and
        // cstime are fields 14 to 17.
        let (_, fields) = own.rsplit_once(')')?;
        let own = fields
            .split_whitespace()
            .skip(11)
            .take(4)
            .map_while(|n| n.parse::<u64>().ok())
            .sum();
        Some(Ticks {
            total,
            busy: total - idle,
            own,
        })
    }

    /// Returns the part of the machine that other processes have used between `earlier` and now,
    /// from 0 to 1.
    pub(crate) fn used_by_others_since(earlier: Option<Ticks>) -> Option<f64> {
        let (earlier, now) = (earlier?, Ticks::now()?);
        let others = (now.busy.saturating_sub(earlier.busy)).saturating_sub(now.own - earlier.own);
        Some(others as f64 / now.total.saturating_sub(earlier.total).max(1) as f64)
    }
}

pub(crate) fn threads() -> anyhow::Result<usize> {
    let status = fs::read_to_string("/proc/self/status").context("cannot count the threads")?;
    let threads = field(&status, "Threads").context("no Threads in /proc/self/status")?;
    Ok(threads.trim().parse()?)
}

/// Takes a sample of threads of std, and waits until they have exited.
///
/// A scope of std returns when its closures have returned. Its threads exit after that, which takes
/// the processor and the lock of the address space from the next contestant: 16 000 of them for
/// seconds.
pub(crate) fn until_threads_exit<T>(
    sample: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let others = threads()?;
    let sampled = sample()?;
    let give_up = Instant::now() + Duration::from_secs(60);
    while threads()? > others {
        ensure!(
            Instant::now() < give_up,
            "the threads of a scope do not exit"
        );
        thread::sleep(Duration::from_millis(1));
    }
    Ok(sampled)
}

pub(crate) fn resident_kib() -> anyhow::Result<f64> {
    let status =
        fs::read_to_string("/proc/self/status").context("cannot read the resident memory")?;
    let resident = field(&status, "VmRSS").context("no VmRSS in /proc/self/status")?;
    let kib = resident
        .strip_suffix(" kB")
        .with_context(|| format!("VmRSS in an unknown unit: {resident}"))?;
    Ok(kib.trim().parse()?)
}

/// Takes `figure` in a new process of this program.
pub(crate) fn in_child(figure: &str) -> anyhow::Result<f64> {
    let (empty, open) = pipe_with(PipeFlags::CLOEXEC)?;
    let output = Command::new(env::current_exe()?)
        .args(["--child", figure])
        // For the figure of a read from it: a pipe that stays empty and open until the child ends.
        .stdin(empty)
        .output()?;
    drop(open);
    ensure!(
        output.status.success(),
        "child for {figure}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim()
        .parse()
        .with_context(|| format!("child for {figure} printed {text:?}"))
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim())
}
