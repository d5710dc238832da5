//! The fate of a failure: its place in the report of its group, its echoes, and cancels that are no
//! failures.

mod echoes;
mod echoes_errors;
mod echoes_nested;
mod echoes_report;
#[path = "../support/echoing.rs"]
mod echoing;
mod failure_at;
mod names;
mod origin;
mod race;
#[path = "../support/mod.rs"]
mod support;
mod task_error;
