//! `gennape finetune` on labels of the user's own.

use super::cli::{folder, gennape};
use gennape::spaces::Architecture;
use gennape::spaces::nasbench201::{Cell, Operation};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// A file of random cells that are the better the more three-by-three convolutions they have.
fn labels(folder: &Path, name: &str, count: usize, seed: u64) -> String {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut csv = "architecture,top1,same\n".to_string();
    for _ in 0..count {
        let cell = Cell::sample(&mut rng);
        let convolutions =
            cell.operations().iter().filter(|o| **o == Operation::NorConv3x3).count();
        let top1 = 0.5 + 0.05 * convolutions as f64 + rng.gen_range(-0.01..0.01);
        csv += &format!("{cell},{top1:.4},7\n");
    }
    let path = folder.join(name);
    fs::write(&path, csv).unwrap();
    path.to_str().unwrap().to_string()
}

/// The arguments of a run on `labels` in `folder`, with more of them.
fn arguments<'a>(
    labels: &'a str,
    cache: &'a str,
    output: &'a str,
    more: &[&'a str],
) -> Vec<&'a str> {
    let common =
        ["finetune", "--space", "nasbench201", "--labels", labels, "--cache", cache, "-o", output];
    [&common, more].concat()
}

#[test]
fn a_model_learns_labels_and_answers_like_any_other() {
    let folder = folder("finetune");
    let path = |name: &str| folder.join(name).to_str().unwrap().to_string();
    let (cache, model) = (path("cache"), path("my-model"));
    let train = labels(&folder, "train.csv", 60, 1);
    let base = ["--model", "gennape-nb101", "--target", "top1", "--seed", "1"];
    let json = [&base[..], &["--format", "json"]].concat();
    let outcome = gennape(&arguments(&train, &cache, &model, &json)).succeeds();
    let report = outcome.json();
    assert_eq!((&report["schema"], &report["model"]), (&1.into(), &"my-model".into()));
    let tuning = &report["fine_tuning"];
    assert_eq!((&tuning["target"], &tuning["kept"]), (&"top1".into(), &"adapted".into()));
    assert_eq!((&tuning["base"], &tuning["fitted"]), (&"gennape-nb101".into(), &60.into()));
    let tau = |part: &str| tuning["metrics"][part]["kendall"]["value"].as_f64().unwrap();
    assert!(tau("after") > tau("before"), "{tuning}");
    assert_eq!(report["candidates"].as_array().unwrap().len(), 2);

    // Again, into the same folder: the same files, and a table for people.
    let file = |name: &str| fs::read(folder.join("my-model").join(name)).unwrap();
    let before = (file("manifest.json"), file("weights.safetensors"));
    let again = gennape(&arguments(&train, &cache, &model, &base)).fails().stderr;
    assert!(again.contains("hint: --overwrite"), "{again}");
    let overwrite = [&base[..], &["--overwrite"]].concat();
    let table = gennape(&arguments(&train, &cache, &model, &overwrite)).succeeds();
    assert_eq!(fs::read_dir(folder.join("my-model")).unwrap().count(), 2);
    assert!(before == (file("manifest.json"), file("weights.safetensors")));
    for text in
        ["top1: 60 labels, each predicted from the others", "gennape-nb101, adapted", "kept"]
    {
        assert!(table.stdout.contains(text), "{}", table.stdout);
    }
    let manifest: Value = serde_json::from_slice(&before.0).unwrap();
    assert_eq!(manifest["fine_tuning"], *tuning);
    let command = manifest["command"].as_str().unwrap();
    assert!(command.starts_with("gennape finetune --labels ") && command.contains("--target top1"));

    // On other cells; the model counts their kind as known.
    let test = labels(&folder, "test.csv", 100, 2);
    let evaluate = |model: &str| {
        let evaluate = ["evaluate", "--space", "nasbench201", "--labels", &test, "--target"];
        let more = ["top1", "--cache", &cache, "--model", model, "--format", "json"];
        gennape(&[&evaluate[..], &more].concat()).succeeds().json()["families"][0].clone()
    };
    let spearman = |family: &Value| family["rankings"][0]["measures"][0]["value"].as_f64().unwrap();
    let (old, new) = (evaluate("gennape-nb101"), evaluate(&model));
    assert!(spearman(&new) > 0.7 && spearman(&new) > spearman(&old), "{new}");
    assert!(new["coverage"].as_f64().unwrap() > 0.75, "{new}");
    let cell = "data/examples/nasbench201_best.onnx";
    let answer = |extra: &[&str]| {
        gennape(&[&["predict", cell, "--model", &model], extra].concat()).succeeds()
    };
    let predicted = answer(&["--format", "json"]).json();
    let result = &predicted["results"][0];
    assert_eq!(predicted["model"], "my-model");
    assert_eq!(result["in_distribution"], true, "{result}");
    assert!((0.5..1.0).contains(&result["accuracy"].as_f64().unwrap()), "{result}");
    let table = answer(&[]).stdout;
    assert!(table.contains("top1") && !table.contains("accuracy"), "in the labels' unit: {table}");
    let embedding = |model: &str| gennape(&["embed", cell, "--model", model]).succeeds().stdout;
    assert_eq!(embedding(&model), embedding("gennape-nb101"));
}

#[test]
fn labels_that_can_not_be_learnt_are_told() {
    let folder = folder("finetune_errors");
    let path = |name: &str| folder.join(name).to_str().unwrap().to_string();
    let (cache, model) = (path("cache"), path("model"));
    let (good, few) = (labels(&folder, "good.csv", 30, 3), labels(&folder, "few.csv", 8, 3));
    // One architecture is not many, however often it stands there.
    let cell = "|none~0|+|none~0|none~1|+|none~0|none~1|nor_conv_3x3~2|";
    let rows: String = (0..40).map(|i| format!("{cell},{i},7\n")).collect();
    let repeated = path("repeated.csv");
    fs::write(&repeated, format!("architecture,top1,same\n{rows}")).unwrap();
    for (labels, more, expected) in [
        (&good, &["--target", "top5"][..], "no column 'top5'"),
        (&good, &[], "hint: name the target: top1, same"),
        (&good, &["--target", "same"], "no finite spread"),
        (&few, &["--target", "top1"], "at least 10 are needed\nhint: "),
        (&repeated, &["--target", "top1"], "labels of 1 different architectures are too few"),
        (&good, &["--target", "top1", "--model", "missing"], "no model 'missing'"),
    ] {
        let outcome = gennape(&arguments(labels, &cache, &model, more)).fails();
        assert!(outcome.stderr.contains(expected), "{more:?}: {}", outcome.stderr);
        assert_eq!(outcome.stdout, "");
        assert!(!folder.join("model").exists());
    }
    let from = |base: &str, to: &str| {
        let more = ["--target", "top1", "--model", base];
        gennape(&arguments(&good, &cache, to, &more))
    };
    let base = "models/gennape-nb101";
    let onto = from(base, "models/../models/gennape-nb101/").fails().stderr;
    assert!(onto.contains("which is read"), "{onto}");
    let notes = folder.join("model").join("notes.txt");
    fs::create_dir(&model).unwrap();
    fs::write(&notes, "mine").unwrap();
    let more = ["--target", "top1", "--overwrite"];
    let kept = gennape(&arguments(&good, &cache, &model, &more)).fails().stderr;
    assert!(kept.contains("'notes.txt', which is no part of a model"), "{kept}");
    fs::remove_file(&notes).unwrap();
    from(base, &model).succeeds();
    // Nothing but the folders that were asked for.
    let hidden = |entry: std::io::Result<fs::DirEntry>| {
        entry.unwrap().file_name().to_string_lossy().starts_with('.')
    };
    assert!(!fs::read_dir(&folder).unwrap().any(hidden));
    let again = from(&model, &path("again")).fails();
    assert!(again.stderr.contains("hint: start from 'gennape-nb101'"), "{}", again.stderr);
}
