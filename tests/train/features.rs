//! Features of pictures in files: what the backbone says of the pixels that training and evaluation cut.

use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};
use looptrans_ros::{
    contract::Size,
    data::{
        Dataset, TestItem, TrainFolder,
        augment::{Augmentation, Augmenter, ResizeRule},
        sampling::{Draw, PictureId, View},
    },
    export::seeded::Architecture,
    perceive::{
        decode::{Limits, RgbView},
        preprocess::Preprocessor,
    },
    train::{
        backbone::Backbone,
        features::{FeatureSource, Live, LiveParts},
    },
};
use tch::{Device, Tensor};

use crate::support::seeded;

const CUT: Augmentation = Augmentation { resize: ResizeRule::Square, resized: 64, crop: 56 };

fn pictures(folder: &Path) -> Vec<PathBuf> {
    let draw = |n: u32| {
        let path = folder.join(format!("{n}.png"));
        let picture =
            RgbImage::from_fn(48, 40, |x, y| Rgb([(5 * x) as u8, (6 * y) as u8, ((x * y + 40 * n) % 256) as u8]));
        picture.save(&path).unwrap();
        path
    };
    (0..4).map(draw).collect()
}

fn dataset(folder: &Path) -> Dataset {
    let pictures = pictures(folder);
    let object = "knife".to_owned();
    let items = pictures.iter().map(|path| TestItem {
        label: 0,
        object: object.clone(),
        picture: path.clone(),
        truth: path.clone(),
    });
    Dataset {
        folder: folder.to_owned(),
        affordances: vec!["cut".to_owned()],
        test: items.collect(),
        train: vec![TrainFolder { label: 0, object, exo: pictures[..2].to_vec(), ego: pictures[2..].to_vec() }],
        left_out: Vec::new(),
    }
}

/// u8 [side, side, 3] -> [1, 3, side, side], by ImageNet's statistics.
fn normalised(pixels: &[u8], side: usize) -> Tensor {
    let (mean, std) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
    let value = |c: usize, at: usize| ((f64::from(pixels[3 * at + c]) / 255.0 - mean[c]) / std[c]) as f32;
    let values: Vec<f32> = (0..3).flat_map(|c| (0..side * side).map(move |at| value(c, at))).collect();
    Tensor::from_slice(&values).reshape([1, 3, side as i64, side as i64])
}

#[track_caller]
fn assert_near(found: &Tensor, expected: &Tensor) {
    let worst = (found - expected).abs().max().double_value(&[]);
    assert!(worst < 1e-4, "{worst}");
}

#[test]
fn live_features_are_the_backbone_s_of_the_pictures_as_cut() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let sizes = Architecture::named("toy").unwrap().sizes(1);
    let (_parameters, backbone) = seeded(|path| Backbone::new(path, &sizes));
    let limits = Limits { max_image_pixels: 10_000 };
    let parts = LiveParts { backbone: &backbone, dataset: &dataset, augmentation: CUT, limits, device: Device::Cpu };
    let mut live = Live::new(parts);

    let draws = [(View::Ego, 1, 5), (View::Exo, 0, 6), (View::Ego, 0, 7)]
        .map(|(view, picture, seed)| Draw { id: PictureId { folder: 0, view, picture }, seed });
    let found = live.train(&draws).unwrap();
    assert_eq!((found.descriptors.size(), found.cls_attention.size()), (vec![3, 49, 48], vec![3, 3, 49]));
    for (index, (path, draw)) in [3, 0, 2].into_iter().zip(draws).enumerate() {
        let picture = image::open(folder.path().join(format!("{path}.png"))).unwrap().into_rgb8();
        let mut augmenter = Augmenter::new(CUT);
        let expected = backbone
            .forward(&normalised(augmenter.run(&picture, draw.cut_seed(&dataset)).unwrap(), 56))
            .unwrap()
            .features();
        assert_near(&found.descriptors.get(index as i64), &expected.descriptors.get(0));
        assert_near(&found.cls_attention.get(index as i64), &expected.cls_attention.get(0));
    }
}

#[test]
fn test_pictures_are_stretched_whole_and_come_in_the_order_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let sizes = Architecture::named("toy").unwrap().sizes(1);
    let (_parameters, backbone) = seeded(|path| Backbone::new(path, &sizes));
    let limits = Limits { max_image_pixels: 10_000 };
    let parts = LiveParts { backbone: &backbone, dataset: &dataset, augmentation: CUT, limits, device: Device::Cpu };
    // More than the backbone takes at once.
    let items: Vec<usize> = (0..20).map(|index| (index * 3) % 4).collect();
    let found = Live::new(parts).test(&items).unwrap();
    for index in [0, 1, 19] {
        let picture = image::open(&dataset.test[items[index]].picture).unwrap().into_rgb8();
        let mut preprocessor = Preprocessor::new(Size { height: 56, width: 56 });
        let view = RgbView { size: Size { height: 40, width: 48 }, data: picture.as_raw() };
        let expected = backbone.forward(&normalised(preprocessor.run(view).unwrap(), 56)).unwrap().features();
        assert_near(&found.descriptors.get(index as i64), &expected.descriptors.get(0));
    }
}

#[test]
fn a_picture_over_the_limit_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let sizes = Architecture::named("toy").unwrap().sizes(1);
    let (_parameters, backbone) = seeded(|path| Backbone::new(path, &sizes));
    let limits = Limits { max_image_pixels: 100 };
    let parts = LiveParts { backbone: &backbone, dataset: &dataset, augmentation: CUT, limits, device: Device::Cpu };
    let error = Live::new(parts).test(&[2]).unwrap_err().to_string();
    assert!(error.contains("2.png"), "{error}");
}
