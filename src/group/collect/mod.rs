//! Ways to run many tasks and collect their results.

mod as_completed;
mod in_flight;
mod input;
mod join;
mod map;
mod map_all;
mod map_unordered;
mod map_workers;
mod race;

pub use as_completed::AsCompleted;
pub use join::join;
pub use map::Map;
pub use map_all::map;
pub use map_unordered::MapUnordered;
pub use race::race;
