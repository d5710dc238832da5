//! The drawing, as text.

use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::{Color, Modifier};
use serde_json::{Value, json};
use taskgroup_top::{Action, App, Picture, escaped};

fn place(line: u32) -> Value {
    json!({ "file": "src/main.rs", "line": line, "column": 5 })
}

fn task(id: u64, kind: &str, group: u64, name: Option<&str>, state: &str) -> Value {
    json!({
        "id": id, "kind": kind, "group": group, "name": name, "location": place(id as u32),
        "state": state, "is_starting": false, "thread": "taskgroup", "system_thread": 1000 + id,
        "wait": null, "cancels_seen": 0, "cancel_seen_at": null, "inside": [], "later": true,
    })
}

fn wait(what: &str, line: Option<u32>, since: u64) -> Value {
    json!({
        "what": what, "location": line.map(place), "object": null, "target": null, "group": null,
        "holders": [], "held_by": [], "since_ns": since, "has_seen_cancel": false,
        "is_cancellable": true,
    })
}

fn group(id: u64, parent: Option<u64>, name: &str) -> Value {
    json!({
        "id": id, "parent": parent, "name": name, "location": place(id as u32), "policy": "",
        "limit": null, "remaining_ns": null, "cancelled": null, "queued": 0, "is_ending": false,
    })
}

fn picture(groups: Vec<Value>, tasks: Vec<Value>) -> Picture {
    let picture = json!({
        "process": {
            "id": 4711, "name": "demo", "queued": 3, "running": 4, "finished": 12, "failed": 1,
            "cancelled": 2, "threads": 7, "peak_threads": 8, "idle_workers": 2,
            "longest_cancel_ns": 2_500_000,
        },
        "cancellable": [1, 20],
        "snapshot": {
            "version": 1, "groups": groups, "tasks": tasks, "workers": [], "abandoned": [],
            "incomplete": 0, "notes": [],
        },
    });
    Picture::read(&picture.to_string()).unwrap()
}

/// A limited group with a nested one, which was cancelled.
fn example() -> Picture {
    let mut outer = group(1, None, "imports");
    outer["limit"] = json!({ "total": 4, "held": 3, "lent": 0 });
    outer["remaining_ns"] = json!(28_500_000_000_u64);
    outer["queued"] = json!(3);
    let mut inner = group(20, Some(3), "shards");
    inner["cancelled"] = json!({
        "kind": "task_failed", "text": "task 23 failed: no digit", "location": place(38),
        "origin": 20,
    });

    inner["is_ending"] = json!(true);

    let mut reader = task(2, "task", 1, Some("reader"), "foreign");
    reader["wait"] = wait("recvfrom (system call, not of this crate)", None, 0);
    reader["wait"]["target"] = json!("fd 4");
    let mut end = task(20, "body", 20, None, "waiting");
    end["wait"] = wait("the end of the scope", Some(20), 1_400_000_000);
    end["wait"]["group"] = json!(20);
    let mut north = task(21, "task", 20, Some("north"), "waiting");
    north["wait"] = wait("Event::wait", Some(31), 1_400_000_000);
    north["wait"]["is_cancellable"] = json!(false);
    north["inside"] = json!([{ "region": "shield", "location": place(30) }]);
    north["cancels_seen"] = json!(2);
    north["cancel_seen_at"] = place(29);
    let mut parser = task(4, "task", 1, Some("parser"), "waiting");
    parser["wait"] = wait("Mutex::lock", Some(43), 250_000_000);
    parser["wait"]["object"] = json!("#be1ae819");
    parser["wait"]["held_by"] = json!([{
        "task": 3, "name": "writer", "thread": "taskgroup", "location": place(25),
    }]);

    let tasks = vec![
        task(9, "task", 1, Some("later"), "queued"),
        reader,
        task(3, "task", 1, Some("writer"), "in_scope"),
        task(1, "body", 1, None, "running"),
        parser,
        end,
        north,
    ];
    picture(vec![outer, inner], tasks)
}

/// The screen as lines, without the blanks at their ends.
fn drawn(app: &mut App, now: Instant, width: u16, height: u16) -> Vec<String> {
    let terminal = terminal(app, now, width, height);
    let buffer = terminal.backend().buffer();
    let lines = buffer.content().chunks(usize::from(width.max(1)));
    lines
        .map(|cells| {
            let line: String = cells.iter().map(|cell| cell.symbol()).collect();
            line.trim_end().to_owned()
        })
        .collect()
}

fn terminal(app: &mut App, now: Instant, width: u16, height: u16) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| app.draw(frame, now)).unwrap();
    terminal
}

fn press(app: &mut App, key: KeyCode) -> Option<Action> {
    app.press(KeyEvent::new(key, KeyModifiers::NONE))
}

fn presses(app: &mut App, keys: &str) {
    for key in keys.chars() {
        assert_eq!(press(app, KeyCode::Char(key)), Some(Action::Draw), "{key}");
    }
}

/// Compares a screen with the file of this name.
#[track_caller]
fn assert_lines(lines: &[String], name: &str) {
    let file = format!("{}/tests/drawn/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let expected = std::fs::read_to_string(&file).unwrap();
    assert_eq!(lines.join("\n").trim_end(), expected.trim_end(), "{file}");
}

#[test]
fn a_picture_is_a_tree_with_columns() {
    let now = Instant::now();
    let mut app = App::new(example(), now, true);
    let lines = drawn(&mut app, now, 120, 15);
    assert_lines(&lines, "wide");

    let lines = drawn(&mut app, now, 70, 15);
    assert_lines(&lines, "narrow");

    let lines = drawn(&mut app, now, 40, 15);
    assert_lines(&lines, "small");
}

#[test]
fn keys_fold_groups_and_show_details() {
    let now = Instant::now();
    let mut app = App::new(example(), now, true);

    // The writer, with its group below.
    presses(&mut app, "jjj ");
    assert_lines(&drawn(&mut app, now, 80, 16), "details");
    presses(&mut app, "h");

    // Two keys to the group of the shards, which is folded, and then to the row around it.
    presses(&mut app, "jh");
    let lines = drawn(&mut app, now, 80, 16);
    assert!(
        lines
            .iter()
            .any(|line| line.contains("▸ group 20 `shards`")),
        "{lines:#?}"
    );

    assert!(
        !lines.iter().any(|line| line.contains("`north`")),
        "{lines:#?}"
    );
    presses(&mut app, "hh");
    let terminal = terminal(&mut app, now, 80, 16);
    let selected = terminal.backend().buffer()[(10, 3)].modifier;
    assert!(selected.contains(Modifier::REVERSED));

    // Folded, the whole is one row.
    presses(&mut app, "h");
    let lines = drawn(&mut app, now, 80, 16);
    assert!(
        lines[3].contains("▸ group 1 `imports`") && lines[4].is_empty(),
        "{lines:#?}"
    );

    // A new picture leaves it so.
    app.show(example(), now);
    assert_eq!(drawn(&mut app, now, 80, 16), lines);
    presses(&mut app, "l");
    assert!(drawn(&mut app, now, 80, 16)[4].contains("body"));
}

#[test]
fn a_group_is_cancelled_after_a_question() {
    let now = Instant::now();
    let mut app = App::new(example(), now, true);
    let footer = |app: &mut App| drawn(app, now, 80, 12)[11].clone();
    assert!(footer(&mut app).contains("q quit"), "{}", footer(&mut app));
    presses(&mut app, "jjc");
    assert_eq!(
        footer(&mut app),
        " cancel group 1 `imports` with 6 tasks? y/n"
    );

    presses(&mut app, "n");
    assert_eq!(footer(&mut app), " not cancelled");
    presses(&mut app, "c");
    assert_eq!(press(&mut app, KeyCode::Char('y')), Some(Action::Cancel(1)));

    app.answered(1, "cancelled");
    assert_eq!(footer(&mut app), " group 1 `imports`: cancelled");
    app.answered(99, "gone");
    assert_eq!(footer(&mut app), " group 99 is gone: it has ended");
    app.answered(99, "not asked");
    let text = " group 99: the process has not answered the last cancels yet";
    assert_eq!(footer(&mut app), text);

    // A group that the process does not offer.
    let mut app = App::new(picture(vec![group(5, None, "own")], vec![]), now, true);
    presses(&mut app, "c");
    assert!(
        footer(&mut app).contains("is not offered"),
        "{}",
        footer(&mut app)
    );
}

#[test]
fn cancelled_and_stalled_groups_are_told_apart_with_and_without_colours() {
    let begin = Instant::now();
    let texts = [true, false].map(|has_colour| {
        let mut app = App::new(example(), begin, has_colour);
        let early = drawn(&mut app, begin, 100, 12);
        let row = early.iter().find(|line| line.contains("`shards`")).unwrap();
        assert!(row.starts_with('×') && row.contains(" cancelled "), "{row}");

        let later = begin + Duration::from_secs(6);
        app.show(example(), later);
        let late = drawn(&mut app, later, 100, 12);
        let row = late.iter().find(|line| line.contains("`shards`")).unwrap();
        assert!(row.starts_with('!') && row.contains(" stalled "), "{row}");

        let terminal = terminal(&mut app, later, 100, 12);
        let mut cells = terminal.backend().buffer().content().iter();
        assert_eq!(cells.any(|cell| cell.fg != Color::Reset), has_colour);
        (early, late)
    });
    assert_eq!(texts[0], texts[1]);
}

#[test]
fn names_cannot_act_on_the_terminal() {
    let evil = "a\nb\u{1b}[2J\u{7}\u{202e}\u{200f}c";
    let shown = "a\\nb\\u{1b}[2J\\u{7}\\u{202e}\\u{200f}c";
    assert_eq!(escaped(evil), shown);
    assert_eq!(escaped(&"é".repeat(10_000)), "é".repeat(120) + "..");

    let mut outer = group(1, None, evil);
    outer["location"]["file"] = json!(evil);
    outer["cancelled"] =
        json!({ "kind": "requested", "text": evil, "location": place(1), "origin": 1 });
    let mut inside = task(2, "task", 1, Some(evil), evil);
    inside["wait"] = wait(evil, None, 1);
    inside["wait"]["target"] = json!(evil);
    inside["wait"]["object"] = json!(evil);
    inside["wait"]["held_by"] =
        json!([{ "task": 3, "name": evil, "thread": evil, "location": place(1) }]);
    inside["thread"] = json!(evil);
    inside["inside"] = json!([{ "region": evil, "location": place(1) }]);
    let now = Instant::now();
    let mut app = App::new(picture(vec![outer], vec![inside]), now, true);
    presses(&mut app, "jj ");

    let lines = drawn(&mut app, now, 300, 20);
    let is_bad = |c: char| c.is_control() || matches!(c, '\u{202e}' | '\u{200f}');
    assert!(!lines.concat().contains(is_bad), "{lines:#?}");
    assert!(
        lines[3].contains(&format!("group 1 `{shown}`")),
        "{lines:#?}"
    );

    assert!(
        lines[5].contains(&format!("task 2 `{shown}`")),
        "{lines:#?}"
    );
    app.answered(7, evil);
    assert!(drawn(&mut app, now, 300, 20)[19].contains(shown));
}

#[test]
fn every_size_of_the_terminal_is_drawn() {
    let now = Instant::now();
    let mut app = App::new(example(), now, true);
    for keys in ["", "c", "n", "?"] {
        presses(&mut app, keys);
        for width in 0..=40 {
            for height in 0..=9 {
                drawn(&mut app, now, width, height);
            }
        }
    }

    // The selected row is among the two that are left.
    let lines = drawn(&mut app, now, 10, 3);
    assert_eq!(lines.len(), 3);
    assert!(lines[2].contains("q quit"), "{lines:#?}");
    presses(&mut app, "xG"); // the first key closes the help
    let terminal = terminal(&mut app, now, 10, 3);
    let cells = terminal.backend().buffer();
    assert!(cells[(0, 1)].modifier.contains(Modifier::REVERSED));
}

#[test]
fn help_covers_the_rows_until_the_next_key() {
    let now = Instant::now();
    let mut app = App::new(example(), now, true);
    let before = drawn(&mut app, now, 80, 24);
    presses(&mut app, "?");
    let help = drawn(&mut app, now, 80, 24);
    assert!(
        help.iter()
            .any(|line| line.contains("cancel the group of the row"))
    );
    presses(&mut app, "x");
    assert_eq!(drawn(&mut app, now, 80, 24), before);
}

#[test]
fn a_paused_view_keeps_its_picture_and_an_old_one_says_so() {
    let now = Instant::now();
    let mut app = App::new(example(), now, true);
    presses(&mut app, "p");
    app.show(picture(vec![], vec![]), now);
    let lines = drawn(&mut app, now, 100, 12);
    assert!(
        lines[0].ends_with("PAUSED") && lines[3].contains("`imports`"),
        "{lines:#?}"
    );

    presses(&mut app, "p");
    let later = now + Duration::from_secs(7);
    let lines = drawn(&mut app, later, 100, 12);
    assert!(lines[0].ends_with("NO ANSWER FOR 7 s"), "{lines:#?}");
}

#[test]
fn the_selected_row_stays_while_others_come_and_go() {
    let now = Instant::now();
    let tasks = |ids: &[u64]| {
        let tasks = ids.iter().map(|id| task(*id, "task", 1, None, "running"));
        picture(vec![group(1, None, "g")], tasks.collect())
    };

    let mut app = App::new(tasks(&[2, 3, 4]), now, true);
    let selected = |app: &mut App| {
        let terminal = terminal(app, now, 40, 12);
        let buffer = terminal.backend().buffer();
        let is_selected = |y: &u16| buffer[(20, *y)].modifier.contains(Modifier::REVERSED);
        let y = (3..11).find(is_selected).unwrap();
        let line: String = (0..30).map(|x| buffer[(x, y)].symbol()).collect();
        line.trim().to_owned()
    };

    presses(&mut app, "jj");
    assert!(selected(&mut app).contains("task 3"));
    app.show(tasks(&[5, 2, 6, 3]), now);
    assert!(selected(&mut app).contains("task 3"));

    // It has ended. The row at its place is selected, or the last one.
    app.show(tasks(&[5, 2, 6]), now);
    assert!(selected(&mut app).contains("task 6"));
    app.show(tasks(&[]), now);
    assert!(selected(&mut app).contains("group 1"));
}

#[test]
fn ten_thousand_tasks_are_a_screen_at_a_time() {
    let now = Instant::now();
    let tasks = (2..10_002).map(|id| task(id, "task", 1, None, "running"));
    let mut app = App::new(
        picture(vec![group(1, None, "g")], tasks.collect()),
        now,
        true,
    );

    let begun = Instant::now();
    for _ in 0..100 {
        press(&mut app, KeyCode::PageDown);
        drawn(&mut app, now, 80, 24);
    }

    press(&mut app, KeyCode::End);
    let lines = drawn(&mut app, now, 80, 24);
    assert!(lines[22].contains("└─ task 10001"), "{lines:#?}");

    // A hundred times all rows would take far longer.
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[test]
fn what_is_no_picture_is_refused_with_a_reason() {
    let reason = |json: &str| Picture::read(json).unwrap_err().to_string();
    assert_eq!(reason(r#"{"refused":"only user 7"}"#), "only user 7");
    assert!(reason("HTTP/1.1 400 Bad Request").starts_with("this is no picture"));

    // A newer version need not have the fields that this one has.
    for newer in [
        r#"{"process":{},"cancellable":[],"snapshot":{"version":2,"groups":[],"tasks":[],
            "abandoned":[],"incomplete":0,"notes":[]}}"#,
        r#"{"process":[],"snapshot":{"version":2,"scopes":[{"id":"a"}]}}"#,
    ] {
        let expected = "the process sends version 2, and this reads 1";
        assert_eq!(reason(newer), expected);
    }
    let unknown = r#"{"process":{},"cancellable":[],"snapshot":{"groups":[],"tasks":[],
        "abandoned":[],"incomplete":0,"notes":[]}}"#;
    assert!(reason(unknown).starts_with("this is no picture"));

    // No snapshot has a loop of parents, but a drawing of one must not hang.
    let mut looped = group(1, Some(2), "a");
    looped["queued"] = json!(0);
    let looped = picture(vec![looped], vec![task(2, "task", 1, None, "running")]);
    drawn(
        &mut App::new(looped, Instant::now(), true),
        Instant::now(),
        80,
        24,
    );
}
