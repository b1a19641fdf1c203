//! The frozen backbone: a DINO vision transformer (Caron et al. 2021) up to its last block's keys. Nothing after them is
//! built, for nothing uses it. Nodes are named after the checkpoint's keys: `vit_model/blocks.3/attn/query`.

use ndarray::{Array1, Array2, ArrayD, Axis, Ix2, s};

use super::{
    ExportError,
    graph::{Attr, Graph, Port, Value},
    weights::Weights,
};
use crate::{
    contract::INPUT_IMAGE,
    onnx::{FLOAT, UINT8},
};

/// ImageNet statistics of RGB in [0, 1]: what DINO was trained with.
pub const IMAGENET_MEAN: [f64; 3] = [0.485, 0.456, 0.406];
/// Their standard deviations.
pub const IMAGENET_STD: [f64; 3] = [0.229, 0.224, 0.225];
/// LayerNorm inside the transformer.
const LAYER_NORM_EPS: f32 = 1e-6;

/// What the graph takes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageInput {
    /// `image` u8 [B, H, W, 3], RGB: what a bundle takes. The normalisation is folded into the patch embedding.
    Bytes,
    /// `image` f32 [B, 3, H, W], already normalised: what published values of the backbone are given for.
    Normalised,
}

/// Declares the input and adds the backbone. Gives the descriptor [B, P, D]: the patches' keys of the last block, D with
/// the head fastest (channel = d * heads + head).
///
/// # Errors
/// A tensor is missing.
pub fn descriptor(g: &mut Graph, weights: &Weights, input: ImageInput) -> Result<Value, ExportError> {
    let pixels = image(g, weights, input);
    let mut tokens = embed(g, weights, input, &pixels)?;
    let block = Block::new(g, weights);
    let last = weights.sizes.depth - 1;
    for index in 0..last {
        tokens = block.add(g, &format!("blocks.{index}"), &tokens)?;
    }
    keys(g, weights, last, &tokens)
}

/// The input as f32 [B, 3, H, W].
fn image(g: &mut Graph, weights: &Weights, input: ImageInput) -> Value {
    let side = weights.sizes.side();
    match input {
        ImageInput::Bytes => {
            let doc = "RGB, 8 bit, rows from the top";
            let port = Port { name: INPUT_IMAGE, data_type: UINT8, sides: &[side, side, 3], doc };
            let bytes = g.input(port);
            let floats = g.node("image/to_float", "Cast", &[&bytes], &[("to", Attr::Int(i64::from(FLOAT)))]);
            // [B, H, W, 3] -> [B, 3, H, W]
            g.node("image/channels_first", "Transpose", &[&floats], &[("perm", Attr::Ints(&[0, 3, 1, 2]))])
        }
        ImageInput::Normalised => {
            let doc = "RGB, normalised by ImageNet's mean and deviation";
            g.input(Port { name: INPUT_IMAGE, data_type: FLOAT, sides: &[3, side, side], doc })
        }
    }
}

/// [B, 3, H, W] -> [B, 1 + P, D]: patches, class token, positions.
fn embed(g: &mut Graph, weights: &Weights, input: ImageInput, pixels: &Value) -> Result<Value, ExportError> {
    let sizes = weights.sizes;
    let (kernel, bias) = patch_projection(weights, input)?;
    let kernel = g.floats("vit_model/patch_embed/proj/weight", &kernel);
    let bias = g.floats("vit_model/patch_embed/proj/bias", &bias.into_dyn());
    let patch = sizes.patch as i64;
    let patches = g.node(
        "vit_model/patch_embed/proj",
        "Conv",
        &[pixels, &kernel, &bias],
        &[("kernel_shape", Attr::Ints(&[patch, patch])), ("strides", Attr::Ints(&[patch, patch]))],
    );
    // [B, D, h, w] -> [B, D, P] -> [B, P, D]
    let flat = g.ints("vit_model/patch_embed/flat", &[0, sizes.dim as i64, -1]);
    let patches = g.node("vit_model/patch_embed/flatten", "Reshape", &[&patches, &flat], &[]);
    let patches = g.node("vit_model/patch_embed/tokens", "Transpose", &[&patches], &[("perm", Attr::Ints(&[0, 2, 1]))]);

    // The class token is the same for every image: a row of zeros in front, and the token added with its position.
    let pads = g.ints("vit_model/cls_token/pads", &[0, 1, 0, 0, 0, 0]);
    let tokens = g.node("vit_model/cls_token", "Pad", &[&patches, &pads], &[]);
    let mut positions = weights.get("vit_model.pos_embed")?.clone();
    let mut class_position = positions.slice_mut(s![.., ..1, ..]);
    class_position += weights.get("vit_model.cls_token")?;
    let positions = g.floats("vit_model/pos_embed/table", &positions);
    Ok(g.node("vit_model/pos_embed", "Add", &[&tokens, &positions], &[]))
}

/// Kernel [D, 3, p, p] and bias [D] for the given input. Folding (x / 255 - mean) / std into them is exact because the
/// convolution has no padding, which would have to stand for the mean.
fn patch_projection(weights: &Weights, input: ImageInput) -> Result<(ArrayD<f32>, Array1<f32>), ExportError> {
    let mut kernel = weights.get("vit_model.patch_embed.proj.weight")?.mapv(f64::from);
    let mut bias: Array1<f64> =
        weights.get("vit_model.patch_embed.proj.bias")?.iter().copied().map(f64::from).collect();
    if input == ImageInput::Bytes {
        for ((mut channel, mean), std) in kernel.axis_iter_mut(Axis(1)).zip(IMAGENET_MEAN).zip(IMAGENET_STD) {
            // [D, p, p] -> [D]
            let sums: Array1<f64> = channel.outer_iter().map(|filter| filter.sum()).collect();
            bias.scaled_add(-mean / std, &sums);
            channel /= 255.0 * std;
        }
    }
    Ok((kernel.mapv(|value| value as f32), bias.mapv(|value| value as f32)))
}

/// LayerNorm over the last axis with the weights `key.weight` and `key.bias`.
///
/// # Errors
/// A tensor is missing.
pub fn layer_norm(g: &mut Graph, weights: &Weights, key: &str, value: &Value, eps: f32) -> Result<Value, ExportError> {
    let path = path_of(key);
    let scale = g.floats(&format!("{path}/weight"), weights.get(&format!("{key}.weight"))?);
    let bias = g.floats(&format!("{path}/bias"), weights.get(&format!("{key}.bias"))?);
    let attributes = [("axis", Attr::Int(-1)), ("epsilon", Attr::Float(eps))];
    Ok(g.node(&path, "LayerNormalization", &[value, &scale, &bias], &attributes))
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
pub fn mlp(g: &mut Graph, weights: &Weights, key: &str, value: &Value) -> Result<Value, ExportError> {
    let hidden = linear(g, weights, &format!("{key}.fc1"), value)?;
    let hidden = g.node(&format!("{}/gelu", path_of(key)), "Gelu", &[&hidden], &[]);
    linear(g, weights, &format!("{key}.fc2"), &hidden)
}

/// What all blocks share.
struct Block<'a> {
    weights: &'a Weights,
    /// [B, N, D] -> [B, N, heads, D / heads]
    heads_apart: Value,
    /// [B, N, heads, D / heads] -> [B, N, D]
    heads_together: Value,
}

impl<'a> Block<'a> {
    fn new(g: &mut Graph, weights: &'a Weights) -> Self {
        let (dim, heads) = (weights.sizes.dim as i64, weights.sizes.heads as i64);
        let heads_apart = g.ints("vit_model/heads_apart", &[0, 0, heads, dim / heads]);
        let heads_together = g.ints("vit_model/heads_together", &[0, 0, dim]);
        Self { weights, heads_apart, heads_together }
    }

    /// x + attention(norm(x)), then x + mlp(norm(x)).
    fn add(&self, g: &mut Graph, name: &str, tokens: &Value) -> Result<Value, ExportError> {
        let key = format!("vit_model.{name}");
        let path = format!("vit_model/{name}");
        let normed = layer_norm(g, self.weights, &format!("{key}.norm1"), tokens, LAYER_NORM_EPS)?;
        let attended = self.attention(g, &format!("{key}.attn"), &normed)?;
        let tokens = g.node(&format!("{path}/attn/residual"), "Add", &[tokens, &attended], &[]);
        let normed = layer_norm(g, self.weights, &format!("{key}.norm2"), &tokens, LAYER_NORM_EPS)?;
        let fed = mlp(g, self.weights, &format!("{key}.mlp"), &normed)?;
        Ok(g.node(&format!("{path}/mlp/residual"), "Add", &[&tokens, &fed], &[]))
    }

    fn attention(&self, g: &mut Graph, key: &str, tokens: &Value) -> Result<Value, ExportError> {
        let path = path_of(key);
        let sizes = self.weights.sizes;
        let [mut query, keys, values] = Linear::of(self.weights, &format!("{key}.qkv"))?.thirds(sizes.dim);
        query.scale(((sizes.dim / sizes.heads) as f64).sqrt().recip());
        // [B, N, D] -> [B, N, heads, d] -> `perm` of it
        let mut by_head = |linear: Linear, name: &str, perm: &[i64]| {
            let name = format!("{path}/{name}");
            let value = linear.add(g, &name, tokens);
            let apart = g.node(&format!("{name}/heads"), "Reshape", &[&value, &self.heads_apart], &[]);
            g.node(&format!("{name}/by_head"), "Transpose", &[&apart], &[("perm", Attr::Ints(perm))])
        };
        let query = by_head(query, "query", &[0, 2, 1, 3]);
        let keys = by_head(keys, "key", &[0, 2, 3, 1]);
        let values = by_head(values, "value", &[0, 2, 1, 3]);
        // [B, heads, N, d] x [B, heads, d, N] -> [B, heads, N, N]
        let scores = g.node(&format!("{path}/scores"), "MatMul", &[&query, &keys], &[]);
        let shares = g.node(&format!("{path}/softmax"), "Softmax", &[&scores], &[("axis", Attr::Int(-1))]);
        // [B, heads, N, d] -> [B, N, heads, d] -> [B, N, D]
        let mixed = g.node(&format!("{path}/mixed"), "MatMul", &[&shares, &values], &[]);
        let mixed = g.node(&format!("{path}/by_token"), "Transpose", &[&mixed], &[("perm", Attr::Ints(&[0, 2, 1, 3]))]);
        let mixed = g.node(&format!("{path}/joined"), "Reshape", &[&mixed, &self.heads_together], &[]);
        linear(g, self.weights, &format!("{key}.proj"), &mixed)
    }
}

/// The last block's keys of the patches: [B, 1 + P, D] -> [B, P, D].
fn keys(g: &mut Graph, weights: &Weights, block: usize, tokens: &Value) -> Result<Value, ExportError> {
    let sizes = weights.sizes;
    // A key depends on its own token alone, so the class token can go first.
    let starts = g.ints("vit_model/patches/starts", &[1]);
    let ends = g.ints("vit_model/patches/ends", &[1 + sizes.patches() as i64]);
    let axes = g.ints("vit_model/patches/axes", &[1]);
    let patches = g.node("vit_model/patches", "Slice", &[tokens, &starts, &ends, &axes], &[]);
    let key = format!("vit_model.blocks.{block}");
    let normed = layer_norm(g, weights, &format!("{key}.norm1"), &patches, LAYER_NORM_EPS)?;
    let [_, mut keys, _] = Linear::of(weights, &format!("{key}.attn.qkv"))?.thirds(sizes.dim);
    keys.head_fastest(sizes.heads);
    Ok(keys.add(g, &format!("{}/attn/key", path_of(&key)), &normed))
}

/// A linear layer, ready for MatMul.
struct Linear {
    /// [in, out]
    weight: Array2<f32>,
    /// [out]
    bias: Array1<f32>,
}

impl Linear {
    fn of(weights: &Weights, key: &str) -> Result<Self, ExportError> {
        let mis_shaped = |_| weights.mis_shaped(key);
        // Checkpoints keep [out, in].
        let weight = weights.get(&format!("{key}.weight"))?.view().into_dimensionality::<Ix2>().map_err(mis_shaped)?;
        let bias = weights.get(&format!("{key}.bias"))?;
        Ok(Self { weight: weight.reversed_axes().to_owned(), bias: bias.iter().copied().collect() })
    }

    /// Query, key and value of the fused layer: its outputs are [3][head][D / heads].
    fn thirds(&self, dim: usize) -> [Self; 3] {
        [0, dim, 2 * dim].map(|start| Self {
            weight: self.weight.slice(s![.., start..start + dim]).to_owned(),
            bias: self.bias.slice(s![start..start + dim]).to_owned(),
        })
    }

    /// The attention's 1 / sqrt(d), moved into the query: exact where d is a power of 4, as DINO's 64 is.
    fn scale(&mut self, factor: f64) {
        self.weight.mapv_inplace(|value| (f64::from(value) * factor) as f32);
        self.bias.mapv_inplace(|value| (f64::from(value) * factor) as f32);
    }

    /// Outputs [head][d] -> [d][head], the channel order of published checkpoints' heads.
    fn head_fastest(&mut self, heads: usize) {
        let dim = self.bias.len();
        let from: Vec<usize> = (0..dim).map(|channel| channel % heads * (dim / heads) + channel / heads).collect();
        self.weight = self.weight.select(Axis(1), &from);
        self.bias = self.bias.select(Axis(0), &from);
    }

    fn add(self, g: &mut Graph, path: &str, value: &Value) -> Value {
        let weight = g.floats(&format!("{path}/weight"), &self.weight.into_dyn());
        let bias = g.floats(&format!("{path}/bias"), &self.bias.into_dyn());
        let product = g.node(&format!("{path}/matmul"), "MatMul", &[value, &weight], &[]);
        g.node(path, "Add", &[&product, &bias], &[])
    }
}

/// `vit_model.blocks.3.attn.qkv` -> `vit_model/blocks.3/attn/qkv`.
fn path_of(key: &str) -> String {
    key.replace('.', "/").replace("/blocks/", "/blocks.")
}
