//! The drawing of a report, which shows which task failed, where it was spawned and why.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::{self, Display, Write as _};
use std::sync::Arc;

use super::chain::chain;
use super::text::text_of;
use crate::cancel::Escaped;
use crate::cancel::actor::Actor;
use crate::panics::PanicPayload;

/// A few lines of a drawing, and the nodes below them.
///
/// Reports nest as deep as scopes do, so neither drawing nor dropping recurses.
///
/// A text of the user must not pass for a line of the drawing. A heading is one line, with control
/// characters escaped. From its second line on, a text stands to the right of the column in which
/// headings and labels begin. So does a first line that begins like a branch of the drawing.
pub(super) struct TreeNode {
    lines: Vec<String>,
    children: Vec<Arc<TreeNode>>,
}

impl TreeNode {
    pub(super) fn new(heading: String) -> Self {
        TreeNode {
            // A name of the user that holds a line break must not begin a second line.
            lines: vec![Escaped(&heading).to_string()],
            children: Vec::new(),
        }
    }

    pub(super) fn add_child(&mut self, child: impl Into<Arc<TreeNode>>) {
        self.children.push(child.into());
    }

    /// Adds the texts of an error and its sources, and the drawing of a nested group if they hold
    /// one.
    pub(super) fn add_error(&mut self, text: &dyn Display, error: Option<&(dyn Error + 'static)>) {
        let mut texts = vec![text_of(text)];
        let mut nested = None;

        // The chain ends at the report of a nested group: the drawing has all that lies below it.
        for error in error.into_iter().flat_map(chain) {
            match error.downcast_ref::<Outline>() {
                Some(outline) => nested = Some(outline),
                None => texts.push(text_of(error)),
            }
        }

        // A text that stands in one further out is not repeated: many errors print their source
        // too.
        let mut shown: Vec<String> = Vec::new();
        for text in texts {
            // The drawing of the nested group has everything that its summary has.
            let in_drawing = nested.is_some_and(|outline| outline.summary == text);
            if in_drawing || shown.iter().any(|outer| outer.contains(&text)) {
                continue;
            }

            self.add_text(if shown.is_empty() { "" } else { "caused by: " }, &text);
            shown.push(text);
        }

        // Shared, since a copy at each level of nested groups would hold all levels below.
        if let Some(outline) = nested {
            self.add_child(outline.root.clone());
        }
    }

    pub(super) fn add_panic(&mut self, panic: &PanicPayload) {
        self.add_text("", panic.message());

        // The place is known only where the panic hook is installed.
        if let Some(location) = panic.location() {
            self.add_text("at ", location);
        }
    }

    fn add_text(&mut self, label: &str, text: &str) {
        let mut label = Cow::Borrowed(label);

        // Such a first line could pass for a branch of the drawing.
        if label.is_empty() && text.trim_start().starts_with(['├', '└', '│']) {
            label = Cow::Borrowed(ASIDE);
        }

        for line in text.lines() {
            self.lines.push(format!("{label}{}", Escaped(line)));

            // Further lines stand to the right of the column in which labels begin.
            label = Cow::Owned(" ".repeat(label.len().max(ASIDE.len())));
        }
    }

    fn draw_lines(&self, f: &mut fmt::Formatter<'_>, indent: &str) -> fmt::Result {
        for (i, line) in self.lines.iter().enumerate() {
            // The first line stands behind the branch, which is drawn already.
            if i > 0 {
                f.write_char('\n')?;
                f.write_str(indent)?;
            }

            f.write_str(line)?;
        }
        Ok(())
    }
}

/// The indentation that sets a text apart from the drawing.
const ASIDE: &str = "  ";

impl Display for TreeNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut indent = String::new();
        self.draw_lines(f, &indent)?;

        // The path from the root to the current node. Each entry has the children that are still to
        // be drawn, and the length of their indentation.
        let mut path = vec![(self.children.iter(), 0)];
        while let Some((children, outer)) = path.last_mut() {
            // The child before may have left a longer indentation.
            indent.truncate(*outer);
            let Some(child) = children.next() else {
                path.pop();
                continue;
            };

            // The line at the left runs on only while siblings follow.
            let (branch, below) = if children.len() > 0 {
                ("├─ ", "│  ")
            } else {
                ("└─ ", "   ")
            };

            f.write_char('\n')?;
            f.write_str(&indent)?;
            f.write_str(branch)?;
            indent.push_str(below);
            child.draw_lines(f, &indent)?;

            // The children of this child come before its siblings.
            path.push((child.children.iter(), indent.len()));
        }

        Ok(())
    }
}

impl Drop for TreeNode {
    fn drop(&mut self) {
        // Each node loses its children before it is dropped, so no drop runs inside of another.
        let mut doomed = std::mem::take(&mut self.children);
        while let Some(node) = doomed.pop() {
            // A node that another drawing still holds stays.
            if let Some(mut node) = Arc::into_inner(node) {
                doomed.append(&mut node.children);
            }
        }
    }
}

/// A group with failures, for code that cannot name its error type.
///
/// It is the `source()` of every [`GroupError`](super::GroupError) with failures. An error with
/// many causes has no single source, so code that prints a chain gets the drawing instead. This
/// type is the same for every error type of a group. So this crate recognises a group in a chain by
/// it, and draws the group as a part of another.
pub(super) struct Outline {
    pub(super) summary: String,
    pub(super) root: Arc<TreeNode>,
    /// The actors that the primary failure names.
    pub(super) traces: Vec<Arc<Actor>>,
}

impl Display for Outline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.fmt(f)
    }
}

impl fmt::Debug for Outline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.fmt(f)
    }
}

/// It has no source: a search along a chain must find nothing below a group with failures.
impl Error for Outline {}

/// Whether the error or one of its sources is the report of a group.
pub(super) fn holds_report(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(|error| error.is::<Outline>())
}

#[cfg(all(test, not(loom)))]
mod tests;
