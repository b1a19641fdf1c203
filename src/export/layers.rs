//! Layers that backbone and heads have in common: linear, layer normalisation, perceptron.

use ndarray::{Array1, Array2, Axis, Ix2, s};

use super::{
    ExportError,
    graph::{Attr, Graph, Value},
    recipe::Recipe,
    rewrites::Rewrite,
    weights::Weights,
};

/// LayerNorm over the last axis with the weights `key.weight` and `key.bias`.
///
/// # Errors
/// A tensor is missing.
pub fn layer_norm(
    g: &mut Graph,
    recipe: &Recipe<'_>,
    key: &str,
    value: &Value,
    eps: f32,
) -> Result<Value, ExportError> {
    let path = path_of(key);
    let scale = g.floats(&format!("{path}/weight"), recipe.weights.get(&format!("{key}.weight"))?);
    let bias = g.floats(&format!("{path}/bias"), recipe.weights.get(&format!("{key}.bias"))?);
    if recipe.rewrites.has(Rewrite::FusedOperators) {
        let attributes = [("axis", Attr::Int(-1)), ("epsilon", Attr::Float(eps))];
        return Ok(g.node(&path, "LayerNormalization", &[value, &scale, &bias], &attributes));
    }
    let axes = g.ints(&format!("{path}/axes"), &[-1]);
    let mean = g.node(&format!("{path}/mean"), "ReduceMean", &[value, &axes], &[]);
    let centred = g.node(&format!("{path}/centred"), "Sub", &[value, &mean], &[]);
    let two = g.float(&format!("{path}/two"), 2.0);
    let squared = g.node(&format!("{path}/squared"), "Pow", &[&centred, &two], &[]);
    let variance = g.node(&format!("{path}/variance"), "ReduceMean", &[&squared, &axes], &[]);
    let eps = g.float(&format!("{path}/epsilon"), eps);
    let raised = g.node(&format!("{path}/raised"), "Add", &[&variance, &eps], &[]);
    let deviation = g.node(&format!("{path}/deviation"), "Sqrt", &[&raised], &[]);
    let normed = g.node(&format!("{path}/normed"), "Div", &[&centred, &deviation], &[]);
    let scaled = g.node(&format!("{path}/scaled"), "Mul", &[&normed, &scale], &[]);
    Ok(g.node(&path, "Add", &[&scaled, &bias], &[]))
}

/// The linear layer `key` on the last axis.
///
/// # Errors
/// A tensor is missing.
pub fn linear(g: &mut Graph, weights: &Weights, key: &str, value: &Value) -> Result<Value, ExportError> {
    Ok(Linear::of(weights, key)?.add(g, &path_of(key), value))
}

/// A two-layer perceptron with the exact (erf) GELU, at `key.fc1` and `key.fc2`.
///
/// # Errors
/// A tensor is missing.
pub fn mlp(g: &mut Graph, recipe: &Recipe<'_>, key: &str, value: &Value) -> Result<Value, ExportError> {
    let hidden = linear(g, recipe.weights, &format!("{key}.fc1"), value)?;
    let hidden = gelu(g, recipe, &format!("{}/gelu", path_of(key)), &hidden);
    linear(g, recipe.weights, &format!("{key}.fc2"), &hidden)
}

/// x * Phi(x) = x / 2 * (1 + erf(x / sqrt(2)))
fn gelu(g: &mut Graph, recipe: &Recipe<'_>, path: &str, value: &Value) -> Value {
    if recipe.rewrites.has(Rewrite::FusedOperators) {
        return g.node(path, "Gelu", &[value], &[]);
    }
    let root = g.float(&format!("{path}/root_of_two"), std::f32::consts::SQRT_2);
    let reduced = g.node(&format!("{path}/reduced"), "Div", &[value, &root], &[]);
    let erf = g.node(&format!("{path}/erf"), "Erf", &[&reduced], &[]);
    let one = g.float(&format!("{path}/one"), 1.0);
    let raised = g.node(&format!("{path}/raised"), "Add", &[&erf, &one], &[]);
    let doubled = g.node(&format!("{path}/doubled"), "Mul", &[value, &raised], &[]);
    let half = g.float(&format!("{path}/half"), 0.5);
    g.node(path, "Mul", &[&doubled, &half], &[])
}

/// A linear layer, ready for MatMul.
pub(super) struct Linear {
    /// [in, out]
    weight: Array2<f32>,
    /// [out]
    bias: Array1<f32>,
}

impl Linear {
    pub fn of(weights: &Weights, key: &str) -> Result<Self, ExportError> {
        let mis_shaped = |_| weights.mis_shaped(key);
        // Checkpoints keep [out, in].
        let weight = weights.get(&format!("{key}.weight"))?.view().into_dimensionality::<Ix2>().map_err(mis_shaped)?;
        let bias = weights.get(&format!("{key}.bias"))?;
        Ok(Self { weight: weight.reversed_axes().to_owned(), bias: bias.iter().copied().collect() })
    }

    /// Query, key and value of the fused layer: its outputs are [3][head][D / heads].
    pub fn thirds(&self, dim: usize) -> [Self; 3] {
        [0, dim, 2 * dim].map(|start| Self {
            weight: self.weight.slice(s![.., start..start + dim]).to_owned(),
            bias: self.bias.slice(s![start..start + dim]).to_owned(),
        })
    }

    /// The attention's 1 / sqrt(d), moved into the query, the first `dim` outputs: exact where d is a power of 4, as
    /// DINO's 64 is.
    pub fn scale_query(&mut self, dim: usize, factor: f64) {
        let scale = |value: f32| (f64::from(value) * factor) as f32;
        self.weight.slice_mut(s![.., ..dim]).mapv_inplace(scale);
        self.bias.slice_mut(s![..dim]).mapv_inplace(scale);
    }

    /// Outputs [head][d] -> [d][head], the channel order of published checkpoints' heads.
    pub fn head_fastest(&mut self, heads: usize) {
        let dim = self.bias.len();
        let from: Vec<usize> = (0..dim).map(|channel| channel % heads * (dim / heads) + channel / heads).collect();
        self.weight = self.weight.select(Axis(1), &from);
        self.bias = self.bias.select(Axis(0), &from);
    }

    pub fn add(self, g: &mut Graph, path: &str, value: &Value) -> Value {
        let weight = g.floats(&format!("{path}/weight"), &self.weight.into_dyn());
        let bias = g.floats(&format!("{path}/bias"), &self.bias.into_dyn());
        let product = g.node(&format!("{path}/matmul"), "MatMul", &[value, &weight], &[]);
        g.node(path, "Add", &[&product, &bias], &[])
    }
}

/// `vit_model.blocks.3.attn.qkv` -> `vit_model/blocks.3/attn/qkv`.
pub(super) fn path_of(key: &str) -> String {
    key.replace('.', "/").replace("/blocks/", "/blocks.")
}
