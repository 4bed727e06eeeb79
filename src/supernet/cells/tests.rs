use super::*;
use crate::images::Images;
use std::path::Path;
use tch::Device;
use tch::Kind;

const IMAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/images/fashion-mnist");

/// So many of the fixture's images to train on, and as many others as a test, of this size.
fn images(count: usize, size: Option<[usize; 2]>) -> ImageSet {
    let all = ImageSet::open(Path::new(IMAGES), size).unwrap();
    let of = |images: &Images| images.subset(&(0..count).collect::<Vec<_>>());
    ImageSet { training: of(&all.training), test: all.test.as_ref().map(of), ..all }
}

fn options(folder: &Path) -> Options {
    Options {
        cells: 4,
        channels: 4,
        training: Schedule {
            epochs: 5,
            augmentation: Augmentation::CropFlip,
            ..crate::training::fixtures::schedule(folder)
        },
    }
}

/// The same for so many epochs.
fn long(mut options: Options, epochs: usize) -> Options {
    options.training.epochs = epochs;
    options
}

fn target(reward: &Reward) -> Target<'_> {
    let measure = |name: &String| -> Box<dyn Evaluator> {
        match name.as_str() {
            "parameters" => Box::new(|g: &crate::graph::ComputationGraph| g.parameters() as f64),
            other => panic!("{other}"),
        }
    };
    Target { reward, measures: reward.measures().iter().map(measure).collect() }
}

/// A step changes the weights of the network that was drawn, for all networks that have them, and no others.
#[test]
fn networks_share_the_weights_of_equal_names() {
    let _seeded = crate::train::seeded();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let alpha = Alpha::new();
    let mut store = Store::default();
    let mut build = |store: &mut Store, seed| {
        let (network, _) = alpha.sample([4, 4], &mut rng).unwrap();
        store.network(network.build_for([1, 8, 8], 3), seed, Device::Cpu).unwrap()
    };
    let names = |network: &TorchNetwork| -> Vec<String> {
        network.parameters().map(|(id, _)| network.graph().value(id).name.to_string()).collect()
    };
    let (first, second) = (build(&mut store, 1), build(&mut store, 2));
    let (mine, others) = (names(&first), names(&second));
    assert!(mine.iter().any(|n| !others.contains(n)) && others.iter().any(|n| !mine.contains(n)));
    let before: BTreeMap<String, Tensor> =
        store.tensors().into_iter().map(|(name, t)| (name, t.copy())).collect();
    let x = Tensor::randn([5, 1, 8, 8], (Kind::Float, Device::Cpu));
    let loss = first.forward(&x, true).unwrap().square().sum(Kind::Float);
    store.step(&first, &loss, 0.1).unwrap();
    let mut moved = 0;
    for (name, tensor) in store.tensors() {
        let Some(weight) = name.strip_prefix("weight:") else { continue };
        if tensor != before[&name] {
            moved += usize::from(mine.iter().any(|n| n == weight));
            // Statistics of batch normalisations have no gradient.
            assert!(mine.iter().any(|n| n == weight) || !others.iter().any(|n| n == weight));
        }
    }
    assert!(moved > mine.len() / 2, "{moved} of {}", mine.len());
    for (id, tensor) in second.parameters() {
        let name = format!("weight:{}", second.graph().value(id).name);
        let shared = store.tensors().into_iter().find(|(n, _)| *n == name).unwrap().1;
        assert_eq!(tensor, &shared);
    }
    // A deeper network has the same cells and more.
    let (network, _) = alpha.sample([8, 4], &mut rng).unwrap();
    let before = store.tensors().len();
    let deeper = store.network(network.build_for([1, 8, 8], 3), 3, Device::Cpu).unwrap();
    let known = names(&deeper).iter().filter(|n| mine.contains(n) || others.contains(n)).count();
    assert!(known > 10 && store.tensors().len() > before);
}

/// The file is what is told of it; the same seed finds the same file, also in two parts.
#[test]
fn searches_find_what_they_tell_and_can_be_repeated() {
    let _seeded = crate::train::seeded();
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path());
    let images = images(300, None);
    let reward: Reward = "accuracy - 0.1*parameters".parse().unwrap();
    let target = target(&reward);
    let mut file = Vec::new();
    let found = search(&images, &target, &options, &mut file, &mut |_| true).unwrap();
    let stages: Vec<[usize; 3]> =
        found.history.iter().map(|e| [e.stage, e.cells, e.operations]).collect();
    assert_eq!(stages, [[1, 3, 7], [2, 3, 5], [3, 3, 3], [4, 4, 1], [4, 4, 1]]);
    assert!(found.history[..3].iter().all(|e| e.reward.is_some()));
    assert!(found.history.windows(2).all(|e| e[1].entropy <= e[0].entropy + 0.05));

    let network: darts::DartsNetwork = found.architecture.parse().unwrap();
    assert_eq!((network.genotype().layers(), network.genotype().channels()), (4, 4));
    let built = Cost::count(&network.build_for([1, 28, 28], 10)).unwrap();
    assert_eq!(found.cost, built);
    let parameters = built.parameters as f64;
    assert_eq!(found.measures["parameters"], parameters);
    assert!((found.reward - (found.accuracy - 1e-7 * parameters)).abs() < 1e-12);

    // 300 images of the test in batches of another size.
    let read = ReadOptions::default();
    let (graph, mut original) = onnx::Original::from_bytes(file.clone(), "found", &read).unwrap();
    let network = open(graph, &mut original, Device::Cpu).unwrap();
    let test = images.test.as_ref().unwrap();
    let data = Data { images: test, channels: 1, normalisation: &found.normalisation };
    let mut right = 0.0;
    for first in (0..300).step_by(60) {
        let indices: Vec<usize> = (first..first + 60).collect();
        right += data.accuracy(&network, &indices).unwrap() * 60.0;
    }
    assert!((right / 300.0 - found.accuracy).abs() < 1e-6, "{right} {}", found.accuracy);
    assert!(found.accuracy > 0.3, "{}", found.accuracy);

    let mut again = Vec::new();
    // At the end of the second epoch, and in the middle of the third, when rewards were drawn for it.
    let end = found.history.len();
    for part in [4, 5] {
        let at = |done: usize, all: usize| done * 2 * end >= part * all && done > 1;
        let mut stop = |event: Event| !matches!(event, Event::Step(done, all) if at(done, all));
        let error = search(&images, &target, &options, &mut again, &mut stop).unwrap_err();
        assert!(matches!(error, CellsError::Training(TrainingError::Stopped(_))), "{error}");
        options.training.resume = true;
    }
    let same = search(&images, &target, &options, &mut again, &mut |_| true).unwrap();
    assert_eq!(same.architecture, found.architecture);
    assert_eq!(same.history.len(), 5);
    assert_eq!(blake3::hash(&again), blake3::hash(&file));
    options.training.seed = 2;
    let error = search(&images, &target, &options, &mut again, &mut |_| true).unwrap_err();
    assert!(matches!(error, CellsError::Training(TrainingError::Checkpoint { .. })), "{error}");
}

#[test]
fn what_can_not_be_searched_is_told() {
    let _seeded = crate::train::seeded();
    let folder = tempfile::tempdir().unwrap();
    let options = long(options(folder.path()), 10);
    let run = |images: &ImageSet, reward: &str, options: &Options| {
        let reward: Reward = reward.parse().unwrap();
        let mut stop = |event: Event| !matches!(event, Event::Epoch(e, _) if e.epoch == 3);
        search(images, &target(&reward), options, &mut Vec::new(), &mut stop).err().unwrap()
    };
    let few = images(60, None);
    let error = run(&few, "accuracy", &Options { cells: 2, ..options.clone() });
    assert!(error.to_string().contains("2 layers are not between 3 and 100"), "{error}");
    let error = run(&few, "accuracy / (parameters - parameters)", &options);
    assert!(matches!(error, CellsError::Reward { .. }), "{error}");
    let error = run(&images(60, Some([30, 28])), "accuracy", &options);
    assert!(error.to_string().starts_with("the images are 30x28"), "{error}");
    let error = run(&few, "accuracy", &long(options.clone(), 2));
    assert!(matches!(error, CellsError::Steps(6)), "{error}");
    let mut one = few;
    one.training = one.training.subset(&[0, 1]);
    assert!(matches!(run(&one, "accuracy", &options), CellsError::Images(2)));
}
