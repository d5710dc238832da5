//! The data of a group that the watcher reads. See [`Describe`](crate::lanes::Describe).

use std::borrow::Cow;
use std::panic::Location;
use std::time::{Duration, Instant};

use crate::cancel::{Cancelled, Grace, KeptCanceller, WorstLatencies};
use crate::stall::StallPolicy;
use crate::trace::GroupSpan;

/// A group, as it describes itself to the watcher and to the reporter.
#[derive(Debug, Default)]
pub(crate) struct StallView {
    /// When the group was cancelled, or should have been by its deadline.
    pub(crate) due_since: Option<Instant>,
    /// The deadline of a group that is not cancelled and not past it.
    pub(crate) deadline: Option<Instant>,
    /// For how long the cancel spares regions that wind down.
    pub(crate) grace: Grace,
    pub(crate) after: Duration,
    pub(crate) policy: StallPolicy,
    /// The callbacks and hooks that kept the cancelling thread.
    pub(crate) kept: Vec<KeptCanceller>,
    /// A part could not be read.
    pub(crate) is_busy: bool,
}

/// Counts a group as reported, in the description of the group (invariant 2).
#[derive(Debug, Default)]
pub(crate) struct ReportClaim {
    /// Set by the group.
    pub(crate) is_made: bool,
}

/// The span of the group, as the group describes itself.
#[derive(Debug, Default)]
pub(crate) struct SpanView(pub(crate) GroupSpan);

/// A scope that has ended after it was reported.
pub(crate) struct EndedScope {
    pub(crate) number: u64,
    pub(crate) name: Option<Cow<'static, str>>,
    pub(crate) location: &'static Location<'static>,
    pub(crate) cancelled: Option<Cancelled>,
    pub(crate) worst_latencies: WorstLatencies,
}
