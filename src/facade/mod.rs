//! The only module that names threading primitives and knows about loom.
//!
//! All layers above use the types of this module, so the same sources run on the operating system
//! and inside a loom model. `os` ships; `model` is built on loom. Where they promise different
//! things, the code above relies on the weaker promise: a park may return early, an unpark is
//! remembered once, a lock is not fair.

#[cfg(all(debug_assertions, not(loom)))]
mod held;
#[cfg(not(loom))]
mod os;
#[cfg(not(loom))]
pub(crate) use os::*;

#[cfg(all(unix, not(loom)))]
mod waker;
#[cfg(all(unix, not(loom)))]
pub(crate) use waker::Waker;

#[cfg(not(loom))]
mod spin;
#[cfg(not(loom))]
pub(crate) use spin::{linger, spin};

#[cfg(not(loom))]
mod stderr;
#[cfg(not(loom))]
pub(crate) use stderr::write_to_stderr;

#[cfg(loom)]
mod model;
#[cfg(loom)]
mod model_clock;
#[cfg(loom)]
pub(crate) use model::*;
#[cfg(loom)]
pub(crate) use model_clock::*;
#[cfg(loom)]
mod model_waker;
#[cfg(loom)]
pub(crate) use model_waker::Waker;
#[cfg(loom)]
mod model_data;
#[cfg(loom)]
pub(crate) use model_data::*;

mod counted;
pub(crate) use counted::{CountedRef, CountedValue, coerced};
mod event;
pub(crate) use event::{debug_event, error_event, warn_event};
mod fork;
#[allow(unused_imports, reason = "which features need them differs")]
pub(crate) use fork::{Before, InChild, Leaked, PerProcess, generation, per_process};
mod late;
pub(crate) use late::Late;
mod random;
pub(crate) use random::Random;

#[cfg(not(target_vendor = "apple"))]
mod plain;
#[cfg(not(target_vendor = "apple"))]
pub(crate) use plain::{PlainMutex, PlainRwLock};

// std's locks would allocate here at their first use, and a snapshot may be taken by an allocator.
#[cfg(target_vendor = "apple")]
pub(crate) use parking_lot::{Mutex as PlainMutex, RwLock as PlainRwLock};

/// Runs `f`, out of which no panic may come. See [`Contained`].
pub(crate) fn contained<T>(f: impl FnOnce() -> T) -> T {
    let contained = Contained::begin();
    let value = f();
    contained.end();
    value
}
