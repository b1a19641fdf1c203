//! What the machine can do: one large matrix product in ONNX Runtime, in the shape of a model so that the same code runs
//! it.

use std::path::Path;

use ndarray::ArrayD;
use prost::Message;

use crate::{
    contract::{
        Bundle, FORMAT, INPUT_IMAGE, ModelContract, OUTPUT_HEATMAP, OUTPUT_PRESENCE, Presence, PresenceSource,
        Provenance, Size, sha256_hex,
    },
    export::graph::{Attr, Graph, Port},
    onnx::{FLOAT, UINT8},
};

pub(super) const NAME: &str = "matrix product";

/// The picture's bytes are the left factor: 512 * 512 * 3 = 768 x 1024.
const SIDE: usize = 512;
/// Both sides of the right factors.
const INNER: usize = 1024;
/// Products one after the other, so that what is around them does not count.
const PRODUCTS: usize = 4;

pub(super) fn bundle() -> Bundle {
    let mut g = Graph::new("yardstick", "");
    let image = g.input(Port { name: INPUT_IMAGE, data_type: UINT8, sides: &[SIDE, SIDE, 3], doc: "" });
    let mut value = g.node("cast", "Cast", &[&image], &[("to", Attr::Int(i64::from(FLOAT)))]);
    let shape = g.ints("shape", &[-1, INNER as i64]);
    value = g.node("rows", "Reshape", &[&value, &shape], &[]);
    // Means: values stay in the range of bytes.
    let factor = ArrayD::from_elem(vec![INNER, INNER], (INNER as f32).recip());
    for index in 0..PRODUCTS {
        let factor = g.floats(&format!("factor.{index}"), &factor);
        value = g.node(&format!("product.{index}"), "MatMul", &[&value, &factor], &[]);
    }
    let batch_first = g.ints("batch_first", &[1, 1, 1, -1]);
    let value = g.node("flat", "Reshape", &[&value, &batch_first], &[]);
    let last = g.ints("last", &[3]);
    let maps = g.node("mean", "ReduceMean", &[&value, &last], &[]);
    let presence_shape = g.ints("presence_shape", &[1, 1]);
    let mean = g.node("presence_logit", "Reshape", &[&maps, &presence_shape], &[]);
    let presence = g.node("sigmoid", "Sigmoid", &[&mean], &[]);
    g.output(&maps, Port { name: OUTPUT_HEATMAP, data_type: FLOAT, sides: &[1, 1, 1], doc: "" });
    g.output(&presence, Port { name: OUTPUT_PRESENCE, data_type: FLOAT, sides: &[1], doc: "" });
    let onnx = g.into_model().encode_to_vec();
    let contract = ModelContract {
        format: FORMAT,
        name: NAME.to_owned(),
        sha256: sha256_hex(&onnx),
        input: Size { height: SIDE as u32, width: SIDE as u32 },
        heatmap: Size { height: 1, width: 1 },
        actions: vec![NAME.to_owned()],
        presence: Presence { source: PresenceSource::Pixel },
        heat_threshold: 0.5,
        provenance: Provenance {
            trained: false,
            source: NAME.to_owned(),
            weights_sha256: sha256_hex(b""),
            command: "looptrans bench".to_owned(),
            ..Provenance::default()
        },
    };
    Bundle { folder: Path::new(NAME).to_owned(), contract, onnx }
}
