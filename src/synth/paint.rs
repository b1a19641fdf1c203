//! Colours by place. Values are display values in [0, 1] (sRGB): nothing here needs linear light.

use super::{
    chance::Chance,
    geometry::{P, p},
};

/// Red, green, blue.
pub(super) type Rgb = [f32; 3];

pub(super) fn mix(a: Rgb, b: Rgb, share: f32) -> Rgb {
    let share = share.clamp(0.0, 1.0);
    [0, 1, 2].map(|c| a[c] + (b[c] - a[c]) * share)
}

pub(super) fn times(colour: Rgb, factor: f32) -> Rgb {
    colour.map(|level| level * factor)
}

/// Six hexadecimal digits.
pub(super) const fn hex(colour: u32) -> Rgb {
    [((colour >> 16) & 255) as f32 / 255.0, ((colour >> 8) & 255) as f32 / 255.0, (colour & 255) as f32 / 255.0]
}

/// What a surface is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Material {
    Plain,
    Wood,
    Metal,
    Cloth,
    Leather,
    Glazed,
    Glass,
    Stripes,
    Dots,
    Checks,
    Skin,
    /// Drawn on: no relief.
    Mark,
}

/// A surface.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paint {
    pub(super) material: Material,
    pub(super) base: Rgb,
    pub(super) second: Rgb,
    /// Of the texture.
    pub(super) seed: u32,
    /// How far from the outline the surface bends away, in the drawing's units.
    pub(super) bevel: f32,
}

impl Paint {
    pub(super) fn new(material: Material, base: Rgb, second: Rgb, seed: u32) -> Self {
        Self { material, base, second, seed, bevel: 0.12 }
    }

    /// A small thing drawn on a surface.
    pub(super) fn mark(colour: Rgb) -> Self {
        Self::new(Material::Mark, colour, colour, 0)
    }

    pub(super) fn bevel(self, bevel: f32) -> Self {
        Self { bevel, ..self }
    }

    /// How strong its highlights are.
    pub(super) fn gloss(&self) -> f32 {
        match self.material {
            Material::Metal => 0.55,
            Material::Glazed | Material::Glass => 0.5,
            Material::Plain | Material::Stripes | Material::Dots | Material::Checks => 0.22,
            Material::Wood | Material::Skin | Material::Leather => 0.1,
            Material::Cloth | Material::Mark => 0.0,
        }
    }

    /// How much of what is behind it is hidden.
    pub(super) fn opacity(&self) -> f32 {
        if self.material == Material::Glass { 0.62 } else { 1.0 }
    }

    /// Without light, at a place in the drawing's own space (which is about 2 units across).
    pub(super) fn colour(&self, at: P) -> Rgb {
        let noise = |x: f32, y: f32| noise(at.x * x, at.y * y, self.seed);
        match self.material {
            Material::Plain | Material::Mark | Material::Glazed => self.base,
            Material::Glass => mix(self.base, self.second, noise(1.5, 4.0)),
            Material::Skin => mix(self.base, self.second, 0.35 * noise(6.0, 6.0)),
            Material::Wood => {
                let bend = noise(1.6, 2.2);
                let rings = wave((at.y + 0.35 * at.x) * 3.4 + bend * 1.4);
                mix(self.base, self.second, 0.5 * rings + 0.5 * noise(5.0, 46.0) + 0.1 * noise(40.0, 5.0))
            }
            Material::Metal => {
                let sheen = wave(at.x * 0.7 + at.y * 0.9 + f32::from((self.seed & 255) as u8) / 255.0);
                mix(self.base, self.second, 0.75 * sheen + 0.25 * noise(60.0, 6.0))
            }
            Material::Cloth => {
                let weave = wave(at.x * 16.0) * 0.5 + wave(at.y * 16.0) * 0.5;
                mix(self.base, self.second, 0.45 * weave + 0.4 * noise(3.0, 3.0))
            }
            Material::Leather => mix(self.base, self.second, 0.6 * noise(26.0, 26.0) + 0.4 * noise(3.0, 3.0)),
            Material::Stripes => {
                let along = if self.seed & 1 == 0 { at.x } else { at.y };
                mix(self.base, self.second, step(wave(along * (2.0 + f32::from((self.seed >> 8) as u8) / 85.0))))
            }
            Material::Dots => {
                let cell = p(wrap(at.x * 4.6), wrap(at.y * 4.6));
                mix(self.base, self.second, (0.30 - cell.length()) * 16.0)
            }
            Material::Checks => {
                let (x, y) = (step(wave(at.x * 2.6)), step(wave(at.y * 2.6)));
                mix(self.base, self.second, 0.5 * x + 0.5 * y)
            }
        }
    }
}

/// To [-0.5, 0.5), around the middle of cells of 1.
pub(super) fn wrap(value: f32) -> f32 {
    value - value.floor() - 0.5
}

/// Smooth between 0 and 1, once per unit.
pub(super) fn wave(value: f32) -> f32 {
    let rise = 2.0 * wrap(value).abs();
    rise * rise * (3.0 - 2.0 * rise)
}

/// A soft edge at one half.
pub(super) fn step(value: f32) -> f32 {
    ((value - 0.5) * 8.0 + 0.5).clamp(0.0, 1.0)
}

/// Smooth random values in [0, 1] over the plane.
pub(super) fn noise(x: f32, y: f32, seed: u32) -> f32 {
    let (column, row) = (x.floor(), y.floor());
    let ease = |t: f32| t * t * (3.0 - 2.0 * t);
    let (u, v) = (ease(x - column), ease(y - row));
    let (i, j) = (column as i32, row as i32);
    let (a, b) = (lattice(i, j, seed), lattice(i.wrapping_add(1), j, seed));
    let (c, d) = (lattice(i, j.wrapping_add(1), seed), lattice(i.wrapping_add(1), j.wrapping_add(1), seed));
    let (top, bottom) = (a + (b - a) * u, c + (d - c) * u);
    top + (bottom - top) * v
}

/// The random value of a whole point.
pub(super) fn lattice(i: i32, j: i32, seed: u32) -> f32 {
    let mut bits = seed ^ (i as u32).wrapping_mul(0x9E37_79B1) ^ (j as u32).wrapping_mul(0x85EB_CA77);
    for _ in 0..2 {
        bits = (bits ^ (bits >> 15)).wrapping_mul(0x2C1B_3C6D);
        bits = (bits ^ (bits >> 13)).wrapping_mul(0x297A_2D39);
    }
    (bits >> 8) as f32 / 16_777_216.0
}

/// A colour of this saturation and brightness, of any hue.
pub(super) fn any_hue(chance: &mut Chance, saturation: f32, brightness: f32) -> Rgb {
    let hue = chance.range(0.0, 6.0);
    let channel = |offset: f32| {
        let place = (hue + offset) - ((hue + offset) / 6.0).floor() * 6.0;
        let level = ((place - 3.0).abs() - 1.0).clamp(0.0, 1.0);
        brightness * (1.0 - saturation * (1.0 - level))
    };
    [channel(0.0), channel(4.0), channel(2.0)]
}

const WOODS: [(u32, u32); 5] =
    [(0xd9a866, 0xa9713a), (0xb07a4a, 0x7a4a28), (0x6b4630, 0x40261a), (0xe6c795, 0xc49a62), (0x9a5f3c, 0x6a3a22)];
const METALS: [(u32, u32); 4] =
    [(0xd4d8dc, 0x8f969d), (0xb9bec4, 0x6f757c), (0xd8c28a, 0x94783e), (0x5f656b, 0x34383d)];
const LEATHERS: [(u32, u32); 4] =
    [(0x7a4a2c, 0x4d2b17), (0x33302e, 0x1a1817), (0xa5673f, 0x74431f), (0x5a2f2f, 0x3a1b1b)];

pub(super) fn wood(chance: &mut Chance) -> Paint {
    let (base, second) = chance.pick(WOODS);
    Paint::new(Material::Wood, hex(base), hex(second), chance.seed())
}

pub(super) fn metal(chance: &mut Chance) -> Paint {
    let (base, second) = chance.pick(METALS);
    Paint::new(Material::Metal, hex(base), hex(second), chance.seed())
}

pub(super) fn leather(chance: &mut Chance) -> Paint {
    let (base, second) = chance.pick(LEATHERS);
    Paint::new(Material::Leather, hex(base), hex(second), chance.seed())
}

pub(super) fn plastic(chance: &mut Chance) -> Paint {
    let dull = chance.happens(0.4);
    let (saturation, brightness) = (if dull { 0.12 } else { 0.68 }, chance.range(0.25, 0.9));
    let base = any_hue(chance, saturation, brightness);
    Paint::new(Material::Plain, base, times(base, 0.7), chance.seed())
}

pub(super) fn cloth(chance: &mut Chance) -> Paint {
    let (saturation, brightness) = (chance.range(0.15, 0.6), chance.range(0.35, 0.85));
    let base = any_hue(chance, saturation, brightness);
    Paint::new(Material::Cloth, base, times(base, 0.75), chance.seed())
}

/// What bodies of things are made of: any colour, plain or with a pattern.
pub(super) fn body(chance: &mut Chance) -> Paint {
    let (saturation, brightness) = (chance.range(0.15, 0.75), chance.range(0.35, 0.95));
    let base = any_hue(chance, saturation, brightness);
    let material = chance.pick([
        Material::Glazed,
        Material::Plain,
        Material::Glazed,
        Material::Stripes,
        Material::Dots,
        Material::Checks,
    ]);
    let second = if chance.happens(0.5) { mix(base, [1.0; 3], 0.5) } else { times(base, 0.62) };
    Paint::new(material, base, second, chance.seed())
}

/// What handles, seats, lids and heads are made of. One list for every kind of part, so that no material tells the action.
pub(super) fn part(chance: &mut Chance) -> Paint {
    match chance.below(5) {
        0 => wood(chance),
        1 => metal(chance),
        2 => leather(chance),
        _ => plastic(chance),
    }
}
