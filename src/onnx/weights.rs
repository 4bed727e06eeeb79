//! Weights among the inputs: `torch.onnx.export(…, export_params=False)` writes every weight as an
//! input of the graph without elements.
//!
//! What an input is, its uses tell. It is data where it comes first to an operator: the image of
//! a convolution, the sequence of a recurrent layer. It is a weight where it only ever takes the
//! place of one: a filter, a bias, statistics, a table to look up in. What a normalisation works on
//! is data, unless it goes on to take the place of a weight, which networks standardise too. Where
//! both could be (a sum, a product of two matrices), its name and its place in the file decide:
//! exporters write the data first.

use crate::model_graph::{DataType, ModelGraph, Node, OpType, Origin, Value, ValueId};
use hashbrown::{HashMap, HashSet};
use smallvec::SmallVec;

/// Which inputs are what.
#[derive(Debug, Default)]
pub(super) struct Weights {
    /// Names of the inputs that serve only as weights.
    pub names: HashSet<String>,
    /// Names of those that could be weights, and are taken for data.
    pub doubtful: Vec<String>,
}

/// The weights among the inputs, out of those in `fixed`, whose size is known.
pub(super) fn find(graph: &ModelGraph, fixed: &HashSet<&str>) -> Weights {
    let inputs: Vec<&Value> = graph.inputs().iter().map(|id| graph.value(*id)).collect();
    if inputs.len() < 2 {
        return Weights::default();
    }
    let is_fixed = |v: &Value| fixed.contains(&*v.name);
    let mut data: Vec<bool> =
        inputs.iter().map(|v| !may_store(v.dtype) || !is_fixed(v) || names_data(&v.name)).collect();
    // The first input is data unless its name says otherwise.
    if let (Some(first), Some(value)) = (data.first_mut(), inputs.first()) {
        *first |= !surely_names_weight(&value.name);
    }
    // What comes first to an operator is data; that in turn tells what stands beside it.
    for _ in 0..2 {
        let roles = Uses::new(graph, &data).roles;
        for ((data, role), value) in data.iter_mut().zip(&roles).zip(&inputs) {
            *data |= role.leads
                || (role.normalised && !role.serves)
                || (role.leads_product
                    && !surely_names_weight(&value.name)
                    && !is_path(&value.name));
        }
    }
    let roles = Uses::new(graph, &data).roles;
    let stores_weights = stores_weights(graph);
    let named: Vec<bool> = inputs.iter().map(|v| names_weight(&v.name)).collect();
    let free = |i: usize| !data[i] && !roles[i].leads;
    let certain = |i: usize| {
        let serves = roles[i].serves || (roles[i].multiplies && named[i]);
        free(i) && serves && (named[i] || !stores_weights)
    };
    let Some(first_weight) = (0..inputs.len()).find(|&i| certain(i)) else {
        let doubtful = |i: &usize| !stores_weights && free(*i) && roles[*i].multiplies;
        let names = (0..inputs.len()).filter(doubtful).map(|i| inputs[i].name.to_string());
        return Weights { doubtful: names.collect(), ..Weights::default() };
    };
    let weight = |i: usize| {
        let joins = roles[i].joins || roles[i].multiplies || roles[i].leads_product;
        // Counters and the like are read by nothing.
        let idle = roles[i] == Role::default() && is_fixed(inputs[i]);
        certain(i)
            || (free(i) && joins && (named[i] || (!stores_weights && i > first_weight)))
            || (idle && surely_names_weight(&inputs[i].name))
    };
    let weights: Vec<usize> = (0..inputs.len()).filter(|&i| weight(i)).collect();
    if weights.len() == inputs.len() {
        return Weights::default();
    }
    let names = weights.into_iter().map(|i| inputs[i].name.to_string()).collect();
    Weights { names, ..Weights::default() }
}

/// Types that weights are stored in.
fn may_store(dtype: DataType) -> bool {
    dtype.is_float()
        || matches!(dtype, DataType::Int8 | DataType::Uint8)
        || matches!(dtype, DataType::Other(21 | 22))
}

/// Whether the file has weights of its own: of the filters and matrices, at least as many are stored
/// as are inputs. Where a few are stored among many inputs, they are no weights but what never was
/// trained, such as filters that blur.
fn stores_weights(graph: &ModelGraph) -> bool {
    let (mut stored, mut given) = (0usize, 0usize);
    let inputs: HashSet<ValueId> = graph.inputs().iter().copied().collect();
    for id in graph.nodes().iter().flat_map(matrices).flatten() {
        let value = graph.value(*id);
        let constant = value.constant.as_ref().is_some_and(|c| c.origin == Origin::Stored);
        stored += usize::from(constant && value.elements() > 1);
        given += usize::from(inputs.contains(id));
    }
    stored > 0 && stored >= given
}

/// The operands of a node where weights stand.
fn matrices(node: &Node) -> &[Option<ValueId>] {
    use OpType::*;
    let places = match node.op {
        Conv | ConvTranspose | Gemm | MatMul => 1..2,
        LSTM | GRU | RNN => 1..3,
        _ => 0..0,
    };
    node.inputs.get(places).unwrap_or_default()
}

/// What PyTorch and Keras call weights and statistics.
fn surely_names_weight(name: &str) -> bool {
    const PARTS: [&str; 7] =
        ["weight", "bias", "running_", "gamma", "moving_", "num_batches", "in_proj"];
    let name = name.to_ascii_lowercase();
    PARTS.iter().any(|part| name.contains(part))
}

fn names_weight(name: &str) -> bool {
    const PARTS: [&str; 12] = [
        "beta",
        "kernel",
        "filter",
        "embed",
        "scale",
        "zero_point",
        "param",
        "alpha",
        "token",
        "pos",
        "relative",
        "table",
    ];
    let name = name.to_ascii_lowercase();
    surely_names_weight(&name)
        || PARTS.iter().any(|part| name.contains(part))
        || is_path(&name)
        || matches!(name.as_str(), "w" | "mean" | "var" | "shift" | "slope")
        || name.strip_prefix(['w', 'b']).is_some_and(|rest| {
            let rest = rest.trim_start_matches('_');
            !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit())
        })
}

/// The path of a module, as in `blocks.0.ls1`; not what tells names apart, as in `x.1`.
fn is_path(name: &str) -> bool {
    name.split_once('.').is_some_and(|(_, rest)| rest.bytes().any(|b| b.is_ascii_alphabetic()))
}

fn names_data(name: &str) -> bool {
    const PARTS: [&str; 22] = [
        "input",
        "image",
        "pixel_values",
        "query",
        "support",
        "template",
        "exemplar",
        "search",
        "audio",
        "wave",
        "mask",
        "state",
        "hidden",
        "latent",
        "sample",
        "prompt",
        "feature",
        "target",
        "memory",
        "frame",
        "context",
        "signal",
    ];
    // Also where they stand in one for each layer, as in `past_key_values.0.key`.
    const PATHS: [&str; 2] = ["past_", "cache"];
    const WHOLE: [&str; 22] = [
        "x", "y", "z", "q", "k", "v", "img", "data", "key", "value", "left", "right", "ref", "src",
        "tgt", "h0", "c0", "h_0", "c_0", "hx", "cx", "t",
    ];
    let name = name.to_ascii_lowercase();
    // `encoder.input_layer.weight` is one; `input.1` is what PyTorch calls its first input.
    if surely_names_weight(&name) {
        return false;
    }
    let whole = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '_');
    WHOLE.contains(&name.as_str())
        || WHOLE.contains(&whole)
        || PATHS.iter().any(|part| name.contains(part))
        || (!name.contains('/') && !is_path(&name) && PARTS.iter().any(|part| name.contains(part)))
}

/// What the uses of an input say of it.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Role {
    /// It comes first to an operator that works on data.
    leads: bool,
    /// It comes first to a normalisation, of nothing but constants and what may be weights too.
    normalised: bool,
    /// It comes first in a product of matrices.
    leads_product: bool,
    /// It takes the place of a weight.
    serves: bool,
    /// It is the matrix to the right in a product, as weights are, but not they alone.
    multiplies: bool,
    /// It is joined with data in a way that says nothing.
    joins: bool,
}

/// The inputs that a tensor comes of, without data.
type Sources = SmallVec<[u32; 2]>;

/// Inputs that one tensor is traced to; what is beyond is of weights joined to one.
const TRACED: usize = 16;

struct Uses<'g> {
    graph: &'g ModelGraph,
    roles: Vec<Role>,
    /// Of tensors that come of inputs that may be weights alone.
    sources: HashMap<ValueId, Sources>,
}

impl<'g> Uses<'g> {
    fn new(graph: &'g ModelGraph, data: &[bool]) -> Self {
        let free = graph.inputs().iter().enumerate().zip(data).filter(|(_, data)| !**data);
        let sources = free
            .filter_map(|((i, id), _)| Some((*id, [u32::try_from(i).ok()?].into_iter().collect())))
            .collect();
        let mut uses = Self { graph, roles: vec![Role::default(); data.len()], sources };
        for node in graph.nodes() {
            uses.node(node);
        }
        // What is put out as it came in serves nothing.
        for id in graph.outputs() {
            uses.mark(*id, |role| role.leads = true);
        }
        uses
    }

    fn mark(&mut self, id: ValueId, f: impl Fn(&mut Role)) {
        for &source in self.sources.get(&id).into_iter().flatten() {
            if let Some(role) = self.roles.get_mut(source as usize) {
                f(role);
            }
        }
    }

    fn node(&mut self, node: &Node) {
        use OpType::*;
        let free = |id: &ValueId| self.sources.contains_key(id);
        let inputs: SmallVec<[(usize, ValueId); 4]> =
            node.inputs.iter().enumerate().filter_map(|(i, id)| Some((i, (*id)?))).collect();
        if !inputs.iter().any(|(_, id)| free(id)) {
            return;
        }
        // Whether everything but constants comes of possible weights.
        let alone = inputs.iter().all(|(_, id)| free(id) || self.graph.value(*id).is_constant());
        let candidates = inputs.iter().filter(|(_, id)| free(id)).count();
        let first = inputs.first().map(|(_, id)| *id);
        match &node.op {
            Conv | FusedConv | ConvTranspose | ConvInteger | QLinearConv | PRelu => {
                for &(i, id) in &inputs {
                    let convolves = matches!(
                        node.op,
                        Conv | FusedConv | ConvTranspose | ConvInteger | QLinearConv
                    );
                    if i > 0 && !(i == 1 && convolves && is_template(self.graph, node)) {
                        self.mark(id, |role| role.serves = true);
                    } else {
                        self.mark(id, |role| role.leads = true);
                    }
                }
            }
            BatchNormalization
            | InstanceNormalization
            | LayerNormalization
            | GroupNormalization
            | RMSNormalization
            | SimplifiedLayerNormalization => {
                let standardised = first.filter(|id| alone && free(id));
                for &(i, id) in &inputs {
                    match i {
                        0 if alone => self.mark(id, |role| role.normalised = true),
                        0 => self.mark(id, |role| role.leads = true),
                        _ => self.mark(id, |role| role.serves = true),
                    }
                }
                if let Some(id) = standardised {
                    self.derive(node, &[id]);
                }
            }
            LSTM | GRU | RNN => {
                for &(i, id) in &inputs {
                    match i {
                        1..=3 | 7 => self.mark(id, |role| role.serves = true),
                        _ => self.mark(id, |role| role.leads = true),
                    }
                }
            }
            SkipLayerNormalization | SkipSimplifiedLayerNormalization => {
                for &(i, id) in &inputs {
                    self.mark(
                        id,
                        |role| if i > 1 { role.serves = true } else { role.leads = true },
                    );
                }
            }
            MatMul | Gemm | FusedMatMul | FusedGemm | MatMulInteger | QLinearMatMul => {
                for &(i, id) in &inputs {
                    let rank = self.graph.value(id).shape.len();
                    match i {
                        0 if alone && candidates > 1 => self.mark(id, |r| r.leads_product = true),
                        0 => self.mark(id, |role| role.joins = true),
                        1 if matches!(node.op, MatMul | FusedMatMul) => match rank {
                            0..=2 => self.mark(id, |role| role.multiplies = true),
                            _ => self.mark(id, |role| role.joins = true),
                        },
                        _ => self.mark(id, |role| role.serves = true),
                    }
                }
            }
            QuantizeLinear | DequantizeLinear if !alone || candidates == inputs.len() => {
                for &(i, id) in &inputs {
                    if i > 0 {
                        self.mark(id, |role| role.serves = true);
                    }
                }
                if let Some(id) = first.filter(|_| alone) {
                    self.derive(node, &[id]);
                }
            }
            // Tables of positions are put to other sizes.
            Resize | Upsample if alone => {
                if let Some(id) = first {
                    self.derive(node, &[id]);
                }
            }
            MaxPool | AveragePool | GlobalAveragePool | GlobalMaxPool | Resize | Upsample
            | Softmax | LogSoftmax | NonMaxSuppression | RoiAlign | GridSample => {
                if let Some(id) = first {
                    self.mark(id, |role| role.leads = true);
                }
            }
            // The value of a Shape comes of no elements.
            Shape | Size => {}
            Add | Sub | Mul | Div | Pow | Max | Min | Sum if candidates > 1 => {
                // The larger tensor is what the smaller ones are put to.
                let elements = |id: &ValueId| self.graph.value(*id).elements();
                let of = inputs.iter().map(|(_, id)| *id).filter(|id| free(id));
                let largest = of.clone().map(|id| elements(&id)).max().unwrap_or(0);
                let (large, small): (Vec<ValueId>, Vec<ValueId>) =
                    of.partition(|id| elements(id) == largest);
                for id in small {
                    self.mark(id, |role| role.joins = true);
                }
                if alone {
                    self.derive(node, &large);
                } else {
                    large.into_iter().for_each(|id| self.mark(id, |role| role.joins = true));
                }
            }
            _ if alone => {
                let of: Vec<ValueId> =
                    inputs.iter().map(|(_, id)| *id).filter(|id| free(id)).collect();
                self.derive(node, &of);
            }
            _ => {
                for (_, id) in inputs {
                    self.mark(id, |role| role.joins = true);
                }
            }
        }
    }

    /// Notes that the node's outputs come of these tensors.
    fn derive(&mut self, node: &Node, of: &[ValueId]) {
        let mut sources = Sources::new();
        for id in of {
            for &source in self.sources.get(id).into_iter().flatten() {
                if !sources.contains(&source) {
                    if sources.len() == TRACED {
                        if let Some(role) = self.roles.get_mut(source as usize) {
                            role.joins = true;
                        }
                        continue;
                    }
                    sources.push(source);
                }
            }
        }
        for id in node.outputs.iter().flatten() {
            self.sources.insert(*id, sources.clone());
        }
    }
}

/// Whether the filter of a convolution is an image: one as large as no filter is.
fn is_template(graph: &ModelGraph, node: &Node) -> bool {
    let Some(Some(filter)) = node.inputs.get(1) else { return false };
    let shape = &graph.value(*filter).shape;
    shape.first() == Some(&1) && shape.len() > 3 && shape.iter().skip(2).all(|&d| d > 11)
}
