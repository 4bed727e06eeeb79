//! Convolutions, pooling and sampling.

use super::{Axes, AxisId, FIXED, Labels, Site, WHOLE};
use crate::model_graph::OpType;
use smallvec::smallvec;

impl Labels<'_> {
    pub(super) fn conv(&mut self, at: &Site) -> Option<Axes> {
        if at.node.op != OpType::Conv {
            return None;
        }
        let w = at.input(1)?;
        let groups = usize::try_from(at.node.attributes.int("group", 1)).ok()?;
        let (x_axes, w_axes) = (&at.x, self.of[w.index()].clone());
        let (channels, filters) = (*x_axes.get(1)?, *w_axes.first()?);
        let own = *w_axes.get(1)?;
        x_axes.iter().skip(2).chain(w_axes.iter().skip(2)).for_each(|&a| self.pin(a));
        if groups == 1 {
            self.contract(at.node, channels, own);
        } else {
            self.pin(own);
            let (from, to) = (at.from[1], self.graph.value(w).shape[0]);
            self.join_groups(channels, from / groups, filters, to / groups);
        }
        let mut out: Axes = smallvec![WHOLE; x_axes.len()];
        (out[0], out[1]) = (x_axes[0], filters);
        self.bias(at.input(2), filters);
        Some(out)
    }

    /// Makes each run of `a` equal to the run of `b` at the same place.
    fn join_groups(&mut self, a: AxisId, run_a: usize, b: AxisId, run_b: usize) {
        if a == WHOLE || b == WHOLE || run_a == 0 || run_b == 0 {
            self.pin(a);
            self.pin(b);
            return;
        }
        self.join_runs(a, run_a);
        self.join_runs(b, run_b);
        for i in 0..self.axes[a as usize].len() / run_a {
            let (p, q) = (self.axes[a as usize][i * run_a], self.axes[b as usize][i * run_b]);
            self.unite(p, q);
        }
    }

    pub(super) fn conv_transpose(&mut self, at: &Site) -> Option<Axes> {
        let filters = *at.to.get(1)?;
        let w = at.input(1)?;
        let groups = usize::try_from(at.node.attributes.int("group", 1)).ok()?;
        let (x_axes, w_axes) = (&at.x, self.of[w.index()].clone());
        let (channels, own) = (*x_axes.get(1)?, *w_axes.get(1)?);
        x_axes.iter().skip(2).chain(w_axes.iter().skip(2)).for_each(|&a| self.pin(a));
        self.contract(at.node, channels, w_axes[0]);
        let out = if groups == 1 {
            own
        } else {
            self.pin(own);
            let (run_in, run) = (at.from[1] / groups, filters / groups);
            if run_in == 0 || run == 0 {
                return None;
            }
            self.join_runs(channels, run_in);
            self.derived(filters, &[channels], |axes, i| {
                axes[channels as usize].get(i / run * run_in).copied().unwrap_or(FIXED)
            })
        };
        self.bias(at.input(2), out);
        let mut axes: Axes = smallvec![WHOLE; x_axes.len()];
        (axes[0], axes[1]) = (x_axes[0], out);
        Some(axes)
    }

    pub(super) fn pool(&mut self, at: Site) -> Option<Axes> {
        // The indices of maxima run over channels too.
        if at.node.outputs.iter().flatten().count() > 1 || at.node.op == OpType::NhwcMaxPool {
            return None;
        }
        Some(self.first_two(at.x))
    }

    pub(super) fn grid_sample(&mut self, at: Site) -> Option<Axes> {
        self.pin_all(at.input(1)?);
        Some(self.first_two(at.x))
    }

    /// Batch and channels; the map is fixed.
    fn first_two(&mut self, mut x: Axes) -> Axes {
        for axis in x.iter_mut().skip(2) {
            self.pin(*axis);
            *axis = WHOLE;
        }
        x
    }
}
