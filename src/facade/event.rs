//! Events for a subscriber of `tracing`. All have the target `taskgroup`, whatever file they are
//! in.

macro_rules! error_event {
    ($($fields:tt)*) => { ::tracing::error!(target: "taskgroup", $($fields)*) };
}
macro_rules! warn_event {
    ($($fields:tt)*) => { ::tracing::warn!(target: "taskgroup", $($fields)*) };
}
macro_rules! debug_event {
    ($($fields:tt)*) => { ::tracing::debug!(target: "taskgroup", $($fields)*) };
}

pub(crate) use {debug_event, error_event, warn_event};
