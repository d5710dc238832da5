//! The dispositions of a signal.

/// What happens to the process at a signal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Disposition {
    /// It ends.
    Default,
    /// Nothing.
    Ignored,
    /// A handler of the program's runs.
    #[cfg_attr(
        not(target_os = "linux"),
        allow(dead_code, reason = "only Linux tells")
    )]
    Handled,
}
