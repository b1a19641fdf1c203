//! L_pixel and M_ego: the activation map on the robot's view picks a part of the object, the decoder learns its shape.

use tch::{Kind, Tensor};

use super::super::tensor::min_max;

const UNION_EPSILON: f64 = 1e-6;
/// Of [`own_range`].
const RANGE_EPSILON: f64 = 1e-15;
/// The published share of an activation map's range above which a patch is active.
pub const FOREGROUND: f64 = 0.92;

/// What happens to a part that no patch belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmptyPart {
    /// It is passed over.
    #[default]
    Skip,
    /// As published: its mean saliency is NaN, which counts as the least, so that it is taken for the background and the
    /// true background may be chosen.
    OfficialNan,
}

/// Which parts can't be where an action is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Background {
    /// As published: the least salient part.
    #[default]
    LeastSalient,
    /// All parts less salient than the picture: where walls and floors take several parts.
    BelowMean,
}

/// How [`pseudo_mask`] chooses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// Share of an activation map's range above which a patch is active.
    pub foreground: f64,
    /// Of parts without patches.
    pub empty: EmptyPart,
    /// Of parts that are left out.
    pub background: Background,
}

/// What [`pseudo_mask`] chooses from.
#[derive(Debug, Clone, Copy)]
pub struct Candidates<'a> {
    /// The label's channel of G_ego, flattened: [b, N].
    pub activation: &'a Tensor,
    /// Exclusive parts as 0 and 1: [b, N, K].
    pub parts: &'a Tensor,
    /// Saliency of each patch [b, N].
    pub saliency: &'a Tensor,
}

/// (x - min) / (max - min) of each map [b, N], as all maps of the pixel losses are normalised.
pub fn own_range(maps: &Tensor) -> Tensor {
    min_max(maps, RANGE_EPSILON)
}

/// M_ego: the part that overlaps most (intersection over union) with the active patches, background left out. As 0 and 1,
/// [b, N], without gradient.
pub fn pseudo_mask(candidates: &Candidates<'_>, rules: Rules) -> Tensor {
    tch::no_grad(|| {
        let Rules { foreground, empty, background } = rules;
        let Candidates { activation, parts, saliency } = *candidates;
        let kind = parts.kind();
        // Sums over the patches of each part: [b, 1, N] x [b, N, K] -> [b, K]
        let within = |weights: &Tensor| weights.unsqueeze(1).matmul(parts).squeeze_dim(1);
        let active = own_range(activation).gt(foreground).to_kind(kind);
        let sizes = parts.sum_dim_intlist(1, false, None::<Kind>);
        let overlap = within(&active);
        let union = active.sum_dim_intlist(-1, true, None::<Kind>) + &sizes - &overlap;
        let mut score = overlap / (union + UNION_EPSILON);

        let mut salience = within(saliency) / &sizes;
        if empty == EmptyPart::Skip {
            let none = sizes.eq(0.0);
            salience = salience.masked_fill(&none, f64::INFINITY);
            // Below the background's: a picture that is all one part has that part.
            score = score.masked_fill(&none, -2.0);
        }
        let score = match background {
            Background::LeastSalient => score.scatter_value(-1, &salience.argmin(-1, true), -1.0),
            Background::BelowMean => {
                let mean = saliency.mean_dim(-1, true, None::<Kind>);
                score.masked_fill(&salience.lt_tensor(&mean), -1.0)
            }
        };
        let chosen = score.argmax(-1, false);
        // [b] -> [b, N, 1]
        let index = chosen.reshape([-1, 1, 1]).expand([-1, parts.size()[1], 1], false);
        parts.gather(2, &index, false).squeeze_dim(2)
    })
}

/// Mean square difference between the decoder's map, already in [0, 1], and the mask: both [b, N].
pub fn mse(map: &Tensor, mask: &Tensor) -> Tensor {
    (map - mask).square().mean(None::<Kind>)
}

/// Dice loss with a smoothing of 1: 1 - (2 sum qM + 1) / (sum q + sum M + 1). Both [b, N].
pub fn dice(map: &Tensor, mask: &Tensor) -> Tensor {
    let sum = |x: &Tensor| x.sum_dim_intlist(-1, false, None::<Kind>);
    let ratio = (sum(&(map * mask)) * 2.0 + 1.0) / (sum(map) + sum(mask) + 1.0);
    1.0 - ratio.mean(None::<Kind>)
}
