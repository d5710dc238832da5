//! The places that a look is taken from.

use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::{Arc, Mutex};
use std::thread;

use taskgroup::CancelToken;

pub(super) type Job = Arc<dyn Fn() + Send + Sync>;

/// Runs a job in a place, on the thread of a task.
pub(super) type Place = fn(Job);

pub(super) const PLACES: &[(&str, Place)] = &[
    ("a task", |job| job()),
    ("a callback", in_a_callback),
    ("a destructor", in_a_destructor),
    ("a panic hook", in_a_panic_hook),
    ("another thread", in_another_thread),
];

fn in_a_callback(job: Job) {
    let token = CancelToken::new();
    let guard = token.on_cancel(move || job());
    token.cancel();
    drop(guard);
}

struct OnDrop(Job);

impl Drop for OnDrop {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// In the destructor of a value that a panic drops.
fn in_a_destructor(job: Job) {
    let dropped = OnDrop(job);
    let unwound = catch_unwind(AssertUnwindSafe(move || {
        let _dropped = dropped;
        panic_any(());
    }));
    assert!(unwound.is_err());
}

/// The next action of the panic hook.
static IN_HOOK: Mutex<Option<Job>> = Mutex::new(None);

fn in_a_panic_hook(job: Job) {
    *IN_HOOK.lock().unwrap() = Some(job);
    assert!(catch_unwind(|| panic_any(())).is_err());
}

pub(super) fn set_hook() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let job = IN_HOOK.lock().unwrap().take();
        match job {
            Some(job) => job(),
            None if info.payload().is::<()>() => {}
            None => before(info),
        }
    }));
}

fn in_another_thread(job: Job) {
    let looks = thread::spawn(move || job());
    looks.join().expect("a look does not panic");
}
