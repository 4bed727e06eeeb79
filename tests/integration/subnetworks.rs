//! Sub-networks of real networks.

use gennape::benchmarks::{DATA_VARIABLE, data_folder};
use gennape::lower::lower;
use gennape::onnx::{self, Original, ReadOptions, Weights};
use gennape::subnetworks::{SubNetwork, SuperNetwork};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::path::{Path, PathBuf};

fn networks(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    let mut paths: Vec<_> =
        entries.filter(|p| p.extension().is_some_and(|e| e == "onnx")).collect();
    paths.sort();
    paths
}

/// What every space of sub-networks promises, on random ones.
fn keeps_its_promises(path: &Path, samples: usize) {
    let name = path.display();
    let (graph, mut original) = Original::open(path, &ReadOptions::default()).unwrap();
    let fingerprint = lower(&graph).unwrap().fingerprint();
    let space = SuperNetwork::new(graph);
    let whole = space.build(&SubNetwork::default()).unwrap();
    assert_eq!(lower(&whole).unwrap().fingerprint(), fingerprint, "{name}");
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut sub = space.smallest();
    for i in 0..samples {
        assert_eq!(space.parse(&sub.to_string()).as_ref(), Ok(&sub), "{name}");
        let built = space.build(&sub).unwrap_or_else(|e| panic!("{name}: {sub}: {e}"));
        let lowered = lower(&built).unwrap_or_else(|e| panic!("{name}: {sub}: {e}"));
        if i < 3 {
            // Writing it and reading it back changes nothing, as a file of its own and as the
            // edited one.
            let (mut file, mut edited) = (Vec::new(), Vec::new());
            onnx::write(&built, &mut file, Weights::Stripped).unwrap();
            space.shrink(&sub, &mut original, &mut edited, None).unwrap();
            for file in [file, edited] {
                let again = onnx::read_bytes(&file, "again", &ReadOptions::default()).unwrap();
                let again = lower(&again).unwrap();
                assert_eq!(again.fingerprint(), lowered.fingerprint(), "{name}: {sub}");
            }
        }
        let next = if i % 2 == 0 { space.sample(&mut rng) } else { space.mutate(&sub, &mut rng) };
        sub = if i % 3 == 0 { space.crossover(&sub, &next, &mut rng) } else { next };
    }
}

#[test]
fn every_sub_network_of_the_examples_is_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/examples");
    networks(&folder).par_iter().for_each(|path| keeps_its_promises(path, 12));
}

#[test]
fn every_sub_network_of_30_networks_is_valid() {
    let Ok(folder) = data_folder(None) else {
        eprintln!("SKIPPED: {DATA_VARIABLE} does not name a folder with the ONNX zoo");
        return;
    };
    let mut paths = networks(&folder.join("onnx_zoo/torchvision"));
    paths.extend(networks(&folder.join("onnx_zoo/timm")));
    let step = paths.len().div_ceil(30);
    let spread: Vec<_> = paths.iter().step_by(step).collect();
    assert!(spread.len() > 25, "{} networks", spread.len());
    spread.par_iter().for_each(|path| keeps_its_promises(path, 100));
}
