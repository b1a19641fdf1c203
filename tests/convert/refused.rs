//! Honest files that are not what is wanted: the message says what is missing.

use std::fs;

use looptrans_ros::{
    convert::ActionList,
    export::seeded::{self, Architecture},
};

use crate::{
    crafted::{Pickle, archive, torch_archive},
    support::{self, Place, Tensors, dino, fixture, safetensors, tensors},
};

fn refusal_of(tensors: &Tensors) -> String {
    let place = Place::new();
    let checkpoint = place.file("in.safetensors", &safetensors(tensors));
    place.refusal(&place.settings(&checkpoint))
}

fn refusal_of_bytes(bytes: &[u8]) -> String {
    let place = Place::new();
    let checkpoint = place.file("in.pth", bytes);
    place.refusal(&place.settings(&checkpoint))
}

#[test]
fn missing_unexpected_and_mis_shaped_keys_are_listed_at_once() {
    let mut tensors = tensors(25);
    tensors.remove("scam.3.weight");
    tensors.remove("vit_model.norm.bias");
    tensors.insert("scam.9.weight".to_owned(), (vec![2], vec![0.0; 2]));
    tensors.insert("aff_proj.fc2.bias".to_owned(), (vec![3], vec![0.0; 3]));
    let error = refusal_of(&tensors);
    assert!(error.contains("LoopTrans"), "{error}");
    assert!(error.contains("2 missing (scam.3.weight, vit_model.norm.bias)"), "{error}");
    assert!(error.contains("1 unexpected (scam.9.weight)"), "{error}");
    assert!(error.contains("aff_proj.fc2.bias: expected [4], found [3] of f32"), "{error}");
}

#[test]
fn a_long_list_of_keys_is_cut() {
    let mut tensors = dino();
    tensors.retain(|key, _| !key.starts_with("blocks.0.") || key == "blocks.0.mlp.fc1.weight");
    let error = refusal_of(&tensors);
    assert!(error.contains("11 missing") && error.contains("and 3 more"), "{error}");
}

#[test]
fn incomplete_clusters_are_missed() {
    let mut tensors = tensors(25);
    tensors.insert("cluster.tokens.weight".to_owned(), (vec![4, 4], vec![0.0; 16]));
    tensors.insert("cluster.norm_layers.0.weight".to_owned(), (vec![4], vec![0.0; 4]));
    let error = refusal_of(&tensors);
    assert!(error.contains("cluster.ffn_layers.0.net.0.weight"), "{error}");
}

#[test]
fn nan_and_infinity_are_no_weights() {
    let mut tensors = dino();
    tensors.get_mut("norm.bias").unwrap().1[1] = f32::NAN;
    tensors.get_mut("cls_token").unwrap().1[0] = f32::INFINITY;
    assert!(refusal_of(&tensors).contains("2 with NaN or infinity (cls_token, norm.bias)"));
}

#[test]
fn another_network_is_not_recognised() {
    let other = Tensors::from([("fc.weight".to_owned(), (vec![1], vec![0.0]))]);
    let error = refusal_of(&other);
    assert!(error.contains("DINO") && error.contains("found fc.weight"), "{error}");
}

#[test]
fn a_number_of_channels_that_tells_nothing_asks_for_the_actions() {
    let error = refusal_of(&tensors(26));
    assert!(error.contains("aff_fc has 26 channels") && error.contains("51 (agd20k-seen)"), "{error}");
    assert!(error.contains("--actions"), "{error}");
}

#[test]
fn more_actions_than_channels_are_refused() {
    let place = Place::new();
    let mut settings = place.settings(&place.file("in.safetensors", &safetensors(&tensors(25))));
    settings.hints.actions = Some(support::actions("agd20k-seen"));
    assert!(place.refusal(&settings).contains("found 36"));
    let mut settings = place.settings(&place.file("locate.safetensors", &safetensors(&support::locate(25))));
    settings.hints.actions = Some(support::actions("cut,hold"));
    assert!(place.refusal(&settings).contains("expected as many actions"));
}

#[test]
fn an_action_list_names_each_action_once() {
    let place = Place::new();
    let cases: [(&[u8], &str); 6] = [
        (b"cut\ncut\n", "again"),
        (b"# none\n", "at least one"),
        (b"a\x07b\n", "printable"),
        (b"- cut\n- cut\n", "again"),
        (b"- cut\n- {hold: 1}\n", "expected a YAML list of actions"),
        (b"[]\n", "at least one"),
    ];
    for (text, message) in cases {
        let file = place.file("list.txt", text);
        let error = ActionList::read(file.to_str().unwrap()).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    let error = ActionList::read("agd20k-sen").unwrap_err().to_string();
    assert!(error.contains("agd20k-seen, agd20k-unseen, hico-iif"), "{error}");
}

#[test]
fn an_action_list_may_be_lines_or_yaml() {
    let place = Place::new();
    for text in
        ["cut with\n# a comment\nhold\n", "# mine\n- cut with\n- 'hold'   # a comment\n", "---\n[cut with, hold]\n"]
    {
        let file = place.file("list.txt", text.as_bytes());
        let list = ActionList::read(file.to_str().unwrap()).unwrap();
        assert_eq!((list.split, list.actions), (None, vec!["cut with".to_owned(), "hold".to_owned()]), "{text}");
    }
}

#[test]
fn heads_must_divide_the_channels() {
    let place = Place::new();
    let mut settings = place.settings(&fixture("dino_half.pth"));
    settings.hints.heads = None;
    assert!(place.refusal(&settings).contains("--heads"));
    settings.hints.heads = Some(3);
    assert!(place.refusal(&settings).contains("found 4 for 3 heads"));
}

#[test]
fn an_absent_key_names_those_there_are() {
    let place = Place::new();
    let mut settings = place.settings(&fixture("dino_full.pth"));
    settings.key = Some("ema".to_owned());
    let error = place.refusal(&settings);
    assert!(error.contains("\"ema\"") && error.contains("student, teacher, optimizer"), "{error}");
}

#[test]
fn nothing_is_overwritten_unasked_and_the_checkpoint_never() {
    let place = Place::new();
    fs::write(place.out(), b"precious").unwrap();
    let mut settings = place.settings(&fixture("dino_half.pth"));
    assert!(place.refusal(&settings).contains("--force"));
    assert_eq!(fs::read(place.out()).unwrap(), b"precious");

    settings.force = true;
    settings.checkpoint = place.folder.path().join("copy.pth");
    fs::copy(fixture("dino_half.pth"), &settings.checkpoint).unwrap();
    settings.out = settings.checkpoint.clone();
    assert!(place.refusal(&settings).contains("checkpoint itself"));
    settings.out = place.folder.path().to_owned();
    assert!(place.refusal(&settings).contains("no regular file"));
}

#[test]
fn a_failed_conversion_leaves_the_old_file() {
    let place = Place::new();
    fs::write(place.out(), b"precious").unwrap();
    let mut tensors = dino();
    tensors.get_mut("norm.bias").unwrap().1[1] = f32::NAN;
    let mut settings = place.settings(&place.file("in.safetensors", &safetensors(&tensors)));
    settings.force = true;
    place.refusal(&settings);
    assert_eq!(fs::read(place.out()).unwrap(), b"precious");
}

#[test]
fn other_files_are_told_apart() {
    let module = Pickle::new().global("__torch__", "Empty").raw(b")\x81}b").stop();
    let script = archive(&[("m/data.pkl", &module), ("m/constants.pkl", b""), ("m/code/a.py", b"")]);
    let big = archive(&[("m/data.pkl", &Pickle::new().raw(b"}").stop()), ("m/byteorder", b"big")]);
    let mut tar = vec![0; 512];
    tar[257..262].copy_from_slice(b"ustar");
    let list = torch_archive(&Pickle::new().raw(b"]").stop(), b"");
    let cases: [(&[u8], &str); 8] = [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"hello", "another kind"),
        (&tar, "tar archive"),
        (&script, "expected"),
        (&big, "expected little, found big"),
        (&archive(&[("notes.txt", b"hi")]), "data.pkl, found notes.txt"),
        (&list, "no dictionary"),
    ];
    for (bytes, message) in cases {
        let error = refusal_of_bytes(bytes);
        assert!(error.contains(message), "{message}: {error}");
    }
    let place = Place::new();
    assert!(place.refusal(&place.settings(place.folder.path())).contains("a folder"));
    assert!(place.refusal(&place.settings(&place.folder.path().join("absent"))).contains("cannot read"));
}

#[test]
fn weights_of_looptrans_itself_are_used_as_they_are() {
    let place = Place::new();
    let own = place.folder.path().join("own.safetensors");
    seeded::write(&own, Architecture::named("toy").unwrap(), &["cut", "hold"]).unwrap();
    let refusal = place.refusal(&place.settings(&own));
    assert!(refusal.contains("weights that looptrans wrote, which are used as they are"), "{refusal}");
}
