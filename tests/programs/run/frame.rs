//! A task on its thread: it does the steps of its block, one after the other.

use super::bindings::{Binding, check_bound};
use super::*;

/// A task on its thread: its scope, its ends of channels, and the entries that it has not yet
/// written into the ledger.
pub(super) struct Frame {
    pub(super) world: Arc<World>,
    pub(super) task: Node,
    pub(super) scope: std::cell::Cell<Node>,
    pub(super) entries: RefCell<Vec<Entry>>,
    pub(super) ends: RefCell<Ends>,
    pub(super) ready: RefCell<Option<Ready<Handed>>>,
    /// The scoped value that is bound here.
    pub(super) bound: std::cell::Cell<Binding>,
}

impl Drop for Frame {
    fn drop(&mut self) {
        self.world.ledger.extend(self.entries.get_mut());
    }
}

impl Frame {
    pub(super) fn new(world: &Arc<World>, task: Node, ends: Ends, bound: Binding) -> Frame {
        check_bound(bound);
        Frame {
            world: world.clone(),
            task,
            scope: std::cell::Cell::new(task),
            entries: RefCell::default(),
            ends: RefCell::new(ends),
            ready: RefCell::default(),
            bound: std::cell::Cell::new(bound),
        }
    }

    pub(super) fn now(&self) -> u64 {
        self.world.ledger.now()
    }

    pub(super) fn write(&self, begin: u64, what: What) {
        let end = self.now();
        self.entries.borrow_mut().push(Entry {
            task: self.task,
            scope: self.scope.get(),
            begin,
            end,
            what,
        });
    }

    pub(super) fn note(&self, what: What) {
        self.write(self.now(), what);
    }

    pub(super) fn value(&self, act: Act) -> Value {
        Value::new(&self.world, act)
    }

    /// A blocking point that a cancel alone keeps from being passed.
    pub(super) fn point<T>(
        &self,
        name: &'static str,
        call: impl FnOnce() -> std::result::Result<T, Cancelled>,
    ) -> Result<T> {
        self.point_that(name, false, call)
    }

    pub(super) fn forever<T>(
        &self,
        name: &'static str,
        call: impl FnOnce() -> std::result::Result<T, Cancelled>,
    ) -> Result {
        self.point_that(name, true, call).map(drop)
    }

    pub(super) fn point_that<T>(
        &self,
        name: &'static str,
        forever: bool,
        call: impl FnOnce() -> std::result::Result<T, Cancelled>,
    ) -> Result<T> {
        let begin = self.now();
        let result = call();
        self.write_point(begin, name, seen_by(&result), forever);
        Ok(result?)
    }

    pub(super) fn write_point(&self, begin: u64, name: &'static str, seen: Seen, forever: bool) {
        let what = What::Point {
            name,
            seen,
            forever,
        };
        self.write(begin, what);
    }

    /// Calls `run` as the inside of a scope that is opened by it.
    pub(super) fn region<T>(&self, kind: Kind, more: &[Node], run: impl FnOnce() -> T) -> T {
        struct Back<'a>(&'a Frame, Node);
        impl Drop for Back<'_> {
            fn drop(&mut self) {
                self.0.scope.set(self.1);
            }
        }
        let (outer, inner) = (self.scope.get(), self.now());
        let parents = [outer].into_iter().chain(more.iter().copied()).collect();
        let _back = Back(self, outer);
        self.scope.set(inner);
        self.note(What::Opened {
            kind,
            parents,
            token: None,
        });
        run()
    }

    pub(super) fn fail(&self) -> Result {
        Err(Fault(self.now()).into())
    }

    pub(super) fn panic(&self) -> ! {
        panic_any(Fault(self.now()).to_string())
    }

    /// Runs a block to its end, and returns the outcome of the task, or of the body of a group.
    pub(super) fn block(&self, level: &dyn Opened, block: &Block) -> Result {
        match self.steps(level, &block.steps) {
            Err(error) if error.cancelled().is_some() => match block.when_cut {
                WhenCut::Return => Err(error),
                WhenCut::Swallow => Ok(()),
                WhenCut::Fail => self.fail(),
                WhenCut::Panic => self.panic(),
            },
            other => other,
        }
    }

    /// How a closure ended, and the same with its error marked by a fault.
    #[allow(clippy::type_complexity, reason = "the result of a caught call")]
    pub(super) fn outcome<T>(
        &self,
        result: std::thread::Result<Result<T>>,
    ) -> (Outcome, std::thread::Result<Result<T>>) {
        match result {
            Ok(Ok(value)) => (Outcome::Value, Ok(Ok(value))),
            Ok(Err(error)) => {
                if let Some(cancelled) = error.cancelled() {
                    let fault = self.now();
                    let cut = cut(cancelled);
                    let own = taskgroup::current_token().map(|token| token.id());
                    (
                        Outcome::Cut { fault, cut, own },
                        Ok(Err(error.context(Fault(fault)))),
                    )
                } else {
                    // An error that a task passes on is another failure.
                    let fault = match error.is::<Fault>() && error.chain().count() == 1 {
                        true => error.downcast_ref::<Fault>().map_or(0, |fault| fault.0),
                        false => self.now(),
                    };
                    (Outcome::Failed(fault), Ok(Err(error.context(Fault(fault)))))
                }
            }
            Err(payload) => {
                let text = payload.downcast_ref::<String>().map(String::as_str);
                let Some(fault) = text.and_then(|text| number_in(text, "fault ")) else {
                    resume_unwind(payload)
                };
                (Outcome::Panicked(fault), Err(payload))
            }
        }
    }
}
