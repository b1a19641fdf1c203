//! What a bundle says of how exact it is: its answers beside those of a reference, measured when it was exported.

use serde::{Deserialize, Serialize};

/// Answers beside a reference's, on the same pictures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parity {
    /// What the answers were compared with.
    pub reference: ReferenceKind,
    /// How many pictures.
    pub pictures: u32,
    /// Where they came from.
    pub pictures_from: PictureSource,
    /// The largest [`Drift::of_range`] of the graph in f32 that an export passes with, whatever its precision.
    pub tolerance: f64,
    /// The class maps.
    pub heatmap: Drift,
    /// Presence; its range is [0, 1].
    pub presence: Drift,
    /// The final heatmaps; absent where every reference map was flat.
    pub heat: Option<HeatAgreement>,
}

/// An independent way to compute the same function from the same weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReferenceKind {
    /// The network on libtorch.
    Libtorch,
    /// The graph without any rewrite, in f32, in ONNX Runtime: it can't show what both graphs have in common.
    PlainGraph,
}

/// Where pictures came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PictureSource {
    /// Drawn by a rule that is part of the program: the same everywhere.
    Drawn,
    /// A folder of the user's.
    Folder,
}

/// Differences between two outputs over all pictures.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drift {
    /// The largest absolute difference.
    pub max_abs: f64,
    /// The mean absolute difference.
    pub mean_abs: f64,
    /// The largest absolute difference of a picture as a part of that picture's range (largest minus smallest value of
    /// the reference's output): of the worst picture.
    pub of_range: f64,
}

/// How alike final heatmaps (resized to 224x224 and scaled to [0, 1] each) are, over pictures and actions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeatAgreement {
    /// Kullback-Leibler divergence from the reference in nats, mean. Equal maps give about -1e-8.
    pub mean_kld: f64,
    /// Of the worst heatmap.
    pub max_kld: f64,
    /// Similarity (histogram intersection) in [0, 1], mean.
    pub mean_sim: f64,
    /// Of the worst heatmap.
    pub min_sim: f64,
}

impl ReferenceKind {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Libtorch => "libtorch",
            Self::PlainGraph => "the graph without rewrites in ONNX Runtime",
        }
    }
}

impl Parity {
    /// Do class maps and presence stay within the tolerance? NaN does not, and in fp16 or int8 that is not expected: those are
    /// judged by their heatmaps.
    pub fn holds(&self) -> bool {
        self.heatmap.of_range <= self.tolerance && self.presence.of_range <= self.tolerance
    }
}
