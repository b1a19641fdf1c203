//! Which heat pictures to make, on which grid.

use std::sync::Arc;

use super::{Perception, PipelineSettings, Wanted, run::RequestedMap};
use crate::{
    contract::Size,
    perceive::{
        FrameError,
        heatmap::{HeatImage, HeatRows, HeatScale, Heatmap, HeatmapEncoding, HeatmapSize, Upsampler},
        overlay::HeatLayer,
    },
};

/// Makes heat pictures; keeps those not wanted now for when they are.
#[derive(Debug)]
pub(super) struct HeatPainter {
    grid: HeatmapSize,
    encoding: HeatmapEncoding,
    network: Size,
    upsampler: Upsampler,
    /// The combined heat as the overlay needs it, where the published picture is another or not wanted.
    levels: HeatImage,
    spare_combined: HeatImage,
    spare_heats: Vec<HeatRows>,
}

impl HeatPainter {
    pub fn new(cells: Size, network: Size, settings: &PipelineSettings) -> Self {
        Self {
            grid: settings.heatmap_size,
            encoding: settings.heatmap_encoding,
            network,
            upsampler: Upsampler::new(cells, network),
            levels: HeatImage::default(),
            spare_combined: HeatImage::default(),
            spare_heats: Vec::new(),
        }
    }

    /// Takes another grid and encoding, from the next picture on.
    pub fn apply(&mut self, settings: &PipelineSettings) {
        self.grid = settings.heatmap_size;
        self.encoding = settings.heatmap_encoding;
    }

    /// Prepares for a picture of this size.
    pub fn set_source(&mut self, source: Size) {
        self.upsampler.set_output(match self.grid {
            HeatmapSize::Source => source,
            HeatmapSize::Network => self.network,
        });
    }

    /// A map's heat, on the grid that is published.
    pub fn scale(&self, map: &[f32]) -> Result<HeatScale, FrameError> {
        self.upsampler.scale(map)
    }

    /// Makes what is wanted of `heatmaps`, `combined` and [`Self::layer`].
    pub fn paint(&mut self, maps: &[RequestedMap<'_>], source: Size, wanted: Wanted, out: &mut Perception) {
        self.take_back(out);
        if wanted.heatmaps {
            out.heatmaps.extend(maps.iter().map(|map| self.heatmap(map, source)));
        }
        if !wanted.heatmap && !wanted.overlay {
            return;
        }
        let heats: Vec<(&[f32], HeatScale)> = maps.iter().map(|map| (map.map, map.scale)).collect();
        if wanted.heatmap {
            let mut combined = std::mem::take(&mut self.spare_combined);
            combined.encoding = self.encoding;
            self.upsampler.render_max(&heats, &mut combined);
            out.combined = Some(combined);
        }
        if wanted.overlay && !(wanted.heatmap && self.encoding == HeatmapEncoding::Mono8) {
            self.upsampler.render_max(&heats, &mut self.levels);
        }
    }

    /// The combined heat for the overlay: the published picture if that is of bytes.
    pub fn layer<'a>(&'a self, combined: Option<&'a HeatImage>) -> HeatLayer<'a> {
        let image = combined.filter(|image| image.encoding == HeatmapEncoding::Mono8).unwrap_or(&self.levels);
        HeatLayer { size: image.size, levels: &image.data }
    }

    fn take_back(&mut self, out: &mut Perception) {
        self.spare_heats.extend(out.heatmaps.drain(..).map(|heatmap| heatmap.heat));
        if let Some(image) = out.combined.take() {
            self.spare_combined = image;
        }
    }

    fn heatmap(&mut self, map: &RequestedMap<'_>, source: Size) -> Heatmap {
        let mut heat = self.spare_heats.pop().unwrap_or_default();
        self.upsampler.prepare(map.map, &map.scale, self.encoding, &mut heat);
        let Size { height, width } = heat.size();
        let scale_x = source.width as f32 / width as f32;
        let scale_y = source.height as f32 / height as f32;
        let [peak_x, peak_y] = map.scale.peak_at;
        Heatmap {
            class_id: map.requested.class_id,
            affordance: Arc::clone(&map.requested.name),
            presence: map.presence,
            peak: map.scale.peak,
            peak_x: (peak_x as f32 + 0.5) * scale_x - 0.5,
            peak_y: (peak_y as f32 + 0.5) * scale_y - 0.5,
            heat,
            scale_x,
            scale_y,
        }
    }
}
