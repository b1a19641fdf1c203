//! WSMA (AAAI 2024): what people do is transferred by factorisation, what actions are called by CLIP's text encoder.
//!
//! ```text
//! exo keys of two blocks -> aff_proj -> transfer -> aff_exo_proj -> F_exo -> fc
//! ego keys of two blocks -> aff_proj -> e -> pool -> picture feature -- cosine -- text features of all actions
//!                                        e * (1 + likeness of each patch to the label's text) -> aff_ego_proj -> F_ego -> fc
//! ```

mod clip;
mod pool;
mod scorer;
mod settings;
mod text;
mod tokens;
mod transfer;

use tch::{
    Kind, Tensor,
    nn::{self, Init, Module},
};

pub use clip::{ClipFile, open};
pub use scorer::Scorer;
pub use settings::{WsmaSettings, factor};
pub use text::{CONTEXT, TextSource};
pub use tokens::prompt_tokens;

use self::{
    pool::{Pool, Pooled},
    text::Text,
    transfer::Transfer,
};
use super::{
    TrainError,
    backbone::{Backbone, Features, Grid},
    norm::{BatchNorm, Norm, linear, uniform},
    shape::{ANY, expect, expect_labels},
    tensor::{min_max, unit},
};
use crate::export::layout::Sizes;

/// What the patches' likeness to a text is normalised over, before patches are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PatchNorm {
    /// As published: each channel over the pictures of the batch, so that a picture's map depends on the others.
    #[default]
    Batch,
    /// Each patch over its channels.
    Channel,
}

/// The network. Parameters: `vit_model`, `aff_proj`, `Hamburger`, `attnpool`, `aff_exo_proj`, `aff_ego_proj`, `fc`,
/// `logit_scale` and those of CLIP's text encoder, or `class_embedding` in place of these.
#[derive(Debug)]
pub struct Wsma {
    /// DINO; frozen in training.
    pub backbone: Backbone,
    norm: nn::LayerNorm,
    fc1: nn::Linear,
    fc2: nn::Linear,
    transfer: Transfer,
    text: Text,
    pool: Pool,
    exo_branch: Branch,
    ego_branch: Branch,
    classifier: nn::Linear,
    logit_scale: Tensor,
    patch_norm: PatchNorm,
    actions: i64,
}

/// Descriptors of the last two blocks, see [`super::backbone::Keys::LastTwo`].
#[derive(Debug)]
pub struct DeepFeatures {
    /// The patches' places.
    pub grid: Grid,
    /// [B, N, 2D]
    pub descriptors: Tensor,
}

impl From<&Features> for DeepFeatures {
    fn from(features: &Features) -> Self {
        Self { grid: features.grid, descriptors: features.descriptors.shallow_clone() }
    }
}

/// What a training step computes losses from.
#[derive(Debug)]
pub struct Step {
    /// Mean over the exocentric pictures of F_exo [b, D, h, w].
    pub exo_features: Tensor,
    /// F_ego [b, D, h, w].
    pub ego_features: Tensor,
    /// Class scores [b, n, C] of F_exo.
    pub exo_logits: Tensor,
    /// Class scores [b, C] of F_ego.
    pub ego_logits: Tensor,
    /// Scaled cosines between each picture and the text of each action [b, C].
    pub text_logits: Tensor,
    /// The classifier's weights [C, D].
    pub class_weights: Tensor,
}

/// WSMA's heat, before any thresholds.
#[derive(Debug)]
pub struct Heat {
    /// The label's class activation map [b, h, w].
    pub map: Tensor,
    /// The same spread by which patches attend to which [b, h, w].
    pub spread: Tensor,
}

impl Heat {
    /// The map that WSMA's test program evaluates [b, h, w] in [0, 1]: both maps min-max normalised, the second one zeroed
    /// where the first is below 0.2, their sum min-max normalised.
    pub fn combined(&self) -> Tensor {
        const EPSILON: f64 = 1e-10;
        const LEAST: f64 = 0.2;
        let normalised = |map: &Tensor| min_max(&map.flatten(1, 2), EPSILON);
        let (map, spread) = (normalised(&self.map), normalised(&self.spread));
        let spread = spread.masked_fill(&map.lt(LEAST), 0.0);
        min_max(&(map + spread), EPSILON).reshape(self.map.size())
    }
}

/// Can the attention pool work on a backbone of so many channels?
///
/// # Errors
/// Its heads do not divide them.
pub fn check_channels(channels: usize) -> Result<(), TrainError> {
    if (channels as i64) % pool::HEADS == 0 {
        return Ok(());
    }
    let expected = format!("a multiple of the attention pool's {} heads", pool::HEADS);
    Err(TrainError::Values { what: "channels", expected, found: channels.to_string() })
}

impl Wsma {
    /// Shape of the factorisation's bases.
    pub const BASES: [i64; 3] = transfer::SHAPE;

    /// With PyTorch's initial values; the text encoder's are meant to be CLIP's. `sizes.channels` is not asked.
    ///
    /// # Errors
    /// Tokens that are none, or a width that the attention pool's heads do not divide.
    pub fn new(
        path: &nn::Path<'_>,
        sizes: &Sizes,
        text: &TextSource<'_>,
        patch_norm: PatchNorm,
    ) -> Result<Self, TrainError> {
        check_channels(sizes.dim)?;
        let dim = sizes.dim as i64;
        let text = Text::new(path, text)?;
        let (actions, shared) = text.sizes();
        let adapter = path / "aff_proj";
        Ok(Self {
            backbone: Backbone::new(&(path / "vit_model"), sizes),
            norm: nn::layer_norm(&adapter / "norm", vec![2 * dim], nn::LayerNormConfig::default()),
            fc1: linear(&adapter / "fc1", 2 * dim, 2 * dim),
            fc2: linear(&adapter / "fc2", 2 * dim, dim),
            transfer: Transfer::new(&(path / "Hamburger"), dim),
            text,
            pool: Pool::new(&(path / "attnpool"), (dim, shared), sizes.patches() as i64),
            exo_branch: Branch::new(&(path / "aff_exo_proj"), dim),
            ego_branch: Branch::new(&(path / "aff_ego_proj"), dim),
            classifier: linear(path / "fc", dim, actions),
            logit_scale: path.var("logit_scale", &[], Init::Const((1.0_f64 / 0.07).ln())),
            patch_norm,
            actions,
        })
    }

    /// Replaces the factorisation's bases [1, 512, 64], which no file keeps.
    ///
    /// # Errors
    /// Another shape.
    pub fn set_bases(&self, bases: &Tensor) -> Result<(), TrainError> {
        expect("bases", bases, &Self::BASES, "[1, channels, bases]")?;
        self.transfer.set_bases(bases);
        Ok(())
    }

    /// The factorisation's bases as training moved them [1, 512, 64].
    pub fn bases(&self) -> Tensor {
        self.transfer.bases()
    }

    /// Takes up what [`Self::bases`] gave, to the last bit.
    ///
    /// # Errors
    /// Another shape.
    pub fn restore_bases(&self, bases: &Tensor) -> Result<(), TrainError> {
        expect("bases", bases, &Self::BASES, "[1, channels, bases]")?;
        self.transfer.restore(bases);
        Ok(())
    }

    /// What the actions' names say [C, shared], each of length 1. It takes much longer than a picture does, and changes with
    /// a training step only.
    pub fn texts(&self) -> Tensor {
        unit(&self.text.forward(), -1)
    }

    /// One training step's forward pass, batch statistics and all; `exo` holds n pictures for each of `ego`, in its order.
    ///
    /// # Errors
    /// Shapes that do not belong together, or a label that is no action.
    pub fn step(&self, ego: &DeepFeatures, exo: &DeepFeatures, labels: &Tensor) -> Result<Step, TrainError> {
        let samples = self.checked(ego, labels)?;
        let pictures = exo.descriptors.size()[0];
        if pictures == 0 || pictures % samples != 0 || exo.grid != ego.grid {
            let expected = format!("a multiple of the {samples} egocentric images, at least 1, of their size");
            return Err(TrainError::Input { what: "exocentric images", expected, found: exo.descriptors.size() });
        }
        let exo_features = self.transfer.forward(&self.adapted(exo), samples);
        let exo_features = self.exo_branch.forward(&exo_features, Norm::Batch);
        let exo_features = exo_features.unflatten(0, [samples, pictures / samples].as_slice());

        let text = self.texts();
        let (ego_features, pooled) = self.ego_features(ego, &text, labels, Norm::Batch);
        let text_logits = unit(&pooled.picture, -1).matmul(&text.tr()) * self.logit_scale.exp();
        Ok(Step {
            exo_logits: self.classifier.forward(&spatial_mean(&exo_features)),
            ego_logits: self.classifier.forward(&spatial_mean(&ego_features)),
            exo_features: exo_features.mean_dim(1, false, None::<Kind>),
            ego_features,
            text_logits,
            class_weights: self.classifier.ws.shallow_clone(),
        })
    }

    /// The heat of each picture's own label, with running statistics.
    ///
    /// # Errors
    /// Shapes that do not belong together, or a label that is no action.
    pub fn heat(&self, ego: &DeepFeatures, labels: &Tensor) -> Result<Heat, TrainError> {
        self.heat_by(&self.texts(), ego, labels)
    }

    /// Likewise by [`Self::texts`] that were computed before.
    ///
    /// # Errors
    /// As [`Self::heat`].
    pub fn heat_by(&self, texts: &Tensor, ego: &DeepFeatures, labels: &Tensor) -> Result<Heat, TrainError> {
        self.checked(ego, labels)?;
        let shared = self.text.sizes().1;
        expect("texts", texts, &[self.actions, shared], "[C, shared]")?;
        let (features, pooled) = self.ego_features(ego, texts, labels, Norm::Running);
        let weights = self.classifier.ws.index_select(0, labels).unsqueeze(-1).unsqueeze(-1);
        let map = (features * weights).mean_dim(1, false, None::<Kind>);
        let spread = doubly_stochastic(&pooled.attention).matmul(&map.flatten(1, 2).unsqueeze(-1));
        Ok(Heat { spread: spread.reshape(map.size()), map })
    }

    /// [`Heat::combined`] of each picture, computed as the test program does: one picture at a time, so that it does not
    /// depend on the others.
    ///
    /// # Errors
    /// As [`Self::heat_by`].
    pub fn combined_alone(&self, texts: &Tensor, ego: &DeepFeatures, labels: &Tensor) -> Result<Tensor, TrainError> {
        let alone = |at: i64| {
            let one = DeepFeatures { grid: ego.grid, descriptors: ego.descriptors.narrow(0, at, 1) };
            Ok(self.heat_by(texts, &one, &labels.narrow(0, at, 1))?.combined())
        };
        let samples = self.checked(ego, labels)?;
        Ok(Tensor::cat(&(0..samples).map(alone).collect::<Result<Vec<_>, TrainError>>()?, 0))
    }

    /// How many egocentric pictures; all shapes fit.
    fn checked(&self, ego: &DeepFeatures, labels: &Tensor) -> Result<i64, TrainError> {
        let width = self.norm_width();
        let patches = ego.grid.rows * ego.grid.columns;
        expect("ego descriptors", &ego.descriptors, &[ANY, patches, width], "[b, N, 2D]")?;
        if patches != self.pool.patches() {
            let expected = format!("{} patches, as the attention pool has places", self.pool.patches());
            return Err(TrainError::Input { what: "ego descriptors", expected, found: ego.descriptors.size() });
        }
        let samples = ego.descriptors.size()[0];
        expect_labels(labels, samples, self.actions)?;
        Ok(samples)
    }

    fn norm_width(&self) -> i64 {
        self.fc1.ws.size()[1]
    }

    /// aff_proj, without a residual: [B, N, 2D] -> [B, D, h, w].
    fn adapted(&self, view: &DeepFeatures) -> Tensor {
        let hidden = self.fc1.forward(&self.norm.forward(&view.descriptors)).gelu("none");
        view.grid.map_of(&self.fc2.forward(&hidden))
    }

    fn ego_features(&self, ego: &DeepFeatures, text: &Tensor, labels: &Tensor, norm: Norm<'_>) -> (Tensor, Pooled) {
        let features = self.adapted(ego);
        let pooled = self.pool.forward(&features);
        let axis = match self.patch_norm {
            PatchNorm::Batch => 0,
            PatchNorm::Channel => -1,
        };
        // [b, N, shared] x [b, shared, 1] -> [b, N]
        let own_text = text.index_select(0, labels).unsqueeze(-1);
        let likeness = unit(&pooled.patches, axis).matmul(&own_text).squeeze_dim(-1);
        let gate = unit(&likeness, -1).sigmoid().reshape([-1, 1, ego.grid.rows, ego.grid.columns]);
        let fused = features * (gate + 1.0);
        (self.ego_branch.forward(&fused, norm), pooled)
    }
}

/// [Conv 3x3 + BatchNorm + ReLU], keys `0` and `1`.
#[derive(Debug)]
struct Branch {
    conv: nn::Conv2D,
    norm: BatchNorm,
}

impl Branch {
    fn new(path: &nn::Path<'_>, dim: i64) -> Self {
        let init = uniform(9 * dim);
        let config = nn::ConvConfig { padding: 1, ws_init: init, bs_init: init, ..Default::default() };
        Self { conv: nn::conv2d(path / 0, dim, dim, 3, config), norm: BatchNorm::new(&(path / 1), dim) }
    }

    fn forward(&self, features: &Tensor, norm: Norm<'_>) -> Tensor {
        self.norm.forward(&self.conv.forward(features), norm).relu()
    }
}

/// [..., h, w] -> [...]
fn spatial_mean(maps: &Tensor) -> Tensor {
    maps.mean_dim([-2_i64, -1].as_slice(), false, None::<Kind>)
}

/// Attention [b, N, N] with rows and columns that sum to about 1, made symmetric, applied twice.
fn doubly_stochastic(attention: &Tensor) -> Tensor {
    const ROUNDS: usize = 3;
    let mut t = attention.shallow_clone();
    for _ in 0..ROUNDS {
        for axis in [1_i64, 2] {
            t = &t / t.sum_dim_intlist(axis, true, None::<Kind>);
        }
    }
    let symmetric = (&t + t.transpose(1, 2)) / 2.0;
    symmetric.matmul(&symmetric)
}
