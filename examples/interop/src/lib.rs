//! Other crates that block, each made to end with its task group: the code of
//! [docs/interop.md](../../docs/interop.md), to copy from. The tests run it against the real
//! libraries, servers, files and processes.
//!
//! Each module is on its own, and most are one function.

mod child;
mod file_events;
#[cfg(unix)]
mod http_client;
mod http_server;
mod postgresql;
mod rayon_pool;
mod sqlite;

pub use child::wait;
pub use file_events::{FileEvents, watch};
#[cfg(unix)]
pub use http_client::{Connection, Connections, Names, agent, request};
pub use http_server::accept;
pub use postgresql::Pool;
pub use rayon_pool::try_map;
pub use sqlite::{cancellable, statement};

// The snippets of the page are compiled and run with the crates that they show.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/interop.md")]
mod page {}
