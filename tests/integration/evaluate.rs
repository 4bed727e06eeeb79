//! `gennape evaluate` on labels of the user's own.

use super::cli::{folder, gennape};
use flate2::Compression;
use flate2::write::GzEncoder;
use gennape::spaces::nasbench201::{Cell, Operation};
use gennape::spaces::{Architecture, darts};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// A file of random cells with a made-up target, and two rows that are no good.
fn cells(folder: &Path) -> PathBuf {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut csv = "architecture,top1,note\n".to_string();
    for i in 0..80 {
        let cell = Cell::sample(&mut rng);
        let convolutions =
            cell.operations().iter().filter(|o| **o == Operation::NorConv3x3).count();
        csv += &format!("{cell},{}.{i:02},x\n", 70 + convolutions);
        if i == 9 {
            csv += "|nor_conv_3x3~0|,71.5,x\n";
        }
        if i == 19 {
            csv += &format!("{cell},high,x\n");
        }
    }
    let path = folder.join("cells.csv");
    fs::write(&path, csv).unwrap();
    path
}

#[test]
fn labels_of_ones_own_are_ranked_and_bad_rows_are_told() {
    let folder = folder("evaluate_labels");
    let path = cells(&folder);
    let (labels, cache) = (path.to_str().unwrap(), folder.join("cache"));
    let cache = cache.to_str().unwrap();
    let run = |format| {
        gennape(&[
            "evaluate",
            "--space",
            "nasbench201",
            "--labels",
            labels,
            "--target",
            "top1",
            "--fine-tune",
            "20",
            "--seeds",
            "3",
            "--cache",
            cache,
            "--format",
            format,
        ])
        .fails()
    };
    let outcome = run("json");
    for row in
        ["cells.csv, line 12, column 'architecture': ", "cells.csv, line 23, column 'top1': "]
    {
        assert!(outcome.stderr.contains(row), "{}", outcome.stderr);
    }
    assert!(outcome.stderr.contains("80 of 82 rows are used"), "{}", outcome.stderr);
    let json = outcome.json();
    assert_eq!(json["schema"], 2);
    let family = &json["families"][0];
    assert_eq!((&family["family"], &family["networks"]), (&"cells".into(), &80.into()));
    let rankings = family["rankings"].as_array().unwrap();
    let spearman = |by: &str, labels: u64| {
        let ranking =
            rankings.iter().find(|r| r["ranked_by"] == by && r["labels"] == labels).expect(by);
        ranking["measures"][0].clone()
    };
    // Three-by-three convolutions have most of the parameters.
    let parameters = spearman("parameters", 0);
    assert_eq!(parameters["measure"], "spearman");
    let value = parameters["value"].as_f64().unwrap();
    let [low, high] = [0, 1].map(|i| parameters["interval"][i].as_f64().unwrap());
    assert!(value > 0.4 && low < value && value < high, "{parameters}");
    assert!(spearman("parameters and MACs, fitted", 20)["deviation"].as_f64().unwrap() > 0.0);
    assert!(spearman("synflow", 0)["value"].as_f64().is_some());

    // The report says the same again, from graphs built and from graphs kept.
    let report = folder.join("report.json");
    fs::write(&report, &outcome.stdout).unwrap();
    assert_eq!(run("json").stdout, outcome.stdout);
    let again =
        gennape(&["evaluate", "--report", report.to_str().unwrap(), "--format", "markdown"]);
    assert_eq!(again.succeeds().stdout, run("markdown").stdout);

    let svg = run("svg").stdout;
    assert_eq!(svg.matches("<circle").count(), 2 * 80);
    assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
}

#[test]
fn onnx_files_with_labels_are_ranked() {
    let folder = folder("evaluate_onnx");
    let labels = folder.join("labels.jsonl");
    let rows = [
        ("mobilenet_v3_large", 75.3),
        ("resnet18", 69.8),
        ("resnet50", 80.9),
        ("vit_b_16", 81.1),
        ("missing", 1.0),
    ];
    let line =
        |(name, top1): (&str, f64)| format!("{{\"onnx\":\"{name}.onnx\",\"top1\":{top1}}}\n");
    fs::write(&labels, rows.map(line).concat()).unwrap();
    let outcome = gennape(&[
        "evaluate",
        "--onnx-dir",
        "data/examples",
        "--labels",
        labels.to_str().unwrap(),
        "--cache",
        folder.to_str().unwrap(),
        "--format",
        "json",
    ])
    .fails();
    assert!(outcome.stderr.contains("missing.onnx"), "{}", outcome.stderr);
    let family = &outcome.json()["families"][0];
    assert_eq!((&family["networks"], &family["target"]), (&4.into(), &"top1".into()));
    // ViT-B/16 has the most parameters and the highest accuracy here, ResNet-18 fewer and the lowest.
    assert!(family["rankings"][1]["measures"][0]["value"].as_f64().unwrap() > 0.5, "{family}");
}

/// In the form that `scripts/convert_nasbench301.py` writes.
#[test]
fn a_converted_nasbench301_is_a_labelled_set() {
    let folder = folder("evaluate_nasbench301");
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let row = |i| format!("\"{}\",9{i}.5\n", darts::DartsNetwork::sample(&mut rng));
    let csv = "architecture,accuracy\n".to_string() + &(0..5).map(row).collect::<String>();
    let file = fs::File::create(folder.join("nasbench301.csv.gz")).unwrap();
    let mut zipped = GzEncoder::new(file, Compression::default());
    zipped.write_all(csv.as_bytes()).unwrap();
    zipped.finish().unwrap();
    let path = folder.to_str().unwrap();
    let arguments = ["evaluate", "--all", "--data", path, "--cache", path, "--format", "json"];
    let json = gennape(&arguments).succeeds().json();
    assert_eq!(json["families"].as_array().unwrap().len(), 1);
    let family = &json["families"][0];
    assert_eq!((&family["family"], &family["networks"]), (&"nasbench301".into(), &5.into()));
}

#[test]
fn what_can_not_be_evaluated_is_told() {
    let folder = folder("evaluate_errors");
    let labels = cells(&folder);
    let labels = labels.to_str().unwrap();
    for (arguments, message) in [
        (&["evaluate"][..], "required"),
        (&["evaluate", "--space", "nasbench201"], "--labels"),
        (&["evaluate", "--space", "nasbench201", "--labels", labels, "--target", "top5"], "top5"),
        (&["evaluate", "--all", "--data", folder.to_str().unwrap()], "holds no labelled set"),
        (&["evaluate", "--report", labels], "cells.csv"),
        (&["evaluate", "nasbench101", "--data", "missing", "--seeds", "3"], "--fine-tune"),
    ] {
        let outcome = gennape(arguments);
        assert!(outcome.stderr.contains(message), "{arguments:?}: {}", outcome.stderr);
    }
}

#[test]
fn what_was_left_out_is_part_of_the_model() {
    for (target, networks) in [("imagenet1k", 500), ("cifar10", 50), ("svhn", 50)] {
        let json =
            gennape(&["evaluate", "--left-out", target, "--format", "json"]).succeeds().json();
        let networks_of = json["networks"].as_array().unwrap();
        assert!(networks_of.len() > networks, "{target}: {}", networks_of.len());
        let column = |name: &str| -> Vec<f64> {
            networks_of.iter().map(|n| n[name].as_f64().unwrap()).collect()
        };
        let (measured, estimate) = (column("measured"), column("estimate"));
        // What the model says of itself is what its estimates come to; they are kept in hundredths.
        let told = json["evaluation"][0]["rankings"][0]["spearman"][0].as_f64().unwrap();
        let spearman = gennape::metrics::spearman(&measured, &estimate).unwrap();
        assert!((told - spearman).abs() < 5e-3, "{target}: {told} {spearman}");
        let covered = networks_of.iter().zip(&measured).filter(|(network, measured)| {
            let bound = |i: usize| network["interval"][i].as_f64().unwrap();
            bound(0) <= **measured && **measured <= bound(1)
        });
        assert!(covered.count() as f64 > 0.85 * measured.len() as f64);
    }
    let picture = gennape(&["evaluate", "--left-out", "imagenet1k", "--format", "svg"]).succeeds();
    assert!(picture.stdout.starts_with("<svg") && picture.stdout.matches("<circle").count() > 500);
}
