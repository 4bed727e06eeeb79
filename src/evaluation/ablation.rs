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
pub const SCHEMA: u32 = 1;

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

/// A predictor on NAS-Bench-101's test networks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct InSpace {
    /// The predictor.
    pub method: String,
    /// Mean absolute error, percentage points.
    pub mean_absolute_error: Spread,
    /// Spearman's rank correlation.
    pub spearman: Spread,
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

/// How a predictor ranks a family, as Spearman's rank correlation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Member {
    /// The predictor.
    pub method: String,
    /// Without labels of the family.
    pub zero_shot: Spread,
    /// Fitted to a few, on the networks left.
    pub few_shot: Spread,
    /// The same two in table 5 of arXiv 2211.17226, where it has them.
    pub published: Option<[f64; 2]>,
}

/// Version of [`RealReport`] as JSON; changes when the meaning of a field does.
pub const REAL_SCHEMA: u32 = 1;

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
}

impl RealReport {
    /// A row for each part; a pair of columns for each target and what was left out.
    pub fn rows(&self) -> Vec<Rows> {
        let mut tables: Vec<Rows> = Vec::new();
        let mut last = None;
        for row in &self.rows {
            if last != Some(row.target) {
                last = Some(row.target);
                let columns = ["families", "superfamilies"].into_iter().flat_map(|left_out| {
                    [format!("{left_out} left out: Spearman"), "MAE %".to_string()]
                });
                let header = std::iter::once(row.target.data_set().to_string()).chain(columns);
                tables.push((header.collect(), Vec::new()));
            }
            let Some((_, rows)) = tables.last_mut() else { continue };
            let measured = [text(&row.spearman), text(&row.mean_absolute_error)];
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

fn text(spread: &Spread) -> String {
    let deviation = spread.deviation.map(|d| format!(" ± {d:.3}"));
    format!("{:.3}{}", spread.mean, deviation.unwrap_or_default())
}

impl Report {
    /// Table 3: in the space trained on.
    pub fn in_space_rows(&self) -> Rows {
        let header = ["NAS-Bench-101", "MAE %", "paper's", "Spearman", "paper's"];
        let row = |r: &InSpace| {
            let [error, spearman] = r.published;
            vec![
                r.method.clone(),
                text(&r.mean_absolute_error),
                format!("{error:.2}"),
                text(&r.spearman),
                format!("{spearman:.3}"),
            ]
        };
        (header.map(String::from).to_vec(), self.in_space.iter().map(row).collect())
    }

    /// Table 5: on other families.
    pub fn transfer_rows(&self) -> Rows {
        let few = format!("{} labels", self.labels);
        let header = ["family", "ranked by", "no labels", "paper's", &few, "paper's"];
        let row = |family: &Transfer, member: &Member| {
            let published =
                |i: usize| member.published.map_or_else(String::new, |p| format!("{:.3}", p[i]));
            vec![
                format!("{}, {}", family.family, family.networks),
                member.method.clone(),
                text(&member.zero_shot),
                published(0),
                text(&member.few_shot),
                published(1),
            ]
        };
        let rows = self.families.iter().flat_map(|f| f.members.iter().map(move |m| row(f, m)));
        (header.map(String::from).to_vec(), rows.collect())
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
        assert_eq!(text(&spread), "0.800 ± 0.100");
        assert_eq!(text(&Spread::new(vec![0.5])), "0.500");
    }
}
