//! What the example programs share: a server of country flags on the loopback interface, a client for it, and Ctrl-C.

mod countries;
mod fetch;
mod flag_server;
mod left_running;
mod owned_child;
mod selection;
mod site;
mod until_ctrl_c;

pub use countries::{COUNTRIES, POPULOUS};
pub use fetch::fetch;
pub use flag_server::{Answer, FlagServer};
pub use left_running::left_running;
pub use owned_child::OwnedChild;
pub use selection::Selection;
pub use site::Site;
pub use until_ctrl_c::until_ctrl_c;
