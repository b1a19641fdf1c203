//! The kinds of objects: which actions they afford, and how one of them is drawn.

mod furniture;
mod tools;
mod vessels;

use super::{
    affordance::Affordance::{self, Carry, CutWith, DrinkWith, Hit, Hold, Open, Pour, Press, Push, SitOn, Stir, Swing},
    canvas::Piece,
    chance::Chance,
    sketch::Sketch,
};

/// A kind of object.
pub struct Kind {
    /// Its folder's name.
    pub name: &'static str,
    /// What it affords, one part each.
    pub affordances: &'static [Affordance],
    /// Kept out of training: the objects of the Unseen split's tests.
    pub held_out: bool,
    /// Stands on something, seen from the side; the others lie, seen from above.
    pub(super) stands: bool,
    draw: fn(&mut Sketch<'_>),
}

impl Kind {
    /// One object of this kind, different at each draw.
    pub(super) fn draw(&self, chance: &mut Chance) -> Vec<Piece> {
        let mut sketch = Sketch::new(chance);
        (self.draw)(&mut sketch);
        sketch.into_pieces()
    }
}

const fn stands(name: &'static str, affordances: &'static [Affordance], draw: fn(&mut Sketch<'_>)) -> Kind {
    Kind { name, affordances, held_out: false, stands: true, draw }
}

const fn lies(name: &'static str, affordances: &'static [Affordance], draw: fn(&mut Sketch<'_>)) -> Kind {
    Kind { name, affordances, held_out: false, stands: false, draw }
}

const fn held_out(kind: Kind) -> Kind {
    Kind { held_out: true, ..kind }
}

/// All kinds. Their places in this list are part of what pictures are drawn from: new ones go to the end.
pub const KINDS: [Kind; 28] = [
    stands("mug", &[DrinkWith, Hold], vessels::mug),
    stands("kettle", &[Hold, Open, Pour], vessels::kettle),
    stands("bottle", &[Open, Pour], vessels::bottle),
    stands("wine_glass", &[DrinkWith, Hold], vessels::wine_glass),
    stands("spray_bottle", &[Hold, Press], vessels::spray_bottle),
    stands("dispenser", &[Open, Press], vessels::dispenser),
    lies("pan", &[Hold, Open], vessels::pan),
    lies("knife", &[CutWith, Hold], tools::knife),
    lies("scissors", &[CutWith, Hold], tools::scissors),
    lies("hammer", &[Hit, Hold], tools::hammer),
    lies("racket", &[Hit, Swing], tools::racket),
    lies("bat", &[Hit, Swing], tools::bat),
    lies("spoon", &[Hold, Stir], tools::spoon),
    lies("whisk", &[Hold, Stir], tools::whisk),
    stands("suitcase", &[Carry, Open, Push], furniture::suitcase),
    stands("chair", &[Push, SitOn], furniture::chair),
    stands("wheelchair", &[Push, SitOn], furniture::wheelchair),
    stands("handbag", &[Carry, Open], furniture::handbag),
    stands("watering_can", &[Carry, Pour], furniture::watering_can),
    held_out(stands("jug", &[Hold, Pour], vessels::jug)),
    held_out(stands("travel_cup", &[DrinkWith, Open], vessels::travel_cup)),
    held_out(stands("airpot", &[Pour, Press], vessels::airpot)),
    held_out(lies("saw", &[CutWith, Hold], tools::saw)),
    held_out(lies("axe", &[CutWith, Swing], tools::axe)),
    held_out(lies("ladle", &[Hold, Stir], tools::ladle)),
    held_out(lies("golf_club", &[Hit, Swing], tools::golf_club)),
    held_out(stands("basket", &[Carry, Open], furniture::basket)),
    held_out(stands("bench", &[Push, SitOn], furniture::bench)),
];

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn actions_are_shared_between_objects_and_objects_have_several() {
        for held_out in [false, true] {
            let mut objects: BTreeMap<Affordance, usize> = BTreeMap::new();
            for kind in KINDS.iter().filter(|kind| kind.held_out == held_out) {
                assert!(kind.affordances.len() >= 2, "{}", kind.name);
                kind.affordances.iter().for_each(|affordance| *objects.entry(*affordance).or_default() += 1);
            }
            assert_eq!(objects.len(), Affordance::ALL.len(), "every action is there, held out or not: {held_out}");
            let fewest = objects.values().min();
            assert!(fewest >= Some(&if held_out { 1 } else { 2 }), "{objects:?}");
        }
        let names: BTreeSet<&str> = KINDS.iter().map(|kind| kind.name).collect();
        assert_eq!(names.len(), KINDS.len());
    }

    #[test]
    fn every_kind_draws_a_part_for_each_of_its_actions_and_no_other() {
        for (place, kind) in KINDS.iter().enumerate() {
            for draw in 0..20 {
                let pieces = kind.draw(&mut Chance::new([place as u64, draw, 0, 0]));
                let parts: BTreeSet<Affordance> = pieces.iter().filter_map(|piece| piece.part).collect();
                assert_eq!(parts, kind.affordances.iter().copied().collect(), "{}", kind.name);
            }
        }
    }
}
