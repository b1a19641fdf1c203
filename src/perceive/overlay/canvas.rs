//! Smooth lines and discs on an RGB picture. Positions are those of regions: (0, 0) is the centre of the top left pixel.
//! Whatever lies outside the picture, or is not a number, is not drawn.

use image::RgbImage;

use super::colours::SHADOW;

/// How a line is drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pen {
    pub colour: [u8; 3],
    /// Half the line's width, in pixels.
    pub radius: f32,
    /// In [0, 1].
    pub opacity: f32,
}

impl Pen {
    pub fn solid(colour: [u8; 3], radius: f32) -> Self {
        Self { colour, radius, opacity: 1.0 }
    }

    pub fn shadow(radius: f32) -> Self {
        Self::solid(SHADOW, radius)
    }
}

/// A picture to draw on.
pub(super) struct Canvas<'a> {
    picture: &'a mut RgbImage,
}

impl<'a> Canvas<'a> {
    pub fn new(picture: &'a mut RgbImage) -> Self {
        Self { picture }
    }

    /// Width and height in pixels.
    pub fn size(&self) -> [f32; 2] {
        [self.picture.width() as f32, self.picture.height() as f32]
    }

    /// The length that looks like one pixel of a picture 480 pixels high.
    pub fn unit(&self) -> f32 {
        let [width, height] = self.size();
        (width.min(height) / 480.0).clamp(0.75, 16.0)
    }

    /// Lays a colour over one pixel.
    pub fn blend(&mut self, x: u32, y: u32, colour: [u8; 3], opacity: f32) {
        if let Some(pixel) = self.picture.get_pixel_mut_checked(x, y) {
            for (channel, over) in pixel.0.iter_mut().zip(colour) {
                let mixed = f32::from(*channel) + opacity * (f32::from(over) - f32::from(*channel));
                *channel = mixed.round() as u8;
            }
        }
    }

    /// A closed polygon's sides.
    pub fn outline(&mut self, points: &[[f32; 2]], pen: Pen) {
        let next = points.iter().cycle().skip(1);
        points.iter().zip(next).for_each(|(&from, &to)| self.line(from, to, pen));
    }

    /// A line with round ends.
    pub fn line(&mut self, from: [f32; 2], to: [f32; 2], pen: Pen) {
        let direction = [to[0] - from[0], to[1] - from[1]];
        let length2 = direction[0] * direction[0] + direction[1] * direction[1];
        // Where the line is no more than half a pixel away, it covers a part of the pixel.
        let reach = pen.radius + 0.5;
        for y in self.rows(from[1].min(to[1]) - reach, from[1].max(to[1]) + reach) {
            // Points of the line whose height differs from this row's by at most `reach`.
            let along = |height: f32| ((height - from[1]) / direction[1]).clamp(0.0, 1.0);
            let (start, end) = match direction[1] {
                0.0 => (0.0, 1.0),
                _ => (along(y as f32 - reach), along(y as f32 + reach)),
            };
            let [a, b] = [start, end].map(|t| from[0] + t * direction[0]);
            for x in self.columns(a.min(b) - reach, a.max(b) + reach) {
                let offset = [x as f32 - from[0], y as f32 - from[1]];
                let t = (offset[0] * direction[0] + offset[1] * direction[1]) / length2.max(f32::MIN_POSITIVE);
                let t = t.clamp(0.0, 1.0);
                let distance = (offset[0] - t * direction[0]).hypot(offset[1] - t * direction[1]);
                self.cover(x, y, reach - distance, pen);
            }
        }
    }

    /// A filled circle.
    pub fn disc(&mut self, center: [f32; 2], radius: f32, colour: [u8; 3]) {
        self.line(center, center, Pen::solid(colour, radius));
    }

    fn cover(&mut self, x: u32, y: u32, coverage: f32, pen: Pen) {
        if coverage > 0.0 {
            self.blend(x, y, pen.colour, pen.opacity * coverage.min(1.0));
        }
    }

    fn rows(&self, from: f32, to: f32) -> std::ops::Range<u32> {
        within(from, to, self.picture.height())
    }

    fn columns(&self, from: f32, to: f32) -> std::ops::Range<u32> {
        within(from, to, self.picture.width())
    }
}

/// The pixels from `from` to `to` that exist; none if either is not a number.
fn within(from: f32, to: f32, len: u32) -> std::ops::Range<u32> {
    if from.is_nan() || to.is_nan() {
        return 0..0;
    }
    // Float to integer saturates.
    from.floor().max(0.0) as u32..((to.ceil().max(-1.0) + 1.0) as u32).min(len)
}
