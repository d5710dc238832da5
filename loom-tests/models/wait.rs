//! Models of the slot: its word alone, without a token and without a scope.

use std::panic::Location;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use loom::thread;

use super::Bound::{Exhaustive, Preemptions};
use super::support::{Note, here, must_see, saw};
use super::{Model, Watched};
use crate::facade::{AtomicU32, Ordering};
use crate::waiting::{Fired, OnCancel, Slot, WaitKind, Woken};

pub(super) const MODELS: &[Model] = &[
    holds!(
        wait_cancel_races_with_entry,
        Exhaustive,
        Exhaustive,
        "a cancel at any moment ends a wait, and the writes before the cancel are visible \
             after it"
    ),
    holds!(
        wait_sees_its_mark_by_the_wake_of_another,
        Exhaustive,
        Exhaustive,
        "a wait that finds the mark after an unrelated wake sees the writes before the mark"
    ),
    breaks!(
        broken_wait_unchecked_publish,
        "publish-is-unchecked" in wait_cancel_races_with_entry,
        Exhaustive,
        "deadlock",
        "a publish that ignores the mark sleeps for ever"
    ),
    holds!(
        wait_grant_races_with_entry,
        Exhaustive,
        Exhaustive,
        "a wake at any moment ends the wait that it is for"
    ),
    breaks!(
        broken_wait_wake_is_not_sticky,
        "early-wake-is-forgotten" in wait_grant_races_with_entry,
        Exhaustive,
        "deadlock",
        "a wake before the park must be remembered"
    ),
    holds!(
        wait_grant_beats_cancel,
        Exhaustive,
        Exhaustive,
        "a grant before a cancel is not lost to the cancel"
    ),
    holds!(
        wait_late_wake_does_not_end_the_next_wait,
        Exhaustive,
        Exhaustive,
        "a wake for the previous wait does not end the current one"
    ),
    breaks!(
        broken_wait_believes_every_wake,
        "every-wake-is-believed" in wait_late_wake_does_not_end_the_next_wait,
        Exhaustive,
        "a wait ended without its condition",
        "a wait that does not check its condition again is ended by an unrelated wake"
    ),
    holds!(
        wait_marked_slot_parks,
        Exhaustive,
        Exhaustive,
        "an uncancellable wait on a marked slot parks, and checks once for each wake"
    ),
    holds!(
        wait_deadline_races_with_entry,
        Exhaustive,
        Exhaustive,
        "a deadline that is set while a wait begins is taken up by the wait"
    ),
    holds!(
        wait_hook_ends_before_its_region,
        Exhaustive,
        Exhaustive,
        "a hook runs at most once, after its publish and before the return of its region"
    ),
    holds!(
        wait_region_sees_its_hook_by_the_wake_of_another,
        Exhaustive,
        Exhaustive,
        "a region that finds the end of its hook after an unrelated wake sees the hook's writes"
    ),
    breaks!(
        broken_wait_withdraw_ignores_firing,
        "withdraw-does-not-wait" in wait_hook_ends_before_its_region,
        Exhaustive,
        "Causality violation",
        "a withdraw that does not wait returns while the hook runs"
    ),
    holds!(
        wait_hook_runs_if_the_mark_came_first,
        Exhaustive,
        Exhaustive,
        "a mark that comes before the region, or in it, runs the hook"
    ),
    holds!(
        wait_hook_runs_again_until_its_region_ends,
        Preemptions(3),
        Preemptions(5),
        "a hook that is run again runs after its last run and before the return of its \
             region, or not at all"
    ),
    breaks!(
        broken_wait_fire_again_does_not_look,
        "hook-runs-again-unseen" in wait_hook_runs_again_until_its_region_ends,
        Preemptions(3),
        "Causality violation",
        "a run that does not check whether there is a hook reads a hook that is being withdrawn"
    ),
    breaks!(
        broken_wait_withdraw_ignores_a_run_again,
        "withdraw-does-not-wait" in wait_hook_runs_again_until_its_region_ends,
        Preemptions(3),
        "Causality violation",
        "a withdraw that does not wait returns while the hook is run again"
    ),
];

fn wait(slot: &Slot, ready: impl FnMut() -> bool) -> Woken {
    slot.wait(
        WaitKind::Park.into(),
        Location::caller(),
        OnCancel::Return,
        || None,
        ready,
        &mut None,
    )
}

fn cancel(slot: &Slot) {
    let marked = slot.mark();
    slot.wake(&marked);
    slot.fire(&marked, |_| panic!("the hook panicked"));
}

fn wait_cancel_races_with_entry() {
    must_see(["a mark before the wait", "a mark in the wait"]);
    let shared = Arc::new((Slot::new(), Watched::new()));
    let canceller = thread::spawn({
        let shared = shared.clone();
        move || {
            shared.1.write();
            cancel(&shared.0);
        }
    });
    let mut looks = 0;
    let never = || {
        looks += 1;
        false
    };
    assert_eq!(wait(&shared.0, never), Woken::Marked);
    shared.1.read();
    saw(if looks == 1 {
        "a mark before the wait"
    } else {
        "a mark in the wait"
    });
    canceller.join().unwrap();
}

fn wait_sees_its_mark_by_the_wake_of_another() {
    let shared = Arc::new((Slot::new(), Watched::new()));
    let canceller = thread::spawn({
        let shared = shared.clone();
        move || {
            shared.1.write();
            cancel(&shared.0);
        }
    });
    let other = thread::spawn({
        let shared = shared.clone();
        move || shared.0.unpark()
    });
    assert_eq!(wait(&shared.0, || false), Woken::Marked);
    shared.1.read();
    canceller.join().unwrap();
    other.join().unwrap();
}

fn wait_grant_races_with_entry() {
    let shared = Arc::new((Slot::new(), AtomicU32::new(0)));
    let granter = thread::spawn({
        let shared = shared.clone();
        move || {
            shared.1.store(1, Ordering::Relaxed);
            shared.0.unpark();
        }
    });
    assert_eq!(
        wait(&shared.0, || shared.1.load(Ordering::Relaxed) == 1),
        Woken::Ready
    );
    granter.join().unwrap();
}

fn wait_grant_beats_cancel() {
    let shared = Arc::new((Slot::new(), AtomicU32::new(0)));
    let other = thread::spawn({
        let shared = shared.clone();
        move || {
            // Wake nothing here: the mark alone must show the grant that came before it.
            shared.1.store(1, Ordering::Relaxed);
            cancel(&shared.0);
        }
    });
    assert_eq!(
        wait(&shared.0, || shared.1.load(Ordering::Relaxed) == 1),
        Woken::Ready,
        "a grant was lost"
    );
    other.join().unwrap();
}

fn wait_late_wake_does_not_end_the_next_wait() {
    must_see(["a wake that came late"]);
    let shared = Arc::new((Slot::new(), AtomicU32::new(0)));
    let granter = thread::spawn({
        let shared = shared.clone();
        move || {
            shared.1.store(1, Ordering::Relaxed);
            shared.0.unpark();
            shared.1.store(2, Ordering::Relaxed);
            shared.0.unpark();
        }
    });
    for stage in 1..=2 {
        let mut looks_in_vain = 0;
        let ready = || {
            let ready = shared.1.load(Ordering::Relaxed) >= stage;
            looks_in_vain += usize::from(!ready);
            ready
        };
        assert_eq!(wait(&shared.0, ready), Woken::Ready);
        assert!(
            shared.1.load(Ordering::Relaxed) >= stage,
            "a wait ended without its condition"
        );
        if looks_in_vain > 1 {
            saw("a wake that came late");
        }
    }
    granter.join().unwrap();
}

fn wait_marked_slot_parks() {
    let shared = Arc::new((Slot::new(), AtomicU32::new(0)));
    cancel(&shared.0);
    let granter = thread::spawn({
        let shared = shared.clone();
        move || {
            shared.1.store(1, Ordering::Relaxed);
            shared.0.unpark();
        }
    });
    let mut looks = 0;
    let ready = || {
        looks += 1;
        shared.1.load(Ordering::Relaxed) == 1
    };
    assert_eq!(
        shared.0.wait(
            WaitKind::Join.into(),
            here(),
            OnCancel::Wait,
            || None,
            ready,
            &mut None
        ),
        Woken::Ready
    );
    assert!(
        looks <= 2,
        "one look before the park and one after the only wake, not {looks}"
    );
    assert!(shared.0.is_marked());
    granter.join().unwrap();
}

fn wait_deadline_races_with_entry() {
    let shared = Arc::new((Slot::new(), AtomicU32::new(0)));
    let setter = thread::spawn({
        let shared = shared.clone();
        move || {
            shared.1.store(1, Ordering::Relaxed);
            if let Some(marked) = shared.0.mark_timed() {
                shared.0.wake(&marked);
            }
        }
    });
    let until =
        || (shared.0.is_timed() && shared.1.load(Ordering::Relaxed) == 1).then(Instant::now);
    assert_eq!(
        shared.0.wait(
            WaitKind::Sleep.into(),
            here(),
            OnCancel::Return,
            until,
            || false,
            &mut None
        ),
        Woken::TimedOut
    );
    setter.join().unwrap();
}

/// Runs a region with a hook, while another thread marks its slot once.
struct Region {
    slot: Arc<Slot>,
    before: Watched,
    during: Watched,
    runs: Note,
}

fn marked_region(f: impl FnOnce(&Region)) -> Arc<Region> {
    let region = Arc::new(Region {
        slot: Slot::new(),
        before: Watched::new(),
        during: Watched::new(),
        runs: Note::default(),
    });
    let canceller = thread::spawn({
        let region = region.clone();
        move || cancel(&region.slot)
    });
    region.before.write();
    let hook = || {
        region.before.read();
        region.during.write();
        region.runs.set();
    };
    region.slot.with_hook(here(), &hook, || f(&region));

    region.during.write();
    canceller.join().unwrap();
    region
}

fn wait_hook_ends_before_its_region() {
    must_see(["a hook that ran", "a hook that never ran"]);
    let region = marked_region(|_| ());
    assert!(region.runs.times() <= 1);
    saw(if region.runs.is_set() {
        "a hook that ran"
    } else {
        "a hook that never ran"
    });
}

fn wait_region_sees_its_hook_by_the_wake_of_another() {
    let region = marked_region(|region| {
        let slot = region.slot.clone();
        thread::spawn(move || slot.unpark());
    });
    assert!(region.runs.times() <= 1);
}

fn wait_hook_runs_if_the_mark_came_first() {
    must_see(["a mark before the region", "a mark in the region"]);
    let region = marked_region(|region| {
        saw(if region.runs.is_set() {
            "a mark before the region"
        } else {
            "a mark in the region"
        });
        // A wait in here would be a wait of another slot. The mark wakes no thread, so check until
        // it has come.
        while !region.slot.is_marked() {
            thread::yield_now();
        }
    });
    assert_eq!(region.runs.times(), 1, "a hook was not run");
}

fn wait_hook_runs_again_until_its_region_ends() {
    must_see(["run again", "came while it ran", "came too late"]);
    let region = Arc::new(Region {
        slot: Slot::new(),
        before: Watched::new(),
        during: Watched::new(),
        runs: Note::default(),
    });
    let canceller = thread::spawn({
        let region = region.clone();
        move || cancel(&region.slot)
    });
    region.before.write();
    let timer = Mutex::new(None);
    let again = || {
        let region = region.clone();
        thread::spawn(move || match region.slot.fire_again(|_| ()) {
            Fired::Again => saw("run again"),
            Fired::Busy => saw("came while it ran"),
            Fired::Never => saw("came too late"),
        })
    };
    let hook = || {
        region.before.read();
        region.during.write();
        if !region.runs.is_set() {
            *timer.lock().unwrap() = Some(again());
        }
        // The next run is asked for in the middle of this one, and comes here after this one ended.
        region.during.write();
        region.runs.set();
    };
    region.slot.with_hook(here(), &hook, || ());
    region.during.write();
    canceller.join().unwrap();
    let timer = timer.lock().unwrap().take();
    if let Some(timer) = timer {
        timer.join().unwrap();
    }
    assert!(region.runs.times() <= 2);
}
