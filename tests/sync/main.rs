//! Locks, signals, permits and channels, by hand and by random schedules.

#[path = "../support/actors.rs"]
mod actors;
mod channel;
mod channel_clock;
mod channel_ends;
#[path = "../support/channels.rs"]
mod channels;
mod condvar;
mod crossbeam;
mod guards;
mod locks;
mod schedules_cell;
mod schedules_channels;
mod schedules_condvar;
mod schedules_locks;
mod schedules_permits;
mod schedules_select;
mod schedules_signals;
mod select;
mod semaphore;
mod signals;
#[path = "../support/mod.rs"]
mod support;
mod wait_group;
