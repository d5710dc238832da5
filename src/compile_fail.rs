//! Programs that the compiler refuses, each beside the nearest program that it accepts.
//! `docs/compile-errors.md` shows its messages to the common mistakes.
//!
//! # A task does not borrow a local of the body
//!
//! The body's locals are gone when it returns, and only then does the scope wait for its tasks.
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
//! A reference, the task builder, a daemon, an isolated task or `try_spawn` does not change that:
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
//! Values from before the scope may be borrowed:
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
//! Without a join, the result is dropped after the body has returned.
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
//! The value of its task may leave the scope:
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
//! A thread that the scope does not wait for cannot take the reference along:
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
//! Such a thread may have the token of the group, which borrows nothing:
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
//! Each may change a part of it:
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
//! # A value that a task borrows mutably is not used elsewhere
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
//! It cannot be used even after the task was joined, since the borrow lasts as long as the scope.
//! This program reads the count after the borrow has ended:
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
//! # A value that is not `Send` stays on its thread
//!
//! A capture or a result does not move it:
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
//! With an `Arc` both compile:
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
//! # A task of an outer scope does not take the handle of an inner scope
//!
//! The scope of the handle ends first.
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
//! A task of the inner scope may take a handle of the outer scope:
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
//! # The body does not return a reference to a value that a task owns
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
//! # A task reports only once that it is ready
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
//! # A sent value does not borrow from the task that sent it
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
//! # Code that is left behind borrows nothing
//!
//! ```compile_fail,E0373
//! let word = String::from("local");
//! let _ = taskgroup::abandon(|| word.len());
//! ```
//!
//! # The cancel of a select cannot be ignored
//!
//! A `select!` has a value, so without a `?` it is not a statement:
//!
//! ```compile_fail,E0308
//! use taskgroup::channel::{select, unbounded};
//!
//! let (_sender, receiver) = unbounded::<u8>();
//! select! { recv(receiver) -> _ => {} }
//! println!("not cancelled");
//! ```
//!
//! With a semicolon, it is an unused result, which `must_use` reports:
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

mod scoped_value;
