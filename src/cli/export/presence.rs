//! The options of `looptrans export` that choose the source of presence and calibrate it.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::{Args, ValueEnum};

use super::super::{data::LIMITS, progress};
use crate::{
    contract::{Bundle, PresenceQuality, PresenceSource},
    data::{Dataset, index::Source},
    export::bundle::Settings,
    parity::presence::{self, Labelled, Subject, calibrate},
    perceive::infer::{InferSettings, Model},
};

#[derive(Debug, Args)]
pub(super) struct PresenceArguments {
    /// Where presence comes from [default: auto with --calibrate, else scam].
    #[arg(long, value_enum)]
    presence: Option<ExportChoice>,
    /// A labelled dataset (testset/egocentric/ACTION/OBJECT as AGD20K has it; a split's own folder) to calibrate presence on:
    /// a temperature and a bias are fitted on half of its test pictures and go into the graph; model.yaml tells AUROC and
    /// expected calibration error on the other half.
    #[arg(long, value_name = "FOLDER")]
    calibrate: Option<PathBuf>,
}

/// A source by its name.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(in crate::cli) enum PresenceChoice {
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ExportChoice {
    /// The shared branch's class scores, which the classification loss trains.
    Scam,
    /// Theta_pixel's own class scores: no further work per image.
    Pixel,
    /// Whichever tells better (AUROC) what the pictures of --calibrate afford.
    Auto,
}

impl PresenceArguments {
    /// The source, or the first one to look at.
    pub fn source(&self) -> anyhow::Result<PresenceSource> {
        match (self.presence, &self.calibrate) {
            (Some(ExportChoice::Auto), None) => {
                bail!("--presence auto needs labelled pictures: give --calibrate FOLDER")
            }
            (Some(ExportChoice::Pixel), _) => Ok(PresenceSource::Pixel),
            _ => Ok(PresenceSource::Scam),
        }
    }

    /// Calibrates presence, if that is asked for: sets its source and its calibration, and gives the pictures with what was
    /// measured on them.
    pub fn calibrate(
        &self,
        weights_file: &Path,
        settings: &mut Settings,
        infer: &InferSettings,
    ) -> anyhow::Result<Option<(Labelled, PresenceQuality)>> {
        let Some(root) = &self.calibrate else { return Ok(None) };
        let labelled = Labelled::of(&Dataset::open(&Source { root, split: None, affordances: &[] })?);
        let sources = match self.presence {
            None | Some(ExportChoice::Auto) => vec![PresenceSource::Scam, PresenceSource::Pixel],
            _ => vec![settings.presence],
        };
        let bar = progress::counting("judging presence", labelled.len() * sources.len())?;
        let subject = Subject { weights_file, settings, infer, limits: LIMITS };
        let (source, quality) = calibrate(&subject, &labelled, &sources, &mut || bar.inc(1))?;
        bar.finish_and_clear();
        (settings.presence, settings.calibration) = (source, quality.calibration);
        Ok(Some((labelled, quality)))
    }
}

/// Makes what a bundle says of its presence true of the bundle as it is.
pub(super) fn measure_again(bundle: &mut Bundle, labelled: &Labelled, infer: &InferSettings) -> anyhow::Result<()> {
    let mut model = Model::load(bundle, infer)?;
    let Some(quality) = &mut bundle.contract.provenance.presence else { return Ok(()) };
    let bar = progress::counting("judging presence", labelled.len())?;
    presence::measure_again(&mut model, labelled, &LIMITS, quality, &mut || bar.inc(1))?;
    bar.finish_and_clear();
    Ok(())
}
