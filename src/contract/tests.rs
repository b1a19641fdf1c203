//! What a contract file may say, and how a wrong one is refused.

use super::*;

const YAML: &str = "\
format: 1
name: toy
sha256: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
input: {height: 56, width: 64}
heatmap: {height: 7, width: 8}
actions: [cut, hold]
presence: {source: scam}
heat_threshold: 0.5
provenance: {trained: false, source: a rule, weights_sha256: '', command: none}
";

fn parse(yaml: &str) -> Result<ModelContract, String> {
    ModelContract::from_yaml(yaml.as_bytes())
}

#[test]
fn a_contract_survives_being_written_and_read() {
    let contract = parse(YAML).unwrap();
    assert_eq!(contract.input, Size { height: 56, width: 64 });
    assert_eq!(contract.model_id(), "toy:0123456789ab");
    assert_eq!(contract.provenance.precision, Precision::Fp32, "a bundle from before this was written down");
    assert_eq!(contract.provenance.parity, None, "a bundle from before anything was compared");
    assert_eq!(parse(&serde_yaml::to_string(&contract).unwrap()), Ok(contract));
}

#[test]
fn every_wrong_value_is_refused_by_key() {
    let cases = [
        ("format: 1", "format: 2", "format: expected 1, found 2"),
        ("format: 1", "format: 2\nunheard_of: {a: [1]}", "format: expected 1, found 2"),
        ("name: toy", "name: ''", "name: expected 1 to 128"),
        ("name: toy", r#"name: "a\0b""#, "name: expected 1 to 128"),
        ("sha256: 0123", "sha256: ABCD", "sha256: expected 64 lower-case"),
        ("sha256: 0123", "sha256: 012", "sha256: expected 64 lower-case"),
        ("height: 56", "height: 0", "input: expected sides of 1 to 8192, found 0x64"),
        ("width: 8}", "width: 9000}", "heatmap: expected sides of 1 to 8192, found 7x9000"),
        ("height: 56", "height: -1", "height"),
        ("[cut, hold]", "[]", "actions: expected 1 to 4096, found 0"),
        ("[cut, hold]", "[cut, cut]", "actions[1]: expected each action once"),
        ("[cut, hold]", "[cut, '']", "actions[1]: expected 1 to 128"),
        ("source: scam", "source: gap", "scam"),
        ("heat_threshold: 0.5", "heat_threshold: .nan", "heat_threshold: expected 0 to 1, found NaN"),
        ("heat_threshold: 0.5", "heat_threshold: 1.5", "heat_threshold: expected 0 to 1, found 1.5"),
        ("heat_threshold: 0.5", "heat_threshold: half", "heat_threshold"),
        ("heat_threshold: 0.5", "heat_treshold: 0.5", "heat_treshold"),
        ("name: toy\n", "", "name"),
    ];
    for (from, to, expected) in cases {
        assert!(YAML.contains(from), "{from}");
        let error = parse(&YAML.replacen(from, to, 1)).unwrap_err();
        assert!(error.contains(expected), "{to}: {error}");
    }
}

#[test]
fn text_that_is_no_contract_is_refused() {
    for yaml in ["", "- 1", "{", "a: &a [*a, *a]", "\u{0}"] {
        assert!(parse(yaml).is_err(), "{yaml:?}");
    }
}

#[test]
fn what_is_wrong_is_told_in_one_short_line() {
    let long = "x".repeat(100_000);
    for yaml in ["\"a\\nb\\x1b[2J\": 1".to_owned(), format!("{long}: 1"), YAML.replace("toy", &long)] {
        let problem = parse(&yaml).unwrap_err();
        assert!(problem.len() < 700 && !problem.contains(char::is_control), "{problem:?}");
    }
}

#[test]
fn sha256_is_the_published_one_of_abc() {
    assert_eq!(sha256_hex(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}
