//! A network with all that turns samples into a loss.

use std::path::Path;

use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use tch::{Device, Kind, Tensor, nn::VarStore};

use crate::{
    export::layout::Sizes,
    train::{
        TrainError,
        backbone::{Backbone, Features},
        concepts::{Concepts, spherical_k_means},
        generator,
        locate::{self, Locate},
        locate_parts::{Active, Prototypes, active_patches, k_means, prototypes, random_starts},
        looptrans::{self, LoopTrans},
        loss_report::System,
        losses::{self, looptrans::Saliency},
        norm::Norm,
        ranks::{Ranks, joint::Joint},
        settings::{IN_BACKBONE, K_MEANS, LocateSettings, LoopTransSettings, Settings, TestedMaps},
        tensor::channel_of,
        weights,
        wsma::{ClipFile, DeepFeatures, PatchNorm, TextSource, Wsma, prompt_tokens},
    },
};

/// The trained networks.
#[derive(Debug)]
pub enum Network {
    /// LoopTrans, and which of its maps are tested.
    LoopTrans(LoopTrans, TestedMaps),
    /// LOCATE.
    Locate(Locate),
    /// WSMA.
    Wsma(Box<Wsma>),
}

impl Network {
    /// Its frozen part.
    pub fn backbone(&self) -> &Backbone {
        match self {
            Self::LoopTrans(network, _) => &network.backbone,
            Self::Locate(network) => &network.backbone,
            Self::Wsma(network) => &network.backbone,
        }
    }

    /// What many tests share: WSMA's features of the actions' names, which a step of training changes.
    pub fn texts(&self) -> Option<Tensor> {
        match self {
            Self::Wsma(network) => Some(tch::no_grad(|| network.texts())),
            Self::LoopTrans(..) | Self::Locate(_) => None,
        }
    }

    /// What is tested, with running statistics: the map [B, h, w] of each picture's own label [B]. `texts`: see
    /// [`Self::texts`].
    ///
    /// # Errors
    /// Shapes that do not belong together.
    pub fn heat(&self, ego: &Features, labels: &Tensor, texts: Option<&Tensor>) -> Result<Tensor, TrainError> {
        let own = |maps: Tensor| channel_of(&maps, labels);
        tch::no_grad(|| match self {
            Self::LoopTrans(network, TestedMaps::Pixel) => Ok(own(network.class_maps_of(ego))),
            Self::LoopTrans(network, TestedMaps::Scam) => Ok(own(network.scam_maps_of(ego))),
            Self::Locate(network) => Ok(own(network.class_maps_of(ego))),
            Self::Wsma(network) => {
                let texts = texts.map_or_else(|| network.texts(), Tensor::shallow_clone);
                network.combined_alone(&texts, &DeepFeatures::from(ego), labels)
            }
        })
    }
}

/// A part of a step's samples.
#[derive(Debug)]
pub(super) struct Batch {
    pub ego: Features,
    /// Three of each of `ego`.
    pub exo: Features,
    /// [b]
    pub labels: Tensor,
    pub epoch: u64,
    /// Place in the epoch of the part's first sample, on whichever rank that is.
    pub place: u64,
    /// Samples of the part before this rank's.
    pub before: usize,
}

/// Normalisation and sums over the ranks of a run; None: one process, which has all samples.
#[derive(Debug, Clone, Copy)]
pub(super) struct Together<'a> {
    pub ranks: &'a dyn Ranks,
    pub joint: &'a Joint<'a>,
    /// This rank's samples, of those of all ranks.
    pub share: f64,
}

/// The terms by name, unweighted, and the weighted sum with its graph.
#[derive(Debug)]
pub(super) struct Losses {
    pub named: Vec<(&'static str, f64)>,
    pub total: Tensor,
}

/// Where LoopTrans' parts come from.
#[derive(Debug)]
enum Parts {
    KMeans(i64),
    Trained { parameters: VarStore, concepts: Box<Concepts> },
}

/// What one system needs beside its network.
#[derive(Debug)]
enum Own {
    LoopTrans { settings: LoopTransSettings, parts: Parts },
    Locate { settings: LocateSettings },
    Wsma { weights: losses::wsma::Weights },
}

/// The network, its parameters and its losses.
#[derive(Debug)]
pub(super) struct Learner {
    pub parameters: VarStore,
    pub network: Network,
    own: Own,
    actions: i64,
    seed: u64,
}

/// Channels of the classifier beyond the actions.
pub(super) fn noise_heads(settings: &Settings) -> usize {
    settings.looptrans.as_ref().map_or(0, |own| if own.ablation.denoise { own.noise_heads } else { 0 })
}

impl Learner {
    /// With initial values that follow from the seed. `clusters`: the file that `in-backbone` means.
    pub fn new(
        settings: &Settings,
        (sizes, actions): (&Sizes, &[String]),
        device: Device,
        clusters: &Path,
    ) -> Result<Self, TrainError> {
        let _mine = generator::seeded(settings.seed);
        let parameters = VarStore::new(device);
        let root = parameters.root();
        let (network, own) = match (settings.system, &settings.looptrans, settings.locate) {
            (System::Wsma, ..) => wsma(settings, (sizes, actions), &parameters)?,
            (System::LoopTrans, Some(own), _) => {
                let parts = Parts::new(own, device, clusters)?;
                let network = Network::LoopTrans(LoopTrans::new(&root, sizes), own.ablation.tested);
                (network, Own::LoopTrans { settings: own.clone(), parts })
            }
            (System::Locate, _, Some(settings)) => {
                (Network::Locate(Locate::new(&root, sizes)), Own::Locate { settings })
            }
            (system, ..) => {
                let expected = "settings of the network".to_owned();
                return Err(TrainError::Values { what: "settings", expected, found: format!("none of {system:?}") });
            }
        };
        for (name, mut parameter) in parameters.variables() {
            if name.starts_with(super::backbone_file::PREFIX) {
                let _ = parameter.requires_grad_(false);
            }
        }
        let actions = (sizes.channels - noise_heads(settings)) as i64;
        Ok(Self { parameters, network, own, actions, seed: settings.seed })
    }

    /// Tensors of the concept clusters, if there are trained ones.
    pub fn clusters(&self) -> Vec<(String, Tensor)> {
        match &self.own {
            Own::LoopTrans { parts: Parts::Trained { parameters, .. }, .. } => {
                parameters.variables().into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    /// What a run has to take up beside parameters and momentum, and no file of weights holds.
    pub fn carried(&self) -> Option<Tensor> {
        match &self.network {
            Network::Wsma(network) => Some(network.bases()),
            Network::LoopTrans(..) | Network::Locate(_) => None,
        }
    }

    /// Takes it up.
    pub fn restore(&self, carried: Option<&Tensor>) -> Result<(), TrainError> {
        match (&self.network, carried) {
            (Network::Wsma(network), Some(bases)) => network.restore_bases(bases),
            (Network::Wsma(_), None) => {
                let expected = "WSMA's bases in the checkpoint".to_owned();
                Err(TrainError::Values { what: "checkpoint", expected, found: "none".to_owned() })
            }
            _ => Ok(()),
        }
    }

    /// The mean losses of the batch's samples. Of those of all ranks they are the mean with the ranks' shares as weights.
    pub fn losses(&self, batch: &Batch, together: Option<Together<'_>>) -> Result<Losses, TrainError> {
        let norm = together.map_or(Norm::Batch, |together| Norm::Joint(together.joint));
        match (&self.own, &self.network) {
            (Own::LoopTrans { settings, parts }, Network::LoopTrans(network, _)) => {
                let step = network.step_with(&batch.ego, &batch.exo, norm)?;
                self.looptrans((settings, parts), step, batch)
            }
            (Own::Locate { settings }, Network::Locate(network)) => {
                let step = network.step_with(&batch.ego, &batch.exo, norm)?;
                self.locate(settings, &step, batch, together)
            }
            (Own::Wsma { weights }, Network::Wsma(network)) => {
                let step = network.step(&(&batch.ego).into(), &(&batch.exo).into(), &batch.labels)?;
                let terms = losses::wsma::terms(&step, &batch.labels)?;
                Ok(Losses::new(terms.named(), terms.total(weights)))
            }
            _ => Err(TrainError::Values {
                what: "settings",
                expected: "of the network".to_owned(),
                found: "another's".to_owned(),
            }),
        }
    }

    fn looptrans(
        &self,
        (settings, parts): (&LoopTransSettings, &Parts),
        mut step: looptrans::Step,
        batch: &Batch,
    ) -> Result<Losses, TrainError> {
        let Batch { ego, exo, labels, .. } = batch;
        let saliency = settings.options.saliency.of(ego);
        let similarity = parts.similarity(ego, &saliency)?;
        let ablation = settings.ablation;
        if !ablation.shared_cam {
            step.ego_logits = crate::train::classifier::logits(&step.pixel_maps);
        }
        let inputs = losses::looptrans::Inputs {
            step: &step,
            ego_descriptors: &ego.descriptors,
            exo_descriptors: &exo.descriptors,
            saliency: &saliency,
            similarity: &similarity,
            labels,
            actions: self.actions,
        };
        let terms = losses::looptrans::terms(&inputs, &settings.options)?;
        let mut weights = settings.weights;
        if !ablation.pixel {
            (weights.mse, weights.dice) = (0.0, 0.0);
        }
        if !ablation.denoise {
            weights.dill = 0.0;
        }
        Ok(Losses::new(terms.named(), terms.total(&weights)))
    }

    fn locate(
        &self,
        settings: &LocateSettings,
        step: &locate::Step,
        batch: &Batch,
        together: Option<Together<'_>>,
    ) -> Result<Losses, TrainError> {
        let Batch { ego, labels, epoch, .. } = batch;
        let prototypes = if *epoch >= settings.proto_from_epoch {
            Some(self.prototypes(step, batch, settings.saliency)?)
        } else {
            None
        };
        let inputs =
            losses::locate::Inputs { step, ego_descriptors: &ego.descriptors, prototypes: prototypes.as_ref(), labels };
        let mut terms = losses::locate::terms(&inputs)?;
        if let (Some(together), Some(prototypes)) = (together, &prototypes) {
            let weight = together.weight_of(prototypes.found.sum(None::<Kind>).double_value(&[]));
            terms.proto = terms.proto.g_mul_scalar(weight);
        }
        Ok(Losses::new(terms.named(), terms.total(&settings.weights)))
    }

    fn prototypes(&self, step: &locate::Step, batch: &Batch, saliency: Saliency) -> Result<Prototypes, TrainError> {
        let active = active_patches(&step.exo_maps, &batch.exo.descriptors, &batch.labels)?;
        let starts = random_starts(&active, &self.draws(&active, batch))?;
        let centres = k_means(&active, &starts)?;
        prototypes(&active, &centres, &batch.ego.descriptors, &saliency.patches_of(&batch.ego))
    }

    /// Uniform numbers that follow from the seed and the batch's place: a resumed run draws what it would have drawn.
    fn draws(&self, active: &Active, batch: &Batch) -> Tensor {
        const STARTS_OF_K_MEANS: u64 = 100;
        let mut key = [0; 32];
        for (part, number) in key.chunks_exact_mut(8).zip([self.seed, STARTS_OF_K_MEANS, batch.epoch, batch.place]) {
            part.copy_from_slice(&number.to_le_bytes());
        }
        let mut generator = ChaCha8Rng::from_seed(key);
        let sides = active.rows.size();
        let mut values: Vec<f32> =
            (0..(batch.before as i64 + sides[0]) * sides[1]).map(|_| generator.random()).collect();
        // Those of the samples before go to other ranks.
        values.drain(..batch.before * sides[1] as usize);
        Tensor::from_slice(&values).reshape(&sides[..2]).to_device(active.rows.device())
    }
}

impl Together<'_> {
    /// Over the samples of all ranks, of what is a mean over those of each.
    pub fn mean(&self, values: &[f64]) -> Vec<f64> {
        // A rank without samples has no say, not even a NaN.
        let weighted = values.iter().map(|value| if self.share > 0.0 { self.share * value } else { 0.0 });
        let all = self.ranks.gather(&weighted.collect::<Vec<f64>>());
        (0..values.len()).map(|term| all.iter().skip(term).step_by(values.len()).sum()).collect()
    }

    /// What makes the mean over `counted` of this rank's samples, weighted with its share, its part of the mean over the
    /// counted samples of all ranks.
    fn weight_of(&self, counted: f64) -> f64 {
        let counted = if self.share > 0.0 { counted } else { 0.0 };
        let all: f64 = self.ranks.gather(&[counted]).iter().sum();
        if counted > 0.0 { counted / all / self.share } else { 0.0 }
    }
}

/// WSMA with the text encoder that its settings name.
fn wsma(
    settings: &Settings,
    (sizes, actions): (&Sizes, &[String]),
    parameters: &VarStore,
) -> Result<(Network, Own), TrainError> {
    let Some(own) = &settings.wsma else {
        let expected = "settings of the network".to_owned();
        return Err(TrainError::Values { what: "settings", expected, found: "none of WSMA".to_owned() });
    };
    let clip = own.clip.as_deref().map(|file| ClipFile::read(Path::new(file))).transpose()?;
    let prompts = prompt_tokens(actions)?;
    let text = match &clip {
        Some(clip) => TextSource::Encoder(clip.sizes(), &prompts),
        None => TextSource::Table(actions.len() as i64),
    };
    let network = Wsma::new(&parameters.root(), sizes, &text, PatchNorm::Batch)?;
    if let Some(clip) = clip {
        clip.load_into(parameters);
    }
    Ok((Network::Wsma(Box::new(network)), Own::Wsma { weights: own.weights }))
}

impl Losses {
    fn new(terms: losses::Named<'_>, total: Tensor) -> Self {
        Self { named: terms.into_iter().map(|(name, term)| (name, term.double_value(&[]))).collect(), total }
    }
}

impl Parts {
    fn new(settings: &LoopTransSettings, device: Device, clusters: &Path) -> Result<Self, TrainError> {
        let file = match settings.clusters.as_str() {
            K_MEANS => return Ok(Self::KMeans(settings.parts)),
            IN_BACKBONE => clusters,
            file => Path::new(file),
        };
        let (mut parameters, concepts) = weights::load_concepts(file)?;
        parameters.freeze();
        parameters.set_device(device);
        Ok(Self::Trained { parameters, concepts: Box::new(concepts) })
    }

    /// [b, N, K]
    fn similarity(&self, ego: &Features, saliency: &Tensor) -> Result<Tensor, TrainError> {
        match self {
            Self::KMeans(parts) => spherical_k_means(&ego.descriptors, saliency, *parts),
            Self::Trained { concepts, .. } => tch::no_grad(|| concepts.similarity(&ego.descriptors)),
        }
    }
}
