//! Actors for random schedules: threads that each have a token, do one operation at a time and
//! report its outcome.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses a part of this module"
)]

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::mpsc;

use proptest::prelude::ProptestConfig;
use taskgroup::CancelToken;

use super::support::LONG;

pub(crate) const ACTORS: usize = 4;

/// How many schedules of each kind are run.
pub(crate) fn runs() -> ProptestConfig {
    ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// An operation for an actor to do, on the state that it keeps.
type Command<'a, S> = Box<dyn FnOnce(&mut S) + Send + 'a>;

/// The actors of one schedule, each with a state of its own, and their reports.
pub(crate) struct Stage<'a, S, R> {
    actors: Vec<mpsc::Sender<Command<'a, S>>>,
    tokens: Vec<CancelToken>,
    report: mpsc::Sender<(usize, R)>,
    reports: mpsc::Receiver<(usize, R)>,
}

impl<'a, S, R: Ord + Debug + Send + 'a> Stage<'a, S, R> {
    /// Runs `script`, then cancels everything.
    pub(crate) fn run(make: impl Fn() -> S + Sync, script: impl FnOnce(&mut Self))
    where
        S: 'a,
    {
        std::thread::scope(|threads| {
            let (report, reports) = mpsc::channel();
            let mut stage = Stage {
                actors: Vec::new(),
                tokens: vec![CancelToken::new(); ACTORS],
                report,
                reports,
            };
            for _ in 0..ACTORS {
                let (tell, told) = mpsc::channel::<Command<'a, S>>();
                let make = &make;
                threads.spawn(move || {
                    let mut state = make();
                    for command in told {
                        command(&mut state);
                    }
                });
                stage.actors.push(tell);
            }
            // The actors are also released if the script fails, so that a failure is no hang.
            struct Cancel(Vec<CancelToken>);
            impl Drop for Cancel {
                fn drop(&mut self) {
                    self.0.iter().for_each(|token| _ = token.cancel());
                }
            }
            let outcome =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| script(&mut stage)));
            drop(Cancel(stage.tokens));
            drop(stage.actors);
            if let Err(payload) = outcome {
                std::panic::resume_unwind(payload);
            }
        });
    }

    /// Lets an idle actor begin an operation in a scope of its own. The actor reports the value
    /// that the operation returns.
    pub(crate) fn begin(&mut self, actor: usize, operation: impl FnOnce(&mut S) -> R + Send + 'a) {
        self.tokens[actor] = CancelToken::new();
        self.act(actor, operation);
    }

    /// Like `begin`, but in the scope of the actor's last operation, which may be cancelled.
    pub(crate) fn act(&mut self, actor: usize, operation: impl FnOnce(&mut S) -> R + Send + 'a) {
        let (token, report) = (self.tokens[actor].clone(), self.report.clone());
        let command = move |state: &mut S| {
            let outcome = token.run(|| operation(state));
            // A script that has failed no longer receives.
            let _ = report.send((actor, outcome));
        };
        self.actors[actor]
            .send(Box::new(command))
            .expect("the actor is there");
    }

    /// Returns a function with which an actor reports in the middle of an operation.
    pub(crate) fn reporter(&self, actor: usize) -> impl Fn(R) + Send + use<'a, S, R> {
        let report = self.report.clone();
        move |outcome| drop(report.send((actor, outcome)))
    }

    /// Cancels the scope of the actor's last operation.
    pub(crate) fn cancel(&self, actor: usize) {
        self.tokens[actor].cancel();
    }

    /// Waits for as many reports as are expected, and asserts that they are those.
    #[track_caller]
    pub(crate) fn expect(&self, expected: BTreeSet<(usize, R)>) {
        let next = || {
            self.reports
                .recv_timeout(LONG)
                .unwrap_or_else(|_| panic!("not all came of {expected:?}"))
        };
        let reported: BTreeSet<_> = expected.iter().map(|_| next()).collect();
        assert_eq!(reported, expected);
    }

    /// Asserts that no other report has come.
    #[track_caller]
    pub(crate) fn expect_no_more(&self) {
        assert!(
            self.reports.try_recv().is_err(),
            "an actor made a report that was not expected"
        );
    }
}
