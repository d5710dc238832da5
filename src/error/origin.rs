//! Where a failure comes from.

use std::fmt;
use std::panic::Location;

use crate::cancel::TaskInfo;
use crate::trace::Site;

/// The part of a group that failed.
#[derive(Debug)]
pub(crate) enum Origin {
    Task(TaskInfo),
    Body,
    Release(&'static Location<'static>),
    Callback,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Task(task) => write!(f, "{task}"),
            Origin::Body => f.write_str("the body"),
            Origin::Release(location) => write!(f, "release hook ({})", Site(location)),
            Origin::Callback => f.write_str("a cancel callback"),
        }
    }
}
