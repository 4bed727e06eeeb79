//! Outside oracles: ONNX Runtime for what networks compute, PyTorch for what training changes; made by
//! `scripts/execute_fixtures.py`.

use super::*;
use crate::model_graph::{Attributes, Builder};
use crate::onnx::{Original, ReadOptions, Weights};
use crate::spaces::Space;
use std::fs;
use std::path::Path;

#[path = "../../tests/fixtures/mod.rs"]
mod fixtures;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[derive(serde::Deserialize)]
struct Row {
    file: Option<String>,
    space: Option<String>,
    architecture: Option<String>,
    large: bool,
    shape: Vec<i64>,
    largest: f64,
    at: Vec<i64>,
    outputs: Vec<f64>,
}

/// As in the script.
fn uniform(name: &str, count: u64) -> Vec<f64> {
    let seed: u64 = name.bytes().zip(1..).map(|(b, i)| i * u64::from(b)).sum();
    let number = |i: u64| {
        let mut z = (i + (seed << 20)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / 2f64.powi(53)
    };
    (1..=count).map(number).collect()
}

fn elements(value: &Value) -> Vec<f64> {
    let u = uniform(&value.name, value.elements());
    if value.shape.len() < 2 {
        return u.into_iter().map(|u| 0.75 + 0.5 * u).collect();
    }
    let fan_in = value.shape[1..].iter().product::<usize>().max(1);
    u.into_iter().map(|u| (2.0 * u - 1.0) * (3.0 / fan_in as f64).sqrt()).collect()
}

fn open(path: &Path) -> Result<TorchNetwork, ExecuteError> {
    let (file, options) = (fixtures::onnx(path).unwrap(), ReadOptions::default());
    let (graph, mut original) = Original::from_bytes(file, "network", &options).unwrap();
    let stored = |id: ValueId, value: &Value| {
        let known = original.numbers(id, value.dtype, value.elements())?;
        Ok(known.or_else(|| value.data().is_none().then(|| elements(value))))
    };
    TorchNetwork::new(graph, stored, 0, Device::Cpu)
}

fn compare(row: &Row) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let (name, path) = match (&row.file, &row.space, &row.architecture) {
        (Some(file), ..) => (file.clone(), Path::new(ROOT).join(file)),
        (_, Some(space), Some(architecture)) => {
            let graph = space.parse::<Space>().unwrap().build(architecture).unwrap();
            let path = folder.path().join("network.onnx");
            let weights = Weights::Random { seed: 0 };
            crate::onnx::write(&graph, fs::File::create(&path).unwrap(), weights).unwrap();
            (format!("{space} {architecture}"), path)
        }
        _ => panic!("neither a file nor a space"),
    };
    let network = open(&path).map_err(|e| format!("{name}: {e}"))?;
    let shape = &network.graph().value(network.input).shape;
    let input: Vec<f32> = uniform("input", shape.iter().map(|&d| d as u64).product())
        .into_iter()
        .map(|u| (2.0 * u - 1.0) as f32)
        .collect();
    let input = Tensor::from_slice(&input).reshape(sizes(shape));
    let _guard = tch::no_grad_guard();
    let output = network.forward(&input, false).map_err(|e| format!("{name}: {e}"))?;
    assert_eq!(output.size(), row.shape, "{name}");
    let found = list(&output.reshape([-1]).index_select(0, &Tensor::from_slice(&row.at))).unwrap();
    for (found, expected) in found.iter().zip(&row.outputs) {
        let difference = (f64::from(*found) - expected).abs();
        if difference > 1e-4 * row.largest {
            return Err(format!("{name}: {found} instead of {expected}"));
        }
    }

    // A batch of other inputs too: each has the output that it has alone.
    let place = network.batch.place(network.input).unwrap();
    let own = shape[place.axis] as i64;
    let inputs = [0.3, 1.0, -1.0].map(|scale| input.shallow_clone() * scale);
    let together = network.forward(&Tensor::cat(&inputs, place.axis as i64), false);
    let together = together.map_err(|e| format!("{name} in a batch: {e}"))?;
    let axis = network.batch.place(network.output).unwrap().axis as i64;
    let part = together.size()[axis as usize] / 3;
    for (i, input) in (0..).zip(&inputs) {
        let alone = network.forward(input, false).unwrap();
        let among = together.narrow(axis, i * part, part);
        let difference = (&alone - among).abs().max().double_value(&[]);
        let largest = alone.abs().max().double_value(&[]);
        if difference > 1e-4 * largest {
            return Err(format!("{name}: input {i} of {own} differs by {difference}"));
        }
    }
    Ok(())
}

/// All that go wrong.
fn failures<'a>(rows: impl Iterator<Item = &'a Row>) -> Vec<String> {
    rows.filter_map(|row| compare(row).err()).collect()
}

fn rows() -> Vec<Row> {
    let path = Path::new(ROOT).join("tests/fixtures/execute/forward.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn outputs_are_those_of_onnx_runtime() {
    let rows = rows();
    let small: Vec<&Row> = rows.iter().filter(|row| !row.large).collect();
    assert!(small.len() > 20);
    assert_eq!(failures(small.into_iter()), [""; 0]);
}

#[test]
#[ignore = "large networks: two minutes"]
fn outputs_of_large_networks_are_those_of_onnx_runtime() {
    assert_eq!(failures(rows().iter().filter(|row| row.large)), [""; 0]);
}

#[derive(serde::Deserialize)]
struct Step {
    input: Vec<f32>,
    labels: Vec<i64>,
    output: Vec<f32>,
    loss: f64,
    after: BTreeMap<String, Vec<f32>>,
}

/// The largest difference, and the largest of the expected ones.
fn differences(found: &[f32], expected: &[f32]) -> (f32, f32) {
    assert_eq!(found.len(), expected.len());
    let difference = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    (difference, expected.iter().map(|x| x.abs()).fold(0.0, f32::max))
}

#[test]
fn a_step_of_training_is_pytorchs() {
    let _seeded = crate::train::seeded();
    for name in ["residual", "mobile", "dense", "unet", "transformer", "norms"] {
        let path = Path::new(ROOT).join("tests/fixtures/execute").join(name);
        let step = fs::read(path.with_extension("json")).unwrap();
        let step: Step = serde_json::from_slice(&step).unwrap();
        let network = open(&path.with_extension("onnx")).unwrap();
        let count = step.labels.len() as i64;
        let input = Tensor::from_slice(&step.input).reshape([count, 2, 8, 8]);
        let output = network.forward(&input, false).unwrap();
        let (difference, largest) = differences(&list(&output).unwrap(), &step.output);
        assert!(difference <= 1e-5 * largest.max(1.0), "{name}: outputs differ by {difference}");

        let output = network.forward(&input, true).unwrap();
        let loss = output.cross_entropy_for_logits(&Tensor::from_slice(&step.labels));
        assert!((loss.double_value(&[]) - step.loss).abs() < 1e-5, "{name}: {loss:?}");
        loss.backward();
        tch::no_grad(|| {
            for (_, parameter) in network.parameters() {
                let mut parameter = parameter.shallow_clone();
                parameter -= parameter.grad() * 0.1;
            }
        });
        let found = network.elements().unwrap();
        let name_of = |id: &ValueId| network.graph().value(*id).name.to_string();
        let found: BTreeMap<String, Vec<f32>> =
            found.into_iter().map(|(id, list)| (name_of(&id), list)).collect();
        assert_eq!(
            found.keys().collect::<Vec<_>>(),
            step.after.keys().collect::<Vec<_>>(),
            "{name}"
        );
        for (key, expected) in &step.after {
            let (difference, largest) = differences(&found[key], expected);
            assert!(difference <= 1e-5 * largest.max(1.0), "{name}: {key} differs by {difference}");
        }
    }
}

/// The same seed gives the same weights, another gives others, and they are spread as He's rule says.
#[test]
fn missing_weights_start_by_the_fields_rules() {
    let _seeded = crate::train::seeded();
    let graph =
        || {
            Space::NasBench201.build(
        "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|avg_pool_3x3~2|",
    ).unwrap()
        };
    let network = |seed| TorchNetwork::new(graph(), |_, _| Ok(None), seed, Device::Cpu).unwrap();
    let (a, b, c) = (network(1), network(1), network(2));
    assert_eq!(a.elements().unwrap(), b.elements().unwrap());
    assert_ne!(a.elements().unwrap(), c.elements().unwrap());
    let (_, weight) = a.parameters().max_by_key(|(_, tensor)| tensor.numel()).unwrap();
    let fan_in = weight.size()[1..].iter().product::<i64>() as f64;
    let deviation = weight.std(true).double_value(&[]);
    assert!((deviation / (2.0 / fan_in).sqrt() - 1.0).abs() < 0.05, "{deviation}");
}

/// A view as exporters write it where strides were given: indices into all of the numbers of one input, or of
/// two, or such that mix them.
#[test]
fn views_by_index_are_taken_of_each_input() {
    let _seeded = crate::train::seeded();
    let network = |inputs: usize, taken: Vec<i64>| {
        let mut builder = Builder::new("view", 17);
        let ints = |builder: &mut Builder, shape: &[usize], list: Vec<i64>| {
            builder.constant("list", DataType::Int64, shape, Some(TensorData::Ints(list)))
        };
        let x = builder.input("x", DataType::Float, &[inputs, 4, 3, 3]);
        let x = builder.node(OpType::GlobalAveragePool, Attributes::new(), &[x]).unwrap();
        let flat = ints(&mut builder, &[1], vec![-1]);
        let x = builder.node(OpType::Reshape, Attributes::new(), &[x, flat]).unwrap();
        let index = ints(&mut builder, &[inputs, taken.len() / inputs], taken);
        let x = builder.node(OpType::Gather, Attributes::new(), &[x, index]).unwrap();
        builder.output(x);
        builder.finish()
    };
    let kept = [2, 0, 1, 3, 3];
    let second = kept.map(|i| i + 4);
    for graph in [network(1, kept.to_vec()), network(2, [kept, second].concat())] {
        let network = TorchNetwork::new(graph, |_, _| Ok(None), 0, Device::Cpu).unwrap();
        let x = Tensor::randn([6, 4, 3, 3], (Kind::Float, Device::Cpu));
        let expected = x.mean_dim([2, 3].as_slice(), false, None);
        let expected = expected.index_select(1, &Tensor::from_slice(&kept));
        let found = network.forward(&x, false).unwrap();
        assert_eq!(found.size(), [6, 5]);
        assert!((found - expected).abs().max().double_value(&[]) < 1e-6);
    }
    for mixing in [network(2, [second, kept].concat()), network(2, [kept, kept].concat())] {
        assert_eq!(Batch::followed(&mixing), None);
    }
    let path = Path::new(ROOT).join("data/examples/convnext_tiny.onnx");
    let (graph, _) = Original::open(&path, &ReadOptions::default()).unwrap();
    assert!(Batch::followed(&graph).is_some());
}

/// Infinities in a mask stay what they are.
#[test]
fn masks_are_not_trained() {
    let _seeded = crate::train::seeded();
    let mut builder = Builder::new("mask", 17);
    let x = builder.input("x", DataType::Float, &[1, 40]);
    let (weight, mask) = (builder.weight(&[40, 40]), builder.weight(&[40]));
    let x = builder.node(OpType::MatMul, Attributes::new(), &[x, weight]).unwrap();
    let x = builder.node(OpType::Add, Attributes::new(), &[x, mask]).unwrap();
    let x = builder.node(OpType::Softmax, Attributes::new(), &[x]).unwrap();
    builder.output(x);
    let elements = |id: ValueId, _: &Value| {
        Ok((id == mask).then(|| (0..40).map(|i| [0.0, f64::NEG_INFINITY][i % 2]).collect()))
    };
    let network = TorchNetwork::new(builder.finish(), elements, 0, Device::Cpu).unwrap();
    assert_eq!(network.parameters().map(|(id, _)| id).collect::<Vec<_>>(), [weight]);
}

#[test]
fn operators_that_are_not_implemented_are_listed() {
    let path = Path::new(ROOT).join("tests/fixtures/exports/recurrent/torchscript_17.onnx.gz");
    let error = open(&path).err().unwrap();
    assert!(
        matches!(&error, ExecuteError::Operators(list) if list[0].starts_with("GRU")),
        "{error}"
    );
}
