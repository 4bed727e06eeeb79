//! Increasing functions of one number.

use crate::encoder::{WeightError, WeightFile, Weights};
use crate::predictor::calibration::pool_adjacent;

/// Labels in a bin of an increasing curve, and the most and fewest bins.
const BIN: usize = 5;
const BINS: (usize, usize) = (2, 20);
/// Part of the range of its values by which an increasing curve rises at least.
const RISE: f64 = 1e-4;

/// A strictly increasing function through points, of which there are two at least.
#[derive(Debug, Clone)]
pub(super) struct Curve(Vec<(f64, f64)>);

impl Curve {
    pub fn new(points: Vec<(f64, f64)>) -> Option<Self> {
        let increasing = points.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 < w[1].1);
        (points.len() >= 2 && increasing).then_some(Self(points))
    }

    pub fn ends(&self) -> ((f64, f64), (f64, f64)) {
        (self.0[0], self.0[self.0.len() - 1])
    }

    /// Linear between the points. Beyond them it goes on with the slope of the tenth of them at that
    /// end, but no steeper than on the whole: a few networks that failed to train make the values
    /// steep at one end, and the whole steeper than the other end is.
    pub fn at(&self, x: f64) -> f64 {
        let points = &self.0;
        let slope = |a: (f64, f64), b: (f64, f64)| (b.1 - a.1) / (b.0 - a.0);
        let (first, last) = self.ends();
        let tenth = (points.len() / 10).max(1);
        let above = points.partition_point(|p| p.0 <= x);
        if above == 0 {
            first.1 + (x - first.0) * slope(first, points[tenth]).min(slope(first, last))
        } else if above == points.len() {
            let from = points[points.len() - 1 - tenth];
            last.1 + (x - last.0) * slope(from, last).min(slope(first, last))
        } else {
            let (from, to) = (points[above - 1], points[above]);
            from.1 + (x - from.0) * slope(from, to)
        }
    }

    /// Medians of bins of `points`, which ascend, made monotone by pooling adjacent violators and
    /// tilted so that they rise everywhere. Medians, since a few networks that failed to train would
    /// draw the mean of theirs away from all others.
    pub fn increasing(points: &[(f64, f64)]) -> Option<Self> {
        let count = (points.len() / BIN).clamp(BINS.0, BINS.1);
        let mean = |bin: &[(f64, f64)], of: fn(&(f64, f64)) -> f64| {
            bin.iter().map(of).sum::<f64>() / bin.len() as f64
        };
        // Points on top of one another are one value.
        let mut flat: Vec<(f64, f64)> = Vec::with_capacity(points.len());
        for tied in points.chunk_by(|a, b| a.0 == b.0) {
            flat.resize(flat.len() + tied.len(), (tied[0].0, mean(tied, |p| p.1)));
        }
        let bin = |i| &flat[i * flat.len() / count..(i + 1) * flat.len() / count];
        let mut bins: Vec<(f64, f64)> =
            (0..count).map(bin).map(|b| (mean(b, |p| p.0), median(b))).collect();
        bins.dedup_by(|later, earlier| later.0 <= earlier.0);
        if let [only] = bins[..] {
            // Any curve will do where nothing tells networks apart.
            bins.push((only.0 + 1.0, only.1));
        }
        let mut levels: Vec<f64> = bins.iter().map(|b| b.1).collect();
        pool_adjacent(&mut levels);
        let (first, last) = (bins.first()?.0, bins.last()?.0);
        let values = points.iter().map(|p| p.1);
        let range = values.clone().fold(f64::MIN, f64::max) - values.fold(f64::MAX, f64::min);
        let tilt = |x: f64| RISE * range * ((x - first) / (last - first) - 0.5);
        Self::new(bins.iter().zip(levels).map(|(b, level)| (b.0, level + tilt(b.0))).collect())
    }

    /// What becomes what: `at` the other way round, between the ends.
    pub fn inverse(&self) -> Self {
        Self(self.0.iter().map(|&(x, y)| (y, x)).collect())
    }

    /// This, and then `next` of it; from `least` to `most`, exactly.
    pub fn then(&self, next: &Self, least: f64, most: f64) -> Option<Self> {
        // It bends where either does.
        let back = self.inverse();
        let bends = self.0.iter().map(|p| p.0).chain(next.0.iter().map(|p| back.at(p.0)));
        let mut bends: Vec<f64> =
            bends.filter(|x| (least..most).contains(x)).chain([least, most]).collect();
        bends.sort_unstable_by(f64::total_cmp);
        let mut points: Vec<(f64, f64)> = Vec::with_capacity(bends.len());
        for x in bends {
            let y = next.at(self.at(x));
            if points.last().is_none_or(|last| last.0 < x && last.1 < y) {
                points.push((x, y));
            }
        }
        Self::new(points)
    }

    pub fn store(&self, name: &str, file: &mut WeightFile) {
        file.put(name, &[self.0.len(), 2], self.0.iter().flat_map(|(x, y)| [x, y]));
    }

    pub fn load(name: &str, weights: &Weights) -> Result<Self, WeightError> {
        let points = weights.matrix(name, None, 2)?;
        Self::new(points.rows().into_iter().map(|row| (row[0], row[1])).collect()).ok_or_else(
            || {
                let reason = "it is not an increasing function through at least two points".into();
                WeightError::Invalid { name: name.into(), reason }
            },
        )
    }
}

fn median(points: &[(f64, f64)]) -> f64 {
    let mut values: Vec<f64> = points.iter().map(|p| p.1).collect();
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_beyond_the_labels_follow_their_end() {
        // Most within a point of one another, a few that failed to train.
        let low = (0..5).map(|i| (f64::from(i), 10.0 + 10.0 * f64::from(i)));
        let high = (5..100).map(|i| (f64::from(i), 90.0 + 0.01 * f64::from(i)));
        let curve = Curve::new(low.chain(high).collect()).unwrap();
        assert!((curve.at(109.0) - 91.09).abs() < 1e-9, "{}", curve.at(109.0));
        // No cliff at the other end either: the mean slope.
        assert!((curve.at(-1.0) - (10.0 - 80.99 / 99.0)).abs() < 1e-9, "{}", curve.at(-1.0));
        assert_eq!(curve.at(50.0), 90.5);
    }

    #[test]
    fn one_curve_after_the_other_is_one() {
        let curve = |points: &[(f64, f64)]| Curve::new(points.to_vec()).unwrap();
        let first = curve(&[(0.0, 1.0), (1.0, 2.0), (4.0, 2.5), (5.0, 9.0)]);
        let second = curve(&[(1.2, -1.0), (2.2, 0.5), (3.0, 0.6), (8.0, 1.0)]);
        let both = first.then(&second, -2.0, 7.0).unwrap();
        for x in (-20..=70).map(|x| f64::from(x) / 10.0) {
            assert!((both.at(x) - second.at(first.at(x))).abs() < 1e-12, "{x}");
        }
    }
}
