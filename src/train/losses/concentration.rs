//! L_con, the concentration loss (SCOPS, CVPR 2019, as LOCATE uses it): a map is to have its mass in one place.

use tch::{Kind, Tensor};

use super::super::tensor::min_max;

const RANGE_EPSILON: f64 = 1e-10;
/// What every patch has of the mass, so that it is never all in one.
const FLOOR: f64 = 1e-3;

/// Mean over all maps [..., h, w] of the variance of their mass along x and y, where a picture's sides are 2 long.
pub fn concentration(maps: &Tensor) -> Tensor {
    let shape = maps.size();
    let (rows, columns) = (shape[shape.len() - 2], shape[shape.len() - 1]);
    let mass = min_max(&maps.reshape([-1, rows * columns]), RANGE_EPSILON) + FLOOR;
    let mass = (&mass / mass.sum_dim_intlist(-1, true, None::<Kind>)).reshape([-1, rows, columns]);
    let along = |axis: i64, patches: i64| {
        // Mass by row or column, the other axis summed.
        let mass = mass.sum_dim_intlist(axis, false, None::<Kind>);
        let place = Tensor::arange(patches, (mass.kind(), mass.device())) * (2.0 / patches as f64) - 1.0;
        let centre = (&mass * &place).sum_dim_intlist(-1, true, None::<Kind>);
        (mass * (place - centre).square()).sum_dim_intlist(-1, false, None::<Kind>)
    };
    (along(1, columns) + along(2, rows)).mean(None::<Kind>)
}
