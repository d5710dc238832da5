//! The state that each thread shows of itself: the tasks that it runs, what it waits for, and what
//! it holds.
//!
//! Every thread that uses the crate has a *lane*. The thread writes it as it goes, and any other
//! thread may read it at any time: for a snapshot, a report of a stalled scope, the search for a
//! deadlock, a dump. A reader stops no thread. A thread waits for a reader only at a lock
//! (invariant 5).
//!
//! # Owners
//!
//! - A lane is claimed by a thread at its first use and given back when the thread destroys its
//!   thread-locals. In between only that thread writes it. Lanes are never freed: a lane that was
//!   given back is claimed by a later thread, with a new number.
//! - A lane contains values alone: numbers, places in the source. Nothing in it is an
//!   address that a reader follows, with three exceptions: the names of the tasks and the batch of
//!   a worker, each under a lock, and the groups that the thread has opened. [`Listed`] keeps such
//!   a group alive while it is on the list, and takes it off when no reader is at the list.
//!
//! # Invariants
//!
//! 1. The frames and the wait of a lane change under its [`Version`](version::Version). A reader
//!    keeps only what it has read under one version: a wait never appears with the frames of
//!    another moment.
//! 2. What ends needs no new version: the pop of a frame, the end of a wait, an unlock. A reader
//!    that misses one shows a moment that has just passed. Whatever begins after it has a new
//!    version. The end of the start of a task needs none either, and any thread may note it.
//! 3. While a thread is parked, the version of its lane does not change. So two reads that find the
//!    same version, and the same wait both times, have found one wait.
//! 4. A thread that is woken counts, in `looks`, before and after it looks whether its wait is
//!    over. So a reader can wake a thread and learn that the thread itself found its wait not to be
//!    over.
//! 5. The owner takes the locks of its lane only for a push or a pop, and waits for readers of its
//!    groups only to take one off the list. A reader only tries, and meanwhile neither blocks nor
//!    runs user code. Readers do not hinder each other.
//!
//! No protocol between threads rests on a lane. The owner alone decides by its own lane: to wait
//! for a lock that its task holds already is a panic. In a loom model threads have no lanes.

#![cfg_attr(
    loom,
    allow(dead_code, unused_imports, reason = "in a model there are no lanes")
)]

mod counts;
mod frames;
#[cfg(all(unix, feature = "signal"))]
mod glance;
mod held;
mod helpers;
mod hold;
mod lane;
mod listed;
mod open_groups;
mod push;
#[cfg_attr(loom, path = "no_registry.rs")]
mod registry;
mod tally;
mod version;
mod wait;

pub(crate) use counts::COUNTS;
pub(crate) use frames::{FrameKind, FrameView, ShownFrame, StartMark};
#[cfg(all(unix, feature = "signal"))]
pub(crate) use glance::Glance;
pub(crate) use held::{HeldAs, HeldView, LockRank};
pub(crate) use helpers::{Helper, helpers};
pub(crate) use hold::{Held, downgraded, forgotten, locked, locked_here, unlocked};
pub(crate) use lane::{Lane, LaneView};
pub(crate) use listed::Listed;
#[cfg(taskgroup_models)]
pub(crate) use open_groups::OpenGroups;
pub(crate) use open_groups::{Busy, Describe, ReadGroups};
pub(crate) use push::{Pushed, mark_starting, push, push_here, to_sight};
use registry::claimed;
use registry::system_number;
pub(crate) use registry::{all, has_used_the_crate, mine};
pub(crate) use tally::{add_to, sum};
#[cfg(taskgroup_models)]
pub(crate) use version::Version;
pub(crate) use wait::{Object, Share, WaitFlags, WaitView, since_epoch};
