//! The locks that hold the data of the locks of `sync`, inside a loom model.

/// A value in the frame of a call, which other threads may read while the call lasts. Its memory
/// outlives the call, so that loom can report a read that comes too late.
#[derive(Debug)]
pub(crate) struct Framed<T: 'static>(&'static T);

impl<T> Framed<T> {
    pub(crate) fn new(value: T) -> Self {
        Framed(Box::leak(Box::new(value)))
    }

    pub(crate) fn get(&self) -> &T {
        self.0
    }
}

use super::{AtomicUsize, Ordering};

/// A lock that is only ever tried.
///
/// loom's `try_lock` reports deadlocks where there are none. So a word excludes and orders.
/// parking_lot's lock, which loom does not see, gives out the reference and is never contended.
#[derive(Debug)]
pub(crate) struct DataRwLock<T: ?Sized> {
    /// The number of readers, or `WRITER`.
    word: AtomicUsize,
    data: parking_lot::RwLock<T>,
}

const WRITER: usize = usize::MAX;

/// Releases the word. Guards declare it after the data, so that the word says that the lock is free
/// only when it is.
#[derive(Debug)]
struct ReadWord<'a>(&'a AtomicUsize);

#[derive(Debug)]
struct WriteWord<'a>(&'a AtomicUsize);

impl<'a> WriteWord<'a> {
    fn downgrade(self) -> ReadWord<'a> {
        let word = self.0;
        // The drop would release the word to writers, too.
        std::mem::forget(self);

        word.swap(1, Ordering::Release);
        ReadWord(word)
    }
}

impl Drop for ReadWord<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Release);
    }
}

impl Drop for WriteWord<'_> {
    fn drop(&mut self) {
        self.0.swap(0, Ordering::Release);
    }
}

impl<T> DataRwLock<T> {
    pub(crate) fn new(data: T) -> Self {
        DataRwLock {
            word: AtomicUsize::new(0),
            data: parking_lot::RwLock::new(data),
        }
    }

    pub(crate) fn into_inner(self) -> T {
        self.data.into_inner()
    }
}

impl<T: ?Sized> DataRwLock<T> {
    pub(crate) fn try_read(&self) -> Option<DataReadGuard<'_, T>> {
        let mut readers = self.word.load(Ordering::Relaxed);
        while readers != WRITER {
            match self.word.compare_exchange(
                readers,
                readers + 1,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => {
                    // The word keeps writers out, so the inner lock is free for readers.
                    return Some(DataReadGuard {
                        data: self.data.try_read()?,
                        word: ReadWord(&self.word),
                    });
                }
                Err(now) => readers = now,
            }
        }
        None
    }

    pub(crate) fn try_write(&self) -> Option<DataWriteGuard<'_, T>> {
        self.word
            .compare_exchange(0, WRITER, Ordering::Acquire, Ordering::Relaxed)
            .ok()?;

        // The word is exclusive, so the inner lock is free.
        Some(DataWriteGuard {
            data: self.data.try_write()?,
            word: WriteWord(&self.word),
        })
    }

    pub(crate) fn is_locked(&self) -> bool {
        self.word.load(Ordering::Relaxed) != 0
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.data.get_mut()
    }
}

/// Declares the guard of a whole value and the guard of a part.
macro_rules! data_guards {
    (
        $Guard:ident of $Inner:ident, $Part:ident of $InnerPart:ident, $Word:ident,
        $($mutable:ident)?
    ) => {
        #[derive(Debug)]
        pub(crate) struct $Guard<'a, T: ?Sized> {
            data: parking_lot::$Inner<'a, T>,
            word: $Word<'a>,
        }

        #[derive(Debug)]
        pub(crate) struct $Part<'a, T: ?Sized> {
            data: parking_lot::$InnerPart<'a, T>,
            word: $Word<'a>,
        }

        data_guards!(@map $Guard, $Part, $Inner, $($mutable)?);
        data_guards!(@map $Part, $Part, $InnerPart, $($mutable)?);
    };
    (@map $Guard:ident, $Part:ident, $Inner:ident, $($mutable:ident)?) => {
        impl<'a, T: ?Sized> $Guard<'a, T> {
            pub(crate) fn map<U: ?Sized>(
                guard: Self,
                f: impl FnOnce(& $($mutable)? T) -> & $($mutable)? U,
            ) -> $Part<'a, U> {
                let $Guard { data, word } = guard;
                $Part { data: parking_lot::$Inner::map(data, f), word }
            }

            #[allow(dead_code, reason = "a guard to read is mapped before it is given out")]
            pub(crate) fn try_map<U: ?Sized>(
                guard: Self,
                f: impl FnOnce(& $($mutable)? T) -> Option<& $($mutable)? U>,
            ) -> Result<$Part<'a, U>, Self> {
                let $Guard { data, word } = guard;
                match parking_lot::$Inner::try_map(data, f) {
                    Ok(data) => Ok($Part { data, word }),
                    Err(data) => Err($Guard { data, word }),
                }
            }
        }

        impl<T: ?Sized> std::ops::Deref for $Guard<'_, T> {
            type Target = T;

            fn deref(&self) -> &T {
                &self.data
            }
        }

        $(
            impl<T: ?Sized> std::ops::DerefMut for $Guard<'_, T> {
                fn deref_mut(&mut self) -> & $mutable T {
                    &mut self.data
                }
            }
        )?
    };
}
data_guards!(DataReadGuard of RwLockReadGuard, DataReadPart of MappedRwLockReadGuard, ReadWord,);
data_guards!(
    DataWriteGuard of RwLockWriteGuard, DataWritePart of MappedRwLockWriteGuard, WriteWord,
    mut
);

impl<'a, T: ?Sized> DataWriteGuard<'a, T> {
    pub(crate) fn downgrade(guard: Self) -> DataReadGuard<'a, T> {
        let DataWriteGuard { data, word } = guard;
        DataReadGuard {
            data: parking_lot::RwLockWriteGuard::downgrade(data),
            word: word.downgrade(),
        }
    }
}

/// Like [`DataRwLock`], without readers.
#[derive(Debug)]
pub(crate) struct DataMutex<T: ?Sized>(DataRwLock<T>);

pub(crate) type DataGuard<'a, T> = DataWriteGuard<'a, T>;
pub(crate) type DataPart<'a, T> = DataWritePart<'a, T>;

impl<T> DataMutex<T> {
    pub(crate) fn new(data: T) -> Self {
        DataMutex(DataRwLock::new(data))
    }

    pub(crate) fn into_inner(self) -> T {
        self.0.into_inner()
    }
}

impl<T: ?Sized> DataMutex<T> {
    pub(crate) fn try_lock(&self) -> Option<DataGuard<'_, T>> {
        self.0.try_write()
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }
}
