//! Every loss term, the total and all gradient norms of one fixed batch: the door for checks from outside.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor, nn::VarStore};

use super::{
    TrainError,
    backbone::{Backbone, Features, Keys},
    concepts::{ConceptSizes, spherical_k_means},
    locate::Locate,
    locate_parts::{Active, Prototypes, active_patches, k_means, prototypes},
    looptrans::LoopTrans,
    losses::{self, Named, pixel::EmptyPart},
    shape::{ANY, expect, expect_labels},
    weights,
    wsma::{self, DeepFeatures, Wsma},
};
use crate::export::{layout::Sizes, seeded::uniform, weights::describe};

/// Which network's losses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum System {
    /// LoopTrans.
    LoopTrans,
    /// LOCATE, its prototype loss active (as from the second epoch).
    Locate,
    /// WSMA.
    Wsma,
}

impl System {
    /// What it reads of the backbone.
    pub fn keys(self) -> Keys {
        match self {
            Self::LoopTrans | Self::Locate => Keys::Last,
            Self::Wsma => Keys::LastTwo,
        }
    }
}

/// Where the parts of LoopTrans' pseudo masks come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clusters {
    /// The weights file holds them too.
    InWeights,
    /// A file of their own.
    File(PathBuf),
    /// [`spherical_k_means`] into as many parts as published.
    KMeans,
}

/// What to compute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The network.
    pub system: System,
    /// Its weights file.
    pub weights: PathBuf,
    /// Its parts; asked by LoopTrans only.
    pub clusters: Clusters,
    /// Safetensors of normalised pictures `exo` [b, n, 3, H, W] and `ego` [b, 3, H, W], f32, and `label` [b], int64.
    pub batch: PathBuf,
    /// The published behaviour also where it looks like a mistake: an empty part passes for the background.
    pub reference_quirks: bool,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LossReport {
    /// The network.
    pub system: System,
    /// Egocentric pictures b.
    pub samples: i64,
    /// Exocentric pictures of each, n.
    pub exo_per_ego: i64,
    /// Actions C.
    pub actions: usize,
    /// Noise heads M.
    pub noise_heads: usize,
    /// The terms, unweighted.
    pub losses: BTreeMap<&'static str, f64>,
    /// The sum with the published weights.
    pub total: f64,
    /// L2 norm of the total's gradient by each parameter that it reaches.
    pub gradient_norms: BTreeMap<String, f64>,
}

/// Runs the heads in training mode on the batch, and back. No parameter changes in any file.
///
/// # Errors
/// A file that cannot be read or does not fit, a label that is no action, or losses that are not finite.
pub fn loss_report(settings: &Settings) -> Result<LossReport, TrainError> {
    let (description, sizes) = describe(&settings.weights)?;
    let actions = description.actions.len();
    let batch = Batch::read(&settings.batch, actions as i64)?;
    let parameters = VarStore::new(Device::Cpu);
    let model = Model { parameters: &parameters, sizes: &sizes, actions: &description.actions };
    let Computed { losses, total } = match settings.system {
        System::LoopTrans => looptrans(settings, &model, &batch)?,
        System::Locate => locate(settings, &model, &batch)?,
        System::Wsma => wsma_losses(settings, &model, &batch)?,
    };
    if total.requires_grad() {
        total.backward();
    }
    let report = LossReport {
        system: settings.system,
        samples: batch.ego.size()[0],
        exo_per_ego: batch.exo.size()[1],
        actions,
        noise_heads: sizes.channels - actions,
        losses,
        total: total.double_value(&[]),
        gradient_norms: gradient_norms(&parameters),
    };
    report.checked()
}

impl LossReport {
    /// Refuses numbers that are none.
    fn checked(self) -> Result<Self, TrainError> {
        let norms = self.gradient_norms.iter().map(|(name, value)| (name.as_str(), value));
        let losses = self.losses.iter().map(|(name, value)| (*name, value));
        let bad: Vec<String> = losses
            .chain([("total", &self.total)])
            .chain(norms)
            .filter(|(_, value)| !value.is_finite())
            .map(|(name, value)| format!("{name} = {value}"))
            .collect();
        if bad.is_empty() {
            return Ok(self);
        }
        Err(TrainError::Values { what: "losses", expected: "finite numbers".to_owned(), found: bad.join(", ") })
    }
}

/// Normalised pictures and their labels.
struct Batch {
    /// [b, n, 3, H, W]
    exo: Tensor,
    /// [b, 3, H, W]
    ego: Tensor,
    /// [b]
    label: Tensor,
}

impl Batch {
    fn read(path: &Path, actions: i64) -> Result<Self, TrainError> {
        let mut file = weights::read(path)?;
        let mut take = |name: &'static str, kind: Kind| {
            let tensor = file.remove(name).ok_or_else(|| TrainError::Values {
                what: name,
                expected: format!("a tensor of this name in {}", path.display()),
                found: "none".to_owned(),
            })?;
            if tensor.kind() != kind {
                let (expected, found) = (format!("{kind:?}"), format!("{:?}", tensor.kind()));
                return Err(TrainError::Values { what: name, expected, found });
            }
            Ok(tensor)
        };
        let (exo, ego) = (take("exo", Kind::Float)?, take("ego", Kind::Float)?);
        let label = take("label", Kind::Int64)?;
        if let Some(name) = file.keys().next() {
            let (expected, found) = ("exo, ego and label only".to_owned(), name.clone());
            return Err(TrainError::Values { what: "batch", expected, found });
        }
        expect("ego", &ego, &[ANY, 3, ANY, ANY], "[b, 3, H, W]")?;
        let sides = ego.size();
        expect("exo", &exo, &[sides[0], ANY, 3, sides[2], sides[3]], "[b, n, 3, H, W]")?;
        expect_labels(&label, sides[0], actions)?;
        for (what, tensor) in [("ego", &ego), ("exo", &exo)] {
            if tensor.isfinite().all().int64_value(&[]) == 0 {
                let (expected, found) = ("finite numbers".to_owned(), "NaN or infinity".to_owned());
                return Err(TrainError::Values { what, expected, found });
            }
        }
        Ok(Self { exo, ego, label })
    }

    /// What the frozen backbone says of both views: ego, exo.
    fn features(&self, backbone: &Backbone) -> Result<(Features, Features), TrainError> {
        tch::no_grad(|| {
            let ego = backbone.forward(&self.ego)?.features();
            let exo = backbone.forward(&self.exo.flatten(0, 1))?.features();
            Ok((ego, exo))
        })
    }
}

/// The terms' values, and the total with its graph.
struct Computed {
    losses: BTreeMap<&'static str, f64>,
    total: Tensor,
}

impl Computed {
    fn new(terms: Named<'_>, total: Tensor) -> Self {
        let losses = terms.into_iter().map(|(name, term)| (name, term.double_value(&[]))).collect();
        Self { losses, total }
    }
}

/// The model to fill.
struct Model<'a> {
    parameters: &'a VarStore,
    sizes: &'a Sizes,
    actions: &'a [String],
}

fn looptrans(settings: &Settings, to_fill: &Model<'_>, batch: &Batch) -> Result<Computed, TrainError> {
    let model = LoopTrans::new(&to_fill.parameters.root(), to_fill.sizes);
    weights::load(to_fill.parameters, &settings.weights, "")?;
    let (ego, exo) = batch.features(&model.backbone)?;
    let similarity = similarity(settings, &ego)?;
    let inputs = losses::looptrans::Inputs {
        step: &model.step(&ego, &exo)?,
        ego_descriptors: &ego.descriptors,
        exo_descriptors: &exo.descriptors,
        saliency: &ego.saliency(),
        similarity: &similarity,
        labels: &batch.label,
        actions: to_fill.actions.len() as i64,
    };
    let empty_part = if settings.reference_quirks { EmptyPart::OfficialNan } else { EmptyPart::Skip };
    let options = losses::looptrans::Options { empty_part, ..Default::default() };
    let terms = losses::looptrans::terms(&inputs, &options)?;
    Ok(Computed::new(terms.named(), terms.total(&losses::looptrans::Weights::default())))
}

fn similarity(settings: &Settings, ego: &Features) -> Result<Tensor, TrainError> {
    let file = match &settings.clusters {
        Clusters::KMeans => {
            return spherical_k_means(&ego.descriptors, &ego.saliency(), ConceptSizes::PUBLISHED.parts);
        }
        Clusters::InWeights => &settings.weights,
        Clusters::File(file) => file,
    };
    let (_parameters, concepts) = weights::load_concepts(file)?;
    tch::no_grad(|| concepts.similarity(&ego.descriptors))
}

fn locate(settings: &Settings, to_fill: &Model<'_>, batch: &Batch) -> Result<Computed, TrainError> {
    let model = Locate::new(&to_fill.parameters.root(), to_fill.sizes);
    weights::load(to_fill.parameters, &settings.weights, "")?;
    let (ego, exo) = batch.features(&model.backbone)?;
    let step = model.step(&ego, &exo)?;
    let active = active_patches(&step.exo_maps, &exo.descriptors, &batch.label)?;
    let centres = k_means(&active, &spread_starts(&active))?;
    let prototypes: Prototypes = prototypes(&active, &centres, &ego.descriptors, &ego.salient_patches())?;
    let inputs = losses::locate::Inputs {
        step: &step,
        ego_descriptors: &ego.descriptors,
        prototypes: Some(&prototypes),
        labels: &batch.label,
    };
    let terms = losses::locate::terms(&inputs)?;
    Ok(Computed::new(terms.named(), terms.total(&losses::locate::Weights::default())))
}

fn wsma_losses(settings: &Settings, to_fill: &Model<'_>, batch: &Batch) -> Result<Computed, TrainError> {
    let model = wsma::open(&settings.weights, (to_fill.sizes, to_fill.actions), to_fill.parameters)?;
    model.set_bases(&fixed_bases())?;
    let deep = |image: &Tensor| {
        let features = tch::no_grad(|| model.backbone.features(image, Keys::LastTwo))?;
        Ok::<_, TrainError>(DeepFeatures::from(&features))
    };
    let step = model.step(&deep(&batch.ego)?, &deep(&batch.exo.flatten(0, 1))?, &batch.label)?;
    let terms = losses::wsma::terms(&step, &batch.label)?;
    Ok(Computed::new(terms.named(), terms.total(&losses::wsma::Weights::default())))
}

/// Bases that no training moved, the same in every run: (u + 1) / 2 of the seeded numbers u of `ham.bases`.
fn fixed_bases() -> Tensor {
    let [_, width, bases] = Wsma::BASES;
    let values: Vec<f32> = uniform("ham.bases", (width * bases) as usize).map(|u| (u + 1.0) / 2.0).collect();
    Tensor::from_slice(&values).reshape(Wsma::BASES)
}

/// The first, the middle and the last active row of each sample: the k-means of a fixed batch is to draw nothing.
fn spread_starts(active: &Active) -> Tensor {
    let last = (&active.counts - 1).clamp_min(0);
    let middle = active.counts.divide_scalar_mode(2, "floor");
    Tensor::stack(&[last.zeros_like(), middle, last], 1)
}

fn gradient_norms(parameters: &VarStore) -> BTreeMap<String, f64> {
    let norm = |(name, parameter): (String, Tensor)| {
        let gradient = parameter.grad();
        gradient.defined().then(|| (name, gradient.norm().double_value(&[])))
    };
    parameters.variables().into_iter().filter_map(norm).collect()
}
