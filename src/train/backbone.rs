//! DINO's vision transformer (Caron et al. 2021, arXiv 2104.14294), as far as its last block's keys and attention.
//!
//! The keys are the descriptors of the method. What follows them, the final norm last, serves DINO's own training alone.

use tch::{
    IndexOp, Kind, Tensor,
    nn::{self, Init, Module},
};

use super::{
    TrainError,
    norm::linear,
    tensor::{min_max, unit},
    trace::Tracer,
};
use crate::export::layout::Sizes;

/// Of every published DINO model.
const NORM_EPSILON: f64 = 1e-6;
/// Heads of CLS attention whose mean is the saliency. The method's own choice, made on ViT-S.
const SALIENT_HEADS: [i64; 3] = [0, 1, 3];

/// Patches along the height and the width of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// Rows of patches.
    pub rows: i64,
    /// Columns of patches.
    pub columns: i64,
}

impl Grid {
    /// [B, N, D] -> [B, D, h, w]
    pub fn map_of(self, tokens: &Tensor) -> Tensor {
        let (b, d) = (tokens.size()[0], tokens.size()[2]);
        tokens.transpose(1, 2).reshape([b, d, self.rows, self.columns])
    }
}

/// Keeps the quotients of saliency defined.
const RANGE_EPSILON: f64 = 1e-15;

/// What the last block gives.
#[derive(Debug)]
pub struct LastBlock {
    /// The patches' places.
    pub grid: Grid,
    /// Keys [B, heads, 1+N, channels], CLS first.
    pub key: Tensor,
    /// Attention after the softmax [B, heads, 1+N, 1+N]: row attends to column.
    pub attention: Tensor,
}

impl LastBlock {
    /// Dense descriptors [B, N, D] without CLS. Channel = channel of the head * heads + head: heads run fastest, the
    /// order that published heads were trained on.
    pub fn descriptors(&self) -> Tensor {
        // [B, H, 1+N, d] -> [B, N, d, H] -> [B, N, d*H]
        self.key.narrow(2, 1, self.key.size()[2] - 1).permute([0, 2, 3, 1]).flatten(2, 3)
    }

    /// What CLS attends to: [B, heads, N].
    pub fn cls_attention(&self) -> Tensor {
        self.attention.i((.., .., 0, 1..))
    }

    /// What training needs of it.
    pub fn features(&self) -> Features {
        Features { grid: self.grid, descriptors: self.descriptors(), cls_attention: self.cls_attention() }
    }
}

/// Whose keys make a patch's descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keys {
    /// The last block's: D channels. LoopTrans and LOCATE.
    #[default]
    Last,
    /// Those of the last two blocks side by side, the last block's behind: 2D channels. WSMA.
    LastTwo,
}

impl Keys {
    /// Of how many blocks.
    pub fn blocks(self) -> usize {
        match self {
            Self::Last => 1,
            Self::LastTwo => 2,
        }
    }
}

/// All that training reads of the frozen backbone, for some images.
#[derive(Debug)]
pub struct Features {
    /// The patches' places.
    pub grid: Grid,
    /// Descriptors [B, N, D], or [B, N, 2D] of [`Keys::LastTwo`]; see [`LastBlock::descriptors`].
    pub descriptors: Tensor,
    /// What CLS attends to in the last block: [B, heads, N].
    pub cls_attention: Tensor,
}

impl Features {
    /// How much each patch stands out [B, N] in [0, 1]: mean CLS attention of three heads (of all heads in a backbone
    /// that has not these three), min-max normalised per image.
    pub fn saliency(&self) -> Tensor {
        salience(&self.cls_attention)
    }

    /// How unlike the picture's edge each patch is [B, N] in [0, 1]: one minus its mean cosine with the edge patches that
    /// are most like it, min-max normalised per image.
    pub fn border_contrast(&self) -> Tensor {
        const MOST_ALIKE: i64 = 5;
        let Grid { rows, columns } = self.grid;
        let edge: Vec<i64> = (0..rows * columns)
            .filter(|place| {
                let (row, column) = (place / columns, place % columns);
                row == 0 || row == rows - 1 || column == 0 || column == columns - 1
            })
            .collect();
        let directions = unit(&self.descriptors, -1);
        let index = Tensor::from_slice(&edge).to_device(directions.device());
        let cosines = directions.matmul(&directions.index_select(1, &index).transpose(1, 2));
        let (alike, _) = cosines.topk(MOST_ALIKE.min(edge.len() as i64), -1, true, false);
        min_max(&-alike.mean_dim(-1, false, None::<Kind>), RANGE_EPSILON)
    }

    /// LOCATE's salient patches [B, N], as 0 and 1: each head's attention above its own mean, the heads' votes as in
    /// [`Self::saliency`], and of these what is above the mean again.
    pub fn salient_patches(&self) -> Tensor {
        let votes = above_mean(&self.cls_attention).to_kind(self.cls_attention.kind());
        above_mean(&salience(&votes)).to_kind(self.cls_attention.kind())
    }
}

/// [B, heads, N] -> [B, N] in [0, 1]
fn salience(attention: &Tensor) -> Tensor {
    let has_them = SALIENT_HEADS.iter().all(|&head| head < attention.size()[1]);
    let heads = Tensor::from_slice(&SALIENT_HEADS).to_device(attention.device());
    let attention = if has_them { attention.index_select(1, &heads) } else { attention.shallow_clone() };
    let mean = attention.mean_dim(1, false, None::<Kind>);
    min_max(&mean, RANGE_EPSILON)
}

/// Which values exceed the mean over the last axis.
pub(super) fn above_mean(values: &Tensor) -> Tensor {
    values.gt_tensor(&values.mean_dim(-1, true, None::<Kind>))
}

/// The backbone. Parameters: `cls_token`, `pos_embed`, `patch_embed.proj`, `blocks.N`, `norm`.
#[derive(Debug)]
pub struct Backbone {
    cls_token: Tensor,
    pos_embed: Tensor,
    patch_embed: nn::Conv2D,
    blocks: Vec<Block>,
    /// Of [`Self::class_token`] alone: the descriptors are taken before it.
    norm: nn::LayerNorm,
    patch: i64,
}

impl Backbone {
    /// With random values: a checkpoint is meant to replace them.
    pub fn new(path: &nn::Path<'_>, sizes: &Sizes) -> Self {
        let (dim, patch) = (sizes.dim as i64, sizes.patch as i64);
        // DINO's own start, its truncation at two units aside.
        let init = Init::Randn { mean: 0.0, stdev: 0.02 };
        let config = nn::ConvConfig { stride: patch, ..Default::default() };
        Self {
            cls_token: path.var("cls_token", &[1, 1, dim], init),
            pos_embed: path.var("pos_embed", &[1, 1 + sizes.patches() as i64, dim], init),
            patch_embed: nn::conv2d(path / "patch_embed" / "proj", 3, dim, patch, config),
            blocks: (0..sizes.depth).map(|index| Block::new(&(path / "blocks" / index), sizes)).collect(),
            norm: nn::layer_norm(path / "norm", vec![dim], norm_config()),
            patch,
        }
    }

    /// Runs the network on normalised images [B, 3, H, W]; H and W are multiples of the patch.
    ///
    /// # Errors
    /// The images have another shape.
    pub fn forward(&self, image: &Tensor) -> Result<LastBlock, TrainError> {
        self.forward_traced(image, &mut Tracer::off())
    }

    pub(super) fn forward_traced(&self, image: &Tensor, tracer: &mut Tracer<'_>) -> Result<LastBlock, TrainError> {
        let (last, ..) = self.last_two(image, tracer)?;
        tracer.record("key", &last.key);
        tracer.record("attention", &last.attention);
        Ok(last)
    }

    /// What training needs of the images.
    ///
    /// # Errors
    /// The images have another shape than [`Self::forward`] takes, or there are fewer blocks than `keys` needs.
    pub fn features(&self, image: &Tensor, keys: Keys) -> Result<Features, TrainError> {
        let (last, before, _) = self.last_two(image, &mut Tracer::off())?;
        let features = last.features();
        if keys == Keys::Last {
            return Ok(features);
        }
        let before = before.ok_or_else(|| too_few_blocks("at least two blocks", 1))?;
        let descriptors = Tensor::cat(&[before.descriptors(), features.descriptors], -1);
        Ok(Features { descriptors, ..features })
    }

    /// The whole picture in one vector, [B, D]: CLS after the last block and the final norm, as DINO trains it.
    ///
    /// # Errors
    /// The images have another shape than [`Self::forward`] takes.
    pub fn class_token(&self, image: &Tensor) -> Result<Tensor, TrainError> {
        let (.., tokens) = self.last_two(image, &mut Tracer::off())?;
        Ok(self.norm.forward(&tokens.i((.., 0))))
    }

    /// The last block and, if there is one, the block before; and the tokens after the last.
    fn last_two(
        &self,
        image: &Tensor,
        tracer: &mut Tracer<'_>,
    ) -> Result<(LastBlock, Option<LastBlock>, Tensor), TrainError> {
        let grid = self.grid(image)?;
        // [B, 3, H, W] -> [B, D, h, w] -> [B, N, D]
        let patches = self.patch_embed.forward(image).flatten(2, 3).transpose(1, 2);
        tracer.record("patch_embed", &patches);
        let cls = self.cls_token.expand([patches.size()[0], -1, -1], false);
        let mut tokens = Tensor::cat(&[cls, patches], 1) + self.positions(grid);
        tracer.record("tokens", &tokens);

        let (mut last, mut before) = (None, None);
        for (index, block) in self.blocks.iter().enumerate() {
            let (x, Attended { key, attention }) = block.forward(&tokens);
            tokens = x;
            tracer.record(&format!("blocks.{index}"), &tokens);
            before = last.replace(LastBlock { grid, key, attention });
        }
        Ok((last.ok_or_else(|| too_few_blocks("at least one block", 0))?, before, tokens))
    }

    fn grid(&self, image: &Tensor) -> Result<Grid, TrainError> {
        let patch = self.patch;
        match image.size()[..] {
            [_, 3, height, width] if height > 0 && width > 0 && height % patch == 0 && width % patch == 0 => {
                Ok(Grid { rows: height / patch, columns: width / patch })
            }
            ref found => Err(TrainError::Input {
                what: "image",
                expected: format!("[B, 3, H, W] with H and W multiples of the patch, {patch}"),
                found: found.to_vec(),
            }),
        }
    }

    /// The position table [1, 1+N, D] for this grid: as it is at the trained size, else resized as DINO does.
    fn positions(&self, grid: Grid) -> Tensor {
        let trained = self.pos_embed.size()[1] - 1;
        let side = (trained as f64).sqrt();
        if grid.rows == grid.columns && grid.rows * grid.columns == trained {
            return self.pos_embed.shallow_clone();
        }
        // DINO adds 0.1 to the wanted sides, against rounding down, and lets that shift the sampling points: a
        // checkpoint's behaviour at other sizes depends on it.
        let scale = |patches: i64| Some((patches as f64 + 0.1) / side);
        let table = Grid { rows: side as i64, columns: side as i64 }.map_of(&self.pos_embed.i((.., 1.., ..)));
        let resized = table.upsample_bicubic2d([grid.rows, grid.columns], false, scale(grid.rows), scale(grid.columns));
        // [1, D, h, w] -> [1, N, D]
        let patches = resized.flatten(2, 3).transpose(1, 2);
        Tensor::cat(&[self.pos_embed.i((.., ..1, ..)), patches], 1)
    }
}

fn too_few_blocks(expected: &str, found: i64) -> TrainError {
    TrainError::Input { what: "backbone", expected: expected.to_owned(), found: vec![found] }
}

fn norm_config() -> nn::LayerNormConfig {
    nn::LayerNormConfig { eps: NORM_EPSILON, ..Default::default() }
}

struct Attended {
    key: Tensor,
    attention: Tensor,
}

/// One pre-norm transformer block.
#[derive(Debug)]
struct Block {
    norm1: nn::LayerNorm,
    qkv: nn::Linear,
    proj: nn::Linear,
    norm2: nn::LayerNorm,
    fc1: nn::Linear,
    fc2: nn::Linear,
    heads: i64,
}

impl Block {
    fn new(path: &nn::Path<'_>, sizes: &Sizes) -> Self {
        let (dim, hidden) = (sizes.dim as i64, sizes.block_hidden as i64);
        let (attn, mlp) = (path / "attn", path / "mlp");
        Self {
            norm1: nn::layer_norm(path / "norm1", vec![dim], norm_config()),
            qkv: linear(&attn / "qkv", dim, 3 * dim),
            proj: linear(&attn / "proj", dim, dim),
            norm2: nn::layer_norm(path / "norm2", vec![dim], norm_config()),
            fc1: linear(&mlp / "fc1", dim, hidden),
            fc2: linear(&mlp / "fc2", hidden, dim),
            heads: sizes.heads as i64,
        }
    }

    /// Tokens [B, 1+N, D] -> tokens, and what the attention was made of.
    fn forward(&self, tokens: &Tensor) -> (Tensor, Attended) {
        let (update, attended) = self.attend(&self.norm1.forward(tokens));
        let tokens = tokens + update;
        let hidden = self.fc1.forward(&self.norm2.forward(&tokens)).gelu("none");
        (tokens + self.fc2.forward(&hidden), attended)
    }

    fn attend(&self, x: &Tensor) -> (Tensor, Attended) {
        let (b, n, d) = (x.size()[0], x.size()[1], x.size()[2]);
        let channels = d / self.heads;
        // [B, 1+N, 3*D] -> [3, B, heads, 1+N, channels]
        let qkv = self.qkv.forward(x).reshape([b, n, 3, self.heads, channels]).permute([2, 0, 3, 1, 4]);
        let (query, key, value) = (qkv.i(0), qkv.i(1), qkv.i(2));
        let scores = query.matmul(&key.transpose(-2, -1)) * (channels as f64).powf(-0.5);
        let attention = scores.softmax(-1, None::<Kind>);
        // [B, heads, 1+N, channels] -> [B, 1+N, D]
        let mixed = attention.matmul(&value).transpose(1, 2).reshape([b, n, d]);
        (self.proj.forward(&mixed), Attended { key, attention })
    }
}
