//! The faults that can be switched on in this copy of the crate.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// One way to break the crate.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// The name of its entry in `faults/`, or the change that the rule makes.
    pub name: &'static str,
    /// Its file and line.
    pub place: &'static str,
    /// Its symptom; empty if it was made by rule.
    pub shows: &'static str,
    /// Why no model sees it.
    pub survives: Option<&'static str>,
    /// Whether it has an entry and a mark.
    pub is_marked: bool,
}

/// Every fault with the feature `every-fault`, and those of the `broken_` models without it.
pub const FAULTS: &[Fault] = include!(concat!(env!("OUT_DIR"), "/faults.rs"));

/// The folder of the copied sources, for messages that name a place in it.
pub const SOURCES: &str = concat!(env!("OUT_DIR"), "/");

const NONE: usize = usize::MAX;

/// The fault that is on. Loom does not see it, and it does not change while a model runs.
static ON: AtomicUsize = AtomicUsize::new(NONE);

/// The faults with code that was run.
static REACHED: [AtomicBool; FAULTS.len()] = [const { AtomicBool::new(false) }; FAULTS.len()];

/// Returns the number of the fault with this name.
pub fn number(name: &str) -> Option<usize> {
    FAULTS.iter().position(|fault| fault.name == name)
}

/// Switches a fault on, for the rest of the process.
pub fn switch_on(number: usize) {
    ON.store(number, Relaxed);
}

/// Returns the numbers of the faults with code that was run, on or off. Noted with the feature
/// `every-fault` alone.
pub fn reached() -> impl Iterator<Item = usize> {
    (0..FAULTS.len()).filter(|&number| REACHED[number].load(Relaxed))
}

/// Whether the wrong code runs. The copied sources ask this at each place that has a fault.
pub(crate) fn is_on(number: usize) -> bool {
    if cfg!(feature = "every-fault") {
        REACHED[number].store(true, Relaxed);
    }
    ON.load(Relaxed) == number
}
