//! Programs that the types of scoped values forbid.
//!
//! # A scoped value does not leave the closure that reads it
//!
//! ```compile_fail,E0521
//! use taskgroup::ScopedValue;
//!
//! static NAME: ScopedValue<String> = ScopedValue::new();
//!
//! let mut kept: Option<&String> = None;
//! NAME.with(&String::from("ada"), || NAME.get(|name| kept = name));
//! ```
//!
//! It does not move into a task of a group that is open already either:
//!
//! ```compile_fail,E0521
//! use taskgroup::{ScopedValue, TaskGroup};
//!
//! static NAME: ScopedValue<String> = ScopedValue::new();
//!
//! let _ = TaskGroup::scope(|g| {
//!     NAME.get(|name| {
//!         g.spawn(move || Ok(name.map(String::len)));
//!     });
//!     Ok(())
//! });
//! ```
//!
//! A group that is opened inside may borrow it:
//!
//! ```
//! use taskgroup::{ScopedValue, TaskGroup};
//!
//! static NAME: ScopedValue<String> = ScopedValue::new();
//!
//! let length = NAME.with(&String::from("ada"), || {
//!     NAME.get(|name| {
//!         TaskGroup::scope(|g| Ok(g.spawn(|| Ok(name.map_or(0, String::len))).join()?))
//!     })
//! });
//! assert_eq!(length.unwrap(), 3);
//! ```
//!
//! # A scoped value is read by several threads
//!
//! ```compile_fail,E0277
//! use std::cell::Cell;
//!
//! static COUNT: taskgroup::ScopedValue<Cell<u8>> = taskgroup::ScopedValue::new();
//! ```
//!
//! ```compile_fail,E0277
//! use std::rc::Rc;
//!
//! static SHARED: taskgroup::ScopedValue<Rc<u8>> = taskgroup::ScopedValue::new();
//! ```
//!
//! ```compile_fail,E0277
//! static RAW: taskgroup::ScopedValue<*const u8> = taskgroup::ScopedValue::new();
//! ```
//!
//! # The key of a scoped value is invariant
//!
//! Otherwise a function for one lifetime could be bound, and be read as one for every lifetime.
//!
//! ```compile_fail,E0308
//! use taskgroup::ScopedValue;
//!
//! static VISIT: ScopedValue<for<'a> fn(&'a str)> = ScopedValue::new();
//!
//! let narrowed: &'static ScopedValue<fn(&'static str)> = &VISIT;
//! ```
//!
//! # The key of a scoped value is a static
//!
//! ```compile_fail,E0716
//! use taskgroup::ScopedValue;
//!
//! const NAME: ScopedValue<&str> = ScopedValue::new();
//!
//! NAME.with(&"ada", || ());
//! ```
