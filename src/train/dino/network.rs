//! The network that is distilled: a backbone and DINO's head on its CLS.

use std::collections::BTreeMap;

use tch::{
    Device, Tensor,
    nn::{self, Module, VarStore},
};

use super::{Architecture, HeadSizes};
use crate::train::{TrainError, backbone::Backbone, norm::linear, run::backbone_file::PREFIX, tensor::unit};

/// Deviation of a matrix's initial values.
const DEVIATION: f64 = 0.02;
/// The prototypes' parameter, which stays as it is in the first epoch.
pub(super) const LAST_LAYER: &str = "head.last_layer.weight_v";

/// Student or teacher. Parameters: `vit_model` (the backbone), `head.mlp.{0,2,4}`, `head.last_layer.weight_v`.
#[derive(Debug)]
pub struct Network {
    /// All of them.
    pub parameters: VarStore,
    backbone: Backbone,
    head: Head,
}

impl Network {
    /// With DINO's initial values, drawn from libtorch's generator.
    pub fn new(architecture: &Architecture, head: HeadSizes, device: Device) -> Self {
        let parameters = VarStore::new(device);
        let root = parameters.root();
        let backbone = Backbone::new(&(&root / PREFIX.trim_end_matches('.')), &architecture.sizes());
        let head = Head::new(&(&root / "head"), architecture.dim as i64, head);
        let network = Self { parameters, backbone, head };
        network.initialise();
        network
    }

    /// A frozen copy.
    pub fn teacher(&self, architecture: &Architecture, head: HeadSizes) -> Result<Self, TrainError> {
        let mut teacher = Self::new(architecture, head, self.parameters.device());
        teacher.parameters.freeze();
        teacher.follow(self, 0.0);
        Ok(teacher)
    }

    /// CLS [B, D] and logits over the prototypes [B, K] of normalised images [B, 3, H, W].
    ///
    /// # Errors
    /// The images have another shape.
    pub fn forward(&self, image: &Tensor) -> Result<(Tensor, Tensor), TrainError> {
        let cls = self.class_token(image)?;
        let logits = self.head.forward(&cls);
        Ok((cls, logits))
    }

    /// CLS [B, D] of normalised images [B, 3, H, W].
    ///
    /// # Errors
    /// The images have another shape.
    pub fn class_token(&self, image: &Tensor) -> Result<Tensor, TrainError> {
        self.backbone.class_token(image)
    }

    /// Moves each parameter towards another network's: own * momentum + other * (1 - momentum).
    pub fn follow(&mut self, other: &Self, momentum: f64) {
        let others = other.parameters.variables();
        tch::no_grad(|| {
            for (name, mut own) in self.parameters.variables() {
                if let Some(other) = others.get(&name) {
                    let _ = own.g_mul_scalar_(momentum);
                    let _ = own.g_add_(&(other * (1.0 - momentum)));
                }
            }
        });
    }

    /// The backbone's parameters under the keys of a DINO file.
    pub fn backbone_tensors(&self) -> BTreeMap<String, Tensor> {
        let own = self.parameters.variables().into_iter();
        own.filter_map(|(name, value)| Some((name.strip_prefix(PREFIX)?.to_owned(), value))).collect()
    }

    /// Normal matrices, biases of zero; the patches' convolution keeps PyTorch's values.
    fn initialise(&self) {
        let named: BTreeMap<String, Tensor> = self.parameters.variables().into_iter().collect();
        tch::no_grad(|| {
            for (name, mut value) in named {
                if name.contains("patch_embed") {
                    continue;
                }
                if name.ends_with(".bias") {
                    let _ = value.zero_();
                } else if value.dim() == 2 {
                    let _ = value.normal_(0.0, DEVIATION);
                }
            }
        });
    }
}

/// DINO's head: three layers to a bottleneck of length 1, then its cosines with the prototypes.
#[derive(Debug)]
struct Head {
    layers: [nn::Linear; 3],
    prototypes: Tensor,
}

impl Head {
    fn new(path: &nn::Path<'_>, dim: i64, sizes: HeadSizes) -> Self {
        let HeadSizes { hidden, bottleneck, prototypes } = sizes;
        let mlp = path / "mlp";
        let layers =
            [linear(&mlp / 0, dim, hidden), linear(&mlp / 2, hidden, hidden), linear(&mlp / 4, hidden, bottleneck)];
        let init = nn::Init::Randn { mean: 0.0, stdev: DEVIATION };
        Self { layers, prototypes: (path / "last_layer").var("weight_v", &[prototypes, bottleneck], init) }
    }

    fn forward(&self, cls: &Tensor) -> Tensor {
        let [first, second, third] = &self.layers;
        let hidden = second.forward(&first.forward(cls).gelu("none")).gelu("none");
        // The published weight norm with its length fixed at 1.
        unit(&third.forward(&hidden), -1).matmul(&unit(&self.prototypes, -1).transpose(0, 1))
    }
}
