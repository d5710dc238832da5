//! The permits of limits that this thread holds: one for each task of a limited group that it is
//! inside of.
//!
//! What is counted is in the group's queue. Here a thread knows whether there is anything that it
//! could give away: a task that runs in place inside of another of its group has no permit of its
//! own, and a task whose permit is already given away has none to give. It also knows the holders
//! around the groups that it opens: those of the permits that it holds, and outside of them those
//! around the group whose task it runs.

use std::cell::RefCell;
use std::sync::Arc;

use super::holder::Holder;
use crate::facade::{Late, local};

local! {
    static THREAD: RefCell<Thread> = RefCell::new(Thread { held: Vec::new(), outside: None });
}

local! {
    // Stands in for `THREAD` in the destructors that run after that of `THREAD`.
    static LATE: Late<RefCell<Thread>> = Late::new();
}

#[derive(Default)]
struct Thread {
    held: Vec<Held>,
    /// The innermost holder around the group whose task a worker runs. What runs in place belongs
    /// to that group or to one around it, and has no holder that is not around the thread anyway.
    outside: Option<Arc<Holder>>,
}

struct Held {
    /// The identity of the group, which outlives its tasks.
    group: usize,
    standing: Standing,
    /// Made with the first group that is opened inside.
    holder: Option<Arc<Holder>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// The task runs.
    Running,
    /// The task has ended, as far as other threads can see, and its callbacks run.
    Ending,
    /// The task waits for tasks of the group, and another task may have the permit.
    Away,
    /// The task waits for tasks of a group that was opened inside of it, and another task may have
    /// the permit: see [`Holder`].
    Inside,
}

impl Standing {
    fn has_permit(self) -> bool {
        matches!(self, Standing::Running | Standing::Ending)
    }
}

fn with<T>(f: impl FnOnce(&mut Thread) -> T) -> Option<T> {
    if THREAD.try_with(|_| ()).is_ok() {
        return Some(THREAD.with(|thread| f(&mut thread.borrow_mut())));
    }
    let is_spent = |thread: &RefCell<Thread>| {
        let thread = thread.borrow();
        thread.held.is_empty() && thread.outside.is_none()
    };
    LATE.try_with(|late| {
        late.with(Default::default, is_spent, |thread| {
            f(&mut thread.borrow_mut())
        })
    })
    .ok()
}

/// The thread holds a permit for as long as this lives.
#[must_use]
#[derive(Debug)]
pub(super) struct Holding(());

/// Notes that this thread runs a task of `group` that has a permit.
pub(super) fn hold(group: usize) -> Holding {
    with(|thread| {
        thread.held.push(Held {
            group,
            standing: Standing::Running,
            holder: None,
        })
    });
    Holding(())
}

impl Holding {
    /// The task has ended, but for its callbacks.
    pub(super) fn is_ending(&self) {
        with(|thread| {
            if let Some(held) = thread.held.last_mut() {
                held.standing = Standing::Ending;
            }
        });
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        let held = with(|thread| thread.held.pop());
        drop(held);
    }
}

/// Whether this thread has a permit of `group`, and has not given it away.
pub(super) fn is_held(group: usize) -> bool {
    with(|thread| {
        let innermost = thread.held.iter().rev().find(|held| held.group == group);
        innermost.is_some_and(|held| held.standing.has_permit())
    })
    .unwrap_or(false)
}

/// The standing of some permits is another one for as long as this lives.
#[must_use]
#[derive(Debug)]
struct Changed(Vec<(usize, Standing)>);

impl Drop for Changed {
    fn drop(&mut self) {
        with(|thread| {
            for &(place, before) in &self.0 {
                thread.held[place].standing = before;
            }
        });
    }
}

/// The innermost permit of a group is given away for as long as this lives.
#[must_use]
#[derive(Debug)]
pub(super) struct Away {
    place: usize,
    before: Standing,
}

/// Notes that this thread gives its permit of `group` away, if it has one.
pub(super) fn give_away(group: usize) -> Option<Away> {
    with(|thread| {
        let place = thread.held.iter().rposition(|held| held.group == group)?;
        let before = thread.held[place].standing;
        before.has_permit().then(|| {
            thread.held[place].standing = Standing::Away;
            Away { place, before }
        })
    })
    .flatten()
}

impl Away {
    /// The permit was counted as one that is about to be free.
    pub(super) fn was_ending(&self) -> bool {
        self.before == Standing::Ending
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        with(|thread| thread.held[self.place].standing = self.before);
    }
}

/// The holders of permits of `group` that this thread is inside of, but for a permit that it could
/// give away by itself.
pub(super) fn holders_of(group: usize) -> Vec<Arc<Holder>> {
    with(|thread| {
        let here = thread
            .held
            .iter()
            .filter(|held| held.standing == Standing::Inside)
            .filter_map(|held| held.holder.as_ref());
        let outside = thread.outside.iter().flat_map(Holder::and_outer);
        here.chain(outside)
            .filter(|holder| holder.is_of(group))
            .cloned()
            .collect()
    })
    .unwrap_or_default()
}

/// The innermost holder around a group that is opened here.
#[inline]
pub(super) fn around() -> Option<Arc<Holder>> {
    with(|thread| {
        if thread.held.is_empty() {
            return thread.outside.clone();
        }
        let mut outer = thread.outside.clone();
        for held in &mut thread.held {
            outer = Some(
                held.holder
                    .get_or_insert_with(|| Holder::new(held.group, outer))
                    .clone(),
            );
        }
        outer
    })
    .flatten()
}

/// The thread runs tasks of a group with a holder around it, for as long as this lives.
#[must_use]
#[derive(Debug)]
pub(super) struct Within {
    before: Option<Arc<Holder>>,
}

/// Notes that this thread runs tasks of a group that has `holder` around it.
pub(super) fn within(holder: &Arc<Holder>) -> Within {
    Within {
        before: with(|thread| thread.outside.replace(holder.clone())).flatten(),
    }
}

impl Drop for Within {
    fn drop(&mut self) {
        let mut before = self.before.take();
        with(|thread| std::mem::swap(&mut thread.outside, &mut before));
    }
}

/// This thread waits for tasks inside of permits that it holds, for as long as this lives.
#[must_use]
#[derive(Debug)]
pub(super) struct Inside {
    holders: Vec<Arc<Holder>>,
    _changed: Changed,
}

/// Notes that this thread begins to wait for tasks of a group that has `around` around it. To be
/// called with no lock held.
pub(super) fn wait_inside(around: &Arc<Holder>) -> Inside {
    let mut holders = Vec::new();
    let mut changed = Vec::new();
    with(|thread| {
        for (place, held) in thread
            .held
            .iter_mut()
            .enumerate()
            .filter(|(_, held)| held.standing.has_permit())
        {
            let Some(holder) = &held.holder else { continue };
            if around.and_outer().any(|outer| Arc::ptr_eq(outer, holder)) {
                holders.push((holder.clone(), held.standing == Standing::Ending));
                changed.push((place, held.standing));
                held.standing = Standing::Inside;
            }
        }
    });
    let changed = Changed(changed);
    let holders = holders.into_iter().map(|(holder, ending)| {
        holder.begin_wait(ending);
        holder
    });
    Inside {
        holders: holders.collect(),
        _changed: changed,
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.holders.iter().for_each(|holder| holder.end_wait());
    }
}
