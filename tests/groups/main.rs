//! Groups and tasks: scopes, handles, limits, maps, daemons, and what a failure becomes.

mod ambient;
mod autotraits;
mod cancellable;
mod completion;
mod daemon;
mod echoes;
mod echoes_errors;
mod echoes_nested;
mod echoes_report;
#[path = "../support/echoing.rs"]
mod echoing;
mod failure_at;
mod handle;
mod limit;
mod limit_inside;
mod limit_nesting;
mod limit_order;
mod map;
mod origin;
mod race;
mod release;
mod scope;
mod scoped_value;
mod stack;
mod start;
#[path = "../support/mod.rs"]
mod support;
mod task_error;
mod thread_locals;
