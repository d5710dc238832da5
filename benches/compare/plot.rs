//! Curves on two logarithmic axes, as SVG.

use std::fmt::Write as _;
use std::ops::RangeInclusive;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 470.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = WIDTH - 28.0;
const BOTTOM: f64 = HEIGHT - 62.0;
const LEGEND_TOP: f64 = 58.0;
const LEGEND_LINE: f64 = 22.0;
/// The fonts of the reader are not known: about the width of a character of the legend in a wide
/// one.
const CHARACTER: f64 = 7.4;

/// Told apart by those who see no red or no green, and by their shapes in print.
const STYLES: [(&str, Shape); 5] = [
    ("#0072b2", Shape::Circle),
    ("#d55e00", Shape::Square),
    ("#e69f00", Shape::Diamond),
    ("#009e73", Shape::Triangle),
    ("#9a4f86", Shape::Circle),
];

#[derive(Clone, Copy)]
enum Shape {
    Circle,
    Square,
    Diamond,
    Triangle,
}

pub(crate) struct Plot {
    pub(crate) title: String,
    pub(crate) x: String,
    pub(crate) y: String,
    pub(crate) curves: Vec<Curve>,
}

pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

impl Plot {
    pub(crate) fn svg(&self) -> String {
        let mut legend = String::new();
        let mut end_of_legend = (LEFT, LEGEND_TOP);
        for (curve, style) in self.curves.iter().zip(STYLES) {
            end_of_legend = entry(&mut legend, end_of_legend, &curve.name, style);
        }
        let top = end_of_legend.1 + LEGEND_LINE;
        let all = || self.curves.iter().flat_map(|curve| &curve.points);
        let x = Axis::over(all().map(|point| point.0), (LEFT, RIGHT));
        let y = Axis::over(all().map(|point| point.1), (BOTTOM, top));

        let mut svg = format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img"
 font-family="Helvetica, Arial, 'DejaVu Sans', sans-serif" font-size="13" fill="#222">
<title>{title}</title>
<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>
<text x="{LEFT}" y="32" font-size="17" font-weight="bold">{title}</text>
"##,
            title = escaped(&self.title),
        );
        svg += &legend;
        grid(&mut svg, &x, |at| (at, BOTTOM, at, top));
        grid(&mut svg, &y, |at| (LEFT, at, RIGHT, at));
        for tick in x.labelled() {
            let at = x.place(tick);
            _ = writeln!(
                svg,
                r#"<text x="{at:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
                BOTTOM + 20.0,
                spaced(tick)
            );
        }
        for tick in y.labelled() {
            let at = y.place(tick) + 4.5;
            _ = writeln!(
                svg,
                r#"<text x="{:.1}" y="{at:.1}" text-anchor="end">{}</text>"#,
                LEFT - 9.0,
                spaced(tick)
            );
        }
        _ = writeln!(
            svg,
            r##"<rect x="{LEFT}" y="{top}" width="{}" height="{}" fill="none" stroke="#888"/>"##,
            RIGHT - LEFT,
            BOTTOM - top
        );
        let middle = (LEFT + RIGHT) / 2.0;
        _ = writeln!(
            svg,
            r#"<text x="{middle}" y="{}" text-anchor="middle">{}</text>"#,
            HEIGHT - 16.0,
            escaped(&self.x)
        );
        let middle = (top + BOTTOM) / 2.0;
        _ = writeln!(
            svg,
            r#"<text transform="translate(22 {middle}) rotate(-90)" text-anchor="middle">{}</text>"#,
            escaped(&self.y)
        );
        // The first contestant is drawn last, above the others.
        for (curve, (colour, shape)) in self.curves.iter().zip(STYLES).rev() {
            let places: Vec<_> = curve
                .points
                .iter()
                .map(|&(n, value)| (x.place(n), y.place(value)))
                .collect();
            let line: Vec<_> = places
                .iter()
                .map(|(x, y)| format!("{x:.1},{y:.1}"))
                .collect();
            _ = writeln!(
                svg,
                r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2"/>"#,
                line.join(" ")
            );
            for place in places {
                mark(&mut svg, place, colour, shape);
            }
        }
        svg + "</svg>\n"
    }
}

/// A logarithmic axis: what it shows and where on the picture.
struct Axis {
    values: RangeInclusive<f64>,
    places: (f64, f64),
}

impl Axis {
    fn over(values: impl Iterator<Item = f64>, places: (f64, f64)) -> Self {
        let (low, high) = values.fold((f64::MAX, f64::MIN_POSITIVE), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        Axis {
            values: low / 1.4..=high * 1.4,
            places,
        }
    }

    fn place(&self, value: f64) -> f64 {
        let part =
            (value / self.values.start()).ln() / (self.values.end() / self.values.start()).ln();
        self.places.0 + part * (self.places.1 - self.places.0)
    }

    /// The multiples of a power of ten by one digit that are on the axis, with the digit.
    fn ticks(&self) -> impl Iterator<Item = (f64, u32)> + '_ {
        let decades =
            self.values.start().log10().floor() as i32..=self.values.end().log10().ceil() as i32;
        decades
            .flat_map(|decade| {
                (1..10).map(move |digit| (f64::from(digit) * 10_f64.powi(decade), digit))
            })
            .filter(|(tick, _)| self.values.contains(tick))
    }

    /// Powers of ten, and where there are few of them, their multiples by two and five.
    fn labelled(&self) -> impl Iterator<Item = f64> + '_ {
        let few = self.ticks().filter(|&(_, digit)| digit == 1).count() < 3;
        self.ticks()
            .filter(move |&(_, digit)| digit == 1 || few && [2, 5].contains(&digit))
            .map(|(tick, _)| tick)
    }
}

fn grid(svg: &mut String, axis: &Axis, line: impl Fn(f64) -> (f64, f64, f64, f64)) {
    for (tick, digit) in axis.ticks() {
        let (x1, y1, x2, y2) = line(axis.place(tick));
        let colour = if digit == 1 { "#ccc" } else { "#eee" };
        _ = writeln!(
            svg,
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="{colour}"/>"#
        );
    }
}

/// Draws an entry of the legend at a place, or on the next line if it has no room there; gives the
/// place of the next.
fn entry(
    svg: &mut String,
    (mut x, mut y): (f64, f64),
    name: &str,
    (colour, shape): (&str, Shape),
) -> (f64, f64) {
    let width = 38.0 + name.chars().count() as f64 * CHARACTER;
    if x > LEFT && x + width > RIGHT + 20.0 {
        (x, y) = (LEFT, y + LEGEND_LINE);
    }
    _ = writeln!(
        svg,
        r#"<line x1="{x:.1}" y1="{y}" x2="{:.1}" y2="{y}" stroke="{colour}" stroke-width="2"/>"#,
        x + 24.0
    );
    mark(svg, (x + 12.0, y), colour, shape);
    _ = writeln!(
        svg,
        r#"<text x="{:.1}" y="{}">{}</text>"#,
        x + 30.0,
        y + 4.5,
        escaped(name)
    );
    (x + width + 12.0, y)
}

fn mark(svg: &mut String, (x, y): (f64, f64), colour: &str, shape: Shape) {
    let polygon = |corners: &[(f64, f64)]| {
        let corners: Vec<_> = corners
            .iter()
            .map(|(dx, dy)| format!("{:.1},{:.1}", x + dx, y + dy))
            .collect();
        format!(
            r#"<polygon points="{}" fill="{colour}"/>"#,
            corners.join(" ")
        )
    };
    let drawn = match shape {
        Shape::Circle => format!(r#"<circle cx="{x:.1}" cy="{y:.1}" r="4.5" fill="{colour}"/>"#),
        Shape::Square => polygon(&[(-4.0, -4.0), (4.0, -4.0), (4.0, 4.0), (-4.0, 4.0)]),
        Shape::Diamond => polygon(&[(0.0, -5.5), (5.5, 0.0), (0.0, 5.5), (-5.5, 0.0)]),
        Shape::Triangle => polygon(&[(0.0, -5.5), (5.0, 4.0), (-5.0, 4.0)]),
    };
    _ = writeln!(svg, "{drawn}");
}

/// The digits in groups of three.
fn spaced(value: f64) -> String {
    if value < 1_000.0 {
        return value.to_string();
    }
    let digits = format!("{value:.0}");
    let mut spaced = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            spaced.push(' ');
        }
        spaced.push(digit);
    }
    spaced
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
