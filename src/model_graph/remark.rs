//! What was assumed of a network where its file does not settle it.

use crate::text::clipped;
use std::fmt;

/// How an assumption bears on the network's parameters and multiply-accumulates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum RemarkKind {
    /// They hold if the assumption does.
    Assumed,
    /// The nodes are counted at the largest size that they can have.
    UpperBound,
    /// The nodes, or some of what they do, are not counted; the graph lacks them.
    NotCounted,
}

/// Something that was assumed of a network, of one or several of its nodes or tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    kind: RemarkKind,
    what: String,
    /// The first few names.
    names: Vec<String>,
    count: usize,
}

impl Remark {
    /// Names that are kept.
    const NAMED: usize = 10;

    fn new(kind: RemarkKind, what: &str) -> Self {
        Self { kind, what: what.into(), names: Vec::new(), count: 0 }
    }

    /// How it bears on the cost.
    pub fn kind(&self) -> RemarkKind {
        self.kind
    }

    /// Whether the cost is not the network's exact one.
    pub fn is_partial(&self) -> bool {
        self.kind != RemarkKind::Assumed
    }

    /// What was assumed, as a phrase that the names follow.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The first of the nodes or tensors that it is about.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Number of nodes or tensors that it is about.
    pub fn count(&self) -> usize {
        self.count
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        for (i, name) in self.names.iter().enumerate() {
            write!(f, "{} {name}", if i == 0 { ":" } else { "," })?;
        }
        match self.count.saturating_sub(self.names.len()) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// Adds `name` to the remark of this kind that says `what`.
pub(super) fn add(remarks: &mut Vec<Remark>, kind: RemarkKind, what: &str, name: &str) {
    let at = remarks.iter().position(|r| r.kind == kind && r.what == what);
    let at = at.unwrap_or_else(|| {
        remarks.push(Remark::new(kind, what));
        remarks.len() - 1
    });
    let remark = &mut remarks[at];
    remark.count += 1;
    if remark.names.len() < Remark::NAMED {
        remark.names.push(clipped(name, 100).into_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remarks_of_one_kind_are_one_and_short() {
        let mut remarks = Vec::new();
        for i in 0..12 {
            add(&mut remarks, RemarkKind::UpperBound, "counted at their largest", &i.to_string());
        }
        add(&mut remarks, RemarkKind::Assumed, "taken for weights", &"é".repeat(200));
        let text: Vec<String> = remarks.iter().map(ToString::to_string).collect();
        assert_eq!(text[0], "counted at their largest: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more");
        assert_eq!(text[1], format!("taken for weights: {}…", "é".repeat(100)));
        assert_eq!([remarks[0].is_partial(), remarks[1].is_partial()], [true, false]);
    }
}
