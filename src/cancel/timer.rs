//! The threads that ring alarms: deadlines under which no thread waits, and hooks that run again.
//!
//! A wait under a deadline ends by itself, and a check reads the clock. Only a callback or a hook
//! needs another thread to look at the time, and so does the watch over scopes that do not end once
//! they are cancelled, or past a deadline (see `stall`).
//!
//! One thread watches the clock. An alarm may run the user's code, and that may take any time. So
//! while another alarm can become due, a second thread takes over the watch before the first thread
//! rings. A thread that comes back and finds the watch taken becomes the spare thread, or ends if
//! there is a spare thread already. A program with few callbacks has one such thread, and none once
//! nothing has been due for a while.
//!
//! # Invariants
//!
//! 1. An alarm has at most one entry, at the instant in its `armed`. `armed` changes under the lock
//!    of the timer. A node takes its entry out when it is dropped.
//! 2. The entry of an alarm is taken out before the alarm rings, which looks at its limits. The
//!    next entry is made afterwards. So a thread that finds an entry that is early enough may leave
//!    it alone: the limits are looked at later.
//! 3. While there are entries, a thread watches the clock, or is on its way to, or rings an alarm
//!    and looks at the entries after it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64 as PlainU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::deadline::{NEVER, decode, encode};
use super::id::TokenId;
use crate::facade::{
    self, Mutex, MutexGuard, Unparker, contained, error_event, global, park_timeout, start_thread,
};
use crate::panics::log;

/// How long a thread stays without anything to do.
const IDLE_LIMIT: Duration = Duration::from_secs(10);

global! {
    /// The alarms that are set.
    static TIMER: Mutex<Alarms> = Mutex::new(Alarms::default());
}

/// Something that a thread of the timer does at some instant.
pub(crate) trait Alarm: Send + Sync {
    /// Returns the number of the alarm, unique in the process.
    fn number(&self) -> u64;

    /// Returns the instant of the alarm's entry, which the timer keeps here; `NEVER` without one.
    fn armed(&self) -> &PlainU64;

    /// Acts on an alarm that is due. Returns the instant at which it is to ring again.
    fn ring(self: Arc<Self>) -> Option<Instant>;
}

/// The instant, and the number of the alarm, which tells apart alarms that are due at one instant.
type AlarmKey = (u64, u64);

#[derive(Default)]
struct Alarms {
    entries: BTreeMap<AlarmKey, Weak<dyn Alarm>>,
    watch: ClockThread,
    spare: Option<(u64, Unparker)>,
}

/// Which thread watches the clock.
#[derive(Default)]
enum ClockThread {
    #[default]
    NoThread,
    /// A thread that is on its way.
    Coming,
    /// A thread that sleeps until then at the latest.
    Until(u64, Unparker),
}

impl Alarms {
    /// Enters an alarm for `at`. Returns false if it is entered for that instant or an earlier one.
    fn enter(
        &mut self,
        alarm: &dyn Alarm,
        entry: impl FnOnce() -> Weak<dyn Alarm>,
        at: u64,
    ) -> bool {
        let armed = alarm.armed().load(Relaxed);
        if armed <= at {
            return false;
        }

        // Invariant 1: the later entry goes.
        self.entries.remove(&(armed, alarm.number()));
        alarm.armed().store(at, Relaxed);
        self.entries.insert((at, alarm.number()), entry());
        true
    }

    /// Takes the first entry out, if its time has come.
    fn take_due(&mut self, now: u64) -> Option<Weak<dyn Alarm>> {
        self.entries
            .first_entry()
            .filter(|entry| entry.key().0 <= now)
            .map(|entry| entry.remove())
    }

    /// Returns the instant of the first entry.
    fn first(&self) -> Option<u64> {
        self.entries.first_key_value().map(|((at, _), _)| *at)
    }
}

/// Has `alarm` ring at `at`, unless it rings earlier.
pub(crate) fn arm<A: Alarm + 'static>(alarm: &Arc<A>, at: Instant) {
    if !facade::TIME_PASSES {
        return;
    }

    let at = encode(at);
    let mut timer = TIMER.lock();

    // The entry is a `Weak`: an alarm for a far instant does not keep its node.
    let entry = || Arc::downgrade(alarm) as Weak<dyn Alarm>;
    if timer.enter(&**alarm, entry, at) {
        ensure_watch(timer, at);
    }
}

/// Takes out the entry of an alarm that is being dropped, which was armed for `armed`.
pub(super) fn disarm(armed: u64, number: u64) {
    let entry = TIMER.lock().entries.remove(&(armed, number));
    drop(entry);
}

/// Returns whether an alarm is set.
#[cfg(not(loom))]
pub(crate) fn has_alarms() -> bool {
    !TIMER.lock().entries.is_empty()
}

/// Makes sure that a thread looks at the clock at `at` (invariant 3).
fn ensure_watch(mut timer: MutexGuard<'_, Alarms>, at: u64) {
    match &timer.watch {
        // It looks at the entries when it comes.
        ClockThread::Coming => {}
        ClockThread::Until(until, thread) => {
            let thread = (at < *until).then(|| thread.clone());
            drop(timer);

            if let Some(thread) = thread {
                thread.unpark();
            }
        }
        ClockThread::NoThread => {
            timer.watch = ClockThread::Coming;

            // A spare thread was kept for this, so that none has to be started.
            if let Some((_, thread)) = timer.spare.take() {
                drop(timer);
                return thread.unpark();
            }
            drop(timer);
            start();
        }
    }
}

/// Starts a thread for the watch, which is `Coming`.
fn start() {
    if let Err(error) = start_thread("taskgroup-timer", None, || contained(run)) {
        TIMER.lock().watch = ClockThread::NoThread;
        log(
            || error_event!(%error, "no thread for the deadlines of cancel callbacks and for hooks that repeat"),
        );
    }
}

fn run() {
    let me = TokenId::next().0;
    let mut idle_since = Instant::now();
    let mut timer = TIMER.lock();

    // At the head of the loop the watch is this thread's.
    loop {
        let now = Instant::now();
        if let Some(entry) = timer.take_due(encode(now)) {
            timer.watch = ClockThread::NoThread;
            timer = ring(timer, entry);
            if !matches!(timer.watch, ClockThread::NoThread) {
                let Some(taken) = stand_by(timer, me) else {
                    return;
                };
                timer = taken;
            }

            idle_since = Instant::now();
            continue;
        }

        let next = timer.first();
        if next.is_some() {
            idle_since = now;
        }

        // An entry for a far instant is often taken out long before that, without a wake. So the
        // thread looks again after its idle time.
        let idle_until = encode(idle_since + IDLE_LIMIT);
        let until = next.map_or(idle_until, |next| next.min(idle_until));
        let left = decode(until).map_or(IDLE_LIMIT, |until| until.saturating_duration_since(now));

        if next.is_none() && left.is_zero() {
            timer.watch = ClockThread::NoThread;
            return;
        }

        timer.watch = ClockThread::Until(until, Unparker::current());
        drop(timer);
        park_timeout(left);
        timer = TIMER.lock();
    }
}

/// Rings the alarm of `entry` without the lock, after it has given the watch away if there is
/// another entry. Enters the alarm again if it has to ring again.
fn ring(
    mut timer: MutexGuard<'static, Alarms>,
    entry: Weak<dyn Alarm>,
) -> MutexGuard<'static, Alarms> {
    let Some(alarm) = entry.upgrade() else {
        return timer;
    };

    // Invariant 2: from here on the alarm has no entry.
    alarm.armed().store(NEVER, Relaxed);

    // Invariant 3: the alarm may take its time, and the other entries do not wait for it.
    match timer.first() {
        Some(at) => ensure_watch(timer, at),
        None => drop(timer),
    }

    let again = alarm.clone().ring().map(encode);

    timer = TIMER.lock();
    let entered = again.filter(|&at| timer.enter(&*alarm, || Arc::downgrade(&alarm), at));

    // Without a thread at the watch this one goes on with it.
    match entered.filter(|_| !matches!(timer.watch, ClockThread::NoThread)) {
        Some(at) => ensure_watch(timer, at),
        None => drop(timer),
    }

    // Outside the lock: the drop of a node takes it.
    drop(alarm);
    TIMER.lock()
}

/// Waits as the spare thread until the watch is given to this thread. Returns none if the thread is
/// not needed.
fn stand_by(
    mut timer: MutexGuard<'static, Alarms>,
    me: u64,
) -> Option<MutexGuard<'static, Alarms>> {
    if timer.spare.is_some() {
        return None;
    }

    timer.spare = Some((me, Unparker::current()));
    let since = Instant::now();
    loop {
        let left = IDLE_LIMIT.saturating_sub(since.elapsed());
        drop(timer);
        park_timeout(left);
        timer = TIMER.lock();

        // `ensure_watch` takes the spare thread out as it gives the watch to it.
        if timer.spare.as_ref().is_none_or(|(spare, _)| *spare != me) {
            return Some(timer);
        }

        if left.is_zero() {
            timer.spare = None;
            return None;
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::atomic::AtomicBool as PlainBool;
    use std::sync::mpsc::{Sender, channel};

    use super::*;
    use crate::CancelToken;

    /// Rings again at once the first time, and says so each time.
    struct Twice {
        number: u64,
        armed: PlainU64,
        rings: Sender<()>,
        again: PlainBool,
    }

    impl Twice {
        fn new(rings: Sender<()>) -> Arc<Self> {
            Arc::new(Twice {
                number: TokenId::next().0,
                armed: PlainU64::new(NEVER),
                rings,
                again: PlainBool::new(true),
            })
        }
    }

    impl Alarm for Twice {
        fn number(&self) -> u64 {
            self.number
        }

        fn armed(&self) -> &PlainU64 {
            &self.armed
        }

        fn ring(self: Arc<Self>) -> Option<Instant> {
            let _ = self.rings.send(());
            self.again.swap(false, Relaxed).then(Instant::now)
        }
    }

    #[test]
    fn a_node_that_is_dropped_leaves_no_entry() {
        let token = CancelToken::new();
        let number = token.id().0;
        token.cancel_at(Instant::now() + Duration::from_secs(3600));
        let guard = token.on_cancel(|| ());
        let is_entered = || TIMER.lock().entries.keys().any(|(_, of)| *of == number);
        assert!(is_entered());
        drop((guard, token));
        assert!(!is_entered());
    }

    #[test]
    fn an_alarm_that_rings_again_wakes_a_thread_that_watches_a_distant_one() {
        // A thread watches the clock from here on, and sleeps for the idle limit.
        let distant = Twice::new(channel().0);
        arm(&distant, Instant::now() + Duration::from_secs(3600));
        while !matches!(TIMER.lock().watch, ClockThread::Until(..)) {
            std::thread::yield_now();
        }

        let (rings, rung) = channel();
        let alarm = Twice::new(rings);
        drop(ring(
            TIMER.lock(),
            Arc::downgrade(&alarm) as Weak<dyn Alarm>,
        ));
        for _ in 0..2 {
            rung.recv_timeout(IDLE_LIMIT / 2).expect("it rings twice");
        }
        disarm(distant.armed.load(Relaxed), distant.number);
    }
}
