//! Children on systems that know them by their pid alone.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitOptions, waitpid};

/// Returns a descriptor that becomes readable when the process ends, if the system has one.
pub(super) fn open(pid: Pid) -> Option<OwnedFd> {
    #[cfg(any(
        target_vendor = "apple",
        target_os = "freebsd",
        target_os = "dragonfly",
        target_os = "netbsd"
    ))]
    return super::kqueue::open(pid);

    #[allow(unreachable_code, reason = "for the other systems")]
    {
        let _ = pid;
        None
    }
}

/// Names the child for a wait.
pub(super) fn wait_id<'fd>(pid: Pid, _: Option<BorrowedFd<'fd>>) -> WaitId<'fd> {
    WaitId::Pid(pid)
}

/// Reaps the child if it has ended.
pub(super) fn reap(_: WaitId<'_>, pid: Pid) -> Result<Option<ExitStatus>, Errno> {
    let reaped = waitpid(Some(pid), WaitOptions::NOHANG)?;
    Ok(reaped.map(|(_, status)| ExitStatus::from_raw(status.as_raw())))
}

/// There are no signals through a descriptor.
pub(super) fn signal(_: Option<BorrowedFd<'_>>, _: Signal) -> Option<Result<(), Errno>> {
    None
}
