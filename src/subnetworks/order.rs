//! An order in which units go that is one for all sub-networks.

use super::{Cutout, SubNetwork, SuperNetwork, plan};
use crate::model_graph::BuildError;
use crate::onnx::{Original, ReadError};
use serde::{Deserialize, Serialize};

/// Name of the metadata that holds the order.
const PROPERTY: &str = "gennape.order";

/// For each group the numbers of its units, from 0, in the order in which they stay: a group that keeps
/// half of its units keeps the first half of these. So what is narrower is a part of what is wider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnitOrder(Vec<Vec<usize>>);

impl UnitOrder {
    /// A number for each unit of each group, the larger the longer it stays.
    pub(super) fn importance(&self) -> Vec<f64> {
        let mut importance = Vec::new();
        for group in &self.0 {
            let first = importance.len();
            importance.resize(first + group.len(), 0.0);
            for (place, unit) in group.iter().enumerate() {
                importance[first + unit] = -(place as f64);
            }
        }
        importance
    }

    /// Whether it lists every unit of `space` once.
    fn fits(&self, space: &SuperNetwork) -> bool {
        let mut groups = space.groups().iter().zip(&self.0);
        self.0.len() == space.groups().len()
            && groups.all(|(group, order)| {
                let mut sorted = order.clone();
                sorted.sort_unstable();
                sorted.into_iter().eq(0..group.units)
            })
    }

    /// The file with this order in it, which it says from then on when it is cut.
    ///
    /// # Errors
    /// When the file is malformed.
    #[cfg(feature = "train")]
    pub(crate) fn written_to(&self, original: &Original) -> Result<Vec<u8>, ReadError> {
        let text = serde_json::to_string(&self.0).unwrap_or_default();
        original.with_property(PROPERTY, &text)
    }
}

impl SuperNetwork {
    /// The order that the file says, if it says one that fits this network.
    ///
    /// # Errors
    /// When the file is malformed.
    pub fn written_order(&self, original: &Original) -> Result<Option<UnitOrder>, ReadError> {
        let text = original.property(PROPERTY)?;
        let order = text.and_then(|text| serde_json::from_str::<UnitOrder>(&text).ok());
        Ok(order.filter(|order| order.fits(self)))
    }

    /// The order that the file says, or else one in which the units go first whose weights have the
    /// smallest norm; see [`shrink`](Self::shrink). Groups that skipped layers may tie together have one
    /// order. Of a file without weights the last units go first.
    ///
    /// # Errors
    /// When elements can't be read.
    pub fn order(&self, original: &mut Original) -> Result<UnitOrder, ReadError> {
        if let Some(order) = self.written_order(original)? {
            return Ok(order);
        }
        let groups = self.groups();
        let importance = match self.has_weights(original)? {
            true => self.importance(original)?,
            false => vec![0.0; groups.iter().map(|g| g.units).sum()],
        };
        let ties = self.layers().iter().flat_map(|layer| &layer.ties);
        let ties = ties.filter_map(|(a, b)| Some(((*a)?, (*b)?)));
        let roots = super::roots(groups.len(), ties);
        let mut together: Vec<Vec<f64>> = groups.iter().map(|g| vec![0.0; g.units]).collect();
        for (group, &root) in groups.iter().zip(&roots) {
            let own = importance.get(group.range()).unwrap_or_default();
            together[root].iter_mut().zip(own).for_each(|(sum, x)| *sum += x);
        }
        let order = |(group, &root): (&super::Group, &usize)| {
            let mut order: Vec<usize> = (0..group.units).collect();
            // Stable: of equal ones, the first stay.
            order.sort_by(|&a, &b| together[root][b].total_cmp(&together[root][a]));
            order
        };
        Ok(UnitOrder(groups.iter().zip(&roots).map(order).collect()))
    }

    /// What is left of the network in the sub-network `sub`, whose groups keep the units that come first
    /// in `order`.
    ///
    /// # Errors
    /// When an operator cannot take what is left of its inputs, which would be a fault of this module.
    pub fn cut_in_order(&self, sub: &SubNetwork, order: &UnitOrder) -> Result<Cutout, BuildError> {
        let options = self.own_options(sub);
        let units = self.units(&options, Some(&order.importance()));
        Ok(plan::build(self, &self.plan(&options), &units)?.into())
    }
}
