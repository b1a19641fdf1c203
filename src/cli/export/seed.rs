//! `looptrans seed-weights`.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;

use crate::{
    affordance::VOCABULARIES,
    config::similar,
    export::{
        seeded::{self, Architecture},
        weights::Description,
    },
};

/// Write a weights file of seeded, untrained numbers: for demos, tests and timing.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  looptrans seed-weights --arch vit_small_16 --actions agd20k-seen --out seeded.safetensors
  looptrans seed-weights --arch toy --actions cut,hold,open --out toy.safetensors

A model of such weights computes the whole function, but its heat means nothing.")]
pub(in crate::cli) struct SeedWeights {
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

#[derive(Serialize)]
struct SeedReport<'a> {
    weights: &'a Path,
    architecture: &'a str,
    #[serde(flatten)]
    description: &'a Description,
}

impl SeedWeights {
    pub(in crate::cli) fn run(&self) -> anyhow::Result<()> {
        let architecture = Architecture::named(&self.arch).context("unknown architecture")?;
        let actions = vocabulary(&self.actions)?;
        let description = seeded::write(&self.out, architecture, &actions)?;
        let report = SeedReport { weights: &self.out, architecture: architecture.name, description: &description };
        crate::cli::print_report(
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

/// A vocabulary by name, or the actions themselves, each once and not empty.
fn vocabulary(text: &str) -> anyhow::Result<Vec<&str>> {
    if let Some((_, actions)) = VOCABULARIES.iter().find(|(name, _)| *name == text) {
        return Ok(actions.to_vec());
    }
    let actions: Vec<&str> = text.split(',').map(str::trim).collect();
    let names = VOCABULARIES.map(|(name, _)| name);
    if let ([action], Some(near)) = (&actions[..], similar(text, names.into_iter())) {
        let names = names.join(", ");
        bail!("--actions {action:?}: expected one of {names} or a list like cut,hold,open; did you mean {near:?}?");
    }
    for (index, action) in actions.iter().enumerate() {
        if action.is_empty() || actions[..index].contains(action) {
            bail!("--actions: expected each action once, found {action:?} at place {}", index + 1);
        }
    }
    Ok(actions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_a_vocabulary_or_a_list() {
        assert_eq!(vocabulary("hico-iif").unwrap().len(), 10);
        assert_eq!(vocabulary("cut, hold").unwrap(), ["cut", "hold"]);
        assert_eq!(vocabulary("cut").unwrap(), ["cut"]);
        assert_eq!(vocabulary("pick-up").unwrap(), ["pick-up"]);
        for (wrong, expected) in
            [("agd20k-sen", "expected one of agd20k-seen"), ("cut,cut", "\"cut\""), ("a,,b", "\"\"")]
        {
            let error = vocabulary(wrong).unwrap_err().to_string();
            assert!(error.contains(expected), "{wrong}: {error}");
        }
    }
}
