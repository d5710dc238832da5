//! Whether a debugger has this process.

/// Returns whether another process traces this one, such as a debugger, which stops it as it likes.
/// Asked at each report, since a debugger may come at any time.
pub(super) fn is_attached() -> bool {
    // Where the file cannot be read, nothing is known, and a stall is reported.
    let status = if cfg!(target_os = "linux") {
        std::fs::read_to_string("/proc/self/status").unwrap_or_default()
    } else {
        String::new()
    };
    is_traced(&status)
}

fn is_traced(status: &str) -> bool {
    let tracer = status
        .lines()
        .find_map(|line| line.strip_prefix("TracerPid:"));
    tracer.is_some_and(|pid| pid.trim() != "0")
}

#[cfg(test)]
mod tests {
    use super::is_traced;

    #[test]
    fn a_tracer_is_any_number_but_zero() {
        assert!(is_traced("Name:\tx\nTracerPid:\t812\nUid:\t0\n"));
        assert!(!is_traced("Name:\tx\nTracerPid:\t0\nUid:\t0\n"));
        assert!(!is_traced(""));
    }
}
