//! What the example programs share: a server of country flags on the loopback interface, a cipher, charts, and a look at the memory and the
//! threads of the process.

mod flag_server;
mod left_behind;
mod log_chart;
mod rc4;
mod resident;

pub use flag_server::{Answer, FlagServer, POPULOUS};
pub use left_behind::left_behind;
pub use log_chart::{save_svg, LogChart};
pub use rc4::rc4;
pub use resident::{resident, settled};
