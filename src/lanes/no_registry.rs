//! Stands in for the registry of lanes in a loom model, where threads have no lanes.

use super::lane::Lane;

/// Returns the lane of this thread: none.
#[inline(always)]
pub(crate) fn mine() -> Option<&'static Lane> {
    None
}

/// Returns the lane that this thread has: none.
#[inline(always)]
pub(crate) fn claimed() -> Option<&'static Lane> {
    None
}

/// No model forks.
pub(crate) fn has_used_the_crate() -> bool {
    false
}

/// Returns all lanes: none.
pub(crate) fn all() -> impl Iterator<Item = &'static Lane> {
    std::iter::empty()
}

/// Returns the number of this thread in the system: 0, since it is not known.
pub(super) fn system_number() -> i32 {
    0
}
