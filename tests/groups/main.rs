//! Groups and tasks: scopes, handles, limits, maps and daemons.

mod ambient;
mod autotraits;
mod cancellable;
mod completion;
mod daemon;
mod handle;
mod latencies;
mod limit;
mod limit_inside;
mod limit_nesting;
mod limit_order;
mod map;
mod release;
mod scope;
mod scoped_value;
mod stack;
mod start;
#[path = "../support/mod.rs"]
mod support;
#[cfg(all(unix, feature = "net", feature = "process", feature = "signal"))]
mod surface;
mod thread_locals;
