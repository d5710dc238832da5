//! The parts of a case.

use std::time::Duration;

use taskgroup::GroupError;

pub(super) const LONG: Duration = Duration::from_secs(60);

pub(crate) type Case = (&'static str, fn() -> Result<(), GroupError>);

/// Says that the last step before the deadlock has come.
pub(super) fn planted() {
    println!("planted");
}
