//! Drawing: pieces onto pixels, with light, shadow and the mask of one part.

use image::{Rgb as Pixel, RgbImage};

use super::{
    affordance::Affordance,
    geometry::{Frame, P, p},
    paint::{Paint, Rgb, lattice, mix, times},
    shape::Shape,
};

/// Pixels of the canvas per pixel of the picture, along each side.
pub(super) const SUPERSAMPLING: usize = 2;

/// One shape with its surface.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) shape: Shape,
    pub(super) paint: Paint,
    /// The action that this piece is for.
    pub(super) part: Option<Affordance>,
}

/// A group of pieces in one space, later ones on top.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) pieces: Vec<Piece>,
    pub(super) frame: Frame,
}

/// The picture's light.
#[derive(Debug, Clone, Copy)]
pub(super) struct Light {
    /// Towards it; length 1.
    pub(super) towards: P,
    /// Of white.
    pub(super) colour: Rgb,
    /// How dark shadows are, in [0, 1].
    pub(super) shadow: f32,
}

/// A picture being drawn, [`SUPERSAMPLING`] times as fine as it will be.
pub(super) struct Canvas {
    /// In canvas pixels.
    pub(super) side: usize,
    pixels: Vec<Rgb>,
    /// Share of each pixel that shows the wanted part, in [0, 1].
    mask: Vec<f32>,
    light: Light,
}

/// The rectangle of pixels that a box touches.
struct Window {
    x: std::ops::Range<usize>,
    y: std::ops::Range<usize>,
}

impl Canvas {
    /// Filled by a function of the place in [0, 1]².
    pub(super) fn new(side: usize, light: Light, fill: impl Fn(P) -> Rgb) -> Self {
        let unit = 1.0 / side as f32;
        let at = |index: usize| p(((index % side) as f32 + 0.5) * unit, ((index / side) as f32 + 0.5) * unit);
        let pixels = (0..side * side).map(|index| fill(at(index))).collect();
        Self { side, pixels, mask: vec![0.0; side * side], light }
    }

    /// One of the same size for masks only: without pixels, on which drawing takes no time for colours.
    pub(super) fn blank(&self) -> Self {
        Self { side: self.side, pixels: Vec::new(), mask: vec![0.0; self.mask.len()], light: self.light }
    }

    /// Draws a group; pieces of `wanted` go into the mask, others hide it.
    pub(super) fn draw(&mut self, group: &Placed, wanted: Option<Affordance>) {
        for piece in &group.pieces {
            self.draw_piece(piece, &group.frame, wanted.is_some() && piece.part == wanted);
        }
    }

    fn draw_piece(&mut self, piece: &Piece, frame: &Frame, in_mask: bool) {
        let (scale, opacity) = (frame.scale(), piece.paint.opacity());
        let window = self.window(piece, frame, 1.0);
        for y in window.y {
            for x in window.x.clone() {
                let at = p(x as f32 + 0.5, y as f32 + 0.5);
                let local = frame.local(at);
                let distance = piece.shape.distance(local) * scale;
                let covered = (0.5 - distance).clamp(0.0, 1.0);
                if covered <= 0.0 {
                    continue;
                }
                let index = y * self.side + x;
                if !self.pixels.is_empty() {
                    let colour = self.lit(piece, frame, at, distance);
                    self.pixels[index] = mix(self.pixels[index], colour, covered * opacity);
                }
                let kept = self.mask[index] * (1.0 - covered);
                self.mask[index] = if in_mask { kept + covered } else { kept };
            }
        }
    }

    /// The colour of a piece under the light: its rim bends away like that of a cushion.
    fn lit(&self, piece: &Piece, frame: &Frame, at: P, distance: f32) -> Rgb {
        let paint = &piece.paint;
        let local = frame.local(at);
        let colour = paint.colour(local);
        if paint.material == super::paint::Material::Mark {
            return colour;
        }
        let bevel = (paint.bevel * frame.scale()).max(1.0);
        let slope = (1.0 + distance / bevel).clamp(0.0, 1.0);
        let mut lit = colour;
        if slope > 0.0 {
            let scale = frame.scale();
            let by = |x: f32, y: f32| piece.shape.distance(frame.local(at + p(x, y))) * scale - distance;
            let facing = p(by(0.5, 0.0), by(0.0, 0.5)).unit().dot(self.light.towards);
            lit = times(colour, 1.0 + 0.42 * slope * facing - 0.10 * slope);
            let glint = (facing * 4.0 * slope * (1.0 - slope)).max(0.0);
            lit = mix(lit, [1.0; 3], paint.gloss() * glint * glint * glint);
        }
        // A thin dark rim, as ink drawings have.
        let rim = (1.0 + distance / (self.side as f32 / 180.0)).clamp(0.0, 1.0);
        times(lit, 1.0 - 0.38 * rim)
    }

    /// A soft shadow of the groups, `reach` canvas pixels away from the light.
    pub(super) fn shade(&mut self, groups: &[&Placed], reach: f32) {
        let offset = self.light.towards * -reach;
        let soft = reach.max(2.0);
        let mut dark = vec![0.0_f32; self.pixels.len()];
        for group in groups {
            let frame = group.frame.moved(offset);
            let scale = frame.scale();
            for piece in group.pieces.iter().filter(|piece| piece.paint.material != super::paint::Material::Mark) {
                let window = self.window(piece, &frame, soft);
                for y in window.y {
                    for x in window.x.clone() {
                        let distance = piece.shape.distance(frame.local(p(x as f32 + 0.5, y as f32 + 0.5))) * scale;
                        let level = (0.5 - distance / (2.0 * soft)).clamp(0.0, 1.0);
                        let place = &mut dark[y * self.side + x];
                        *place = place.max(level * piece.paint.opacity());
                    }
                }
            }
        }
        for (pixel, dark) in self.pixels.iter_mut().zip(dark) {
            *pixel = times(*pixel, 1.0 - self.light.shadow * dark * dark * (3.0 - 2.0 * dark));
        }
    }

    /// Canvas pixels where the part shows, at most about `count` of them, evenly spread.
    pub(super) fn part_points(&self, count: usize) -> Vec<P> {
        let shown: Vec<usize> = (0..self.mask.len()).filter(|index| self.mask[*index] > 0.5).collect();
        let stride = shown.len() / count.max(1) + 1;
        let point = |index: &usize| p((index % self.side) as f32 + 0.5, (index / self.side) as f32 + 0.5);
        shown.iter().step_by(stride).map(point).collect()
    }

    /// How much of the part shows, in canvas pixels.
    pub(super) fn part_area(&self) -> f64 {
        self.mask.iter().map(|share| f64::from(*share)).sum()
    }

    /// The part's mask at the picture's size, 0..=255.
    pub(super) fn part_mask(&self) -> Vec<u8> {
        self.blocks(|index| [self.mask[index]; 3]).map(|level| to_byte(level[0])).collect()
    }

    /// The picture: tinted by the light, darker towards its corners, with a sensor's grain.
    pub(super) fn picture(&self, grain_seed: u32) -> RgbImage {
        let side = self.side / SUPERSAMPLING;
        let mut picture = RgbImage::new(side as u32, side as u32);
        let blocks = self.blocks(|index| self.pixels[index]);
        for (index, (pixel, level)) in picture.pixels_mut().zip(blocks).enumerate() {
            let (x, y) = (index % side, index / side);
            let from_middle = p(x as f32 / side as f32 - 0.5, y as f32 / side as f32 - 0.5);
            let corner = 1.0 - 0.32 * from_middle.dot(from_middle);
            let grain = (lattice(x as i32, y as i32, grain_seed) - 0.5) * 0.016;
            *pixel = Pixel([0, 1, 2].map(|c| to_byte(level[c] * self.light.colour[c] * corner + grain)));
        }
        picture
    }

    /// The mean of each block of canvas pixels, row by row.
    fn blocks<'a>(&'a self, value: impl Fn(usize) -> Rgb + 'a) -> impl Iterator<Item = Rgb> + 'a {
        let side = self.side / SUPERSAMPLING;
        (0..side * side).map(move |block| {
            let corner = (block / side * self.side + block % side) * SUPERSAMPLING;
            let mut sum = [0.0; 3];
            for index in [corner, corner + 1, corner + self.side, corner + self.side + 1] {
                let level = value(index);
                (0..3).for_each(|c| sum[c] += level[c]);
            }
            sum.map(|level| level / (SUPERSAMPLING * SUPERSAMPLING) as f32)
        })
    }

    fn window(&self, piece: &Piece, frame: &Frame, margin: f32) -> Window {
        let (low, high) = bounds(&piece.shape, frame);
        let range = |low: f32, high: f32| {
            let clip = |value: f32| value.clamp(0.0, self.side as f32) as usize;
            clip((low - margin).floor())..clip((high + margin).ceil())
        };
        Window { x: range(low.x, high.x), y: range(low.y, high.y) }
    }
}

/// A box on the canvas that holds the shape.
pub(super) fn bounds(shape: &Shape, frame: &Frame) -> (P, P) {
    let (low, high) = shape.bounds();
    let corners = [low, high, p(low.x, high.y), p(high.x, low.y)].map(|corner| frame.place(corner));
    corners.iter().fold((corners[0], corners[0]), |(low, high), corner| (low.min(*corner), high.max(*corner)))
}

fn to_byte(level: f32) -> u8 {
    (level.clamp(0.0, 1.0) * 255.0 + 0.5) as u8
}
