//! A terminal view of the tasks of a process.
//!
//! `server.rs` is what a process needs to be seen. The other modules are the viewer.

mod app;
mod client;
mod draw;
mod picture;
mod screen;
mod tree;
mod view;

pub mod demo;
pub mod server;

pub use app::{Action, App};
pub use client::Client;
pub use picture::{Picture, escaped};
pub use screen::Screen;
pub use view::view;
