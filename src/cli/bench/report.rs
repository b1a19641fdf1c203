//! The figures, as a table and as JSON.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use super::{Setup, measure::Contestant, variants::Role};

/// Everything that was measured.
#[derive(Serialize)]
pub(super) struct Report<'a> {
    pub provider: &'a str,
    pub thread_spinning: bool,
    /// What the processor calls itself.
    pub processor: String,
    pub cores: usize,
    pub groups: Vec<Group>,
}

/// Rows that took turns.
#[derive(Serialize)]
pub(super) struct Group {
    #[serde(skip)]
    setup: Setup,
    batch: usize,
    threads: usize,
    rounds: usize,
    rows: Vec<Row>,
}

/// One variant's figures. Times are of one run, of the whole batch.
#[derive(Serialize)]
pub(super) struct Row {
    name: String,
    #[serde(skip)]
    role: Role,
    input: [u32; 2],
    provider: &'static str,
    median_ms: f64,
    p10_ms: f64,
    p90_ms: f64,
    /// Medians over the rounds of the ratio within a round.
    ratio_to_reference: Option<f64>,
    ratio_to_fp32: Option<f64>,
    /// Multiply-adds of a run, in 10^9; None where they can't be counted.
    gmac: Option<f64>,
    /// 2 * GMAC per second.
    gflops: Option<f64>,
    /// GFLOP/s over those of the matrix product: the median of the ratio within a round.
    of_matrix_product: Option<f64>,
    /// Graph nodes by execution provider.
    nodes: BTreeMap<String, usize>,
    #[serde(skip)]
    times: Vec<f64>,
}

impl<'a> Report<'a> {
    pub fn new(provider: &'a str, thread_spinning: bool) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { provider, thread_spinning, processor: processor(), cores, groups: Vec::new() }
    }
}

/// "model name" of /proc/cpuinfo, which not every machine has.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    line.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

impl Row {
    pub fn new(contestant: &Contestant) -> Self {
        let Contestant { name, role, input, provider, graph, times, .. } = contestant;
        let median_ms = quantile(times, 0.5);
        let graph = graph.clone().unwrap_or_default();
        let gmac = graph.multiply_adds.filter(|count| *count > 0).map(|count| count as f64 / 1e9);
        Self {
            name: name.clone(),
            role: *role,
            input: [input.height, input.width],
            provider,
            median_ms,
            p10_ms: quantile(times, 0.1),
            p90_ms: quantile(times, 0.9),
            ratio_to_reference: None,
            ratio_to_fp32: None,
            gmac,
            gflops: gmac.map(|gmac| 2.0 * gmac / (median_ms / 1e3)),
            of_matrix_product: None,
            nodes: graph.nodes,
            times: times.clone(),
        }
    }

    /// The median of the rounds' ratios.
    fn ratio_to(&self, other: &[f64]) -> f64 {
        let ratios: Vec<f64> = self.times.iter().zip(other).map(|(own, other)| own / other).collect();
        quantile(&ratios, 0.5)
    }
}

impl Group {
    pub fn new(setup: Setup, mut rows: Vec<Row>) -> Self {
        let find = |role: Role| rows.iter().find(|row| row.role == role);
        let times = |role: Role| find(role).map(|row| row.times.clone());
        // Among bundles, the first one given stands in.
        let first = || rows.first().map(|row| row.times.clone());
        let (reference, fp32) = (times(Role::Reference).or_else(first), times(Role::Fp32));
        let best = find(Role::Yardstick).and_then(|row| Some((row.gmac?, row.times.clone())));
        let is_model = |row: &&mut Row| row.role != Role::Yardstick;
        for row in rows.iter_mut().filter(is_model) {
            row.ratio_to_reference = reference.as_deref().map(|times| row.ratio_to(times));
            row.ratio_to_fp32 = fp32.as_deref().map(|times| row.ratio_to(times));
            row.of_matrix_product =
                row.gmac.zip(best.as_ref()).map(|(own, (gmac, times))| own / gmac / row.ratio_to(times));
        }
        let rounds = rows.first().map_or(0, |row| row.times.len());
        Self { setup, batch: setup.batch, threads: setup.threads, rounds, rows }
    }
}

/// By linear interpolation between the sorted values; NaN of none.
fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = share * sorted.len().saturating_sub(1) as f64;
    let at = |index: f64| sorted.get(index as usize).copied().unwrap_or(f64::NAN);
    at(place.floor()) + (at(place.ceil()) - at(place.floor())) * place.fract()
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spinning = if self.thread_spinning { "threads spin" } else { "threads do not spin" };
        writeln!(f, "{}, {} cores; {}, {spinning}", self.processor, self.cores, self.provider)?;
        self.groups.iter().try_for_each(|group| group.fmt(f))
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
        writeln!(f, "\n{}, {} rounds", self.setup, self.rounds)?;
        writeln!(
            f,
            "  {:width$}  {:>9} {:>9} {:>9}  {:>9} {:>7}  {:>6} {:>8} {:>7}",
            "", "median ms", "p10", "p90", "/reference", "/fp32", "GMAC", "GFLOP/s", "of best"
        )?;
        for row in &self.rows {
            let number = |value: Option<f64>, digits: usize| {
                value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
            };
            let best = row.of_matrix_product.map_or_else(|| "-".to_owned(), |share| format!("{:.0} %", share * 100.0));
            writeln!(
                f,
                "  {:width$}  {:9.2} {:9.2} {:9.2}  {:>10} {:>7}  {:>6} {:>8} {:>7}",
                row.name,
                row.median_ms,
                row.p10_ms,
                row.p90_ms,
                number(row.ratio_to_reference, 3),
                number(row.ratio_to_fp32, 3),
                number(row.gmac, 2),
                number(row.gflops, 1),
                best
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate() {
        assert_eq!(quantile(&[3.0, 1.0, 2.0], 0.5), 2.0);
        assert_eq!(quantile(&[4.0, 1.0, 2.0, 3.0], 0.5), 2.5);
        assert_eq!((quantile(&[1.0, 11.0], 0.1), quantile(&[7.0], 0.9)), (2.0, 7.0));
        assert!(quantile(&[], 0.5).is_nan());
    }
}
