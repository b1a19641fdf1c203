//! How good a backbone is without training anything on it: do pictures of one class lie near each other?

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::train::{
    TrainError,
    shape::{ANY, expect},
    tensor::unit,
};

/// Neighbours that vote (published: 20).
const NEIGHBOURS: i64 = 20;
/// Of the votes' weights (published code).
const TEMPERATURE: f64 = 0.07;

/// A leave-one-out score.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Score {
    /// Share of pictures whose neighbours name their class.
    pub accuracy: f64,
    /// What naming the most frequent class for all gives.
    pub chance: f64,
    /// Pictures.
    pub pictures: usize,
}

/// Names each picture's class by its nearest neighbours among all the others: vectors [B, D], classes [B] int64 counted
/// from 0.
///
/// # Errors
/// Shapes that do not belong together, or fewer than two pictures.
pub fn leave_one_out(vectors: &Tensor, classes: &[i64]) -> Result<Score, TrainError> {
    expect("vectors", vectors, &[classes.len() as i64, ANY], "[B, D]")?;
    let pictures = classes.len();
    let (Some(most), true) = (classes.iter().max(), pictures > 1 && classes.iter().all(|class| *class >= 0)) else {
        let (expected, found) = ("at least two pictures with classes".to_owned(), format!("{classes:?}"));
        return Err(TrainError::Values { what: "classes", expected, found });
    };
    let directions = unit(&vectors.detach().to_device(Device::Cpu), -1);
    let own = Tensor::eye(pictures as i64, (Kind::Bool, Device::Cpu));
    let cosines = directions.matmul(&directions.transpose(0, 1)).masked_fill(&own, f64::NEG_INFINITY);
    let (nearest, index) = cosines.topk(NEIGHBOURS.min(pictures as i64 - 1), -1, true, true);
    let labels = Tensor::from_slice(classes);
    let votes = labels.index(&[Some(index)]).one_hot(most + 1).to_kind(Kind::Float);
    let weights = (nearest / TEMPERATURE).exp().to_kind(Kind::Float).unsqueeze(-1);
    let named = (votes * weights).sum_dim_intlist(1, false, None::<Kind>).argmax(-1, false);
    let right = named.eq_tensor(&labels).sum(Kind::Int64).int64_value(&[]);
    let frequent = labels.one_hot(most + 1).sum_dim_intlist(0, false, None::<Kind>).max().int64_value(&[]);
    let share = |count: i64| count as f64 / pictures as f64;
    Ok(Score { accuracy: share(right), chance: share(frequent), pictures })
}
