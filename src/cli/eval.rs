//! `looptrans eval`.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, builder::PossibleValuesParser};
use ndarray::{Array2, ArrayView2};
use serde::Serialize;

use super::{
    data::{DatasetArguments, LIMITS},
    progress,
};
use crate::{
    config::ProviderChoice,
    contract::{Bundle, PresenceSource, Size},
    data::{
        Dataset,
        evaluation::{ClassMapper, Evaluation, Evaluator, Scored},
    },
    export::{
        bundle::{self, Settings, write_file},
        weights::{Weights, is_wsma},
    },
    metrics::{self, Mean, PointingMean},
    parity::presence::{Labelled, Trust, trust},
    perceive::{
        FrameError,
        infer::{InferSettings, Model},
        preprocess::Preprocessor,
    },
};

/// Side of a saved heatmap: the protocol's.
const MAP_SIDE: usize = 224;

/// Score a model on a dataset's test pictures: KLD, SIM and NSS as published papers report them.
///
/// Every test picture is stretched to the network's size by the node's own code; the class map of its folder's affordance
/// is compared with the ground truth at 224x224. Means are over pictures. The hottest spot counts as on the part where the
/// truth has half of its highest value, or at most 5 % of the picture beside that.
///
/// Of a bundle it also says how far presence can be trusted: how often an action that a picture's object affords has a higher
/// presence than one that it does not (AUROC), and how far presence is from a probability (expected calibration error). What
/// an object affords is what it is filed under anywhere in the dataset. Pictures that presence was calibrated on
/// (`looptrans export --calibrate`) flatter it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  looptrans eval models/agd20k AGD20K --split Seen
  looptrans eval weights.safetensors AGD20K --split Unseen --json
  looptrans eval int8_bundle my_kitchen --affordances open,hold,pour --save-maps out/maps

MODEL is a bundle, or a weights file that `looptrans export` takes; or of WSMA (needs the feature `train`; it is scored by its
own test procedure, one picture at a time, on libtorch). Pictures that can't be scored are named with the reason;
the exit code then is 1.")]
pub(super) struct Eval {
    /// The bundle or weights file.
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    #[command(flatten)]
    dataset: DatasetArguments,
    /// Also write each heatmap to FOLDER/AFFORDANCE/OBJECT/NAME.png (224x224, grey, 255 = hottest).
    #[arg(long, value_name = "FOLDER")]
    save_maps: Option<PathBuf>,
    /// Replace heatmaps that are already there.
    #[arg(long)]
    force: bool,
    /// The hardware that computes.
    #[arg(long, value_name = "NAME", default_value = ProviderChoice::Auto.name(),
          value_parser = PossibleValuesParser::new(ProviderChoice::NAMES.iter().copied()))]
    provider: String,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    model: &'a Path,
    model_id: String,
    dataset: &'a Path,
    /// None: of a weights file; or the pictures do not allow it.
    presence: Option<Trust>,
    #[serde(flatten)]
    evaluation: &'a Evaluation,
}

/// A model in ONNX Runtime.
struct Mapper {
    model: Model,
    grid: (usize, usize),
}

/// Whatever gives class maps, and what it wants.
struct Opened {
    mapper: Box<dyn ClassMapper>,
    input: Size,
    model_id: String,
    /// Of a bundle, where the pictures allow it.
    presence: Option<Trust>,
}

impl ClassMapper for Mapper {
    fn actions(&self) -> &[String] {
        &self.model.contract().actions
    }

    fn class_map(&mut self, pixels: &[u8], class: usize) -> Result<ArrayView2<'_, f32>, FrameError> {
        let answer = self.model.run(pixels)?;
        ArrayView2::from_shape(self.grid, answer.map(class)).map_err(|error| FrameError::Inference(error.to_string()))
    }
}

impl Eval {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let dataset = self.dataset.open()?;
        if dataset.test.is_empty() {
            bail!("{}: no test pictures with a ground truth", dataset.folder.display());
        }
        if let Some(folder) = self.save_maps.as_ref().filter(|folder| folder.exists() && !self.force) {
            bail!("{} exists; give --force to replace heatmaps in it", folder.display());
        }
        let Opened { mut mapper, input, model_id, presence } =
            if self.model.is_file() && is_wsma(&self.model)? { self.wsma()? } else { self.exportable(&dataset)? };
        let preprocessor = Preprocessor::new(input);
        let mut evaluator = Evaluator { dataset: &dataset, preprocessor, limits: LIMITS };
        let bar = progress::counting("scoring", dataset.test.len())?;
        let evaluation = evaluator.run(
            &mut *mapper,
            |scored| self.save(scored, &dataset.affordances[scored.item.label]),
            || bar.inc(1),
        )?;
        bar.finish_and_clear();
        let report =
            Report { model: &self.model, model_id, dataset: &dataset.folder, presence, evaluation: &evaluation };
        super::print_report(self.json, &report, &rows(&report))?;
        match evaluation.skipped.len() {
            0 => Ok(()),
            skipped => bail!("{skipped} of {} pictures were not scored", dataset.test.len()),
        }
    }

    /// What ONNX Runtime computes.
    fn exportable(&self, dataset: &Dataset) -> anyhow::Result<Opened> {
        let bundle = self.bundle()?;
        let contract = bundle.contract.clone();
        let grid = (contract.heatmap.height as usize, contract.heatmap.width as usize);
        let mut model = Model::load(&bundle, &self.infer_settings()?)?;
        // That of a weights file is what its export would choose.
        let presence = if self.model.is_dir() { presence(&mut model, dataset)? } else { None };
        let mapper = Box::new(Mapper { model, grid });
        Ok(Opened { mapper, input: contract.input, model_id: contract.model_id(), presence })
    }

    /// What libtorch computes.
    #[cfg(feature = "train")]
    fn wsma(&self) -> anyhow::Result<Opened> {
        if ![ProviderChoice::Auto, ProviderChoice::Cpu].map(ProviderChoice::name).contains(&self.provider.as_str()) {
            bail!("--provider {}: WSMA is scored by libtorch on the CPU (auto or cpu)", self.provider);
        }
        let scorer = crate::train::wsma::Scorer::load(&self.model)?;
        let sha256 = crate::contract::sha256_hex(&std::fs::read(&self.model)?);
        let input = scorer.input();
        Ok(Opened { mapper: Box::new(scorer), input, model_id: format!("wsma:{}", &sha256[..12]), presence: None })
    }

    #[cfg(not(feature = "train"))]
    fn wsma(&self) -> anyhow::Result<Opened> {
        bail!(
            "{} holds WSMA, which this looptrans can't score: it was built without the feature train",
            self.model.display()
        )
    }

    /// The bundle as it is, or the one that the weights file would be exported to.
    fn bundle(&self) -> anyhow::Result<Bundle> {
        if self.model.is_dir() {
            return Ok(Bundle::load(&self.model)?);
        }
        // Presence plays no part in the scores.
        let presence = PresenceSource::Pixel;
        let weights = Weights::read(&self.model, presence)?;
        let name = self.model.file_stem().map_or_else(|| "weights".into(), |stem| stem.to_string_lossy());
        Ok(bundle::build(&weights, &self.model, &Settings::new(&name, presence))?)
    }

    fn infer_settings(&self) -> anyhow::Result<InferSettings> {
        let provider = ProviderChoice::from_name(&self.provider).context("unknown provider")?;
        // Hardware asked for by name is that or none.
        let allow_fallback = provider == ProviderChoice::Auto;
        Ok(InferSettings { provider, allow_fallback, ..InferSettings::default() })
    }

    fn save(&self, scored: &Scored<'_>, affordance: &str) -> anyhow::Result<()> {
        let Some(folder) = &self.save_maps else { return Ok(()) };
        let stem = scored.item.picture.file_stem().unwrap_or_default().to_string_lossy();
        // Not `with_extension`: "cup.1" and "cup.2" are two stems.
        let path = folder.join(affordance).join(&scored.item.object).join(format!("{stem}.png"));
        let heat = heat(&scored.class_map)?;
        let side = MAP_SIDE as u32;
        let grey = image::GrayImage::from_raw(side, side, heat).context("heatmap")?;
        let mut png = std::io::Cursor::new(Vec::new());
        grey.write_to(&mut png, image::ImageFormat::Png)?;
        Ok(write_file(&path, png.get_ref())?)
    }
}

/// How far the model's presence can be trusted on the test pictures.
fn presence(model: &mut Model, dataset: &Dataset) -> anyhow::Result<Option<Trust>> {
    let labelled = Labelled::of(dataset);
    let bar = progress::counting("judging presence", labelled.len())?;
    let trust = trust(model, &labelled, &LIMITS, &mut || bar.inc(1))?;
    bar.finish_and_clear();
    Ok(trust)
}

/// The class map as the protocol sees it: upsampled, its own range stretched to 0 to 255.
fn heat(class_map: &Array2<f32>) -> anyhow::Result<Vec<u8>> {
    let map = metrics::resize(class_map.view(), (MAP_SIDE, MAP_SIDE))?;
    let (low, high) = map.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
    let gain = if high > low { 255.0 / (high - low) } else { 0.0 };
    Ok(map.iter().map(|value| ((value - low) * gain).round() as u8).collect())
}

fn rows(report: &Report<'_>) -> Vec<(&'static str, String)> {
    let line = |mean: &Mean| {
        let Mean { items, kld, sim, nss } = mean;
        let nss = nss.map_or_else(|| "none".to_owned(), |nss| format!("{nss:.3}"));
        format!("KLD {kld:.3}  SIM {sim:.3}  NSS {nss}  ({items} pictures)")
    };
    let named = |(name, mean): (&String, &Mean)| format!("{}  {name}", line(mean));
    let Evaluation { overall, pointing, affordances, objects, skipped } = report.evaluation;
    let mut rows = vec![
        ("model", format!("{} ({})", report.model.display(), report.model_id)),
        ("dataset", report.dataset.display().to_string()),
    ];
    rows.extend(affordances.iter().map(|group| ("affordance", named(group))));
    rows.extend(objects.iter().map(|group| ("object", named(group))));
    rows.extend(
        skipped.iter().map(|skipped| ("not scored", format!("{}: {}", skipped.picture.display(), skipped.reason))),
    );
    rows.extend(pointing.map(|PointingMean { items, hits, chance }| {
        let share = |part: f64| format!("{:.1} %", 100.0 * part);
        ("hottest spot", format!("on the part in {} of {items} pictures (chance: {})", share(hits), share(chance)))
    }));
    if let Some(Trust { pictures, positives, negatives, auroc, ece }) = report.presence {
        let of = format!("{pictures} pictures, {positives} pairs with an action that is there, {negatives} without");
        rows.push(("presence", format!("AUROC {auroc:.3}, expected calibration error {ece:.3} ({of})")));
    } else if report.model.is_dir() {
        let why = "not measured: that takes pictures of several kinds of objects that afford different actions";
        rows.push(("presence", why.to_owned()));
    }
    rows.push(("overall", overall.as_ref().map_or_else(|| "no picture could be scored".to_owned(), line)));
    rows
}
