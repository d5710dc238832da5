//! rayon: work on a pool with threads that are in no scope.

use rayon::prelude::*;

/// Applies `f` to all items on the threads of rayon, and returns the results in order. A cancel of
/// the calling thread's scope ends it before the next item of each thread.
///
/// # Errors
///
/// The error of an item, or the `Cancelled` of the scope.
pub fn try_map<T: Sync, U: Send>(
    items: &[T],
    f: impl Fn(&T) -> anyhow::Result<U> + Sync,
) -> anyhow::Result<Vec<U>> {
    // A thread of the pool is in no scope, so the token of this one is taken along.
    let token = taskgroup::current_token().unwrap_or_default();
    let each = |item| {
        token.check()?;
        f(item)
    };
    items.par_iter().map(each).collect()
}
