//! The position table at other input sizes, resized as DINO does (`interpolate_pos_encoding` of its vision transformer).

use ndarray::{Array3, ArrayD, ArrayView3, Axis, Ix3, concatenate, s};

use super::{ExportError, recipe::Recipe};

const KEY: &str = "vit_model.pos_embed";
/// The cubic convolution's free parameter (Keys 1981), as PyTorch's bicubic interpolation has it.
const CUBIC_A: f64 = -0.75;
/// DINO adds this to the wanted sides, against rounding down, and lets it shift the sampling points: a checkpoint's
/// behaviour at other sizes depends on it.
const DINO_OFFSET: f64 = 0.1;

/// The table [1, 1 + P, D] of the recipe's grid: as it was trained where the grid is the same, else its patches resized.
///
/// # Errors
/// A tensor is missing or mis-shaped.
pub fn table(recipe: &Recipe<'_>) -> Result<ArrayD<f32>, ExportError> {
    let (weights, grid) = (recipe.weights, recipe.grid);
    let trained = weights.sizes.grid;
    let table = weights.get(KEY)?;
    if (grid.rows, grid.columns) == (trained, trained) {
        return Ok(table.clone());
    }
    let mis_shaped = |_| weights.mis_shaped(KEY);
    let table = table.view().into_dimensionality::<Ix3>().map_err(mis_shaped)?;
    let dim = weights.sizes.dim;
    let shape = (trained, trained, dim);
    let patches = table.slice(s![0, 1.., ..]).to_owned().into_shape_with_order(shape).map_err(mis_shaped)?;
    let rows = resize(patches.mapv(f64::from).view(), Axis(0), grid.rows);
    let resized = resize(rows.view(), Axis(1), grid.columns);
    let resized = resized.mapv(|value| value as f32).into_shape_with_order((1, grid.patches(), dim));
    let resized = resized.map_err(mis_shaped)?;
    let whole = concatenate(Axis(1), &[table.slice(s![.., ..1, ..]), resized.view()]).map_err(mis_shaped)?;
    Ok(whole.into_dyn())
}

/// One axis to `wanted` cells by cubic convolution, edges repeated.
fn resize(source: ArrayView3<'_, f64>, axis: Axis, wanted: usize) -> Array3<f64> {
    let cells = source.len_of(axis);
    let mut shape = source.raw_dim();
    shape[axis.index()] = wanted;
    let mut resized = Array3::zeros(shape);
    // In f32, as PyTorch computes places: a place that it rounds over a cell's border has other neighbours.
    let step = (cells as f64 / (wanted as f64 + DINO_OFFSET)) as f32;
    for (index, mut target) in resized.axis_iter_mut(axis).enumerate() {
        let place = step * (index as f32 + 0.5) - 0.5;
        let below = place.floor();
        for (weight, offset) in cubic(f64::from(place - below)).into_iter().zip(-1_i64..) {
            let neighbour = (below as i64 + offset).clamp(0, cells as i64 - 1) as usize;
            target.scaled_add(weight, &source.index_axis(axis, neighbour));
        }
    }
    resized
}

/// Weights of the four neighbours of a place `t` in [0, 1) beyond the second one.
fn cubic(t: f64) -> [f64; 4] {
    let near = |x: f64| ((CUBIC_A + 2.0) * x - (CUBIC_A + 3.0)) * x * x + 1.0;
    let far = |x: f64| ((CUBIC_A * x - 5.0 * CUBIC_A) * x + 8.0 * CUBIC_A) * x - 4.0 * CUBIC_A;
    [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_stays_what_it_is_and_an_axis_grows_by_itself() {
        let source = Array3::from_elem((3, 4, 2), 0.7);
        let resized = resize(source.view(), Axis(1), 9);
        assert_eq!(resized.dim(), (3, 9, 2));
        assert!(resized.iter().all(|value| (value - 0.7).abs() < 1e-12));
    }

    /// torch.nn.functional.interpolate(torch.arange(4.0)[None, None, None] ** 2, scale_factor=(1, (6 + .1) / 4),
    ///                                 mode="bicubic")                                                 (PyTorch 2.13.0)
    #[test]
    fn places_and_weights_are_pytorch_s() {
        let source = Array3::from_shape_fn((1, 4, 1), |(_, x, _)| (x * x) as f64);
        let found = resize(source.view(), Axis(1), 6);
        let expected = [-0.088_479_8, 0.209_823_2, 1.367_898_7, 2.996_627_6, 6.529_581_1, 9.318_965_9];
        // f32 places on values up to 9.
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 5e-6, "{found} is not {expected}");
        }
    }
}
