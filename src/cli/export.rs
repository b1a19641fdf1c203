//! `looptrans seed-weights` and `looptrans export`.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::precision::{PrecisionArguments, PrecisionReport};
use crate::{
    affordance::VOCABULARIES,
    contract::{ModelContract, PresenceSource},
    export::{
        bundle::{self, DEFAULT_HEAT_THRESHOLD, Settings},
        seeded::{self, Architecture},
        weights::{Description, Weights},
    },
};

/// Write a weights file of seeded, untrained numbers: for demos, tests and timing.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  looptrans seed-weights --arch vit_small_16 --actions agd20k-seen --out seeded.safetensors
  looptrans seed-weights --arch toy --actions cut,hold,open --out toy.safetensors

A model of such weights computes the whole function, but its heat means nothing.")]
pub(super) struct SeedWeights {
    /// The backbone.
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(Architecture::ALL.map(|known| known.name)))]
    arch: String,
    /// A vocabulary (agd20k-seen, agd20k-unseen, hico-iif) or a list like cut,hold,open.
    #[arg(long)]
    actions: String,
    /// The safetensors file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

/// Turn a weights file into a model bundle: model.onnx and its contract, model.yaml.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  looptrans export weights.safetensors --out models/agd20k
  looptrans export weights.safetensors --out models/kitchen --affordances cut_with,hold,open
  looptrans export weights.safetensors --out models/agd20k --presence pixel --force
  looptrans export weights.safetensors --out models/fast --precision int8 --calibration photos

The weights file is safetensors with the keys of a LoopTrans checkpoint (vit_model.*, aff_proj.*, pixel_dec.*,
scam.*, aff_fc.*) and, under the metadata key \"looptrans\", JSON like
  {\"actions\": [\"cut\", \"hold\"], \"trained\": true, \"source\": \"AGD20K Seen\"}")]
pub(super) struct Export {
    /// The weights file.
    weights: PathBuf,
    /// The bundle, a folder that does not exist yet.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Where presence comes from.
    #[arg(long, value_enum, default_value_t = PresenceChoice::Scam)]
    presence: PresenceChoice,
    /// The affordances to keep, in this order; all if not given.
    #[arg(long, value_delimiter = ',', value_name = "NAME,...")]
    affordances: Vec<String>,
    /// Heat in [0, 1] from which a pixel belongs to a region, where the node's user sets none.
    #[arg(long, default_value_t = DEFAULT_HEAT_THRESHOLD)]
    heat_threshold: f32,
    /// The model's name; the weights file's if not given.
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    precision: PrecisionArguments,
    /// Replace a bundle that is already there.
    #[arg(long)]
    force: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum PresenceChoice {
    /// The shared branch's class scores, which the classification loss trains.
    Scam,
    /// Theta_pixel's own class scores: no further work per image.
    Pixel,
}

impl From<PresenceChoice> for PresenceSource {
    fn from(choice: PresenceChoice) -> Self {
        match choice {
            PresenceChoice::Scam => Self::Scam,
            PresenceChoice::Pixel => Self::Pixel,
        }
    }
}

#[derive(Serialize)]
struct SeedReport<'a> {
    weights: &'a Path,
    architecture: &'a str,
    #[serde(flatten)]
    description: &'a Description,
}

#[derive(Serialize)]
struct ExportReport<'a> {
    bundle: &'a Path,
    model_id: String,
    contract: &'a ModelContract,
    precision: &'a PrecisionReport,
}

impl SeedWeights {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let architecture = Architecture::named(&self.arch).context("unknown architecture")?;
        let actions = vocabulary(&self.actions)?;
        let description = seeded::write(&self.out, architecture, &actions)?;
        let report = SeedReport { weights: &self.out, architecture: architecture.name, description: &description };
        super::print_report(
            self.json,
            &report,
            &[
                ("weights", self.out.display().to_string()),
                ("architecture", architecture.name.to_owned()),
                ("actions", format!("{}: {}", actions.len(), actions.join(" "))),
                ("source", description.source.clone()),
            ],
        )
    }
}

impl Export {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => self.weights.file_stem().context("the weights file has no name")?.to_string_lossy().into_owned(),
        };
        let settings = Settings {
            affordances: self.affordances.clone(),
            heat_threshold: self.heat_threshold,
            command: command_line(),
            force: self.force,
            ..Settings::new(&name, self.presence.into())
        };
        self.precision.check()?;
        // Before the long work.
        bundle::room(&self.out, self.force)?;
        let weights = Weights::read(&self.weights, settings.presence)?;
        let built = bundle::build(&weights, &self.out, &settings)?;
        let (bundle, precision) = self.precision.apply(built)?;
        bundle::store(&bundle, self.force)?;
        let contract = bundle.contract;
        let (input, maps, actions) = (contract.input, contract.heatmap, &contract.actions);
        let model_id = contract.model_id();
        let report = ExportReport { bundle: &self.out, model_id, contract: &contract, precision: &precision };
        let rows = [
            ("bundle", self.out.display().to_string()),
            ("model", report.model_id.clone()),
            ("input", format!("{}x{} (height x width), RGB, 8 bit", input.height, input.width)),
            ("heatmap", format!("{}x{} cells", maps.height, maps.width)),
            ("actions", format!("{}: {}", actions.len(), actions.join(" "))),
            ("presence", format!("{:?}", contract.presence.source).to_lowercase()),
            ("trained", if contract.provenance.trained { "yes" } else { "no" }.to_owned()),
            ("source", contract.provenance.source.clone()),
        ];
        super::print_report(self.json, &report, &[&rows[..], &precision.rows()].concat())
    }
}

/// A vocabulary by name, or the actions themselves, each once and not empty.
fn vocabulary(text: &str) -> anyhow::Result<Vec<&str>> {
    if let Some((_, actions)) = VOCABULARIES.iter().find(|(name, _)| *name == text) {
        return Ok(actions.to_vec());
    }
    let actions: Vec<&str> = text.split(',').map(str::trim).collect();
    let names: Vec<&str> = VOCABULARIES.iter().map(|(name, _)| *name).collect();
    if actions.len() == 1 && text.contains('-') {
        bail!("--actions {text:?}: expected one of {} or a list like cut,hold,open", names.join(", "));
    }
    for (index, action) in actions.iter().enumerate() {
        if action.is_empty() || actions[..index].contains(action) {
            bail!("--actions: expected each action once, found {action:?} at place {}", index + 1);
        }
    }
    Ok(actions)
}

/// How this program was called, for the bundle's provenance.
fn command_line() -> String {
    let arguments = std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
    ["looptrans".to_owned()].into_iter().chain(arguments).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_a_vocabulary_or_a_list() {
        assert_eq!(vocabulary("hico-iif").unwrap().len(), 10);
        assert_eq!(vocabulary("cut, hold").unwrap(), ["cut", "hold"]);
        assert_eq!(vocabulary("cut").unwrap(), ["cut"]);
        for (wrong, expected) in
            [("agd20k-sen", "expected one of agd20k-seen"), ("cut,cut", "\"cut\""), ("a,,b", "\"\"")]
        {
            let error = vocabulary(wrong).unwrap_err().to_string();
            assert!(error.contains(expected), "{wrong}: {error}");
        }
    }
}
