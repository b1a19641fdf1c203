//! Where TensorRT's engines are kept. Building one takes minutes, and one serves only for the same model, options,
//! versions and GPU: so each such combination has a folder of its own.
//!
//! ```text
//! CACHE_DIR/tensorrt/<key> : engines that worked       CACHE_DIR/tensorrt/.tmp* : being built, removed on failure
//! ```
//!
//! An engine is code that TensorRT runs. So a folder others can write to is refused, and nothing is ever kept in a
//! bundle, which may be anybody's.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::{InferError, options::Options};
use crate::contract::sha256_hex;

/// The setting that errors are about.
pub(super) const SETTING: &str = "cache_dir";
/// Files whose text tells the driver, board and GPU: on a desktop, then on a Jetson.
const DEVICE_FILES: [&str; 3] = ["/proc/driver/nvidia/version", "/etc/nv_tegra_release", "/proc/device-tree/model"];
/// One folder per GPU, each with a file "information".
const GPU_FOLDERS: &str = "/proc/driver/nvidia/gpus";
/// Libraries whose full version is in their file's name.
const VERSIONED: [&str; 3] = ["libnvinfer.so.", "libcudart.so.", "libcudnn.so."];
/// Where the system keeps them; LD_LIBRARY_PATH and ONNX Runtime's own folder come on top.
const LIBRARY_FOLDERS: [&str; 3] = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/local/cuda/lib64"];

/// The cache's folder: the setting, or `looptrans_ros` in the user's cache folder by the XDG rules.
pub(super) fn root(setting: Option<&Path>, variable: impl Fn(&str) -> Option<PathBuf>) -> Result<PathBuf, InferError> {
    let absolute = |name| variable(name).filter(|path| path.is_absolute());
    let users = || absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    let chosen = match setting {
        Some(folder) => std::path::absolute(folder).ok(),
        None => users().map(|folder| folder.join("looptrans_ros")),
    };
    chosen.ok_or_else(|| refuse("a folder, where neither XDG_CACHE_HOME nor HOME tells one", "none"))
}

/// The folder's name for one combination: everything that an engine depends on, as far as it can be known without
/// loading TensorRT, which adds its own version and the GPU's generation to the names of its files.
pub(super) fn key(model_sha256: &str, options: &Options, versions: &[String]) -> String {
    let mut text = format!("model {model_sha256}\n");
    for (name, value) in options {
        text += &format!("option {name} {value}\n");
    }
    for version in versions {
        text += &format!("version {version}\n");
    }
    let start = |digits: &str| digits.get(..16).unwrap_or(digits).to_owned();
    format!("{}-{}", start(model_sha256), start(&sha256_hex(text.as_bytes())))
}

/// ONNX Runtime's build, the driver, the GPUs, and the versions of TensorRT, CUDA and cuDNN that can be found.
pub(super) fn versions(runtime: &str, library: Option<&Path>) -> Vec<String> {
    let mut found = vec![runtime.to_owned()];
    let gpus = entries(Path::new(GPU_FOLDERS)).into_iter().map(|folder| folder.join("information"));
    for file in DEVICE_FILES.map(PathBuf::from).into_iter().chain(gpus) {
        found.extend(fs::read(&file).map(|text| format!("{} {}", file.display(), sha256_hex(&text))));
    }
    let searched = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let folders = LIBRARY_FOLDERS.iter().map(PathBuf::from).chain(std::env::split_paths(&searched));
    let own = library.and_then(Path::parent).map(Path::to_owned);
    for file in folders.chain(own).flat_map(|folder| entries(&folder)) {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if VERSIONED.iter().any(|library| name.starts_with(library)) {
            found.push(file.display().to_string());
        }
    }
    found
}

/// What a folder holds, by name; nothing if it can't be read.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Loads with the engines of `key` below `root`.
///
/// Engines are built in a folder aside, which takes its name only once the load has worked: another process never sees
/// half an engine. Kept engines that do not work are built anew.
///
/// # Errors
/// The folder can't be used, would lie in the `bundle`, or the load's own error with fresh engines.
pub(super) fn with_engines<T>(
    (root, key): (&Path, &str),
    bundle: &Path,
    mut load: impl FnMut(&Path) -> Result<T, InferError>,
) -> Result<T, InferError> {
    let root = root.join("tensorrt");
    prepare(&root, bundle)?;
    let kept = root.join(key);
    if kept.symlink_metadata().is_ok() {
        check_private(&kept)?;
        match load(&kept) {
            Ok(loaded) => return Ok(loaded),
            Err(error) => tracing::warn!("engines in {} are of no use, building anew: {error}", kept.display()),
        }
    }
    let private = fs::Permissions::from_mode(0o700);
    let aside =
        tempfile::Builder::new().permissions(private).tempdir_in(&root).map_err(|error| unusable(&root, &error))?;
    let loaded = load(aside.path())?;
    if let Err(error) = keep(aside, &kept) {
        tracing::warn!("engines could not be kept in {}: {error}", kept.display());
    }
    Ok(loaded)
}

/// Makes the folder, for this user alone.
fn prepare(root: &Path, bundle: &Path) -> Result<(), InferError> {
    DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(|error| unusable(root, &error))?;
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if real(root).starts_with(real(bundle)) {
        return Err(refuse("a folder outside the bundle", root.display().to_string()));
    }
    check_private(root)
}

/// A folder of this user's own, which nobody else can write to.
fn check_private(folder: &Path) -> Result<(), InferError> {
    let metadata = folder.symlink_metadata().map_err(|error| unusable(folder, &error))?;
    let user = fs::metadata("/proc/self").map_err(|error| unusable(folder, &error))?.uid();
    let mode = metadata.permissions().mode();
    if metadata.is_dir() && metadata.uid() == user && mode & 0o022 == 0 {
        return Ok(());
    }
    let found = format!("{} of user {} with mode {:o}", folder.display(), metadata.uid(), mode & 0o7777);
    Err(refuse(format!("a folder of user {user} that no other can write to"), found))
}

/// Replaces what lies at `kept`.
fn keep(aside: TempDir, kept: &Path) -> io::Result<()> {
    match fs::remove_dir_all(kept) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::rename(aside.path(), kept)?;
    // It has another name now: there is nothing left to remove.
    let _ = aside.keep();
    Ok(())
}

fn refuse(expected: impl Into<String>, found: impl Into<String>) -> InferError {
    InferError::Setting { setting: SETTING, expected: expected.into(), found: found.into() }
}

fn unusable(folder: &Path, error: &io::Error) -> InferError {
    refuse("a folder to write engines to", format!("{}: {error}", folder.display()))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn failed() -> InferError {
        InferError::Runtime { step: "load", cause: "test".to_owned() }
    }

    fn names(folder: &Path) -> Vec<String> {
        entries(folder).iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
    }

    fn bundle() -> &'static Path {
        Path::new("/nonexistent/bundle")
    }

    #[test]
    fn engines_are_kept_once_they_worked_and_used_again() {
        let root = tempfile::tempdir().unwrap();
        let built = Cell::new(0);
        let load = |folder: &Path| {
            let engine = folder.join("engine");
            if !engine.exists() {
                built.set(built.get() + 1);
                fs::write(engine, "whole").unwrap();
            }
            Ok(folder.to_owned())
        };
        let first = with_engines((root.path(), "k"), bundle(), load).unwrap();
        let kept = root.path().join("tensorrt/k");
        assert_ne!(first, kept, "engines are built aside");
        assert_eq!(fs::read(kept.join("engine")).unwrap(), b"whole");
        assert_eq!(with_engines((root.path(), "k"), bundle(), load).unwrap(), kept);
        assert_eq!((built.get(), names(&root.path().join("tensorrt"))), (1, vec!["k".to_owned()]));
    }

    #[test]
    fn a_failed_load_leaves_nothing_behind() {
        let root = tempfile::tempdir().unwrap();
        let load = |folder: &Path| -> Result<(), InferError> {
            fs::write(folder.join("half an engine"), "").unwrap();
            Err(failed())
        };
        assert!(with_engines((root.path(), "k"), bundle(), load).is_err());
        assert!(names(&root.path().join("tensorrt")).is_empty());
    }

    #[test]
    fn engines_that_do_not_work_are_built_anew() {
        let root = tempfile::tempdir().unwrap();
        let kept = root.path().join("tensorrt/k");
        fs::create_dir_all(&kept).unwrap();
        fs::write(kept.join("engine"), "damaged").unwrap();
        let load = |folder: &Path| {
            if folder.join("engine").exists() {
                return Err(failed());
            }
            fs::write(folder.join("engine"), "whole").unwrap();
            Ok(())
        };
        with_engines((root.path(), "k"), bundle(), load).unwrap();
        assert_eq!(fs::read(kept.join("engine")).unwrap(), b"whole");
    }

    #[test]
    fn folders_in_a_bundle_or_open_to_others_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let load = |_: &Path| -> Result<(), InferError> { panic!("must not be loaded") };
        let inside = with_engines((&root.path().join("cache"), "k"), root.path(), load).unwrap_err().to_string();
        assert!(inside.starts_with("cache_dir: expected a folder outside the bundle, found "), "{inside}");

        let kept = root.path().join("tensorrt/k");
        fs::create_dir_all(&kept).unwrap();
        fs::set_permissions(&kept, fs::Permissions::from_mode(0o777)).unwrap();
        let open = with_engines((root.path(), "k"), bundle(), load).unwrap_err().to_string();
        assert!(open.contains("no other can write to") && open.contains("mode 777"), "{open}");

        fs::remove_dir(&kept).unwrap();
        std::os::unix::fs::symlink("/tmp", &kept).unwrap();
        assert!(with_engines((root.path(), "k"), bundle(), load).is_err(), "a link could lead anywhere");

        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        let no_folder = with_engines((&file, "k"), bundle(), load).unwrap_err().to_string();
        assert!(no_folder.contains("found ") && no_folder.contains("file/tensorrt"), "{no_folder}");
    }

    #[test]
    fn the_key_changes_with_everything_an_engine_depends_on() {
        let option = |value: &str| vec![("trt_fp16_enable", value.to_owned())];
        let version = |text: &str| vec![text.to_owned()];
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        let first = key(&a, &option("0"), &version("1.32"));
        assert_eq!(first, key(&a, &option("0"), &version("1.32")));
        assert!(first.starts_with(&"a".repeat(16)) && first.len() == 33, "{first}");
        let others = [
            key(&b, &option("0"), &version("1.32")),
            key(&a, &option("1"), &version("1.32")),
            key(&a, &option("0"), &version("1.33")),
        ];
        assert!(others.iter().all(|other| *other != first), "{first} {others:?}");
    }

    #[test]
    fn the_cache_is_where_the_setting_or_xdg_says() {
        let none = |_: &str| None;
        let env = |name: &str| Some(PathBuf::from(if name == "HOME" { "/home/u" } else { "/xdg" }));
        let home = |name: &str| (name == "HOME").then(|| PathBuf::from("/home/u"));
        let relative = |name: &str| Some(PathBuf::from(if name == "HOME" { "/home/u" } else { "xdg" }));
        assert_eq!(root(Some(Path::new("/own")), none).unwrap(), Path::new("/own"));
        assert_eq!(root(None, env).unwrap(), Path::new("/xdg/looptrans_ros"));
        assert_eq!(root(None, home).unwrap(), Path::new("/home/u/.cache/looptrans_ros"));
        assert_eq!(root(None, relative).unwrap(), Path::new("/home/u/.cache/looptrans_ros"), "as XDG asks");
        assert!(root(None, none).is_err());
    }
}
