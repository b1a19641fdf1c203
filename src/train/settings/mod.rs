//! The settings of a training run: every constant of the method, read from YAML and single `key=value` overrides.

mod checks;
mod given;

use serde::{Deserialize, Serialize};

use self::given::Given;
use super::{
    loss_report::System,
    losses::{self, looptrans::Saliency},
    optimizer::Sgd,
    wsma::WsmaSettings,
};
use crate::data::augment::{Augmentation, ResizeRule};

/// Of [`LoopTransSettings::clusters`]: parts are found without training.
pub const K_MEANS: &str = "k-means";
/// Of [`LoopTransSettings::clusters`]: trained ones lie in the backbone's file.
pub const IN_BACKBONE: &str = "in-backbone";
/// Of libtorch.
pub(in crate::train) const MAX_THREADS: usize = 1024;
/// What WSMA is where no file of CLIP is given, after its name.
pub const NO_TEXT_ENCODER: &str = "has no text encoder and no learned prompts here: one learned vector for each action \
                                   stands in their place, which is not the published method";

/// Why settings are refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// Not YAML, or no mapping.
    #[error("train: {origin}: expected YAML with `key: value` lines, found {cause}")]
    Text {
        /// The file.
        origin: String,
        /// What is wrong.
        cause: String,
    },
    /// A key that does not exist.
    #[error("train: {origin}: unknown key {key:?}{hint}")]
    Unknown {
        /// The file, or the command line.
        origin: String,
        /// The key with those above it.
        key: String,
        /// The nearest known one.
        hint: String,
    },
    /// A value of another type or out of range.
    #[error("train: {origin}: {key}: {cause}")]
    Value {
        /// The file, or the command line.
        origin: String,
        /// The key with those above it.
        key: String,
        /// What is wrong.
        cause: String,
    },
}

/// All settings of a run. What is not given is as published, for the system that is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The network.
    pub system: System,
    /// Which data.
    pub data: DataSettings,
    /// Times through all exocentric pictures.
    pub epochs: u64,
    /// Samples of a step (one egocentric and three exocentric pictures each).
    pub batch: usize,
    /// Parts that a step's samples are computed in, one after the other: less memory, the same number of samples. Batch
    /// normalisation sees one part at a time, and LOCATE's L_proto is the mean of the parts' means. WSMA takes 1 only.
    pub accumulation: usize,
    /// Of every random draw.
    pub seed: u64,
    /// Threads of libtorch; 0: as many as it likes. The same number gives the same bits.
    pub threads: usize,
    /// Steps between checkpoints within an epoch.
    pub save_every_steps: u64,
    /// How training pictures are cut.
    pub augmentation: AugmentationSettings,
    /// The optimiser.
    pub optimizer: Sgd,
    /// LoopTrans' own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looptrans: Option<LoopTransSettings>,
    /// LOCATE's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locate: Option<LocateSettings>,
    /// WSMA's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wsma: Option<WsmaSettings>,
}

/// Which data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSettings {
    /// The split's folder under the dataset's; null: that folder itself.
    pub split: Option<String>,
    /// The actions in class order: a vocabulary, a list like cut,hold or a file; null: the split's published list, or else
    /// the folders' names.
    pub affordances: Option<String>,
}

/// How training pictures are cut.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AugmentationSettings {
    /// How pictures are resized before a part of the network's size is cut out.
    pub resize: ResizeRule,
    /// How much larger than the network's side: 256/224 as published.
    pub enlarged: f64,
}

impl AugmentationSettings {
    /// For a network of this side in pixels.
    pub(super) fn of(&self, side: u32) -> Augmentation {
        Augmentation { resize: self.resize, resized: (f64::from(side) * self.enlarged).round() as u32, crop: side }
    }
}

/// LoopTrans' own settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoopTransSettings {
    /// M, channels of the classifier that take up what no action explains.
    pub noise_heads: usize,
    /// Where the parts of pseudo masks come from: `k-means`, `in-backbone` (the backbone's file has clusters), or a file.
    pub clusters: String,
    /// K of k-means.
    pub parts: i64,
    /// What each loss counts.
    pub weights: losses::looptrans::Weights,
    /// Choices inside the losses.
    pub options: losses::looptrans::Options,
    /// The row of the ablation.
    pub ablation: Ablation,
}

/// What of LoopTrans is switched on (the paper's ablation).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ablation {
    /// The egocentric cross-entropy on the shared activation map, G_ego; off: on the decoder's own maps, as LOCATE.
    pub shared_cam: bool,
    /// L_pixel.
    pub pixel: bool,
    /// L_dill and the noise heads.
    pub denoise: bool,
    /// The maps that are tested.
    pub tested: TestedMaps,
}

impl Ablation {
    /// Does a loss train P, the maps that are exported, on the action? Where not, G_ego is what to look at.
    pub(in crate::train) fn trains_pixel(self) -> bool {
        self.pixel || !self.shared_cam
    }
}

/// Which class maps of LoopTrans are tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TestedMaps {
    /// P, the decoder's: of the whole method, and what is exported.
    Pixel,
    /// G_ego, the shared activation map's: without L_pixel it is the one that a loss trains on the action.
    Scam,
}

/// LOCATE's own settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocateSettings {
    /// What each loss counts.
    pub weights: losses::locate::Weights,
    /// The epoch, counted from 0, from which L_proto counts.
    pub proto_from_epoch: u64,
    /// What the egocentric patches that choose a prototype are told by.
    #[serde(default)]
    pub saliency: Saliency,
}

/// One `key=value` of the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Keys joined by dots.
    pub key: String,
    /// YAML.
    pub value: String,
}

impl Settings {
    /// As published.
    pub fn published(system: System) -> Self {
        let looptrans = system == System::LoopTrans;
        let (epochs, batch, seed) = match system {
            System::LoopTrans => (5, 16, 42),
            System::Locate => (15, 16, 0),
            System::Wsma => (13, 10, 0),
        };
        Self {
            system,
            data: DataSettings { split: None, affordances: None },
            epochs,
            batch,
            accumulation: 1,
            seed,
            threads: 0,
            save_every_steps: 200,
            augmentation: AugmentationSettings {
                resize: if looptrans { ResizeRule::Square } else { ResizeRule::ShortSide },
                enlarged: 256.0 / 224.0,
            },
            optimizer: if system == System::Wsma { WsmaSettings::optimizer() } else { Sgd::default() },
            looptrans: looptrans.then(LoopTransSettings::published),
            locate: (system == System::Locate).then(LocateSettings::published),
            wsma: (system == System::Wsma).then(WsmaSettings::published),
        }
    }

    /// Reads YAML named `origin`, then the command line's assignments, over what is published.
    ///
    /// # Errors
    /// [`SettingsError`], naming the key.
    pub fn read(text: &str, origin: &str, assignments: &[Assignment]) -> Result<Self, SettingsError> {
        let given = given::read(text, origin, assignments)?;
        let origins: Vec<(String, &str)> = given.iter().map(|one| (one.key(), one.origin)).collect();
        let settings = over_published(given)?;
        settings
            .check(|key| origins.iter().rev().find(|(given, _)| given == key).map_or(origin, |(_, origin)| origin))?;
        Ok(settings)
    }

    /// Does a loss train the maps that are exported on the action?
    pub(super) fn trains_exported_maps(&self) -> bool {
        self.looptrans.as_ref().is_none_or(|own| own.ablation.trains_pixel())
    }

    /// Does WSMA go without CLIP's text encoder?
    pub fn has_no_text_encoder(&self) -> bool {
        self.wsma.as_ref().is_some_and(|own| own.clip.is_none())
    }
}

impl LocateSettings {
    /// The published run's.
    pub(super) fn published() -> Self {
        Self { weights: Default::default(), proto_from_epoch: 1, saliency: Saliency::default() }
    }
}

impl LoopTransSettings {
    fn published() -> Self {
        Self {
            noise_heads: 15,
            clusters: K_MEANS.to_owned(),
            parts: 4,
            weights: Default::default(),
            options: Default::default(),
            ablation: Ablation { shared_cam: true, pixel: true, denoise: true, tested: TestedMaps::Pixel },
        }
    }
}

fn over_published(given: Vec<Given<'_>>) -> Result<Settings, SettingsError> {
    let system = given.iter().rev().find(|one| one.path == ["system"]);
    let system = match system {
        None => System::LoopTrans,
        Some(one) => serde_yaml::from_value(one.value.clone()).map_err(|error| one.refused(&error))?,
    };
    let mut settings = Settings::published(system);
    for one in given {
        let mut tree = serde_yaml::to_value(&settings).map_err(|error| one.refused(&error))?;
        *one.place_in(&mut tree)? = one.value.clone();
        settings = serde_yaml::from_value(tree).map_err(|error| one.refused(&error))?;
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(text: &str, set: &[(&str, &str)]) -> Result<Settings, String> {
        let set = set.iter().map(|(key, value)| Assignment { key: (*key).into(), value: (*value).into() });
        Settings::read(text, "a.yaml", &set.collect::<Vec<_>>()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_files_of_the_project_are_what_is_published() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/config/train");
        let mut files = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let mut found = read(&std::fs::read_to_string(&path).unwrap(), &[]).unwrap();
            assert!(found.data.split.is_some() && found.data.affordances.is_some(), "{}", path.display());
            let mut expected = Settings::published(found.system);
            found.data.clone_into(&mut expected.data);
            found.augmentation.enlarged = (found.augmentation.enlarged * 1e6).round() / 1e6;
            expected.augmentation.enlarged = (expected.augmentation.enlarged * 1e6).round() / 1e6;
            assert_eq!(found, expected, "{}", path.display());
            files += 1;
        }
        assert!(files >= 4);
    }

    #[test]
    fn the_command_line_overrides_the_file_and_the_file_what_is_published() {
        let found = read("epochs: 3\nlooptrans: {weights: {dill: 0}}", &[("epochs", "4"), ("batch", "2")]).unwrap();
        assert_eq!((found.epochs, found.batch, found.seed), (4, 2, 42));
        let weights = found.looptrans.unwrap().weights;
        assert!(weights.dill == 0.0 && weights.mse == 10.0);
        let several = read("optimizer: {lr: 0.005}", &[("optimizer", "{momentum: 0.8}")]).unwrap().optimizer;
        assert_eq!((several.lr, several.momentum), (0.005, 0.8), "keys that are not given stay");
        assert_eq!(read("system: locate", &[]).unwrap(), Settings::published(System::Locate));
        let wsma = read("system: wsma", &[("wsma.clip", "clip.safetensors")]).unwrap();
        assert_eq!(wsma.wsma.unwrap().clip.as_deref(), Some("clip.safetensors"));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_key() {
        for (text, set, expected) in [
            ("epoch: 3", None, "train: a.yaml: unknown key \"epoch\"; did you mean epochs?"),
            ("optimizer: {lrr: 1}", None, "train: a.yaml: unknown key \"optimizer.lrr\"; did you mean lr?"),
            ("epochs: {a: 1}", None, "train: a.yaml: unknown key \"epochs.a\""),
            (
                "system: locate\nlooptrans: {parts: 4}",
                None,
                "train: a.yaml: unknown key \"looptrans.parts\"; known here:",
            ),
            ("epochs: many", None, "train: a.yaml: epochs: "),
            ("optimizer: 3", None, "train: a.yaml: optimizer: "),
            ("system: x", None, "train: a.yaml: system: "),
            (
                "system: wsma\nlooptrans: {parts: 4}",
                None,
                "train: a.yaml: unknown key \"looptrans.parts\"; known here:",
            ),
            ("system: wsma\nwsma: null", None, "train: a.yaml: system: expected the settings"),
            ("optimizer: {lr: .nan}", None, "train: a.yaml: optimizer.lr: expected finite, above 0, found NaN"),
            (
                "optimizer: {weight_decay: .inf}",
                None,
                "train: a.yaml: optimizer.weight_decay: expected finite, at least 0",
            ),
            ("optimizer: {bias_factor: .nan}", None, "train: a.yaml: optimizer.bias_factor: expected finite, above 0"),
            (
                "optimizer: {fc_factor: 0}",
                None,
                "train: a.yaml: optimizer.fc_factor: expected finite, above 0, found 0",
            ),
            (
                "looptrans: {options: {fg_threshold: 1}}",
                None,
                "train: a.yaml: looptrans.options.fg_threshold: expected at least 0, below 1, found 1",
            ),
            (
                "looptrans: {weights: {dill: -0.05}}",
                None,
                "train: a.yaml: looptrans.weights.dill: expected finite, at least 0, found -0.05",
            ),
            (
                "system: locate\nlocate: {weights: {proto: .inf}}",
                None,
                "train: a.yaml: locate.weights.proto: expected finite, at least 0, found inf",
            ),
            (
                "system: wsma\nwsma: {weights: {clip: .nan}}",
                None,
                "train: a.yaml: wsma.weights.clip: expected finite, at least 0, found NaN",
            ),
            ("looptrans: null", None, "train: a.yaml: system: expected the settings"),
            ("epochs: 0", None, "train: a.yaml: epochs: expected at least 1, found 0"),
            ("batch: 2\naccumulation: 3", None, "train: a.yaml: accumulation: expected at most the batch"),
            (
                "system: wsma\naccumulation: 2",
                None,
                "train: a.yaml: accumulation: expected 1, as WSMA's losses are of a whole batch, found 2",
            ),
            ("- a", None, "train: a.yaml: expected YAML"),
            ("a: [", None, "train: a.yaml: expected YAML"),
            ("epochs: 1", Some(("lokks.dill", "0")), "train: command line: unknown key \"lokks.dill\""),
            ("epochs: 1", Some(("batch", "[")), "train: command line: batch: "),
            ("epochs: 1", Some(("epochs", "0")), "train: command line: epochs: expected at least 1, found 0"),
        ] {
            let found = read(text, set.as_slice()).unwrap_err();
            assert!(found.starts_with(expected), "{text}: {found}");
        }
    }
}
