//! The tokens that signals cancel, and the thread that cancels them.

use std::io;
use std::panic::Location;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Weak};

use signal_hook::iterator::{Handle, Signals};
use slab::Slab;

use super::before::disposition_of;
use super::disposition::Disposition;
use super::signal::{Actions, Signal};
use crate::cancel::{CancelCause, CancelToken, Node};
use crate::facade::{PlainMutex, contained, start_thread};

static REGISTRY: PlainMutex<Registry> = PlainMutex::new(Registry {
    thread: None,
    listeners: Slab::new(),
    actions: [const { None }; Signal::ALL.len()],
});

struct Registry {
    /// Tells the thread of a signal, once the thread was started.
    thread: Option<Handle>,
    listeners: Slab<Listener>,
    /// The actions of the signals whose handler is there.
    actions: [Option<Actions>; Signal::ALL.len()],
}

/// A token that is there.
struct Listener {
    node: Weak<Node>,
    /// The signals that cancel it.
    signals: Vec<Signal>,
    /// The call that made it.
    location: &'static Location<'static>,
}

/// The place of a token in the registry, which its node keeps (invariant 4).
struct Place(usize);

/// Returns a new token that the first of `signals` cancels.
pub(super) fn listen(
    signals: &[Signal],
    location: &'static Location<'static>,
) -> io::Result<CancelToken> {
    let mut registry = REGISTRY.lock();

    // The thread may not have come to this signal yet, and the handlers end the process at the next
    // one already.
    let received = signals
        .iter()
        .copied()
        .find(|signal| signal.received().load(SeqCst));
    if let Some(received) = received {
        drop(registry);
        let node = Node::root();
        node.cancel(cause(received), location);
        return Ok(CancelToken::from_node(node));
    }

    let mut heard = Vec::new();
    for &signal in signals {
        if registry.hear(signal)? {
            heard.push(signal);
        }
    }
    Ok(CancelToken::from_node(registry.list(heard, location)))
}

impl Registry {
    /// Makes sure that the actions of `signal` are registered. Returns false if the signal is
    /// ignored and stays so.
    fn hear(&mut self, signal: Signal) -> io::Result<bool> {
        if self.actions[signal as usize].is_some() {
            return Ok(true);
        }

        let before = disposition_of(signal);
        if before == Disposition::Ignored && signal != Signal::Terminate {
            return Ok(false);
        }

        let thread = self.thread()?;
        let actions = self.actions[signal as usize].insert(Actions::register(signal, before)?);
        // Invariant 2: the wake comes after the other actions.
        if let Err(error) = thread.add_signal(signal.number()) {
            if actions.before != Disposition::Default {
                self.rest(signal);
            }
            return Err(error);
        }
        Ok(true)
    }

    /// Returns the way to the thread, which the first call starts.
    fn thread(&mut self) -> io::Result<Handle> {
        if let Some(thread) = &self.thread {
            return Ok(thread.clone());
        }

        let signals = Signals::new([0; 0])?;
        let thread = signals.handle();
        start_thread("taskgroup-signal", None, || contained(|| run(signals)))?;
        Ok(self.thread.insert(thread).clone())
    }

    /// Lists a new token and returns its node.
    fn list(&mut self, signals: Vec<Signal>, location: &'static Location<'static>) -> Arc<Node> {
        // The signals act as before until there is a token for them (invariant 1).
        for &signal in &signals {
            if !self.is_heard(signal) {
                signal.ends().store(false, SeqCst);
            }
        }

        let entry = self.listeners.vacant_entry();
        let node = Node::root_with(Box::new(Place(entry.key())));
        entry.insert(Listener {
            node: Arc::downgrade(&node),
            signals,
            location,
        });
        node
    }

    /// Whether a token is there for `signal`.
    fn is_heard(&self, signal: Signal) -> bool {
        self.listeners
            .iter()
            .any(|(_, listener)| listener.signals.contains(&signal))
    }

    /// Lets `signal` act as before (invariant 1).
    fn rest(&mut self, signal: Signal) {
        let actions = &mut self.actions[signal as usize];
        match actions.take_if(|actions| actions.before != Disposition::Default) {
            Some(actions) => actions.take_back(),
            None => signal.ends().store(true, SeqCst),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut registry = REGISTRY.lock();
        let gone = registry.listeners.remove(self.0);
        for &signal in &gone.signals {
            if !registry.is_heard(signal) {
                registry.rest(signal);
            }
        }
        drop(registry);
    }
}

/// The main function of the thread (invariant 3).
fn run(mut signals: Signals) {
    for number in signals.forever() {
        if let Some(signal) = Signal::of_number(number) {
            cancel_all(signal);
        }
    }
}

/// Cancels all tokens that are there for `signal`.
fn cancel_all(signal: Signal) {
    let registry = REGISTRY.lock();
    let of_signal = |listener: &&Listener| listener.signals.contains(&signal);
    let listeners = registry.listeners.iter().map(|(_, listener)| listener);
    let nodes: Vec<_> = listeners
        .filter(of_signal)
        .filter_map(|listener| Some((listener.node.upgrade()?, listener.location)))
        .collect();

    // Invariant 2, also where the actions were registered anew, after the wake of an earlier time.
    if !nodes.is_empty() {
        signal.note();
    }
    drop(registry);

    Node::cancel_together(&nodes, &cause(signal));
}

fn cause(signal: Signal) -> CancelCause {
    CancelCause::Signal {
        signal: signal.number(),
    }
}
