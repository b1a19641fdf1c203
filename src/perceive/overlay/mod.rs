//! The picture for people: heat over the camera's image, and each region with its outline, rectangle, contact point,
//! closing direction and label.

mod canvas;
mod colours;
mod label;
#[cfg(test)]
mod tests;

use fast_image_resize::{
    FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer,
    images::{Image, ImageRef},
};
use image::RgbImage;

use super::{decode::RgbView, frame::FrameError, grasp::GraspRegion};
use crate::contract::Size;
use canvas::{Canvas, Pen};
use label::Label;

/// Heat of one or several affordances, to be laid over a picture.
#[derive(Debug, Clone, Copy)]
pub struct HeatLayer<'a> {
    /// Rows and columns, not necessarily the picture's.
    pub size: Size,
    /// One byte a cell, 255 = 1.0.
    pub levels: &'a [u8],
}

/// Draws overlays. Keeps what it needs from frame to frame.
pub struct Overlay {
    ramp: colours::Ramp,
    resizer: Resizer,
    stretched: Vec<u8>,
}

impl Overlay {
    /// `alpha` in [0, 1]: how opaque full heat is. Half the heat is half as opaque, no heat leaves the picture as it is.
    pub fn new(alpha: f32) -> Self {
        Self { ramp: colours::Ramp::new(alpha), resizer: Resizer::new(), stretched: Vec::new() }
    }

    /// Another opacity, as [`Self::new`] takes it.
    pub fn set_alpha(&mut self, alpha: f32) {
        self.ramp = colours::Ramp::new(alpha);
    }

    /// Draws into `out`, which takes the source's size. The best region is drawn last, over the others.
    ///
    /// # Errors
    /// [`FrameError::Resize`] if the size and data of a view do not belong together.
    pub fn draw(
        &mut self,
        source: RgbView<'_>,
        heat: HeatLayer<'_>,
        regions: &[GraspRegion],
        out: &mut RgbImage,
    ) -> Result<(), FrameError> {
        let Self { ramp, resizer, stretched } = self;
        let levels =
            if heat.size == source.size { heat.levels } else { stretch(resizer, heat, source.size, stretched)? };
        let mut pixels = std::mem::take(out).into_raw();
        pixels.resize(source.data.len(), 0);
        for ((to, from), &level) in pixels.chunks_exact_mut(3).zip(source.data.chunks_exact(3)).zip(levels) {
            ramp.blend(level, from, to);
        }
        let failed = || FrameError::Resize { size: source.size, cause: "not three bytes a pixel".into() };
        *out = RgbImage::from_raw(source.size.width, source.size.height, pixels).ok_or_else(failed)?;
        draw_regions(&mut Canvas::new(out), regions);
        Ok(())
    }
}

/// Half-pixel-centre bilinear, as the heat itself is upsampled.
fn stretch<'a>(
    resizer: &mut Resizer,
    heat: HeatLayer<'_>,
    to: Size,
    stretched: &'a mut Vec<u8>,
) -> Result<&'a [u8], FrameError> {
    stretched.resize(to.height as usize * to.width as usize, 0);
    let failed = |cause: &dyn std::fmt::Display| FrameError::Resize { size: heat.size, cause: cause.to_string() };
    let from =
        ImageRef::new(heat.size.width, heat.size.height, heat.levels, PixelType::U8).map_err(|cause| failed(&cause))?;
    let mut into =
        Image::from_slice_u8(to.width, to.height, stretched, PixelType::U8).map_err(|cause| failed(&cause))?;
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Interpolation(FilterType::Bilinear));
    resizer.resize(&from, &mut into, &options).map_err(|cause| failed(&cause))?;
    Ok(stretched)
}

fn draw_regions(canvas: &mut Canvas<'_>, regions: &[GraspRegion]) {
    let unit = canvas.unit();
    for region in regions.iter().rev() {
        draw_region(canvas, region, unit);
    }
    // Labels last, the best first: it gets the place it wants.
    let mut taken = Vec::new();
    for region in regions {
        let label = Label::place(region, extent(region, unit), canvas, &taken);
        label.draw(canvas);
        taken.push(label.area);
    }
}

/// `unit` is the length that a pixel has in a picture 480 pixels high.
fn draw_region(canvas: &mut Canvas<'_>, region: &GraspRegion, unit: f32) {
    let colour = colours::of_class(region.class_id);
    let rectangle = corners(region);
    canvas.outline(&rectangle, Pen { colour: colours::WHITE, radius: 0.6 * unit, opacity: 0.55 });
    for pen in [Pen::shadow(2.2 * unit), Pen::solid(colour, 1.2 * unit)] {
        canvas.outline(&region.contour, pen);
    }
    let jaws = jaws(region, unit);
    for pen in [Pen::shadow(2.0 * unit), Pen::solid(colours::WHITE, 1.0 * unit)] {
        jaws.iter().for_each(|&[from, to]| canvas.line(from, to, pen));
    }
    canvas.disc(region.point, 5.0 * unit, colours::SHADOW);
    canvas.disc(region.point, 4.0 * unit, colours::WHITE);
    canvas.disc(region.point, 2.4 * unit, colour);
}

/// Lowest and highest y of a region as drawn.
fn extent(region: &GraspRegion, unit: f32) -> [f32; 2] {
    let jaws = jaws(region, unit);
    let ys = || region.contour.iter().chain(jaws.as_flattened()).map(|point| point[1]);
    [ys().fold(f32::INFINITY, f32::min), ys().fold(f32::NEG_INFINITY, f32::max)]
}

/// Corners of the minimum-area rectangle, in order around it.
fn corners(region: &GraspRegion) -> [[f32; 2]; 4] {
    let (sin, cos) = region.theta_rad.sin_cos();
    let [half_length, half_width] = region.size.map(|side| side / 2.0);
    [(1.0, 1.0), (1.0, -1.0), (-1.0, -1.0), (-1.0, 1.0)].map(|(a, b)| {
        let (along, across) = (a * half_length, b * half_width);
        [region.center[0] + along * cos - across * sin, region.center[1] + along * sin + across * cos]
    })
}

/// Lines of the two jaws: a bar outside each long side of the rectangle and an arrow that says how it closes on the
/// contact point.
fn jaws(region: &GraspRegion, unit: f32) -> Vec<[[f32; 2]; 2]> {
    let (sin, cos) = region.closing_angle_rad.sin_cos();
    // From (towards the other jaw, along the jaw) to pixels.
    let at = |closing: f32, along: f32| {
        [region.point[0] + closing * cos - along * sin, region.point[1] + closing * sin + along * cos]
    };
    let middle = (region.center[0] - region.point[0]) * cos + (region.center[1] - region.point[1]) * sin;
    let reach = region.size[1] / 2.0 + 4.0 * unit;
    let (bar, shaft, head) = (7.0 * unit, 16.0 * unit, 5.0 * unit);
    [1.0, -1.0]
        .into_iter()
        .flat_map(|side: f32| {
            let tip = middle + side * reach;
            [
                [at(tip, -bar), at(tip, bar)],
                [at(tip + side * shaft, 0.0), at(tip, 0.0)],
                [at(tip + side * head, head), at(tip, 0.0)],
                [at(tip + side * head, -head), at(tip, 0.0)],
            ]
        })
        .collect()
}
