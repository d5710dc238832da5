//! The picture and the trace of a run.

mod run;

use std::fs;

use run::{in_order, row, run_well};

#[test]
fn a_run_becomes_a_picture_and_a_trace() {
    let folder = tempfile::tempdir().unwrap();
    let (svg, trace) = (
        folder.path().join("run.svg"),
        folder.path().join("run.json"),
    );

    let output = run_well(
        "timeline",
        &[
            "--svg",
            svg.to_str().unwrap(),
            "--trace",
            trace.to_str().unwrap(),
        ],
    );

    let report = ["group `import` (", "task `shard 5` (", "shard 5 is damaged"];
    assert!(in_order(&output, &report), "{output}");
    assert_eq!(row(&output, "picture: "), svg.to_str().unwrap());

    let picture = fs::read_to_string(svg).unwrap();
    assert!(
        picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>"),
        "{picture}"
    );

    for part in [
        "finished",
        "failed",
        "cancelled",
        "waits",
        "scope",
        "main",
        "worker 1",
        "cancel: ",
    ] {
        assert!(picture.contains(part), "the picture does not say {part:?}");
    }

    let trace = fs::read_to_string(trace).unwrap();
    let events = trace.trim();
    assert!(events.starts_with('[') && events.ends_with(']'), "{events}");
    for part in [
        "\"name\":\"shard 5\"",
        "\"name\":\"cancelled\"",
        "\"ph\":\"B\"",
        "\"ph\":\"E\"",
        "thread_name",
    ] {
        assert!(trace.contains(part), "the trace does not say {part:?}");
    }
}
