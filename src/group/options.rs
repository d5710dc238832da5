//! The options of a group, as its builder collects them.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use super::policy::{Fatal, OnPanic};
use crate::cancel::CancelToken;
use crate::stall::StallPolicy;

#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) name: Option<Cow<'static, str>>,
    pub(crate) limit: Option<usize>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) fatal: Fatal,
    pub(crate) on_panic: OnPanic,
    pub(crate) parents: Vec<CancelToken>,
    pub(crate) stack_size: Option<usize>,
    pub(crate) stall_after: Duration,
    pub(crate) stall_policy: StallPolicy,
}

impl Options {
    pub(crate) const fn new() -> Self {
        Options {
            name: None,
            limit: None,
            timeout: None,
            deadline: None,
            fatal: Fatal::All,
            on_panic: OnPanic::Collect,
            parents: Vec::new(),
            stack_size: None,
            stall_after: Duration::from_secs(5),
            stall_policy: StallPolicy::Report,
        }
    }
}
