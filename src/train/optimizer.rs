//! SGD with Nesterov momentum, its learning rates by parameter name (published code of LOCATE and LoopTrans). Its state
//! can be saved and taken up again, which libtorch's own optimisers do not offer to Rust.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tch::{Tensor, nn::VarStore};

use super::TrainError;

/// Hyper-parameters. The default is that of the published code of LOCATE and LoopTrans.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sgd {
    /// Learning rate before the factors.
    pub lr: f64,
    /// Of the gradient's running sum.
    pub momentum: f64,
    /// Looks one step of momentum ahead.
    pub nesterov: bool,
    /// Times a parameter, is added to its gradient: weights, biases and norms alike.
    pub weight_decay: f64,
    /// Learning rate of biases, times `lr`.
    pub bias_factor: f64,
    /// Learning rate of parameters with `fc` in their name, on top.
    pub fc_factor: f64,
    /// Epochs after which the learning rate falls.
    pub step_epochs: u64,
    /// What it falls by, as a factor.
    pub gamma: f64,
}

impl Default for Sgd {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            momentum: 0.9,
            nesterov: true,
            weight_decay: 5e-4,
            bias_factor: 2.0,
            fc_factor: 10.0,
            step_epochs: 5,
            gamma: 0.1,
        }
    }
}

impl Sgd {
    /// The learning rate of an epoch, counted from 0, before the factors.
    pub fn lr_in(&self, epoch: u64) -> f64 {
        let falls = i32::try_from(epoch / self.step_epochs.max(1)).unwrap_or(i32::MAX);
        self.lr * self.gamma.powi(falls)
    }

    /// What the learning rate is multiplied with for a parameter of this name; None: it is not trained. The factor for `fc`
    /// holds for `aff_fc` and for the adapter's `fc1` and `fc2`.
    pub fn factor(&self, name: &str) -> Option<f64> {
        let part = if name.contains("weight") {
            1.0
        } else if name.contains("bias") {
            self.bias_factor
        } else {
            return None;
        };
        Some(part * if name.contains("fc") { self.fc_factor } else { 1.0 })
    }
}

/// A parameter that is trained.
#[derive(Debug)]
struct Trained {
    name: String,
    value: Tensor,
    factor: f64,
    /// The gradients' running sum; None before the first one.
    momentum: Option<Tensor>,
}

/// The optimiser and its state.
#[derive(Debug)]
pub struct Optimizer {
    sgd: Sgd,
    trained: Vec<Trained>,
}

impl Optimizer {
    /// For those parameters that ask for a gradient, in order of their names; learning rates by [`Sgd::factor`].
    pub fn new(parameters: &VarStore, sgd: Sgd) -> Self {
        Self::with_factors(parameters, sgd, Sgd::factor)
    }

    /// Likewise, with another rule of what the learning rate is multiplied with for a parameter of a name.
    pub fn with_factors(parameters: &VarStore, sgd: Sgd, factor: fn(&Sgd, &str) -> Option<f64>) -> Self {
        let named: BTreeMap<String, Tensor> = parameters.variables().into_iter().collect();
        let trained = named.into_iter().filter(|(_, value)| value.requires_grad()).filter_map(|(name, value)| {
            let factor = factor(&sgd, &name)?;
            Some(Trained { name, value, factor, momentum: None })
        });
        Self { sgd, trained: trained.collect() }
    }

    /// The gradient of a loss by each parameter, in the optimiser's order; undefined where the loss does not depend on it.
    pub fn gradients(&self, loss: &Tensor) -> Vec<Tensor> {
        Tensor::run_backward(&[loss], &self.values(), false, false)
    }

    /// What is trained, in the order of the gradients.
    pub fn values(&self) -> Vec<&Tensor> {
        self.trained.iter().map(|parameter| &parameter.value).collect()
    }

    /// The first parameter whose gradient is not finite.
    pub fn not_finite(&self, gradients: &[Tensor]) -> Option<&str> {
        let bad = |gradient: &Tensor| gradient.defined() && !gradient.norm().double_value(&[]).is_finite();
        let found = self.trained.iter().zip(gradients).find(|(_, gradient)| bad(gradient));
        found.map(|(parameter, _)| parameter.name.as_str())
    }

    /// One step at this learning rate: d = g + decay p; v = momentum v + d; p = p - lr (d + momentum v), or - lr v without
    /// Nesterov. Parameters without a gradient stay as they are, undecayed.
    pub fn step(&mut self, gradients: &[Tensor], lr: f64) {
        let Sgd { momentum, nesterov, weight_decay, .. } = self.sgd;
        tch::no_grad(|| {
            for (parameter, gradient) in self.trained.iter_mut().zip(gradients).filter(|(_, g)| g.defined()) {
                let decayed = gradient + &parameter.value * weight_decay;
                let velocity = match parameter.momentum.take() {
                    None => decayed.copy(),
                    Some(before) => before * momentum + &decayed,
                };
                let step = if nesterov { decayed + &velocity * momentum } else { velocity.shallow_clone() };
                parameter.momentum = Some(velocity);
                let _ = parameter.value.g_sub_(&(step * (lr * parameter.factor)));
            }
        });
    }

    /// The state, by parameter.
    pub fn momentum(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        let saved = |parameter: &'_ Trained| parameter.momentum.is_some();
        self.trained
            .iter()
            .filter(move |parameter| saved(parameter))
            .filter_map(|parameter| Some((parameter.name.as_str(), parameter.momentum.as_ref()?)))
    }

    /// Takes up a saved state.
    ///
    /// # Errors
    /// A parameter that is not trained here, or of another shape.
    pub fn restore(&mut self, mut saved: BTreeMap<String, Tensor>) -> Result<(), TrainError> {
        for parameter in &mut self.trained {
            let Some(momentum) = saved.remove(&parameter.name) else { continue };
            super::shape::expect("momentum", &momentum, &parameter.value.size(), &parameter.name)?;
            parameter.momentum = Some(momentum.to_device(parameter.value.device()));
        }
        match saved.into_keys().next() {
            None => Ok(()),
            Some(found) => {
                let expected = "momentum of parameters that are trained".to_owned();
                Err(TrainError::Values { what: "optimiser state", expected, found })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tch::{Device, Kind};

    use super::*;

    /// Two parameters, one of them twice as fast.
    fn store() -> (VarStore, Tensor, Tensor) {
        let parameters = VarStore::new(Device::Cpu);
        let layer = parameters.root() / "a";
        let weight = layer.var_copy("weight", &Tensor::from_slice(&[0.5_f32, -1.25, 2.0]));
        let bias = layer.var_copy("bias", &Tensor::from_slice(&[1.0_f32]));
        (parameters, weight, bias)
    }

    fn loss(weight: &Tensor, bias: &Tensor) -> Tensor {
        let cubes = (weight * weight * weight).sum(Kind::Float) * 0.1;
        cubes + weight.sum(Kind::Float) * bias.sum(Kind::Float) * 0.3
    }

    /// PyTorch 2.13:
    ///   p = Parameter(tensor([0.5, -1.25, 2.0])); q = Parameter(tensor([1.0]))
    ///   o = SGD([{'params': [p], 'lr': 0.1}, {'params': [q], 'lr': 0.2}], momentum=0.9, nesterov=True, weight_decay=0.05)
    ///   for s in range(4): o.zero_grad(); ((p*p*p).sum()*0.1 + (p.sum()*q[0])*0.3).backward(); o.step()
    const FOUR_STEPS: [f64; 4] =
        [0.120_066_307_485_103_9, -2.248_264_074_325_561_5, 0.620_080_530_643_463_1, 0.505_270_361_900_329_6];
    const MOMENTUM: [f64; 4] =
        [0.970_860_660_076_141_4, 3.028_715_372_085_571_3, 3.357_468_605_041_504, 0.402_363_032_102_584_84];

    const SGD: Sgd = Sgd {
        lr: 0.1,
        momentum: 0.9,
        nesterov: true,
        weight_decay: 0.05,
        bias_factor: 2.0,
        fc_factor: 10.0,
        step_epochs: 5,
        gamma: 0.1,
    };

    #[track_caller]
    fn assert_near(found: &[&Tensor], expected: [f64; 4]) {
        let found = Vec::<f64>::try_from(Tensor::cat(found, 0).to_kind(Kind::Double)).unwrap();
        let close = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(close && found.len() == 4, "{found:?} {expected:?}");
    }

    fn steps(optimizer: &mut Optimizer, weight: &Tensor, bias: &Tensor, count: usize) {
        for _ in 0..count {
            let gradients = optimizer.gradients(&loss(weight, bias));
            optimizer.step(&gradients, 0.1);
        }
    }

    #[test]
    fn four_steps_equal_pytorch_s() {
        let (parameters, weight, bias) = store();
        let mut optimizer = Optimizer::new(&parameters, SGD);
        steps(&mut optimizer, &weight, &bias, 4);
        assert_near(&[&weight, &bias], FOUR_STEPS);
        let momentum: BTreeMap<&str, &Tensor> = optimizer.momentum().collect();
        assert_near(&[momentum["a.weight"], momentum["a.bias"]], MOMENTUM);
    }

    #[test]
    fn a_restored_optimiser_goes_on_as_the_first_would_have() {
        let (parameters, weight, bias) = store();
        let mut first = Optimizer::new(&parameters, SGD);
        steps(&mut first, &weight, &bias, 2);
        let saved = first.momentum().map(|(name, momentum)| (name.to_owned(), momentum.copy())).collect();
        let mut second = Optimizer::new(&parameters, SGD);
        second.restore(saved).unwrap();
        steps(&mut second, &weight, &bias, 2);
        assert_near(&[&weight, &bias], FOUR_STEPS);
    }

    #[test]
    fn a_parameter_that_the_loss_does_not_reach_is_not_decayed() {
        let (parameters, weight, bias) = store();
        let mut optimizer = Optimizer::new(&parameters, SGD);
        let gradients = optimizer.gradients(&weight.sum(Kind::Float));
        optimizer.step(&gradients, 0.1);
        assert_eq!(f64::try_from(&bias).unwrap_or(0.0), 1.0);
        assert_eq!(optimizer.momentum().count(), 1);
    }

    #[test]
    fn learning_rates_follow_the_names_as_published() {
        let sgd = Sgd::default();
        for (name, factor) in [
            ("aff_fc.weight", Some(10.0)),
            ("aff_fc.bias", Some(20.0)),
            ("aff_proj.fc1.weight", Some(10.0)),
            ("aff_proj.norm.weight", Some(1.0)),
            ("scam.0.bias", Some(2.0)),
            ("pixel_dec.1.weight", Some(1.0)),
            ("vit_model.pos_embed", None),
        ] {
            assert_eq!(sgd.factor(name), factor, "{name}");
        }
    }

    #[test]
    fn the_learning_rate_falls_to_a_tenth_after_five_epochs() {
        let sgd = Sgd::default();
        let close = |epoch, lr: f64| (sgd.lr_in(epoch) - lr).abs() < 1e-12;
        assert!(close(0, 1e-3) && close(4, 1e-3) && close(5, 1e-4) && close(9, 1e-4) && close(10, 1e-5));
    }

    #[test]
    fn a_gradient_that_is_no_number_is_named() {
        let (parameters, weight, bias) = store();
        let optimizer = Optimizer::new(&parameters, SGD);
        let gradients = optimizer.gradients(&(loss(&weight, &bias) + (bias.sum(Kind::Float) - 1.0).sqrt()));
        assert_eq!(optimizer.not_finite(&gradients), Some("a.bias"));
    }
}
