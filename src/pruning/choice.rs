//! What goes.

use crate::subnetworks::SuperNetwork;
use crate::training::{Cost, TrainingError};

/// What must be left of a network at most.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
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

/// Of each group, one unit in so many stays, and one at least, so that no layer collapses.
const UNITS_FOR_ONE_KEPT: usize = 10;

/// Whether each unit and segment stays, and the cost of what is left: those with the highest `redundancy` go, as
/// few as the budget allows. One goes only if it is among the `open` ones, enough of its group stay, and what is
/// left connects input and output. Where the budget can't be met, as many go as may.
///
/// # Errors
/// When what is left can't be built.
pub(super) fn choose(
    space: &SuperNetwork,
    redundancy: &[f64],
    open: &[bool],
    budget: Budget,
) -> Result<(Vec<bool>, Cost), TrainingError> {
    let mut candidates: Vec<usize> = (0..open.len()).filter(|&i| open[i]).collect();
    candidates.sort_by(|&a, &b| redundancy[b].total_cmp(&redundancy[a]));
    let order = possible(space, candidates, open.len());
    let kept = |count: usize| {
        let mut kept = vec![true; open.len()];
        order.iter().take(count).for_each(|&i| kept[i] = false);
        kept
    };
    let cost = |count: usize| Cost::count(&space.cut(&kept(count))?.graph);
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

/// Down the scores, each of the candidates that may go after those before it. A segment that others
/// depend on is looked at again when they are gone.
fn possible(space: &SuperNetwork, mut candidates: Vec<usize>, count: usize) -> Vec<usize> {
    let units = space.units_in_all();
    let mut group_of = Vec::with_capacity(units);
    for (number, group) in space.groups().iter().enumerate() {
        group_of.resize(group.range().end, number);
    }
    let most = |units: usize| units - units.div_ceil(UNITS_FOR_ONE_KEPT).max(1);
    let mut left: Vec<usize> = space.groups().iter().map(|group| most(group.units)).collect();
    let mut kept = vec![true; count];
    // Without what goes together with segments.
    let mut stays = vec![true; units];
    let mut order = Vec::new();
    loop {
        let before = order.len();
        candidates.retain(|&i| {
            let goes = match group_of.get(i) {
                Some(&group) => {
                    let goes = stays[i] && left[group] > 0;
                    if goes {
                        left[group] -= 1;
                        stays[i] = false;
                    }
                    goes
                }
                None => {
                    kept[i] = false;
                    let removal = space.removal(&kept);
                    kept[i] = removal.is_none();
                    if let Some(removal) = &removal {
                        for (unit, (now, stays)) in
                            removal.units().iter().zip(&mut stays).enumerate()
                        {
                            if *stays && !now {
                                *stays = false;
                                let left = &mut left[group_of[unit]];
                                *left = left.saturating_sub(1);
                            }
                        }
                    }
                    removal.is_some()
                }
            };
            if goes {
                kept[i] = false;
                order.push(i);
            }
            // A unit that stays now will always.
            !goes && i >= units
        });
        if order.len() == before {
            return order;
        }
    }
}
