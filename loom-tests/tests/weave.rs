//! Tests the output of the build script and its errors.

#[path = "../build/entries.rs"]
mod entries;
#[path = "../build/rules.rs"]
mod rules;
#[path = "../build/survivors.rs"]
mod survivors;
#[path = "../build/tokens.rs"]
mod tokens;
#[path = "../build/weave.rs"]
mod weave;

use weave::{Fault, Source};

/// The faults of `source` with the marks that `entries` describe.
fn faults(source: &str, entries: &str) -> Result<(Source, Vec<Fault>), weave::Error> {
    let source = Source {
        file: "src/a.rs".into(),
        text: source.into(),
    };
    let entries = entries::parse("a.txt", entries)?;
    let entries = entries
        .into_iter()
        .map(|entry| ("a.txt".into(), entry))
        .collect();
    let faults = weave::faults(std::slice::from_ref(&source), entries)?;
    Ok((source, faults))
}

/// The text with the faults that `entries` describe and those made by rule.
fn woven(source: &str, entries: &str) -> String {
    let (source, faults) = faults(source, entries).unwrap();
    let numbered: Vec<_> = faults.iter().enumerate().collect();
    let text = weave::weave(&source, &numbered).unwrap();
    assert_eq!(text.lines().count(), source.text.lines().count(), "{text}");
    text.replace("crate::faults::is_on", "on")
        .replace("crate::facade::", "")
}

fn refused(source: &str, entries: &str) -> String {
    faults(source, entries).unwrap_err().to_string()
}

/// The names of the faults that the rules find in a text.
fn by_rule(source: &str) -> Vec<String> {
    let (_, faults) = faults(source, "").unwrap();
    faults.into_iter().map(|fault| fault.name).collect()
}

#[test]
fn a_statement_is_dropped_or_replaced() {
    let source =
        "fn f() {\n    a();\n    // fault: b-is-forgotten\n    b(\n        1,\n    );\n}\n";
    assert_eq!(
        woven(source, "b-is-forgotten\n    It shows.\n    drop\n"),
        "fn f() {\n    a();\n    // fault: b-is-forgotten\n    if on(0) {  } else { b(\n        1,\n    ); }\n}\n"
    );
    let text = woven(
        source,
        "b-is-forgotten\n    It shows.\n    wrong:\n        c();\n        d();\n",
    );
    assert!(text.contains("if on(0) { c(); d(); } else { b("), "{text}");
}

#[test]
fn a_part_of_a_statement_is_replaced_however_it_is_wrapped() {
    let source = "fn f() {\n    // fault: no-look\n    if a\n        && b(\n            1,\n        )\n    {\n        c();\n    }\n}\n";
    let text = woven(
        source,
        "no-look\n    It shows.\n    right: b(1)\n    wrong: true\n",
    );
    assert!(
        text.contains("&& (if on(0) { true } else { b(\n            1,\n        ) })\n"),
        "{text}"
    );
}

#[test]
fn code_is_inserted_before_a_statement_or_an_expression() {
    let insert = "first\n    It shows.\n    insert: g();\n";
    assert_eq!(
        woven("fn f() -> u8 {\n    // fault: first\n    1\n}\n", insert),
        "fn f() -> u8 {\n    // fault: first\n    if on(0) { g(); } 1\n}\n"
    );
}

#[test]
fn of_an_arm_and_a_return_the_value_is_replaced() {
    let entry = "late\n    It shows.\n    drop\n";
    let arm = "fn f() { match x {\n    // fault: late\n    A { b } => run(),\n    _ => {}\n} }";
    assert!(woven(arm, entry).contains("A { b } => (if on(0) {  } else { run() }),"));
    let block = "fn f() { match x {\n    // fault: late\n    A => { run() }\n    _ => {}\n} }";
    assert!(woven(block, entry).contains("A => if on(0) {  } else { { run() } }\n"));
    let returned = "fn f() {\n    // fault: late\n    return run();\n}";
    assert!(woven(returned, entry).contains("return (if on(0) {  } else { run() });"));
}

#[test]
fn a_fault_inside_of_another_is_kept() {
    let source = "fn f() {\n    // fault: outer\n    g(a.load(Ordering::Acquire));\n}\n";
    assert!(
        woven(source, "outer\n    It shows.\n    drop\n").contains(
            "if on(0) {  } else { g(a.load((if on(1) { Ordering::Relaxed } else { Ordering::Acquire }))); }"
        )
    );
}

#[test]
fn marks_and_entries_belong_together() {
    let entry = "no-look\n    It shows.\n    right: b\n    wrong: c\n";
    let source = "fn f() {\n    // fault: no-look\n    a(b);\n}\n";
    assert!(faults(source, entry).is_ok());
    assert!(
        refused(source, "")
            .starts_with("src/a.rs:2: no entry in loom-tests/faults/ is named `no-look`")
    );
    assert_eq!(
        refused("fn f() {}\n", entry),
        "a.txt:1: no source has the mark `// fault: no-look`"
    );
    assert_eq!(
        refused(&source.replace("a(b)", "a(d)"), entry),
        "src/a.rs:2: `no-look` has a right text that does not stand below its mark (a.txt:1)"
    );
    assert_eq!(
        refused(&source.replace("a(b)", "a(b, b)"), entry),
        "src/a.rs:2: `no-look` has a right text that stands below its mark twice (a.txt:1)"
    );
    let twice = source.replace("a(b);", "a(b);\n    // fault: no-look\n    a(b);");
    assert!(refused(&twice, entry).starts_with("src/a.rs:4: no entry"));
    assert_eq!(
        refused(source, &entry.repeat(2)),
        "a.txt:5: a second entry `no-look`"
    );
}

#[test]
fn a_mark_stands_above_a_statement() {
    let entry = "late\n    It shows.\n    drop\n";
    let own_line = "a mark stands on a line of its own above the statement that it names";
    for source in [
        "fn f() {\n    a(); // fault: late\n    b();\n}\n",
        "fn f() {\n    a();\n\n    // fault: late\n}\n",
    ] {
        assert!(refused(source, entry).ends_with(own_line), "{source}");
    }
    assert!(
        refused("fn f() {\n    // fault: late\n    let a = b();\n}\n", entry)
            .contains("names a `let`")
    );
}

#[test]
fn an_entry_says_what_it_shows_and_what_it_changes() {
    let refused = |entry: &str| entries::parse("a.txt", entry).unwrap_err().to_string();
    assert_eq!(
        refused("a\n    drop\n"),
        "a.txt:1: `a` does not say its symptom"
    );
    assert_eq!(
        refused("# c\na\n    It.\n"),
        "a.txt:2: `a` needs one of: drop; insert; wrong; right and wrong"
    );
    assert!(refused("a\n    It.\n    drop\n    wrong: b\n").contains("needs one of"));
    assert_eq!(
        refused("    It.\n"),
        "a.txt:1: this belongs to no fault: begin with a name at the margin"
    );
    assert!(refused("A b\n    It.\n    drop\n").contains("is no name"));
    assert!(refused("a\n    It.\n    wrong: b(\n").contains("`a`:"));
    assert!(refused("a\n    It.\n    wrong: b // c\n").contains("a comment in its code"));
}

#[test]
fn each_ordering_is_weakened_by_one_step() {
    assert_eq!(
        by_rule("fn f() { a.b.swap(1, Ordering::AcqRel); }"),
        [
            "f: a.b.swap(1, [AcqRel -> Acquire])",
            "f: a.b.swap(1, [AcqRel -> Release])"
        ]
    );
    assert_eq!(
        by_rule("fn f() { match a.load(Acquire) {} }"),
        ["f: a.load([Acquire -> Relaxed])"]
    );
    // No fault uses an ordering that panics.
    assert_eq!(
        by_rule("fn f() { a.load(SeqCst); }"),
        ["f: a.load([SeqCst -> Acquire])"]
    );
    assert_eq!(
        by_rule("fn f() { a.compare_exchange(0, g(1, 2), Relaxed, SeqCst); }"),
        ["f: a.compare_exchange(0, g(1, 2), Relaxed, [SeqCst -> Acquire])"]
    );
    assert!(
        by_rule("use std::sync::atomic::Ordering::Release; fn f() { a.load(Relaxed); }").is_empty()
    );
    assert!(by_rule("enum Hook { Release(u8) } fn f() -> Hook { Hook::Release(1) }").is_empty());
    assert_eq!(
        by_rule("fn f() { a.load(Acquire); a.load(Acquire); }"),
        [
            "f: a.load([Acquire -> Relaxed])",
            "f: a.load([Acquire -> Relaxed]) #2"
        ]
    );
}

#[test]
fn each_wake_is_dropped_with_its_statement() {
    assert_eq!(
        by_rule("fn f() { a.iter().for_each(|a| a.unpark()); b(); }"),
        ["f: drop a.iter().for_each(|a| a.unpark())"]
    );
    assert_eq!(
        by_rule("fn f() { if let Some(a) = b { a.unpark(); } }"),
        ["f: drop a.unpark()"]
    );
    assert_eq!(
        by_rule("fn f() { match a { A => b.wake(), _ => {} } }"),
        ["f: drop b.wake()"]
    );
    assert_eq!(
        by_rule("fn f() { return a.unpark(); }"),
        ["f: drop a.unpark()"]
    );
}

#[test]
fn comments_texts_and_what_stands_behind_a_cfg_have_no_faults() {
    let source = r##"
        // a.load(Ordering::Acquire);
        const A: &str = "a.load(Ordering::Acquire); // fault: not-this";
        #[cfg(not(loom))]
        fn f<A, B>() { a.load(Ordering::Acquire); }
        #[cfg(test)]
        mod tests { fn f() { a.unpark(); } }
        struct C {
            #[cfg(test)]
            pub(crate) c: D,
        }
        fn g() { #[cfg(test)] a.unpark(); b.load(Ordering::Acquire); }
    "##;
    assert_eq!(by_rule(source), ["g: b.load([Acquire -> Relaxed])"]);
}

#[test]
fn what_survives_is_a_fault_made_by_rule_and_has_a_reason() {
    let (_, mut faults) = faults("fn f() { a.unpark(); }", "").unwrap();
    let mut excuse = |text: &str| {
        survivors::excuse(&mut faults, "s.txt", text).map_err(|error| error.to_string())
    };
    assert_eq!(
        excuse("f: drop a.unpark()\n").unwrap_err(),
        "s.txt:1: no reason is given for `f: drop a.unpark()`"
    );
    assert!(
        excuse("# c\nf: drop b\n    r\n")
            .unwrap_err()
            .starts_with("s.txt:2: no fault is made by rule")
    );
    assert_eq!(excuse("f: drop a.unpark()\n    for\n    this\n"), Ok(()));
    assert_eq!(faults[0].survives.as_deref(), Some("for this"));
    assert_eq!(
        (faults[0].file.as_str(), faults[0].shows.as_str()),
        ("src/a.rs", "")
    );
}
