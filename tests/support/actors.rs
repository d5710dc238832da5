//! Actors for random schedules: threads with a token each, which do one operation at a time and
//! report how it ended.
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

/// What an actor is told to do, with what it keeps.
type Command<'a, S> = Box<dyn FnOnce(&mut S) + Send + 'a>;

/// The actors of one schedule, each with a state of its own, and what they have reported.
pub(crate) struct Stage<'a, S, R> {
    actors: Vec<mpsc::Sender<Command<'a, S>>>,
    tokens: Vec<CancelToken>,
    report: mpsc::Sender<(usize, R)>,
    reports: mpsc::Receiver<(usize, R)>,
}

impl<'a, S, R: Ord + Debug + Send + 'a> Stage<'a, S, R> {
    /// Runs `script`; in the end everything is cancelled.
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
            // What blocks is let go also where the script fails, so that a failure is no hang.
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

    /// Has an actor that does nothing begin an operation in a scope of its own; what it returns is
    /// reported.
    pub(crate) fn begin(&mut self, actor: usize, operation: impl FnOnce(&mut S) -> R + Send + 'a) {
        self.tokens[actor] = CancelToken::new();
        self.act(actor, operation);
    }

    /// As `begin`, in the scope of the actor's last operation, which may have been cancelled.
    pub(crate) fn act(&mut self, actor: usize, operation: impl FnOnce(&mut S) -> R + Send + 'a) {
        let (token, report) = (self.tokens[actor].clone(), self.report.clone());
        let command = move |state: &mut S| {
            let outcome = token.run(|| operation(state));
            // The script has gone if it has failed.
            let _ = report.send((actor, outcome));
        };
        self.actors[actor]
            .send(Box::new(command))
            .expect("the actor is there");
    }

    /// For what an actor has to tell in the middle of an operation.
    pub(crate) fn reporter(&self, actor: usize) -> impl Fn(R) + Send + use<'a, S, R> {
        let report = self.report.clone();
        move |outcome| drop(report.send((actor, outcome)))
    }

    pub(crate) fn cancel(&self, actor: usize) {
        self.tokens[actor].cancel();
    }

    /// Waits for as many reports as are expected, which must be these.
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

    /// Nobody has anything to say that was not expected.
    #[track_caller]
    pub(crate) fn expect_no_more(&self) {
        assert!(
            self.reports.try_recv().is_err(),
            "somebody reported what was not expected"
        );
    }
}
