use std::path::Path;

use anyhow::anyhow;
use plotters::prelude::*;

/// A chart with logarithmic axes, of lines over whole numbers.
#[derive(Debug)]
pub struct LogChart {
    /// The text above the chart, with the unit.
    pub title: &'static str,
    /// The meaning of the whole numbers.
    pub x: &'static str,
    /// A name and points for each line.
    pub lines: Vec<(&'static str, Vec<(f64, f64)>)>,
}

const COLOURS: [RGBColor; 4] = [
    RGBColor(0, 92, 175),
    RGBColor(214, 96, 0),
    RGBColor(0, 128, 80),
    RGBColor(150, 50, 150),
];

/// Writes charts as one SVG, side by side. The fonts are the viewer's.
///
/// # Errors
///
/// If the file cannot be written.
pub fn save_svg(charts: &[LogChart], path: &Path) -> anyhow::Result<()> {
    let root = SVGBackend::new(path, (560 * charts.len() as u32, 400)).into_drawing_area();
    draw(charts, &root)
        .and_then(|()| Ok(root.present()?))
        .map_err(|error| anyhow!("cannot write {}: {error}", path.display()))
}

fn draw(
    charts: &[LogChart],
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
        let mut context = ChartBuilder::on(&area)
            .caption(chart.title, ("sans-serif", 18))
            .margin(16)
            .margin_right(40)
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
        for ((name, points), colour) in chart.lines.iter().zip(COLOURS) {
            context
                .draw_series(
                    LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(3),
                )?
                .label(*name)
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2))
                });
        }
        context
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE)
            .border_style(BLACK.mix(0.3))
            .label_font(("sans-serif", 13))
            .draw()?;
    }
    Ok(())
}
