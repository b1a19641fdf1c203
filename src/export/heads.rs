//! What LoopTrans trains on top of the backbone: the residual adapter, a branch of two convolutions (Theta_pixel or
//! Theta_scam), the shared classifier, and presence.

use ndarray::{Array1, ArrayD, Axis};

use super::{
    ExportError,
    graph::{Attr, Graph, Value},
    layers::{layer_norm, mlp},
    recipe::{GraphOptions, Recipe},
    rewrites::Rewrite,
    weights::Weights,
};
use crate::contract::Calibration;

/// PyTorch's default for both LayerNorm and BatchNorm.
const NORM_EPS: f64 = 1e-5;

/// F = desc + aff_proj(desc): descriptor [B, P, D] -> [B, D, h, w].
///
/// # Errors
/// A tensor is missing.
pub fn adapt(g: &mut Graph, recipe: &Recipe<'_>, descriptor: &Value) -> Result<Value, ExportError> {
    let normed = layer_norm(g, recipe, "aff_proj.norm", descriptor, NORM_EPS as f32)?;
    let adapted = mlp(g, recipe, "aff_proj", &normed)?;
    let features = g.node("aff_proj/residual", "Add", &[descriptor, &adapted], &[]);
    // [B, P, D] -> [B, D, P] -> [B, D, h, w]
    let features = g.node("features/channels_first", "Transpose", &[&features], &[("perm", Attr::Ints(&[0, 2, 1]))]);
    let (dim, grid) = (recipe.weights.sizes.dim as i64, recipe.grid);
    let shape = g.ints("features/shape", &[0, dim, grid.rows as i64, grid.columns as i64]);
    Ok(g.node("features", "Reshape", &[&features, &shape], &[]))
}

/// [Conv 3x3 + BatchNorm + ReLU] x 2 of the branch `key` (see [`super::layout::Network`]): [B, D, h, w] -> the same.
///
/// # Errors
/// A tensor is missing.
pub fn branch(g: &mut Graph, recipe: &Recipe<'_>, key: &str, features: &Value) -> Result<Value, ExportError> {
    let fold = recipe.rewrites.has(Rewrite::FoldBatchNorm);
    let mut value = features.clone();
    for (conv, norm) in [("0", "1"), ("3", "4")] {
        let (path, norm) = (format!("{key}/{conv}"), format!("{key}.{norm}"));
        let (kernel, bias) = if fold {
            fold_batch_norm(recipe.weights, &format!("{key}.{conv}"), &norm)?
        } else {
            let tensor = |name: &str| recipe.weights.get(&format!("{key}.{conv}.{name}"));
            (tensor("weight")?.clone(), tensor("bias")?.iter().copied().collect())
        };
        let kernel = g.floats(&format!("{path}/weight"), &kernel);
        let bias = g.floats(&format!("{path}/bias"), &bias.into_dyn());
        let attributes = [("kernel_shape", Attr::Ints(&[3, 3])), ("pads", Attr::Ints(&[1, 1, 1, 1]))];
        value = g.node(&path, "Conv", &[&value, &kernel, &bias], &attributes);
        if !fold {
            value = batch_norm(g, recipe.weights, &norm, &value)?;
        }
        value = g.node(&format!("{path}/relu"), "Relu", &[&value], &[]);
    }
    Ok(value)
}

fn batch_norm(g: &mut Graph, weights: &Weights, key: &str, value: &Value) -> Result<Value, ExportError> {
    let path = key.replace('.', "/");
    let mut inputs = vec![value.clone()];
    for name in ["weight", "bias", "running_mean", "running_var"] {
        inputs.push(g.floats(&format!("{path}/{name}"), weights.get(&format!("{key}.{name}"))?));
    }
    let inputs: Vec<&Value> = inputs.iter().collect();
    Ok(g.node(&path, "BatchNormalization", &inputs, &[("epsilon", Attr::Float(NORM_EPS as f32))]))
}

/// Kernel [D, D, 3, 3] and bias [D] of a convolution with the batch normalisation behind it, which at inference is a
/// fixed scale and shift per channel.
fn fold_batch_norm(weights: &Weights, conv: &str, norm: &str) -> Result<(ArrayD<f32>, Array1<f32>), ExportError> {
    let vector = |key: String| -> Result<Array1<f64>, ExportError> {
        Ok(weights.get(&key)?.iter().copied().map(f64::from).collect())
    };
    let deviation = vector(format!("{norm}.running_var"))?.mapv(|variance| (variance + NORM_EPS).sqrt());
    let scale = vector(format!("{norm}.weight"))? / deviation;
    let bias = (vector(format!("{conv}.bias"))? - vector(format!("{norm}.running_mean"))?) * &scale
        + vector(format!("{norm}.bias"))?;
    let mut kernel = weights.get(&format!("{conv}.weight"))?.mapv(f64::from);
    for (mut filter, scale) in kernel.outer_iter_mut().zip(&scale) {
        filter *= *scale;
    }
    Ok((kernel.mapv(|value| value as f32), bias.mapv(|value| value as f32)))
}

/// The classifier's maps of the channels `classes`: [B, D, h, w] -> [B, A, h, w], nothing normalised.
///
/// # Errors
/// A tensor is missing.
pub fn class_maps(
    g: &mut Graph,
    recipe: &Recipe<'_>,
    features: &Value,
    classes: &[usize],
) -> Result<Value, ExportError> {
    let (weights, rewrites) = (recipe.weights, recipe.rewrites);
    let actions = weights.description.actions.len();
    let mut computed: Vec<usize> =
        if rewrites.has(Rewrite::CutActions) { classes.to_vec() } else { (0..actions).collect() };
    if !rewrites.has(Rewrite::CutNoise) {
        computed.extend(actions..weights.sizes.channels);
    }
    let kernel = g.floats("aff_fc/weight", &weights.get("aff_fc.weight")?.select(Axis(0), &computed));
    let bias = g.floats("aff_fc/bias", &weights.get("aff_fc.bias")?.select(Axis(0), &computed));
    let maps = g.node("aff_fc", "Conv", &[features, &kernel, &bias], &[("kernel_shape", Attr::Ints(&[1, 1]))]);
    if computed == classes {
        return Ok(maps);
    }
    let place = |class: &usize| computed.iter().position(|computed| computed == class).unwrap_or(*class) as i64;
    let asked = g.ints("aff_fc/classes", &classes.iter().map(place).collect::<Vec<_>>());
    Ok(g.node("aff_fc/asked", "Gather", &[&maps, &asked], &[("axis", Attr::Int(1))]))
}

/// Adds `unused` [B, N, D] to the class maps, times zero: they stay what they are, and `unused` has to be computed. No
/// runtime may leave such a term out, for zero times infinity is no zero.
pub fn keep_alive(g: &mut Graph, maps: &Value, unused: &Value) -> Value {
    let axes = g.ints("kept_alive/axes", &[1, 2]);
    let mean = g.node("kept_alive/mean", "ReduceMean", &[unused, &axes], &[]);
    let zero = g.float("kept_alive/zero", 0.0);
    let nothing = g.node("kept_alive/nothing", "Mul", &[&mean, &zero], &[]);
    // [B, 1, 1] -> [B, 1, 1, 1]
    let axes = g.ints("kept_alive/new_axes", &[3]);
    let nothing = g.node("kept_alive/nothing/by_map", "Unsqueeze", &[&nothing, &axes], &[]);
    g.node("kept_alive", "Add", &[maps, &nothing], &[])
}

/// Presence of the options' classes: a branch's [B, D, h, w] -> [B, A] in [0, 1].
///
/// sigmoid(z_a - log mean_c exp z_c), z the spatial mean of the class maps over *all* channels, noise heads included:
/// the softmax posterior's odds against the average class. Several actions can be present at once, and 0.5 means no
/// more than chance. The mean over space is taken before the classifier, which is linear, so it costs next to nothing.
/// With a calibration it is sigmoid(logit / temperature + bias) of those same log odds.
///
/// # Errors
/// A tensor is missing.
pub fn presence(
    g: &mut Graph,
    weights: &Weights,
    features: &Value,
    options: &GraphOptions,
) -> Result<Value, ExportError> {
    let GraphOptions { classes, calibration, .. } = options;
    let channels = weights.sizes.channels;
    let axes = g.ints("presence/space", &[2, 3]);
    let pooled = g.node("presence/pool", "ReduceMean", &[features, &axes], &[("keepdims", Attr::Int(0))]);
    // [C + M, D, 1, 1] -> [C + M, D]
    let weight = weights.get("aff_fc.weight")?;
    let weight = weight.view().index_axis_move(Axis(3), 0).index_axis_move(Axis(2), 0).to_owned();
    let weight = g.floats("presence/aff_fc/weight", &weight);
    let bias = g.floats("presence/aff_fc/bias", weights.get("aff_fc.bias")?);
    let scores = g.node("presence/scores", "Gemm", &[&pooled, &weight, &bias], &[("transB", Attr::Int(1))]);
    let axis = g.ints("presence/classes_axis", &[1]);
    // Runtimes may sum the exponentials as they are, and in half precision e^12 is infinite: then nothing is present.
    let most = g.node("presence/most", "ReduceMax", &[&scores, &axis], &[("keepdims", Attr::Int(1))]);
    let scores = g.node("presence/below_most", "Sub", &[&scores, &most], &[]);
    let total = g.node("presence/log_sum_exp", "ReduceLogSumExp", &[&scores, &axis], &[("keepdims", Attr::Int(1))]);
    let indices: Vec<i64> = classes.iter().map(|&class| class as i64).collect();
    let indices = g.ints("presence/classes", &indices);
    let asked = g.node("presence/asked", "Gather", &[&scores, &indices], &[("axis", Attr::Int(1))]);
    let odds = g.node("presence/over_sum", "Sub", &[&asked, &total], &[]);
    let log_channels = Array1::from_elem(1, (channels as f64).ln() as f32).into_dyn();
    let log_channels = g.floats("presence/log_channels", &log_channels);
    let odds = g.node("presence/over_mean", "Add", &[&odds, &log_channels], &[]);
    let odds = if *calibration == Calibration::NONE { odds } else { calibrated(g, &odds, *calibration) };
    Ok(g.node("presence/sigmoid", "Sigmoid", &[&odds], &[]))
}

fn calibrated(g: &mut Graph, odds: &Value, calibration: Calibration) -> Value {
    let scale = g.float("presence/scale", (1.0 / calibration.temperature) as f32);
    let scaled = g.node("presence/scaled", "Mul", &[odds, &scale], &[]);
    let bias = g.float("presence/bias", calibration.bias as f32);
    g.node("presence/calibrated", "Add", &[&scaled, &bias], &[])
}
