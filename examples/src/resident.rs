use std::{fs, thread, time::Duration};

use anyhow::Context;

/// Returns the bytes of stacks and heap of this process that are in memory: the written pages, and
/// not its code. For Linux.
///
/// # Errors
///
/// If the system does not tell.
pub fn resident() -> anyhow::Result<usize> {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup")
        .context("this system does not tell the resident memory")?;
    let line = rollup
        .lines()
        .find_map(|line| line.strip_prefix("Anonymous:"))
        .context("no line on anonymous memory")?;
    let kib: usize = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib << 10)
}

/// Returns [`resident`] once this process has so many threads besides the main one and it no longer
/// changes: then all that were about to block have blocked.
///
/// # Errors
///
/// Like [`resident`].
pub fn settled(threads: usize) -> anyhow::Result<usize> {
    let mut last = 0;
    loop {
        let now = resident()?;
        if now == last && fs::read_dir("/proc/self/task")?.count() > threads {
            return Ok(now);
        }
        last = now;
        thread::sleep(Duration::from_millis(20));
    }
}
