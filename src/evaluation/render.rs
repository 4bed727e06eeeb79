//! Reports as rows of text, for terminals and for Markdown.

use super::{FamilyReport, Measure, Measured, Ranking};

/// A header and rows of as many cells.
pub type Rows = (Vec<String>, Vec<Vec<String>>);

/// Every measure of every ranking of one family.
pub fn details(report: &FamilyReport) -> Rows {
    let header = [
        "ranked by",
        "labels",
        "Spearman",
        "Kendall τ-b",
        "τ apart",
        "NDCG@10",
        "NDCG@50",
        "MAE",
        "top-10",
        "top-50",
        "rank of first",
        "best of 10",
        "regret",
    ];
    let row = |ranking: &Ranking| {
        let cells = Measure::ALL.map(|m| ranking.get(m).map_or_else(String::new, text));
        let mut row = vec![ranking.ranked_by.clone(), ranking.labels.to_string()];
        row.extend(cells);
        row
    };
    (header.map(String::from).to_vec(), report.rankings.iter().map(row).collect())
}

/// Spearman's rank correlation of every ranking, a family a row.
pub fn summary(reports: &[FamilyReport]) -> Rows {
    let mut columns: Vec<(&str, usize)> = Vec::new();
    for ranking in reports.iter().flat_map(|r| &r.rankings) {
        let column = (ranking.ranked_by.as_str(), ranking.labels);
        if !columns.contains(&column) {
            columns.push(column);
        }
    }
    let title = |&(name, labels): &(&str, usize)| match labels {
        0 => name.to_string(),
        n => format!("{name} to {n} labels"),
    };
    let mut header = vec!["family".to_string(), "target".to_string(), "networks".to_string()];
    header.extend(columns.iter().map(title));
    let row = |report: &FamilyReport| {
        let split =
            if report.split == "all" { String::new() } else { format!(", {}", report.split) };
        let family = format!("{}{split}", report.family);
        let mut row = vec![family, report.target.clone(), report.networks.to_string()];
        row.extend(columns.iter().map(|&(name, labels)| {
            let ranking =
                report.rankings.iter().find(|r| r.ranked_by == name && r.labels == labels);
            ranking.and_then(|r| r.get(Measure::Spearman)).map_or_else(String::new, text)
        }));
        row
    };
    (header, reports.iter().map(row).collect())
}

/// The top of the rankings that use no labels, a family a row: true rank of the network that is ranked
/// first, the best true rank among the ten ranked highest, and the share of the 50 best networks among
/// the 50 ranked highest.
pub fn top(reports: &[FamilyReport]) -> Rows {
    let mut columns: Vec<&str> = Vec::new();
    for ranking in reports.iter().flat_map(|r| &r.rankings).filter(|r| r.labels == 0) {
        if !columns.contains(&ranking.ranked_by.as_str()) {
            columns.push(&ranking.ranked_by);
        }
    }
    let mut header = vec!["first / best of 10 / top-50".to_string()];
    header.extend(columns.iter().map(ToString::to_string));
    let row = |report: &FamilyReport| {
        let cell = |name: &&str| {
            let found = report.rankings.iter().find(|r| r.ranked_by == *name && r.labels == 0);
            let Some(ranking) = found else { return String::new() };
            let of = |measure| ranking.get(measure).map(|m| m.value);
            let count = |x: Option<f64>| x.map_or_else(String::new, |x| format!("{x:.0}"));
            let share = of(Measure::Top50Overlap).map_or_else(String::new, |x| format!("{x:.2}"));
            let (first, ten) = (of(Measure::RankOfFirst), of(Measure::BestOfTen));
            format!("{} / {} / {share}", count(first), count(ten))
        };
        let mut row = vec![report.family.clone()];
        row.extend(columns.iter().map(cell));
        row
    };
    (header, reports.iter().map(row).collect())
}

/// Rows as a Markdown table.
pub fn markdown((header, rows): &Rows) -> String {
    let mut text = format!("| {} |\n|{}\n", header.join(" | "), " --- |".repeat(header.len()));
    for row in rows {
        text.push_str(&format!("| {} |\n", row.join(" | ")));
    }
    text
}

fn text(measured: &Measured) -> String {
    let value = format!("{:.3}", measured.value);
    match (measured.interval, measured.deviation) {
        (Some([low, high]), _) => format!("{value} ({low:.3} – {high:.3})"),
        (None, Some(deviation)) => format!("{value} ± {deviation:.3}"),
        (None, None) => value,
    }
}
