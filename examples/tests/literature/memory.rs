//! The table and the plot of the cost of blocked tasks.

use std::{fs, time::Duration};

use crate::run::{duration, in_order, row, run, run_well};

#[test]
fn table_and_plot_of_a_few_tasks() {
    let folder = tempfile::tempdir().unwrap();
    let svg = folder.path().join("memory.svg");
    let output = run_well(
        "memory",
        &["--counts", "1,10,100", "--svg", svg.to_str().unwrap()],
    );

    for count in ["1 ", "10 ", "100 "] {
        let row: Vec<_> = row(&output, count).split_whitespace().collect();
        let [task_bytes, task_cancel, thread_bytes, thread_cancel] = row[..] else {
            panic!("{row:?} in\n{output}")
        };
        for bytes in [task_bytes, thread_bytes] {
            // A thread that blocks has touched a page of its stack at least.
            let bytes: f64 = bytes
                .parse()
                .unwrap_or_else(|_| panic!("no number: {bytes:?}"));
            assert!(bytes >= 4096.0, "{count}:\n{output}");
        }
        for cancel in [task_cancel, thread_cancel] {
            assert!(
                (Duration::ZERO..Duration::from_secs(30)).contains(&duration(cancel)),
                "{output}"
            );
        }
    }

    let tree = [
        "group `blocked` (",
        "): 1 failure\n└─ task `one more` (",
        "\n   this one cannot sleep\n",
        "plot: ",
    ];

    assert!(
        in_order(&output, &tree) && output.matches("group").count() == 2,
        "{output}"
    );
    assert_eq!(row(&output, "plot: "), svg.to_str().unwrap());
    let plot = fs::read_to_string(svg).unwrap();
    assert!(
        plot.starts_with("<svg") && plot.trim_end().ends_with("</svg>"),
        "{plot}"
    );

    for text in [
        "resident bytes for each",
        "cancel all, ms",
        "taskgroup",
        "std::thread",
        "blocked at once",
    ] {
        assert!(plot.contains(text), "the plot does not say {text:?}");
    }

    // Two lines in each of the two charts.
    assert!(plot.matches("<polyline").count() >= 4, "{plot}");
}

#[test]
fn a_plot_that_cannot_be_written_is_an_error() {
    let output = run("memory", &["--counts", "1", "--svg", "/nowhere/memory.svg"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stderr.contains("/nowhere/memory.svg"), "{output:?}");
}
