//! Whether a cancel ends a wait.

/// The effect of a mark on a wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OnCancel {
    /// It ends.
    Return,
    /// It goes on.
    Wait,
}
