//! A group on the list of its thread.

use std::mem;
use std::ops::Deref;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr as PlainPtr, Ordering::Relaxed};

use super::{Describe, Lane, mine};

/// A group that the lane of the thread that has opened it shows, until
/// [`take_back`](Self::take_back) or its drop.
///
/// # Safety of the list
///
/// While the group is on the list of `lane`, this value keeps it alive. It is taken off, or kept
/// alive for good, before this value lets go of it.
#[derive(Debug)]
pub(crate) struct Listed<G: Describe + 'static> {
    group: Arc<G>,
    /// The lane with the list. None in the last destructors of a thread, in a model, and once
    /// nothing is left to take back.
    lane: PlainPtr<Lane>,
}

impl<G: Describe + 'static> Listed<G> {
    /// Shows `group`, which has a token with this number, on the lane of this thread.
    #[inline]
    pub(crate) fn new(number: u64, group: Arc<G>) -> Self {
        let lane = mine();
        if let Some(lane) = lane {
            // SAFETY: a thread owns its lane. For the rest see the type.
            unsafe { lane.groups().push(number, &*group) };
        }

        let lane = lane.map_or(ptr::null_mut(), |lane| ptr::from_ref(lane).cast_mut());
        Listed {
            group,
            lane: PlainPtr::new(lane),
        }
    }

    /// Shows the group no longer. Waits for readers that look at the groups of this thread now.
    #[inline]
    pub(crate) fn take_back(&self) {
        let lane = self.lane.load(Relaxed);
        if lane.is_null() {
            return;
        }

        match mine() {
            Some(mine) if ptr::eq(mine, lane) => {
                // SAFETY: a thread owns its lane.
                unsafe { mine.groups().remove(&*self.group) };
            }
            _ => self.keep(),
        }
        self.lane.store(ptr::null_mut(), Relaxed);
    }

    /// Orders what this thread does next, and a reader of the list: either the reader sees the
    /// group, or this thread sees what came before the begin of the reader.
    #[inline]
    pub(crate) fn meet_readers(&self) {
        if let Some(lane) = mine() {
            lane.groups().meet_readers();
        }
    }

    /// Keeps the group for good: the thread that has opened it no longer has its lane, or another
    /// thread lets go of it.
    #[cold]
    fn keep(&self) {
        mem::forget(self.group.clone());
    }
}

impl<G: Describe + 'static> Deref for Listed<G> {
    type Target = Arc<G>;

    #[inline(always)]
    fn deref(&self) -> &Arc<G> {
        &self.group
    }
}

impl<G: Describe + 'static> Drop for Listed<G> {
    #[inline]
    fn drop(&mut self) {
        self.take_back();
    }
}
