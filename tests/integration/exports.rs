//! One network exported in many ways is one architecture; different networks are not.

use crate::fixtures;
use gennape::graph::{ComputationGraph, Fingerprint};
use gennape::{lower, onnx};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn variants(folder: &str) -> BTreeMap<String, Vec<PathBuf>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder);
    let list = |path: &Path| {
        let mut entries: Vec<PathBuf> =
            std::fs::read_dir(path).unwrap().map(|e| e.unwrap().path()).collect();
        entries.sort();
        entries
    };
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    list(&root).into_iter().filter(|p| p.is_dir()).map(|p| (name(&p), list(&p))).collect()
}

fn graph(path: &Path) -> Result<ComputationGraph, String> {
    let file = fixtures::onnx(path).unwrap();
    let options = onnx::ReadOptions::default();
    let model = onnx::read_bytes(&file, "network", &options).map_err(|e| e.to_string())?;
    lower::lower(&model).map_err(|e| e.to_string())
}

/// Every exporter, operator set and optimisation level of a network gives the same fingerprint,
/// cost included.
#[test]
fn one_network_has_one_fingerprint() {
    let mut failures = Vec::new();
    for (network, variants) in variants("exports") {
        assert!(variants.len() > 1, "{network} has no variants");
        let mut seen: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for path in &variants {
            let what = graph(path).map(|g| {
                format!("{} with {} MACs, {} parameters", g.fingerprint(), g.macs(), g.parameters())
            });
            let variant = path.file_stem().unwrap().to_string_lossy().into_owned();
            seen.entry(what.unwrap_or_else(|e| e)).or_default().push(variant);
        }
        if seen.len() > 1 {
            failures.push(format!("{network}: {seen:#?}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// A changed stride, width, kernel, activation or depth changes the fingerprint.
#[test]
fn different_networks_have_different_fingerprints() {
    for (network, variants) in variants("different") {
        let mut seen: BTreeMap<Fingerprint, &Path> = BTreeMap::new();
        for path in &variants {
            if let Some(same) = seen.insert(graph(path).unwrap().fingerprint(), path) {
                panic!("{network}: {} and {} look the same", same.display(), path.display());
            }
        }
    }
}
