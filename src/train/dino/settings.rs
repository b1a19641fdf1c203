//! The settings of a pretraining run.

use serde::{Deserialize, Serialize};

use crate::{
    export::layout::Sizes,
    train::{TrainError, settings::MAX_THREADS},
};

/// The shape of a backbone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// Embedding dimension.
    pub dim: usize,
    /// Blocks.
    pub depth: usize,
    /// Attention heads; a divisor of `dim`.
    pub heads: usize,
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Side of the input in pixels; a multiple of `patch`.
    pub side: usize,
    /// Hidden units of a block's MLP.
    pub hidden: usize,
}

impl Architecture {
    /// The shape within a model's sizes.
    pub fn of(sizes: &Sizes) -> Self {
        let Sizes { dim, depth, heads, patch, block_hidden, .. } = *sizes;
        Self { dim, depth, heads, patch, side: sizes.input().height as usize, hidden: block_hidden }
    }

    /// As the sizes of a model without classes.
    pub fn sizes(&self) -> Sizes {
        let Self { dim, depth, heads, patch, side, hidden } = *self;
        let grid = side / patch.max(1);
        Sizes { dim, depth, heads, patch, grid, block_hidden: hidden, adapter_hidden: 4 * dim, channels: 0 }
    }
}

/// Sizes of DINO's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadSizes {
    /// Hidden units. Published: 2048.
    pub hidden: i64,
    /// Channels that are compared with the prototypes. Published: 256.
    pub bottleneck: i64,
    /// Prototypes K. Published: 65536.
    pub prototypes: i64,
}

/// What a run is made of. The default suits thousands of pictures of 112 pixels on a CPU; published runs are named
/// beside what differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Of the backbone. Published: DINO's ViT-S/16 at 224.
    pub architecture: Architecture,
    /// Of the head.
    pub head: HeadSizes,
    /// Of every random draw.
    pub seed: u64,
    /// Epochs in all. Published: 100 to 800.
    pub epochs: u64,
    /// Pictures of a step. Published: 1024.
    pub batch: usize,
    /// Small views of each picture. Published: 8.
    pub local_crops: usize,
    /// Side of one in pixels; a multiple of the patch. Published: 96, of 224.
    pub local_side: usize,
    /// Highest learning rate. Published: 5e-4 times batch / 256.
    pub lr: f64,
    /// Epochs in which it rises. Published: 10.
    pub warmup_epochs: u64,
    /// Epochs in which the prototypes stay as they are.
    pub frozen_epochs: u64,
    /// How much of the teacher stays at the first step.
    pub momentum: f64,
    /// Of the teacher's softmax.
    pub teacher_temperature: f64,
    /// Longest gradient of a parameter. Published: 3.
    pub clip: f64,
    /// libtorch's threads; 0: its own choice.
    pub threads: u32,
    /// A checkpoint after so many steps, and after every epoch.
    pub save_every: u64,
    /// Pictures that the neighbours' score is of, at most; 0: no score.
    pub scored: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            architecture: Architecture { dim: 192, depth: 6, heads: 6, patch: 8, side: 112, hidden: 768 },
            head: HeadSizes { hidden: 256, bottleneck: 64, prototypes: 1024 },
            seed: 42,
            epochs: 50,
            batch: 64,
            local_crops: 4,
            local_side: 48,
            lr: 5e-4,
            warmup_epochs: 5,
            frozen_epochs: 1,
            momentum: 0.996,
            teacher_temperature: 0.04,
            clip: 1.0,
            threads: 0,
            save_every: 100,
            scored: 1000,
        }
    }
}

impl Settings {
    /// # Errors
    /// A number that makes no sense, or sizes that do not fit together: before anything is allocated by them.
    pub(super) fn check(&self) -> Result<(), TrainError> {
        let refuse = |what, expected: String, found: String| Err(TrainError::Values { what, expected, found });
        let Architecture { dim, depth, heads, patch, side, hidden } = self.architecture;
        let HeadSizes { hidden: head_hidden, bottleneck, prototypes } = self.head;
        let local = if self.local_crops == 0 { patch } else { self.local_side };
        let size = |value: i64| usize::try_from(value).unwrap_or(0);
        for (what, value, least, most) in [
            ("dim", dim, 1, 4096),
            ("depth", depth, 1, 64),
            ("heads", heads, 1, dim),
            ("patch", patch, 1, 64),
            ("side", side, patch, 1024),
            ("hidden units", hidden, 1, 16_384),
            ("hidden units of the head", size(head_hidden), 1, 16_384),
            ("bottleneck", size(bottleneck), 1, 4096),
            ("prototypes", size(prototypes), 2, 262_144),
            ("local side", local, patch, 1024),
            ("local crops", self.local_crops, 0, 64),
            ("batch", self.batch, 1, 65_536),
            ("epochs", self.epochs as usize, 1, u32::MAX as usize),
            ("save_every", self.save_every as usize, 1, usize::MAX),
            ("threads", self.threads as usize, 0, MAX_THREADS),
        ] {
            if !(least..=most).contains(&value) {
                return refuse(what, format!("{least} to {most}"), value.to_string());
            }
        }
        for (what, value, of) in [("dim", dim, heads), ("side", side, patch), ("local side", local, patch)] {
            if value % of != 0 {
                return refuse(what, format!("a multiple of {of}"), value.to_string());
            }
        }
        for (what, value) in [("lr", self.lr), ("clip", self.clip), ("teacher temperature", self.teacher_temperature)] {
            if !(value.is_finite() && value > 0.0) {
                return refuse(what, "above 0".to_owned(), value.to_string());
            }
        }
        if !(0.0..=1.0).contains(&self.momentum) {
            return refuse("momentum", "0 to 1".to_owned(), self.momentum.to_string());
        }
        Ok(())
    }
}
