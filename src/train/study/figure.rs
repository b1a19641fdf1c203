//! The table as bars with deviations, in SVG.

use super::{
    Row, SetTable, Statistic, Table,
    table::{cell, push},
};
use crate::metrics::Mean;

const BAR: f64 = 16.0;
/// Between test sets.
const GAP: f64 = 26.0;
const HEIGHT: f64 = 150.0;
/// Room for the axis on the left, and for each panel's title above it.
const LEFT: f64 = 46.0;
const TITLE: f64 = 30.0;
/// Room for the sets' names below a panel.
const NAMES: f64 = 22.0;
const LEGEND_LINE: f64 = 18.0;
/// Of the arms in their order; further ones begin again. The last arm's is its own.
const COLOURS: [&str; 7] = ["#9aa5b1", "#7fb3d5", "#c39bd3", "#5dade2", "#a2c48e", "#d5c36f", "#e0a96d"];
const LAST: &str = "#c0392b";

/// One figure of a score.
struct Panel {
    title: &'static str,
    of_row: fn(&Row) -> Option<Statistic>,
    of_floor: fn(&Mean) -> Option<f64>,
}

const PANELS: [Panel; 3] = [
    Panel { title: "KLD (lower is better)", of_row: |row| Some(row.kld), of_floor: |mean| Some(mean.kld) },
    Panel { title: "SIM (higher is better)", of_row: |row| Some(row.sim), of_floor: |mean| Some(mean.sim) },
    Panel { title: "NSS (higher is better)", of_row: |row| row.nss, of_floor: |mean| mean.nss },
];

/// A panel for each score; in it the test sets side by side, each with a bar for every arm. A whisker is one standard
/// deviation to both sides, a dashed line the centred Gaussian.
pub(super) fn svg(table: &Table) -> String {
    let arms: Vec<&Row> = table.sets.first().map_or_else(Vec::new, |set| set.reported().collect());
    let group = arms.len() as f64 * BAR;
    let width = (LEFT + (group + GAP) * table.sets.len() as f64).max(420.0);
    let panel = TITLE + HEIGHT + NAMES;
    let legend = PANELS.len() as f64 * panel + 8.0;
    let height = legend + LEGEND_LINE * (arms.len() + 1) as f64 + 8.0;
    let mut text = String::new();
    push(
        &mut text,
        format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" \
             font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
        ),
    );
    for (place, of) in PANELS.iter().enumerate() {
        draw(&mut text, place as f64 * panel, of, table);
    }
    for (place, arm) in arms.iter().enumerate() {
        let y = legend + LEGEND_LINE * place as f64;
        let (colour, title) = (colour(place, arms.len()), escaped(&arm.title));
        push(&mut text, format_args!("<rect x=\"{LEFT}\" y=\"{y}\" width=\"11\" height=\"11\" fill=\"{colour}\"/>"));
        push(&mut text, format_args!("<text x=\"{}\" y=\"{}\">{title}</text>\n", LEFT + 18.0, y + 10.0));
    }
    let y = legend + LEGEND_LINE * arms.len() as f64 + 10.0;
    push(
        &mut text,
        format_args!(
            "<text x=\"{LEFT}\" y=\"{y}\" fill=\"#52606d\">dashed: a Gaussian on every picture's centre</text>\n"
        ),
    );
    text + "</svg>\n"
}

fn draw(text: &mut String, top: f64, panel: &Panel, table: &Table) {
    let Panel { title, of_row, of_floor } = panel;
    let floor = |set: &SetTable| set.floors.centred_gaussian.as_ref().and_then(of_floor);
    let values =
        table.sets.iter().flat_map(|set| set.reported().filter_map(of_row).flat_map(|s| ends(&s)).chain(floor(set)));
    let (low, high) = values.fold((0.0_f64, f64::MIN_POSITIVE), |(low, high), value| (low.min(value), high.max(value)));
    let (base, scale) = (top + TITLE, HEIGHT / (high - low));
    let y_of = |value: f64| base + (high - value) * scale;
    push(text, format_args!("<text x=\"{LEFT}\" y=\"{}\" font-weight=\"bold\">{title}</text>\n", top + 18.0));
    for value in [low, (low + high) / 2.0, high] {
        let y = y_of(value);
        push(text, format_args!("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{value:.2}</text>", LEFT - 6.0, y + 4.0));
        push(text, format_args!("<path d=\"M{LEFT} {y:.1}H10000\" stroke=\"#e4e7eb\"/>\n"));
    }
    for (place, set) in table.sets.iter().enumerate() {
        let rows: Vec<&Row> = set.reported().collect();
        let left = LEFT + GAP / 2.0 + place as f64 * (rows.len() as f64 * BAR + GAP);
        for (bar, row) in rows.iter().enumerate() {
            let Some(statistic) = of_row(row) else { continue };
            let (x, zero, y) = (left + bar as f64 * BAR, y_of(0.0), y_of(statistic.mean));
            let (above, tall) = (zero.min(y), (zero - y).abs());
            let what = format!("{}, {}: {}", set.name, row.title, cell(&statistic));
            push(
                text,
                format_args!(
                    "<rect x=\"{x:.1}\" y=\"{above:.1}\" width=\"{}\" height=\"{tall:.1}\" fill=\"{}\"><title>{}</title></rect>\n",
                    BAR - 2.0,
                    colour(bar, rows.len()),
                    escaped(&what)
                ),
            );
            let [from, to] = ends(&statistic).map(y_of);
            let middle = x + BAR / 2.0 - 1.0;
            push(
                text,
                format_args!("<path d=\"M{middle:.1} {from:.1}V{to:.1}\" stroke=\"#1f2933\" stroke-width=\"1.5\"/>\n"),
            );
        }
        let wide = rows.len() as f64 * BAR;
        if let Some(floor) = floor(set) {
            let y = y_of(floor);
            push(
                text,
                format_args!("<path d=\"M{left:.1} {y:.1}h{wide:.1}\" stroke=\"#1f2933\" stroke-dasharray=\"4 3\"/>\n"),
            );
        }
        let (middle, y) = (left + wide / 2.0, base + HEIGHT + 15.0);
        let name = escaped(&set.name);
        push(text, format_args!("<text x=\"{middle:.1}\" y=\"{y}\" text-anchor=\"middle\">{name}</text>\n"));
    }
}

/// One deviation below and above.
fn ends(statistic: &Statistic) -> [f64; 2] {
    let deviation = statistic.deviation.unwrap_or_default();
    [statistic.mean - deviation, statistic.mean + deviation]
}

fn colour(place: usize, of: usize) -> &'static str {
    if place + 1 == of { LAST } else { COLOURS[place % COLOURS.len()] }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
