//! Reads which modules a source declares and which paths it uses.

use std::collections::BTreeSet;

/// A file of `src`, as the module that it is.
#[derive(Default)]
pub(crate) struct Module {
    /// Relative to `src`.
    pub(crate) file: String,
    /// Names of the modules that it declares.
    pub(crate) children: BTreeSet<String>,
    /// The names that it imports, with their paths. A glob is named `*`.
    pub(crate) names: Vec<(String, Vec<String>)>,
    /// The paths that are used here and re-export nothing.
    pub(crate) imports: Vec<Vec<String>>,
}

/// The words and signs of a source, without comments, texts and characters.
fn tokens(source: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = raw_text(rest) {
            length
        } else if first == '"' {
            text(rest)
        } else if first == '\'' {
            character(rest)
        } else if first.is_alphanumeric() || first == '_' {
            let word = |c: char| c.is_alphanumeric() || c == '_';
            let length = rest.find(|c| !word(c)).unwrap_or(rest.len());
            tokens.push(rest[..length].to_owned());
            length
        } else {
            let length = if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            if !first.is_whitespace() {
                tokens.push(rest[..length].to_owned());
            }
            length
        };
        rest = &rest[length..];
    }
    tokens
}

/// The length of the raw text at the start, if there is one.
fn raw_text(source: &str) -> Option<usize> {
    let after = source.strip_prefix("br").or(source.strip_prefix('r'))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let start = source.len() - after.len() + hashes + 1;
    Some(start + source[start..].find(&end)? + end.len())
}

/// The length of the text in quotes at the start.
fn text(source: &str) -> usize {
    let mut escaped = false;
    for (at, c) in source.char_indices().skip(1) {
        if c == '"' && !escaped {
            return at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    source.len()
}

/// The length of the character at the start, or of the quote of a lifetime.
fn character(source: &str) -> usize {
    let mut characters = source.char_indices().skip(1);
    match (characters.next(), characters.next()) {
        (Some((_, '\\')), Some(_)) => {
            let end = source[3..].find('\'').unwrap_or(0);
            3 + end + 1
        }
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}

/// Where the item that begins at `from` ends.
fn end_of_item(tokens: &[String], from: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(from) {
        match token.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth -= 1,
            _ => {}
        }
        let closed = depth == 0 && token == "}" && tokens[from] != "use";
        if closed || depth == 0 && token == ";" {
            return at + 1;
        }
    }
    tokens.len()
}

/// The attribute that begins at `from`, and where it ends.
fn attribute(tokens: &[String], from: usize) -> (String, usize) {
    let mut end = from + 1;
    let mut depth = 0;
    while end < tokens.len() {
        depth += i32::from(tokens[end] == "[") - i32::from(tokens[end] == "]");
        end += 1;
        if depth == 0 {
            break;
        }
    }
    (tokens[from..end].concat(), end)
}

/// The place behind the attribute that begins at `from`, and behind its item if that is for tests.
fn after_attribute(tokens: &[String], from: usize) -> usize {
    let (text, mut end) = attribute(tokens, from);
    if text.starts_with("#[cfg(test") || text.starts_with("#[cfg(all(test") {
        while tokens.get(end).is_some_and(|token| token == "#") {
            end = attribute(tokens, end).1;
        }
        end = end_of_item(tokens, end);
    }
    end
}

/// Returns the path that begins at `from`, as far as it consists of names.
fn path(tokens: &[String], from: usize) -> Vec<String> {
    let mut path = vec![tokens[from].clone()];
    for pair in tokens[from + 1..].chunks_exact(2) {
        if pair[0] != "::" || !pair[1].starts_with(char::is_alphabetic) {
            break;
        }
        path.push(pair[1].clone());
    }
    path
}

/// All paths of a tree of imports, each with the name that it gets.
fn import_tree(tokens: &[String], prefix: &[String], found: &mut Vec<(String, Vec<String>)>) {
    let mut path = prefix.to_vec();
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at].as_str() {
            "{" => {
                let inner = &tokens[at + 1..tokens.len() - 1];
                let mut depth = 0;
                for part in inner.split(|token| {
                    depth += i32::from(token == "{") - i32::from(token == "}");
                    depth == 0 && token == ","
                }) {
                    import_tree(part, &path, found);
                }
                return;
            }
            "as" => {
                found.push((tokens[at + 1].clone(), path));
                return;
            }
            "::" => {}
            segment => path.push(segment.to_owned()),
        }
        at += 1;
    }
    match path.last().map(String::as_str) {
        Some("self") => {
            path.pop();
            found.push((path.last().cloned().unwrap_or_default(), path));
        }
        Some("*") => {
            path.pop();
            found.push(("*".to_owned(), path));
        }
        Some(_) if path.len() > prefix.len() => found.push((path[path.len() - 1].clone(), path)),
        _ => {}
    }
}

/// Makes a path of a module that is `levels` deep inside a file a path of the file's module.
fn from_the_file(path: &mut [String], levels: usize) {
    for segment in path
        .iter_mut()
        .take_while(|segment| *segment == "super")
        .take(levels)
    {
        "self".clone_into(segment);
    }
}

/// Reads the modules that a source declares, and the paths that it uses.
pub(crate) fn read(source: &str) -> Module {
    let tokens = &tokens(source);
    let mut module = Module::default();
    let mut at = 0;
    // Where the modules end that are written out in this file, and count as the file.
    let mut inside: Vec<usize> = Vec::new();
    while at < tokens.len() {
        while inside.last().is_some_and(|&end| end <= at) {
            inside.pop();
        }
        let previous = at.checked_sub(1).map_or("", |before| &tokens[before]);
        let next = tokens.get(at + 1).map_or("", |token| token);
        match tokens[at].as_str() {
            "#" if next == "[" => {
                at = after_attribute(tokens, at);
                continue;
            }
            "mod" if tokens.get(at + 2).is_some_and(|token| token == ";") => {
                module.children.insert(next.to_owned());
            }
            "mod" if tokens.get(at + 2).is_some_and(|token| token == "{") => {
                inside.push(end_of_item(tokens, at));
            }
            "use" => {
                let end = end_of_item(tokens, at);
                let mut found = Vec::new();
                import_tree(&tokens[at + 1..end - 1], &[], &mut found);
                for (_, path) in &mut found {
                    from_the_file(path, inside.len());
                }
                let public = previous == "pub" || previous == ")";
                if !public {
                    module
                        .imports
                        .extend(found.iter().map(|(_, path)| path.clone()));
                }
                module.names.extend(found);
                at = end;
                continue;
            }
            _ if next == "::" && previous != "::" && previous != "$" => {
                let mut path = path(tokens, at);
                at += 2 * (path.len() - 1);
                // `pub(in crate::..)` is a visibility.
                if previous != "in" {
                    from_the_file(&mut path, inside.len());
                    module.imports.push(path);
                }
            }
            _ => {}
        }
        at += 1;
    }
    module
}
