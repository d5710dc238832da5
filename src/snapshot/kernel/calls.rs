//! The calls in which a thread may block for long, by the numbers of the system.

use nix::libc;

/// A call of the system.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SystemCall {
    number: i64,
    pub(crate) name: &'static str,
    first: First,
}

/// The meaning of the first argument of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum First {
    Descriptor,
    Process,
    Other,
}

macro_rules! calls {
    (@first) => { First::Other };
    (@first fd) => { First::Descriptor };
    (@first pid) => { First::Process };
    ($($(#[$attribute:meta])* $name:ident = $number:ident $(of $first:ident)?;)*) => {
        &[$($(#[$attribute])* SystemCall {
            number: libc::$number as i64,
            name: stringify!($name),
            first: calls!(@first $($first)?),
        }),*]
    };
}

// Calls that not all processors have, or have under this name, stand under a condition.
#[allow(
    clippy::unnecessary_cast,
    reason = "the number of a call has 32 bits on some processors"
)]
const CALLS: &[SystemCall] = calls! {
    read = SYS_read of fd;
    write = SYS_write of fd;
    readv = SYS_readv of fd;
    writev = SYS_writev of fd;
    pread64 = SYS_pread64 of fd;
    pwrite64 = SYS_pwrite64 of fd;
    recvfrom = SYS_recvfrom of fd;
    recvmsg = SYS_recvmsg of fd;
    recvmmsg = SYS_recvmmsg of fd;
    sendto = SYS_sendto of fd;
    sendmsg = SYS_sendmsg of fd;
    sendmmsg = SYS_sendmmsg of fd;
    sendfile = SYS_sendfile of fd;
    splice = SYS_splice of fd;
    connect = SYS_connect of fd;
    accept4 = SYS_accept4 of fd;
    ioctl = SYS_ioctl of fd;
    fcntl = SYS_fcntl of fd;
    flock = SYS_flock of fd;
    fsync = SYS_fsync of fd;
    fdatasync = SYS_fdatasync of fd;
    fallocate = SYS_fallocate of fd;
    copy_file_range = SYS_copy_file_range of fd;
    getdents64 = SYS_getdents64 of fd;
    epoll_pwait = SYS_epoll_pwait of fd;
    io_uring_enter = SYS_io_uring_enter of fd;
    preadv = SYS_preadv of fd;
    pwritev = SYS_pwritev of fd;
    close = SYS_close of fd;
    shutdown = SYS_shutdown of fd;
    ftruncate = SYS_ftruncate of fd;
    syncfs = SYS_syncfs of fd;
    vmsplice = SYS_vmsplice of fd;
    epoll_pwait2 = SYS_epoll_pwait2 of fd;
    sync = SYS_sync;
    statx = SYS_statx;
    unlinkat = SYS_unlinkat;
    renameat2 = SYS_renameat2;
    mkdirat = SYS_mkdirat;
    getrandom = SYS_getrandom;
    execve = SYS_execve;
    clone3 = SYS_clone3;
    clone = SYS_clone;
    exit_group = SYS_exit_group;
    msync = SYS_msync;
    mprotect = SYS_mprotect;
    mremap = SYS_mremap;
    brk = SYS_brk;
    openat = SYS_openat;
    ppoll = SYS_ppoll;
    pselect6 = SYS_pselect6;
    futex = SYS_futex;
    wait4 = SYS_wait4 of pid;
    waitid = SYS_waitid;
    nanosleep = SYS_nanosleep;
    clock_nanosleep = SYS_clock_nanosleep;
    rt_sigtimedwait = SYS_rt_sigtimedwait;
    rt_sigsuspend = SYS_rt_sigsuspend;
    restart_syscall = SYS_restart_syscall;
    mq_timedreceive = SYS_mq_timedreceive of fd;
    mq_timedsend = SYS_mq_timedsend of fd;
    sched_yield = SYS_sched_yield;
    madvise = SYS_madvise;
    munmap = SYS_munmap;
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    accept = SYS_accept of fd;
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    fstat = SYS_fstat of fd;
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    sync_file_range = SYS_sync_file_range of fd;
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    newfstatat = SYS_newfstatat;
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    io_getevents = SYS_io_getevents;
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    semtimedop = SYS_semtimedop;
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    semop = SYS_semop;
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    msgrcv = SYS_msgrcv;
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    msgsnd = SYS_msgsnd;
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    mmap = SYS_mmap;
    #[cfg(target_arch = "x86_64")]
    open = SYS_open;
    #[cfg(target_arch = "x86_64")]
    poll = SYS_poll;
    #[cfg(target_arch = "x86_64")]
    select = SYS_select;
    #[cfg(target_arch = "x86_64")]
    epoll_wait = SYS_epoll_wait of fd;
    #[cfg(target_arch = "x86_64")]
    pause = SYS_pause;
    #[cfg(target_arch = "x86_64")]
    vfork = SYS_vfork;
};

/// Returns the call with this number, if it is one in which threads block.
pub(crate) fn by_number(number: i64) -> Option<SystemCall> {
    CALLS.iter().copied().find(|call| call.number == number)
}

/// A call that a thread is in, as `/proc` tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct EnteredCall {
    pub(crate) number: i64,
    first: u64,
}

impl EnteredCall {
    /// Returns the descriptor that the call is about, if its first argument is one.
    pub(crate) fn descriptor(self, call: SystemCall) -> Option<i32> {
        (call.first == First::Descriptor).then_some(self.first as u32 as i32)
    }

    /// Returns the process that the call waits for, if its first argument is one.
    pub(super) fn process(self, call: SystemCall) -> Option<i32> {
        let process = self.first as u32 as i32;
        (call.first == First::Process && process > 0).then_some(process)
    }
}

/// Reads `0 0x3 ..`: the number of the call, and its arguments. A thread that is in no call has
/// none.
pub(crate) fn parse(text: &str) -> Option<EnteredCall> {
    let mut fields = text.split_whitespace();
    let number = fields.next()?.parse().ok().filter(|number| *number >= 0)?;
    let first = fields.next()?.strip_prefix("0x")?;
    Some(EnteredCall {
        number,
        first: u64::from_str_radix(first, 16).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_call_of_a_blocked_thread_is_read_with_its_descriptor() {
        let text = format!("{} 0x7 0x0 0x1 0x0 0x0 0x0 0x7ffd 0x7f01", libc::SYS_read);
        let entered = parse(&text).expect("it is in a call");
        let call = by_number(entered.number).expect("the call is known");
        assert_eq!((call.name, entered.descriptor(call)), ("read", Some(7)));
        assert_eq!(parse("running\n"), None);
        assert_eq!(parse("-1 0x7ffd 0x7f01"), None);
    }
}
