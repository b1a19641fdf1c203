//! WSMA's own settings of a training run, as published.

use serde::{Deserialize, Serialize};

use crate::{
    convert::clip,
    data::sampling::ExoRule,
    train::{losses, optimizer::Sgd},
};

/// WSMA's own settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WsmaSettings {
    /// A file with CLIP's text encoder; null: one learned vector for each action in its place.
    pub clip: Option<String>,
    /// Which exocentric pictures make a sample.
    pub exo: ExoRule,
    /// What each loss counts.
    pub weights: losses::wsma::Weights,
}

impl WsmaSettings {
    pub(in crate::train) fn published() -> Self {
        Self { clip: None, exo: ExoRule::Consecutive, weights: Default::default() }
    }

    /// The optimiser: the learning rate never falls.
    pub(in crate::train) fn optimizer() -> Sgd {
        Sgd { gamma: 1.0, ..Sgd::default() }
    }
}

/// What the learning rate is multiplied with for a parameter of WSMA: whatever CLIP's file holds is trained at the rate of
/// biases, as are parameters that are neither weight nor bias (the learned prompt, tables of places); the rest as
/// [`Sgd::factor`] has it.
pub fn factor(sgd: &Sgd, name: &str) -> Option<f64> {
    if clip::is_text(name) {
        return Some(sgd.bias_factor);
    }
    Some(sgd.factor(name).unwrap_or(sgd.bias_factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learning_rates_follow_the_names_as_published() {
        let sgd = Sgd::default();
        for (name, expected) in [
            ("fc.weight", 10.0),
            ("fc.bias", 20.0),
            ("aff_proj.fc2.weight", 10.0),
            ("Hamburger.upper_bread.0.weight", 1.0),
            ("attnpool.c_proj.bias", 2.0),
            ("attnpool.positional_embedding", 2.0),
            ("prompt_learner.ctx", 2.0),
            ("class_embedding", 2.0),
            // CLIP's, though there is `fc` in it.
            ("transformer.resblocks.3.mlp.c_fc.weight", 2.0),
            ("token_embedding.weight", 2.0),
            ("ln_final.bias", 2.0),
            ("logit_scale", 2.0),
        ] {
            assert_eq!(factor(&sgd, name), Some(expected), "{name}");
        }
    }
}
