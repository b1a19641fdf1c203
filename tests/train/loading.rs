//! Parameter names are the published keys, and weights files load by them or not at all.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

use looptrans_ros::{
    convert::{self, Hints, Settings},
    export::{
        layout::{self, Sizes, entries},
        seeded::{self as by_rule, Architecture},
    },
    train::{TrainError, backbone::Backbone, locate::Locate, looptrans::LoopTrans, weights},
};
use tch::{Device, Tensor, nn::VarStore};

use crate::support::{image, seeded, small_16};

fn toy() -> Architecture {
    Architecture::named("toy").unwrap()
}

fn shapes(parameters: &VarStore) -> BTreeMap<String, Vec<usize>> {
    let shape = |tensor: Tensor| tensor.size().iter().map(|&side| side as usize).collect();
    parameters.variables().into_iter().map(|(key, tensor)| (key, shape(tensor))).collect()
}

#[test]
fn parameters_are_the_published_keys_and_shapes() {
    let sizes = small_16(51);
    let (looptrans, _) = seeded(|root| LoopTrans::new(root, &sizes));
    let published: BTreeMap<_, _> = entries(&sizes).into_iter().map(|entry| (entry.key, entry.shape)).collect();
    assert_eq!(shapes(&looptrans), published);
    // 299 with the 113 of the concept clusters.
    assert_eq!(published.len(), 299 - 113);

    let (locate, _) = seeded(|root| Locate::new(root, &small_16(36)));
    let keys: BTreeSet<_> = shapes(&locate).into_keys().collect();
    let renamed = |key: &String| key.replace("pixel_dec.", "aff_ego_proj.").replace("scam.", "aff_exo_proj.");
    assert_eq!(keys, published.keys().map(renamed).collect());
    assert_eq!(keys.len(), 186);

    let (dino, _) = seeded(|root| Backbone::new(root, &sizes));
    assert_eq!(shapes(&dino).len(), 150);
    assert_eq!(shapes(&dino).values().map(|shape| shape.iter().product::<usize>()).sum::<usize>(), 21_665_664);
}

fn seeded_file(folder: &Path) -> PathBuf {
    let file = folder.join("toy.safetensors");
    by_rule::write(&file, toy(), &["cut", "hold"]).unwrap();
    file
}

fn built<M>(build: impl FnOnce(&tch::nn::Path<'_>, &Sizes) -> M) -> (VarStore, M) {
    let parameters = VarStore::new(Device::Cpu);
    let model = build(&parameters.root(), &toy().sizes(2));
    (parameters, model)
}

#[test]
fn a_weights_file_loads_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let (parameters, model) = built(LoopTrans::new);
    weights::load(&parameters, &seeded_file(folder.path()), "").unwrap();
    let (_, expected) = seeded(|root| LoopTrans::new(root, &toy().sizes(2)));
    let picture = image("loading", &[1, 3, 56, 56]);
    assert_eq!(model.class_maps(&picture).unwrap(), expected.class_maps(&picture).unwrap());
}

#[test]
fn what_does_not_fit_is_listed_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = seeded_file(folder.path());
    let (parameters, _) = built(|root, sizes| Locate::new(root, &Sizes { channels: 9, ..*sizes }));
    let before = parameters.variables()["aff_proj.fc1.weight"].copy();
    let Err(TrainError::Weights { problems, .. }) = weights::load(&parameters, &file, "") else {
        panic!("refused");
    };
    assert_eq!(problems.missing.len(), 24, "two branches, their counters aside");
    assert_eq!(problems.unexpected.len(), 28, "two branches by another name");
    assert_eq!(problems.mis_shaped.len(), 2);
    assert!(problems.mis_shaped[0].contains("aff_fc.bias (expected F32 [9], found F32 [17])"), "{problems}");
    assert_eq!(parameters.variables()["aff_proj.fc1.weight"], before);
    assert!(weights::load(&parameters, &folder.path().join("absent"), "").is_err());
}

#[test]
fn an_image_of_another_shape_is_an_error_that_names_the_right_one() {
    let (_, model) = built(LoopTrans::new);
    for shape in [[1, 3, 57, 56].as_slice(), &[1, 4, 56, 56], &[3, 56, 56], &[1, 3, 0, 56]] {
        let error = model.class_maps(&image("wrong", shape)).unwrap_err().to_string();
        assert!(error.contains("[B, 3, H, W]") && error.contains(&format!("{shape:?}")), "{error}");
    }
    let last = |images| model.backbone.forward(&image("views", &[images, 3, 56, 56])).unwrap();
    let error = model.step(&last(2).features(), &last(3).features()).unwrap_err().to_string();
    assert!(error.contains("a multiple of the 2 egocentric images"), "{error}");
}

/// torch.save of real modules at full size, converted, loaded: the numbers arrive, in both formats, nested and cast.
#[test]
fn checkpoints_of_real_size_go_all_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let save = r#"
import sys, torch
sys.path.insert(0, sys.argv[1])
import trace_models as models
network = models.seeded(models.looptrans(models.SMALL_16))
state = network.state_dict()
torch.save(state, "looptrans.pth")
torch.save({"epoch": 4, "model": state}, "looptrans_old.pt", _use_new_zipfile_serialization=False)
vit = {f"module.backbone.{key}": value.half() for key, value in network.vit_model.state_dict().items()}
torch.save({"student": vit, "teacher": vit, "epoch": 100}, "dino_full.pth.tar")
"#;
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/parity");
    let python = Command::new("python3").args(["-c", save]).arg(scripts).current_dir(folder.path()).output().unwrap();
    assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));

    let (expected, _) = seeded(|root| LoopTrans::new(root, &small_16(51)));
    for (name, prefix, cast) in
        [("looptrans.pth", "", false), ("looptrans_old.pt", "", false), ("dino_full.pth.tar", "vit_model.", true)]
    {
        let out = folder.path().join(format!("{name}.safetensors"));
        convert::convert(&Settings {
            checkpoint: folder.path().join(name),
            out: out.clone(),
            key: None,
            hints: Hints::default(),
            force: false,
        })
        .unwrap();
        let parameters = VarStore::new(Device::Cpu);
        LoopTrans::new(&parameters.root(), &small_16(51));
        weights::load(&parameters, &out, prefix).unwrap();
        let found = parameters.variables();
        for (key, value) in expected.variables().into_iter().filter(|(key, _)| key.starts_with(prefix)) {
            let value = if cast && !layout::is_counter(&key) {
                value.to_kind(tch::Kind::Half).to_kind(tch::Kind::Float)
            } else {
                value
            };
            let error = (&found[&key] - value).abs().max().double_value(&[]);
            // The two sides round the last bit of a seeded number differently at times.
            assert!(error <= 1e-6 || cast && error <= 1e-3, "{name}: {key}: {error}");
        }
    }
}

#[test]
fn libtorchs_cuda_part_is_loaded_where_it_is_installed() {
    let folders = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let installed = std::env::split_paths(&folders).any(|folder| folder.join("libtorch_cuda.so").exists());
    // It can be, without a GPU.
    assert_eq!(tch::utils::has_cudart(), installed);
}
