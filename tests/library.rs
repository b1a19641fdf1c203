//! Covers: ONNX Runtime libraries that are missing, broken, something else or too old. Alone in its file, and one test,
//! because a process has one library: what fails must leave room for what works.
//! Needs: ONNX Runtime (ORT_DYLIB_PATH), a C compiler (as Rust itself does).

#![allow(clippy::unwrap_used)]

mod models;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use looptrans_ros::perceive::infer::{InferSettings, Model};
use models::{colours, colours_model, on_cpu};

#[test]
fn a_library_that_cannot_serve_is_named_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let with = |library: &Path| InferSettings { library: Some(library.to_owned()), ..on_cpu() };
    let refusal = |library: &Path| {
        let error = Model::load(&colours(), &with(library)).unwrap_err().to_string();
        assert!(error.contains(library.to_str().unwrap()) && error.contains("ORT_DYLIB_PATH"), "{error}");
        error
    };
    let text = folder.path().join("text.so");
    fs::write(&text, "not a library").unwrap();
    let [other, old] = ["int answer(void) { return 42; }", OLD_RUNTIME].map(|source| compile(folder.path(), source));
    refusal(&folder.path().join("missing.so"));
    refusal(&text);
    assert!(refusal(&other).contains("not ONNX Runtime"));
    assert!(refusal(&old).contains("version 1.10.0"));
    colours_model();
    assert!(refusal(&other).contains("already uses"));
}

/// The first two things anyone asks ONNX Runtime for: an API (none here) and the version.
const OLD_RUNTIME: &str = r#"
    static const void *get_api(unsigned version) { (void)version; return 0; }
    static const char *get_version(void) { return "1.10.0"; }
    static const struct { const void *(*api)(unsigned); const char *(*version)(void); } base = { get_api, get_version };
    const void *OrtGetApiBase(void) { return &base; }
"#;

fn compile(folder: &Path, source: &str) -> PathBuf {
    let path = folder.join(format!("{}.so", source.len()));
    let code = path.with_extension("c");
    fs::write(&code, source).unwrap();
    let status = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&path).arg(&code).status().unwrap();
    assert!(status.success());
    path
}
