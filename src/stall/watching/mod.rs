//! The watcher and the reporter: what follows stalled scopes, and tells of them.

mod abort;
mod advice;
mod debugger;
mod draw;
mod examine;
mod followed;
mod hook;
mod laggards;
mod output;
mod pace;
mod report;
mod reporter;
mod seen;
mod view;
mod watch;

pub use hook::{StallHook, on_stall};
pub use report::{Laggard, StallReport};
pub(crate) use view::{EndedScope, ReportClaim, SpanView, StallView};
pub(crate) use watch::{ask_after, ended};
