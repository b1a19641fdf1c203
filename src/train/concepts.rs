//! Concepts: which patches of a picture belong to one part of the object.
//!
//! Two ways to them, both on the frozen backbone's descriptors: the trained concept generator (ACSeg, CVPR 2023, arXiv
//! 2210.05944, as LoopTrans uses it), and [`spherical_k_means`], which needs no training.

use std::borrow::Borrow;

use tch::{
    Kind, Tensor,
    nn::{self, Init, Module},
};

use super::{
    TrainError,
    norm::{linear, uniform},
    shape::{ANY, expect},
    tensor::unit,
};

/// Sizes of a concept generator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConceptSizes {
    /// Width D of the descriptors.
    pub dim: i64,
    /// Concepts K, at most as many parts a picture.
    pub parts: i64,
    /// Layers.
    pub layers: i64,
    /// Attention heads; a divisor of `dim`.
    pub heads: i64,
    /// Hidden units of a layer's feed-forward network.
    pub hidden: i64,
}

impl ConceptSizes {
    /// Of the published files, on ViT-S.
    pub const PUBLISHED: Self = Self { dim: 384, parts: 4, layers: 8, heads: 8, hidden: 1536 };
}

/// The concept generator. Parameters: `tokens`, `cross_attn_layers.N`, `self_attn_layers.N`, `norm_layers.N`,
/// `ffn_layers.N.net`.
#[derive(Debug)]
pub struct Concepts {
    tokens: Tensor,
    layers: Vec<Layer>,
    sizes: ConceptSizes,
}

impl Concepts {
    /// With PyTorch's initial values.
    ///
    /// Each layer attends from the initial tokens, as the published network does, not from the concepts as the layer before left
    /// them.
    ///
    /// # Errors
    /// Sizes below 1, or heads that do not divide the width.
    pub fn new(path: &nn::Path<'_>, sizes: ConceptSizes) -> Result<Self, TrainError> {
        let ConceptSizes { dim, parts, layers, heads, hidden } = sizes;
        if [dim, parts, layers, heads, hidden].iter().any(|side| *side < 1) || dim % heads != 0 {
            let expected = "sizes of at least 1, heads that divide the width".to_owned();
            return Err(TrainError::Values { what: "concept generator", expected, found: format!("{sizes:?}") });
        }
        let tokens = (path / "tokens").var("weight", &[parts, dim], Init::Randn { mean: 0.0, stdev: 1.0 });
        let layers = (0..layers).map(|index| Layer::new(path, index, &sizes)).collect();
        Ok(Self { tokens, layers, sizes })
    }

    /// How much each patch is of each concept: descriptors [B, N, D] -> cos + 1, [B, N, K] in [0, 2].
    ///
    /// # Errors
    /// Descriptors of another width.
    pub fn similarity(&self, descriptors: &Tensor) -> Result<Tensor, TrainError> {
        expect("descriptors", descriptors, &[ANY, ANY, self.sizes.dim], "[B, N, D]")?;
        // [K, D] -> [1, K, D]
        let tokens = self.tokens.unsqueeze(0);
        let mut concepts = tokens.shallow_clone();
        for layer in &self.layers {
            concepts = layer.forward(&concepts, &tokens, descriptors);
        }
        Ok(cosine(descriptors, &concepts) + 1.0)
    }
}

/// One layer: what is done to the concepts q with queries t and descriptors x.
#[derive(Debug)]
struct Layer {
    cross: Attention,
    own: Attention,
    norm: nn::LayerNorm,
    widen: nn::Linear,
    narrow: nn::Linear,
}

impl Layer {
    fn new(path: &nn::Path<'_>, index: i64, sizes: &ConceptSizes) -> Self {
        let ConceptSizes { dim, heads, hidden, .. } = *sizes;
        let net = path / "ffn_layers" / index / "net";
        Self {
            cross: Attention::new(&(path / "cross_attn_layers" / index), dim, heads),
            own: Attention::new(&(path / "self_attn_layers" / index), dim, heads),
            norm: nn::layer_norm(path / "norm_layers" / index, vec![dim], nn::LayerNormConfig::default()),
            widen: linear(&net / 0, dim, hidden),
            // 1 and 2 are the GELU and a dropout.
            narrow: linear(&net / 3, hidden, dim),
        }
    }

    /// u = q + cross(t, x); v = u + own(t, t); q' = norm(v + ffn(v)). [B or 1, K, D] -> [B, K, D]
    fn forward(&self, concepts: &Tensor, queries: &Tensor, descriptors: &Tensor) -> Tensor {
        let crossed = concepts + self.cross.forward(queries, descriptors);
        let mixed = crossed + self.own.forward(queries, queries);
        let hidden = self.widen.forward(&mixed).gelu("none");
        self.norm.forward(&(&mixed + self.narrow.forward(&hidden)))
    }
}

/// `torch.nn.MultiheadAttention`: keys and values from one sequence, all three projections in one matrix.
#[derive(Debug)]
struct Attention {
    in_weight: Tensor,
    in_bias: Tensor,
    out: nn::Linear,
    heads: i64,
}

impl Attention {
    fn new(path: &nn::Path<'_>, dim: i64, heads: i64) -> Self {
        // Xavier: fan-in D, fan-out 3 D.
        let bound = (6.0 / (4 * dim) as f64).sqrt();
        let config = nn::LinearConfig { ws_init: uniform(dim), bs_init: Some(Init::Const(0.0)), bias: true };
        Self {
            in_weight: path.var("in_proj_weight", &[3 * dim, dim], Init::Uniform { lo: -bound, up: bound }),
            in_bias: path.zeros("in_proj_bias", &[3 * dim]),
            out: nn::linear(path / "out_proj", dim, dim, config),
            heads,
        }
    }

    /// Queries [B or 1, K, D], memory [B, N, D] -> [B, K, D]
    fn forward(&self, queries: &Tensor, memory: &Tensor) -> Tensor {
        let dim = queries.size()[2];
        let row = |index: i64| (self.in_weight.narrow(0, index * dim, dim), self.in_bias.narrow(0, index * dim, dim));
        let project = |x: &Tensor, index| {
            let (weight, bias) = row(index);
            // [B, L, D] -> [B, heads, L, D / heads]
            x.linear(&weight, Some(&bias)).unflatten(2, [self.heads, dim / self.heads].as_slice()).transpose(1, 2)
        };
        let (query, key, value) = (project(queries, 0), project(memory, 1), project(memory, 2));
        let scores = query.matmul(&key.transpose(-2, -1)) * ((dim / self.heads) as f64).powf(-0.5);
        let mixed = scores.softmax(-1, None::<Kind>).matmul(&value).transpose(1, 2).flatten(2, 3);
        self.out.forward(&mixed)
    }
}

/// Cosines of descriptors [B, N, D] with concepts [B, K, D]: [B, N, K].
fn cosine(descriptors: &Tensor, concepts: impl Borrow<Tensor>) -> Tensor {
    unit(descriptors, -1).matmul(&unit(concepts.borrow(), -1).transpose(-2, -1))
}

/// The part of each patch, exclusively: similarities [B, N, K] -> 0 and 1, [B, N, K].
pub fn hard_parts(similarity: &Tensor) -> Tensor {
    let kind = similarity.kind();
    similarity.argmax(-1, false).one_hot(similarity.size()[2]).to_kind(kind)
}

/// How the modularity loss reads a similarity as a soft assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Assignment {
    /// cos + 1, as [`Concepts::similarity`] gives it.
    #[default]
    CosinePlusOne,
    /// max(0, cos), as the paper has it.
    Clamped,
}

/// ACSeg's modularity loss of similarities [B, N, K] (cos + 1) on descriptors [B, N, D], a scalar.
///
/// Per picture, with the affinity A = max(0, cos) between patches, k its row sums and 2m its sum:
/// -(1/2m) sum_ij (A_ij - k_i k_j / 2m) max_k S_ik S_jk. The descriptors get no gradient.
///
/// # Errors
/// Shapes that do not belong together.
pub fn modularity(descriptors: &Tensor, similarity: &Tensor, assignment: Assignment) -> Result<Tensor, TrainError> {
    expect("descriptors", descriptors, &[ANY, ANY, ANY], "[B, N, D]")?;
    expect("similarity", similarity, &[descriptors.size()[0], descriptors.size()[1], ANY], "[B, N, K]")?;
    let soft = match assignment {
        Assignment::CosinePlusOne => similarity.shallow_clone(),
        Assignment::Clamped => (similarity - 1.0).relu(),
    };
    let (weight, total) = tch::no_grad(|| {
        let affinity = cosine(descriptors, descriptors).relu();
        let degree = affinity.sum_dim_intlist(-1, true, None::<Kind>);
        let total = degree.sum_dim_intlist(1, true, None::<Kind>);
        (affinity - degree.matmul(&degree.transpose(1, 2)) / &total, total)
    });
    // [B, N, K] -> [B, K, N, N] -> [B, N, N]
    let by_concept = soft.transpose(1, 2);
    let together = (by_concept.unsqueeze(-1) * by_concept.unsqueeze(-2)).amax(1, false);
    // [B, 1, 1] -> [B]
    let total = total.flatten(0, -1);
    Ok(-((weight * together).sum_dim_intlist([1_i64, 2].as_slice(), false, None::<Kind>) / total).mean(None::<Kind>))
}

/// Most Lloyd steps; pictures settle in about ten.
const MOST_STEPS: usize = 50;

/// Parts without training: k-means on the directions of descriptors [B, N, D], each picture for itself.
///
/// The first centre is the most salient patch (saliency [B, N]), each further one the patch farthest from all centres
/// so far: nothing is drawn at random. Gives cos + 1 to each centre, [B, N, K], as [`Concepts::similarity`].
///
/// # Errors
/// Shapes that do not belong together, or not 1 to N parts.
pub fn spherical_k_means(descriptors: &Tensor, saliency: &Tensor, parts: i64) -> Result<Tensor, TrainError> {
    expect("descriptors", descriptors, &[ANY, ANY, ANY], "[B, N, D]")?;
    let patches = descriptors.size()[1];
    expect("saliency", saliency, &[descriptors.size()[0], patches], "[B, N]")?;
    if !(1..=patches).contains(&parts) {
        let expected = format!("1 to {patches}, the patches of a picture");
        return Err(TrainError::Values { what: "parts", expected, found: parts.to_string() });
    }
    Ok(tch::no_grad(|| {
        let directions = unit(descriptors, -1);
        let mut centres = farthest_points(&directions, saliency, parts);
        let mut before: Option<Tensor> = None;
        for _ in 0..MOST_STEPS {
            let similarity = cosine(&directions, &centres);
            let labels = similarity.argmax(-1, false);
            if before.is_some_and(|before| before == labels) {
                break;
            }
            // [B, K, N] x [B, N, D]
            let members = hard_parts(&similarity).transpose(1, 2);
            let sums = members.matmul(&directions);
            let empty = members.sum_dim_intlist(-1, true, None::<Kind>).eq(0.0);
            centres = centres.where_self(&empty, &unit(&sums, -1));
            before = Some(labels);
        }
        cosine(&directions, &centres) + 1.0
    }))
}

/// Directions [B, N, D] -> K of them, [B, K, D].
fn farthest_points(directions: &Tensor, saliency: &Tensor, parts: i64) -> Tensor {
    let pick = |index: &Tensor| {
        // [B] -> [B, 1, D]
        let index = index.reshape([-1, 1, 1]).expand([-1, -1, directions.size()[2]], false);
        directions.gather(1, &index, false)
    };
    let mut centres = vec![pick(&saliency.argmax(-1, false))];
    while (centres.len() as i64) < parts {
        let nearest = cosine(directions, Tensor::cat(&centres, 1)).amax(-1, false);
        centres.push(pick(&nearest.argmin(-1, false)));
    }
    Tensor::cat(&centres, 1)
}
