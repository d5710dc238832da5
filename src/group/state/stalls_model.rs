//! Time stands still in a model, so no group stalls.

use super::group_state::GroupState;
use crate::cancel::KeptCanceller;

impl GroupState {
    #[inline(always)]
    pub(crate) fn ask_for_look(&self) {}

    pub(super) fn ask_for_look_now(&self) {}

    pub(super) fn note_kept(&self, _kept: KeptCanceller) {}
}
