//! A network that a search space builds, its ONNX file, and that file read back are one architecture.

use gennape::onnx::{self, ReadOptions, Weights};
use gennape::spaces::{Architecture, Space, nasbench201};
use gennape::{graph::Fingerprint, lower, model_graph::ModelGraph};
use rand::SeedableRng;
use rayon::prelude::*;
use std::collections::HashMap;

fn fingerprint(graph: &ModelGraph) -> (Fingerprint, u64, u64) {
    let graph = lower::lower(graph).unwrap();
    (graph.fingerprint(), graph.parameters(), graph.macs())
}

fn round_trip(graph: &ModelGraph, weights: Weights) -> ModelGraph {
    let mut file = Vec::new();
    onnx::write(graph, &mut file, weights).unwrap();
    onnx::read_bytes(&file, "cell", &ReadOptions::default()).unwrap()
}

mod networks_of_a_space_survive_a_file {
    use super::*;

    fn check(space: &str) {
        let space: Space = space.parse().unwrap();
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(0);
        for i in 0..20 {
            let architecture = space.sample(&mut rng);
            let built = space.build(&architecture).unwrap();
            // Weights take long to draw, so only some networks have them.
            let weights = if i < 2 { Weights::Random { seed: 0 } } else { Weights::Stripped };
            let read = round_trip(&built, weights);
            assert_eq!(fingerprint(&built), fingerprint(&read), "{architecture}");
        }
    }

    macro_rules! test_spaces {
        ($($space:ident)*) => {
            $(
                #[test]
                fn $space() {
                    check(stringify!($space));
                }
            )*

            #[test]
            fn no_space_is_left_out() {
                let names: Vec<&str> = Space::ALL.iter().map(|space| space.name()).collect();
                assert_eq!(names, [$(stringify!($space)),*]);
            }
        };
    }
    test_spaces! {
        nasbench101 nasbench201 darts nasnet hiaml two_path inception nasbench_macro mnasnet
        ofa_mobilenetv3 ofa_proxyless ofa_resnet50 plain
    }
}

/// A shift of zeros that an exporter writes stays apart from a trained one.
#[test]
fn literals_survive_a_file() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("tests/fixtures/exports/normalisations/torchscript_17.onnx.gz");
    let file = crate::fixtures::onnx(&path).unwrap();
    let read = onnx::read_bytes(&file, "network", &ReadOptions::default()).unwrap();
    for weights in [Weights::Stripped, Weights::Random { seed: 0 }] {
        assert_eq!(fingerprint(&round_trip(&read, weights)), fingerprint(&read));
    }
}

/// No fingerprint covers cells of NAS-Bench-201 that compute different functions, and those of one
/// identity have one fingerprint.
#[test]
fn fingerprints_tell_nasbench201_cells_apart() {
    // Every seventh cell: 7 and 5 are coprime, so no operation is left out on any edge.
    let cells: Vec<(Fingerprint, nasbench201::Cell)> = (0..5usize.pow(6))
        .into_par_iter()
        .step_by(7)
        .map(|index| {
            let edge = |e: u32| nasbench201::Operation::ALL[index / 5usize.pow(e) % 5];
            let cell = nasbench201::Cell::new([0, 1, 2, 3, 4, 5].map(edge));
            (fingerprint(&cell.build()).0, cell)
        })
        .collect();
    let mut canonical: HashMap<Fingerprint, String> = HashMap::new();
    let mut fingerprints: HashMap<String, Fingerprint> = HashMap::new();
    for (fingerprint, cell) in cells {
        let form = cell.canonical();
        assert_eq!(*canonical.entry(fingerprint).or_insert_with(|| form.clone()), form);
        assert_eq!(*fingerprints.entry(cell.identity()).or_insert(fingerprint), fingerprint);
    }
    assert!(canonical.len() > 1000);
}
