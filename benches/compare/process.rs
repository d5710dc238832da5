//! What the operating system says about this machine and process, and figures taken in a child.

use std::process::Command;
use std::{env, fs, thread};

use anyhow::{Context, ensure};

pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) cpu: String,
    pub(crate) load: String,
}

pub(crate) fn machine() -> Machine {
    let cpu = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| field(&text, "model name").map(str::to_owned));
    let load = fs::read_to_string("/proc/loadavg").ok();
    Machine {
        cores: cores(),
        cpu: cpu.unwrap_or_else(|| "unknown processor".to_owned()),
        load: load.as_deref().and_then(|text| text.split_whitespace().next()).unwrap_or("unknown").to_owned(),
    }
}

pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Whether the figures that are read from `/proc` can be had here.
pub(crate) fn has_proc() -> bool {
    cfg!(target_os = "linux")
}

pub(crate) fn threads() -> anyhow::Result<usize> {
    Ok(fs::read_dir("/proc/self/task").context("cannot count the threads")?.count())
}

pub(crate) fn resident_kib() -> anyhow::Result<f64> {
    let status = fs::read_to_string("/proc/self/status").context("cannot read the resident memory")?;
    let resident = field(&status, "VmRSS").context("no VmRSS in /proc/self/status")?;
    let kib = resident.strip_suffix(" kB").with_context(|| format!("VmRSS in an unknown unit: {resident}"))?;
    Ok(kib.trim().parse()?)
}

/// Has a fresh process of this program take `figure`.
pub(crate) fn in_child(figure: &str) -> anyhow::Result<f64> {
    let output = Command::new(env::current_exe()?).args(["--child", figure]).output()?;
    ensure!(output.status.success(), "child for {figure}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().with_context(|| format!("child for {figure} printed {text:?}"))
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim())
}
