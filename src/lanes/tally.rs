//! How a thread counts on its lane, and the sums over all lanes.

use super::counts::Counts;
use super::registry::{all, mine};
use crate::facade::per_process;

per_process! {
    /// The counts of the last destructors of threads, which have no lane, and of models. Threads
    /// share it.
    static LANELESS: Counts = Counts::new();
}

/// Adds `by` to a count of the process.
#[inline]
pub(crate) fn add_to(count: usize, by: u64) {
    match mine() {
        Some(lane) => lane.counts().add(count, by),
        None => add_laneless(count, by),
    }
}

#[cold]
fn add_laneless(count: usize, by: u64) {
    LANELESS.add_shared(count, by);
}

/// Returns a count of the process. Of two counts, the later one is to be read first: then
/// it is not ahead of the other.
pub(crate) fn sum(count: usize) -> u64 {
    let in_lanes = all().map(|lane| lane.counts().get(count)).sum::<u64>();
    in_lanes + LANELESS.get(count)
}
