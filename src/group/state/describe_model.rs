//! A model has no snapshots, so nothing is described.

use std::any::Any;

use super::group_state::GroupState;
use super::worker_loop::TaskBatch;
use crate::lanes::Describe;

impl Describe for GroupState {
    fn describe(&self, _into: &mut dyn Any) {}
}

impl Describe for TaskBatch {
    fn describe(&self, _into: &mut dyn Any) {}
}
