//! The names of threads, as the operating system shows them.

/// Renames this thread while `f` runs.
///
/// The system keeps a part of `name`, 15 bytes on Linux. Where a running thread cannot be renamed,
/// this only runs `f`.
#[cfg(target_os = "linux")]
pub(crate) fn with_thread_name<T>(name: &str, f: impl FnOnce() -> T) -> T {
    use std::ffi::{CStr, CString};

    use nix::sys::prctl;

    struct Restore(Option<CString>);
    impl Drop for Restore {
        fn drop(&mut self) {
            if let Some(name) = &self.0 {
                let _ = prctl::set_name(name);
            }
        }
    }

    fn set(name: &CStr) -> bool {
        prctl::set_name(name).is_ok()
    }

    // The system would cut the name at 15 bytes, which may be inside a character.
    let mut end = name.len().min(15);
    while !name.is_char_boundary(end) {
        end -= 1;
    }

    // A name that cannot be set is no reason to fail, and then there is nothing to restore.
    let short: String = name[..end].chars().filter(|c| *c != '\0').collect();
    let old = prctl::get_name().ok();
    let _restore = Restore(CString::new(short).ok().filter(|name| set(name)).and(old));
    f()
}

/// Runs `f`, since a running thread cannot be renamed here.
#[cfg(not(target_os = "linux"))]
pub(crate) fn with_thread_name<T>(_name: &str, f: impl FnOnce() -> T) -> T {
    f()
}
