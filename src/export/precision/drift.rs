//! How far the final heatmaps of a graph are from those of another: the measure of every loss of precision.

use ndarray::ArrayView2;

use super::{PrecisionError, calibrate::spread};
use crate::{
    contract::{OUTPUT_HEATMAP, OUTPUT_PRESENCE, Size},
    metrics,
    perceive::{
        FrameError,
        heatmap::Upsampler,
        infer::{
            InferSettings,
            probe::{Probe, Tensor},
        },
    },
};

/// How far two graphs' answers are apart, over all pictures and actions.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct HeatDrift {
    /// Mean SIM between the final heatmaps; 1 where they are equal.
    pub sim: f64,
    /// Mean KLD from the first graph's heatmaps to the second's; 0 where they are equal.
    pub kld: f64,
    /// Largest absolute difference of a presence.
    pub presence: f64,
}

/// Knows the first graph's answers and judges others by them.
pub struct Judge<'a> {
    settings: &'a InferSettings,
    size: Size,
    /// Each picture with the first graph's answer.
    references: Vec<(&'a [u8], Answer)>,
}

struct Answer {
    maps: Tensor,
    presence: Tensor,
}

impl<'a> Judge<'a> {
    /// Runs the graph that others are judged by on every picture.
    ///
    /// # Errors
    /// ONNX Runtime fails.
    pub fn new(
        onnx: &[u8],
        pictures: impl IntoIterator<Item = &'a Vec<u8>>,
        settings: &'a InferSettings,
    ) -> Result<Self, PrecisionError> {
        let mut probe = Probe::open(onnx, &[], settings)?;
        let pictures = pictures.into_iter().map(Vec::as_slice);
        let answered = pictures.map(|picture| Ok((picture, answer(&mut probe, picture)?)));
        let references = answered.collect::<Result<_, PrecisionError>>()?;
        Ok(Self { settings, size: probe.input(), references })
    }

    /// How many pictures there are.
    pub fn pictures(&self) -> usize {
        self.references.len()
    }

    /// The drift of a graph on all pictures.
    ///
    /// # Errors
    /// As [`Self::judge_on`].
    pub fn judge(&self, onnx: &[u8]) -> Result<HeatDrift, PrecisionError> {
        self.judge_on(onnx, self.pictures())
    }

    /// The drift of a graph on `count` of the pictures, evenly spread.
    ///
    /// # Errors
    /// ONNX Runtime fails; the graph's answers have other sides or are not finite; or no reference has any heat.
    pub fn judge_on(&self, onnx: &[u8], count: usize) -> Result<HeatDrift, PrecisionError> {
        let mut probe = Probe::open(onnx, &[], self.settings)?;
        let mut sum = HeatDrift { sim: 0.0, kld: 0.0, presence: 0.0 };
        let mut maps = 0_u32;
        for (picture, reference) in spread(&self.references, count) {
            let found = answer(&mut probe, picture)?;
            for (found, reference) in self.heats(&found.maps)?.iter().zip(&self.heats(&reference.maps)?) {
                // A flat map is cold everywhere: there is nothing to be near to.
                if reference.iter().any(|heat| *heat > 0.0) {
                    let (found, reference) = (self.view(found)?, self.view(reference)?);
                    let (found, reference) = (found.mapv(f64::from), reference.mapv(f64::from));
                    sum.sim += metrics::sim(found.view(), reference.view())?;
                    sum.kld += metrics::kld(found.view(), reference.view())?;
                    maps += 1;
                }
            }
            let differences = found.presence.values.iter().zip(&reference.presence.values).map(|(a, b)| (a - b).abs());
            sum.presence = differences.map(f64::from).fold(sum.presence, f64::max);
        }
        if maps == 0 {
            return Err(PrecisionError::NoHeat { pictures: count.min(self.pictures()) });
        }
        Ok(HeatDrift { sim: sum.sim / f64::from(maps), kld: sum.kld / f64::from(maps), ..sum })
    }

    /// Class maps [1, A, h, w] to heat [H, W] each, at the picture's size as the node makes it.
    fn heats(&self, maps: &Tensor) -> Result<Vec<Vec<f32>>, PrecisionError> {
        let [1, _, height @ (1..), width @ (1..)] = maps.shape[..] else {
            return Err(other_sides(OUTPUT_HEATMAP, "[1, A, h, w]", &maps.shape).into());
        };
        let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
        let cells = Size { height: side(height), width: side(width) };
        let mut upsampler = Upsampler::new(cells, self.size);
        let heat = |map: &[f32]| {
            let scale = upsampler.scale(map)?;
            let mut heat = Vec::new();
            upsampler.render_values(map, &scale, &mut heat);
            Ok(heat)
        };
        maps.values.chunks_exact(height * width).map(heat).collect()
    }

    fn view<'b>(&self, heat: &'b [f32]) -> Result<ArrayView2<'b, f32>, PrecisionError> {
        let sides = (self.size.height as usize, self.size.width as usize);
        ArrayView2::from_shape(sides, heat).map_err(|error| FrameError::Inference(error.to_string()).into())
    }
}

fn answer(probe: &mut Probe, picture: &[u8]) -> Result<Answer, PrecisionError> {
    let mut outputs = probe.run(picture)?;
    let mut take = |name: &str| {
        outputs.remove(name).ok_or_else(|| PrecisionError::Graph {
            what: "outputs".to_owned(),
            expected: format!("{OUTPUT_HEATMAP} and {OUTPUT_PRESENCE}"),
            found: format!("no {name}"),
        })
    };
    let answer = Answer { maps: take(OUTPUT_HEATMAP)?, presence: take(OUTPUT_PRESENCE)? };
    let values = answer.maps.values.iter().chain(&answer.presence.values);
    match values.copied().find(|value| !value.is_finite()) {
        None => Ok(answer),
        Some(value) => Err(PrecisionError::NotFinite { name: OUTPUT_HEATMAP.to_owned(), value }),
    }
}

fn other_sides(name: &str, expected: &str, found: &[usize]) -> FrameError {
    FrameError::Inference(format!("{name}: expected {expected}, found {found:?}"))
}
