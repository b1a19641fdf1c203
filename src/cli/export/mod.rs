//! `looptrans export`, and `looptrans seed-weights` beside it.

mod options;
mod precision;
mod presence;
mod report;
mod seed;

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;

use crate::{
    config::{NodeSettings, Overrides, ProviderChoice},
    contract::{Bundle, Parity, Precision, Size},
    export::{
        bundle::{self, DEFAULT_HEAT_THRESHOLD, Settings},
        graph::Batch,
        weights::Weights,
    },
    parity::{
        self, ParityError,
        pictures::Pictures,
        reference::{Origin, Reference},
        rewrites::{self, Effect},
    },
    perceive::{
        decode::Limits,
        infer::{InferError, InferSettings, Model},
    },
};
use precision::PrecisionArguments;
use presence::PresenceArguments;
pub(super) use presence::PresenceChoice;
use report::ExportReport;
pub(super) use seed::SeedWeights;

/// Turn a weights file into a model bundle: model.onnx and its contract, model.yaml.
///
/// At the end its answers are compared with the same weights on libtorch (in builds with the feature `train`) or with the
/// graph without rewrites, on a few pictures; the result is printed and kept in model.yaml. Above the tolerance nothing
/// is written.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  looptrans export weights.safetensors --out models/agd20k
  looptrans export weights.safetensors --out models/kitchen --affordances cut_with,hold,open
  looptrans export weights.safetensors --out models/wide --size 288x512 --static
  looptrans export weights.safetensors --out models/agd20k --presence pixel --force --explain
  looptrans export weights.safetensors --out models/checked --parity 50 --pictures photos
  looptrans export weights.safetensors --out models/fast --precision int8 --calibration photos
  looptrans export weights.safetensors --out models/honest --calibrate AGD20K/Seen

The weights file is safetensors with the keys of a LoopTrans checkpoint (vit_model.*, aff_proj.*, pixel_dec.*,
scam.*, aff_fc.*) or of a LOCATE one, as `looptrans convert` writes it, and, under the metadata key \"looptrans\", JSON like
  {\"actions\": [\"cut\", \"hold\"], \"trained\": true, \"source\": \"AGD20K Seen\"}

Rewrites compute the same function with less work:
  trim                of the last block only the keys, all that is used of it
  fold-batch-norm     batch normalisation inside the convolutions before it
  fold-normalisation  the picture's normalisation inside the patch embedding
  fold-scale          the attention's 1/sqrt(d) inside the query's weights
  split-projection    query, key and value as three products
  fused-operators     LayerNormalization and Gelu as one operator each
  cut-noise           no class maps of noise heads
  cut-actions         no class maps of actions that were not asked for
  fused-attention     an operator of ONNX Runtime's own domain, com.microsoft: only where asked for, by --with")]
pub(super) struct Export {
    /// The weights file.
    weights: PathBuf,
    /// The bundle, a folder that does not exist yet.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    #[command(flatten)]
    presence: PresenceArguments,
    /// The affordances to keep, in this order; all if not given.
    #[arg(long, value_delimiter = ',', value_name = "NAME,...")]
    affordances: Vec<String>,
    /// Height and width of the input in pixels, or one side of a square: multiples of the patch. The trained size if not
    /// given; at another, the position table is resized as DINO does.
    #[arg(long, value_name = "HxW", value_parser = options::size)]
    size: Option<Size>,
    /// One image at a time and no side that varies, as TensorRT and CUDA graphs like it.
    #[arg(long = "static")]
    fixed: bool,
    /// Rewrites to leave out, or `all`.
    #[arg(long, value_delimiter = ',', value_name = "REWRITE,...", value_parser = options::rewrite_names(true))]
    without: Vec<String>,
    /// Rewrites to use beyond the usual ones, or in spite of `--without all`.
    #[arg(long, value_delimiter = ',', value_name = "REWRITE,...", value_parser = options::rewrite_names(false))]
    with: Vec<String>,
    /// Also measure each rewrite by itself: time without and with it, and what it changes. Takes a minute.
    #[arg(long)]
    explain: bool,
    /// Timed runs of each graph for --explain.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    runs: u32,
    /// Pictures to compare on; with 0 nothing is compared, and model.yaml says so.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(..=10_000))]
    parity: u32,
    /// A folder to take these pictures from (JPEG, PNG); drawn by rule if not given.
    #[arg(long, value_name = "FOLDER")]
    pictures: Option<PathBuf>,
    /// The largest difference of the graph in f32, as a part of the class maps' range in a picture (of 1 for presence), to
    /// export with.
    #[arg(long, value_name = "PART", default_value_t = 1e-4)]
    tolerance: f64,
    /// Export above the tolerance as well; model.yaml tells the drift.
    #[arg(long)]
    allow_drift: bool,
    #[command(flatten)]
    precision: PrecisionArguments,
    /// Heat in [0, 1] from which a pixel belongs to a region, where the node's user sets none.
    #[arg(long, default_value_t = DEFAULT_HEAT_THRESHOLD)]
    heat_threshold: f32,
    /// The model's name; the weights file's if not given.
    #[arg(long)]
    name: Option<String>,
    /// Replace a bundle that is already there.
    #[arg(long)]
    force: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

impl Export {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let mut settings = self.settings()?;
        self.check()?;
        // Before the long work.
        bundle::room(&self.out, self.force)?;
        let calibrated = self.presence.calibrate(&self.weights, &mut settings, &on_cpu())?;
        let (labelled, quality) = calibrated.unzip();
        let weights = Weights::read(&self.weights, settings.presence)?;
        let mut bundle = bundle::build(&weights, &self.out, &settings)?;
        bundle.contract.provenance.presence = quality;
        let calibration = self.precision.pictures(bundle.contract.input)?;
        let pictures = match self.parity {
            0 => None,
            count => Some(self.pictures(count, bundle.contract.input)?),
        };
        if let Some(pictures) = &pictures {
            let parity = self.compare((&weights, &settings), &bundle, pictures).map_err(explain_library)?;
            if !parity.holds() && !self.allow_drift {
                bail!("nothing was exported: {}. --allow-drift exports all the same", report::drift(&parity));
            }
            bundle.contract.provenance.parity = Some(parity);
        }
        let effects = if self.explain { Some(self.effects(&weights, &settings, &bundle)?) } else { None };
        let (mut bundle, precision) = self.precision.apply(bundle, calibration)?;
        if bundle.contract.provenance.precision != Precision::Fp32 {
            // What is written tells of the bundle as it is; the tolerance is for the f32 graph, which has kept it.
            if let Some(pictures) = &pictures {
                bundle.contract.provenance.parity = Some(self.compare((&weights, &settings), &bundle, pictures)?);
            }
            if let Some(labelled) = &labelled {
                presence::measure_again(&mut bundle, labelled, &on_cpu())?;
            }
        }
        bundle::store(&bundle, self.force)?;
        let report = ExportReport::new(&bundle, effects, &precision);
        super::print_report(self.json, &report, &report.rows())
    }

    /// Before any work.
    fn check(&self) -> anyhow::Result<()> {
        if !(self.tolerance.is_finite() && self.tolerance >= 0.0) {
            bail!("--tolerance: expected a number of 0 or more, found {}", self.tolerance);
        }
        if !(0.0..=1.0).contains(&self.heat_threshold) {
            bail!("--heat-threshold: expected 0 to 1, found {}", self.heat_threshold);
        }
        self.precision.check()
    }

    fn settings(&self) -> anyhow::Result<Settings> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => self.weights.file_stem().context("the weights file has no name")?.to_string_lossy().into_owned(),
        };
        Ok(Settings {
            affordances: self.affordances.clone(),
            heat_threshold: self.heat_threshold,
            input: self.size,
            batch: if self.fixed { Batch::One } else { Batch::Varies },
            rewrites: options::rewrites(&self.without, &self.with),
            command: command_line(),
            force: self.force,
            ..Settings::new(&name, self.presence.source()?)
        })
    }

    fn pictures(&self, count: u32, size: Size) -> anyhow::Result<Pictures> {
        let Some(folder) = &self.pictures else { return Ok(Pictures::drawn(count as usize, size)) };
        let node = NodeSettings::from_overrides(&Overrides::new())?;
        let limits = Limits { max_image_pixels: u64::from(node.max_image_pixels) };
        Ok(Pictures::from_folder(folder, count as usize, size, limits)?)
    }

    fn compare(
        &self,
        (weights, settings): (&Weights, &Settings),
        bundle: &Bundle,
        pictures: &Pictures,
    ) -> Result<Parity, ParityError> {
        let mut candidate = Model::load(bundle, &on_cpu())?;
        let origin = Origin { weights_file: &self.weights, weights, settings };
        let mut reference = Reference::best(origin, &on_cpu())?;
        parity::compare(&mut reference, &mut candidate, pictures, self.tolerance)
    }

    fn effects(&self, weights: &Weights, settings: &Settings, bundle: &Bundle) -> anyhow::Result<Vec<Effect>> {
        let pictures = self.pictures(self.parity.clamp(1, self.runs), bundle.contract.input)?;
        Ok(rewrites::effects(weights, settings, &on_cpu(), (&pictures, self.runs as usize))?)
    }
}

/// f32 on the CPU is what all hardware is measured by.
fn on_cpu() -> InferSettings {
    InferSettings { provider: ProviderChoice::Cpu, ..InferSettings::default() }
}

/// A missing library is no reason not to export, if the user says so.
fn explain_library(error: ParityError) -> anyhow::Error {
    match error {
        ParityError::Infer(error @ InferError::Library { .. }) => anyhow::Error::from(error)
            .context("nothing was exported, for it could not be compared (--parity 0 exports without that)"),
        error => error.into(),
    }
}

/// How this program was called, for the bundle's provenance.
fn command_line() -> String {
    let arguments = std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
    ["looptrans".to_owned()].into_iter().chain(arguments).collect::<Vec<_>>().join(" ")
}
