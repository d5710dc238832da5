//! The signals, and what their handlers do.

use std::io;
use std::os::unix::net::UnixStream;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{SigId, flag, low_level};

use super::disposition::Disposition;
#[cfg(target_os = "linux")]
use super::linux::held_back;
#[cfg(not(target_os = "linux"))]
use super::shell::held_back;
use crate::facade::{InChild, generation};

/// Whether the next signal of each kind ends the process.
static ENDS: [AtomicBool; Signal::ALL.len()] = [const { AtomicBool::new(true) }; Signal::ALL.len()];

/// Whether a signal of each kind has cancelled tokens.
static RECEIVED: [AtomicBool; Signal::ALL.len()] =
    [const { AtomicBool::new(false) }; Signal::ALL.len()];

/// Whether the actions of each signal stand in for its default action, from their registration on.
static STAND_IN: [AtomicBool; Signal::ALL.len()] =
    [const { AtomicBool::new(false) }; Signal::ALL.len()];

/// Invariant 5: the signals of its parent have not come to a child of `fork`.
static IN_CHILD: InChild = InChild::new(|| {
    for signal in Signal::ALL {
        signal.received().store(false, SeqCst);
        if STAND_IN[signal as usize].load(SeqCst) {
            signal.ends().store(true, SeqCst);
        }
    }
});

/// A signal that asks the process to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Signal {
    Interrupt,
    Terminate,
    HangUp,
}

impl Signal {
    pub(super) const ALL: [Signal; 3] = [Signal::Interrupt, Signal::Terminate, Signal::HangUp];

    pub(super) fn number(self) -> i32 {
        match self {
            Signal::Interrupt => SIGINT,
            Signal::Terminate => SIGTERM,
            Signal::HangUp => SIGHUP,
        }
    }

    /// Returns the flag that makes the next such signal end the process.
    pub(super) fn ends(self) -> &'static AtomicBool {
        &ENDS[self as usize]
    }

    /// Returns the flag that says that such a signal has cancelled tokens.
    pub(super) fn received(self) -> &'static AtomicBool {
        &RECEIVED[self as usize]
    }
}

/// The actions of a handler, which stay registered until [`take_back`](Self::take_back).
#[derive(Clone)]
pub(super) struct Actions {
    /// The disposition before the first use of the signal.
    pub(super) before: Disposition,
    /// The last one wakes the thread.
    ids: Vec<SigId>,
    /// The [`generation`] of the process whose thread they wake.
    process: u32,
}

impl Actions {
    /// Registers the actions, in the order in which the handler performs them. The last one wakes
    /// the thread with a byte to `wake`.
    pub(super) fn register(
        signal: Signal,
        before: Disposition,
        wake: UnixStream,
    ) -> io::Result<Self> {
        // Invariant 1, from the moment at which the handler is there.
        signal.ends().store(before == Disposition::Default, SeqCst);

        IN_CHILD.ensure();
        if before == Disposition::Default {
            STAND_IN[signal as usize].store(true, SeqCst);
        }

        let mut actions = Actions {
            before,
            ids: Vec::new(),
            process: generation(),
        };
        match held_back(signal.number(), || actions.add_all(signal, wake)) {
            Ok(()) => Ok(actions),
            Err(error) => {
                // Invariant 1: the actions go, unless they act as the default action.
                if before != Disposition::Default {
                    actions.take_back();
                }
                Err(error)
            }
        }
    }

    /// Returns actions of which none is registered.
    #[cfg(test)]
    pub(super) fn none(before: Disposition) -> Self {
        Actions {
            before,
            ids: Vec::new(),
            process: generation(),
        }
    }

    /// Whether they wake the thread of this process, and not that of a parent.
    pub(super) fn are_of_this_process(&self) -> bool {
        self.process == generation()
    }

    /// Has the actions of a parent wake the thread of this process, with a byte to `wake`.
    pub(super) fn take_over(&mut self, signal: Signal, wake: UnixStream) -> io::Result<()> {
        let id = low_level::pipe::register(signal.number(), wake)?;
        self.ids.pop().into_iter().for_each(|of_parent| {
            low_level::unregister(of_parent);
        });
        self.ids.push(id);
        self.process = generation();
        Ok(())
    }

    fn add_all(&mut self, signal: Signal, wake: UnixStream) -> io::Result<()> {
        let number = signal.number();

        // Invariant 2: first the end of the process. Process 1 has no default action, so the
        // handler exits it.
        let end = if process::id() == 1 {
            flag::register_conditional_shutdown(number, 128 + number, signal.ends())?
        } else {
            flag::register_conditional_default(number, signal.ends())?
        };
        self.ids.push(end);

        // Then the flags.
        self.ids.push(flag::register(number, signal.received())?);
        for other in Signal::ALL {
            self.ids.push(flag::register(number, other.ends())?);
        }

        self.ids.push(low_level::pipe::register(number, wake)?);
        Ok(())
    }

    pub(super) fn take_back(self) {
        // The handler of `signal-hook` stays, and calls the handlers of others.
        for id in self.ids {
            low_level::unregister(id);
        }
    }
}
