//! Families that nothing was trained on.

use super::predictors::Predictors;
use super::variants::{ENSEMBLE, Predictor, TABLE_5, members};
use super::{Options, agreement, kendall};
use crate::benchmarks::{Networks, Set, Subset, few_shot};
use crate::encoder::{GraphStore, Neighbourhoods};
use crate::evaluation::ablation::{Agreement, Member, Transfer};
use crate::evaluation::{contents, views};
use crate::predictor::{Ensemble, FewShotRegressor, Standardisation};
use crate::train::TrainError;
use ndarray::{Array2, Axis};

/// A foreign family, with its graphs.
pub(super) struct Family<'a> {
    pub set: &'static Set,
    networks: Subset<'a>,
    store: GraphStore,
    truth: Vec<f64>,
}

/// [`agreement`] without labels and with a few, by predictor.
pub(super) type Ranked = Vec<(String, [[f64; 3]; 2])>;

impl<'a> Family<'a> {
    pub fn new(
        set: &'static Set,
        whole: &'a dyn Networks,
        options: &Options,
        report: &mut dyn FnMut(&str),
    ) -> Result<Self, TrainError> {
        let positions = if whole.len() > options.networks {
            few_shot(whole, options.networks, 0).0
        } else {
            (0..whole.len()).collect()
        };
        let networks = Subset { whole, positions };
        let count = networks.len();
        let least = options.labels + 2;
        if count < least {
            return Err(TrainError::Few { family: set.name, networks: count, least });
        }
        report(&format!("{}: {count} networks", set.name));
        let graph = |i| networks.graph(i);
        let (store, unsaved) =
            GraphStore::cached(&options.cache, &contents(&networks), count, graph, &|_| ())?;
        if let Some(error) = unsaved {
            let cache = options.cache.display();
            report(&format!("warning: the graphs can't be kept in {cache}: {error}"));
        }
        let truth = (0..count).map(|i| networks.target(i)).collect();
        Ok(Self { set, networks, store, truth })
    }

    /// How the ensemble and its members rank the family. Without labels, members weigh the same, each
    /// standardised by its own scores of the family: by those of NAS-Bench-101, whose networks differ
    /// far more in cost, the FLOPs of another family would hardly be heard. With a few, each member's
    /// score and embedding are fitted to them in closed form, and its weight follows from how well it
    /// predicts each label from the others.
    pub fn rank(
        &self,
        predictors: &Predictors,
        options: &Options,
        seed: u64,
    ) -> Result<Ranked, TrainError> {
        let networks = predictors.encoders.embed(&self.store, 0..self.store.len());
        let scores: Vec<Vec<f64>> =
            members().map(|m| predictors.scores(m.predictor, &networks)).collect();
        let standards = scores.iter().map(|scores| Standardisation::fit(scores)).collect();
        let together = Ensemble::equal(standards).scores(&scores);

        let (labelled, rest) = few_shot(&self.networks, options.labels, seed);
        let of = |rows: &[usize]| rows.iter().map(|&i| self.truth[i]).collect::<Vec<f64>>();
        let (labels, truth) = (of(&labelled), of(&rest));
        let (mut ranks, mut taus) = (Vec::new(), Vec::new());
        for (member, scores) in members().zip(&scores) {
            let scores = Array2::from_shape_fn((scores.len(), 1), |(i, _)| scores[i]);
            let mut features = vec![scores];
            match member.predictor {
                Predictor::KGnn => features.push(networks.k_gnn.mapv(f64::from)),
                Predictor::Flops => {}
                Predictor::Heads { .. } => features.push(networks.contrastive.mapv(f64::from)),
            }
            let select = |rows: &[usize]| -> Vec<Array2<f64>> {
                features.iter().map(|f| f.select(Axis(0), rows)).collect()
            };
            let (sample, others) = (select(&labelled), select(&rest));
            let (regressor, left_out) =
                FewShotRegressor::fit_left_out(&views(&sample), &[], &labels)?;
            let others = views(&others);
            taus.push(kendall(&labels, &left_out));
            ranks.push(
                (0..rest.len())
                    .map(|row| regressor.rank(&others, row, Neighbourhoods::default))
                    .collect(),
            );
        }
        // Fitted members all predict ranks among the same labels.
        let unit = Standardisation { mean: 0.0, deviation: 1.0 };
        let fitted = Ensemble::weighted(vec![unit; ranks.len()], &taus).scores(&ranks);

        let methods = members().map(|m| m.name).chain([ENSEMBLE]);
        let zero_shot = scores.iter().chain([&together]).map(|s| agreement(&self.truth, s));
        let few_shot = ranks.iter().chain([&fitted]).map(|s| agreement(&truth, s));
        let pairs = zero_shot.zip(few_shot).map(<[_; 2]>::from);
        Ok(methods.map(String::from).zip(pairs).collect())
    }

    pub fn summary(&self, seeds: &[Ranked]) -> Transfer {
        let member = |(i, (method, _)): (usize, &(String, _))| {
            let of = |setting: usize| Agreement::new(seeds.iter().map(move |s| s[i].1[setting]));
            let published =
                TABLE_5.iter().find(|(family, m, _)| *family == self.set.name && *m == method);
            Member {
                method: method.clone(),
                zero_shot: of(0),
                few_shot: of(1),
                published: published.map(|(_, _, figures)| *figures),
            }
        };
        let first = seeds.first().map_or(&[][..], Vec::as_slice);
        Transfer {
            family: self.set.name.into(),
            target: self.set.target.into(),
            networks: self.networks.len(),
            members: first.iter().enumerate().map(member).collect(),
        }
    }
}
