use super::projection::{Slice, Units};
use super::*;
use crate::model_graph::OpType;
use crate::onnx::{self, Weights};
use crate::spaces::{Space, test_each_space};
use crate::training::{fixtures, trainable};
use proptest::prelude::*;
use rand::Rng;
use std::fs;
use tch::Device;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

#[derive(serde::Deserialize)]
struct Case {
    tensors: [Vec<f32>; 2],
    directions: [Vec<f32>; 2],
    chosen: Vec<bool>,
    rate: f64,
    left: f64,
    zero: Vec<bool>,
    after: [Vec<f32>; 2],
}

/// Three units: filters of four elements, and the middle of a vector of five.
fn three() -> Units {
    let slice = |tensor, units: &[i64]| Slice { tensor, axis: 0, units: Tensor::from_slice(units) };
    Units {
        count: 3,
        groups: Tensor::from_slice(&[0i64, 0, 0]),
        slices: vec![slice(0, &[0, 1, 2]), slice(1, &[3, 0, 1, 2, 3])],
    }
}

fn pair([filters, vector]: &[Vec<f32>; 2]) -> Vec<Tensor> {
    vec![Tensor::from_slice(filters).reshape([3, 2, 2]), Tensor::from_slice(vector)]
}

/// See `scripts/pruning_fixtures.py`.
#[test]
fn a_step_is_numpys() {
    let path = Path::new(FIXTURES).join("pruning.json");
    let cases: Vec<Case> = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    for case in cases {
        let tensors = pair(&case.tensors);
        let chosen = Tensor::from_slice(&case.chosen);
        let mut zero = chosen.zeros_like();
        three()
            .step(&tensors, &pair(&case.directions), &chosen, &mut zero, case.rate, case.left)
            .unwrap();
        assert_eq!(Vec::<bool>::try_from(&zero).unwrap(), case.zero);
        for (found, expected) in tensors.iter().zip(&case.after) {
            for (found, expected) in crate::execute::list(found).unwrap().iter().zip(expected) {
                assert!((found - expected).abs() < 1e-5, "{found} instead of {expected}");
            }
        }
    }
}

fn list() -> impl Strategy<Value = [Vec<f32>; 2]> {
    let number = -3.0f32..3.0;
    (prop::collection::vec(number.clone(), 12), prop::collection::vec(number, 5))
        .prop_map(|(a, b)| [a, b])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Chosen units shrink, whatever the loss wants, and stay zero once they are; with the deadline's step they
    /// are zero; others move as plain descent moves them.
    #[test]
    fn chosen_units_go_and_others_descend(
        x in list(), d in list(), chosen in prop::collection::vec(any::<bool>(), 3), rate in 0.001f64..0.2,
    ) {
        let (tensors, directions) = (pair(&x), pair(&d));
        let chosen_units = Tensor::from_slice(&chosen);
        let mut zero = chosen_units.zeros_like();
        let units = three();
        let steps = 6;
        for i in 0..steps {
            let before: Vec<Tensor> = tensors.iter().map(Tensor::copy).collect();
            let was_zero = zero.copy();
            let left = rate * f64::from(steps - i);
            units.step(&tensors, &directions, &chosen_units, &mut zero, rate, left).unwrap();
            let along = units.product(&tensors, &before).unwrap();
            let squares = units.product(&before, &before).unwrap();
            let now = units.product(&tensors, &tensors).unwrap();
            for unit in 0..3i64 {
                let get = |t: &Tensor| t.double_value(&[unit]);
                if chosen[unit as usize] {
                    // λ is above its lower bound: less is left along x.
                    prop_assert!(get(&along) < get(&squares) + 1e-6);
                    prop_assert!(get(&was_zero) == 0.0 || get(&now) == 0.0);
                    prop_assert_eq!(get(&zero) == 1.0, get(&now) == 0.0);
                }
            }
        }
        let expected: Vec<Tensor> = pair(&x).iter().zip(&directions)
            .map(|(x, d)| x - d * (rate * f64::from(steps))).collect();
        let squares = units.product(&tensors, &tensors).unwrap();
        for (unit, &chosen) in (0i64..).zip(&chosen) {
            if chosen {
                prop_assert_eq!(squares.double_value(&[unit]), 0.0);
            } else {
                let difference = (tensors[0].get(unit) - expected[0].get(unit)).abs().max();
                prop_assert!(difference.double_value(&[]) < 1e-4);
            }
        }
        let ends = (tensors[1].get(0) - expected[1].get(0)).abs().double_value(&[]);
        prop_assert!(ends < 1e-4);
    }
}

/// Of a loss that is linear in the variables, importance is the square of what it changes by without a unit.
#[test]
fn importance_is_what_the_loss_changes_by() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut random = || pair(&[12, 5].map(|n| (0..n).map(|_| rng.gen_range(-1.0..1.0)).collect()));
    let (tensors, gradients) = (random(), random());
    let loss = |tensors: &[Tensor]| -> f64 {
        tensors
            .iter()
            .zip(&gradients)
            .map(|(x, g)| (x * g).sum(Kind::Float).double_value(&[]))
            .sum()
    };
    let units = three();
    let importance =
        crate::execute::list(&units.importance(&tensors, &gradients).unwrap()).unwrap();
    for (unit, importance) in importance.iter().enumerate() {
        let without: Vec<Tensor> = tensors.iter().map(Tensor::copy).collect();
        let gone: Vec<bool> = (0..3).map(|other| other == unit).collect();
        units.clear(&without, &Tensor::from_slice(&gone)).unwrap();
        let change = loss(&tensors) - loss(&without);
        assert!((f64::from(*importance) - change * change).abs() < 1e-5, "{importance} {change}");
    }
}

/// A channel of a segment that goes is in two units; what is zero stays so, and a number.
#[test]
fn units_may_share_variables() {
    let slice = |units: &[i64]| Slice { tensor: 0, axis: 0, units: Tensor::from_slice(units) };
    let units = Units {
        count: 3,
        groups: Tensor::from_slice(&[0i64, 0, 1]),
        slices: vec![slice(&[0, 1, 3]), slice(&[2, 2, 3])],
    };
    let tensors = [Tensor::from_slice(&[1f32, -2.0, 3.0])];
    let directions = [Tensor::from_slice(&[-1f32, 1.0, 0.5])];
    let chosen = Tensor::from_slice(&[true, false, true]);
    let mut zero = chosen.zeros_like();
    for left in [0.3, 0.2, 0.1, 0.1, 0.1] {
        units.step(&tensors, &directions, &chosen, &mut zero, 0.1, left).unwrap();
    }
    let found = crate::execute::list(&tensors[0]).unwrap();
    assert!(found[0] == 0.0 && found[1] == 0.0 && (found[2] - 2.75).abs() < 1e-5, "{found:?}");
}

/// Of units that matter alike, those go that save most of what is limited.
#[test]
fn what_saves_more_goes_first() {
    use crate::model_graph::{Attributes, Builder, DataType, ints};
    // The first layer has more multiply-accumulates in a channel, the second more parameters.
    let mut b = Builder::new("two", 17);
    let x = b.input("x", DataType::Float, &[1, 2, 16, 16]);
    let mut conv = |x: ValueId, filters: usize, stride: i64| {
        let weight = b.weight(&[filters, b.value(x).shape[1], 3, 3]);
        let attributes =
            Attributes::new().with("pads", ints(&[1; 4])).with("strides", ints(&[stride; 2]));
        b.node(OpType::Conv, attributes, &[x, weight]).unwrap()
    };
    let y = conv(x, 16, 1);
    let y = conv(y, 16, 8);
    let y = conv(y, 64, 1);
    b.output(y);
    let network = SuperNetwork::new(b.finish());
    let open = vec![true; network.units_in_all()];
    let groups: Vec<_> = network.groups().iter().map(Group::range).collect();
    assert_eq!(groups, [0..16, 16..32]);
    let gone = |budget: Budget| {
        let importance = vec![1.0; open.len()];
        let scores = choice::density(&network, &importance, &open, budget).unwrap();
        let (kept, _) = choice::choose(&network, &scores, &open, budget).unwrap();
        [0, 1].map(|g: usize| kept[groups[g].clone()].iter().filter(|kept| !**kept).count())
    };
    let [first, second] = gone(Budget::Macs(0.7));
    assert!(first > 0 && second == 0, "{first} {second}");
    let [first, second] = gone(Budget::Parameters(0.7));
    assert!(first == 0 && second > 0, "{first} {second}");
}

/// What a network has nothing of is no more than any share of it.
#[test]
fn a_budget_holds_where_nothing_is_limited() {
    let none = Cost { parameters: 10, macs: 0 };
    assert!(Budget::Macs(0.5).holds(none, none));
    assert!(!Budget::Parameters(0.5).holds(none, none));
}

/// The choice meets the budget with no unit more than it takes, or says that it can't, and the network that is
/// left is whole: it can be built, and its output depends on its input.
mod choices_keep_the_budget_and_the_network_connected {
    use super::*;

    fn check(space: Space) {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let network = SuperNetwork::new(space.build(&space.sample(&mut rng)).unwrap());
        let count: usize = network.groups().iter().map(|g| g.units).sum();
        let scores: Vec<f64> = (0..count).map(|_| rng.r#gen()).collect();
        let exact = network.groups().iter().map(|g| vec![g.exact; g.units]);
        let open: Vec<bool> = exact.flatten().collect();
        let whole = Cost::count(network.graph()).unwrap();
        for share in [0.02, 0.5, 0.9] {
            let budget = [Budget::Macs, Budget::Parameters][space as usize % 2](share);
            let (mut kept, cost) = choice::choose(&network, &scores, &open, budget).unwrap();
            let cut = network.cut(&kept).unwrap();
            assert_eq!(Cost::count(&cut.graph).unwrap(), cost);
            assert!(crate::lower::lower(&cut.graph).unwrap().depends_on_input());
            for group in network.groups() {
                assert!(kept[group.range()].iter().any(|kept| *kept));
                assert!(group.exact || kept[group.range()].iter().all(|kept| *kept));
            }
            if budget.holds(cost, whole) {
                // There is no room for one more of any group.
                for group in network.groups() {
                    let Some(goes) = group.range().find(|&u| !kept[u]) else { continue };
                    kept[goes] = true;
                    let more = Cost::count(&network.cut(&kept).unwrap().graph).unwrap();
                    assert!(!budget.holds(more, whole), "{share}");
                    kept[goes] = false;
                }
            } else if share < 0.9 && !open.is_empty() {
                // All that may go has gone.
                for group in network.groups().iter().filter(|g| g.exact) {
                    let left = kept[group.range()].iter().filter(|kept| **kept).count();
                    assert!(budget.holds(cost, whole) || left == group.units.div_ceil(10).max(1));
                }
            }
        }
    }
    test_each_space!(check);
}

fn options(folder: &Path, budget: Budget) -> Options {
    Options {
        what: What::Channels,
        budget,
        insert_batch_norm: false,
        training: Schedule { batch: 16, ..fixtures::schedule(folder) },
    }
}

/// From a file without weights to a smaller one with them, that computes what the larger one does with zeros,
/// tells classes apart, and is the same when training was stopped and resumed.
#[test]
fn a_network_is_pruned_end_to_end() {
    let _seeded = crate::train::seeded();
    let folder = tempfile::tempdir().unwrap();
    let network = fixtures::network();
    let (read, images) = (ReadOptions::default(), fixtures::images());
    let mut options = options(folder.path(), Budget::Macs(0.5));
    let mut whole = Vec::new();
    let mut epochs = 0;
    let pruned = prune(&network, &read, &images, &options, &mut whole, None, &mut |event| {
        epochs += usize::from(matches!(event, Event::Epoch(..)));
        true
    })
    .unwrap();
    assert_eq!((epochs, pruned.images, pruned.accuracy_before), (6, 60, None));
    assert!(pruned.met && pruned.small.macs * 2 <= pruned.whole.macs, "{:?}", pruned.small);
    assert!(pruned.small.macs * 10 > pruned.whole.macs * 4, "{:?}", pruned.small);
    assert!(pruned.difference < 1e-5 && pruned.disagreements == 0, "{}", pruned.difference);
    // A third would be chance.
    assert!(pruned.accuracy > 0.6, "{}", pruned.accuracy);
    let last = pruned.history.last().unwrap();
    assert!(last.zero > 0 && last.zero == last.chosen && last.phase == Phase::Training);
    // Three curves and both networks.
    let page = crate::draw::pruning("A & B", &pruned);
    assert!(page.contains("A &amp; B") && page.matches("<svg").count() == 5);

    let mut out = Vec::new();
    // In the middle of the second epoch, of 14 steps; and in that of the fifth, when units are on their way.
    for (step, resume) in [(20, false), (62, true)] {
        options.training.resume = resume;
        let mut stop = |event: Event| !matches!(event, Event::Step(done, _) if done == step);
        let error =
            prune(&network, &read, &images, &options, &mut out, None, &mut stop).unwrap_err();
        assert!(matches!(error, TrainingError::Stopped(n) if n == step), "{error}");
        assert!(out.is_empty());
    }
    prune(&network, &read, &images, &options, &mut out, None, &mut |_| true).unwrap();
    assert_eq!(blake3::hash(&out), blake3::hash(&whole));
    options.training.seed = 2;
    let error =
        prune(&network, &read, &images, &options, &mut out, None, &mut |_| true).unwrap_err();
    assert!(matches!(error, TrainingError::Checkpoint { .. }), "{error}");

    // The file that came out can be pruned again, from its weights.
    (options.training.seed, options.training.resume) = (1, false);
    let again = folder.path().join("again.onnx");
    fs::write(&again, &whole).unwrap();
    options.training.epochs = 1;
    options.budget = Budget::Parameters(0.001);
    let mut notes = Vec::new();
    let smaller = prune(&again, &read, &images, &options, &mut Vec::new(), None, &mut |event| {
        if let Event::Note(note) = event {
            notes.push(note);
        }
        true
    })
    .unwrap();
    assert_eq!(smaller.accuracy_before, Some(pruned.accuracy));
    assert!(!smaller.met && notes.iter().any(|n| n.contains("can't be met")), "{notes:?}");
}

/// Whole branches go too, and the file that is left computes the same.
/// Batch normalisations come in where there are none, train, go with the channels that they scale, and stand in the
/// file that is written.
#[test]
fn inserted_batch_normalisations_train_and_are_cut() {
    let _seeded = crate::train::seeded();
    let folder = tempfile::tempdir().unwrap();
    let path = Path::new(FIXTURES).join("execute/dense.onnx");
    let read = ReadOptions::default();
    let size = crate::training::image_size(&path, &read).unwrap();
    let images = fixtures::scaled(Some(size));
    let mut options = options(folder.path(), Budget::Macs(0.6));
    let normalised = |graph: &ModelGraph| {
        graph.nodes().iter().filter(|n| n.op == OpType::BatchNormalization).count()
    };
    for insert in [false, true] {
        options.insert_batch_norm = insert;
        let mut out = Vec::new();
        let pruned = prune(&path, &read, &images, &options, &mut out, None, &mut |_| true).unwrap();
        assert_eq!(normalised(&pruned.small_graph), if insert { 3 } else { 0 });
        assert!(pruned.met && pruned.difference < 1e-5, "{}", pruned.difference);
        assert_eq!(pruned.disagreements, 0);
        let (graph, _) = crate::onnx::Original::from_bytes(out, "small", &read).unwrap();
        assert_eq!(normalised(&graph), normalised(&pruned.small_graph));
    }
}

#[test]
fn what_led_nowhere_is_not_written() {
    let _seeded = crate::train::seeded();
    let folder = tempfile::tempdir().unwrap();
    let (read, images) = (ReadOptions::default(), fixtures::images());
    let mut options = options(folder.path(), Budget::Macs(0.5));
    options.training.rate = Some(1e30);
    let mut out = Vec::new();
    // The loss before the last step is one of weights that are still numbers.
    for batch in [16, 1000] {
        options.training.batch = batch;
        options.training.epochs = if batch > 16 { 3 } else { 6 };
        let path = fixtures::network();
        let error =
            prune(&path, &read, &images, &options, &mut out, None, &mut |_| true).unwrap_err();
        let told = matches!(error, TrainingError::Diverged(_) | TrainingError::NotFinite);
        assert!(told && out.is_empty(), "{error}");
    }
}

#[test]
fn there_is_a_step_for_each_phase() {
    let _seeded = crate::train::seeded();
    let folder = tempfile::tempdir().unwrap();
    let (read, images) = (ReadOptions::default(), fixtures::images());
    let mut options = options(folder.path(), Budget::Macs(0.5));
    options.training.batch = 1000;
    for epochs in 2..5 {
        options.training.epochs = epochs;
        let mut out = Vec::new();
        let path = fixtures::network();
        match prune(&path, &read, &images, &options, &mut out, None, &mut |_| true) {
            Ok(pruned) => assert!(epochs > 2 && pruned.met && pruned.difference < 1e-5),
            Err(TrainingError::Steps(steps)) => assert!(steps == 2 && epochs == 2),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn branches_are_pruned_end_to_end() {
    let _seeded = crate::train::seeded();
    let folder = tempfile::tempdir().unwrap();
    let network = Path::new(FIXTURES).join("images/resnet8.onnx");
    let (read, images) = (ReadOptions::default(), fixtures::images());
    let mut options = options(folder.path(), Budget::Macs(0.7));
    options.what = What::Branches;
    let pruned =
        prune(&network, &read, &images, &options, &mut io::sink(), None, &mut |_| true).unwrap();
    // Three blocks, two of which have a shortcut with weights.
    assert_eq!(pruned.branches.len(), 5);
    let gone = pruned.branches.iter().filter(|branch| !branch.kept).count();
    assert!(pruned.met && (1..=3).contains(&gone), "{:?}", pruned.branches);
    assert!(pruned.groups.iter().all(|group| group.kept == group.units || group.kept == 0));
    assert!(pruned.difference < 1e-5 && pruned.disagreements == 0, "{}", pruned.difference);
    assert!(pruned.accuracy > 0.5, "{}", pruned.accuracy);
    let page = crate::draw::pruning("branches", &pruned);
    assert!(page.contains("branch that is left out"));
    // Of each block something must stay, at least a shortcut.
    options.budget = Budget::Macs(0.03);
    options.training.epochs = 3;
    let pruned =
        prune(&network, &read, &images, &options, &mut io::sink(), None, &mut |_| true).unwrap();
    assert!(!pruned.met && pruned.difference < 1e-5, "{}", pruned.difference);
    assert_eq!(pruned.branches.iter().filter(|branch| branch.kept).count(), 2);
}

/// Where zeros are no zeros for what follows, or change what is computed over them, nothing is cut.
#[test]
fn groups_that_are_not_zero_invariant_stay_whole() {
    let mut builder = crate::model_graph::Builder::new("sigmoid", 17);
    use crate::model_graph::{Attributes, DataType, OpType, ints};
    let x = builder.input("x", DataType::Float, &[1, 1, 8, 8]);
    let conv = |b: &mut crate::model_graph::Builder, x, shape: &[usize]| {
        let w = b.weight(shape);
        b.node(OpType::Conv, Attributes::new().with("kernel_shape", ints(&[1, 1])), &[x, w])
            .unwrap()
    };
    let a = conv(&mut builder, x, &[4, 1, 1, 1]);
    let gate = builder.node(OpType::Sigmoid, Attributes::new(), &[a]).unwrap();
    let b = conv(&mut builder, gate, &[6, 4, 1, 1]);
    let b = builder.node(OpType::Relu, Attributes::new(), &[b]).unwrap();
    let c = conv(&mut builder, b, &[3, 6, 1, 1]);
    let mean = builder.node(OpType::GlobalAveragePool, Attributes::new(), &[c]).unwrap();
    let flat = builder.node(OpType::Flatten, Attributes::new(), &[mean]).unwrap();
    builder.output(flat);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.onnx");
    let out = fs::File::create(&path).unwrap();
    onnx::write(&builder.finish(), out, Weights::Random { seed: 1 }).unwrap();
    let (mut prepared, _) = trainable(&path, &ReadOptions::default(), 0).unwrap();
    let network =
        training::open(prepared.graph.clone(), &mut prepared.original, Device::Cpu).unwrap();
    let space = SuperNetwork::new(prepared.graph.clone());
    let units = groups::units(&space, &network, What::Both).unwrap();
    let probes = Tensor::from_slice(&[1f32; 128]).reshape([2, 1, 8, 8]);
    let closed = closed(&space, &network, &units, What::Both, &probes).unwrap();
    assert_eq!(closed.groups.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false]);
}

/// A network of convolutions, sums and concatenations at random.
fn dag(rng: &mut ChaCha8Rng) -> ModelGraph {
    use crate::model_graph::{Attribute, Attributes, Builder, DataType, OpType, ints};
    let mut b = Builder::new("dag", 17);
    let x = b.input("x", DataType::Float, &[1, 2, 6, 6]);
    let plain =
        |b: &mut Builder, op, inputs: &[ValueId]| b.node(op, Attributes::new(), inputs).unwrap();
    let channel = || Attributes::new().with("axis", Attribute::Int(1));
    let conv = |b: &mut Builder, rng: &mut ChaCha8Rng, x: ValueId| {
        let (channels, filters) = (b.value(x).shape[1], [4, 6][rng.gen_range(0..2)]);
        let side = rng.gen_range(0..2);
        let kernel = 2 * side + 1;
        let w = b.weight(&[filters, channels, kernel, kernel]);
        let mut inputs = vec![x, w];
        if rng.r#gen() {
            inputs.push(b.weight(&[filters]));
        }
        let attributes = Attributes::new().with("pads", ints(&[side as i64; 4]));
        let mut y = b.node(OpType::Conv, attributes, &inputs).unwrap();
        if rng.r#gen() {
            let vectors: Vec<ValueId> = (0..4).map(|_| b.weight(&[filters])).collect();
            y = plain(b, OpType::BatchNormalization, &[&[y][..], &vectors].concat());
        }
        match rng.gen_range(0..3) {
            0 => plain(b, OpType::Relu, &[y]),
            1 => {
                let gate = plain(b, OpType::Sigmoid, &[y]);
                plain(b, OpType::Mul, &[y, gate])
            }
            _ => y,
        }
    };
    let mut all = vec![conv(&mut b, rng, x)];
    let mut read = vec![false];
    for _ in 0..rng.gen_range(4..16) {
        let at = rng.gen_range(0..all.len());
        let count = rng.gen_range(2..5);
        let mut some: Vec<usize> = (0..all.len()).collect();
        some.shuffle(rng);
        let (op, operands) = match rng.gen_range(0..6) {
            0 => {
                some.truncate(count);
                (OpType::Concat, some)
            }
            1 | 2 => {
                some.retain(|&i| b.value(all[i]).shape == b.value(all[at]).shape);
                some.truncate(count);
                (if some.len() == 2 { OpType::Add } else { OpType::Sum }, some)
            }
            _ => (OpType::Conv, vec![at]),
        };
        let ids: Vec<ValueId> = operands.iter().map(|&i| all[i]).collect();
        let made = match op {
            OpType::Conv => conv(&mut b, rng, ids[0]),
            _ if ids.len() < 2 => continue,
            OpType::Concat => {
                let y = b.node(op, channel(), &ids).unwrap();
                let channels = b.value(y).shape[1];
                let vectors: Vec<ValueId> = (0..4).map(|_| b.weight(&[channels])).collect();
                match rng.r#gen() {
                    true => {
                        plain(&mut b, OpType::BatchNormalization, &[&[y][..], &vectors].concat())
                    }
                    false => y,
                }
            }
            op => plain(&mut b, op, &ids),
        };
        operands.iter().for_each(|&i| read[i] = true);
        all.push(made);
        read.push(false);
    }
    let ends: Vec<ValueId> =
        all.iter().zip(&read).filter(|(_, read)| !**read).map(|(id, _)| *id).collect();
    let y = b.node(OpType::Concat, channel(), &ends).unwrap();
    let y = plain(&mut b, OpType::GlobalAveragePool, &[y]);
    let y = plain(&mut b, OpType::Flatten, &[y]);
    let w = b.weight(&[b.value(y).shape[1], 3]);
    let y = plain(&mut b, OpType::MatMul, &[y, w]);
    b.output(y);
    b.finish()
}

/// Whatever the scores say, what is left of a network connects its input with its output, keeps the budget or
/// is all that may stay, and computes what the network computes with zeros.
#[test]
fn branches_go_where_the_rest_stays_connected() {
    let _seeded = crate::train::seeded();
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.onnx");
    let (mut gone, mut concatenated, mut added) = (0, 0, 0);
    for case in 0..40 {
        let out = fs::File::create(&path).unwrap();
        onnx::write(&dag(&mut rng), out, Weights::Random { seed: case }).unwrap();
        let (mut prepared, _) = trainable(&path, &ReadOptions::default(), 0).unwrap();
        let network =
            training::open(prepared.graph.clone(), &mut prepared.original, Device::Cpu).unwrap();
        let tensors: Vec<Tensor> = network.parameters().map(|(_, t)| t.detach()).collect();
        tch::manual_seed(case as i64);
        for tensor in &tensors {
            tensor.shallow_clone().copy_(&(tensor + tensor.randn_like() * 0.3));
        }
        let space = SuperNetwork::new(prepared.graph.clone());
        let what = [What::Branches, What::Both][case as usize % 2];
        let units = groups::units(&space, &network, what).unwrap();
        let probes = Tensor::randn([3, 2, 6, 6], (Kind::Float, Device::Cpu));
        let closed = closed(&space, &network, &units, what, &probes).unwrap();
        // Every operand that is made by weights alone can be left out of sums and concatenations.
        assert!(closed.branches.iter().all(Option::is_none), "{case}: {:?}", closed.branches);
        let open = closed.open(&space, what);
        let scores: Vec<f64> = open.iter().map(|_| rng.r#gen()).collect();
        let whole = Cost::count(space.graph()).unwrap();
        for share in [0.05, 0.5, 0.8] {
            let budget = if rng.r#gen() { Budget::Macs(share) } else { Budget::Parameters(share) };
            let (kept, cost) = choice::choose(&space, &scores, &open, budget).unwrap();
            let small = space.cut(&kept).unwrap().graph;
            assert_eq!(Cost::count(&small).unwrap(), cost);
            assert!(crate::lower::lower(&small).unwrap().depends_on_input());
            if !budget.holds(cost, whole) {
                // All the rest must stay.
                for segment in (space.units_in_all()..kept.len()).filter(|&s| kept[s]) {
                    let mut less = kept.clone();
                    less[segment] = false;
                    assert!(space.removal(&less).is_none(), "{case}: segment {segment}");
                }
            }
            for (segment, _) in
                space.segments().iter().zip(&kept[space.units_in_all()..]).filter(|(_, k)| !**k)
            {
                gone += 1;
                concatenated += usize::from(!segment.units.is_empty());
                added += usize::from(segment.units.is_empty());
            }
            let small = part(&network, space.cut(&kept).unwrap()).unwrap();
            let saved: Vec<Tensor> = tensors.iter().map(Tensor::copy).collect();
            let zero: Vec<bool> = kept.iter().map(|kept| !kept).collect();
            units.clear(&tensors, &Tensor::from_slice(&zero)).unwrap();
            let zeroed = network.forward(&probes, false).unwrap();
            for (tensor, saved) in tensors.iter().zip(&saved) {
                tensor.shallow_clone().copy_(saved);
            }
            let cut = small.forward(&probes, false).unwrap();
            let largest = zeroed.abs().max().double_value(&[]).max(1e-6);
            let difference = (&zeroed - &cut).abs().max().double_value(&[]) / largest;
            assert!(difference < 1e-5, "{case}: {difference}");
            // As a file too.
            let mut file = Vec::new();
            space.shrink_to(&kept, &mut prepared.original, &mut file, None).unwrap();
            let (read, _) =
                onnx::Original::from_bytes(file, "small", &ReadOptions::default()).unwrap();
            assert_eq!(Cost::count(&read).unwrap(), cost);
        }
    }
    assert!(gone > 40 && concatenated > 15 && added > 15, "{gone} {concatenated} {added}");
}
