//! LOCATE (CVPR 2023): one branch per view, no noise heads.

use tch::{Tensor, nn};

use super::{
    TrainError,
    adapter::Adapter,
    backbone::{Backbone, Features},
    classifier::{Classifier, logits},
    looptrans::{Maps, exo_per_ego},
    norm::Norm,
    theta_pixel::ThetaPixel,
    theta_scam::ThetaScam,
    trace::{Trace, Tracer},
};
use crate::export::layout::Sizes;

/// The network. Parameters: `vit_model`, `aff_proj`, `aff_exo_proj` (Theta_scam's place), `aff_ego_proj`
/// (Theta_pixel's), `aff_fc`.
#[derive(Debug)]
pub struct Locate {
    /// DINO; frozen in training.
    pub backbone: Backbone,
    adapter: Adapter,
    exo_branch: ThetaScam,
    ego_branch: ThetaPixel,
    classifier: Classifier,
}

/// What a training step computes losses from. b: egocentric images, n: exocentric images of each, C: actions.
#[derive(Debug)]
pub struct Step {
    /// G_exo [b, n, C, h, w].
    pub exo_maps: Tensor,
    /// P [b, C, h, w].
    pub ego_maps: Tensor,
    /// Class scores [b, n, C] of G_exo.
    pub exo_logits: Tensor,
    /// Class scores [b, C] of P.
    pub ego_logits: Tensor,
}

impl Locate {
    /// With PyTorch's initial values. All of `sizes.channels` are actions.
    pub fn new(path: &nn::Path<'_>, sizes: &Sizes) -> Self {
        let dim = sizes.dim as i64;
        Self {
            backbone: Backbone::new(&(path / "vit_model"), sizes),
            adapter: Adapter::new(&(path / "aff_proj"), dim, sizes.adapter_hidden as i64),
            exo_branch: ThetaScam::new(&(path / "aff_exo_proj"), dim),
            ego_branch: ThetaPixel::new(&(path / "aff_ego_proj"), dim),
            classifier: Classifier::new(path / "aff_fc", dim, sizes.channels as i64),
        }
    }

    /// Class maps P [B, C, h, w] of normalised images [B, 3, H, W], with running statistics.
    ///
    /// # Errors
    /// The images have another shape than [`Backbone::forward`] takes.
    pub fn class_maps(&self, image: &Tensor) -> Result<Tensor, TrainError> {
        self.eval(image, &mut Tracer::off())
    }

    /// [`Self::class_maps`] of what the backbone said of the images.
    pub fn class_maps_of(&self, ego: &Features) -> Tensor {
        self.ego_maps(&self.features(ego, &mut Tracer::off()), Norm::Running, &mut Tracer::off())
    }

    /// Both branches' class maps [B, C, h, w] of the same normalised images, with running statistics: the exocentric
    /// branch is in Theta_scam's place.
    ///
    /// # Errors
    /// As [`Self::class_maps`].
    pub fn forward(&self, image: &Tensor) -> Result<Maps, TrainError> {
        let tracer = &mut Tracer::off();
        let last = self.backbone.forward(image)?;
        let features = self.features(&last.features(), tracer);
        let scam = self.classifier.maps(&self.exo_branch.forward(&features, Norm::Running, tracer), tracer);
        Ok(Maps { pixel: self.ego_maps(&features, Norm::Running, tracer), scam })
    }

    /// [`Self::class_maps`], every intermediate recorded.
    ///
    /// # Errors
    /// As [`Self::class_maps`].
    pub fn forward_traced(&self, image: &Tensor) -> Result<(Tensor, Trace), TrainError> {
        let mut trace = Trace::default();
        let maps = self.eval(image, &mut Tracer::on(&mut trace))?;
        Ok((maps, trace))
    }

    /// One training step's forward pass, as [`super::looptrans::LoopTrans::step`].
    ///
    /// # Errors
    /// `exo` has not a whole number of images for each of `ego`.
    pub fn step(&self, ego: &Features, exo: &Features) -> Result<Step, TrainError> {
        self.step_with(ego, exo, Norm::Batch)
    }

    /// [`Self::step`] with the statistics that `norm` says.
    pub(super) fn step_with(&self, ego: &Features, exo: &Features, norm: Norm<'_>) -> Result<Step, TrainError> {
        let per_ego = exo_per_ego(ego, exo)?;
        let tracer = &mut Tracer::off();
        let exo_features = self.features(exo, tracer);
        let exo_maps = self.classifier.maps(&self.exo_branch.forward(&exo_features, norm, tracer), tracer);
        let ego_maps = self.ego_maps(&self.features(ego, tracer), norm, tracer);
        // [b*n, C, h, w] -> [b, n, C, h, w]
        let exo_maps = exo_maps.unflatten(0, [ego.descriptors.size()[0], per_ego].as_slice());
        Ok(Step { exo_logits: logits(&exo_maps), ego_logits: logits(&ego_maps), exo_maps, ego_maps })
    }

    fn eval(&self, image: &Tensor, tracer: &mut Tracer<'_>) -> Result<Tensor, TrainError> {
        let last = self.backbone.forward_traced(image, &mut tracer.within("vit_model"))?;
        let features = self.features(&last.features(), tracer);
        Ok(self.ego_maps(&features, Norm::Running, tracer))
    }

    fn features(&self, view: &Features, tracer: &mut Tracer<'_>) -> Tensor {
        tracer.record("descriptors", &view.descriptors);
        self.adapter.forward(&view.descriptors, view.grid, &mut tracer.within("aff_proj"))
    }

    fn ego_maps(&self, features: &Tensor, norm: Norm<'_>, tracer: &mut Tracer<'_>) -> Tensor {
        let mut tracer = tracer.within("aff_ego_proj");
        self.classifier.maps(&self.ego_branch.forward(features, norm, &mut tracer), &mut tracer)
    }
}
