//! Inferred shapes against ONNX's own shape inference and ONNX Runtime (`scripts/shape_oracle.py`).

use gennape::model_graph::ModelGraph;
use gennape::onnx;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

type Oracle = BTreeMap<String, Vec<usize>>;

fn oracle(path: &Path) -> Oracle {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// What is inferred otherwise, or not at all.
fn differences(graph: &ModelGraph, oracle: &Oracle) -> Vec<String> {
    let inferred: HashMap<&str, &[usize]> =
        graph.values().iter().map(|v| (&*v.name, &*v.shape)).collect();
    oracle
        .iter()
        .filter(|(name, shape)| inferred.get(name.as_str()) != Some(&shape.as_slice()))
        .map(|(name, shape)| {
            format!("{name}: {:?} instead of {shape:?}", inferred.get(name.as_str()))
        })
        .collect()
}

fn check(pairs: impl Iterator<Item = (PathBuf, PathBuf)>) {
    let mut compared = 0;
    let mut failures = Vec::new();
    for (model, expected) in pairs {
        let expected = oracle(&expected);
        let name = model.file_name().unwrap().to_string_lossy().into_owned();
        compared += expected.len();
        match onnx::read(&model, &onnx::ReadOptions::default()) {
            Err(e) => failures.push(format!("{}: {e}", model.display())),
            Ok(graph) => {
                // The output of an If goes by the name it has in the branch that was inlined; what
                // reads it is compared.
                let inlined = |d: &String| d.starts_with("y: None") && name.starts_with("if_");
                let wrong = differences(&graph, &expected).into_iter().filter(|d| !inlined(d));
                failures.extend(wrong.map(|d| format!("{}: {d}", model.display())));
            }
        }
    }
    assert!(compared > 0);
    assert!(failures.is_empty(), "{} of {compared}:\n{}", failures.len(), failures.join("\n"));
}

fn expected_in(folder: PathBuf) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    files.filter(|p| p.extension().is_some_and(|e| e == "json")).collect()
}

/// Small models over many operators, from operator set 7 to the newest.
#[test]
fn operators_agree_with_the_oracle() {
    let shapes = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/shapes");
    check(expected_in(shapes).into_iter().map(|json| (json.with_extension("onnx"), json)));
}

/// Every tensor of the example networks.
#[test]
fn networks_agree_with_the_oracle() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let model = |json: &Path| {
        root.join("data/examples").join(json.file_name().unwrap()).with_extension("onnx")
    };
    let expected = expected_in(root.join("tests/fixtures/shapes/examples"));
    check(expected.into_iter().map(|json| (model(&json), json)));
}
