//! How long a cancel that comes from the side of tokio holds the thread of its runtime up.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use taskgroup::CancelToken;
use taskgroup::tokio_bridge::token_from;
use tokio_util::sync::CancellationToken;

use crate::io_cancel::{MANY, settle};
use crate::report::{Report, Title};
use crate::sampling::{Contestant, Effort, Goal, micros};

pub(crate) fn bridge(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let contestants = vec![
        Contestant::new("taskgroup: a token of tokio, linked", through_the_bridge)
            .goal(Goal::Median(1_000.0)),
        Contestant::new("the token of the threads itself, not linked", directly),
    ];
    let title = Title {
        row: "bridge",
        case: "1 000 blocked threads, the call that cancels them",
        unit: "us",
    };
    report.table(&title, contestants, effort.rounds(11))
}

fn through_the_bridge() -> anyhow::Result<f64> {
    let theirs = CancellationToken::new();
    let (ours, _link) = token_from(&theirs);
    held(&ours, || theirs.cancel())
}

fn directly() -> anyhow::Result<f64> {
    let ours = CancelToken::new();
    held(&ours, || _ = ours.cancel())
}

/// Returns how long `cancel` takes on a thread of a runtime, while threads are blocked under the
/// token.
fn held(token: &CancelToken, cancel: impl FnOnce()) -> anyhow::Result<f64> {
    let begun = AtomicUsize::new(0);
    thread::scope(|threads| {
        for _ in 0..MANY {
            threads.spawn(|| {
                token.run(|| {
                    begun.fetch_add(1, Ordering::Relaxed);
                    taskgroup::park().is_err()
                })
            });
        }
        settle(&begun);

        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        Ok(runtime.block_on(async {
            let started = Instant::now();
            cancel();
            micros(started.elapsed())
        }))
    })
}
