//! Tests of models and their files.

use super::*;
use crate::encoder::{Config, WeightFile, testing};
use crate::files;
use crate::graph::Extent;
use crate::predictor::RegressionKind;
use crate::spaces::Architecture;
use crate::spaces::nasbench101::Cell;
use std::collections::BTreeMap;
use std::fs;

fn manifest() -> Manifest {
    Manifest {
        features: features_hash(),
        operations: testing::OPERATIONS.map(|o| o.name().to_string()).to_vec(),
        config: Config::encoder(),
        ..Estimator::embedded().manifest().clone()
    }
}

#[test]
fn a_model_folder_is_the_old_one_or_the_new_one() {
    use crate::files::faults::{Plan, with};
    let models: Vec<Estimator> = Estimator::names().filter_map(Estimator::named).collect();
    let [old, new] = &models[..] else { panic!("two models") };
    let name = |folder: &Path| Estimator::load(folder).map(|model| model.manifest().name.clone());
    let plans = || (0..16).map(Plan::Step).chain((0..16).map(Plan::Kill)).chain([Plan::Full(9999)]);
    let mut failures = 0;
    for (before, plan) in [None, Some(old)].into_iter().flat_map(|b| plans().map(move |p| (b, p))) {
        let around = tempfile::tempdir().unwrap();
        let folder = around.path().join("model");
        before.into_iter().for_each(|model| model.save(&folder).unwrap());
        let saved = with(plan, || new.save(&folder));
        failures += usize::from(saved.is_err());
        match (saved, name(&folder)) {
            (Ok(()), Ok(name)) => assert_eq!(name, new.manifest().name),
            (Err(_), Ok(name)) => {
                let old = before.map(|model| &model.manifest().name);
                assert!(name == new.manifest().name || Some(&name) == old, "{plan:?}");
            }
            (saved, Err(_)) => assert!(saved.is_err() && before.is_none(), "{plan:?}"),
        }
        // Whatever is left, the next one gets its way.
        new.save(&folder).unwrap();
        files::sweep(around.path());
        assert_eq!(name(&folder).unwrap(), new.manifest().name);
        assert_eq!(fs::read_dir(around.path()).unwrap().count(), 1, "{plan:?}");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "{plan:?}");
    }
    assert!(failures > 20, "{failures}");
    // In a folder that is there already, and not over what is no model.
    let folder = tempfile::tempdir().unwrap();
    for plan in plans() {
        let saved = with(plan, || new.save(folder.path()));
        assert!(name(folder.path()).is_ok() || saved.is_err(), "{plan:?}");
        fs::read_dir(folder.path())
            .unwrap()
            .for_each(|e| fs::remove_file(e.unwrap().path()).unwrap());
    }
    fs::write(folder.path().join("notes.txt"), "mine").unwrap();
    assert!(new.save(folder.path()).is_err());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

fn load(
    manifest: &Manifest,
    tensors: &BTreeMap<String, (Vec<usize>, Vec<f32>)>,
) -> Result<Estimator, String> {
    let json = serde_json::to_vec(manifest).unwrap();
    Estimator::from_bytes(&json, &testing::file(tensors)).map_err(|e| e.to_string())
}

#[test]
fn a_damaged_model_is_an_error_that_names_the_damage() {
    let manifest = manifest();
    let tensors = testing::tensors(&manifest.config, 3);
    load(&manifest, &tensors).unwrap();

    type Damage = fn(&mut Manifest, &mut BTreeMap<String, (Vec<usize>, Vec<f32>)>);
    let damages: [(&str, Damage); 11] = [
        ("schema 9", |m, _| m.schema = 9),
        ("trained on features 0123", |m, _| m.features = "0123".into()),
        ("operation 'warp'", |m, _| m.operations.push("warp".into())),
        ("no dimensions", |m, _| m.config.width = 0),
        ("'encoder.operations' has shape", |m, _| m.config.width = usize::MAX),
        ("'encoder.layers.6.weight' is missing", |m, _| m.config.layers = usize::MAX),
        ("'head.0.weight' is missing", |_, t| drop(t.remove("head.0.weight"))),
        ("'encoder.input.bias' has shape [32, 2]", |_, t| {
            t.get_mut("encoder.input.bias").unwrap().0 = vec![32, 2];
        }),
        ("'head.1.bias' holds a number that is not finite", |_, t| {
            t.get_mut("head.1.bias").unwrap().1[0] = f32::NAN;
        }),
        ("'calibration': the calibration is not an increasing", |_, t| {
            t.get_mut("calibration").unwrap().1[1] = 95.0;
        }),
        ("'territory.centroids' is missing", |_, t| {
            *t.get_mut("territory.centroids").unwrap() = (vec![0, 64], Vec::new());
        }),
    ];
    for (message, damage) in damages {
        let (mut manifest, mut tensors) = (manifest.clone(), tensors.clone());
        damage(&mut manifest, &mut tensors);
        let error = load(&manifest, &tensors).expect_err(message);
        assert!(error.contains(message), "{error}");
    }
}

/// Of a model that was made by `kept`.
fn fine_tuned(kept: Method, adaptation: RegressionKind) -> Manifest {
    let metrics = manifest().metrics["nasbench101 validation"]["model"];
    let fine_tuning = FineTuning {
        base: "base".into(),
        base_hash: "0123".into(),
        target: "top1".into(),
        data: manifest().data[0].clone(),
        kept,
        fitted: 6,
        adaptation,
        metrics: Comparison { before: metrics, after: metrics },
    };
    Manifest { fine_tuning: Some(fine_tuning), ..manifest() }
}

/// Its encoder and head were trained on the labels: what the scores stood for before is void.
#[test]
fn what_is_adapted_of_a_tuned_model_is_its_score() {
    let graphs = GraphBatch::new(&[0, 1, 2, 3, 4, 5].map(testing::graph));
    let manifest = fine_tuned(Method::Tuned, RegressionKind::Increasing);
    let mut file =
        WeightFile::parse(&testing::file(&testing::tensors(&manifest.config, 3))).unwrap();
    let bytes = file.to_bytes().unwrap();
    let weights = Weights::parse(&bytes).unwrap();
    let operations = testing::OPERATIONS;
    let encoder = Encoder::new(&manifest.config, &operations, &weights).unwrap();
    let head = Head::new(&manifest.config, &weights).unwrap();
    let embeddings = encoder.embed(graphs.features());
    let scores: Vec<f64> = head.scores(embeddings.view()).into_iter().map(f64::from).collect();
    let regressor =
        FewShotRegressor::recalibrate(&scores, &[1.0, 2.0, 3.0, 5.0, 4.0, 6.0]).unwrap().0;
    regressor.store(&mut file);
    let domain = Estimator::embedded().domain().around(embeddings.view(), [].into());
    domain.store("adaptation.territory", &mut file);
    let json = serde_json::to_vec(&manifest).unwrap();
    let tuned = Estimator::from_bytes(&json, &file.to_bytes().unwrap()).unwrap();
    let expected = regressor
        .predict(&[Array2::from_shape_fn((6, 1), |(i, _)| scores[i]).view()], |_| unreachable!());
    let estimates = tuned.estimate_batch(&graphs).unwrap();
    assert_eq!(estimates.iter().map(|e| e.accuracy).collect::<Vec<_>>(), expected);
}

#[test]
fn a_damaged_adaptation_is_an_error_that_names_the_damage() {
    let manifest = |kind| fine_tuned(Method::Adapted, kind);
    let graphs = GraphBatch::new(&[0, 1, 2, 3, 4, 5].map(testing::graph));
    let estimates = [1.0, 2.0, 3.0, 5.0, 4.0, 6.0];
    let embeddings = Array2::from_shape_fn((6, 64), |(i, j)| ((i + j) % 5) as f32);
    let features = FewShotRegressor::features(&estimates, embeddings.view(), graphs.proxies());
    let groups = features.each_ref().map(Array2::view);
    let fitted = FewShotRegressor::fit(&groups, &[], &estimates).unwrap();
    let recalibrated = FewShotRegressor::recalibrate(&estimates, &estimates).unwrap().0;
    let base = testing::file(&testing::tensors(&manifest(RegressionKind::Linear).config, 3));

    type Damage = fn(&mut WeightFile);
    let damages: [(&FewShotRegressor, &str, Damage); 7] = [
        (&fitted, "'adaptation.radius': it is negative", |f| {
            f.put("adaptation.radius", &[1], &[-1.0]);
        }),
        (&fitted, "'adaptation.radius' holds a number that is not finite", |f| {
            f.put("adaptation.radius", &[1], &[f64::NAN]);
        }),
        (&fitted, "'adaptation.radius' is stored as F32, expected F64", |f| {
            f.put("adaptation.radius", &[1], &[1f32]);
        }),
        (&fitted, "'adaptation.values': it is not an increasing", |f| {
            f.put("adaptation.values", &[2, 2], &[0.0, 1.0, 0.5, 1.0]);
        }),
        (&fitted, "'adaptation.estimate.labels' has shape [6, 1]", |f| {
            f.put("adaptation.coefficients", &[7, 1], &[0.0; 7]);
        }),
        (&fitted, "'adaptation.embedding.mean' has shape [63]", |f| {
            f.put("adaptation.embedding.mean", &[63], &[0.0; 63]);
        }),
        (&recalibrated, "'adaptation.curve': it is not an increasing", |f| {
            f.put("adaptation.curve", &[1, 2], &[0.0, 1.0]);
        }),
    ];
    for (regressor, message, damage) in damages {
        let json = serde_json::to_vec(&manifest(regressor.kind())).unwrap();
        let load = |damage: Damage| {
            let mut file = WeightFile::parse(&base).unwrap();
            regressor.store(&mut file);
            Estimator::embedded()
                .domain()
                .around(embeddings.view(), Default::default())
                .store("adaptation.territory", &mut file);
            damage(&mut file);
            Estimator::from_bytes(&json, &file.to_bytes().unwrap())
        };
        load(|_| ()).unwrap().estimate_batch(&graphs).unwrap();
        let error = load(damage).expect_err(message).to_string();
        assert!(error.contains(message), "{error}");
        let error = Estimator::from_bytes(&json, &base).unwrap_err().to_string();
        assert!(error.contains("'adaptation.values' is missing"), "{error}");
    }
}

/// A file of weights with one tensor full of numbers that are out of all proportion, for each of
/// its tensors and some such numbers.
fn disproportionate(file: &[u8]) -> Vec<(String, Vec<u8>)> {
    let numbers = [f64::MAX, f64::from(f32::MAX), 1e25, 150.0, -1.0, 0.0, 1e-40, f64::MIN];
    let mut files = Vec::new();
    for (name, tensor) in safetensors::SafeTensors::deserialize(file).unwrap().tensors() {
        let count = tensor.shape().iter().product::<usize>();
        for number in numbers {
            // All the same, of both signs, and rising from almost nothing.
            let patterns: [fn(usize, f64) -> f64; 3] = [
                |_, x| x,
                |i, x| if i % 3 == 0 { -x } else { x },
                |i, x| x / (1u64 << (i % 60)) as f64,
            ];
            for pattern in patterns {
                let values: Vec<f64> = (0..count).map(|i| pattern(i, number)).collect();
                let mut file = WeightFile::parse(file).unwrap();
                match tensor.dtype() {
                    safetensors::Dtype::F64 => file.put(&name, tensor.shape(), &values),
                    _ => {
                        let values: Vec<f32> = values.iter().map(|&x| x as f32).collect();
                        file.put(&name, tensor.shape(), &values);
                    }
                }
                files.push((format!("{name} {number:e}"), file.to_bytes().unwrap()));
            }
        }
    }
    files
}

#[test]
fn an_embedding_comes_with_the_answer_and_changes_nothing() {
    use crate::{lower::lower, spaces::Space};
    let build = |space: Space, text| lower(&space.build(text).unwrap()).unwrap();
    let cell = "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|avg_pool_3x3~2|";
    let graphs = [
        build(Space::NasBench201, cell),
        build(Space::MnasNet, &Space::MnasNet.sample(&mut rand::thread_rng())),
    ];
    let model = Estimator::embedded();
    for question in [Question::default(), Question::of_one_family()] {
        let plain = model.answer(&graphs, &question).unwrap();
        let asked = Question { embedding: true, ..question };
        let mut answers = model.answer(&graphs, &asked).unwrap();
        for (graph, answer) in graphs.iter().zip(&mut answers) {
            let embedding = answer.embedding.take().unwrap();
            let alone = model.embed(std::slice::from_ref(graph));
            assert_eq!(embedding, alone.row(0).to_vec());
        }
        assert_eq!(answers, plain);
    }
}

/// An answer is made of finite numbers, and its interval holds the accuracy.
fn check_sound(answer: &Answer, what: &str) {
    let Estimate { accuracy, interval: [low, high], distance, .. } = answer.estimate;
    assert!([accuracy, low, high, distance].iter().all(|x| x.is_finite()), "{what}: {answer:?}");
    assert!(low - 1e-9 <= accuracy && accuracy <= high + 1e-9, "{what}: {answer:?}");
    assert!(answer.voices.iter().all(|voice| voice.accuracy.is_finite()), "{what}: {answer:?}");
    assert!((0.0..=1.0).contains(&answer.better_than(answer)), "{what}: {answer:?}");
}

#[test]
fn a_model_out_of_all_proportion_is_refused_and_never_a_nan() {
    let graphs = [testing::graph(9), testing::graph(5)];
    let mut refused = 0;
    let mut check = |manifest: &[u8], weights: &[u8], what: &str| {
        let Ok(model) = Estimator::from_bytes(manifest, weights) else { return refused += 1 };
        for graph in &graphs {
            let estimate = model.estimate(&[graph]);
            match model.answer(&[graph], &Question::default()) {
                Ok(answers) => {
                    check_sound(&answers[0], what);
                    assert_eq!(estimate.unwrap(), [answers[0].estimate], "{what}");
                }
                Err(error) => {
                    assert!(error.to_string().contains("not a finite number"), "{error}");
                    refused += 1;
                }
            }
        }
    };
    for config in [Config::encoder(), Config::k_gnn()] {
        let json = serde_json::to_vec(&Manifest { config: config.clone(), ..manifest() }).unwrap();
        for (what, file) in disproportionate(&testing::file(&testing::tensors(&config, 3))) {
            check(&json, &file, &what);
        }
    }
    // With what fine-tuning adds.
    let six = GraphBatch::new(&[0, 1, 2, 3, 4, 5].map(testing::graph));
    let estimates = [1.0, 2.0, 3.0, 5.0, 4.0, 6.0];
    let embeddings = Array2::from_shape_fn((6, 64), |(i, j)| ((i + j) % 5) as f32);
    let features = FewShotRegressor::features(&estimates, embeddings.view(), six.proxies());
    let groups = features.each_ref().map(Array2::view);
    for regressor in [
        FewShotRegressor::fit(&groups, &[], &estimates).unwrap(),
        FewShotRegressor::recalibrate(&estimates, &estimates).unwrap().0,
    ] {
        let base = testing::file(&testing::tensors(&Config::encoder(), 3));
        let mut file = WeightFile::parse(&base).unwrap();
        regressor.store(&mut file);
        let domain = Estimator::embedded().domain().around(embeddings.view(), [].into());
        domain.store("adaptation.territory", &mut file);
        let file = file.to_bytes().unwrap();
        for kind in [regressor.kind(), RegressionKind::Matern] {
            let json = serde_json::to_vec(&fine_tuned(Method::Adapted, kind)).unwrap();
            disproportionate(&file)
                .iter()
                .filter(|(what, _)| what.starts_with("adaptation"))
                .for_each(|(what, file)| check(&json, file, what));
        }
    }
    assert!(refused > 300, "{refused}");
}

#[test]
fn models_of_real_networks_out_of_all_proportion_are_refused_and_never_a_nan() {
    let (_, json, weights) = REAL[1];
    let graph = testing::graph(9);
    let (mut refused, mut answered) = (0, 0);
    let mut check = |manifest: &[u8], weights: &[u8], what: &str| {
        let Ok(real) = RealNetworks::from_bytes(manifest, weights) else { return refused += 1 };
        let targets: Vec<Target> = real.manifest().targets.iter().map(|f| f.target).collect();
        let model = Estimator::with_real(real);
        for target in targets {
            let question = Question { target: Some(target), ..Question::default() };
            match model.answer(&[&graph], &question) {
                Ok(answers) => {
                    check_sound(&answers[0], what);
                    answered += 1;
                }
                Err(error) => {
                    assert!(error.to_string().contains("not a finite number"), "{error}");
                    refused += 1;
                }
            }
        }
    };
    check(json, weights, "whole");
    for (what, file) in disproportionate(weights) {
        check(json, &file, &what);
    }
    let whole: serde_json::Value = serde_json::from_slice(json).unwrap();
    let facts = ["mean", "deviation", "half_width", "half_width_outside", "reach", "odds"];
    let pointers = (facts.iter().map(|fact| format!("/targets/0/{fact}")))
        .chain(["linear", "length", "smooth_length"].map(|h| format!("/hyperparameters/{h}")))
        .chain(["/networks/0/accuracy".into(), "/targets/0/recipes/0/1/0".into()]);
    for pointer in pointers {
        for number in [f64::MAX, 1e100, 0.0, -1.0, 1e-300, f64::MIN] {
            let mut manifest = whole.clone();
            let place = manifest.pointer_mut(&pointer);
            *place.unwrap_or_else(|| panic!("{pointer}")) = number.into();
            let what = format!("{pointer} {number:e}");
            check(&serde_json::to_vec(&manifest).unwrap(), weights, &what);
        }
    }
    assert!(refused > 50 && answered > 50, "{refused} {answered}");
}

#[test]
fn files_cut_anywhere_are_errors() {
    let json = serde_json::to_vec(&manifest()).unwrap();
    let weights = testing::file(&testing::tensors(&Config::encoder(), 3));
    for length in (0..json.len()).step_by(7) {
        assert!(Estimator::from_bytes(&json[..length], &weights).is_err());
    }
    for length in (0..weights.len()).step_by(101) {
        assert!(Estimator::from_bytes(&json, &weights[..length]).is_err());
    }
}

#[test]
fn every_embedded_model_goes_by_its_name() {
    assert_eq!(Estimator::names().next(), Some(Estimator::embedded().manifest().name.as_str()));
    for name in Estimator::names() {
        assert_eq!(Estimator::named(name).unwrap().manifest().name, name);
    }
    assert!(Estimator::named("other").is_none());
}

#[test]
fn the_embedded_model_knows_its_space_and_its_limits() {
    let estimator = Estimator::embedded();
    let network = |text: &str| crate::lower::lower(&text.parse::<Cell>().unwrap().build()).unwrap();
    // One of the best cells, and a chain of two poolings.
    let (good, poor) = (network("111101010000010000111:33331"), network("101001:pp"));
    let foreign = testing::graph(5);
    let graphs: Vec<ComputationGraph> =
        (0..100).flat_map(|_| [good.clone(), poor.clone(), foreign.clone()]).collect();
    let estimates = estimator.estimate(&graphs).unwrap();
    let [good, poor, foreign] = [estimates[0], estimates[1], estimates[2]];
    assert!(good.accuracy > 93.0 && poor.accuracy < 91.0, "{good:?} {poor:?}");
    assert!(good.in_distribution && !foreign.in_distribution, "{good:?} {foreign:?}");
    let width = |e: Estimate| e.interval[1] - e.interval[0];
    assert!(width(foreign) > 2.0 * width(good), "{good:?} {foreign:?}");
    // In parallel and in order.
    assert!(estimates.chunks(3).all(|e| e == [good, poor, foreign]));
    assert_eq!(estimator.embed(&graphs).dim(), (300, estimator.encoder().config().embedding()));
    let none: [ComputationGraph; 0] = [];
    assert!(estimator.estimate(&none).unwrap().is_empty() && estimator.embed(&none).is_empty());
}

/// Whatever stands in a valid graph, what comes out is finite; what is not valid says why.
#[test]
fn estimates_and_embeddings_of_every_graph_are_finite() {
    use rand::{Rng, SeedableRng, rngs::StdRng};
    let estimator = Estimator::embedded();
    let mut rng = StdRng::seed_from_u64(0);
    let mut accepted = Vec::new();
    let mut rejected = 0;
    for seed in 0..600 {
        let (mut nodes, edges) = testing::parts(seed);
        for node in &mut nodes {
            node.operation = Operation::ALL[rng.gen_range(0..Operation::ALL.len())];
            const NUMBERS: [u64; 5] = [1, 3, 1 << 40, u64::MAX / 300, u64::MAX];
            let mut number = || match rng.gen_bool(0.02) {
                true => 0,
                false => NUMBERS[rng.gen_range(0..NUMBERS.len())],
            };
            let mut extent = |e: &mut Extent| *e = Extent::new(number(), number(), number());
            extent(&mut node.input);
            extent(&mut node.output);
            let mut small = || [1, 1, 2, 7, u32::MAX][rng.gen_range(0..5)];
            node.window.kernel = [small(), small()];
            (node.window.groups, node.window.stride) = (small(), [small(), 1]);
            let cost = [0, 1 << 20, u64::MAX / 300];
            (node.parameters, node.macs) = (cost[rng.gen_range(0..3)], cost[rng.gen_range(0..3)]);
            if rng.gen_bool(0.003) {
                *[&mut node.macs, &mut node.parameters][rng.gen_range(0..2)] = u64::MAX;
            }
            if rng.gen_bool(0.003) {
                node.window.groups = 0;
            }
        }
        match ComputationGraph::new(nodes, &edges) {
            Ok(graph) => accepted.push(graph),
            Err(error) => {
                rejected += 1;
                assert!(error.to_string().starts_with("node '"), "{error}");
            }
        }
    }
    assert!(accepted.len() > 100 && rejected > 50, "{} {rejected}", accepted.len());
    let estimates = estimator.estimate(&accepted).unwrap();
    assert!(estimator.embed(&accepted).iter().all(|x| x.is_finite()));
    assert!(estimates.iter().all(|e| (0.0..=100.0).contains(&e.accuracy)));
}

/// The truth is 10 % on CIFAR-10, which no model needs to be asked for.
#[test]
fn a_network_without_a_path_can_but_guess() {
    use crate::spaces::nasbench201::{Cell, Dataset};
    let none = "|none~0|+|nor_conv_3x3~0|none~1|+|none~0|skip_connect~1|none~2|";
    let cell: Cell = none.parse().unwrap();
    let graphs = [Dataset::Cifar10, Dataset::Cifar100, Dataset::ImageNet16_120]
        .map(|set| crate::lower::lower(&cell.build_for(set)).unwrap());
    let batch = GraphBatch::new(&graphs);
    let estimates = Estimator::embedded().estimate_batch(&batch).unwrap();
    for (estimate, chance) in estimates.iter().zip([10.0, 1.0, 100.0 / 120.0]) {
        assert_eq!((estimate.accuracy, estimate.interval), (chance, [chance; 2]));
        assert!(!estimate.depends_on_input);
    }
    // Taken from a store, which a file keeps, it is the same.
    let store = GraphStore::build(3, |i| Ok::<_, ()>(graphs[i].clone()), &|_| ()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    store.save(&path, &[0; 32]).unwrap();
    let store = GraphStore::load(&path, &[0; 32]).unwrap();
    let (stored, _) = Estimator::embedded().estimate_store(&store, &|_| ()).unwrap();
    assert_eq!(stored, estimates);
}

/// 86.5 and 54.3 %, by NAS-Bench-201: a sum of a map with itself in every cell lets the signal
/// grow until what is learned beside it does not count.
#[test]
fn nobody_vouches_for_a_network_whose_cells_learn_nothing() {
    let cell = |text: &str| {
        let cell: crate::spaces::nasbench201::Cell = text.parse().unwrap();
        crate::lower::lower(&cell.build()).unwrap()
    };
    let (skip, none) = ("skip_connect", "none");
    let identity = cell(&format!("|{none}~0|+|{none}~0|{none}~1|+|{skip}~0|{none}~1|{none}~2|"));
    let skips = cell(&format!("|{skip}~0|+|{skip}~0|{skip}~1|+|{skip}~0|{skip}~1|{skip}~2|"));
    for name in Estimator::names() {
        let estimator = Estimator::named(name).unwrap();
        // As one of a family, by itself, and for another target.
        let mut questions = vec![Question::of_one_family(), Question::default()];
        if !estimator.real().is_empty() {
            questions.push(Question { target: Some(Target::Svhn), ..Question::default() });
        }
        for question in questions {
            let answers = estimator.answer(&[&identity, &skips], &question).unwrap();
            let [identity, skips] = [answers[0].estimate, answers[1].estimate];
            assert!(!skips.in_distribution && skips.distance > 2.0, "{name} {skips:?}");
            assert_eq!(skips.interval[0], 0.0, "{name} {skips:?}");
            assert!(identity.interval[0] > 60.0, "{name} {identity:?}");
        }
    }
}

#[test]
fn operations_never_trained_on_are_out_of_distribution() {
    let mut tensors = testing::tensors(&Config::encoder(), 3);
    tensors.get_mut("territory.scale").unwrap().1.fill(0.0);
    tensors.get_mut("territory.centroids").unwrap().1.fill(0.0);
    let estimator = load(&manifest(), &tensors).unwrap();
    let (mut nodes, edges) = testing::parts(9);
    let graph = |nodes: &[_]| ComputationGraph::new(nodes.to_vec(), &edges).unwrap();
    assert_eq!(estimator.estimate(&[graph(&nodes)]).unwrap()[0].distance, 0.0);
    nodes[0].operation = Operation::Gelu;
    let estimate = estimator.estimate(&[graph(&nodes)]).unwrap()[0];
    assert!(estimate.distance > 1.0 && !estimate.in_distribution, "{estimate:?}");
}
