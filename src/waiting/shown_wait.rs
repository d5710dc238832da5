//! The kind and the object of a wait, and how the lane of the waiting thread shows it.

use std::panic::Location;

use super::{OnCancel, WaitKind};
use crate::lanes::{self, Lane, Object, Share, WaitFlags};

/// The object that a thread waits for, and the kind of its blocking point.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitFor {
    kind: WaitKind,
    object: Object,
    is_limited: bool,
    share: Share,
}

impl WaitFor {
    /// The wait is for `object`, if nothing else was said.
    #[cfg_attr(
        any(
            loom,
            not(unix),
            not(any(feature = "net", feature = "io", feature = "process"))
        ),
        allow(dead_code, reason = "only waits for descriptors ask")
    )]
    pub(crate) fn or_on(self, object: Object) -> WaitFor {
        // A caller that knows the object, such as a child, has named it.
        match self.object {
            Object::None => WaitFor { object, ..self },
            _ => self,
        }
    }

    /// Returns the events that may end the wait, in code of this crate.
    #[inline]
    fn flags(self, on_cancel: OnCancel) -> WaitFlags {
        WaitFlags {
            is_cancellable: on_cancel == OnCancel::Return,
            is_limited: self.is_limited,
            is_foreign: false,
            share: self.share,
        }
    }

    /// The wait has a time limit of its own, if `is_limited`.
    #[inline]
    pub(crate) fn limited(self, is_limited: bool) -> Self {
        WaitFor { is_limited, ..self }
    }

    /// So much of the primitive is taken as the wait begins.
    #[inline]
    pub(crate) fn with_share(self, taken: usize, of: usize) -> Self {
        WaitFor {
            share: Share::new(taken, of),
            ..self
        }
    }
}

impl WaitKind {
    /// A wait of this kind, for `object`.
    #[inline]
    pub(crate) fn on(self, object: Object) -> WaitFor {
        WaitFor {
            kind: self,
            object,
            is_limited: false,
            share: Share::default(),
        }
    }
}

impl From<WaitKind> for WaitFor {
    #[inline]
    fn from(kind: WaitKind) -> Self {
        kind.on(Object::None)
    }
}

/// While it lives, the lane of this thread shows a wait.
pub(super) struct ShownWait(Option<&'static Lane>);

impl ShownWait {
    /// Shows a wait. A cancel ends it if `on_cancel` says so.
    #[inline]
    pub(super) fn begin(
        what: WaitFor,
        location: &'static Location<'static>,
        on_cancel: OnCancel,
    ) -> Self {
        Self::with(what, location, what.flags(on_cancel))
    }

    /// Like [`begin`](Self::begin), for a wait in foreign code: a wake leads to no look.
    #[cfg(feature = "crossbeam")]
    pub(super) fn begin_foreign(
        what: WaitFor,
        location: &'static Location<'static>,
        on_cancel: OnCancel,
    ) -> Self {
        let flags = WaitFlags {
            is_foreign: true,
            ..what.flags(on_cancel)
        };
        Self::with(what, location, flags)
    }

    #[inline]
    fn with(what: WaitFor, location: &'static Location<'static>, flags: WaitFlags) -> Self {
        // In the last destructors of a thread there is no lane, and the wait is not shown.
        let lane = lanes::mine();
        if let Some(lane) = lane {
            lane.begin_wait(what.kind as u8, what.object, flags, location);
        }
        ShownWait(lane)
    }

    /// The thread is about to sleep for the first time.
    #[inline]
    pub(super) fn stamp(&self) {
        if let Some(lane) = self.0 {
            lane.stamp_wait();
        }
    }
}

impl ShownWait {
    /// The thread has been asleep, and looks whether the wait is over.
    #[inline]
    pub(super) fn begin_look(&self) {
        if let Some(lane) = self.0 {
            lane.begin_look();
        }
    }

    /// The wait is not over.
    #[inline]
    pub(super) fn end_look(&self) {
        if let Some(lane) = self.0 {
            lane.end_look();
        }
    }
}

impl Drop for ShownWait {
    #[inline]
    fn drop(&mut self) {
        if let Some(lane) = self.0 {
            lane.end_wait();
        }
    }
}
