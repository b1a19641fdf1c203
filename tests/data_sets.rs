//! Datasets in folders as people have them, through the library and through `looptrans data check`.
//!
//! Covers: the published layouts, class lists, what is left out and why, samples and their draws, augmentation, pictures
//! that can't be used.
#![allow(clippy::unwrap_used)]
#![cfg(feature = "onnx")]

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use image::{GrayImage, Luma, Rgb, RgbImage};
use looptrans_ros::data::{
    DataError, Dataset,
    augment::{Augmentation, Augmenter, ResizeRule},
    check_pictures,
    index::Source,
    leave_out,
    sampling::{Draw, ExoRule, PictureId, Sampler, Variants, View},
};
use looptrans_ros::perceive::decode::Limits;
use serde_json::Value;

/// A dataset under construction.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, path: &str) -> PathBuf {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn picture(&self, path: &str) {
        RgbImage::from_fn(40, 30, |x, y| Rgb([(6 * x) as u8, (8 * y) as u8, 77])).save(self.path(path)).unwrap();
    }

    fn truth(&self, path: &str) {
        GrayImage::from_fn(40, 30, |x, _| Luma([(6 * x) as u8])).save(self.path(path)).unwrap();
    }

    /// `exo` and `ego` pictures of one affordance and object of the Seen split, and one test.
    fn pair(&self, affordance: &str, object: &str, (exo, ego): (usize, usize)) {
        for (view, count) in [("exocentric", exo), ("egocentric", ego)] {
            (0..count).for_each(|n| self.picture(&format!("Seen/trainset/{view}/{affordance}/{object}/{n:03}.jpg")));
        }
        self.picture(&format!("Seen/testset/egocentric/{affordance}/{object}/t.jpg"));
        self.truth(&format!("Seen/testset/GT/{affordance}/{object}/t.png"));
    }

    fn open(&self, split: Option<&str>, affordances: &[&str]) -> Result<Dataset, DataError> {
        let affordances: Vec<String> = affordances.iter().map(|&name| name.to_owned()).collect();
        Dataset::open(&Source { root: self.0.path(), split, affordances: &affordances })
    }
}

fn small() -> Folder {
    let folder = Folder::new();
    folder.pair("cut_with", "knife", (5, 2));
    folder.pair("cut_with", "scissors", (2, 1));
    folder.pair("hold", "knife", (4, 3));
    folder
}

#[test]
fn a_published_split_has_its_published_class_list() {
    let dataset = small().open(Some("Seen"), &[]).unwrap();
    assert_eq!(dataset.affordances.len(), 36);
    let label = |name: &str| dataset.affordances.iter().position(|known| known == name).unwrap();
    let folders: Vec<_> =
        dataset.train.iter().map(|f| (f.label, f.object.as_str(), f.exo.len(), f.ego.len())).collect();
    let expected =
        [(label("cut_with"), "knife", 5, 2), (label("cut_with"), "scissors", 2, 1), (label("hold"), "knife", 4, 3)];
    assert_eq!(folders, expected);
    assert_eq!((dataset.samples(), dataset.test.len(), dataset.left_out.len()), (11, 3, 0));
}

#[test]
fn the_split_s_own_folder_serves_as_root_and_own_lists_go() {
    let folder = small();
    let root = folder.0.path().join("Seen");
    let affordances = ["hold".to_owned(), "cut_with".to_owned(), "pour".to_owned()];
    let dataset = Dataset::open(&Source { root: &root, split: None, affordances: &affordances }).unwrap();
    assert_eq!(dataset.affordances, affordances);
    assert_eq!(dataset.train[0].label, 0, "hold comes first in this list");
}

#[test]
fn folders_of_other_names_make_their_own_list() {
    let folder = small();
    fs::rename(folder.0.path().join("Seen"), folder.0.path().join("kitchen")).unwrap();
    assert_eq!(folder.open(Some("kitchen"), &[]).unwrap().affordances, ["cut_with", "hold"]);
}

#[test]
fn a_split_s_own_list_comes_before_the_published_one() {
    let folder = small();
    let list = folder.path("Seen/affordances.txt");
    fs::write(&list, "# mine\nhold\n\ncut_with\nstack\n").unwrap();
    assert_eq!(folder.open(Some("Seen"), &[]).unwrap().affordances, ["hold", "cut_with", "stack"]);
    assert_eq!(folder.open(Some("Seen"), &["cut_with", "hold"]).unwrap().affordances, ["cut_with", "hold"]);
    fs::write(&list, "hold\n").unwrap();
    let error = folder.open(Some("Seen"), &[]).unwrap_err().to_string();
    assert!(error.contains("not in the list: cut_with; the list: hold"), "{error}");
    fs::write(&list, "hold\nhold\n").unwrap();
    let error = folder.open(Some("Seen"), &[]).unwrap_err().to_string();
    assert!(error.contains("affordances.txt") && error.contains("\"hold\" again"), "{error}");
    for leads_out in ["../../elsewhere", "/elsewhere", "..", "hold/cut"] {
        fs::write(&list, format!("hold\ncut_with\n{leads_out}\n")).unwrap();
        let error = folder.open(Some("Seen"), &[]).unwrap_err().to_string();
        assert!(error.contains(&format!("expected names of folders, found {leads_out:?}")), "{error}");
    }
    fs::write(&list, format!("hold\ncut_with\n{}", "# more\n".repeat(1 << 18))).unwrap();
    let error = folder.open(Some("Seen"), &[]).unwrap_err().to_string();
    assert!(error.contains("expected at most 1048576 bytes, found more"), "{error}");
    fs::write(&list, [b'h', 0xff]).unwrap();
    assert!(folder.open(Some("Seen"), &[]).unwrap_err().to_string().contains("affordances.txt"));
}

#[test]
fn an_affordance_that_the_list_does_not_name_is_refused() {
    let folder = small();
    folder.truth("Seen/testset/GT/polish/cup/t.png");
    let error = folder.open(Some("Seen"), &["hold"]).unwrap_err().to_string();
    assert!(error.contains("not in the list: cut_with, polish; the list: hold"), "{error}");
}

#[test]
fn a_folder_that_is_no_dataset_is_refused_with_what_is_there() {
    let folder = small();
    let error = folder.open(None, &[]).unwrap_err().to_string();
    assert!(error.contains("trainset") && error.ends_with("found Seen; name one: --split Seen"), "{error}");
    let error = folder.open(Some("Unseen"), &[]).unwrap_err().to_string();
    assert!(error.contains("Unseen/trainset") && error.ends_with("found Seen; name one: --split Seen"), "{error}");
    let seen = Source { root: &folder.path("Seen"), split: Some("Seen"), affordances: &[] };
    let error = Dataset::open(&seen).unwrap_err().to_string();
    assert!(error.ends_with("it is a split itself: --split ."), "{error}");
    assert!(Dataset::open(&Source { split: Some("."), ..seen }).is_ok());
    let error = Dataset::open(&Source { root: &folder.path("nowhere"), ..seen }).unwrap_err().to_string();
    assert!(error.contains("nowhere") && error.contains("No such file"), "{error}");
    let empty = Folder::new();
    fs::create_dir_all(empty.0.path().join("trainset/exocentric")).unwrap();
    assert!(empty.open(None, &[]).unwrap_err().to_string().contains("no affordance folders"));
}

#[test]
fn what_can_t_be_used_is_left_out_with_its_reason() {
    let folder = small();
    folder.picture("Seen/trainset/exocentric/hold/cup/1.jpg");
    folder.picture("Seen/trainset/egocentric/hold/bowl/1.jpg");
    folder.picture("Seen/testset/egocentric/hold/knife/lonely.jpg");
    folder.truth("Seen/testset/GT/hold/knife/orphan.png");
    folder.truth("Seen/testset/GT/hold/knife/t.jpg");
    folder.truth("Seen/testset/GT/hold/plate/alone.png");
    folder.truth("Seen/testset/GT/kick/ball/far.png");
    for other in ["Seen/trainset/egocentric/cut_with/above.jpg", "Seen/trainset/exocentric/cut_with/phone.HEIC"] {
        fs::write(folder.path(other), b"").unwrap();
    }
    for other in ["1.webp", "note.txt"] {
        fs::write(folder.path(&format!("Seen/trainset/egocentric/cut_with/knife/{other}")), b"").unwrap();
    }
    let dataset = folder.open(Some("Seen"), &[]).unwrap();
    let reasons: Vec<_> =
        dataset.left_out.iter().map(|left| (left.path.file_name().unwrap().to_str().unwrap(), left.reason)).collect();
    let expected = [
        ("phone.HEIC", "a picture outside of an object's folder"),
        ("above.jpg", "a picture outside of an object's folder"),
        ("1.webp", "a picture that is neither .jpg, .jpeg nor .png"),
        ("cup", "no egocentric pictures of the same affordance and object"),
        ("bowl", "no exocentric pictures of the same affordance and object"),
        ("t.jpg", "another ground truth of the same name"),
        ("lonely.jpg", "no ground truth of the same name"),
        ("orphan.png", "ground truth without a picture of the same name"),
        ("alone.png", "ground truth without a picture of the same name"),
        ("far.png", "ground truth without a picture of the same name"),
    ];
    assert_eq!(reasons, expected);
    assert_eq!((dataset.samples(), dataset.test.len()), (11, 3), "the rest is used");
}

#[test]
fn an_ending_of_four_letters_has_its_ground_truth_too() {
    let folder = small();
    folder.picture("Seen/testset/egocentric/hold/knife/x.jpeg");
    folder.truth("Seen/testset/GT/hold/knife/x.png");
    assert_eq!(folder.open(Some("Seen"), &[]).unwrap().test.len(), 4);
}

#[test]
fn an_epoch_has_every_exocentric_picture_once_in_an_order_of_its_own() {
    let dataset = small().open(Some("Seen"), &[]).unwrap();
    let sampler = Sampler::new(&dataset, 7, Variants::Endless);
    let (first, second) = (sampler.order(0), sampler.order(1));
    assert_ne!(first, second);
    assert_eq!(first, Sampler::new(&dataset, 7, Variants::Endless).order(0));
    assert_ne!(first, Sampler::new(&dataset, 8, Variants::Endless).order(0));
    for order in [first, second] {
        assert_eq!((order.len(), order.iter().collect::<HashSet<_>>().len()), (11, 11));
    }
}

#[test]
fn a_sample_has_two_more_pictures_of_its_folder_distinct_where_there_are_enough() {
    let dataset = small().open(Some("Seen"), &[]).unwrap();
    let sampler = Sampler::new(&dataset, 1, Variants::Endless);
    let (mut egos, mut few) = (HashSet::new(), HashSet::new());
    for place in 0..200 {
        for folder in 0..3 {
            let count = dataset.train[folder].exo.len();
            let first = place as usize % count;
            let sample = sampler.sample((folder, first), 3, place);
            assert_eq!(sample, sampler.sample((folder, first), 3, place), "drawn again, the same comes");
            let exo = sample.exo.map(|draw| draw.id.picture);
            assert_eq!((sample.label, exo[0]), (dataset.train[folder].label, first));
            assert!(exo.iter().all(|picture| *picture < count));
            match count {
                2 => _ = few.insert(exo),
                _ => assert_eq!(HashSet::from(exo).len(), 3, "{exo:?}"),
            }
            assert_eq!(HashSet::from(sample.exo.map(|draw| draw.seed)).len(), 3, "each is augmented in its own way");
            egos.insert((folder, sample.ego.id.picture));
        }
    }
    assert_eq!(egos.len(), 2 + 1 + 3, "every egocentric picture is drawn");
    assert_eq!(few.len(), 2 * 2 * 2, "of a few, each may come again");
}

#[test]
fn by_wsmas_rule_a_sample_has_three_pictures_that_follow_each_other_but_never_the_last_one() {
    let dataset = small().open(Some("Seen"), &[]).unwrap();
    let sampler = Sampler::new(&dataset, 1, Variants::Endless).with_exo(ExoRule::Consecutive);
    for folder in 0..3 {
        let count = dataset.train[folder].exo.len();
        let found: HashSet<_> =
            (0..200).map(|place| sampler.sample((folder, 0), 0, place).exo.map(|draw| draw.id.picture)).collect();
        let expected = match count {
            2 => HashSet::from([[0, 1, 1]]),
            3 => HashSet::from([[0, 1, 2]]),
            _ => (0..count - 3).map(|start| [start, start + 1, start + 2]).collect(),
        };
        assert_eq!(found, expected, "of {count}");
    }
}

#[test]
fn fixed_variants_are_that_many() {
    let dataset = small().open(Some("Seen"), &[]).unwrap();
    let sampler = Sampler::new(&dataset, 1, Variants::Fixed(3));
    let samples = (0..100).map(|place| sampler.sample((0, 0), 0, place));
    let seeds: HashSet<u64> = samples.flat_map(|sample| sample.exo.map(|draw| draw.seed)).collect();
    assert_eq!(seeds, HashSet::from([0, 1, 2]));
}

#[test]
fn an_augmented_picture_is_a_part_of_the_resized_one_perhaps_mirrored() {
    let augmentation = Augmentation { resize: ResizeRule::Square, resized: 32, crop: 24 };
    // At its own size already: resizing copies.
    let picture = RgbImage::from_fn(32, 32, |x, y| Rgb([x as u8, y as u8, 0]));
    let mut augmenter = Augmenter::new(augmentation);
    let (mut corners, mut mirrored) = (HashSet::new(), 0);
    for seed in 0..400 {
        let pixels = augmenter.run(&picture, seed).unwrap().to_vec();
        assert_eq!(pixels, augmenter.run(&picture, seed).unwrap());
        let at = |x: usize, y: usize| (i32::from(pixels[3 * (24 * y + x)]), i32::from(pixels[3 * (24 * y + x) + 1]));
        let (left, top) = at(0, 0);
        let step = at(1, 0).0 - left;
        assert_eq!((step.abs(), at(23, 23)), (1, (left + 23 * step, top + 23)));
        mirrored += u32::from(step < 0);
        corners.insert((left.min(at(23, 0).0), top));
    }
    assert!((150..250).contains(&mirrored), "{mirrored} of 400 mirrored");
    let edges = |values: Vec<i32>| (values.iter().min().copied(), values.iter().max().copied());
    assert_eq!(edges(corners.iter().map(|c| c.0).collect()), (Some(0), Some(8)), "all offsets are drawn");
    assert_eq!(edges(corners.iter().map(|c| c.1).collect()), (Some(0), Some(8)));
}

#[test]
fn pictures_of_one_variant_are_cut_each_in_its_own_way_wherever_the_dataset_lies() {
    let (folder, other) = (Folder::new(), Folder::new());
    [&folder, &other].iter().for_each(|folder| folder.pair("cut_with", "knife", (60, 60)));
    let [dataset, elsewhere] = [folder, other].map(|folder| folder.open(Some("Seen"), &[]).unwrap());
    let augmentation = Augmentation { resize: ResizeRule::Square, resized: 32, crop: 24 };
    let picture = RgbImage::from_fn(32, 32, |x, y| Rgb([x as u8, y as u8, 0]));
    let mut augmenter = Augmenter::new(augmentation);
    let mut mirrored = 0;
    for view in [View::Exo, View::Ego] {
        for picture_number in 0..60 {
            let draw = Draw { id: PictureId { folder: 0, view, picture: picture_number }, seed: 0 };
            assert_eq!(draw.cut_seed(&dataset), draw.cut_seed(&elsewhere));
            let pixels = augmenter.run(&picture, draw.cut_seed(&dataset)).unwrap();
            mirrored += u32::from(pixels[3] < pixels[0]);
        }
    }
    assert!((35..85).contains(&mirrored), "{mirrored} of 120 mirrored");
}

#[test]
fn the_short_side_rule_keeps_the_aspect() {
    let augmentation = Augmentation { resize: ResizeRule::ShortSide, resized: 32, crop: 32 };
    // Left half dark, right half bright: with the aspect kept, a crop of a third of the width is mostly one of them.
    let picture = RgbImage::from_fn(300, 100, |x, _| Rgb(if x < 150 { [0; 3] } else { [255; 3] }));
    let mut augmenter = Augmenter::new(augmentation);
    let plain = (0..50).filter(|seed| {
        let pixels = augmenter.run(&picture, *seed).unwrap();
        pixels.iter().all(|level| *level == pixels[0])
    });
    assert!(plain.count() > 10);
    assert_eq!(augmenter.run(&RgbImage::new(10, 640), 0).unwrap().len(), 32 * 32 * 3);
    // Resized, these would fill the memory, or not fit a number.
    for strip in [RgbImage::new(10, 641), RgbImage::new(2, 60_000), RgbImage::new(20_000_000, 1)] {
        let error = augmenter.run(&strip, 0).unwrap_err().to_string();
        assert!(error.contains("expected a long side of at most 64 times the short one"), "{error}");
    }
}

fn check(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_looptrans"));
    let output = command.arg("data").arg("check").arg(folder).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_sound_dataset_passes_the_check() {
    let folder = small();
    let (code, table, _) = check(folder.0.path(), &["--split", "Seen"]);
    assert_eq!(code, Some(0), "{table}");
    assert!(table.contains("cut_with: 2 objects, 7 exo and 3 ego pictures to train on, 2 to test with"), "{table}");
    assert!(table.contains("11 samples") && table.contains("all can be read"), "{table}");
}

#[test]
fn each_bad_picture_is_named_with_its_reason_and_grey_or_deep_ones_pass() {
    let folder = small();
    let exo = "Seen/trainset/exocentric/hold/knife";
    fs::write(folder.path(&format!("{exo}/empty.jpg")), b"").unwrap();
    fs::write(folder.path(&format!("{exo}/text.jpg")), b"no picture").unwrap();
    fs::copy("tests/data/pictures/cmyk.jpg", folder.path(&format!("{exo}/print.jpg"))).unwrap();
    fs::copy("tests/data/pictures/grey.jpg", folder.path(&format!("{exo}/grey.jpg"))).unwrap();
    image::ImageBuffer::from_pixel(8, 8, image::Rgba([9000_u16, 1, 2, 3]))
        .save(folder.path(&format!("{exo}/deep.png")))
        .unwrap();
    GrayImage::new(600, 9).save(folder.path(&format!("{exo}/strip.png"))).unwrap();
    GrayImage::new(40, 30).save(folder.path("Seen/testset/GT/hold/knife/t.png")).unwrap();
    GrayImage::from_pixel(30, 40, Luma([9])).save(folder.path("Seen/testset/GT/cut_with/knife/t.png")).unwrap();
    let (code, json, stderr) = check(folder.0.path(), &["--split", "Seen", "--json"]);
    assert_eq!((code, stderr.lines().count()), (Some(1), 1), "{stderr}");
    let report: Value = serde_json::from_str(&json).unwrap();
    let name =
        |found: &Value| Path::new(found["path"].as_str().unwrap()).file_name().unwrap().to_str().unwrap().to_owned();
    let findings = report["findings"].as_array().unwrap();
    let found: Vec<_> = findings.iter().map(|f| (name(f), f["finding"].as_str().unwrap().to_owned())).collect();
    let expected = [
        ("empty.jpg", "unreadable"),
        ("print.jpg", "unreadable"),
        ("strip.png", "strip"),
        ("text.jpg", "unreadable"),
        ("t.png", "other_size"),
        ("t.png", "nothing_marked"),
    ];
    assert_eq!(found, expected.map(|(name, finding)| (name.to_owned(), finding.to_owned())));
    assert!(findings[1]["cause"].as_str().unwrap().contains("CMYK"), "{}", findings[1]);
    assert_eq!((&findings[2]["size"], &findings[4]["truth"]), (&"600x9".into(), &"30x40".into()));
}

#[test]
fn names_alone_can_be_checked() {
    let folder = small();
    fs::write(folder.path("Seen/trainset/exocentric/hold/knife/empty.jpg"), b"").unwrap();
    let (code, json, _) = check(folder.0.path(), &["--split", "Seen", "--names-only", "--json"]);
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &report["findings"], &report["samples"]), (Some(0), &Value::Null, &Value::from(12)));
}

#[test]
fn pictures_that_cannot_be_used_are_taken_out_of_every_list_and_named() {
    let folder = Folder::new();
    folder.pair("cut", "knife", (3, 2));
    folder.pair("hold", "cup", (2, 1));
    let broken = ["trainset/exocentric/cut/knife/001.jpg", "trainset/egocentric/hold/cup/000.jpg"];
    for path in broken {
        fs::write(folder.path(&format!("Seen/{path}")), b"").unwrap();
    }
    RgbImage::new(1, 65).save(folder.path("Seen/trainset/exocentric/cut/knife/strip.png")).unwrap();
    GrayImage::new(40, 30).save(folder.path("Seen/testset/GT/cut/knife/t.png")).unwrap();
    let mut dataset = folder.open(Some("Seen"), &[]).unwrap();
    let findings = check_pictures(&dataset, &Limits { max_image_pixels: 10_000 }, &|| {});
    leave_out(&mut dataset, &findings);

    // The cup has no egocentric picture any more, and so is not trained on; its label stays.
    assert_eq!(dataset.affordances.len(), 36);
    assert_eq!(dataset.train.iter().map(|folder| folder.object.as_str()).collect::<Vec<_>>(), ["knife"]);
    assert_eq!((dataset.train[0].exo.len(), dataset.train[0].ego.len()), (2, 2));
    assert_eq!(dataset.test.iter().map(|item| item.object.as_str()).collect::<Vec<_>>(), ["cup"]);
    let named = |part: &str| dataset.left_out.iter().any(|left| left.path.ends_with(part));
    assert!(broken.iter().all(|path| named(path)) && named("GT/cut/knife/t.png"), "{:?}", dataset.left_out);
    assert!(named("trainset/exocentric/hold/cup"), "{:?}", dataset.left_out);
}
