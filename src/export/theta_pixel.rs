//! The whole inference function of LoopTrans as one graph: image -> backbone -> adapter -> Theta_pixel -> classifier.

use super::{
    ExportError,
    graph::{Graph, Port},
    heads,
    vit::{self, ImageInput},
    weights::Weights,
};
use crate::{
    contract::{OUTPUT_HEATMAP, OUTPUT_PRESENCE, PresenceSource},
    onnx::{FLOAT, proto::ModelProto},
};

/// The graph of a bundle: `image` u8 [B, H, W, 3] -> `heatmap` f32 [B, A, h, w] and `presence` f32 [B, A], where
/// output `i` is the classifier's channel `classes[i]`.
///
/// # Errors
/// A tensor is missing: the weights were read for another source of presence.
pub fn model(weights: &Weights, presence: PresenceSource, classes: &[usize]) -> Result<ModelProto, ExportError> {
    let mut graph = Graph::new("theta_pixel", "LoopTrans, inference: affordance class maps of an egocentric image");
    let g = &mut graph;
    let descriptor = vit::descriptor(g, weights, ImageInput::Bytes)?;
    let features = heads::adapt(g, weights, &descriptor)?;
    let pixel = heads::branch(g, weights, "pixel_dec", &features)?;
    let maps = heads::class_maps(g, weights, &pixel, classes)?;
    let pooled_from = match presence {
        PresenceSource::Pixel => pixel,
        PresenceSource::Scam => heads::branch(g, weights, "scam", &features)?,
    };
    let presence = heads::presence(g, weights, &pooled_from, classes)?;

    let grid = weights.sizes.grid;
    let sides = [classes.len(), grid, grid];
    let doc = "class maps, one cell per patch, not normalised";
    g.output(&maps, Port { name: OUTPUT_HEATMAP, data_type: FLOAT, sides: &sides, doc });
    let doc = "in [0, 1]; 0.5: no more than chance";
    g.output(&presence, Port { name: OUTPUT_PRESENCE, data_type: FLOAT, sides: &sides[..1], doc });
    Ok(graph.into_model())
}
