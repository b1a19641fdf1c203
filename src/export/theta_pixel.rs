//! The whole inference function of LoopTrans as one graph: image -> backbone -> adapter -> Theta_pixel -> classifier.

use super::{
    ExportError,
    graph::{Graph, Port},
    heads,
    recipe::{GraphOptions, Recipe},
    vit::{self, ImageInput},
    weights::Weights,
};
use crate::{
    contract::{OUTPUT_HEATMAP, OUTPUT_PRESENCE, PresenceSource},
    onnx::{FLOAT, proto::ModelProto},
};

/// The graph of a bundle: `image` u8 [B, H, W, 3] -> `heatmap` f32 [B, A, h, w] and `presence` f32 [B, A], where
/// output `i` is the classifier's channel `options.classes[i]`.
///
/// # Errors
/// The size does not fit the patches, or a tensor is missing: the weights were read for another source of presence, or
/// hold no more of the last block than a trimmed graph takes.
pub fn model(weights: &Weights, options: &GraphOptions) -> Result<ModelProto, ExportError> {
    let recipe = &Recipe::new(weights, options.input, options.rewrites)?;
    let doc = "LoopTrans, inference: affordance class maps of an egocentric image";
    let mut graph = Graph::with_batch("theta_pixel", doc, options.batch);
    let g = &mut graph;
    let network = weights.network;
    let descriptor = vit::descriptor(g, recipe, ImageInput::Bytes)?;
    let features = heads::adapt(g, recipe, &descriptor.patches)?;
    let pixel = heads::branch(g, recipe, network.pixel_branch(), &features)?;
    let mut maps = heads::class_maps(g, recipe, &pixel, &options.classes)?;
    if let Some(unused) = &descriptor.after_last_block {
        maps = heads::keep_alive(g, &maps, unused);
    }
    let pooled_from = match options.presence {
        PresenceSource::Pixel => pixel,
        PresenceSource::Scam => heads::branch(g, recipe, network.scam_branch(), &features)?,
    };
    let presence = heads::presence(g, weights, &pooled_from, options)?;

    let sides = [options.classes.len(), recipe.grid.rows, recipe.grid.columns];
    let doc = "class maps, one cell per patch, not normalised";
    g.output(&maps, Port { name: OUTPUT_HEATMAP, data_type: FLOAT, sides: &sides, doc });
    let doc = "in [0, 1]; 0.5: no more than chance";
    g.output(&presence, Port { name: OUTPUT_PRESENCE, data_type: FLOAT, sides: &sides[..1], doc });
    Ok(graph.into_model())
}
