//! Writing files and bundles: whole or not at all, and never over something else.

use std::{
    fs::{self, File, Permissions},
    io::{ErrorKind, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use prost::Message;
use tempfile::TempDir;

use super::{ExportError, graph::Batch, recipe::GraphOptions, rewrites::Rewrites, theta_pixel, weights::Weights};
use crate::{
    config::similar,
    contract::{
        Bundle, BundleError, CONTRACT_FILE, Calibration, FORMAT, MODEL_FILE, ModelContract, Precision, Presence,
        PresenceSource, Provenance, Size, sha256_hex,
    },
};

/// The heat threshold written into a contract where the exporter is told no other.
pub const DEFAULT_HEAT_THRESHOLD: f32 = 0.5;

/// What the names of temporary files and folders end in.
const ASIDE: &str = ".tmp";

/// What to export.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The model's name.
    pub name: String,
    /// Where presence comes from.
    pub presence: PresenceSource,
    /// What makes it a probability.
    pub calibration: Calibration,
    /// The affordances to keep, in this order; empty: all.
    pub affordances: Vec<String>,
    /// Heat in [0, 1] from which a pixel belongs to a region.
    pub heat_threshold: f32,
    /// Size of the input in pixels, multiples of the patch; None: the trained one.
    pub input: Option<Size>,
    /// Images at a time.
    pub batch: Batch,
    /// How the function is computed.
    pub rewrites: Rewrites,
    /// The command, for the provenance.
    pub command: String,
    /// Replace a bundle that is already there.
    pub force: bool,
}

impl Settings {
    /// Everything as the weights have it, with the standard rewrites.
    pub fn new(name: &str, presence: PresenceSource) -> Self {
        Self {
            name: name.to_owned(),
            presence,
            calibration: Calibration::NONE,
            affordances: Vec::new(),
            heat_threshold: DEFAULT_HEAT_THRESHOLD,
            input: None,
            batch: Batch::default(),
            rewrites: Rewrites::default(),
            command: String::new(),
            force: false,
        }
    }

    /// The graph that is asked for.
    ///
    /// # Errors
    /// An affordance that the weights do not know.
    pub fn graph(&self, weights: &Weights) -> Result<GraphOptions, ExportError> {
        Ok(GraphOptions {
            presence: self.presence,
            calibration: self.calibration,
            classes: classes(weights, &self.affordances)?,
            input: self.input.unwrap_or(weights.sizes.input()),
            batch: self.batch,
            rewrites: self.rewrites,
        })
    }
}

/// Builds the graph from the weights file and writes the bundle `folder`. Gives its contract. Nothing is compared:
/// [`build`], a comparison and [`store`] are the way to that.
///
/// # Errors
/// Those of [`room`], [`build`] and [`store`]. In each case `folder` is as it was before.
pub fn write(weights_file: &Path, folder: &Path, settings: &Settings) -> Result<ModelContract, ExportError> {
    // Before the long work.
    room(folder, settings.force)?;
    let weights = Weights::read(weights_file, settings.presence)?;
    let bundle = build(&weights, folder, settings)?;
    store(&bundle, settings.force)?;
    Ok(bundle.contract)
}

/// Builds the bundle `folder` in memory.
///
/// # Errors
/// The weights were read for another presence; an affordance is unknown; the size does not fit; or a contract that its
/// reader would refuse.
pub fn build(weights: &Weights, folder: &Path, settings: &Settings) -> Result<Bundle, ExportError> {
    let options = settings.graph(weights)?;
    let onnx = theta_pixel::model(weights, &options)?.encode_to_vec();
    let contract = contract(weights, &options, &onnx, settings);
    let refuse = |message| BundleError::Contract { path: folder.join(CONTRACT_FILE), message };
    contract.validate().map_err(refuse)?;
    Ok(Bundle { folder: folder.to_owned(), contract, onnx })
}

/// Writes a bundle to its folder, whole or not at all, and reads it back as the node will.
///
/// # Errors
/// Something is in the way; the file system says no; or the reader does.
pub fn store(bundle: &Bundle, force: bool) -> Result<(), ExportError> {
    let folder = &bundle.folder;
    room(folder, force)?;
    let yaml =
        serde_yaml::to_string(&bundle.contract).map_err(|error| io("write", folder)(std::io::Error::other(error)))?;
    let parent = parent(folder)?;
    let aside = tempfile::Builder::new().prefix(&aside(folder)).suffix(ASIDE).tempdir_in(parent);
    let aside = aside.map_err(io("create a folder in", parent))?;
    // The temporary folder itself is for its owner only; what is put in place has the usual permissions.
    let new = aside.path().join("new");
    fs::create_dir(&new).map_err(io("create", &new))?;
    write_new(&new.join(MODEL_FILE), &bundle.onnx)?;
    write_new(&new.join(CONTRACT_FILE), yaml.as_bytes())?;
    Bundle::load(&new)?;
    // Again: the work took a while.
    room(folder, force)?;
    replace(folder, &new, aside)
}

/// Indices of the asked affordances in the weights' own list.
fn classes(weights: &Weights, affordances: &[String]) -> Result<Vec<usize>, ExportError> {
    let actions = &weights.description.actions;
    if affordances.is_empty() {
        return Ok((0..actions.len()).collect());
    }
    let index = |name: &String| {
        actions.iter().position(|action| action == name).ok_or_else(|| {
            let best = similar(name, actions.iter().map(String::as_str));
            ExportError::UnknownAffordance {
                name: name.clone(),
                known: actions.join(" "),
                hint: best.map(|action| format!(", did you mean {action:?}?")).unwrap_or_default(),
            }
        })
    };
    affordances.iter().map(index).collect()
}

fn contract(weights: &Weights, options: &GraphOptions, onnx: &[u8], settings: &Settings) -> ModelContract {
    let Weights { sizes, description, sha256, .. } = weights;
    let patch = u32::try_from(sizes.patch).unwrap_or(u32::MAX);
    let Size { height, width } = options.input;
    ModelContract {
        format: FORMAT,
        name: settings.name.clone(),
        sha256: sha256_hex(onnx),
        input: options.input,
        heatmap: Size { height: height / patch, width: width / patch },
        actions: options.classes.iter().filter_map(|&class| description.actions.get(class).cloned()).collect(),
        presence: Presence { source: settings.presence },
        heat_threshold: settings.heat_threshold,
        provenance: Provenance {
            trained: description.trained,
            source: description.source.clone(),
            weights_sha256: sha256.clone(),
            command: settings.command.clone(),
            precision: Precision::Fp32,
            quantisation: None,
            parity: None,
            presence: None,
        },
    }
}

/// Is the place free, or does it hold a bundle that may go?
///
/// # Errors
/// It is not, and does not.
pub fn room(folder: &Path, force: bool) -> Result<(), ExportError> {
    let exists =
        |found: &str, remedy| Err(ExportError::Exists { path: folder.to_owned(), found: found.to_owned(), remedy });
    if folder.file_name().is_none() {
        // Another folder would take its place, under the feet of whoever stands in it.
        return exists("a folder that is not called by its name", "name a new one, such as ./bundle");
    }
    match fs::symlink_metadata(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io("look at", folder)(error)),
        Ok(metadata) if !metadata.is_dir() => return exists("a file or link", "choose another place"),
        Ok(_) => {}
    }
    let mut empty = true;
    for entry in fs::read_dir(folder).map_err(io("read", folder))? {
        let name = entry.map_err(io("read", folder))?.file_name();
        if name != MODEL_FILE && name != CONTRACT_FILE {
            return exists(&format!("a folder with {name:?} in it"), "choose another place");
        }
        empty = false;
    }
    if empty || force { Ok(()) } else { exists("a bundle", "give --force to replace it") }
}

/// Puts the folder `new` in the place of `folder`; what lies there goes into `aside`, and away with it.
fn replace(folder: &Path, new: &Path, aside: TempDir) -> Result<(), ExportError> {
    let old = aside.path().join("old");
    let had_old = match fs::rename(folder, &old) {
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        moved => moved.map(|()| true).map_err(io("replace", folder))?,
    };
    if let Err(error) = fs::rename(new, folder) {
        if had_old && fs::rename(&old, folder).is_err() {
            tracing::error!("what was {} lies in {} now", folder.display(), aside.keep().join("old").display());
        }
        return Err(io("write", folder)(error));
    }
    // The new bundle is in its place, whatever becomes of the old one.
    let rest = aside.path().to_owned();
    aside.close().unwrap_or_else(|error| tracing::warn!("cannot remove {}: {error}", rest.display()));
    Ok(())
}

/// Writes a file under a temporary name in the same folder, then renames it: readers see the old file or the new.
/// Missing folders are made.
///
/// # Errors
/// The file system says no.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), ExportError> {
    let parent = parent(path)?;
    // As any new file: the umask decides.
    let usual = Permissions::from_mode(0o666);
    let file = tempfile::Builder::new().prefix(&aside(path)).suffix(ASIDE).permissions(usual).tempfile_in(parent);
    let mut file = file.map_err(io("create a file in", parent))?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(io("write", path))?;
    file.persist(path).map_err(|error| io("write", path)(error.error))?;
    Ok(())
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), ExportError> {
    let mut file = File::create_new(path).map_err(io("create", path))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io("write", path))
}

/// The folder that `path` lies in, made if it is missing.
fn parent(path: &Path) -> Result<&Path, ExportError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(io("create", parent))?;
    Ok(parent)
}

/// What the names of temporary things beside `path` begin with: they are named after it.
fn aside(path: &Path) -> String {
    format!(".{}.", path.file_name().unwrap_or_default().to_string_lossy())
}

fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> ExportError + 'a {
    move |source| ExportError::Io { action, path: path.to_owned(), source }
}
