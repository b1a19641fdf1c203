//! Ways to compute the same function with less work. Each can be left out by itself, so that its effect can be measured;
//! without any, a graph is built as the eager network computes.

use std::fmt;

/// One rewrite. All are exact in real numbers: in f32 the results differ by rounding alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Rewrite {
    /// Of the last block, only the first norm and the keys of the patches, their channels already in the descriptor's
    /// order. Otherwise all of it: query, value, attention, MLP, and all of that kept alive by a term of value zero.
    Trim = 1,
    /// Batch normalisation in the kernels and biases of the convolutions before it.
    FoldBatchNorm = 1 << 1,
    /// (x / 255 - mean) / std in the kernel and bias of the patch embedding.
    FoldNormalisation = 1 << 2,
    /// The attention's 1 / sqrt(d) in the query's weights.
    FoldScale = 1 << 3,
    /// Query, key and value as three products, whose results need not be taken apart.
    SplitProjection = 1 << 4,
    /// LayerNormalization and Gelu as one operator each.
    FusedOperators = 1 << 5,
    /// No class maps of noise heads.
    CutNoise = 1 << 6,
    /// No class maps of actions that were not asked for.
    CutActions = 1 << 7,
    /// Attention as one operator of ONNX Runtime's own (com.microsoft.MultiHeadAttention), behind three products. Not in
    /// the last block: trimmed it has no attention, and whole it is there to show what trimming saves.
    FusedAttention = 1 << 8,
}

impl Rewrite {
    /// Every rewrite, in the order of reports.
    pub const ALL: [Self; 9] = [
        Self::Trim,
        Self::FoldBatchNorm,
        Self::FoldNormalisation,
        Self::FoldScale,
        Self::SplitProjection,
        Self::FusedOperators,
        Self::CutNoise,
        Self::CutActions,
        Self::FusedAttention,
    ];

    /// Its name on the command line and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trim => "trim",
            Self::FoldBatchNorm => "fold-batch-norm",
            Self::FoldNormalisation => "fold-normalisation",
            Self::FoldScale => "fold-scale",
            Self::SplitProjection => "split-projection",
            Self::FusedOperators => "fused-operators",
            Self::CutNoise => "cut-noise",
            Self::CutActions => "cut-actions",
            Self::FusedAttention => "fused-attention",
        }
    }

    /// The rewrite of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rewrite| rewrite.name() == name)
    }
}

impl fmt::Display for Rewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of rewrites.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rewrites(u16);

impl Rewrites {
    /// None: the plain graph, the reference that rewritten ones are measured against.
    pub const fn none() -> Self {
        Self(0)
    }

    /// All that stay within the standard operators: what is exported unless asked otherwise.
    pub fn standard() -> Self {
        Rewrite::ALL.into_iter().fold(Self::none(), Self::with).without(Rewrite::FusedAttention)
    }

    /// Is `rewrite` one of them?
    pub const fn has(self, rewrite: Rewrite) -> bool {
        self.0 & rewrite as u16 != 0
    }

    /// These and `rewrite`.
    #[must_use]
    pub const fn with(self, rewrite: Rewrite) -> Self {
        Self(self.0 | rewrite as u16)
    }

    /// These but `rewrite`.
    #[must_use]
    pub const fn without(self, rewrite: Rewrite) -> Self {
        Self(self.0 & !(rewrite as u16))
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Rewrite> {
        Rewrite::ALL.into_iter().filter(move |rewrite| self.has(*rewrite))
    }
}

impl Default for Rewrites {
    /// [`Self::standard`].
    fn default() -> Self {
        Self::standard()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rewrite_is_switched_alone() {
        for rewrite in Rewrite::ALL {
            let only = Rewrites::none().with(rewrite);
            assert_eq!(only.iter().collect::<Vec<_>>(), [rewrite]);
            assert_eq!(only.without(rewrite), Rewrites::none());
            assert_eq!(Rewrite::named(rewrite.name()), Some(rewrite));
        }
        assert_eq!(Rewrites::standard().iter().count(), Rewrite::ALL.len() - 1);
        assert!(!Rewrites::standard().has(Rewrite::FusedAttention));
    }
}
