//! What is mutated, and into what.

use std::ops::Range;

use crate::scan::{Source, one_line};

/// The calls that wake a thread; each is dropped with the statement it stands in.
const WAKES: [&str; 8] = [
    ".unpark()",
    ".unpark_one(",
    ".unpark_all(",
    ".wake(",
    ".wake_one(",
    ".wake_all(",
    ".notify_one(",
    ".notify_all(",
];

/// What marks a re-check, a drain or anything else without which some order of events goes wrong.
const MARK: &str = "// guard:";

/// One change of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mutant {
    pub(crate) file: String,
    pub(crate) line: usize,
    /// What is changed, in words that stay the same when lines move.
    pub(crate) what: String,
    pub(crate) span: Range<usize>,
    /// What stands there in the broken crate.
    pub(crate) with: String,
    pub(crate) form: Form,
}

/// What kind of code a mutant is about, and so how the code and its mutant go into one program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The name of an ordering.
    Ordering,
    /// A statement, or an expression whose value is not used.
    Statement,
    /// `let _name = ..`, where the value is kept for its drop.
    Held,
    Value,
    /// A block with a value.
    Block,
    /// `let .. = ..` in the head of an `if` or `while`.
    Pattern,
    /// `&& ..`
    And,
    /// `|| ..`
    Or,
}

impl Mutant {
    /// What `survivors.txt` calls it.
    pub(crate) fn key(&self) -> String {
        format!("{}: {}", self.file, self.what)
    }

    /// What the names of the models begin with that are about its folder.
    pub(crate) fn area(&self) -> &'static str {
        match self.file.split('/').nth(1) {
            // The queue is that of the primitives.
            Some("waiting") if !self.file.ends_with("queue.rs") => "wait_",
            Some("workers") => "worker_",
            Some("group") => "scope_",
            Some("sync" | "waiting") => "sync_",
            Some("channel") => "channel_",
            _ => "cancel_",
        }
    }

    #[cfg(test)]
    fn apply(&self, text: &str) -> String {
        format!(
            "{}{}{}",
            &text[..self.span.start],
            self.with,
            &text[self.span.end..]
        )
    }

    /// `old`, and what this mutant makes of it if `switch` is true.
    fn beside(&self, old: &str, switch: &str) -> String {
        let with = &self.with;
        match self.form {
            Form::Ordering => {
                format!("(if {switch} {{ crate::facade::Ordering::{with} }} else {{ {old} }})")
            }
            Form::Statement => format!("if {switch} {{}} else {{ {old}; }}"),
            Form::Held => {
                let (name, value) = old.split_once(" = ").unwrap_or((old, "()"));
                format!("{name} = if {switch} {{ None }} else {{ Some({value}) }}")
            }
            Form::Value => format!("(if {switch} {{ {with} }} else {{ {old} }})"),
            Form::Block => format!("if {switch} {{ {with} }} else {{ {old} }}"),
            Form::Pattern => format!("!{switch} && {old}"),
            Form::And => format!("&& ({switch} || ({}))", &old[2..]),
            Form::Or => format!("|| (!{switch} && ({}))", &old[2..]),
        }
    }
}

/// The text with all of `mutants` in it, each in force where `switch` of its number is true.
pub(crate) fn combined(
    text: &str,
    mutants: &[(usize, &Mutant)],
    switch: impl Fn(usize) -> String,
) -> String {
    let mut spans: Vec<_> = mutants
        .iter()
        .map(|(number, mutant)| {
            // The path of an ordering goes with its name.
            let path = if mutant.form == Form::Ordering
                && text[..mutant.span.start].ends_with("Ordering::")
            {
                10
            } else {
                0
            };
            (mutant.span.start - path..mutant.span.end, *number, *mutant)
        })
        .collect();
    // From the back, and what lies inside of another before that.
    spans.sort_by_key(|(span, ..)| (std::cmp::Reverse(span.start), span.end));
    let mut out = text.to_owned();
    let mut grown: Vec<(usize, usize)> = Vec::new();
    for (span, number, mutant) in spans {
        let inside: usize = grown
            .iter()
            .filter(|(at, _)| *at < span.end)
            .map(|(_, by)| by)
            .sum();
        let end = span.end + inside;
        let new = mutant.beside(&out[span.start..end], &switch(number));
        grown.push((span.start, new.len() - (end - span.start)));
        out.replace_range(span.start..end, &new);
    }
    out
}

/// The mutants of one file, and how many more are in code that the models do not compile.
pub(crate) fn mutants(file: &str, source: &Source<'_>) -> Result<(Vec<Mutant>, usize), String> {
    let marks = marks(source).map_err(|(at, why)| format!("{file}:{}: {why}", source.line(at)))?;
    let wakes =
        wakes(source, &marks).map_err(|(at, why)| format!("{file}:{}: {why}", source.line(at)))?;
    let mut edits = orderings(source);
    edits.extend(wakes);
    for mark in &marks {
        edits.push(guard(source, mark).map_err(|why| {
            format!(
                "{file}:{}: guard {}: {why}",
                source.line(mark.at),
                mark.name
            )
        })?);
    }
    edits.sort_by_key(|edit| edit.span.start);

    let all = edits.len();
    edits.retain(|edit| !source.is_hidden(edit.span.start));
    let hidden = all - edits.len();
    let mut mutants: Vec<Mutant> = Vec::new();
    for Edit {
        span,
        with,
        what,
        form,
    } in edits
    {
        let what = source
            .function(span.start)
            .map_or(what.clone(), |function| format!("fn {function}: {what}"));
        let same = mutants
            .iter()
            .filter(|other| other.what == what || other.what.starts_with(&format!("{what} #")))
            .count();
        let what = if same == 0 {
            what
        } else {
            format!("{what} #{}", same + 1)
        };
        mutants.push(Mutant {
            file: file.into(),
            line: source.line(span.start),
            what,
            span,
            with,
            form,
        });
    }
    Ok((mutants, hidden))
}

struct Edit {
    span: Range<usize>,
    with: String,
    what: String,
    form: Form,
}

/// What an ordering is given to. It decides which weaker ones exist: a load has no Release, a fence
/// no Relaxed, and asking for one panics, which would look like a catch.
enum Access {
    Load,
    Store,
    Update,
    Fence,
}

impl Access {
    fn of(call: &str, argument: usize) -> Access {
        match (call, argument) {
            ("load", _)
            | ("compare_exchange" | "compare_exchange_weak", 3)
            | ("fetch_update", 1) => Access::Load,
            ("store", _) => Access::Store,
            ("fence" | "compiler_fence", _) => Access::Fence,
            _ => Access::Update,
        }
    }

    /// The orderings one step weaker; `None` is no operation at all.
    fn weaker(&self, ordering: &str) -> &'static [Option<&'static str>] {
        match (self, ordering) {
            (Access::Load, "SeqCst") => &[Some("Acquire")],
            (Access::Store, "SeqCst") => &[Some("Release")],
            (_, "SeqCst") => &[Some("AcqRel")],
            (_, "AcqRel") => &[Some("Acquire"), Some("Release")],
            (Access::Fence, "Acquire" | "Release") => &[None],
            (_, "Acquire" | "Release") => &[Some("Relaxed")],
            _ => &[],
        }
    }
}

/// The calls that take an ordering by its bare name.
fn takes_ordering(call: &str) -> bool {
    let atomic = [
        "load",
        "store",
        "swap",
        "compare_exchange",
        "compare_exchange_weak",
        "fence",
        "compiler_fence",
    ];
    atomic.contains(&call) || call.starts_with("fetch_")
}

fn orderings(source: &Source<'_>) -> Vec<Edit> {
    let mut edits = Vec::new();
    for (at, ordering) in source.words() {
        if !matches!(ordering, "SeqCst" | "AcqRel" | "Acquire" | "Release") {
            continue;
        }
        let path = source.slice(0..at).ends_with("Ordering::");
        let call = source.call(at);
        let name = call.map_or("", |(open, _)| source.word_before(open));
        let imported = source
            .slice(source.start(at)..at)
            .trim_start_matches("pub ")
            .starts_with("use ");
        if imported || !(path || takes_ordering(name)) {
            continue;
        }
        let span = at..at + ordering.len();
        for weaker in Access::of(name, call.map_or(0, |(_, argument)| argument)).weaker(ordering) {
            edits.push(match (weaker, call) {
                (None, Some((open, _))) => {
                    let end = source.closing(open).map_or(span.end, |close| close + 1);
                    let whole = path_start(source, open)..end;
                    let what = format!("dropped {}", one_line(&source.text[whole.clone()]));
                    Edit {
                        what,
                        span: whole,
                        with: "()".into(),
                        form: Form::Statement,
                    }
                }
                (None, None) => continue,
                (Some(weaker), _) => {
                    let what =
                        shown_in_call(source, call, &span, &format!("[{ordering} -> {weaker}]"));
                    Edit {
                        span: span.clone(),
                        with: (*weaker).into(),
                        what,
                        form: Form::Ordering,
                    }
                }
            });
        }
    }
    edits
}

/// The call with the change in its place.
fn shown_in_call(
    source: &Source<'_>,
    call: Option<(usize, usize)>,
    span: &Range<usize>,
    change: &str,
) -> String {
    let whole =
        call.and_then(|(open, _)| Some(path_start(source, open)..source.closing(open)? + 1));
    let whole = whole.unwrap_or_else(|| span.clone());
    let text = |range: Range<usize>| &source.text[range];
    let shown = format!(
        "{}{change}{}",
        text(whole.start..span.start),
        text(span.end..whole.end)
    );
    one_line(&shown).replace("Ordering::", "")
}

/// Where `a.b::c(` begins, for the place of its parenthesis.
fn path_start(source: &Source<'_>, open: usize) -> usize {
    let in_path = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:".contains(&byte);
    source.code[..open]
        .iter()
        .rposition(|&byte| !in_path(byte))
        .map_or(0, |place| place + 1)
}

fn wakes(source: &Source<'_>, marks: &[Mark<'_>]) -> Result<Vec<Edit>, (usize, &'static str)> {
    let mut edits: Vec<Edit> = Vec::new();
    let code = source.slice(0..source.code.len());
    let mut calls: Vec<usize> = WAKES
        .iter()
        .flat_map(|wake| code.match_indices(wake))
        .map(|(at, _)| at)
        .collect();
    calls.sort_unstable();
    for at in calls {
        let line = source.line(at);
        if marks
            .iter()
            .any(|mark| source.line(mark.code.start) == line)
        {
            continue;
        }
        let start = skip_word(source, source.start(at), "return");
        let end = source.end(at);
        let end =
            end.ok_or((at, "the wake is no statement of its own: make it one, or mark what is to be dropped as a guard"))?;
        let span = start..source.before(end).map_or(end, |last| last + 1);
        if edits.last().is_some_and(|last| last.span == span) {
            continue;
        }
        let old = &source.text[span.clone()];
        let form = if old.starts_with("let _") {
            Form::Held
        } else {
            Form::Statement
        };
        edits.push(Edit {
            what: format!("dropped {}", one_line(old)),
            span,
            with: "()".into(),
            form,
        });
    }
    Ok(edits)
}

/// A marker comment.
struct Mark<'a> {
    at: usize,
    name: &'a str,
    /// What the guarded value becomes.
    value: Option<&'a str>,
    /// The code of the line.
    code: Range<usize>,
}

fn marks<'a>(source: &Source<'a>) -> Result<Vec<Mark<'a>>, (usize, &'static str)> {
    let mut marks: Vec<Mark<'a>> = Vec::new();
    for comment in &source.comments {
        let text: &'a str = source.text;
        let Some(mark) = text[comment.clone()].strip_prefix(MARK) else {
            continue;
        };
        let at = comment.start;
        let (name, value) = match mark.split_once("=>") {
            Some((name, value)) => (name.trim(), Some(value.trim())),
            None => (mark.trim(), None),
        };
        let behind = "a guard is marked behind its code, or first in the block whose head it is";
        let last = source.before(at).ok_or((at, behind))?;
        // Rustfmt moves a comment from behind a brace to the line below.
        if source.line(last) != source.line(at) && source.code[last] != b'{' {
            return Err((at, behind));
        }
        let line = text[..last].rfind('\n').map_or(0, |end| end + 1);
        let start = source.after(line);
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err((at, "a guard has a name of one word"));
        }
        if marks.iter().any(|other| other.name == name) {
            return Err((at, "another guard of this file has that name"));
        }
        marks.push(Mark {
            at,
            name,
            value,
            code: start..last + 1,
        });
    }
    Ok(marks)
}

fn guard(source: &Source<'_>, mark: &Mark<'_>) -> Result<Edit, &'static str> {
    let Range { start, end } = mark.code;
    let code = source.slice(start..end);
    let value = mark.value.unwrap_or("()");
    let (span, with, form) = if code.starts_with("&&") || code.starts_with("||") {
        if mark.value.is_some() {
            return Err("an operand has no value: it is dropped");
        }
        let form = if code.starts_with("&&") {
            Form::And
        } else {
            Form::Or
        };
        (
            start..start + code.trim_end_matches(['{', ';', ',', ' ']).len(),
            String::new(),
            form,
        )
    } else if let Some(head) = code.strip_suffix('{') {
        match condition(head) {
            Some(0) => return Err("its condition goes on: mark the operand"),
            Some(condition) => {
                let span = start + condition..start + head.trim_end().len();
                let old = &source.text[span.clone()];
                match mark.value {
                    None if old.starts_with("let ") => {
                        (span, format!("false && {old}"), Form::Pattern)
                    }
                    _ if old.starts_with("let ") => return Err("a pattern has no value: it fails"),
                    Some(value) => (span, value.to_owned(), Form::Value),
                    None => (span, "false".to_owned(), Form::Value),
                }
            }
            None if code.starts_with("let ") || code.starts_with('}') => {
                return Err("mark what is inside the block");
            }
            None => {
                let close = source.closing(end - 1).ok_or("its block does not end")?;
                match mark.value {
                    Some(value) => (start..close + 1, value.to_owned(), Form::Block),
                    None => (start..close + 1, "();".to_owned(), Form::Statement),
                }
            }
        }
    } else {
        let last = if code.ends_with([';', ',']) {
            end - 1
        } else {
            end
        };
        let whole = source.start(last)..last;
        if !code.ends_with([';', ',']) && source.code.get(source.after(end)) != Some(&b'}') {
            return Err("its expression goes on: mark the line on which it ends");
        }
        let begun = source.slice(whole.clone());
        if begun.starts_with("let ") {
            if mark.value.is_none() {
                return Err("a binding needs a value: `// guard: name => value`");
            }
            let equals = [" = ", " =\n"]
                .iter()
                .filter_map(|equals| begun.find(equals))
                .min()
                .ok_or("the binding has no value")?;
            (
                source.after(whole.start + equals + 2)..last,
                value.to_owned(),
                Form::Value,
            )
        } else if mark.value.is_some() {
            let start = skip_word(source, whole.start, "return");
            (
                after_assignment(source, start..last)..last,
                value.to_owned(),
                Form::Value,
            )
        } else {
            (whole, value.to_owned(), Form::Statement)
        }
    };
    let what = match mark.value {
        Some(value) => format!("guard {} => {value}", mark.name),
        None => format!("guard {} dropped", mark.name),
    };
    Ok(Edit {
        span,
        with,
        what,
        form,
    })
}

/// Where the condition of `if .. ` or `while .. ` begins; 0 if it began on an earlier line.
fn condition(head: &str) -> Option<usize> {
    if head.trim().is_empty() {
        return Some(0);
    }
    let mut at = 0;
    for before in ["}", "else"] {
        let rest = head[at..]
            .strip_prefix(before)
            .unwrap_or(&head[at..])
            .trim_start();
        at = head.len() - rest.len();
    }
    if head[at..].starts_with('\'') {
        at += head[at..].find(':')? + 1;
        at = head.len() - head[at..].trim_start().len();
    }
    let keyword = ["if ", "while "]
        .into_iter()
        .find(|keyword| head[at..].starts_with(keyword))?;
    Some(at + keyword.len())
}

/// Where the value of `name = ..` begins, or the start of anything else.
fn after_assignment(source: &Source<'_>, whole: Range<usize>) -> usize {
    let place = |byte: u8| byte.is_ascii_alphanumeric() || b"_.*".contains(&byte);
    match source.slice(whole.clone()).split_once(" = ") {
        Some((name, _)) if name.bytes().all(place) => source.after(whole.start + name.len() + 3),
        _ => whole.start,
    }
}

fn skip_word(source: &Source<'_>, start: usize, word: &str) -> usize {
    let rest = source.slice(start..source.code.len());
    if rest
        .strip_prefix(word)
        .is_some_and(|rest| rest.starts_with(' '))
    {
        source.after(start + word.len())
    } else {
        start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<Mutant> {
        mutants("src/a.rs", &Source::new(text)).unwrap().0
    }

    fn what(text: &str) -> Vec<String> {
        all(text).into_iter().map(|mutant| mutant.what).collect()
    }

    /// The texts that the mutants of a text make of it.
    fn made(text: &str) -> Vec<String> {
        all(text).iter().map(|mutant| mutant.apply(text)).collect()
    }

    fn refused(text: &str) -> String {
        mutants("src/a.rs", &Source::new(text)).unwrap_err()
    }

    #[test]
    fn each_ordering_is_weakened_by_one_step() {
        assert_eq!(
            what("a.swap(1, Ordering::SeqCst);"),
            ["a.swap(1, [SeqCst -> AcqRel])"]
        );
        assert_eq!(
            what("a.swap(1, Ordering::AcqRel);"),
            [
                "a.swap(1, [AcqRel -> Acquire])",
                "a.swap(1, [AcqRel -> Release])"
            ]
        );
        assert_eq!(
            made("a.load(Ordering::Acquire);"),
            ["a.load(Ordering::Relaxed);"]
        );
        assert_eq!(
            made("a.store(f(1, 2), Ordering::Release);"),
            ["a.store(f(1, 2), Ordering::Relaxed);"]
        );
        assert!(what("a.load(Ordering::Relaxed);").is_empty());
    }

    #[test]
    fn no_mutant_asks_for_an_ordering_that_panics() {
        assert_eq!(
            what("a.load(Ordering::SeqCst)"),
            ["a.load([SeqCst -> Acquire])"]
        );
        assert_eq!(
            what("a.store(1, Ordering::SeqCst)"),
            ["a.store(1, [SeqCst -> Release])"]
        );
        assert_eq!(
            what("a.compare_exchange(0, g(1, 2), Ordering::Relaxed, Ordering::SeqCst)"),
            ["a.compare_exchange(0, g(1, 2), Relaxed, [SeqCst -> Acquire])"]
        );
        assert_eq!(made("fence(Ordering::Acquire);"), ["();"]);
    }

    #[test]
    fn bare_names_count_in_atomic_calls_only() {
        assert_eq!(made("self.word.load(Acquire)"), ["self.word.load(Relaxed)"]);
        assert!(made("use std::sync::atomic::Ordering::{self, Acquire};\nuse std::sync::atomic::Ordering::Release;").is_empty());
        assert!(made("enum Hook { Release(u8) } fn f() -> Hook { Hook::Release(1) }").is_empty());
    }

    #[test]
    fn comments_and_literals_are_no_code() {
        let text = r####"
            // a.load(Ordering::Acquire) // guard: not-this
            /* a.load(Ordering::Acquire) /* nested */ t.unpark(); */
            const A: &str = "a.load(Ordering::Acquire); \" t.unpark();";
            const B: &str = r#"t.unpark(); " t.unpark();"#;
            const C: [char; 2] = ['"', '\''];
            fn f<'a>(x: &'a A) { x.load(Ordering::Acquire); }
        "####;
        assert_eq!(what(text), ["fn f: x.load([Acquire -> Relaxed])"]);
    }

    #[test]
    fn what_the_models_do_not_compile_is_counted_only() {
        let text = "
            #[cfg(test)]
            #[allow(unused)]
            mod tests { fn f() { a.load(Ordering::Acquire); } }
            #[cfg(not(loom))]
            pub use std::thread::{park, Thread};
            #[cfg(not(loom))]
            fn g(a: [u8; 2]) -> u8 { t.unpark(); }
            struct S {
                #[cfg(not(loom))]
                field: [u8; 4],
                other: u8,
            }
            fn h() { a.load(Ordering::Acquire); }
        ";
        let (mutants, hidden) = mutants("src/a.rs", &Source::new(text)).unwrap();
        assert_eq!(
            mutants
                .iter()
                .map(|mutant| &mutant.what[..])
                .collect::<Vec<_>>(),
            ["fn h: a.load([Acquire -> Relaxed])"]
        );
        assert_eq!(hidden, 2);
        assert_eq!(
            Source::new("#[cfg(not(loom))]\nmod real;\nmod kept;").hidden_modules(),
            ["real"]
        );
    }

    #[test]
    fn a_wake_is_dropped_with_its_statement() {
        assert_eq!(
            made("{ a(); self.thread.unpark(); b(); }"),
            ["{ a(); (); b(); }"]
        );
        assert_eq!(
            made("if let Some(t) = x { t.unpark() }"),
            ["if let Some(t) = x { () }"]
        );
        assert_eq!(
            made("match x { A => t.unpark(), B => {} }"),
            ["match x { A => (), B => {} }"]
        );
        assert_eq!(
            made("{ list.drain(..).for_each(|w| w.wake(a, b)); c() }"),
            ["{ (); c() }"]
        );
        assert_eq!(
            made("for w in list { w.wake(Cause { x: 1 }); }"),
            ["for w in list { (); }"]
        );
        assert_eq!(
            made("{ if a { b } return t.unpark(); }"),
            ["{ if a { b } return (); }"]
        );
        assert_eq!(made("{ self\n    .thread\n    .unpark(); }"), ["{ (); }"]);
        assert!(refused("if slot.wake(cause) { n += 1 }").contains("no statement of its own"));
    }

    #[test]
    fn a_guard_is_dropped() {
        assert_eq!(
            made("{ a(); self.drain(); // guard: drain\n }"),
            ["{ a(); (); // guard: drain\n }"]
        );
        assert_eq!(
            made("if self.is_cancelled() { // guard: re-check\n return; }"),
            ["if false { // guard: re-check\n return; }"]
        );
        assert_eq!(
            made("} else if let Some(x) = y { // guard: g\n }"),
            ["} else if false && let Some(x) = y { // guard: g\n }"]
        );
        assert_eq!(
            made("'a: while let Some(x) = y.pop() { // guard: g\n }"),
            ["'a: while false && let Some(x) = y.pop() { // guard: g\n }"]
        );
        assert_eq!(
            made("if a {\n // guard: g\n }"),
            ["if false {\n // guard: g\n }"]
        );
        assert_eq!(
            made("if a\n && b() // guard: g\n {"),
            ["if a\n  // guard: g\n {"]
        );
        assert_eq!(
            made("a();\nfor x in y { // guard: g\n x(); }\nb();"),
            ["a();\n();\nb();"]
        );
        assert_eq!(
            made("match x { A => drain(), // guard: g\n B => {} }"),
            ["match x { A => (), // guard: g\n B => {} }"]
        );
    }

    #[test]
    fn a_guard_may_say_its_value() {
        assert_eq!(
            made("let full = a < b; // guard: g => false\n"),
            ["let full = false; // guard: g => false\n"]
        );
        assert_eq!(
            made("let full =\n a <= b; // guard: g => false\n"),
            ["let full =\n false; // guard: g => false\n"]
        );
        assert_eq!(
            made("fn f() { a();\n b() // guard: g => true\n}"),
            ["fn f() { a();\n true // guard: g => true\n}"]
        );
        assert_eq!(
            made("{ return a && b; // guard: g => true\n}"),
            ["{ return true; // guard: g => true\n}"]
        );
        assert_eq!(
            made("{ self.full = a < b; // guard: g => false\n}"),
            ["{ self.full = false; // guard: g => false\n}"]
        );
        assert_eq!(
            made("while firing() { // guard: g => false\n"),
            ["while false { // guard: g => false\n"]
        );
        assert_eq!(
            what("fn f() { a(); // guard: g => b()\n }"),
            ["fn f: guard g => b()"]
        );
    }

    #[test]
    fn a_guard_that_cannot_be_dropped_is_an_error() {
        assert!(refused("// guard: alone\na();").contains("behind its code"));
        assert!(refused("a();\n// guard: alone\nb();").contains("behind its code"));
        assert!(refused("let a = b(); // guard: g\n").contains("needs a value"));
        assert!(refused("a(); // guard: two words\n").contains("one word"));
        assert!(refused("a(); // guard: g\nb(); // guard: g\n").contains("another guard"));
        assert!(refused("a( // guard: g\n b);").contains("goes on"));
        assert!(refused("if a\n || b\n{ // guard: g\n}").contains("mark the operand"));
    }

    #[test]
    fn a_guard_stands_in_for_the_wake_on_its_line() {
        assert_eq!(
            what("if slot.wake(cause) { // guard: g\n n(); }"),
            ["guard g dropped"]
        );
    }

    /// A text with all of its mutants, each behind a switch `a`, `b` and so on.
    fn together(text: &str) -> String {
        let all = all(text);
        let numbered: Vec<_> = all.iter().enumerate().collect();
        combined(text, &numbered, |number| ["a", "b", "c"][number].into())
    }

    #[test]
    fn mutants_go_together_each_behind_its_switch() {
        assert_eq!(
            together("{ x.swap(1, Ordering::AcqRel); }"),
            "{ x.swap(1, (if b { crate::facade::Ordering::Release } else { \
             (if a { crate::facade::Ordering::Acquire } else { Ordering::AcqRel }) })); }"
        );
        assert_eq!(
            together("{ return t.unpark(); }"),
            "{ return if a {} else { t.unpark(); }; }"
        );
        assert_eq!(
            together("{ let _wake = t.unpark(); }"),
            "{ let _wake = if a { None } else { Some(t.unpark()) }; }"
        );
        assert_eq!(
            together("if b() { // guard: g\n}"),
            "if (if a { false } else { b() }) { // guard: g\n}"
        );
        assert_eq!(
            together("if let B(c) = d { // guard: g\n}"),
            "if !a && let B(c) = d { // guard: g\n}"
        );
        assert_eq!(
            together("{ a\n && b // guard: g\n}"),
            "{ a\n && (a || ( b)) // guard: g\n}"
        );
        assert_eq!(
            together("{ a\n || b // guard: g\n}"),
            "{ a\n || (!a && ( b)) // guard: g\n}"
        );
        assert_eq!(
            together("if x.load(Ordering::Acquire) == 1 { // guard: g\n t.unpark(); }"),
            "if (if a { false } else { x.load((if b { crate::facade::Ordering::Relaxed } else { Ordering::Acquire })) == 1 }) { \
             // guard: g\n if c {} else { t.unpark(); }; }"
        );
    }

    #[test]
    fn equal_changes_in_a_function_are_numbered() {
        let text = "fn f() { a.load(Ordering::Acquire); a.load(Ordering::Acquire); }";
        assert_eq!(
            what(text),
            [
                "fn f: a.load([Acquire -> Relaxed])",
                "fn f: a.load([Acquire -> Relaxed]) #2"
            ]
        );
        assert_eq!(
            all(text)[1].key(),
            "src/a.rs: fn f: a.load([Acquire -> Relaxed]) #2"
        );
    }
}
