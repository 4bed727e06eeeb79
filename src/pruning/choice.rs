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
        self.share(cost, whole) <= self.limit()
    }

    /// What a network of cost `cost` has of what is limited, as a share of that of `whole`.
    fn share(self, cost: Cost, whole: Cost) -> f64 {
        match self {
            Self::Macs(_) => cost.macs as f64 / whole.macs.max(1) as f64,
            Self::Parameters(_) => cost.parameters as f64 / whole.parameters.max(1) as f64,
        }
    }

    fn limit(self) -> f64 {
        match self {
            Self::Macs(share) | Self::Parameters(share) => share,
        }
    }
}

/// Of each group, one unit in so many stays, and one at least, so that no layer collapses.
const UNITS_FOR_ONE_KEPT: usize = 10;

/// The least that a unit is taken to save, as a share of the whole network: one that saves nothing goes last.
const LEAST_SAVED: f64 = 1e-6;

/// What each of the `open` units and segments matters, by its `importance` (of 0 or more), for what of the budget it
/// saves.
///
/// # Errors
/// When what is left can't be built.
pub(super) fn density(
    space: &SuperNetwork,
    importance: &[f64],
    open: &[bool],
    budget: Budget,
) -> Result<Vec<f64>, TrainingError> {
    let cost = |kept: &[bool]| Cost::count(&space.cut(kept)?.graph);
    let whole = cost(&vec![true; open.len()])?;
    let group_of = groups(space);
    let saved = savings(space, &group_of, open, |kept| Ok(1.0 - budget.share(cost(kept)?, whole)))?;
    Ok(importance.iter().zip(&saved).map(|(i, s)| i / s).collect())
}

/// Whether each unit and segment stays, and the cost of what is left. From the lowest `score` on they go until the
/// budget is met, and what there is still room for comes back. One goes only if it is among the `open` ones, enough of
/// its group stay, and what is left connects input and output. Where the budget can't be met, as many go as may.
///
/// # Errors
/// When what is left can't be built.
pub(super) fn choose(
    space: &SuperNetwork,
    scores: &[f64],
    open: &[bool],
    budget: Budget,
) -> Result<(Vec<bool>, Cost), TrainingError> {
    let group_of = groups(space);
    let cost = |kept: &[bool]| Cost::count(&space.cut(kept)?.graph);
    let whole = cost(&vec![true; open.len()])?;
    let mut candidates: Vec<usize> = (0..open.len()).filter(|&i| open[i]).collect();
    candidates.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    let order = possible(space, &group_of, candidates, open.len());
    let without = |count: usize| {
        let mut kept = vec![true; open.len()];
        order.iter().take(count).for_each(|&i| kept[i] = false);
        kept
    };
    // The fewest that meet the budget: each that goes makes the network cheaper.
    let (mut low, mut high) = (0, order.len());
    while low < high {
        let middle = (low + high) / 2;
        match budget.holds(cost(&without(middle))?, whole) {
            true => high = middle,
            false => low = middle + 1,
        }
    }
    let mut kept = without(low);
    // The last may have saved more than was missing. Of a group one unit is like another: where there is no room for
    // one, there is none for the rest.
    let mut full = vec![false; space.groups().len()];
    for &i in order[..low].iter().rev() {
        let group = group_of.get(i);
        if group.is_some_and(|&group| full[group]) {
            continue;
        }
        kept[i] = true;
        let removal = space.removal(&kept);
        // A unit that goes with a segment in any case takes no room.
        let back = removal.is_some_and(|r| r.units().get(i).copied().unwrap_or(true));
        kept[i] = back && budget.holds(cost(&kept)?, whole);
        if let (false, true, Some(&group)) = (kept[i], back, group) {
            full[group] = true;
        }
    }
    let left = cost(&kept)?;
    Ok((kept, left))
}

/// The group of each unit.
fn groups(space: &SuperNetwork) -> Vec<usize> {
    let groups = space.groups().iter().enumerate();
    groups.flat_map(|(number, group)| vec![number; group.units]).collect()
}

/// What each of the `open` units and segments saves if it goes from the whole network, by `saved`; of a group one is
/// like another.
fn savings(
    space: &SuperNetwork,
    group_of: &[usize],
    open: &[bool],
    saved: impl Fn(&[bool]) -> Result<f64, TrainingError>,
) -> Result<Vec<f64>, TrainingError> {
    let mut of_group = vec![None; space.groups().len()];
    let mut kept = vec![true; open.len()];
    let mut savings = vec![LEAST_SAVED; open.len()];
    for i in (0..open.len()).filter(|&i| open[i]) {
        let known = group_of.get(i).and_then(|&group| of_group[group]);
        savings[i] = match known {
            Some(known) => known,
            None => {
                kept[i] = false;
                // What others depend on saves nothing by itself.
                let goes = space.removal(&kept).is_some();
                let saving = if goes { saved(&kept)? } else { 0.0 };
                kept[i] = true;
                saving.max(LEAST_SAVED)
            }
        };
        if let Some(&group) = group_of.get(i) {
            of_group[group] = Some(savings[i]);
        }
    }
    Ok(savings)
}

/// In their order, each of the candidates that may go after those before it. A segment that others
/// depend on is looked at again when they are gone.
fn possible(
    space: &SuperNetwork,
    group_of: &[usize],
    mut candidates: Vec<usize>,
    count: usize,
) -> Vec<usize> {
    let units = space.units_in_all();
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
