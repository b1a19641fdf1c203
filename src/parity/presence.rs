//! How far presence can be trusted: on labelled pictures, does it tell those that afford an action from those that do not
//! (AUROC), and is it a probability (expected calibration error)? Of a bundle as it is ([`trust`]), and with the calibration
//! that makes it one ([`calibrate`]).
//!
//! A picture in the folder of an object affords the actions that the object is filed under anywhere in the dataset; the
//! other actions are negatives. Every second picture of each object is fitted on, the others are measured on.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::ParityError;
use crate::{
    contract::{Calibration, PresenceQuality, PresenceSource, SourceQuality, sha256_hex},
    data::{Dataset, TestItem},
    export::{
        bundle::{self, Settings},
        graph::Batch,
        weights::Weights,
    },
    metrics::presence::{Judged, auroc, ece, fit},
    perceive::{
        decode::Limits,
        infer::{InferSettings, Model},
        picture,
        preprocess::Preprocessor,
    },
};

/// Presence is told in f32 between 0 and 1, which holds log odds up to 16: for measuring they are divided by this.
const MEASURING: Calibration = Calibration { temperature: 16.0, bias: 0.0 };

/// Pictures and what they afford.
#[derive(Debug)]
pub struct Labelled {
    pictures: Vec<(PathBuf, BTreeSet<String>)>,
    /// What the dataset can judge.
    actions: BTreeSet<String>,
    /// For messages.
    folder: PathBuf,
}

/// How far a bundle's presence can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Trust {
    /// Pictures that it was measured on.
    pub pictures: usize,
    /// Pairs of such a picture and an action that its object affords.
    pub positives: usize,
    /// Pairs of such a picture and an action that its kind of object is never filed under.
    pub negatives: usize,
    /// How often a positive pair has a higher presence than a negative one; 0.5 is chance.
    pub auroc: f64,
    /// Expected calibration error (15 bins) of presence as it is.
    pub ece: f64,
}

/// What is measured, and with what.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The weights file.
    pub weights_file: &'a Path,
    /// What is to be exported of it.
    pub settings: &'a Settings,
    /// ONNX Runtime's.
    pub infer: &'a InferSettings,
    /// Larger pictures are refused.
    pub limits: Limits,
}

impl Labelled {
    /// The test pictures of a dataset, each content of an object once: one picture may lie under several actions, and
    /// names are often counted anew in each folder.
    pub fn of(dataset: &Dataset) -> Self {
        let mut affords: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        let trained = dataset.train.iter().map(|folder| (folder.object.as_str(), folder.label));
        let tested = dataset.test.iter().map(|item| (item.object.as_str(), item.label));
        for (object, label) in trained.chain(tested) {
            affords.entry(object).or_default().insert(dataset.affordances[label].clone());
        }
        let mut seen = BTreeSet::new();
        let mut items: Vec<&TestItem> = dataset.test.iter().collect();
        // All of an object together, so that every second one is half of each object's.
        items.sort_by_key(|item| (&item.object, item.picture.file_name(), item.label));
        let mut pictures = Vec::new();
        for TestItem { object, picture, .. } in items {
            // One that can't be read stays: whoever decodes it says why.
            if fs::read(picture).map_or(true, |bytes| seen.insert((object, sha256_hex(&bytes)))) {
                pictures.push((picture.clone(), affords[object.as_str()].clone()));
            }
        }
        Self { pictures, actions: dataset.affordances.iter().cloned().collect(), folder: dataset.folder.clone() }
    }

    /// Pictures.
    pub fn len(&self) -> usize {
        self.pictures.len()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.pictures.is_empty()
    }

    /// One picture's presence, in the order of `actions`, beside what it affords: of the actions that the dataset can judge.
    /// `folded`: the calibration that the graph has.
    fn pairs<'a>(
        &'a self,
        actions: &'a [String],
        presence: &'a [f32],
        affords: &'a BTreeSet<String>,
        folded: Calibration,
    ) -> impl Iterator<Item = Judged> + 'a {
        let known = actions.iter().zip(presence).filter(|(action, _)| self.actions.contains(*action));
        known.map(move |(action, presence)| Judged {
            logit: logit(*presence, folded),
            positive: affords.contains(action),
        })
    }
}

/// Measures presence as the model gives it, calibrated or not. Pictures that can't be read are left out. None: there are no
/// pairs of both kinds, as where all objects afford the same. `progress` is called after each picture.
///
/// # Errors
/// The model fails.
pub fn trust(
    model: &mut Model,
    labelled: &Labelled,
    limits: &Limits,
    progress: &mut dyn FnMut(),
) -> Result<Option<Trust>, ParityError> {
    let actions = model.contract().actions.clone();
    let mut preprocessor = Preprocessor::new(model.contract().input);
    let (mut pictures, mut all) = (0, Vec::new());
    for (path, affords) in &labelled.pictures {
        if let Ok(pixels) = picture::load_for(path, limits, &mut preprocessor) {
            let presence = model.run(&pixels)?.presence;
            all.extend(labelled.pairs(&actions, presence, affords, Calibration::NONE));
            pictures += 1;
        }
        progress();
    }
    let positives = all.iter().filter(|one| one.positive).count();
    let figures = auroc(&all).zip(ece(&all, Calibration::NONE));
    Ok(figures.map(|(auroc, ece)| Trust { pictures, positives, negatives: all.len() - positives, auroc, ece }))
}

/// Measures `sources`, fits each one's calibration, and chooses the one with the higher AUROC on the pictures that were
/// fitted on. The quality's own calibration is that source's.
///
/// # Errors
/// Too few pictures of either kind; a picture, the weights file or ONNX Runtime can't be used.
pub fn calibrate(
    subject: &Subject<'_>,
    labelled: &Labelled,
    sources: &[PresenceSource],
    progress: &mut dyn FnMut(),
) -> Result<(PresenceSource, PresenceQuality), ParityError> {
    let too_few = || ParityError::TooFewLabelled { path: labelled.folder.clone() };
    let mut best: Option<(f64, SourceQuality)> = None;
    let (mut all, mut counts) = (Vec::new(), [0; 2]);
    for &source in sources {
        let [fitted, measured] = judge(subject, labelled, source, progress)?;
        let calibration = fit(&fitted).ok_or_else(too_few)?;
        let rank = auroc(&fitted).ok_or_else(too_few)?;
        let quality = SourceQuality {
            source,
            auroc: auroc(&measured).ok_or_else(too_few)?,
            ece_before: ece(&measured, Calibration::NONE).ok_or_else(too_few)?,
            ece_after: ece(&measured, calibration).ok_or_else(too_few)?,
            calibration,
        };
        let positives = measured.iter().filter(|one| one.positive).count();
        counts = [positives as u32, (measured.len() - positives) as u32];
        if best.is_none_or(|(before, _)| rank > before) {
            best = Some((rank, quality));
        }
        all.push(quality);
    }
    let (_, chosen) = best.ok_or_else(too_few)?;
    let measured_on = (labelled.pictures.len() / 2) as u32;
    let quality = PresenceQuality {
        calibration: chosen.calibration,
        fitted_on: labelled.pictures.len() as u32 - measured_on,
        measured_on,
        positives: counts[0],
        negatives: counts[1],
        sources: all,
    };
    Ok((chosen.source, quality))
}

/// Measures the figures of a calibrated bundle's own source again, on the same pictures as [`calibrate`]: for one in another
/// precision, which moves them. `labelled` is what it was calibrated on, `quality` what [`calibrate`] gave.
///
/// # Errors
/// Those of [`calibrate`].
pub fn measure_again(
    model: &mut Model,
    labelled: &Labelled,
    limits: &Limits,
    quality: &mut PresenceQuality,
    progress: &mut dyn FnMut(),
) -> Result<(), ParityError> {
    let too_few = || ParityError::TooFewLabelled { path: labelled.folder.clone() };
    let (own, calibration) = (model.contract().presence.source, quality.calibration);
    let [_, measured] = ask(model, labelled, (limits, calibration), progress)?;
    for source in quality.sources.iter_mut().filter(|source| source.source == own) {
        source.auroc = auroc(&measured).ok_or_else(too_few)?;
        source.ece_before = ece(&measured, Calibration::NONE).ok_or_else(too_few)?;
        source.ece_after = ece(&measured, calibration).ok_or_else(too_few)?;
    }
    Ok(())
}

/// Every judged pair of the pictures to fit on, and of those to measure on.
fn judge(
    subject: &Subject<'_>,
    labelled: &Labelled,
    source: PresenceSource,
    progress: &mut dyn FnMut(),
) -> Result<[Vec<Judged>; 2], ParityError> {
    let Subject { weights_file, settings, infer, limits } = *subject;
    let weights = Weights::read(weights_file, source)?;
    let settings = Settings { presence: source, calibration: MEASURING, batch: Batch::One, ..settings.clone() };
    let bundle = bundle::build(&weights, Path::new("the graph to measure presence with"), &settings)?;
    ask(&mut Model::load(&bundle, infer)?, labelled, (&limits, MEASURING), progress)
}

/// [`judge`], by a model whose graph has the calibration `folded`.
fn ask(
    model: &mut Model,
    labelled: &Labelled,
    (limits, folded): (&Limits, Calibration),
    progress: &mut dyn FnMut(),
) -> Result<[Vec<Judged>; 2], ParityError> {
    let actions = model.contract().actions.clone();
    let mut preprocessor = Preprocessor::new(model.contract().input);
    let mut halves = [Vec::new(), Vec::new()];
    for (index, (path, affords)) in labelled.pictures.iter().enumerate() {
        let pixels = picture::load_for(path, limits, &mut preprocessor)?;
        let answer = model.run(&pixels)?;
        halves[index % 2].extend(labelled.pairs(&actions, answer.presence, affords, folded));
        progress();
    }
    Ok(halves)
}

/// The log odds that a presence stands for, before the calibration that the graph has; finite.
fn logit(presence: f32, folded: Calibration) -> f64 {
    const LEAST: f64 = 1e-7;
    let presence = f64::from(presence).clamp(LEAST, 1.0 - LEAST);
    folded.temperature * ((presence / (1.0 - presence)).ln() - folded.bias)
}
