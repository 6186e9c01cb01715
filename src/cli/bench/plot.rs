//! A plot of latencies' distributions: what share of the samples took no longer, the rare ones as wide as the usual.

use super::report::UNIT;
use crate::error::{Error, Result};
use hdrhistogram::Histogram;
use plotters::prelude::*;
use std::path::{Path, PathBuf};

/// Size in pixels.
const SIZE: (u32, u32) = (960, 600);
const TEXT: (&str, u32) = ("sans-serif", 18);
/// Told apart by most eyes that do not see all colours.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
];

/// One distribution.
pub(super) struct Curve {
    pub(super) name: String,
    /// Of the reference: thin, in the colour of what it is beside.
    pub(super) bare: bool,
    pub(super) samples: Histogram<u64>,
}

/// The name of a file that a plot can be drawn into.
pub(super) fn file(name: &str) -> std::result::Result<PathBuf, String> {
    let path = PathBuf::from(name);
    match path.extension() {
        Some(extension) if extension.eq_ignore_ascii_case("svg") => Ok(path),
        _ => Err("expected a name that ends in .svg".to_owned()),
    }
}

/// Draws them.
pub(super) fn draw(file: &Path, title: &str, curves: &[Curve]) -> Result<()> {
    let mut text = String::new();
    draw_to(&mut text, title, curves)
        .map_err(|error| Error::Invalid(format!("drawing {}: {error}", file.display())))?;
    std::fs::write(file, text).map_err(Error::io(format!("writing {}", file.display())))
}

fn draw_to(text: &mut String, title: &str, curves: &[Curve]) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let lines: Vec<Vec<(f64, f64)>> = curves.iter().map(|curve| points(&curve.samples)).collect();
    let all = || lines.iter().flatten();
    let rarest = all().map(|point| point.0).fold(0.1, f64::min);
    let least = all().map(|point| point.1).fold(1e9, f64::min) * 0.8;
    let most = all().map(|point| point.1).fold(least * 2.0, f64::max) * 1.3;

    let root = SVGBackend::with_string(text, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let shares = decades(rarest, 1.0).chain([0.5]).filter(|&share| share >= rarest).collect();
    let times = decades(least, most)
        .flat_map(|ten| [ten, 2.0 * ten, 5.0 * ten])
        .filter(|time| (least..most).contains(time))
        .collect();
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 24))
        .margin(15)
        .x_label_area_size(50)
        .y_label_area_size(85)
        .build_cartesian_2d(
            (1.0..rarest).log_scale().with_key_points(shares),
            (least..most).log_scale().with_key_points(times),
        )?;
    chart
        .configure_mesh()
        .x_desc("percentile")
        .y_desc("one way, ns")
        .x_label_formatter(&|left| percentile(*left))
        .y_label_formatter(&|ns| format!("{ns:.0}"))
        .label_style(TEXT)
        .light_line_style(WHITE.mix(0.0))
        .draw()?;
    for (index, (curve, points)) in curves.iter().zip(&lines).enumerate() {
        let colour = COLOURS[index / 2 % COLOURS.len()];
        let style = if curve.bare { colour.mix(0.5).stroke_width(1) } else { colour.stroke_width(2) };
        let drawn = chart.draw_series(LineSeries::new(points.iter().copied(), style))?;
        drawn.label(&curve.name).legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .label_font(TEXT)
        .draw()?;
    root.present()?;
    Ok(())
}

/// The powers of ten from `least` or the one below to `most`.
fn decades(least: f64, most: f64) -> impl Iterator<Item = f64> {
    (least.log10().floor() as i32..=most.log10().floor() as i32).map(|exponent| 10f64.powi(exponent))
}

/// The distribution: the share of the samples that took longer, and than how many ns.
fn points(samples: &Histogram<u64>) -> Vec<(f64, f64)> {
    // Of the slowest sample: as if there were one more, slower.
    let least = 1.0 / (samples.len() + 1) as f64;
    let quantiles = samples.iter_quantiles(20);
    quantiles.map(|at| ((1.0 - at.quantile_iterated_to()).max(least), at.value_iterated_to() as f64 / UNIT)).collect()
}

/// What it is called if such a share takes longer.
fn percentile(left: f64) -> String {
    let decimals = (-left.log10() - 2.0).round().max(0.0) as usize;
    format!("{:.decimals$} %", 100.0 * (1.0 - left))
}
