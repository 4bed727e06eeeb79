//! `gennape evaluate --left-out`: what models of real networks know of how well they do.

use super::error::Error;
use super::evaluate::Format;
use super::stdout::{self, Text, print_json};
use super::table::Table;
use crate::benchmarks::Target;
use crate::draw::{self, Points};
use crate::estimator::Estimator;
use crate::estimator::real::{Evaluation, Ranking, RealNetworks};
use schemars::JsonSchema;
use serde::Serialize;
use std::io::Write;

/// Version of [`Report`]'s JSON form.
const SCHEMA: u32 = 1;

#[derive(Serialize, JsonSchema)]
pub(super) struct Report<'a> {
    schema: u32,
    model: &'a str,
    target: Target,
    evaluation: Vec<&'a Evaluation>,
    /// Estimated without their family.
    networks: Vec<Network<'a>>,
}

#[derive(Serialize, JsonSchema)]
struct Network<'a> {
    name: &'a str,
    /// Measured, in per cent.
    measured: f64,
    /// In per cent.
    estimate: f64,
    /// 90 %.
    interval: [f64; 2],
}

pub(super) fn run(target: Target, estimator: &Estimator, format: Format) -> Result<(), Error> {
    let mut models = estimator.real().iter();
    let Some(model) = models.find(|model| model.facts(target).is_some()) else {
        return Err(Error::user(format!("the model has no labels of real networks for {target}"))
            .hint(format!("gennape evaluate --left-out {}", target.name())));
    };
    let report = Report::new(model, target);
    match format {
        Format::Json => print_json(&report),
        Format::Svg => {
            let mut out = stdout::bytes();
            out.write_all(report.picture().as_bytes())?;
            Ok(out.flush()?)
        }
        Format::Table | Format::Markdown => {
            let mut table = Table::new(&HEADER);
            report.rows().into_iter().for_each(|cells| table.row(cells));
            let mut out = Text::stdout();
            match format {
                Format::Markdown => table.markdown(&mut out)?,
                _ => table.print(&mut out)?,
            }
            out.flush()
        }
    }
}

const HEADER: [&str; 11] = [
    "<left out",
    "<ranked by",
    "Spearman",
    "Kendall τ-b",
    "MAE",
    "within family",
    "at equal MACs",
    "pairs",
    "rank of first",
    "top tenth",
    "covered",
];

impl<'a> Report<'a> {
    fn new(model: &'a RealNetworks, target: Target) -> Self {
        let manifest = model.manifest();
        let network = |(known, estimate, interval): (&'a crate::estimator::real::Known, _, _)| {
            Network { name: &known.name, measured: known.accuracy, estimate, interval }
        };
        Self {
            schema: SCHEMA,
            model: &manifest.name,
            target,
            evaluation: manifest.evaluation.iter().filter(|e| e.target == target).collect(),
            networks: model.left_out(target).into_iter().map(network).collect(),
        }
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let share = |value: Option<f64>| value.map_or_else(String::new, |v| format!("{v:.3}"));
        let bracket =
            |(value, [low, high]): (f64, [f64; 2])| format!("{value:.3} ({low:.3} – {high:.3})");
        let row = |evaluation: &&Evaluation, i: usize, r: &Ranking| {
            let Evaluation { groups, left_out, .. } = evaluation;
            let first = if i == 0 { format!("{groups} {left_out}") } else { String::new() };
            let by = if r.ranked_by == "heads" { self.model } else { &r.ranked_by };
            vec![
                first,
                by.to_string(),
                bracket(r.spearman),
                bracket(r.kendall),
                format!("{:.2} %", r.mean_absolute_error.0),
                share(r.within_family),
                share(r.at_equal_macs),
                share(Some(r.pairs)),
                r.rank_of_best.to_string(),
                format!("{:.2}", r.precision_at_tenth),
                share(r.coverage),
            ]
        };
        let rows = self.evaluation.iter().flat_map(|evaluation| {
            evaluation.rankings.iter().enumerate().map(move |(i, r)| row(evaluation, i, r))
        });
        rows.collect()
    }

    /// Estimates over what was measured.
    fn picture(&self) -> String {
        let pick =
            |of: &dyn Fn(&Network) -> f64| self.networks.iter().map(of).collect::<Vec<f64>>();
        let names: Vec<String> = self.networks.iter().map(|n| n.name.to_string()).collect();
        let intervals: Vec<[f64; 2]> = self.networks.iter().map(|n| n.interval).collect();
        let families = self.evaluation.iter().find(|e| e.left_out == "families");
        let heads = families.and_then(|e| Some((e, e.rankings.first()?)));
        let title = heads.map_or_else(Vec::new, |(e, r)| {
            vec![
                format!("{}: {} networks of {} families", self.target, e.networks, e.groups),
                "each estimated by a model that was fitted without its family".into(),
                format!(
                    "Spearman {:.3}, mean error {:.2} points; bars: 90 % intervals",
                    r.spearman.0, r.mean_absolute_error.0
                ),
            ]
        });
        draw::scatter(&Points {
            title,
            measured: &format!("accuracy on {}, %", self.target),
            truth: &pick(&|n| n.measured),
            estimated: &pick(&|n| n.estimate),
            intervals: &intervals,
            names: &names,
        })
    }
}
