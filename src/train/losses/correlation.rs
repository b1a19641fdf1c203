//! L_corr: both views are to agree which actions go together.

use tch::{Kind, Tensor};

use super::super::tensor::unit;

/// One minus the mean, over samples and columns, of the cosine between the two views' Gram matrices of class maps.
///
/// P [b, C+M, h, w] and G_exo [b, n, C+M, h, w]: raw logits, noise heads included, not normalised.
pub fn correlation(pixel_maps: &Tensor, exo_maps: &Tensor) -> Tensor {
    let ego = pixel_maps.flatten(2, 3);
    // [b, n, C+M, h, w] -> [b, C+M, n*h*w]
    let exo = exo_maps.transpose(1, 2).flatten(2, 4);
    let gram = |maps: Tensor| unit(&maps.matmul(&maps.transpose(1, 2)), 1);
    let cosine = (gram(ego) * gram(exo)).sum_dim_intlist(1, false, None::<Kind>);
    1.0 - cosine.mean(None::<Kind>)
}
