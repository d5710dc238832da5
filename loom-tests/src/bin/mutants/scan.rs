//! Reads Rust well enough to find what can be mutated: code apart from comments and text, calls,
//! statements, and the items that the models do not compile.

use std::ops::Range;

/// A source and what is known of its text.
pub(crate) struct Source<'a> {
    pub(crate) text: &'a str,
    /// The text, byte for byte, with blanks for comments and literals.
    pub(crate) code: Vec<u8>,
    /// The line comments.
    pub(crate) comments: Vec<Range<usize>>,
    /// What only the tests, only the models or everything but the models compile.
    pub(crate) hidden: Vec<Range<usize>>,
}

/// How the attributes of what is hidden begin, without their spaces.
const HIDDEN: [&str; 8] = [
    "#[cfg(test)",
    "#[cfg(loom)",
    "#[cfg(not(loom))",
    "#[cfg(taskgroup_models)",
    "#[cfg(all(test,",
    "#[cfg(all(loom,",
    "#[cfg(all(not(loom),",
    "#[cfg(any(test,",
];

/// What an item or a statement begins with. Anything else that has a cfg is a field, a variant or
/// an arm, and ends at a comma too.
const KEYWORDS: [&str; 21] = [
    "pub",
    "fn",
    "unsafe",
    "const",
    "async",
    "extern",
    "impl",
    "mod",
    "struct",
    "enum",
    "trait",
    "use",
    "type",
    "static",
    "let",
    "macro_rules",
    "if",
    "for",
    "while",
    "match",
    "loop",
];

impl<'a> Source<'a> {
    pub(crate) fn new(text: &'a str) -> Source<'a> {
        let (code, comments) = blank(text);
        let mut source = Source {
            text,
            code,
            comments,
            hidden: Vec::new(),
        };
        source.hidden = source.find_hidden();
        source
    }

    pub(crate) fn line(&self, at: usize) -> usize {
        1 + self.text.as_bytes()[..at]
            .iter()
            .filter(|&&byte| byte == b'\n')
            .count()
    }

    pub(crate) fn is_hidden(&self, at: usize) -> bool {
        self.hidden.iter().any(|range| range.contains(&at))
    }

    /// The words of the code with their places.
    pub(crate) fn words(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut at = 0;
        std::iter::from_fn(move || {
            at += self.code[at..].iter().position(|&byte| is_word(byte))?;
            let start = at;
            at += self.code[at..]
                .iter()
                .take_while(|&&byte| is_word(byte))
                .count();
            Some((start, self.slice(start..at)))
        })
    }

    /// The code of a range; texts in it are blank.
    pub(crate) fn slice(&self, range: Range<usize>) -> &str {
        std::str::from_utf8(&self.code[range]).expect("texts and comments are blanked whole")
    }

    /// The place before `at` that is not blank.
    pub(crate) fn before(&self, at: usize) -> Option<usize> {
        self.code[..at]
            .iter()
            .rposition(|byte| !byte.is_ascii_whitespace())
    }

    /// The first place from `at` on that is not blank.
    pub(crate) fn after(&self, at: usize) -> usize {
        at + self.code[at..]
            .iter()
            .take_while(|byte| byte.is_ascii_whitespace())
            .count()
    }

    /// The bracket that closes the one at `open`.
    pub(crate) fn closing(&self, open: usize) -> Option<usize> {
        let mut depth = 0;
        (open..self.code.len()).find(|&at| {
            depth += nesting(self.code[at]);
            depth == 0
        })
    }

    /// The opening parenthesis of the call that `at` is an argument of, and the argument's index.
    pub(crate) fn call(&self, at: usize) -> Option<(usize, usize)> {
        let (mut depth, mut argument) = (0, 0);
        for place in (0..at).rev() {
            match self.code[place] {
                b'(' if depth == 0 => return Some((place, argument)),
                b'{' | b'[' if depth == 0 => return None,
                b',' if depth == 0 => argument += 1,
                byte => depth -= nesting(byte),
            }
        }
        None
    }

    /// The word that ends before `at`.
    pub(crate) fn word_before(&self, at: usize) -> &str {
        let Some(last) = self.before(at) else {
            return "";
        };
        let start = self.code[..=last]
            .iter()
            .rposition(|&byte| !is_word(byte))
            .map_or(0, |place| place + 1);
        self.slice(start..last + 1)
    }

    /// The function that `at` is in.
    pub(crate) fn function(&self, at: usize) -> Option<&str> {
        let mut words = self.words().take_while(|&(place, _)| place < at);
        let mut found = None;
        while let Some((_, word)) = words.next() {
            if word == "fn" {
                found = words.next().map(|(_, name)| name);
            }
        }
        found
    }

    /// Where the expression or statement that `at` is in begins: after a `;`, a brace or a `=>`,
    /// through any parentheses.
    pub(crate) fn start(&self, at: usize) -> usize {
        let mut depth = 0;
        for place in (0..at).rev() {
            let ends_before = match self.code[place] {
                b';' | b'{' if depth == 0 => true,
                // A block that goes on, as in `match x { .. }.wake()`, belongs to the statement.
                b'}' if depth == 0 => !matches!(
                    self.code.get(self.after(place + 1)),
                    Some(b'.' | b'?' | b';')
                ),
                b'>' if depth == 0 => self.code[..place].ends_with(b"="),
                _ => false,
            };
            if ends_before {
                return self.after(place + 1);
            }
            depth = (depth - nesting(self.code[place])).max(0);
        }
        self.after(0)
    }

    /// Where the expression or statement that `at` is in ends, before its `;`, `,` or `}`. `None`
    /// in the head of a block.
    pub(crate) fn end(&self, at: usize) -> Option<usize> {
        // The parentheses around `at`, after which the expression goes on.
        let mut depth: i32 = self.code[self.start(at)..at]
            .iter()
            .map(|&byte| nesting(byte))
            .sum();
        for place in at..self.code.len() {
            match self.code[place] {
                b'{' if depth <= 0 => return None,
                b';' | b'}' if depth <= 0 => return Some(place),
                b',' if depth == 0 => return Some(place),
                byte => depth += nesting(byte),
            }
        }
        None
    }

    fn find_hidden(&self) -> Vec<Range<usize>> {
        let attributes = (0..self.code.len()).filter(|&at| self.code[at..].starts_with(b"#["));
        attributes
            .filter_map(|start| {
                let close = self.closing(start + 1)?;
                let attribute: String = self.slice(start..close).split_whitespace().collect();
                HIDDEN
                    .iter()
                    .any(|cfg| attribute.starts_with(cfg))
                    .then(|| start..self.item_end(close + 1))
            })
            .collect()
    }

    /// The end of the item, statement, field or arm that begins at `at`, after its other
    /// attributes.
    fn item_end(&self, mut at: usize) -> usize {
        at = self.after(at);
        while self.code[at..].starts_with(b"#[") {
            let Some(close) = self.closing(at + 1) else {
                break;
            };
            at = self.after(close + 1);
        }
        let word: String = self.code[at..]
            .iter()
            .take_while(|&&byte| is_word(byte))
            .map(|&byte| char::from(byte))
            .collect();
        let ends_at_comma = !KEYWORDS.contains(&word.as_str()) && self.code.get(at) != Some(&b'{');
        let mut depth = 0;
        for place in at..self.code.len() {
            match self.code[place] {
                b';' if depth == 0 => return place + 1,
                b',' if depth == 0 && ends_at_comma => return place + 1,
                b')' | b']' | b'}' if depth == 0 => return place,
                b'}' if depth == 1 && !ends_at_comma => return place + 1,
                byte => depth += nesting(byte),
            }
        }
        self.code.len()
    }

    /// The modules whose file is hidden: those of `#[cfg(test)] mod name;`.
    pub(crate) fn hidden_modules(&self) -> Vec<&str> {
        let mut words = self.words();
        let mut modules = Vec::new();
        while let Some((at, word)) = words.next() {
            if word != "mod" || !self.is_hidden(at) {
                continue;
            }
            if let Some((place, name)) = words.next() {
                if self.code.get(self.after(place + name.len())) == Some(&b';') {
                    modules.push(name);
                }
            }
        }
        modules
    }
}

/// A text on one line, with single spaces.
pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn nesting(byte: u8) -> i32 {
    match byte {
        b'(' | b'[' | b'{' => 1,
        b')' | b']' | b'}' => -1,
        _ => 0,
    }
}

/// The text with everything that is no code as spaces, and its line comments.
fn blank(text: &str) -> (Vec<u8>, Vec<Range<usize>>) {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut comments = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => {
                let end = at
                    + bytes[at..]
                        .iter()
                        .take_while(|&&byte| byte != b'\n')
                        .count();
                comments.push(at..end);
                end
            }
            b'/' if bytes[at..].starts_with(b"/*") => block_comment(bytes, at),
            b'"' => quoted(bytes, at, b'"'),
            b'\'' => character(text, at),
            b'r' if (at == 0 || !is_word(bytes[at - 1]) || b"bc".contains(&bytes[at - 1])) => {
                raw_string(bytes, at)
            }
            _ => at,
        };
        for byte in &mut code[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.max(at + 1);
    }
    // Only names may still hold other characters, and none of them is looked for.
    code.iter_mut()
        .filter(|byte| !byte.is_ascii())
        .for_each(|byte| *byte = b'_');
    (code, comments)
}

fn block_comment(bytes: &[u8], start: usize) -> usize {
    let (mut depth, mut at) = (0, start);
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if bytes[at..].starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

fn quoted(bytes: &[u8], start: usize, quote: u8) -> usize {
    let mut at = start + 1;
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// The end of a character, or the start itself if it is a lifetime.
fn character(text: &str, start: usize) -> usize {
    let mut rest = text[start + 1..].chars();
    match (rest.next(), rest.next()) {
        (Some('\\'), _) => quoted(text.as_bytes(), start, b'\''),
        (Some(one), Some('\'')) => start + 2 + one.len_utf8(),
        _ => start,
    }
}

/// The end of a raw string, or the start itself if it is a name.
fn raw_string(bytes: &[u8], start: usize) -> usize {
    let hashes = bytes[start + 1..]
        .iter()
        .take_while(|&&byte| byte == b'#')
        .count();
    let open = start + 1 + hashes;
    if bytes.get(open) != Some(&b'"') {
        return start;
    }
    let end: Vec<u8> = [b'"']
        .into_iter()
        .chain(std::iter::repeat_n(b'#', hashes))
        .collect();
    let body = bytes[open + 1..]
        .windows(end.len())
        .position(|window| window == end);
    body.map_or(bytes.len(), |length| open + 1 + length + end.len())
}
