//! Children on Linux: a descriptor of the process itself, which no reuse of its pid can change.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};

/// Returns a descriptor that becomes readable when the process ends. None on old systems, where a
/// filter of system calls forbids it, and when no descriptor is left.
pub(super) fn open(pid: Pid) -> Option<OwnedFd> {
    // Closed in children: the system sets that flag by itself.
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

/// Names the child for a wait.
pub(super) fn wait_id(pid: Pid, watch: Option<BorrowedFd<'_>>) -> WaitId<'_> {
    watch.map_or(WaitId::Pid(pid), WaitId::PidFd)
}

/// Reaps the child if it has ended.
pub(super) fn reap(id: WaitId<'_>, _: Pid) -> Result<Option<ExitStatus>, Errno> {
    let status = waitid(id, WaitIdOptions::EXITED | WaitIdOptions::NOHANG)?;

    // std's status is the number that `waitpid` would have given, and `waitid` gives its parts.
    Ok(status.map(|status| {
        let core = if status.dumped() { 0x80 } else { 0 };
        let raw = match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => code << 8,
            (None, signal) => signal.unwrap_or(0) | core,
        };
        ExitStatus::from_raw(raw)
    }))
}

/// Sends a signal through the descriptor. Returns none if there is no descriptor, or if the system
/// does not know the call.
pub(super) fn signal(watch: Option<BorrowedFd<'_>>, signal: Signal) -> Option<Result<(), Errno>> {
    match pidfd_send_signal(watch?, signal) {
        // An old system, or a filter of system calls, which often answers that it is not permitted.
        // Whether that is true, the other way to signal tells.
        Err(Errno::NOSYS | Errno::PERM) => None,
        sent => Some(sent),
    }
}
