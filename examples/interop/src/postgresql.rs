//! postgres: a pool of connections with statements that end with the scope of the thread that runs
//! them.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use postgres::{Client, Config, Error, NoTls, error::SqlState};

/// Time from a cancel to the first cancel request, and from that to the next, which doubles. A
/// request that comes before its statement does nothing.
const PAUSE: Duration = Duration::from_millis(1);

/// Connections that are opened as they are needed and used again.
///
/// **A connection is thrown away if a cancel request was sent for it.** The server may get the
/// request late and then cancels the statement that runs by then, which would be the next one on
/// this connection.
#[derive(Debug)]
pub struct Pool {
    config: Config,
    idle: Mutex<Vec<Idle>>,
}

/// A connection between two uses. The client has no `Debug`.
struct Idle(Client);

impl std::fmt::Debug for Idle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Idle").finish_non_exhaustive()
    }
}

impl Pool {
    /// Returns a pool without connections. Give `config` a `connect_timeout`, and for servers
    /// behind a network a `tcp_user_timeout`: no request can end a statement on a server that is
    /// out of reach.
    pub fn new(config: Config) -> Self {
        Pool {
            config,
            idle: Mutex::default(),
        }
    }

    /// Runs the statements of `f` on a connection that no other thread uses meanwhile.
    ///
    /// # Errors
    ///
    /// The errors of `f` and of the connection. If the server ended a statement because of a
    /// cancel of this scope, the `Cancelled` of the scope.
    ///
    /// # Cancellation
    ///
    /// The server is asked to cancel the statement, again and again until `f` returns, and the
    /// connection is thrown away. If `f` returns `Ok` in spite of it, its value is returned.
    pub fn run<T>(&self, f: impl FnOnce(&mut Client) -> Result<T, Error>) -> anyhow::Result<T> {
        taskgroup::checkpoint()?;
        let idle = self.idle().pop();
        let mut client = match idle {
            Some(Idle(client)) => client,
            None => self.connect()?,
        };

        let cancel = client.cancel_token();
        let (called, asked) = (AtomicBool::new(false), AtomicBool::new(false));
        let ask = || {
            // The first call is on the cancelling thread, which must not wait for a server: the
            // request takes a connection of its own. The calls after it are on a thread apart.
            if called.swap(true, Ordering::Relaxed) {
                asked.store(true, Ordering::Relaxed);
                // Out of reach, or out of connections: the next call tries again.
                let _ = cancel.cancel_query(NoTls);
            }
        };

        let outcome = taskgroup::with_cancel_hook_repeating(PAUSE, ask, || f(&mut client));

        // No call of the hook is running or will begin, so this is final.
        let asked = asked.into_inner();
        if !asked && !client.is_closed() {
            self.idle().push(Idle(client));
        }

        match outcome {
            // A time limit of the server has the same code, but then no request was sent.
            Err(error) if asked && error.code() == Some(&SqlState::QUERY_CANCELED) => {
                taskgroup::checkpoint()?;
                Err(error.into())
            }
            outcome => Ok(outcome?),
        }
    }

    /// Connects on a thread that a cancel leaves behind, since nothing wakes a `connect` of this
    /// library. A connection that comes up after that is closed there.
    fn connect(&self) -> anyhow::Result<Client> {
        let config = self.config.clone();
        Ok(taskgroup::abandon(move || config.connect(NoTls))??)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
