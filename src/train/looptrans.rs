//! LoopTrans (ICCV 2025, arXiv 2510.17384): both views through one class activation map, and a pixel decoder.

use tch::{Tensor, nn};

use super::{
    TrainError,
    adapter::Adapter,
    backbone::{Backbone, Features},
    classifier::{Classifier, logits},
    norm::Norm,
    theta_pixel::ThetaPixel,
    theta_scam::ThetaScam,
    trace::{Trace, Tracer},
};
use crate::export::layout::Sizes;

/// The network without its concept clusters. Parameters: `vit_model`, `aff_proj`, `scam`, `pixel_dec`, `aff_fc`.
#[derive(Debug)]
pub struct LoopTrans {
    /// DINO; frozen in training.
    pub backbone: Backbone,
    adapter: Adapter,
    theta_scam: ThetaScam,
    theta_pixel: ThetaPixel,
    classifier: Classifier,
}

/// Both branches' class maps of the same images, [B, C+M, h, w] each.
#[derive(Debug)]
pub struct Maps {
    /// Theta_pixel's, P: the heat.
    pub pixel: Tensor,
    /// Theta_scam's: its pooled scores are one source of presence.
    pub scam: Tensor,
}

/// What a training step computes losses from. b: egocentric images, n: exocentric images of each, C+M: actions and
/// noise heads.
#[derive(Debug)]
pub struct Step {
    /// G_exo [b, n, C+M, h, w].
    pub exo_maps: Tensor,
    /// G_ego [b, C+M, h, w].
    pub ego_maps: Tensor,
    /// P [b, C+M, h, w].
    pub pixel_maps: Tensor,
    /// Class scores [b, n, C+M] of G_exo.
    pub exo_logits: Tensor,
    /// Class scores [b, C+M] of G_ego.
    pub ego_logits: Tensor,
}

impl LoopTrans {
    /// With PyTorch's initial values.
    pub fn new(path: &nn::Path<'_>, sizes: &Sizes) -> Self {
        let dim = sizes.dim as i64;
        Self {
            backbone: Backbone::new(&(path / "vit_model"), sizes),
            adapter: Adapter::new(&(path / "aff_proj"), dim, sizes.adapter_hidden as i64),
            theta_scam: ThetaScam::new(&(path / "scam"), dim),
            theta_pixel: ThetaPixel::new(&(path / "pixel_dec"), dim),
            classifier: Classifier::new(path / "aff_fc", dim, sizes.channels as i64),
        }
    }

    /// Class maps P [B, C+M, h, w] of normalised images [B, 3, H, W], with running statistics: what is exported.
    ///
    /// # Errors
    /// The images have another shape than [`Backbone::forward`] takes.
    pub fn class_maps(&self, image: &Tensor) -> Result<Tensor, TrainError> {
        let last = self.backbone.forward(image)?;
        Ok(self.class_maps_of(&last.features()))
    }

    /// Both branches' class maps of normalised images, with running statistics.
    ///
    /// # Errors
    /// As [`Self::class_maps`].
    pub fn forward(&self, image: &Tensor) -> Result<Maps, TrainError> {
        self.forward_impl(image, &mut Tracer::off())
    }

    /// [`Self::forward`], every intermediate recorded.
    ///
    /// # Errors
    /// As [`Self::class_maps`].
    pub fn forward_traced(&self, image: &Tensor) -> Result<(Maps, Trace), TrainError> {
        let mut trace = Trace::default();
        let maps = self.forward_impl(image, &mut Tracer::on(&mut trace))?;
        Ok((maps, trace))
    }

    /// Theta_pixel's maps of one view, with running statistics.
    pub fn class_maps_of(&self, ego: &Features) -> Tensor {
        self.pixel_maps(&self.features(ego, &mut Tracer::off()), Norm::Running, &mut Tracer::off())
    }

    /// Theta_scam's maps of one view, with running statistics: G_ego, where that is the egocentric one.
    pub fn scam_maps_of(&self, view: &Features) -> Tensor {
        self.scam_maps(&self.features(view, &mut Tracer::off()), Norm::Running, &mut Tracer::off())
    }

    /// One training step's forward pass, batch statistics and all. The backbone is frozen, so it ran before; `exo` holds
    /// n images for each of `ego`, in its order.
    ///
    /// # Errors
    /// `exo` has not a whole number of images for each of `ego`.
    pub fn step(&self, ego: &Features, exo: &Features) -> Result<Step, TrainError> {
        self.step_impl((ego, exo), Norm::Batch, &mut Tracer::off())
    }

    /// [`Self::step`] with the statistics that `norm` says.
    pub(super) fn step_with(&self, ego: &Features, exo: &Features, norm: Norm<'_>) -> Result<Step, TrainError> {
        self.step_impl((ego, exo), norm, &mut Tracer::off())
    }

    /// [`Self::step`], every intermediate recorded.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn step_traced(&self, ego: &Features, exo: &Features) -> Result<(Step, Trace), TrainError> {
        let mut trace = Trace::default();
        let step = self.step_impl((ego, exo), Norm::Batch, &mut Tracer::on(&mut trace))?;
        Ok((step, trace))
    }

    fn step_impl(
        &self,
        (ego, exo): (&Features, &Features),
        norm: Norm<'_>,
        tracer: &mut Tracer<'_>,
    ) -> Result<Step, TrainError> {
        let per_ego = exo_per_ego(ego, exo)?;
        let exo_features = self.features(exo, &mut tracer.within("exo"));
        let ego_features = self.features(ego, &mut tracer.within("ego"));
        // In this order: Theta_scam's running statistics see the exocentric batch first.
        let exo_maps = self.scam_maps(&exo_features, norm, &mut tracer.within("exo"));
        let ego_maps = self.scam_maps(&ego_features, norm, &mut tracer.within("ego"));
        let pixel_maps = self.pixel_maps(&ego_features, norm, &mut tracer.within("ego"));
        // [b*n, C+M, h, w] -> [b, n, C+M, h, w]
        let exo_maps = exo_maps.unflatten(0, [ego.descriptors.size()[0], per_ego].as_slice());
        Ok(Step { exo_logits: logits(&exo_maps), ego_logits: logits(&ego_maps), exo_maps, ego_maps, pixel_maps })
    }

    fn forward_impl(&self, image: &Tensor, tracer: &mut Tracer<'_>) -> Result<Maps, TrainError> {
        let last = self.backbone.forward_traced(image, &mut tracer.within("vit_model"))?;
        let features = self.features(&last.features(), tracer);
        let pixel = self.pixel_maps(&features, Norm::Running, tracer);
        let scam = self.scam_maps(&features, Norm::Running, tracer);
        Ok(Maps { pixel, scam })
    }

    fn features(&self, view: &Features, tracer: &mut Tracer<'_>) -> Tensor {
        tracer.record("descriptors", &view.descriptors);
        self.adapter.forward(&view.descriptors, view.grid, &mut tracer.within("aff_proj"))
    }

    fn scam_maps(&self, features: &Tensor, norm: Norm<'_>, tracer: &mut Tracer<'_>) -> Tensor {
        let mut tracer = tracer.within("scam");
        self.classifier.maps(&self.theta_scam.forward(features, norm, &mut tracer), &mut tracer)
    }

    fn pixel_maps(&self, features: &Tensor, norm: Norm<'_>, tracer: &mut Tracer<'_>) -> Tensor {
        let mut tracer = tracer.within("pixel_dec");
        self.classifier.maps(&self.theta_pixel.forward(features, norm, &mut tracer), &mut tracer)
    }
}

/// Exocentric images per egocentric one.
pub(super) fn exo_per_ego(ego: &Features, exo: &Features) -> Result<i64, TrainError> {
    let (egos, exos) = (ego.descriptors.size()[0], exo.descriptors.size()[0]);
    if egos > 0 && exos > 0 && exos % egos == 0 {
        return Ok(exos / egos);
    }
    let expected = format!("a multiple of the {egos} egocentric images, at least 1");
    Err(TrainError::Input { what: "exocentric images", expected, found: vec![exos] })
}
