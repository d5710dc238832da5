//! The tokens that signals cancel, and the thread that cancels them.

use std::io::{self, ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::panic::Location;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Weak};

use slab::Slab;

use super::before::disposition_of;
use super::disposition::Disposition;
use super::signal::{Actions, Signal};
use crate::cancel::{CancelCause, CancelToken, Node};
use crate::facade::{
    Before, PlainMutex, contained, error_event, generation, per_process, start_thread,
};
use crate::panics::log;

per_process! {
    static REGISTRY: PlainMutex<Registry> = |before| PlainMutex::new(Registry::after(before));
}

struct Registry {
    /// The end of the pipe that handlers write to.
    wake: Option<UnixStream>,
    /// The other end, until the thread that reads it was started.
    unread: Option<UnixStream>,
    listeners: Slab<Listener>,
    /// The actions of the signals that this module handles.
    actions: [Option<Actions>; Signal::ALL.len()],
    actions_are: ActionsAre,
    /// This process has asked for a token.
    is_used: bool,
}

/// Whether a process knows its actions.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ActionsAre {
    Known,
    /// Another thread was about to change them as it forked this process.
    Unknown,
}

/// A token that is registered.
struct Listener {
    node: Weak<Node>,
    /// The signals that cancel it.
    signals: Vec<Signal>,
    /// The call that made it.
    location: &'static Location<'static>,
}

/// The place of a token in the registry, which its node keeps (invariant 4).
struct RegistryKey {
    key: usize,
    /// The [`generation`] of the process that has the registry.
    process: u32,
}

/// Returns a new token that the first of `signals` cancels.
pub(super) fn listen(
    signals: &[Signal],
    location: &'static Location<'static>,
) -> io::Result<CancelToken> {
    let mut registry = REGISTRY.lock();
    registry.begin();

    // The thread may not have come to this signal yet, and the handlers end the process at the next
    // one already.
    let received = signals
        .iter()
        .copied()
        .find(|signal| signal.received().load(SeqCst));
    if let Some(received) = received {
        // Nothing knows the node yet, so a cancel of it under the lock would do no harm that a test
        // could see. But then the order of the locks would need an exception.
        drop(registry);
        let node = Node::root();
        node.cancel(cause(received), location);
        return Ok(CancelToken::from_node(node));
    }

    match registry.prepare(signals) {
        // Still under the lock: the end of another token takes no action back before this token is
        // listed.
        Ok(heard) => Ok(CancelToken::from_node(registry.list(heard, location))),
        Err(error) => {
            // Invariant 1, for the signals that were prepared before the error.
            registry.rest_unheard(signals);
            Err(error)
        }
    }
}

impl Registry {
    /// Returns the registry of a process that has no tokens. A child of `fork` has the actions that
    /// are in `before`, the registry of its parent: they are registered in the child too.
    fn after(before: Before<PlainMutex<Registry>>) -> Self {
        let (actions, actions_are) = match before {
            Before::None => (Default::default(), ActionsAre::Known),
            Before::Torn => (Default::default(), ActionsAre::Unknown),
            Before::Whole(before) => {
                let before = before.lock();
                (before.actions.clone(), before.actions_are)
            }
        };
        Registry {
            wake: None,
            unread: None,
            listeners: Slab::new(),
            actions,
            actions_are,
            is_used: false,
        }
    }

    /// Lets all signals act as before, if this process has not used the registry (invariant 5).
    fn begin(&mut self) {
        if !self.is_used {
            self.is_used = true;
            self.rest_unheard(&Signal::ALL);
        }
    }

    /// Registers the actions of `signals`, and then makes sure that the thread runs. Returns the
    /// signals that are not ignored.
    fn prepare(&mut self, signals: &[Signal]) -> io::Result<Vec<Signal>> {
        if self.actions_are == ActionsAre::Unknown {
            return Err(io::Error::other(
                "another thread was about to handle a signal as it forked this process",
            ));
        }

        let mut heard = Vec::new();
        for &signal in signals {
            if self.hear(signal)? {
                heard.push(signal);
            }
        }

        // Not before: see `held_back`.
        if let Some(read) = &self.unread {
            let read = read.try_clone()?;
            start_thread("taskgroup-signal", None, || contained(|| run(read)))?;
            self.unread = None;
        }
        Ok(heard)
    }

    /// Makes sure that the actions of `signal` are registered. Returns false if the signal is
    /// ignored and stays so.
    fn hear(&mut self, signal: Signal) -> io::Result<bool> {
        if let Some(mut actions) = self.actions[signal as usize].take() {
            let taken_over = if actions.are_of_this_process() {
                Ok(())
            } else {
                self.wake().and_then(|wake| actions.take_over(signal, wake))
            };
            self.actions[signal as usize] = Some(actions);
            return taken_over.map(|()| true);
        }

        let before = disposition_of(signal);
        if before == Disposition::Ignored && signal != Signal::Terminate {
            return Ok(false);
        }

        let actions = Actions::register(signal, before, self.wake()?)?;
        self.actions[signal as usize] = Some(actions);
        Ok(true)
    }

    /// Returns a copy of the end of the pipe that handlers write to.
    fn wake(&mut self) -> io::Result<UnixStream> {
        if let Some(wake) = &self.wake {
            return wake.try_clone();
        }

        let (read, wake) = UnixStream::pair()?;
        self.unread = Some(read);
        self.wake.insert(wake).try_clone()
    }

    /// Lists a new token and returns its node.
    fn list(&mut self, signals: Vec<Signal>, location: &'static Location<'static>) -> Arc<Node> {
        // The signals act as before until there is a token for them (invariant 1).
        for &signal in &signals {
            // With another handler, the flag is clear since the actions were registered. The signal
            // may have come since then, and its handler has set the flag again.
            let actions = self.actions[signal as usize].as_ref();
            let had_default = actions.is_some_and(|at| at.before == Disposition::Default);
            if had_default && !self.is_heard(signal) {
                signal.ends().store(false, SeqCst);
            }
        }

        let entry = self.listeners.vacant_entry();
        let node = Node::root_with(Box::new(RegistryKey {
            key: entry.key(),
            process: generation(),
        }));
        entry.insert(Listener {
            node: Arc::downgrade(&node),
            signals,
            location,
        });
        node
    }

    /// Whether a token is registered for `signal`.
    fn is_heard(&self, signal: Signal) -> bool {
        self.listeners
            .iter()
            .any(|(_, listener)| listener.signals.contains(&signal))
    }

    /// Lets the signals for which no token is registered act as before (invariant 1).
    fn rest_unheard(&mut self, signals: &[Signal]) {
        for &signal in signals {
            if !self.is_heard(signal) {
                self.rest(signal);
            }
        }
    }

    /// Lets `signal` act as before.
    fn rest(&mut self, signal: Signal) {
        // Invariant 5: where unknown actions stand in for the default action, the flag was set at
        // the `fork`. Where the program has a handler, the flag would end the process.
        if self.actions_are == ActionsAre::Unknown {
            return;
        }

        let actions = &mut self.actions[signal as usize];
        match actions.take_if(|actions| actions.before != Disposition::Default) {
            Some(actions) => actions.take_back(),
            None => signal.ends().store(true, SeqCst),
        }
    }
}

impl Drop for RegistryKey {
    fn drop(&mut self) {
        // A token of the parent is not in the registry of a child.
        if self.process != generation() {
            return;
        }

        // The lock is free: no node is dropped while this module holds it.
        let mut registry = REGISTRY.lock();
        let gone = registry.listeners.remove(self.key);
        registry.rest_unheard(&gone.signals);
    }
}

/// The main function of the thread (invariant 3).
fn run(mut wakes: UnixStream) {
    loop {
        // A byte says that there is something to see. The flags tell what.
        match wakes.read(&mut [0; 64]) {
            Ok(1..) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            ended => {
                return log(|| error_event!(?ended, "signals cancel no tokens any more"));
            }
        }

        let received = |signal: &Signal| signal.received().load(SeqCst);
        Signal::ALL
            .into_iter()
            .filter(received)
            .for_each(cancel_all);
    }
}

/// Cancels all tokens that are registered for `signal`, which has come. Each of them was there
/// before it: tokens that are made later are cancelled as they are made.
fn cancel_all(signal: Signal) {
    // Held for the list alone: the cancels run callbacks, which may call this module.
    let registry = REGISTRY.lock();
    let of_signal = |listener: &&Listener| listener.signals.contains(&signal);
    let listeners = registry.listeners.iter().map(|(_, listener)| listener);
    let nodes: Vec<_> = listeners
        .filter(of_signal)
        .filter_map(|listener| Some((listener.node.upgrade()?, listener.location)))
        .collect();
    drop(registry);

    Node::cancel_together(&nodes, &cause(signal));
}

fn cause(signal: Signal) -> CancelCause {
    CancelCause::Signal {
        signal: signal.number(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No other test of this process asks for a token of a signal.
    const SIGNAL: Signal = Signal::HangUp;

    /// Lists a token, with these actions and a flag that is set, and returns the flag.
    fn ends_with_a_token(before: Disposition) -> bool {
        let mut registry = REGISTRY.lock();
        registry.actions[SIGNAL as usize] = Some(Actions::none(before));
        SIGNAL.ends().store(true, SeqCst);
        let node = registry.list(vec![SIGNAL], Location::caller());
        let ends = SIGNAL.ends().load(SeqCst);
        drop(registry);
        drop(node);
        ends
    }

    #[test]
    fn a_signal_that_comes_before_its_token_is_listed_is_the_first() {
        // Where the program has a handler, only a signal that came meanwhile has set the flag.
        for before in [Disposition::Handled, Disposition::Ignored] {
            assert!(ends_with_a_token(before));
            assert!(REGISTRY.lock().actions[SIGNAL as usize].is_none());
        }

        // By default, it has been set since the last token has gone.
        assert!(!ends_with_a_token(Disposition::Default));
        assert!(SIGNAL.ends().load(SeqCst));
    }

    #[test]
    fn a_child_that_does_not_know_its_actions_leaves_them_as_they_are() {
        let signal = Signal::Terminate;
        signal.ends().store(false, SeqCst);
        let mut registry = Registry::after(Before::Torn);
        registry.begin();
        assert!(registry.prepare(&[signal]).is_err());
        registry.rest_unheard(&[signal]);
        assert!(!signal.ends().load(SeqCst), "the program has a handler");
        signal.ends().store(true, SeqCst);
    }
}
