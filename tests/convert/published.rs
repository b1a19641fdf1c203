//! Every kind and format of checkpoint, number by number.

use std::fs;

use half::{bf16, f16};
use looptrans_ros::{
    affordance::HICO_IIF,
    contract::sha256_hex,
    convert::{
        self, Expected, Format, Kind,
        clip::{TextSizes, text_entries},
    },
};

use crate::support::{self, COUNTER, Place, assert_seeded, fixture, read};

#[test]
fn looptrans_keeps_its_clusters_counters_and_provenance() {
    let place = Place::new();
    let checkpoint = fixture("looptrans_with_cluster.pth");
    let report = place.convert(&checkpoint).unwrap();
    assert_eq!((report.kind, report.format), (Kind::LoopTrans, Format::TorchZip));
    assert_eq!((report.split, report.noise_heads, report.concept_clusters), (Some("hico-iif"), 15, true));

    let converted = read(&place.out());
    assert_seeded(&converted, |value| value);
    assert_eq!(converted.floats.len() + converted.counters.len(), 54 + 15);
    assert_eq!(converted.counters.values().collect::<Vec<_>>(), [&COUNTER; 4]);
    assert_eq!(converted.description.actions, HICO_IIF);
    assert!(converted.description.trained);
    let origin = converted.description.checkpoint.unwrap();
    assert_eq!((origin.file.as_str(), origin.kind.as_str()), ("looptrans_with_cluster.pth", "looptrans"));
    assert_eq!(origin.sha256, sha256_hex(&fs::read(checkpoint).unwrap()));
    assert_eq!(origin.split.as_deref(), Some("hico-iif"));
    assert_eq!(report.weights.sha256, sha256_hex(&fs::read(place.out()).unwrap()));
}

#[test]
fn concept_clusters_alone_get_the_names_they_have_within_looptrans() {
    let place = Place::new();
    let report = place.convert(&fixture("concepts.pth")).unwrap();
    assert_eq!((report.kind, report.concept_clusters, report.tensors), (Kind::Concepts, true, 15));
    assert_eq!((report.dim, report.depth, report.actions.len()), (4, 0, 0));
    let converted = read(&place.out());
    assert_seeded(&converted, |value| value);
    assert!(converted.floats.keys().all(|key| key.starts_with("cluster.")));
    assert_eq!(converted.description.checkpoint.unwrap().kind, "concepts");
}

#[test]
fn looptrans_in_the_old_format_without_clusters_is_read_as_well() {
    let place = Place::new();
    let report = place.convert(&fixture("looptrans_legacy.pth")).unwrap();
    assert_eq!((report.kind, report.format), (Kind::LoopTrans, Format::TorchLegacy));
    assert!(!report.concept_clusters);
    let converted = read(&place.out());
    assert_seeded(&converted, |value| value);
    assert_eq!((converted.floats.len(), converted.counters.len()), (50, 4));
}

#[test]
fn locate_is_found_under_state_dict_and_behind_module() {
    let place = Place::new();
    let report = place.convert(&fixture("locate.pth.tar")).unwrap();
    assert_eq!((report.kind, report.nested_under.as_deref()), (Kind::Locate, Some("state_dict")));
    assert_eq!((report.split, report.noise_heads), (Some("hico-iif"), 0));
    let converted = read(&place.out());
    assert_seeded(&converted, |value| value);
    assert!(converted.floats.contains_key("aff_ego_proj.0.weight"));
}

#[test]
fn halves_and_doubles_become_singles() {
    type Cast = fn(f32) -> f32;
    let casts: [(&str, Cast); 3] = [
        ("dino_half.pth", |value| f16::from_f32(value).to_f32()),
        ("dino_bfloat16.pth", |value| bf16::from_f32(value).to_f32()),
        ("dino_double.pth", |value| value),
    ];
    for (name, cast) in casts {
        let place = Place::new();
        let report = place.convert(&fixture(name)).unwrap();
        assert_eq!((report.kind, report.actions.len()), (Kind::Dino, 0));
        assert_seeded(&read(&place.out()), cast);
    }
}

#[test]
fn the_parameters_of_a_torchscript_program_are_read_and_the_program_is_not() {
    let place = Place::new();
    let report = place.convert(&fixture("dino_script.pt")).unwrap();
    assert_eq!((report.kind, report.format, report.tensors), (Kind::Dino, Format::TorchScript, 18));
    assert_seeded(&read(&place.out()), |value| f16::from_f32(value).to_f32());
}

#[test]
fn of_clip_the_text_encoder_is_kept_whatever_its_sizes_are() {
    let place = Place::new();
    let sizes = TextSizes { width: 64, shared: 48, layers: 2 };
    let entries = text_entries(&sizes);
    let shape = |entry: &Expected| entry.shape.iter().map(|&side| side as usize).collect::<Vec<_>>();
    let mut tensors: support::Tensors = entries
        .iter()
        .map(|entry| (entry.key.clone(), (shape(entry), support::seeded(&entry.key, &shape(entry)))))
        .collect();
    tensors.insert("visual.conv1.weight".to_owned(), (vec![2], vec![1.0, 2.0]));
    tensors.insert("context_length".to_owned(), (vec![], vec![77.0]));
    let clip = place.file("clip.safetensors", &support::safetensors(&tensors));
    let report = place.convert(&clip).unwrap();
    assert_eq!((report.kind, report.dim, report.depth, report.heads), (Kind::Clip, 64, 2, 1));
    assert_eq!(report.ignored, ["context_length", "visual.conv1.weight"]);
    let converted = read(&place.out());
    assert_eq!(converted.floats.len(), entries.len());
    assert_seeded(&converted, |value| value);

    tensors.insert("text_projection".to_owned(), (vec![65, 48], vec![0.0; 65 * 48]));
    tensors.remove("ln_final.bias");
    let clip = place.file("other.safetensors", &support::safetensors(&tensors));
    let error = place.refusal(&convert::Settings { force: true, ..place.settings(&clip) });
    assert!(error.contains("text_projection: expected [64, 48], found [65, 48]"), "{error}");
    assert!(error.contains("ln_final.bias"), "{error}");
}

#[test]
fn transposed_gapped_and_shared_tensors_are_put_in_order() {
    for name in ["dino_strided.pth", "dino_strided_legacy.pth"] {
        let place = Place::new();
        place.convert(&fixture(name)).unwrap();
        let converted = read(&place.out());
        assert_eq!(converted.floats.len(), 18);
        assert_seeded(&converted, |value| value);
    }
}

#[test]
fn dinos_full_checkpoint_gives_its_teacher_or_what_is_asked_for() {
    let place = Place::new();
    let report = place.convert(&fixture("dino_full.pth")).unwrap();
    assert_eq!((report.kind, report.nested_under.as_deref()), (Kind::Dino, Some("teacher")));
    assert_eq!(report.ignored, ["head.last_layer.weight_g", "head.mlp.0.weight"]);
    assert_seeded(&read(&place.out()), |value| value);

    let student = Place::new();
    let mut settings = student.settings(&fixture("dino_full.pth"));
    settings.key = Some("student".to_owned());
    convert::convert(&settings).unwrap();
    assert_seeded(&read(&student.out()), |value| -value);
}

#[test]
fn the_same_checkpoint_gives_the_same_file() {
    let [a, b] = [Place::new(), Place::new()];
    let reports = [&a, &b].map(|place| place.convert(&fixture("locate.pth.tar")).unwrap());
    assert_eq!(reports[0].weights.sha256, reports[1].weights.sha256);
}

#[test]
fn the_number_of_channels_tells_the_dataset() {
    let looptrans = [(51, "agd20k-seen"), (40, "agd20k-unseen"), (25, "hico-iif")];
    let locate = [(36, "agd20k-seen"), (25, "agd20k-unseen"), (10, "hico-iif")];
    let cases = looptrans.map(|(channels, split)| (support::tensors(channels), split));
    for (tensors, split) in cases.into_iter().chain(locate.map(|(channels, split)| (support::locate(channels), split)))
    {
        let place = Place::new();
        let report = place.convert(&place.file("in.safetensors", &support::safetensors(&tensors))).unwrap();
        assert_eq!(report.split, Some(split));
    }
}

#[test]
fn named_actions_win_over_the_number_of_channels() {
    let place = Place::new();
    let list = place.file("actions.txt", b"# kitchen\ncut\n\nhold \n");
    let mut settings = place.settings(&place.file("in.safetensors", &support::safetensors(&support::tensors(25))));
    settings.hints.actions = Some(support::actions(list.to_str().unwrap()));
    let report = convert::convert(&settings).unwrap();
    assert_eq!((report.actions, report.noise_heads, report.split), (vec!["cut".into(), "hold".into()], 23, None));
}

#[test]
fn force_replaces_a_file() {
    let place = Place::new();
    fs::write(place.out(), b"old").unwrap();
    let mut settings = place.settings(&fixture("dino_half.pth"));
    settings.force = true;
    convert::convert(&settings).unwrap();
    assert_eq!(read(&place.out()).floats.len(), 18);
}

#[test]
// With libtorch the program itself takes gigabytes of address space before it starts.
#[cfg(all(feature = "onnx", not(feature = "train")))]
fn a_large_checkpoint_is_streamed() {
    use std::{
        fs::File,
        io::Write,
        process::{Command, Stdio},
    };

    use looptrans_ros::export::layout::{Entry, Sizes, entries};

    // DINO ViT-B/8's 343 MB: zeros, so the file is a hole and costs no disk.
    let (dim, hidden) = (768, 3072);
    let sizes = Sizes {
        dim,
        depth: 12,
        heads: 12,
        patch: 8,
        grid: 28,
        block_hidden: hidden,
        adapter_hidden: hidden,
        channels: 51,
    };
    let place = Place::new();
    let mut end = 0;
    let infos = entries(&sizes).into_iter().filter_map(|Entry { key, shape, .. }| {
        let start = end;
        let key = key.strip_prefix("vit_model.")?.to_owned();
        end += shape.iter().product::<usize>() * 4;
        Some((key, serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [start, end]})))
    });
    let header = serde_json::Value::Object(infos.collect()).to_string();
    let mut file = File::create(place.folder.path().join("in.safetensors")).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    let bytes = (8 + header.len() + end) as u64;
    file.set_len(bytes).unwrap();
    assert!(bytes > 340_000_000);

    // All address space, program and libraries included: it would not do if the file were loaded.
    let script = r#"ulimit -v "$1" && shift && exec "$@""#;
    let limit_kib = (bytes / 2 / 1024).to_string();
    let status = Command::new("sh")
        .args(["-c", script, "sh", &limit_kib, env!("CARGO_BIN_EXE_looptrans"), "convert", "in.safetensors"])
        .args(["--out", "out.safetensors"])
        .current_dir(place.folder.path())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    assert!(fs::metadata(place.out()).unwrap().len() >= end as u64);
}
