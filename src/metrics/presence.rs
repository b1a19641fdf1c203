//! Can a yes-or-no answer be trusted? How well it ranks (AUROC), how honest its probabilities are (ECE), and the
//! temperature that makes them so (Guo et al. 2017, arXiv 1706.04599; with a bias: Platt 1999).

use crate::contract::Calibration;

/// Bins of [`ece`], as published.
pub const BINS: usize = 15;

/// Temperatures stay within 1/100 and 100: on data that the logits separate, the best would be 0.
const SCALES: (f64, f64) = (0.01, 100.0);
const MOST_BIAS: f64 = 50.0;
const MOST_STEPS: usize = 100;
/// Least gain in a step's mean NLL, in nats, that is worth another.
const SETTLED: f64 = 1e-12;

/// An answer and the truth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// Log odds of yes; finite.
    pub logit: f64,
    /// Is it so?
    pub positive: bool,
}

/// Area under the ROC curve: the share of pairs of a positive and a negative where the positive has the higher logit,
/// ties counted half (Mann and Whitney's U). None without both.
pub fn auroc(judged: &[Judged]) -> Option<f64> {
    let mut sorted = judged.to_vec();
    sorted.sort_by(|a, b| a.logit.total_cmp(&b.logit));
    let (mut below, mut wins) = (0.0, 0.0);
    for ties in sorted.chunk_by(|a, b| a.logit == b.logit) {
        let positives = ties.iter().filter(|one| one.positive).count() as f64;
        let negatives = ties.len() as f64 - positives;
        wins += positives * (below + negatives / 2.0);
        below += negatives;
    }
    let pairs = below * (judged.len() as f64 - below);
    (pairs > 0.0).then(|| wins / pairs)
}

/// Expected calibration error of sigmoid(logit / temperature + bias): over [`BINS`] bins of equal width, the gap between
/// mean probability and share of positives, weighted with the bin's share of all. None of nothing.
pub fn ece(judged: &[Judged], calibration: Calibration) -> Option<f64> {
    let mut bins = [(0.0, 0.0); BINS];
    for one in judged {
        let probability = sigmoid(calibrated(one.logit, calibration));
        let bin = ((probability * BINS as f64) as usize).min(BINS - 1);
        bins[bin].0 += probability;
        bins[bin].1 += f64::from(u8::from(one.positive));
    }
    let gap: f64 = bins.iter().map(|(promised, kept)| (promised - kept).abs()).sum();
    (!judged.is_empty()).then(|| gap / judged.len() as f64)
}

/// Mean negative log likelihood in nats of the truths under sigmoid(logit / temperature + bias). None of nothing.
pub fn nll(judged: &[Judged], calibration: Calibration) -> Option<f64> {
    let sum: f64 = judged.iter().map(|one| loss(calibrated(one.logit, calibration), one.positive)).sum();
    (!judged.is_empty()).then(|| sum / judged.len() as f64)
}

/// The temperature and bias of the least [`nll`], by Newton's method (it is convex in 1 / temperature and bias). None
/// without both positives and negatives.
pub fn fit(judged: &[Judged]) -> Option<Calibration> {
    auroc(judged)?;
    let (mut scale, mut bias) = (1.0, 0.0);
    let mut before = nll(judged, of(scale, bias))?;
    for _ in 0..MOST_STEPS {
        let (by_scale, by_bias) = newton(judged, (scale, bias));
        // Shorter until it gains: a whole step may lead too far.
        let halves = (0..40).map(|half| 0.5_f64.powi(half)).map(|part| {
            let next = (scale - part * by_scale).clamp(SCALES.0, SCALES.1);
            (next, (bias - part * by_bias).clamp(-MOST_BIAS, MOST_BIAS))
        });
        let tried = halves.map(|(scale, bias)| (scale, bias, nll(judged, of(scale, bias)).unwrap_or(f64::INFINITY)));
        let Some((better_scale, better_bias, now)) = tried.into_iter().find(|(_, _, now)| *now < before) else { break };
        (scale, bias) = (better_scale, better_bias);
        if before - now < SETTLED {
            break;
        }
        before = now;
    }
    Some(of(scale, bias))
}

/// What Newton's method takes away from scale and bias.
fn newton(judged: &[Judged], (scale, bias): (f64, f64)) -> (f64, f64) {
    let (mut gradient, mut hessian) = ([0.0; 2], [0.0; 3]);
    for Judged { logit, positive } in judged {
        let probability = sigmoid(scale * logit + bias);
        let (error, weight) = (probability - f64::from(u8::from(*positive)), probability * (1.0 - probability));
        gradient = [gradient[0] + error * logit, gradient[1] + error];
        hessian = [hessian[0] + weight * logit * logit, hessian[1] + weight * logit, hessian[2] + weight];
    }
    // A little of the diagonal, so that logits which are all the same can be divided by.
    let [a, b, d] = [hessian[0] * (1.0 + 1e-9) + 1e-9, hessian[1], hessian[2] * (1.0 + 1e-9) + 1e-9];
    let determinant = a * d - b * b;
    let by_scale = (d * gradient[0] - b * gradient[1]) / determinant;
    let by_bias = (a * gradient[1] - b * gradient[0]) / determinant;
    // Held at its limit, the scale leaves the bias a problem of its own.
    let held = (scale <= SCALES.0 && by_scale > 0.0) || (scale >= SCALES.1 && by_scale < 0.0);
    if held { (0.0, gradient[1] / d) } else { (by_scale, by_bias) }
}

fn of(scale: f64, bias: f64) -> Calibration {
    Calibration { temperature: 1.0 / scale, bias }
}

fn calibrated(logit: f64, calibration: Calibration) -> f64 {
    logit / calibration.temperature + calibration.bias
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// -ln sigmoid(x), or of its complement, without overflow.
fn loss(logit: f64, positive: bool) -> f64 {
    let against = if positive { -logit } else { logit };
    against.max(0.0) + (-against.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn judged(all: &[(f64, bool)]) -> Vec<Judged> {
        all.iter().map(|&(logit, positive)| Judged { logit, positive }).collect()
    }

    fn near(found: Option<f64>, expected: f64) -> bool {
        found.is_some_and(|found| (found - expected).abs() < 1e-9)
    }

    #[test]
    fn auroc_counts_pairs_and_ties_half() {
        // 2 x 3 pairs: 1.0 beats -1, 0.5 and ties with 1.0; 0.5 beats -1, ties with 0.5, loses to 1.0: 2.5 + 1.5 of 6.
        let mixed = judged(&[(1.0, true), (0.5, true), (-1.0, false), (0.5, false), (1.0, false)]);
        assert!(near(auroc(&mixed), 4.0 / 6.0));
        assert!(near(auroc(&judged(&[(2.0, true), (1.0, false)])), 1.0));
        assert!(near(auroc(&judged(&[(1.0, true), (2.0, false)])), 0.0));
        assert!(near(auroc(&judged(&[(3.0, true), (3.0, false), (3.0, false)])), 0.5));
        assert_eq!(auroc(&judged(&[(3.0, true)])), None);
    }

    #[test]
    fn ece_is_the_gap_of_each_bin_by_its_share() {
        // Two at 0.9, one of them right: gap 0.4 of a bin with half of all. Two at 0.5 with one right: none.
        let high = (0.9_f64 / 0.1).ln();
        let some = judged(&[(high, true), (high, false), (0.0, true), (0.0, false)]);
        assert!(near(ece(&some, Calibration::NONE), 0.2));
        // With an endless temperature all say 0.5, and half are right.
        assert!(near(ece(&some, Calibration { temperature: 1e12, bias: 0.0 }), 0.0));
        // Certainty is in the last bin.
        assert!(near(ece(&judged(&[(1e4, true)]), Calibration::NONE), 0.0));
        assert_eq!(ece(&[], Calibration::NONE), None);
    }

    #[test]
    fn a_fit_finds_the_temperature_and_bias_that_made_the_data() {
        // At two logits, shares that sigmoid(logit / 2 - 1) gives: 0.5 at 2 and sigmoid(-2) at -2.
        let odds_of = |yes: usize, no: usize, logit: f64| {
            let all = [vec![(logit, true); yes], vec![(logit, false); no]].concat();
            judged(&all)
        };
        let low = (1.0 / (1.0 + 2.0_f64.exp()) * 1e6).round() as usize;
        let data = [odds_of(500_000, 500_000, 2.0), odds_of(low, 1_000_000 - low, -2.0)].concat();
        let found = fit(&data).unwrap();
        assert!((found.temperature - 2.0).abs() < 1e-4 && (found.bias + 1.0).abs() < 1e-4, "{found:?}");
        assert!(ece(&data, found).unwrap() < 1e-6 && nll(&data, found) < nll(&data, Calibration::NONE));
    }

    #[test]
    fn a_fit_stays_finite_where_the_best_would_not_be() {
        let apart = fit(&judged(&[(1.0, true), (-1.0, false), (2.0, true)])).unwrap();
        assert!(apart.temperature >= 0.01 && apart.temperature < 1.0 && apart.bias.is_finite(), "{apart:?}");
        // Logits that mislead are worth as good as nothing, and the bias is what is known: a third are so.
        let wrong = fit(&judged(&[(1.0, false), (-1.0, true), (2.0, false)])).unwrap();
        assert!((wrong.temperature - 100.0).abs() < 1e-6 && (wrong.bias + 2.0_f64.ln()).abs() < 0.05, "{wrong:?}");
        let same = fit(&judged(&[(3.0, true), (3.0, false), (3.0, false)])).unwrap();
        assert!((3.0 / same.temperature + same.bias + 2.0_f64.ln()).abs() < 1e-4, "{same:?}");
        assert_eq!(fit(&judged(&[(3.0, true)])), None);
    }
}
