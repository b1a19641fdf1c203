//! The table of a comparison.

use std::fmt::Write;

use serde::Serialize;

use super::{Floors, Study, arms, saved::RunResult, sets::Set};
use crate::{
    metrics::Mean,
    train::{
        TrainError,
        settings::{NO_TEXT_ENCODER, TestedMaps},
    },
};

/// Mean and deviation of one figure over the seeds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Statistic {
    /// Plain mean.
    pub mean: f64,
    /// Sample standard deviation, with n-1; None of one value.
    pub deviation: Option<f64>,
}

impl Statistic {
    /// None of nothing.
    pub fn of(values: &[f64]) -> Option<Self> {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt());
        (!values.is_empty()).then_some(Self { mean, deviation })
    }
}

/// All scores of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Table {
    /// What asked for it.
    pub command: String,
    /// One run of each arm and training set for each.
    pub seeds: Vec<u64>,
    /// Times through all exocentric pictures; the network after the last is tested.
    pub epochs: u64,
    /// What of an arm is not the published method.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// By test set.
    pub sets: Vec<SetTable>,
}

/// All scores on one test set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SetTable {
    /// Of the set.
    pub name: String,
    /// The set whose training pictures the networks were trained on.
    pub trained_on: String,
    /// Test items, with those that have no score.
    pub items: usize,
    /// What looking at no picture scores.
    pub floors: Floors,
    /// By arm and maps.
    pub rows: Vec<Row>,
}

/// Scores of one arm's maps on one test set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The arm's name.
    pub arm: String,
    /// The same for people.
    pub title: String,
    /// Which maps were tested: P (pixel) or G_ego (scam). LOCATE and WSMA have only the one that their papers test, which goes by
    /// pixel.
    pub maps: TestedMaps,
    /// Are these the ones that the arm is judged by?
    pub reported: bool,
    /// Kullback-Leibler divergence; lower is better.
    pub kld: Statistic,
    /// Similarity; higher is better.
    pub sim: Statistic,
    /// Normalised scanpath saliency over the runs that have one; higher is better.
    pub nss: Option<Statistic>,
    /// KLD, SIM and NSS of the paper, where the data are the paper's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published: Option<[f64; 3]>,
    /// In the order of the seeds.
    pub by_seed: Vec<Mean>,
}

impl Table {
    pub(super) fn of(study: &Study<'_>, results: &[(String, u64, RunResult)]) -> Result<Self, TrainError> {
        let sets = (0..study.sets.sets.len()).map(|index| SetTable::of(study, index, results));
        let epochs = study.arms.first().map_or(0, |arm| arm.settings.epochs);
        let (command, seeds) = (study.command.to_owned(), study.seeds.clone());
        let bare = study.arms.iter().filter(|arm| arm.settings.has_no_text_encoder());
        let notes = bare.map(|arm| format!("{} ({}): WSMA {NO_TEXT_ENCODER}.", arm.title, arm.name)).collect();
        Ok(Self { command, seeds, epochs, notes, sets: sets.collect::<Result<_, _>>()? })
    }

    /// For people.
    pub fn markdown(&self) -> String {
        let seeds: Vec<String> = self.seeds.iter().map(u64::to_string).collect();
        let mut text = String::new();
        let (command, epochs) = (&self.command, self.epochs);
        push(&mut text, format_args!("# {command}\n\n"));
        push(
            &mut text,
            format_args!(
                "Mean and standard deviation (n-1) over the seeds {}; {epochs} epochs, the network after the last one. \
                 Lower KLD, higher SIM and NSS are better.\n",
                seeds.join(", ")
            ),
        );
        self.notes.iter().for_each(|note| push(&mut text, format_args!("\n{note}\n")));
        self.sets.iter().for_each(|set| set.markdown(&mut text));
        text
    }
}

impl SetTable {
    fn of(study: &Study<'_>, index: usize, results: &[(String, u64, RunResult)]) -> Result<Self, TrainError> {
        let Set { name, dataset } = &study.sets.sets[index];
        let training = study.sets.trainings.iter().find(|training| training.tested.contains(&index));
        let trained_on = training.map_or_else(String::new, |training| training.name.clone());
        let mut rows = Vec::new();
        for arm in &study.arms {
            let tested: Vec<_> = results
                .iter()
                .filter(|(of, ..)| *of == arm.name)
                .filter_map(|(.., result)| result.tests.get(name))
                .collect();
            let pixel: Vec<Mean> = tested.iter().map(|tested| tested.pixel).collect();
            let scam: Vec<Mean> = tested.iter().filter_map(|tested| tested.scam).collect();
            let judged_by = arms::tested(&arm.settings);
            for (maps, means) in [(TestedMaps::Pixel, pixel), (TestedMaps::Scam, scam)] {
                let over = |of: fn(&Mean) -> f64| Statistic::of(&means.iter().map(of).collect::<Vec<_>>());
                let nss: Vec<f64> = means.iter().filter_map(|mean| mean.nss).collect();
                let (Some(kld), Some(sim)) = (over(|mean| mean.kld), over(|mean| mean.sim)) else { continue };
                let reported = maps == judged_by;
                rows.push(Row {
                    arm: arm.name.clone(),
                    title: arm.title.clone(),
                    maps,
                    reported,
                    kld,
                    sim,
                    nss: Statistic::of(&nss),
                    published: arms::published(&arm.name, dataset).filter(|_| reported),
                    by_seed: means,
                });
            }
        }
        let floors = Floors::of(dataset, &study.host.limits);
        Ok(Self { name: name.clone(), trained_on, items: dataset.test.len(), floors, rows })
    }

    /// The rows that arms are judged by.
    pub fn reported(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.reported)
    }

    fn markdown(&self, text: &mut String) {
        let Self { name, trained_on, items, floors, rows } = self;
        let on = if name == trained_on { String::new() } else { format!(", trained on {trained_on}") };
        let published = rows.iter().any(|row| row.published.is_some());
        push(text, format_args!("\n## {name} ({items} test pictures{on})\n\n"));
        let (head, line) = if published { (" published KLD | SIM | NSS |", "---:|---:|---:|") } else { ("", "") };
        push(text, format_args!("| row | maps | KLD | SIM | NSS |{head}\n|---|---|---:|---:|---:|{line}\n"));
        for row in self.reported() {
            row.markdown(text, published);
        }
        for (floor, mean) in [("uniform map", floors.uniform), ("centred Gaussian", floors.centred_gaussian)] {
            let Some(Mean { kld, sim, nss, .. }) = mean else { continue };
            let nss = nss.map_or_else(|| "-".to_owned(), |nss| format!("{nss:.3}"));
            let empty = if published { " | | |" } else { "" };
            push(text, format_args!("| *{floor}* | | {kld:.3} | {sim:.3} | {nss} |{empty}\n"));
        }
        if published && *items != arms::PUBLISHED_ITEMS {
            let published = arms::PUBLISHED_ITEMS;
            push(text, format_args!("\nNot the same test set: the published figures are of {published} pictures.\n"));
        }
        if rows.iter().all(|row| row.reported) {
            return;
        }
        *text += "\nThe same networks' other maps:\n\n| row | maps | KLD | SIM | NSS |\n|---|---|---:|---:|---:|\n";
        rows.iter().filter(|row| !row.reported).for_each(|row| row.markdown(text, false));
    }
}

impl Row {
    fn markdown(&self, text: &mut String, published: bool) {
        let maps = match self.maps {
            TestedMaps::Pixel => "P",
            TestedMaps::Scam => "G_ego",
        };
        let nss = self.nss.map_or_else(|| "-".to_owned(), |nss| cell(&nss));
        let (title, kld, sim) = (&self.title, cell(&self.kld), cell(&self.sim));
        push(text, format_args!("| {title} | {maps} | {kld} | {sim} | {nss} |"));
        match self.published {
            Some([kld, sim, nss]) => push(text, format_args!(" {kld:.3} | {sim:.3} | {nss:.3} |")),
            None if published => *text += " | | |",
            None => {}
        }
        *text += "\n";
    }
}

/// "1.234 ± 0.056"
pub(super) fn cell(statistic: &Statistic) -> String {
    match statistic {
        Statistic { mean, deviation: Some(deviation) } => format!("{mean:.3} ± {deviation:.3}"),
        Statistic { mean, deviation: None } => format!("{mean:.3}"),
    }
}

/// Writing into a string can't fail.
pub(super) fn push(text: &mut String, what: std::fmt::Arguments<'_>) {
    let _ = text.write_fmt(what);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_figures_of_another_test_set_say_so() {
        let figure = Statistic { mean: 1.0, deviation: None };
        let row = Row {
            arm: "looptrans".to_owned(),
            title: "LoopTrans (all)".to_owned(),
            maps: TestedMaps::Pixel,
            reported: true,
            kld: figure,
            sim: figure,
            nss: None,
            published: Some([1.088, 0.443, 1.322]),
            by_seed: Vec::new(),
        };
        let said = |items: usize, row: Row| {
            let floors = Floors { uniform: None, centred_gaussian: None };
            let (name, trained_on) = ("Seen".to_owned(), "Seen".to_owned());
            let mut text = String::new();
            SetTable { name, trained_on, items, floors, rows: vec![row] }.markdown(&mut text);
            text.contains("Not the same test set")
        };
        assert!(said(1674, row.clone()));
        assert!(!said(arms::PUBLISHED_ITEMS, row.clone()));
        assert!(!said(1674, Row { published: None, ..row }));
    }
}
