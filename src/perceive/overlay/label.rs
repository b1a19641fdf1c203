//! A region's name and score on a dark plate that keeps clear of other labels.

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

use super::{
    canvas::Canvas,
    colours::{SHADOW, WHITE, of_class},
};
use crate::perceive::grasp::GraspRegion;

/// The most letters of a name shown.
const MAX_LETTERS: usize = 28;

/// A rectangle in whole pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Area {
    pub left: f32,
    pub top: f32,
    pub width: f32,
    pub height: f32,
}

impl Area {
    fn overlaps(&self, other: &Self) -> bool {
        self.left < other.left + other.width
            && other.left < self.left + self.width
            && self.top < other.top + other.height
            && other.top < self.top + self.height
    }
}

/// Letters drawn beforehand, and how many pixels one of theirs takes.
#[derive(Debug, Clone, Copy)]
struct Font {
    raster: RasterHeight,
    scale: u32,
}

impl Font {
    /// Letters 16 pixels high on a picture of 480, larger on larger ones.
    fn for_unit(unit: f32) -> Self {
        let raster = match unit {
            unit if unit < 1.4 => RasterHeight::Size16,
            unit if unit < 2.1 => RasterHeight::Size24,
            _ => RasterHeight::Size32,
        };
        Self { raster, scale: (unit / 2.25).floor().max(1.0) as u32 }
    }

    fn height(self) -> u32 {
        self.raster.val() as u32 * self.scale
    }

    fn width(self, text: &str) -> u32 {
        get_raster_width(FontWeight::Bold, self.raster) as u32 * text.chars().count() as u32 * self.scale
    }

    fn draw(self, text: &str, left: u32, top: u32, canvas: &mut Canvas<'_>) {
        let mut left = left;
        for letter in text.chars() {
            let Some(glyph) = get_raster(letter, FontWeight::Bold, self.raster) else { continue };
            let (width, height) = (glyph.width() as u32 * self.scale, glyph.height() as u32 * self.scale);
            for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                let coverage = glyph.pixel((x / self.scale) as usize, (y / self.scale) as usize).unwrap_or(0);
                if coverage > 0 {
                    canvas.blend(left + x, top + y, WHITE, f32::from(coverage) / 255.0);
                }
            }
            left += width;
        }
    }
}

/// A label and its place.
pub(super) struct Label {
    text: String,
    font: Font,
    colour: [u8; 3],
    pub area: Area,
}

impl Label {
    /// Above the region if there is room, else below, else as near as other labels let it.
    /// `extent` is the lowest and highest y of what was drawn of it.
    pub fn place(region: &GraspRegion, extent: [f32; 2], canvas: &Canvas<'_>, taken: &[Area]) -> Self {
        let font = Font::for_unit(canvas.unit());
        let text = text(region);
        let margin = margin(font);
        let (width, height) = ((font.width(&text) + 3 * margin) as f32, (font.height() + margin) as f32);
        let [canvas_width, canvas_height] = canvas.size();
        let [top, bottom] = extent;
        let left = (region.center[0] - width / 2.0).min(canvas_width - width).max(0.0).floor();
        let gap = 6.0 * canvas.unit();
        let at = |top: f32| Area { left, top: top.min(canvas_height - height).max(0.0).floor(), width, height };
        // A wish, then steps away from it, up and down in turns.
        let wishes = [top - gap - height, bottom + gap];
        let steps = (1..40).flat_map(|i| [i as f32, -i as f32]).map(|step| wishes[0] + step * (height + 1.0));
        let free = |area: &Area| !taken.iter().any(|other| area.overlaps(other));
        let fits = |top: &f32| *top >= 0.0 && top + height <= canvas_height;
        let area = wishes.into_iter().filter(fits).chain(steps.filter(fits)).map(at).find(free);
        Self { text, font, colour: of_class(region.class_id), area: area.unwrap_or_else(|| at(wishes[0])) }
    }

    pub fn draw(&self, canvas: &mut Canvas<'_>) {
        let Area { left, top, width, height } = self.area;
        let (left, top, width, height) = (left as u32, top as u32, width as u32, height as u32);
        let margin = margin(self.font);
        for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
            let (colour, opacity) = if x < margin { (self.colour, 1.0) } else { (SHADOW, 0.72) };
            canvas.blend(left + x, top + y, colour, opacity);
        }
        self.font.draw(&self.text, left + 2 * margin, top + margin / 2, canvas);
    }
}

/// Room around the letters.
fn margin(font: Font) -> u32 {
    (font.height() / 4).max(2)
}

/// "hold 0.83". Letters that the font lacks are shown as '?'.
fn text(region: &GraspRegion) -> String {
    let known = |letter: char| if letter.is_ascii() && !letter.is_ascii_control() { letter } else { '?' };
    let name: String = region.affordance.chars().take(MAX_LETTERS).map(known).collect();
    format!("{name} {:.2}", region.score)
}
