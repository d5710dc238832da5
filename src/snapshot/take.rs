//! The call that takes a snapshot.

use super::collect::Collected;
use super::{Snapshot, tree};

/// Takes a picture of all groups and tasks of the process: what runs, what each task waits for and
/// where, which groups are cancelled and why.
///
/// It is cheap and always on. Threads note what they do as they go, and this call reads the notes:
/// it stops no thread, and does not block. A thread that opens or ends a scope, or begins or ends a
/// named task, may wait while a few entries are copied. It may be called anywhere, even in a panic
/// hook, a destructor or a callback, and under any lock.
///
/// # Consistency
///
/// The picture is *weakly consistent*. Each task is read at one moment, so its state and its wait
/// belong together; different tasks are read at different moments. A task that neither was spawned,
/// began to run nor ended during the call is there once; any other once or not at all. The
/// thread that holds a lock is named only if it still held the lock after the thread that waits had
/// been read. A part that was being written just then is left out and
/// [counted](Snapshot::incomplete).
///
/// # Code that is not of this crate
///
/// A task may block in a system call that this crate does not make, such as a read of a std stream.
/// On Linux the snapshot asks the kernel in which call it is, and with which descriptor. The names
/// and peers of descriptors are read after that and may have changed in between; if the call has
/// changed too, they are left out.
///
/// ```
/// # fn main() -> Result<(), taskgroup::GroupError> {
/// use taskgroup::TaskGroup;
///
/// TaskGroup::builder().name("outer").scope(|_| {
///     TaskGroup::scope(|_| {
///         println!("{}", taskgroup::snapshot());
///         assert_eq!(taskgroup::snapshot().all_groups().count(), 2);
///         Ok(())
///     })?;
///     Ok::<_, anyhow::Error>(())
/// })
/// # }
/// ```
pub fn snapshot() -> Snapshot {
    tree::build(Collected::take())
}
