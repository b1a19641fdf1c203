//! Hands with their arms: the fingers point along +x, the arm lies along -x; half a palm is about 1.

use super::{
    affordance::Affordance,
    canvas::Piece,
    chance::Chance,
    geometry::{P, p},
    paint::{Material, Paint, hex, mix, times},
    shape::Shape,
};

/// What a hand does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum HandPose {
    Fist,
    Flat,
    Spread,
    Pinch,
    Point,
}

impl HandPose {
    const ALL: [Self; 5] = [Self::Fist, Self::Flat, Self::Spread, Self::Pinch, Self::Point];

    /// The usual one for the action, in nine of ten pictures: a cue that has nothing to do with the part.
    pub(super) fn of_action(affordance: Affordance, chance: &mut Chance) -> Self {
        let (any, usual) = (chance.pick(Self::ALL), chance.happens(0.9));
        if !usual {
            return any;
        }
        match affordance {
            Affordance::Hold | Affordance::Swing | Affordance::Carry => Self::Fist,
            Affordance::Push | Affordance::SitOn => Self::Flat,
            Affordance::CutWith | Affordance::Hit => Self::Spread,
            Affordance::Open | Affordance::Stir => Self::Pinch,
            Affordance::Press | Affordance::Pour | Affordance::DrinkWith => Self::Point,
        }
    }
}

/// A person's colours.
#[derive(Debug, Clone, Copy)]
pub(super) struct Looks {
    pub(super) skin: Paint,
    pub(super) hair: Paint,
    pub(super) shirt: Paint,
    pub(super) trousers: Paint,
}

impl Looks {
    pub(super) fn any(chance: &mut Chance) -> Self {
        let (skin, flush) = chance.pick([
            (0xf1c9a5, 0xe0a887),
            (0xe3b48c, 0xcc9168),
            (0xc68e63, 0xa9714a),
            (0x9a6440, 0x7d4c2e),
            (0x6d452d, 0x553321),
            (0xf4d6bd, 0xe8b399),
        ]);
        let hair = chance.pick([0x2a1d15, 0x5a3a22, 0x8a6236, 0x1a1a1c, 0xb9a58a, 0x7a3a20]);
        let skin = Paint::new(Material::Skin, hex(skin), hex(flush), chance.seed()).bevel(0.2);
        let hair = Paint::new(Material::Cloth, hex(hair), times(hex(hair), 0.7), chance.seed());
        let shirt = super::paint::cloth(chance).bevel(0.3);
        Self { skin, hair, shirt, trousers: super::paint::cloth(chance).bevel(0.3) }
    }
}

/// A hand and its arm, whose sleeve is of the shirt; `length` is the arm's, in half palms.
pub(super) fn hand(pose: HandPose, looks: &Looks, length: f32) -> Vec<Piece> {
    let mut drawing = Drawing { pieces: Vec::new(), skin: looks.skin };
    drawing.rod(p(-length, 0.0), p(-0.7, 0.0), (0.72, 0.5));
    let cuff = p(-1.9, 0.0);
    let sleeve = Shape::Rod { from: p(-length - 1.0, 0.0), to: cuff, radii: (0.82, 0.64) };
    drawing.add(sleeve, looks.shirt);
    let band = Shape::Box { centre: cuff + p(0.52, 0.0), half: p(0.14, 0.68), rounding: 0.1 };
    drawing.add(band, Paint { base: times(looks.shirt.base, 0.8), second: looks.shirt.base, ..looks.shirt }.bevel(0.1));
    drawing.palm();
    match pose {
        HandPose::Fist => {
            (0..4_u8).for_each(|finger| drawing.curled(finger));
            drawing.rod(p(-0.35, -0.68), p(0.5, -0.86), (0.24, 0.2));
        }
        HandPose::Flat => {
            (0..4_u8).for_each(|finger| drawing.straight(finger, 0.0));
            drawing.rod(p(-0.4, -0.55), p(0.35, -1.05), (0.25, 0.19));
        }
        HandPose::Spread => {
            (0..4_u8).for_each(|finger| drawing.straight(finger, 0.5));
            drawing.rod(p(-0.4, -0.5), p(0.25, -1.45), (0.26, 0.19));
        }
        HandPose::Pinch => {
            (1..4_u8).for_each(|finger| drawing.curled(finger));
            drawing.line(vec![p(0.45, -0.52), p(1.1, -0.72), p(1.42, -0.5)], 0.19);
            drawing.line(vec![p(-0.35, -0.62), p(0.5, -1.05), p(1.28, -0.72)], 0.21);
        }
        HandPose::Point => {
            (1..4_u8).for_each(|finger| drawing.curled(finger));
            drawing.straight(0, 0.0);
            drawing.rod(p(-0.3, -0.66), p(0.55, -0.8), (0.24, 0.2));
        }
    }
    drawing.pieces
}

struct Drawing {
    pieces: Vec<Piece>,
    skin: Paint,
}

impl Drawing {
    fn add(&mut self, shape: Shape, paint: Paint) {
        self.pieces.push(Piece { shape, paint, part: None });
    }

    fn rod(&mut self, from: P, to: P, radii: (f32, f32)) {
        self.add(Shape::Rod { from, to, radii }, self.skin);
    }

    fn line(&mut self, points: Vec<P>, radius: f32) {
        self.add(Shape::Line { points, radius }, self.skin);
    }

    fn palm(&mut self) {
        let shape = Shape::Box { centre: p(-0.15, 0.0), half: p(0.78, 0.76), rounding: 0.42 };
        self.add(shape, self.skin.bevel(0.35));
    }

    /// A finger bent over: its knuckle and the nail end.
    fn curled(&mut self, finger: u8) {
        let y = -0.57 + 0.38 * f32::from(finger);
        self.rod(p(0.2, y), p(0.78, y), (0.2, 0.22));
        self.rod(p(0.72, y), p(0.92, y), (0.19, 0.18));
    }

    /// A finger stretched out, spread by a share.
    fn straight(&mut self, finger: u8, spread: f32) {
        let y = -0.56 + 0.37 * f32::from(finger);
        let reach = [1.45, 1.62, 1.5, 1.22][usize::from(finger.min(3))];
        let tip = p(reach, y * (1.0 + 1.3 * spread));
        self.rod(p(0.3, y), tip, (0.2, 0.17));
        let nail = Paint::mark(mix(self.skin.base, hex(0xfff0e8), 0.45));
        let shape = Shape::Ellipse { centre: tip - p(-0.02, 0.0), radii: p(0.12, 0.1) };
        self.add(shape, nail);
    }
}
