//! Covers: the kept inputs of every fuzz target, run through what the target does with them.
//! Needs: ONNX Runtime (ORT_DYLIB_PATH). `make fuzz` looks for new inputs.

#![allow(clippy::unwrap_used)]

#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Gives every file of a target's corpus to `target`; says how many there were.
fn replay(corpus: &Path, target: impl Fn(&[u8])) -> Result<usize, String> {
    let entries = fs::read_dir(corpus).map_err(|error| format!("{}: {error}", corpus.display()))?;
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in &files {
        // The name of the one that fails is what one wants to know.
        println!("{}", file.display());
        target(&fs::read(file).unwrap());
    }
    if files.is_empty() { Err(format!("{}: no inputs", corpus.display())) } else { Ok(files.len()) }
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

#[test]
fn every_kept_input_is_survived() {
    for (name, target) in fuzz::TARGETS {
        let count = replay(&corpus().join(name), target).unwrap();
        assert!(count > 5, "{name}: {count} inputs");
    }
}

#[test]
fn every_target_has_a_corpus_and_every_corpus_a_target() {
    let names = |folder: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().trim_end_matches(".rs").to_owned()).collect()
    };
    let targets: BTreeSet<String> = fuzz::TARGETS.map(|(name, _)| name.to_owned()).into();
    assert_eq!(names("fuzz/fuzz_targets"), targets);
    assert_eq!(names("fuzz/corpus"), targets);
}

#[test]
fn an_empty_or_missing_corpus_fails() {
    let folder = tempfile::tempdir().unwrap();
    assert!(replay(folder.path(), |_| {}).unwrap_err().contains("no inputs"));
    assert!(replay(&folder.path().join("none"), |_| {}).is_err());
    fs::write(folder.path().join("input"), b"x").unwrap();
    assert_eq!(replay(folder.path(), |bytes| assert_eq!(bytes, b"x")), Ok(1));
}
