//! Whether a cancel ends a wait.

/// What a wait does when the slot is marked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OnCancel {
    /// It ends.
    Return,
    /// It goes on.
    Wait,
}
