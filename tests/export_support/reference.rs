//! LoopTrans at inference in f64, written from the papers alone: nothing here knows how the exporter does it. Slow and
//! plain on purpose.

use std::collections::HashMap;

use ndarray::{Array1, Array2, Array3, ArrayD, Axis, Ix1, Ix2, Ix4, s};

use super::Tensors;

/// A model's numbers and what the shapes do not say.
pub struct Reference {
    tensors: HashMap<String, ArrayD<f64>>,
    pub heads: usize,
    pub depth: usize,
}

/// Statistics of one batch normalisation while training: mean and unbiased variance per channel.
pub type Moments = (Array1<f64>, Array1<f64>);

impl Reference {
    pub fn new(tensors: &Tensors, heads: usize, depth: usize) -> Self {
        let tensors = tensors.iter().map(|(entry, values)| {
            let values = values.iter().copied().map(f64::from).collect();
            (entry.key.clone(), ArrayD::from_shape_vec(entry.shape.clone(), values).unwrap())
        });
        Self { tensors: tensors.collect(), heads, depth }
    }

    fn tensor(&self, key: &str) -> &ArrayD<f64> {
        self.tensors.get(key).unwrap_or_else(|| panic!("no tensor {key}"))
    }

    fn vector(&self, key: &str) -> Array1<f64> {
        self.tensor(key).clone().into_dimensionality::<Ix1>().unwrap()
    }

    /// RGB bytes [H][W][3] -> last block's keys of the patches [P][D], channel = d * heads + head.
    pub fn descriptor(&self, image: &Array3<u8>) -> Array2<f64> {
        let mean = [0.485, 0.456, 0.406];
        let std = [0.229, 0.224, 0.225];
        let kernel = self.tensor("vit_model.patch_embed.proj.weight").clone().into_dimensionality::<Ix4>().unwrap();
        let bias = self.vector("vit_model.patch_embed.proj.bias");
        let (dim, _, patch, _) = kernel.dim();
        let (rows, columns) = (image.dim().0 / patch, image.dim().1 / patch);
        let positions = self.tensor("vit_model.pos_embed").index_axis(Axis(0), 0).to_owned();
        let mut tokens = positions.into_dimensionality::<Ix2>().unwrap();
        let class = self.tensor("vit_model.cls_token");
        for d in 0..dim {
            tokens[[0, d]] += class[[0, 0, d]];
            for row in 0..rows {
                for column in 0..columns {
                    let mut sum = bias[d];
                    for channel in 0..3 {
                        for y in 0..patch {
                            for x in 0..patch {
                                let byte = image[[row * patch + y, column * patch + x, channel]];
                                let value = (f64::from(byte) / 255.0 - mean[channel]) / std[channel];
                                sum += value * kernel[[d, channel, y, x]];
                            }
                        }
                    }
                    tokens[[1 + row * columns + column, d]] += sum;
                }
            }
        }
        for block in 0..self.depth {
            let path = format!("vit_model.blocks.{block}");
            let normed = self.layer_norm(&format!("{path}.norm1"), &tokens, 1e-6);
            let qkv = self.linear(&format!("{path}.attn.qkv"), &normed);
            if block + 1 == self.depth {
                return self.patch_keys(&qkv);
            }
            let mixed = self.attend(&qkv);
            tokens = tokens + self.linear(&format!("{path}.attn.proj"), &mixed);
            let normed = self.layer_norm(&format!("{path}.norm2"), &tokens, 1e-6);
            tokens = tokens + self.mlp(&format!("{path}.mlp"), &normed);
        }
        panic!("a transformer without blocks")
    }

    /// [N][3 * D] as [N][3][head][d] -> [N - 1][D] with channel d * heads + head, the class token dropped.
    fn patch_keys(&self, qkv: &Array2<f64>) -> Array2<f64> {
        let dim = qkv.ncols() / 3;
        let per_head = dim / self.heads;
        Array2::from_shape_fn((qkv.nrows() - 1, dim), |(patch, channel)| {
            let (d, head) = (channel / self.heads, channel % self.heads);
            qkv[[patch + 1, dim + head * per_head + d]]
        })
    }

    /// softmax(q k^T / sqrt(d)) v of each head.
    fn attend(&self, qkv: &Array2<f64>) -> Array2<f64> {
        let (count, dim) = (qkv.nrows(), qkv.ncols() / 3);
        let per_head = dim / self.heads;
        let mut mixed = Array2::zeros((count, dim));
        for head in 0..self.heads {
            let part = |third: usize| {
                let start = third * dim + head * per_head;
                qkv.slice(s![.., start..start + per_head])
            };
            let mut shares = part(0).dot(&part(1).t()) / (per_head as f64).sqrt();
            for mut row in shares.rows_mut() {
                let peak = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                row.mapv_inplace(|score| (score - peak).exp());
                let total = row.sum();
                row /= total;
            }
            mixed.slice_mut(s![.., head * per_head..(head + 1) * per_head]).assign(&shares.dot(&part(2)));
        }
        mixed
    }

    fn layer_norm(&self, key: &str, x: &Array2<f64>, eps: f64) -> Array2<f64> {
        let (weight, bias) = (self.vector(&format!("{key}.weight")), self.vector(&format!("{key}.bias")));
        let mut out = x.clone();
        for mut row in out.rows_mut() {
            let count = row.len() as f64;
            let mean = row.sum() / count;
            let variance = row.mapv(|value| (value - mean).powi(2)).sum() / count;
            row.mapv_inplace(|value| (value - mean) / (variance + eps).sqrt());
            row *= &weight;
            row += &bias;
        }
        out
    }

    fn linear(&self, key: &str, x: &Array2<f64>) -> Array2<f64> {
        let weight = self.tensor(&format!("{key}.weight")).clone().into_dimensionality::<Ix2>().unwrap();
        x.dot(&weight.t()) + self.vector(&format!("{key}.bias"))
    }

    fn mlp(&self, key: &str, x: &Array2<f64>) -> Array2<f64> {
        let hidden = self.linear(&format!("{key}.fc1"), x).mapv(gelu);
        self.linear(&format!("{key}.fc2"), &hidden)
    }

    /// desc + aff_proj(desc) as [D][h][w].
    pub fn adapt(&self, descriptor: &Array2<f64>) -> Array3<f64> {
        let normed = self.layer_norm("aff_proj.norm", descriptor, 1e-5);
        let adapted = descriptor + &self.mlp("aff_proj", &normed);
        let side = adapted.nrows().isqrt();
        Array3::from_shape_fn((adapted.ncols(), side, side), |(d, y, x)| adapted[[y * side + x, d]])
    }

    /// A branch with its running statistics.
    pub fn branch(&self, key: &str, features: &Array3<f64>) -> Array3<f64> {
        let mut out = features.clone();
        for (conv, norm) in [("0", "1"), ("3", "4")] {
            let convolved = self.conv3x3(&format!("{key}.{conv}"), &out);
            let mean = self.vector(&format!("{key}.{norm}.running_mean"));
            let variance = self.vector(&format!("{key}.{norm}.running_var"));
            out = self.norm_relu(&format!("{key}.{norm}"), &convolved, &mean, &variance);
        }
        out
    }

    /// A branch as it runs in training: each normalisation uses its batch's own statistics, which are given back.
    pub fn branch_moments(&self, key: &str, batch: &[Array3<f64>]) -> [Moments; 2] {
        let mut out = batch.to_vec();
        [("0", "1"), ("3", "4")].map(|(conv, norm)| {
            let convolved: Vec<_> = out.iter().map(|x| self.conv3x3(&format!("{key}.{conv}"), x)).collect();
            let channels = convolved[0].dim().0;
            let values = |channel: usize| convolved.iter().flat_map(move |x| x.index_axis(Axis(0), channel).to_owned());
            let count = values(0).count() as f64;
            let mean = Array1::from_shape_fn(channels, |c| values(c).sum::<f64>() / count);
            let biased =
                Array1::from_shape_fn(channels, |c| values(c).map(|v| (v - mean[c]).powi(2)).sum::<f64>() / count);
            let norm = format!("{key}.{norm}");
            out = convolved.iter().map(|x| self.norm_relu(&norm, x, &mean, &biased)).collect();
            (mean, biased * (count / (count - 1.0)))
        })
    }

    fn norm_relu(&self, key: &str, x: &Array3<f64>, mean: &Array1<f64>, variance: &Array1<f64>) -> Array3<f64> {
        let (weight, bias) = (self.vector(&format!("{key}.weight")), self.vector(&format!("{key}.bias")));
        let mut out = x.clone();
        for (c, mut channel) in out.outer_iter_mut().enumerate() {
            channel
                .mapv_inplace(|value| ((value - mean[c]) / (variance[c] + 1e-5).sqrt() * weight[c] + bias[c]).max(0.0));
        }
        out
    }

    /// Zero padding 1, stride 1: one matrix product per tap of the kernel.
    fn conv3x3(&self, key: &str, x: &Array3<f64>) -> Array3<f64> {
        let kernel = self.tensor(&format!("{key}.weight")).clone().into_dimensionality::<Ix4>().unwrap();
        let bias = self.vector(&format!("{key}.bias"));
        let (channels, height, width) = x.dim();
        let mut padded = Array3::zeros((channels, height + 2, width + 2));
        padded.slice_mut(s![.., 1..=height, 1..=width]).assign(x);
        let mut out = Array2::zeros((bias.len(), height * width));
        for dy in 0..3 {
            for dx in 0..3 {
                let seen = padded.slice(s![.., dy..dy + height, dx..dx + width]).to_owned();
                let seen = seen.into_shape_with_order((channels, height * width)).unwrap();
                out += &kernel.slice(s![.., .., dy, dx]).dot(&seen);
            }
        }
        out += &bias.insert_axis(Axis(1));
        out.into_shape_with_order((kernel.dim().0, height, width)).unwrap()
    }

    /// All class maps [C + M][h][w] of a branch's features.
    pub fn class_maps(&self, features: &Array3<f64>) -> Array3<f64> {
        let weight = self.tensor("aff_fc.weight").clone().into_dimensionality::<Ix4>().unwrap();
        let weight: Array2<f64> = weight.slice(s![.., .., 0, 0]).to_owned();
        let (channels, height, width) = features.dim();
        let flat: Array2<f64> = features.clone().into_shape_with_order((channels, height * width)).unwrap();
        let maps = weight.dot(&flat) + self.vector("aff_fc.bias").insert_axis(Axis(1));
        maps.into_shape_with_order((weight.nrows(), height, width)).unwrap()
    }

    /// sigmoid(z_c - log mean exp z) for every channel, z the spatial mean of the maps.
    pub fn presence(&self, maps: &Array3<f64>) -> Array1<f64> {
        let z = maps.mean_axis(Axis(2)).unwrap().mean_axis(Axis(1)).unwrap();
        let mean = z.mapv(f64::exp).mean().unwrap();
        z.mapv(|z| 1.0 / (1.0 + (mean.ln() - z).exp()))
    }
}

/// x * Phi(x).
fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2))
}

/// erf(x) = 2 / sqrt(pi) * exp(-x^2) * sum of 2^n x^(2n+1) / (2n+1)!!, all terms of one sign.
fn erf(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= 2.0 * x * x / f64::from(2 * n + 1);
        sum += term;
    }
    2.0 / std::f64::consts::PI.sqrt() * (-x * x).exp() * sum
}
