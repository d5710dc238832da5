//! What the example programs share: a server of country flags on the loopback interface.

mod flag_server;

pub use flag_server::{Answer, FlagServer, POPULOUS};
