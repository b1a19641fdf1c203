//! The set on disk: drawn on all cores, written aside, and put in its place when it is whole.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use image::{ExtendedColorType, ImageEncoder, RgbImage, codecs::jpeg::JpegEncoder, codecs::png::PngEncoder};

use super::{
    SynthError,
    affordance::Affordance,
    manifest::{Counts, Entry, Manifest, counts},
    plan::{Job, Size, jobs, splits},
    truth,
};
use crate::data::index::CLASS_LIST_FILE;

/// Little is lost, as with pictures from cameras.
const JPEG_QUALITY: u8 = 92;
/// Beside the splits' folders.
const MANIFEST_FILE: &str = "manifest.json";

/// A set to draw.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A folder that does not exist yet, or is empty.
    pub out: PathBuf,
    /// What all draws come from.
    pub seed: u64,
    /// How many pictures.
    pub size: Size,
}

/// What was drawn.
#[derive(Debug, serde::Serialize)]
pub struct Report {
    /// The set's folder.
    pub out: PathBuf,
    /// Its seed.
    pub seed: u64,
    /// Different pictures; splits share some of them.
    pub pictures: usize,
    /// What each split's folder holds.
    pub splits: BTreeMap<String, Counts>,
}

/// How many pictures there are to draw, for a progress bar.
pub fn picture_count(size: &Size) -> usize {
    jobs(size).len()
}

/// Draws a set; `progress` is called once per picture, from any thread. The folder appears whole or not at all: until
/// then the files lie in a hidden folder beside it.
///
/// # Errors
/// The folder holds something already, or can't be written.
pub fn write(settings: &Settings, progress: &(dyn Fn() + Sync)) -> Result<Report, SynthError> {
    let out = &settings.out;
    room(out)?;
    let parent = match out.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(failed("create", parent))?;
    let aside = tempfile::Builder::new().prefix(".looptrans-synth-").tempdir_in(parent);
    let aside = aside.map_err(failed("create a folder in", parent))?;
    // The temporary folder itself is for its owner only; what is put in place has the usual permissions.
    let set = aside.path().join("set");
    let jobs = jobs(&settings.size);
    make_folders(&set, &jobs)?;
    let entries = draw_all(settings, &set, &jobs, progress)?;
    let manifest = Manifest::new(settings.seed, settings.size, &jobs, entries);
    let text = serde_json::to_string(&manifest).map_err(|error| SynthError::Manifest(error.to_string()))?;
    put(&set.join(MANIFEST_FILE), text.as_bytes())?;
    // Again: the work took a while.
    room(out)?;
    fs::rename(&set, out).map_err(failed("move the finished set to", out))?;
    Ok(Report { out: out.clone(), seed: settings.seed, pictures: jobs.len(), splits: counts(&jobs) })
}

/// Is the place free, or an empty folder?
fn room(out: &Path) -> Result<(), SynthError> {
    let exists = |found: &str| Err(SynthError::Exists { path: out.to_owned(), found: found.to_owned() });
    if out.file_name().is_none() {
        // Another folder would take its place, under the feet of whoever stands in it.
        return exists("a folder that is not called by its name");
    }
    match fs::symlink_metadata(out) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at", out)(error)),
        Ok(metadata) if !metadata.is_dir() => return exists("a file or link"),
        Ok(_) => {}
    }
    match fs::read_dir(out).map_err(failed("read", out))?.next() {
        None => Ok(()),
        Some(entry) => {
            let name = entry.map_err(failed("read", out))?.file_name();
            exists(&format!("a folder with {name:?} in it"))
        }
    }
}

/// Every folder that pictures go in, and each split's class list.
fn make_folders(set: &Path, jobs: &[Job]) -> Result<(), SynthError> {
    let paths = jobs.iter().flat_map(|job| job.pictures().into_iter().chain(job.truths()));
    let mut folders: Vec<PathBuf> = paths.filter_map(|path| Some(set.join(path).parent()?.to_owned())).collect();
    folders.sort_unstable();
    folders.dedup();
    for folder in folders {
        fs::create_dir_all(&folder).map_err(failed("create", &folder))?;
    }
    let list: String = Affordance::ALL.iter().map(|affordance| format!("{}\n", affordance.name())).collect();
    splits().iter().try_for_each(|split| put(&set.join(split).join(CLASS_LIST_FILE), list.as_bytes()))
}

/// Draws and writes every job; what the manifest says of each, in the jobs' order.
fn draw_all(
    settings: &Settings,
    set: &Path,
    jobs: &[Job],
    progress: &(dyn Fn() + Sync),
) -> Result<Vec<Entry>, SynthError> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(usize, Entry)>, SynthError> {
        let mut done = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(place) else {
                return Ok(done);
            };
            match draw_one(settings, set, job) {
                Ok(entry) => done.push((place, entry)),
                Err(error) => {
                    // The others need not go on.
                    next.store(jobs.len(), Ordering::Relaxed);
                    return Err(error);
                }
            }
            progress();
        }
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let done = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let join = |worker: thread::ScopedJoinHandle<'_, _>| worker.join().unwrap_or(Err(SynthError::Worker));
        // All are waited for, then the first error counts.
        let results: Vec<Result<Vec<_>, SynthError>> = workers.into_iter().map(join).collect();
        results.into_iter().collect::<Result<Vec<_>, _>>()
    })?;
    let mut done: Vec<(usize, Entry)> = done.into_iter().flatten().collect();
    done.sort_by_key(|(place, _)| *place);
    Ok(done.into_iter().map(|(_, entry)| entry).collect())
}

fn draw_one(settings: &Settings, set: &Path, job: &Job) -> Result<Entry, SynthError> {
    let side = settings.size.side;
    let drawn = job.shot.draw(settings.seed, side);
    let jpeg = to_jpeg(&drawn.picture)?;
    job.pictures().iter().try_for_each(|path| put(&set.join(path), &jpeg))?;
    let truths = job.truths();
    if truths.is_empty() {
        return Ok(Entry::of(&drawn, None));
    }
    let truth = truth::density(&drawn.mask, side);
    let png = to_png(&truth, side)?;
    truths.iter().try_for_each(|path| put(&set.join(path), &png))?;
    Ok(Entry::of(&drawn, Some(&truth)))
}

fn to_jpeg(picture: &RgbImage) -> Result<Vec<u8>, SynthError> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY).encode_image(picture)?;
    Ok(bytes)
}

fn to_png(grey: &[u8], side: usize) -> Result<Vec<u8>, SynthError> {
    let mut bytes = Vec::new();
    PngEncoder::new(&mut bytes).write_image(grey, side as u32, side as u32, ExtendedColorType::L8)?;
    Ok(bytes)
}

fn put(path: &Path, bytes: &[u8]) -> Result<(), SynthError> {
    fs::write(path, bytes).map_err(failed("write", path))
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SynthError {
    move |source| SynthError::Io { what, path: path.to_owned(), source }
}
