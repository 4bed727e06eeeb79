//! Normalisations.

use super::{Axes, Labels, Results, Site, WHOLE};
use crate::model_graph::ValueId;
use smallvec::{SmallVec, smallvec};

impl Labels<'_> {
    pub(super) fn batch_norm(&mut self, at: Site) -> Option<Results> {
        let channels = *at.x.get(1)?;
        (1..5).for_each(|i| self.bias(at.input(i), channels));
        let mut axes: Results = smallvec![smallvec![channels]; 5];
        axes[0] = at.x;
        Some(axes)
    }

    pub(super) fn instance_norm(&mut self, at: Site) -> Option<Axes> {
        let channels = *at.x.get(1)?;
        (1..3).for_each(|i| self.bias(at.input(i), channels));
        at.x.iter().skip(2).for_each(|&a| self.pin(a));
        Some(at.x)
    }

    pub(super) fn group_norm(&mut self, at: Site) -> Option<Axes> {
        let groups = usize::try_from(at.node.attributes.int("num_groups", 0)).ok()?;
        let (channels, extent) = (*at.x.get(1)?, *at.from.get(1)?);
        let run = extent.checked_div(groups).filter(|r| r * groups == extent && *r > 0)?;
        self.join_runs(channels, run);
        let firsts = match run {
            1 => channels,
            _ => self.derived(groups, &[channels], |axes, i| axes[channels as usize][i * run]),
        };
        for i in 1..3 {
            let per_group = at.graph.value(at.input(i)?).shape.as_slice() == [groups];
            self.bias(at.input(i), if per_group { firsts } else { channels });
        }
        at.x.iter().skip(2).for_each(|&a| self.pin(a));
        Some(at.x)
    }

    pub(super) fn layer_norm(&mut self, at: Site) -> Option<Results> {
        let from = at.along(-1)?;
        at.x.iter().skip(from).for_each(|&a| self.approximate(a));
        let parameters: SmallVec<[ValueId; 3]> = at.node.inputs.iter().flatten().copied().collect();
        let joined = self.broadcast_all(&parameters, at.from);
        let statistics: Axes =
            (0..at.x.len()).map(|i| if i < from { joined[i] } else { WHOLE }).collect();
        Some(smallvec![joined, statistics.clone(), statistics])
    }

    pub(super) fn lp_norm(&mut self, at: Site) -> Option<Axes> {
        if at.constant {
            self.approximate(at.x[at.along(-1)?]);
        }
        Some(at.x)
    }
}
