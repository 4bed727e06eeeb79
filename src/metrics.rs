//! How well scores agree with true values: rank correlations, ranking quality and error.
//!
//! Every measure is a function of two slices of the same length, the true values and the scores
//! of the same items. It is `None` where it is not defined: the lengths differ, there are fewer
//! than two items (one for [`mean_absolute_error`]), a number is NaN, or what the measure divides
//! by is zero (a rank correlation of constant values). Values are those of SciPy and scikit-learn.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::cmp::Ordering;

/// Compares numbers that are known not to be NaN; unlike `total_cmp`, 0 equals -0.
fn compare(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or(Ordering::Equal)
}

fn comparable(truth: &[f64], scores: &[f64], at_least: usize) -> bool {
    truth.len() == scores.len()
        && truth.len() >= at_least
        && !truth.iter().chain(scores).any(|x| x.is_nan())
}

/// Positions of `values` from the smallest to the largest.
fn ascending(values: &[f64]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..values.len() as u32).collect();
    order.sort_unstable_by(|&a, &b| compare(values[a as usize], values[b as usize]));
    order
}

/// The items of `order` in runs of equal value.
fn ties<'a>(values: &'a [f64], order: &'a [u32]) -> impl Iterator<Item = &'a [u32]> {
    order.chunk_by(|&a, &b| values[a as usize] == values[b as usize])
}

/// Ranks from 1, the mean rank for equal values.
pub(crate) fn mean_ranks(values: &[f64]) -> Vec<f64> {
    let order = ascending(values);
    let mut ranks = vec![0.0; values.len()];
    let mut below = 0;
    for run in ties(values, &order) {
        let rank = below as f64 + (run.len() + 1) as f64 / 2.0;
        for &i in run {
            ranks[i as usize] = rank;
        }
        below += run.len();
    }
    ranks
}

/// Spearman's rank correlation coefficient, in -1 ..= 1; equal values share their mean rank.
pub fn spearman(truth: &[f64], scores: &[f64]) -> Option<f64> {
    if !comparable(truth, scores, 2) {
        return None;
    }
    let mean = (truth.len() + 1) as f64 / 2.0;
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in mean_ranks(truth).iter().zip(mean_ranks(scores)) {
        let (x, y) = (x - mean, y - mean);
        xy += x * y;
        xx += x * x;
        yy += y * y;
    }
    let scale = xx.sqrt() * yy.sqrt();
    (scale > 0.0).then(|| (xy / scale).clamp(-1.0, 1.0))
}

/// Dense ranks from 0: equal values share a rank, and no rank is left out.
fn dense_ranks(values: &[f64]) -> Vec<u32> {
    let order = ascending(values);
    let mut ranks = vec![0; values.len()];
    for (rank, run) in ties(values, &order).enumerate() {
        for &i in run {
            ranks[i as usize] = rank as u32;
        }
    }
    ranks
}

fn pairs(items: usize) -> u64 {
    let items = items as u64;
    items * items.saturating_sub(1) / 2
}

/// Sorts `values` and returns how many pairs stood in descending order. `buffer` is as long.
fn sort_counting_inversions(values: &mut [u32], buffer: &mut [u32]) -> u64 {
    let n = values.len();
    if n <= 16 {
        let mut inversions = 0;
        for i in 1..n {
            let mut j = i;
            while j > 0 && values[j - 1] > values[j] {
                values.swap(j - 1, j);
                j -= 1;
            }
            inversions += (i - j) as u64;
        }
        return inversions;
    }
    let (left, right) = values.split_at_mut(n / 2);
    let (left_buffer, right_buffer) = buffer.split_at_mut(n / 2);
    let mut inversions =
        sort_counting_inversions(left, left_buffer) + sort_counting_inversions(right, right_buffer);
    let (mut i, mut j) = (0, 0);
    for slot in buffer.iter_mut() {
        if j == right.len() || (i < left.len() && left[i] <= right[j]) {
            *slot = left[i];
            i += 1;
        } else {
            *slot = right[j];
            j += 1;
            inversions += (left.len() - i) as u64;
        }
    }
    values.copy_from_slice(buffer);
    inversions
}

/// Kendall's rank correlation coefficient τ-b, in -1 ..= 1, which allows for equal values.
///
/// Takes O(n log n) steps (Knight 1966): discordant pairs are the inversions of the scores when
/// items stand in the order of their true values.
pub fn kendall_tau_b(truth: &[f64], scores: &[f64]) -> Option<f64> {
    if !comparable(truth, scores, 2) {
        return None;
    }
    let mut items: Vec<(u32, u32)> =
        dense_ranks(truth).into_iter().zip(dense_ranks(scores)).collect();
    items.sort_unstable();
    let tied_truth: u64 = items.chunk_by(|a, b| a.0 == b.0).map(|run| pairs(run.len())).sum();
    let tied_both: u64 = items.chunk_by(|a, b| a == b).map(|run| pairs(run.len())).sum();
    let mut ranks: Vec<u32> = items.into_iter().map(|(_, y)| y).collect();
    let mut buffer = vec![0; ranks.len()];
    let discordant = sort_counting_inversions(&mut ranks, &mut buffer);
    let tied_scores: u64 = ranks.chunk_by(|a, b| a == b).map(|run| pairs(run.len())).sum();

    let all = pairs(ranks.len());
    let untied = all + tied_both - tied_truth - tied_scores;
    let difference = untied as f64 - 2.0 * discordant as f64;
    let scale = ((all - tied_truth) as f64).sqrt() * ((all - tied_scores) as f64).sqrt();
    (scale > 0.0).then(|| (difference / scale).clamp(-1.0, 1.0))
}

/// Kendall's rank correlation over the pairs of items whose true values are at least `apart` from
/// each other: the share of them that the scores order as the true values do, less the share that
/// they order the other way round. Pairs with equal scores are neither.
///
/// Benchmarks train with noise, so what lies closer than that is in no meaningful order.
/// Takes O(n log n) steps. Also `None` when no pair is apart.
pub fn kendall_tau_apart(truth: &[f64], scores: &[f64], apart: f64) -> Option<f64> {
    if !comparable(truth, scores, 2) {
        return None;
    }
    let order = ascending(truth);
    let ranks = dense_ranks(scores);
    // A Fenwick tree with the number of items, among those far enough below, of each rank.
    let mut tree = vec![0u64; ranks.len() + 1];
    let below = |tree: &[u64], rank: u32| -> u64 {
        let mut i = rank as usize;
        let mut sum = 0;
        while i > 0 {
            sum += tree[i];
            i &= i - 1;
        }
        sum
    };
    let mut lower = order.iter().peekable();
    let (mut pairs, mut concordant, mut discordant) = (0u64, 0u64, 0u64);
    let mut inserted = 0u64;
    for &i in &order {
        let far = |&&j: &&u32| {
            truth[i as usize] - truth[j as usize] >= apart && truth[j as usize] < truth[i as usize]
        };
        while let Some(&j) = lower.next_if(|j| far(j)) {
            let mut at = ranks[j as usize] as usize + 1;
            while at < tree.len() {
                tree[at] += 1;
                at += at & at.wrapping_neg();
            }
            inserted += 1;
        }
        pairs += inserted;
        concordant += below(&tree, ranks[i as usize]);
        discordant += inserted - below(&tree, ranks[i as usize] + 1);
    }
    (pairs > 0).then(|| (concordant as f64 - discordant as f64) / pairs as f64)
}

/// True value of the best item less that of the item with the highest score, the first of these.
pub fn regret(truth: &[f64], scores: &[f64]) -> Option<f64> {
    if !comparable(truth, scores, 1) {
        return None;
    }
    let best = truth.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let predicted = (0..scores.len()).reduce(|a, b| if scores[b] > scores[a] { b } else { a })?;
    Some(best - truth[predicted])
}

/// True rank, from 1, of the best of the `k` items with the highest scores; of equal values, the
/// earlier item counts as higher.
///
/// Also `None` when `k` is 0.
pub fn rank_of_best(truth: &[f64], scores: &[f64], k: usize) -> Option<f64> {
    if !comparable(truth, scores, 1) || k == 0 {
        return None;
    }
    let highest = |values: &[f64]| {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|&a, &b| compare(values[b], values[a]).then(a.cmp(&b)));
        order
    };
    let chosen = &highest(scores)[..k.min(scores.len())];
    let rank = highest(truth).iter().position(|i| chosen.contains(i))?;
    Some((rank + 1) as f64)
}

/// Normalised discounted cumulative gain of the `k` items with the highest scores, at most 1.
///
/// An item's gain is its true value itself and its discount is log2(position + 1); items with
/// equal scores share the mean gain of their positions. These are scikit-learn's definitions. The
/// GENNAPE paper (arXiv 2211.17226) does not define the relevance behind its NDCG@10, and the
/// code released with it computes another measure (relevance is the rank among k networks drawn
/// at random, and the second position is not discounted), so figures are not comparable to it.
/// With accuracies in a narrow band the measure is close to 1 for any order: pass a rescaled
/// accuracy to spread it.
///
/// Also `None` when `k` is 0, a true value is negative, or all of them are 0.
pub fn ndcg_at(truth: &[f64], scores: &[f64], k: usize) -> Option<f64> {
    if !comparable(truth, scores, 2) || k == 0 || truth.iter().any(|&t| t < 0.0) {
        return None;
    }
    let discounted: Vec<f64> = (0..k.min(truth.len()))
        .scan(0.0, |sum, position| {
            *sum += 1.0 / (position as f64 + 2.0).log2();
            Some(*sum)
        })
        .collect();
    // Sum of the discounts of positions 0..end.
    let cumulative =
        |end: usize| end.min(discounted.len()).checked_sub(1).map_or(0.0, |i| discounted[i]);
    let gain = |key: &[f64]| {
        let mut order = ascending(key);
        order.reverse();
        let (mut gain, mut start) = (0.0, 0);
        for run in ties(key, &order) {
            let end = start + run.len();
            let mean = run.iter().map(|&i| truth[i as usize]).sum::<f64>() / run.len() as f64;
            gain += mean * (cumulative(end) - cumulative(start));
            start = end;
            if end >= k {
                break;
            }
        }
        gain
    };
    let ideal = gain(truth);
    (ideal > 0.0).then(|| gain(scores) / ideal)
}

/// Mean of |true value - score|, in the unit of both.
pub fn mean_absolute_error(truth: &[f64], scores: &[f64]) -> Option<f64> {
    comparable(truth, scores, 1).then(|| {
        truth.iter().zip(scores).map(|(t, s)| (t - s).abs()).sum::<f64>() / truth.len() as f64
    })
}

/// Share of the `k` items with the highest true values that are also among the `k` with the
/// highest scores, in 0 ..= 1. Of equal values, the earlier item counts as higher.
///
/// Also `None` when `k` is 0 or exceeds the number of items.
pub fn top_k_overlap(truth: &[f64], scores: &[f64], k: usize) -> Option<f64> {
    if !comparable(truth, scores, 2) || k == 0 || k > truth.len() {
        return None;
    }
    let top = |values: &[f64]| {
        let mut order: Vec<u32> = (0..values.len() as u32).collect();
        order.select_nth_unstable_by(k - 1, |&a, &b| {
            compare(values[b as usize], values[a as usize]).then(a.cmp(&b))
        });
        order.truncate(k);
        order.sort_unstable();
        order
    };
    let predicted = top(scores);
    let common = top(truth).iter().filter(|i| predicted.binary_search(i).is_ok()).count();
    Some(common as f64 / k as f64)
}

/// Percentile bootstrap interval of `measure` at confidence `level` (such as 0.95).
///
/// Draws as many items as there are, with replacement, `resamples` times; the bounds are the
/// (1 ± level) / 2 quantiles, interpolated linearly. Of more than 5,000 items it draws so many, and
/// shrinks the deviations from the measure of all by √(5,000 / items): the m out of n bootstrap
/// (Bickel, Götze and van Zwet 1997). Resamples on which the measure is not defined
/// are left out; `None` when it is defined on none, the inputs are not comparable, or `level`
/// lies outside 0 ..= 1. The same seed gives the same interval on every platform.
pub fn bootstrap_interval(
    truth: &[f64],
    scores: &[f64],
    measure: impl Fn(&[f64], &[f64]) -> Option<f64>,
    resamples: usize,
    level: f64,
    seed: u64,
) -> Option<[f64; 2]> {
    if !comparable(truth, scores, 1) || !(0.0..=1.0).contains(&level) {
        return None;
    }
    let n = truth.len();
    let drawn = n.min(MAX_DRAWN);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut t, mut s) = (vec![0.0; drawn], vec![0.0; drawn]);
    let mut values: Vec<f64> = (0..resamples)
        .filter_map(|_| {
            for (t, s) in t.iter_mut().zip(&mut s) {
                // u64: the draws must not depend on the platform's word size.
                let i = rng.gen_range(0..n as u64) as usize;
                (*t, *s) = (truth[i], scores[i]);
            }
            measure(&t, &s)
        })
        .collect();
    values.sort_unstable_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let quantile = |q: f64| {
        let position = q * last as f64;
        let below = position.floor() as usize;
        let above = (below + 1).min(last);
        values[below] + (values[above] - values[below]) * (position - below as f64)
    };
    let bounds = [quantile((1.0 - level) / 2.0), quantile((1.0 + level) / 2.0)];
    if drawn == n {
        return Some(bounds);
    }
    let whole = measure(truth, scores)?;
    let shrink = (drawn as f64 / n as f64).sqrt();
    Some(bounds.map(|bound| whole + (bound - whole) * shrink))
}

/// Items in a resample.
const MAX_DRAWN: usize = 5_000;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const GRADE: [f64; 7] = [3.0, 1.0, 2.0, 2.0, 5.0, 4.0, 4.0];
    const RATING: [f64; 7] = [-7.0, 1.0, 0.0, 0.0, -2.0, -2.0, -9.0];
    const ACCURACY: [f64; 10] = [93.2, 91.0, 91.0, 88.5, 94.1, 90.25, 87.0, 91.0, 92.6, 89.9];
    const SCORE: [f64; 10] = [0.61, 0.42, 0.55, 0.42, 0.58, 0.42, 0.10, 0.33, 0.61, 0.35];

    /// One case of `tests/fixtures/statistics.json`, which `scripts/stat_fixtures.py` made.
    #[derive(serde::Deserialize)]
    struct Case {
        truth: Vec<f64>,
        prediction: Vec<f64>,
        spearman: Option<f64>,
        kendall: Option<f64>,
        ndcg_at_5: Option<f64>,
        ndcg_at_10: Option<f64>,
        mae: Option<f64>,
        kendall_apart: Option<f64>,
        regret: Option<f64>,
    }

    #[test]
    fn agrees_with_scipy_and_scikit_learn() {
        let cases = include_str!("../tests/fixtures/statistics.json");
        let cases: BTreeMap<String, Case> = serde_json::from_str(cases).unwrap();
        for (name, case) in cases {
            let (t, p) = (&case.truth, &case.prediction);
            for (ours, theirs) in [
                (spearman(t, p), case.spearman),
                (kendall_tau_b(t, p), case.kendall),
                (ndcg_at(t, p, 5), case.ndcg_at_5),
                (ndcg_at(t, p, 10), case.ndcg_at_10),
                (mean_absolute_error(t, p), case.mae),
                (kendall_tau_apart(t, p, 0.05), case.kendall_apart),
                (regret(t, p), case.regret),
            ] {
                match (ours, theirs) {
                    (Some(a), Some(b)) => assert!((a - b).abs() < 1e-12, "{name}: {a}, not {b}"),
                    _ => assert_eq!(ours, theirs, "{name}"),
                }
            }
        }
    }

    #[test]
    fn undefined_measures_are_none() {
        for measure in [spearman, kendall_tau_b] {
            assert_eq!(measure(&[1.0, 2.0], &[1.0]), None);
            assert_eq!(measure(&[1.0], &[1.0]), None);
            assert_eq!(measure(&[1.0, 2.0, 3.0], &[4.0; 3]), None);
            assert_eq!(measure(&[1.0, f64::NAN], &[1.0, 2.0]), None);
        }
        assert_eq!(ndcg_at(&[0.0, 0.0], &[1.0, 2.0], 1), None);
        assert_eq!(top_k_overlap(&GRADE, &RATING, 8), None);
        assert_eq!(mean_absolute_error(&[], &[]), None);
        assert_eq!(bootstrap_interval(&[1.0, 1.0], &[1.0, 2.0], spearman, 9, 0.9, 0), None);
    }

    #[test]
    fn overlap_counts_common_items() {
        assert_eq!(top_k_overlap(&ACCURACY, &SCORE, 3), Some(1.0));
        assert_eq!(top_k_overlap(&ACCURACY, &SCORE, 4), Some(0.75));
        assert_eq!(top_k_overlap(&GRADE, &RATING, 1), Some(0.0));
    }

    #[test]
    fn the_true_rank_of_the_best_by_score() {
        let truth = [91.0, 94.0, 92.0, 93.0, 90.0];
        let scores = [0.5, 0.1, 0.4, 0.3, 0.2];
        for (k, rank) in [(1, 4.0), (2, 3.0), (3, 2.0), (4, 2.0), (5, 1.0), (9, 1.0)] {
            assert_eq!(rank_of_best(&truth, &scores, k), Some(rank), "{k}");
        }
        assert_eq!(rank_of_best(&truth, &truth, 1), Some(1.0));
        assert_eq!(rank_of_best(&truth, &scores, 0), None);
    }

    /// The standard error of the mean is known.
    #[test]
    fn intervals_of_many_items_have_the_right_width() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let values: Vec<f64> =
            (0..45_000).map(|_| rand::Rng::gen_range(&mut rng, 0.0..1.0)).collect();
        let zeros = vec![0.0; values.len()];
        let interval =
            bootstrap_interval(&values, &zeros, mean_absolute_error, 1000, 0.95, 0).unwrap();
        let expected = 2.0 * 1.96 * (1.0f64 / 12.0 / 45_000.0).sqrt();
        let width = interval[1] - interval[0];
        assert!((width / expected - 1.0).abs() < 0.1, "{width}, not {expected}");
    }

    #[test]
    fn interval_is_reproducible_and_widens_with_the_level() {
        let interval =
            |level, seed| bootstrap_interval(&ACCURACY, &SCORE, spearman, 500, level, seed);
        assert_eq!(interval(0.9, 7), interval(0.9, 7));
        let ([narrow_low, narrow_high], [wide_low, wide_high]) =
            (interval(0.5, 7).unwrap(), interval(0.95, 7).unwrap());
        let whole = spearman(&ACCURACY, &SCORE).unwrap();
        assert!(wide_low < narrow_low && narrow_low < whole);
        assert!(whole < narrow_high && narrow_high < wide_high);
    }

    proptest! {
        /// Against the definition, pair by pair, on values with many ties.
        #[test]
        fn kendall_is_what_pairs_say(items in prop::collection::vec((0..9i8, 0..40i8), 2..120)) {
            let (x, y): (Vec<f64>, Vec<f64>) =
                items.iter().map(|&(x, y)| (f64::from(x), f64::from(y))).unzip();
            let (mut difference, mut untied_x, mut untied_y) = (0.0, 0.0f64, 0.0f64);
            for i in 0..items.len() {
                for j in 0..i {
                    let (dx, dy) = (items[i].0 - items[j].0, items[i].1 - items[j].1);
                    difference += f64::from(dx.signum() * dy.signum());
                    untied_x += f64::from(dx.signum().abs());
                    untied_y += f64::from(dy.signum().abs());
                }
            }
            let scale = (untied_x * untied_y).sqrt();
            match kendall_tau_b(&x, &y) {
                None => prop_assert_eq!(scale, 0.0),
                Some(tau) => prop_assert!((tau - difference / scale).abs() < 1e-12),
            }
        }
    }
}
