//! `looptrans train`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;

use super::{
    data::LIMITS,
    given::{self, Asked, asked, assignment, number, text},
    progress,
};
use crate::{
    metrics::Mean,
    train::{
        ranks::{self, Ranks},
        run::{BEST, Event, FeatureOrigin, Job, LAST, METRICS, Outcome, Plan, REPORT, WEIGHTS},
        settings::{Assignment, NO_TEXT_ENCODER, Settings},
    },
};

/// Train LoopTrans, LOCATE or WSMA.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  looptrans train AGD20K --settings config/train/looptrans_agd20k_seen.yaml --backbone dino.safetensors --out runs/seen
  looptrans train AGD20K --out runs/seen --resume
  looptrans train AGD20K --settings config/train/looptrans_agd20k_seen.yaml --backbone dino.safetensors --out runs/seen \\
      --store stores/seen
  looptrans train my_kitchen --affordances open,hold,pour --backbone dino.safetensors --out runs/kitchen \\
      --set looptrans.weights.dill=0 --epochs 8
  looptrans convert RN50.pt --out clip.safetensors    # OpenAI's archive; of it the text encoder alone
  looptrans train AGD20K --settings config/train/wsma_agd20k_seen.yaml --backbone dino.safetensors --clip clip.safetensors \
      --out runs/wsma

WSMA (--set system=wsma) knows what actions are called by CLIP's text encoder, which it trains along. Without --clip it has
none: one learned vector for each action stands in its place, in the fusion with patches and in the loss against texts, and
the learned prompts are off. That is not the published method; the run, its weights and its report say so.

Ctrl-C ends the run after the step it is in; --resume goes on. On a CPU with the same number of threads the resumed run
is, bit for bit, the one that was not interrupted.

In the run's folder: last.safetensors (to go on from), best.safetensors (the weights with the lowest test KLD,
where there are test pictures), weights.safetensors (after the last epoch; both for looptrans export, WSMA's for looptrans eval alone), metrics.csv (losses of every step, KLD, SIM and NSS
of every epoch; for TensorBoard the same, with test pictures, in events.out.tfevents.looptrans: `tensorboard --logdir runs`)
and report.html (their curves, scores by action, test pictures with heat; to be opened in a browser).

Built with --features distributed, several processes train one run together; each takes its part of every batch, and the
losses are those of one process with the same --batch:
  mpirun -n 2 looptrans train AGD20K --split Seen --backbone dino.safetensors --out runs/seen
WSMA trains in one process, because it normalises patches over the samples of a batch.

Training on a GPU is written but was never run.")]
pub(super) struct Train {
    /// The dataset's folder, as for `looptrans data check`.
    data: PathBuf,
    /// The run's folder.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Go on with the run in --out, by the settings it has.
    #[arg(long, conflicts_with_all = [
        "settings", "set", "backbone", "batch", "seed", "lr", "clusters", "reference_quirks", "clip", "split", "affordances",
    ])]
    resume: bool,
    /// The settings, YAML as in config/train [default: LoopTrans as published].
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// DINO's weights, or a whole model's whose backbone to take, as `looptrans convert` or `pretrain` writes them.
    #[arg(long, value_name = "FILE", required_unless_present = "resume")]
    backbone: Option<PathBuf>,
    /// Override one key of the settings.
    #[arg(long, value_name = "KEY=VALUE", value_parser = assignment)]
    set: Vec<Assignment>,
    /// Epochs in all.
    #[arg(long)]
    epochs: Option<u64>,
    /// Samples of a step.
    #[arg(long)]
    batch: Option<usize>,
    /// Of every random draw.
    #[arg(long)]
    seed: Option<u64>,
    /// Learning rate.
    #[arg(long)]
    lr: Option<f64>,
    /// Where LoopTrans' parts come from: a file with concept clusters, in-backbone, or k-means.
    #[arg(long, value_name = "FILE|in-backbone|k-means")]
    clusters: Option<String>,
    /// LoopTrans with what its published code does by mistake: a part that no patch belongs to is taken for the background.
    /// All else that the published code does differently from the paper is so by default.
    #[arg(long)]
    reference_quirks: bool,
    /// CLIP's text encoder for WSMA: safetensors, as `looptrans convert` makes them of OpenAI's RN50.pt (or a ViT's).
    #[arg(long, value_name = "FILE")]
    clip: Option<String>,
    /// The split's folder in the dataset's.
    #[arg(long, value_name = "FOLDER")]
    split: Option<String>,
    /// The actions in class order: a vocabulary, a list like cut,hold,open, or a file: one per line, or YAML.
    #[arg(long, value_name = "NAME|LIST|FILE")]
    affordances: Option<String>,
    /// Where to compute: cpu, cuda, or cuda:1 for the second GPU. Of several processes on a machine, cuda gives each a GPU of
    /// its own in turn.
    #[arg(long, default_value = "cpu", value_parser = asked)]
    device: Asked,
    /// Read features from this store (`looptrans store build`) instead of running the backbone on every picture of every
    /// step. To be named again with --resume.
    #[arg(long, value_name = "FOLDER", conflicts_with = "no_store")]
    store: Option<PathBuf>,
    /// With --store: compare every picture's SHA-256 with the store's, not its size alone.
    #[arg(long, requires = "store")]
    verify_store: bool,
    /// Run the backbone live, on pictures augmented anew for every step: the default, but for --resume of a run that read
    /// from a store.
    #[arg(long)]
    no_store: bool,
    /// Do not open every picture before training: one that can't be read then stops the run when its turn comes.
    #[arg(long)]
    skip_check: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    finished: bool,
    folder: &'a Path,
    epochs: usize,
    /// Of the best epoch, counted from 1.
    best: Option<(usize, Mean)>,
    last: Option<Mean>,
    left_out: usize,
}

impl Train {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        ranks::together(ranks::join()?, |ranks| self.train(ranks))
    }

    fn train(&self, ranks: &dyn Ranks) -> anyhow::Result<()> {
        let plan = if self.resume { Plan::resume(&self.out, self.epochs)? } else { self.new_run()? };
        let plan = plan.with_features(self.features());
        if ranks.leads() && plan.settings().has_no_text_encoder() {
            eprintln!("no --clip: WSMA {NO_TEXT_ENCODER}");
        }
        let data = &plan.settings().data;
        let named = (data.split.as_deref(), data.affordances.as_deref());
        let dataset = given::checked_dataset(&self.data, named, self.skip_check)?;
        let stop = given::stop_on_signals()?;
        let device = self.device.of(ranks.place())?;
        let job = Job { dataset: &dataset, device, limits: LIMITS, stop: &stop, ranks };
        if !ranks.leads() {
            plan.train(&job, &mut |_| ())?;
            return Ok(());
        }
        given::say_left_out(&dataset);
        let view = View { bar: progress::staged(progress::COUNT)? };
        let outcome = plan.train(&job, &mut |event| view.show(event))?;
        view.bar.finish_and_clear();
        self.report(&outcome, dataset.left_out.len())
    }

    fn new_run(&self) -> anyhow::Result<Plan> {
        let backbone = self.backbone.as_deref().context("--backbone is missing")?;
        Ok(Plan::new(self.settings()?, backbone, &self.out)?)
    }

    fn settings(&self) -> anyhow::Result<Settings> {
        let flags = [
            ("epochs", number(self.epochs)),
            ("batch", number(self.batch)),
            ("seed", number(self.seed)),
            ("optimizer.lr", number(self.lr)),
            ("looptrans.clusters", text(self.clusters.as_deref())),
            ("looptrans.options.empty_part", self.reference_quirks.then(|| "official_nan".to_owned())),
            ("wsma.clip", text(self.clip.as_deref())),
            ("data.split", text(self.split.as_deref())),
            ("data.affordances", text(self.affordances.as_deref())),
        ];
        given::settings(self.settings.as_deref(), &self.set, flags)
    }

    fn features(&self) -> FeatureOrigin {
        match &self.store {
            Some(folder) => FeatureOrigin::Store { folder: folder.clone(), verify: self.verify_store },
            None if self.no_store => FeatureOrigin::Live,
            None => FeatureOrigin::AsBefore,
        }
    }

    fn report(&self, outcome: &Outcome, left_out: usize) -> anyhow::Result<()> {
        let Outcome { finished, state } = outcome;
        let best = state.best().map(|(epoch, mean)| (epoch + 1, mean));
        let last = state.scores.last().copied().flatten();
        let epochs = state.scores.len();
        let report = Report { finished: *finished, folder: &self.out, epochs, best, last, left_out };
        let mut rows = vec![("run", self.out.display().to_string())];
        if *finished {
            rows.push(("weights", self.out.join(WEIGHTS).display().to_string()));
        } else {
            let (epoch, step) = (state.epoch + 1, state.step);
            rows.push(("stopped", format!("in epoch {epoch} after step {step}; go on with --resume ({LAST})")));
        }
        if let Some((epoch, mean)) = &best {
            rows.push(("best", format!("{BEST}: epoch {epoch}, {}", scores(mean))));
        }
        if let Some(mean) = &last {
            rows.push(("last", format!("epoch {epochs}, {}", scores(mean))));
        }
        rows.push(("metrics", self.out.join(METRICS).display().to_string()));
        if epochs > 0 {
            rows.push(("report", self.out.join(REPORT).display().to_string()));
        }
        super::print_report(self.json, &report, &rows)
    }
}

fn scores(mean: &Mean) -> String {
    let nss = mean.nss.map_or_else(|| "none".to_owned(), |nss| format!("{nss:.3}"));
    format!("KLD {:.3}, SIM {:.3}, NSS {nss} over {} pictures", mean.kld, mean.sim, mean.items)
}

/// What people see while it runs.
struct View {
    bar: ProgressBar,
}

impl View {
    fn show(&self, event: &Event<'_>) {
        let bar = &self.bar;
        match event {
            Event::Step { at: (epoch, step), of: (epochs, steps), losses, total } => {
                let done = (epoch - 1) * steps + step;
                progress::at(bar, format!("epoch {epoch}/{epochs}"), done, epochs * steps);
                let terms: Vec<String> = losses.iter().map(|(name, value)| format!("{name} {value:.3}")).collect();
                bar.set_message(format!("loss {total:.3} ({})", terms.join(" ")));
            }
            Event::Test { done, of } => bar.set_message(format!("testing {done}/{of}")),
            Event::Epoch { epoch, evaluation, best } => {
                let mean = evaluation.and_then(|evaluation| evaluation.mean());
                let text = mean.as_ref().map_or_else(|| "nothing to test with".to_owned(), scores);
                let best = if *best { ", the best so far" } else { "" };
                bar.suspend(|| eprintln!("epoch {epoch}: {text}{best}"));
                for (_, reason) in evaluation.map_or(&[][..], |evaluation| &evaluation.skipped) {
                    bar.suspend(|| eprintln!("not tested: {reason}"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::train::losses::pixel::EmptyPart;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        train: Train,
    }

    #[test]
    fn quirks_are_the_published_code_s_when_asked_for() {
        let empty_part = |more: &[&str]| {
            let words = ["looptrans", "data", "--out", "run", "--backbone", "dino.safetensors"].iter().chain(more);
            let Line { train } = Line::try_parse_from(words).unwrap();
            let settings = train.settings().unwrap();
            settings.looptrans.unwrap().options.empty_part
        };
        assert_eq!(empty_part(&[]), EmptyPart::Skip);
        assert_eq!(empty_part(&["--reference-quirks"]), EmptyPart::OfficialNan);
    }
}
