//! Concepts: the published generator's numbers, the modularity loss, and parts without training.

use std::collections::BTreeSet;

use looptrans_ros::train::concepts::{Assignment, ConceptSizes, Concepts, hard_parts, modularity, spherical_k_means};
use tch::{Device, IndexOp, Kind, Tensor, nn::VarStore};

use crate::support::{assert_relative, seeded, uniform, values, views};

const GOLDEN: f64 = 2e-5;

const TINY: ConceptSizes = ConceptSizes { dim: 12, parts: 3, layers: 2, heads: 2, hidden: 24 };

fn tiny() -> (VarStore, Concepts) {
    seeded(|root| Concepts::new(&(root / "cluster"), TINY).unwrap())
}

#[test]
fn the_published_generator_gives_its_similarities_and_parts() {
    let (parameters, concepts) = seeded(|root| Concepts::new(&(root / "cluster"), ConceptSizes::PUBLISHED).unwrap());
    assert_eq!(parameters.variables().len(), 113);
    let numbers: usize = parameters.variables().values().map(Tensor::numel).sum();
    assert_eq!(numbers / 100_000, 189, "18.9 M as published");

    let similarity = tch::no_grad(|| concepts.similarity(&views().0.descriptors())).unwrap();
    let expected = [0.974767, 0.983177, 0.968967, 1.002670];
    assert_relative("similarity[0, 0, :]", &similarity.i((0, 0)), &expected, GOLDEN);
    let counts = hard_parts(&similarity).sum_dim_intlist(1, false, Kind::Float);
    assert_eq!(values(&counts), [37.0, 23.0, 56.0, 80.0, 28.0, 20.0, 80.0, 68.0]);
}

#[test]
fn modularity_is_its_definition_and_prefers_the_true_parts() {
    // Two groups of three patches in different directions.
    let directions = Tensor::from_slice(&[1.0, 0.1, 1.0, 0.0, 1.0, 0.2, 0.0, 1.0, 0.1, 1.0, 0.2, 1.0_f64]);
    let descriptors = directions.reshape([1, 6, 2]);
    let loss = |parts: [i64; 6]| {
        let similarity = Tensor::from_slice(&parts).one_hot(2).to_kind(Kind::Double).unsqueeze(0);
        modularity(&descriptors, &similarity, Assignment::CosinePlusOne).unwrap().double_value(&[])
    };
    let by_hand = |parts: [i64; 6]| {
        let x: Vec<Vec<f64>> = values(&descriptors)
            .chunks(2)
            .map(|pair| {
                let length = pair[0].hypot(pair[1]);
                vec![pair[0] / length, pair[1] / length]
            })
            .collect();
        let affinity = |i: usize, j: usize| (x[i][0] * x[j][0] + x[i][1] * x[j][1]).max(0.0);
        let degree = |i: usize| (0..6).map(|j| affinity(i, j)).sum::<f64>();
        let total: f64 = (0..6).map(degree).sum();
        let pairs = (0..6).flat_map(|i| (0..6).map(move |j| (i, j)));
        let together = pairs.filter(|&(i, j)| parts[i] == parts[j]);
        -together.map(|(i, j)| affinity(i, j) - degree(i) * degree(j) / total).sum::<f64>() / total
    };
    let (right, wrong) = ([0, 0, 0, 1, 1, 1], [0, 1, 0, 1, 0, 1]);
    for parts in [right, wrong, [0; 6]] {
        assert!((loss(parts) - by_hand(parts)).abs() < 1e-12, "{parts:?}");
    }
    assert!(loss(right) < loss(wrong) && loss(right) < loss([0; 6]));
    assert!(loss([0; 6]).abs() < 1e-12, "rows of the weight sum to 0");
}

#[test]
fn training_by_modularity_finds_parts_and_moves_the_generator_only() {
    for assignment in [Assignment::CosinePlusOne, Assignment::Clamped] {
        let parameters = VarStore::new(Device::Cpu);
        let concepts = Concepts::new(&(parameters.root() / "cluster"), TINY).unwrap();
        tch::no_grad(|| {
            for (key, mut parameter) in parameters.variables() {
                parameter.copy_(&tiny().0.variables()[&key]);
            }
        });
        let centres = uniform("centres", &[3, 12]);
        let groups = Tensor::from_slice(&[0_i64, 0, 0, 0, 1, 1, 1, 2, 2, 2]);
        let descriptors = (centres.index_select(0, &groups) + uniform("noise", &[10, 12]) * 0.2).unsqueeze(0);
        let descriptors = descriptors.set_requires_grad(true);
        let loss = || {
            let similarity = concepts.similarity(&descriptors.detach()).unwrap();
            modularity(&descriptors, &similarity, assignment).unwrap()
        };
        let before = loss().double_value(&[]);
        let mut optimiser = tch::nn::OptimizerConfig::build(tch::nn::Adam::default(), &parameters, 1e-2).unwrap();
        for _ in 0..60 {
            optimiser.backward_step(&loss());
        }
        let after = loss().double_value(&[]);
        assert!(after < before - 0.02, "{assignment:?}: {before} to {after}");
        assert!(!descriptors.grad().defined(), "the backbone is frozen");
    }
}

#[test]
fn k_means_finds_clear_parts_whatever_their_order() {
    let centres = uniform("parts", &[4, 16]);
    let truth: Vec<i64> = (0..40).map(|patch| (patch * 7 + patch / 11) % 4).collect();
    let picture = centres.index_select(0, &Tensor::from_slice(&truth)) + uniform("grain", &[40, 16]) * 0.3;
    // The same directions with other lengths are the same parts.
    let lengths = uniform("lengths", &[40, 1]) + 2.0;
    let descriptors = Tensor::stack(&[&picture * &lengths, picture.flip([0_i64])], 0);
    let saliency = uniform("salience", &[2, 40]);
    let similarity = spherical_k_means(&descriptors, &saliency, 4).unwrap();
    assert_eq!(similarity.size(), [2, 40, 4]);
    let labels = similarity.argmax(-1, false);
    for (image, truth) in [(0, truth.clone()), (1, truth.into_iter().rev().collect())] {
        let found: Vec<i64> = Vec::try_from(labels.i(image)).unwrap();
        let pairs: BTreeSet<(i64, i64)> = truth.into_iter().zip(found).collect();
        assert_eq!(pairs.len(), 4, "one part for each true part: {pairs:?}");
    }
    // Nothing is drawn at random, and no picture depends on its neighbours.
    let alone = spherical_k_means(&descriptors.narrow(0, 1, 1), &saliency.narrow(0, 1, 1), 4).unwrap();
    assert!((alone - similarity.narrow(0, 1, 1)).abs().max().double_value(&[]) < 1e-6);
}

#[test]
fn k_means_survives_equal_patches_and_zeros() {
    for descriptors in
        [Tensor::ones([1, 9, 5], (Kind::Float, Device::Cpu)), Tensor::zeros([1, 9, 5], (Kind::Float, Device::Cpu))]
    {
        let similarity = spherical_k_means(&descriptors, &uniform("salience", &[1, 9]), 4).unwrap();
        assert!(values(&similarity).iter().all(|value| value.is_finite()));
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let (_, concepts) = tiny();
    let error = concepts.similarity(&uniform("wide", &[2, 9, 13])).unwrap_err().to_string();
    assert!(error.contains("descriptors: expected [B, N, D] = [any, any, 12], found [2, 9, 13]"), "{error}");
    let parameters = VarStore::new(Device::Cpu);
    let root = parameters.root();
    for sizes in
        [ConceptSizes { heads: 5, ..TINY }, ConceptSizes { heads: 0, ..TINY }, ConceptSizes { parts: 0, ..TINY }]
    {
        assert!(Concepts::new(&root, sizes).is_err(), "{sizes:?}");
    }
    let (descriptors, saliency) = (uniform("d", &[1, 9, 4]), uniform("s", &[1, 9]));
    for parts in [-1, 0, 10] {
        let error = spherical_k_means(&descriptors, &saliency, parts).unwrap_err().to_string();
        assert!(error.contains("parts: expected 1 to 9"), "{error}");
    }
    assert!(spherical_k_means(&descriptors, &uniform("s", &[1, 8]), 4).is_err());
    assert!(modularity(&descriptors, &uniform("s", &[1, 8, 2]), Assignment::default()).is_err());
}
