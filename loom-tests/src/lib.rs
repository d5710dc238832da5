//! The crate `taskgroup`, compiled for loom from the copy of its sources that `build/main.rs`
//! writes, with the models beside it.

// Lints run on the crate itself. In the copy every fault stands beside the right code, as
// `(if is_on(n) { wrong } else { right })`.
#![allow(unused_parens, unused_braces, clippy::all)]

pub mod faults;
// A macro that an included file exports cannot be named by its path: the copy of this one is empty.
#[path = "../../src/channel/macros.rs"]
mod macros;
#[path = "../models/mod.rs"]
pub mod models;

include!(concat!(env!("OUT_DIR"), "/src/lib.rs"));
