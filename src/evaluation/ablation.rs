//! GENNAPE's predictors, each alone and together, and the parts of the experts for real networks, as
//! measured by `gennape ablate`.
//!
//! What is compared of the predictors, and the figures to compare with, are tables 3 and 5 of
//! arXiv 2211.17226.

use super::Rows;
use crate::benchmarks::Target;
use crate::predictor::Clustering;
use serde::{Deserialize, Serialize};

/// Version of [`Report`] as JSON; changes when the meaning of a field does.
pub const SCHEMA: u32 = 2;

/// What was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Networks sampled from NAS-Bench-101.
    pub networks: usize,
    /// Passes of encoders over the training networks, if not as their recipes say.
    pub epochs: Option<usize>,
    /// Repetitions.
    pub seeds: u64,
    /// Labelled networks of a family to fit to.
    pub labels: usize,
    /// What the validation networks of the first seed have chosen.
    pub choice: Choice,
    /// On NAS-Bench-101's test networks.
    pub in_space: Vec<InSpace>,
    /// On the other families.
    pub families: Vec<Transfer>,
}

/// Hyperparameters of all heads, chosen by Kendall's τ-b on validation networks of NAS-Bench-101:
/// first the widths, of CL+T, then the clustering, of CL+FCM+T.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Choice {
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// Number of clusters, fuzzifier and axes.
    pub clustering: Clustering,
    /// Everything that was tried.
    pub tried: Vec<Tried>,
}

/// Hyperparameters that were tried, with what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Tried {
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// Of the embeddings, if at all.
    pub clustering: Option<Clustering>,
    /// Mean [`membership_entropy`](crate::clustering::membership_entropy) of the validation networks; 1 when clusters have collapsed.
    pub entropy: Option<f64>,
    /// Kendall's τ-b on the validation networks.
    pub kendall: f64,
}

/// A measure over all seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Sample standard deviation, of more than one seed.
    pub deviation: Option<f64>,
    /// One value for each seed.
    pub values: Vec<f64>,
}

/// How a ranking agrees with what was measured, over all seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Agreement {
    /// Spearman's rank correlation.
    pub spearman: Spread,
    /// [`rank_of_best`](crate::metrics::rank_of_best) of 1: the true rank of the network that is ranked first.
    pub rank_of_best: Spread,
    /// [`top_k_overlap`](crate::metrics::top_k_overlap) of 50: the share of the best 50 among the first 50.
    pub precision_at_50: Spread,
}

/// A predictor on NAS-Bench-101's test networks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct InSpace {
    /// The predictor.
    pub method: String,
    /// Mean absolute error, percentage points.
    pub mean_absolute_error: Spread,
    /// Of its ranking.
    pub agreement: Agreement,
    /// Error and rank correlation in table 3 of arXiv 2211.17226.
    pub published: [f64; 2],
}

/// A family that no encoder and no head was trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Transfer {
    /// Its name.
    pub family: String,
    /// What was measured.
    pub target: String,
    /// Networks ranked.
    pub networks: usize,
    /// The members of the ensemble, and it.
    pub members: Vec<Member>,
}

/// How a predictor ranks a family.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Member {
    /// The predictor.
    pub method: String,
    /// Without labels of the family.
    pub zero_shot: Agreement,
    /// Fitted to a few, on the networks left.
    pub few_shot: Agreement,
    /// The two rank correlations in table 5 of arXiv 2211.17226, where it has them.
    pub published: Option<[f64; 2]>,
}

/// Version of [`RealReport`] as JSON; changes when the meaning of a field does.
pub const REAL_SCHEMA: u32 = 2;

/// What was measured of the parts of the experts for real networks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct RealReport {
    /// [`REAL_SCHEMA`].
    pub schema: u32,
    /// Distinct graphs that encoders were pretrained on.
    pub graphs: usize,
    /// Passes over these.
    pub epochs: usize,
    /// Encoders.
    pub seeds: u64,
    /// Their contrastive loss in the last pass.
    pub loss: Spread,
    /// By target, what was left out, and part.
    pub rows: Vec<RealRow>,
}

/// Agreement with the labels of a target that were left out, with some parts of the experts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct RealRow {
    /// What is estimated.
    pub target: Target,
    /// What was left out together: families, or superfamilies.
    pub left_out: String,
    /// With which parts.
    pub part: String,
    /// Spearman's rank correlation; one value for each encoder, if one has a part in it.
    pub spearman: Spread,
    /// Mean absolute error, percentage points.
    pub mean_absolute_error: Spread,
    /// [`rank_of_best`](crate::metrics::rank_of_best) of 1: the true rank of the network that is ranked first.
    pub rank_of_best: Spread,
    /// The share of the best tenth among the first tenth.
    pub precision_at_tenth: Spread,
}

impl RealReport {
    /// A table for each target, with a row for each part and columns for what was left out.
    pub fn rows(&self) -> Vec<Rows> {
        let mut tables: Vec<Rows> = Vec::new();
        let mut last = None;
        for row in &self.rows {
            if last != Some(row.target) {
                last = Some(row.target);
                let columns = ["families", "superfamilies"].into_iter().flat_map(|left_out| {
                    let spearman = format!("{left_out} left out: Spearman");
                    [&spearman, "MAE %", "rank of best", "top tenth"].map(String::from)
                });
                let header = std::iter::once(row.target.data_set().to_string()).chain(columns);
                tables.push((header.collect(), Vec::new()));
            }
            let Some((_, rows)) = tables.last_mut() else { continue };
            let measured = [
                text(&row.spearman, 3),
                text(&row.mean_absolute_error, 3),
                text(&row.rank_of_best, 0),
                text(&row.precision_at_tenth, 2),
            ];
            match rows.iter_mut().find(|of| of.first() == Some(&row.part)) {
                Some(of) => of.extend(measured),
                None => rows.push(std::iter::once(row.part.clone()).chain(measured).collect()),
            }
        }
        tables
    }
}

impl Spread {
    pub(crate) fn new(values: Vec<f64>) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
        let deviation = (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt());
        Self { mean, deviation, values }
    }
}

fn text(spread: &Spread, digits: usize) -> String {
    let deviation = spread.deviation.map(|d| format!(" ± {d:.digits$}"));
    format!("{:.digits$}{}", spread.mean, deviation.unwrap_or_default())
}

impl Agreement {
    /// Of what each seed's scores say of its networks.
    #[cfg(feature = "train")]
    pub(crate) fn new<'a>(seeds: impl Iterator<Item = [f64; 3]> + Clone + 'a) -> Self {
        let of = |k: usize| Spread::new(seeds.clone().map(|measured| measured[k]).collect());
        Self { spearman: of(0), rank_of_best: of(1), precision_at_50: of(2) }
    }

    /// The rank correlation, the published one beside it, and the top of the ranking.
    fn cells(&self, published: Option<f64>) -> [String; 4] {
        [
            text(&self.spearman, 3),
            published.map_or_else(String::new, |p| format!("{p:.3}")),
            text(&self.rank_of_best, 0),
            text(&self.precision_at_50, 2),
        ]
    }
}

/// What follows each rank correlation.
const TOP: [&str; 3] = ["paper's", "rank of best", "precision at 50"];

impl Report {
    /// Table 3: in the space trained on.
    pub fn in_space_rows(&self) -> Rows {
        let header = ["NAS-Bench-101", "MAE %", "paper's", "Spearman"].into_iter().chain(TOP);
        let row = |r: &InSpace| {
            let [error, spearman] = r.published;
            let error = [text(&r.mean_absolute_error, 3), format!("{error:.2}")];
            let cells = error.into_iter().chain(r.agreement.cells(Some(spearman)));
            std::iter::once(r.method.clone()).chain(cells).collect()
        };
        (header.map(String::from).collect(), self.in_space.iter().map(row).collect())
    }

    /// Table 5: on other families.
    pub fn transfer_rows(&self) -> Rows {
        let few = format!("{} labels", self.labels);
        let settings = ["no labels", &few].into_iter().flat_map(|s| std::iter::once(s).chain(TOP));
        let header = ["family", "ranked by"].into_iter().chain(settings);
        let row = |family: &Transfer, member: &Member| {
            let published = |i: usize| member.published.map(|p| p[i]);
            let name = [format!("{}, {}", family.family, family.networks), member.method.clone()];
            let cells = member.zero_shot.cells(published(0)).into_iter();
            name.into_iter().chain(cells).chain(member.few_shot.cells(published(1))).collect()
        };
        let rows = self.families.iter().flat_map(|f| f.members.iter().map(move |m| row(f, m)));
        (header.map(String::from).collect(), rows.collect())
    }

    /// What was chosen, in words.
    pub fn choice_text(&self) -> String {
        let Choice { hidden, clustering, tried } = &self.choice;
        let chosen = |t: &&Tried| t.clustering == Some(*clustering);
        let entropy = tried.iter().find(chosen).and_then(|t| t.entropy).unwrap_or(f64::NAN);
        format!(
            "Chosen on validation networks: hidden layers {hidden:?}, {} clusters along {} axes, \
             m = {} (membership entropy {entropy:.2})",
            clustering.clusters, clustering.axes, clustering.fuzzifier
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_mean_and_sample_deviation() {
        let spread = Spread::new(vec![0.7, 0.9, 0.8]);
        assert!((spread.mean - 0.8).abs() < 1e-12, "{spread:?}");
        assert!(spread.deviation.is_some_and(|d| (d - 0.1).abs() < 1e-12), "{spread:?}");
        assert_eq!(text(&spread, 3), "0.800 ± 0.100");
        assert_eq!(text(&Spread::new(vec![0.5]), 2), "0.50");
    }
}
