//! The threads of the crate that run no tasks and stay: the monitors of the workers. Others end by
//! themselves, like the timer's when it has no alarm.

use crate::facade::{PlainMutex, per_process};

per_process! {
    static HELPERS: PlainMutex<Vec<i32>> = PlainMutex::new(Vec::new());
}

/// While it lives, this thread counts as a helper.
#[must_use = "the thread is a helper for as long as this lives"]
#[derive(Debug)]
pub(crate) struct Helper(i32);

impl Helper {
    /// Says that this thread is a helper: by itself it does nothing that another thread waits for.
    pub(crate) fn begin() -> Self {
        // Not a lane: a helper would show nothing in it, and a lane is larger.
        let number = super::system_number();
        HELPERS.lock().push(number);
        Helper(number)
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let mut helpers = HELPERS.lock();
        if let Some(index) = helpers.iter().position(|number| *number == self.0) {
            helpers.swap_remove(index);
        }
    }
}

/// Returns the numbers of the helpers in the system.
pub(crate) fn helpers() -> Vec<i32> {
    HELPERS.lock().clone()
}

#[cfg(all(test, target_os = "linux", not(loom)))]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_helper_is_listed_until_it_ends_and_no_longer() {
        let stays = Helper::begin();
        thread::spawn(|| {
            let ends = Helper::begin();
            let number = ends.0;
            assert!(helpers().contains(&number));
            drop(ends);
            assert!(!helpers().contains(&number));
        })
        .join()
        .unwrap();
        assert!(helpers().contains(&stays.0));
    }
}
