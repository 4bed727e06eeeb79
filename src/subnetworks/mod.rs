//! Any network as a search space: what can be cut from it, so that the rest is valid.
//!
//! OTOv3 (Chen et al. 2023, arXiv 2305.18030) builds the space of a network's sub-networks from
//! its dependency graph. A [`SuperNetwork`] does so for any [`ModelGraph`], and offers
//!
//! - **widths**: how many units each [`Group`] of channels keeps. Channels that are added,
//!   multiplied, normalised or concatenated are tied to each other; depthwise and grouped
//!   convolutions, attention heads and channel shuffles make units of several channels;
//! - **branches** ([`Branch`]) that can go: residual blocks, shortcuts, squeeze-and-excitation;
//! - **layers** ([`Layer`]) that can be skipped, since their output has the shape of their input;
//! - **operations** that others can take the place of: smaller kernels ([`Kernel`]) and other
//!   activation functions ([`ActivationSite`]).
//!
//! A [`SubNetwork`] is a choice for all of them. It is written as what differs from the whole
//! network: `c3=1/2,-b2,-l7,k4=3,a1=silu` keeps half of group 3's units, leaves out branch 2,
//! skips layer 7, gives convolution 4 a 3×3 kernel and makes activation 1 a SiLU; `whole` is the
//! network itself. Choices that nothing depends on, inside of a branch that is left out, do not
//! count, and neither does the width of a group that a skipped layer ties to an earlier one:
//! networks that are equal for these reasons have one text.
//!
//! Whoever trains a network while it is cut chooses in finer steps, and by zeros: which units of each
//! group go, and which [`Segment`]s (operands of sums and concatenations with weights of their own) in
//! any combination that leaves input and output connected; see [`SuperNetwork::cut`].
//!
//! ```
//! use gennape::{spaces::Space, subnetworks::{Activation, Change, Share, SuperNetwork}};
//!
//! let space = SuperNetwork::new(Space::NasBenchMacro.build("12012012")?);
//! let half = space.choose([
//!     Change::Width { group: 0, share: Share::Half },
//!     Change::Activation { site: 0, function: Activation::Silu },
//! ])?;
//! assert_eq!(half.to_string(), "c0=1/2,a0=silu");
//! assert_eq!(space.parse("c0=1/2,a0=silu")?, half);
//! let network = space.build(&half)?;
//! assert!(network.values().len() > 100);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod adapt;
mod branches;
mod change;
mod channels;
mod edits;
mod layers;
mod operations;
mod order;
mod plan;
mod propagate;
mod segments;
mod shrink;

#[cfg(test)]
mod tests;

pub use branches::Branch;
pub use change::{Change, ChangeError, Share};
pub use channels::Group;
pub use layers::Layer;
pub use operations::{Activation, ActivationSite, Kernel};
pub use order::UnitOrder;
pub use segments::Segment;
pub use shrink::{CutTensor, CutWeight, Cutout, Removal, ShrinkError, Shrunk};

use crate::model_graph::{BuildError, ModelGraph, ValueId};
use channels::Channels;
use hashbrown::HashMap;
use plan::Plan;
use rand::Rng;
use smallvec::SmallVec;
use std::fmt;
use std::ops::Range;

/// A network seen as the space of its sub-networks; see the [module documentation](self).
#[derive(Debug, Clone)]
pub struct SuperNetwork {
    graph: ModelGraph,
    channels: Channels,
    /// Branches of which one at most can go.
    junctions: Vec<Vec<Branch>>,
    layers: Vec<Layer>,
    segments: Vec<Segment>,
    kernels: Vec<Kernel>,
    activations: Vec<ActivationSite>,
}

/// A sub-network of a [`SuperNetwork`]: what differs from the whole.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct SubNetwork(Vec<Change>);

impl SubNetwork {
    /// What differs, in the order of the text.
    pub fn changes(&self) -> &[Change] {
        &self.0
    }
}

impl fmt::Display for SubNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("whole");
        }
        for (i, change) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            write!(f, "{change}")?;
        }
        Ok(())
    }
}

impl SuperNetwork {
    /// The sub-networks of `graph`.
    pub fn new(graph: ModelGraph) -> Self {
        let live = Plan::default().needed(&graph).nodes;
        let channels = Channels::new(&graph, &live);
        let reached = branches::reached(&graph);
        Self {
            junctions: branches::find(&graph, &live, &reached, &channels),
            layers: layers::find(&graph, &live, &reached, &channels),
            segments: segments::find(&graph, &live, &channels),
            kernels: operations::kernels(&graph, &live, &channels.of),
            activations: operations::activations(&graph, &live),
            graph,
            channels,
        }
    }

    /// The same without other activation functions: the sub-networks that can share weights.
    pub fn with_shared_weights(mut self) -> Self {
        self.activations.clear();
        self
    }

    /// The whole network.
    pub fn graph(&self) -> &ModelGraph {
        &self.graph
    }

    /// Groups of channels, in the order of the network; `c` and their position name them.
    pub fn groups(&self) -> &[Group] {
        &self.channels.groups
    }

    /// The groups that channels of a tensor belong to, in ascending order.
    pub fn groups_of(&self, tensor: ValueId) -> Vec<usize> {
        let axes = self.channels.of.get(tensor.index()).into_iter().flatten();
        let mut groups: Vec<usize> =
            axes.flat_map(|&a| self.channels.groups_of[a as usize].iter().copied()).collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    /// The unit that each position along an axis of a tensor belongs to, numbered through all groups;
    /// `None` where no position can go.
    pub fn units_along(&self, tensor: ValueId, axis: usize) -> Option<Vec<Option<usize>>> {
        let axis = *self.channels.of.get(tensor.index())?.get(axis)?;
        let units = self.channels.axes.get(axis as usize).filter(|units| !units.is_empty())?;
        Some(units.iter().map(|&u| (u != channels::NO_UNIT).then_some(u as usize)).collect())
    }

    /// Branches that can go, in the order of the network; `b` and their position name them.
    pub fn branches(&self) -> impl Iterator<Item = &Branch> {
        self.junctions.iter().flatten()
    }

    /// Layers that can be skipped; `l` and their position name them.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Segments that can be left out, in the order of the network.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Convolutions whose kernel can shrink; `k` and their position name them.
    pub fn kernels(&self) -> &[Kernel] {
        &self.kernels
    }

    /// Activations that others can take the place of; `a` and their position name them.
    pub fn activations(&self) -> &[ActivationSite] {
        &self.activations
    }

    /// Numbers of the decisions on widths, branches, layers, kernels and activations.
    fn layout(&self) -> [Range<usize>; 5] {
        let mut start = 0;
        [
            self.channels.groups.len(),
            self.junctions.len(),
            self.layers.len(),
            self.kernels.len(),
            self.activations.len(),
        ]
        .map(|length| {
            let range = start..start + length;
            start += length;
            range
        })
    }

    /// The shares that a group can keep, all of it first; no two of the same number of units.
    pub(crate) fn shares(&self, group: usize) -> SmallVec<[Share; 4]> {
        let units = self.channels.groups[group].units;
        let mut shares: SmallVec<[Share; 4]> = Share::ALL.into();
        shares.dedup_by_key(|s| s.of(units));
        shares
    }

    /// How many options each decision has, the first of which is the whole network's. A decision
    /// is the width of a group, which branch of a sum or product goes, whether a layer is skipped,
    /// a kernel, an activation.
    pub fn decisions(&self) -> Vec<usize> {
        let groups = (0..self.channels.groups.len()).map(|g| self.shares(g).len());
        groups
            .chain(self.junctions.iter().map(|branches| 1 + branches.len()))
            .chain(self.layers.iter().map(|_| 2))
            .chain(self.kernels.iter().map(|k| k.choices().len()))
            .chain(self.activations.iter().map(|a| 1 + a.others.len()))
            .collect()
    }

    /// Logarithm to base 10 of the number of combinations of all decisions, which is an upper
    /// bound of the number of sub-networks.
    pub fn log10_size(&self) -> f64 {
        self.decisions().into_iter().map(|n| (n as f64).log10()).sum()
    }

    /// The narrowest sub-network: the least of every group, the largest branches left out, all
    /// layers skipped, the smallest kernels, the activations as they are.
    pub fn smallest(&self) -> SubNetwork {
        let [_, junctions, _, _, activations] = self.layout();
        let mut options: Vec<usize> = self.decisions().iter().map(|n| n - 1).collect();
        for (option, branches) in options[junctions].iter_mut().zip(&self.junctions) {
            let largest = (1..=branches.len()).max_by_key(|i| branches[i - 1].nodes);
            *option = largest.unwrap_or(0);
        }
        options[activations].fill(0);
        self.decide(&options)
    }

    /// Whether cutting the channels that `sub` lacks has the same effect as zeroing them.
    pub fn is_exact(&self, sub: &SubNetwork) -> bool {
        let units = self.units(&self.own_options(sub), None);
        let whole = |g: &Group| units[g.range()].iter().all(|&kept| kept);
        self.channels.groups.iter().all(|g| g.exact || whole(g))
    }

    /// The sub-network of these options, one per decision; options that are missing or beyond
    /// the last are the first.
    pub fn decide(&self, options: &[usize]) -> SubNetwork {
        let mut options: Vec<usize> = self
            .decisions()
            .into_iter()
            .enumerate()
            .map(|(i, n)| options.get(i).copied().filter(|&o| o < n).unwrap_or(0))
            .collect();
        let counts = self.counts(&options);
        for (option, counts) in options.iter_mut().zip(counts) {
            if !counts {
                *option = 0;
            }
        }
        SubNetwork(self.changes(&options))
    }

    /// What tells a sub-network from the whole, in words: a line for each kind of change, with the
    /// names that tensors have in the file.
    pub fn describe(&self, sub: &SubNetwork) -> Vec<String> {
        // PyTorch's `/layer1/conv2/Conv_output_0` is layer1/conv2 to people.
        let name = |id: ValueId| {
            let whole = self.graph.value(id).name.trim_start_matches('/');
            let module = whole.strip_suffix("_output_0").and_then(|n| n.rsplit_once('/'));
            module.map_or(whole, |(module, _)| module).to_string()
        };
        let in_words = |change: &Change| match *change {
            Change::Width { group, share } => self.groups().get(group).map(|g| {
                let [of, kept] = [g.units, share.of(g.units)].map(|u| u * g.channels_per_unit);
                ("channels", format!("{} {of} → {kept}", name(g.tensor)))
            }),
            Change::Without { branch } => {
                self.branches().nth(branch).map(|b| ("without the branches", name(b.tensor)))
            }
            Change::Skip { layer } => {
                self.layers.get(layer).map(|l| ("without the layers", name(l.tensor)))
            }
            Change::Kernel { site, extent } => self
                .kernels
                .get(site)
                .map(|k| ("kernels", format!("{} {} → {extent}", name(k.tensor), k.extent))),
            Change::Activation { site, function } => self
                .activations
                .get(site)
                .map(|a| ("activations", format!("{} → {function}", name(a.tensor)))),
        };
        let mut lines: Vec<(&str, Vec<String>)> = Vec::new();
        for (kind, text) in sub.0.iter().filter_map(in_words) {
            match lines.last_mut().filter(|(last, _)| *last == kind) {
                Some((_, texts)) => texts.push(text),
                None => lines.push((kind, vec![text])),
            }
        }
        lines.into_iter().map(|(kind, texts)| format!("{kind}: {}", texts.join(", "))).collect()
    }

    /// Number of the first branch of each junction, and of all branches.
    fn first_branches(&self) -> Vec<usize> {
        let mut first = vec![0];
        for branches in &self.junctions {
            first.push(first[first.len() - 1] + branches.len());
        }
        first
    }

    fn changes(&self, options: &[usize]) -> Vec<Change> {
        let [widths, junctions, layers, kernels, activations] = self.layout();
        let chosen = |range: Range<usize>| {
            options[range].iter().copied().enumerate().filter(|(_, option)| *option > 0)
        };
        let width = |(group, option): (usize, usize)| Change::Width {
            group,
            share: self.shares(group)[option],
        };
        let first = self.first_branches();
        let without = |(junction, option): (usize, usize)| Change::Without {
            branch: first[junction] + option - 1,
        };
        let kernel = |(site, option): (usize, usize)| Change::Kernel {
            site,
            extent: self.kernels[site].extent - 2 * option,
        };
        let activation = |(site, option): (usize, usize)| Change::Activation {
            site,
            function: self.activations[site].others[option - 1],
        };
        chosen(widths)
            .map(width)
            .chain(chosen(junctions).map(without))
            .chain(chosen(layers).map(|(layer, _)| Change::Skip { layer }))
            .chain(chosen(kernels).map(kernel))
            .chain(chosen(activations).map(activation))
            .collect()
    }

    /// The options of a sub-network.
    ///
    /// # Errors
    /// For changes that this network does not offer.
    fn options(&self, sub: &SubNetwork) -> Result<Vec<usize>, ChangeError> {
        let [widths, junctions, layers, kernels, activations] = self.layout();
        let mut options = vec![0; activations.end];
        let first = self.first_branches();
        for change in &sub.0 {
            let fail = |reason: String| ChangeError { part: change.to_string(), reason };
            let most = |what: &str, count: usize| match count {
                0 => fail(format!("there are no {what}")),
                n => fail(format!("there are {what} 0 to {}", n - 1)),
            };
            let (at, option) = match *change {
                Change::Width { group, share } => {
                    let known = self.channels.groups.get(group);
                    let units = known.ok_or_else(|| most("groups", widths.len()))?.units;
                    let shares = self.shares(group);
                    // Shares that round to the same number of units are one.
                    let same = |s: &Share| s.of(units) == share.of(units);
                    (widths.start + group, shares.iter().position(same).unwrap_or(0))
                }
                Change::Without { branch } => {
                    // Every junction has branches.
                    let junction = first.partition_point(|&f| f <= branch) - 1;
                    if junction == self.junctions.len() {
                        return Err(most("branches", first[junction]));
                    }
                    (junctions.start + junction, 1 + branch - first[junction])
                }
                Change::Skip { layer } => match layer < layers.len() {
                    true => (layers.start + layer, 1),
                    false => return Err(most("layers", layers.len())),
                },
                Change::Kernel { site, extent } => {
                    let kernel = self.kernels.get(site);
                    let kernel = kernel.ok_or_else(|| most("kernels", kernels.len()))?;
                    let option = kernel.choices().position(|e| e == extent);
                    let last = kernel.extent;
                    (
                        kernels.start + site,
                        option.ok_or_else(|| {
                            fail(format!("its kernel can have odd extents from 1 to {last}"))
                        })?,
                    )
                }
                Change::Activation { site, function } => {
                    let known = self.activations.get(site);
                    let known = known.ok_or_else(|| most("activations", activations.len()))?;
                    let option = known.others.iter().position(|&f| f == function);
                    let names: Vec<String> = known.others.iter().map(|f| f.to_string()).collect();
                    let option = option
                        .ok_or_else(|| fail(format!("it can become {}", names.join(" or "))))?;
                    (activations.start + site, 1 + option)
                }
            };
            match options[at] {
                0 => options[at] = option,
                _ => return Err(fail("this has been decided before".into())),
            }
        }
        Ok(options)
    }

    /// The sub-network that differs from the whole by these changes, but for those that do not count.
    ///
    /// # Errors
    /// When a change is of what this network doesn't have, or of what another one is of.
    pub fn choose(
        &self,
        changes: impl IntoIterator<Item = Change>,
    ) -> Result<SubNetwork, ChangeError> {
        Ok(self.decide(&self.options(&SubNetwork(changes.into_iter().collect()))?))
    }

    /// [`choose`](Self::choose) by text.
    ///
    /// # Errors
    /// When the text is malformed, and as above.
    pub fn parse(&self, text: &str) -> Result<SubNetwork, ChangeError> {
        let parts = text.split(',').map(str::trim).filter(|p| !p.is_empty() && *p != "whole");
        self.choose(parts.map(str::parse).collect::<Result<Vec<_>, _>>()?)
    }

    /// Options of a sub-network of this network; those of another may be all the first.
    fn own_options(&self, sub: &SubNetwork) -> Vec<usize> {
        self.options(sub).unwrap_or_else(|_| vec![0; self.layout()[4].end])
    }

    /// Draws a sub-network: each decision's options are equally likely.
    pub fn sample<R: Rng + ?Sized>(&self, rng: &mut R) -> SubNetwork {
        let options: Vec<usize> =
            self.decisions().into_iter().map(|n| rng.gen_range(0..n)).collect();
        self.decide(&options)
    }

    /// Draws a neighbour: one decision that counts gets another option. In a network without
    /// decisions, the same.
    pub fn mutate<R: Rng + ?Sized>(&self, sub: &SubNetwork, rng: &mut R) -> SubNetwork {
        let mut options = self.own_options(sub);
        let decisions = self.decisions();
        let counting = self.counts(&options);
        let open: Vec<usize> =
            (0..options.len()).filter(|&i| counting[i] && decisions[i] > 1).collect();
        if open.is_empty() {
            return sub.clone();
        }
        let at = open[rng.gen_range(0..open.len())];
        options[at] = (options[at] + rng.gen_range(1..decisions[at])) % decisions[at];
        self.decide(&options)
    }

    /// Draws a sub-network each of whose decisions is that of one of the two parents.
    pub fn crossover<R: Rng + ?Sized>(
        &self,
        a: &SubNetwork,
        b: &SubNetwork,
        rng: &mut R,
    ) -> SubNetwork {
        let (a, b) = (self.own_options(a), self.own_options(b));
        let options: Vec<usize> =
            a.into_iter().zip(b).map(|(a, b)| if rng.r#gen() { a } else { b }).collect();
        self.decide(&options)
    }

    /// The network that `sub` describes, without the elements of large weights.
    ///
    /// # Errors
    /// When `sub` belongs to another network, or an operator cannot take what is left of its
    /// inputs, which would be a fault of this module.
    pub fn build(&self, sub: &SubNetwork) -> Result<ModelGraph, BuildError> {
        let options = self.own_options(sub);
        let units = self.units(&options, None);
        Ok(plan::build(self, &self.plan(&options), &units)?.graph)
    }

    /// Whether each unit is kept: of each group as many as its option says, those with the
    /// largest `importance` or the first.
    fn units(&self, options: &[usize], importance: Option<&[f64]>) -> Vec<bool> {
        let groups = &self.channels.groups;
        let leaders = self.leaders(options);
        // Groups that are tied together are judged together.
        let mut together: Vec<Vec<f64>> = groups.iter().map(|g| vec![0.0; g.units]).collect();
        for (group, leader) in groups.iter().zip(&leaders) {
            let own = importance.and_then(|all| all.get(group.range())).unwrap_or_default();
            if let Some(leader) = *leader {
                together[leader].iter_mut().zip(own).for_each(|(sum, x)| *sum += x);
            }
        }
        let mut units: Vec<bool> = Vec::new();
        for (group, leader) in groups.iter().zip(&leaders) {
            let Some(leader) = *leader else {
                units.extend(vec![true; group.units]);
                continue;
            };
            let kept = self.shares(leader)[options[leader]].of(group.units);
            let mut order: Vec<usize> = (0..group.units).collect();
            // Stable: of equal ones, the first.
            order.sort_by(|&a, &b| together[leader][b].total_cmp(&together[leader][a]));
            let mut keep = vec![false; group.units];
            order.iter().take(kept).for_each(|&unit| keep[unit] = true);
            units.extend(keep);
        }
        units
    }

    /// The group whose option holds for each group: itself, or the first that skipped layers tie
    /// it to; `None` where they tie it to what is never cut.
    fn leaders(&self, options: &[usize]) -> Vec<Option<usize>> {
        let layers = self.layout()[2].clone();
        let skipped = self.layers.iter().zip(&options[layers]).filter(|(_, option)| **option > 0);
        // 0 is what is never cut, then come the groups.
        let place = |group: &Option<usize>| group.map_or(0, |g| g + 1);
        let ties = skipped.flat_map(|(layer, _)| &layer.ties).map(|(a, b)| (place(a), place(b)));
        let roots = roots(self.channels.groups.len() + 1, ties);
        roots.into_iter().skip(1).map(|root| root.checked_sub(1)).collect()
    }

    fn plan(&self, options: &[usize]) -> Plan {
        let [_, junctions, layers, kernels, activations] = self.layout();
        let mut plan = Plan::default();
        let mut instead = HashMap::new();
        for (branches, &option) in self.junctions.iter().zip(&options[junctions]) {
            if let Some(branch) = option.checked_sub(1).and_then(|i| branches.get(i)) {
                instead.insert(branch.result, branch.instead);
            }
        }
        for (layer, &option) in self.layers.iter().zip(&options[layers]) {
            if option > 0 {
                instead.insert(layer.tensor, layer.instead);
            }
        }
        plan.replace(instead);
        for (kernel, &option) in self.kernels.iter().zip(&options[kernels]) {
            if option > 0 {
                plan.kernels.insert(kernel.node, kernel.extent - 2 * option);
            }
        }
        for (site, &option) in self.activations.iter().zip(&options[activations]) {
            if let Some(&function) = option.checked_sub(1).and_then(|i| site.others.get(i)) {
                plan.activations.insert(site.node, (function, site.operand));
            }
        }
        plan
    }

    /// Which decisions make a difference when these options are taken: those on what the rest of
    /// the network still uses.
    fn counts(&self, options: &[usize]) -> Vec<bool> {
        let needed = self.plan(options).needed(&self.graph);
        let mut used = vec![false; self.channels.groups.len()];
        for (axes, _) in self.channels.of.iter().zip(&needed.values).filter(|(_, n)| **n) {
            for &axis in axes {
                for &group in &self.channels.groups_of[axis as usize] {
                    used[group] = true;
                }
            }
        }
        let leaders = self.leaders(options);
        let leads = (0..used.len()).map(|group| used[group] && leaders[group] == Some(group));
        let junction = |b: &Vec<Branch>| b.iter().any(|b| needed.values[b.result.index()]);
        leads
            .chain(self.junctions.iter().map(junction))
            .chain(self.layers.iter().map(|l| needed.values[l.tensor.index()]))
            .chain(self.kernels.iter().map(|k| needed.nodes[k.node]))
            .chain(self.activations.iter().map(|a| needed.nodes[a.node]))
            .collect()
    }
}

/// For each of `count` things the first of those that pairs tie it to, which may be itself.
fn roots(count: usize, pairs: impl Iterator<Item = (usize, usize)>) -> Vec<usize> {
    // Trees whose root is the lowest.
    let mut parent: Vec<usize> = (0..count).collect();
    fn root(parent: &mut [usize], mut at: usize) -> usize {
        while parent[at] != at {
            parent[at] = parent[parent[at]];
            at = parent[at];
        }
        at
    }
    for (a, b) in pairs {
        let (a, b) = (root(&mut parent, a), root(&mut parent, b));
        parent[a.max(b)] = a.min(b);
    }
    (0..count).map(|at| root(&mut parent, at)).collect()
}
