//! A program to look at: an import of files, a report with tasks that wait for each other, and a
//! library that knows no cancel.

use std::io::Read;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use taskgroup::sync::{Event, Mutex};
use taskgroup::{GroupError, TaskGroup, shield, sleep, with_cancel_hook};

use crate::server::Offered;

const MOMENT: Duration = Duration::from_millis(700);

/// Long enough to be seen as stalled after a cancel.
const SHIELDED: Duration = Duration::from_secs(20);

/// How long a part rests before it starts again.
const REST: Duration = Duration::from_secs(3);

/// Works until the scope is cancelled. A viewer may cancel each part, which then starts again. The
/// parts that no cancel reaches end when `closing` is set.
///
/// # Errors
///
/// The cancel of the scope. A part that fails is started again.
pub fn run(offered: &Offered, closing: &Event) -> anyhow::Result<()> {
    TaskGroup::builder().name("demo").scope(|g| {
        g.task()
            .name("imports")
            .spawn(|| again(|| imports(offered)));
        g.task()
            .name("report")
            .spawn(|| again(|| report(offered, closing)));
        g.task().name("bridge").spawn(|| again(|| bridge(offered)));
        Ok(())
    })?;
    Ok(())
}

/// Repeats a part of the program. Its own cancel does not end the others.
fn again(part: impl Fn() -> Result<(), GroupError>) -> anyhow::Result<()> {
    loop {
        // A part that failed has said so on the screen.
        let _ = part();
        sleep(REST)?;
    }
}

/// Forty files, four at once. All of them go through one index.
fn imports(offered: &Offered) -> Result<(), GroupError> {
    let index = Mutex::new(0);
    TaskGroup::builder().name("imports").limit(4).scope(|g| {
        offered.offer(g);
        for file in 1..=40 {
            let index = &index;
            g.task().name(format!("file {file}")).spawn(move || {
                sleep(MOMENT * (1 + file % 5))?;
                let mut entries = index.lock()?;
                sleep(MOMENT)?;
                *entries += 1;
                Ok(())
            });
        }
        Ok(())
    })
}

/// The printer waits for a lock of the writer, which waits for shards that no cancel reaches.
fn report(offered: &Offered, closing: &Event) -> Result<(), GroupError> {
    let page = Mutex::new(());
    let locked = Event::new();
    let limit = Duration::from_secs(90);
    TaskGroup::builder()
        .name("report")
        .timeout(limit)
        .scope(|g| {
            offered.offer(g);
            g.task().name("writer").spawn(|| {
                let _page = page.lock()?;
                locked.set();
                TaskGroup::builder().name("shards").scope(|g| {
                    offered.offer(g);
                    for shard in ["north", "south"] {
                        g.task().name(shard).spawn(|| {
                            shield(|| closing.wait_timeout(SHIELDED))?;
                            Ok(())
                        });
                    }
                    Ok(())
                })?;
                Ok(())
            });
            locked.wait()?;
            g.task().name("printer").spawn(|| {
                drop(page.lock()?);
                Ok(())
            });
            Ok(())
        })
}

/// A read of std, which only its hook can end.
fn bridge(offered: &Offered) -> Result<(), GroupError> {
    TaskGroup::builder().name("bridge").scope(|g| {
        offered.offer(g);
        g.task().name("listen").spawn(|| {
            let (near, _far) = UnixStream::pair()?;
            let hang_up = || drop(near.shutdown(Shutdown::Both));
            let read = with_cancel_hook(hang_up, || (&near).read(&mut [0; 64]));
            taskgroup::checkpoint()?; // after a shutdown the read is `Ok`
            read?;
            Ok(())
        });
        Ok(())
    })
}
