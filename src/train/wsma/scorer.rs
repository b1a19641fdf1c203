//! WSMA as `looptrans eval` asks it: bytes of a picture in, the label's heat out.

use std::path::Path;

use ndarray::ArrayView2;
use tch::{Device, Kind, Tensor, nn::VarStore};

use super::{DeepFeatures, Wsma, open};
use crate::{
    contract::Size,
    data::evaluation::ClassMapper,
    export::weights::describe,
    perceive::FrameError,
    train::{TrainError, backbone::Keys, features::normalised},
};

/// A trained model with what it says of its actions' names.
#[derive(Debug)]
pub struct Scorer {
    model: Wsma,
    /// Of the model.
    _parameters: VarStore,
    /// See [`Wsma::texts`].
    texts: Tensor,
    actions: Vec<String>,
    side: u32,
    /// The last answer, row by row, and its sides.
    heat: Vec<f32>,
    grid: (usize, usize),
}

impl Scorer {
    /// Loads a weights file of WSMA, with a text encoder or without.
    ///
    /// # Errors
    /// As [`open`]; or no description in the file.
    pub fn load(path: &Path) -> Result<Self, TrainError> {
        let (description, sizes) = describe(path)?;
        let parameters = VarStore::new(Device::Cpu);
        let model = open(path, (&sizes, &description.actions), &parameters)?;
        let texts = tch::no_grad(|| model.texts());
        let (actions, side) = (description.actions, sizes.input().height);
        Ok(Self {
            model,
            _parameters: parameters,
            texts,
            actions,
            side,
            heat: Vec::new(),
            grid: (sizes.grid, sizes.grid),
        })
    }

    /// Of the pictures it takes.
    pub fn input(&self) -> Size {
        Size { height: self.side, width: self.side }
    }

    fn run(&self, pixels: &[u8], class: usize) -> Result<Tensor, TrainError> {
        let side = i64::from(self.side);
        if pixels.len() as i64 != 3 * side * side {
            let (expected, found) = (format!("the bytes of [{side}, {side}, 3]"), vec![pixels.len() as i64]);
            return Err(TrainError::Input { what: "picture", expected, found });
        }
        let image = normalised(&[pixels.to_vec()], side, Device::Cpu);
        tch::no_grad(|| {
            let features = self.model.backbone.features(&image, Keys::LastTwo)?;
            let labels = Tensor::from_slice(&[class as i64]);
            self.model.combined_alone(&self.texts, &DeepFeatures::from(&features), &labels)
        })
    }
}

impl ClassMapper for Scorer {
    fn actions(&self) -> &[String] {
        &self.actions
    }

    fn class_map(&mut self, pixels: &[u8], class: usize) -> Result<ArrayView2<'_, f32>, FrameError> {
        let failed = |error: String| FrameError::Inference(error);
        let heat = self.run(pixels, class).map_err(|error| failed(error.to_string()))?;
        let flat = heat.to_kind(Kind::Float).contiguous().flatten(0, -1);
        self.heat = Vec::<f32>::try_from(flat).map_err(|error| failed(error.to_string()))?;
        ArrayView2::from_shape(self.grid, &self.heat).map_err(|error| failed(error.to_string()))
    }
}
