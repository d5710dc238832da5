//! Callbacks and hooks.

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
                    _ = removed.insert(callback, (entry.begin, entry.end))
                }
                _ => {}
            }
        }
        for entry in self.entries {
            match entry.what {
                What::Registered { callback, token } => {
                    let times = calls.get(&callback).map_or(0, Vec::len);
                    let &(begin, end) = removed.get(&callback).unwrap_or(&(NEVER, NEVER));
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
                    let late = calls
                        .get(&callback)
                        .and_then(|calls| calls.first())
                        .is_some_and(|called| *called > end);
                    ensure!(
                        !late,
                        "callback",
                        "{entry:?} was called after its guard was dropped"
                    );
                }
                What::OnFinished { callback, .. } => {
                    let times = calls.get(&callback).map_or(0, Vec::len);
                    ensure!(times == 1, "callback", "{entry:?} was called {times} times");
                }
                _ => {}
            }
        }
        for entry in self.entries {
            let What::Finished { callback, status } = entry.what else {
                continue;
            };
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
