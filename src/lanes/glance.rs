//! A look at a lane that allocates nothing.

use super::frames::FrameView;
use super::held::HeldView;
use super::wait::WaitView;

/// How many frames a glance shows.
const FRAMES: usize = 24;

/// How many held objects a glance shows.
const HELD: usize = 8;

/// A lane, as a reader finds it at one moment, in a value of fixed size.
#[derive(Clone, Debug)]
pub(crate) struct Glance {
    /// The number of the thread in the system; 0 where that is not known.
    pub(crate) system: i32,
    /// How many frames there are. A deep stack is not shown whole.
    pub(crate) depth: u32,
    pub(crate) wait: Option<WaitView>,
    pub(super) frames: [Option<FrameView>; FRAMES],
    pub(super) held: [Option<HeldView>; HELD],
}

impl Glance {
    pub(super) fn new(system: i32, depth: u32, wait: Option<WaitView>) -> Self {
        Glance {
            system,
            depth,
            wait,
            frames: [None; FRAMES],
            held: [None; HELD],
        }
    }

    /// Returns the outermost frames, the outermost first.
    pub(crate) fn frames(&self) -> impl Iterator<Item = &FrameView> {
        self.frames.iter().flatten()
    }

    /// Returns what the thread holds.
    pub(crate) fn held(&self) -> impl Iterator<Item = &HeldView> {
        self.held.iter().flatten()
    }
}
