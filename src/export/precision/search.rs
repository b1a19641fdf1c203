//! Which layers go to int8: all, but for those whose own drift stands between the model and the wish.

use prost::Message;

use super::{
    HeatDrift, Judge, Kind, Layer, Observations, PrecisionError, RangeRule,
    calibrate::{observe, spread},
    layers, qdq,
};
use crate::{onnx::proto::ModelProto, perceive::infer::InferSettings};

/// Pictures, of those below, that each layer's own drift is measured on: one session per layer, so a few have to do.
const PICTURES_PER_LAYER: usize = 8;
/// Pictures that a whole graph is judged on, evenly spread over those that it was calibrated with.
const PICTURES_PER_GRAPH: usize = 32;
/// A layer with a smaller share of all multiplications stays in float: there is nothing to gain.
const SMALLEST_SHARE: f64 = 1e-3;

/// How to quantise.
#[derive(Debug, Clone)]
pub struct Int8Settings {
    /// 7 or 8 bits of a weight.
    pub weight_bits: u8,
    /// The wish: mean SIM between the final heatmaps of f32 and int8 on the pictures that are judged on.
    pub least_sim: f64,
    /// The library and the number of threads for running graphs.
    pub infer: InferSettings,
}

/// A layer's own part in the drift.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct LayerDrift {
    /// The layer.
    pub layer: String,
    /// 1 - SIM of the final heatmaps with this layer alone in int8.
    pub own_drift: f64,
    /// Its share of the multiplications of all layers that can be quantised.
    pub share: f64,
    /// Left in float?
    pub in_float: bool,
}

/// A graph in int8 and how it came to be.
#[derive(Debug, Clone)]
pub struct Int8 {
    /// The graph.
    pub model: ModelProto,
    /// Its drift from the graph in f32.
    pub drift: HeatDrift,
    /// Pictures that drifts are of, a part of those for calibration.
    pub judged_on: usize,
    /// The drift with nothing left in float by measure.
    pub drift_of_all: HeatDrift,
    /// The rule that drifted less.
    pub rule: RangeRule,
    /// Bits of a weight.
    pub weight_bits: u8,
    /// Share of the multiplications that are in int8, of all with constant weights.
    pub share: f64,
    /// Layers in float because they cost next to nothing.
    pub too_small: Vec<String>,
    /// Every layer's own drift, the first to stay in float first. Empty where the wish was met with all in int8, so that
    /// nothing had to be measured.
    pub layers: Vec<LayerDrift>,
}

/// Quantises a graph in f32 as far as the wish allows, on pictures u8 [H, W, 3] of its input's size.
///
/// Ranges come of all pictures; drifts are measured on a few of them, evenly spread ([`Int8::judged_on`]). Both rules for
/// ranges are tried and the one that drifts less is kept. If all layers in int8 do not keep the wish, each
/// layer's own drift is measured, and layers stay in float by drift per multiplication, so that the drift goes down for
/// the least loss of speed: as few of them as keep the wish, found by bisection.
///
/// # Errors
/// Nothing to quantise, values that are not finite, or ONNX Runtime fails. A wish can always be met: with all layers in
/// float there is no drift.
pub fn int8(model: &ModelProto, pictures: &[Vec<u8>], settings: &Int8Settings) -> Result<Int8, PrecisionError> {
    let layers = layers::find(model)?;
    let onnx = model.encode_to_vec();
    let observations = observe(&onnx, &layers, pictures, &settings.infer)?;
    let judge = Judge::new(&onnx, spread(pictures, PICTURES_PER_GRAPH), &settings.infer)?;
    let (layers, too_small) = worth_it(layers, &observations);
    if layers.is_empty() {
        return Err(PrecisionError::NothingToQuantise);
    }
    let all: Vec<&Layer> = layers.iter().map(|(layer, _)| layer).collect();
    let mut search = Search { model, settings, judge, observations, rule: RangeRule::MinMax, all: &all };
    let (chosen, drift_of_all) = search.better_rule()?;
    let total: f64 = layers.iter().map(|(_, share)| share).sum();
    let found = if drift_of_all.sim >= settings.least_sim {
        (chosen, drift_of_all, Vec::new())
    } else {
        let ranked = search.rank(&layers)?;
        search.fewest_in_float(ranked)?
    };
    let (model, drift, layers) = found;
    let in_float: f64 = layers.iter().filter(|layer| layer.in_float).map(|layer| layer.share).sum();
    let (rule, weight_bits, judged_on) = (search.rule, settings.weight_bits, search.judge.pictures());
    Ok(Int8 { model, drift, judged_on, drift_of_all, rule, weight_bits, share: total - in_float, too_small, layers })
}

/// Layers with their share of the multiplications, and the names of those too small to matter.
fn worth_it(layers: Vec<Layer>, observations: &Observations) -> (Vec<(Layer, f64)>, Vec<String>) {
    let works: Vec<f64> = layers.iter().map(|layer| multiplications(layer, observations)).collect();
    let total: f64 = works.iter().sum::<f64>().max(1.0);
    let (mut kept, mut too_small) = (Vec::new(), Vec::new());
    for (layer, work) in layers.into_iter().zip(works) {
        let share = work / total;
        if share < SMALLEST_SHARE { too_small.push(layer.name) } else { kept.push((layer, share)) }
    }
    (kept, too_small)
}

/// Of one picture.
fn multiplications(layer: &Layer, observations: &Observations) -> f64 {
    let value = if layer.kind == Kind::Conv { &layer.output } else { &layer.input };
    let shape = observations.get(value).map(|observation| observation.shape.as_slice()).unwrap_or_default();
    // Rows of a linear layer, places of a convolution.
    let times: usize = match layer.kind {
        Kind::Conv => shape.iter().skip(2).product(),
        Kind::MatMul | Kind::Gemm { .. } => shape.iter().rev().skip(1).product(),
    };
    times as f64 * layer.sides.iter().product::<usize>() as f64
}

/// What every step of the search needs.
struct Search<'a> {
    model: &'a ModelProto,
    settings: &'a Int8Settings,
    judge: Judge<'a>,
    observations: Observations,
    rule: RangeRule,
    all: &'a [&'a Layer],
}

impl Search<'_> {
    fn quantised(&self, layers: &[&Layer]) -> Result<ModelProto, PrecisionError> {
        let plan = qdq::Plan {
            layers,
            observations: &self.observations,
            rule: self.rule,
            weight_bits: self.settings.weight_bits,
        };
        qdq::quantise(self.model, &plan)
    }

    /// All layers in int8 by the rule that drifts less, which is kept.
    fn better_rule(&mut self) -> Result<(ModelProto, HeatDrift), PrecisionError> {
        let mut best: Option<(RangeRule, ModelProto, HeatDrift)> = None;
        for rule in RangeRule::ALL {
            self.rule = rule;
            let model = self.quantised(self.all)?;
            let drift = self.judge.judge(&model.encode_to_vec())?;
            tracing::info!("int8, {}: SIM {:.4}, KLD {:.5}", rule.name(), drift.sim, drift.kld);
            if best.as_ref().is_none_or(|(_, _, best)| drift.sim > best.sim) {
                best = Some((rule, model, drift));
            }
        }
        let (rule, model, drift) = best.ok_or(PrecisionError::NothingToQuantise)?;
        self.rule = rule;
        Ok((model, drift))
    }

    /// Every layer's own drift, the largest per multiplication first.
    fn rank(&self, layers: &[(Layer, f64)]) -> Result<Vec<(LayerDrift, usize)>, PrecisionError> {
        let mut ranked = Vec::with_capacity(layers.len());
        for (index, (layer, share)) in layers.iter().enumerate() {
            let onnx = self.quantised(&[layer])?.encode_to_vec();
            let own_drift = 1.0 - self.judge.judge_on(&onnx, PICTURES_PER_LAYER)?.sim;
            tracing::info!("int8, {} alone: 1 - SIM = {own_drift:.5}", layer.name);
            let drift = LayerDrift { layer: layer.name.clone(), own_drift, share: *share, in_float: false };
            ranked.push((drift, index));
        }
        let cost = |(drift, _): &(LayerDrift, usize)| drift.own_drift / drift.share;
        ranked.sort_by(|a, b| cost(b).total_cmp(&cost(a)));
        Ok(ranked)
    }

    /// The shortest head of the ranking that, left in float, keeps the wish.
    fn fewest_in_float(
        &self,
        ranked: Vec<(LayerDrift, usize)>,
    ) -> Result<(ModelProto, HeatDrift, Vec<LayerDrift>), PrecisionError> {
        let attempt = |in_float: usize| -> Result<(ModelProto, HeatDrift), PrecisionError> {
            // In the graph's order, so that equal choices are equal files.
            let mut chosen: Vec<usize> = ranked.iter().skip(in_float).map(|(_, index)| *index).collect();
            chosen.sort_unstable();
            let layers: Vec<&Layer> = chosen.iter().filter_map(|&index| self.all.get(index).copied()).collect();
            let model = self.quantised(&layers)?;
            let drift = self.judge.judge(&model.encode_to_vec())?;
            tracing::info!("int8, {in_float} layers in float: SIM {:.4}, KLD {:.5}", drift.sim, drift.kld);
            Ok((model, drift))
        };
        // None in float is known to miss the wish; all in float keeps any.
        let (mut misses, mut keeps) = (0, ranked.len());
        let mut best = attempt(keeps)?;
        while keeps - misses > 1 {
            let middle = misses + (keeps - misses) / 2;
            let tried = attempt(middle)?;
            if tried.1.sim >= self.settings.least_sim {
                (keeps, best) = (middle, tried);
            } else {
                misses = middle;
            }
        }
        let layers = ranked.into_iter().enumerate();
        let layers = layers.map(|(place, (layer, _))| LayerDrift { in_float: place < keeps, ..layer }).collect();
        Ok((best.0, best.1, layers))
    }
}
