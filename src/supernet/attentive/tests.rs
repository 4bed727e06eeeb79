use super::*;
use crate::images::Augmentation;
use crate::onnx::Original;
use crate::spaces::Space;
use crate::subnetworks::SuperNetwork;
use crate::training::{Prepared, fixtures, trainable};
use rand::Rng;
use std::fs;
use tch::Device;

/// A network of a file with its sub-networks, and numbers for its input.
fn network(bytes: Vec<u8>) -> (Prepared, TorchNetwork, SuperNetwork, UnitOrder, Tensor) {
    let read = ReadOptions::default();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("network.onnx");
    fs::write(&path, bytes).unwrap();
    let (mut prepared, _) = trainable(&path, &read, 3).unwrap();
    let network =
        training::open(prepared.graph.clone(), &mut prepared.original, Device::Cpu).unwrap();
    let space = SuperNetwork::new(prepared.graph.clone()).with_shared_weights();
    let order = space.order(&mut prepared.original).unwrap();
    let mut shape = crate::execute::sizes(&prepared.graph.value(prepared.graph.inputs()[0]).shape);
    shape[0] = 2;
    tch::manual_seed(5);
    let x = Tensor::randn(&shape, (Kind::Float, Device::Cpu));
    (prepared, network, space, order, x)
}

fn largest_difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    let largest = a.abs().max().double_value(&[]).max(1e-6);
    (a - b).abs().max().double_value(&[]) / largest
}

fn networks() -> Vec<(String, Vec<u8>)> {
    let mut all = vec![("resnet8".to_string(), fs::read(fixtures::network()).unwrap())];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/execute");
    for name in ["residual", "mobile", "dense", "unet", "transformer", "norms"] {
        let path = folder.join(name).with_extension("onnx");
        all.push((name.into(), fs::read(path).unwrap()));
    }
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for space in [Space::NasBench201, Space::NasBenchMacro] {
        let mut file = Vec::new();
        let graph = space.build(&space.sample(&mut rng)).unwrap();
        crate::onnx::write(&graph, &mut file, crate::onnx::Weights::Random { seed: 1 }).unwrap();
        all.push((space.to_string(), file));
    }
    all
}

/// A sub-network over the shared weights computes what the file computes that is cut from the larger one's.
/// What it does not use has no part in its loss, and what it uses has.
#[test]
fn sub_networks_are_what_is_cut_from_the_file_and_train_nothing_else() {
    let _seeded = crate::train::seeded();
    let mut outside = 0;
    for (name, bytes) in networks() {
        let (prepared, network, space, order, x) = network(bytes);
        let tensors: Vec<Tensor> =
            network.parameters().map(|(_, tensor)| tensor.shallow_clone()).collect();
        let read = ReadOptions::default();
        let file = order.written_to(&prepared.original).unwrap();
        let (_, mut super_file) = Original::from_bytes(file.clone(), "network", &read).unwrap();
        // Once, however often it is written.
        assert_eq!(order.written_to(&super_file).unwrap(), file);
        assert_eq!(space.written_order(&super_file).unwrap().as_ref(), Some(&order));
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        for i in 0..6 {
            let sub = if i == 0 { space.smallest() } else { space.sample(&mut rng) };
            let cutout = space.cut_in_order(&sub, &order).unwrap();
            let kept: Vec<_> = cutout.weights.iter().map(|w| (w.from, w.kept.clone())).collect();
            let over = part(&network, cutout).unwrap();
            let mut small = Prepared::new(&read, |out| {
                space.shrink(&sub, &mut super_file, out, None)?;
                Ok(())
            })
            .unwrap();
            let cut =
                training::open(small.graph.clone(), &mut small.original, Device::Cpu).unwrap();
            let [a, b] = [&over, &cut].map(|n| n.forward(&x, false).unwrap());
            let difference = largest_difference(&a, &b);
            assert!(difference < 1e-5, "{name} {sub}: {difference}");

            let loss = over.forward_with_batch_statistics(&x).unwrap().square().sum(Kind::Float);
            let gradients = Tensor::run_backward(&[&loss], &tensors, false, false);
            for ((id, tensor), gradient) in network.parameters().zip(&gradients) {
                let parts: Vec<_> = kept.iter().filter(|(from, _)| *from == id).collect();
                if !gradient.defined() {
                    continue;
                }
                let mut inside = tensor.zeros_like();
                for (_, kept) in parts {
                    let mut mask = tensor.ones_like();
                    for (axis, kept) in kept.iter().enumerate() {
                        let Some(kept) = kept else { continue };
                        let index: Vec<i64> = kept.iter().map(|&i| i as i64).collect();
                        let mut of_axis = tensor.zeros_like();
                        let _ = of_axis.index_fill_(axis as i64, &Tensor::from_slice(&index), 1.0);
                        mask *= of_axis;
                    }
                    inside = (inside + mask).clamp_max(1.0);
                }
                let beyond: Tensor = 1.0 - &inside;
                let stray = (gradient * beyond).abs().max().double_value(&[]);
                assert_eq!(stray, 0.0, "{name} {sub}");
                outside += i64::from(inside.min().double_value(&[]) == 0.0);
            }
        }
    }
    assert!(outside > 50, "{outside}");
}

/// Whatever is narrower is a part of what is wider, also where skipped layers tie groups together.
#[test]
fn narrower_groups_are_parts_of_wider_ones() {
    for (name, bytes) in networks() {
        let (_, network, space, order, _) = network(bytes);
        let kept = |sub: &SubNetwork| {
            let weights = space.cut_in_order(sub, &order).unwrap().weights;
            weights.into_iter().map(|w| (w.from, w.kept)).collect::<Vec<_>>()
        };
        let decisions = space.decisions();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..20 {
            let mut options: Vec<usize> = decisions.iter().map(|&n| rng.gen_range(0..n)).collect();
            let narrow = kept(&space.decide(&options));
            // All groups one quarter wider, the rest alike.
            for option in options.iter_mut().take(space.groups().len()) {
                *option = option.saturating_sub(1);
            }
            let wide = kept(&space.decide(&options));
            for (from, axes) in &narrow {
                if network.stored(*from).is_none_or(|t| !t.requires_grad()) {
                    continue;
                }
                let whole: Vec<_> = wide.iter().filter(|(id, _)| id == from).collect();
                let inside = |(_, wide): &&(_, Vec<Option<Vec<usize>>>)| {
                    axes.iter().zip(wide).all(|pair| match pair {
                        (_, None) => true,
                        (Some(narrow), Some(wide)) => narrow.iter().all(|i| wide.contains(i)),
                        (None, Some(_)) => false,
                    })
                };
                assert!(whole.iter().any(inside), "{name}");
            }
        }
    }
}

#[test]
fn candidates_of_a_step_have_one_cost() {
    let (_, _, space, ..) = network(fs::read(fixtures::network()).unwrap());
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let sampler = Sampler::BestUp(4);
    let mut prior = Prior::new(&space, Some(sampler), &mut rng).unwrap();
    let whole = prior.macs(&SubNetwork::default()).unwrap();
    let mut means = Vec::new();
    for _ in 0..30 {
        let drawn = prior.draw(sampler, &mut rng).unwrap();
        // Costs that hardly occur have less.
        assert!((1..=4).contains(&drawn.len()));
        let macs: Vec<u64> = drawn.iter().map(|sub| prior.macs(sub).unwrap()).collect();
        let spread = macs.iter().max().unwrap() - macs.iter().min().unwrap();
        assert!(spread * 20 < whole, "{macs:?} of {whole}");
        means.push(macs[0]);
    }
    means.sort_unstable();
    assert!(means[2] * 3 < means[27] * 2, "{means:?}");
    assert_eq!(prior.draw(Sampler::Uniform, &mut rng).unwrap().len(), 1);
}

#[test]
fn samplers_are_what_they_print() {
    for text in ["bestup:3", "worstup:5", "uniform"] {
        assert_eq!(text.parse::<Sampler>().unwrap().to_string(), text);
    }
    for text in ["bestup:1", "uniform:3", "best", "bestup:x", "worstup:1000"] {
        assert!(text.parse::<Sampler>().is_err(), "{text}");
    }
}

fn options(folder: &Path) -> Options<'static> {
    Options {
        sampler: Some(Sampler::BestUp(2)),
        estimator: None,
        insert_batch_norm: false,
        training: Schedule { batch: 32, ..fixtures::schedule(folder) },
    }
}

/// From a file without weights to one whose sub-networks tell classes apart without being trained again,
/// which is the same when training was stopped and resumed.
#[test]
fn a_super_network_is_trained_end_to_end() {
    let _seeded = crate::train::seeded();
    let folder = tempfile::tempdir().unwrap();
    let (network, read, images) = (fixtures::network(), ReadOptions::default(), fixtures::images());
    let mut options = options(folder.path());
    let mut whole = Vec::new();
    let outcome = train(&network, &read, &images, &options, &mut whole, &mut |_| true).unwrap();
    assert_eq!((outcome.history.len(), outcome.images), (6, 60));
    // A third would be chance.
    assert!(outcome.largest.accuracy > 0.6 && outcome.smallest.accuracy > 0.45, "{outcome:?}");
    assert!(outcome.smallest.cost.macs * 5 < outcome.largest.cost.macs);

    let mut out = Vec::new();
    // In the middle of the third epoch, of 7 steps.
    let mut stop = |event: Event| !matches!(event, Event::Step(17, _));
    let error = train(&network, &read, &images, &options, &mut out, &mut stop).unwrap_err();
    assert!(matches!(error, TrainingError::Stopped(17)), "{error}");
    options.training.resume = true;
    train(&network, &read, &images, &options, &mut out, &mut |_| true).unwrap();
    assert_eq!(blake3::hash(&out), blake3::hash(&whole));

    // What is measured is what is written.
    let path = folder.path().join("super.onnx");
    fs::write(&path, &whole).unwrap();
    let measure = Measure::open(&path, &read, images.clone(), Device::Cpu).unwrap();
    assert!(measure.trained_together());
    let sub = measure.space().parse("c0=1/2,c1=1/4").unwrap();
    let test = measure.test_accuracy(&sub).unwrap().unwrap();
    let small = folder.path().join("small.onnx");
    fs::write(&small, measure.write(&sub).unwrap()).unwrap();
    let (mut small, missing) = trainable(&small, &read, 0).unwrap();
    assert_eq!(missing, 0);
    let small = training::open(small.graph.clone(), &mut small.original, Device::Cpu).unwrap();
    let parts = Parts::new(&images, 1, SPLIT);
    let (data, all) = parts.test().unwrap();
    let found = data.accuracy(&small, &all).unwrap();
    assert!((100.0 * found - test).abs() < 1e-3, "{found} {test}");
    // A file without weights can't be measured.
    let error = Measure::open(&network, &read, images, Device::Cpu).err().unwrap();
    assert!(matches!(error, TrainingError::NoWeights), "{error}");
}

/// Those that the estimator ranks first or last of what was drawn are trained, whatever their loss.
#[test]
fn the_estimator_tells_the_best_of_those_that_are_drawn() {
    let _seeded = crate::train::seeded();
    let folder = tempfile::tempdir().unwrap();
    let (_, network, space, order, _) = network(fs::read(fixtures::network()).unwrap());
    let images = fixtures::images();
    let parts = Parts::new(&images, 1, SPLIT);
    let estimator = Estimator::embedded();
    let estimate = |sub: &SubNetwork| {
        let graph = lower(&space.build(sub).unwrap()).unwrap();
        estimator.estimate(&[&graph]).unwrap()[0].accuracy
    };
    let mut by_loss_otherwise = 0;
    for sampler in [Sampler::BestUp(5), Sampler::WorstUp(5)] {
        let mut options = options(folder.path());
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let (x, labels) =
            parts.data().batch(&[0, 1, 2, 3], Augmentation::None, &mut rng, Device::Cpu).unwrap();
        for _ in 0..3 {
            let mut chosen = Vec::new();
            let before = rng.clone();
            for by_estimates in [true, false] {
                rng = before.clone();
                options.estimator = by_estimates.then_some(&estimator);
                let mut run = Run {
                    network: &network,
                    tensors: Vec::new(),
                    space: &space,
                    order: &order,
                    smallest: space.smallest(),
                    options: &options,
                    rate: 0.1,
                    parts: &parts,
                    velocity: Vec::new(),
                    prior: Prior::new(&space, Some(sampler), &mut ChaCha8Rng::seed_from_u64(1))
                        .unwrap(),
                    estimates: HashMap::new(),
                    work: 0.0,
                    images: Vec::new(),
                };
                chosen.push(run.attended(sampler, &x, &labels, &mut rng).unwrap());
                // Estimates take no pass through the network.
                assert_eq!(run.work == 0.0, by_estimates);
            }
            let mut prior =
                Prior::new(&space, Some(sampler), &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
            let drawn = prior.draw(sampler, &mut before.clone()).unwrap();
            let all: Vec<f64> = drawn.iter().map(estimate).collect();
            let extreme = match sampler {
                Sampler::WorstUp(_) => all.iter().copied().fold(f64::INFINITY, f64::min),
                _ => all.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            };
            assert!(all.iter().any(|&x| x != extreme), "{all:?}");
            assert_eq!(estimate(&chosen[0]), extreme);
            by_loss_otherwise += i32::from(chosen[0] != chosen[1]);
        }
    }
    assert!(by_loss_otherwise > 0);
}
