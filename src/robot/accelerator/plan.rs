//! What to try first, and what to build aside.

use ProviderChoice::{Cuda, TensorRt};

use crate::{
    config::ProviderChoice,
    contract::Bundle,
    perceive::{
        InferError,
        infer::{InferSettings, Prospects},
    },
};

/// The road from nothing to the provider that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What was asked for.
    pub requested: ProviderChoice,
    /// To load now, one after the other until one works.
    pub now: Vec<ProviderChoice>,
    /// To build while another runs, unless it is what runs already.
    pub aside: Option<ProviderChoice>,
    /// May the CPU stand in for what fails?
    pub allow_fallback: bool,
    /// Can CUDA stand in for TensorRT?
    pub has_cuda: bool,
}

impl Plan {
    /// For this bundle on this machine.
    ///
    /// # Errors
    /// ONNX Runtime's library can't be used.
    pub fn of(bundle: &Bundle, infer: &InferSettings) -> Result<Self, InferError> {
        Ok(Self::new(infer.provider, infer.allow_fallback, Prospects::of(bundle, infer)?))
    }

    /// Where TensorRT comes first and has no engines for this model, CUDA runs until they are built (or the CPU, where
    /// that is allowed and CUDA can't be had). CUDA is no fallback: TensorRT leaves to it in any case what it can't do.
    pub fn new(requested: ProviderChoice, allow_fallback: bool, prospects: Prospects) -> Self {
        let Prospects { candidates: mut now, has_tensorrt, has_cuda, has_engines } = prospects;
        let aside = (has_tensorrt && now.first() == Some(&TensorRt)).then_some(TensorRt);
        if aside.is_some() {
            now.retain(|provider| *provider != TensorRt);
            if has_cuda && !now.contains(&Cuda) {
                now.insert(0, Cuda);
            }
            if has_engines {
                now.insert(0, TensorRt);
            }
        }
        Self { requested, now, aside, allow_fallback, has_cuda }
    }
}
