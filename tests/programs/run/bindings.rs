//! A scoped value that regions bind, and what each place must find bound.
//!
//! A task finds what was bound where its group was opened, wherever it runs. Hooks find nothing.

use super::*;

/// The value that is bound, if any is.
pub(super) type Binding = Option<u64>;

#[cfg(not(taskgroup_models))]
static BOUND: taskgroup::ScopedValue<u64> = taskgroup::ScopedValue::new();

/// Checks what this thread finds bound. The models bind nothing.
pub(super) fn check_bound(expected: Binding) {
    #[cfg(not(taskgroup_models))]
    if BOUND.cloned() != expected {
        // A panic would be contained, and could be taken for one of the program.
        println!(
            "differs a scoped value: {:?} is bound, not {expected:?}",
            BOUND.cloned()
        );
        std::process::exit(1);
    }
    #[cfg(taskgroup_models)]
    assert_eq!(expected, None, "a model binds nothing");
}

impl Frame {
    /// Calls `run` with a new value bound.
    #[cfg(not(taskgroup_models))]
    pub(super) fn binding<T>(&self, run: impl FnOnce() -> T) -> T {
        struct Back<'a>(&'a Frame, Binding);
        impl Drop for Back<'_> {
            fn drop(&mut self) {
                self.0.bound.set(self.1);
            }
        }
        let value = self.now();
        let _back = Back(self, self.bound.replace(Some(value)));
        BOUND.with(&value, run)
    }

    #[cfg(taskgroup_models)]
    pub(super) fn binding<T>(&self, _run: impl FnOnce() -> T) -> T {
        unreachable!("a model binds nothing")
    }
}
