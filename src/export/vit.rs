//! The frozen backbone: a DINO vision transformer (Caron et al. 2021) up to its last block's keys. Nodes are named after
//! the checkpoint's keys: `vit_model/blocks.3/attn/query`.

use ndarray::{Array1, ArrayD, Axis, IxDyn, s};

use super::{
    ExportError,
    attention::{self, Heads},
    graph::{Attr, Graph, Port, Value},
    layers::{Linear, layer_norm, mlp, path_of},
    positions,
    recipe::Recipe,
    rewrites::Rewrite,
};
use crate::{
    contract::INPUT_IMAGE,
    onnx::{FLOAT, UINT8},
};

/// ImageNet statistics of RGB in [0, 1]: what DINO was trained with.
pub const IMAGENET_MEAN: [f64; 3] = [0.485, 0.456, 0.406];
/// See [`IMAGENET_MEAN`].
pub const IMAGENET_STD: [f64; 3] = [0.229, 0.224, 0.225];
/// LayerNorm inside the transformer.
const LAYER_NORM_EPS: f32 = 1e-6;

/// What the graph takes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageInput {
    /// `image` u8 [B, H, W, 3], RGB: what a bundle takes.
    Bytes,
    /// `image` f32 [B, 3, H, W], already normalised: what published values of the backbone are given for.
    Normalised,
}

/// What the backbone gives.
#[derive(Debug, Clone)]
pub struct Descriptor {
    /// [B, P, D]: the patches' keys of the last block, the head fastest in D (channel = d * heads + head).
    pub patches: Value,
    /// [B, 1 + P, D]: what the last block goes on to compute, though nothing uses it; absent in a trimmed graph.
    pub after_last_block: Option<Value>,
}

/// Declares the input and adds the backbone.
///
/// # Errors
/// A tensor is missing.
pub fn descriptor(g: &mut Graph, recipe: &Recipe<'_>, input: ImageInput) -> Result<Descriptor, ExportError> {
    let pixels = image(g, recipe, input);
    let mut tokens = embed(g, recipe, input, &pixels)?;
    let heads = Heads::new(g, recipe);
    let last = recipe.weights.sizes.depth - 1;
    for index in 0..last {
        let normed = norm(g, recipe, index, "norm1", &tokens)?;
        let key = format!("{}.attn", key_of(index));
        let attended = if recipe.rewrites.has(Rewrite::FusedAttention) {
            attention::fused(g, recipe, &key, &normed)?
        } else {
            let parts = heads.parts(g, recipe, &key, &normed)?;
            heads.attend(g, recipe, &key, &parts)?
        };
        tokens = finish_block(g, recipe, index, [&tokens, &attended])?;
    }
    if recipe.rewrites.has(Rewrite::Trim) {
        let patches = keys(g, recipe, last, &tokens)?;
        return Ok(Descriptor { patches, after_last_block: None });
    }
    let normed = norm(g, recipe, last, "norm1", &tokens)?;
    let key = format!("{}.attn", key_of(last));
    let parts = heads.parts(g, recipe, &key, &normed)?;
    let attended = heads.attend(g, recipe, &key, &parts)?;
    let after = finish_block(g, recipe, last, [&tokens, &attended])?;
    let patches = heads.descriptor(g, recipe, &parts);
    Ok(Descriptor { patches, after_last_block: Some(after) })
}

fn key_of(block: usize) -> String {
    format!("vit_model.blocks.{block}")
}

fn norm(g: &mut Graph, recipe: &Recipe<'_>, block: usize, name: &str, value: &Value) -> Result<Value, ExportError> {
    layer_norm(g, recipe, &format!("{}.{name}", key_of(block)), value, LAYER_NORM_EPS)
}

/// x + attention(norm1(x)), then x + mlp(norm2(x)).
fn finish_block(
    g: &mut Graph,
    recipe: &Recipe<'_>,
    block: usize,
    [tokens, attended]: [&Value; 2],
) -> Result<Value, ExportError> {
    let key = key_of(block);
    let path = path_of(&key);
    let tokens = g.node(&format!("{path}/attn/residual"), "Add", &[tokens, attended], &[]);
    let normed = norm(g, recipe, block, "norm2", &tokens)?;
    let fed = mlp(g, recipe, &format!("{key}.mlp"), &normed)?;
    Ok(g.node(&format!("{path}/mlp/residual"), "Add", &[&tokens, &fed], &[]))
}

/// The input as f32 [B, 3, H, W].
fn image(g: &mut Graph, recipe: &Recipe<'_>, input: ImageInput) -> Value {
    let patch = recipe.weights.sizes.patch;
    let (height, width) = (recipe.grid.rows * patch, recipe.grid.columns * patch);
    if input == ImageInput::Normalised {
        let doc = "RGB, normalised by ImageNet's mean and deviation";
        return g.input(Port { name: INPUT_IMAGE, data_type: FLOAT, sides: &[3, height, width], doc });
    }
    let doc = "RGB, 8 bit, rows from the top";
    let bytes = g.input(Port { name: INPUT_IMAGE, data_type: UINT8, sides: &[height, width, 3], doc });
    let floats = g.node("image/to_float", "Cast", &[&bytes], &[("to", Attr::Int(i64::from(FLOAT)))]);
    // [B, H, W, 3] -> [B, 3, H, W]
    let image = g.node("image/channels_first", "Transpose", &[&floats], &[("perm", Attr::Ints(&[0, 3, 1, 2]))]);
    if recipe.rewrites.has(Rewrite::FoldNormalisation) {
        return image;
    }
    let levels = g.float("image/levels", 255.0);
    let image = g.node("image/unit", "Div", &[&image, &levels], &[]);
    let mut per_channel = |path: &str, values: [f64; 3]| {
        g.floats(path, &ArrayD::from_shape_fn(IxDyn(&[1, 3, 1, 1]), |index| values[index[1]] as f32))
    };
    let (mean, std) = (per_channel("image/mean", IMAGENET_MEAN), per_channel("image/std", IMAGENET_STD));
    let image = g.node("image/centred", "Sub", &[&image, &mean], &[]);
    g.node("image/normalised", "Div", &[&image, &std], &[])
}

/// [B, 3, H, W] -> [B, 1 + P, D]: patches, class token, positions.
fn embed(g: &mut Graph, recipe: &Recipe<'_>, input: ImageInput, pixels: &Value) -> Result<Value, ExportError> {
    let sizes = recipe.weights.sizes;
    let (kernel, bias) = patch_projection(recipe, input)?;
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
    let mut positions = positions::table(recipe)?;
    let mut class_position = positions.slice_mut(s![.., ..1, ..]);
    class_position += recipe.weights.get("vit_model.cls_token")?;
    let positions = g.floats("vit_model/pos_embed/table", &positions);
    Ok(g.node("vit_model/pos_embed", "Add", &[&tokens, &positions], &[]))
}

/// Kernel [D, 3, p, p] and bias [D] for the given input. Folding (x / 255 - mean) / std into them is exact because the
/// convolution has no padding, which would have to stand for the mean.
fn patch_projection(recipe: &Recipe<'_>, input: ImageInput) -> Result<(ArrayD<f32>, Array1<f32>), ExportError> {
    let weights = recipe.weights;
    let mut kernel = weights.get("vit_model.patch_embed.proj.weight")?.mapv(f64::from);
    let mut bias: Array1<f64> =
        weights.get("vit_model.patch_embed.proj.bias")?.iter().copied().map(f64::from).collect();
    if input == ImageInput::Bytes && recipe.rewrites.has(Rewrite::FoldNormalisation) {
        for ((mut channel, mean), std) in kernel.axis_iter_mut(Axis(1)).zip(IMAGENET_MEAN).zip(IMAGENET_STD) {
            // [D, p, p] -> [D]
            let sums: Array1<f64> = channel.outer_iter().map(|filter| filter.sum()).collect();
            bias.scaled_add(-mean / std, &sums);
            channel /= 255.0 * std;
        }
    }
    Ok((kernel.mapv(|value| value as f32), bias.mapv(|value| value as f32)))
}

/// The last block's keys of the patches: [B, 1 + P, D] -> [B, P, D].
fn keys(g: &mut Graph, recipe: &Recipe<'_>, block: usize, tokens: &Value) -> Result<Value, ExportError> {
    let sizes = recipe.weights.sizes;
    // A key depends on its own token alone, so the class token can go first.
    let starts = g.ints("vit_model/patches/starts", &[1]);
    let ends = g.ints("vit_model/patches/ends", &[1 + recipe.grid.patches() as i64]);
    let axes = g.ints("vit_model/patches/axes", &[1]);
    let patches = g.node("vit_model/patches", "Slice", &[tokens, &starts, &ends, &axes], &[]);
    let normed = norm(g, recipe, block, "norm1", &patches)?;
    let key = key_of(block);
    let [_, mut keys, _] = Linear::of(recipe.weights, &format!("{key}.attn.qkv"))?.thirds(sizes.dim);
    keys.head_fastest(sizes.heads);
    Ok(keys.add(g, &format!("{}/attn/key", path_of(&key)), &normed))
}
