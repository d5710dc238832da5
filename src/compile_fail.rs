//! What the compiler refuses, each beside the nearest program that it accepts.
//! `docs/compile-errors.md` has what it says to the mistakes that are common.
//!
//! # A task does not borrow a local of the body
//!
//! The body's locals are gone when it returns, and the scope waits for its tasks after that.
//!
//! ```compile_fail,E0373
//! use taskgroup::TaskGroup;
//!
//! let _ = TaskGroup::scope(|g| {
//!     let local = String::from("gone when the body returns");
//!     g.spawn(|| Ok(local.len()));
//!     Ok(())
//! });
//! ```
//!
//! Nor does it by way of a reference, the task builder, a daemon, an isolated task or `try_spawn`:
//!
//! ```compile_fail,E0597
//! use taskgroup::TaskGroup;
//!
//! let _ = TaskGroup::scope(|g| {
//!     let local = String::from("gone when the body returns");
//!     let borrowed = &local;
//!     g.spawn(move || Ok(borrowed.len()));
//!     Ok(())
//! });
//! ```
//!
//! ```compile_fail,E0373
//! use taskgroup::TaskGroup;
//!
//! let _ = TaskGroup::scope(|g| {
//!     let local = String::from("gone when the body returns");
//!     g.task().name("reader").spawn(|| Ok(local.len()));
//!     Ok(())
//! });
//! ```
//!
//! ```compile_fail,E0373
//! use taskgroup::TaskGroup;
//!
//! let _ = TaskGroup::scope(|g| {
//!     let local = String::from("gone when the body returns");
//!     g.spawn_daemon(|| Ok(assert!(!local.is_empty())));
//!     Ok(())
//! });
//! ```
//!
//! ```compile_fail,E0373
//! use taskgroup::TaskGroup;
//!
//! let _ = TaskGroup::scope(|g| {
//!     let local = String::from("gone when the body returns");
//!     g.spawn_isolated(|| Ok(local.len()));
//!     Ok(())
//! });
//! ```
//!
//! ```compile_fail,E0373
//! use taskgroup::TaskGroup;
//!
//! let _ = TaskGroup::scope(|g| {
//!     let local = String::from("gone when the body returns");
//!     let _ = g.try_spawn(|| Ok(local.len()));
//!     Ok(())
//! });
//! ```
//!
//! What was made before the scope may be borrowed:
//!
//! ```
//! use taskgroup::TaskGroup;
//!
//! # fn main() -> Result<(), taskgroup::GroupError> {
//! let outer = String::from("lives longer than the scope");
//! let length = TaskGroup::scope(|g| Ok(g.spawn(|| Ok(outer.len())).join()?))?;
//! assert_eq!(length, outer.len());
//! # Ok(())
//! # }
//! ```
//!
//! # A hook does not borrow a local of the body
//!
//! Release hooks run after the body has returned, and so may completion hooks.
//!
//! ```compile_fail,E0373
//! use taskgroup::TaskGroup;
//!
//! let _ = TaskGroup::scope(|g| {
//!     let local = String::from("gone when the body returns");
//!     g.on_release(|| Ok(assert!(!local.is_empty())));
//!     Ok(())
//! });
//! ```
//!
//! ```compile_fail,E0373
//! use taskgroup::TaskGroup;
//!
//! let _ = TaskGroup::scope(|g| {
//!     let local = String::from("gone when the body returns");
//!     let task = g.spawn(|| Ok(()));
//!     task.on_finished(|_| assert!(!local.is_empty()));
//!     Ok(())
//! });
//! ```
//!
//! # A task's result does not borrow a local of the body
//!
//! A result nobody joins is dropped after the body has returned.
//!
//! ```compile_fail,E0597
//! use taskgroup::TaskGroup;
//!
//! let _ = TaskGroup::scope(|g| {
//!     let local = 1;
//!     let borrowed: &u32 = &local;
//!     g.spawn(move || Ok(borrowed));
//!     Ok(())
//! });
//! ```
//!
//! # A handle does not leave its scope
//!
//! ```compile_fail
//! use taskgroup::TaskGroup;
//!
//! let _ = TaskGroup::scope(|g| Ok(g.spawn(|| Ok(1))));
//! ```
//!
//! ```compile_fail,E0521
//! use taskgroup::TaskGroup;
//!
//! let mut kept = None;
//! let _ = TaskGroup::scope(|g| {
//!     kept = Some(g.spawn(|| Ok(1)));
//!     Ok(())
//! });
//! ```
//!
//! Its value does:
//!
//! ```
//! use taskgroup::TaskGroup;
//!
//! # fn main() -> Result<(), taskgroup::GroupError> {
//! assert_eq!(TaskGroup::scope(|g| Ok(g.spawn(|| Ok(1)).join()?))?, 1);
//! # Ok(())
//! # }
//! ```
//!
//! # A group's reference does not leave its scope
//!
//! ```compile_fail
//! use taskgroup::TaskGroup;
//!
//! let _ = TaskGroup::scope(|g| Ok(g));
//! ```
//!
//! ```compile_fail,E0521
//! use taskgroup::TaskGroup;
//!
//! let mut kept = None;
//! let _ = TaskGroup::scope(|g| {
//!     kept = Some(g);
//!     Ok(())
//! });
//! ```
//!
//! Nor does a thread take it along that the scope does not wait for:
//!
//! ```compile_fail,E0521
//! use taskgroup::TaskGroup;
//!
//! let _ = TaskGroup::scope(|g| {
//!     std::thread::spawn(move || g.cancel());
//!     Ok(())
//! });
//! ```
//!
//! Such a thread may have the token, which borrows nothing:
//!
//! ```
//! use taskgroup::TaskGroup;
//!
//! # fn main() -> Result<(), taskgroup::GroupError> {
//! let canceller = TaskGroup::scope(|g| {
//!     let token = g.token().clone();
//!     Ok(std::thread::spawn(move || token.cancel()))
//! })?;
//! assert!(canceller.join().is_ok());
//! # Ok(())
//! # }
//! ```
//!
//! # Two tasks do not change one value
//!
//! ```compile_fail,E0499
//! use taskgroup::TaskGroup;
//!
//! let mut count = 0;
//! let _ = TaskGroup::scope(|g| {
//!     g.spawn(|| Ok(count += 1));
//!     g.spawn(|| Ok(count += 1));
//!     Ok(())
//! });
//! ```
//!
//! Parts of it, yes:
//!
//! ```
//! use taskgroup::TaskGroup;
//!
//! # fn main() -> Result<(), taskgroup::GroupError> {
//! let mut counts = [0, 0];
//! let [left, right] = &mut counts;
//! TaskGroup::scope(|g| {
//!     g.spawn(|| Ok(*left += 1));
//!     g.spawn(|| Ok(*right += 1));
//!     Ok(())
//! })?;
//! assert_eq!(counts, [1, 1]);
//! # Ok(())
//! # }
//! ```
//!
//! # Nobody uses what a task has borrowed for change
//!
//! ```compile_fail,E0503
//! use taskgroup::TaskGroup;
//!
//! let mut count = 0;
//! let _ = TaskGroup::scope(|g| {
//!     g.spawn(|| Ok(count += 1));
//!     if count > 0 {
//!         println!("changed already");
//!     }
//!     Ok(())
//! });
//! ```
//!
//! Not even after the task was joined; the borrow lasts as long as the scope. This reads the count
//! where it is free again:
//!
//! ```
//! use taskgroup::TaskGroup;
//!
//! # fn main() -> Result<(), taskgroup::GroupError> {
//! let mut count = 0;
//! TaskGroup::scope(|g| {
//!     g.spawn(|| Ok(count += 1));
//!     Ok(())
//! })?;
//! assert_eq!(count, 1);
//! # Ok(())
//! # }
//! ```
//!
//! # What is not `Send` stays on its thread
//!
//! Neither in a capture nor in a result:
//!
//! ```compile_fail,E0277
//! use std::rc::Rc;
//! use taskgroup::TaskGroup;
//!
//! let shared = Rc::new(1);
//! let _ = TaskGroup::scope(|g| {
//!     g.spawn(|| Ok(assert_eq!(*shared, 1)));
//!     Ok(())
//! });
//! ```
//!
//! ```compile_fail,E0277
//! use std::rc::Rc;
//! use taskgroup::TaskGroup;
//!
//! let _ = TaskGroup::scope(|g| {
//!     g.spawn(|| Ok(Rc::new(1)));
//!     Ok(())
//! });
//! ```
//!
//! With an `Arc` both pass:
//!
//! ```
//! use std::sync::Arc;
//! use taskgroup::TaskGroup;
//!
//! # fn main() -> Result<(), taskgroup::GroupError> {
//! let shared = Arc::new(1);
//! let same = TaskGroup::scope(|g| Ok(g.spawn(|| Ok(shared.clone())).join()?))?;
//! assert!(Arc::ptr_eq(&shared, &same));
//! # Ok(())
//! # }
//! ```
//!
//! # A task does not take along the handle of a scope inside
//!
//! The handle's scope ends first.
//!
//! ```compile_fail,E0521
//! use taskgroup::TaskGroup;
//!
//! let _ = TaskGroup::scope(|outer| {
//!     TaskGroup::scope(|inner| {
//!         let task = inner.spawn(|| Ok(1));
//!         outer.spawn(move || Ok(task.join()?));
//!         Ok(())
//!     })?;
//!     Ok(())
//! });
//! ```
//!
//! The other way round it may:
//!
//! ```
//! use taskgroup::TaskGroup;
//!
//! # fn main() -> Result<(), taskgroup::GroupError> {
//! let value = TaskGroup::scope(|outer| {
//!     let task = outer.spawn(|| Ok(1));
//!     Ok(TaskGroup::scope(|inner| Ok(inner.spawn(move || Ok(task.join()?)).join()?))?)
//! })?;
//! assert_eq!(value, 1);
//! # Ok(())
//! # }
//! ```
//!
//! # The body does not return a reference into what a task owns
//!
//! ```compile_fail,E0515
//! use taskgroup::TaskGroup;
//!
//! let _ = TaskGroup::scope(|g| {
//!     let task = g.spawn(|| {
//!         let owned = String::from("dropped when the task ends");
//!         Ok(owned.as_str())
//!     });
//!     Ok(task.join()?)
//! });
//! ```
//!
//! ```compile_fail,E0515
//! use taskgroup::TaskGroup;
//!
//! let _ = TaskGroup::scope(|g| {
//!     let task = g.spawn(|| Ok(String::from("belongs to the body once joined")));
//!     let owned = task.join()?;
//!     Ok(owned.as_str())
//! });
//! ```
//!
//! # A handle is joined once, a refused task run once
//!
//! ```compile_fail,E0382
//! use taskgroup::TaskGroup;
//!
//! let _ = TaskGroup::scope(|g| {
//!     let task = g.spawn(|| Ok(1));
//!     Ok(task.join()? + task.join()?)
//! });
//! ```
//!
//! # A task says once that it is ready
//!
//! ```compile_fail,E0382
//! use taskgroup::TaskGroup;
//!
//! let _ = TaskGroup::scope(|g| {
//!     let port = g.start(|ready| {
//!         ready.send(8080);
//!         ready.send(8081);
//!         Ok(())
//!     })?;
//!     Ok(port)
//! });
//! ```
//!
//! # What was sent may not borrow from the task that sent it
//!
//! ```compile_fail,E0597
//! use taskgroup::TaskGroup;
//!
//! let _ = TaskGroup::scope(|g| {
//!     let text = g.start(|ready| {
//!         let owned = String::from("dropped when the task ends");
//!         ready.send(owned.as_str());
//!         Ok(())
//!     })?;
//!     Ok(text.len())
//! });
//! ```
//!
//! # What is left behind borrows nothing
//!
//! ```compile_fail,E0373
//! let word = String::from("local");
//! let _ = taskgroup::abandon(|| word.len());
//! ```
//!
//! # The cancel of a select is not left out
//!
//! A `select!` has a value, so one without a `?` is no statement:
//!
//! ```compile_fail,E0308
//! use taskgroup::channel::{select, unbounded};
//!
//! let (_sender, receiver) = unbounded::<u8>();
//! select! { recv(receiver) -> _ => {} }
//! println!("not cancelled");
//! ```
//!
//! With a semicolon, it is a result that must be used:
//!
//! ```compile_fail
//! #![deny(unused_must_use)]
//! use taskgroup::channel::{select, unbounded};
//!
//! let (_sender, receiver) = unbounded::<u8>();
//! select! { recv(receiver) -> _ => {} };
//! println!("not cancelled");
//! ```
//!
//! ```
//! #![deny(unused_must_use)]
//! # fn main() -> Result<(), taskgroup::Cancelled> {
//! use taskgroup::channel::{select, unbounded};
//!
//! let (sender, receiver) = unbounded::<u8>();
//! drop(sender);
//! select! { recv(receiver) -> _ => {} }?;
//! println!("not cancelled");
//! # Ok(())
//! # }
//! ```
