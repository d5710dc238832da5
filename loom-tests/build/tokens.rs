//! Rust as a flat list of tokens, with the statements that they form.

use std::ops::Range;
use std::str::FromStr;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A token, or one of the two delimiters of a group.
#[derive(Debug)]
pub(super) struct Token {
    /// Its text; a doc comment is the attribute that it stands for.
    pub(super) text: String,
    /// Its bytes.
    pub(super) span: Range<usize>,
    /// The delimiter that opens the innermost group around it.
    pub(super) open: Option<usize>,
    /// The other delimiter of its group; of any other token, the token itself.
    pub(super) partner: usize,
}

/// A text and its tokens.
#[derive(Debug)]
pub(super) struct Code<'a> {
    /// The text.
    pub(super) text: &'a str,
    /// Its tokens, in order.
    pub(super) tokens: Vec<Token>,
}

/// The first words of an item, or of a statement that ends with its block.
const ENDS_WITH_ITS_BLOCK: [&str; 20] = [
    "{",
    "'",
    "if",
    "match",
    "for",
    "while",
    "loop",
    "unsafe",
    "fn",
    "impl",
    "mod",
    "struct",
    "enum",
    "trait",
    "use",
    "type",
    "static",
    "const",
    "extern",
    "macro_rules",
];

impl<'a> Code<'a> {
    /// Reads `text`, or says why it is not Rust.
    pub(super) fn parse(text: &'a str) -> Result<Code<'a>, String> {
        let stream = TokenStream::from_str(text).map_err(|error| error.to_string())?;
        let mut code = Code {
            text,
            tokens: Vec::new(),
        };
        code.flatten(stream, None);
        Ok(code)
    }

    fn flatten(&mut self, stream: TokenStream, open: Option<usize>) {
        for tree in stream {
            let TokenTree::Group(group) = tree else {
                let partner = self.tokens.len();
                let (text, span) = (tree.to_string(), tree.span().byte_range());
                self.push(text, span, open, partner);
                continue;
            };
            let (left, right) = match group.delimiter() {
                Delimiter::Parenthesis => ("(", ")"),
                Delimiter::Brace => ("{", "}"),
                Delimiter::Bracket => ("[", "]"),
                Delimiter::None => ("", ""),
            };
            let first = self.tokens.len();
            self.push(left.into(), group.span_open().byte_range(), open, first);
            self.flatten(group.stream(), Some(first));
            let last = self.tokens.len();
            self.push(right.into(), group.span_close().byte_range(), open, first);
            self.tokens[first].partner = last;
        }
    }

    fn push(&mut self, text: String, span: Range<usize>, open: Option<usize>, partner: usize) {
        self.tokens.push(Token {
            text,
            span,
            open,
            partner,
        });
    }

    /// The text of a token; empty where there is none.
    pub(super) fn at(&self, index: usize) -> &str {
        self.tokens.get(index).map_or("", |token| &token.text)
    }

    /// The bytes of a range of tokens that is not empty.
    pub(super) fn span(&self, tokens: &Range<usize>) -> Range<usize> {
        self.tokens[tokens.start].span.start..self.tokens[tokens.end - 1].span.end
    }

    /// The line of a byte, from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        1 + self.text[..at].matches('\n').count()
    }

    /// The tokens inside of the group that `open` begins; all of them if it is none.
    pub(super) fn group(&self, open: Option<usize>) -> Range<usize> {
        open.map_or(0..self.tokens.len(), |open| {
            open + 1..self.tokens[open].partner
        })
    }

    /// The first token of a statement after its attributes and its visibility.
    pub(super) fn keyword(&self, mut at: usize) -> usize {
        loop {
            at = match (self.at(at), self.at(at + 1)) {
                ("#", "[") => self.tokens[at + 1].partner + 1,
                ("pub", "(") => self.tokens[at + 1].partner + 1,
                ("pub", _) => at + 1,
                _ => return at,
            }
        }
    }

    /// The statement, item, arm or field that begins with the token `first`, with its semicolon.
    pub(super) fn statement(&self, first: usize) -> Range<usize> {
        let end = self.group(self.tokens[first].open).end;
        let keyword = self.keyword(first);
        let ends_with_block = ENDS_WITH_ITS_BLOCK.contains(&self.at(keyword));
        let has_commas = ends_with_block || self.at(keyword) == "let";
        let mut at = keyword;
        while at < end {
            match self.at(at) {
                ";" => return first..at + 1,
                "," if !has_commas => return first..at,
                "{" => {
                    let is_last = ends_with_block
                        || self.ends_with(at, &["=", ">"])
                        || self.ends_with(at, &["!"]);
                    at = self.tokens[at].partner + 1;
                    let goes_on = [".", "?", "else", ";", "=", "in"].contains(&self.at(at));
                    if is_last && (at >= end || !goes_on) {
                        return first..at;
                    }
                }
                _ => at = self.tokens[at].partner.max(at) + 1,
            }
        }
        first..end
    }

    fn ends_with(&self, end: usize, texts: &[&str]) -> bool {
        let from = end.checked_sub(texts.len());
        from.is_some_and(|from| (from..end).map(|at| self.at(at)).eq(texts.iter().copied()))
    }

    /// The statement that a token stands in: the one of the innermost block around it.
    pub(super) fn statement_around(&self, token: usize) -> Range<usize> {
        let mut open = self.tokens[token].open;
        while let Some(group) = open.filter(|&group| self.at(group) != "{") {
            open = self.tokens[group].open;
        }
        let block = self.group(open);
        let mut at = block.start;
        while at < block.end {
            let statement = self.statement(at);
            if statement.contains(&token) {
                return statement;
            }
            let end = statement.end.max(at + 1);
            at = end + usize::from(self.at(end) == ",");
        }
        block
    }

    /// The part of a statement that is run: of an arm, what comes after its arrow, and of a
    /// `return`, its value.
    pub(super) fn run(&self, statement: &Range<usize>) -> Range<usize> {
        let mut start = self.keyword(statement.start);
        let mut at = start;
        if !ENDS_WITH_ITS_BLOCK.contains(&self.at(start)) {
            while at < statement.end {
                if self.at(at) == "=" && self.at(at + 1) == ">" {
                    start = at + 2;
                    break;
                }
                at = self.tokens[at].partner.max(at) + 1;
            }
        }
        if self.at(start) == "return" {
            let end = statement.end - usize::from(self.at(statement.end - 1) == ";");
            return start + 1..end;
        }
        start..statement.end
    }

    /// Where the tokens of `part` stand among `tokens`. A comma before a closing delimiter is none:
    /// rustfmt adds and removes them.
    pub(super) fn find(&self, tokens: &Range<usize>, part: &Code<'_>) -> Vec<Range<usize>> {
        let here = self.without_last_commas(tokens.clone());
        let part: Vec<&str> = part
            .without_last_commas(0..part.tokens.len())
            .iter()
            .map(|&index| part.at(index))
            .collect();
        if part.is_empty() {
            return Vec::new();
        }
        here.windows(part.len())
            .filter(|window| {
                window
                    .iter()
                    .map(|&index| self.at(index))
                    .eq(part.iter().copied())
            })
            .map(|window| window[0]..window[window.len() - 1] + 1)
            .collect()
    }

    fn without_last_commas(&self, tokens: Range<usize>) -> Vec<usize> {
        tokens
            .filter(|&at| self.at(at) != "," || ![")", "]", "}"].contains(&self.at(at + 1)))
            .collect()
    }
}
