//! notify: file events through a channel, so that the wait for them can be cancelled.

use std::path::Path;

use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use taskgroup::channel::{self, Receiver};

/// The events below a path. Dropping this ends the watch.
#[derive(Debug)]
pub struct FileEvents {
    events: Receiver<notify::Result<Event>>,
    _watcher: RecommendedWatcher,
}

/// Watches `path` and everything below it.
///
/// # Errors
///
/// The errors of notify, for example for a path that is not there.
pub fn watch(path: &Path) -> notify::Result<FileEvents> {
    // Unbounded: notify calls the handler on its only thread, outside any scope, and a handler that
    // waits for room would hold up the events of every path.
    let (send, events) = channel::unbounded();

    // The send fails only after the receiver has gone, and then the event is not wanted.
    let mut watcher = notify::recommended_watcher(move |event| _ = send.send(event))?;
    watcher.watch(path, RecursiveMode::Recursive)?;
    Ok(FileEvents {
        events,
        _watcher: watcher,
    })
}

impl FileEvents {
    /// Returns the next event.
    ///
    /// # Errors
    ///
    /// The errors of notify, and the `Cancelled` of the scope.
    ///
    /// # Cancellation
    ///
    /// Ends the wait. No event is lost: the next call returns it.
    pub fn next(&self) -> anyhow::Result<Event> {
        Ok(self.events.recv()??)
    }
}
