//! Someone who acts on a part, and how much of it they hide.
//!
//! An actor is placed where it hides the part, grown until it hides nearly all of it, and then backed away along its own
//! arm until it hides what is asked for. The share is measured on the part's visible pixels.

use super::{
    affordance::Affordance,
    canvas::{Piece, Placed},
    chance::Chance,
    geometry::{Frame, P, direction, p},
    hand::{self, HandPose, Looks},
    paint::{self, Material, Paint, hex, times},
    shape::Shape,
};

/// How much of the part an actor hides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Occlusion {
    /// Nothing: about to act.
    None,
    /// About half of it.
    Partial,
    /// Nearly all of it.
    Full,
}

impl Occlusion {
    /// From little to much.
    pub const ALL: [Self; 3] = [Self::None, Self::Partial, Self::Full];

    /// The word in folder names.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Partial => "partial",
            Self::Full => "full",
        }
    }
}

/// The least share that counts as full; actors grow until they hide it.
const FULL_SHARE: f32 = 0.9;

/// Where the part lies on the canvas, in canvas pixels.
struct Extent {
    centre: P,
    /// Its long axis.
    axis: P,
    half_length: f32,
    half_width: f32,
}

/// Someone, with all that is drawn by chance settled.
pub(super) struct Actor {
    affordance: Affordance,
    pub(super) pose: HandPose,
    pub(super) looks: Looks,
    /// Away from the object, along the arm.
    pub(super) retreat: P,
    extent: Extent,
    /// What is acted on with a tool: its colours.
    patient: Paint,
    mirrored: bool,
    side: f32,
}

/// What the actor adds to the picture.
pub(super) struct Act {
    pub(super) groups: Vec<Placed>,
    /// Where the shoulder is, for the body.
    pub(super) hand_at: P,
}

impl Actor {
    /// For a part that shows at `points` (at least one), of an object around `middle`, on a canvas of this side.
    pub(super) fn new(affordance: Affordance, points: &[P], middle: P, side: f32, chance: &mut Chance) -> Self {
        let extent = Extent::of(points);
        let jitter = direction(chance.range(-0.06, 0.06));
        let any_side = direction(chance.range(0.0, 0.5));
        let outward = extent.centre - middle;
        let outward = if outward.length() > 0.04 * side { outward.unit() } else { any_side };
        let mut retreat = outward;
        if extent.half_length > 1.7 * extent.half_width {
            // A hand goes round a handle, across it.
            let across = extent.axis.across();
            let towards = if across.dot(outward).abs() > 0.2 { outward } else { any_side };
            retreat = if across.dot(towards) < 0.0 { across * -1.0 } else { across };
        }
        let retreat = p(retreat.x * jitter.x - retreat.y * jitter.y, retreat.x * jitter.y + retreat.y * jitter.x);
        // People stand up from seats, and take their mouth off a rim, in their own ways.
        let retreat = match affordance {
            Affordance::SitOn => p(chance.range(-0.25, 0.25), -1.0).unit(),
            Affordance::DrinkWith => p(chance.sign(), chance.range(-0.6, -0.2)).unit(),
            _ => retreat,
        };
        let mirrored = chance.happens(0.5);
        Self {
            affordance,
            pose: HandPose::of_action(affordance, chance),
            looks: Looks::any(chance),
            retreat,
            extent,
            patient: paint::body(chance),
            // A face looks at what it drinks from.
            mirrored: if affordance == Affordance::DrinkWith { retreat.x < 0.0 } else { mirrored },
            side,
        }
    }

    /// The act that hides as much of the points as the level says, and what it hides of them.
    pub(super) fn act(&self, level: Occlusion, points: &[P]) -> Act {
        let mut size = 1.0;
        while size < 3.0 && hidden(&self.cast(size, 0.0).groups, points) < FULL_SHARE {
            size *= 1.1;
        }
        let step = self.side / 80.0;
        let shares = (0_u8..70).map(|steps| {
            let away = f32::from(steps) * step;
            (away, hidden(&self.cast(size, away).groups, points))
        });
        let away = match level {
            Occlusion::Full => 0.0,
            Occlusion::Partial => {
                let gap = |share: f32| (share - 0.5).abs();
                shares
                    .fold((0.0, 9.0), |best, (away, share)| if gap(share) < best.1 { (away, gap(share)) } else { best })
                    .0
            }
            Occlusion::None => {
                // Once it hides nothing, and not only in between: two hands may pass over a ring.
                let last = shares.rev().find(|(_, share)| *share > 0.0);
                last.map_or(0.0, |(away, _)| away + 2.0 * step)
            }
        };
        self.cast(size, away)
    }

    fn cast(&self, size: f32, away: f32) -> Act {
        let shift = self.retreat * away;
        let Extent { centre, axis, half_length, half_width } = self.extent;
        let scale = half_length.max(half_width) * size;
        let flip = if self.mirrored { -1.0 } else { 1.0 };
        let upright = Frame::new(centre + shift, p(1.0, 0.0), scale, false).stretched(flip, 1.0);
        let long = Frame::new(centre + shift, axis, scale, self.mirrored);
        let (pieces, frame) = match self.affordance {
            Affordance::CutWith => (self.loaf(), long),
            Affordance::Hit => (self.ball(), upright),
            Affordance::Stir => (self.pot(), upright),
            Affordance::Pour => (self.cup(), upright),
            Affordance::DrinkWith => (self.face(), upright),
            Affordance::SitOn => return self.sitters(size, shift),
            _ => return self.hands(size, shift),
        };
        let hand_at = centre + shift + self.retreat * (scale * 0.8);
        let unit = (half_length * 0.45).clamp(0.045 * self.side, 0.075 * self.side);
        let hand = self.hand(hand_at, unit);
        Act { groups: vec![Placed { pieces, frame }, hand], hand_at }
    }

    /// Someone on a seat, or two on a long one, with a hand on the knee.
    fn sitters(&self, size: f32, shift: P) -> Act {
        let Extent { centre, axis, half_length, half_width } = self.extent;
        let (apart, scale) =
            if half_length > 4.5 * half_width { (half_length * 0.5, half_length * 0.56) } else { (0.0, half_length) };
        let places = if apart > 0.0 { vec![-apart, apart] } else { vec![0.0] };
        let frame = |along: f32| Frame::new(centre + shift + axis * along, p(1.0, 0.0), scale * size, false);
        let tall = (half_width / scale).clamp(0.3, 1.0);
        let mut groups: Vec<Placed> =
            places.iter().map(|along| Placed { pieces: self.sitter(tall), frame: frame(*along) }).collect();
        let hand_at = frame(places[0]).place(p(0.6, 0.2));
        groups.push(self.hand(hand_at, (scale * size * 0.22).min(0.06 * self.side)));
        Act { groups, hand_at }
    }

    /// One hand on the part, or two on a long one.
    fn hands(&self, size: f32, shift: P) -> Act {
        let Extent { centre, axis, half_length, half_width } = self.extent;
        let unit = (half_length * 0.75).max(half_width * 0.9).clamp(0.05 * self.side, 0.075 * self.side) * size;
        let apart = half_length - 0.7 * unit;
        let places = if apart > 0.7 * unit { vec![-apart, apart] } else { vec![0.0] };
        // The palm's middle, not the wrist, is on the part.
        let at = |along: f32| centre + shift + axis * along + self.retreat * (0.1 * unit);
        let groups = places.iter().map(|along| self.hand(at(*along), unit)).collect();
        Act { groups, hand_at: at(0.0) }
    }

    fn hand(&self, at: P, unit: f32) -> Placed {
        let length = (1.5 * self.side / unit).min(40.0);
        let towards = match self.affordance {
            Affordance::SitOn => p(-0.6, 0.8),
            _ => self.retreat * -1.0,
        };
        let length = if self.affordance == Affordance::SitOn { 3.2 } else { length };
        let frame = Frame::new(at, towards, unit, self.mirrored);
        Placed { pieces: hand::hand(self.pose, &self.looks, length), frame }
    }

    /// Head and shoulders at the border, behind the object.
    pub(super) fn body(&self, hand_at: P) -> Placed {
        let side = self.side;
        let mut at = hand_at;
        while at.x > 0.04 * side && at.x < 0.96 * side && at.y > 0.04 * side && at.y < 0.96 * side {
            at = at + self.retreat * (0.02 * side);
        }
        let Looks { skin, hair, shirt, .. } = self.looks;
        let piece = |shape, paint| Piece { shape, paint, part: None };
        let oval = |x, y, rx, ry| Shape::Ellipse { centre: p(x, y), radii: p(rx, ry) };
        let pieces = vec![
            piece(Shape::Box { centre: p(0.0, 1.7), half: p(1.15, 1.7), rounding: 0.6 }, shirt),
            piece(Shape::Rod { from: p(0.0, 0.2), to: p(0.0, -0.3), radii: (0.3, 0.3) }, skin),
            piece(oval(0.0, -0.95, 0.66, 0.74), hair),
            piece(oval(0.08, -0.78, 0.55, 0.66), skin),
        ];
        // Looking inwards.
        let inwards = if at.x > side / 2.0 { -1.0 } else { 1.0 };
        Placed { pieces, frame: Frame::new(at, p(1.0, 0.0), side * 0.15, false).stretched(inwards, 1.0) }
    }

    fn loaf(&self) -> Vec<Piece> {
        let tall = (self.extent.half_width / self.extent.half_length * 1.15).clamp(0.45, 1.1);
        let crust = Paint::new(Material::Leather, hex(0xd09a55), hex(0xa86f33), self.patient.seed).bevel(0.35);
        let mut pieces =
            vec![plain(Shape::Box { centre: p(0.0, 0.0), half: p(1.05, tall), rounding: tall * 0.8 }, crust)];
        for x in [-0.5, 0.0, 0.5] {
            let cut = Shape::Rod { from: p(x - 0.1, -tall * 0.5), to: p(x + 0.1, tall * 0.5), radii: (0.05, 0.05) };
            pieces.push(plain(cut, Paint::mark(hex(0xf0d9a8))));
        }
        pieces
    }

    fn ball(&self) -> Vec<Piece> {
        let surface = Paint { bevel: 0.8, ..self.patient };
        let seam = Paint::mark(times(self.patient.base, 0.5));
        let arc =
            |x: f32| Shape::Line { points: super::shape::curve(p(x, -0.7), p(x * 0.2, 0.0), p(x, 0.7)), radius: 0.03 };
        vec![plain(disc(0.95), surface), plain(arc(-0.6), seam), plain(arc(0.6), seam)]
    }

    fn pot(&self) -> Vec<Piece> {
        let steel = Paint::new(Material::Metal, hex(0xc9cdd2), hex(0x7f868d), self.patient.seed).bevel(0.12);
        let soup = Paint { material: Material::Leather, ..self.patient }.bevel(0.1);
        vec![plain(disc(1.3), steel), plain(disc(1.12), Paint { second: times(soup.base, 0.9), ..soup })]
    }

    fn cup(&self) -> Vec<Piece> {
        let points = vec![p(-0.95, -0.95), p(0.95, -0.95), p(0.75, 1.1), p(-0.75, 1.1)];
        let rim = Shape::Ellipse { centre: p(0.0, -0.95), radii: p(1.0, 0.22) };
        let surface = Paint { bevel: 0.5, ..self.patient };
        vec![
            plain(Shape::Polygon { points, rounding: 0.06 }, surface),
            plain(rim, Paint::mark(times(surface.base, 0.6))),
        ]
    }

    fn face(&self) -> Vec<Piece> {
        let Looks { skin, hair, shirt, .. } = self.looks;
        let oval = |x, y, rx, ry| Shape::Ellipse { centre: p(x, y), radii: p(rx, ry) };
        let dark = Paint::mark(hex(0x2a2020));
        vec![
            plain(Shape::Rod { from: p(0.75, 0.75), to: p(2.9, 2.1), radii: (0.5, 1.2) }, shirt),
            plain(oval(0.35, -0.3, 1.15, 1.2), hair),
            plain(oval(0.0, 0.05, 1.0, 1.1), skin.bevel(0.5)),
            plain(oval(0.95, 0.1, 0.2, 0.28), skin),
            plain(oval(-0.5, -0.15, 0.09, 0.12), dark),
            plain(oval(0.15, -0.15, 0.09, 0.12), dark),
            plain(Shape::Rod { from: p(-0.35, 0.05), to: p(-0.42, 0.3), radii: (0.07, 0.12) }, skin.bevel(0.1)),
        ]
    }

    fn sitter(&self, tall: f32) -> Vec<Piece> {
        let Looks { skin, hair, shirt, trousers } = self.looks;
        let rod = |from, to, radii| Shape::Rod { from, to, radii };
        let oval = |x, y, rx, ry| Shape::Ellipse { centre: p(x, y), radii: p(rx, ry) };
        let shoe = Paint::new(Material::Leather, hex(0x33302e), hex(0x1a1817), 1);
        let mut pieces = vec![plain(oval(0.0, -2.55, 0.46, 0.5), hair), plain(oval(0.03, -2.42, 0.38, 0.44), skin)];
        for x in [-0.62, 0.62] {
            pieces.push(plain(rod(p(x, 0.1), p(x * 1.1, 1.75), (0.36, 0.22)), trousers));
            pieces.push(plain(oval(x * 1.2, 1.85, 0.3, 0.16), shoe));
        }
        pieces.push(plain(oval(0.0, 0.0, 1.1, 0.28 + tall), trousers));
        let torso =
            Shape::Polygon { points: vec![p(-0.6, -1.7), p(0.6, -1.7), p(0.65, -0.1), p(-0.65, -0.1)], rounding: 0.25 };
        pieces.push(plain(torso, shirt));
        pieces
    }
}

impl Extent {
    fn of(points: &[P]) -> Self {
        let share = 1.0 / points.len().max(1) as f32;
        let centre = points.iter().fold(p(0.0, 0.0), |sum, point| sum + *point) * share;
        let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
        for point in points {
            let d = *point - centre;
            (xx, xy, yy) = (xx + d.x * d.x, xy + d.x * d.y, yy + d.y * d.y);
        }
        // The eigenvector of the larger eigenvalue of [[xx, xy], [xy, yy]].
        let half = (xx - yy) * 0.5;
        let root = (half * half + xy * xy).sqrt();
        let axis = if half > 0.0 { p(half + root, xy) } else { p(xy, root - half) }.unit();
        let reach = |along: P| points.iter().map(|point| (*point - centre).dot(along).abs()).fold(1.0, f32::max);
        Self { centre, axis, half_length: reach(axis), half_width: reach(axis.across()) }
    }
}

fn plain(shape: Shape, paint: Paint) -> Piece {
    Piece { shape, paint, part: None }
}

fn disc(radius: f32) -> Shape {
    Shape::Ellipse { centre: p(0.0, 0.0), radii: p(radius, radius) }
}

/// The share of the points that the groups cover.
fn hidden(groups: &[Placed], points: &[P]) -> f32 {
    let covers = |group: &Placed, point: &P| {
        let local = group.frame.local(*point);
        group.pieces.iter().any(|piece| piece.shape.distance(local) < 0.0)
    };
    let count = points.iter().filter(|point| groups.iter().any(|group| covers(group, point))).count();
    count as f32 / points.len().max(1) as f32
}
