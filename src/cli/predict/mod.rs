//! `looptrans predict`: what the node does with camera frames, for picture files.

mod files;
mod report;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, builder::PossibleValuesParser};
use image::{ExtendedColorType, RgbImage};
use ndarray::ArrayView3;
use ndarray_npy::WriteNpyExt;

use super::progress;
use crate::{
    config::{NodeSettings, Overrides, ProviderChoice},
    contract::Bundle,
    perceive::{
        Frame, Pixels, Stamp,
        decode::Limits,
        infer::{InferSettings, Model},
        picture,
        pipeline::{Pipeline, PipelineSettings, Wanted},
    },
};
use files::Outputs;
use report::{AffordanceReport, Failure, ImageReport, Report};

/// Find affordances and grasp regions in picture files (JPEG, PNG).
///
/// For each picture NAME.*, the folder of --out gets NAME.overlay.png and, for each affordance,
/// NAME.AFFORDANCE.heatmap.png (255 = 1.0; scaled per picture, so that it always has a hottest spot). regions.json tells
/// of all pictures: each affordance's presence and peak, and each region in the units of msg/GraspRegion.msg.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  looptrans predict --model bundle --affordance hold kitchen.jpg --out out/kitchen
  looptrans predict --model bundle --affordance hold --affordance open photos/*.jpg --out out/photos --raw

Pictures that can't be read are named and counted, the others are done all the same; the exit code then is 1.")]
pub(super) struct Predict {
    /// The model bundle, a folder.
    #[arg(long, value_name = "BUNDLE")]
    model: PathBuf,
    /// An affordance to look for; may be given again. All of the model's if not given.
    #[arg(long = "affordance", value_name = "NAME")]
    affordances: Vec<String>,
    /// The pictures.
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// The folder for results; made if it does not exist.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Also write NAME.class_maps.npy: all the model's class maps as they are, f32 [A, h, w] in the order of regions.json's
    /// "actions".
    #[arg(long)]
    raw: bool,
    /// Replace results that are already there.
    #[arg(long)]
    force: bool,
    /// Heat in [0, 1] from which a pixel belongs to a region; the model's own if not given.
    #[arg(long, value_name = "HEAT")]
    heat_threshold: Option<f32>,
    /// Regions below this score, in [0, 1], are left out; the node's default if not given.
    #[arg(long, value_name = "SCORE")]
    min_score: Option<f32>,
    /// The hardware that computes.
    #[arg(long, value_name = "NAME", default_value = ProviderChoice::Auto.name(),
          value_parser = PossibleValuesParser::new(ProviderChoice::NAMES.iter().copied()))]
    provider: String,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
}

impl Predict {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let bundle = Bundle::load(&self.model)?;
        let settings = self.settings()?;
        let limits = Limits { max_image_pixels: settings.max_image_pixels };
        let model = Model::load(&bundle, &self.infer_settings()?)?;
        let mut pipeline = Pipeline::new(model, settings)?;
        let outputs = self.outputs(&bundle)?;
        let mut report = Report::new(&bundle.contract.actions, &pipeline);
        let bar = progress::counting("pictures", self.images.len())?;
        for (image, stem) in self.images.iter().zip(&outputs.stems) {
            bar.set_message(stem.clone());
            let done = picture::load(image, &limits).map_err(anyhow::Error::from);
            match done.and_then(|picture| self.predict(&picture, (image, stem), &outputs, &mut pipeline)) {
                Ok(done) => report.images.push(done),
                Err(error) => {
                    bar.suspend(|| eprintln!("{error:#}"));
                    report.failed.push(Failure { image: image.clone(), error: format!("{error:#}") });
                }
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        outputs.write(files::REGIONS, &serde_json::to_vec_pretty(&report)?)?;
        self.print(&report, &bundle)?;
        match report.failed.len() {
            0 => Ok(()),
            failed => {
                bail!("{failed} of {} pictures failed; {} holds the others", self.images.len(), self.out.display())
            }
        }
    }

    /// The node's defaults with what was asked for.
    fn settings(&self) -> anyhow::Result<PipelineSettings> {
        let mut settings = PipelineSettings::from(&NodeSettings::from_overrides(&Overrides::new())?);
        settings.affordances.clone_from(&self.affordances);
        settings.heat_threshold = self.heat_threshold;
        settings.min_region_score = self.min_score.unwrap_or(settings.min_region_score);
        Ok(settings)
    }

    fn infer_settings(&self) -> anyhow::Result<InferSettings> {
        let provider = ProviderChoice::from_name(&self.provider).context("unknown provider")?;
        // Hardware asked for by name is that or none.
        let allow_fallback = provider == ProviderChoice::Auto;
        Ok(InferSettings { provider, allow_fallback, ..InferSettings::default() })
    }

    /// Where results go. Fails before any work if one is there already.
    fn outputs(&self, bundle: &Bundle) -> anyhow::Result<Outputs> {
        let outputs = Outputs::new(&self.out, &self.images, self.force)?;
        let asked: &[String] = if self.affordances.is_empty() { &bundle.contract.actions } else { &self.affordances };
        let mut names = vec![files::REGIONS.to_owned()];
        for stem in &outputs.stems {
            names.push(files::overlay(stem));
            names.extend(asked.iter().map(|affordance| files::heatmap(stem, affordance)));
            names.extend(self.raw.then(|| files::class_maps(stem)));
        }
        outputs.check(&names)?;
        Ok(outputs)
    }

    fn predict(
        &self,
        picture: &RgbImage,
        (image, stem): (&Path, &str),
        outputs: &Outputs,
        pipeline: &mut Pipeline,
    ) -> anyhow::Result<ImageReport> {
        let (width, height) = picture.dimensions();
        let stride_bytes = 3 * width;
        let pixels =
            Pixels::Raw { width, height, encoding: "rgb8", is_bigendian: false, stride_bytes, data: picture.as_raw() };
        let frame = Frame { stamp: Stamp::default(), frame_id: "", pixels };
        let wanted = Wanted { heatmap: false, heatmaps: true, overlay: true };
        let seen = pipeline.process(&frame, wanted).with_context(|| image.display().to_string())?;

        let mut report = ImageReport::new(image, seen);
        if let Some(overlay) = &seen.overlay {
            report.overlay = files::overlay(stem);
            let (width, height) = overlay.dimensions();
            outputs.write_png(&report.overlay, overlay.as_raw(), (width, height), ExtendedColorType::Rgb8)?;
        }
        for heatmap in &seen.heatmaps {
            let name = files::heatmap(stem, &heatmap.affordance);
            let image = heatmap.heat.image();
            outputs.write_png(&name, &image.data, (image.size.width, image.size.height), ExtendedColorType::L8)?;
            report.affordances.push(AffordanceReport::new(heatmap, name));
        }
        if self.raw {
            let name = files::class_maps(stem);
            let answer = pipeline.class_maps();
            let (h, w) = (answer.size.height as usize, answer.size.width as usize);
            let maps = ArrayView3::from_shape((answer.presence.len(), h, w), answer.maps)?;
            let mut npy = Vec::new();
            maps.write_npy(&mut npy)?;
            outputs.write(&name, &npy)?;
            report.class_maps = Some(name);
        }
        Ok(report)
    }

    fn print(&self, report: &Report<'_>, bundle: &Bundle) -> anyhow::Result<()> {
        super::print_report(
            self.json,
            &report.summary(&self.out),
            &[
                ("results", self.out.display().to_string()),
                ("model", report.model_id.clone()),
                ("source", bundle.contract.provenance.source.clone()),
                ("provider", report.execution_provider.to_owned()),
                ("pictures", format!("{} done, {} failed", report.images.len(), report.failed.len())),
                ("regions", report.regions().to_string()),
            ],
        )
    }
}
