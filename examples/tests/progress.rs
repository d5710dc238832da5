//! An iterator of results knows how many will come, so a progress bar of another crate knows it
//! too.

use indicatif::{ProgressBar, ProgressBarIter, ProgressIterator};
use taskgroup::{Cancelled, GroupError, TaskGroup};

/// Returns how many results `bar` expects, and how many there are.
fn expected_and_given<T>(
    bar: ProgressBarIter<impl Iterator<Item = Result<T, Cancelled>>>,
) -> (Option<u64>, usize) {
    let expected = bar.progress.length();
    bar.progress
        .set_draw_target(indicatif::ProgressDrawTarget::hidden());
    (expected, bar.filter(Result::is_ok).count())
}

#[test]
fn a_bar_knows_how_long_it_is() -> Result<(), GroupError> {
    TaskGroup::builder().limit(2).scope(|g| {
        let double = |n: u32| Ok(2 * n);
        assert_eq!(
            expected_and_given(g.map([1, 2, 3], double).progress()),
            (Some(3), 3)
        );
        assert_eq!(
            expected_and_given(g.map_unordered(0..4, double).progress()),
            (Some(4), 4)
        );
        let tasks: Vec<_> = (0..5).map(|n| g.spawn(move || double(n))).collect();
        assert_eq!(
            expected_and_given(g.as_completed(tasks).map(|task| task?.join()).progress()),
            (Some(5), 5)
        );
        Ok(())
    })?;

    let mut counted = 0;
    let bar = ProgressBar::hidden();
    TaskGroup::scope(|g| {
        counted = g
            .map(1.., |n: u32| Ok(n))
            .take(6)
            .progress_with(bar.clone())
            .count();
        Ok(())
    })?;

    assert_eq!((counted, bar.position()), (6, 6));
    Ok(())
}
