//! The drawing of a timeline.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use anyhow::anyhow;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{Bar, Timeline};

const WIDTH: i32 = 1040;
const LEFT: i32 = 110;
const RIGHT: i32 = 24;
const TOP: i32 = 74;
const LANE: i32 = 40;
const BAR: i32 = 30;
const BOTTOM: i32 = 44;

/// The least width of a bar, so that a short task can be seen.
const THIN: i32 = 2;

/// About the width of a character of the names: the fonts are not known here.
const CHARACTER: i32 = 7;

const INK: RGBColor = RGBColor(40, 48, 56);
const FAINT: RGBColor = RGBColor(214, 220, 226);
const CANCEL: RGBColor = RGBColor(190, 30, 45);

/// Outcomes and their colours, which remain distinct for readers with red-green blindness.
const OUTCOMES: [(&str, RGBColor); 4] = [
    ("finished", RGBColor(86, 180, 163)),
    ("failed", RGBColor(213, 94, 0)),
    ("panicked", RGBColor(154, 79, 134)),
    ("cancelled", RGBColor(240, 196, 92)),
];

fn colour(outcome: Option<&str>) -> RGBColor {
    let known = OUTCOMES.iter().find(|(name, _)| Some(*name) == outcome);
    known.map_or(FAINT, |(_, colour)| *colour)
}

/// The most characters of a name or a cause that are shown.
const LONGEST: usize = 100;

/// Returns a text of the program as a label: on one line, and without the characters that a file in
/// XML cannot have.
fn label(text: &str) -> String {
    let mut shown = String::new();
    for (at, c) in text.chars().enumerate() {
        if at == LONGEST {
            shown.push_str("..");
            break;
        }
        // Characters that turn the direction of the text would turn the rest of the label too.
        let is_turn = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' | '\u{61c}');
        if c.is_control() || is_turn || matches!(c, '\u{fffe}' | '\u{ffff}') {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// How wide a text is, about.
fn width_of(text: &str) -> i32 {
    CHARACTER * text.chars().count() as i32
}

/// The marks of the axis: the unit, its length in milliseconds, and the marks as counts of it.
fn marks(total: u128) -> (&'static str, u128, Vec<u128>) {
    // A round step, so that there are five to ten of them.
    const STEPS: [u128; 18] = [
        1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 120_000,
        300_000, 600_000,
    ];
    let hours = (1..).map(|hours| hours * 3_600_000);
    let mut steps = STEPS.into_iter().chain(hours);
    let step = steps.find(|step| total / step <= 10).unwrap_or(total);
    let (unit, length) = match step {
        0..1_000 => ("ms", 1),
        1_000..60_000 => ("s", 1_000),
        60_000..3_600_000 => ("min", 60_000),
        _ => ("h", 3_600_000),
    };
    let marks = (0..=total / step).map(|mark| mark * step / length);
    (unit, length, marks.collect())
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

impl Timeline {
    /// Writes the picture. The fonts are the viewer's.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn save_svg(&self, title: &str, path: &Path) -> anyhow::Result<()> {
        let height = TOP + LANE * self.lanes.len() as i32 + BOTTOM;
        let root = SVGBackend::new(path, (WIDTH as u32, height as u32)).into_drawing_area();
        self.draw(title, &root)
            .and_then(|()| Ok(root.present()?))
            .map_err(|error| anyhow!("cannot write {}: {error}", path.display()))
    }

    fn draw(&self, title: &str, root: &Area<'_>) -> anyhow::Result<()> {
        root.fill(&WHITE)?;
        text(root, &label(title), (LEFT, 16), 17, INK)?;
        self.legend(root)?;
        self.axis(root)?;

        for (index, (name, bars)) in self.lanes.iter().enumerate() {
            let top = TOP + LANE * index as i32;
            let line = [(LEFT, top + LANE - 4), (WIDTH - RIGHT, top + LANE - 4)];
            root.draw(&PathElement::new(line, FAINT))?;
            let name = match name.as_str() {
                // The name that the crate gives to all of its workers.
                "taskgroup" => format!("worker {index}"),
                name => label(name),
            };
            text(root, &cut(&name, LEFT - 14), (10, top + 9), 13, INK)?;
            self.lane(root, bars, top)?;
        }
        self.gap(root)?;
        self.cancels(root)
    }

    /// Draws the bars of a lane.
    fn lane(&self, root: &Area<'_>, bars: &[Bar], top: i32) -> anyhow::Result<()> {
        // Of many short tasks at one place one bar is drawn, and those that did not finish cover
        // the ones that did.
        let mut drawn = HashSet::new();
        let (thin, wide): (Vec<_>, Vec<_>) = bars.iter().partition(|bar| self.is_thin(bar));
        for bar in wide {
            self.bar(root, bar, top)?;
        }
        let is_finished = |bar: &&Bar| bar.outcome.as_deref() == Some("finished");
        let (finished, others): (Vec<_>, Vec<_>) = thin.into_iter().partition(is_finished);
        for bar in finished.into_iter().chain(others) {
            if drawn.insert((self.x(bar.begin), bar.depth, bar.outcome.as_deref())) {
                self.bar(root, bar, top)?;
            }
        }
        Ok(())
    }

    fn is_thin(&self, bar: &Bar) -> bool {
        self.x(bar.end.unwrap_or(self.end)) - self.x(bar.begin) <= THIN
    }

    /// Draws the cancels, and the causes of those that have room for it.
    fn cancels(&self, root: &Area<'_>) -> anyhow::Result<()> {
        let bottom = TOP + LANE * self.lanes.len() as i32;
        let (mut last, mut free, mut silent) = (None, LEFT, 0);
        for (at, cause) in &self.cancels {
            let x = self.x(*at);
            if last.replace(x) != Some(x) {
                let line = [(x, TOP - 12), (x, bottom)];
                root.draw(&PathElement::new(line, CANCEL.stroke_width(2)))?;
            }

            // To the left of its line where there is no room at the right.
            let says = cut(&label(&format!("cancel: {cause}")), WIDTH - LEFT);
            let width = width_of(&says);
            let left = if x + 6 + width < WIDTH {
                x + 6
            } else {
                (x - 2 - width).max(LEFT)
            };
            if left < free {
                silent += 1;
                continue;
            }
            free = left + width + CHARACTER;
            text(root, &says, (left, TOP - 22), 12, CANCEL)?;
        }

        if silent != 0 {
            let says = format!("{silent} more cancels without their causes");
            let left = WIDTH - RIGHT - width_of(&says);
            text(root, &says, (left, 16), 12, CANCEL)?;
        }
        Ok(())
    }

    fn x(&self, at: Duration) -> i32 {
        let part = at.as_secs_f64() / self.end.as_secs_f64().max(1e-9);
        LEFT + (part * f64::from(WIDTH - LEFT - RIGHT)) as i32
    }

    fn legend(&self, root: &Area<'_>) -> anyhow::Result<()> {
        let mut x = LEFT;
        for (name, colour) in OUTCOMES {
            root.draw(&Rectangle::new([(x, 34), (x + 14, 46)], colour.filled()))?;
            text(root, name, (x + 19, 34), 12, INK)?;
            x += 30 + width_of(name);
        }
        let waits = [(x, 34), (x + 14, 46)];
        root.draw(&Rectangle::new(waits, FAINT.filled()))?;
        hatch(root, waits[0], waits[1])?;
        text(root, "waits", (x + 19, 34), 12, INK)?;

        x += 30 + width_of("waits");
        root.draw(&Rectangle::new([(x, 34), (x + 14, 46)], INK))?;
        text(root, "scope", (x + 19, 34), 12, INK)
    }

    /// Draws the time of which too little is known.
    fn gap(&self, root: &Area<'_>) -> anyhow::Result<()> {
        let Some((lost, from)) = self.lost else {
            return Ok(());
        };
        let (left, right) = (self.x(from), WIDTH - RIGHT);
        let bottom = TOP + LANE * self.lanes.len() as i32;
        let area = Rectangle::new([(left, TOP), (right, bottom)], FAINT.mix(0.5).filled());
        root.draw(&area)?;
        let says = format!("{lost} events are missing");
        let left = (right - width_of(&says)).max(LEFT);
        text(root, &says, (left, 34), 12, CANCEL)
    }

    fn axis(&self, root: &Area<'_>) -> anyhow::Result<()> {
        let bottom = TOP + LANE * self.lanes.len() as i32 + 6;
        let (unit, length, marks) = marks(self.end.as_millis().max(1));
        for mark in marks {
            let x = self.x(Duration::from_millis((mark * length) as u64));
            root.draw(&PathElement::new([(x, TOP - 6), (x, bottom)], FAINT))?;
            let unit = if mark == 0 {
                format!("0 {unit}")
            } else {
                mark.to_string()
            };
            let style = TextStyle::from(("sans-serif", 12).into_font())
                .color(&INK)
                .pos(Pos::new(HPos::Center, VPos::Top));
            root.draw(&Text::new(unit, (x, bottom + 6), style))?;
        }
        Ok(())
    }

    fn bar(&self, root: &Area<'_>, bar: &Bar, top: i32) -> anyhow::Result<()> {
        let inset = (4 * bar.depth as i32).min(BAR / 2 - 4);
        let (y0, y1) = (top + inset, top + BAR - inset);
        let x0 = self.x(bar.begin);
        let x1 = self.x(bar.end.unwrap_or(self.end)).max(x0 + THIN);
        if bar.is_group {
            root.draw(&Rectangle::new([(x0, y0 - 2), (x1, y1 + 2)], INK))?;
            return Ok(());
        }

        let fill = colour(bar.outcome.as_deref());
        root.draw(&Rectangle::new([(x0, y0), (x1, y1)], fill.filled()))?;
        for (begin, end) in &bar.waits {
            let from = self.x(*begin).clamp(x0, x1);
            let to = self.x(*end).clamp(x0, x1);
            hatch(root, (from, y0), (to, y1))?;
        }
        root.draw(&Rectangle::new([(x0, y0), (x1, y1)], INK.mix(0.6)))?;

        let name = label(&bar.name);
        let width = width_of(&name);
        if x1 - x0 - 8 >= width {
            let (left, middle) = (x0 + 5, (y0 + y1) / 2);
            // A ground, so that the hatching does not cross the name.
            let ground = [(left - 2, middle - 8), (left + width + 2, middle + 7)];
            root.draw(&Rectangle::new(ground, fill.filled()))?;
            text(root, &name, (left, middle - 7), 12, INK)?;
        }
        Ok(())
    }
}

/// Cuts a label that is wider than there is room.
fn cut(label: &str, room: i32) -> String {
    if width_of(label) <= room {
        return label.to_owned();
    }
    let kept = (room / CHARACTER - 2).max(0) as usize;
    label.chars().take(kept).chain("..".chars()).collect()
}

fn text(
    root: &Area<'_>,
    text: &str,
    at: (i32, i32),
    size: u32,
    colour: RGBColor,
) -> anyhow::Result<()> {
    let style = TextStyle::from(("sans-serif", size).into_font()).color(&colour);
    root.draw(&Text::new(text.to_owned(), at, style))?;
    Ok(())
}

/// Hatches a rectangle.
fn hatch(root: &Area<'_>, (x0, y0): (i32, i32), (x1, y1): (i32, i32)) -> anyhow::Result<()> {
    let height = y1 - y0;
    let mut x = x0 - height;
    while x < x1 {
        // From (x, y1) to (x + height, y0), as far as it is inside.
        let from = x.max(x0);
        let to = (x + height).min(x1);
        if from < to {
            let line = [(from, y1 - (from - x)), (to, y1 - (to - x))];
            root.draw(&PathElement::new(line, INK.mix(0.45)))?;
        }
        x += 6;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::thread::{self, ThreadId};

    use super::super::{Happened, Known, MOST_EVENTS, Recorded};
    use super::*;

    const STEP: Duration = Duration::from_millis(10);

    /// A record of spans with these names and outcomes, by their places.
    fn record(spans: &[(&str, Option<&str>)]) -> Recorded {
        let spans = spans.iter().enumerate().map(|(span, (name, outcome))| {
            let known = Known {
                name: (*name).to_owned(),
                outcome: outcome.map(str::to_owned),
                is_group: false,
            };
            (span as u64, known)
        });
        Recorded {
            spans: spans.collect(),
            ..Recorded::default()
        }
    }

    impl Recorded {
        /// Adds a thread, with a name that need not be its own.
        fn thread(&mut self, name: &str) -> ThreadId {
            let thread = thread::spawn(|| thread::current().id());
            let thread = thread.join().expect("it does not panic");
            self.threads.push((thread, name.to_owned()));
            thread
        }

        /// Adds events, one after each step.
        fn happens(&mut self, events: impl IntoIterator<Item = Happened>) {
            for event in events {
                let at = STEP * (self.events.len() + self.lost) as u32;
                self.push(at, event);
            }
        }
    }

    fn drawn(timeline: &Timeline) -> String {
        let file = tempfile::NamedTempFile::new().expect("there is room");
        timeline
            .save_svg("drawn", file.path())
            .expect("there is room");
        std::fs::read_to_string(file.path()).expect("it was written")
    }

    /// The bars of a lane, in the order of their begins.
    fn bars(timeline: &Timeline, lane: usize) -> Vec<(&str, usize, Option<Duration>)> {
        let bars = timeline.lanes[lane].1.iter();
        bars.map(|bar| (&*bar.name, bar.depth, bar.end)).collect()
    }

    #[test]
    fn a_task_in_place_stands_inside_of_its_joiner() {
        use Happened::{Enter, Exit};
        let mut recorded = record(&[("joiner", Some("finished")), ("in place", Some("failed"))]);
        let thread = recorded.thread("taskgroup");
        recorded.happens([
            Enter(thread, 0),
            Enter(thread, 1),
            Exit(thread, 1),
            Exit(thread, 0),
        ]);
        let timeline = Timeline::new(&recorded, 4 * STEP);
        let expected = [
            ("joiner", 0, Some(3 * STEP)),
            ("in place", 1, Some(2 * STEP)),
        ];
        assert_eq!(bars(&timeline, 0), expected);
        assert_eq!(timeline.size(), (1, 2));
    }

    #[test]
    fn a_task_that_has_not_ended_has_no_outcome_and_one_that_never_ran_no_bar() {
        let mut recorded = record(&[("goes on", None), ("never ran", Some("never_ran"))]);
        let thread = recorded.thread("taskgroup");
        recorded.happens([Happened::Enter(thread, 0)]);
        let timeline = Timeline::new(&recorded, 10 * STEP);
        assert_eq!(bars(&timeline, 0), [("goes on", 0, None)]);
        assert_eq!(colour(timeline.lanes[0].1[0].outcome.as_deref()), FAINT);

        // To the end of the picture.
        let picture = drawn(&timeline);
        let width = timeline.x(timeline.end) - LEFT;
        assert!(picture.contains(&format!("width=\"{width}\"")), "{picture}");
        assert!(!picture.contains("never ran"), "{picture}");
    }

    #[test]
    fn each_thread_has_a_lane_whatever_its_name_is() {
        use Happened::{Enter, Exit};
        let mut recorded = record(&[("first", Some("finished")), ("second", Some("finished"))]);
        let threads = [(); 2].map(|()| recorded.thread("taskgroup"));
        for (span, thread) in threads.into_iter().enumerate() {
            recorded.happens([Enter(thread, span as u64), Exit(thread, span as u64)]);
        }
        let timeline = Timeline::new(&recorded, 4 * STEP);
        assert_eq!(bars(&timeline, 0), [("first", 0, Some(STEP))]);
        assert_eq!(bars(&timeline, 1), [("second", 0, Some(3 * STEP))]);
    }

    #[test]
    fn events_for_which_there_is_no_room_are_a_gap_and_no_task_that_runs_for_ever() {
        use Happened::{Enter, Exit};
        let mut recorded = record(&[("brief", Some("finished")), ("long", Some("finished"))]);
        let thread = recorded.thread("main");
        recorded.happens([Enter(thread, 1)]);
        while recorded.lost < 3 {
            recorded.happens([Enter(thread, 0), Exit(thread, 0)]);
        }
        recorded.happens([Exit(thread, 1)]);

        let full = STEP * MOST_EVENTS as u32;
        let timeline = Timeline::new(&recorded, 2 * full);
        assert_eq!(timeline.lost, Some((recorded.lost, full)));
        assert_eq!(bars(&timeline, 0)[0], ("long", 0, Some(full)));
    }

    #[test]
    fn the_picture_says_how_many_events_are_missing() {
        let mut recorded = record(&[("long", None)]);
        let thread = recorded.thread("main");
        recorded.happens([Happened::Enter(thread, 0)]);
        let whole = drawn(&Timeline::new(&recorded, 4 * STEP));
        assert!(!whole.contains("missing"), "{whole}");

        (recorded.lost, recorded.lost_from) = (7, 2 * STEP);
        let picture = drawn(&Timeline::new(&recorded, 4 * STEP));
        assert!(picture.contains("7 events are missing"), "{picture}");
    }

    #[test]
    fn names_of_any_kind_leave_the_picture_a_file_that_viewers_read() {
        let hostile = "<b>&\"]]>\u{1b}[31m\0\n\u{202e}\u{ffff}";
        let long = hostile.repeat(1_000);
        let mut recorded = record(&[(hostile, Some("failed")), (&long, None)]);
        let thread = recorded.thread(&long);
        let enters = [0, 1].map(|span| Happened::Enter(thread, span));
        recorded.happens(enters.into_iter().chain([Happened::Cancel(long)]));
        let picture = drawn(&Timeline::new(&recorded, 100 * STEP));

        let is_allowed = |c: char| c == '\n' || !c.is_control() && c != '\u{ffff}';
        assert!(picture.chars().all(is_allowed), "{picture:?}");
        assert!(!picture.contains("<b>") && !picture.contains('\u{202e}'));
        let shown = "&lt;b&gt;&amp;&quot;]]&gt;\\u{1b}[31m\\u{0}\\n\\u{202e}\\u{ffff}";
        assert!(picture.contains(shown), "{picture}");
        let longest = picture.lines().map(str::len).max();
        assert!(longest < Some(2 * LONGEST * "&quot;".len()), "{longest:?}");
    }

    #[test]
    fn the_marks_of_a_run_of_any_length_are_few_and_round() {
        for (total, expected) in [
            (1, ("ms", vec![0, 1])),
            (90, ("ms", vec![0, 10, 20, 30, 40, 50, 60, 70, 80, 90])),
            (
                4_100,
                (
                    "ms",
                    vec![0, 500, 1_000, 1_500, 2_000, 2_500, 3_000, 3_500, 4_000],
                ),
            ),
            (45_000, ("s", vec![0, 5, 10, 15, 20, 25, 30, 35, 40, 45])),
            (1_500_000, ("min", vec![0, 5, 10, 15, 20, 25])),
            (90_000_000, ("h", vec![0, 3, 6, 9, 12, 15, 18, 21, 24])),
        ] {
            let (unit, length, found) = marks(total);
            assert_eq!((unit, &found), (expected.0, &expected.1), "{total}");
            assert!(found.last().expect("there is one") * length <= total);
            assert!(found.len() <= 11, "{total}");
        }
    }

    #[test]
    fn a_hundred_thousand_tasks_are_a_picture_of_a_few_thousand_bars_with_every_failure() {
        use Happened::{Enter, Exit};
        let names: Vec<_> = (0..MOST_EVENTS / 2)
            .map(|span| match span {
                777 => ("broken", Some("failed")),
                _ => ("brief", Some("finished")),
            })
            .collect();
        let mut recorded = record(&names);
        let thread = recorded.thread("main");
        for span in 0..names.len() as u64 {
            recorded.happens([Enter(thread, span), Exit(thread, span)]);
        }
        let timeline = Timeline::new(&recorded, STEP * MOST_EVENTS as u32);
        assert_eq!(
            (timeline.size(), timeline.lost),
            ((1, MOST_EVENTS / 2), None)
        );

        let picture = drawn(&timeline);
        assert!(picture.len() < 1 << 20, "{}", picture.len());
        // The legend and the bar, which nothing covers.
        let failed = picture.rmatch_indices("#D55E00").next();
        let finished = picture.rmatch_indices("#56B4A3").next();
        assert_eq!(picture.matches("#D55E00").count(), 2);
        assert!(failed > finished);
    }

    #[test]
    fn of_many_cancels_those_with_room_for_it_say_their_cause() {
        let mut recorded = record(&[]);
        let cancels = (0..1_000).map(|cancel| Happened::Cancel(format!("number {cancel}")));
        recorded.happens(cancels);
        let picture = drawn(&Timeline::new(&recorded, 1_000 * STEP));
        let causes = picture.matches("cancel: number").count();
        assert!((3..20).contains(&causes), "{causes}");
        let rest = format!("{} more cancels", 1_000 - causes);
        assert!(picture.contains(&rest), "{picture}");
    }
}
