//! Reports of scopes that were cancelled, or are past their deadlines, and do not end.
//!
//! # Threads
//!
//! | thread | what it does here | blocks |
//! |---|---|---|
//! | the thread that cancels, or that opens a scope with a deadline | asks for a look (one read-modify-write, and seldom a lock) | no |
//! | the timer's thread (`cancel::timer`) | looks: reads the groups that are open, keeps the list of those that stall, and submits jobs | no: it only tries locks |
//! | the reporter, started for the first job | takes the snapshot, writes, calls hooks and the subscriber | yes |
//! | a thread of an abort, started with the report before it | aborts, if the report takes too long | no |
//! | the thread that ends a scope | leaves the list of open groups, then asks whether it was reported | no |
//!
//! A second reporter comes only while a hook, the subscriber or stderr keeps the first. It leaves
//! out the hooks that are running.
//!
//! # States of a scope
//!
//! | state | where it is kept | next |
//! |---|---|---|
//! | open | the lane of its thread | cancelled, or past its deadline: *followed* at the next look |
//! | followed | [`watching::followed`], with the instant of its next report | due: *examined* |
//! | examined | a job of the [`watching::reporter`] | no laggard, a debugger, a grace: *followed*; else *reported* |
//! | reported | `GroupState`, as a count that only grows, and [`watching::followed`] | again and again *examined*, each time after twice the time |
//! | ended | nowhere: it has left its lane | its last report is submitted if the count is not 0 |
//!
//! # Invariants
//!
//! 1. A look that is asked for takes place: see [`schedule`], which has a model.
//! 2. A scope is counted as reported by a reader of the list that it leaves at its end, and only
//!    while it is on the list: it leaves when no reader is at the list. So a report is never made
//!    for a scope that has ended, and the end of a scope sees every report that was made for it.
//! 3. The time between two looks is known beforehand. A look that comes late has found the process
//!    asleep, stopped or without a processor, and then all delays start again.
//! 4. User code, and calls that may block, run on the reporter alone, with no lock held.
//!
//! # Lock order
//!
//! A reader of the list of a lane keeps its thread from ending a scope, like a lock, and tries the
//! locks of a group's node and queue, and waits for none. The lock of the watch and the lock of the
//! reporter are taken with no other lock held.
//!
//! A scope that ends in time pays nothing for this at its end, but for one load if it was
//! cancelled.

#![cfg_attr(loom, allow(dead_code, reason = "time stands still in a model"))]

mod policy;
mod schedule;
#[cfg(not(loom))]
mod watching;

pub use policy::StallPolicy;
#[cfg(taskgroup_models)]
pub(crate) use schedule::Schedule;
#[cfg(not(loom))]
pub(crate) use watching::{EndedScope, ReportClaim, SpanView, StallView, ask_after, ended};
#[cfg(not(loom))]
pub use watching::{Laggard, StallHook, StallReport, on_stall};
