//! One picture of the set, from its place in it and the seed.

use image::RgbImage;

use super::{
    actor::{Actor, Occlusion},
    affordance::Affordance,
    backdrop::{self, Backdrop, Setting},
    canvas::{Canvas, Piece, Placed, SUPERSAMPLING, bounds},
    chance::Chance,
    geometry::{Frame, P, direction, p},
    hand::HandPose,
    kinds::{KINDS, Kind},
};

/// How many of the part's pixels occlusion is settled on.
const POINTS: usize = 160;

/// Which picture of the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shot {
    /// Index into [`KINDS`].
    pub kind: usize,
    /// One of the kind's.
    pub affordance: Affordance,
    /// Who looks at it.
    pub view: View,
    /// Which one of these: every number is another scene.
    pub number: u32,
}

/// Who looks at an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum View {
    /// Someone else uses it. The scene is the same at every level; only the actor moves.
    Exo(Occlusion),
    /// It is alone, for training.
    Ego,
    /// It is alone, for testing.
    Test,
}

/// A drawn picture.
#[derive(Debug)]
pub struct Drawn {
    /// The pixels.
    pub picture: RgbImage,
    /// How much of each pixel shows the part, row by row, 255 for all of it.
    pub mask: Vec<u8>,
    /// What the actor does; None where there is none.
    pub action: Option<Action>,
}

/// Someone using the object.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct Action {
    /// How much of the part it hides, of what showed before, in [0, 1].
    pub occluded: f64,
    /// The hand's pose.
    pub hand_pose: HandPose,
    /// The place.
    pub setting: Setting,
}

impl Shot {
    /// Draws it, `side` pixels wide and high. The same for the same seed and side, on every machine.
    pub fn draw(&self, seed: u64, side: usize) -> Drawn {
        let kind = &KINDS[self.kind % KINDS.len()];
        let exo = matches!(self.view, View::Exo(_));
        let mut chance = self.stream(seed, 0);
        let setting = if exo { Setting::of_action(self.affordance, &mut chance) } else { Setting::any(&mut chance) };
        let from_the_side = kind.stands || (exo && chance.happens(0.4));
        let backdrop = Backdrop::new(setting, from_the_side, &mut chance);
        let light = backdrop::light(&mut chance);
        let fine = side * SUPERSAMPLING;
        let size = fine as f32;
        let mut canvas = Canvas::new(fine, light, |at| backdrop.colour(at));
        let count = if exo { 2 + chance.below(4) } else { chance.below(3) };
        let mut around = backdrop::clutter(&backdrop, size, count, &mut chance);
        if exo && chance.happens(0.6) {
            around.push(distractor(self.kind, size, &mut chance));
        }
        let object = place(kind, exo, size, &mut chance);
        let grain = chance.seed();
        for thing in &around {
            canvas.shade(&[thing], 0.012 * size);
            canvas.draw(thing, None);
        }
        let action = match self.view {
            View::Exo(level) => Some(self.act(level, &mut canvas, &object, self.stream(seed, 1))),
            View::Ego | View::Test => {
                canvas.shade(&[&object], 0.02 * size);
                canvas.draw(&object, Some(self.affordance));
                None
            }
        };
        let action = action.map(|(occluded, hand_pose)| Action { occluded, hand_pose, setting });
        Drawn { picture: canvas.picture(grain), mask: canvas.part_mask(), action }
    }

    /// Draws the object with someone using it; says how much of the part is hidden, and the hand's pose.
    fn act(&self, level: Occlusion, canvas: &mut Canvas, object: &Placed, mut chance: Chance) -> (f64, HandPose) {
        let size = canvas.side as f32;
        // Where the part shows, on a canvas of its own.
        let mut plan = canvas.blank();
        plan.draw(object, Some(self.affordance));
        let points = plan.part_points(POINTS);
        let (low, high) = extent(&object.pieces, &object.frame);
        let actor = Actor::new(self.affordance, &points, (low + high) * 0.5, size, &mut chance);
        let act = actor.act(level, &points);
        if !matches!(self.affordance, Affordance::SitOn | Affordance::DrinkWith) && chance.happens(0.45) {
            canvas.draw(&actor.body(act.hand_at), None);
        }
        canvas.shade(&[object], 0.02 * size);
        canvas.draw(object, Some(self.affordance));
        let before = canvas.part_area();
        canvas.shade(&act.groups.iter().collect::<Vec<_>>(), 0.014 * size);
        act.groups.iter().for_each(|group| canvas.draw(group, None));
        (1.0 - canvas.part_area() / before.max(1.0), actor.pose)
    }

    /// Two streams: the scene's (0) and the actor's (1). Levels share both.
    fn stream(&self, seed: u64, which: u64) -> Chance {
        let view = match self.view {
            View::Exo(_) => 0,
            View::Ego => 1,
            View::Test => 2,
        };
        let pair = (self.kind as u64) << 8 | self.affordance as u64;
        Chance::new([seed, pair, view << 8 | which, u64::from(self.number)])
    }
}

/// The object, put on a canvas of this side.
fn place(kind: &Kind, exo: bool, side: f32, chance: &mut Chance) -> Placed {
    let pieces = kind.draw(chance);
    let turns = if kind.stands { chance.range(-0.025, 0.025) } else { chance.unit() };
    let target = if exo { chance.range(0.42, 0.58) } else { chance.range(0.6, 0.82) };
    let room = if exo { 0.1 } else { 0.05 };
    let centre = p(0.5 + chance.range(-room, room), 0.53 + chance.range(-room, room));
    let (stretch, mirrored) = ((chance.range(0.9, 1.1), chance.range(0.9, 1.1)), chance.happens(0.5));
    let flip = if mirrored { -1.0 } else { 1.0 };
    fitted(pieces, direction(turns), (stretch.0 * flip, stretch.1), (centre * side, target * side))
}

/// Another object of no interest, small, at the side.
fn distractor(but: usize, side: f32, chance: &mut Chance) -> Placed {
    let other = (but + 1 + chance.below(KINDS.len() - 1)) % KINDS.len();
    let pieces = KINDS[other].draw(chance).into_iter().map(|piece| Piece { part: None, ..piece }).collect();
    let turns = if KINDS[other].stands { 0.0 } else { chance.unit() };
    let centre = p(0.5 + chance.sign() * chance.range(0.3, 0.42), chance.range(0.2, 0.85));
    let size = chance.range(0.18, 0.28);
    fitted(pieces, direction(turns), (1.0, 1.0), (centre * side, size * side))
}

/// Pieces turned and stretched, then scaled and moved so that their longer side and their middle are as asked.
fn fitted(pieces: Vec<Piece>, along: P, stretch: (f32, f32), (centre, longer): (P, f32)) -> Placed {
    let frame = |origin, scale| Frame::new(origin, along, scale, false).stretched(stretch.0, stretch.1);
    let (low, high) = extent(&pieces, &frame(p(0.0, 0.0), 1.0));
    let scale = longer / (high.x - low.x).max(high.y - low.y).max(1e-3);
    let frame = frame(centre - (low + high) * (0.5 * scale), scale);
    Placed { pieces, frame }
}

/// A box that holds all pieces.
fn extent(pieces: &[Piece], frame: &Frame) -> (P, P) {
    let start = (p(f32::INFINITY, f32::INFINITY), p(f32::NEG_INFINITY, f32::NEG_INFINITY));
    pieces.iter().map(|piece| bounds(&piece.shape, frame)).fold(start, |(low, high), (a, b)| (low.min(a), high.max(b)))
}
