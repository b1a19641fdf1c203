//! Batch statistics over the samples of all ranks, and gradients through them.
//!
//! Batch normalisation couples all samples of a step, so ranks that normalised with their own would train another network
//! than one process does. The forward pass gathers each rank's count, mean and sum of squared deviations. For the backward
//! pass the graph is cut at every normalisation: its input, the mean and the variance are leaves there, so that the
//! gradients by the statistics can be summed over the ranks before they go on into the input. One round of the backward pass
//! takes the graph from one layer of normalisations to the one below.

use std::cell::RefCell;

use tch::{Kind, Tensor};

use super::Ranks;

/// The axes over which statistics are taken, of [B, C, H, W].
const ALL_BUT_CHANNELS: [i64; 3] = [0, 2, 3];

/// One forward and one backward pass of all ranks.
#[derive(Debug)]
pub(in crate::train) struct Joint<'a> {
    ranks: &'a dyn Ranks,
    /// False: this rank has no samples in this pass. It goes along with one that does not count, for the others' sake.
    counts: bool,
    cuts: RefCell<Vec<Cut>>,
}

/// Where a graph is cut, before a normalisation.
#[derive(Debug)]
struct Cut {
    /// End of the graph below, [B, C, H, W].
    below: Tensor,
    /// The statistics and the normalisation's input, as the graph above sees them.
    above: Statistics,
}

/// What a normalisation works with.
#[derive(Debug)]
pub(in crate::train) struct Statistics {
    /// The layer's input [B, C, H, W], a leaf.
    pub x: Tensor,
    /// [1, C, 1, 1], a leaf.
    pub mean: Tensor,
    /// Divided by the count, [1, C, 1, 1], a leaf.
    pub variance: Tensor,
    /// Values of each channel, over all ranks.
    pub count: f64,
}

impl<'a> Joint<'a> {
    pub fn new(ranks: &'a dyn Ranks, counts: bool) -> Self {
        Self { ranks, counts, cuts: RefCell::default() }
    }

    /// Cuts the graph before a normalisation of `x` [B, C, H, W] and tells the statistics of all ranks' values.
    pub fn statistics(&self, x: &Tensor) -> Statistics {
        let (mean, variance, count) = tch::no_grad(|| self.gathered(x));
        let leaf = |values: Tensor| values.detach().set_requires_grad(true);
        let per_channel = |values: &Tensor| leaf(values.to_kind(x.kind()).reshape([1, -1, 1, 1]));
        let above = Statistics {
            x: leaf(x.shallow_clone()),
            mean: per_channel(&mean),
            variance: per_channel(&variance),
            count,
        };
        let handed = above.shallow_clone();
        self.cuts.borrow_mut().push(Cut { below: x.shallow_clone(), above });
        handed
    }

    /// Mean and variance [C] over all ranks' values of each channel, and how many these are.
    ///
    /// Joined pairwise as in Chan, Golub and LeVeque (1979): differences of squares would lose what matters.
    fn gathered(&self, x: &Tensor) -> (Tensor, Tensor, f64) {
        let sides = x.size();
        let channels = sides[1];
        let own_count = if self.counts { (sides[0] * sides[2] * sides[3]) as f64 } else { 0.0 };
        let exact = x.to_kind(Kind::Double);
        let mean = exact.mean_dim(&ALL_BUT_CHANNELS[..], true, None::<Kind>);
        let deviations = (exact - &mean).square().sum_dim_intlist(&ALL_BUT_CHANNELS[..], false, None::<Kind>);
        let own = Tensor::cat(
            &[Tensor::full([1], own_count, (Kind::Double, x.device())), mean.flatten(0, -1), deviations],
            0,
        );
        let all = self.ranks.gather(&numbers(&own));

        // [ranks, 1 + 2 C]
        let all = Tensor::from_slice(&all).reshape([-1, 1 + 2 * channels]).to_device(x.device());
        let (counts, means) = (all.narrow(1, 0, 1), all.narrow(1, 1, channels));
        let count = counts.sum(None::<Kind>).double_value(&[]);
        let over_ranks = |values: &Tensor| values.sum_dim_intlist(0, false, None::<Kind>);
        // A rank that does not count adds nothing, whatever its sample looks like.
        let deviations = over_ranks(&(all.narrow(1, 1 + channels, channels) * counts.gt(0.0)));
        let mean = over_ranks(&(&counts * &means)) / count;
        let apart = over_ranks(&(&counts * (means - &mean).square()));
        let variance = (deviations + apart) / count;
        (mean, variance, count)
    }

    /// This rank's gradients by `parameters` of the sum of all ranks' losses; what other ranks lose by this rank's share in
    /// the statistics is in them. Summed over the ranks they are the gradients of one process. Undefined where nothing
    /// depends on a parameter.
    pub fn gradients(&self, loss: &Tensor, parameters: &[&Tensor]) -> Vec<Tensor> {
        let cuts = self.cuts.take();
        let leaves: Vec<&Tensor> = parameters.iter().copied().chain(cuts.iter().flat_map(Cut::leaves)).collect();
        let mut sums: Vec<Tensor> = parameters.iter().map(|_| Tensor::new()).collect();
        let mut root = loss.shallow_clone();
        loop {
            let round = Tensor::run_backward(&[&root], &leaves, false, false);
            let (by_parameter, by_cut) = round.split_at(parameters.len());
            sums = sums.iter().zip(by_parameter).map(|(sum, more)| added(sum, more)).collect();
            let reached: Vec<(&Cut, &[Tensor])> =
                cuts.iter().zip(by_cut.chunks(3)).filter(|(_, gradients)| gradients[0].defined()).collect();
            match tch::no_grad(|| self.below(&reached)) {
                // What the gradient is, times what it is of, has that gradient.
                Some(gradients) => {
                    let parts = reached.iter().zip(&gradients).map(|((cut, _), gradient)| &cut.below * gradient);
                    root = parts.map(|part| part.sum(None::<Kind>)).sum();
                }
                None => return sums,
            }
        }
    }

    /// The whole gradient by the end of each graph below; None where nothing was reached.
    fn below(&self, reached: &[(&Cut, &[Tensor])]) -> Option<Vec<Tensor>> {
        let statistics: Vec<Tensor> =
            reached.iter().flat_map(|(_, gradients)| &gradients[1..]).map(|gradient| gradient.flatten(0, -1)).collect();
        if statistics.is_empty() {
            return None;
        }
        let summed = summed(self.ranks, &statistics);
        let whole = reached.iter().zip(summed.chunks(2)).map(|((cut, gradients), summed)| {
            let Statistics { x, mean, count, .. } = &cut.above;
            if !self.counts {
                return gradients[0].shallow_clone();
            }
            let (by_mean, by_variance) = (summed[0].reshape([1, -1, 1, 1]), summed[1].reshape([1, -1, 1, 1]));
            // d mean / dx = 1 / n, d variance / dx = 2 (x - mean) / n.
            &gradients[0] + (by_mean + (x - mean) * by_variance * 2.0) / *count
        });
        Some(whole.collect())
    }
}

impl Cut {
    fn leaves(&self) -> [&Tensor; 3] {
        [&self.above.x, &self.above.mean, &self.above.variance]
    }
}

impl Statistics {
    fn shallow_clone(&self) -> Self {
        let Self { x, mean, variance, count } = self;
        Self { x: x.shallow_clone(), mean: mean.shallow_clone(), variance: variance.shallow_clone(), count: *count }
    }
}

/// The sums over all ranks of each tensor, in one message. Undefined ones stay so; they must be the same ones on all ranks.
pub(in crate::train) fn summed(ranks: &dyn Ranks, tensors: &[Tensor]) -> Vec<Tensor> {
    let flat: Vec<Tensor> =
        tensors.iter().filter(|tensor| tensor.defined()).map(|tensor| tensor.flatten(0, -1)).collect();
    if flat.is_empty() || ranks.size() == 1 {
        return tensors.iter().map(Tensor::shallow_clone).collect();
    }
    let joined = Tensor::cat(&flat, 0).to_kind(Kind::Float).to_device(tch::Device::Cpu).contiguous();
    let mut values = vec![0.0_f32; joined.numel()];
    joined.copy_data(&mut values, joined.numel());
    ranks.sum(&mut values);
    let joined = Tensor::from_slice(&values);
    let mut start = 0;
    let take = |tensor: &Tensor| {
        if !tensor.defined() {
            return Tensor::new();
        }
        let length = tensor.numel() as i64;
        let own = joined.narrow(0, start, length).reshape_as(tensor).to_device(tensor.device());
        start += length;
        own
    };
    tensors.iter().map(take).collect()
}

/// A gradient that does not exist counts as none.
pub(in crate::train) fn added(a: &Tensor, b: &Tensor) -> Tensor {
    match (a.defined(), b.defined()) {
        (true, true) => a + b,
        (true, false) => a.shallow_clone(),
        _ => b.shallow_clone(),
    }
}

/// Of a vector of f64.
fn numbers(values: &Tensor) -> Vec<f64> {
    let values = values.to_device(tch::Device::Cpu).contiguous();
    let mut numbers = vec![0.0; values.numel()];
    values.copy_data(&mut numbers, values.numel());
    numbers
}
