//! What comes of a search: the Pareto front, for machines and for people.

use super::folder::Settings;
use super::measured::MeasuredOn;
use super::measures::{ESTIMATE, Measure};
use crate::cli::error::Error;
use crate::cli::latency::rounded;
use crate::cli::stdout::Text;
use crate::cli::table::{Table, si};
use crate::draw::Listing;
use crate::estimator::{Estimator, Expert, Question};
use crate::graph::ComputationGraph;
use crate::latency::LatencyEstimate;
use crate::search::{Evaluated, Problem, Stop};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Members of the front that are printed.
const PRINTED: usize = 20;

/// The result, `front.json`. It has no times in it: the same search gives the same file.
#[derive(Serialize, JsonSchema)]
pub(in crate::cli) struct Front<'a> {
    pub(super) schema: u32,
    #[serde(flatten)]
    pub(super) settings: &'a Settings,
    /// Networks whose objectives were evaluated.
    pub(super) evaluated: usize,
    pub(super) stop: Stop,
    /// What the estimates are about; without one if no measure is an estimate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) estimates: Option<Estimates>,
    /// What accuracies are measured on; without it they are estimates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) measured: Option<MeasuredOn>,
    pub(super) front: Vec<Member>,
}

/// A network of the front.
#[derive(Serialize, JsonSchema)]
pub(super) struct Member {
    pub(super) architecture: String,
    /// File, relative to the folder.
    pub(super) onnx: String,
    pub(super) fingerprint: String,
    pub(super) parameters: u64,
    pub(super) macs: u64,
    /// Every objective and constraint: what the search went by.
    pub(super) measures: BTreeMap<String, f64>,
    /// What the model says of it, if a measure is an estimate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) estimate: Option<Estimated>,
    /// What models of latencies say of it, by measure.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) latencies: BTreeMap<String, Latency>,
}

/// What a model of latencies says of a network.
#[derive(Serialize, JsonSchema)]
pub(super) struct Latency {
    /// Milliseconds.
    latency: f64,
    /// 90 %.
    interval: [f64; 2],
    in_distribution: bool,
}

impl From<LatencyEstimate> for Latency {
    fn from(estimate: LatencyEstimate) -> Self {
        let LatencyEstimate { latency, interval, in_distribution, .. } = estimate;
        Self { latency, interval, in_distribution }
    }
}

/// What the model says of a network.
#[derive(Serialize, JsonSchema)]
pub(super) struct Estimated {
    /// Expected, in per cent; of a fine-tuned model in the unit of its labels.
    accuracy: f64,
    /// In the same unit.
    interval: [f64; 2],
    distance: f64,
    in_distribution: bool,
}

impl Estimated {
    /// What the measures of a network say.
    pub fn of<C>(problem: &Problem, evaluated: &Evaluated<C>) -> Option<Self> {
        let value = |measure: Measure| {
            let name = measure.to_string();
            let at = problem.measures().position(|known| known == name)?;
            evaluated.values.get(at).copied().flatten().filter(|v| v.is_finite())
        };
        let [accuracy, low, high, distance] = ESTIMATE.map(value);
        let distance = distance?;
        Some(Self {
            accuracy: accuracy?,
            interval: [low?, high?],
            distance,
            in_distribution: distance <= 1.0,
        })
    }
}

/// What the estimates of the front are about, and whose they are.
#[derive(Serialize, JsonSchema)]
pub(super) struct Estimates {
    target: String,
    /// Why this target.
    target_reason: String,
    /// Who spoke.
    voices: Vec<Speaker>,
}

/// Who spoke of networks of the front.
#[derive(Serialize, JsonSchema)]
struct Speaker {
    expert: Expert,
    model: String,
    /// Of so many of them.
    networks: usize,
}

impl Estimates {
    /// The models that spoke.
    pub fn models(&self) -> Vec<&str> {
        let mut models: Vec<&str> = Vec::new();
        for Speaker { model, .. } in &self.voices {
            if !models.contains(&model.as_str()) {
                models.push(model);
            }
        }
        models
    }

    /// Of networks of the same space.
    pub fn ask(estimator: &Estimator, graphs: &[ComputationGraph]) -> Option<Self> {
        let answers = estimator.answer(graphs, &Question::of_one_family()).ok()?;
        let tuned = estimator.manifest().fine_tuning.as_ref().map(|tuned| tuned.target.clone());
        let first = answers.first()?;
        let mut voices: Vec<Speaker> = Vec::new();
        for answer in &answers {
            let mut spoken: Vec<(Expert, &String)> = Vec::new();
            for voice in &answer.voices {
                // The heads of several clusters are one speaker.
                let who = (voice.expert, &voice.model);
                if spoken.contains(&who) {
                    continue;
                }
                spoken.push(who);
                match voices.iter_mut().find(|s| (s.expert, &s.model) == who) {
                    Some(speaker) => speaker.networks += 1,
                    None => voices.push(Speaker {
                        expert: voice.expert,
                        model: voice.model.clone(),
                        networks: 1,
                    }),
                }
            }
        }
        Some(Self {
            target: first.target.map(|t| t.to_string()).or(tuned)?,
            target_reason: first.reason.clone(),
            voices,
        })
    }
}

/// A measure as people read it.
pub(super) fn shown(measure: &str, value: f64) -> String {
    match measure {
        "accuracy" | "accuracy-mean" | "accuracy-low" | "accuracy-high" => format!("{value:.2} %"),
        "distance" => format!("{value:.2}"),
        "depth" => format!("{value:.0}"),
        "parameters" | "macs" | "activations" | "peak-memory" => si(value as u64),
        _ => format!("{value:.4}"),
    }
}

impl Front<'_> {
    /// The front as people read it.
    pub fn listing(&self, problem: &Problem, estimator: &Estimator) -> Listing {
        let measures = problem.measures().enumerate();
        let names: Vec<&str> =
            measures.filter(|(m, _)| problem.decides(*m)).map(|(_, name)| name).collect();
        let usual = ["parameters", "macs"].into_iter().filter(|usual| !names.contains(usual));
        let numbers: Vec<&str> = names.iter().copied().chain(usual).collect();
        let of_estimates: &[&str] = match self.front.iter().any(|m| m.estimate.is_some()) {
            true => &["expected", "90 % interval", "distance"],
            false => &[],
        };
        let columns = numbers.iter().chain(of_estimates).chain(&["file", "architecture"]);
        // Of other units than per cent one can't tell which digits count.
        let percent = estimator.manifest().fine_tuning.is_none() || self.measured.is_some();
        let row = |member: &Member| {
            let measure = |name: &&str| match (*name, member.measures.get(*name)) {
                (name, Some(_)) if member.latencies.contains_key(name) => {
                    member.latencies[name].cell()
                }
                ("parameters", _) => si(member.parameters),
                ("macs", _) => si(member.macs),
                (name, Some(value)) if !percent && name.starts_with("accuracy") => {
                    format!("{value:.4}")
                }
                (_, value) => value.map_or(String::new(), |&value| shown(name, value)),
            };
            let mut cells: Vec<String> = numbers.iter().map(measure).collect();
            match &member.estimate {
                Some(estimate) => cells.extend(estimate.cells(percent)),
                None => cells.extend(of_estimates.iter().map(|_| String::new())),
            }
            cells.extend([member.onnx.clone(), member.architecture.clone()]);
            cells
        };
        Listing {
            columns: columns.map(|column| column.to_string()).collect(),
            rows: self.front.iter().map(row).collect(),
            remarks: self.remarks(),
            ..Listing::default()
        }
    }

    /// What the estimates are about, whose they are, and what they are worth.
    fn remarks(&self) -> Vec<String> {
        let mut remarks = self.remarks_on_accuracy();
        remarks.extend(self.measured.as_ref().map(MeasuredOn::remark));
        let names: BTreeSet<&String> = self.front.iter().flat_map(|m| m.latencies.keys()).collect();
        for name in names {
            let inside = |m: &&Member| m.latencies.get(name).is_some_and(|l| l.in_distribution);
            let outside = self.front.len() - self.front.iter().filter(inside).count();
            if outside > 0 {
                remarks.push(format!(
                    "{name}: {outside} of {} networks are unlike those that were measured; the \
                     search went by the worse end of their 90 % interval",
                    self.front.len()
                ));
            }
        }
        remarks
    }

    fn remarks_on_accuracy(&self) -> Vec<String> {
        let Some(Estimates { target, voices, .. }) = &self.estimates else { return Vec::new() };
        let speaker = |s: &Speaker| {
            let of = match (s.networks, self.front.len()) {
                (some, all) if some < all => format!(" (of {some} networks)"),
                _ => String::new(),
            };
            format!("{}, {}{of}", s.model, s.expert.about())
        };
        let speakers: Vec<String> = voices.iter().map(speaker).collect();
        let mut remarks = vec![format!("estimates of {target}, by {}", speakers.join("; "))];
        let inside = |m: &&Member| m.estimate.as_ref().is_some_and(|e| e.in_distribution);
        let outside = self.front.len() - self.front.iter().filter(inside).count();
        if outside > 0 {
            remarks.push(format!(
                "{outside} of {} networks are unlike what the model was made from: their estimates \
                 are of use for a rough order at best",
                self.front.len()
            ));
        }
        remarks
    }
}

impl Latency {
    /// As people read it.
    fn cell(&self) -> String {
        let Self { latency, interval: [low, high], in_distribution } = self;
        let side = if *in_distribution { "" } else { ", outside" };
        let [latency, low, high] = [latency, low, high].map(|x| rounded(*x));
        format!("{latency} ({low} – {high}{side}) ms")
    }
}

impl Estimated {
    /// As people read it: expectation, interval, and on which side of the border it is.
    fn cells(&self, percent: bool) -> [String; 3] {
        let Self { accuracy, interval: [low, high], distance, in_distribution } = self;
        // Digits that nobody vouches for are not shown. Of one width, so that numbers stay aligned.
        let [expected, interval] = match (percent, in_distribution) {
            (true, true) => [format!("{accuracy:.2} %"), format!("{low:.1} – {high:.1}")],
            (true, false) => {
                [format!("about {accuracy:.0} %   "), format!("{low:.0} – {high:.0}  ")]
            }
            (false, _) => [format!("{accuracy:.4}"), format!("{low:.4} – {high:.4}")],
        };
        let side = if *in_distribution { "inside " } else { "outside" };
        [expected, interval, format!("{distance:.2} {side}")]
    }
}

pub(super) fn print_table(listing: &Listing) -> Result<(), Error> {
    let Listing { columns, rows, remarks, .. } = listing;
    if rows.is_empty() {
        return Ok(());
    }
    let left = |column: &String| match column.as_str() {
        "file" | "architecture" => format!("<{column}"),
        _ => column.clone(),
    };
    let header: Vec<String> = columns.iter().map(left).collect();
    let mut table = Table::new(&header.iter().map(String::as_str).collect::<Vec<_>>());
    let step = rows.len().div_ceil(PRINTED).max(1);
    rows.iter().step_by(step).for_each(|row| table.row(row.iter().cloned()));
    let mut out = Text::stdout();
    table.print(&mut out)?;
    if step > 1 {
        let all = rows.len();
        out.line(&format!("one in {step} of {all} networks; all are in front.json"))?;
    }
    remarks.iter().try_for_each(|remark| out.line(remark))?;
    out.flush()
}
