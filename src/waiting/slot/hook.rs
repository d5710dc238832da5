//! The hook of a region with foreign code: published, run by the cancelling thread, withdrawn.
//!
//! The type of the [slot](super::Slot) has the proof of its safety.

use std::panic::Location;

use super::{FIRING, Fired, HOOKED, HookPointer, Marked, Slot};
use crate::facade::{self, Ordering, Payload, catch};
use crate::lanes::{self, FrameKind, ShownFrame};

impl Slot {
    /// Runs the hook that the slot had when it was marked. It is called once for a mark. `on_panic`
    /// gets the hook's panic before the region can end.
    pub(crate) fn fire(&self, marked: &Marked, on_panic: impl FnOnce(Payload)) {
        if marked.has_hook() {
            self.run_hook(on_panic);
        }
    }

    /// Runs the hook again, after its first run: no mark is still to come. `on_panic` gets the
    /// hook's panic before the region can end.
    pub(crate) fn fire_again(&self, on_panic: impl FnOnce(Payload)) -> Fired {
        let mut word = self.0.word.load(Ordering::Relaxed);
        loop {
            // fault: hook-runs-again-unseen
            if word & HOOKED == 0 {
                return Fired::Never;
            }
            if word & FIRING != 0 {
                return Fired::Busy;
            }

            // Acquire: the hook, and the end of the run before this one.
            match self.0.word.compare_exchange_weak(
                word,
                word | FIRING,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => break,
                Err(now) => word = now,
            }
        }

        self.run_hook(on_panic);
        Fired::Again
    }

    /// Runs the hook. `FIRING` has been set for this run.
    fn run_hook(&self, on_panic: impl FnOnce(Payload)) {
        struct TellOwner<'a>(&'a Slot);
        impl Drop for TellOwner<'_> {
            fn drop(&mut self) {
                self.0.unpark();
            }
        }

        // Dropped in the reverse order: the owner is woken after `FIRING` is clear.
        let _tell = TellOwner(self);
        let _firing = Firing(self);
        let fired = self.0.hook.with(|hook| {
            // SAFETY: FIRING was set in the exchange that saw HOOKED, for this run; see the type.
            let hook = unsafe { *hook };

            // SAFETY: as above.
            catch(|| hook.map(|hook| unsafe { (*hook)() }))
        });

        if let Err(payload) = fired {
            on_panic(payload);
        }
    }

    /// Runs `f` with `hook` published. A thread that marks the slot meanwhile runs the hook, before
    /// `with_hook` returns. If the slot is marked already, the hook runs here, before `f`.
    pub(crate) fn with_hook<T>(
        &self,
        location: &'static Location<'static>,
        hook: &(dyn Fn() + Send + Sync),
        f: impl FnOnce() -> T,
    ) -> T {
        struct UnhookOnDrop<'a>(&'a Slot);
        impl Drop for UnhookOnDrop<'_> {
            fn drop(&mut self) {
                self.0.unhook();
            }
        }

        let _shown = lanes::push(ShownFrame {
            kind: FrameKind::Hook,
            id: 0,
            group: 0,
            location,
        });

        // SAFETY: only a lifetime changes. The pointer is not used after this function (see the
        // type).
        let erased = unsafe { std::mem::transmute::<&(dyn Fn() + Send + Sync), HookPointer>(hook) };

        // SAFETY: neither HOOKED nor FIRING is set, so the cell is the owner's alone (invariant 4).
        self.0.hook.with_mut(|cell| unsafe { *cell = Some(erased) });

        // From here on a mark runs the hook. After a mark that came before, this thread runs it.
        let marked = self.publish(HOOKED);
        let _withdraw = UnhookOnDrop(self);
        if marked {
            // Relaxed: only this thread lets another run follow.
            // fault: late-hook-runs-unsaid
            self.0.word.fetch_or(FIRING, Ordering::Relaxed);
            let _firing = Firing(self);

            // fault: late-hook-is-not-run
            hook();
        }
        f()
    }

    fn unhook(&self) {
        // Acquire pairs with the release in `Firing::drop`.
        let mut word = self.0.word.fetch_and(!HOOKED, Ordering::Acquire);

        // fault: withdraw-does-not-wait
        while word & FIRING != 0 {
            facade::park();

            // Acquire, as above.
            word = self.0.word.load(Ordering::Acquire);
        }

        // SAFETY: neither HOOKED nor FIRING is set, so the cell is the owner's alone (invariant 4).
        self.0.hook.with_mut(|cell| unsafe { *cell = None });
    }
}

/// The hook runs, on the thread that has set `FIRING`. It has run when this is dropped.
struct Firing<'a>(&'a Slot);

impl Drop for Firing<'_> {
    fn drop(&mut self) {
        // Release pairs with the acquires in `unhook` and `fire_again`: the hook has ended by then.
        self.0.0.word.fetch_and(!FIRING, Ordering::Release);
    }
}
