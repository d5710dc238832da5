//! Two threads that meet once a race: one is in a call, the other cancels it and makes its event.

use std::hint::spin_loop;
use std::io::{self, ErrorKind};
use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::Duration;

use taskgroup::{CancelToken, Cancelled};

use crate::support::watch;

/// After so many races the time limit of a test begins anew.
const WATCHED: u64 = 500;

/// Whether the threads take turns. Then one that spins waits for nothing.
static ONE_CORE: LazyLock<bool> =
    LazyLock::new(|| thread::available_parallelism().is_ok_and(|cores| cores.get() == 1));

/// How many races a test runs. The variable asks for more than each run of the tests has time for.
pub(crate) fn races(usual: u64) -> u64 {
    let asked = std::env::var("TASKGROUP_RACES").ok();
    asked.map_or(usual, |races| races.parse().expect("a number of races"))
}

/// Runs races of `call` against a cancel, while another thread makes the `event` that the call
/// waits for. Both get the number of the race, as does `after`, with what the call has returned
/// unless it was cut.
///
/// A race does not wait for the cancel of the one before it, which may be late: its wake is one
/// that the next call must not believe.
pub(crate) fn race<T>(
    races: u64,
    event: impl FnMut(u64) + Send,
    mut call: impl FnMut(u64) -> io::Result<T>,
    mut after: impl FnMut(u64, Option<T>),
) {
    let (tokens, for_opponent) = channel();
    let (ends, ended) = channel();
    let mut cut = 0;

    thread::scope(|threads| {
        threads.spawn(|| oppose(for_opponent, ended, event));

        // Dropped by a panic, which lets the other thread end.
        let (tokens, ends) = (tokens, ends);
        let mut watched = watch();
        for number in 0..races {
            if number % WATCHED == WATCHED - 1 {
                watched = watch();
            }
            let token = CancelToken::new();
            if tokens.send(token.clone()).is_err() {
                break; // It has panicked, which the scope says.
            }

            // On one core, the timer of the other thread is to end during the call.
            Chance::of(number, 0).spin(if *ONE_CORE { 10 } else { 7 });
            let done = token.run(|| call(number));
            if ends.send(number).is_err() {
                break;
            }
            let done = match done {
                Ok(value) => Some(value),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Other, "race {number}: {error:?}");
                    let is_a_cancel = Cancelled::find(&error).is_some();
                    assert!(is_a_cancel, "race {number}: {error:?}");
                    // Not one of the race before.
                    assert!(token.is_cancelled(), "race {number}: {error:?}");
                    cut += 1;
                    None
                }
            };
            after(number, done);
        }
        drop(watched);
    });
    println!("{cut} of {races} calls were cut");
}

/// Cancels each token and makes its event, in an order and at a time that differ from race to race.
fn oppose(tokens: Receiver<CancelToken>, ended: Receiver<u64>, mut event: impl FnMut(u64)) {
    if *ONE_CORE {
        // So that a sleep of some microseconds ends when it should.
        nix::sys::prctl::set_timerslack(1).expect("the system has timers");
    }

    for number in 0.. {
        let Some(token) = receive(&tokens) else {
            return;
        };
        let mut chance = Chance::of(number, 1);
        if *ONE_CORE {
            thread::sleep(Duration::from_nanos(chance.bits(15)));
        } else {
            chance.spin_for_any();
        }

        match chance.bits(2) {
            0 => {
                event(number);
                chance.spin_for_any();
                token.cancel();
            }
            1 => {
                token.cancel();
                chance.spin_for_any();
                event(number);
            }
            // Only the cancel can end the call, so that a lost wake is seen.
            _ => {
                token.cancel();
                while receive(&ended).is_some_and(|ended| ended < number) {}
                event(number);
            }
        }
    }
}

/// Receives a value of the other thread. Returns none if that has ended.
pub(crate) fn receive<T>(values: &Receiver<T>) -> Option<T> {
    // A call takes less time than the wake of a thread. So this thread sleeps only if the other is
    // held up.
    let spins = if *ONE_CORE { 0 } else { 10_000 };
    for _ in 0..spins {
        match values.try_recv() {
            Err(TryRecvError::Empty) => spin_loop(),
            received => return received.ok(),
        }
    }
    values.recv().ok()
}

/// Numbers that look like chance, and are the same in each run.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn of(number: u64, stream: u64) -> Self {
        Chance((2 * number + stream).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// Returns a number of so many bits.
    pub(crate) fn bits(&mut self, bits: u32) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> (64 - bits)
    }

    /// Spins for a moment, which may be shorter than any call, or longer.
    fn spin_for_any(&mut self) {
        let bits = 4 + self.bits(3) as u32;
        self.spin(bits);
    }

    /// Spins for a number of turns of so many bits.
    pub(crate) fn spin(&mut self, bits: u32) {
        (0..self.bits(bits)).for_each(|_| spin_loop());
    }
}

/// Pauses for up to 4 ms, so that a call that looks again after some pauses may find its event.
pub(crate) fn pause(number: u64) {
    thread::sleep(Duration::from_nanos(Chance::of(number, 2).bits(22)));
}
