//! The drawing of a timeline.

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
        text(root, title, (LEFT, 16), 17, INK)?;
        self.legend(root)?;
        self.axis(root)?;

        for (index, (name, bars)) in self.lanes.iter().enumerate() {
            let top = TOP + LANE * index as i32;
            let line = [(LEFT, top + LANE - 4), (WIDTH - RIGHT, top + LANE - 4)];
            root.draw(&PathElement::new(line, FAINT))?;
            let name = match name.as_str() {
                // The name that the crate gives to all of its workers.
                "taskgroup" => format!("worker {index}"),
                name => name.to_owned(),
            };
            text(root, &name, (10, top + 9), 13, INK)?;
            for bar in bars {
                self.bar(root, bar, top)?;
            }
        }
        self.gap(root)?;

        for (at, cause) in &self.cancels {
            let x = self.x(*at);
            let bottom = TOP + LANE * self.lanes.len() as i32;
            let line = [(x, TOP - 12), (x, bottom)];
            root.draw(&PathElement::new(line, CANCEL.stroke_width(2)))?;
            let label = format!("cancel: {cause}");
            let width = CHARACTER * label.chars().count() as i32;
            // To the left of its line where there is no room at the right.
            let left = if x + 6 + width < WIDTH {
                x + 6
            } else {
                (x - 2 - width).max(LEFT)
            };
            text(root, &label, (left, TOP - 22), 12, CANCEL)?;
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
            x += 30 + CHARACTER * name.len() as i32;
        }
        let waits = [(x, 34), (x + 14, 46)];
        root.draw(&Rectangle::new(waits, FAINT.filled()))?;
        hatch(root, waits[0], waits[1])?;
        text(root, "waits", (x + 19, 34), 12, INK)?;
        Ok(())
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
        let label = format!("{lost} events are missing");
        let width = CHARACTER * label.len() as i32;
        text(root, &label, ((right - width).max(LEFT), 34), 12, CANCEL)
    }

    fn axis(&self, root: &Area<'_>) -> anyhow::Result<()> {
        let bottom = TOP + LANE * self.lanes.len() as i32 + 6;
        let total = self.end.as_millis().max(1);
        // A round step, so that there are five to ten of them.
        let steps = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000];
        let step = steps
            .into_iter()
            .find(|step| total / step <= 10)
            .unwrap_or(total);
        for at in (0..=total).step_by(step as usize) {
            let x = self.x(Duration::from_millis(at as u64));
            root.draw(&PathElement::new([(x, TOP - 6), (x, bottom)], FAINT))?;
            let unit = if at == 0 {
                "0 ms".into()
            } else {
                at.to_string()
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

        let room = (x1 - x0 - 8) / CHARACTER;
        if room >= bar.name.chars().count() as i32 {
            let width = CHARACTER * bar.name.chars().count() as i32;
            let (left, middle) = (x0 + 5, (y0 + y1) / 2);
            // A ground, so that the hatching does not cross the name.
            let ground = [(left - 2, middle - 8), (left + width + 2, middle + 7)];
            root.draw(&Rectangle::new(ground, fill.filled()))?;
            text(root, &bar.name, (left, middle - 7), 12, INK)?;
        }
        Ok(())
    }
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
}
