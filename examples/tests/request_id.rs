//! Every line of a request has its id, on whatever thread it was printed.

mod run;

use run::run_well;

#[test]
fn every_line_has_the_id_of_its_request() {
    let output = run_well("request_id", &["--requests", "4"]);
    for id in 1..=3 {
        let of = format!("request {id} of ada: ");
        let mut lines: Vec<_> = output
            .lines()
            .filter_map(|line| line.strip_prefix(&of))
            .collect();
        // The two tasks of the scope run side by side.
        lines[1..3].sort_unstable();
        let paid = format!("account 1 pays {}", 10 * id);
        let expected = [
            "begins",
            "asks for the prices",
            "looks for the account",
            &paid,
        ];
        assert_eq!(lines, expected, "{output}");
    }

    let last = output
        .lines()
        .filter(|line| line.starts_with("request 4 of nobody: "));
    let last: Vec<_> = last.collect();
    assert!(last.contains(&"request 4 of nobody: looks for the account"));
    assert!(last.contains(&"request 4 of nobody: fails: there is no such account"));

    // Lines outside of any request have no id, although their threads are the same.
    let server: Vec<_> = output
        .lines()
        .filter_map(|line| line.strip_prefix("server: "))
        .collect();
    assert_eq!(server, ["all have come", "1 of 4 failed"], "{output}");
}
