//! The stages in order, each timed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use image::RgbImage;

use super::{Perception, PipelineSettings, StageTimings, Wanted, batch::BatchBuffers, paint::HeatPainter};
use crate::{
    config::similar,
    contract::ModelContract,
    perceive::{
        Frame, FrameError, InferError,
        decode::{self, Decoded, Limits},
        grasp::{AffordanceMap, RegionFinder, RegionSettings},
        heatmap::HeatScale,
        infer::{ClassMaps, Model, ProviderInUse, Released},
        overlay::Overlay,
        preprocess::Preprocessor,
    },
};

/// A model with all that turns a frame into a [`Perception`]. Keeps every buffer from frame to frame.
pub struct Pipeline {
    pub(super) model: Model,
    pub(super) limits: Limits,
    /// The decoded frame, unless its bytes could be used as they came.
    rgb: Vec<u8>,
    pub(super) preprocessor: Preprocessor,
    pub(super) batch: BatchBuffers,
    pub(super) view: View,
}

/// What turns the model's answer into a [`Perception`].
pub(super) struct View {
    requested: Vec<Requested>,
    regions: RegionSettings,
    painter: HeatPainter,
    finder: RegionFinder,
    overlay: Overlay,
    /// The overlay's picture while none is wanted.
    spare_picture: RgbImage,
    perception: Perception,
}

/// An action to look for.
#[derive(Debug, Clone)]
pub(super) struct Requested {
    pub class_id: u16,
    pub name: Arc<str>,
}

/// One requested action's map of this frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestedMap<'a> {
    pub requested: &'a Requested,
    pub presence: f32,
    pub map: &'a [f32],
    pub scale: HeatScale,
}

impl Pipeline {
    /// Puts the stages together.
    ///
    /// # Errors
    /// [`InferError::Setting`]: an affordance the model does not have, or a value outside its parameter's range.
    pub fn new(model: Model, settings: PipelineSettings) -> Result<Self, InferError> {
        let contract = model.contract();
        let Checked { requested, regions } = settings.resolve(contract)?;
        let (input, cells) = (contract.input, contract.heatmap);
        Ok(Self {
            limits: Limits { max_image_pixels: settings.max_image_pixels },
            rgb: Vec::new(),
            preprocessor: Preprocessor::new(input),
            batch: BatchBuffers::default(),
            view: View {
                requested,
                regions,
                painter: HeatPainter::new(cells, input, &settings),
                finder: RegionFinder::new(cells, input),
                overlay: Overlay::new(settings.overlay_alpha),
                spare_picture: RgbImage::default(),
                perception: Perception::default(),
            },
            model,
        })
    }

    /// Takes other settings, from the next frame on.
    ///
    /// # Errors
    /// As [`Self::new`]; everything then stays as it was.
    pub fn apply(&mut self, settings: &PipelineSettings) -> Result<(), InferError> {
        let Checked { requested, regions } = settings.resolve(self.model.contract())?;
        self.limits = Limits { max_image_pixels: settings.max_image_pixels };
        self.view.requested = requested;
        self.view.regions = regions;
        self.view.painter.apply(settings);
        self.view.overlay.set_alpha(settings.overlay_alpha);
        Ok(())
    }

    /// Looks at one frame. What comes back is overwritten by the next one.
    ///
    /// # Errors
    /// The frame can't be decoded, or the model has no usable answer for it. The next frame is not affected.
    pub fn process(&mut self, frame: &Frame<'_>, wanted: Wanted) -> Result<&Perception, FrameError> {
        let Self { model, limits, rgb, preprocessor, view, .. } = self;
        let mut timings = StageTimings::default();
        let mut clock = StageClock(Instant::now());

        let decoded = decode::decode(&frame.pixels, limits, rgb)?;
        timings.decode = clock.lap();
        let input = preprocessor.run(decoded.image)?;
        timings.resize = clock.lap();
        let answer = model.run(input)?;
        timings.run = clock.lap();
        view.see(&decoded, &answer, (wanted, timings))
    }

    /// The most frames of a batch.
    pub fn max_batch(&self) -> usize {
        self.model.max_batch()
    }

    /// The model's own answer to a picture of its input's size, u8 [H, W, 3] RGB with tight rows.
    ///
    /// # Errors
    /// The picture has another size, or the model has no usable answer.
    pub fn answer_to(&mut self, pixels: &[u8]) -> Result<ClassMaps<'_>, FrameError> {
        self.model.run(pixels)
    }

    /// Gives away what the model holds of the hardware. Every frame is rejected from then on.
    pub fn release(&mut self) -> Released {
        self.model.release()
    }

    /// What was seen in the last frame.
    pub fn perception(&self) -> &Perception {
        &self.view.perception
    }

    /// The model's own answer for the last frame, before any normalisation.
    pub fn class_maps(&self) -> ClassMaps<'_> {
        self.model.answer()
    }

    /// What the model promises.
    pub fn contract(&self) -> &ModelContract {
        self.model.contract()
    }

    /// The hardware in use.
    pub fn provider(&self) -> &ProviderInUse {
        self.model.provider()
    }
}

impl View {
    /// What the answer says of the picture.
    pub fn see(
        &mut self,
        decoded: &Decoded<'_>,
        answer: &ClassMaps<'_>,
        (wanted, mut timings): (Wanted, StageTimings),
    ) -> Result<&Perception, FrameError> {
        let Self { requested, regions, painter, finder, perception, .. } = self;
        let mut clock = StageClock(Instant::now());
        let source = decoded.image.size;
        painter.set_source(source);
        let maps = scaled_maps(requested, answer, painter)?;
        painter.paint(&maps, source, wanted, perception);
        timings.upsample = clock.lap();
        let affordances: Vec<AffordanceMap<'_>> = maps.iter().map(RequestedMap::as_affordance).collect();
        finder.find(&affordances, source, regions, &mut perception.regions);
        timings.regions = clock.lap();
        let mut picture = perception.overlay.take().unwrap_or_else(|| std::mem::take(&mut self.spare_picture));
        if wanted.overlay {
            let heat = painter.layer(perception.combined.as_ref());
            self.overlay.draw(decoded.image, heat, &perception.regions, &mut picture)?;
            perception.overlay = Some(picture);
        } else {
            self.spare_picture = picture;
        }
        timings.overlay = clock.lap();

        perception.source = source;
        perception.notes = decoded.notes;
        perception.timings = timings;
        Ok(perception)
    }
}

/// What settings mean for one model.
struct Checked {
    requested: Vec<Requested>,
    regions: RegionSettings,
}

impl PipelineSettings {
    /// Would a pipeline on this model take them?
    ///
    /// # Errors
    /// As [`Pipeline::new`].
    pub fn check(&self, contract: &ModelContract) -> Result<(), InferError> {
        self.resolve(contract).map(drop)
    }

    fn resolve(&self, contract: &ModelContract) -> Result<Checked, InferError> {
        let requested = requested(contract, &self.affordances)?;
        Ok(Checked { requested, regions: region_settings(contract, self)? })
    }
}

impl RequestedMap<'_> {
    fn as_affordance(&self) -> AffordanceMap<'_> {
        let Self { requested, presence, map, scale } = *self;
        AffordanceMap { class_id: requested.class_id, affordance: &requested.name, presence, map, scale }
    }
}

/// The requested actions' maps, each with its heat.
fn scaled_maps<'a>(
    requested: &'a [Requested],
    answer: &ClassMaps<'a>,
    painter: &HeatPainter,
) -> Result<Vec<RequestedMap<'a>>, FrameError> {
    let scaled = |requested: &'a Requested| {
        let class_id = usize::from(requested.class_id);
        let map = answer.map(class_id);
        let presence = answer.presence.get(class_id).copied().unwrap_or_default();
        Ok(RequestedMap { requested, presence, map, scale: painter.scale(map)? })
    };
    requested.iter().map(scaled).collect()
}

/// The asked actions in class order, each once; all if none is named.
fn requested(contract: &ModelContract, affordances: &[String]) -> Result<Vec<Requested>, InferError> {
    let actions = &contract.actions;
    if let Some(unknown) = affordances.iter().find(|name| !actions.contains(name)) {
        return Err(InferError::Setting {
            setting: "affordances",
            expected: format!("actions of {} ({})", contract.name, actions.join(", ")),
            found: format!("{unknown:?}{}", hint(unknown, actions)),
        });
    }
    let is_asked = |action: &String| affordances.is_empty() || affordances.contains(action);
    let asked = actions.iter().enumerate().filter(|(_, action)| is_asked(action));
    // A contract has at most 4096 actions.
    Ok(asked.map(|(id, action)| Requested { class_id: id as u16, name: action.as_str().into() }).collect())
}

fn hint(unknown: &str, actions: &[String]) -> String {
    let near = similar(unknown, actions.iter().map(String::as_str));
    near.map_or_else(String::new, |near| format!("; did you mean {near}?"))
}

fn region_settings(contract: &ModelContract, settings: &PipelineSettings) -> Result<RegionSettings, InferError> {
    let heat_threshold = settings.heat_threshold.unwrap_or(contract.heat_threshold);
    let fractions = [
        ("heat_threshold", heat_threshold),
        ("min_region_score", settings.min_region_score),
        ("min_region_area", settings.min_region_area),
        ("overlay_alpha", settings.overlay_alpha),
    ];
    for (setting, value) in fractions {
        if !(0.0..=1.0).contains(&value) {
            return Err(InferError::Setting { setting, expected: "0 to 1".to_owned(), found: value.to_string() });
        }
    }
    if settings.max_contour_points < RegionSettings::FEWEST_CONTOUR_POINTS {
        return Err(InferError::Setting {
            setting: "max_contour_points",
            expected: format!("{} or more", RegionSettings::FEWEST_CONTOUR_POINTS),
            found: settings.max_contour_points.to_string(),
        });
    }
    Ok(RegionSettings {
        heat_threshold,
        min_region_score: settings.min_region_score,
        min_region_area: settings.min_region_area,
        max_regions: settings.max_regions,
        max_contour_points: settings.max_contour_points,
    })
}

pub(super) struct StageClock(pub Instant);

impl StageClock {
    pub fn lap(&mut self) -> Duration {
        let now = Instant::now();
        now.duration_since(std::mem::replace(&mut self.0, now))
    }
}
