//! LoopTrans' loss: every term on one training step.

use tch::Tensor;

use super::{
    Named, classification,
    concentration::concentration,
    correlation::correlation,
    denoise::{self, denoise},
    pixel::{self, Background, Candidates, EmptyPart, Rules, own_range, pseudo_mask},
};
use crate::train::{
    TrainError,
    backbone::{Features, above_mean},
    concepts::hard_parts,
    looptrans::Step,
    shape::{ANY, expect, expect_labels},
    tensor::channel_of,
};

/// What [`terms`] is computed from.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The step's class maps.
    pub step: &'a Step,
    /// Frozen descriptors of the egocentric pictures [b, N, D].
    pub ego_descriptors: &'a Tensor,
    /// Frozen descriptors of the exocentric pictures [b*n, N, D], those of one egocentric picture together.
    pub exo_descriptors: &'a Tensor,
    /// Saliency of the egocentric pictures [b, N].
    pub saliency: &'a Tensor,
    /// How much each egocentric patch is of each part [b, N, K].
    pub similarity: &'a Tensor,
    /// Class labels [b], int64, below `actions`.
    pub labels: &'a Tensor,
    /// Actions C; further channels are noise heads.
    pub actions: i64,
}

/// What stands out on an egocentric picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Saliency {
    /// As published: what the backbone's CLS attends to.
    #[default]
    ClsAttention,
    /// What is unlike the picture's edge: for backbones whose CLS attends to backgrounds.
    BorderContrast,
}

impl Saliency {
    /// [b, N] in [0, 1]
    pub fn of(self, ego: &Features) -> Tensor {
        match self {
            Self::ClsAttention => ego.saliency(),
            Self::BorderContrast => ego.border_contrast(),
        }
    }

    /// LOCATE's salient patches [b, N], as 0 and 1: its own vote of heads, or what stands out more than the mean.
    pub fn patches_of(self, ego: &Features) -> Tensor {
        match self {
            Self::ClsAttention => ego.salient_patches(),
            Self::BorderContrast => above_mean(&ego.border_contrast()).to_kind(ego.descriptors.kind()),
        }
    }
}

/// Choices inside the terms. The default is the published method, but for empty parts.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Share of an activation map's range above which a patch is active, for the pseudo mask.
    pub fg_threshold: f64,
    /// What happens to a part that no patch belongs to.
    pub empty_part: EmptyPart,
    /// Which parts are left out as background.
    pub background: Background,
    /// What background and k-means' first part are told by.
    pub saliency: Saliency,
    /// No gradient of L_dill through its exocentric target.
    pub detach_dill_positive: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            fg_threshold: pixel::FOREGROUND,
            empty_part: EmptyPart::default(),
            background: Background::default(),
            saliency: Saliency::default(),
            detach_dill_positive: false,
        }
    }
}

/// What each term counts. The default is published.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Weights {
    /// Of both cross-entropies.
    pub cls: f64,
    /// Of the pixel loss' mean square difference.
    pub mse: f64,
    /// Of the pixel loss' dice.
    pub dice: f64,
    /// Of the correlation between the views.
    pub corr: f64,
    /// Of the denoising distillation.
    pub dill: f64,
    /// Of the concentration.
    pub con: f64,
}

impl Default for Weights {
    fn default() -> Self {
        Self { cls: 1.0, mse: 10.0, dice: 2.0, corr: 1.5, dill: 0.05, con: 0.07 }
    }
}

/// The terms, unweighted scalars.
#[derive(Debug)]
pub struct Terms {
    /// Cross-entropy of G_ego.
    pub ego_cls: Tensor,
    /// Mean cross-entropy of G_exo.
    pub exo_cls: Tensor,
    /// L_pixel's first part.
    pub mse: Tensor,
    /// L_pixel's second part.
    pub dice: Tensor,
    /// L_corr.
    pub corr: Tensor,
    /// L_dill.
    pub dill: Tensor,
    /// L_con, over all channels of P.
    pub con: Tensor,
    /// M_ego [b, N] as 0 and 1, which the pixel loss compares with.
    pub mask: Tensor,
}

impl Terms {
    /// By name.
    pub fn named(&self) -> Named<'_> {
        let Self { ego_cls, exo_cls, mse, dice, corr, dill, con, mask: _ } = self;
        vec![
            ("ego_cls", ego_cls),
            ("exo_cls", exo_cls),
            ("mse", mse),
            ("dice", dice),
            ("corr", corr),
            ("dill", dill),
            ("con", con),
        ]
    }

    /// The weighted sum.
    pub fn total(&self, weights: &Weights) -> Tensor {
        (&self.ego_cls + &self.exo_cls) * weights.cls
            + &self.mse * weights.mse
            + &self.dice * weights.dice
            + &self.corr * weights.corr
            + &self.dill * weights.dill
            + &self.con * weights.con
    }
}

/// Computes every term.
///
/// # Errors
/// Shapes that do not belong together, or a label that is no action.
pub fn terms(inputs: &Inputs<'_>, options: &Options) -> Result<Terms, TrainError> {
    let Inputs { step, ego_descriptors, saliency, labels, actions, .. } = *inputs;
    let exo_descriptors = checked_exo_descriptors(inputs)?;

    let activation = channel_of(&step.ego_maps, labels).flatten(1, 2);
    let parts = hard_parts(inputs.similarity);
    let candidates = Candidates { activation: &activation, parts: &parts, saliency };
    let Options { fg_threshold, empty_part, background, .. } = *options;
    let mask = pseudo_mask(&candidates, Rules { foreground: fg_threshold, empty: empty_part, background });
    let map = own_range(&channel_of(&step.pixel_maps, labels).flatten(1, 2));
    let views = denoise::Views {
        pixel_maps: &step.pixel_maps,
        exo_maps: &step.exo_maps,
        ego_descriptors,
        exo_descriptors: &exo_descriptors,
    };
    Ok(Terms {
        ego_cls: classification::ego(&step.ego_logits, labels),
        exo_cls: classification::exo(&step.exo_logits, labels),
        mse: pixel::mse(&map, &mask),
        dice: pixel::dice(&map, &mask),
        corr: correlation(&step.pixel_maps, &step.exo_maps),
        dill: denoise(&views, labels, actions, options.detach_dill_positive),
        con: concentration(&step.pixel_maps),
        mask,
    })
}

/// The exocentric descriptors as [b, n, N, D], if all shapes fit.
fn checked_exo_descriptors(inputs: &Inputs<'_>) -> Result<Tensor, TrainError> {
    let Inputs { step, ego_descriptors, exo_descriptors, saliency, similarity, labels, actions } = *inputs;
    expect("pixel maps", &step.pixel_maps, &[ANY; 4], "[b, C+M, h, w]")?;
    let [b, channels, h, w] = step.pixel_maps.size()[..] else {
        return Err(TrainError::Input { what: "pixel maps", expected: "4 axes".to_owned(), found: Vec::new() });
    };
    let patches = h * w;
    expect("ego maps", &step.ego_maps, &[b, channels, h, w], "[b, C+M, h, w]")?;
    expect("exo maps", &step.exo_maps, &[b, ANY, channels, h, w], "[b, n, C+M, h, w]")?;
    let per_ego = step.exo_maps.size()[1];
    expect("ego logits", &step.ego_logits, &[b, channels], "[b, C+M]")?;
    expect("exo logits", &step.exo_logits, &[b, per_ego, channels], "[b, n, C+M]")?;
    expect("ego descriptors", ego_descriptors, &[b, patches, ANY], "[b, N, D]")?;
    let dim = ego_descriptors.size()[2];
    expect("exo descriptors", exo_descriptors, &[b * per_ego, patches, dim], "[b*n, N, D]")?;
    expect("saliency", saliency, &[b, patches], "[b, N]")?;
    expect("similarity", similarity, &[b, patches, ANY], "[b, N, K]")?;
    if !(1..=channels).contains(&actions) {
        let expected = format!("1 to {channels}, the channels of the class maps");
        return Err(TrainError::Values { what: "actions", expected, found: actions.to_string() });
    }
    expect_labels(labels, b, actions)?;
    Ok(exo_descriptors.unflatten(0, [b, per_ego].as_slice()))
}
