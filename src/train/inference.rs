//! A whole network as a bundle computes it: bytes of a picture in, class maps and presence out. The reference of exports.

use std::path::Path;

use tch::{Kind, Tensor};

use super::{TrainError, classifier::logits, looptrans::Maps, network};
use crate::{
    contract::{Calibration, PresenceSource},
    export::{
        recipe::GraphOptions,
        vit::{IMAGENET_MEAN, IMAGENET_STD},
        weights::Weights,
    },
};

/// A loaded network and what is asked of it.
#[derive(Debug)]
pub struct Network {
    network: network::Network,
    options: GraphOptions,
}

impl Network {
    /// Loads the weights file, which `weights` was read from, to answer as the graph of `options` should.
    ///
    /// # Errors
    /// libtorch can't read it, or the tensors are not the network's.
    pub fn load(path: &Path, weights: &Weights, options: GraphOptions) -> Result<Self, TrainError> {
        let network = network::Network::load(path, weights.network, &weights.sizes)?;
        Ok(Self { network, options })
    }

    /// u8 [H, W, 3] RGB at the options' size -> class maps f32 [A, h, w] and presence f32 [A], row by row.
    ///
    /// # Errors
    /// Another number of bytes.
    pub fn run(&self, picture: &[u8]) -> Result<(Vec<f32>, Vec<f32>), TrainError> {
        let (height, width) = (i64::from(self.options.input.height), i64::from(self.options.input.width));
        if picture.len() as i64 != height * width * 3 {
            let (expected, found) = (format!("the bytes of [{height}, {width}, 3]"), vec![picture.len() as i64]);
            return Err(TrainError::Input { what: "picture", expected, found });
        }
        tch::no_grad(|| {
            let image = normalised(&Tensor::from_slice(picture).reshape([1, height, width, 3]));
            let Maps { pixel, scam } = self.network.forward(&image)?;
            let scored = match self.options.presence {
                PresenceSource::Pixel => &pixel,
                PresenceSource::Scam => &scam,
            };
            let classes = Tensor::from_slice(&self.options.classes.iter().map(|&c| c as i64).collect::<Vec<_>>());
            let presence = presence(scored, self.options.calibration).index_select(1, &classes);
            Ok((values(&pixel.index_select(1, &classes)), values(&presence)))
        })
    }
}

/// u8 [B, H, W, 3] -> f32 [B, 3, H, W] as DINO takes it.
fn normalised(bytes: &Tensor) -> Tensor {
    let statistics = |values: [f64; 3]| Tensor::from_slice(&values.map(|value| value as f32)).reshape([1, 3, 1, 1]);
    let unit = bytes.permute([0, 3, 1, 2]).to_kind(Kind::Float) / 255.0;
    (unit - statistics(IMAGENET_MEAN)) / statistics(IMAGENET_STD)
}

/// sigmoid((z_c - log mean exp z) / temperature + bias) of every channel, z the class scores: [B, C+M, h, w] -> [B, C+M].
fn presence(maps: &Tensor, calibration: Calibration) -> Tensor {
    let z = logits(maps);
    let channels = z.size()[1] as f64;
    let mean = z.logsumexp([1_i64].as_slice(), true) - channels.ln();
    ((z - mean) / calibration.temperature + calibration.bias).sigmoid()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    let flat = tensor.contiguous().flatten(0, -1);
    let mut values = vec![0.0; flat.numel()];
    flat.copy_data(&mut values, flat.numel());
    values
}
