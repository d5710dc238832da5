//! Looking names up.
//!
//! No system call of a resolver can be woken, so a look-up runs on a thread that may be left
//! behind. While its resolver hangs, the thread stays. So that a resolver that always hangs does
//! not collect threads, only [`MOST`] look-ups run at once.
//!
//! Invariant: a look-up holds a place from before its thread starts until its resolver has
//! answered, even if the asker has gone. The place is an owned value of the thread, and is freed by
//! its drop: once, however the look-up ends.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};

use super::addrs::sealed::Host;
use super::addrs::{Addresses, ToSocketAddrs};
use crate::blocking::abandon_as;
use crate::cancel::{Cancelled, context};
use crate::facade::per_process;
use crate::sync::Semaphore;
use crate::waiting::WaitKind;

/// How many names are looked up at once.
const MOST: usize = 8;

per_process! {
    static PLACES: Semaphore = Semaphore::new(MOST);
}

/// Returns the socket addresses of `host`, like std's
/// [`to_socket_addrs`](std::net::ToSocketAddrs::to_socket_addrs).
///
/// A numeric address is returned as it is. A name is looked up on a thread of its own, since the
/// resolver of the system cannot be woken. At most 8 names are looked up at once, by all threads of
/// the process; other look-ups wait for their turn. Calls that take a name, such as
/// [`TcpStream::connect`](super::TcpStream::connect), look it up in the same way.
///
/// # Cancellation
///
/// A blocking point. If the scope is cancelled while the resolver works, `lookup` returns
/// immediately and the thread is left behind. [`abandoned`](crate::abandoned) lists it, under a
/// name such as `lookup example.org`, until the resolver answers. That answer is dropped.
///
/// If the system refuses a thread, the calling thread does the look-up, which then cannot be
/// cancelled.
///
/// # Errors
///
/// The errors of std, or the cancel of the scope.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// let addresses = taskgroup::net::lookup(("127.0.0.1", 80))?;
/// assert_eq!(addresses, ["127.0.0.1:80".parse().unwrap()]);
/// # Ok(())
/// # }
/// ```
#[track_caller]
pub fn lookup<A: ToSocketAddrs>(host: A) -> io::Result<Vec<SocketAddr>> {
    // For addresses too: a look-up is a blocking point whatever it is given.
    context::check()?;

    resolve(host).map(Addresses::into_vec)
}

/// Like [`lookup`], but not a blocking point if there is no name to look up.
#[track_caller]
pub(super) fn resolve<A: ToSocketAddrs>(host: A) -> io::Result<Addresses> {
    match host.to_host()? {
        Host::Known(addresses) => Ok(addresses),
        Host::Name { name, port } => {
            // Owns what it uses, since it may outlive this call.
            let ask = move |name: &str| -> io::Result<Vec<SocketAddr>> {
                Ok((name, port).to_socket_addrs()?.collect())
            };
            on_a_thread(&PLACES, name, ask)?.map(Addresses::Several)
        }
    }
}

/// Asks for `name` on a thread that may be left behind, once there is a place.
#[track_caller]
fn on_a_thread<T: Send + 'static>(
    places: &'static Semaphore,
    name: String,
    ask: impl FnOnce(&str) -> T + Send + 'static,
) -> Result<T, Cancelled> {
    // Waits here, and not on a thread of its own: a cancel ends this wait.
    let place = places.acquire_as(WaitKind::Lookup)?;

    abandon_as(WaitKind::Lookup, format!("lookup {name}"), move || {
        let answer = ask(&name);
        // The invariant: not before the resolver has answered. A closure that never runs drops it
        // too.
        drop(place);
        answer
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;
    use crate::{CancelToken, TaskGroup};

    /// A resolver that answers when it is told to, and then counts as gone.
    struct Resolver {
        answer: mpsc::Sender<()>,
        asked: mpsc::Receiver<()>,
    }

    impl Resolver {
        fn new() -> (Self, impl FnOnce(&str) -> u32 + Send + 'static) {
            let (answer, answered) = mpsc::channel();
            let (ask, asked) = mpsc::channel();
            let resolve = move |_: &str| {
                ask.send(()).expect("the test waits");
                answered.recv().expect("the test answers");
                7
            };
            (Resolver { answer, asked }, resolve)
        }
    }

    fn until(mut condition: impl FnMut() -> bool) {
        while !condition() {
            thread::yield_now();
        }
    }

    /// Leaves a look-up of `name` behind.
    fn leave_one_behind(places: &'static Semaphore, name: &'static str) -> Resolver {
        let (resolver, resolve) = Resolver::new();
        let token = CancelToken::new();
        thread::scope(|threads| {
            let asker =
                threads.spawn(|| token.run(|| on_a_thread(places, name.to_owned(), resolve)));
            resolver.asked.recv().expect("the resolver is asked");
            token.cancel();
            asker
                .join()
                .expect("no panic")
                .expect_err("it is cancelled");
        });
        resolver
    }

    fn is_listed(name: &str) -> bool {
        let name = format!("lookup {name}");
        crate::abandoned()
            .iter()
            .any(|thread| thread.name.as_ref() == Some(&name))
    }

    #[test]
    fn a_resolver_that_hangs_is_left_behind_and_listed() {
        static PLACES: Semaphore = Semaphore::new(MOST);

        let resolver = leave_one_behind(&PLACES, "stuck.test");
        assert!(is_listed("stuck.test"));
        assert_eq!(PLACES.available(), MOST - 1);

        resolver.answer.send(()).unwrap();
        until(|| !is_listed("stuck.test"));
        assert_eq!(PLACES.available(), MOST);
    }

    #[test]
    fn the_ninth_waits_for_a_place_and_goes_on_when_one_is_free() {
        static PLACES: Semaphore = Semaphore::new(MOST);

        let names = ["1", "2", "3", "4", "5", "6", "7", "8"];
        let stuck: Vec<_> = names.map(|name| leave_one_behind(&PLACES, name)).into();
        assert_eq!(PLACES.available(), 0);

        let asked = TaskGroup::scope(|g| {
            let ninth = g.spawn(|| Ok(on_a_thread(&PLACES, "9".to_owned(), str::len)?));
            // A cancel ends the wait for a place as well.
            let token = CancelToken::new();
            let tenth = g.spawn({
                let token = token.clone();
                move || {
                    Ok(token
                        .run(|| on_a_thread(&PLACES, "10".to_owned(), str::len))
                        .is_err())
                }
            });
            until(|| format!("{PLACES:?}").contains("waiting: 2"));
            token.cancel();
            assert!(tenth.join()?);

            stuck[0].answer.send(()).unwrap();
            Ok(ninth.join()?)
        });
        assert_eq!(asked.unwrap(), 1);

        stuck[1..]
            .iter()
            .for_each(|one| one.answer.send(()).unwrap());
        until(|| PLACES.available() == MOST);
    }

    #[test]
    fn a_place_is_freed_once_in_either_order() {
        static PLACES: Semaphore = Semaphore::new(1);

        for _ in 0..200 {
            let (resolver, resolve) = Resolver::new();
            let token = CancelToken::new();
            thread::scope(|threads| {
                let asker =
                    threads.spawn(|| token.run(|| on_a_thread(&PLACES, "both".into(), resolve)));
                resolver.asked.recv().expect("the resolver is asked");
                // The answer and the cancel race.
                threads.spawn(|| token.cancel());
                resolver.answer.send(()).unwrap();
                let answer = asker.join().expect("no panic");
                assert!(answer.is_err() || answer == Ok(7));
            });
            until(|| PLACES.available() == 1);
        }
    }
}
