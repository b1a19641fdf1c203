//! `looptrans synth`.

use std::{
    fs,
    io::BufWriter,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use super::progress;
use crate::synth::{self, Report, Settings, Size};

/// Draw a dataset: objects with parts, people who use them, exact ground truth.
///
/// Folders as AGD20K has them: DIR/SPLIT/trainset/{exocentric,egocentric} and DIR/SPLIT/testset/{egocentric,GT}, each with
/// AFFORDANCE/OBJECT. Splits: Seen; Unseen (tested with objects that training does not show); Seen_none, Seen_partial,
/// Seen_full (the exocentric pictures of Seen with the part in sight, half hidden, hidden).
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  looptrans synth --out synthaff --seed 1
  looptrans synth --out synthaff_full --seed 1 --size full
  looptrans synth --sheet synth.png --seed 1
  looptrans data check synthaff --split Seen_full

The same seed gives the same bytes on every machine. DIR/manifest.json says what each picture shows: how much of the part
is hidden, the hand's pose, where the part is. DIR appears whole or not at all: until then its files lie beside it in a
hidden folder, which an interrupted run leaves there (.looptrans-synth-*).")]
pub(super) struct Synth {
    /// The folder to make; it must not exist, or be empty.
    #[arg(long, value_name = "DIR", required_unless_present = "sheet")]
    out: Option<PathBuf>,
    /// What everything is drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many pictures of each pair of affordance and object: exocentric, egocentric, to test with.
    #[arg(long, value_enum, default_value_t = Preset::Default)]
    size: Preset,
    /// Draw a contact sheet of this seed, a PNG; alone or beside --out.
    #[arg(long, value_name = "FILE")]
    sheet: Option<PathBuf>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Preset {
    /// 3, 1 and 1, 64 pixels wide.
    Tiny,
    /// 12, 12 and 6, 224 pixels wide.
    Default,
    /// 100, 30 and 20, 224 pixels wide.
    Full,
}

impl Preset {
    fn size(self) -> Size {
        match self {
            Self::Tiny => Size::TINY,
            Self::Default => Size::DEFAULT,
            Self::Full => Size::FULL,
        }
    }
}

#[derive(serde::Serialize)]
struct Made<'a> {
    #[serde(flatten)]
    set: Option<&'a Report>,
    sheet: Option<&'a Path>,
}

impl Synth {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        if let Some(path) = self.sheet.as_deref().filter(|path| fs::symlink_metadata(path).is_ok()) {
            bail!("{} is already there; choose another place", path.display());
        }
        let set = self.out.as_ref().map(|out| self.draw(out)).transpose()?;
        if let Some(path) = &self.sheet {
            write_sheet(path, self.seed)?;
        }
        let made = Made { set: set.as_ref(), sheet: self.sheet.as_deref() };
        super::print_report(self.json, &made, &rows(&made))
    }

    fn draw(&self, out: &Path) -> anyhow::Result<Report> {
        let size = self.size.size();
        let bar = progress::counting("drawing pictures", synth::picture_count(&size))?;
        let report = synth::write(&Settings { out: out.to_owned(), seed: self.seed, size }, &|| bar.inc(1));
        bar.finish_and_clear();
        Ok(report?)
    }
}

fn write_sheet(path: &Path, seed: u64) -> anyhow::Result<()> {
    let sheet = synth::sheet(seed);
    let written = || -> anyhow::Result<()> {
        let mut encoder = png::Encoder::new(BufWriter::new(fs::File::create_new(path)?), sheet.width(), sheet.height());
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_compression(png::Compression::High);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(sheet.as_raw())?;
        Ok(writer.finish()?)
    };
    written().with_context(|| format!("cannot write {}", path.display()))
}

fn rows(made: &Made<'_>) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    if let Some(report) = made.set {
        rows.push(("dataset", report.out.display().to_string()));
        rows.push(("seed", report.seed.to_string()));
        rows.push(("pictures", format!("{} different ones", report.pictures)));
        for (split, counts) in &report.splits {
            let synth::Counts { exo, ego, tests } = counts;
            rows.push(("split", format!("{split}: {exo} exo and {ego} ego to train on, {tests} to test with")));
        }
    }
    rows.extend(made.sheet.map(|path| ("contact sheet", path.display().to_string())));
    rows
}
