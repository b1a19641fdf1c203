//! Where a training step's features come from: the frozen backbone run live on pictures, or a store of what it said.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use tch::{Device, Kind, Tensor};

use super::{
    TrainError,
    backbone::{Backbone, Features, Keys},
};
use crate::{
    contract::Size,
    data::{
        DataError, Dataset,
        augment::{Augmentation, Augmenter},
        sampling::Draw,
    },
    export::vit::{IMAGENET_MEAN, IMAGENET_STD},
    perceive::{
        decode::{Limits, RgbView},
        picture,
        preprocess::Preprocessor,
    },
};

/// Pictures that the backbone takes at once: as quick as all at once, in a bounded part of the memory.
const AT_ONCE: usize = 16;

/// Where a training step's features come from: the backbone run live, or a store of them.
pub trait FeatureSource {
    /// Features of these draws, in their order: descriptors [B, N, D], or [B, N, 2D] of two blocks' keys; CLS attention
    /// [B, heads, N].
    ///
    /// # Errors
    /// A picture that can't be read, or a store that lacks it.
    fn train(&mut self, draws: &[Draw]) -> Result<Features, TrainError>;
    /// Features of these test items (index into [`Dataset::test`]), resized as evaluation does (stretched to the network
    /// size, no crop).
    ///
    /// # Errors
    /// As [`Self::train`].
    fn test(&mut self, items: &[usize]) -> Result<Features, TrainError>;
}

/// What [`Live`] works with.
#[derive(Debug, Clone, Copy)]
pub struct LiveParts<'a> {
    /// The network, frozen.
    pub backbone: &'a Backbone,
    /// The pictures.
    pub dataset: &'a Dataset,
    /// How training pictures are cut; its `crop` is the network's side, for test pictures too.
    pub augmentation: Augmentation,
    /// Larger pictures are refused.
    pub limits: Limits,
    /// Where the backbone's parameters lie, and its features will.
    pub device: Device,
}

/// Pictures decoded, augmented and sent through the backbone for every step anew.
#[derive(Debug)]
pub struct Live<'a>(LiveParts<'a>, Keys);

impl<'a> Live<'a> {
    /// Opens nothing yet.
    pub fn new(parts: LiveParts<'a>) -> Self {
        Self(parts, Keys::Last)
    }

    /// With descriptors of these keys.
    #[must_use]
    pub fn with_keys(self, keys: Keys) -> Self {
        Self(self.0, keys)
    }

    /// Runs the backbone on pictures of one size, u8 [side, side, 3] each.
    fn features(&self, pictures: &[Vec<u8>]) -> Result<Features, TrainError> {
        let LiveParts { backbone, augmentation, device, .. } = self.0;
        let side = i64::from(augmentation.crop);
        let mut parts = Vec::new();
        for pictures in pictures.chunks(AT_ONCE) {
            let image = normalised(pictures, side, device);
            // Not in half precision on a GPU: a store may be begun on one device and finished on another.
            parts.push(tch::no_grad(|| backbone.features(&image, self.1))?);
        }
        let joined = |of: fn(&Features) -> &Tensor| Tensor::cat(&parts.iter().map(of).collect::<Vec<_>>(), 0);
        let Some(Features { grid, .. }) = parts.first() else {
            let expected = "at least one".to_owned();
            return Err(TrainError::Values { what: "pictures", expected, found: "none".to_owned() });
        };
        Ok(Features {
            grid: *grid,
            descriptors: joined(|part| &part.descriptors),
            cls_attention: joined(|part| &part.cls_attention),
        })
    }
}

impl FeatureSource for Live<'_> {
    fn train(&mut self, draws: &[Draw]) -> Result<Features, TrainError> {
        let LiveParts { dataset, augmentation, limits, .. } = self.0;
        let cut = |augmenter: &mut Augmenter, index: usize| {
            let draw = draws[index];
            let path = dataset.train_picture(draw.id);
            let picture = picture::load(path, &limits)?;
            let cut = augmenter.run(&picture, draw.cut_seed(dataset)).map(<[u8]>::to_vec);
            cut.map_err(|cause| DataError::Resize { path: path.to_owned(), cause: cause.to_string() })
        };
        self.features(&on_all_cores(draws.len(), || Augmenter::new(augmentation), cut)?)
    }

    fn test(&mut self, items: &[usize]) -> Result<Features, TrainError> {
        let LiveParts { dataset, augmentation, limits, .. } = self.0;
        let network = Size { height: augmentation.crop, width: augmentation.crop };
        let stretch = |preprocessor: &mut Preprocessor, index: usize| {
            let path = &dataset.test[items[index]].picture;
            let picture = picture::load(path, &limits)?;
            let size = Size { height: picture.height(), width: picture.width() };
            let stretched = preprocessor.run(RgbView { size, data: picture.as_raw() }).map(<[u8]>::to_vec);
            stretched.map_err(|cause| DataError::Resize { path: path.clone(), cause: cause.to_string() })
        };
        self.features(&on_all_cores(items.len(), || Preprocessor::new(network), stretch)?)
    }
}

/// u8 [side, side, 3] each -> f32 [B, 3, side, side], normalised as the backbone was trained with.
pub(super) fn normalised(pictures: &[Vec<u8>], side: i64, device: Device) -> Tensor {
    let channels =
        |values: [f64; 3]| Tensor::from_slice(&values).to_kind(Kind::Float).to_device(device).reshape([3, 1, 1]);
    let image = Tensor::from_slice(&pictures.concat()).to_device(device);
    // [B, H, W, 3] -> [B, 3, H, W]
    let image = image.reshape([-1, side, side, 3]).permute([0, 3, 1, 2]).to_kind(Kind::Float) / 255.0;
    ((image - channels(IMAGENET_MEAN)) / channels(IMAGENET_STD)).contiguous()
}

/// `work` for each index below `count`, on all cores, each thread with a state of its own; results in order of the
/// indices. The first index that failed gives the error.
pub(super) fn on_all_cores<S, T: Send, E: Send>(
    count: usize,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, usize) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let (mut state, mut done) = (state(), Vec::new());
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return done;
            }
            done.push((index, work(&mut state, index)));
        }
    };
    let workers = thread::available_parallelism().map_or(1, usize::from).min(count);
    let mut done: Vec<(usize, Result<T, E>)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}
