//! Files made to harm: one error, nothing executed, nothing left behind, no panic, bounded memory.

use std::{fs, path::Path, process::Command};

use crate::{
    crafted::{Pickle, archive, torch_archive},
    support::{Place, fixture},
};

fn refusal(bytes: &[u8]) -> String {
    let place = Place::new();
    let checkpoint = place.file("in.pth", bytes);
    place.refusal(&place.settings(&checkpoint))
}

/// What `pickle.dumps` of an object with `__reduce__ = (os.system, (command,))` gives.
fn code(command: &str) -> Vec<u8> {
    Pickle::new().global("posix", "system").text(command).raw(b"\x85R").stop()
}

#[test]
fn a_pickle_that_carries_code_is_named_and_not_executed() {
    let place = Place::new();
    let marker = place.folder.path().join("executed");
    let pickle = code(&format!("touch {}", marker.display()));
    let inside = Pickle::new().open_dict().text("cls_token").global("builtins", "eval").text("1").raw(b"\x85R");
    let stack_global = Pickle::new().text("posix").text("system").raw(b"\x93").text("true").raw(b"\x85R").stop();
    let cases = [
        ("zip", torch_archive(&pickle, b""), "posix.system"),
        ("bare", pickle.clone(), "posix.system"),
        ("inside", torch_archive(&inside.close_dict().stop(), b""), "builtins.eval"),
        ("stack", torch_archive(&stack_global, b""), "posix.system"),
    ];
    for (name, bytes, global) in cases {
        let error = place.refusal(&place.settings(&place.file(name, &bytes)));
        assert!(error.contains(global) && error.contains("nothing was executed"), "{error}");
    }
    assert!(!marker.exists());
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    for name in ["dino_half.pth", "dino_strided_legacy.pth", "locate.pth.tar"] {
        let whole = fs::read(fixture(name)).unwrap();
        for cut in (0..whole.len()).step_by(whole.len() / 60).chain([whole.len() - 1]) {
            refusal(&whole[..cut]);
        }
    }
}

#[test]
fn a_flipped_bit_never_panics_and_in_an_archives_numbers_is_noticed() {
    for name in ["dino_half.pth", "dino_strided_legacy.pth"] {
        let whole = fs::read(fixture(name)).unwrap();
        for at in (0..whole.len()).step_by(11) {
            let place = Place::new();
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            let checkpoint = place.file("in.pth", &bytes);
            if place.convert(&checkpoint).is_err() {
                assert_eq!(place.names(), ["in.pth"], "byte {at}");
            }
        }
    }
    let mut bytes = fs::read(fixture("dino_double.pth")).unwrap();
    let numbers = bytes.windows(8).position(|w| w == first_double()).unwrap();
    bytes[numbers] ^= 1;
    assert!(refusal(&bytes).contains("checksum"));
}

fn first_double() -> [u8; 8] {
    f64::from(crate::support::seeded("cls_token", &[1])[0]).to_le_bytes()
}

#[test]
fn a_compressed_member_is_refused_so_nothing_can_swell() {
    let mut bytes = torch_archive(&Pickle::new().raw(b"}").stop(), &[0; 64]);
    const DEFLATED: u8 = 8;
    let central = bytes.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    bytes[central + 10] = DEFLATED;
    bytes[8] = DEFLATED;
    assert!(refusal(&bytes).contains("stored"));
}

#[test]
fn members_that_overlap_or_repeat_are_refused() {
    let good = torch_archive(&Pickle::new().raw(b"}").stop(), &[0; 64]);
    // Points the third member at the first one's bytes.
    let mut bytes = good.clone();
    let central: Vec<usize> = (0..good.len() - 4).filter(|&i| &good[i..i + 4] == b"PK\x01\x02").collect();
    let offset: [u8; 4] = good[central[0] + 42..central[0] + 46].try_into().unwrap();
    bytes[central[2] + 42..central[2] + 46].copy_from_slice(&offset);
    assert!(refusal(&bytes).contains("zip archive"));
}

#[test]
fn member_names_are_never_paths() {
    let pickle = Pickle::new().raw(b"}").stop();
    let error = refusal(&archive(&[("../../evil/data.pkl", &pickle), ("/etc/evil", b"x")]));
    assert!(error.contains("state dict"), "{error}");
    assert!(!Path::new("../evil").exists() && !Path::new("/etc/evil").exists());
}

#[test]
fn a_tensor_outside_its_storage_is_refused() {
    let max = u64::MAX >> 1;
    let cases: [(u64, &[u64], &[u64]); 6] = [
        (0, &[1, 1, 5], &[5, 5, 1]),
        (1, &[1, 1, 4], &[4, 4, 1]),
        (max, &[1, 1, 4], &[4, 4, 1]),
        (0, &[max, max, 4], &[1, 1, 1]),
        (0, &[1, 2, 4], &[1, max, 1]),
        (0, &[1, 1, 2], &[1, 1, max]),
    ];
    for placement in cases {
        let pickle = Pickle::new().open_dict().tensor("cls_token", 4, placement).close_dict().stop();
        let error = refusal(&torch_archive(&pickle, &[0; 16]));
        assert!(error.contains("inside its storage"), "{placement:?}: {error}");
    }
    let pickle = Pickle::new().open_dict().tensor("cls_token", 4, (0, &[4], &[1])).close_dict().stop();
    assert!(refusal(&torch_archive(&pickle, &[0; 12])).contains("expected 16 bytes"));
}

/// One float, repeated by a stride of 0 into every tensor of a network of 64-thousand channels.
#[test]
fn a_small_file_does_not_become_a_large_one() {
    let wide = 1 << 16;
    let shapes: [(&str, Vec<u64>); 18] = [
        ("cls_token", vec![1, 1, wide]),
        ("pos_embed", vec![1, 5, wide]),
        ("patch_embed.proj.weight", vec![wide, 3, 4, 4]),
        ("patch_embed.proj.bias", vec![wide]),
        ("blocks.0.norm1.weight", vec![wide]),
        ("blocks.0.norm1.bias", vec![wide]),
        ("blocks.0.attn.qkv.weight", vec![3 * wide, wide]),
        ("blocks.0.attn.qkv.bias", vec![3 * wide]),
        ("blocks.0.attn.proj.weight", vec![wide, wide]),
        ("blocks.0.attn.proj.bias", vec![wide]),
        ("blocks.0.norm2.weight", vec![wide]),
        ("blocks.0.norm2.bias", vec![wide]),
        ("blocks.0.mlp.fc1.weight", vec![8, wide]),
        ("blocks.0.mlp.fc1.bias", vec![8]),
        ("blocks.0.mlp.fc2.weight", vec![wide, 8]),
        ("blocks.0.mlp.fc2.bias", vec![wide]),
        ("norm.weight", vec![wide]),
        ("norm.bias", vec![wide]),
    ];
    let mut pickle = Pickle::new().open_dict();
    for (key, shape) in &shapes {
        pickle = pickle.tensor(key, 1, (0, shape, &vec![0; shape.len()]));
    }
    let error = refusal(&torch_archive(&pickle.close_dict().stop(), &[0; 4]));
    assert!(error.contains("overlapping tensors"), "{error}");
}

#[test]
fn a_pickle_made_to_grow_or_to_nest_is_stopped() {
    let many = |opcodes: &[u8], times| Pickle::new().raw(&opcodes.repeat(times)).stop();
    let cases = [
        ("tuples in tuples", Pickle::new().raw(b")").raw(&b"\x85".repeat(2_000_000)).stop()),
        ("marks", many(b"(", 2_000_000)),
        ("values", many(b"N", 2_000_000)),
        ("copies of one value", Pickle::new().raw(b")").raw(&b"2".repeat(2_000_000)).stop()),
        ("a claimed length", Pickle::new().raw(b"B\xff\xff\xff\xff").stop()),
        ("a claimed length of 8 bytes", Pickle::new().raw(b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f").stop()),
        ("one long line", Pickle::new().raw(b"c").raw(&b"x".repeat(1_000_000)).stop()),
    ];
    for (what, pickle) in cases {
        let error = refusal(&torch_archive(&pickle, b""));
        assert!(error.contains("the pickle has more than"), "{what}: {error}");
    }
    // Each memo access gives the same value, not a copy: 60 doublings would be 10^18 values.
    let mut doubled = Pickle::new().raw(b")q\x00");
    for _ in 0..60 {
        doubled = doubled.raw(b"h\x00h\x00\x86q\x00");
    }
    assert!(refusal(&torch_archive(&doubled.stop(), b"")).contains("state dict"));
}

#[test]
fn a_pickle_out_of_order_is_refused() {
    let cases: [&[u8]; 12] = [b"", b"R", b"t", b"s", b"u", b"a", b"h\x07", b"Q", b"\x93", b"NNR", b"(N(u", b"}(Nu"];
    for opcodes in cases {
        let error = refusal(&torch_archive(&Pickle::new().raw(opcodes).stop(), b""));
        assert!(error.contains("damaged") || error.contains("state dict"), "{opcodes:?}: {error}");
    }
    let unknown = refusal(&torch_archive(&Pickle::new().raw(b"i").stop(), b""));
    assert!(unknown.contains("opcode 0x69"), "{unknown}");
}

#[test]
fn control_characters_of_a_file_do_not_reach_the_terminal() {
    let key = "\u{1b}[31mevil\n";
    let pickle = Pickle::new().open_dict().tensor(key, 1, (0, &[1], &[1])).close_dict().stop();
    let error = refusal(&torch_archive(&pickle, &[0; 4]));
    assert!(error.contains("[31mevil") && !error.contains('\u{1b}'), "{error:?}");
}

#[test]
fn a_long_name_that_is_referred_to_often_is_not_copied_as_often() {
    const LENGTH: usize = 100_000;
    const TIMES: usize = 100_000;
    // What is written once and memoised (q), then got again (h); N is None.
    let mut again = vec![b'N'];
    (1..TIMES).for_each(|_| again.extend(b"h\x00N"));
    let pickle = Pickle::new().open_dict().text(&"k".repeat(LENGTH)).raw(b"q\x00").raw(&again).close_dict().stop();
    let place = Place::new();
    let checkpoint = place.file("in.pth", &torch_archive(&pickle, b""));
    // Copies would be ten gigabytes.
    let script = r#"ulimit -v 4000000 && exec "$@""#;
    let output = Command::new("sh")
        .args(["-c", script, "sh", env!("CARGO_BIN_EXE_looptrans"), "convert"])
        .args([checkpoint.as_os_str(), "--out".as_ref(), place.out().as_os_str()])
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("state dict"), "{error}");
    assert!(error.len() < 4_000 && !place.out().exists(), "{error}");
}
