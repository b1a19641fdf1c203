//! AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101) whose state can be saved and taken up again, which libtorch's own
//! optimisers do not offer to Rust.

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor, nn::VarStore};

use super::{TrainError, shape::expect};

/// Decay of the gradients' running mean.
const BETA_1: f64 = 0.9;
/// Decay of the running mean of their squares.
const BETA_2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// What a saved state's tensors have before the parameter's name: running means of gradients and of their squares, and
/// steps.
const SAVED: [&str; 3] = ["optimizer.mean.", "optimizer.square.", "optimizer.steps."];

/// How far one step goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// Learning rate.
    pub lr: f64,
    /// Times the learning rate, is taken off each parameter that decays.
    pub weight_decay: f64,
}

#[derive(Debug)]
struct Trained {
    name: String,
    value: Tensor,
    decays: bool,
    mean: Tensor,
    square: Tensor,
    steps: i64,
}

/// The optimiser and its state.
#[derive(Debug)]
pub struct AdamW {
    trained: Vec<Trained>,
}

impl AdamW {
    /// For those parameters that ask for a gradient, in order of their names. `decays`: which of them the weight decay
    /// holds for.
    pub fn new(parameters: &VarStore, decays: impl Fn(&Tensor) -> bool) -> Self {
        let named: BTreeMap<String, Tensor> = parameters.variables().into_iter().collect();
        let trained = named.into_iter().filter(|(_, value)| value.requires_grad()).map(|(name, value)| {
            let zeros = || value.detach().zeros_like();
            Trained { name, decays: decays(&value), mean: zeros(), square: zeros(), steps: 0, value }
        });
        Self { trained: trained.collect() }
    }

    /// The gradient of a loss by each parameter, in the optimiser's order; undefined where the loss does not depend on it.
    pub fn gradients(&self, loss: &Tensor) -> Vec<Tensor> {
        let values: Vec<&Tensor> = self.trained.iter().map(|parameter| &parameter.value).collect();
        Tensor::run_backward(&[loss], &values, false, false)
    }

    /// The parameters' names, in the optimiser's order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.trained.iter().map(|parameter| parameter.name.as_str())
    }

    /// The first parameter whose gradient is not finite.
    pub fn not_finite(&self, gradients: &[Tensor]) -> Option<&str> {
        let bad = |gradient: &Tensor| gradient.defined() && !gradient.norm().double_value(&[]).is_finite();
        let found = self.trained.iter().zip(gradients).find(|(_, gradient)| bad(gradient));
        found.map(|(parameter, _)| parameter.name.as_str())
    }

    /// One step. Parameters without a gradient stay as they are, undecayed.
    pub fn step(&mut self, gradients: &[Tensor], rates: Rates) {
        let Rates { lr, weight_decay } = rates;
        tch::no_grad(|| {
            for (parameter, gradient) in self.trained.iter_mut().zip(gradients).filter(|(_, g)| g.defined()) {
                parameter.steps += 1;
                if parameter.decays {
                    let _ = parameter.value.g_mul_scalar_(1.0 - lr * weight_decay);
                }
                let _ = parameter.mean.lerp_(gradient, 1.0 - BETA_1);
                let _ = parameter.square.g_mul_scalar_(BETA_2).addcmul_(gradient, gradient);
                // addcmul_ takes no factor here: `square` holds the sum of squares, times 1 - beta when it is read.
                let unbiased = |beta: f64| 1.0 - beta.powf(parameter.steps as f64);
                let root = (&parameter.square * ((1.0 - BETA_2) / unbiased(BETA_2))).sqrt() + EPSILON;
                let _ = parameter.value.g_sub_(&(&parameter.mean / root * (lr / unbiased(BETA_1))));
            }
        });
    }

    /// The state, under names for a checkpoint.
    pub fn state(&self) -> BTreeMap<String, Tensor> {
        let of = |parameter: &Trained| {
            let Trained { name, mean, square, steps, .. } = parameter;
            let values = [mean.shallow_clone(), square.shallow_clone(), Tensor::from_slice(&[*steps])];
            SAVED.map(|kind| format!("{kind}{name}")).into_iter().zip(values)
        };
        self.trained.iter().flat_map(of).collect()
    }

    /// Takes up a saved state, and takes it out of a checkpoint's tensors.
    ///
    /// # Errors
    /// A parameter's state is missing or of another shape.
    pub fn restore(&mut self, saved: &mut BTreeMap<String, Tensor>) -> Result<(), TrainError> {
        for parameter in &mut self.trained {
            let mut take = |kind: &str, shape: &[i64]| {
                let key = format!("{kind}{}", parameter.name);
                let Some(value) = saved.remove(&key) else {
                    let found = format!("no {key}");
                    let expected = "a state of every parameter that is trained".to_owned();
                    return Err(TrainError::Values { what: "optimiser state", expected, found });
                };
                expect("optimiser state", &value, shape, &key).map(|()| value)
            };
            let shape = parameter.value.size();
            parameter.mean.copy_(&take(SAVED[0], &shape)?);
            parameter.square.copy_(&take(SAVED[1], &shape)?);
            parameter.steps = take(SAVED[2], &[1])?.to_kind(Kind::Int64).to_device(Device::Cpu).int64_value(&[0]);
        }
        Ok(())
    }
}

/// Scales gradients so that the norm of all together is at most `most`. Gives the norm before.
pub fn clip_together(gradients: &mut [Tensor], most: f64) -> f64 {
    let squares = gradients.iter().filter(|gradient| gradient.defined()).map(|gradient| {
        let norm = gradient.norm().double_value(&[]);
        norm * norm
    });
    let norm = squares.sum::<f64>().sqrt();
    if norm > most {
        gradients.iter_mut().filter(|gradient| gradient.defined()).for_each(|gradient| {
            let _ = gradient.g_mul_scalar_(most / norm);
        });
    }
    norm
}

/// Scales each gradient by itself so that its norm is at most `most`, as DINO does.
pub fn clip_each(gradients: &mut [Tensor], most: f64) {
    for gradient in gradients.iter_mut().filter(|gradient| gradient.defined()) {
        let norm = gradient.norm().double_value(&[]);
        if norm > most {
            let _ = gradient.g_mul_scalar_(most / norm);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn store() -> (VarStore, Tensor) {
        let parameters = VarStore::new(Device::Cpu);
        let weight = parameters.root().var_copy("weight", &Tensor::from_slice(&[0.5_f32, -1.25, 2.0]));
        (parameters, weight)
    }

    fn steps(optimizer: &mut AdamW, weight: &Tensor, count: usize) {
        for _ in 0..count {
            let gradients = optimizer.gradients(&((weight * weight * weight).sum(Kind::Float) * 0.1));
            optimizer.step(&gradients, Rates { lr: 0.1, weight_decay: 0.05 });
        }
    }

    /// PyTorch 2.13:
    ///   p = Parameter(tensor([0.5, -1.25, 2.0])); o = AdamW([p], lr=0.1, weight_decay=0.05)
    ///   for s in range(4): o.zero_grad(); ((p*p*p).sum()*0.1).backward(); o.step()
    const FOUR_STEPS: [f64; 3] = [0.12581095099449158, -1.6232542991638184, 1.5673561096191406];

    #[track_caller]
    fn assert_near(found: &Tensor, expected: [f64; 3]) {
        let found = Vec::<f64>::try_from(found.to_kind(Kind::Double)).unwrap();
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?} {expected:?}");
    }

    #[test]
    fn four_steps_equal_pytorch_s() {
        let (parameters, weight) = store();
        steps(&mut AdamW::new(&parameters, |_| true), &weight, 4);
        assert_near(&weight, FOUR_STEPS);
    }

    #[test]
    fn a_restored_optimiser_goes_on_as_the_first_would_have() {
        let (parameters, weight) = store();
        let mut first = AdamW::new(&parameters, |_| true);
        steps(&mut first, &weight, 2);
        let mut saved = first.state();
        let mut second = AdamW::new(&parameters, |_| true);
        second.restore(&mut saved).unwrap();
        assert!(saved.is_empty());
        steps(&mut second, &weight, 2);
        assert_near(&weight, FOUR_STEPS);
        assert!(second.restore(&mut saved).is_err(), "no state, no error");
    }

    #[test]
    fn clipping_shortens_long_gradients_and_leaves_short_ones() {
        let gradients = || [Tensor::from_slice(&[3.0_f64]), Tensor::from_slice(&[0.0, 4.0])];
        let mut together = gradients();
        assert_eq!(clip_together(&mut together, 2.5), 5.0);
        assert_eq!(together[0].double_value(&[0]), 1.5);
        let mut each = gradients();
        clip_each(&mut each, 3.5);
        assert_eq!((each[0].double_value(&[0]), each[1].double_value(&[1])), (3.0, 3.5));
    }
}
