//! A whole bundle in another precision: graph, checksum and provenance.

use prost::Message;

use super::{HeatDrift, Int8, Int8Settings, Judge, Pictures, PrecisionError, half::fp16, search::int8};
use crate::{
    contract::{Bundle, MODEL_FILE, Precision, Quantisation, sha256_hex},
    onnx::{self, proto::ModelProto},
};

/// What to do with a bundle.
#[derive(Debug)]
pub struct Change<'a> {
    /// What it shall compute in.
    pub precision: Precision,
    /// For calibration and for measuring the drift: int8 can't do without.
    pub pictures: &'a Pictures,
    /// For int8; fp16 takes the library and threads of it.
    pub settings: &'a Int8Settings,
}

/// A bundle in another precision.
#[derive(Debug)]
pub struct Changed {
    /// The bundle, in memory.
    pub bundle: Bundle,
    /// How far its heatmaps are from those in f32. None: no pictures to measure it on, or still in f32.
    pub drift: Option<HeatDrift>,
    /// How int8 came to be.
    pub int8: Option<Int8>,
}

/// Changes the precision of a bundle in f32.
///
/// # Errors
/// Those of [`fp16`] and [`int8`]; int8 without pictures; or a graph that `export` did not write.
pub fn change(bundle: Bundle, change: &Change<'_>) -> Result<Changed, PrecisionError> {
    let pictures = &change.pictures.pixels;
    match change.precision {
        Precision::Fp32 => Ok(Changed { bundle, drift: None, int8: None }),
        Precision::Fp16 => {
            let model = fp16(&ModelProto::decode(bundle.onnx.as_slice())?)?;
            let old = bundle.onnx.clone();
            let bundle = with_graph(bundle, &model, Precision::Fp16)?;
            let judge = || Judge::new(&old, pictures, &change.settings.infer)?.judge(&bundle.onnx);
            let drift = if pictures.is_empty() { None } else { Some(judge()?) };
            Ok(Changed { bundle, drift, int8: None })
        }
        Precision::Int8 if pictures.is_empty() => Err(PrecisionError::NoCalibration),
        Precision::Int8 => {
            let model = ModelProto::decode(bundle.onnx.as_slice())?;
            let found = int8(&model, pictures, change.settings)?;
            let mut bundle = with_graph(bundle, &found.model, Precision::Int8)?;
            bundle.contract.provenance.quantisation = Some(quantisation(&found, pictures.len()));
            Ok(Changed { bundle, drift: Some(found.drift), int8: Some(found) })
        }
    }
}

/// The bundle with another graph, which must keep the contract as well.
fn with_graph(mut bundle: Bundle, model: &ModelProto, precision: Precision) -> Result<Bundle, PrecisionError> {
    bundle.onnx = model.encode_to_vec();
    bundle.contract.sha256 = sha256_hex(&bundle.onnx);
    bundle.contract.provenance.precision = precision;
    onnx::check(&bundle.onnx, &bundle.contract, &bundle.folder.join(MODEL_FILE))?;
    Ok(bundle)
}

fn quantisation(int8: &Int8, pictures: usize) -> Quantisation {
    let in_float = int8.layers.iter().filter(|layer| layer.in_float);
    Quantisation {
        calibration_pictures: u32::try_from(pictures).unwrap_or(u32::MAX),
        judged_pictures: u32::try_from(int8.judged_on).ok(),
        ranges: int8.rule.name().to_owned(),
        weight_bits: int8.weight_bits,
        int8_share: int8.share,
        float_for_drift: in_float.map(|layer| layer.layer.clone()).collect(),
        float_for_size: int8.too_small.clone(),
        sim: int8.drift.sim,
        kld: int8.drift.kld,
    }
}
