//! The wait of a lane's thread.

use std::panic::Location;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU8 as PlainU8, AtomicU32 as PlainU32, AtomicU64 as PlainU64};
use std::time::Instant;

use crossbeam_utils::atomic::AtomicCell;

use crate::facade::Leaked;

/// The object of a wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Object {
    /// Nothing in particular: a pause.
    None,
    /// A primitive, by its address. While the wait lasts, no other object can be there.
    At(usize),
    /// A task, by its number.
    Task(u64),
    /// The tasks of a group, by the number of its token.
    Group(u64),
    /// A descriptor.
    Descriptor(i32),
    /// A child process.
    Process(u32),
}

impl Object {
    /// Returns the address of `object`, as something to wait for.
    #[inline]
    pub(crate) fn of<T: ?Sized>(object: &T) -> Self {
        Object::At(address(object))
    }

    fn parts(self) -> (u8, u64) {
        match self {
            Object::None => (0, 0),
            Object::At(address) => (1, address as u64),
            Object::Task(task) => (2, task),
            Object::Group(group) => (3, group),
            Object::Descriptor(descriptor) => (4, u64::from(descriptor as u32)),
            Object::Process(process) => (5, u64::from(process)),
        }
    }

    fn from_parts(tag: u8, value: u64) -> Self {
        match tag {
            1 => Object::At(value as usize),
            2 => Object::Task(value),
            3 => Object::Group(value),
            4 => Object::Descriptor(value as u32 as i32),
            5 => Object::Process(value as u32),
            _ => Object::None,
        }
    }
}

/// Returns the address of an object, as its number.
#[inline]
pub(super) fn address<T: ?Sized>(object: &T) -> usize {
    std::ptr::from_ref(object).cast::<()>().addr()
}

/// The events that may end a wait besides its object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct WaitFlags {
    /// A cancel of the scope ends it.
    pub(crate) is_cancellable: bool,
    /// It has a time limit of its own.
    pub(crate) is_limited: bool,
    /// The thread is in foreign code: a wake does not make it look whether the wait is over.
    pub(crate) is_foreign: bool,
    pub(crate) share: Share,
}

/// How much of a primitive was taken when a wait for it began: threads at a barrier, permits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Share {
    pub(crate) taken: u16,
    /// How much there is; 0 if that is not known.
    pub(crate) of: u16,
}

impl Share {
    /// A share that does not fit is not known.
    pub(crate) fn new(taken: usize, of: usize) -> Self {
        match (u16::try_from(taken), u16::try_from(of)) {
            (Ok(taken), Ok(of)) => Share { taken, of },
            _ => Share::default(),
        }
    }
}

/// A wait, as a reader finds it.
#[derive(Clone, Copy, Debug)]
#[allow(dead_code, reason = "which parts are read depends on the features")]
pub(crate) struct WaitView {
    /// The number of a `WaitKind`.
    pub(crate) kind: u8,
    pub(crate) object: Object,
    pub(crate) flags: WaitFlags,
    pub(crate) location: &'static Location<'static>,
    /// When the thread went to sleep, in nanoseconds since [`since_epoch`]; 0 if it has not yet.
    pub(crate) since: u64,
}

/// The wait of one lane.
#[derive(Debug)]
pub(super) struct WaitCell {
    /// 0 while the thread does not wait.
    kind: PlainU8,
    tag: PlainU8,
    flags: PlainU8,
    share: PlainU32,
    value: PlainU64,
    since: PlainU64,
    location: AtomicCell<Option<&'static Location<'static>>>,
}

const IS_CANCELLABLE: u8 = 1;
const IS_LIMITED: u8 = 2;
const IS_FOREIGN: u8 = 4;

impl WaitCell {
    pub(super) const fn new() -> Self {
        WaitCell {
            kind: PlainU8::new(0),
            tag: PlainU8::new(0),
            flags: PlainU8::new(0),
            share: PlainU32::new(0),
            value: PlainU64::new(0),
            since: PlainU64::new(0),
            location: AtomicCell::new(None),
        }
    }

    /// Shows a wait. Under the version.
    #[inline]
    pub(super) fn set(
        &self,
        kind: u8,
        object: Object,
        flags: WaitFlags,
        location: &'static Location<'static>,
    ) {
        // Relaxed throughout: the version of the lane says whether a reader saw the parts of one
        // wait.
        let (tag, value) = object.parts();
        self.tag.store(tag, Relaxed);
        self.value.store(value, Relaxed);
        let cancellable = if flags.is_cancellable {
            IS_CANCELLABLE
        } else {
            0
        };

        let limited = if flags.is_limited { IS_LIMITED } else { 0 };
        let foreign = if flags.is_foreign { IS_FOREIGN } else { 0 };
        self.flags.store(cancellable | limited | foreign, Relaxed);
        let Share { taken, of } = flags.share;

        // In one word, so that a reader gets both numbers from one moment.
        let share = u32::from(taken) << 16 | u32::from(of);
        self.share.store(share, Relaxed);

        // Not asleep yet: a wait that ends before its thread sleeps reads no clock.
        self.since.store(0, Relaxed);
        self.location.store(Some(location));
        self.kind.store(kind, Relaxed);
    }

    /// Notes the time, once the thread is sure to sleep.
    pub(super) fn stamp(&self) {
        self.since.store(since_epoch(Instant::now()), Relaxed);
    }

    #[inline]
    pub(super) fn clear(&self) {
        self.kind.store(0, Relaxed);
    }

    /// Returns the wait, if there is one. Under the version.
    pub(super) fn view(&self) -> Option<WaitView> {
        // The parts may belong to two waits. The caller's version tells, and drops such a view.
        let kind = self.kind.load(Relaxed);
        let location = self.location.load()?;
        let flags = self.flags.load(Relaxed);
        let share = self.share.load(Relaxed);
        (kind != 0).then(|| WaitView {
            kind,
            object: Object::from_parts(self.tag.load(Relaxed), self.value.load(Relaxed)),
            flags: WaitFlags {
                is_cancellable: flags & IS_CANCELLABLE != 0,
                is_limited: flags & IS_LIMITED != 0,
                is_foreign: flags & IS_FOREIGN != 0,
                share: Share {
                    taken: (share >> 16) as u16,
                    of: share as u16,
                },
            },
            location,
            since: self.since.load(Relaxed),
        })
    }
}

/// Returns the nanoseconds from the epoch of the process to `instant`: at least 1. The first call
/// sets the epoch, a little before its own time.
pub(crate) fn since_epoch(instant: Instant) -> u64 {
    static EPOCH: Leaked<Instant> = Leaked::new();
    let epoch = *EPOCH.get_or_make(Instant::now);
    let nanos = instant.saturating_duration_since(epoch).as_nanos();

    // Not 0, which says that the thread is not asleep.
    u64::try_from(nanos).unwrap_or(u64::MAX).max(1)
}
