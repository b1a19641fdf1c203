//! The options of `looptrans export` that choose the precision, and what is reported of it.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::{
    contract::{Bundle, Precision, Size},
    export::precision::{Change, HeatDrift, Int8, Int8Settings, LayerDrift, Pictures, ReduceRange, change},
    perceive::infer::InferSettings,
};

/// Of the least SIM between the final heatmaps of f32 and int8.
const DEFAULT_LEAST_SIM: f64 = 0.95;

#[derive(Debug, Args)]
pub(super) struct PrecisionArguments {
    /// The numbers inside the graph.
    #[arg(long, value_enum, default_value_t = PrecisionChoice::Fp32)]
    precision: PrecisionChoice,
    /// A folder of JPEG and PNG pictures like those the robot will see, a hundred or so: int8 takes the ranges of
    /// activations from them (of more than 512 from 512, evenly spread), and the drift of fp16 and int8 is measured on them.
    #[arg(long, value_name = "FOLDER")]
    calibration: Option<PathBuf>,
    /// 7-bit weights for int8, for processors whose 8-bit products saturate (x86 without VNNI): auto looks at this
    /// machine, on and off are for a bundle that will run on another.
    #[arg(long, value_enum, default_value_t = ReduceChoice::Auto)]
    reduce_range: ReduceChoice,
    /// The least mean SIM, in [0, 1], between the final heatmaps of f32 and int8 on 32 calibration pictures, evenly spread:
    /// the layers that drift most, each by itself on 8 of them, stay in float until it is kept. Finding them takes some
    /// minutes.
    #[arg(long, value_name = "SIM", default_value_t = DEFAULT_LEAST_SIM)]
    int8_sim: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PrecisionChoice {
    /// f32.
    Fp32,
    /// f16, for GPUs: ONNX Runtime's CPU has few such kernels and gains nothing.
    Fp16,
    /// Static quantisation, for CPUs: needs --calibration.
    Int8,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ReduceChoice {
    Auto,
    On,
    Off,
}

/// What became of the precision.
#[derive(Debug, Serialize)]
pub(super) struct PrecisionReport {
    precision: Precision,
    /// From f32, on the calibration pictures; int8's on 32 of them.
    drift: Option<HeatDrift>,
    /// Calibration files that are no pictures.
    skipped: Vec<PathBuf>,
    int8: Option<Int8Report>,
}

#[derive(Debug, Serialize)]
struct Int8Report {
    /// With nothing left in float for its drift.
    drift_of_all: HeatDrift,
    layers: Vec<LayerDrift>,
}

impl PrecisionArguments {
    /// Before any work.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        if self.precision == PrecisionChoice::Int8 && self.calibration.is_none() {
            bail!("--precision int8: expected --calibration FOLDER with pictures like those the robot will see");
        }
        if self.precision == PrecisionChoice::Fp32 && self.calibration.is_some() {
            bail!("--calibration: expected --precision fp16 or int8 with it, found fp32, which needs no pictures");
        }
        if !(0.0..=1.0).contains(&self.int8_sim) {
            bail!("--int8-sim: expected 0 to 1, found {}", self.int8_sim);
        }
        Ok(())
    }

    /// The calibration pictures, none if there is no folder.
    pub(super) fn pictures(&self, network: Size) -> anyhow::Result<Pictures> {
        let Some(folder) = &self.calibration else { return Ok(Pictures::default()) };
        Ok(Pictures::read(folder, network)?)
    }

    /// Gives the bundle the precision that is asked for.
    pub(super) fn apply(&self, bundle: Bundle, pictures: Pictures) -> anyhow::Result<(Bundle, PrecisionReport)> {
        let precision = match self.precision {
            PrecisionChoice::Fp32 => Precision::Fp32,
            PrecisionChoice::Fp16 => Precision::Fp16,
            PrecisionChoice::Int8 => Precision::Int8,
        };
        let reduce_range = match self.reduce_range {
            ReduceChoice::Auto => ReduceRange::Auto,
            ReduceChoice::On => ReduceRange::On,
            ReduceChoice::Off => ReduceRange::Off,
        };
        let settings = Int8Settings {
            weight_bits: reduce_range.weight_bits(),
            least_sim: self.int8_sim,
            infer: InferSettings::default(),
        };
        let asked = Change { precision, pictures: &pictures, settings: &settings };
        let changed = change(bundle, &asked).with_context(|| format!("--precision {}", precision.name()))?;
        let int8 = changed.int8.map(|Int8 { drift_of_all, layers, .. }| Int8Report { drift_of_all, layers });
        let report = PrecisionReport { precision, drift: changed.drift, skipped: pictures.skipped, int8 };
        Ok((changed.bundle, report))
    }
}

impl PrecisionReport {
    /// For people.
    pub(super) fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows = vec![("precision", self.precision.name().to_owned())];
        if let Some(HeatDrift { sim, kld, presence }) = self.drift {
            let drift = format!("SIM {sim:.4}, KLD {kld:.2e} between heatmaps; presence within {presence:.1e}");
            rows.push(("drift", drift));
        }
        if let Some(int8) = &self.int8 {
            let in_float = int8.layers.iter().filter(|layer| layer.in_float);
            let names: Vec<String> =
                in_float.map(|layer| format!("{} (alone {:.4})", layer.layer, layer.own_drift)).collect();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            rows.push(("all in int8", format!("SIM {:.4}", int8.drift_of_all.sim)));
            rows.push(("left in float for drift", names));
        }
        rows
    }
}
