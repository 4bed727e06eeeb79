//! A search's run as a page to look at.

use super::chart::{Axis, Chart};
use super::page::{Column, Page, escape};
use crate::graph::ComputationGraph;
use crate::search::pareto::{self, Fitness};
use crate::search::{Direction, Evaluated, Problem, Record};
use std::fmt::Display;

/// More networks than this are thinned out evenly.
const MAX_POINTS: usize = 4000;
/// Points of the history's curve.
const STEPS: usize = 120;
/// Most bytes of drawings of networks.
const MAX_DRAWINGS: usize = 8 << 20;
/// Most objectives for which the hypervolume is followed; its cost is exponential in them.
const MAX_OBJECTIVES: usize = 3;

/// What is said of a front.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// What was asked for and how, by name.
    pub facts: Vec<(String, String)>,
    /// Names of the columns; the last two are a file, relative to the page, and text.
    pub columns: Vec<String>,
    /// A cell of each column, for each network of the front, in its order.
    pub rows: Vec<Vec<String>>,
    /// Of each network, what tells it from others in words.
    pub details: Vec<Vec<String>>,
    /// What is to be known of all of them.
    pub remarks: Vec<String>,
}

/// A self-contained HTML page: the front among all networks, how it grew, and the networks on it.
/// `graphs` and `listing` are those of [`Record::front`], in its order.
pub fn search<C: Display>(
    title: &str,
    problem: &Problem,
    record: &Record<C>,
    graphs: &[ComputationGraph],
    listing: &Listing,
) -> String {
    let front = record.front();
    let names: Vec<&str> = problem.measures().collect();
    let mut page = Page::new(title);
    page.facts(&listing.facts);
    page.text(&format!(
        "{} different networks{}; {} on the front.",
        record.history.len(),
        match problem.constraints() {
            [] => String::new(),
            _ => format!(
                ", {} of them within the constraints",
                record.history.iter().filter(|e| e.fitness.violation == 0.0).count()
            ),
        },
        front.len(),
    ));
    let mut charts = Vec::new();
    if let Some((&(first, direction), others)) = problem.objectives().split_first() {
        for &(other, _) in others {
            let measures = [other, first].map(|m| (m, names[m]));
            charts.push(cloud(measures, record, &front, &labels(listing)));
        }
        charts.extend(history(names[first], direction, record));
    }
    page.charts(&charts);
    page.headline("The front");
    listing.remarks.iter().for_each(|remark| page.text(remark));
    table(&mut page, listing);
    page.headline("Networks");
    let mut room = MAX_DRAWINGS;
    for (i, (evaluated, graph)) in front.iter().zip(graphs).enumerate() {
        let (number, name) = (i + 1, evaluated.candidate.to_string());
        let mut drawing = super::graph(graph, &format!("network {number}"));
        match room.checked_sub(drawing.len()) {
            Some(left) => room = left,
            None => drawing = "<p>Not drawn, to keep the page small.</p>\n".into(),
        }
        let details = listing.details.get(i).map_or(&[][..], Vec::as_slice);
        page.folded(&format!("n{number}"), &format!("{number}: {name}"), details, &drawing);
    }
    page.finish()
}

/// What is shown when a network of the front is pointed at: its cells, by column.
fn labels(listing: &Listing) -> Vec<String> {
    let label = |(i, row): (usize, &Vec<String>)| {
        // What it is, the last of them, may be long.
        let shown = row.len().saturating_sub(1);
        let cells = listing.columns.iter().zip(&row[..shown]).filter(|(_, cell)| !cell.is_empty());
        let cells: Vec<String> =
            cells.map(|(name, cell)| format!("{name} {}", cell.trim())).collect();
        format!("{}: {}", i + 1, cells.join(", "))
    };
    listing.rows.iter().enumerate().map(label).collect()
}

/// Every network of the front with its measures and a link to its file; what it is stands below.
fn table(page: &mut Page, listing: &Listing) {
    let shown = listing.columns.len().saturating_sub(1);
    let mut header = vec![(String::new(), Column::Number)];
    header.extend(listing.columns[..shown].iter().enumerate().map(|(i, name)| {
        (name.clone(), if i + 1 < shown { Column::Number } else { Column::Text })
    }));
    let row = |(i, row): (usize, &Vec<String>)| {
        let mut cells = vec![format!("<a href=\"#n{0}\">{0}</a>", i + 1)];
        for (k, cell) in row[..shown].iter().enumerate() {
            let cell = escape(cell.trim());
            cells.push(match k + 1 == shown {
                true => format!("<a href=\"{cell}\">{cell}</a>"),
                false => cell,
            });
        }
        cells
    };
    let rows: Vec<Vec<String>> = listing.rows.iter().enumerate().map(row).collect();
    page.table(&header, &rows);
}

/// All networks by two measures, and the front among them.
fn cloud<C>(
    [(x, x_name), (y, y_name)]: [(usize, &str); 2],
    record: &Record<C>,
    front: &[&Evaluated<C>],
    labels: &[String],
) -> String {
    let point = |e: &Evaluated<C>| Some([e.values[x]?, e.values[y]?]);
    let points: Vec<[f64; 2]> = record.history.iter().filter_map(point).collect();
    let members: Vec<[f64; 2]> = front.iter().map(|e| point(e).unwrap_or([f64::NAN; 2])).collect();
    let of = |points: &[[f64; 2]], i: usize| points.iter().map(|p| p[i]).collect::<Vec<f64>>();
    let ends = [0, 1].map(|i| near(of(&points, i), of(&members, i)));
    let all = points.len();
    let inside = |p: &[f64; 2]| (0..2).all(|i| (ends[i][0]..=ends[i][1]).contains(&p[i]));
    let points: Vec<[f64; 2]> = points.into_iter().filter(inside).collect();
    let axis = |name: &str, i: usize| {
        let values = points.iter().chain(&members).map(|p| p[i]);
        Axis::new(&with_unit(name), values)
    };
    let left = match all - points.len() {
        0 => String::new(),
        left => format!(", but {left} far off"),
    };
    let about = format!("red: the front; grey: all that was tried{left}");
    let title = [format!("{y_name} by {x_name}"), about];
    let mut chart = Chart::new(&title, axis(x_name, 0), axis(y_name, 1));
    let step = points.len().div_ceil(MAX_POINTS).max(1);
    let thinned: Vec<[f64; 2]> = points.iter().copied().step_by(step).collect();
    chart.dots(&thinned, &[], "fill=\"#6b7280\" fill-opacity=\"0.35\"", 2.0);
    chart.dots(&members, labels, "fill=\"#c0392b\"", 4.0);
    chart.finish()
}

/// Between which values the front and the middle 90 % of all are: a few networks of which nothing is known
/// would leave the rest no room.
fn usual(mut values: Vec<f64>, front: Vec<f64>) -> [f64; 2] {
    values.retain(|v| v.is_finite());
    values.sort_by(f64::total_cmp);
    let cut = values.len() / 20;
    let middle = values.get(cut..values.len() - cut).unwrap_or_default();
    range(middle.iter().copied().chain(front.into_iter().filter(|v| v.is_finite())))
}

/// The [`usual`] values, and as much again on either side.
fn near(values: Vec<f64>, front: Vec<f64>) -> [f64; 2] {
    let [low, high] = usual(values, front);
    [2.0 * low - high, 2.0 * high - low]
}

/// How the search went: the best value of one objective, or the hypervolume of several, after each
/// network.
fn history<C>(name: &str, direction: Direction, record: &Record<C>) -> Option<String> {
    let fitness: Vec<Fitness> = record.history.iter().map(|e| e.fitness.clone()).collect();
    let feasible = |f: &&Fitness| f.violation == 0.0 && f.losses.iter().all(|l| l.is_finite());
    let losses: Vec<&[f64]> =
        fitness.iter().filter(feasible).map(|f| f.losses.as_slice()).collect();
    let objectives = losses.first().map_or(0, |l| l.len());
    if objectives == 0 || objectives > MAX_OBJECTIVES {
        return None;
    }
    let last: Vec<&[f64]> =
        pareto::front(&fitness).into_iter().map(|i| fitness[i].losses.as_slice()).collect();
    let of = |losses: &[&[f64]], o: usize| losses.iter().map(|l| l[o]).collect();
    let ranges: Vec<[f64; 2]> =
        (0..objectives).map(|o| usual(of(&losses, o), of(&last, o))).collect();
    let unit = |losses: &Vec<f64>| -> Vec<f64> {
        losses.iter().zip(&ranges).map(|(l, [low, high])| (l - low) / (high - low)).collect()
    };
    // A little beyond the usual worst, so that the ends of the front count.
    let reference = vec![1.1; objectives];
    let value = |count: usize| {
        let seen = &fitness[..count];
        let front = pareto::front(seen).into_iter().map(|i| &seen[i]).filter(feasible);
        let front: Vec<&Fitness> = front.collect();
        if objectives == 1 {
            let best = front.first().map(|f| f.losses[0]);
            return best.map(|loss| match direction {
                Direction::Maximise => -loss,
                Direction::Minimise => loss,
            });
        }
        let points: Vec<Vec<f64>> = front.iter().map(|f| unit(&f.losses)).collect();
        Some(pareto::hypervolume(&points, &reference) / 1.1f64.powi(objectives as i32))
    };
    let count = fitness.len();
    let curve: Vec<[f64; 2]> = (1..=STEPS.min(count))
        .map(|step| (step * count).div_ceil(STEPS.min(count)))
        .filter_map(|n| Some([n as f64, value(n)?]))
        .collect();
    let label = if objectives == 1 { name } else { "hypervolume" };
    let what = if objectives == 1 { "the best so far" } else { "of the front so far, scaled" };
    let y = Axis::new(&with_unit(label), curve.iter().map(|p| p[1]));
    let x = Axis::counts("networks", [0, count]);
    let mut chart = Chart::new(&[label.to_string(), what.into()], x, y);
    chart.line(&curve, "stroke=\"#1f6fb4\" stroke-width=\"2\"");
    Some(chart.finish())
}

/// The name of a measure with its unit, where that is known.
fn with_unit(measure: &str) -> String {
    let unit = match measure {
        m if m.starts_with("accuracy") => ", %",
        m if m.starts_with("latency") => ", ms",
        _ => "",
    };
    format!("{measure}{unit}")
}

/// From the least to the most, never empty.
fn range(values: impl Iterator<Item = f64> + Clone) -> [f64; 2] {
    let low = values.clone().fold(f64::INFINITY, f64::min);
    let high = values.fold(f64::NEG_INFINITY, f64::max);
    if high > low { [low, high] } else { [low - 0.5, low + 0.5] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::Search;
    use crate::search::algorithms::RandomSearch;
    use crate::spaces::Space;

    /// A search in which some networks are `worst`.
    fn record(worst: f64) -> Record<String> {
        let accuracy = move |graph: &ComputationGraph| match graph.macs() {
            macs if macs % 53 == 0 => worst,
            macs => 80.0 + 1e-7 * macs as f64,
        };
        let problem = Problem::new()
            .maximise("accuracy", accuracy)
            .minimise("macs", |graph: &ComputationGraph| graph.macs() as f64);
        let search = Search::new(&Space::NasBenchMacro, &problem).algorithm(RandomSearch);
        search.budget(200).seed(0).run().unwrap()
    }

    /// What nobody believes stands at 0 % when a search is careful.
    #[test]
    fn a_few_networks_far_off_leave_the_others_room() {
        let page = |worst: f64| {
            let record = record(worst);
            let off = record.history.iter().filter(|e| e.values[0] == Some(worst)).count();
            let chart = cloud([(1, "macs"), (0, "accuracy")], &record, &record.front(), &[]);
            (off, chart)
        };
        let (off, chart) = page(0.0);
        assert!((1..20).contains(&off), "{off}");
        assert!(chart.contains(&format!("all that was tried, but {off} far off")), "{chart}");
        assert!(!page(79.0).1.contains("far off"));
    }

    /// The curve of a search is of the front, however bad the worst networks are.
    #[test]
    fn a_few_networks_far_off_do_not_flatten_the_curve() {
        let curve = |worst: f64| history("accuracy", Direction::Maximise, &record(worst));
        assert!(curve(0.0).is_some());
        assert_eq!(curve(0.0), curve(-1e6));
    }
}
