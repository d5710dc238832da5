//! What kind of blocking point a thread is in.

/// The kind of a blocking point, recorded in the slot of the thread that is in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Point {
    /// Not in a blocking point.
    None,
    /// `sleep`, `sleep_until`.
    Sleep,
    /// `park`, `park_timeout`.
    Park,
    /// `TaskHandle::join`, `wait`, `wait_timeout`, `cancel_and_wait`.
    Join,
    /// `CancelToken::wait`, `wait_timeout`.
    Token,
    /// `AsCompleted::next`, `MapUnordered::next`, `TaskGroup::start`.
    Completion,
    /// The end of a scope, where its tasks are waited for.
    ScopeEnd,
    /// The drop of a `CancelGuard` whose callback is running.
    Deregister,
    /// `abandon`.
    Abandon,
    /// Foreign code inside `with_cancel_hook`.
    Hook,
    /// `sync::Mutex::lock`, and the end of a `Condvar::wait`, which locks again.
    Mutex,
    /// `sync::RwLock::read`.
    Read,
    /// `sync::RwLock::write`.
    Write,
    /// `sync::Condvar::wait` and its kin.
    Condvar,
    /// `sync::Semaphore::acquire`, `acquire_many`.
    Semaphore,
    /// `sync::Barrier::wait`.
    Barrier,
    /// `sync::Event::wait`, `wait_timeout`.
    Event,
    /// `sync::Latch::wait`, `wait_timeout`.
    Latch,
    /// `sync::OnceCell::get_or_try_init` while another thread makes the value.
    OnceCell,
    /// `sync::Promise::wait`, `wait_timeout`.
    Promise,
    /// `channel::Sender::send`, `send_timeout`.
    Send,
    /// `channel::Receiver::recv`, `recv_timeout`.
    Receive,
    /// `channel::Select::select`, `select_timeout`, and `channel::select!`.
    Select,
}
