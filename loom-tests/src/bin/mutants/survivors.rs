//! The mutants that are known to survive, with the reason why each may.

use std::collections::BTreeMap;

/// Reads `survivors.txt`: a mutant on a line as the tool prints it, its reason on the indented
/// lines below, `#` for comments.
pub(crate) fn parse(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut survivors: BTreeMap<String, String> = BTreeMap::new();
    let mut current: Option<String> = None;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        match (line.starts_with(char::is_whitespace), &current) {
            (false, _) => {
                if survivors
                    .insert(line.trim().to_owned(), String::new())
                    .is_some()
                {
                    return Err(format!("line {number}: listed twice"));
                }
                current = Some(line.trim().to_owned());
            }
            (true, Some(mutant)) => {
                let reason = survivors.entry(mutant.clone()).or_default();
                if !reason.is_empty() {
                    reason.push(' ');
                }
                reason.push_str(line.trim());
            }
            (true, None) => return Err(format!("line {number}: a reason without a mutant")),
        }
    }
    match survivors.iter().find(|(_, reason)| reason.is_empty()) {
        Some((mutant, _)) => Err(format!("no reason is given for {mutant}")),
        None => Ok(survivors),
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_survivor_has_a_reason() {
        let survivors =
            parse("# why\n\nsrc/a.rs: fn f: x\n    joined by\n    the owner\nsrc/b.rs: y\n    counted only\n").unwrap();
        assert_eq!(survivors["src/a.rs: fn f: x"], "joined by the owner");
        assert_eq!(survivors["src/b.rs: y"], "counted only");
        assert_eq!(
            parse("src/a.rs: x\n").unwrap_err(),
            "no reason is given for src/a.rs: x"
        );
        assert_eq!(
            parse("    alone\n").unwrap_err(),
            "line 1: a reason without a mutant"
        );
        assert_eq!(
            parse("a\n  b\na\n  b\n").unwrap_err(),
            "line 3: listed twice"
        );
    }
}
