//! A network whose training is over, to be tested on whatever there is to test with.

use std::{path::Path, sync::atomic::AtomicBool};

use ndarray::Array2;
use tch::Device;

use super::{
    LAST, Network, Prepared, Settings,
    checkpoint::Checkpoint,
    evaluate::{Evaluation, Test, evaluate, heat},
    learner::Learner,
};
use crate::{
    data::Dataset,
    export::layout::Sizes,
    perceive::decode::Limits,
    train::{
        TrainError,
        settings::TestedMaps,
        store::{Reading, Store},
    },
};

/// A network as its run's checkpoint has it.
#[derive(Debug)]
pub(in crate::train) struct Trained {
    learner: Learner,
    sizes: Sizes,
    settings: Settings,
    device: Device,
}

/// What to test a network on.
#[derive(Debug, Clone, Copy)]
pub(in crate::train) struct Tests<'a> {
    /// Its test items; its actions are the ones that the network was trained on.
    pub dataset: &'a Dataset,
    /// The feature store that has their pictures.
    pub store: &'a Path,
    /// Larger ground truth pictures are refused.
    pub limits: Limits,
}

impl Trained {
    /// The network of the run in this folder, however far it came.
    pub fn open(out: &Path, device: Device) -> Result<Self, TrainError> {
        let path = out.join(LAST);
        let Prepared { learner, sizes, state, .. } = Prepared::of(Checkpoint::read(&path)?, &path, device)?;
        Ok(Self { learner, sizes, settings: state.settings, device })
    }

    /// The maps that it has.
    pub fn maps(&self) -> &'static [TestedMaps] {
        match self.learner.network {
            Network::LoopTrans(..) => &[TestedMaps::Pixel, TestedMaps::Scam],
            Network::Locate(_) | Network::Wsma(_) => &[TestedMaps::Pixel],
        }
    }

    /// Scores these maps on every test item; None if `stop` was set on the way. `progress` is called with the items done.
    pub fn evaluate(
        &mut self,
        maps: TestedMaps,
        tests: &Tests<'_>,
        stop: &AtomicBool,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Option<Evaluation>, TrainError> {
        self.with(maps, tests, |test| evaluate(test, stop, progress))
    }

    /// These class maps [h, w] of some test items, each of its own action.
    pub fn heat(
        &mut self,
        maps: TestedMaps,
        tests: &Tests<'_>,
        items: &[usize],
    ) -> Result<Vec<Array2<f32>>, TrainError> {
        self.with(maps, tests, |test| {
            let texts = test.network.texts();
            heat(test, texts.as_ref(), items)
        })
    }

    fn with<T>(
        &mut self,
        maps: TestedMaps,
        tests: &Tests<'_>,
        work: impl FnOnce(&mut Test<'_>) -> Result<T, TrainError>,
    ) -> Result<T, TrainError> {
        if let Network::LoopTrans(_, tested) = &mut self.learner.network {
            *tested = maps;
        }
        let Tests { dataset, store, limits } = *tests;
        let (sizes, parameters, device) = (&self.sizes, &self.learner.parameters, self.device);
        let augmentation = self.settings.augmentation.of(sizes.input().height);
        let keys = self.settings.system.keys();
        let reading = Reading { folder: store, verify: false, parameters, sizes, keys, augmentation, dataset, device };
        let mut source = Store::open(&reading)?;
        work(&mut Test { network: &self.learner.network, source: &mut source, dataset, limits })
    }
}
