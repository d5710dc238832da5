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

/// Whether the next signal of each kind ends the process.
static ENDS: [AtomicBool; Signal::ALL.len()] = [const { AtomicBool::new(true) }; Signal::ALL.len()];

/// Whether a signal of each kind has cancelled tokens.
static RECEIVED: [AtomicBool; Signal::ALL.len()] =
    [const { AtomicBool::new(false) }; Signal::ALL.len()];

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
pub(super) struct Actions {
    /// The disposition before the first use of the signal.
    pub(super) before: Disposition,
    ids: Vec<SigId>,
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

        let mut actions = Actions {
            before,
            ids: Vec::new(),
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
        let ids = Vec::new();
        Actions { before, ids }
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
