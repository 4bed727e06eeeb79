//! What a sub-network changes in the file that the whole network was read from.
//!
//! The sub-network's nodes are compared with those that they come from. Constants that the file
//! computes, such as the shape for a Reshape out of the shape of its input, are computed again
//! with the sub-network's shapes: where that gives what is wanted, nothing changes, so that they
//! go on to fit other batches and sizes.

use super::plan::{Built, Keeping, Plan, Source, is_known};
use super::{Activation, SuperNetwork};
use crate::model_graph::{
    Constant, ModelGraph, Node, OpType, TensorData, Value, ValueId, Views, infer,
};
use crate::onnx::{Content, Cut, Edits, More, NodeEdit, Operand, Replacement, cut_shape};
use hashbrown::{HashMap, HashSet};
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What `built`, which `plan` leaves of `space` with the units in `units`, changes in the file.
pub(super) fn edits(space: &SuperNetwork, plan: &Plan, units: &[bool], built: &Built) -> Edits {
    let graph = &space.graph;
    let needed = plan.needed(graph);
    let mut keeping = Keeping::new(&space.channels, units);
    let mut edits = Edits::default();
    for (id, value) in (0u32..).map(ValueId).zip(graph.values()) {
        // A node's other outputs are cut with those that something needs.
        let made = value.producer.is_some_and(|node| needed.nodes[node.index()]);
        if !(made || needed.values[id.index()]) {
            continue;
        }
        if needed.values[id.index()] && plan.instead.contains_key(&id) {
            edits.instead.push((id, plan.resolve(id)));
        }
        let cut = keeping.cut(id);
        if value.producer.is_some() && cut.iter().any(Option::is_some) {
            edits.cuts.insert(id, cut);
        }
    }

    let mut compared = Comparison {
        graph,
        plan,
        sources: built.sources.iter().map(|(id, source)| (*id, source)).collect(),
        computed: Computed::default(),
        uses: BTreeMap::new(),
        edits,
    };
    let views = Views::new(graph);
    let mut became = vec![None; graph.nodes().len()];
    built.nodes.iter().for_each(|&(index, new)| became[index] = Some(new));
    let live = graph.nodes().iter().enumerate().filter(|(i, _)| needed.nodes[*i]);
    for (index, node) in live {
        if let Some(&(function, operand)) = plan.activations.get(&index) {
            let (op, gate) = match function {
                Activation::Relu => (OpType::Relu, None),
                Activation::HardSwish => (OpType::HardSwish, None),
                Activation::Silu => (OpType::Mul, Some(OpType::Sigmoid)),
            };
            let x = plan.resolve(operand);
            compared.edits.nodes.entry(index).or_default().operator =
                Some(Replacement { op, gate, x });
        } else if is_known(graph, &views, node) {
            compared.computed(index, node, &mut keeping);
        } else if let Some(new) = became[index] {
            compared.node(index, node, &built.graph, &built.graph.nodes()[new.index()]);
        }
    }
    compared.finish()
}

/// Constants that the file computes.
#[derive(Default)]
struct Computed {
    /// Those that come out otherwise in the sub-network; without elements when they cannot be
    /// told.
    changed: HashMap<ValueId, Value>,
    /// Those that depend on the shapes of tensors, and so on the batch and the size of the input.
    by_shape: HashSet<ValueId>,
}

/// What nodes want of a stored tensor, `None` for all of it, and which inputs of which.
type Use = (Option<Content>, Vec<(usize, usize)>);

struct Comparison<'a> {
    graph: &'a ModelGraph,
    plan: &'a Plan,
    sources: HashMap<ValueId, &'a Source>,
    computed: Computed,
    /// Of each stored tensor.
    uses: BTreeMap<ValueId, Vec<Use>>,
    edits: Edits,
}

/// Whether the file holds the tensor. Those that importing made up, such as the sizes of the parts
/// of a sequence, have no name.
fn is_stored(value: &Value) -> bool {
    value.producer.is_none() && value.is_constant() && !value.name.is_empty()
}

impl Comparison<'_> {
    fn used(&mut self, id: ValueId, wanted: Option<Content>, node: usize, input: usize) {
        let uses = self.uses.entry(id).or_default();
        match uses.iter_mut().find(|(other, _)| *other == wanted) {
            Some((_, places)) => places.push((node, input)),
            None => uses.push((wanted, vec![(node, input)])),
        }
    }

    /// Computes the outputs of a node, whose elements are known, with what is left of its inputs.
    fn computed(&mut self, index: usize, node: &Node, keeping: &mut Keeping) {
        let graph = self.graph;
        let old = self.plan.inputs(index, node);
        let mut by_shape = false;
        let mut changed = false;
        let mut inputs: SmallVec<[Option<Value>; 3]> = SmallVec::new();
        for (input, id) in old.iter().enumerate() {
            let Some(id) = *id else {
                inputs.push(None);
                continue;
            };
            let value = graph.value(id);
            let cut = keeping.of_vector(index, id).unwrap_or_else(|| keeping.cut(id));
            let whole = cut.iter().all(Option::is_none);
            by_shape |= !value.is_constant() || self.computed.by_shape.contains(&id);
            if is_stored(value) {
                let wanted = (!whole).then(|| Content::Cut { of: id, cut: cut.clone() });
                self.used(id, wanted, index, input);
            }
            inputs.push(Some(match self.computed.changed.get(&id) {
                Some(now) => {
                    changed = true;
                    now.clone()
                }
                None if whole || (!is_stored(value) && value.data().is_some()) => value.clone(),
                None => {
                    changed = true;
                    cut_value(value, &cut)
                }
            }));
        }
        for id in node.outputs.iter().flatten().filter(|_| by_shape) {
            self.computed.by_shape.insert(*id);
        }
        if !changed {
            return;
        }
        let borrowed: SmallVec<[Option<&Value>; 5]> = inputs.iter().map(Option::as_ref).collect();
        let facts = infer::infer(&infer::Context {
            op: &node.op,
            attributes: &node.attributes,
            inputs: &borrowed,
            outputs: node.outputs.len(),
            opset: graph.opset(),
            declared: &[],
            folded: TensorData::MAX_KEPT as u64,
        });
        for (i, id) in node.outputs.iter().enumerate() {
            let Some(id) = *id else { continue };
            let mut now = graph.value(id).clone();
            let fact = facts.as_ref().ok().and_then(|facts| facts.get(i));
            now.constant = Some(Constant {
                data: fact.and_then(|f| f.constant.as_ref()?.data.clone()),
                origin: now.constant.map_or(crate::model_graph::Origin::Computed, |c| c.origin),
            });
            if let Some(fact) = fact {
                now.shape = fact.shape.clone();
            }
            let old = graph.value(id);
            if now.data() != old.data() || now.shape != old.shape {
                self.computed.changed.insert(id, now);
            }
        }
    }

    /// Compares a node with what it became.
    fn node(&mut self, index: usize, node: &Node, new: &ModelGraph, made: &Node) {
        let mut edit = NodeEdit::default();
        if let Some(left) = self.plan.operands.get(&index) {
            // In the same order as all.
            let mut left = left.iter().peekable();
            let inputs = node.inputs.iter().enumerate();
            edit.dropped = inputs
                .filter_map(|(i, id)| left.next_if(|other| *other == id).is_none().then_some(i))
                .collect();
        }
        for (name, value) in made.attributes.iter() {
            if node.attributes.get(name) != Some(value) {
                edit.attributes.push((name.to_string(), Some(value.clone())));
            }
        }
        for (name, _) in node.attributes.iter() {
            if made.attributes.get(name).is_none() {
                edit.attributes.push((name.to_string(), None));
            }
        }
        let old = self.plan.inputs(index, node);
        for (input, id) in made.inputs.iter().enumerate() {
            let Some(id) = *id else { continue };
            let wanted = new.value(id);
            let before = old.get(input).copied().flatten();
            match before.map(|id| (id, self.graph.value(id))) {
                Some((before, value)) if is_stored(value) => {
                    let content = match self.sources.get(&id) {
                        Some(source) if source.cut.iter().all(Option::is_none) => None,
                        Some(source) => {
                            Some(Content::Cut { of: source.value, cut: source.cut.clone() })
                        }
                        None if wanted.data() == value.data() && wanted.shape == value.shape => {
                            None
                        }
                        None => content(wanted),
                    };
                    self.used(before, content, index, input);
                }
                // A view of a weight is one still.
                Some(_) if wanted.producer.is_some() => {}
                Some((before, value)) if value.producer.is_some() && value.data().is_some() => {
                    let now = self.computed.changed.get(&before).unwrap_or(value);
                    if now.data() == wanted.data() && now.shape == wanted.shape {
                        continue;
                    }
                    let by_shape = self.computed.by_shape.contains(&before);
                    let scaled = if by_shape { scaled(now, wanted) } else { None };
                    let operand = scaled.or_else(|| self.more(None, content(wanted)?));
                    edit.inputs.extend(operand.map(|operand| (input, operand)));
                }
                Some((_, value)) if value.producer.is_some() || !value.is_constant() => {}
                made_up => {
                    if made_up.is_some_and(|(_, value)| value.data() == wanted.data()) {
                        continue;
                    }
                    let operand = content(wanted).and_then(|content| self.more(None, content));
                    edit.inputs.extend(operand.map(|operand| (input, operand)));
                }
            }
        }
        if !edit.attributes.is_empty() || !edit.inputs.is_empty() || !edit.dropped.is_empty() {
            self.edits.nodes.insert(index, edit);
        }
    }

    fn more(&mut self, like: Option<ValueId>, content: Content) -> Option<Operand> {
        self.edits.more.push(More { like, content });
        Some(Operand::More(self.edits.more.len() - 1))
    }

    fn finish(mut self) -> Edits {
        for (id, uses) in std::mem::take(&mut self.uses) {
            // One of them can stand where the tensor stood.
            let stays = uses.iter().position(|(wanted, _)| wanted.is_none()).unwrap_or(0);
            for (i, (wanted, places)) in uses.into_iter().enumerate() {
                let Some(content) = wanted else { continue };
                if i == stays {
                    self.edits.stored.insert(id, content);
                    continue;
                }
                self.edits.more.push(More { like: Some(id), content });
                let number = self.edits.more.len() - 1;
                for (node, input) in places {
                    let edit = self.edits.nodes.entry(node).or_default();
                    edit.inputs.push((input, Operand::More(number)));
                }
            }
        }
        self.edits.changed = self.computed.changed.into_keys().collect();
        self.edits
    }
}

/// What is left of a tensor.
fn cut_value(value: &Value, cut: &Cut) -> Value {
    let mut left = value.clone();
    left.shape = cut_shape(&value.shape, cut);
    if let (Some(constant), Some(data)) = (&mut left.constant, value.data()) {
        constant.data = Some(Arc::new(crate::onnx::cut_data(data, &value.shape, cut)));
    }
    left
}

fn content(value: &Value) -> Option<Content> {
    let data = value.data()?.clone();
    Some(Content::New { dtype: value.dtype, shape: value.shape.clone(), data })
}

/// What turns `now` into `wanted`, element by element. Numbers that depend on the batch or the
/// size of the input are products with what was cut, so that the quotient always holds.
fn scaled(now: &Value, wanted: &Value) -> Option<Operand> {
    if now.shape != wanted.shape || now.dtype != wanted.dtype {
        return None;
    }
    let (factors, divisors) = match (now.data()?, wanted.data()?) {
        (TensorData::Ints(now), TensorData::Ints(wanted)) => {
            let mut fractions = Vec::with_capacity(now.len());
            for (&now, &wanted) in now.iter().zip(wanted) {
                fractions.push(match now == wanted {
                    true => (1, 1),
                    false if now > 0 && wanted > 0 => {
                        let common = common_divisor(wanted, now);
                        (wanted / common, now / common)
                    }
                    false => return None,
                });
            }
            let (factors, divisors): (Vec<i64>, Vec<i64>) = fractions.into_iter().unzip();
            let divided = divisors.iter().any(|&d| d != 1);
            (TensorData::Ints(factors), divided.then_some(TensorData::Ints(divisors)))
        }
        (TensorData::Floats(now), TensorData::Floats(wanted)) => {
            let factor =
                |(now, wanted): (&f64, &f64)| if now == wanted { 1.0 } else { wanted / now };
            let factors: Vec<f64> = now.iter().zip(wanted).map(factor).collect();
            if !factors.iter().all(|f| f.is_finite()) {
                return None;
            }
            (TensorData::Floats(factors), None)
        }
        _ => return None,
    };
    Some(Operand::Scaled { dtype: wanted.dtype, shape: wanted.shape.clone(), factors, divisors })
}

fn common_divisor(mut a: i64, mut b: i64) -> i64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
