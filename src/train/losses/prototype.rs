//! LOCATE's L_proto: what the ego map marks is to look like the part that the exocentric views showed.

use tch::{Kind, Tensor};

use super::{super::tensor::unit, pixel::own_range};

/// Cosine distance that costs nothing.
const MARGIN: f64 = 0.5;
const COUNT_EPSILON: f64 = 1e-15;

/// Mean, over the samples that have a prototype, of max(0, 1 - cosine - margin).
///
/// The label's channel of P [b, N], descriptors [b, N, D], prototypes [b, D], and which samples have one [b] (0 and 1).
/// The gradient passes through the map only.
pub fn prototype(map: &Tensor, descriptors: &Tensor, prototypes: &Tensor, found: &Tensor) -> Tensor {
    let weight = own_range(map);
    let pooled = weight.unsqueeze(1).matmul(descriptors).squeeze_dim(1);
    let marked = pooled / weight.sum_dim_intlist(-1, true, None::<Kind>);
    let cosine = (unit(&marked, -1) * unit(prototypes, -1)).sum_dim_intlist(-1, false, None::<Kind>);
    let each = ((1.0 - MARGIN) - cosine).relu() * found;
    each.sum(None::<Kind>) / (found.sum(None::<Kind>) + COUNT_EPSILON)
}
