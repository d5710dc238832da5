//! Shared parts of the example programs: a server of country flags on the loopback interface and a
//! client for it, a small web and a client for its pages, requests of HTTP, Ctrl-C and closed
//! pipes, a cipher, charts, and a look at the memory and the threads of the program.

mod client;
mod countries;
mod exit_code;
mod fetch;
mod flag_server;
mod http;
mod left_behind;
mod log_chart;
mod print;
mod rc4;
mod resident;
mod seconds;
mod selection;
mod site;
pub mod timeline;
mod until_ctrl_c;
mod web;

pub use client::{Status, Url, get, links};
pub use countries::{COUNTRIES, POPULOUS};
pub use exit_code::exit_code;
pub use fetch::fetch;
pub use flag_server::{Answer, FlagServer};
pub use http::{Refused, Request, respond};
pub use left_behind::left_behind;
pub use log_chart::{LogChart, save_svg};
#[doc(hidden)]
pub use print::print_line;
pub use print::write_whole;
pub use rc4::rc4;
pub use resident::{resident, settled};
pub use seconds::seconds;
pub use selection::Selection;
pub use site::Site;
pub use until_ctrl_c::until_ctrl_c;
pub use web::{Reply, Web};
