//! Children on systems that know them by their pid alone.

use std::os::fd::BorrowedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitOptions, waitpid};

#[cfg(any(
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "dragonfly",
    target_os = "netbsd"
))]
pub(super) use super::kqueue::open;

/// Returns a descriptor that becomes readable when the process ends: the system has none.
#[cfg(not(any(
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "dragonfly",
    target_os = "netbsd"
)))]
pub(super) fn open(_: Pid) -> Option<std::os::fd::OwnedFd> {
    None
}

/// Names the child for a wait.
pub(super) fn wait_id(pid: Pid, _: Option<BorrowedFd<'_>>) -> WaitId<'_> {
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
