//! A thread that looks on while the programs run: at the tree, the counts and the waits. It must
//! disturb nothing, and it must find no deadlock, since every program ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use taskgroup::deadlock::{self, DeadlockHook};

/// More than all counts of all programs together.
const MOST: usize = usize::MAX / 2;

static IS_OVER: AtomicBool = AtomicBool::new(false);

/// Looks on until it is dropped.
pub struct Observer {
    thread: Option<JoinHandle<()>>,
    _found: DeadlockHook,
}

impl Observer {
    pub fn begin() -> Self {
        Observer {
            // Also what the search finds that a debug build makes by itself.
            _found: deadlock::on_found(|found| differs(&format!("{found}"))),
            thread: Some(thread::spawn(|| {
                while !IS_OVER.load(Ordering::Relaxed) {
                    look();
                    thread::sleep(Duration::from_micros(200));
                }
            })),
        }
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        IS_OVER.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn look() {
    let seen = taskgroup::snapshot();
    let drawn = seen.to_string();
    if drawn.chars().any(|c| c.is_control() && c != '\n') {
        differs(&format!("a control character was drawn: {drawn:?}"));
    }
    for group in seen.all_groups() {
        let permits = group.limit().map_or(0, |limit| limit.held.max(limit.lent));
        if group.queued().max(permits) > MOST {
            differs(&format!("a group counts wrongly: {group:?}"));
        }
    }

    let counts = taskgroup::stats();
    for count in [
        counts.queued,
        counts.live(),
        counts.started(),
        counts.spawned(),
    ] {
        if count > MOST as u64 {
            differs(&format!("the counts of the process: {counts:?}"));
        }
    }
    if let Some(found) = deadlock::check().first() {
        differs(&format!("{found}"));
    }
}

fn differs(why: &str) {
    println!("differs {}", why.replace('\n', " | "));
    std::process::exit(1);
}
