//! Tests the reports of scopes that stall, driven by hand.

use super::*;

const AFTER: Duration = Duration::from_secs(5);
const HOUR: Duration = Duration::from_secs(3600);
const TICK: Duration = Duration::from_millis(1);

/// A look that finds one scope, which was cancelled at `since`.
fn one(since: Instant) -> Seen {
    let view = StallView {
        after: AFTER,
        ..StallView::default()
    };
    Seen {
        stalling: vec![(1, since, view)],
        ..Seen::default()
    }
}

/// Looks in time at `now`. Returns the scopes that are due.
fn in_time(watch: &mut Watch, since: Instant, now: Instant) -> Vec<u64> {
    watch.look(one(since), Some(now), now).0
}

#[test]
fn a_scope_is_due_after_its_delay_and_once() {
    let (mut watch, begun) = (Watch::default(), Instant::now());
    assert!(in_time(&mut watch, begun, begun).is_empty());
    assert!(in_time(&mut watch, begun, begun + AFTER - TICK).is_empty());
    assert_eq!(in_time(&mut watch, begun, begun + AFTER), [1]);
    // The reporter has it now.
    assert!(in_time(&mut watch, begun, begun + HOUR).is_empty());
}

#[test]
fn after_a_sleep_of_the_machine_the_delay_starts_anew() {
    let (mut watch, begun) = (Watch::default(), Instant::now());
    let (_, next) = watch.look(one(begun), Some(begun), begun);
    let next = next.expect("a scope is followed");

    // A clock that goes on meanwhile: the look comes late.
    let woken = begun + HOUR;
    let (due, _) = watch.look(one(begun), Some(next), woken);
    assert!(due.is_empty());
    assert!(in_time(&mut watch, begun, woken + AFTER - TICK).is_empty());
    assert_eq!(in_time(&mut watch, begun, woken + AFTER), [1]);

    // A clock that stands still meanwhile: the looks come in time, and the sleep does not count.
    let mut watch = Watch::default();
    let mut now = begun;
    while now < begun + AFTER {
        assert!(in_time(&mut watch, begun, now).is_empty());
        now += AFTER / 4;
    }
    assert_eq!(in_time(&mut watch, begun, now), [1]);
}

#[test]
fn a_scope_that_is_cancelled_while_the_machine_sleeps_gets_its_delay() {
    let (mut watch, begun) = (Watch::default(), Instant::now());
    // A deadline that passed in the sleep: the first look that finds it is late.
    let woken = begun + HOUR;
    let (due, _) = watch.look(one(begun), Some(begun), woken);
    assert!(due.is_empty());
    assert_eq!(in_time(&mut watch, begun, woken + AFTER), [1]);
}

#[test]
fn a_scope_that_a_look_does_not_find_is_followed_no_more() {
    let (mut watch, begun) = (Watch::default(), Instant::now());
    let nothing = |is_busy| Seen {
        is_busy,
        ..Seen::default()
    };

    in_time(&mut watch, begun, begun);

    // The list of its thread could not be read.
    watch.look(nothing(true), Some(begun), begun);
    assert_eq!(watch.followed.len(), 1);
    watch.look(nothing(false), Some(begun), begun);
    assert_eq!(watch.followed.len(), 0);

    // Its deadline was moved, and passes later: it has the whole delay again.
    let later = begun + AFTER;
    assert!(in_time(&mut watch, later, later).is_empty());
    assert_eq!(in_time(&mut watch, later, later + AFTER), [1]);

    // A scope that was reported says itself that it has ended.
    watch
        .followed
        .entry(1)
        .and_modify(|scope| scope.reports = 1);
    watch.look(nothing(false), Some(later), later);
    assert_eq!(watch.followed.len(), 1);
}

#[test]
fn a_busy_machine_is_not_asleep() {
    let (mut watch, begun) = (Watch::default(), Instant::now());
    in_time(&mut watch, begun, begun);
    let (due, _) = watch.look(one(begun), Some(begun + AFTER - LATE), begun + AFTER);
    assert_eq!(due, [1]);
}

/// Has the scope reported `times` times.
fn report(watch: &mut Watch, times: u32) {
    watch.followed.entry(1).and_modify(|scope| {
        scope.reports = times;
        scope.is_examined = false;
    });
}

#[test]
fn a_scope_with_a_deadline_that_was_moved_away_is_kept_and_not_due() {
    let (mut watch, begun) = (Watch::default(), Instant::now());
    in_time(&mut watch, begun, begun);
    report(&mut watch, 1);

    // A look that could not read all does not tell.
    let busy = Seen {
        is_busy: true,
        ..Seen::default()
    };

    let later = begun + AFTER;
    assert_eq!(watch.look(busy, Some(later), later).0, [1]);
    report(&mut watch, 2);
    let (due, next) = watch.look(Seen::default(), Some(later), later);
    assert_eq!((due, next), (vec![], None));
    assert!(!watch.followed[&1].stalls(later + HOUR));

    // A job that it was in puts it off.
    let put_off = |scope: &mut Followed| scope.next = Some(later);
    watch.followed.entry(1).and_modify(put_off);
    let due = watch.look(Seen::default(), Some(later), later).0;
    assert!(due.is_empty());

    // It stalls again, and has its whole delay.
    let again = later + HOUR;
    assert!(in_time(&mut watch, again, again + AFTER - TICK).is_empty());
    assert!(watch.followed[&1].stalls(again));
    assert_eq!(watch.followed[&1].due_since, again);
    assert_eq!(in_time(&mut watch, again, again + AFTER), [1]);
}

#[test]
fn a_scope_that_was_never_reported_is_forgotten_once_it_does_not_stall() {
    let (mut watch, begun) = (Watch::default(), Instant::now());
    in_time(&mut watch, begun, begun);
    watch.look(Seen::default(), Some(begun), begun);
    assert!(watch.followed.is_empty());
}

/// Returns a watch that follows the scopes 1 and 2.
fn of_two() -> Mutex<Watch> {
    let (mut watch, begun) = (Watch::default(), Instant::now());
    for number in [1, 2] {
        let mut seen = one(begun);
        seen.stalling[0].0 = number;
        seen.is_busy = true;
        watch.look(seen, Some(begun), begun);
    }
    Mutex::new(watch)
}

#[test]
fn a_scope_that_ends_right_after_its_claim_counts_as_reported() {
    let watch = of_two();
    let claimed = claim_in(&watch, &[1, 2], 1, 3, |number| {
        let scope = watch.lock().followed.remove(&number);
        let scope = scope.expect("it is followed");
        assert_eq!((scope.reports, scope.head), (3, 1));
        true
    });
    assert_eq!(claimed, [1, 2]);
}

#[test]
fn a_scope_that_ends_before_its_claim_does_not_count_as_reported() {
    let watch = of_two();
    let claimed = claim_in(&watch, &[1, 2], 1, 3, |number| number == 1);
    assert_eq!(claimed, [1]);
    let mut watch = watch.lock();
    assert_eq!(watch.followed[&1].reports, 3);
    assert_eq!(
        (watch.followed[&2].reports, watch.followed[&2].head),
        (0, 2)
    );

    // The next look finds that it has ended.
    let now = Instant::now();
    watch.look(one(now), Some(now), now);
    assert!(!watch.followed.contains_key(&2));
}

#[test]
fn a_reported_scope_waits_for_its_longer_pause_again() {
    let (mut watch, begun) = (Watch::default(), Instant::now());
    in_time(&mut watch, begun, begun);
    watch
        .followed
        .entry(1)
        .and_modify(|scope| scope.reports = 3);
    let woken = begun + HOUR;
    watch.look(one(begun), Some(begun), woken);
    assert!(in_time(&mut watch, begun, woken + AFTER * 4 - TICK).is_empty());
    assert_eq!(in_time(&mut watch, begun, woken + AFTER * 4), [1]);
}
