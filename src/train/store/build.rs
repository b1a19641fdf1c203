//! Fills a store, or what is missing of one.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::Read,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

use tch::nn::VarStore;

use super::index::{
    ATTENTION, DESCRIPTORS, DONE, Header, Index, Picture, Precision, Volume, bytes_of, fingerprint, look,
    train_pictures,
};
use crate::{
    data::{
        Dataset,
        sampling::{Draw, PictureId, View},
    },
    train::{
        TrainError,
        backbone::{Backbone, Features, Keys},
        features::{FeatureSource, Live, LiveParts, on_all_cores},
        run::{Job, backbone_of, io_error},
        settings::AugmentationSettings,
    },
};

/// Rows that go through the backbone at once.
const AT_ONCE: usize = 16;
/// Rows between two syncs: what a kill costs at most.
const COMMIT_ROWS: usize = 64;
/// Pictures whose SHA-256 is taken between two looks at the clock.
const LOOK_AT_ONCE: usize = 256;

/// What is to be kept.
#[derive(Debug, Clone, Copy)]
pub struct Recipe<'a> {
    /// A weights file, as `looptrans train` takes it.
    pub backbone: &'a Path,
    /// How training pictures are cut.
    pub augmentation: AugmentationSettings,
    /// Augmentations of each training picture, at least 1.
    pub variants: u32,
    /// How numbers are kept.
    pub precision: Precision,
    /// What is kept of each picture.
    pub keys: Keys,
    /// The store's folder.
    pub out: &'a Path,
}

/// How far a build is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Pictures were read for their SHA-256.
    Pictures {
        /// So many,
        done: usize,
        /// of so many.
        of: usize,
    },
    /// Views are safe on disk.
    Rows {
        /// So many,
        done: u64,
        /// of so many.
        of: u64,
    },
}

/// A store that is about to be built.
#[derive(Debug)]
pub struct Builder<'a> {
    recipe: Recipe<'a>,
    job: Job<'a>,
    backbone: Backbone,
    /// Of the backbone.
    _parameters: VarStore,
    header: Header,
    volume: Volume,
}

impl<'a> Builder<'a> {
    /// Reads the backbone; writes nothing.
    ///
    /// # Errors
    /// A backbone that can't be used; no pictures, or no variants of them.
    pub fn new(recipe: Recipe<'a>, job: Job<'a>) -> Result<Self, TrainError> {
        let (parameters, backbone, sizes) = backbone_of(recipe.backbone, job.device)?;
        let augmentation = recipe.augmentation.of(sizes.input().height);
        let kept = (recipe.variants, recipe.precision);
        let header = Header::new(&sizes, fingerprint(&parameters)?, (augmentation, recipe.keys), kept);
        let (train, test) = (train_pictures(job.dataset).count(), job.dataset.test.len());
        let volume = header.volume(train, test).filter(|volume| volume.rows > 0 && recipe.variants > 0);
        let volume = volume.ok_or_else(|| TrainError::Values {
            what: "feature store",
            expected: "pictures, and at least one variant of each, that fit a disk".to_owned(),
            found: format!("{train} pictures in {} variants, {test} to test with", recipe.variants),
        })?;
        Ok(Self { recipe, job, backbone, _parameters: parameters, header, volume })
    }

    /// Channels of the backbone.
    pub fn channels(&self) -> usize {
        self.header.dim
    }

    /// What the whole store takes.
    pub fn volume(&self) -> Volume {
        self.volume
    }

    /// Computes what the folder does not hold yet. True: the store is whole; false: `job.stop` was set before.
    ///
    /// # Errors
    /// The folder holds another store, or is being written to by another process; the disk is full; a picture can't be
    /// read. What was built by then is kept, and counts when the same recipe is built again.
    pub fn run(&self, watch: &mut dyn FnMut(Progress)) -> Result<bool, TrainError> {
        let out = self.recipe.out;
        fs::create_dir_all(out).map_err(io_error("create", out))?;
        let mut files = Files::open(out)?;
        let Some(index) = self.index(watch)? else { return Ok(false) };
        let done = self.taken_up(&index, &mut files)?;
        let mut writer = Writer { files, header: &self.header, pending: Vec::new(), done: 0, of: self.volume.rows };
        writer.done = done.iter().filter(|&&done| done).count() as u64;
        watch(writer.progress());
        let mut source = self.live();
        let filled = self.fill(&done, &mut source, &mut writer, watch);
        // What came before an error is whole; the error is the one to tell.
        let committed = writer.commit();
        watch(writer.progress());
        let whole = filled?;
        committed?;
        if whole {
            writer.finish()?;
        }
        Ok(whole)
    }

    fn live(&self) -> Live<'_> {
        let Job { dataset, device, limits, .. } = self.job;
        let augmentation = self.header.augmentation();
        let parts = LiveParts { backbone: &self.backbone, dataset, augmentation, limits, device };
        Live::new(parts).with_keys(self.header.keys)
    }

    fn stopped(&self) -> bool {
        self.job.stop.load(Ordering::Relaxed)
    }

    /// The index of the store to be; None if the build was stopped.
    fn index(&self, watch: &mut dyn FnMut(Progress)) -> Result<Option<Index>, TrainError> {
        let dataset = self.job.dataset;
        let paths: Vec<&PathBuf> =
            train_pictures(dataset).chain(dataset.test.iter().map(|item| &item.picture)).collect();
        let mut pictures: Vec<Picture> = Vec::with_capacity(paths.len());
        for paths_of_part in paths.chunks(LOOK_AT_ONCE) {
            if self.stopped() {
                return Ok(None);
            }
            let found = on_all_cores(paths_of_part.len(), || (), |(), at| look(dataset, paths_of_part[at]))?;
            pictures.extend(found);
            watch(Progress::Pictures { done: pictures.len(), of: paths.len() });
        }
        let test = pictures.split_off(paths.len() - dataset.test.len());
        Ok(Some(Index { header: self.header.clone(), train: pictures, test }))
    }

    /// Which rows the folder already holds; its index is then `index`.
    fn taken_up(&self, index: &Index, files: &mut Files) -> Result<Vec<bool>, TrainError> {
        let (out, rows) = (self.recipe.out, self.volume.rows);
        let mut done = match Index::read(out)? {
            None => vec![false; rows as usize],
            Some(before) => {
                before.header.check(&self.header, &Index::path(out))?;
                let mut done = files.done_rows(&self.header, rows)?;
                for place in changed(&before, index, out)? {
                    index.rows_of(place).for_each(|row| done[row as usize] = false);
                }
                done
            }
        };
        done.resize(rows as usize, false);
        // First the rows that do not count any more, then what they are rows of.
        files.mark_all(&done)?;
        index.write(out)?;
        Ok(done)
    }

    /// True: to the end; false: stopped on the way.
    fn fill(
        &self,
        done: &[bool],
        source: &mut Live<'_>,
        writer: &mut Writer<'_>,
        watch: &mut dyn FnMut(Progress),
    ) -> Result<bool, TrainError> {
        let (ids, variants) = (ids(self.job.dataset), u64::from(self.header.variants));
        let first_test = ids.len() as u64 * variants;
        let missing = |rows: std::ops::Range<u64>| rows.filter(|&row| !done[row as usize]).collect::<Vec<_>>();
        for rows in missing(0..first_test).chunks(AT_ONCE) {
            if self.stopped() {
                return Ok(false);
            }
            let draw = |&row: &u64| Draw { id: ids[(row / variants) as usize], seed: row % variants };
            let draws: Vec<Draw> = rows.iter().map(draw).collect();
            writer.write(rows, &source.train(&draws)?, watch)?;
        }
        for rows in missing(first_test..self.volume.rows).chunks(AT_ONCE) {
            if self.stopped() {
                return Ok(false);
            }
            let items: Vec<usize> = rows.iter().map(|row| (row - first_test) as usize).collect();
            writer.write(rows, &source.test(&items)?, watch)?;
        }
        Ok(true)
    }
}

/// The pictures to train on, in the order of [`train_pictures`].
fn ids(dataset: &Dataset) -> Vec<PictureId> {
    let of_folder = |(folder, pictures): (usize, &crate::data::TrainFolder)| {
        let exo = (0..pictures.exo.len()).map(move |picture| PictureId { folder, view: View::Exo, picture });
        exo.chain((0..pictures.ego.len()).map(move |picture| PictureId { folder, view: View::Ego, picture }))
    };
    dataset.train.iter().enumerate().flat_map(of_folder).collect()
}

/// Places of pictures that are not what they were. Other pictures are another store's.
fn changed(before: &Index, now: &Index, folder: &Path) -> Result<Vec<usize>, TrainError> {
    let refuse = |expected: String, found: String| TrainError::File { path: Index::path(folder), expected, found };
    for (what, before, now) in [("train on", &before.train, &now.train), ("test with", &before.test, &now.test)] {
        if let Some((before, now)) = before.iter().zip(now).find(|(before, now)| before.path != now.path) {
            return Err(refuse(format!("features of {}", now.path), before.path.clone()));
        }
        if before.len() != now.len() {
            return Err(refuse(format!("features of {} pictures to {what}", now.len()), before.len().to_string()));
        }
    }
    let pairs = before.train.iter().chain(&before.test).zip(now.train.iter().chain(&now.test));
    Ok(pairs.enumerate().filter(|(_, (before, now))| before != now).map(|(place, _)| place).collect())
}

/// A file and its path.
#[derive(Debug)]
struct Open {
    path: PathBuf,
    file: File,
}

impl Open {
    fn new(path: PathBuf) -> Result<Self, TrainError> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        Ok(Self { file: file.map_err(io_error("write", &path))?, path })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), TrainError> {
        self.file.write_all_at(bytes, offset).map_err(io_error("write", &self.path))
    }

    fn sync(&self) -> Result<(), TrainError> {
        self.file.sync_data().map_err(io_error("write", &self.path))
    }

    fn length(&self) -> Result<u64, TrainError> {
        Ok(self.file.metadata().map_err(io_error("read", &self.path))?.len())
    }
}

/// A store's files, held by this process alone.
#[derive(Debug)]
struct Files {
    descriptors: Open,
    attention: Open,
    done: Open,
}

impl Files {
    fn open(folder: &Path) -> Result<Self, TrainError> {
        let done = Open::new(folder.join(DONE))?;
        done.file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => TrainError::File {
                path: folder.to_owned(),
                expected: "a store that nobody else is building".to_owned(),
                found: "another process at it".to_owned(),
            },
            TryLockError::Error(source) => io_error("lock", &done.path)(source),
        })?;
        remove_unfinished(folder)?;
        let [descriptors, attention] = [DESCRIPTORS, ATTENTION].map(|name| Open::new(folder.join(name)));
        Ok(Self { descriptors: descriptors?, attention: attention?, done })
    }

    /// Rows that are marked and that the files are long enough to hold.
    fn done_rows(&mut self, header: &Header, rows: u64) -> Result<Vec<bool>, TrainError> {
        let held = (self.descriptors.length()? / header.row_bytes(header.descriptor_sides()))
            .min(self.attention.length()? / header.row_bytes(header.attention_sides()));
        let mut marks = Vec::new();
        (&self.done.file).take(rows).read_to_end(&mut marks).map_err(io_error("read", &self.done.path))?;
        Ok(marks.iter().zip(0..held).map(|(&mark, _)| mark == 1).collect())
    }

    /// Marks every row at once: later marks need no more room on the disk.
    fn mark_all(&self, done: &[bool]) -> Result<(), TrainError> {
        let marks: Vec<u8> = done.iter().map(|&done| u8::from(done)).collect();
        self.done.write_at(&marks, 0)?;
        self.done.file.set_len(marks.len() as u64).map_err(io_error("write", &self.done.path))?;
        self.done.sync()
    }
}

/// Removes indices whose writers were killed.
fn remove_unfinished(folder: &Path) -> Result<(), TrainError> {
    for entry in fs::read_dir(folder).map_err(io_error("read", folder))? {
        let entry = entry.map_err(io_error("read", folder))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(".index.json.") && name.ends_with(".tmp") {
            fs::remove_file(entry.path()).map_err(io_error("remove", &entry.path()))?;
        }
    }
    Ok(())
}

/// Rows on their way to the disk.
struct Writer<'a> {
    files: Files,
    header: &'a Header,
    /// Rows whose data are written, not synced.
    pending: Vec<u64>,
    done: u64,
    of: u64,
}

impl Writer<'_> {
    fn progress(&self) -> Progress {
        Progress::Rows { done: self.done, of: self.of }
    }

    fn write(&mut self, rows: &[u64], features: &Features, watch: &mut dyn FnMut(Progress)) -> Result<(), TrainError> {
        let kind = self.header.precision.kind();
        let parts = [
            (&self.files.descriptors, &features.descriptors, self.header.descriptor_sides()),
            (&self.files.attention, &features.cls_attention, self.header.attention_sides()),
        ];
        for (file, tensor, sides) in parts {
            let kept = tensor.to_kind(kind);
            if kept.size()[1..] != sides || kept.isfinite().all().int64_value(&[]) == 0 {
                return Err(TrainError::Values {
                    what: "the backbone's features",
                    expected: format!("{sides:?} finite numbers in {:?}", self.header.precision),
                    found: format!("{:?}, or numbers that are not finite", &kept.size()[1..]),
                });
            }
            let bytes = bytes_of(&kept, kind)?;
            let row_bytes = self.header.row_bytes(sides);
            for (row, bytes) in rows.iter().zip(bytes.chunks_exact(row_bytes as usize)) {
                file.write_at(bytes, row * row_bytes)?;
            }
        }
        self.pending.extend(rows);
        if self.pending.len() >= COMMIT_ROWS {
            self.commit()?;
            watch(self.progress());
        }
        Ok(())
    }

    /// Data first, then the marks that say that they are there.
    fn commit(&mut self) -> Result<(), TrainError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.files.descriptors.sync()?;
        self.files.attention.sync()?;
        for &row in &self.pending {
            self.files.done.write_at(&[1], row)?;
        }
        self.files.done.sync()?;
        self.done += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    /// Cuts off what is behind the last row.
    fn finish(&self) -> Result<(), TrainError> {
        for (open, sides) in [
            (&self.files.descriptors, self.header.descriptor_sides()),
            (&self.files.attention, self.header.attention_sides()),
        ] {
            let length = self.of * self.header.row_bytes(sides);
            open.file.set_len(length).and_then(|()| open.file.sync_all()).map_err(io_error("write", &open.path))?;
        }
        Ok(())
    }
}
