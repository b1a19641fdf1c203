//! Where a picture is taken: walls, floors and tables, and what lies about there.

use super::{
    affordance::Affordance,
    canvas::{Light, Piece, Placed},
    chance::Chance,
    geometry::{Frame, P, direction, p},
    paint::{self, Material, Paint, Rgb, any_hue, hex, lattice, mix, noise, step, times, wave},
    shape::Shape,
};

/// A kind of place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Setting {
    Kitchen,
    Workshop,
    Outdoors,
    Room,
    Street,
    Office,
}

impl Setting {
    const ALL: [Self; 6] = [Self::Kitchen, Self::Workshop, Self::Outdoors, Self::Room, Self::Street, Self::Office];

    /// Any.
    pub(super) fn any(chance: &mut Chance) -> Self {
        chance.pick(Self::ALL)
    }

    /// Where people mostly do this: in four of five pictures of someone doing it, as in real ones.
    pub(super) fn of_action(affordance: Affordance, chance: &mut Chance) -> Self {
        let (any, usual) = (Self::any(chance), chance.happens(0.8));
        if !usual {
            return any;
        }
        match affordance {
            Affordance::CutWith | Affordance::DrinkWith | Affordance::Pour | Affordance::Stir => Self::Kitchen,
            Affordance::Hold => Self::Workshop,
            Affordance::Hit | Affordance::Swing => Self::Outdoors,
            Affordance::Open | Affordance::SitOn => Self::Room,
            Affordance::Carry | Affordance::Push => Self::Street,
            Affordance::Press => Self::Office,
        }
    }
}

/// A textured plane.
#[derive(Debug, Clone, Copy)]
enum Texture {
    Tiles,
    Planks,
    Bricks,
    Grass,
    Sky,
    Stripes,
    Speckles,
    Cloth,
    Soft,
    Pegboard,
}

#[derive(Debug, Clone, Copy)]
struct Surface {
    texture: Texture,
    base: Rgb,
    second: Rgb,
    seed: u32,
    scale: f32,
}

/// A whole background.
#[derive(Debug, Clone)]
pub(super) struct Backdrop {
    /// Seen from the side: where the wall ends, as a share of the height.
    pub(super) horizon: Option<f32>,
    wall: Surface,
    floor: Surface,
}

impl Backdrop {
    pub(super) fn new(setting: Setting, from_the_side: bool, chance: &mut Chance) -> Self {
        let (wall, floor) = match setting {
            Setting::Kitchen => (Texture::Tiles, chance.pick([Texture::Speckles, Texture::Planks])),
            Setting::Workshop => (Texture::Pegboard, Texture::Planks),
            Setting::Outdoors => (Texture::Sky, Texture::Grass),
            Setting::Room => (Texture::Stripes, chance.pick([Texture::Planks, Texture::Cloth])),
            Setting::Street => (Texture::Bricks, Texture::Speckles),
            Setting::Office => (Texture::Soft, chance.pick([Texture::Soft, Texture::Cloth])),
        };
        let horizon = chance.range(0.38, 0.66);
        let (wall, floor) = (Surface::new(wall, chance), Surface::new(floor, chance));
        Self { horizon: from_the_side.then_some(horizon), wall, floor }
    }

    /// At a place in [0, 1]².
    pub(super) fn colour(&self, at: P) -> Rgb {
        let Some(horizon) = self.horizon else {
            return self.floor.colour(at);
        };
        if at.y < horizon {
            let near = (1.0 - (horizon - at.y) * 14.0).clamp(0.0, 1.0);
            return times(self.wall.colour(at), 1.0 - 0.16 * near);
        }
        // Planks run to a vanishing point above the edge.
        let depth = 0.35 + (at.y - horizon) / (1.0 - horizon);
        let floor = self.floor.colour(p((at.x - 0.5) / depth, 0.9 / depth));
        times(floor, 0.84 + 0.16 * ((at.y - horizon) * 6.0).clamp(0.0, 1.0))
    }
}

impl Surface {
    fn new(texture: Texture, chance: &mut Chance) -> Self {
        let (saturation, brightness) = (chance.range(0.05, 0.35), chance.range(0.55, 0.92));
        let soft = any_hue(chance, saturation, brightness);
        let woods =
            chance.pick([(0xc99563, 0x8d5a30), (0x8a6a4c, 0x5b4331), (0xdab98a, 0xb08a58), (0xa9a29a, 0x77706a)]);
        let bricks = chance.pick([(0xa9573f, 0xc9bcae), (0xb98b6a, 0xd8d0c4), (0x8c8580, 0xb9b4ae)]);
        let grasses = chance.pick([(0x6fa04a, 0x4a7a32), (0x88a85a, 0x5f8040), (0x5d8c48, 0x3c6a30)]);
        let skies = chance.pick([(0x9cc4e8, 0xe6eef4), (0xb7cbd8, 0xdfe6ea), (0x7fb2e0, 0xf2f2ee)]);
        let (base, second) = match texture {
            Texture::Planks => (hex(woods.0), hex(woods.1)),
            Texture::Bricks => (hex(bricks.0), hex(bricks.1)),
            Texture::Grass => (hex(grasses.0), hex(grasses.1)),
            Texture::Sky => (hex(skies.0), hex(skies.1)),
            _ => (soft, times(soft, chance.range(0.72, 0.88))),
        };
        Self { texture, base, second, seed: chance.seed(), scale: chance.range(0.8, 1.3) }
    }

    fn colour(&self, at: P) -> Rgb {
        let (x, y) = (at.x * self.scale, at.y * self.scale);
        let rough = |fx: f32, fy: f32| noise(x * fx, y * fy, self.seed);
        let share = match self.texture {
            Texture::Tiles => {
                let joint = line(x * 6.0, 0.04).max(line(y * 6.0, 0.04));
                let own = lattice((x * 6.0).floor() as i32, (y * 6.0).floor() as i32, self.seed);
                joint * 0.9 + 0.35 * own * (1.0 - joint)
            }
            Texture::Planks => {
                let (own, row) = (noise((y * 5.0).floor() * 3.7, 0.5, self.seed), y * 5.0);
                0.4 * own + 0.5 * noise(x * 4.0 + own * 40.0, y * 60.0, self.seed) + line(row, 0.035) * 0.6
            }
            Texture::Bricks => {
                let row = (y * 9.0).floor();
                let shifted = x * 4.5 + 0.5 * (row - 2.0 * (row * 0.5).floor());
                let joint = line(y * 9.0, 0.06).max(line(shifted, 0.03));
                joint + (1.0 - joint) * 0.3 * lattice(shifted.floor() as i32, row as i32, self.seed)
            }
            Texture::Grass => 0.5 * rough(90.0, 30.0) + 0.5 * rough(5.0, 5.0),
            Texture::Sky => step(0.55 * rough(3.0, 6.0) + 0.45 * rough(7.0, 13.0) + at.y * 0.25 - 0.05),
            Texture::Stripes => step(wave(x * 9.0)) * 0.55 + 0.2 * rough(4.0, 4.0),
            Texture::Speckles => step(rough(55.0, 55.0) - 0.12) * 0.6 + 0.4 * rough(4.0, 4.0),
            Texture::Cloth => 0.4 * step(wave(x * 7.0)) + 0.4 * step(wave(y * 7.0)) + 0.2 * rough(70.0, 70.0),
            Texture::Soft => 0.7 * rough(2.0, 2.0) + 0.3 * rough(5.0, 5.0),
            Texture::Pegboard => {
                let hole = p(paint::wrap(x * 14.0), paint::wrap(y * 14.0)).length();
                ((0.2 - hole) * 12.0).clamp(0.0, 1.0) * 1.6 + 0.25 * rough(3.0, 3.0)
            }
        };
        mix(self.base, self.second, share)
    }
}

/// 1 close to whole numbers.
fn line(value: f32, half_width: f32) -> f32 {
    ((half_width - (value - (value + 0.5).floor()).abs()) / half_width * 2.0).clamp(0.0, 1.0)
}

/// From a side and above, warm or cold.
pub(super) fn light(chance: &mut Chance) -> Light {
    let (level, warmth) = (chance.range(0.82, 1.1), chance.range(-0.06, 0.08));
    Light {
        towards: direction(0.75 + chance.range(-0.17, 0.17)),
        colour: [level * (1.0 + warmth), level, level * (1.0 - warmth)],
        shadow: chance.range(0.28, 0.5),
    }
}

/// Things of no action, away from the middle of a canvas of this side.
pub(super) fn clutter(backdrop: &Backdrop, side: f32, count: usize, chance: &mut Chance) -> Vec<Placed> {
    (0..count)
        .map(|_| {
            let top = backdrop.horizon.map_or(0.05, |horizon| horizon + 0.03);
            let mut at = p(0.5, 0.5);
            for _ in 0..8 {
                at = p(chance.range(0.03, 0.97), chance.range(top.min(0.85), 0.97));
                if (at - p(0.5, 0.5)).length() > 0.36 {
                    break;
                }
            }
            let turns = if backdrop.horizon.is_some() { 0.0 } else { chance.unit() };
            let frame = Frame::new(at * side, direction(turns), side * chance.range(0.06, 0.11), false);
            Placed { pieces: trinket(chance), frame }
        })
        .collect()
}

fn trinket(chance: &mut Chance) -> Vec<Piece> {
    let surface = paint::body(chance).bevel(0.3);
    let other = paint::plastic(chance).bevel(0.1);
    let piece = |shape, paint| Piece { shape, paint, part: None };
    let rect = |half: P, rounding| Shape::Box { centre: p(0.0, 0.0), half, rounding };
    let disc = |radius: f32| Shape::Ellipse { centre: p(0.0, 0.0), radii: p(radius, radius) };
    match chance.below(6) {
        0 => vec![piece(disc(0.8), Paint { bevel: 0.7, ..surface })],
        1 => vec![piece(rect(p(1.0, 0.7), 0.06), surface), piece(rect(p(0.6, 0.1), 0.0), Paint::mark(other.base))],
        2 => vec![piece(rect(p(0.55, 0.85), 0.1), surface), piece(rect(p(0.57, 0.3), 0.02), other)],
        3 => vec![piece(disc(1.0), other), piece(disc(0.68), Paint { bevel: 0.1, ..surface })],
        4 => {
            let points = vec![p(-0.9, 0.6), p(0.9, 0.6), p(0.5, -0.6), p(-0.5, -0.6)];
            vec![piece(Shape::Polygon { points, rounding: 0.08 }, surface)]
        }
        _ => {
            let leaf = Paint::new(Material::Plain, hex(0x5f8f45), hex(0x3f6a2d), 1).bevel(0.2);
            let blade = |x: f32| Shape::Rod { from: p(0.0, 0.4), to: p(x, -0.8), radii: (0.12, 0.26) };
            let mut pieces: Vec<Piece> = [-0.7, 0.0, 0.7].map(|x| piece(blade(x), leaf)).into();
            pieces.push(piece(Shape::Box { centre: p(0.0, 0.7), half: p(0.5, 0.4), rounding: 0.1 }, surface));
            pieces
        }
    }
}
