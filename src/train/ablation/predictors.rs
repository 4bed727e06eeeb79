//! Encoders and heads, trained with one seed.

use super::hyperparameters::choose;
use super::variants::{Predictor, Target, VARIANTS, Variant};
use super::{Options, kendall};
use crate::encoder::{Config, Encoder, GraphStore, Weights};
use crate::estimator::{LoadError, Recipe};
use crate::evaluation::ablation::Choice;
use crate::predictor::{
    FlopsTransform, FuzzyClusters, FuzzyHeads, Head, Standardisation, log_gflops,
};
use crate::proxies::Proxies;
use crate::train::contrastive::{Contrastive, Graphs, pretrain, spectral};
use crate::train::heads::{self, Objective, Task};
use crate::train::{LabelledGraphs, TrainError, bundle, fit};
use ndarray::Array2;
use std::ops::Range;
use std::time::Instant;

/// Eigenvalues that say how alike two graphs are; GENNAPE's.
const EIGENVALUES: usize = 21;

/// Networks as the predictors see them.
pub(super) struct Embedded {
    pub k_gnn: Array2<f32>,
    pub contrastive: Array2<f32>,
    proxies: Vec<Proxies>,
}

/// Encoders, trained.
pub(super) struct Encoders {
    k_gnn: (Encoder, Head),
    contrastive: Encoder,
}

impl Encoders {
    pub fn embed(&self, store: &GraphStore, graphs: Range<usize>) -> Embedded {
        let proxies: Vec<Proxies> = graphs.clone().map(|g| *store.proxies(g)).collect();
        let graphs: Vec<usize> = graphs.collect();
        Embedded {
            k_gnn: bundle::embed(store, &graphs, &self.k_gnn.0),
            contrastive: bundle::embed(store, &graphs, &self.contrastive),
            proxies,
        }
    }
}

/// Statistics of the training networks' accuracies.
#[derive(Clone, Copy)]
struct Targets {
    accuracy: Standardisation,
    transform: FlopsTransform,
}

impl Targets {
    fn fit(accuracies: &[f64], proxies: &[Proxies]) -> Self {
        let networks = accuracies.iter().zip(proxies).map(|(a, c)| (*a, c.macs));
        let transform = FlopsTransform::fit(networks);
        Self { accuracy: Standardisation::fit(accuracies), transform }
    }

    /// What heads learn of networks.
    fn apply(&self, target: Target, accuracies: &[f64], proxies: &[Proxies]) -> Vec<f64> {
        let of = |(a, c): (&f64, &Proxies)| match target {
            Target::Accuracy | Target::Pairwise => self.accuracy.apply(*a),
            Target::Transformed => self.transform.apply(*a, c.macs),
        };
        accuracies.iter().zip(proxies).map(of).collect()
    }

    /// Heads' scores as accuracies, except pairwise ones, which are no estimates of any.
    fn invert(&self, target: Target, scores: &[f64], proxies: &[Proxies]) -> Vec<f64> {
        let of = |(s, c): (&f64, &Proxies)| match target {
            Target::Accuracy => self.accuracy.invert(*s),
            Target::Transformed => self.transform.invert(*s, c.macs),
            Target::Pairwise => *s,
        };
        scores.iter().zip(proxies).map(of).collect()
    }
}

/// Everything that is trained with one seed.
pub(super) struct Predictors {
    pub encoders: Encoders,
    targets: Targets,
    heads: Vec<(Predictor, FuzzyHeads)>,
}

impl Predictors {
    /// Accuracies, or other scores where the predictor gives none.
    pub fn scores(&self, predictor: Predictor, networks: &Embedded) -> Vec<f64> {
        let accuracies = |target, scores: Vec<f32>| {
            let scores: Vec<f64> = scores.into_iter().map(f64::from).collect();
            self.targets.invert(target, &scores, &networks.proxies)
        };
        match predictor {
            Predictor::KGnn => {
                let scores = self.encoders.k_gnn.1.scores(networks.k_gnn.view());
                accuracies(Target::Accuracy, scores)
            }
            Predictor::Flops => networks.proxies.iter().map(|c| log_gflops(c.macs)).collect(),
            Predictor::Heads { target, .. } => {
                let heads = self.heads.iter().find(|(of, _)| *of == predictor);
                heads.map_or_else(Vec::new, |(_, heads)| {
                    accuracies(target, heads.scores(networks.contrastive.view()))
                })
            }
        }
    }
}

impl Encoders {
    fn train(
        set: &LabelledGraphs,
        options: &Options,
        seed: u64,
        report: &mut dyn FnMut(&str),
    ) -> Result<Self, TrainError> {
        let operations = set.store.operations(set.training.clone());
        let (config, recipe) = (Config::k_gnn(), Recipe::k_gnn());
        let recipe = Recipe { epochs: options.epochs.unwrap_or(recipe.epochs), ..recipe };
        let k_gnn = fit::fit(set, &operations, &config, &recipe, seed, &mut |line| {
            report(&format!("k-GNN: {line}"));
        });
        let file = bundle::file(&k_gnn.tensors).to_bytes().map_err(LoadError::from)?;
        let weights = Weights::parse(&file).map_err(LoadError::from)?;
        let k_gnn = (
            Encoder::new(&config, &operations, &weights).map_err(LoadError::from)?,
            Head::new(&config, &weights).map_err(LoadError::from)?,
        );

        let (config, recipe) = (Config::encoder(), Contrastive::default());
        let recipe = Contrastive { epochs: options.epochs.unwrap_or(recipe.epochs), ..recipe };
        let (store, cache) = (&set.store, &options.cache);
        let graphs: Vec<usize> = set.training.clone().collect();
        let families = vec![0; graphs.len()];
        let (spectra, unsaved) = spectral::cached(cache, store, &graphs, EIGENVALUES);
        if let Some(error) = unsaved {
            report(&format!("warning: the spectra can't be kept in {}: {error}", cache.display()));
        }
        let graphs = Graphs { store, graphs: &graphs, families: &families, targets: &spectra };
        let contrastive = pretrain(&graphs, &config, &operations, &recipe, seed, &mut |line| {
            report(&format!("CL: {line}"));
        });
        let contrastive = contrastive.encoder(&config, &operations)?;
        Ok(Self { k_gnn, contrastive })
    }
}

/// What heads are trained on and chosen by.
struct Fitting<'a> {
    training: Embedded,
    validation: Embedded,
    accuracies: &'a [f64],
    truth: &'a [f64],
    targets: Targets,
    seed: u64,
}

impl Fitting<'_> {
    fn fit(&self, target: Target, clusters: &FuzzyClusters, hidden: &[usize]) -> heads::Fitted {
        let task = Task {
            training: self.training.contrastive.view(),
            targets: &self.targets.apply(target, self.accuracies, &self.training.proxies),
            validation: self.validation.contrastive.view(),
            criterion: &|scores| {
                let scores = self.targets.invert(target, scores, &self.validation.proxies);
                kendall(self.truth, &scores)
            },
            objective: match target {
                Target::Pairwise => Objective::Pairwise,
                Target::Accuracy | Target::Transformed => Objective::Regression,
            },
        };
        heads::fit(&task, clusters, hidden, self.seed)
    }

    /// Heads for `target`, one or one for each cluster.
    fn heads(
        &self,
        name: &str,
        (target, fuzzy): (Target, bool),
        choice: &Choice,
        report: &mut dyn FnMut(&str),
    ) -> Result<FuzzyHeads, TrainError> {
        let started = Instant::now();
        let inputs = &self.training.contrastive;
        let clusters = if fuzzy {
            FuzzyClusters::fit(inputs.view(), choice.clustering, self.seed)
                .map_err(TrainError::Clustering)?
        } else {
            FuzzyClusters::one(inputs.ncols())
        };
        let fitted = self.fit(target, &clusters, &choice.hidden);
        report(&format!(
            "{name}: validation τ {:.4} after epoch {}, {:.0} s",
            fitted.criterion,
            fitted.best_epoch,
            started.elapsed().as_secs_f64(),
        ));
        let file = bundle::file(&fitted.tensors).to_bytes().map_err(LoadError::from)?;
        let weights = Weights::parse(&file).map_err(LoadError::from)?;
        let (length, hidden) = (inputs.ncols(), &choice.hidden);
        FuzzyHeads::read(heads::NAME, length, hidden, heads::ACTIVATION, &weights)
            .map_err(|e| LoadError::from(e).into())
    }
}

impl Predictors {
    /// Trains encoders and heads; the first call also fills in the `choice` of hyperparameters.
    pub fn train(
        set: &LabelledGraphs,
        options: &Options,
        seed: u64,
        choice: &mut Option<Choice>,
        report: &mut dyn FnMut(&str),
    ) -> Result<Self, TrainError> {
        let encoders = Encoders::train(set, options, seed, report)?;
        let training = encoders.embed(&set.store, set.training.clone());
        let validation = encoders.embed(&set.store, set.validation.clone());
        let accuracies = &set.accuracies[set.training.clone()];
        let truth = &set.accuracies[set.validation.clone()];
        let targets = Targets::fit(accuracies, &training.proxies);
        let fitting = Fitting { training, validation, accuracies, truth, targets, seed };
        let choice = match choice {
            Some(choice) => choice,
            None => {
                let fit = |clusters: &_, hidden: &_| {
                    fitting.fit(Target::Transformed, clusters, hidden).criterion
                };
                choice.insert(choose(
                    fitting.training.contrastive.view(),
                    fitting.validation.contrastive.view(),
                    seed,
                    &fit,
                    report,
                )?)
            }
        };
        let mut heads = Vec::new();
        for &Variant { name, predictor, .. } in &VARIANTS {
            if let Predictor::Heads { target, fuzzy } = predictor {
                heads.push((predictor, fitting.heads(name, (target, fuzzy), choice, report)?));
            }
        }
        Ok(Self { encoders, targets, heads })
    }
}
