//! Scores to accuracies with intervals.

use crate::encoder::{WeightError, WeightFile, Weights};

/// One range of scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bin {
    /// Mean score of the networks in the bin.
    pub score: f64,
    /// Accuracy at that score, per cent.
    pub accuracy: f64,
    /// 90 % of the absolute errors in the bin are at most this, per cent.
    pub radius: f64,
}

/// Why a calibration can't be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CalibrationError {
    /// Too few networks.
    #[error("{found} networks are too few to calibrate with, {needed} are needed")]
    TooFew {
        /// How many there are.
        found: usize,
        /// How many are needed.
        needed: usize,
    },
    /// Bins that are no increasing function to accuracies.
    #[error("the calibration is not an increasing function of at least two bins to per cent")]
    NotIncreasing,
}

/// A strictly increasing map from scores to accuracies, so that it never changes a ranking, with
/// the error to expect at each score.
///
/// Between the bins' scores the accuracy is interpolated linearly; beyond them it sets out with
/// the mean slope and approaches 0 or 100.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration(Vec<Bin>);

/// Share of errors that an interval covers.
const COVERAGE: f64 = 0.9;

/// Fewest networks in a bin: the 90 % quantile of fewer is too noisy.
const BIN: usize = 100;

/// Slope that the curve has everywhere at least, by its mean slope.
const FLOOR: f64 = 0.02;

impl Calibration {
    /// The calibration made of `bins`.
    ///
    /// # Errors
    /// When there are fewer than two, scores and accuracies do not increase, or an accuracy is not
    /// between 0 and 100 %.
    pub fn new(bins: Vec<Bin>) -> Result<Self, CalibrationError> {
        let increasing =
            bins.windows(2).all(|w| w[0].score < w[1].score && w[0].accuracy < w[1].accuracy);
        let sound = |b: &Bin| (0.0..=100.0).contains(&b.accuracy) && b.radius >= 0.0;
        if bins.len() < 2 || !increasing || !bins.iter().all(sound) {
            return Err(CalibrationError::NotIncreasing);
        }
        Ok(Self(bins))
    }

    /// Fits the curve to networks that the head was not trained on: means of at most 20 bins of
    /// equally many scores, made monotone by pooling adjacent violators. Every second network is
    /// left to measure the errors, which makes the intervals split conformal within each bin
    /// (Vovk 2012): the radius is the ⌈0.9 (n + 1)⌉-th smallest of a bin's n absolute errors.
    ///
    /// # Errors
    /// With fewer than 400 networks, or scores without any spread.
    pub fn fit(scores: &[f64], accuracies: &[f64]) -> Result<Self, CalibrationError> {
        let needed = 4 * BIN;
        if scores.len() < needed {
            return Err(CalibrationError::TooFew { found: scores.len(), needed });
        }
        let mut pairs: Vec<(f64, f64)> =
            scores.iter().copied().zip(accuracies.iter().copied()).collect();
        let sort = |pairs: &mut [(f64, f64)]| pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
        let half = pairs.len() / 2;
        let (curve, errors) = pairs.split_at_mut(half);
        sort(curve);
        sort(errors);

        let count = (half / BIN).min(20);
        let parts = |of: &[(f64, f64)]| -> Vec<Vec<(f64, f64)>> {
            (0..count)
                .map(|i| of[i * of.len() / count..(i + 1) * of.len() / count].to_vec())
                .collect()
        };
        let mean = |part: &[(f64, f64)], of: fn(&(f64, f64)) -> f64| {
            part.iter().map(of).sum::<f64>() / part.len() as f64
        };
        let mut bins: Vec<Bin> = parts(curve)
            .iter()
            .map(|p| Bin { score: mean(p, |p| p.0), accuracy: mean(p, |p| p.1), radius: 0.0 })
            .collect();
        make_increasing(&mut bins);
        let mut fitted = Self::new(bins)?;

        let edges: Vec<f64> =
            fitted.0.windows(2).map(|w| (w[0].score + w[1].score) / 2.0).collect();
        for i in 0..fitted.0.len() {
            let low = if i == 0 { 0 } else { errors.partition_point(|e| e.0 < edges[i - 1]) };
            let high =
                edges.get(i).map_or(errors.len(), |edge| errors.partition_point(|e| e.0 < *edge));
            let error = |(score, accuracy): &(f64, f64)| (fitted.accuracy(*score) - accuracy).abs();
            fitted.0[i].radius = quantile(errors[low..high].iter().map(error).collect());
        }
        Ok(fitted)
    }

    /// The calibration that a file holds under `name`.
    ///
    /// # Errors
    /// When the tensor is missing, has the wrong shape, or holds no calibration.
    pub fn load(name: &str, weights: &Weights) -> Result<Self, WeightError> {
        let table = weights.matrix(name, None, 3)?;
        let bin = |row: ndarray::ArrayView1<f32>| Bin {
            score: row[0].into(),
            accuracy: row[1].into(),
            radius: row[2].into(),
        };
        Self::new(table.rows().into_iter().map(bin).collect())
            .map_err(|e| WeightError::Invalid { name: name.into(), reason: e.to_string() })
    }

    /// Adds its tensor to a model file.
    pub fn store(&self, name: &str, file: &mut WeightFile) {
        let rows = self.0.iter().flat_map(|b| [b.score, b.accuracy, b.radius].map(|x| x as f32));
        file.put(name, &[self.0.len(), 3], &rows.collect::<Vec<f32>>());
    }

    fn slope(a: &Bin, b: &Bin) -> f64 {
        (b.accuracy - a.accuracy) / (b.score - a.score)
    }

    /// Accuracy at `score`, per cent.
    pub fn accuracy(&self, score: f64) -> f64 {
        let (first, last) = (&self.0[0], &self.0[self.0.len() - 1]);
        let right = self.0.partition_point(|b| b.score <= score);
        let slope = Self::slope(first, last);
        // From `accuracy` towards a bound that is `room` away.
        let towards = |room: f64, beyond: f64| room * -(-slope * beyond / room).exp_m1();
        if right == 0 {
            let room = first.accuracy.max(f64::MIN_POSITIVE);
            first.accuracy - towards(room, first.score - score)
        } else if right == self.0.len() {
            let room = (100.0 - last.accuracy).max(f64::MIN_POSITIVE);
            last.accuracy + towards(room, score - last.score)
        } else {
            let from = &self.0[right - 1];
            from.accuracy + Self::slope(from, &self.0[right]) * (score - from.score)
        }
    }

    /// Interval around the accuracy at `score`, per cent, for a network at this
    /// [distance](super::ApplicabilityDomain::distance) from the training distribution.
    ///
    /// Within distance 1 it is the calibrated one, accuracy ± radius. Beyond, nothing vouches for
    /// the error, and the interval grows by the whole range of accuracies that the calibration
    /// saw for each unit of distance: at distance 2 it says no more than that range does.
    pub fn interval(&self, score: f64, distance: f64) -> [f64; 2] {
        let accuracy = self.accuracy(score);
        let nearest = self
            .0
            .windows(2)
            .position(|w| score < (w[0].score + w[1].score) / 2.0)
            .unwrap_or(self.0.len() - 1);
        let range = self.0[self.0.len() - 1].accuracy - self.0[0].accuracy;
        let radius = self.0[nearest].radius + range * (distance - 1.0).max(0.0);
        [(accuracy - radius).max(0.0), (accuracy + radius).min(100.0)]
    }
}

/// What 90 % of further absolute errors are at most, by these: the ⌈0.9 (n + 1)⌉-th smallest of n.
pub(super) fn quantile(mut errors: Vec<f64>) -> f64 {
    errors.sort_by(f64::total_cmp);
    let rank = (COVERAGE * (errors.len() + 1) as f64).ceil() as usize;
    // With too few errors nothing finite covers; the largest is what is known.
    errors.get(rank.saturating_sub(1)).or(errors.last()).copied().unwrap_or(0.0)
}

/// Makes `levels` never fall, by the mean of neighbours that do (pool adjacent violators).
pub(super) fn pool_adjacent(levels: &mut [f64]) {
    let mut pools: Vec<(f64, usize)> = Vec::new();
    for level in levels.iter() {
        pools.push((*level, 1));
        while let [.., a, b] = pools[..]
            && a.0 >= b.0
        {
            let count = a.1 + b.1;
            pools.truncate(pools.len() - 2);
            pools.push(((a.0 * a.1 as f64 + b.0 * b.1 as f64) / count as f64, count));
        }
    }
    let pooled = pools.iter().flat_map(|&(level, count)| std::iter::repeat_n(level, count));
    levels.iter_mut().zip(pooled).for_each(|(level, pooled)| *level = pooled);
}

/// Pools adjacent violators, then mixes in the straight line between the ends, so that the curve
/// rises everywhere and its ends stay.
fn make_increasing(bins: &mut Vec<Bin>) {
    // Bins of equal scores (a head that cannot tell networks apart) become one.
    bins.dedup_by(|later, earlier| later.score <= earlier.score);
    let mut levels: Vec<f64> = bins.iter().map(|b| b.accuracy).collect();
    pool_adjacent(&mut levels);
    bins.iter_mut().zip(levels).for_each(|(bin, level)| bin.accuracy = level);
    let (Some(first), Some(last)) = (bins.first().copied(), bins.last().copied()) else { return };
    let slope = (last.accuracy - first.accuracy) / (last.score - first.score);
    for bin in bins {
        let straight = first.accuracy + slope * (bin.score - first.score);
        bin.accuracy += FLOOR * (straight - bin.accuracy);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    /// Scores and accuracies with an error that grows towards low scores, as NAS-Bench-101's does.
    fn networks(seed: u64, count: usize) -> (Vec<f64>, Vec<f64>) {
        let mut rng = StdRng::seed_from_u64(seed);
        let network = |_| {
            let score: f64 = rng.gen_range(-2.0..2.0);
            let error = rng.gen_range(-1.0..1.0) * (2.5 - score);
            (score, (91.0 + 1.5 * score - 0.2 * score * score + error).clamp(0.0, 100.0))
        };
        (0..count).map(network).unzip()
    }

    #[test]
    fn intervals_cover_unseen_networks_everywhere() {
        let (scores, accuracies) = networks(1, 5000);
        let calibration = Calibration::fit(&scores, &accuracies).unwrap();
        let (scores, accuracies) = networks(2, 20_000);
        for (from, to) in [(-2.0, -1.0), (-1.0, 0.0), (0.0, 1.0), (1.0, 2.0)] {
            let inside: Vec<bool> = scores
                .iter()
                .zip(&accuracies)
                .filter(|(s, _)| (from..to).contains(*s))
                .map(|(s, a)| {
                    let [low, high] = calibration.interval(*s, 0.5);
                    (low..=high).contains(a)
                })
                .collect();
            let coverage = inside.iter().filter(|x| **x).count() as f64 / inside.len() as f64;
            assert!((coverage - COVERAGE).abs() < 0.03, "{coverage} in {from}..{to}");
        }
    }

    #[test]
    fn accuracy_keeps_the_ranking_and_the_interval_widens_with_distance() {
        let (scores, mut accuracies) = networks(3, 2000);
        // A stretch where better scores mean worse accuracies must not turn the curve round.
        for (s, a) in scores.iter().zip(&mut accuracies) {
            *a -= if *s > 0.5 && *s < 1.0 { 2.0 } else { 0.0 };
        }
        let calibration = Calibration::fit(&scores, &accuracies).unwrap();
        let curve: Vec<f64> = (-300..300).map(|i| calibration.accuracy(i as f64 / 100.0)).collect();
        assert!(curve.windows(2).all(|w| w[0] < w[1]), "{curve:?}");
        let widths = [0.0, 1.0, 1.1, 2.0, 50.0].map(|d| {
            let [low, high] = calibration.interval(0.0, d);
            assert!((0.0..=100.0).contains(&low) && (low..=100.0).contains(&high));
            high - low
        });
        assert!(widths[0] == widths[1] && widths[1] < widths[2] && widths[2] < widths[3]);
        assert_eq!(widths[4], 100.0);
    }

    #[test]
    fn scores_without_spread_are_an_error() {
        let accuracies: Vec<f64> = (0..1000).map(f64::from).collect();
        let fit = Calibration::fit(&[1.0; 1000], &accuracies);
        assert_eq!(fit, Err(CalibrationError::NotIncreasing));
    }
}
