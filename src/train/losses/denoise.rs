//! L_dill, denoising distillation: what the exocentric views mark for the action is to look like what the decoder marks,
//! and unlike what the noise heads mark.

use tch::{Kind, Tensor};

use super::super::tensor::{channel_of, unit};

/// Where [`denoise`] finds its features.
#[derive(Debug, Clone, Copy)]
pub struct Views<'a> {
    /// P [b, C+M, h, w].
    pub pixel_maps: &'a Tensor,
    /// G_exo [b, n, C+M, h, w].
    pub exo_maps: &'a Tensor,
    /// Frozen descriptors [b, N, D].
    pub ego_descriptors: &'a Tensor,
    /// Frozen descriptors [b, n, N, D].
    pub exo_descriptors: &'a Tensor,
}

/// log(1 + sum_m exp(s_m - s_0)): the target is the exocentric descriptors pooled with the label's logits as weights, s_0
/// its cosine with the ego descriptors pooled likewise, s_m that with the exocentric ones pooled with noise head m.
///
/// `actions`: C; without noise heads the loss is 0. `fixed_target`: no gradient through the target (published: with it).
pub fn denoise(views: &Views<'_>, labels: &Tensor, actions: i64, fixed_target: bool) -> Tensor {
    let noise_heads = views.exo_maps.size()[2] - actions;
    if noise_heads < 1 {
        return views.pixel_maps.sum(None::<Kind>) * 0.0;
    }
    // The descriptors pooled with each channel: [b, n, c, N] x [b, n, N, D] -> [b, c, D]
    let pooled =
        |maps: &Tensor| maps.flatten(3, 4).matmul(views.exo_descriptors).sum_dim_intlist(1, false, None::<Kind>);
    let own = channel_of(&views.exo_maps.transpose(1, 2), labels).unsqueeze(2);
    let target = unit(&pooled(&own), -1);
    let target = if fixed_target { target.detach() } else { target };
    let noise = unit(&pooled(&views.exo_maps.narrow(2, actions, noise_heads)), -1);

    let marked = channel_of(views.pixel_maps, labels).flatten(1, 2).unsqueeze(1);
    // [b, 1, D]
    let pixel = unit(&marked.matmul(views.ego_descriptors), -1);
    let to_target = |other: &Tensor| (&target * other).sum_dim_intlist(-1, false, None::<Kind>);
    let excess = to_target(&noise).logsumexp(-1, true) - to_target(&pixel);
    excess.softplus().mean(None::<Kind>)
}
