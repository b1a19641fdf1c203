//! The losses: numbers of the published code, and properties where it gave none.

use std::collections::BTreeMap;

use looptrans_ros::train::{
    TrainError,
    backbone::{Features, Grid},
    concepts::{ConceptSizes, Concepts, hard_parts},
    looptrans::{LoopTrans, Step},
    losses::{
        concentration::concentration,
        looptrans::{Inputs, Options, Saliency, Terms, Weights, terms},
        pixel::{Background, Candidates, EmptyPart, Rules, pseudo_mask},
    },
};
use tch::{Device, IndexOp, Kind, Tensor, nn::VarStore};

use crate::support::{LABELS, NOISE_HEADS, assert_close, assert_relative, seeded, small_16, uniform, values, views};

/// Asked for of every golden number. Measured: at most 4e-6, much of it rounding of the printed digits.
const GOLDEN: f64 = 2e-5;
const ACTIONS: i64 = 36;

fn published_concepts() -> Concepts {
    seeded(|root| Concepts::new(&(root / "cluster"), ConceptSizes::PUBLISHED).unwrap()).1
}

/// The published step: heads in training mode on given tensors.
fn golden_step() -> (VarStore, LoopTrans, Terms) {
    let (parameters, model) = seeded(|root| LoopTrans::new(root, &small_16(ACTIONS as usize + NOISE_HEADS)));
    let (ego, exo) = views();
    let (ego, exo) = (ego.features(), exo.features());
    let step = model.step(&ego, &exo).unwrap();
    let similarity = tch::no_grad(|| published_concepts().similarity(&ego.descriptors)).unwrap();
    let options = Options { empty_part: EmptyPart::OfficialNan, ..Options::default() };
    let inputs = Inputs {
        step: &step,
        ego_descriptors: &ego.descriptors,
        exo_descriptors: &exo.descriptors,
        saliency: &ego.saliency(),
        similarity: &similarity,
        labels: &Tensor::from_slice(&LABELS),
        actions: ACTIONS,
    };
    let terms = terms(&inputs, &options).unwrap();
    (parameters, model, terms)
}

#[test]
fn every_term_of_looptrans_is_the_published_codes() {
    let (_, _, terms) = golden_step();
    let expected = [
        ("ego_cls", 3.808854),
        ("exo_cls", 3.810517),
        ("mse", 0.307723),
        ("dice", 0.570543),
        ("corr", 0.109944),
        ("dill", 2.415156),
        ("con", 0.651465),
    ];
    let found = terms.named();
    assert_eq!(found.iter().map(|(name, _)| *name).collect::<Vec<_>>(), expected.map(|(name, _)| name));
    for ((name, term), (_, value)) in found.into_iter().zip(expected) {
        assert_relative(name, term, &[value], GOLDEN);
    }
    assert_relative("total", &terms.total(&Weights::default()), &[12.168963], GOLDEN);
}

#[test]
fn every_gradient_norm_of_looptrans_is_the_published_codes() {
    let (parameters, _, terms) = golden_step();
    terms.total(&Weights::default()).backward();
    let parameters = parameters.variables();
    for (name, expected) in [
        ("aff_fc.weight", 13.569),
        ("aff_fc.bias", 1.3330),
        ("aff_proj.fc1.weight", 10.001),
        ("aff_proj.fc2.weight", 17.622),
        ("aff_proj.norm.weight", 0.48604),
        ("pixel_dec.0.weight", 34.014),
        ("pixel_dec.3.weight", 27.803),
        ("scam.0.weight", 2.6322),
        ("scam.3.weight", 2.2857),
    ] {
        // Printed with five digits.
        assert_relative(name, &parameters[name].grad().norm(), &[expected], 1e-4);
    }
    for name in ["pixel_dec.0.bias", "pixel_dec.3.bias", "scam.0.bias", "scam.3.bias"] {
        let norm = parameters[name].grad().norm().double_value(&[]);
        assert!(norm < 1e-4, "{name}: {norm}: batch normalisation takes its mean away");
    }
    for (name, parameter) in parameters.iter().filter(|(name, _)| name.starts_with("vit_model.")) {
        assert!(!parameter.grad().defined(), "{name}: frozen");
    }
}

#[test]
fn the_evaluation_after_a_training_step_is_looptrans() {
    let (parameters, model, _) = golden_step();
    let ego = views().0.features();
    // The running statistics moved once (Theta_pixel) and are used now.
    let maps = tch::no_grad(|| model.class_maps_of(&ego));
    let map = Tensor::stack(&[maps.i((0, LABELS[0])), maps.i((1, LABELS[1]))], 0);
    let expected = [-0.059733, -0.119458, 0.062291, 0.049708, 0.048292];
    assert_relative("eval map[0, 0, :5]", &map.i((0, 0, ..5)), &expected, GOLDEN);
    let first = map.i(0);
    let extremes = Tensor::stack(&[first.min(), first.max()], 0);
    assert_relative("eval map[0], least and most", &extremes, &[-0.631353, 0.779473], GOLDEN);

    // Theta_scam saw two batches, Theta_pixel one.
    let counters = parameters.variables();
    for (key, batches) in [("scam.1", 2), ("scam.4", 2), ("pixel_dec.1", 1), ("pixel_dec.4", 1)] {
        assert_eq!(counters[&format!("{key}.num_batches_tracked")].int64_value(&[]), batches, "{key}");
    }
}

#[test]
fn what_the_losses_read_of_a_step_is_looptrans() {
    let (_, model) = seeded(|root| LoopTrans::new(root, &small_16(ACTIONS as usize + NOISE_HEADS)));
    let (ego, exo) = views();
    let step = tch::no_grad(|| model.step(&ego.features(), &exo.features())).unwrap();
    let expected = [0.255581, 0.344992, 0.568907, 0.131786];
    assert_relative("ego saliency[0, :4]", &ego.features().saliency().i((0, ..4)), &expected, GOLDEN);
    let expected = [-0.412337, -0.193918, -0.323890, 0.505289, 0.443048];
    assert_relative("exo logits[0, 0, :5]", &step.exo_logits.i((0, 0, ..5)), &expected, GOLDEN);
}

#[test]
fn concentration_is_the_published_codes_variance() {
    let ramp = Tensor::arange(196, (Kind::Double, tch::Device::Cpu)).reshape([1, 1, 14, 14]) / 195.0;
    assert_relative("ramp", &concentration(&ramp), &[0.5520327], 1e-6);
    let single = Tensor::zeros([14, 14], (Kind::Double, tch::Device::Cpu));
    let _ = single.i((3, 9)).fill_(1.0);
    assert_relative("single patch", &concentration(&single), &[0.1604288], 1e-6);
    // Over channels, then samples: the plain mean of all maps.
    let both = Tensor::stack(&[ramp.squeeze(), single], 0);
    assert_relative("both", &concentration(&both), &[(0.5520327 + 0.1604288) / 2.0], 1e-6);
}

/// A small step in f64 whose maps are leaves: 2 pictures with 3 exocentric ones each, 3 actions, 2 noise heads, 5x4 maps.
struct Small {
    step: Step,
    ego_descriptors: Tensor,
    exo_descriptors: Tensor,
    saliency: Tensor,
    similarity: Tensor,
    labels: Tensor,
}

impl Small {
    fn new(seed: &str) -> Self {
        let leaf = |name: &str, shape: &[i64]| {
            uniform(&format!("{seed}.{name}"), shape).to_kind(Kind::Double).set_requires_grad(true)
        };
        let given = |name: &str, shape: &[i64]| uniform(&format!("{seed}.{name}"), shape).to_kind(Kind::Double);
        let step = Step {
            exo_maps: leaf("exo_maps", &[2, 3, 5, 5, 4]),
            ego_maps: leaf("ego_maps", &[2, 5, 5, 4]),
            pixel_maps: leaf("pixel_maps", &[2, 5, 5, 4]),
            exo_logits: leaf("exo_logits", &[2, 3, 5]),
            ego_logits: leaf("ego_logits", &[2, 5]),
        };
        Self {
            step,
            ego_descriptors: given("ego", &[2, 20, 7]),
            exo_descriptors: given("exo", &[6, 20, 7]),
            saliency: given("saliency", &[2, 20]).abs(),
            similarity: given("similarity", &[2, 20, 3]),
            labels: Tensor::from_slice(&[2_i64, 0]),
        }
    }

    fn inputs(&self) -> Inputs<'_> {
        Inputs {
            step: &self.step,
            ego_descriptors: &self.ego_descriptors,
            exo_descriptors: &self.exo_descriptors,
            saliency: &self.saliency,
            similarity: &self.similarity,
            labels: &self.labels,
            actions: 3,
        }
    }

    fn terms(&self) -> Terms {
        terms(&self.inputs(), &Options::default()).unwrap()
    }

    fn leaves(&self) -> [(&'static str, &Tensor); 5] {
        let Step { exo_maps, ego_maps, pixel_maps, exo_logits, ego_logits } = &self.step;
        [
            ("exo_maps", exo_maps),
            ("ego_maps", ego_maps),
            ("pixel_maps", pixel_maps),
            ("exo_logits", exo_logits),
            ("ego_logits", ego_logits),
        ]
    }
}

#[test]
fn gradients_are_the_slopes_of_every_term() {
    let small = Small::new("slopes");
    for index in 0..small.terms().named().len() {
        for (leaf, tensor) in small.leaves() {
            let terms = small.terms();
            let (name, term) = terms.named()[index];
            let gradient = if term.requires_grad() { slope_by_graph(term, tensor) } else { None };
            let gradient = gradient.unwrap_or_else(|| tensor.zeros_like());
            // Along a fixed direction, by central differences.
            let direction = uniform(&format!("direction.{leaf}"), &tensor.size()).to_kind(Kind::Double);
            let step = 1e-6;
            let moved = |sign: f64| {
                let _ = tch::no_grad(|| tensor.shallow_clone().g_add_(&(&direction * (sign * step))));
                let value = small.terms().named()[index].1.double_value(&[]);
                let _ = tch::no_grad(|| tensor.shallow_clone().g_sub_(&(&direction * (sign * step))));
                value
            };
            let slope = (moved(1.0) - moved(-1.0)) / (2.0 * step);
            let by_graph = (gradient * &direction).sum(Kind::Double).double_value(&[]);
            assert!((slope - by_graph).abs() < 1e-7, "{name} by {leaf}: {slope}, gradient {by_graph}");
        }
    }
}

fn slope_by_graph(term: &Tensor, leaf: &Tensor) -> Option<Tensor> {
    let mut leaf = leaf.shallow_clone();
    leaf.zero_grad();
    term.backward();
    let gradient = leaf.grad();
    gradient.defined().then(|| gradient.copy())
}

#[test]
fn each_term_reaches_the_branches_it_is_meant_for() {
    let reached = |index: usize| {
        let small = Small::new("reach");
        small.terms().named()[index].1.backward();
        let with_gradient = |(_, tensor): &(&str, &Tensor)| {
            tensor.grad().defined() && tensor.grad().abs().max().double_value(&[]) > 0.0
        };
        small.leaves().into_iter().filter(with_gradient).map(|(name, _)| name).collect::<Vec<_>>()
    };
    let names: Vec<&str> = Small::new("reach").terms().named().iter().map(|(name, _)| *name).collect();
    let reached: BTreeMap<&str, Vec<&str>> = names.iter().enumerate().map(|(i, name)| (*name, reached(i))).collect();
    assert_eq!(reached["ego_cls"], ["ego_logits"]);
    assert_eq!(reached["exo_cls"], ["exo_logits"]);
    for pixel_only in ["mse", "dice", "con"] {
        assert_eq!(reached[pixel_only], ["pixel_maps"], "{pixel_only}");
    }
    for both in ["corr", "dill"] {
        assert_eq!(reached[both], ["exo_maps", "pixel_maps"], "{both}");
    }
}

#[test]
fn a_batchs_losses_are_the_means_of_its_samples() {
    let whole = Small::new("batch");
    let samples: Vec<Terms> = (0..2)
        .map(|sample| {
            let of = |tensor: &Tensor| tensor.narrow(0, sample, 1);
            let step = Step {
                exo_maps: of(&whole.step.exo_maps),
                ego_maps: of(&whole.step.ego_maps),
                pixel_maps: of(&whole.step.pixel_maps),
                exo_logits: of(&whole.step.exo_logits),
                ego_logits: of(&whole.step.ego_logits),
            };
            let inputs = Inputs {
                step: &step,
                ego_descriptors: &of(&whole.ego_descriptors),
                exo_descriptors: &whole.exo_descriptors.narrow(0, 3 * sample, 3),
                saliency: &of(&whole.saliency),
                similarity: &of(&whole.similarity),
                labels: &of(&whole.labels),
                actions: 3,
            };
            terms(&inputs, &Options::default()).unwrap()
        })
        .collect();
    for (index, (name, term)) in whole.terms().named().into_iter().enumerate() {
        let mean = samples.iter().map(|terms| terms.named()[index].1.double_value(&[])).sum::<f64>() / 2.0;
        assert_close(name, term, &[mean], 1e-12);
    }
}

#[test]
fn without_noise_heads_there_is_nothing_to_denoise() {
    let small = Small::new("plain");
    let terms = terms(&Inputs { actions: 5, ..small.inputs() }, &Options::default()).unwrap();
    assert_eq!(terms.dill.double_value(&[]), 0.0);
    terms.total(&Weights::default()).backward();
    assert!(values(&small.step.exo_maps.grad()).iter().all(|gradient| gradient.is_finite()));
}

#[test]
fn a_fixed_denoising_target_changes_the_gradient_only() {
    let fixed = Options { detach_dill_positive: true, ..Options::default() };
    let [(value, gradient), (fixed_value, fixed_gradient)] = [Options::default(), fixed].map(|options| {
        let small = Small::new("target");
        let dill = terms(&small.inputs(), &options).unwrap().dill;
        dill.backward();
        (dill.double_value(&[]), small.step.exo_maps.grad())
    });
    assert_eq!(value, fixed_value);
    let own_channel = |gradient: &Tensor| gradient.i((0, 0, 2)).abs().max().double_value(&[]);
    assert!(own_channel(&gradient) > 1e-6);
    assert_eq!(own_channel(&fixed_gradient), 0.0);
}

fn published(empty: EmptyPart) -> Rules {
    Rules { foreground: 0.92, empty, background: Background::LeastSalient }
}

/// One picture of six patches in three parts of two; the fourth part is empty.
fn candidates(activation: [f64; 6], saliency: [f64; 6], rules: Rules) -> Vec<f64> {
    let similarity = Tensor::from_slice(&[0_i64, 0, 1, 1, 2, 2]).one_hot(4).to_kind(Kind::Double).unsqueeze(0);
    let (activation, saliency) = (Tensor::from_slice(&activation), Tensor::from_slice(&saliency));
    let candidates = Candidates {
        activation: &activation.unsqueeze(0),
        parts: &hard_parts(&similarity),
        saliency: &saliency.unsqueeze(0),
    };
    values(&pseudo_mask(&candidates, rules))
}

#[test]
fn the_pseudo_mask_is_the_active_part_unless_it_is_background() {
    let salient_middle = [0.2, 0.2, 0.9, 0.9, 0.5, 0.5];
    let last_active = [0.0, 0.0, 0.1, 0.0, 0.3, 1.0];
    assert_eq!(candidates(last_active, salient_middle, published(EmptyPart::Skip)), [0.0, 0.0, 0.0, 0.0, 1.0, 1.0]);
    // The first part is the least salient: never chosen, and nothing else is active, so the lowest of the others is.
    let first_active = [1.0, 0.0, 0.1, 0.0, 0.3, 0.0];
    assert_eq!(candidates(first_active, salient_middle, published(EmptyPart::Skip)), [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
    // As published, the empty part passes for the background, so the first part may be chosen.
    assert_eq!(
        candidates(first_active, salient_middle, published(EmptyPart::OfficialNan)),
        [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    );
}

#[test]
fn all_parts_below_the_picture_s_mean_salience_can_be_left_out() {
    let below_mean = Rules { background: Background::BelowMean, ..published(EmptyPart::Skip) };
    // The last part is not the least salient one, but below the mean of 0.5.
    let salient_middle = [0.1, 0.1, 1.0, 1.0, 0.4, 0.4];
    let last_active = [0.0, 0.0, 0.1, 0.0, 0.3, 1.0];
    assert_eq!(candidates(last_active, salient_middle, published(EmptyPart::Skip)), [0.0, 0.0, 0.0, 0.0, 1.0, 1.0]);
    assert_eq!(candidates(last_active, salient_middle, below_mean), [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
}

#[test]
fn what_is_unlike_the_edge_stands_out() {
    // Four by four patches: a floor whose direction varies a little, and one patch in the middle that is something else.
    let descriptors: Vec<f64> =
        (0..16).flat_map(|place| if place == 5 { [0.0, 2.0] } else { [1.0, 0.01 * f64::from(place)] }).collect();
    let features = Features {
        grid: Grid { rows: 4, columns: 4 },
        descriptors: Tensor::from_slice(&descriptors).reshape([1, 16, 2]),
        cls_attention: Tensor::zeros([1, 2, 16], (Kind::Double, Device::Cpu)),
    };
    let found = values(&Saliency::BorderContrast.of(&features));
    assert!((found[5] - 1.0).abs() < 1e-9, "{found:?}");
    assert!(found.iter().enumerate().all(|(place, level)| place == 5 || *level < 0.05), "{found:?}");
    let salient = values(&Saliency::BorderContrast.patches_of(&features));
    assert!(salient.iter().enumerate().all(|(place, &one)| one == f64::from(u8::from(place == 5))), "{salient:?}");
}

#[test]
fn a_picture_of_one_part_has_that_part() {
    let similarity = Tensor::from_slice(&[1_i64; 6]).one_hot(4).to_kind(Kind::Double).unsqueeze(0);
    let map = Tensor::from_slice(&[0.0, 0.1, 0.2, 0.3, 0.4, 1.0]).unsqueeze(0);
    let candidates = Candidates { activation: &map, parts: &similarity, saliency: &map };
    for empty in [EmptyPart::Skip, EmptyPart::OfficialNan] {
        assert_eq!(values(&pseudo_mask(&candidates, published(empty))), [1.0; 6], "{empty:?}");
    }
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let small = Small::new("refused");
    let refused = |inputs: Inputs<'_>| terms(&inputs, &Options::default()).unwrap_err().to_string();
    for label in [-1_i64, 3, 1 << 40] {
        let error = refused(Inputs { labels: &Tensor::from_slice(&[0, label]), ..small.inputs() });
        assert!(error.contains("labels: expected 0 to 2, one of the 3 actions"), "{error}");
    }
    let error = refused(Inputs { labels: &Tensor::from_slice(&[0.0, 1.0]), ..small.inputs() });
    assert!(error.contains("labels: expected int64, found Double"), "{error}");
    let error = refused(Inputs { labels: &Tensor::from_slice(&[0_i64]), ..small.inputs() });
    assert!(error.contains("labels: expected [b] = [2], found [1]"), "{error}");
    let error = refused(Inputs { exo_descriptors: &small.ego_descriptors, ..small.inputs() });
    assert!(error.contains("exo descriptors: expected [b*n, N, D] = [6, 20, 7], found [2, 20, 7]"), "{error}");
    let error = refused(Inputs { saliency: &small.similarity, ..small.inputs() });
    assert!(error.contains("saliency: expected [b, N] = [2, 20], found [2, 20, 3]"), "{error}");
    for actions in [0, 6] {
        let error = terms(&Inputs { actions, ..small.inputs() }, &Options::default()).unwrap_err();
        assert!(matches!(error, TrainError::Values { what: "actions", .. }), "{error}");
    }
}
