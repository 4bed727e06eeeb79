//! A search in one space, from beginning to end.

use super::arguments::{Arguments, Format};
use super::folder::{Folder, Settings};
use super::front::{Estimated, Estimates, Front, Member, print_table};
use super::measured::Measured;
use super::measures;
use super::telling::{Best, interrupts, tell, tell_of_failures};
use crate::cli::error::Error;
use crate::cli::output::Target;
use crate::cli::progress::Progress;
use crate::cli::stdout::{json, print_json};
use crate::draw::{self, Listing};
use crate::estimator::Estimator;
use crate::search::{Evaluated, Next, Problem, Record, Search, SearchSpace, Start};
use clap::ValueEnum;
use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// The candidate of a text.
type Parse<'a, C> = dyn Fn(&str) -> Result<C, Error> + 'a;

/// Writes a candidate as an ONNX file.
type Write<'a, C> = dyn Fn(&C, Target) -> Result<(), Error> + 'a;

/// What tells a candidate from others, in words.
type Describe<'a, C> = dyn Fn(&C) -> Vec<String> + 'a;

/// A search in one space.
pub(super) struct Job<'a, S: SearchSpace> {
    pub space: &'a S,
    pub parse: &'a Parse<'a, S::Candidate>,
    pub write: &'a Write<'a, S::Candidate>,
    pub describe: &'a Describe<'a, S::Candidate>,
    /// What measures accuracies, if they are no estimates.
    pub measured: Option<&'a Measured>,
}

impl<S: SearchSpace> Job<'_, S>
where
    S::Candidate: 'static,
{
    /// Searches, and writes and prints what came out.
    pub fn run(
        &self,
        arguments: &Arguments,
        settings: &Settings,
        estimator: &Estimator,
    ) -> Result<(), Error> {
        let limit = Duration::from_secs(arguments.command_timeout);
        let Settings { objectives, constraints, .. } = settings;
        let known = match self.measured {
            Some(measured) => measured.add_to(Problem::new()),
            None => Problem::new(),
        };
        let problem = measures::problem(known, objectives, constraints, estimator, limit)?;
        let start = settings.start.iter().map(|text| (self.parse)(text));
        let candidates = start.collect::<Result<Vec<_>, _>>()?;
        let mut algorithm = settings.algorithm.algorithm(self.space, estimator)?;
        let inputs = settings.inputs()?;
        let (mut folder, known) = match (&arguments.resume, &arguments.output) {
            (Some(path), _) => Folder::resume(path, settings, problem.measures(), &inputs)?,
            (None, Some(path)) => Folder::create(path, settings, problem.measures(), &inputs)?,
            (None, None) => {
                return Err(Error::user("there is no folder to write to").hint("-o DIR"));
            }
        };
        let earlier: HashSet<String> = known.keys().cloned().collect();
        let start = Start { candidates, known };

        let interrupted = interrupts()?;
        let progress = Progress::new("searching", settings.budget);
        let (mut evaluated, mut best, mut failure) = (0, Best::default(), None);
        let mut observe = |news: &[Evaluated<S::Candidate>]| {
            let fresh: Vec<_> =
                news.iter().filter(|e| !earlier.contains(&e.candidate.to_string())).collect();
            if let Err(error) = folder.history.append(&fresh) {
                failure = Some(error);
                return Next::Stop;
            }
            evaluated += news.iter().filter(|e| e.fitness.violation == 0.0).count();
            best.update(&problem, news);
            progress.reach_with(evaluated as u64, || format!("searching: {}", best.text()));
            match interrupted.load(Ordering::Relaxed) {
                true => Next::Stop,
                false => Next::Continue,
            }
        };
        let began = Instant::now();
        let search = Search::new(self.space, &problem).algorithm(algorithm.as_mut()).start(start);
        let record = search.budget(settings.budget).seed(settings.seed).observed(&mut observe);
        drop(progress);
        if let Some(failure) = failure {
            return Err(failure);
        }
        folder.history.finish()?;
        let record = record?;
        self.report(&record, &problem, estimator, settings, &folder, arguments)?;
        if console::user_attended_stderr() {
            tell(&record, evaluated, began, &folder, settings);
        }
        tell_of_failures(&record)
    }

    /// Writes and prints what came out.
    fn report(
        &self,
        record: &Record<S::Candidate>,
        problem: &Problem,
        estimator: &Estimator,
        settings: &Settings,
        folder: &Folder,
        arguments: &Arguments,
    ) -> Result<(), Error> {
        let front = record.front();
        let latency_models = measures::latency_models(&settings.objectives, &settings.constraints)?;
        let digits = front.len().to_string().len();
        let (mut members, mut drawn) = (Vec::new(), Vec::new());
        folder.replace_front(|networks| {
            for (i, evaluated) in front.iter().enumerate() {
                // What was evaluated has one.
                let graph = self.space.graph(&evaluated.candidate);
                let Some((graph, fingerprint)) = graph.zip(evaluated.fingerprint) else { continue };
                let name = format!("{:0digits$}.onnx", i + 1);
                let out = Target::one_of_many(&networks.join(&name))?;
                (self.write)(&evaluated.candidate, out)?;
                let values = problem.measures().map(str::to_string).zip(&evaluated.values);
                let asked = values.enumerate().filter(|(measure, _)| problem.decides(*measure));
                members.push(Member {
                    architecture: evaluated.candidate.to_string(),
                    onnx: format!("front/{name}"),
                    fingerprint: fingerprint.to_string(),
                    parameters: graph.parameters(),
                    macs: graph.macs(),
                    // JSON has no other numbers.
                    measures: asked
                        .filter_map(|(_, (name, value))| {
                            Some((name, value.filter(|v| v.is_finite())?))
                        })
                        .collect(),
                    estimate: Estimated::of(problem, evaluated),
                    latencies: latency_models
                        .iter()
                        .map(|(name, model)| (name.clone(), model.estimate(&graph).into()))
                        .collect(),
                });
                drawn.push(graph);
            }
            Ok(())
        })?;
        let estimated = members.iter().any(|member| member.estimate.is_some());
        let report = Front {
            schema: 2,
            settings,
            evaluated: record.history.iter().filter(|e| e.fitness.violation == 0.0).count(),
            stop: record.stop,
            estimates: if estimated { Estimates::ask(estimator, &drawn) } else { None },
            measured: self.measured.map(Measured::on),
            front: members,
        };
        folder.write("front.json", json(&report)?.as_bytes())?;
        let from = settings.from.as_ref().map(|source| source.path.display().to_string());
        let title = format!("Search of {}", settings.space.clone().or(from).unwrap_or_default());
        // Of the default's models the one that spoke has the name.
        let model = match (&settings.model, &report.estimates) {
            (Some(path), _) => path.display().to_string(),
            (None, Some(estimates)) => estimates.models().join(", "),
            (None, None) => estimator.manifest().name.clone(),
        };
        let listing = Listing {
            facts: facts(settings, model, record),
            details: front.iter().map(|e| (self.describe)(&e.candidate)).collect(),
            ..report.listing(problem, estimator)
        };
        let page = draw::search(&title, problem, record, &drawn, &listing);
        folder.write("report.html", page.as_bytes())?;
        match arguments.format {
            Format::Json => print_json(&report)?,
            Format::Table => print_table(&listing)?,
        }
        match listing.rows.is_empty() {
            true => Err(Error::user("no network keeps all constraints")
                .hint("ask for more networks (--budget) or fewer constraints (--constraint)")),
            false => Ok(()),
        }
    }
}

/// What was asked for and how, for the page.
fn facts<C>(settings: &Settings, model: String, record: &Record<C>) -> Vec<(String, String)> {
    let list = |texts: Vec<String>| texts.join(", ");
    let algorithm = settings.algorithm.to_possible_value();
    let facts = [
        ("objectives", list(settings.objectives.iter().map(ToString::to_string).collect())),
        ("constraints", list(settings.constraints.iter().map(ToString::to_string).collect())),
        ("algorithm", algorithm.map_or_else(String::new, |a| a.get_name().to_string())),
        ("model", model),
        (
            "budget",
            format!("{} networks; {} candidates were proposed", settings.budget, record.candidates),
        ),
        ("seed", settings.seed.to_string()),
        ("time", format!("{:.1} s", record.spent.total().as_secs_f64())),
    ];
    let facts = facts.into_iter().filter(|(_, value)| !value.is_empty());
    facts.map(|(name, value)| (name.to_string(), value)).collect()
}
