//! Where TensorRT's engines are kept. Building one takes minutes, and one serves only for the same model, options,
//! versions and GPU: so each such combination has a folder of its own.
//!
//! ```text
//! CACHE_DIR/tensorrt/<key>            engines that worked, sealed
//! CACHE_DIR/tensorrt/<key>.lock       held while engines of the key are read or built; the kernel lets go of a dead process's
//! CACHE_DIR/tensorrt/.<key>-<random>  being built, or being thrown away; what is left of a killed process goes with the next
//! ```
//!
//! An engine is code that TensorRT runs. So a folder others can write to is refused, and nothing is ever kept in a
//! bundle, which may be anybody's. Where nothing can be kept (no place, no space), TensorRT runs without a cache.

mod lock;
mod seal;
#[cfg(test)]
mod tests;

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use lock::Lock;
use tempfile::TempDir;

use super::{
    FailureKind, InferError, InferSettings,
    options::{self, Options},
    runtime,
};
use crate::contract::{Bundle, sha256_hex};

/// How long another process that builds the same engines is waited for. Longer than a build takes.
const LOCK_WAIT: Duration = Duration::from_secs(1800);
/// The same for a load that is to take seconds: whoever only reads engines has them no longer than that.
const KEPT_WAIT: Duration = Duration::from_secs(5);
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
    for file in DEVICE_FILES.map(PathBuf::from) {
        found.extend(fs::read(&file).map(|text| format!("{} {}", file.display(), sha256_hex(&text))));
    }
    for folder in entries(Path::new(GPU_FOLDERS)) {
        found.extend(fs::read_to_string(folder.join("information")).iter().filter_map(|text| gpu_model(text)));
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

/// "Model: NVIDIA ...", without the interrupt's number and the bus, which change though the GPU stays.
fn gpu_model(information: &str) -> Option<String> {
    let line = information.lines().find(|line| line.starts_with("Model:"))?;
    Some(line.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// What a folder holds, by name; nothing if it can't be read.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Which engines a load may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engines {
    /// Only ones that are there: it takes seconds, or fails.
    Kept,
    /// Kept ones, else new ones, which takes minutes.
    Build,
}

/// Where the engines of one combination are.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The folder of all engines.
    root: PathBuf,
    key: String,
    /// Nothing is kept in here.
    bundle: PathBuf,
    lock_wait: Duration,
}

impl Place {
    /// For this model, these settings and this machine. ONNX Runtime must be loaded.
    ///
    /// # Errors
    /// No folder is set, and the environment tells none.
    pub fn of(bundle: &Bundle, settings: &InferSettings) -> Result<Self, InferError> {
        let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let root = root(settings.gpu.cache_dir.as_deref(), variable)?.join("tensorrt");
        let versions = versions(ort::info(), runtime::library().as_deref());
        let key = key(
            &bundle.contract.sha256,
            &options::tensorrt_build(settings, bundle.contract.provenance.precision),
            &versions,
        );
        Ok(Self { root, key, bundle: bundle.folder.clone(), lock_wait: LOCK_WAIT })
    }

    fn kept(&self) -> PathBuf {
        self.root.join(&self.key)
    }

    /// Are there engines that look whole? Whether TensorRT takes them is seen only by loading.
    pub fn has_engines(&self) -> bool {
        let kept = self.kept();
        check_private(&self.root).is_ok() && check_private(&kept).is_ok() && seal::has_every_file(&kept)
    }

    /// Loads with the engines of this place; `load` gets their folder, or None where nothing can be kept.
    ///
    /// Engines are built in a folder aside, which takes its name only once the load has worked and everything was
    /// synced: another process never sees half an engine, and one that was killed leaves none. Of two that build the same,
    /// the second waits and takes the first one's. Kept engines that are damaged or do not work are built anew.
    ///
    /// # Errors
    /// The folder is open to others or would lie in the bundle; there is nothing to use with [`Engines::Kept`]; the load's
    /// own error with fresh engines; or with kept ones, which stay, where memory or the device failed.
    pub fn with_engines<T>(
        &self,
        engines: Engines,
        mut load: impl FnMut(Option<&Path>) -> Result<T, InferError>,
    ) -> Result<T, InferError> {
        let _lock = match self.open(engines) {
            Ok(lock) => lock,
            Err(Unusable::Refused(error)) => return Err(error),
            Err(Unusable::NoPlace(why)) => return without_cache(engines, &why, load),
        };
        let kept = self.kept();
        let mut trouble = format!("none in {}", kept.display());
        if kept.symlink_metadata().is_ok() {
            check_private(&kept)?;
            match seal::verify(&kept).map_err(|why| refuse("whole engines", why)).and_then(|()| load(Some(&kept))) {
                Ok(loaded) => return Ok(loaded),
                // Nothing is wrong with the engines: building anew would need more memory, and a device that is there.
                Err(error) if error.kind() != FailureKind::Other => return Err(error),
                Err(error) => trouble = format!("engines in {} are of no use: {error}", kept.display()),
            }
        }
        if engines == Engines::Kept {
            return Err(refuse("engines that were built before", trouble));
        }
        tracing::info!("TensorRT's engines are built: {trouble}");
        self.remove_leftovers();
        let aside = match self.aside() {
            Ok(aside) => aside,
            Err(error) => return without_cache(engines, &error.to_string(), load),
        };
        let loaded = load(Some(aside.path()))?;
        if let Err(error) = self.keep(aside) {
            tracing::warn!("engines could not be kept in {}: {error}", kept.display());
        }
        Ok(loaded)
    }

    /// Makes the folder and waits for whoever has the key.
    fn open(&self, engines: Engines) -> Result<Lock, Unusable> {
        prepare(&self.root, &self.bundle)?;
        let file = self.root.join(format!("{}.lock", self.key));
        let wait = match engines {
            Engines::Kept => self.lock_wait.min(KEPT_WAIT),
            Engines::Build => self.lock_wait,
        };
        Lock::take(&file, wait).map_err(|why| Unusable::NoPlace(format!("{}: {why}", file.display())))
    }

    /// What names of folders aside begin with.
    fn prefix(&self) -> String {
        format!(".{}-", self.key)
    }

    fn aside(&self) -> io::Result<TempDir> {
        let private = fs::Permissions::from_mode(0o700);
        tempfile::Builder::new().prefix(&self.prefix()).permissions(private).tempdir_in(&self.root)
    }

    /// Of processes that were killed: who holds the lock is the only one who builds.
    fn remove_leftovers(&self) {
        let prefix = self.prefix();
        let is_ours = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix));
        for path in entries(&self.root).into_iter().filter(is_ours) {
            if let Err(error) = fs::remove_dir_all(&path) {
                tracing::warn!("{} can't be removed: {error}", path.display());
            }
        }
    }

    /// Gives what was built its name, in place of what had it.
    fn keep(&self, built: TempDir) -> io::Result<()> {
        seal::write(built.path())?;
        let kept = self.kept();
        // Renamed, not removed in place: a process that is killed here leaves all of it or nothing.
        let before = self.aside()?;
        match fs::rename(&kept, before.path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::rename(built.path(), &kept)?;
        // It has another name now: there is nothing left to remove.
        let _ = built.keep();
        fs::File::open(&self.root)?.sync_all()
    }
}

/// Why engines can't be kept.
enum Unusable {
    /// It would not be safe: the setting is wrong.
    Refused(InferError),
    /// There is no room; TensorRT works all the same.
    NoPlace(String),
}

fn without_cache<T>(
    engines: Engines,
    why: &str,
    mut load: impl FnMut(Option<&Path>) -> Result<T, InferError>,
) -> Result<T, InferError> {
    if engines == Engines::Kept {
        return Err(refuse("engines that were built before", why));
    }
    tracing::warn!("TensorRT's engines are built for this start alone, since none can be kept: {why}");
    load(None)
}

/// Makes the folder, for this user alone.
fn prepare(root: &Path, bundle: &Path) -> Result<(), Unusable> {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let made = DirBuilder::new().recursive(true).mode(0o700).create(root);
    if real(root).starts_with(real(bundle)) {
        return Err(Unusable::Refused(refuse("a folder outside the bundle", root.display().to_string())));
    }
    made.map_err(|error| Unusable::NoPlace(format!("{}: {error}", root.display())))?;
    check_private(root).map_err(Unusable::Refused)
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

fn refuse(expected: impl Into<String>, found: impl Into<String>) -> InferError {
    InferError::Setting { setting: SETTING, expected: expected.into(), found: found.into() }
}

fn unusable(folder: &Path, error: &io::Error) -> InferError {
    refuse("a folder to write engines to", format!("{}: {error}", folder.display()))
}
