//! The waker of a thread, where scopes are nested.

use std::io::Read;
use std::sync::mpsc::channel;

use taskgroup::CancelToken;
use taskgroup::net::UnixStream;

use crate::meeting::{race, races, receive};

/// The late wake of an inner scope is drained in the outer scope, which sees its own cancel.
#[test]
fn a_late_wake_does_not_hide_the_next_cancel() {
    let (near, _far) = UnixStream::pair().unwrap();
    let (inner_tokens, for_opponent) = channel::<CancelToken>();
    let cancel_inner = move |_| {
        // Without a token, an assertion below has failed.
        receive(&for_opponent).inspect(|inner| _ = inner.cancel());
    };
    let read_twice = |number| {
        let inner = CancelToken::new();
        inner_tokens.send(inner.clone()).unwrap();
        let first = inner.run(|| (&near).read(&mut [0]));
        assert!(first.is_err(), "race {number}");
        // No byte ever comes: only the second cancel ends this.
        (&near).read(&mut [0])
    };
    race(races(5_000), cancel_inner, read_twice, |number, read| {
        assert_eq!(read, None, "race {number}");
    });
}
