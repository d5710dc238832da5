//! The names of blocking points, as users write them.

#[cfg(all(unix, feature = "signal"))]
use super::wait::ObjectId;
use crate::waiting::WaitKind;

/// The wait for the tasks of a scope.
pub(super) const SCOPE_END: &str = "the end of the scope";

/// The wait for a callback that runs. Its place is the call of `on_cancel`: a drop does not know
/// its own.
pub(crate) const GUARD_DROP: &str = "the drop of the CallbackGuard of on_cancel";

/// Every kind of blocking point, with its name.
const NAMES: &[(WaitKind, &str)] = &[
    (WaitKind::Sleep, "sleep"),
    (WaitKind::Park, "park"),
    (WaitKind::Join, "TaskHandle::join"),
    (WaitKind::Token, "CancelToken::wait"),
    (WaitKind::Completion, "AsCompleted::next"),
    (WaitKind::ScopeEnd, SCOPE_END),
    (WaitKind::Deregister, GUARD_DROP),
    (WaitKind::Abandon, "abandon"),
    (WaitKind::Cancel, "hooks of a cancel"),
    (WaitKind::Mutex, "Mutex::lock"),
    (WaitKind::Read, "RwLock::read"),
    (WaitKind::Write, "RwLock::write"),
    (WaitKind::Condvar, "Condvar::wait"),
    (WaitKind::Semaphore, "Semaphore::acquire"),
    (WaitKind::Barrier, "Barrier::wait"),
    (WaitKind::Event, "Event::wait"),
    (WaitKind::Latch, "Latch::wait"),
    (WaitKind::WaitGroup, "WaitGroup::wait"),
    (WaitKind::OnceCell, "OnceCell::get_or_init"),
    (WaitKind::Promise, "Promise::wait"),
    (WaitKind::Send, "Sender::send"),
    (WaitKind::Receive, "Receiver::recv"),
    (WaitKind::Select, "select!"),
    (WaitKind::Accept, "TcpListener::accept"),
    (WaitKind::Connect, "TcpStream::connect"),
    (WaitKind::SocketRead, "read from a socket"),
    (WaitKind::SocketWrite, "write to a socket"),
    (WaitKind::DatagramReceive, "recv from a socket"),
    (WaitKind::DatagramSend, "send to a socket"),
    (WaitKind::Lookup, "net::lookup"),
    (WaitKind::DescriptorRead, "read"),
    (WaitKind::DescriptorWrite, "write"),
    (WaitKind::Stdin, "read from stdin"),
    (WaitKind::Fifo, "io::open_fifo"),
    (WaitKind::FileLock, "io::lock_file"),
    (WaitKind::Child, "Child::wait"),
    (WaitKind::RateLimit, "RateLimiter::acquire"),
    (WaitKind::Start, "TaskGroup::start"),
    (WaitKind::MapUnordered, "MapUnordered::next"),
    (WaitKind::Map, "map"),
    (WaitKind::AcceptUnix, "UnixListener::accept"),
    (WaitKind::ConnectUnix, "UnixStream::connect"),
];

/// Returns the kind that a lane shows by its number, and the name of its blocking points.
pub(crate) fn of(number: u8) -> Option<(WaitKind, &'static str)> {
    let mut kinds = NAMES.iter().copied();
    kinds.find(|(kind, _)| *kind as u8 == number)
}

/// Returns an object by its address, in disguise.
#[cfg(all(unix, feature = "signal"))]
pub(crate) fn object(address: usize) -> ObjectId {
    ObjectId::of(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_one_name() {
        // The last kind: a new one is added behind it, or this fails.
        for number in 1..=WaitKind::ConnectUnix as u8 {
            let found = NAMES.iter().filter(|(kind, _)| *kind as u8 == number);
            assert_eq!(found.count(), 1, "kind {number}");
        }
        assert_eq!(of(WaitKind::ConnectUnix as u8 + 1), None);
        assert_eq!(of(0), None);
    }
}
