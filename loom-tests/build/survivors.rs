//! `survivors.txt`: the faults made by rule that no model sees, with a reason for each.

use super::weave::{Error, Fault};

/// Gives the faults that `text` lists their reasons. A name may stand for several faults, if
/// functions of the same name have the same code.
pub(super) fn excuse(faults: &mut [Fault], file: &str, text: &str) -> Result<(), Error> {
    let mut listed: Vec<(usize, &str, String)> = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        if text.trim().is_empty() || text.starts_with('#') {
            continue;
        }
        match (text.starts_with(' '), listed.last_mut()) {
            (false, _) => listed.push((line, text.trim(), String::new())),
            (true, Some((_, _, reason))) => {
                if !reason.is_empty() {
                    reason.push(' ');
                }
                reason.push_str(text.trim());
            }
            (true, None) => return Err(Error::new(file, line, "a reason without a fault")),
        }
    }
    for (line, name, reason) in listed {
        if reason.is_empty() {
            return Err(Error::new(
                file,
                line,
                format!("no reason is given for `{name}`"),
            ));
        }
        let mut is_known = false;
        for fault in faults
            .iter_mut()
            .filter(|fault| !fault.is_marked && fault.name == name)
        {
            is_known = true;
            fault.survives = Some(reason.clone());
        }
        if !is_known {
            return Err(Error::new(
                file,
                line,
                format!("no fault is made by rule that is `{name}`"),
            ));
        }
    }
    Ok(())
}
