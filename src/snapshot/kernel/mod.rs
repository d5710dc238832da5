//! The state of a thread that is in no blocking point of this crate, as the system tells it.

#[cfg(target_os = "linux")]
pub(crate) mod calls;
#[cfg(target_os = "linux")]
mod descriptors;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(super) use linux::Kernel;

/// Systems that do not tell.
#[cfg(not(target_os = "linux"))]
#[derive(Debug, Default)]
pub(super) struct Kernel(());

/// The state of a thread, as the system tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(
    not(target_os = "linux"),
    allow(dead_code, reason = "these systems do not tell")
)]
pub(super) enum Doing {
    /// It runs, or waits for a processor.
    Runs,
    /// It is blocked in a call of the system.
    Blocked {
        call: &'static str,
        /// The object of the call, in words.
        target: Option<String>,
    },
    /// The system does not tell.
    Unknown,
}

#[cfg(not(target_os = "linux"))]
impl Kernel {
    pub(super) fn doing(&mut self, _thread: i32) -> Doing {
        Doing::Unknown
    }

    /// Returns the descriptor in words.
    pub(super) fn describe(&mut self, descriptor: i32) -> String {
        format!("fd {descriptor}")
    }

    pub(super) fn note(&self) -> Option<String> {
        Some("this system does not tell what threads do in code that is not of this crate".into())
    }
}
