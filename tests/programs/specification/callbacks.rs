//! Callbacks and hooks.

use super::super::taskgroup::TaskStatus;
use super::*;

impl History<'_> {
    pub(super) fn callbacks(&self) -> Verdict {
        let mut calls: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        let mut removed: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for entry in self.entries {
            match entry.what {
                What::Called { callback } | What::Finished { callback, .. } => {
                    calls.entry(callback).or_default().push(entry.begin);
                }
                What::Unregistered { callback } => {
                    _ = removed.insert(callback, (entry.begin, entry.end));
                }
                _ => {}
            }
        }

        let calls_of = |callback| calls.get(&callback).map_or(&[][..], Vec::as_slice);
        for entry in self.entries {
            match entry.what {
                What::Registered { callback, token } => {
                    let removed = removed.get(&callback).unwrap_or(&(NEVER, NEVER));
                    self.called_by_cancel(entry, token, calls_of(callback), *removed)?;
                }
                What::OnFinished { callback, .. } => {
                    let times = calls_of(callback).len();
                    ensure!(times == 1, "callback", "{entry:?} was called {times} times");
                }
                What::Finished { callback, status } => self.told_status(callback, status)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// A callback of a token runs once if the token is cancelled before its guard is dropped, from
    /// `begin` to `end`, and otherwise not.
    fn called_by_cancel(
        &self,
        entry: &Entry,
        token: Node,
        calls: &[u64],
        (begin, end): (u64, u64),
    ) -> Verdict {
        let times = calls.len();
        ensure!(times <= 1, "callback", "{entry:?} was called {times} times");
        ensure!(
            times == 0 || self.may(token, end),
            "callback",
            "{entry:?} was called without a cancel"
        );
        ensure!(
            times == 1 || self.must(token) >= begin,
            "callback",
            "{entry:?} was not called"
        );
        let late = calls.first().is_some_and(|called| *called > end);
        ensure!(
            !late,
            "callback",
            "{entry:?} was called after its guard was dropped"
        );
        Ok(())
    }

    /// The callback of a task was told a status that the task can have ended with.
    fn told_status(&self, callback: u64, status: TaskStatus) -> Verdict {
        for registered in self.entries {
            if let What::OnFinished {
                callback: of, task, ..
            } = registered.what
            {
                let allowed = self.statuses(task);
                let right = of != callback || allowed.contains(&status);
                ensure!(
                    right,
                    "status",
                    "a callback was told {status:?}, of a task that ended with {allowed:?}"
                );
            }
        }
        Ok(())
    }

    pub(super) fn hooks(&self) -> Verdict {
        for entry in self.entries {
            let What::Hooked { hook } = entry.what else {
                continue;
            };
            let runs = || {
                self.entries
                    .iter()
                    .filter(|run| matches!(run.what, What::HookRan { hook: of } if of == hook))
            };
            let times = runs().count();
            ensure!(times <= 1, "hook", "{entry:?} ran {times} times");
            ensure!(
                times == 0 || self.may(entry.scope, entry.end),
                "hook",
                "{entry:?} ran without a cancel"
            );
            ensure!(
                times == 1 || self.must(entry.scope) >= entry.begin,
                "hook",
                "{entry:?} did not run"
            );
            let late = runs().any(|run| run.begin > entry.end);
            ensure!(!late, "hook", "{entry:?} ran after the region was over");
        }
        Ok(())
    }
}
