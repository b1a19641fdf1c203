//! `report.html`: how training goes, for people. One file, nothing beside it is needed.

mod chart;
mod sheet;

use std::{fmt::Write, fs, path::Path};

use super::{State, evaluate::Evaluation, tensor_file::io_error};
use crate::{
    data::Dataset,
    export::bundle::write_file,
    metrics::Mean,
    train::{TrainError, settings::NO_TEXT_ENCODER},
};

pub(super) use sheet::{View, views};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1d2430}\
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.2rem}table{border-collapse:collapse}\
td,th{padding:.15rem .8rem;text-align:right;border-bottom:1px solid #dde3ea}td:first-child,th:first-child{text-align:left}\
.charts{display:flex;flex-wrap:wrap;gap:1rem}figure{margin:0}figcaption{font-size:.85rem;color:#526070}\
.best{font-weight:600}.sheet{display:flex;flex-wrap:wrap;gap:1.2rem}.sheet img{height:8.5rem;margin-right:2px}";

/// Writes the report of a run after an epoch's test.
///
/// # Errors
/// The metrics can't be read, or the report can't be written.
pub(super) fn write(
    path: &Path,
    metrics: &Path,
    state: &State,
    (evaluation, dataset, views): (&Evaluation, &Dataset, &[View]),
) -> Result<(), TrainError> {
    let csv = fs::read_to_string(metrics).map_err(io_error("read", metrics))?;
    let mut html = String::new();
    let title = format!("{:?}: epoch {} of {}", state.settings.system, state.scores.len(), state.settings.epochs);
    push(&mut html, format_args!("<!doctype html><meta charset=utf-8><title>{title}</title><style>{STYLE}</style>"));
    push(&mut html, format_args!("<h1>{title}</h1><p>Backbone: {}.</p>", escaped(&state.backbone)));
    if state.settings.has_no_text_encoder() {
        push(&mut html, format_args!("<p>WSMA {NO_TEXT_ENCODER}.</p>"));
    }
    html += "<h2>Losses</h2><div class=charts>";
    for curve in chart::curves(&csv) {
        html += &curve.svg();
    }
    html += "</div>";
    epochs(&mut html, state);
    if !evaluation.items.is_empty() {
        actions(&mut html, evaluation, dataset);
        html +=
            "<h2>Test pictures</h2><p>Picture, heat, ground truth; heat normalised to each picture's own range.</p>";
        html += "<div class=sheet>";
        for view in views {
            html += &view.figure();
        }
        html += "</div>";
    }
    push(&mut html, format_args!("<h2>Settings</h2><pre>{}</pre>", escaped(&settings(state))));
    Ok(write_file(path, html.as_bytes())?)
}

fn epochs(html: &mut String, state: &State) {
    if state.scores.iter().all(Option::is_none) {
        *html += "<p>There is nothing to test with.</p>";
        return;
    }
    *html += "<h2>Test scores</h2><table><tr><th>epoch<th>KLD &darr;<th>SIM &uarr;<th>NSS &uarr;<th>pictures";
    let best = state.best().map(|(epoch, _)| epoch);
    for (epoch, mean) in state.scores.iter().enumerate() {
        let class = if best == Some(epoch) { " class=best" } else { "" };
        push(html, format_args!("<tr{class}><td>{}{}", epoch + 1, cells(mean.as_ref())));
    }
    *html += "</table>";
}

fn actions(html: &mut String, evaluation: &Evaluation, dataset: &Dataset) {
    *html += "<h2>By action, after the last epoch</h2>";
    *html += "<table><tr><th>action<th>KLD &darr;<th>SIM &uarr;<th>NSS &uarr;<th>pictures";
    for (name, mean) in dataset.affordances.iter().zip(evaluation.by_action(dataset)) {
        push(html, format_args!("<tr><td>{}{}", escaped(name), cells(mean.as_ref())));
    }
    *html += "</table>";
    if !evaluation.skipped.is_empty() {
        *html += "<p>Not tested:</p><ul>";
        for (item, reason) in &evaluation.skipped {
            let picture = dataset.test[*item].picture.display().to_string();
            push(html, format_args!("<li>{}: {}", escaped(&picture), escaped(reason)));
        }
        *html += "</ul>";
    }
}

fn cells(mean: Option<&Mean>) -> String {
    let Some(Mean { items, kld, sim, nss }) = mean else {
        return "<td>-<td>-<td>-<td>0".to_owned();
    };
    let nss = nss.map_or_else(|| "-".to_owned(), |nss| format!("{nss:.3}"));
    format!("<td>{kld:.3}<td>{sim:.3}<td>{nss}<td>{items}")
}

fn settings(state: &State) -> String {
    serde_yaml::to_string(&state.settings).unwrap_or_default()
}

/// Writing into a string can't fail.
fn push(html: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = html.write_fmt(text);
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
