use std::path::Path;

use anyhow::anyhow;
use plotters::prelude::*;

/// A chart with logarithmic axes, of lines over whole numbers.
#[derive(Debug)]
pub struct LogChart<'a> {
    /// The text above the chart, with the unit.
    pub title: &'a str,
    /// The meaning of the whole numbers.
    pub x: &'a str,
    /// A name and points for each line.
    pub lines: Vec<(&'a str, Vec<(f64, f64)>)>,
}

/// Colours that remain distinct for readers with red-green blindness.
const COLOURS: [RGBColor; 5] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(154, 79, 134),
];

/// The size of one chart without its legend.
const SIZE: (u32, u32) = (520, 400);

/// About the width of a character of the legend: the fonts are not known here.
const CHARACTER: u32 = 7;

/// Writes charts as one SVG, side by side. The fonts are the viewer's.
///
/// # Errors
///
/// If the file cannot be written.
pub fn save_svg(charts: &[LogChart<'_>], path: &Path) -> anyhow::Result<()> {
    let names = charts.iter().flat_map(|chart| &chart.lines);
    let longest = names.map(|(name, _)| name.chars().count()).max();
    let width = SIZE.0 + 32 + CHARACTER * longest.unwrap_or(0) as u32;
    let size = (width * charts.len() as u32, SIZE.1);
    let root = SVGBackend::new(path, size).into_drawing_area();
    draw(charts, &root)
        .and_then(|()| Ok(root.present()?))
        .map_err(|error| anyhow!("cannot write {}: {error}", path.display()))
}

fn draw(
    charts: &[LogChart<'_>],
    root: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
) -> anyhow::Result<()> {
    root.fill(&WHITE)?;
    for (chart, area) in charts.iter().zip(root.split_evenly((1, charts.len()))) {
        let points = || chart.lines.iter().flat_map(|(_, points)| points);
        let span = |value: fn(&(f64, f64)) -> f64| {
            let (least, greatest) = points()
                .map(value)
                .fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(v), b.max(v)));
            // Whole decades, and at least one; from a hair below, or the rounding of a logarithm
            // takes away the lowest label.
            let low = least.log10().floor();
            (0.999_999 * 10f64.powf(low)..10f64.powf(greatest.log10().ceil().max(low + 1.0)))
                .log_scale()
        };
        let (plot, legend) = area.split_horizontally(SIZE.0);
        let mut context = ChartBuilder::on(&plot)
            .caption(chart.title, ("sans-serif", 17))
            .margin(16)
            .margin_right(28)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(span(|point| point.0), span(|point| point.1))?;
        context
            .configure_mesh()
            .light_line_style(WHITE)
            .x_desc(chart.x)
            .x_label_formatter(&|x| x.to_string())
            .y_label_formatter(&|y| y.to_string())
            .label_style(("sans-serif", 13))
            .draw()?;
        for (place, ((name, points), colour)) in (0..).zip(chart.lines.iter().zip(COLOURS)) {
            let style = colour.stroke_width(2);
            context.draw_series(LineSeries::new(points.iter().copied(), style).point_size(3))?;
            let y = 60 + 24 * place;
            legend.draw(&PathElement::new([(0, y), (18, y)], style))?;
            legend.draw(&Text::new(*name, (26, y - 6), ("sans-serif", 13)))?;
        }
    }
    Ok(())
}
