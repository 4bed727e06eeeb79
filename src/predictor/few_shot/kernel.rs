//! Kernel ridge regression whose kernel a few labels choose.

use super::structure::Structure;
use super::{FewShotError, RegressionKind};
use crate::encoder::{Neighbourhoods, WeightError, WeightFile, Weights};
use crate::predictor::process::{inverse, matern};
use crate::proxies::MEASURES;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, Zip, s};
use rayon::prelude::*;

/// Names of the [groups of features](super::FewShotRegressor::features) in model files.
const GROUPS: [&str; 3] = ["estimate", "embedding", "proxies"];

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
pub(super) const CHOOSING: usize = 200;

/// What the ridge that few labels have chosen is multiplied by, where there are more.
const FINER: [f64; 3] = [0.3, 1.0, 3.0];

/// Kernel ridge regression.
///
/// The kernel is the weighted sum of the groups' linear kernels, or Matérn's of the distance that this
/// sum and the graphs' neighbourhoods define. Weights, kind and ridge are those with the least squared
/// error when each label is left out in turn, which the inverse of the kernel gives without fitting
/// again (Rasmussen and Williams 2006, equation 5.12).
#[derive(Debug, Clone)]
pub(super) struct KernelRidge {
    groups: Vec<Group>,
    /// Of a Matérn kernel, unless the graphs are unknown.
    structure: Option<Structure>,
    matern: bool,
    /// Of each label.
    coefficients: Array1<f64>,
}

impl KernelRidge {
    /// Fits centred ranks; also how far each label is from what is predicted without it.
    pub fn fit(
        groups: &[ArrayView2<f64>],
        structures: &[Neighbourhoods],
        ranks: &Array1<f64>,
    ) -> Result<(Self, Array1<f64>), FewShotError> {
        let groups: Vec<Group> = groups.iter().map(|g| Group::centred(g.view())).collect();
        let structure = (!structures.is_empty()).then(|| Structure::new(structures));
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
        let tried = tried.collect::<Result<Vec<_>, FewShotError>>()?.into_iter();
        let least = tried.reduce(|a, b| if b.0.error < a.0.error { b } else { a });
        let (mut fitted, choice) = least.ok_or(FewShotError::Constant)?;
        if ranks.len() > few {
            let ridges = FINER.map(|factor| factor * fitted.ridge).into_iter();
            let kernel = choice.kernel(products(ranks.len()));
            fitted = Fitted::best(&kernel, ranks.view(), ridges)?;
        }
        let Fitted { coefficients, residuals, .. } = fitted;
        let Choice { matern, weights } = choice;
        let of_structure = weights.get(groups.len()).copied().unwrap_or(0.0);
        let structure = structure.filter(|_| matern);
        let structure = structure.map(|s| s.weighted(of_structure));
        let groups = groups.into_iter().zip(weights).map(|(group, w)| group.weighted(w)).collect();
        Ok((Self { groups, structure, matern, coefficients }, residuals))
    }

    /// Rank of a network with these features, a group each.
    pub fn rank(&self, groups: &[ArrayView1<f64>], graph: impl FnOnce() -> Neighbourhoods) -> f64 {
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

    pub fn kind(&self) -> RegressionKind {
        match (&self.structure, self.matern) {
            (Some(_), _) => RegressionKind::Neighbourhoods,
            (None, true) => RegressionKind::Matern,
            (None, false) => RegressionKind::Linear,
        }
    }

    /// Adds its tensors to a model file.
    pub fn store(&self, file: &mut WeightFile) {
        let labels = self.coefficients.len();
        file.put("adaptation.coefficients", &[labels, 1], &self.coefficients);
        for (name, group) in GROUPS.iter().zip(&self.groups) {
            let features = group.mean.len();
            file.put(format!("adaptation.{name}.mean"), &[features], &group.mean);
            file.put(format!("adaptation.{name}.scale"), &[1], [&group.scale]);
            let shape = [labels, features];
            file.put(format!("adaptation.{name}.labels"), &shape, &group.features);
        }
        if let Some(structure) = &self.structure {
            structure.store(file);
        }
    }

    /// That of this kind which a model file holds.
    pub fn load(
        kind: RegressionKind,
        embedding: usize,
        weights: &Weights,
    ) -> Result<Self, WeightError> {
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
        let groups = GROUPS.into_iter().zip([1, embedding, MEASURES]).map(group);
        let groups = groups.collect::<Result<_, WeightError>>()?;
        let structural = kind == RegressionKind::Neighbourhoods;
        let structure = structural.then(|| Structure::load(coefficients.len(), weights));
        let structure = structure.transpose()?;
        let matern = structural || kind == RegressionKind::Matern;
        Ok(Self { groups, structure, matern, coefficients })
    }
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
    ) -> Result<Self, FewShotError> {
        let count = targets.len() as f64;
        let scale = (kernel.diag().sum() / count).max(1e-12);
        let mut best = Err(FewShotError::Constant);
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
    use super::super::tests::random;
    use super::*;
    use linfa_linalg::cholesky::SolveC;

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
}
