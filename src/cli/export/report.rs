//! What `export` prints.

use std::path::Path;

use serde::Serialize;

use super::precision::PrecisionReport;
use crate::{
    contract::{
        Bundle, Calibration, Drift, ModelContract, Parity, PictureSource, Precision, PresenceQuality, SourceQuality,
    },
    parity::rewrites::Effect,
};

#[derive(Serialize)]
pub(super) struct ExportReport<'a> {
    bundle: &'a Path,
    model_id: String,
    contract: &'a ModelContract,
    /// Each rewrite's own effect, where asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    rewrites: Option<Vec<Effect>>,
    precision: &'a PrecisionReport,
}

impl<'a> ExportReport<'a> {
    pub fn new(bundle: &'a Bundle, rewrites: Option<Vec<Effect>>, precision: &'a PrecisionReport) -> Self {
        let contract = &bundle.contract;
        Self { bundle: &bundle.folder, model_id: contract.model_id(), contract, rewrites, precision }
    }

    /// For people: (name, value).
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        let ModelContract { input, heatmap, actions, presence, provenance, .. } = self.contract;
        let mut rows = vec![
            ("bundle", self.bundle.display().to_string()),
            ("model", self.model_id.clone()),
            ("input", format!("{}x{} (height x width), RGB, 8 bit", input.height, input.width)),
            ("heatmap", format!("{}x{} cells", heatmap.height, heatmap.width)),
            ("actions", format!("{}: {}", actions.len(), actions.join(" "))),
            ("presence", format!("{:?}", presence.source).to_lowercase()),
            ("trained", if provenance.trained { "yes" } else { "no" }.to_owned()),
            ("source", provenance.source.clone()),
        ];
        if let Some(quality) = &provenance.presence {
            rows.extend(presence_rows(quality));
        }
        rows.extend(self.precision.rows());
        rows.extend(effect_rows(self.rewrites.as_deref().unwrap_or_default()));
        match &provenance.parity {
            None => rows.push(("parity", "nothing was compared".to_owned())),
            Some(parity) => rows.extend(parity_rows(parity, provenance.precision)),
        }
        rows
    }
}

fn presence_rows(quality: &PresenceQuality) -> Vec<(&'static str, String)> {
    let PresenceQuality { calibration, fitted_on, measured_on, positives, negatives, sources } = quality;
    let Calibration { temperature, bias } = calibration;
    let mut rows = vec![
        ("- calibrated", format!("temperature {temperature:.3}, bias {bias:.3}; fitted on {fitted_on} pictures")),
        ("- measured", format!("on {measured_on} others: {positives} actions afforded, {negatives} not")),
    ];
    for SourceQuality { source, auroc, ece_before, ece_after, .. } in sources {
        let name = format!("{source:?}").to_lowercase();
        let ece = format!("expected calibration error {ece_before:.3} before, {ece_after:.3} after");
        rows.push(("- source", format!("{name}: AUROC {auroc:.3}; {ece}")));
    }
    rows
}

fn effect_rows(effects: &[Effect]) -> Vec<(&'static str, String)> {
    if effects.is_empty() {
        return Vec::new();
    }
    let mut rows =
        vec![("rewrites", "without      with (median of a run); largest change of class maps, of presence".to_owned())];
    for Effect { rewrite, ms_without, ms_with, heatmap, presence } in effects {
        let times = format!("{ms_without:7.2} ms {ms_with:7.2} ms");
        rows.push((rewrite, format!("{times}  {:.1e} of the range, {:.1e}", heatmap.of_range, presence.max_abs)));
    }
    rows
}

fn parity_rows(parity: &Parity, precision: Precision) -> Vec<(&'static str, String)> {
    let from = match parity.pictures_from {
        PictureSource::Drawn => "drawn pictures",
        PictureSource::Folder => "pictures",
    };
    let against = parity.reference.name();
    let of = |Drift { max_abs, mean_abs, of_range }: &Drift| {
        format!("max {max_abs:.1e}, mean {mean_abs:.1e}, {of_range:.1e} of the range")
    };
    let whose = if precision == Precision::Fp32 { "" } else { " of the graph in f32" };
    let tolerance = format!("tolerance{whose} {:.0e}", parity.tolerance);
    let mut rows = vec![
        ("parity", format!("with {against} on {} {from}; {tolerance}", parity.pictures)),
        ("- heatmap", of(&parity.heatmap)),
        ("- presence", of(&parity.presence)),
    ];
    if let Some(heat) = &parity.heat {
        let kld = format!("KLD mean {:.1e}, worst {:.1e}", heat.mean_kld, heat.max_kld);
        rows.push(("- heat", format!("{kld}; SIM mean {:.6}, worst {:.6}", heat.mean_sim, heat.min_sim)));
    }
    rows
}

/// Why an export is refused, on one line.
pub(super) fn drift(parity: &Parity) -> String {
    let Parity { pictures, tolerance, heatmap, presence, .. } = parity;
    format!(
        "drift from {} on {pictures} pictures: expected at most {tolerance:.0e} of the range, found {:.1e} in the class \
         maps (max {:.1e}, mean {:.1e}) and {:.1e} in presence",
        parity.reference.name(),
        heatmap.of_range,
        heatmap.max_abs,
        heatmap.mean_abs,
        presence.of_range,
    )
}
