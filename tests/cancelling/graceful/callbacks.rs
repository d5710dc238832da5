//! Callbacks and hooks of a region that winds down.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use taskgroup::{CancelToken, current_token, winding_down, with_cancel_hook};

use super::SHORT;
use crate::support::LONG;

#[test]
fn callbacks_run_with_the_cancel_and_in_a_region_at_its_end() {
    let (token, runs) = (CancelToken::new(), mpsc::channel());
    let (outer, inner) = (runs.0.clone(), runs.0);
    let _outer = token.on_cancel(move || outer.send("outer").expect("the test waits"));
    token.run(|| {
        winding_down(|| {
            let region = current_token().expect("a region has one");
            let _inner = region.on_cancel(move || inner.send("region").expect("the test waits"));
            token.cancel_gracefully(LONG);
            assert_eq!(runs.1.try_recv(), Ok("outer"));
            assert!(runs.1.try_recv().is_err(), "the grace is not over");
            // No thread checks the clock here.
            token.cancel_gracefully(SHORT);
            assert_eq!(runs.1.recv_timeout(LONG), Ok("region"));
            assert!(!token.cancel(), "it was cancelled already");
        });
    });
    assert!(runs.1.try_recv().is_err(), "each runs once");
}

#[test]
fn a_hook_in_a_region_fires_when_the_grace_ends() {
    for second in [None, Some(())] {
        let token = CancelToken::new();
        let (wake, asleep) = mpsc::channel();
        let fired = AtomicUsize::new(0);
        token.run(|| {
            winding_down(|| {
                let hook = || {
                    fired.fetch_add(1, Ordering::Relaxed);
                    wake.send(()).expect("the region waits");
                };
                with_cancel_hook(hook, || {
                    token.cancel_gracefully(if second.is_some() { LONG } else { SHORT });
                    second.map(|()| token.cancel());
                    assert_eq!(asleep.recv_timeout(LONG), Ok(()));
                });
            });
        });
        assert_eq!(fired.into_inner(), 1);
    }
}
