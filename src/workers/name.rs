//! The names of threads, as the operating system shows them.

/// The name of each worker in std. `ThreadName` changes only the name that the system shows.
pub(crate) const THREAD_NAME: &str = "taskgroup";

/// While it lives, this thread has another name.
///
/// The system keeps a part of the name, 15 bytes on Linux. Where a running thread cannot be
/// renamed, this does nothing.
#[cfg(target_os = "linux")]
#[must_use = "the thread has the name for as long as this lives"]
pub(crate) struct ThreadName {
    before: Option<std::ffi::CString>,
}

#[cfg(target_os = "linux")]
impl ThreadName {
    /// Renames this thread.
    pub(crate) fn set(name: &str) -> Self {
        use std::ffi::CString;

        use nix::sys::prctl;

        // The system would cut the name at 15 bytes, which may be inside a character.
        let mut end = name.len().min(15);
        while !name.is_char_boundary(end) {
            end -= 1;
        }

        // A name that cannot be set is not a reason to fail, and then there is nothing to restore.
        let short: String = name[..end].chars().filter(|c| *c != '\0').collect();
        let before = prctl::get_name().ok();
        let is_set = CString::new(short).is_ok_and(|name| prctl::set_name(&name).is_ok());
        ThreadName {
            before: before.filter(|_| is_set),
        }
    }
}

#[cfg(target_os = "linux")]
impl Drop for ThreadName {
    fn drop(&mut self) {
        if let Some(name) = &self.before {
            let _ = nix::sys::prctl::set_name(name);
        }
    }
}

/// Stands in for a name where a running thread cannot be renamed.
#[cfg(not(target_os = "linux"))]
pub(crate) struct ThreadName;

#[cfg(not(target_os = "linux"))]
impl ThreadName {
    pub(crate) fn set(_name: &str) -> Self {
        ThreadName
    }
}
