//! Cancel tokens: the tree they form, their callbacks, and their use without any group.

mod callbacks;

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use taskgroup::{CancelCause, CancelToken, Cancelled, TaskGroup};

use crate::blocked::Seen;
use crate::support::{Gate, LONG};

#[test]
fn a_cancel_goes_down_the_tree_and_not_up_or_across() {
    let root = CancelToken::new();
    let (left, right) = (root.child(), root.child());
    let leaf = left.child();
    assert!(left.cancel_because("left"));
    assert!(leaf.is_cancelled() && left.is_cancelled());
    assert!(!root.is_cancelled() && !right.is_cancelled());
    assert_eq!(
        leaf.cancelled().map(|cancelled| cancelled.origin()),
        Some(left.id())
    );
    assert!(root.cancel_because("root"));
    assert!(right.is_cancelled());
    assert!(matches!(
        leaf.check().unwrap_err().cause(),
        CancelCause::Requested { reason: Some(why) } if why == "left"
    ));
}

#[test]
fn a_child_of_a_cancelled_token_is_born_cancelled() {
    let root = CancelToken::new();
    root.cancel_because("over");
    let child = root.child();
    assert_eq!(
        child.check().map_err(|cancelled| cancelled.origin()),
        Err(root.id())
    );
    assert!(!child.cancel(), "it was cancelled already");
}

#[test]
fn only_the_first_cancel_returns_true() {
    let token = CancelToken::new();
    let wins: usize = thread::scope(|scope| {
        let racers: Vec<_> = (0..8).map(|_| scope.spawn(|| token.cancel())).collect();
        racers
            .into_iter()
            .map(|racer| usize::from(racer.join().expect("cancel does not panic")))
            .sum()
    });
    assert_eq!(wins, 1);
}

#[test]
fn a_linked_token_follows_whichever_parent_is_first() {
    for first in 0..3 {
        let parents = [CancelToken::new(), CancelToken::new(), CancelToken::new()];
        let linked = CancelToken::linked(&parents);
        assert!(!linked.is_cancelled());
        parents[first].cancel();
        assert_eq!(
            linked.cancelled().map(|cancelled| cancelled.origin()),
            Some(parents[first].id())
        );
        assert_eq!(
            parents
                .iter()
                .filter(|parent| parent.is_cancelled())
                .count(),
            1
        );
    }
}

#[test]
fn a_linked_token_outlives_its_handles_on_the_parents() {
    let root = CancelToken::new();
    let linked = CancelToken::linked([&root.child(), &CancelToken::new()]);
    let below = linked.child();
    assert!(!below.is_cancelled());
    root.cancel();
    assert!(below.is_cancelled());
    let none = CancelToken::linked([]);
    assert!(!none.is_cancelled());
    assert!(none.cancel());
}

#[test]
fn a_token_linked_to_a_cancelled_one_is_born_cancelled() {
    let (live, dead) = (CancelToken::new(), CancelToken::new());
    dead.cancel();
    assert!(CancelToken::linked([&live, &dead]).is_cancelled());
    assert!(!live.is_cancelled());
}

#[test]
fn a_drop_guard_cancels_when_dropped() {
    let token = CancelToken::new();
    let guard = token.clone().drop_guard();
    assert!(!token.is_cancelled());
    drop(guard);
    assert!(matches!(
        token.check().unwrap_err().cause(),
        CancelCause::Dropped
    ));
}

#[test]
fn waiting_for_a_token_ends_with_its_cancel() -> Result<(), Cancelled> {
    let token = CancelToken::new();
    assert!(!token.wait_timeout(Duration::from_millis(1))?);
    let waiter = thread::spawn({
        let token = token.clone();
        move || {
            (
                token.wait().is_ok(),
                token.wait_timeout(LONG).is_ok_and(|cancelled| cancelled),
            )
        }
    });
    token.cancel();
    assert_eq!(waiter.join().expect("waiting does not panic"), (true, true));
    Ok(())
}

#[test]
fn equality_and_hash_are_by_identity() {
    let token = CancelToken::new();
    let (same, child, other) = (token.clone(), token.child(), CancelToken::new());
    assert_eq!((&token, token.id()), (&same, same.id()));
    assert!(token != child && token != other && token.id() != child.id());
    assert_eq!(HashSet::from([token, same, child, other]).len(), 3);
}

#[test]
fn a_deep_chain_is_cancelled_and_dropped_without_recursion() {
    let chain = |root: &CancelToken| {
        let mut chain = vec![root.clone()];
        for depth in 0..100_000 {
            let next = chain[depth].child();
            chain.push(next);
        }
        chain
    };
    let cancelled = CancelToken::new();
    let tokens = chain(&cancelled);
    cancelled.cancel();
    assert!(tokens.iter().all(CancelToken::is_cancelled));
    drop(tokens);
    let live = CancelToken::new();
    let leaf = chain(&live).pop().expect("the chain has a leaf");
    assert!(!leaf.is_cancelled());
    let below = chain(&leaf).pop();
    live.cancel();
    assert!(leaf.is_cancelled() && below.as_ref().is_some_and(CancelToken::is_cancelled));
    let uncancelled = chain(&CancelToken::new()).pop();
    drop((leaf, below, live, uncancelled));
}

#[test]
fn many_children_of_one_token_are_cancelled_and_forgotten() {
    let root = CancelToken::new();
    for _ in 0..100_000 {
        drop(root.child());
    }
    let children: Vec<_> = (0..10_000).map(|_| root.child()).collect();
    root.cancel();
    assert!(children.iter().all(CancelToken::is_cancelled));
}

/// A scope with a deadline in which `left` more are nested, each with every way up doubled: 2^left
/// ways for 2 * left tokens.
fn nest(left: u32, above: &CancelToken) -> anyhow::Result<()> {
    if left == 0 {
        assert!(taskgroup::remaining().is_some());
        taskgroup::checkpoint()?;
        return Ok(());
    }
    let detour = above.child();
    let nested = || {
        TaskGroup::builder()
            .parent(above)
            .scope(|g| nest(left - 1, g.token()))
    };
    Ok(detour.run(nested)?)
}

#[test]
fn a_token_above_on_many_ways_is_looked_at_once() {
    let ended = Arc::new(Gate::default());
    let theirs = ended.clone();
    thread::spawn(move || {
        let outermost = CancelToken::new();
        outermost.cancel_after(2 * LONG);
        outermost
            .run(|| nest(64, &outermost))
            .expect("nothing cancels");
        let mut lowest = outermost.clone();
        for _ in 0..64 {
            lowest = CancelToken::linked([&lowest.child(), &lowest.child()]);
        }
        outermost.cancel_after(LONG);
        assert!(lowest.remaining() <= Some(LONG));
        outermost.cancel();
        assert_eq!(lowest.check().unwrap_err().origin(), outermost.id());
        theirs.open();
    });
    ended.wait();
}

fn count(calls: &AtomicUsize) {
    calls.fetch_add(1, Ordering::Relaxed);
}

#[test]
fn waiting_for_the_token_of_ones_own_scope_is_never_cut_by_its_cancel() {
    for _ in 0..200 {
        let token = CancelToken::new();
        let canceller = thread::spawn({
            let token = token.clone();
            move || token.cancel()
        });
        assert!(token.run(|| token.wait()).is_ok());
        assert!(canceller.join().expect("nothing panics"));
    }
}

#[test]
fn waiting_for_the_token_of_ones_own_scope_is_never_cut_by_its_deadline() {
    let token = CancelToken::new();
    // Long enough for the wait to block first.
    token.cancel_after(Duration::from_millis(50));
    assert!(token.run(|| token.wait()).is_ok());
}

#[test]
fn a_deadline_that_is_moved_ends_the_wait_for_its_token() {
    for parent_moves in [false, true] {
        let parent = CancelToken::new();
        let token = parent.child();
        let (ended, has_ended) = mpsc::channel();
        let (begun, begins) = mpsc::channel();
        thread::spawn({
            let token = token.clone();
            move || {
                begun.send(Seen::here()).expect("the test receives");
                // Without a deadline, only a wake ends it.
                ended.send(token.wait()).expect("the test receives");
            }
        });
        begins.recv().expect("it begins").until_asleep();

        let moved = if parent_moves { &parent } else { &token };
        moved.cancel_after(Duration::from_millis(1));
        let waited = has_ended.recv_timeout(LONG);
        assert!(waited.is_ok_and(|waited| waited.is_ok()));
    }
}
