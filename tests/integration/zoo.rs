//! Real networks in bulk: 754 exports of torchvision and timm, where they are at hand.
//!
//! `GENNAPE_DATA` names a folder that holds them as `onnx_zoo/{torchvision,timm}/*.onnx`. What
//! PyTorch says of each is in `tests/fixtures/zoo.csv`, which `scripts/zoo_facts.py` makes. The
//! comparison stays in `tests/fixtures/zoo_table.md`; `GENNAPE_UPDATE=1 cargo test zoo` writes it.

use gennape::graph::ComputationGraph;
use gennape::model_graph::{ModelGraph, OpType, ValueId};
use gennape::{lower, onnx};
use onnx_protobuf::tensor_shape_proto::{Dimension, dimension};
use onnx_protobuf::{Message, ModelProto, TensorShapeProto, TypeProto, ValueInfoProto, type_proto};
use rayon::prelude::*;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// A row of `zoo.csv`; `scripts/zoo_facts.py` says what its columns are.
#[derive(Debug, Deserialize)]
struct Facts {
    library: String,
    name: String,
    pytorch_parameters: i64,
    unused: i64,
    scalars: i64,
    derived_parameters: i64,
    derived_coefficients: i64,
    buffers: i64,
    batch_norm_channels: i64,
    batch_norm_bias: i64,
    resolution: u32,
    macs: u64,
    published_resolution: Option<u32>,
    gmacs: Option<f64>,
    published_gmacs: Option<f64>,
}

/// Our counts of one network.
struct Counts {
    nodes: usize,
    parameters: i64,
    absorbed: i64,
    /// Channels of the batch normalisations that are still in the file.
    batch_norm_channels: i64,
    macs: u64,
}

/// One network, both sides.
struct Comparison {
    network: String,
    facts: Facts,
    counts: Counts,
}

impl Comparison {
    /// Factors (one per channel) of the batch normalisations that the exporter has folded.
    fn folded_by_exporter(&self) -> i64 {
        self.facts.batch_norm_channels - self.counts.batch_norm_channels
    }

    /// PyTorch's parameters less what our count and all explanations add up to.
    fn residual(&self) -> i64 {
        let Facts { unused, scalars, buffers, batch_norm_bias, .. } = self.facts;
        let derived = self.facts.derived_parameters - self.facts.derived_coefficients;
        let ours = self.counts.parameters + self.counts.absorbed + self.folded_by_exporter();
        let explained = ours + batch_norm_bias + unused + scalars + derived - buffers;
        self.facts.pytorch_parameters - explained
    }

    fn failure(&self) -> Option<String> {
        let mut reasons = Vec::new();
        if self.residual() != 0 {
            reasons.push(format!("{} parameters unexplained", self.residual()));
        }
        if self.counts.macs != self.facts.macs {
            reasons.push(format!("{} MACs, PyTorch {}", self.counts.macs, self.facts.macs));
        }
        if let (Some(gmacs), Some(published)) = (self.facts.gmacs, self.facts.published_gmacs) {
            if !agrees(gmacs, published) {
                reasons.push(format!("PyTorch now counts {gmacs}, {published} was published"));
            }
            let ours = self.counts.macs as f64 / 1e9;
            let same_resolution = self.facts.published_resolution == Some(self.facts.resolution);
            if same_resolution && !agrees(ours, published) {
                reasons.push(format!("{ours} G MACs, {published} were published"));
            }
        }
        (!reasons.is_empty()).then(|| format!("{}: {}", self.network, reasons.join("; ")))
    }
}

/// Within 1 %, or within the rounding of a figure with three decimals.
fn agrees(ours: f64, published: f64) -> bool {
    (ours - published).abs() <= (0.01 * published).max(0.000_5)
}

fn networks() -> Option<Vec<PathBuf>> {
    let zoo = PathBuf::from(std::env::var_os("GENNAPE_DATA")?).join("onnx_zoo");
    let mut files: Vec<PathBuf> = ["torchvision", "timm"]
        .iter()
        .flat_map(|d| std::fs::read_dir(zoo.join(d)).into_iter().flatten())
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "onnx"))
        .collect();
    files.sort();
    (!files.is_empty()).then_some(files)
}

/// `library/name`, as in the zoo.
fn network(path: &Path) -> String {
    let part = |p: Option<&std::ffi::OsStr>| p.unwrap_or_default().to_string_lossy().into_owned();
    format!("{}/{}", part(path.parent().and_then(Path::file_name)), part(path.file_stem()))
}

fn read(path: &Path) -> Result<(ModelGraph, ComputationGraph), String> {
    let graph = onnx::read(path, &onnx::ReadOptions::default()).map_err(|e| e.to_string())?;
    let lowered = lower::lower(&graph).map_err(|e| e.to_string())?;
    Ok((graph, lowered))
}

/// As `torch.onnx.export(…, export_params=False)` writes it: weights are inputs.
fn without_weights(path: &Path) -> Vec<u8> {
    let mut file = ModelProto::parse_from_bytes(&std::fs::read(path).unwrap()).unwrap();
    let graph = file.graph.as_mut().unwrap();
    let stored = std::mem::take(&mut graph.initializer);
    for tensor in stored {
        let float = [1, 10, 11, 16].contains(&tensor.data_type);
        if !float {
            graph.initializer.push(tensor);
            continue;
        }
        if graph.input.iter().any(|input| input.name == tensor.name) {
            continue;
        }
        let size = |&size: &i64| Dimension {
            value: Some(dimension::Value::DimValue(size)),
            ..Default::default()
        };
        let shape =
            TensorShapeProto { dim: tensor.dims.iter().map(size).collect(), ..Default::default() };
        let tensor_type = type_proto::Tensor {
            elem_type: tensor.data_type,
            shape: Some(shape).into(),
            ..Default::default()
        };
        let value = type_proto::Value::TensorType(tensor_type);
        let kind = TypeProto { value: Some(value), ..Default::default() };
        let input =
            ValueInfoProto { name: tensor.name, type_: Some(kind).into(), ..Default::default() };
        graph.input.push(input);
    }
    file.write_to_bytes().unwrap()
}

#[test]
fn weights_that_are_inputs_count_the_same() {
    let Some(files) = networks() else { return };
    let differs = |path: &PathBuf| {
        let (_, stored) = read(path).unwrap();
        let given =
            onnx::read_bytes(&without_weights(path), "given", &onnx::ReadOptions::default());
        let given = lower::lower(&given.unwrap()).unwrap();
        let counts = |graph: &ComputationGraph| (graph.parameters(), graph.macs());
        (counts(&stored) != counts(&given))
            .then(|| format!("{}: {:?}, {:?}", network(path), counts(&stored), counts(&given)))
    };
    let differing: Vec<String> = files.par_iter().filter_map(differs).collect();
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

fn counts(path: &Path) -> Result<Counts, String> {
    let (file, graph) = read(path)?;
    // Weights that the exporter has not standardised beforehand also go through one.
    let computed = |id: &Option<ValueId>| id.is_some_and(|id| !file.value(id).is_constant());
    let batch_norm_channels: u64 = file
        .nodes()
        .iter()
        .filter(|n| n.op == OpType::BatchNormalization && n.inputs.first().is_some_and(computed))
        .filter_map(|n| Some(file.value((*n.inputs.get(1)?)?).elements()))
        .sum();
    Ok(Counts {
        nodes: graph.len(),
        parameters: graph.parameters() as i64,
        absorbed: graph.folded_parameters() as i64,
        batch_norm_channels: batch_norm_channels as i64,
        macs: graph.macs(),
    })
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn table(rows: &[Comparison]) -> String {
    let mut text = String::from(include_str!("../fixtures/zoo_table_head.md"));
    for row in rows {
        let (facts, counts) = (&row.facts, &row.counts);
        let published = match (facts.published_resolution, facts.gmacs, facts.published_gmacs) {
            (Some(r), _, Some(p)) if r == facts.resolution => format!("{p}"),
            (Some(r), Some(g), Some(p)) => format!("at {r}: {p} (PyTorch {g:.3})"),
            _ => String::new(),
        };
        let blank = |n: i64| if n == 0 { String::new() } else { n.to_string() };
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {:.4} | {} |",
            row.network,
            facts.resolution,
            counts.nodes,
            counts.parameters,
            blank(counts.absorbed),
            blank(row.folded_by_exporter()),
            blank(facts.batch_norm_bias),
            blank(facts.unused),
            blank(facts.scalars),
            blank(facts.derived_parameters - facts.derived_coefficients),
            blank(-facts.buffers),
            facts.pytorch_parameters,
            counts.macs as f64 / 1e9,
            published,
        )
        .unwrap();
    }
    text
}

/// Every network is read, its parameters are PyTorch's up to what `zoo.csv` explains, its MACs are
/// those that PyTorch counts, and for torchvision's those that were published.
#[test]
fn every_network_is_read_and_costs_what_pytorch_says() {
    let Some(files) = networks() else {
        eprintln!("skipped: GENNAPE_DATA names no folder with onnx_zoo in it");
        return;
    };
    let mut facts: BTreeMap<String, Facts> = csv::Reader::from_path(fixture("zoo.csv"))
        .unwrap()
        .deserialize()
        .map(|row| row.unwrap())
        .map(|row: Facts| (format!("{}/{}", row.library, row.name), row))
        .collect();
    let read: Vec<_> = files.par_iter().map(|path| (network(path), counts(path))).collect();
    let mut failures = Vec::new();
    let mut rows = Vec::new();
    for (network, counts) in read {
        match (counts, facts.remove(&network)) {
            (Err(error), _) => failures.push(format!("{network}: {error}")),
            (_, None) => failures.push(format!("{network}: not in zoo.csv")),
            (Ok(counts), Some(facts)) => rows.push(Comparison { network, facts, counts }),
        }
    }
    let missing: BTreeSet<String> = facts.into_keys().collect();
    failures.extend(missing.into_iter().map(|name| format!("{name}: no such file")));
    failures.extend(rows.iter().filter_map(Comparison::failure));
    assert!(
        failures.is_empty(),
        "{} of {} failed:\n{}",
        failures.len(),
        files.len(),
        failures.join("\n")
    );

    let (path, table) = (fixture("zoo_table.md"), table(&rows));
    if std::env::var_os("GENNAPE_UPDATE").is_some() {
        std::fs::write(&path, table).unwrap();
    } else {
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == table, "{} is not current: run with GENNAPE_UPDATE=1", path.display());
    }
}
