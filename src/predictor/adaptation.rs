//! Fitting predictions to a few labels of the user's own, in closed form.

use super::ApplicabilityDomain;
use super::calibration::{pool_adjacent, quantile};
use super::process::{ProcessError, inverse, matern};
use crate::encoder::{Neighbourhoods, WeightError, WeightFile, Weights};
use crate::metrics::mean_ranks;
use crate::proxies::{MEASURES, Proxies};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, Zip, s};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Why labels can't be fitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdaptationError {
    /// Too few labels.
    #[error("{0} labels are too few; at least {MINIMUM} are needed")]
    Few(usize),
    /// The labels are all the same, or not numbers.
    #[error("the labels have no finite spread")]
    Constant,
    /// The features can't be fitted.
    #[error("the features can't be fitted: {0}")]
    Kernel(#[from] ProcessError),
}

/// Fewest labels.
const MINIMUM: usize = 5;

/// Weights of the groups that linear kernels are tried with.
const LINEAR: [f64; 3] = [0.0, 0.3, 3.0];
/// Weights in the squared distance of a Matérn kernel: of the last group of features and of the
/// graphs' neighbourhoods, which say something of any network and are left out only beside others,
const GENERAL: [f64; 4] = [0.0, 0.03, 0.1, 0.3];
/// and of the other groups.
const PARTICULAR: [f64; 3] = [0.0, 0.1, 1.0];
/// Ridges that are tried, relative to a kernel whose mean diagonal is 1.
const RIDGES: [f64; 7] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0];

/// Labels that kernel and ridge are chosen by, at most: each choice takes time cubic in their number.
const CHOOSING: usize = 200;

/// What the ridge that few labels have chosen is multiplied by, where there are more.
const FINER: [f64; 3] = [0.3, 1.0, 3.0];

/// Labels in a bin of an increasing curve, and the most and fewest bins.
const BIN: usize = 5;
const BINS: (usize, usize) = (2, 20);
/// Part of the whole range of ranks by which an increasing curve rises at least.
const RISE: f64 = 0.01;

/// What turns features into ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An increasing function of the first feature, whose ranking it keeps.
    Increasing,
    /// Ridge regression.
    Linear,
    /// Kernel ridge regression with Matérn's kernel of smoothness 3/2.
    Matern,
    /// The same, where the distance is also that of the graphs' [`Neighbourhoods`].
    Neighbourhoods,
}

/// A regression of a few labels on groups of features, such as an estimate, an embedding and proxies.
///
/// What is fitted are the ranks of the labels, and predicted ranks are turned back into values by
/// interpolation: accuracies have a long tail of networks that failed to train, which would decide
/// everything otherwise.
#[derive(Debug, Clone)]
pub struct Adaptation {
    regression: Regression,
    /// Ranks, from -1 to 1, and values of the labels.
    values: Curve,
    /// 90 % of the labels' ranks lie within this of what is predicted when each is left out.
    radius: f64,
}

#[derive(Debug, Clone)]
enum Regression {
    Increasing(Curve),
    Kernel(Kernel),
}

/// A strictly increasing function through points, of which there are two at least.
#[derive(Debug, Clone)]
struct Curve(Vec<(f64, f64)>);

impl Curve {
    fn new(points: Vec<(f64, f64)>) -> Option<Self> {
        let increasing = points.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 < w[1].1);
        (points.len() >= 2 && increasing).then_some(Self(points))
    }

    fn ends(&self) -> ((f64, f64), (f64, f64)) {
        (self.0[0], self.0[self.0.len() - 1])
    }

    /// Linear between the points. Beyond them it goes on with the slope of the tenth of them at that
    /// end, but no steeper than on the whole: a few networks that failed to train make the values
    /// steep at one end, and the whole steeper than the other end is.
    fn at(&self, x: f64) -> f64 {
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

    /// Means of bins of `points`, which ascend, made monotone by pooling adjacent violators and
    /// tilted so that they rise everywhere.
    fn increasing(points: &[(f64, f64)]) -> Option<Self> {
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
            (0..count).map(bin).map(|b| (mean(b, |p| p.0), mean(b, |p| p.1))).collect();
        bins.dedup_by(|later, earlier| later.0 <= earlier.0);
        if let [only] = bins[..] {
            // Any curve will do where nothing tells networks apart.
            bins.push((only.0 + 1.0, only.1));
        }
        let mut levels: Vec<f64> = bins.iter().map(|b| b.1).collect();
        pool_adjacent(&mut levels);
        let (first, last) = (bins.first()?.0, bins.last()?.0);
        let tilt = |x: f64| 2.0 * RISE * ((x - first) / (last - first) - 0.5);
        Self::new(bins.iter().zip(levels).map(|(b, level)| (b.0, level + tilt(b.0))).collect())
    }

    fn store(&self, name: &str, file: &mut WeightFile) {
        file.put(name, &[self.0.len(), 2], self.0.iter().flat_map(|(x, y)| [x, y]));
    }

    fn load(name: &str, weights: &Weights) -> Result<Self, WeightError> {
        let points = weights.matrix(name, None, 2)?;
        Self::new(points.rows().into_iter().map(|row| (row[0], row[1])).collect()).ok_or_else(
            || {
                let reason = "it is not an increasing function through at least two points".into();
                WeightError::Invalid { name: name.into(), reason }
            },
        )
    }
}

/// Kernel ridge regression.
///
/// The kernel is the weighted sum of the groups' linear kernels, or Matérn's of the distance that this
/// sum and the graphs' neighbourhoods define. Weights, kind and ridge are those with the least squared
/// error when each label is left out in turn, which the inverse of the kernel gives without fitting
/// again (Rasmussen and Williams 2006, equation 5.12).
#[derive(Debug, Clone)]
struct Kernel {
    groups: Vec<Group>,
    /// Of a Matérn kernel, unless the graphs are unknown.
    structure: Option<Structure>,
    matern: bool,
    /// Of each label.
    coefficients: Array1<f64>,
}

/// A kernel that may be chosen.
struct Choice {
    matern: bool,
    /// Of the groups, and of the structure if there is one.
    weights: Vec<f64>,
}

impl Choice {
    /// All of them, for groups and perhaps a structure, of which some `vary`.
    fn all(groups: usize, vary: &[bool]) -> Vec<Self> {
        let grid = |of: &dyn Fn(usize) -> &'static [f64]| {
            vary.iter().enumerate().fold(vec![vec![]], |grid, (i, &varies)| {
                let weights = if varies { of(i) } else { &[0.0] };
                let longer = |w: &Vec<f64>| {
                    let all = weights.iter().map(|&x| w.iter().copied().chain([x]).collect());
                    all.collect::<Vec<Vec<f64>>>()
                };
                grid.iter().flat_map(longer).collect()
            })
        };
        let particular = groups.saturating_sub(1);
        // A linear kernel would have to be centred, and neighbourhoods are many.
        let linear = grid(&|i| if i < groups { &LINEAR } else { &[0.0] });
        let linear = linear.into_iter().filter(|weights| weights.iter().any(|&w| w > 0.0));
        let matern = grid(&|i| if i < particular { &PARTICULAR } else { &GENERAL });
        let sound = |weights: &Vec<f64>| {
            let (others, general) = weights.split_at(particular);
            let speaks = |(&weight, &varies): (&f64, &bool)| weight > 0.0 || !varies;
            others.iter().any(|&w| w > 0.0) || general.iter().zip(&vary[particular..]).all(speaks)
        };
        let choice = |matern| move |weights| Self { matern, weights };
        let matern = matern.into_iter().filter(sound).map(choice(true));
        linear.map(choice(false)).chain(matern).collect()
    }

    /// The kernel of networks whose `products` these are.
    fn kernel(&self, products: impl Iterator<Item = Array2<f64>>) -> Array2<f64> {
        let mut sum: Option<Array2<f64>> = None;
        for (&weight, mut product) in self.weights.iter().zip(products) {
            match &mut sum {
                None => {
                    product *= weight;
                    sum = Some(product);
                }
                Some(sum) => sum.scaled_add(weight, &product),
            }
        }
        let mut kernel = sum.unwrap_or_default();
        if self.matern {
            let squares = kernel.diag().to_owned();
            Zip::indexed(&mut kernel).par_for_each(|(i, j), k| {
                *k = matern((squares[i] + squares[j] - 2.0 * *k).max(0.0), 1.0);
            });
        }
        kernel
    }
}

/// Features that are weighted together.
#[derive(Debug, Clone)]
struct Group {
    mean: Array1<f64>,
    /// Makes the mean squared distance from the mean the group's weight.
    scale: f64,
    /// Of the labelled networks, centred and scaled.
    features: Array2<f64>,
}

impl Group {
    fn centred(features: ArrayView2<f64>) -> Self {
        let mean = features.mean_axis(Axis(0)).unwrap_or_default();
        let features = &features - &mean;
        let variance = features.iter().map(|x| x * x).sum::<f64>() / features.nrows() as f64;
        let scale = if variance > 1e-24 { variance.sqrt().recip() } else { 0.0 };
        Self { mean, scale, features: features * scale }
    }

    fn weighted(self, weight: f64) -> Self {
        let factor = weight.sqrt();
        Self { mean: self.mean, scale: self.scale * factor, features: self.features * factor }
    }
}

/// Neighbourhoods in the graphs of the labelled networks.
#[derive(Debug, Clone)]
struct Structure {
    /// Of each colour, which labels have it and its weight there: by colour, then by label.
    colours: Vec<(u64, usize, f64)>,
    /// Makes the mean squared distance from the mean the weight.
    scale: f64,
}

impl Structure {
    /// Scaled to weight 1.
    fn of(labelled: &[Neighbourhoods]) -> Self {
        let of_label = |(i, graph): (usize, &Neighbourhoods)| {
            graph.weights().iter().map(move |&(colour, weight)| (colour, i, weight)).collect()
        };
        let mut colours: Vec<(u64, usize, f64)> =
            labelled.iter().enumerate().flat_map::<Vec<_>, _>(of_label).collect();
        colours.sort_unstable_by_key(|&(colour, label, _)| (colour, label));
        // Of vectors of length 1.
        let sum = |same: &[(u64, usize, f64)]| same.iter().map(|&(.., w)| w).sum::<f64>();
        let sums = colours.chunk_by(|a, b| a.0 == b.0).map(|same| sum(same).powi(2)).sum::<f64>();
        let variance = 1.0 - sums / (labelled.len() as f64).powi(2);
        let scale = if variance > 1e-12 { variance.recip() } else { 0.0 };
        Self { colours, scale }
    }

    /// Products with those of so many labels, unscaled.
    fn products(&self, graph: &Neighbourhoods, labels: usize) -> Array1<f64> {
        let mut products = Array1::zeros(labels);
        let mut rest = self.colours.as_slice();
        for &(colour, weight) in graph.weights() {
            rest = &rest[rest.partition_point(|&(other, ..)| other < colour)..];
            let same = rest.iter().take_while(|&&(other, ..)| other == colour);
            for &(_, label, other) in same.take_while(|&&(_, label, _)| label < labels) {
                products[label] += weight * other;
            }
        }
        products
    }

    /// Of the first so many labels with one another, scaled.
    fn among(&self, labelled: &[Neighbourhoods]) -> Array2<f64> {
        let rows: Vec<Array1<f64>> =
            labelled.par_iter().map(|graph| self.products(graph, labelled.len())).collect();
        Array2::from_shape_fn((rows.len(), rows.len()), |(i, j)| rows[i][j] * self.scale)
    }

    /// A row for each colour of each label: the colour, the label and its weight.
    fn store(&self, file: &mut WeightFile) {
        // Whole numbers that 64 bits hold exactly.
        let row =
            |&(colour, label, weight): &(u64, usize, f64)| [colour as f64, label as f64, weight];
        let rows: Vec<f64> = self.colours.iter().flat_map(row).collect();
        file.put("adaptation.structure.scale", &[1], [&self.scale]);
        file.put("adaptation.structure.colours", &[rows.len() / 3, 3], &rows);
    }

    /// That of so many labels.
    fn load(labels: usize, weights: &Weights) -> Result<Self, WeightError> {
        let scale = weights.vector("adaptation.structure.scale", 1)?[0];
        let name = "adaptation.structure.colours";
        let whole =
            |x: f64| (x >= 0.0 && x.fract() == 0.0 && x < 2f64.powi(53)).then_some(x as u64);
        let colour = |row: ArrayView1<f64>| {
            let label = usize::try_from(whole(row[1])?).ok().filter(|&label| label < labels)?;
            Some((whole(row[0])?, label, row[2]))
        };
        let rows = weights.matrix::<f64>(name, None, 3)?;
        let colours: Option<Vec<_>> = rows.rows().into_iter().map(colour).collect();
        let ascending = |a: &(u64, usize, f64), b: &(u64, usize, f64)| (a.0, a.1) <= (b.0, b.1);
        let colours = colours.filter(|colours| colours.is_sorted_by(ascending));
        let colours = colours.ok_or_else(|| {
            let reason = "it holds no ascending colours of labels".into();
            WeightError::Invalid { name: name.into(), reason }
        })?;
        Ok(Self { colours, scale })
    }
}

impl Kernel {
    /// Fits centred ranks; also how far each label is from what is predicted without it.
    fn fit(
        groups: &[ArrayView2<f64>],
        structures: &[Neighbourhoods],
        ranks: &Array1<f64>,
    ) -> Result<(Self, Array1<f64>), AdaptationError> {
        let groups: Vec<Group> = groups.iter().map(|g| Group::centred(g.view())).collect();
        let structure = (!structures.is_empty()).then(|| Structure::of(structures));
        // Of the first so many labels, one after the other.
        let products = |labels: usize| {
            let features = groups.iter().map(move |group| {
                let features = group.features.slice(s![..labels, ..]);
                features.dot(&features.t())
            });
            features.chain(structure.iter().map(move |s| s.among(&structures[..labels])))
        };
        let scales =
            groups.iter().map(|group| group.scale).chain(structure.iter().map(|s| s.scale));
        let vary: Vec<bool> = scales.map(|scale| scale > 0.0).collect();
        let few = ranks.len().min(CHOOSING);
        let (known, some): (Vec<_>, _) = (products(few).collect(), ranks.slice(s![..few]));
        let choices = Choice::all(groups.len(), &vary);
        let tried = choices.into_par_iter().map(|choice| {
            let kernel = choice.kernel(known.iter().cloned());
            let fitted = Fitted::best(&kernel, some, RIDGES.into_iter())?;
            Ok((fitted, choice))
        });
        let tried = tried.collect::<Result<Vec<_>, AdaptationError>>()?.into_iter();
        let least = tried.reduce(|a, b| if b.0.error < a.0.error { b } else { a });
        let (mut fitted, Choice { matern, weights }) = least.ok_or(AdaptationError::Constant)?;
        let choice = Choice { matern, weights };
        if ranks.len() > few {
            let ridges = FINER.map(|factor| factor * fitted.ridge).into_iter();
            let kernel = choice.kernel(products(ranks.len()));
            fitted = Fitted::best(&kernel, ranks.view(), ridges)?;
        }
        let Fitted { coefficients, residuals, .. } = fitted;
        let Choice { matern, weights } = choice;
        let of_structure = weights.get(groups.len()).copied().unwrap_or(0.0);
        let structure = structure.filter(|_| matern);
        let structure = structure.map(|s| Structure { scale: s.scale * of_structure, ..s });
        let groups = groups.into_iter().zip(weights).map(|(group, w)| group.weighted(w)).collect();
        Ok((Self { groups, structure, matern, coefficients }, residuals))
    }

    fn rank(&self, groups: &[ArrayView1<f64>], graph: impl FnOnce() -> Neighbourhoods) -> f64 {
        let labels = self.coefficients.len();
        let mut kernel = Array1::<f64>::zeros(labels);
        for (labelled, features) in self.groups.iter().zip(groups) {
            let features = (features - &labelled.mean) * labelled.scale;
            if self.matern {
                for (k, row) in kernel.iter_mut().zip(labelled.features.rows()) {
                    *k += row.iter().zip(&features).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
                }
            } else {
                kernel += &labelled.features.dot(&features);
            }
        }
        if let Some(structure) = &self.structure {
            // The squared distance of vectors of length 1.
            let products = structure.products(&graph(), labels);
            kernel += &products.mapv(|product| 2.0 * structure.scale * (1.0 - product));
        }
        if self.matern {
            kernel.mapv_inplace(|square| matern(square.max(0.0), 1.0));
        }
        kernel.dot(&self.coefficients)
    }
}

impl Adaptation {
    /// Names of the groups of [`features`](Self::features).
    pub const GROUPS: [&str; 3] = ["estimate", "embedding", "proxies"];

    /// What a model's estimates are adapted by: its estimate of each network, its embedding and
    /// [`Proxies::measures`]; `[networks, features]` each.
    pub fn features(
        estimates: &[f64],
        embeddings: ArrayView2<f32>,
        proxies: &[Proxies],
    ) -> [Array2<f64>; 3] {
        let descriptors = proxies.iter().flat_map(Proxies::measures).collect();
        [
            Array2::from_shape_fn((estimates.len(), 1), |(i, _)| estimates[i]),
            embeddings.mapv(f64::from),
            // As many as the shape says.
            Array2::from_shape_vec((proxies.len(), MEASURES), descriptors).unwrap_or_default(),
        ]
    }

    /// [`features`](Self::features) of labelled networks at these
    /// [distances](super::ApplicabilityDomain::distance), to fit from. Where most of them are unlike the
    /// networks that the encoder was trained on, their embeddings mean little, and their estimates
    /// nothing that the proxies don't say: then only the proxies are left.
    pub fn labelled(features: [Array2<f64>; 3], distances: &[f64]) -> [Array2<f64>; 3] {
        let [mut estimates, mut embeddings, proxies] = features;
        let known: f64 = distances.iter().map(|&d| ApplicabilityDomain::membership(d)).sum();
        if known < 0.5 * distances.len() as f64 {
            // A group that does not vary is not used.
            estimates.fill(0.0);
            embeddings.fill(0.0);
        }
        [estimates, embeddings, proxies]
    }

    /// Fits `targets` from groups of features, `[labels, features]` each, and the structures of the
    /// graphs, unless there are none, by kernel ridge regression. The last group is what is known of any
    /// network. It takes time cubic in the number of labels, and of more than 200 the first 200
    /// choose the kernel, so that they should be in a random order.
    ///
    /// # Errors
    /// With fewer than five labels, or labels that are all the same.
    pub fn fit(
        groups: &[ArrayView2<f64>],
        structures: &[Neighbourhoods],
        targets: &[f64],
    ) -> Result<Self, AdaptationError> {
        Ok(Self::fit_left_out(groups, structures, targets)?.0)
    }

    /// [`fit`](Self::fit), and the rank predicted for each label from the others alone.
    ///
    /// # Errors
    /// As for `fit`.
    pub fn fit_left_out(
        groups: &[ArrayView2<f64>],
        structures: &[Neighbourhoods],
        targets: &[f64],
    ) -> Result<(Self, Vec<f64>), AdaptationError> {
        let (ranks, values) = ranks(targets)?;
        let (kernel, residuals) = Kernel::fit(groups, structures, &ranks)?;
        let radius = quantile(residuals.iter().map(|r| r.abs()).collect());
        let left_out = (&ranks - &residuals).to_vec();
        Ok((Self { regression: Regression::Kernel(kernel), values, radius }, left_out))
    }

    /// Fits `targets` by an increasing function of `estimates`: other values in the same order,
    /// however bad that is. Also the rank predicted for each label from the others alone.
    ///
    /// # Errors
    /// With fewer than five labels, labels that are all the same, or estimates that are not finite.
    pub fn recalibrate(
        estimates: &[f64],
        targets: &[f64],
    ) -> Result<(Self, Vec<f64>), AdaptationError> {
        let (ranks, values) = ranks(targets)?;
        let mut order: Vec<usize> = (0..estimates.len()).collect();
        order.sort_by(|&a, &b| estimates[a].total_cmp(&estimates[b]));
        let points: Vec<(f64, f64)> = order.iter().map(|&i| (estimates[i], ranks[i])).collect();
        let curve = Curve::increasing(&points).ok_or(AdaptationError::Constant)?;
        let predicted = |i: usize| {
            let others = [&points[..i], &points[i + 1..]].concat();
            Curve::increasing(&others).map(|curve| curve.at(points[i].0))
        };
        let predicted: Option<Vec<f64>> =
            (0..points.len()).into_par_iter().map(predicted).collect();
        let predicted = predicted.ok_or(AdaptationError::Constant)?;
        let errors = predicted.iter().zip(&points).map(|(p, point)| (p - point.1).abs());
        let radius = quantile(errors.collect());
        let mut left_out = vec![0.0; order.len()];
        order.iter().zip(predicted).for_each(|(&i, rank)| left_out[i] = rank);
        Ok((Self { regression: Regression::Increasing(curve), values, radius }, left_out))
    }

    /// What turns features into ranks.
    pub fn kind(&self) -> Kind {
        match &self.regression {
            Regression::Increasing(_) => Kind::Increasing,
            Regression::Kernel(kernel) if kernel.structure.is_some() => Kind::Neighbourhoods,
            Regression::Kernel(kernel) if kernel.matern => Kind::Matern,
            Regression::Kernel(_) => Kind::Linear,
        }
    }

    /// Predictions for networks with these features, in the unit of the targets; `structure` is asked
    /// for that of each row where it matters.
    pub fn predict(
        &self,
        groups: &[ArrayView2<f64>],
        structure: impl Fn(usize) -> Neighbourhoods + Sync,
    ) -> Vec<f64> {
        let networks = groups.first().map_or(0, |g| g.nrows());
        let value = |i| self.value(self.rank(groups, i, || structure(i)));
        (0..networks).into_par_iter().map(value).collect()
    }

    /// Rank of the network in this row of the groups of features: from -1 to 1 among the labels,
    /// beyond for those that are better or worse than all of them. `structure` is asked for that of
    /// its graph where it matters.
    pub fn rank(
        &self,
        groups: &[ArrayView2<f64>],
        row: usize,
        structure: impl FnOnce() -> Neighbourhoods,
    ) -> f64 {
        match &self.regression {
            Regression::Increasing(curve) => curve.at(groups[0][[row, 0]]),
            // One network at a time, so that it doesn't matter which others are with it.
            Regression::Kernel(kernel) => {
                kernel.rank(&groups.iter().map(|g| g.row(row)).collect::<Vec<_>>(), structure)
            }
        }
    }

    /// The value that a rank stands for.
    pub fn value(&self, rank: f64) -> f64 {
        self.values.at(rank)
    }

    /// Interval around the [value](Self::value) of a network of this predicted rank, at this
    /// [distance](super::ApplicabilityDomain::distance) from the labelled networks.
    ///
    /// Within distance 1, it covers 90 % of the labels when each is predicted from the others
    /// (the jackknife of Barber et al. 2021, of ranks). Beyond, it grows by the whole range of the
    /// labels for each unit of distance, as [`Calibration::interval`](super::Calibration::interval)
    /// does.
    pub fn interval(&self, rank: f64, distance: f64) -> [f64; 2] {
        let ((_, low), (_, high)) = self.values.ends();
        let beyond = (high - low) * (distance - 1.0).max(0.0);
        let value = self.value(rank);
        let [low, high] = [rank - self.radius, rank + self.radius].map(|rank| self.value(rank));
        // Rounding keeps no order.
        [low.min(value) - beyond, high.max(value) + beyond]
    }

    /// Adds its tensors to a model file: all in 64 bits, so that it predicts the same when it is
    /// loaded.
    pub fn store(&self, file: &mut WeightFile) {
        self.values.store("adaptation.values", file);
        file.put("adaptation.radius", &[1], [&self.radius]);
        match &self.regression {
            Regression::Increasing(curve) => curve.store("adaptation.curve", file),
            Regression::Kernel(kernel) => {
                let labels = kernel.coefficients.len();
                file.put("adaptation.coefficients", &[labels, 1], &kernel.coefficients);
                for (name, group) in Self::GROUPS.iter().zip(&kernel.groups) {
                    let features = group.mean.len();
                    file.put(format!("adaptation.{name}.mean"), &[features], &group.mean);
                    file.put(format!("adaptation.{name}.scale"), &[1], [&group.scale]);
                    let shape = [labels, features];
                    file.put(format!("adaptation.{name}.labels"), &shape, &group.features);
                }
                if let Some(structure) = &kernel.structure {
                    structure.store(file);
                }
            }
        }
    }

    /// The adaptation that a model file holds, of a model whose embeddings have `embedding`
    /// dimensions.
    ///
    /// # Errors
    /// When a tensor is missing, has the wrong shape, or holds numbers that make no sense.
    pub fn load(kind: Kind, embedding: usize, weights: &Weights) -> Result<Self, WeightError> {
        let values = Curve::load("adaptation.values", weights)?;
        let radius: f64 = weights.vector("adaptation.radius", 1)?[0];
        if radius < 0.0 {
            let (name, reason) = ("adaptation.radius".into(), "it is negative".into());
            return Err(WeightError::Invalid { name, reason });
        }
        if kind == Kind::Increasing {
            let regression = Regression::Increasing(Curve::load("adaptation.curve", weights)?);
            return Ok(Self { regression, values, radius });
        }
        let coefficients = weights.matrix("adaptation.coefficients", None, 1)?.column(0).to_owned();
        let labels = Some(coefficients.len());
        let group = |(name, features): (&str, usize)| {
            let tensor = |part: &str| format!("adaptation.{name}.{part}");
            Ok(Group {
                mean: weights.vector(&tensor("mean"), features)?,
                scale: weights.vector(&tensor("scale"), 1)?[0],
                features: weights.matrix(&tensor("labels"), labels, features)?,
            })
        };
        let groups = Self::GROUPS.into_iter().zip([1, embedding, MEASURES]).map(group);
        let groups = groups.collect::<Result<_, WeightError>>()?;
        let structural = kind == Kind::Neighbourhoods;
        let structure = structural.then(|| Structure::load(coefficients.len(), weights));
        let structure = structure.transpose()?;
        let matern = structural || kind == Kind::Matern;
        let kernel = Kernel { groups, structure, matern, coefficients };
        Ok(Self { regression: Regression::Kernel(kernel), values, radius })
    }
}

/// Ranks of the targets, from -1 to 1, and the curve from ranks to values.
fn ranks(targets: &[f64]) -> Result<(Array1<f64>, Curve), AdaptationError> {
    if targets.len() < MINIMUM {
        return Err(AdaptationError::Few(targets.len()));
    }
    if !targets.iter().all(|t| t.is_finite()) {
        return Err(AdaptationError::Constant);
    }
    let middle = (targets.len() + 1) as f64 / 2.0;
    let ranks: Array1<f64> =
        mean_ranks(targets).into_iter().map(|r| (r - middle) / middle).collect();
    let mut points: Vec<(f64, f64)> = ranks.iter().copied().zip(targets.iter().copied()).collect();
    points.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    points.dedup_by(|a, b| a.0 == b.0);
    Ok((ranks, Curve::new(points).ok_or(AdaptationError::Constant)?))
}

/// What a kernel makes of labels.
struct Fitted {
    /// Mean squared error with each label left out in turn.
    error: f64,
    ridge: f64,
    coefficients: Array1<f64>,
    /// Of each label, left out.
    residuals: Array1<f64>,
}

impl Fitted {
    /// With the ridge that errs least.
    fn best(
        kernel: &Array2<f64>,
        targets: ArrayView1<f64>,
        ridges: impl Iterator<Item = f64>,
    ) -> Result<Self, AdaptationError> {
        let count = targets.len() as f64;
        let scale = (kernel.diag().sum() / count).max(1e-12);
        let mut best = Err(AdaptationError::Constant);
        for ridge in ridges {
            let mut ridged = kernel.clone();
            ridged.diag_mut().mapv_inplace(|k| k + ridge * scale);
            let inverse = inverse(ridged)?;
            let coefficients = inverse.dot(&targets);
            let residuals = &coefficients / &inverse.diag();
            let error = residuals.dot(&residuals) / count;
            if best.as_ref().map_or(true, |best: &Self| error < best.error) {
                best = Ok(Self { error, ridge, coefficients, residuals });
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::spearman;
    use linfa_linalg::cholesky::SolveC;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn random(rows: usize, columns: usize, seed: u64) -> Array2<f64> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        Array2::from_shape_fn((rows, columns), |_| rng.gen_range(-1.0..1.0))
    }

    /// The structure of graphs that no kernel looks at.
    fn unasked(_: usize) -> Neighbourhoods {
        unreachable!("there is none")
    }

    #[test]
    fn finds_the_group_that_matters() {
        let (noise, signal) = (random(400, 40, 1), random(400, 3, 2));
        let truth: Vec<f64> = signal.rows().into_iter().map(|r| 70.0 + r[0] - 2.0 * r[2]).collect();
        let train = [noise.slice(s![..50, ..]), signal.slice(s![..50, ..])];
        let adaptation = Adaptation::fit(&train, &[], &truth[..50]).unwrap();
        let test = [noise.slice(s![50.., ..]), signal.slice(s![50.., ..])];
        let predicted = adaptation.predict(&test, unasked);
        assert!(spearman(&truth[50..], &predicted).unwrap() > 0.99);
        let error = predicted.iter().zip(&truth[50..]).map(|(p, t)| (p - t).abs()).sum::<f64>();
        assert!(error / 350.0 < 0.3, "{error}");
    }

    /// Against fitting again without each label.
    #[test]
    fn leaving_one_out_is_what_it_says() {
        let features = random(12, 3, 3);
        let targets: Array1<f64> = random(12, 1, 4).column(0).to_owned();
        let kernel = features.dot(&features.t());
        let error = Fitted::best(&kernel, targets.view(), RIDGES.into_iter()).unwrap().error;
        let direct = |ridge: f64| -> f64 {
            let scale = kernel.diag().sum() / 12.0;
            let squared = |out: usize| {
                let kept: Vec<usize> = (0..12).filter(|&i| i != out).collect();
                let inner = kernel.select(Axis(0), &kept).select(Axis(1), &kept);
                let mut ridged = inner + Array2::<f64>::eye(11) * (ridge * scale);
                let labels = targets.select(Axis(0), &kept).insert_axis(Axis(1));
                let coefficients = ridged.solvec(&labels).unwrap().remove_axis(Axis(1));
                let predicted = kernel.row(out).select(Axis(0), &kept).dot(&coefficients);
                (predicted - targets[out]).powi(2)
            };
            (0..12).map(squared).sum::<f64>() / 12.0
        };
        let expected = RIDGES.into_iter().map(direct).fold(f64::INFINITY, f64::min);
        assert!((error - expected).abs() < 1e-9, "{error}, not {expected}");
    }

    /// What a label is predicted from does not hold it: from noise it is predicted no better than
    /// chance, though a fit to all labels follows them.
    #[test]
    fn left_out_ranks_know_nothing_of_their_label() {
        let targets = random(60, 1, 9).column(0).to_vec();
        let of = |features: &Array2<f64>| {
            let views = [features.view()];
            let (adaptation, left_out) = Adaptation::fit_left_out(&views, &[], &targets).unwrap();
            let fitted = adaptation.predict(&views, unasked);
            [&fitted, &left_out].map(|predicted| spearman(&targets, predicted).unwrap())
        };
        let [fitted, left_out] = of(&random(60, 30, 10));
        assert!(fitted > 0.4 && left_out < 0.3, "{fitted} {left_out}");
        let signal = Array2::from_shape_fn((60, 1), |(i, _)| targets[i].exp());
        assert!(of(&signal)[1] > 0.95);
    }

    /// Networks whose estimate says less than one of their two costs.
    fn networks(count: usize) -> ([Array2<f64>; 3], Vec<f64>) {
        let groups = [random(count, 1, 6), random(count, 4, 7), random(count, MEASURES, 8)];
        let targets = (0..count).map(|i| 90.0 + groups[0][[i, 0]] + 2.0 * groups[2][[i, 1]]);
        let targets = targets.collect();
        (groups, targets)
    }

    fn views(groups: &[Array2<f64>], rows: std::ops::Range<usize>) -> Vec<ArrayView2<'_, f64>> {
        groups.iter().map(|g| g.slice(s![rows.clone(), ..])).collect()
    }

    #[test]
    fn what_is_stored_predicts_the_same() {
        let (groups, targets) = networks(180);
        let (train, test) = (views(&groups, 0..100), views(&groups, 100..180));
        let estimates: Vec<f64> = groups[0].column(0).to_vec();
        let cells: Vec<_> = (0..180).map(nasbench201).collect();
        let structures: Vec<Neighbourhoods> =
            cells.iter().map(|(graph, _)| graph.clone()).collect();
        let chained: Vec<f64> = cells.iter().map(|&(_, chained)| chained).collect();
        let adaptations = [
            Adaptation::fit(&train, &structures[..100], &chained[..100]).unwrap(),
            Adaptation::fit(&train, &[], &targets[..100]).unwrap(),
            Adaptation::recalibrate(&estimates[..100], &targets[..100]).unwrap().0,
        ];
        assert_eq!(adaptations[0].kind(), Kind::Neighbourhoods);
        assert_ne!(adaptations[1].kind(), Kind::Increasing);
        for adaptation in adaptations {
            let mut file = WeightFile::default();
            adaptation.store(&mut file);
            let bytes = file.to_bytes().unwrap();
            let weights = Weights::parse(&bytes).unwrap();
            let loaded = Adaptation::load(adaptation.kind(), 4, &weights).unwrap();
            assert_eq!(loaded.kind(), adaptation.kind());
            let test = |of: &Adaptation| of.predict(&test, |i| structures[100 + i].clone());
            assert_eq!(test(&loaded), test(&adaptation));
            assert_eq!(loaded.interval(0.3, 1.5), adaptation.interval(0.3, 1.5));
        }
    }

    /// What leads to what is all that matters here, which no group of features knows.
    #[test]
    fn a_structure_tells_what_features_do_not() {
        let graphs: Vec<_> = (0..240).map(nasbench201).collect();
        let structures: Vec<Neighbourhoods> =
            graphs.iter().map(|(graph, _)| graph.clone()).collect();
        let targets: Vec<f64> = graphs.iter().map(|&(_, target)| target).collect();
        let noise = random(240, 3, 11);
        let (train, test) = (noise.slice(s![..120, ..]), noise.slice(s![120.., ..]));
        let adaptation = Adaptation::fit(&[train], &structures[..120], &targets[..120]).unwrap();
        let predicted = adaptation.predict(&[test], |i| structures[120 + i].clone());
        assert!(spearman(&targets[120..], &predicted).unwrap() > 0.8);
        let blind = Adaptation::fit(&[train], &[], &targets[..120]).unwrap();
        assert!(spearman(&targets[120..], &blind.predict(&[test], unasked)).unwrap() < 0.3);
    }

    #[test]
    fn products_by_colour_are_those_of_pairs() {
        let graphs: Vec<Neighbourhoods> = (0..30).map(|seed| nasbench201(seed).0).collect();
        let structure = Structure::of(&graphs[..20]);
        for graph in &graphs {
            let of: std::collections::HashMap<_, _> = graph.weights().iter().copied().collect();
            for (label, product) in structure.products(graph, 20).into_iter().enumerate() {
                let both = graphs[label].weights().iter();
                let expected: f64 = both.map(|(c, w)| w * of.get(c).unwrap_or(&0.0)).sum();
                assert!((product - expected).abs() < 1e-12);
            }
        }
        // The mean squared distance from the mean is half of that between two of them.
        let among = structure.among(&graphs[..20]);
        let square = |(i, j): (usize, usize)| among[[i, i]] + among[[j, j]] - 2.0 * among[[i, j]];
        let squares: f64 = (0..400).map(|k| square((k / 20, k % 20))).sum();
        assert!((squares / 800.0 - 1.0).abs() < 1e-9, "{squares}");
    }

    /// The first labels choose the kernel; all are fitted alike.
    #[test]
    fn the_order_of_further_labels_does_not_matter() {
        let (groups, targets) = networks(CHOOSING + 80);
        let fit = |order: &[usize]| {
            let groups: Vec<Array2<f64>> =
                groups.iter().map(|g| g.select(Axis(0), order)).collect();
            let views: Vec<_> = groups.iter().map(Array2::view).collect();
            let labels: Vec<f64> = order.iter().map(|&i| targets[i]).collect();
            Adaptation::fit(&views, &[], &labels).unwrap()
        };
        let all: Vec<usize> = (0..targets.len()).collect();
        let mut other = all.clone();
        other[CHOOSING..].reverse();
        let views: Vec<_> = groups.iter().map(Array2::view).collect();
        let [one, other] = [&all, &other].map(|order| fit(order).predict(&views, unasked));
        assert!(one.iter().zip(&other).all(|(a, b)| (a - b).abs() < 1e-6));
        // And they are fitted.
        let first = fit(&all[..CHOOSING]).predict(&views, unasked);
        let error = |predicted: &[f64]| -> f64 {
            (CHOOSING..all.len()).map(|i| (predicted[i] - targets[i]).abs()).sum()
        };
        assert!(error(&one) < error(&first));
    }

    /// A cell and how many of its convolutions follow upon another.
    fn nasbench201(seed: u64) -> (Neighbourhoods, f64) {
        use crate::encoder::GraphFeatures;
        use crate::lower::lower;
        use crate::spaces::{Architecture, nasbench201::Cell};
        let cell = Cell::sample(&mut ChaCha8Rng::seed_from_u64(seed));
        let graph = lower(&cell.build()).unwrap();
        let convolution = |i: usize| graph.node(i).operation == crate::graph::Operation::Conv;
        let chained = graph.edges().filter(|&(a, b)| !convolution(a) && convolution(b)).count();
        (Neighbourhoods::new(&GraphFeatures::new(&graph)), chained as f64 + 1e-3 * seed as f64)
    }

    #[test]
    fn intervals_cover_networks_without_labels() {
        let (groups, targets) = networks(2000);
        let adaptation = Adaptation::fit(&views(&groups, 0..100), &[], &targets[..100]).unwrap();
        let test = views(&groups, 100..2000);
        let covered = (0..1900).filter(|&i| {
            let rank = adaptation.rank(&test, i, Neighbourhoods::default);
            let [low, high] = adaptation.interval(rank, 0.7);
            assert!(low <= adaptation.value(rank) && adaptation.value(rank) <= high);
            (low..=high).contains(&targets[100 + i])
        });
        let coverage = covered.count() as f64 / 1900.0;
        assert!((0.8..0.97).contains(&coverage), "{coverage}");
        let width = |distance| {
            let [low, high] = adaptation.interval(0.0, distance);
            high - low
        };
        assert_eq!(width(0.0), width(1.0));
        assert!(width(1.0) < width(1.1) && width(1.1) < width(3.0));
    }

    /// Also when the estimates have it the wrong way round, or say nothing.
    #[test]
    fn recalibration_keeps_the_order() {
        for seed in 0..20 {
            let estimates = random(30, 1, seed).into_raw_vec_and_offset().0;
            let noise = random(30, 1, 100 + seed).into_raw_vec_and_offset().0;
            let sign = [-1.0, 0.0, 1.0][seed as usize % 3];
            let targets: Vec<f64> =
                estimates.iter().zip(noise).map(|(e, n)| 1e-4 * (sign * e + n)).collect();
            let (adaptation, _) = Adaptation::recalibrate(&estimates, &targets).unwrap();
            let ascending: Vec<f64> = (-40..40).map(|i| f64::from(i) / 10.0).collect();
            let column = Array2::from_shape_vec((80, 1), ascending).unwrap();
            let predicted = adaptation.predict(&[column.view()], unasked);
            assert!(predicted.windows(2).all(|w| w[0] < w[1]), "{predicted:?}");
        }
        let same = Adaptation::recalibrate(&[91.0; 9], &[1., 2., 3., 4., 5., 6., 7., 8., 9.]);
        let at = |estimate| {
            same.as_ref().unwrap().0.predict(&[Array2::from_elem((1, 1), estimate).view()], unasked)
                [0]
        };
        assert!(at(90.0) < at(91.0) && at(91.0) < at(92.0));
        assert!((at(91.0) - 5.0).abs() < 0.1, "{}", at(91.0));
    }

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
    fn labels_that_say_nothing_are_errors() {
        let features = random(8, 2, 5);
        let fit = |targets: &[f64]| {
            Adaptation::fit(&[features.slice(s![..targets.len(), ..])], &[], targets).unwrap_err()
        };
        assert_eq!(fit(&[1.0; 8]), AdaptationError::Constant);
        assert_eq!(fit(&[1.0, f64::NAN, 2.0, 3.0, 4.0]), AdaptationError::Constant);
        assert_eq!(fit(&[1.0, 2.0]), AdaptationError::Few(2));
    }
}
