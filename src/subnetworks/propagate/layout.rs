//! Operators that move elements.

use super::{Axes, AxisId, FIXED, Factors, Labels, MAX_EXTENT, Results, Site, SplitKey, WHOLE};
use crate::model_graph::infer::{self, layout};
use crate::model_graph::{OpType, TensorData, ValueId};
use smallvec::{SmallVec, smallvec};

impl Labels<'_> {
    /// Axes of a tensor whose elements, in row-major order, are put into a new shape: its axes
    /// are cut into factors, of which the new axes are made.
    pub(super) fn regroup(&mut self, at: &Site) -> Axes {
        let Site { index, x, from, to, .. } = at;
        let Some(factors) = common_factors(from, to) else {
            x.iter().for_each(|&a| self.pin(a));
            return smallvec![WHOLE; to.len()];
        };
        let mut axes: Axes = smallvec![WHOLE; factors.len()];
        let mut start = 0;
        for (i, &extent) in from.iter().enumerate() {
            let range = start..start + run(&factors[start..], extent);
            start = range.end;
            let (factors, axes) = (&factors[range.clone()], &mut axes[range]);
            match axes {
                [] => {}
                [axis] => *axis = x[i],
                axes => self.cut_up((*index, i), x[i], factors, axes),
            }
        }
        let mut start = 0;
        to.iter()
            .map(|&extent| {
                let range = start..start + run(&factors[start..], extent);
                start = range.end;
                match &axes[range.clone()] {
                    [] => WHOLE,
                    &[axis] => axis,
                    axes => self.merged(axes, &factors[range], extent),
                }
            })
            .collect()
    }

    /// An axis cut into factors: one carries the labels.
    fn cut_up(&mut self, key: SplitKey, axis: AxisId, factors: &[usize], out: &mut [AxisId]) {
        if axis == WHOLE {
            return;
        }
        let carrier = self.carriers.get(&key).copied().unwrap_or(0).min(factors.len() - 1);
        let extent = factors[carrier];
        let inner: usize = factors[carrier + 1..].iter().product();
        for i in 0..self.read(axis) {
            let labels = &self.axes[axis as usize];
            let (first, label) = (labels[i / inner % extent * inner], labels[i]);
            self.unite(first, label);
        }
        let carried = self.derived(extent, &[axis], |axes, i| axes[axis as usize][i * inner]);
        out[carrier] = carried;
        self.factors.push(Factors { key, carrier, factors: factors.len(), axis: carried });
    }

    /// Axes merged into one of `extent` positions: the outermost that has labels keeps them.
    fn merged(&mut self, axes: &[AxisId], factors: &[usize], extent: usize) -> AxisId {
        let Some(at) = axes.iter().position(|&a| a != WHOLE) else { return WHOLE };
        axes[at + 1..].iter().for_each(|&a| self.pin(a));
        let inner: usize = factors[at + 1..].iter().product();
        let (axis, own) = (axes[at], factors[at]);
        self.derived(extent, &[axis], |all, i| all[axis as usize][i / inner % own])
    }

    pub(super) fn concat(&mut self, site: &Site) -> Option<Axes> {
        let (node, shape) = (site.node, site.to);
        let at = infer::axis(node.attributes.int("axis", 1), shape.len()).ok()?;
        let parts: SmallVec<[ValueId; 4]> = node.inputs.iter().copied().collect::<Option<_>>()?;
        let mut out: Axes = self.of[parts.first()?.index()].clone();
        for id in &parts {
            for (i, axis) in out.iter_mut().enumerate().filter(|(i, _)| *i != at) {
                if shape[i] > 1 {
                    *axis = self.join(*axis, self.of[id.index()][i]);
                }
            }
        }
        let pieces: SmallVec<[(AxisId, usize); 4]> = parts
            .iter()
            .map(|id| (self.of[id.index()][at], self.graph.value(*id).shape[at]))
            .collect();
        let sources: SmallVec<[AxisId; 4]> = pieces.iter().map(|p| p.0).collect();
        let mut places = Vec::new();
        let cut = sources.iter().any(|&a| a != WHOLE);
        if cut && shape[at] <= MAX_EXTENT && !self.exhausted() {
            self.work = self.work.saturating_add(shape[at]);
            for &(axis, extent) in &pieces {
                places.extend((0..extent).map(|i| (axis, i)));
            }
        }
        out[at] = self.derived(shape[at], &sources, |axes, i| {
            let (axis, k) = places[i];
            axes[axis as usize].get(k).copied().unwrap_or(FIXED)
        });
        Some(out)
    }

    pub(super) fn split(&mut self, site: &Site) -> Option<Results> {
        let (at, sizes) = site.node.context(site.graph, |ctx| layout::split_sizes(ctx).ok())?;
        let axis = site.x[at];
        let mut start = 0;
        let mut pieces = Results::new();
        for size in sizes {
            let mut piece = site.x.clone();
            piece[at] = match axis {
                WHOLE => WHOLE,
                _ if self.exhausted() => WHOLE,
                _ => self.picked(axis, (start..start + size).collect()),
            };
            start += size;
            pieces.push(piece);
        }
        Some(pieces)
    }

    /// Some positions of an axis. A single one is fixed: an axis of extent 1 has no labels.
    fn picked(&mut self, axis: AxisId, positions: Vec<usize>) -> AxisId {
        if let &[only] = positions.as_slice() {
            let label = self.axes[axis as usize][only];
            self.unite(label, FIXED);
            return WHOLE;
        }
        if positions.is_empty() {
            return WHOLE;
        }
        self.derived(positions.len(), &[axis], |axes, i| axes[axis as usize][positions[i]])
    }

    pub(super) fn slice(&mut self, at: &Site) -> Option<Axes> {
        let ranges = at.node.context(at.graph, |ctx| layout::slice_ranges(ctx).ok())?;
        let mut out = Axes::new();
        for (i, (&axis, range)) in at.x.iter().zip(&ranges).enumerate() {
            out.push(if axis == WHOLE || (range.step == 1 && range.count == at.from[i]) {
                axis
            } else if range.step == 1 && !self.exhausted() {
                let start = usize::try_from(range.start).ok()?;
                self.picked(axis, (start..start + range.count).collect())
            } else {
                self.pin(axis);
                WHOLE
            });
        }
        Some(out)
    }

    pub(super) fn gather(&mut self, site: &Site) -> Option<Axes> {
        let (x, id) = (&site.x, site.input(1)?);
        let index = site.graph.value(id);
        let at = site.along(0)?;
        let axis = x[at];
        let mut between = self.of[id.index()].clone();
        match index.data() {
            Some(TensorData::Ints(list))
                if axis != WHOLE && index.shape.len() < 2 && !self.exhausted() =>
            {
                let extent = self.axes[axis as usize].len();
                let wrap = |&i: &i64| {
                    let wrapped =
                        if i < 0 { i.checked_add(i64::try_from(extent).ok()?)? } else { i };
                    usize::try_from(wrapped).ok().filter(|&i| i < extent)
                };
                let positions: Vec<usize> = list.iter().map(wrap).collect::<Option<_>>()?;
                let picked = self.picked(axis, positions);
                between.iter_mut().for_each(|a| *a = picked);
            }
            _ => self.pin(axis),
        }
        Some(x[..at].iter().copied().chain(between).chain(x[at + 1..].iter().copied()).collect())
    }

    pub(super) fn expand(&mut self, at: &Site) -> Option<Axes> {
        let skip = at.to.len().checked_sub(at.x.len())?;
        let mut axes: Axes = smallvec![WHOLE; skip];
        for (i, &a) in at.x.iter().enumerate() {
            axes.push(if at.from[i] == at.to[skip + i] { a } else { WHOLE });
        }
        Some(axes)
    }

    pub(super) fn tile(&mut self, at: &Site) -> Axes {
        let tiled = |(i, &a): (usize, &AxisId)| match at.to.get(i) {
            Some(&d) if d != at.from[i] && a != WHOLE => {
                self.derived(d, &[a], |axes, k| axes[a as usize][k % at.from[i]])
            }
            _ => a,
        };
        at.x.iter().enumerate().map(tiled).collect()
    }

    pub(super) fn pad(&mut self, at: &Site) -> Option<Axes> {
        let pads = at.node.context(at.graph, |ctx| layout::pads(ctx).ok())?;
        let constant = at.node.attributes.str("mode").is_none_or(|m| m == "constant");
        let mut axes = Axes::new();
        for (i, &a) in at.x.iter().enumerate() {
            let (before, after) = (pads[i], pads[at.x.len() + i]);
            axes.push(if a == WHOLE || (before == 0 && after == 0) {
                a
            } else if constant && before >= 0 && after >= 0 {
                let before = usize::try_from(before).ok()?;
                self.derived(at.to[i], &[a], |axes, k| {
                    let inner = k.checked_sub(before);
                    inner.and_then(|k| axes[a as usize].get(k)).copied().unwrap_or(FIXED)
                })
            } else {
                self.pin(a);
                WHOLE
            });
        }
        Some(axes)
    }

    pub(super) fn resize(&mut self, at: &Site) -> Option<Axes> {
        let policy = at.node.attributes.str("keep_aspect_ratio_policy");
        if policy.is_some_and(|p| p != "stretch") {
            return None;
        }
        let mut axes = Axes::new();
        for (i, &a) in at.x.iter().enumerate() {
            let same = at.from[i] == *at.to.get(i)?;
            if !same {
                self.pin(a);
            }
            axes.push(if same { a } else { WHOLE });
        }
        Some(axes)
    }

    pub(super) fn depth_space(&mut self, at: &Site) -> Option<Axes> {
        let block = usize::try_from(at.node.attributes.int("blocksize", 0)).ok()?;
        let area = block.checked_mul(block)?;
        at.x.iter().skip(2).for_each(|&a| self.pin(a));
        let (from, to) = (*at.from.get(1)?, *at.to.get(1)?);
        let channels = at.x[1];
        let mixed = if at.node.op == OpType::SpaceToDepth {
            self.derived(to, &[channels], |axes, i| axes[channels as usize][i % from])
        } else if at.node.attributes.str("mode") == Some("CRD") {
            self.join_runs(channels, area);
            self.derived(to, &[channels], |axes, i| axes[channels as usize][i * area])
        } else {
            for i in 0..self.read(channels) {
                let labels = &self.axes[channels as usize];
                let (first, label) = (labels[i % to], labels[i]);
                self.unite(first, label);
            }
            self.derived(to, &[channels], |axes, i| axes[channels as usize][i])
        };
        Some(smallvec![at.x[0], mixed, WHOLE, WHOLE])
    }
}

/// The coarsest factors, from the outermost, of which the extents of both shapes are products of
/// consecutive ones; `None` where there are none.
fn common_factors(from: &[usize], to: &[usize]) -> Option<SmallVec<[usize; 6]>> {
    let mut bounds: SmallVec<[usize; 12]> = SmallVec::new();
    for shape in [from, to] {
        let mut product = 1usize;
        for &extent in shape {
            product = product.checked_mul(extent).filter(|&p| p > 0)?;
            bounds.push(product);
        }
    }
    bounds.sort_unstable();
    bounds.dedup();
    let mut factors = SmallVec::new();
    let mut last = 1;
    for bound in bounds.into_iter().filter(|&b| b > 1) {
        if bound % last != 0 {
            return None;
        }
        factors.push(bound / last);
        last = bound;
    }
    Some(factors)
}

/// How many of the factors make up an extent.
fn run(factors: &[usize], extent: usize) -> usize {
    let mut product = 1usize;
    factors
        .iter()
        .take_while(|&&factor| {
            let wanted = product < extent;
            product = if wanted { product.saturating_mul(factor) } else { product };
            wanted
        })
        .count()
}
