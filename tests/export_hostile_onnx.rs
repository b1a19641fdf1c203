//! A bundle that is not what it says is refused by [`Bundle::load`], in one line that names the file, what was expected
//! and what was found. Real files on disk; no ONNX Runtime needed, since none of these may get that far.
#![allow(clippy::unwrap_used, clippy::expect_used)] // clippy does not take helpers of tests for tests

mod export_support;

use std::{fs, os::unix::fs::symlink, path::Path, process::Command, sync::LazyLock};

use export_support::{ACTIONS, description, seeded_tensors, write_weights};
use looptrans_ros::{
    contract::{Bundle, CONTRACT_FILE, MODEL_FILE, ModelContract, PresenceSource, sha256_hex},
    export::{
        bundle::{self, Settings},
        seeded::{self, Architecture},
    },
    onnx::{
        FLOAT,
        proto::{Dimension, DimensionProto, ModelProto, ValueInfoProto},
    },
};
use prost::Message;

/// A sound bundle's files.
static SOUND: LazyLock<(Vec<u8>, ModelContract)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let toy = Architecture::named("toy").unwrap();
    let weights = folder.path().join("toy.safetensors");
    write_weights(&weights, &seeded_tensors(&toy.sizes(ACTIONS.len())), &description(&ACTIONS, toy.heads));
    let settings = Settings::new("toy", PresenceSource::Pixel);
    let place = folder.path().join("bundle");
    let contract = bundle::write(&weights, &place, &settings).unwrap();
    (fs::read(place.join(MODEL_FILE)).unwrap(), contract)
});

fn write_bundle(folder: &Path, onnx: &[u8], contract: &ModelContract) {
    fs::write(folder.join(MODEL_FILE), onnx).unwrap();
    fs::write(folder.join(CONTRACT_FILE), serde_yaml::to_string(contract).unwrap()).unwrap();
}

/// The refusal of a bundle with this ONNX file and a contract whose checksum fits it.
fn refusal(onnx: &[u8]) -> String {
    refusal_by(onnx, |_| {})
}

fn refusal_by(onnx: &[u8], change: impl FnOnce(&mut ModelContract)) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut contract = SOUND.1.clone();
    contract.sha256 = sha256_hex(onnx);
    change(&mut contract);
    write_bundle(folder.path(), onnx, &contract);
    refusal_of(folder.path())
}

fn refusal_of(folder: &Path) -> String {
    let line = Bundle::load(folder).map(|_| ()).expect_err("the bundle was taken").to_string();
    assert!(line.starts_with("model bundle: "), "{line}");
    assert!(line.contains(MODEL_FILE) || line.contains(CONTRACT_FILE), "names no file: {line}");
    assert!(!line.contains('\n') && line.len() < 1000, "not one readable line: {line}");
    line
}

#[track_caller]
fn assert_names(line: &str, parts: &[&str]) {
    for part in parts {
        assert!(line.contains(part), "{part:?} is not in: {line}");
    }
}

/// The sound model, changed.
fn changed(change: impl FnOnce(&mut ModelProto)) -> Vec<u8> {
    let mut model = ModelProto::decode(SOUND.0.as_slice()).unwrap();
    change(&mut model);
    model.encode_to_vec()
}

fn output(model: &mut ModelProto, index: usize) -> &mut ValueInfoProto {
    &mut model.graph.as_mut().unwrap().output[index]
}

fn input(model: &mut ModelProto) -> &mut ValueInfoProto {
    &mut model.graph.as_mut().unwrap().input[0]
}

fn dims(value: &mut ValueInfoProto) -> &mut Vec<DimensionProto> {
    let tensor = value.r#type.as_mut().unwrap().tensor_type.as_mut().unwrap();
    &mut tensor.shape.as_mut().unwrap().dim
}

fn fixed(side: i64) -> DimensionProto {
    DimensionProto { value: Some(Dimension::Value(side)) }
}

/// One protobuf field with a length: what the project's own messages have no room for is made of these.
fn field(number: u32, contents: &[u8]) -> Vec<u8> {
    let mut bytes = varint(u64::from(number) << 3 | 2);
    bytes.extend(varint(contents.len() as u64));
    bytes.extend(contents);
    bytes
}

fn number(number: u32, value: u64) -> Vec<u8> {
    [varint(u64::from(number) << 3), varint(value)].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// The sound model with `extra` fields at the end of its graph.
fn with_in_graph(extra: &[u8]) -> Vec<u8> {
    let mut model = ModelProto::decode(SOUND.0.as_slice()).unwrap();
    let graph = [model.graph.take().unwrap().encode_to_vec(), extra.to_vec()].concat();
    [model.encode_to_vec(), field(7, &graph)].concat()
}

fn with_in_model(extra: &[u8]) -> Vec<u8> {
    [SOUND.0.clone(), extra.to_vec()].concat()
}

/// TensorProto "w" whose data lie at `location`.
fn external_tensor(location: &str) -> Vec<u8> {
    let entry = |key: &str, value: &str| field(13, &[field(1, key.as_bytes()), field(2, value.as_bytes())].concat());
    [number(2, 1), field(8, b"w"), entry("location", location), entry("offset", "0"), number(14, 1)].concat()
}

/// NodeProto with one attribute.
fn node_with(attribute: &[u8]) -> Vec<u8> {
    [field(3, b"n"), field(4, b"Constant"), field(5, attribute)].concat()
}

#[test]
fn a_sound_bundle_is_taken_and_extra_unknown_fields_do_not_matter() {
    for onnx in
        [SOUND.0.clone(), with_in_graph(&[]), with_in_model(&field(999, b"later")), with_in_graph(&number(77, 1))]
    {
        let folder = tempfile::tempdir().unwrap();
        let contract = ModelContract { sha256: sha256_hex(&onnx), ..SOUND.1.clone() };
        write_bundle(folder.path(), &onnx, &contract);
        Bundle::load(folder.path()).unwrap();
    }
}

#[test]
fn a_batch_of_one_is_taken_and_any_other_fixed_batch_is_not() {
    let batch = |side: i64| {
        changed(|model| {
            dims(input(model))[0] = fixed(side);
            dims(output(model, 0))[0] = fixed(side);
            dims(output(model, 1))[0] = fixed(side);
        })
    };
    let folder = tempfile::tempdir().unwrap();
    let contract = ModelContract { sha256: sha256_hex(&batch(1)), ..SOUND.1.clone() };
    write_bundle(folder.path(), &batch(1), &contract);
    Bundle::load(folder.path()).unwrap();
    assert_names(&refusal(&batch(2)), &["expected image u8 [batch, 56, 56, 3]", "found image u8 [2, 56, 56, 3]"]);
}

#[test]
fn an_empty_file_is_refused() {
    assert_names(&refusal(&[]), &["expected 1 to 2147483647 bytes", "found 0 bytes"]);
}

#[test]
fn a_truncated_file_is_refused_wherever_it_ends() {
    let sound = &SOUND.0;
    let powers = (0..).map(|power| 1_usize << power).take_while(|&len| len < sound.len());
    for len in powers.chain([sound.len() - 1, sound.len() - 3, sound.len() - 5, sound.len() / 3]) {
        assert_names(&refusal(&sound[..len]), &["not an ONNX file", "expected", "found"]);
    }
}

#[test]
fn a_file_of_another_kind_is_refused() {
    let kinds: [&[u8]; 6] = [
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        b"\xff\xd8\xff\xe0\0\x10JFIF\0",
        b"PK\x03\x04\x14\0\0\0 archive/data.pkl",
        b"\x7fELF\x02\x01\x01\0",
        b"#!/bin/sh\necho hello\n",
        &[0; 4096],
    ];
    for kind in kinds {
        assert_names(&refusal(kind), &["not an ONNX file", "expected", "found"]);
    }
}

#[test]
fn random_bytes_are_refused() {
    for len in [1, 2, 3, 17, 100, 1000, 100_000] {
        for seed in 0..20 {
            let bytes: Vec<u8> =
                seeded::uniform(&format!("random {seed}"), len).map(|u| ((u + 1.0) * 128.0) as u8).collect();
            refusal(&bytes);
        }
    }
}

/// Damage where the structure is: nodes come first in a graph, inputs and outputs last, numbers lie between.
#[test]
fn any_damage_to_the_structure_ends_in_a_verdict_not_a_panic() {
    let sound = &SOUND.0;
    let (mut taken, mut refused) = (0, 0);
    for round in 0..3000 {
        let mut onnx = sound.clone();
        for (index, draw) in seeded::uniform(&format!("damage {round}"), 1 + round % 4).enumerate() {
            let place = ((draw + 1.0) * 5000.0) as usize;
            let place = if index % 2 == 0 { place } else { sound.len() - 1 - place / 20 };
            onnx[place] = onnx[place].wrapping_add(1 + (draw.to_bits() % 255) as u8);
        }
        match looptrans_ros::onnx::check(&onnx, &SOUND.1, Path::new(MODEL_FILE)) {
            Ok(()) => taken += 1,
            Err(_) => refused += 1,
        }
    }
    // Most of the structure is names, which may be anything: both verdicts must occur for this to test something.
    assert!(taken > 100 && refused > 100, "{taken} {refused}");
}

#[test]
fn one_flipped_bit_is_caught_by_the_checksum() {
    let folder = tempfile::tempdir().unwrap();
    let mut onnx = SOUND.0.clone();
    let middle = onnx.len() / 2;
    onnx[middle] ^= 1;
    write_bundle(folder.path(), &onnx, &SOUND.1);
    let line = refusal_of(folder.path());
    assert_names(&line, &["sha256", &SOUND.1.sha256, &sha256_hex(&onnx)]);
}

#[test]
fn external_data_is_refused_wherever_it_hides() {
    for location in ["weights.bin", "../../weights.bin", "/etc/passwd", ""] {
        let tensor = external_tensor(location);
        let sparse = field(1, &tensor);
        let in_subgraph = field(6, &field(5, &tensor));
        let deeper = field(11, &field(1, &node_with(&field(6, &field(1, &node_with(&field(5, &tensor)))))));
        let places = [
            ("initializer", with_in_graph(&field(5, &tensor))),
            ("sparse initializer", with_in_graph(&field(15, &sparse))),
            ("sparse indices", with_in_graph(&field(15, &field(2, &tensor)))),
            ("attribute", with_in_graph(&field(1, &node_with(&field(5, &tensor))))),
            ("attribute list", with_in_graph(&field(1, &node_with(&field(10, &tensor))))),
            ("sparse attribute", with_in_graph(&field(1, &node_with(&field(22, &sparse))))),
            ("sparse attribute list", with_in_graph(&field(1, &node_with(&field(23, &sparse))))),
            ("subgraph", with_in_graph(&field(1, &node_with(&in_subgraph)))),
            ("subgraph of a subgraph", with_in_graph(&field(1, &node_with(&deeper)))),
            ("function", with_in_model(&field(25, &field(7, &node_with(&field(5, &tensor)))))),
            ("function default", with_in_model(&field(25, &field(11, &field(5, &tensor))))),
        ];
        for (place, onnx) in places {
            let line = refusal(&onnx);
            assert_names(&line, &["data of tensor \"w\"", "expected inside the ONNX file", "found external data in"]);
            assert!(line.contains(location), "{place}: {line}");
        }
    }
}

/// Readers that keep the low 32 bits of a field's key would find external data here.
#[test]
fn keys_that_readers_take_for_different_fields_are_refused() {
    let entry = field(13, &[field(1, b"location"), field(2, b"weights.bin")].concat());
    let long = [varint((1 << 32) | (13 << 3) | 2), entry[1..].to_vec()].concat();
    let tensor = [number(2, 1), field(8, b"w"), long].concat();
    assert_names(&refusal(&with_in_graph(&field(5, &tensor))), &["expected a field's key of 32 bits"]);
}

/// ONNX Runtime would take the same bytes for a model of its own format, with whatever graph that has.
#[test]
fn a_file_that_could_be_of_another_format_as_well_is_refused() {
    let onnx = [number(1, 9), field(2, b"ORTM"), SOUND.0.clone()].concat();
    assert_names(&refusal(&onnx), &["format", "expected ONNX", "ONNX Runtime's own format at byte 4"]);
}

#[test]
fn half_an_external_reference_is_refused_too() {
    for tensor in [number(14, 1), field(13, &field(1, b"checksum")), number(14, 7), field(14, b"\x01")] {
        assert_names(&refusal(&with_in_graph(&field(5, &tensor))), &["found external data"]);
    }
}

#[test]
fn operators_from_elsewhere_are_refused() {
    let node = |op: &[u8], domain: &[u8]| [field(3, b"n"), field(4, op), field(7, domain)].concat();
    for (op, domain) in [("Run", "my.ops"), ("PythonOp", "ai.onnx.contrib"), ("EPContext", "com.microsoft")] {
        let bad = node(op.as_bytes(), domain.as_bytes());
        let in_function = with_in_model(&field(25, &field(7, &bad)));
        let in_subgraph = with_in_graph(&field(1, &node_with(&field(6, &field(1, &bad)))));
        for onnx in [with_in_graph(&field(1, &bad)), in_function, in_subgraph] {
            assert_names(&refusal(&onnx), &["node \"n\"", "expected a standard", op, domain]);
        }
    }
    let twice = [node(b"Run", b"my.ops"), field(7, b"")].concat();
    assert_names(&refusal(&with_in_graph(&field(1, &twice))), &["node \"n\""]);
}

#[test]
fn a_graph_nested_without_end_is_refused() {
    let mut graph = Vec::new();
    for _ in 0..3000 {
        graph = field(1, &field(5, &field(6, &graph)));
    }
    assert_names(&refusal(&with_in_graph(&graph)), &["expected at most 32 nested subgraphs"]);
}

#[test]
fn a_flood_of_inputs_is_counted_not_listed() {
    let onnx = with_in_graph(&field(11, b"").repeat(500_000));
    assert_names(&refusal(&onnx), &["inputs: expected image u8", "and 499997 more"]);
}

#[test]
fn lengths_beyond_the_file_are_refused() {
    for len in [1_u64 << 20, 1 << 40, u64::MAX] {
        let onnx = [number(1, 9), varint(7 << 3 | 2), varint(len), vec![0; 64]].concat();
        assert_names(&refusal(&onnx), &["not an ONNX file", &format!("found a length of {len}")]);
    }
}

#[test]
fn other_inputs_are_refused() {
    let image = "inputs: expected image u8 [batch, 56, 56, 3], found";
    let cases: [(&str, Vec<u8>); 7] = [
        ("pixels u8 [batch, 56, 56, 3]", changed(|m| input(m).name = "pixels".to_owned())),
        ("image u8 [batch, 56, 57, 3]", changed(|m| dims(input(m))[2] = fixed(57))),
        ("image u8 [batch, ?, 56, 3]", changed(|m| dims(input(m))[1] = DimensionProto { value: None })),
        ("image u8 [batch, 56, 56]", changed(|m| drop(dims(input(m)).pop()))),
        ("none", changed(|m| m.graph.as_mut().unwrap().input.clear())),
        (
            "image f32 [batch, 56, 56, 3]",
            changed(|m| input(m).r#type.as_mut().unwrap().tensor_type.as_mut().unwrap().elem_type = FLOAT),
        ),
        (
            "image u8 [batch, 56, 56, 3], image u8 [batch, 56, 56, 3]",
            changed(|m| {
                let twin = input(m).clone();
                m.graph.as_mut().unwrap().input.push(twin);
            }),
        ),
    ];
    for (found, onnx) in cases {
        assert_names(&refusal(&onnx), &[image, &format!("found {found}")]);
    }
    assert_names(&refusal(&changed(|m| input(m).r#type = None)), &[image, "image not a tensor"]);
}

#[test]
fn other_outputs_are_refused() {
    let both = "outputs: expected heatmap f32 [batch, 3, 7, 7], presence f32 [batch, 3], found";
    let cases: [(&str, Vec<u8>); 5] = [
        ("heat f32 [batch, 3, 7, 7], presence", changed(|m| output(m, 0).name = "heat".to_owned())),
        ("heatmap f32 [batch, 3, 7, 8], presence", changed(|m| dims(output(m, 0))[3] = fixed(8))),
        ("presence f32 [batch, 1]", changed(|m| dims(output(m, 1))[1] = fixed(1))),
        ("presence f32 [batch, classes]", {
            let classes = DimensionProto { value: Some(Dimension::Param("classes".to_owned())) };
            changed(|m| dims(output(m, 1))[1] = classes)
        }),
        ("heatmap f32 [batch, 3, 7, 7]", changed(|m| drop(m.graph.as_mut().unwrap().output.pop()))),
    ];
    for (found, onnx) in cases {
        assert_names(&refusal(&onnx), &[both, found]);
    }
}

#[test]
fn a_contract_for_another_model_is_refused() {
    let onnx = &SOUND.0;
    let fewer = refusal_by(onnx, |contract| drop(contract.actions.pop()));
    assert_names(&fewer, &["expected heatmap f32 [batch, 2, 7, 7]", "found heatmap f32 [batch, 3, 7, 7]"]);
    let larger = refusal_by(onnx, |contract| contract.input.width = 64);
    assert_names(&larger, &["expected image u8 [batch, 56, 64, 3]", "found image u8 [batch, 56, 56, 3]"]);
}

#[test]
fn no_graph_two_graphs_or_a_graph_of_nothing_are_refused() {
    assert_names(&refusal(&changed(|m| m.graph = None)), &["found graphs: 0"]);
    assert_names(&refusal(&changed(|m| m.opset_import.clear())), &["operator sets: 0"]);
    let graph = ModelProto::decode(SOUND.0.as_slice()).unwrap().graph.unwrap().encode_to_vec();
    assert_names(&refusal(&with_in_model(&field(7, &graph))), &["found graphs: 2"]);
    assert_names(&refusal(&changed(|m| m.graph.as_mut().unwrap().node.clear())), &["expected at least one node"]);
    assert_names(&refusal(&with_in_model(&field(20, b""))), &["training_info"]);
}

#[test]
fn names_from_the_file_cannot_break_the_line() {
    let name = format!("a\nb\0\u{1b}[31m{}", "x".repeat(1_000_000));
    assert_names(&refusal(&changed(|m| input(m).name = name)), &["a\\nb", "..."]);
}

#[test]
fn links_folders_pipes_and_missing_files_are_refused() {
    for file in [MODEL_FILE, CONTRACT_FILE] {
        let sound = || {
            let folder = tempfile::tempdir().unwrap();
            write_bundle(folder.path(), &SOUND.0, &SOUND.1);
            folder
        };
        let folder = sound();
        let path = folder.path().join(file);
        fs::rename(&path, folder.path().join("elsewhere")).unwrap();
        assert_names(&refusal_of(folder.path()), &["cannot read", file]);
        symlink(folder.path().join("elsewhere"), &path).unwrap();
        assert_names(&refusal_of(folder.path()), &["expected a regular file", "found a symbolic link"]);
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_names(&refusal_of(folder.path()), &["expected a regular file", "found a folder, pipe or device"]);
        fs::remove_dir(&path).unwrap();
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert_names(&refusal_of(folder.path()), &["expected a regular file", "found a folder, pipe or device"]);
    }
}

#[test]
fn a_file_beyond_protobufs_limit_is_refused_unread() {
    let folder = tempfile::tempdir().unwrap();
    write_bundle(folder.path(), &SOUND.0, &SOUND.1);
    // Sparse: 1 TB that takes no room.
    fs::File::create(folder.path().join(MODEL_FILE)).unwrap().set_len(1 << 40).unwrap();
    assert_names(&refusal_of(folder.path()), &["expected 1 to 2147483647 bytes", "found 1099511627776 bytes"]);
}
