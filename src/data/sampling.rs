//! Which pictures make a training sample (published code): one exocentric picture gives the label; two more of the same
//! folder (WSMA: three that follow each other) and one egocentric picture of the same object are drawn to it.
//!
//! Every draw follows from (seed, epoch, place in the epoch) alone: an epoch can be taken up in its middle and goes on as it
//! would have.

use std::path::Path;

use rand::{
    Rng, RngExt, SeedableRng,
    rngs::ChaCha8Rng,
    seq::{SliceRandom, index},
};

use sha2::{Digest, Sha256};

use super::index::Dataset;

/// Exocentric pictures of a sample.
pub const EXO_PER_SAMPLE: usize = 3;
/// A folder with more exocentric pictures than this gives distinct ones.
const FEW: usize = 3;

/// A picture of the training set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PictureId {
    /// Index into [`Dataset::train`].
    pub folder: usize,
    /// Which of the folder's two lists.
    pub view: View,
    /// Index into that list.
    pub picture: usize,
}

/// Whose eyes a picture is taken with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum View {
    /// Someone else's: a person uses the object.
    Exo,
    /// One's own: the object alone.
    Ego,
}

/// A picture with how it is to be augmented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw {
    /// The picture.
    pub id: PictureId,
    /// Of the augmentation. One variant of a picture is one number; see [`Self::cut_seed`].
    pub seed: u64,
}

impl Draw {
    /// What [`super::augment::Augmenter`] is to be given: the seed together with the picture's place in the dataset, for
    /// pictures of one variant are not all cut alike.
    pub fn cut_seed(&self, dataset: &Dataset) -> u64 {
        let path = dataset.train_picture(self.id);
        let place = path.strip_prefix(&dataset.folder).unwrap_or(path);
        let mut hash = Sha256::new();
        hash.update(self.seed.to_le_bytes());
        hash.update(place.as_os_str().as_encoded_bytes());
        let mut head = [0; 8];
        head.copy_from_slice(&hash.finalize()[..8]);
        u64::from_le_bytes(head)
    }
}

impl Dataset {
    /// The file of a training picture of this dataset.
    pub fn train_picture(&self, PictureId { folder, view, picture }: PictureId) -> &Path {
        let folder = &self.train[folder];
        match view {
            View::Exo => &folder.exo[picture],
            View::Ego => &folder.ego[picture],
        }
    }
}

/// One training sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// The action's index.
    pub label: usize,
    /// The exocentric pictures; by [`ExoRule::Drawn`] the first is the one the sample is named after.
    pub exo: [Draw; EXO_PER_SAMPLE],
    /// The egocentric picture.
    pub ego: Draw,
}

/// How often a picture can look different.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variants {
    /// Every draw is augmented anew.
    Endless,
    /// Each picture has this many fixed augmentations (at least 1): what a feature store can hold.
    Fixed(u32),
}

/// Which exocentric pictures of a folder make a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExoRule {
    /// The one that the sample is named after, and two more drawn: LOCATE and LoopTrans.
    #[default]
    Drawn,
    /// Three that follow each other in the folder's list, from a random place on: WSMA's published code. The last one of more
    /// than three is never taken, and the one that the sample is named after need not be among them.
    Consecutive,
}

/// The samples of all epochs.
#[derive(Debug, Clone)]
pub struct Sampler<'a> {
    dataset: &'a Dataset,
    seed: u64,
    variants: Variants,
    exo: ExoRule,
}

impl<'a> Sampler<'a> {
    /// For one run of training.
    pub fn new(dataset: &'a Dataset, seed: u64, variants: Variants) -> Self {
        Self { dataset, seed, variants, exo: ExoRule::Drawn }
    }

    /// The same with the exocentric pictures that this rule takes.
    #[must_use]
    pub fn with_exo(self, exo: ExoRule) -> Self {
        Self { exo, ..self }
    }

    /// The epoch's order: each exocentric picture once, as (folder, picture).
    pub fn order(&self, epoch: u64) -> Vec<(usize, usize)> {
        let folders = self.dataset.train.iter().enumerate();
        let mut order: Vec<_> = folders
            .flat_map(|(folder, pictures)| (0..pictures.exo.len()).map(move |picture| (folder, picture)))
            .collect();
        order.shuffle(&mut self.generator(Purpose::Order, epoch, 0));
        order
    }

    /// The sample at `place` of the epoch, which [`Self::order`] named (folder, picture).
    pub fn sample(&self, (folder, first): (usize, usize), epoch: u64, place: u64) -> Sample {
        let pictures = &self.dataset.train[folder];
        let mut generator = self.generator(Purpose::Sample, epoch, place);
        let chosen = match self.exo {
            ExoRule::Drawn => {
                let others = others(first, pictures.exo.len(), &mut generator);
                [first, others[0], others[1]]
            }
            ExoRule::Consecutive => run(pictures.exo.len(), &mut generator),
        };
        let mut draw = |view, picture| {
            let id = PictureId { folder, view, picture };
            Draw { id, seed: self.variant(&mut generator) }
        };
        let exo = chosen.map(|picture| draw(View::Exo, picture));
        let mut generator = self.generator(Purpose::Ego, epoch, place);
        let id = PictureId { folder, view: View::Ego, picture: generator.random_range(0..pictures.ego.len()) };
        let ego = Draw { id, seed: self.variant(&mut generator) };
        Sample { label: pictures.label, exo, ego }
    }

    fn variant(&self, generator: &mut impl Rng) -> u64 {
        match self.variants {
            Variants::Endless => generator.next_u64(),
            Variants::Fixed(count) => u64::from(generator.random_range(0..count.max(1))),
        }
    }

    fn generator(&self, purpose: Purpose, epoch: u64, place: u64) -> ChaCha8Rng {
        let mut key = [0; 32];
        for (part, number) in key.chunks_exact_mut(8).zip([self.seed, purpose as u64, epoch, place]) {
            part.copy_from_slice(&number.to_le_bytes());
        }
        ChaCha8Rng::from_seed(key)
    }
}

/// What random numbers are for: each has a stream of its own.
#[derive(Debug, Clone, Copy)]
enum Purpose {
    Order,
    Sample,
    Ego,
}

/// Two more pictures of a folder of `count`: other ones, and different, where it has enough; any where it has few.
fn others(first: usize, count: usize, generator: &mut impl Rng) -> [usize; 2] {
    if count > FEW {
        let drawn = index::sample(generator, count - 1, EXO_PER_SAMPLE - 1);
        // Indices without the first one close up.
        [drawn.index(0), drawn.index(1)].map(|index| if index >= first { index + 1 } else { index })
    } else {
        [0, 1].map(|_| generator.random_range(0..count))
    }
}

/// Three pictures of a folder of `count` that follow each other; the last one again where there are fewer.
fn run(count: usize, generator: &mut impl Rng) -> [usize; EXO_PER_SAMPLE] {
    let start = if count > FEW { generator.random_range(0..count - FEW) } else { 0 };
    std::array::from_fn(|place| (start + place).min(count.saturating_sub(1)))
}
