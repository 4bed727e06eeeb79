//! Every operator of the table: as it is used, and with whatever a file may say instead.

use gennape::lower::lower;
use gennape::model_graph::{
    Attribute, Attributes, BuildError, Builder, DataType, ModelGraph, OpType, TensorData, ValueId,
    ints,
};
use gennape::onnx::{self, ReadOptions, Weights};
use gennape::subnetworks::SuperNetwork;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How operators are used, a line each: operator, inputs, attributes, `=` number of outputs. The
/// operator may stand after `@` and its operator set. Inputs are
///
/// - `2x3`: computed from the network's input, `2x3:6` with elements of ONNX's type 6,
/// - `w2x3`: stored, `w2x3:3` with elements of that type,
/// - `[1,2]`, `[0.5]`: stored elements, `n3`: one,
/// - `-`: left out.
const USES: &str = include_str!("operators.txt");

#[derive(Debug, Clone)]
enum Input {
    Absent,
    Computed(Vec<usize>, DataType),
    Stored(Vec<usize>, DataType),
    Elements(Vec<usize>, DataType, TensorData),
}

/// One node.
#[derive(Debug, Clone)]
struct Use {
    op: OpType,
    opset: i64,
    inputs: Vec<Input>,
    attributes: Vec<(String, Attribute)>,
    outputs: usize,
}

fn list<T: std::str::FromStr>(text: &str) -> Option<Vec<T>> {
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    inner.split(',').filter(|p| !p.is_empty()).map(|p| p.parse().ok()).collect()
}

fn shape(text: &str) -> (Vec<usize>, DataType) {
    let (dims, code) = text.split_once(':').unwrap_or((text, "1"));
    let dims = dims.split('x').filter(|d| !d.is_empty()).map(|d| d.parse().unwrap()).collect();
    (dims, DataType::from_onnx(code.parse().unwrap()))
}

fn input(text: &str) -> Input {
    if text == "-" {
        return Input::Absent;
    }
    if let Some(number) = text.strip_prefix('n') {
        let data = TensorData::Ints(vec![number.parse().unwrap()]);
        return Input::Elements(vec![], DataType::Int64, data);
    }
    if let Some(stored) = text.strip_prefix('w') {
        let (dims, dtype) = shape(stored);
        return Input::Stored(dims, dtype);
    }
    if let Some(elements) = list::<i64>(text) {
        return Input::Elements(vec![elements.len()], DataType::Int64, TensorData::Ints(elements));
    }
    if let Some(elements) = list::<f64>(text) {
        return Input::Elements(
            vec![elements.len()],
            DataType::Float,
            TensorData::Floats(elements),
        );
    }
    let (dims, dtype) = shape(text);
    Input::Computed(dims, dtype)
}

fn attribute(value: &str) -> Attribute {
    if let Ok(i) = value.parse::<i64>() {
        Attribute::Int(i)
    } else if let Ok(x) = value.parse::<f32>() {
        Attribute::Float(x)
    } else if let Some(list) = list::<i64>(value) {
        ints(&list)
    } else if let Some(list) = list::<f32>(value) {
        Attribute::Floats(list.into())
    } else {
        Attribute::String(value.into())
    }
}

fn parse(line: &str) -> Use {
    let mut parts = line.split_whitespace();
    let name = parts.next().unwrap();
    let (name, opset) = name.split_once('@').map_or((name, 23), |(n, o)| (n, o.parse().unwrap()));
    let (domain, name) = name.rsplit_once('.').unwrap_or(("", name));
    let mut parsed = Use {
        op: OpType::new(domain, name),
        opset,
        inputs: Vec::new(),
        attributes: Vec::new(),
        outputs: 1,
    };
    for part in parts {
        match part.split_once('=') {
            Some(("", outputs)) => parsed.outputs = outputs.parse().unwrap(),
            Some((name, value)) => parsed.attributes.push((name.into(), attribute(value))),
            None => parsed.inputs.push(input(part)),
        }
    }
    parsed
}

fn uses() -> Vec<Use> {
    USES.lines().filter(|l| !l.trim().is_empty() && !l.starts_with('#')).map(parse).collect()
}

/// A tensor of this shape with channels that can be cut, where that is possible.
fn computed(b: &mut Builder, dims: &[usize], dtype: DataType) -> ValueId {
    let plain = dtype == DataType::Float;
    match *dims {
        [n, c, ref map @ ..] if plain && map.len() == 2 && !dims.contains(&0) => {
            let x = b.input("", dtype, &[n, 3, map[0], map[1]]);
            let weight = b.weight(&[c, 3, 1, 1]);
            b.node(OpType::Conv, Attributes::new(), &[x, weight]).unwrap()
        }
        [ref rest @ .., c] if plain && !rest.is_empty() && !dims.contains(&0) => {
            let mut shape = rest.to_vec();
            shape.push(3);
            let x = b.input("", dtype, &shape);
            let weight = b.weight(&[3, c]);
            b.node(OpType::MatMul, Attributes::new(), &[x, weight]).unwrap()
        }
        _ => b.input("", dtype, dims),
    }
}

fn build(case: &Use) -> Result<ModelGraph, BuildError> {
    let mut b = Builder::new("case", case.opset);
    let anchor = b.input("anchor", DataType::Float, &[1, 4]);
    let inputs = case.inputs.iter().map(|input| match input {
        Input::Absent => None,
        Input::Computed(dims, dtype) => Some(computed(&mut b, dims, *dtype)),
        Input::Stored(dims, dtype) => Some(b.constant("", *dtype, dims, None)),
        Input::Elements(dims, dtype, data) => {
            Some(b.constant("", *dtype, dims, Some(data.clone())))
        }
    });
    let inputs: Vec<Option<ValueId>> = inputs.collect();
    let attributes = case
        .attributes
        .iter()
        .fold(Attributes::new(), |all, (name, value)| all.with(name.clone(), value.clone()));
    let names = vec![Some(""); case.outputs];
    let outputs = b.named_node(
        "node",
        case.op.clone(),
        attributes,
        inputs.into_iter().collect(),
        &names,
        &[],
    )?;
    for id in outputs.into_iter().flatten() {
        let value = b.value(id);
        let (dtype, shape) = (value.dtype, value.shape.clone());
        // What follows reads the channels.
        let follows = dtype == DataType::Float && !shape.contains(&0);
        let last = shape.last().copied().filter(|_| follows && shape.len() > 1);
        let id = match last {
            Some(d) => {
                let weight = b.weight(&[d, 2]);
                b.node(OpType::MatMul, Attributes::new(), &[id, weight]).unwrap()
            }
            None => id,
        };
        b.output(id);
    }
    // A network must compute something.
    let end = b.node(OpType::Relu, Attributes::new(), &[anchor]).unwrap();
    b.output(end);
    Ok(b.finish())
}

/// Reads what was written.
fn again(graph: &ModelGraph) -> ModelGraph {
    let mut file = Vec::new();
    onnx::write(graph, &mut file, Weights::Stripped).unwrap();
    onnx::read_bytes(&file, graph.name(), &ReadOptions::default()).unwrap()
}

/// All that is promised of a network that could be built; whether it could be lowered.
fn keeps_promises(graph: ModelGraph, rng: &mut ChaCha8Rng) -> bool {
    // Where nothing is left of a tensor, or more than can be counted, it has no cost.
    let Ok(lowered) = lower(&graph) else { return false };
    let read = again(&graph);
    let nodes = |g: &ModelGraph| -> Vec<(OpType, Attributes)> {
        g.nodes().iter().map(|n| (n.op.clone(), n.attributes.clone())).collect()
    };
    assert_eq!(nodes(&read), nodes(&graph));
    assert_eq!(lower(&read).unwrap().fingerprint(), lowered.fingerprint());
    let space = SuperNetwork::new(graph);
    let mut sub = space.smallest();
    for _ in 0..3 {
        let built = space.build(&sub).unwrap_or_else(|e| panic!("{sub}: {e}"));
        let lowered = lower(&built).unwrap_or_else(|e| panic!("{sub}: {e}"));
        let read = lower(&again(&built)).unwrap();
        assert_eq!(read.fingerprint(), lowered.fingerprint(), "{sub}");
        sub = space.sample(rng);
    }
    true
}

#[test]
fn every_operator_is_used_and_survives_a_file() {
    let uses = uses();
    // The importer turns Constant into a stored tensor; what NonMaxSuppression gives is known at
    // run time only.
    let others = [OpType::Constant, OpType::NonMaxSuppression];
    let missing: Vec<String> = OpType::ALL
        .iter()
        .filter(|op| !others.contains(op) && !uses.iter().any(|u| u.op == **op))
        .map(OpType::to_string)
        .collect();
    assert!(missing.is_empty(), "no use of {missing:?}");
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for case in uses {
        assert!(!case.op.is_unknown(), "{case:?}");
        let graph = build(&case).unwrap_or_else(|e| panic!("{e}"));
        let outcome = catch_unwind(AssertUnwindSafe(|| keeps_promises(graph, &mut rng)));
        assert!(matches!(outcome, Ok(true)), "{case:?}");
    }
}

/// As ONNX Runtime does, which lets only those through that begin with two underscores.
#[test]
fn attributes_that_an_operator_does_not_have_are_refused() {
    for case in uses() {
        let with = |name: &str, value: Attribute| {
            let mut case = case.clone();
            case.attributes.retain(|(n, _)| n != name);
            case.attributes.push((name.into(), value));
            build(&case).map(|graph| lower(&graph).unwrap().fingerprint())
        };
        let error = with("ceil", Attribute::Int(1)).unwrap_err();
        assert_eq!((error.node.as_str(), &error.op), ("node", &case.op));
        assert!(error.reason.contains("no attribute 'ceil'"), "{error}");
        for (name, _) in &case.attributes {
            assert!(error.reason.contains(name), "{error}");
            let odd = Attribute::Strings(Box::new(["odd".into()]));
            assert!(with(name, odd).unwrap_err().reason.contains("a list of strings"));
        }
        let fingerprint = lower(&build(&case).unwrap()).unwrap().fingerprint();
        assert_eq!(with("__tool", Attribute::Int(1)), Ok(fingerprint));
    }
    for (operator, attribute) in [
        ("Conv 1x3x8x8 w4x3x3x3 strides=[2,2]", "ceil_mode=1"),
        ("MatMul 1x4x4 w4x4", "transA=1"),
        ("MatMul 1x4x4 w4x4", "transBatchA=1"),
        ("MatMulInteger 1x4x4:2 w4x4:2", "transB=1"),
        ("Relu 1x4x4x4", "axis=1"),
        ("Concat 1x4x4x4 1x4x4x4", "axis=1.5"),
    ] {
        assert!(build(&parse(&format!("{operator} {attribute}"))).is_err(), "{operator}");
    }
}

/// Networks' inputs have no dimension of 0, which stands for a free one.
fn any_shape(rng: &mut ChaCha8Rng) -> Vec<usize> {
    let rank = rng.gen_range(0..=6);
    (0..rank).map(|_| *[1, 1, 2, 2, 3, 4, 5].choose(rng).unwrap()).collect()
}

fn any_int(rng: &mut ChaCha8Rng) -> i64 {
    let odd = [i64::MIN, -(1 << 31), i64::MAX, 1 << 31, 1 << 40, 1 << 62];
    if rng.gen_bool(0.2) { *odd.choose(rng).unwrap() } else { rng.gen_range(-4..6) }
}

fn any_ints(rng: &mut ChaCha8Rng) -> Vec<i64> {
    let length = rng.gen_range(0..6);
    (0..length).map(|_| any_int(rng)).collect()
}

/// Another value, of the same type: others are refused.
fn any_like(attribute: &Attribute, rng: &mut ChaCha8Rng) -> Attribute {
    match attribute {
        Attribute::Int(_) => Attribute::Int(any_int(rng)),
        Attribute::Ints(_) => Attribute::Ints(any_ints(rng).into()),
        Attribute::Float(_) => Attribute::Float(*[0.0, -1.0, 1e30, 0.5].choose(rng).unwrap()),
        Attribute::String(_) => Attribute::String("CRD".into()),
        other => other.clone(),
    }
}

fn alter_dims(dims: &mut Vec<usize>, rng: &mut ChaCha8Rng) {
    match (rng.gen_range(0..5), dims.len()) {
        (0, _) => *dims = any_shape(rng),
        (1, _) => dims.push(rng.gen_range(1..4)),
        (_, 0) => {}
        (2, n) => drop(dims.remove(rng.gen_range(0..n))),
        (_, n) => dims[rng.gen_range(0..n)] = rng.gen_range(1..6),
    }
}

fn alter_input(input: &mut Input, rng: &mut ChaCha8Rng) {
    match input {
        _ if rng.gen_bool(0.1) => *input = Input::Absent,
        Input::Absent => *input = Input::Computed(any_shape(rng), DataType::Float),
        Input::Computed(dims, dtype) if rng.gen_bool(0.2) => {
            *input = Input::Stored(dims.clone(), *dtype);
        }
        Input::Stored(dims, dtype) if rng.gen_bool(0.2) && !dims.contains(&0) => {
            *input = Input::Computed(dims.clone(), *dtype);
        }
        Input::Stored(dims, _) if rng.gen_bool(0.1) && !dims.is_empty() => dims[0] = 0,
        Input::Computed(dims, _) | Input::Stored(dims, _) => alter_dims(dims, rng),
        Input::Elements(dims, _, TensorData::Ints(list)) if rng.gen_bool(0.5) => {
            list.iter_mut().for_each(|x| {
                if rng.gen_bool(0.4) {
                    *x = any_int(rng)
                }
            });
            if rng.gen_bool(0.1) {
                *dims = vec![1; rng.gen_range(0..3)];
                *list = vec![any_int(rng)];
            }
        }
        Input::Elements(..) => {
            let list = any_ints(rng);
            *input = Input::Elements(vec![list.len()], DataType::Int64, TensorData::Ints(list));
        }
    }
}

/// The case with something else in it.
fn altered(case: &Use, all: &[Use], rng: &mut ChaCha8Rng) -> Use {
    let mut case = case.clone();
    for _ in 0..rng.gen_range(1..4) {
        let inputs = case.inputs.len();
        let attributes = case.attributes.len();
        match rng.gen_range(0..10) {
            0..=3 if inputs > 0 => alter_input(&mut case.inputs[rng.gen_range(0..inputs)], rng),
            4 if inputs > 0 => drop(case.inputs.pop()),
            5 => case.inputs.push(Input::Computed(any_shape(rng), DataType::Float)),
            6 | 7 if attributes > 0 => {
                let (_, value) = &mut case.attributes[rng.gen_range(0..attributes)];
                *value = any_like(value, rng);
            }
            8 if rng.gen_bool(0.5) => case.outputs = rng.gen_range(0..4),
            8 => case.opset = rng.gen_range(7..24),
            _ => {
                // An attribute that the operator has in some use.
                let same = all.iter().filter(|u| u.op == case.op);
                let known: Vec<_> = same.flat_map(|u| &u.attributes).collect();
                if let Some((name, value)) = known.choose(rng) {
                    case.attributes.retain(|(n, _)| n != name);
                    case.attributes.push((name.clone(), any_like(value, rng)));
                }
            }
        }
    }
    case
}

/// Either the shape rule refuses a node, or every later stage holds its promises.
#[test]
fn what_shape_rules_let_in_no_later_stage_fails_on() {
    let all = uses();
    let rounds = std::env::var("GENNAPE_ROUNDS").ok().and_then(|r| r.parse().ok()).unwrap_or(20);
    let seed = std::env::var("GENNAPE_SEED").ok().and_then(|r| r.parse().ok()).unwrap_or(7);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut failures = Vec::new();
    for case in &all {
        let mut failed = 0;
        for _ in 0..rounds {
            let case = altered(case, &all, &mut rng);
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                if let Ok(graph) = build(&case) {
                    keeps_promises(graph, &mut rng);
                }
            }));
            if let Err(panic) = outcome {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or(panic.downcast_ref::<&str>().map(|s| s.to_string()));
                failures.push(format!("{} {case:?}", text.unwrap_or_default()));
                failed += 1;
            }
            if failed > 3 {
                break;
            }
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}
