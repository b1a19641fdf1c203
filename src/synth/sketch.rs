//! How an object is put together: shapes, bound to actions, with the small marks that tell what a part is for.

use super::{
    affordance::Affordance,
    canvas::Piece,
    chance::Chance,
    geometry::{P, p},
    paint::{Paint, Rgb, hex},
    shape::Shape,
};

/// An object in the making, in its own space of about 2 units across.
pub(super) struct Sketch<'a> {
    pub(super) chance: &'a mut Chance,
    pieces: Vec<Piece>,
    part: Option<Affordance>,
}

impl<'a> Sketch<'a> {
    pub(super) fn new(chance: &'a mut Chance) -> Self {
        Self { chance, pieces: Vec::new(), part: None }
    }

    pub(super) fn into_pieces(self) -> Vec<Piece> {
        self.pieces
    }

    /// What follows is for this action.
    pub(super) fn part(&mut self, affordance: Affordance) {
        self.part = Some(affordance);
    }

    /// What follows is for no action.
    pub(super) fn rest(&mut self) {
        self.part = None;
    }

    pub(super) fn range(&mut self, low: f32, high: f32) -> f32 {
        self.chance.range(low, high)
    }

    pub(super) fn add(&mut self, shape: Shape, paint: Paint) {
        self.pieces.push(Piece { shape, paint, part: self.part });
    }

    /// A rod from one point to another, its radius running from the first to the second.
    pub(super) fn rod(&mut self, from: P, to: P, radii: (f32, f32), paint: Paint) {
        self.add(Shape::Rod { from, to, radii }, paint);
    }

    pub(super) fn line(&mut self, points: Vec<P>, radius: f32, paint: Paint) {
        self.add(Shape::Line { points, radius }, paint);
    }

    pub(super) fn polygon(&mut self, points: &[(f32, f32)], rounding: f32, paint: Paint) {
        let points = points.iter().map(|&(x, y)| p(x, y)).collect();
        self.add(Shape::Polygon { points, rounding }, paint);
    }

    pub(super) fn ellipse(&mut self, centre: P, radii: P, paint: Paint) {
        self.add(Shape::Ellipse { centre, radii }, paint);
    }

    pub(super) fn ring(&mut self, centre: P, radii: P, half_width: f32, paint: Paint) {
        self.add(Shape::Ring { centre, radii, half_width }, paint);
    }

    pub(super) fn rect(&mut self, centre: P, half: P, rounding: f32, paint: Paint) {
        self.add(Shape::Box { centre, half, rounding }, paint);
    }

    /// The marks of the part's action on a stretch of it: from `from` to `to`, this far to both sides. They cover a small
    /// share of the part, while the truth is the whole of it.
    pub(super) fn marks(&mut self, from: P, to: P, half_width: f32) {
        let Some(affordance) = self.part else {
            return;
        };
        let colour = self.chance.pick([0x1d1d20, 0xf4efe2, 0x2a2f45, 0xffd76a, 0xd8402f]);
        let share = self.range(0.32, 0.45);
        let start = self.range(0.1, 0.9 - share);
        let stretch = Stretch {
            from: from + (to - from) * start,
            along: (to - from) * share,
            across: (to - from).unit().across() * half_width,
            unit: half_width.min((to - from).length() * share),
            ink: hex(colour),
        };
        stretch.draw(self, affordance);
    }
}

/// A stretch of a part that marks go on.
struct Stretch {
    from: P,
    along: P,
    across: P,
    /// The size of single marks.
    unit: f32,
    ink: Rgb,
}

impl Stretch {
    /// At this share of the length, and this share of the half width to the side.
    fn at(&self, along: f32, across: f32) -> P {
        self.from + self.along * along + self.across * across
    }

    fn rod(&self, sketch: &mut Sketch<'_>, from: P, to: P, thickness: f32) {
        let radius = thickness * self.unit;
        sketch.rod(from, to, (radius, radius), Paint::mark(self.ink));
    }

    fn spot(&self, sketch: &mut Sketch<'_>, at: P, radius: f32) {
        sketch.ellipse(at, p(radius, radius) * self.unit, Paint::mark(self.ink));
    }

    fn draw(&self, sketch: &mut Sketch<'_>, affordance: Affordance) {
        let steps = |count: u32| (0..count).map(move |step| (step as f32 + 0.5) / count as f32);
        match affordance {
            Affordance::Hold => steps(3).for_each(|t| self.spot(sketch, self.at(t, 0.0), 0.34)),
            Affordance::Swing => {
                steps(4).for_each(|t| self.rod(sketch, self.at(t - 0.1, -0.9), self.at(t + 0.1, 0.9), 0.14));
            }
            Affordance::Carry => steps(4).for_each(|t| {
                for side in [-0.55, 0.55] {
                    self.rod(sketch, self.at(t - 0.07, side), self.at(t + 0.07, side), 0.13);
                }
            }),
            Affordance::Push => steps(3).for_each(|t| {
                for side in [-0.75, 0.75] {
                    self.rod(sketch, self.at(t - 0.12, side), self.at(t + 0.12, 0.0), 0.15);
                }
            }),
            Affordance::CutWith => {
                let corners =
                    (0..=8_u8).map(|step| self.at(f32::from(step) / 8.0, if step % 2 == 0 { 0.6 } else { -0.1 }));
                let corners: Vec<P> = corners.collect();
                sketch.line(corners, 0.11 * self.unit, Paint::mark(self.ink));
            }
            Affordance::Hit => steps(2).for_each(|t| {
                self.rod(sketch, self.at(t - 0.2, -0.65), self.at(t + 0.2, 0.65), 0.12);
                self.rod(sketch, self.at(t - 0.2, 0.65), self.at(t + 0.2, -0.65), 0.12);
            }),
            Affordance::Pour => steps(2).for_each(|t| {
                let (head, tail) = (self.at(t, 0.25), self.at(t, -0.7));
                sketch.rod(head, tail, (0.32 * self.unit, 0.05 * self.unit), Paint::mark(self.ink));
            }),
            Affordance::Open => steps(5).for_each(|t| self.rod(sketch, self.at(t, -0.7), self.at(t, 0.7), 0.1)),
            Affordance::Press => {
                let radius = p(0.62, 0.62) * self.unit;
                sketch.ring(self.at(0.5, 0.0), radius, 0.1 * self.unit, Paint::mark(self.ink));
                self.spot(sketch, self.at(0.5, 0.0), 0.26);
            }
            Affordance::SitOn => steps(3).for_each(|t| {
                self.rod(sketch, self.at(t - 0.1, 0.0), self.at(t + 0.1, 0.0), 0.13);
                self.rod(sketch, self.at(t, -0.5), self.at(t, 0.5), 0.13);
            }),
            Affordance::Stir => [-0.45, 0.0, 0.45]
                .into_iter()
                .for_each(|side| self.rod(sketch, self.at(0.15, side), self.at(0.85, side), 0.12)),
            Affordance::DrinkWith => steps(4).for_each(|t| {
                let (side, end) = (self.across * 0.55, self.along * 0.09);
                let points =
                    [self.at(t, 0.0) - side, self.at(t, 0.0) + end, self.at(t, 0.0) + side, self.at(t, 0.0) - end];
                sketch.add(Shape::Polygon { points: points.to_vec(), rounding: 0.0 }, Paint::mark(self.ink));
            }),
        }
    }
}
