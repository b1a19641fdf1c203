//! Feature stores: that training on one is training live on the same pixels, and which ones are refused.

use std::fs::{self, OpenOptions};

use looptrans_ros::{
    data::{
        augment::{Augmentation, ResizeRule},
        sampling::{Draw, PictureId, Sampler, Variants, View},
    },
    export::seeded::{self, Architecture},
    train::{
        concepts::spherical_k_means,
        features::{FeatureSource, Live, LiveParts},
        looptrans::LoopTrans,
        losses::looptrans::{Inputs, Options, Weights, terms},
        optimizer::{Optimizer, Sgd},
        run::{Device, FeatureOrigin, Plan},
        store::{Kept, Precision},
        weights,
    },
};
use safetensors::SafeTensors;
use tch::{Kind, Tensor, nn::VarStore};

use super::{
    store_support::{CUT, PICTURES, Toy, build, content, draws, f32s, of, worst},
    support::{Fixture, LIMITS, settings},
};

#[test]
fn a_store_gives_what_the_backbone_says_live_and_close_to_it_in_half_the_room() {
    let fixture = Fixture::new();
    let (toy, dataset) = (Toy::new(&fixture), fixture.dataset());
    let (backbone, device) = (&toy.backbone, Device::Cpu);
    let mut live = Live::new(LiveParts { backbone, dataset: &dataset, augmentation: CUT, limits: LIMITS, device });
    // Odd ones, backwards, one twice.
    let mut some: Vec<Draw> = draws(&dataset, 3).into_iter().rev().step_by(2).collect();
    some.push(some[0]);
    let expected = [live.train(&some).unwrap(), live.test(&[3, 0, 2]).unwrap()];
    // Rounding: in batches of another size a library of products may take another way.
    for (precision, tolerance, bytes) in [(Precision::F32, 1e-5, 4), (Precision::F16, 1e-2, 2)] {
        let _ = fs::remove_dir_all(fixture.path("store"));
        assert!(build(&fixture, Kept { variants: 3, precision }, usize::MAX).unwrap());
        let mut store = toy.open(&fixture, true, CUT).unwrap();
        let found = [store.train(&some).unwrap(), store.test(&[3, 0, 2]).unwrap()];
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found.grid, expected.grid);
            let error = worst(&found.descriptors, &expected.descriptors);
            assert!(error <= tolerance, "{precision:?} {error}");
            let error = worst(&found.cls_attention, &expected.cls_attention);
            assert!(error <= tolerance, "{precision:?} {error}");
        }
        let rows = PICTURES.0 * 3 + PICTURES.1;
        assert_eq!(fs::metadata(fixture.path("store/descriptors.bin")).unwrap().len(), rows * 49 * 48 * bytes);
    }
}

/// LoopTrans' loss, and the norm of its gradient, of the first samples that are drawn from so many variants.
fn one_step(fixture: &Fixture, source: &mut dyn FeatureSource, variants: u32) -> (f64, f64) {
    let dataset = fixture.dataset();
    let sampler = Sampler::new(&dataset, 7, Variants::Fixed(variants));
    let samples: Vec<_> = sampler
        .order(0)
        .into_iter()
        .take(4)
        .zip(0..)
        .map(|(picture, place)| sampler.sample(picture, 0, place))
        .collect();
    let mut of = |draws: Vec<Draw>| source.train(&draws).unwrap();
    let ego = of(samples.iter().map(|sample| sample.ego).collect());
    let exo = of(samples.iter().flat_map(|sample| sample.exo).collect());
    let parameters = VarStore::new(Device::Cpu);
    let network = LoopTrans::new(&parameters.root(), &Architecture::named("toy").unwrap().sizes(2));
    weights::load(&parameters, &fixture.backbone(), "").unwrap();
    let (saliency, labels) = (ego.saliency(), samples.iter().map(|sample| sample.label as i64).collect::<Vec<_>>());
    let inputs = Inputs {
        step: &network.step(&ego, &exo).unwrap(),
        ego_descriptors: &ego.descriptors,
        exo_descriptors: &exo.descriptors,
        similarity: &spherical_k_means(&ego.descriptors, &saliency, 4).unwrap(),
        saliency: &saliency,
        labels: &Tensor::from_slice(&labels),
        actions: 2,
    };
    let total = terms(&inputs, &Options::default()).unwrap().total(&Weights::default());
    let optimizer = Optimizer::new(&parameters, Sgd::default());
    let squares: f64 = optimizer
        .gradients(&total)
        .iter()
        .filter(|gradient| gradient.defined())
        .map(|gradient| gradient.square().sum(Kind::Double).double_value(&[]))
        .sum();
    (total.double_value(&[]), squares.sqrt())
}

#[test]
fn a_training_step_from_a_store_is_the_live_step_on_the_same_pixels() {
    let fixture = Fixture::new();
    let (toy, dataset) = (Toy::new(&fixture), fixture.dataset());
    let (backbone, device) = (&toy.backbone, Device::Cpu);
    let mut live = Live::new(LiveParts { backbone, dataset: &dataset, augmentation: CUT, limits: LIMITS, device });
    let expected = one_step(&fixture, &mut live, 3);
    assert!(expected.0.is_finite() && expected.1 > 0.0, "{expected:?}");
    for (precision, tolerance) in [(Precision::F32, 1e-5), (Precision::F16, 1e-3)] {
        let _ = fs::remove_dir_all(fixture.path("store"));
        build(&fixture, Kept { variants: 3, precision }, usize::MAX).unwrap();
        let found = one_step(&fixture, &mut toy.open(&fixture, false, CUT).unwrap(), 3);
        let error = (found.0 / expected.0 - 1.0).abs().max((found.1 / expected.1 - 1.0).abs());
        assert!(error <= tolerance, "{precision:?}: {found:?}, live {expected:?}");
    }
}

#[test]
fn variants_of_a_picture_differ() {
    let fixture = Fixture::new();
    build(&fixture, f32s(2), usize::MAX).unwrap();
    let toy = Toy::new(&fixture);
    let mut store = toy.open(&fixture, false, CUT).unwrap();
    let id = PictureId { folder: 0, view: View::Ego, picture: 1 };
    let found = store.train(&[Draw { id, seed: 0 }, Draw { id, seed: 1 }]).unwrap();
    assert!(worst(&found.descriptors.get(0), &found.descriptors.get(1)) > 0.0);
    let error = store.train(&[Draw { id, seed: 2 }]).unwrap_err().to_string();
    assert!(error.contains("expected less than 2") && error.contains("found 2"), "{error}");
}

#[test]
fn another_backbone_augmentation_or_dataset_is_refused() {
    let fixture = Fixture::new();
    build(&fixture, f32s(1), usize::MAX).unwrap();
    let toy = Toy::new(&fixture);
    let other = Augmentation { resize: ResizeRule::ShortSide, ..CUT };
    let error = toy.open(&fixture, false, other).unwrap_err().to_string();
    assert!(error.contains("expected features of augmentation ShortSide to 64") && error.contains("found"), "{error}");
    for (kept, words) in [
        (f32s(2), "expected features of variants 2, found variants 1"),
        (Kept { variants: 1, precision: Precision::F16 }, "expected features of precision F16, found precision F32"),
    ] {
        let error = build(&fixture, kept, usize::MAX).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    toy.open(&fixture, false, CUT).unwrap();

    let picture = fixture.path("data/testset/egocentric/cut/knife/1.png");
    let before = fs::read(&picture).unwrap();
    fs::write(&picture, [&before[..], b"!"].concat()).unwrap();
    let (was, is) = (format!("{} bytes", before.len()), format!("found {} bytes", before.len() + 1));
    toy.refused(&fixture, false, &["testset/egocentric/cut/knife/1.png", &was, &is]);
    fs::write(&picture, before).unwrap();

    let picture = fixture.path("data/trainset/exocentric/cut/knife/new.png");
    fs::copy(picture.with_file_name("1.png"), &picture).unwrap();
    let name = "features of trainset/exocentric/cut/knife/new.png";
    toy.refused(&fixture, false, &["index.json", name, "none of it"]);
    let error = build(&fixture, f32s(1), usize::MAX).unwrap_err().to_string();
    assert!(error.contains(name), "{error}");
    // A part of the pictures is served.
    fs::remove_file(&picture).unwrap();
    fs::remove_file(picture.with_file_name("1.png")).unwrap();
    toy.open(&fixture, true, CUT).unwrap();

    let backbone = fixture.path("other.safetensors");
    let mut bytes = fs::read(fixture.backbone()).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let bias = file.tensor("vit_model.blocks.1.norm1.bias").unwrap().data().as_ptr();
    // The least bit of one number.
    let at = bias as usize - bytes.as_ptr() as usize;
    bytes[at] ^= 1;
    fs::write(&backbone, &bytes).unwrap();
    let plan = Plan::new(settings(&[]), &backbone, &fixture.path("run")).unwrap();
    let error = fixture.train(plan.with_features(of(&fixture)), 1).unwrap_err().to_string();
    assert!(error.contains("expected features of backbone of SHA-256 ") && error.contains("found backbone"), "{error}");
}

#[test]
fn files_of_another_length_and_hostile_indices_are_refused() {
    let fixture = Fixture::new();
    let toy = Toy::new(&fixture);
    toy.refused(&fixture, false, &["index.json", "store build"]);
    build(&fixture, f32s(1), usize::MAX).unwrap();
    let whole = content(&fixture);
    for name in ["descriptors.bin", "attention.bin", "done.bin"] {
        let bytes = &whole[name];
        for length in [0, 1, bytes.len() - 1, bytes.len() + 1] {
            let file = OpenOptions::new().write(true).open(fixture.path(&format!("store/{name}"))).unwrap();
            file.set_len(length as u64).unwrap();
            let found = format!("found {length} ");
            toy.refused(&fixture, false, &[name, &format!("expected {} bytes", bytes.len()), &found]);
        }
        fs::write(fixture.path(&format!("store/{name}")), bytes).unwrap();
    }
    let text = String::from_utf8(whole["index.json"].clone()).unwrap();
    let huge = u64::MAX.to_string();
    for (from, to) in [
        ("\"variants\":1", "\"variants\":0"),
        ("\"variants\":1", "\"variants\":4294967295"),
        ("\"variants\":1", "\"variants\":-1"),
        ("\"crop\":56", "\"crop\":4294967295"),
        ("\"patch\":8", "\"patch\":0"),
        ("\"dim\":48", &format!("\"dim\":{huge}")),
        ("\"heads\":3", "\"heads\":0"),
        ("\"format\":2", "\"format\":1"),
        ("trainset/exocentric/cut/knife/0.png", "../../../etc/passwd"),
        ("{", "["),
        ("\"train\":[", "\"train\":[{},"),
    ] {
        assert!(text.contains(from), "{from}");
        fs::write(fixture.path("store/index.json"), text.replacen(from, to, 1)).unwrap();
        toy.refused(&fixture, false, &["expected", "found"]);
        let error = build(&fixture, f32s(1), usize::MAX).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("expected") && error.contains("index.json"), "{from} {to}: {error}");
    }
    let index = OpenOptions::new().write(true).open(fixture.path("store/index.json")).unwrap();
    index.set_len(1 << 40).unwrap();
    toy.refused(&fixture, false, &["index.json", "found 1099511627776 bytes, more than"]);
}

#[test]
fn a_file_that_is_cut_while_it_is_read_is_refused() {
    let fixture = Fixture::new();
    build(&fixture, f32s(1), usize::MAX).unwrap();
    let mut store = Toy::new(&fixture).open(&fixture, false, CUT).unwrap();
    store.test(&[0]).unwrap();
    OpenOptions::new().write(true).open(fixture.path("store/descriptors.bin")).unwrap().set_len(10).unwrap();
    let error = store.test(&[0]).unwrap_err().to_string();
    assert!(error.contains("descriptors.bin") && error.contains("found 10"), "{error}");
}

#[test]
fn both_networks_learn_from_a_store_and_a_resumed_run_is_the_same_run() {
    let fixture = Fixture::new();
    build(&fixture, f32s(4), usize::MAX).unwrap();
    for system in ["looptrans", "locate"] {
        // LOCATE's own resize rule would need a store of its own.
        let set = [&format!("system={system}"), "augmentation.resize=square"];
        let plan = |out: &str| fixture.plan(&format!("{system}/{out}"), &set).unwrap().with_features(of(&fixture));
        let state = fixture.train(plan("straight"), usize::MAX).unwrap().state;
        assert_eq!(state.features, Some(f32s(4)));
        fixture.train(plan("resumed"), 2).unwrap();
        let resume = || Plan::resume(&fixture.path(&format!("{system}/resumed")), None).unwrap();
        let error = fixture.train(resume(), 1).unwrap_err().to_string();
        assert!(error.contains("expected of a store, as before (variants: 4, F32)"), "{error}");
        fixture.train(resume().with_features(of(&fixture)), usize::MAX).unwrap();
        for file in ["weights.safetensors", "metrics.csv"] {
            let [a, b] = ["straight", "resumed"].map(|out| fixture.bytes(&format!("{system}/{out}/{file}")));
            assert!(a == b, "{system}: {file} differs");
        }
    }
    // Pictures are not opened: but for tests' ground truth the store is enough.
    let live = fixture.plan("live", &[]).unwrap().with_features(of(&fixture));
    fixture.train(live, 1).unwrap();
    let resume = Plan::resume(&fixture.path("live"), None).unwrap();
    let ended = fixture.train(resume.with_features(FeatureOrigin::Live), usize::MAX).unwrap();
    assert!(ended.finished && ended.state.features.is_none());
}

#[test]
fn a_store_is_known_by_the_backbone_not_by_the_file_that_it_is_in() {
    let fixture = Fixture::new();
    build(&fixture, f32s(1), usize::MAX).unwrap();
    // The same backbone within a model with other heads.
    let other = fixture.path("other.safetensors");
    seeded::write(&other, Architecture::named("toy").unwrap(), &["cut", "hold", "pour"]).unwrap();
    let plan = Plan::new(settings(&["epochs=1"]), &other, &fixture.path("run")).unwrap();
    fixture.train(plan.with_features(of(&fixture)), 1).unwrap();
}
