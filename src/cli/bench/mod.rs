//! `looptrans bench`: how long the model takes, and how far that is from what the machine can do.

mod measure;
mod report;
mod variants;
mod yardstick;

use std::{
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::{Args, builder::PossibleValuesParser};
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    config::ProviderChoice,
    contract::Size,
    export::{
        bundle::write_file,
        seeded::{self, Architecture},
    },
    perceive::infer::{BatchModel, InferSettings},
};
use measure::{Contestant, Engine};
use report::{Group, Report, Row};
use variants::{Built, Role, Source};

/// Measure how long the model takes on this machine, by precision, input size, batch and threads.
///
/// From a weights file, every variant is built in memory: the reference graph, which computes the network as it is
/// written, the last block and all; and the exported ones. Bundles are measured as they are, beside what is built for
/// their size. Without either, seeded weights serve: how long a model takes does not depend on its numbers.
///
/// All variants of one size, batch and thread count take turns, one run each per round, so that whatever else the machine
/// does hits all of them alike. A ratio is the median over the rounds of the ratio within a round.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  looptrans bench
  looptrans bench weights.safetensors --size 224 --threads 2 --seconds 60
  looptrans bench weights.safetensors int8_bundle --size 224
  looptrans bench bundle other_bundle --batch 1,4 --json
  looptrans bench --arch vit_base_16 --size 224,448 --out bench.json

The last column compares with the row \"matrix product\": one large f32 product in ONNX Runtime, the most that the same
kernels reach on the same threads. GMAC counts convolutions and matrix products of the graph that ran; ONNX Runtime
does not tell the size of convolutions of integers (int8), and then there is none.

With the feature `train`, a row \"libtorch eager\" runs the same network, undone and unfused, on libtorch; its runs stand
apart by a pause, because the threads of either library spin for a while after their work.")]
pub(super) struct Bench {
    /// Weights files and bundles; seeded weights if none is given.
    #[arg(value_name = "WEIGHTS|BUNDLE")]
    models: Vec<PathBuf>,
    /// The backbone of the seeded weights.
    #[arg(long, default_value = "vit_small_16", conflicts_with = "models",
          value_parser = PossibleValuesParser::new(Architecture::ALL.map(|known| known.name)))]
    arch: String,
    /// Input sizes, sides in pixels, for what is built from weights.
    #[arg(long = "size", value_delimiter = ',', default_value = "224,336,448", value_name = "SIDE,...")]
    sizes: Vec<u32>,
    /// Pictures per run.
    #[arg(long = "batch", value_delimiter = ',', default_value = "1", value_name = "N,...")]
    batches: Vec<usize>,
    /// Threads of an operator; one, and one per core, if not given.
    #[arg(long, value_delimiter = ',', value_name = "N,...")]
    threads: Vec<usize>,
    /// Where presence comes from, in what is built from weights.
    #[arg(long, value_enum, default_value_t = super::export::PresenceChoice::Pixel)]
    presence: super::export::PresenceChoice,
    /// The hardware that computes.
    #[arg(long, value_name = "NAME", default_value = ProviderChoice::Cpu.name(),
          value_parser = PossibleValuesParser::new(ProviderChoice::NAMES.iter().copied()))]
    provider: String,
    /// Let threads spin while they wait, as ONNX Runtime and libtorch do unless told otherwise.
    #[arg(long)]
    spinning: bool,
    /// Measure each size, batch and thread count for this long.
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS")]
    seconds: f64,
    /// Also write the report to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace that file if it is there.
    #[arg(long)]
    force: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

/// One size, batch and thread count.
#[derive(Debug, Clone, Copy)]
struct Setup {
    size: Size,
    batch: usize,
    threads: usize,
}

impl Bench {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        self.check()?;
        let seeded = tempfile::tempdir().context("cannot make a temporary folder")?;
        let sources = self.sources(seeded.path())?;
        let setups = self.setups(&sources);
        let bar = progress_bar(setups.len())?;
        let mut report = Report::new(&self.provider, self.spinning);
        for setup in &setups {
            bar.set_message(format!("{setup}"));
            report.groups.push(self.measure(&sources, *setup, &bar)?);
            bar.inc(1);
        }
        bar.finish_and_clear();
        if let Some(path) = &self.out {
            let mut json = serde_json::to_vec_pretty(&report)?;
            json.push(b'\n');
            write_file(path, &json)?;
        }
        if self.json { super::print_json(&report) } else { super::print_text(&report.to_string()) }
    }

    /// Before the long work.
    fn check(&self) -> anyhow::Result<()> {
        if self.models.iter().filter(|path| !path.is_dir()).count() > 1 {
            bail!("expected at most one weights file; bundles may be several");
        }
        if self.batches.contains(&0) || self.threads.contains(&0) {
            bail!("--batch and --threads: expected 1 or more, found 0");
        }
        if !(self.seconds > 0.0 && self.seconds <= 3600.0) {
            bail!("--seconds: expected more than 0 and at most 3600, found {}", self.seconds);
        }
        match &self.out {
            Some(path) if !self.force && path.symlink_metadata().is_ok() => {
                bail!("{} exists; give --force to replace it", path.display())
            }
            _ => Ok(()),
        }
    }

    fn sources(&self, folder: &Path) -> anyhow::Result<Vec<Source>> {
        if !self.models.is_empty() {
            return self.models.iter().map(|path| Source::open(path, self.presence.into())).collect();
        }
        let architecture = Architecture::named(&self.arch).context("unknown architecture")?;
        let path = folder.join(format!("{}.safetensors", architecture.name));
        seeded::write(&path, architecture, &crate::affordance::AGD20K_SEEN)?;
        Ok(vec![Source::open(&path, self.presence.into())?])
    }

    /// Every combination, in order. A bundle takes part where its size is measured; its size is measured in any case.
    fn setups(&self, sources: &[Source]) -> Vec<Setup> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let mut threads = if self.threads.is_empty() { vec![1, cores] } else { self.threads.clone() };
        threads.dedup();
        let asked: Vec<Size> = self.sizes.iter().map(|&side| Size { height: side, width: side }).collect();
        let mut sizes: Vec<Size> = sources.iter().flat_map(|source| source.sizes(&asked)).collect();
        sizes.sort_by_key(|size| (u64::from(size.height) * u64::from(size.width), size.height));
        sizes.dedup();
        let mut setups = Vec::new();
        for size in sizes {
            for &batch in &self.batches {
                setups.extend(threads.iter().map(|&threads| Setup { size, batch, threads }));
            }
        }
        setups
    }

    fn measure(&self, sources: &[Source], setup: Setup, bar: &ProgressBar) -> anyhow::Result<Group> {
        let mut built = Vec::new();
        for source in sources {
            built.extend(source.build(setup.size)?);
        }
        built.push(Built { name: yardstick::NAME.to_owned(), role: Role::Yardstick, bundle: yardstick::bundle() });
        let mut contestants = Vec::new();
        for built in &built {
            bar.set_message(format!("{setup}: loading {}", built.name));
            contestants.push(self.contestant(built, setup)?);
        }
        #[cfg(feature = "train")]
        for source in sources {
            contestants.extend(source.eager(setup)?);
        }
        bar.set_message(format!("{setup}: {}", built.iter().map(|b| b.name.as_str()).collect::<Vec<_>>().join(", ")));
        measure::rounds(&mut contestants, Duration::from_secs_f64(self.seconds))?;
        Ok(Group::new(setup, contestants.iter().map(Row::new).collect()))
    }

    fn contestant(&self, built: &Built, setup: Setup) -> anyhow::Result<Contestant> {
        let provider = ProviderChoice::from_name(&self.provider).context("unknown provider")?;
        let settings = InferSettings {
            provider,
            // A time on other hardware than was asked for would mislead.
            allow_fallback: false,
            intra_op_threads: setup.threads,
            thread_spinning: self.spinning,
            ..InferSettings::default()
        };
        let Built { name, role, bundle } = built;
        let pictures = if *role == Role::Yardstick { 1 } else { setup.batch };
        let model = BatchModel::load(bundle, &settings, pictures).with_context(|| name.clone())?;
        let (used, graph) = (model.provider().used.name(), model.provider().graph.clone());
        let pixels = pixels(&bundle.contract.input, pictures);
        let engine = Engine::OnnxRuntime { model: Box::new(model), pixels };
        let mut contestant = Contestant::new((name, *role), bundle.contract.input, engine);
        (contestant.provider, contestant.graph) = (used, graph);
        Ok(contestant)
    }
}

impl std::fmt::Display for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { size: Size { height, width }, batch, threads } = self;
        write!(f, "{height}x{width}")?;
        write!(f, ", batch {batch}, {threads} thread{}", if *threads == 1 { "" } else { "s" })
    }
}

/// Any pictures: a network of fixed shapes takes as long for each.
fn pixels(size: &Size, pictures: usize) -> Vec<u8> {
    let bytes = 3 * size.height as usize * size.width as usize * pictures;
    (0..bytes).map(|k| (k * 7 % 251) as u8).collect()
}

/// On stderr; hidden where that is no terminal.
fn progress_bar(setups: usize) -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} ({elapsed})")?;
    let bar = ProgressBar::new(setups as u64).with_style(style);
    bar.enable_steady_tick(Duration::from_millis(500));
    Ok(bar)
}
