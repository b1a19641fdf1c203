//! Colours of heat and of regions.

/// Text, contact points and closing directions.
pub(super) const WHITE: [u8; 3] = [255; 3];
/// Under every line, so that it shows on any picture.
pub(super) const SHADOW: [u8; 3] = [18, 18, 22];

/// Okabe and Ito, "Color Universal Design" (2008), without black: colours that people with any colour vision tell apart.
const CLASSES: [[u8; 3]; 7] =
    [[86, 180, 233], [230, 159, 0], [0, 158, 115], [240, 228, 66], [204, 121, 167], [0, 114, 178], [213, 94, 0]];

/// A class's own colour; classes further apart than seven share them.
pub(super) fn of_class(class_id: u16) -> [u8; 3] {
    CLASSES[usize::from(class_id) % CLASSES.len()]
}

/// The Turbo colour map (Mikhailov, "Turbo, An Improved Rainbow Colormap for Visualization", Google AI Blog, 2019) by its
/// published polynomial approximation (Du): coefficients of 1, x, x^2, ... for red, green and blue.
const TURBO: [[f64; 6]; 3] = [
    [0.135_721_38, 4.615_392_6, -42.660_322_58, 132.131_082_34, -152.942_393_96, 59.286_379_43],
    [0.091_402_61, 2.194_188_39, 4.842_966_58, -14.185_033_33, 4.277_298_57, 2.829_566_04],
    [0.106_673_3, 12.641_946_08, -60.582_048_36, 110.362_767_71, -89.903_109_12, 27.348_249_73],
];

/// Where on Turbo full heat lies: the darkest reds beyond would vanish on dark things.
pub(super) const HOTTEST: f32 = 0.9;

/// Turbo at `x` in [0, 1].
pub(super) fn turbo(x: f32) -> [u8; 3] {
    let x = f64::from(x);
    TURBO.map(|polynomial| {
        let value: f64 = polynomial.iter().rev().fold(0.0, |sum, coefficient| sum * x + coefficient);
        (255.0 * value).round() as u8 // saturates
    })
}

/// What each of 256 heat levels does to a pixel.
pub(super) struct Ramp([Step; 256]);

#[derive(Clone, Copy)]
struct Step {
    /// Of the picture's own colour, in 256ths.
    keep: u16,
    /// Added per channel, times 256, with half a level for rounding.
    add: [u16; 3],
}

impl Ramp {
    /// Opacity is heat times `alpha`.
    pub fn new(alpha: f32) -> Self {
        Self(std::array::from_fn(|level| {
            let heat = level as f32 / 255.0;
            let cover = (256.0 * alpha.clamp(0.0, 1.0) * heat).round() as u16;
            Step { keep: 256 - cover, add: turbo(HOTTEST * heat).map(|channel| u16::from(channel) * cover + 128) }
        }))
    }

    /// One RGB pixel. At most 255 * 256 + 128, so 16 bits hold it.
    pub fn blend(&self, level: u8, from: &[u8], to: &mut [u8]) {
        let Step { keep, add } = self.0[usize::from(level)];
        for ((to, from), add) in to.iter_mut().zip(from).zip(add) {
            *to = ((u16::from(*from) * keep + add) >> 8) as u8;
        }
    }
}
