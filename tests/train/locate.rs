//! LOCATE's part selection and losses: numbers of the published code, and properties where it gave none.

use looptrans_ros::train::{
    locate::{Locate, Step},
    locate_parts::{Active, Prototypes, active_patches, k_means, k_means_in, prototypes, random_starts},
    losses::locate::{Inputs, Weights, terms},
};
use tch::{Device, IndexOp, Kind, Tensor};

use crate::support::{LABELS, assert_relative, seeded, small_16, uniform, values, views};

const GOLDEN: f64 = 2e-5;

/// Rows 0, N/2 and N-1 of each sample's N.
fn spread(active: &Active) -> Tensor {
    let counts: Vec<i64> = Vec::try_from(&active.counts).unwrap();
    let starts: Vec<i64> = counts.iter().flat_map(|n| [0, n / 2, n - 1]).collect();
    Tensor::from_slice(&starts).reshape([-1, 3])
}

#[test]
fn part_selection_and_every_term_of_locate_are_the_published_codes() {
    let (_, model) = seeded(|root| Locate::new(root, &small_16(36)));
    let (ego, exo) = views();
    let (ego, exo) = (ego.features(), exo.features());
    let labels = Tensor::from_slice(&LABELS);
    let step = model.step(&ego, &exo).unwrap();

    let active = active_patches(&step.exo_maps, &exo.descriptors, &labels).unwrap();
    assert_eq!(values(&active.counts), [233.0, 150.0]);
    // The reference put these rows in the place of k-means' result.
    let centres = k_means_in(&active, &spread(&active), 0).unwrap();
    let found = prototypes(&active, &centres, &ego.descriptors, &ego.salient_patches()).unwrap();
    let expected = [0.570776, 0.600198, 0.503968, 0.531661, 0.552189, 0.455500];
    assert_relative("PartIoU", &found.part_iou, &expected, GOLDEN);
    assert_eq!(values(&found.found), [1.0, 0.0]);
    let expected = [-0.037229, -0.022029, -0.031019, -0.015293];
    assert_relative("similarity[0, 0, :4]", &found.similarity.i((0, 0, ..4)), &expected, GOLDEN);

    let inputs = Inputs { step: &step, ego_descriptors: &ego.descriptors, prototypes: Some(&found), labels: &labels };
    let terms_found = terms(&inputs).unwrap();
    let expected = [("ego_cls", 3.481464), ("exo_cls", 3.496152), ("proto", 0.243966), ("con", 0.659822)];
    for ((name, term), (expected_name, value)) in terms_found.named().into_iter().zip(expected) {
        assert_eq!(name, expected_name);
        assert_relative(name, term, &[value], GOLDEN);
    }
    let total = 3.481464 + 3.496152 + 0.243966 + 0.07 * 0.659822;
    assert_relative("total", &terms_found.total(&Weights::default()), &[total], GOLDEN);
    // In the first epoch the prototypes are not asked.
    let first = terms(&Inputs { prototypes: None, ..inputs }).unwrap();
    assert_eq!(first.proto.double_value(&[]), 0.0);
}

/// Three clear groups of rows; further rows that are not active lie far away.
fn groups(counts: [i64; 2]) -> Active {
    let centres = uniform("locate.centres", &[3, 6]) * 4.0;
    let of_group: Vec<i64> = (0..24).map(|row| row % 3).collect();
    let rows = centres.index_select(0, &Tensor::from_slice(&of_group)) + uniform("locate.grain", &[24, 6]) * 0.1;
    let far = Tensor::full([6, 6], 100.0, (Kind::Float, Device::Cpu));
    let sample = Tensor::cat(&[rows, far], 0);
    Active { rows: Tensor::stack(&[&sample, &sample], 0), counts: Tensor::from_slice(&counts) }
}

#[test]
fn k_means_finds_the_groups_of_the_active_rows_alone() {
    let active = groups([24, 18]);
    let starts = Tensor::from_slice(&[0_i64, 1, 2, 0, 1, 2]).reshape([2, 3]);
    let centres = k_means(&active, &starts).unwrap();
    for sample in 0..2 {
        for group in 0..3 {
            let last = [24, 18][sample as usize];
            let members: Vec<i64> = (0..last).filter(|row| row % 3 == group).collect();
            let mean =
                active.rows.i(sample).index_select(0, &Tensor::from_slice(&members)).mean_dim(0, false, Kind::Float);
            let unit = &mean / mean.norm();
            assert_relative("centre", &centres.i((sample, group)), &values(&unit), 1e-5);
        }
    }
    // No sample depends on the others.
    let first = Active { rows: active.rows.narrow(0, 0, 1), counts: active.counts.narrow(0, 0, 1) };
    let alone = k_means(&first, &starts.narrow(0, 0, 1)).unwrap();
    assert_eq!(values(&alone), values(&centres.narrow(0, 0, 1)));
}

#[test]
fn a_centre_without_rows_is_zero_and_chosen_by_nobody() {
    let active = groups([24, 24]);
    // Equal starts: all rows go to the first of them.
    let starts = Tensor::from_slice(&[0_i64, 0, 0, 0, 1, 2]).reshape([2, 3]);
    let centres = k_means(&active, &starts).unwrap();
    assert_eq!(values(&centres.i((0, 1..))), [0.0; 12]);
    let ego = uniform("locate.ego", &[2, 20, 6]);
    let salient = uniform("locate.salient", &[2, 20]).gt(0.0).to_kind(Kind::Float);
    let found = prototypes(&active, &centres, &ego, &salient).unwrap();
    assert!(values(&found.part_iou).iter().all(|iou| (0.0..=1.0).contains(iou)));
    assert_eq!(values(&found.part_iou.i((0, 1..))), [0.0; 2]);
}

#[test]
fn random_starts_are_different_active_rows() {
    let active = groups([24, 5]);
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let draws = uniform(&format!("draws.{seed}"), &[2, 30]);
        let starts = random_starts(&active, &draws).unwrap();
        for (sample, count) in [(0, 24), (1, 5)] {
            let rows: Vec<i64> = Vec::try_from(starts.i(sample)).unwrap();
            assert!(rows.iter().all(|row| (0..count).contains(row)), "{rows:?} of {count}");
            assert_eq!(std::collections::BTreeSet::from_iter(&rows).len(), 3);
            seen.insert((sample, rows));
        }
    }
    assert!(seen.len() > 20, "{}", seen.len());
}

#[test]
fn a_sample_with_two_active_patches_has_no_prototype_and_no_loss() {
    let active = groups([2, 24]);
    let starts = Tensor::from_slice(&[0_i64, 1, 2, 0, 1, 2]).reshape([2, 3]);
    let centres = k_means(&active, &starts).unwrap();
    // Every patch of group 0, and exactly these salient: PartIoU is 1 for its centre.
    let of_group: Vec<i64> = (0..20).map(|patch| patch % 3).collect();
    let rows = active.rows.i(0).index_select(0, &Tensor::from_slice(&of_group));
    let ego = Tensor::stack(&[&rows, &rows], 0);
    let salient = Tensor::from_slice(&of_group).eq(0).to_kind(Kind::Float).expand([2, 20], false);
    let found = prototypes(&active, &centres, &ego, &salient).unwrap();
    assert_eq!(values(&found.found), [0.0, 1.0]);
    assert_eq!(values(&found.vectors.i(0)), [0.0; 6]);
    assert_eq!(values(&found.vectors.i(1)), values(&centres.i((1, 0))));
    assert_relative("PartIoU of the right part", &found.part_iou.i((1, 0)), &[1.0], 1e-6);

    // Nothing found at all: no loss, and no NaN.
    let nothing = Prototypes { found: found.found.zeros_like(), vectors: found.vectors.zeros_like(), ..found };
    let step = small_step();
    let labels = Tensor::from_slice(&[1_i64, 2]);
    let inputs = Inputs { step: &step, ego_descriptors: &ego, prototypes: Some(&nothing), labels: &labels };
    let terms = terms(&inputs).unwrap();
    assert_eq!(terms.proto.double_value(&[]), 0.0);
    terms.total(&Weights::default()).backward();
    assert!(values(&step.ego_maps.grad()).iter().all(|gradient| gradient.is_finite()));
}

/// Two samples of 3 actions on maps of 5x4.
fn small_step() -> Step {
    let leaf = |name: &str, shape: &[i64]| uniform(name, shape).set_requires_grad(true);
    Step {
        exo_maps: leaf("locate.exo_maps", &[2, 3, 3, 5, 4]),
        ego_maps: leaf("locate.ego_maps", &[2, 3, 5, 4]),
        exo_logits: leaf("locate.exo_logits", &[2, 3, 3]),
        ego_logits: leaf("locate.ego_logits", &[2, 3]),
    }
}

#[test]
fn active_patches_lie_at_the_front_in_order() {
    let step = small_step();
    let labels = Tensor::from_slice(&[1_i64, 2]);
    let descriptors = Tensor::arange(6 * 20, (Kind::Float, Device::Cpu)).reshape([6, 20, 1]);
    let active = active_patches(&step.exo_maps, &descriptors, &labels).unwrap();
    for (sample, label) in [(0_i64, 1_i64), (1, 2)] {
        let mut expected = Vec::new();
        for exo in 0..3 {
            let map = values(&step.exo_maps.i((sample, exo, label)));
            let (low, high) = map.iter().fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(*v), high.max(*v)));
            let inside = map.iter().enumerate().filter(|(_, v)| (*v - low) / (high - low) > 0.6);
            expected.extend(inside.map(|(patch, _)| (60 * sample + 20 * exo + patch as i64) as f64));
        }
        assert_eq!(active.counts.int64_value(&[sample]), expected.len() as i64);
        assert_eq!(values(&active.rows.i((sample, ..expected.len() as i64, 0))), expected);
    }
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let step = small_step();
    let labels = Tensor::from_slice(&[1_i64, 2]);
    let descriptors = uniform("d", &[6, 20, 4]);
    assert!(active_patches(&step.exo_maps, &descriptors, &Tensor::from_slice(&[1_i64, 3])).is_err());
    assert!(active_patches(&step.exo_maps, &uniform("d", &[6, 19, 4]), &labels).is_err());
    let active = active_patches(&step.exo_maps, &descriptors, &labels).unwrap();
    let starts = |last: i64| Tensor::from_slice(&[0, 1, 2, 0, 1, last]).reshape([2, 3]);
    assert!(k_means(&active, &starts(60)).unwrap_err().to_string().contains("rows 0 to 59"));
    assert!(k_means(&active, &starts(-1)).is_err());
    let centres = k_means(&active, &starts(2)).unwrap();
    assert!(prototypes(&active, &centres, &uniform("e", &[2, 20, 5]), &uniform("s", &[2, 20])).is_err());
    assert!(prototypes(&active, &centres, &uniform("e", &[2, 20, 4]), &uniform("s", &[2, 21])).is_err());
    assert!(random_starts(&active, &uniform("draws", &[2, 59])).is_err());
    let ego_descriptors = uniform("e", &[2, 20, 4]);
    let inputs = Inputs { step: &step, ego_descriptors: &ego_descriptors, prototypes: None, labels: &labels };
    assert!(terms(&Inputs { labels: &Tensor::from_slice(&[-1_i64, 0]), ..inputs }).is_err());
    assert!(terms(&Inputs { ego_descriptors: &descriptors, ..inputs }).is_err());
}
