//! Which units go.

use crate::subnetworks::SuperNetwork;
use crate::training::{Cost, TrainingError};

/// What must be left of a network at most.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Budget {
    /// A share of its multiply-accumulates.
    Macs(f64),
    /// A share of its parameters.
    Parameters(f64),
}

impl Budget {
    /// Whether a network of cost `cost`, cut from one of cost `whole`, keeps within it.
    pub fn holds(self, cost: Cost, whole: Cost) -> bool {
        let within = |cost: u64, whole: u64, share: f64| cost as f64 <= share * whole as f64;
        match self {
            Self::Macs(share) => within(cost.macs, whole.macs, share),
            Self::Parameters(share) => within(cost.parameters, whole.parameters, share),
        }
    }
}

/// Of each group, one unit in so many stays, and one at least, so that input and output stay connected
/// and no layer collapses.
const LEAST: usize = 10;

/// The units that stay (`true`) and the cost of what is left: those with the highest `redundancy` go, as few as
/// the budget allows. A unit goes only if enough of its group stay, and if its group is among the `open`
/// ones. Where the budget can't be met, as many go as may.
///
/// # Errors
/// When what is left can't be built.
pub(super) fn choose(
    space: &SuperNetwork,
    redundancy: &[f64],
    open: &[bool],
    budget: Budget,
) -> Result<(Vec<bool>, Cost), TrainingError> {
    let mut group_of = Vec::new();
    let mut left = Vec::new();
    for (number, group) in space.groups().iter().enumerate() {
        group_of.resize(group_of.len() + group.units, number);
        left.push(group.units - group.units.div_ceil(LEAST).max(1));
    }
    let mut order: Vec<usize> = (0..group_of.len()).filter(|&u| open[group_of[u]]).collect();
    order.sort_by(|&a, &b| redundancy[b].total_cmp(&redundancy[a]));
    // Down the scores, each where enough of its group stay.
    order.retain(|&unit| {
        let left = &mut left[group_of[unit]];
        let goes = *left > 0;
        *left = left.saturating_sub(1);
        goes
    });
    let kept = |count: usize| {
        let mut kept = vec![true; group_of.len()];
        order.iter().take(count).for_each(|&unit| kept[unit] = false);
        kept
    };
    let cost = |count: usize| Cost::of(&space.cut(&kept(count))?.graph);
    let whole = cost(0)?;
    // The fewest that meet the budget: each that goes makes the network cheaper.
    let (mut low, mut high) = (0, order.len());
    while low < high {
        let middle = (low + high) / 2;
        match budget.holds(cost(middle)?, whole) {
            true => high = middle,
            false => low = middle + 1,
        }
    }
    Ok((kept(low), cost(low)?))
}
