//! The main functions of the threads that run tasks: workers, and threads that belong to one task.

use std::cell::RefCell;
use std::io;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use super::census::Counted;
use super::pool::{Next, Pool, Seeking};
use super::worker::Worker;
use super::{stack, start_hook};
use crate::facade::{InChild, contained, local, park_idle, start_thread};
use crate::lanes;
use crate::trace;

/// How long an idle worker stays.
const IDLE_LIMIT: Duration = Duration::from_secs(10);

local! {
    static WORKER: RefCell<Option<Arc<Worker>>> = RefCell::new(None);
}

/// A task that forks goes on in the child as the code of a thread that is no worker: the pool of
/// the child does not know it. The reference is leaked.
static IN_CHILD: InChild = InChild::new(|| {
    // The first touch of `WORKER` on a thread allocates.
    if lanes::has_used_the_crate() {
        let _ = WORKER.try_with(|worker| mem::forget(worker.take()));
    }
});

/// Returns the worker of this thread. `None` on a thread that is not a worker, or that has
/// destroyed its thread-locals.
pub(super) fn this_worker() -> Option<Arc<Worker>> {
    WORKER
        .try_with(|worker| worker.borrow().clone())
        .ok()
        .flatten()
}

/// Runs a worker of `pool` on this thread until it retires.
pub(super) fn run_worker(pool: &'static Pool) {
    let _counted = Counted::begin();
    stack::begin_thread(None);
    start_hook::run();

    IN_CHILD.ensure();
    let worker = pool.register(Worker::new);
    WORKER.with(|own| own.replace(Some(worker.clone())));
    if let Some(lane) = lanes::mine() {
        lane.become_worker();
    }

    // Tasks contain their panics. A worker that died of one would leave a scope that waits for
    // ever.
    contained(|| work(pool, &worker));
    WORKER.with(|own| own.take());
    trace::thread_ends();
}

fn work(pool: &'static Pool, worker: &Arc<Worker>) {
    loop {
        // Started or woken, it counts as arriving until it has looked for a source.
        let mut seeking = Seeking::Arriving;
        loop {
            match pool.next(worker, seeking) {
                Next::Source(source) => {
                    source.work(worker);
                    seeking = Seeking::Finished;
                }
                Next::Linger => {
                    pool.linger();
                    seeking = Seeking::Lingered;
                }
                Next::Idle => break,
            }
        }

        let retires = !stay_idle(pool, worker);
        if retires || (cfg!(taskgroup_models) && pool.leave_if_closing(worker)) {
            return;
        }
    }
}

/// While it lives, the lane of this thread shows a worker that waits for work.
struct ShownIdle;

impl ShownIdle {
    fn begin() -> Self {
        if let Some(lane) = lanes::mine() {
            lane.set_idle(true);
        }
        ShownIdle
    }
}

impl Drop for ShownIdle {
    fn drop(&mut self) {
        if let Some(lane) = lanes::mine() {
            lane.set_idle(false);
        }
    }
}

/// Parks until the worker is woken. Returns `false` if it retires.
fn stay_idle(pool: &'static Pool, worker: &Arc<Worker>) -> bool {
    let _idle = ShownIdle::begin();
    loop {
        let expired = park_idle(IDLE_LIMIT);
        if worker.is_woken() {
            return true;
        }

        // Invariant 3: the exchange fails after a wake that came meanwhile. The next round sees it.
        if expired && worker.try_retire() {
            pool.remove(worker);
            return false;
        }
    }
}

/// Starts a thread that runs `f` and ends.
pub(crate) fn start_dedicated(
    name: &str,
    stack_size: Option<usize>,
    f: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    start_thread(name, stack_size, move || {
        let _counted = Counted::begin();
        stack::begin_thread(stack_size);
        start_hook::run();
        contained(f);
        trace::thread_ends();
    })
}
