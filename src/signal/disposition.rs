//! The dispositions of a signal.

/// The effect of a signal on the process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Disposition {
    /// It ends.
    Default,
    /// Nothing.
    Ignored,
    /// A handler of the program runs.
    #[cfg_attr(
        not(target_os = "linux"),
        allow(dead_code, reason = "only Linux tells")
    )]
    Handled,
}
