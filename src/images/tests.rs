use super::*;
use rand_chacha::ChaCha8Rng;
use std::fs;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/images");

fn fixture(name: &str) -> PathBuf {
    Path::new(FIXTURES).join(name)
}

/// The problem with a folder of these files, and the name of the one that it is about.
fn problem(files: &[(&str, Vec<u8>)]) -> (String, Problem) {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let path = match files {
        [(name, _)] if name.ends_with(".npz") => folder.path().join(name),
        _ => folder.path().into(),
    };
    let error = ImageSet::open(&path, None).unwrap_err();
    (error.path.file_name().unwrap_or_default().to_string_lossy().into_owned(), error.problem)
}

fn idx(dimensions: &[u32], content: &[u8]) -> Vec<u8> {
    let magic = 0x0800 + dimensions.len() as u32;
    let header = std::iter::once(&magic).chain(dimensions).flat_map(|n| n.to_be_bytes());
    header.chain(content.iter().copied()).collect()
}

#[test]
fn fashion_mnist_is_read_as_it_is() {
    let set = ImageSet::open(&fixture("fashion-mnist"), None).unwrap();
    let test = set.test.unwrap();
    assert_eq!((set.training.len(), test.len(), set.classes.len()), (1600, 400, 10));
    assert_eq!(set.training.size(), [1, 28, 28]);
    for class in 0..10 {
        assert_eq!(set.training.labels().iter().filter(|l| **l == class).count(), 160);
    }
    // The whole set's are .2860 and .3530 (published with it).
    let all: Vec<usize> = (0..set.training.len()).collect();
    let of = Normalisation::fit(&set.training, &all);
    assert!((of.mean[0] - 0.286).abs() < 0.01 && (of.deviation[0] - 0.353).abs() < 0.01, "{of:?}");
    let batch = set.training.batch(&all, 3, &of, Augmentation::None, &mut rng());
    assert_eq!(batch.shape, [1600, 3, 28, 28]);
    let mean = batch.pixels.iter().map(|x| f64::from(*x)).sum::<f64>() / batch.pixels.len() as f64;
    assert!(mean.abs() < 1e-4, "{mean}");
}

fn rng() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(1)
}

#[test]
fn numpys_archives_are_read() {
    let pixel = |n: usize, h: usize, w: usize, c: usize| (100 * n + 20 * h + 5 * w + c) as u8;
    let set = ImageSet::open(&fixture("keras.npz"), None).unwrap();
    assert_eq!((set.training.size(), set.training.labels()), ([3, 4, 3], [0, 1, 2, 0].as_slice()));
    // Channels come first here.
    assert_eq!(set.training.image(2)[2 * 12 + 3 * 3 + 1], pixel(2, 3, 1, 2));
    assert_eq!(set.test.unwrap().image(1)[0], pixel(5, 0, 0, 0));
    let set = ImageSet::open(&fixture("medmnist.npz"), None).unwrap();
    assert_eq!((set.training.size(), set.training.len()), ([1, 4, 3], 6));
    assert_eq!(set.training.image(5)[3 * 3 + 2], pixel(5, 3, 2, 0));
}

#[test]
fn folders_are_read_and_scaled() {
    let folder = tempfile::tempdir().unwrap();
    for (class, sides) in [("cat", [8u32, 8]), ("dog", [8, 16])] {
        fs::create_dir(folder.path().join(class)).unwrap();
        for (i, side) in sides.into_iter().enumerate() {
            let image = image::RgbImage::from_fn(side, 8, |_, _| image::Rgb([10, 20, 30]));
            let end = if i == 0 { "png" } else { "jpeg" };
            image.save(folder.path().join(class).join(format!("{i}.{end}"))).unwrap();
        }
    }
    let error = ImageSet::open(folder.path(), None).unwrap_err();
    assert!(matches!(error.problem(), Problem::Size { .. }), "{error}");
    let set = ImageSet::open(folder.path(), Some([4, 6])).unwrap();
    assert_eq!((set.training.size(), set.classes), ([3, 4, 6], vec!["cat".into(), "dog".into()]));
    assert_eq!(set.training.labels(), [0, 0, 1, 1]);
    // A PNG is exact, a JPEG nearly.
    assert_eq!(set.training.image(0)[24..48], [20; 24]);
    assert!(set.training.image(3)[48..].iter().all(|p| p.abs_diff(30) < 4));
}

#[test]
fn cifar_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let record = |label: u8, pixel: u8| {
        let pixels = [0u8, 1, 2].into_iter().flat_map(move |c| vec![pixel + c; 1024]);
        std::iter::once(label).chain(pixels).collect::<Vec<u8>>()
    };
    fs::write(folder.path().join("data_batch_1.bin"), [record(3, 7), record(9, 8)].concat())
        .unwrap();
    fs::write(folder.path().join("test_batch.bin"), record(0, 1)).unwrap();
    let set = ImageSet::open(folder.path(), None).unwrap();
    assert_eq!((set.training.labels(), set.classes.len()), ([3, 9].as_slice(), 10));
    assert_eq!(set.training.image(1)[1023..1025], [8, 9]);
    let (file, short) = problem(&[("data_batch_1.bin", record(3, 7)[..3000].to_vec())]);
    assert!(matches!(short, Problem::Truncated { expected: 3073, found: 3000 }), "{short}");
    assert_eq!(file, "data_batch_1.bin");
    let (_, label) = problem(&[("data_batch_1.bin", record(10, 7))]);
    assert!(matches!(label, Problem::Label { label: 10, last: 9, .. }), "{label}");
}

#[test]
fn every_kind_of_malformed_file_is_told() {
    let images = |content: Vec<u8>| ("train-images-idx3-ubyte", content);
    let labels = |content: Vec<u8>| ("train-labels-idx1-ubyte", content);
    let good = || images(idx(&[2, 1, 2], &[1, 2, 3, 4]));
    let two = || labels(idx(&[2], &[0, 1]));
    let mut jpeg = io::Cursor::new(Vec::new());
    image::DynamicImage::new_rgb8(40, 40).write_to(&mut jpeg, image::ImageFormat::Jpeg).unwrap();
    let jpeg = jpeg.into_inner();
    let half = jpeg[..jpeg.len() - 10].to_vec();
    // Files, the one that the error is about, and what it must be.
    type Case = (Vec<(&'static str, Vec<u8>)>, &'static str, fn(&Problem) -> bool);
    let cases: Vec<Case> = vec![
        (vec![("readme.txt", vec![1])], "", |p| matches!(p, Problem::NoImages)),
        (vec![("cats/a.txt", vec![1])], "", |p| matches!(p, Problem::NoImages)),
        (vec![good()], "", |p| matches!(p, Problem::NoLabels(_))),
        (vec![images(idx(&[2], &[1, 2])), two()], "train-images-idx3-ubyte", |p| {
            matches!(p, Problem::Form { form: "IDX", .. })
        }),
        (vec![images(idx(&[2, 1, 2], &[1])), two()], "train-images-idx3-ubyte", |p| {
            matches!(p, Problem::Truncated { expected: 4, found: 1 })
        }),
        (vec![images(vec![0, 0, 8, 3, 0]), two()], "train-images-idx3-ubyte", |p| {
            matches!(p, Problem::Truncated { expected: 16, found: 5 })
        }),
        (vec![images(vec![]), two()], "train-images-idx3-ubyte", |p| {
            matches!(p, Problem::Truncated { .. })
        }),
        (vec![images(vec![0x1f, 0x8b, 8, 0, 1]), two()], "train-images-idx3-ubyte", |p| {
            matches!(p, Problem::Io(_))
        }),
        (vec![images(idx(&[2, 1, 2], &[0; 5])), two()], "train-images-idx3-ubyte", |p| {
            matches!(p, Problem::TooLong { expected: 4 })
        }),
        (vec![images(idx(&[u32::MAX; 3], &[])), two()], "train-images-idx3-ubyte", |p| {
            matches!(p, Problem::TooLarge { .. })
        }),
        (vec![images(idx(&[u32::MAX, 4, 4], &[])), two()], "train-images-idx3-ubyte", |p| {
            matches!(p, Problem::TooLarge { .. })
        }),
        (
            vec![images(idx(&[0, 0, 0], &[])), labels(idx(&[0], &[]))],
            "train-labels-idx1-ubyte",
            |p| matches!(p, Problem::NoImages),
        ),
        (vec![good(), labels(idx(&[3], &[0, 1, 2]))], "train-labels-idx1-ubyte", |p| {
            matches!(p, Problem::Count { images: 2, labels: 3 })
        }),
        (vec![good(), labels(idx(&[2], &[1, 1]))], "", |p| matches!(p, Problem::OneClass)),
        (vec![("a/1.png", b"\x89PNG\r\n\x1a\nxx".to_vec()), ("b/1.png", vec![])], "1.png", |p| {
            matches!(p, Problem::Image(_))
        }),
        (
            vec![("a/1.jpg", jpeg.clone()), ("b/1.jpg", half)],
            "1.jpg",
            |p| matches!(p, Problem::Image(why) if why.contains("ends before")),
        ),
        (vec![("a/1.jpg", jpeg.clone()), ("b/notes.txt", vec![])], "b", |p| {
            matches!(p, Problem::EmptyClass)
        }),
        (vec![("a.npz", b"PK".to_vec())], "a.npz", |p| matches!(p, Problem::Form { .. })),
    ];
    for (files, file, check) in cases {
        let (at, problem) = problem(&files);
        assert!(check(&problem), "{problem} ({files:?})");
        assert!(file.is_empty() || at == file, "{at}: {problem}");
    }
}

/// No cut or changed byte of an archive makes reading panic or take more than it should.
#[test]
fn damaged_archives_are_errors_or_other_images() {
    for name in ["keras.npz", "medmnist.npz"] {
        let whole = fs::read(fixture(name)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npz");
        for end in (0..whole.len()).step_by(31) {
            fs::write(&path, &whole[..end]).unwrap();
            assert!(ImageSet::open(&path, None).is_err(), "{name} up to {end}");
        }
        for at in (0..whole.len()).step_by(5) {
            let mut changed = whole.clone();
            changed[at] = changed[at].wrapping_add(0x7f);
            fs::write(&path, &changed).unwrap();
            if let Ok(set) = ImageSet::open(&path, None) {
                assert!(set.training.pixels.len() < 1000);
            }
        }
    }
}

#[test]
fn splits_are_stratified_and_repeat() {
    let set = ImageSet::open(&fixture("fashion-mnist"), None).unwrap().training;
    let [train, held] = set.split(0.1, 5);
    assert_eq!((train.len(), held.len()), (1440, 160));
    assert_eq!(set.split(0.1, 5), [train.clone(), held.clone()]);
    assert_ne!(set.split(0.1, 6)[1], held);
    let mut all = [train, held.clone()].concat();
    all.sort_unstable();
    assert_eq!(all, (0..1600).collect::<Vec<_>>());
    let held = set.subset(&held);
    for class in 0..10 {
        assert_eq!(held.labels().iter().filter(|l| **l == class).count(), 16);
    }
}

/// What is cut out of the padded image is the image moved; mirroring keeps each row's pixels.
#[test]
fn augmentation_moves_and_mirrors() {
    let pixels: Vec<u8> = (0..64).map(|i| 64 + i).collect();
    let images = Images::new(pixels.clone(), vec![0], [1, 8, 8]).unwrap();
    let plain = Normalisation { mean: vec![0.0], deviation: vec![1.0 / 255.0] };
    let mut rng = rng();
    let mut seen = std::collections::HashSet::new();
    for _ in 0..200 {
        let batch = images.batch(&[0], 1, &plain, Augmentation::CropFlip, &mut rng);
        let found: Vec<i32> = batch.pixels.iter().map(|p| p.round() as i32).collect();
        let moved = (-1isize..=1).flat_map(|dy| (-1isize..=1).map(move |dx| (dy, dx)));
        let fits = moved.flat_map(|m| [(m, false), (m, true)]).find(|&((dy, dx), flip)| {
            (0..64usize).all(|i| {
                let column = if flip { 7 - i % 8 } else { i % 8 };
                let from = (i / 8).checked_add_signed(dy).zip(column.checked_add_signed(dx));
                let from = from.filter(|(y, x)| *y < 8 && *x < 8);
                found[i] == from.map_or(0, |(y, x)| i32::from(pixels[8 * y + x]))
            })
        });
        seen.insert(fits.expect("a moved image"));
    }
    assert_eq!(seen.len(), 18);
}
