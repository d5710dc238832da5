//! The text of an error with its sources, on one line.

use super::TaskError;
use super::chain::chain;
use super::text::{one_line, shortened};

/// Returns the text of an error and of its sources, each after a colon, on one line. A text that
/// stands in one further out is not repeated.
pub(crate) fn line_of<E: TaskError>(error: &E) -> String {
    let mut texts = vec![one_line(error)];
    for source in error.as_error().into_iter().flat_map(chain) {
        let text = one_line(&source);
        if !texts.iter().any(|outer| outer.contains(&text)) {
            texts.push(text);
        }
    }

    shortened(texts.join(": "))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn sources_follow_and_nothing_is_repeated() {
        let refused = std::io::Error::other("refused\nby the peer");
        let error = anyhow::Error::new(refused).context("connecting");
        assert_eq!(line_of(&error), "connecting: refused by the peer");
        assert_eq!(line_of(&std::io::Error::other("alone")), "alone");
    }
}
