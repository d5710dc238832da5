//! The groups that a thread has opened, which every thread may read.

#[cfg(all(test, not(loom)))]
mod tests;

use std::any::Any;
use std::fmt;
use std::iter;
use std::mem;
use std::ptr::{self, NonNull};

use crate::facade::{self, AtomicU32, Cell, Ordering, const_fn, preset};

/// How many groups of a thread need no allocation.
const SHALLOW: usize = if cfg!(loom) { 1 } else { 8 };

/// The owner takes a group back. Above this bit, the word counts the readers.
const CHANGING: u32 = 1;
const READER: u32 = 2;

/// Something that a lane holds and a folder above knows: a group, or the batch of a worker.
pub(crate) trait Describe: Send + Sync {
    /// Describes it in `into`, which has a type of a folder above: see `snapshot`. Takes no lock
    /// but by trying, and runs no user code.
    fn describe(&self, into: &mut dyn Any);
}

/// A part of a lane could not be read: its thread was writing it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Busy;

/// The groups that one thread has opened, the outermost first. The thread is the *owner*.
///
/// A scope by itself costs little, so the list costs its owner one read-modify-write for each of
/// the first `SHALLOW` groups: none to add it, and one to take it back.
///
/// # Safety of the pointers
///
/// - A group lives from its [`push`](Self::push) until its [`remove`](Self::remove) returns: these
///   calls ask for it.
/// - A reader counts itself before it looks at the list, and is counted until it has done with what
///   it found there. It looks at no place from `len` on.
/// - The owner writes to places from `len` on. It makes `len` smaller, and changes what `deep`
///   contains, while no reader is counted and none can begin to be. So no reader uses a group that
///   has been taken back.
///
/// # Memory ordering
///
/// The owner's addition to `readers` is after the end of each reader that was counted before it,
/// and before the begin of each that is counted later. A reader that sees a `len` sees the first
/// places below it, and the deep ones since it was counted after they were added. An addition does
/// not order what the owner loads next: see [`meet_readers`](Self::meet_readers).
pub(crate) struct OpenGroups {
    readers: AtomicU32,
    /// How many there are. Only the owner writes it.
    len: AtomicU32,
    first: [Cell<Place>; SHALLOW],
    /// Those after the first.
    deep: Cell<Vec<OpenGroup>>,
}

// SAFETY: see the type. What the pointers point to is `Send` and `Sync`, as `Describe` asks.
unsafe impl Send for OpenGroups {}
// SAFETY: as above.
unsafe impl Sync for OpenGroups {}

#[derive(Clone, Copy)]
struct OpenGroup {
    /// The number of the token of the group.
    number: u64,
    group: NonNull<dyn Describe>,
}

/// A place for a group. Its fields are written one by one: a value that is put together and then
/// copied would wait until its parts have left the store buffer.
#[derive(Clone, Copy)]
struct Place {
    number: u64,
    group: Option<NonNull<dyn Describe>>,
}

impl Place {
    const EMPTY: Self = Place {
        number: 0,
        group: None,
    };

    fn get(self) -> Option<OpenGroup> {
        let Place { number, group } = self;
        group.map(|group| OpenGroup { number, group })
    }
}

impl OpenGroups {
    const_fn! {
        pub(crate) const fn new() -> Self {
            OpenGroups {
                readers: AtomicU32::new(0),
                len: AtomicU32::new(0),
                first: [preset!(Cell::new(Place::EMPTY)); SHALLOW],
                deep: Cell::new(Vec::new()),
            }
        }
    }

    /// Adds a group.
    ///
    /// # Safety
    ///
    /// This thread is the owner, and `group` lives until [`remove`](Self::remove) has returned for
    /// it.
    #[inline]
    pub(crate) unsafe fn push(&self, number: u64, group: &(dyn Describe + 'static)) {
        let group = NonNull::from(group);
        let len = self.len.load(Ordering::Relaxed);

        match self.first.get(len as usize) {
            Some(place) => {
                place.with_mut(|place| {
                    // SAFETY: no reader looks at a place from `len` on.
                    let place = unsafe { &mut *place };
                    place.number = number;
                    place.group = Some(group);
                });
                // Release: a reader that sees this length sees the place.
                //
                // fault: group-is-seen-before-its-place
                self.len.store(len + 1, Ordering::Release);
            }
            None => self.push_deep(OpenGroup { number, group }, len),
        }
    }

    /// Orders what the owner does next, and a reader: either the reader sees the groups that have
    /// been added, or the owner sees what came before the begin of the reader. An addition by
    /// itself does not, since the owner may load something before others can see it.
    #[inline]
    pub(crate) fn meet_readers(&self) {
        // AcqRel, like the begin of a reader: the one that comes second sees what came before the
        // first.
        //
        // fault: owner-does-not-meet-readers
        self.readers.fetch_add(0, Ordering::AcqRel);
    }

    #[cold]
    fn push_deep(&self, added: OpenGroup, len: u32) {
        self.alone(|| {
            // SAFETY: no reader is counted, and only the owner comes here.
            self.deep.with_mut(|deep| unsafe { (*deep).push(added) });
            self.len.store(len + 1, Ordering::Relaxed);
        });
    }

    /// Takes a group back, if it is on the list. Waits for the readers that are at the list now.
    ///
    /// # Safety
    ///
    /// This thread is the owner.
    #[inline]
    pub(crate) unsafe fn remove(&self, group: &(dyn Describe + 'static)) {
        let group = NonNull::from(group);
        let len = self.len.load(Ordering::Relaxed) as usize;

        // Scopes are nested, so the last one opened is the first one that ends.
        let last = len.checked_sub(1).and_then(|last| self.first.get(last));
        // SAFETY: only the owner writes to it.
        let last = last.and_then(|last| last.with(|last| unsafe { (*last).group }));
        if last.is_some_and(|last| ptr::addr_eq(last.as_ptr(), group.as_ptr())) {
            // fault: group-is-taken-back-beside-its-readers
            self.alone(|| self.len.store(len as u32 - 1, Ordering::Relaxed));
        } else {
            self.remove_slowly(group, len);
        }
    }

    /// Takes back a group that is not the last of the first ones.
    #[cold]
    fn remove_slowly(&self, group: NonNull<dyn Describe>, len: usize) {
        let is_it = |other: &OpenGroup| ptr::addr_eq(other.group.as_ptr(), group.as_ptr());
        if len > SHALLOW && is_it(&self.at(len - 1)) {
            self.alone(|| {
                self.len.store(len as u32 - 1, Ordering::Relaxed);
                // SAFETY: no reader is counted, and only the owner comes here.
                self.deep.with_mut(|deep| unsafe { (*deep).pop() });
            });
            return;
        }

        // Outside of `alone`, since only the owner writes: a change makes readers fail.
        let mut left: Vec<_> = (0..len).map(|index| self.at(index)).collect();
        left.retain(|other| !is_it(other));
        let mut deep = left.split_off(left.len().min(SHALLOW));
        self.alone(|| {
            self.len
                .store((left.len() + deep.len()) as u32, Ordering::Relaxed);
            for (place, OpenGroup { number, group }) in iter::zip(&self.first, &left) {
                let (number, group) = (*number, Some(*group));
                // SAFETY: no reader is counted, and only the owner comes here.
                place.with_mut(|place| unsafe { *place = Place { number, group } });
            }
            // SAFETY: as above.
            self.deep
                .with_mut(|place| mem::swap(unsafe { &mut *place }, &mut deep));
        });
    }

    /// Takes all groups back.
    ///
    /// # Safety
    ///
    /// This thread is the owner.
    pub(super) unsafe fn clear(&self) {
        if self.len.load(Ordering::Relaxed) == 0 {
            return;
        }

        self.alone(|| {
            self.len.store(0, Ordering::Relaxed);
            // SAFETY: no reader is counted, and only the owner comes here.
            self.deep.with_mut(|deep| unsafe { (*deep).clear() });
        });
    }

    /// Keeps readers away, as the owner does for a moment.
    #[cfg(all(test, not(loom)))]
    pub(super) fn keep_busy<T>(&self, f: impl FnOnce() -> T) -> T {
        let mut result = None;
        self.alone(|| result = Some(f()));
        result.expect("`alone` calls its closure")
    }

    /// Runs `change` while no reader is at the list. For the owner. `change` does not panic, and
    /// uses the list in no other way.
    #[inline]
    fn alone(&self, change: impl FnOnce()) {
        // Acquire pairs with the end of a reader: what it has read is read.
        let readers = self.readers.fetch_add(CHANGING, Ordering::Acquire);
        // fault: owner-does-not-wait-for-readers
        if readers != 0 {
            self.wait_for_readers();
        }

        change();

        // Release: a reader that is counted from now on sees the change.
        self.readers.store(0, Ordering::Release);
    }

    #[cold]
    fn wait_for_readers(&self) {
        // No reader can begin meanwhile, and those that are counted are done soon.
        facade::wait_until(|| {
            let is_alone = self.readers.load(Ordering::Acquire) == CHANGING;
            is_alone.then_some(())
        });
    }

    /// Calls `f` with the list. The owner waits meanwhile, if it takes a group back, or adds one
    /// that is not among the first.
    ///
    /// # Errors
    ///
    /// The owner changes the list just now.
    pub(crate) fn read<T>(&self, f: impl FnOnce(&ReadGroups<'_>) -> T) -> Result<T, Busy> {
        let _counted = Counted::begin(self)?;

        // Acquire pairs with `push`.
        let len = self.len.load(Ordering::Acquire) as usize;
        Ok(f(&ReadGroups { list: self, len }))
    }

    /// Returns whether a group is on the list now. A reader that finds none need not be counted:
    /// it looks at no place.
    pub(crate) fn has_any(&self) -> bool {
        // Relaxed: a reader that finds none reads no place. It does not meet the owner, so a look
        // for stalls must not rely on this.
        self.len.load(Ordering::Relaxed) != 0
    }

    /// Returns the group at this place of the list. For the owner, and for a reader that has seen
    /// the list to be longer.
    fn at(&self, index: usize) -> OpenGroup {
        let found = match self.first.get(index) {
            // SAFETY: the owner does not write to a place that a counted reader may look at.
            Some(place) => place.with(|place| unsafe { *place }).get(),
            None => self.deep.with(|deep| {
                // SAFETY: as above.
                let deep = unsafe { &*deep };
                deep.get(index - SHALLOW).copied()
            }),
        };
        found.expect("a place below the length of the list is filled")
    }
}

impl fmt::Debug for OpenGroups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenGroups")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

/// A reader, while it is counted.
struct Counted<'a>(&'a OpenGroups);

impl<'a> Counted<'a> {
    fn begin(list: &'a OpenGroups) -> Result<Self, Busy> {
        let mut readers = list.readers.load(Ordering::Relaxed);
        // fault: reader-begins-during-a-change
        while readers & CHANGING == 0 {
            // Acquire pairs with the end of a change, and both with `meet_readers`.
            match list.readers.compare_exchange_weak(
                readers,
                readers + READER,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(Counted(list)),
                Err(now) => readers = now,
            }
        }
        Err(Busy)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        // Release: the owner that sees this finds all reads done.
        self.0.readers.fetch_sub(READER, Ordering::Release);
    }
}

/// The groups of a thread, for a reader.
pub(crate) struct ReadGroups<'a> {
    list: &'a OpenGroups,
    len: usize,
}

impl ReadGroups<'_> {
    /// Returns the groups with the numbers of their tokens, the outermost first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &dyn Describe)> {
        (0..self.len).map(|index| {
            let OpenGroup { number, group } = self.list.at(index);
            // SAFETY: it lives while the reader is counted, which is longer than `self`.
            (number, unsafe { group.as_ref() })
        })
    }

    /// Returns the group with this number, if it is on the list.
    pub(crate) fn get(&self, number: u64) -> Option<&dyn Describe> {
        let (_, group) = self.iter().find(|(other, _)| *other == number)?;
        Some(group)
    }
}
