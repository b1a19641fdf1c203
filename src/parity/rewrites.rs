//! What each rewrite of the graph changes: in the answers, and in time.

use std::{path::Path, time::Instant};

use serde::Serialize;

use super::{Answer, ParityError, compare::Gap, pictures::Pictures};
use crate::{
    contract::Drift,
    export::{
        bundle::{self, Settings},
        rewrites::{Rewrite, Rewrites},
        weights::Weights,
    },
    perceive::infer::{InferSettings, Model},
};

/// A rewrite (or all of them) on and off, all else being the same.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Effect {
    /// The rewrite's name, or "all".
    pub rewrite: &'static str,
    /// Median time of a run without it, in milliseconds.
    pub ms_without: f64,
    /// Median time of a run with it, in milliseconds.
    pub ms_with: f64,
    /// What it changes in the class maps.
    pub heatmap: Drift,
    /// What it changes in presence.
    pub presence: Drift,
}

/// Measures every rewrite by itself: the graph of `settings` with and without it, run by turns `runs` times on the
/// pictures. At last, all of the settings' rewrites against none.
///
/// # Errors
/// A graph can't be built or run, or a picture can't be read.
pub fn effects(
    weights: &Weights,
    settings: &Settings,
    infer: &InferSettings,
    (pictures, runs): (&Pictures, usize),
) -> Result<Vec<Effect>, ParityError> {
    let pictures = pictures.iter().collect::<Result<Vec<_>, _>>()?;
    let load = |rewrites: Rewrites| -> Result<Model, ParityError> {
        let settings = Settings { rewrites, ..settings.clone() };
        let bundle = bundle::build(weights, Path::new("a graph of the report"), &settings)?;
        Ok(Model::load(&bundle, infer)?)
    };
    let full = settings.rewrites;
    let mut effects = Vec::new();
    for rewrite in Rewrite::ALL {
        let pair = [load(full.without(rewrite))?, load(full.with(rewrite))?];
        effects.push(effect(rewrite.name(), pair, &pictures, runs)?);
    }
    effects.push(effect("all", [load(Rewrites::none())?, load(full)?], &pictures, runs)?);
    Ok(effects)
}

fn effect(
    rewrite: &'static str,
    [mut without, mut with]: [Model; 2],
    pictures: &[Vec<u8>],
    runs: usize,
) -> Result<Effect, ParityError> {
    let (mut maps, mut presence) = (Gap::default(), Gap::default());
    let mut times = [Vec::new(), Vec::new()];
    for (run, picture) in pictures.iter().cycle().take(runs.max(pictures.len())).enumerate() {
        let mut answers = [Answer::default(), Answer::default()];
        for ((model, answer), times) in [&mut without, &mut with].into_iter().zip(&mut answers).zip(&mut times) {
            let start = Instant::now();
            let found = model.run(picture)?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
            *answer = Answer::of(found);
        }
        if run < pictures.len() {
            let [before, after] = &answers;
            maps.add("heatmap", &before.maps, &after.maps, None)?;
            presence.add("presence", &before.presence, &after.presence, Some(1.0))?;
        }
    }
    let [ms_without, ms_with] = times.map(median);
    Ok(Effect { rewrite, ms_without, ms_with, heatmap: maps.drift(), presence: presence.drift() })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
