//! A group that is opened: its options, its body, and what the scope returned.

use super::level::Level;
use super::*;

impl Frame {
    /// Opens a group inside of this frame, runs its body, and writes what the scope returned.
    pub(super) fn open(
        &self,
        outer: Option<&dyn Opened>,
        group: &Group,
    ) -> std::result::Result<(), GroupError> {
        let world = &self.world;
        let node = self.now();
        let around = self.scope.get();
        let mut builder = built(group);
        let mut parents = vec![around];
        if let Some(token) = group.parent {
            builder = builder.parent(&world.tokens[token].0);
            parents.push(world.tokens[token].1);
        }

        let begin = self.now();
        let result = caught(|| {
            builder.scope(|g| {
                self.write_opened(node, group, parents, g.token().id());
                self.scope.set(node);
                let level = Level::new(g, node, outer, self);
                if let Some(act) = group.release {
                    let (world, value) = (world.clone(), self.value(Act::Nothing));
                    g.on_release(move || {
                        let _value = value;
                        world.ledger.note(What::Released { group: node });
                        perform(&world, act, Some(node));
                        Ok(())
                    });
                }
                self.body(&level, node, &group.body)
            })
        });

        self.scope.set(around);
        let what = match &result {
            Ok(Ok(())) => What::Value { group: node },
            Ok(Err(error)) => report(node, error),
            Err(_) => What::Panic { group: node },
        };
        self.write(begin, what);
        result.unwrap_or_else(|payload| resume_unwind(payload))
    }

    /// Writes that a group was opened. The entry is the first of the group's own scope.
    fn write_opened(&self, node: Node, group: &Group, parents: Vec<Node>, token: TokenId) {
        let opened = self.now();
        let fatal = if group.collects {
            Fatal::None
        } else {
            Fatal::All
        };
        let kind = Kind::Group {
            limit: group.limit,
            fatal,
            past: group.deadline == Deadline::Past,
        };
        self.entries.borrow_mut().push(Entry {
            task: self.task,
            scope: node,
            begin: opened,
            end: opened,
            what: What::Opened {
                kind,
                parents,
                token: Some(token),
            },
        });
    }

    /// Runs the body of a group, and writes how it ended.
    fn body(&self, level: &dyn Opened, node: Node, body: &Block) -> Result {
        let begin = self.now();
        let result = caught(|| self.block(level, body));
        let (outcome, result) = self.outcome(result);
        self.write(
            begin,
            What::Body {
                group: node,
                outcome,
            },
        );
        result.unwrap_or_else(|payload| resume_unwind(payload))
    }
}

/// A builder with the options of a group, except for its parent.
fn built(group: &Group) -> Builder {
    let mut builder = TaskGroup::builder();
    if let Some(limit) = group.limit {
        builder = builder.limit(limit);
    }
    if group.collects {
        builder = builder.on_failure(OnFailure::Collect);
    }
    match group.deadline {
        Deadline::None => builder,
        Deadline::Past => builder.deadline(Instant::now()),
        Deadline::Far => builder.timeout(HOUR),
    }
}
