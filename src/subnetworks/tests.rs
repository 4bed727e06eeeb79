use super::*;
use crate::lower::lower;
use crate::model_graph::{
    Attribute, Attributes, Builder, DataType, OpType, TensorData, ValueId, ints,
};
use crate::onnx::{self, Original};
use crate::spaces::Space;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// A network under construction whose steps cannot fail.
struct Net(Builder);

impl Net {
    fn new() -> Self {
        Self(Builder::new("test", 17))
    }

    fn input(&mut self, shape: &[usize]) -> ValueId {
        self.0.input("input", DataType::Float, shape)
    }

    fn node(&mut self, op: OpType, attributes: Attributes, inputs: &[ValueId]) -> ValueId {
        self.0.node(op, attributes, inputs).unwrap()
    }

    fn plain(&mut self, op: OpType, inputs: &[ValueId]) -> ValueId {
        self.node(op, Attributes::new(), inputs)
    }

    fn conv(&mut self, x: ValueId, filters: usize, kernel: usize, groups: usize) -> ValueId {
        let channels = self.0.value(x).shape[1];
        let weight = self.0.weight(&[filters, channels / groups, kernel, kernel]);
        let side = (kernel / 2) as i64;
        let attributes = Attributes::new()
            .with("group", Attribute::Int(groups as i64))
            .with("pads", ints(&[side; 4]));
        self.node(OpType::Conv, attributes, &[x, weight])
    }

    fn linear(&mut self, x: ValueId, features: usize) -> ValueId {
        let depth = *self.0.value(x).shape.last().unwrap();
        let weight = self.0.weight(&[depth, features]);
        self.plain(OpType::MatMul, &[x, weight])
    }

    fn reshape(&mut self, x: ValueId, shape: &[i64]) -> ValueId {
        let shape = self.0.int_vector(shape);
        self.plain(OpType::Reshape, &[x, shape])
    }

    fn transpose(&mut self, x: ValueId, perm: &[i64]) -> ValueId {
        self.node(OpType::Transpose, Attributes::new().with("perm", ints(perm)), &[x])
    }

    fn space(mut self, output: ValueId) -> SuperNetwork {
        self.0.output(output);
        SuperNetwork::new(self.0.finish())
    }
}

/// Units and channels per unit of every group.
fn groups(space: &SuperNetwork) -> Vec<(usize, usize)> {
    space.groups().iter().map(|g| (g.units, g.channels_per_unit)).collect()
}

/// Shapes of the tensors that the operator `op` reads as input `i`, in order.
fn shapes(space: &SuperNetwork, text: &str, op: OpType, i: usize) -> Vec<Vec<usize>> {
    let graph = space.build(&space.parse(text).unwrap()).unwrap();
    let nodes = graph.nodes().iter().filter(|n| n.op == op);
    nodes.map(|n| graph.value(n.inputs[i].unwrap()).shape.to_vec()).collect()
}

#[test]
fn channels_that_are_added_go_together_and_flattened_ones_as_columns() {
    let mut net = Net::new();
    let x = net.input(&[1, 3, 4, 4]);
    let a = net.conv(x, 8, 3, 1);
    let b = net.conv(a, 8, 3, 1);
    let sum = net.plain(OpType::Add, &[a, b]);
    let c = net.conv(sum, 6, 1, 1);
    let flat = net.plain(OpType::Flatten, &[c]);
    let y = net.linear(flat, 10);
    let space = net.space(y);
    assert_eq!(groups(&space), [(8, 1), (6, 1)]);
    assert_eq!(
        shapes(&space, "c0=1/2", OpType::Conv, 1),
        [vec![4, 3, 3, 3], vec![4, 4, 3, 3], vec![6, 4, 1, 1]]
    );
    assert_eq!(shapes(&space, "c1=1/2", OpType::MatMul, 1), [[48, 10]]);
}

#[test]
fn a_group_of_a_convolution_goes_as_a_whole() {
    let mut net = Net::new();
    let x = net.input(&[1, 3, 4, 4]);
    let a = net.conv(x, 8, 1, 1);
    let b = net.conv(a, 16, 3, 4);
    let c = net.conv(b, 16, 3, 16);
    let y = net.conv(c, 5, 1, 1);
    let space = net.space(y);
    assert_eq!(groups(&space), [(4, 2)]);
    assert_eq!(
        shapes(&space, "c0=1/4", OpType::Conv, 1),
        [vec![2, 3, 1, 1], vec![4, 2, 3, 3], vec![4, 1, 3, 3], vec![5, 4, 1, 1]]
    );
}

#[test]
fn concatenated_channels_are_cut_apart_and_split_ones_found_again() {
    let mut net = Net::new();
    let x = net.input(&[1, 3, 4, 4]);
    let (a, b) = (net.conv(x, 4, 1, 1), net.conv(x, 8, 1, 1));
    let both = net.node(OpType::Concat, Attributes::new().with("axis", Attribute::Int(1)), &[a, b]);
    let sizes = net.0.int_vector(&[6, 6]);
    let halves = net
        .0
        .named_node(
            "",
            OpType::Split,
            Attributes::new().with("axis", Attribute::Int(1)),
            [Some(both), Some(sizes)].into_iter().collect(),
            &[Some(""), Some("")],
            &[],
        )
        .unwrap();
    let (c, d) = (net.conv(halves[0].unwrap(), 5, 1, 1), net.conv(halves[1].unwrap(), 5, 1, 1));
    let y = net.plain(OpType::Add, &[c, d]);
    let space = net.space(y);
    // The first four, two of the eight, and the rest of them.
    assert_eq!(groups(&space), [(4, 1), (2, 1), (6, 1)]);
    assert_eq!(
        shapes(&space, "c0=1/4,c2=1/2", OpType::Conv, 1),
        [[1, 3, 1, 1], [5, 3, 1, 1], [5, 3, 1, 1], [5, 3, 1, 1]]
    );
}

#[test]
fn heads_of_attention_go_as_a_whole() {
    let (tokens, width, heads) = (5, 12, 3);
    let mut net = Net::new();
    let x = net.input(&[1, tokens, width]);
    // All three projections in one, as many exporters write it.
    let packed = net.linear(x, 3 * width);
    let packed = net.reshape(packed, &[1, tokens as i64, 3, heads, 4]);
    let packed = net.transpose(packed, &[2, 0, 3, 1, 4]);
    let mut part = |i: i64| {
        let index = net.0.constant("", DataType::Int64, &[], Some(TensorData::Ints(vec![i])));
        net.plain(OpType::Gather, &[packed, index])
    };
    let (q, k, v) = (part(0), part(1), part(2));
    let k = net.transpose(k, &[0, 1, 3, 2]);
    let scores = net.plain(OpType::MatMul, &[q, k]);
    let scores =
        net.node(OpType::Softmax, Attributes::new().with("axis", Attribute::Int(-1)), &[scores]);
    let mixed = net.plain(OpType::MatMul, &[scores, v]);
    let mixed = net.transpose(mixed, &[0, 2, 1, 3]);
    let mixed = net.reshape(mixed, &[1, tokens as i64, width as i64]);
    let y = net.linear(mixed, width);
    let space = net.space(y);
    assert_eq!(groups(&space), [(3, 12)]);
    assert!(space.groups()[0].exact);
    assert_eq!(
        shapes(&space, "c0=1/4", OpType::MatMul, 1),
        [vec![12, 12], vec![1, 1, 4, 5], vec![1, 1, 5, 4], vec![4, 12]]
    );
}

#[test]
fn a_channel_shuffle_ties_what_it_interleaves() {
    let mut net = Net::new();
    let x = net.input(&[1, 3, 4, 4]);
    let a = net.conv(x, 8, 1, 1);
    let split = net.reshape(a, &[1, 2, 4, 4, 4]);
    let swapped = net.transpose(split, &[0, 2, 1, 3, 4]);
    let shuffled = net.reshape(swapped, &[1, 8, 4, 4]);
    let b = net.conv(shuffled, 8, 1, 4);
    let y = net.conv(b, 5, 1, 1);
    let space = net.space(y);
    assert_eq!(groups(&space), [(4, 2)]);
    assert_eq!(
        shapes(&space, "c0=1/2", OpType::Reshape, 0),
        [vec![1, 4, 4, 4], vec![1, 2, 2, 4, 4]]
    );
}

#[test]
fn what_no_rule_covers_is_never_cut() {
    let mut net = Net::new();
    let x = net.input(&[1, 3, 4, 4]);
    let a = net.conv(x, 8, 1, 1);
    let a = net.node(OpType::LRN, Attributes::new().with("size", Attribute::Int(3)), &[a]);
    let b = net.conv(a, 8, 1, 1);
    let y = net.conv(b, 5, 1, 1);
    assert_eq!(groups(&net.space(y)), [(8, 1)]);
}

#[test]
fn a_mean_over_channels_makes_a_group_approximate() {
    let mut net = Net::new();
    let x = net.input(&[1, 5, 8]);
    let a = net.linear(x, 6);
    let (scale, shift) = (net.0.weight(&[6]), net.0.weight(&[6]));
    let a = net.plain(OpType::LayerNormalization, &[a, scale, shift]);
    let a = net.linear(a, 10);
    let y = net.linear(a, 4);
    let space = net.space(y);
    let exact: Vec<bool> = space.groups().iter().map(|g| g.exact).collect();
    assert_eq!((groups(&space), exact), (vec![(6, 1), (10, 1)], vec![false, true]));
    assert!(!space.is_exact(&space.parse("c0=1/2").unwrap()));
    assert!(space.is_exact(&space.parse("c1=1/2").unwrap()));
}

/// conv - (conv - relu - conv) + skip - conv
fn residual() -> SuperNetwork {
    let mut net = Net::new();
    let x = net.input(&[1, 3, 8, 8]);
    let a = net.conv(x, 8, 3, 1);
    let b = net.conv(a, 16, 5, 1);
    let b = net.plain(OpType::Relu, &[b]);
    let b = net.conv(b, 8, 3, 1);
    let sum = net.plain(OpType::Add, &[a, b]);
    let y = net.conv(sum, 4, 1, 1);
    net.space(y)
}

#[test]
fn equal_networks_have_equal_texts() {
    let space = residual();
    assert_eq!(groups(&space), [(8, 1), (16, 1)]);
    assert_eq!((space.branches().count(), space.kernels().len()), (1, 3));
    // Nothing of the branch is left that could be thinner.
    let sub = space.parse("c0=1/2, c1=1/4, k1=3, k2=1, a0=silu, -b0").unwrap();
    assert_eq!(sub.to_string(), "c0=1/2,-b0");
    let graph = space.build(&sub).unwrap();
    assert_eq!(graph.nodes().len(), 2);
    assert_eq!(space.parse("whole"), Ok(SubNetwork::default()));
    assert_eq!(space.decisions(), [4, 4, 2, 2, 3, 2, 3]);
    assert_eq!(space.decide(&[2, 3, 1, 0, 2, 1, 1]), sub);
    assert!(space.layers().is_empty());
    assert_eq!(space.decide(&[]), SubNetwork::default());
    assert_eq!(space.smallest().to_string(), "c0=1/4,-b0,k0=1");
}

/// The tensors that segments end in, as the operators that make them, and the units that go along.
fn segments(space: &SuperNetwork) -> Vec<(&str, usize)> {
    let graph = space.graph();
    let op = |id: ValueId| graph.nodes()[graph.value(id).producer.unwrap().index()].op.name();
    space.segments().iter().map(|s| (op(s.tensor), s.units.len())).collect()
}

/// The operators of what is left when all units, and segments with a one, stay.
fn left(space: &SuperNetwork, segments: &[u8]) -> Option<Vec<String>> {
    let mut kept = vec![true; space.units_in_all()];
    kept.extend(segments.iter().map(|&stays| stays == 1));
    assert_eq!(space.removal(&kept).is_some(), space.cut(&kept).is_ok());
    let graph = space.cut(&kept).ok()?.graph;
    Some(graph.nodes().iter().map(|node| node.op.to_string()).collect())
}

#[test]
fn operands_of_sums_are_segments_and_one_stays() {
    let mut net = Net::new();
    let x = net.input(&[1, 3, 4, 4]);
    let stem = net.conv(x, 8, 3, 1);
    let branches: Vec<ValueId> = (0..3).map(|_| net.conv(stem, 8, 3, 1)).collect();
    let sum = net.plain(OpType::Sum, &branches);
    let sum = net.plain(OpType::Relu, &[sum]);
    let gate = net.conv(sum, 8, 1, 1);
    let product = net.plain(OpType::Mul, &[sum, gate]);
    let y = net.conv(product, 5, 1, 1);
    let space = net.space(y);
    // Not the factor of the product.
    assert_eq!(segments(&space), [("Conv", 0); 3]);
    let text = |segments| left(&space, segments).map(|ops| ops.join(" "));
    assert_eq!(text(&[1, 0, 1]).unwrap(), "Conv Conv Conv Sum Relu Conv Mul Conv");
    assert_eq!(text(&[0, 0, 1]).unwrap(), "Conv Conv Relu Conv Mul Conv");
    assert_eq!(text(&[0, 0, 0]), None);
}

/// As in a dense block, and at the top of a U: what is concatenated goes with the channels that it brings.
#[test]
fn operands_of_concatenations_are_segments_if_their_channels_are_their_own() {
    let mut net = Net::new();
    let x = net.input(&[1, 3, 4, 4]);
    let channel = || Attributes::new().with("axis", Attribute::Int(1));
    let stem = net.conv(x, 8, 3, 1);
    let a = net.conv(stem, 4, 3, 1);
    let first = net.node(OpType::Concat, channel(), &[stem, a]);
    let b = net.conv(first, 4, 3, 1);
    let second = net.node(OpType::Concat, channel(), &[stem, a, b]);
    // Tied to the stem's channels: it could not go alone.
    let c = net.conv(second, 8, 3, 1);
    let sum = net.plain(OpType::Add, &[c, stem]);
    let third = net.node(OpType::Concat, channel(), &[second, c]);
    let both = net.node(OpType::Concat, channel(), &[third, sum]);
    let y = net.conv(both, 5, 1, 1);
    let space = net.space(y);
    assert_eq!(segments(&space), [("Conv", 4), ("Conv", 4)]);
    let mut kept = vec![true; space.units_in_all()];
    kept.extend([false, true]);
    let graph = space.cut(&kept).unwrap().graph;
    let weights: Vec<Vec<usize>> = graph
        .nodes()
        .iter()
        .filter(|n| n.op == OpType::Conv)
        .map(|n| graph.value(n.inputs[1].unwrap()).shape.to_vec())
        .collect();
    let expected = [[8, 3, 3, 3], [4, 8, 3, 3], [8, 12, 3, 3], [5, 28, 1, 1]];
    assert_eq!(weights, expected);
}

#[test]
fn a_sub_network_is_told_from_the_whole_in_words() {
    let model = onnx::read("data/examples/resnet18.onnx".as_ref(), &Default::default()).unwrap();
    let space = SuperNetwork::new(model);
    let text = |keep: &str| space.describe(&space.parse(keep).unwrap()).join("; ");
    assert_eq!(
        text("c0=1/2,c1=3/4,-b1,k0=5"),
        "channels: conv1 64 → 32, layer1/layer1.0/conv1 64 → 48; without the branches: \
         layer1/layer1.1/conv2; kernels: conv1 7 → 5"
    );
    assert_eq!(text("whole"), "");
}

#[test]
fn kernels_and_activations_are_exchanged() {
    let space = residual();
    assert_eq!(
        shapes(&space, "k1=3", OpType::Conv, 1),
        [vec![8, 3, 3, 3], vec![16, 8, 3, 3], vec![8, 16, 3, 3], vec![4, 8, 1, 1]]
    );
    let graph = space.build(&space.parse("a0=silu,k0=1").unwrap()).unwrap();
    let names: Vec<&str> = graph.nodes().iter().map(|n| n.op.name()).collect();
    assert_eq!(names, ["Conv", "Conv", "Sigmoid", "Mul", "Conv", "Add", "Conv"]);
}

#[test]
fn a_skipped_layer_ties_the_widths_around_it() {
    let mut net = Net::new();
    let x = net.input(&[1, 3, 8, 8]);
    let a = net.conv(x, 8, 3, 1);
    let b = net.conv(a, 8, 3, 1);
    let b = net.plain(OpType::Relu, &[b]);
    let c = net.conv(b, 8, 3, 1);
    let y = net.conv(c, 4, 1, 1);
    let space = net.space(y);
    assert_eq!(groups(&space), [(8, 1), (8, 1), (8, 1)]);
    let layers: Vec<usize> = space.layers().iter().map(|l| l.nodes).collect();
    assert_eq!(layers, [2, 1]);
    // The width of the second is the first's.
    let sub = space.parse("c0=1/2,c1=1/4,c2=3/4,-l0").unwrap();
    assert_eq!(sub.to_string(), "c0=1/2,c2=3/4,-l0");
    assert_eq!(
        shapes(&space, "c0=1/2,c2=3/4,-l0", OpType::Conv, 1),
        [[4, 3, 3, 3], [6, 4, 3, 3], [4, 6, 1, 1]]
    );
    let sub = space.parse("c0=1/2,c1=1/4,c2=3/4,-l0,-l1").unwrap();
    assert_eq!(sub.to_string(), "c0=1/2,-l0,-l1");
    assert_eq!(shapes(&space, "c0=1/2,-l0,-l1", OpType::Conv, 1), [[4, 3, 3, 3], [4, 4, 1, 1]]);
}

#[test]
fn texts_that_say_nothing_are_refused() {
    let space = residual();
    for text in [
        "c9=1/2",
        "c0=1/3",
        "c0",
        "-b1",
        "k1=4",
        "k1=7",
        "a0=relu",
        "a0=gelu",
        "c0=1/2,c0=1/4",
        "x",
    ] {
        assert!(space.parse(text).is_err(), "{text}");
    }
    let other = SuperNetwork::new(Space::NasBenchMacro.build("12012012").unwrap());
    // A sub-network of another space is no reason to panic.
    assert!(space.build(&other.smallest()).is_ok());
}

#[test]
fn a_mutation_changes_one_thing_and_the_whole_is_the_network() {
    let cell = "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|avg_pool_3x3~2|";
    let graph = Space::NasBench201.build(cell).unwrap();
    let fingerprint = lower(&graph).unwrap().fingerprint();
    let space = SuperNetwork::new(graph);
    let whole = space.build(&SubNetwork::default()).unwrap();
    assert_eq!(lower(&whole).unwrap().fingerprint(), fingerprint);
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut sub = SubNetwork::default();
    for _ in 0..100 {
        let next = space.mutate(&sub, &mut rng);
        assert_ne!(next, sub);
        assert_eq!(space.crossover(&next, &next, &mut rng), next);
        assert_eq!(space.parse(&next.to_string()).as_ref(), Ok(&next));
        assert_eq!(space.choose(next.changes().iter().copied()).as_ref(), Ok(&next));
        lower(&space.build(&next).unwrap()).unwrap();
        sub = next;
    }
}

/// A table that is an embedding and, read in another way, the output's weight.
#[test]
fn a_weight_that_is_read_twice_is_one_in_a_sub_network_too() {
    let (words, width) = (10, 8);
    type View = fn(&mut Net, ValueId) -> ValueId;
    let views: [View; 3] = [
        |net, table| net.transpose(table, &[1, 0]),
        |net, table| {
            let table = net.reshape(table, &[10, 8, 1]);
            let table = net.transpose(table, &[1, 0, 2]);
            net.reshape(table, &[8, 10])
        },
        |net, table| {
            let half = Attributes::new().with("to", Attribute::Int(10));
            let table = net.node(OpType::Cast, half, &[table]);
            let single = Attributes::new().with("to", Attribute::Int(1));
            let table = net.node(OpType::Cast, single, &[table]);
            net.transpose(table, &[1, 0])
        },
    ];
    let folder = tempfile::tempdir().unwrap();
    let (whole, small) = (folder.path().join("whole.onnx"), folder.path().join("small.onnx"));
    for view in views {
        let mut net = Net::new();
        let ids = net.0.input("ids", DataType::Int64, &[1, 5]);
        let table = net.0.weight(&[words, width]);
        let x = net.plain(OpType::Gather, &[table, ids]);
        let x = net.plain(OpType::Tanh, &[x]);
        let head = view(&mut net, table);
        let y = net.plain(OpType::MatMul, &[x, head]);
        net.0.output(y);
        let file = std::fs::File::create(&whole).unwrap();
        onnx::write(&net.0.finish(), file, onnx::Weights::Random { seed: 4 }).unwrap();
        // So few elements are known when they are read.
        let (graph, mut file) = Original::open(&whole, &onnx::ReadOptions::default()).unwrap();
        assert!(graph.value(graph.nodes()[0].inputs[0].unwrap()).data().is_some());
        assert_eq!(lower(&graph).unwrap().parameters(), (words * width) as u64);

        let space = SuperNetwork::new(graph);
        let sub = space.parse("c0=1/2").unwrap();
        let built = lower(&space.build(&sub).unwrap()).unwrap();
        assert_eq!(built.parameters(), (words * width / 2) as u64);
        let out = std::fs::File::create(&small).unwrap();
        space.shrink(&sub, &mut file, out, None).unwrap();
        let written = lower(&onnx::read(&small, &onnx::ReadOptions::default()).unwrap()).unwrap();
        assert_eq!(written.parameters(), built.parameters());
        assert_eq!(written.fingerprint(), built.fingerprint());
    }
}

/// A constant that is no number stands in the small file as in the large one.
#[test]
fn what_is_no_number_is_left_as_it_is() {
    let mut net = Net::new();
    let x = net.input(&[1, 16]);
    let y = net.linear(x, 8);
    let negative = net.0.constant("n", DataType::Float, &[1], Some(TensorData::Floats(vec![-1.0])));
    let root = net.plain(OpType::Sqrt, &[negative]);
    let y = net.plain(OpType::Mul, &[y, root]);
    let y = net.linear(y, 4);
    net.0.output(y);
    let folder = tempfile::tempdir().unwrap();
    let (whole, small) = (folder.path().join("whole.onnx"), folder.path().join("small.onnx"));
    let file = std::fs::File::create(&whole).unwrap();
    onnx::write(&net.0.finish(), file, onnx::Weights::Random { seed: 4 }).unwrap();
    let (graph, mut file) = Original::open(&whole, &onnx::ReadOptions::default()).unwrap();
    let space = SuperNetwork::new(graph);
    let sub = space.parse("c0=1/2").unwrap();
    let out = std::fs::File::create(&small).unwrap();
    space.shrink(&sub, &mut file, out, None).unwrap();
    let read = onnx::read(&small, &onnx::ReadOptions::default()).unwrap();
    let operators: Vec<&OpType> = read.nodes().iter().map(|n| &n.op).collect();
    assert_eq!(operators, [&OpType::MatMul, &OpType::Sqrt, &OpType::Mul, &OpType::MatMul]);
}

/// A layer that nothing uses, after a part of a Split that nothing else uses.
#[test]
fn what_nothing_uses_is_not_left_behind_with_cut_operands() {
    let mut net = Net::new();
    let x = net.input(&[1, 3, 8, 8]);
    let y = net.conv(x, 16, 3, 1);
    let axis = Attributes::new().with("axis", Attribute::Int(1));
    let halves = [Some(""), Some("")];
    let inputs = [Some(y)].into_iter().collect();
    let halves = net.0.named_node("", OpType::Split, axis, inputs, &halves, &[]).unwrap();
    let (used, idle) = (halves[0].unwrap(), halves[1].unwrap());
    net.conv(idle, 8, 1, 1);
    let last = net.conv(used, 4, 1, 1);
    net.0.output(last);
    let folder = tempfile::tempdir().unwrap();
    let (whole, small) = (folder.path().join("whole.onnx"), folder.path().join("small.onnx"));
    let file = std::fs::File::create(&whole).unwrap();
    onnx::write(&net.0.finish(), file, onnx::Weights::Random { seed: 4 }).unwrap();
    let (graph, mut file) = Original::open(&whole, &onnx::ReadOptions::default()).unwrap();
    assert_eq!(graph.nodes().len(), 4);
    let space = SuperNetwork::new(graph);
    let sub = space.smallest();
    let out = std::fs::File::create(&small).unwrap();
    space.shrink(&sub, &mut file, out, None).unwrap();
    let read = onnx::read(&small, &onnx::ReadOptions::default()).unwrap();
    let built = space.build(&sub).unwrap();
    assert_ne!(lower(&built).unwrap().parameters(), lower(space.graph()).unwrap().parameters());
    assert_eq!(lower(&read).unwrap().fingerprint(), lower(&built).unwrap().fingerprint());
}

/// A table that rows are picked from, and whose numbers are read as axes too.
#[test]
fn what_is_read_as_numbers_is_not_cut() {
    let mut net = Net::new();
    let ids = net.0.input("ids", DataType::Int64, &[1, 5]);
    let data = TensorData::Ints((0..72).map(|i| i64::from(i == 71) * 2).collect());
    let table = net.0.constant("table", DataType::Int8, &[2, 36], Some(data));
    let rows = net.plain(OpType::Gather, &[table, ids]);
    let axes = net.transpose(table, &[1, 0]);
    let keep = Attributes::new().with("keepdims", Attribute::Int(0));
    let y = net.0.named_node(
        "",
        OpType::ReduceSum,
        keep,
        [Some(rows), Some(axes)].into_iter().collect(),
        &[Some("")],
        &[],
    );
    let y = y.unwrap()[0].unwrap();
    let space = net.space(y);
    assert!(space.build(&space.smallest()).is_ok());
}

/// Two convolutions of which the second has more weights than an import keeps.
#[test]
fn the_strongest_channels_keep_their_weights() {
    let mut net = Net::new();
    let x = net.input(&[1, 1, 32, 32]);
    let (first, second) = (net.0.weight(&[4, 1, 1, 1]), net.0.weight(&[2, 4, 32, 32]));
    let a = net.plain(OpType::Conv, &[x, first]);
    let y = net.plain(OpType::Conv, &[a, second]);
    net.0.output(y);
    let folder = tempfile::tempdir().unwrap();
    let [whole, small] = ["whole.onnx", "small.onnx"].map(|name| folder.path().join(name));
    let file = std::fs::File::create(&whole).unwrap();
    onnx::write(&net.0.finish(), file, onnx::Weights::Random { seed: 4 }).unwrap();
    let weights = |path: &std::path::Path| -> Vec<Vec<f64>> {
        let (graph, mut file) = Original::open(path, &onnx::ReadOptions::default()).unwrap();
        let mut of_node = |node: &crate::model_graph::Node| {
            let value = graph.value(node.inputs[1].unwrap());
            file.numbers(node.inputs[1].unwrap(), value.dtype, value.elements()).unwrap().unwrap()
        };
        graph.nodes().iter().map(&mut of_node).collect()
    };
    let old = weights(&whole);
    let channel = |i: usize| -> Vec<f64> {
        let of_filter = |filter: &[f64]| filter[i * 1024..(i + 1) * 1024].to_vec();
        old[1].chunks(4096).flat_map(of_filter).collect()
    };
    let strength =
        |i: &usize| -> f64 { old[0][*i].powi(2) + channel(*i).iter().map(|x| x * x).sum::<f64>() };
    let mut kept = vec![0, 1, 2, 3];
    kept.sort_by(|a, b| strength(b).total_cmp(&strength(a)));
    kept.truncate(2);
    kept.sort();
    assert_ne!(kept, [0, 1], "the first would be kept without looking at weights");

    let (graph, mut file) = Original::open(&whole, &onnx::ReadOptions::default()).unwrap();
    let space = SuperNetwork::new(graph);
    let sub = space.parse("c0=1/2").unwrap();
    let out = std::fs::File::create(&small).unwrap();
    let shrunk = space.shrink(&sub, &mut file, out, None).unwrap();
    assert!(shrunk.weights);
    assert_eq!(shrunk.cuts.len(), 1);
    assert_eq!((shrunk.cuts[0].axis, &shrunk.cuts[0].kept), (1, &kept));
    let new = weights(&small);
    assert_eq!(new[0], kept.iter().map(|&i| old[0][i]).collect::<Vec<_>>());
    let of_filter = |filter: &[f64]| -> Vec<f64> {
        kept.iter().flat_map(|i| filter[i * 1024..(i + 1) * 1024].to_vec()).collect()
    };
    assert_eq!(new[1], old[1].chunks(4096).flat_map(of_filter).collect::<Vec<_>>());
    // The same from memory, where nothing else is.
    let bytes = std::fs::read(&whole).unwrap();
    let options = onnx::ReadOptions::default();
    let (_, mut borrowed) = Original::from_bytes(&bytes, "whole", &options).unwrap();
    let mut out = Vec::new();
    space.shrink(&sub, &mut borrowed, &mut out, None).unwrap();
    assert_eq!(out, std::fs::read(&small).unwrap());
}

/// Nodes that the outputs need, when one operand of one node is cut off.
fn needed(graph: &ModelGraph, cut: Option<(ValueId, ValueId)>) -> usize {
    let mut needed = vec![false; graph.nodes().len()];
    let mut waiting = graph.outputs().to_vec();
    while let Some(id) = waiting.pop() {
        let Some(node) = graph.value(id).producer.map(|p| p.index()) else { continue };
        if std::mem::replace(&mut needed[node], true) {
            continue;
        }
        let inputs = graph.nodes()[node].inputs.iter().flatten().copied();
        waiting.extend(inputs.filter(|&input| cut != Some((id, input))));
    }
    needed.iter().filter(|needed| **needed).count()
}

/// A shape that the network computes from its inputs would not follow a cut.
#[test]
fn what_takes_its_shape_when_it_runs_is_not_cut() {
    for (op, shape) in [
        (OpType::Reshape, &[1, 8, 16][..]),
        (OpType::Expand, &[1, 8, 4, 4]),
        (OpType::Resize, &[1, 8, 8, 8]),
    ] {
        let mut net = Net::new();
        let x = net.input(&[1, 3, 4, 4]);
        let sizes = net.0.input("sizes", DataType::Int64, &[shape.len()]);
        let a = net.conv(x, 8, 3, 1);
        let inputs = match op {
            OpType::Resize => smallvec::smallvec![Some(a), None, None, Some(sizes)],
            _ => smallvec::smallvec![Some(a), Some(sizes)],
        };
        let declared = [Some((DataType::Float, shape.into()))];
        let made =
            net.0.named_node("", op.clone(), Attributes::new(), inputs, &[Some("")], &declared);
        let b = net.plain(OpType::Relu, &[made.unwrap()[0].unwrap()]);
        let y = net.node(OpType::ReduceMean, Attributes::new().with("axes", ints(&[1])), &[b]);
        assert_eq!(groups(&net.space(y)), [], "{op}");
    }
}

/// What is computed from stored numbers alone can't take the place of what the input has a part in.
#[test]
fn the_input_is_never_left_out() {
    let mut net = Net::new();
    let x = net.input(&[1, 8, 16]);
    let features = net.linear(x, 16);
    let table = net.0.weight(&[1, 8, 16]);
    let scale = net.0.weight(&[16]);
    let positions = net.plain(OpType::LayerNormalization, &[table, scale]);
    let sum = net.plain(OpType::Add, &[features, positions]);
    let last = net.linear(sum, 4);
    let space = net.space(last);
    let left_out: Vec<ValueId> = space.branches().map(|branch| branch.tensor).collect();
    assert!(!left_out.contains(&features), "{left_out:?}");
    let smallest = space.build(&space.smallest()).unwrap();
    assert!(lower(&smallest).unwrap().depends_on_input());

    // Nor can a table that only takes its shape from there.
    let mut net = Net::new();
    let x = net.input(&[1, 8, 16]);
    let features = net.linear(x, 16);
    let table = net.0.weight(&[8, 16]);
    let scale = net.0.weight(&[16]);
    let positions = net.plain(OpType::LayerNormalization, &[table, scale]);
    let shape = net.plain(OpType::Shape, &[x]);
    let positions = net.plain(OpType::Reshape, &[positions, shape]);
    let product = net.plain(OpType::Mul, &[features, positions]);
    let space = net.space(product);
    let left_out: Vec<ValueId> = space.branches().map(|branch| branch.tensor).collect();
    assert!(!left_out.contains(&features), "{left_out:?}");
    assert!(lower(&space.build(&space.smallest()).unwrap()).unwrap().depends_on_input());
}

/// The nodes of a branch, by cutting it off in networks of random shape.
#[test]
fn a_branch_has_the_nodes_that_nothing_else_needs() {
    let mut branches = 0;
    for seed in 0..60 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut net = Net::new();
        let mut tensors = vec![net.input(&[1, 4, 4, 4])];
        for _ in 0..30 {
            // Mostly of the latest tensors, or few would be needed.
            let last = tensors.len() - 1;
            let [a, b] = [(); 2].map(|()| tensors[last - rng.gen_range(0..=last.min(4))]);
            tensors.push(match rng.gen_range(0..4) {
                0 => net.conv(a, 4, 1, 1),
                1 => net.plain(OpType::Relu, &[a]),
                2 => net.plain(OpType::Mul, &[a, b]),
                _ => net.plain(OpType::Add, &[a, b]),
            });
        }
        net.0.output(tensors[15]);
        let space = net.space(tensors[30]);
        let all = needed(space.graph(), None);
        for branch in space.branches() {
            let without = needed(space.graph(), Some((branch.result, branch.tensor)));
            assert_eq!(branch.nodes, all - without, "seed {seed}: {branch:?}");
            branches += 1;
        }
    }
    assert!(branches > 60, "{branches}");
}
