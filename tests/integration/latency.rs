//! Latencies: `predict --target latency-…`, `finetune --latency`, and searches by them.

use super::cli::{folder, gennape};
use gennape::graph::ComputationGraph;
use gennape::lower::lower;
use gennape::spaces::nasbench_macro::MacroNetwork;
use gennape::spaces::{Architecture, Space};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use std::fs;
use std::path::Path;

const TARGETS: [&str; 2] = ["latency-i7-12700h", "latency-rtx4090"];

fn example(name: &str) -> String {
    format!("data/examples/{name}.onnx")
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_string()
}

fn results(arguments: &[&str]) -> Vec<Value> {
    let json = gennape(&[arguments, &["--format", "json"]].concat()).succeeds().json();
    json["results"].as_array().unwrap().clone()
}

fn latency(result: &Value) -> f64 {
    result["latency"].as_f64().unwrap()
}

/// What timm measured of these: milliseconds on the processor, and on the graphics processor.
#[test]
fn well_known_networks_take_what_was_measured() {
    for (name, measured) in [
        ("resnet50", [32.8, 0.237]),
        ("convnext_tiny", [37.6, 0.209]),
        ("efficientnet_b0", [10.7, 0.112]),
    ] {
        for (target, measured) in TARGETS.iter().zip(measured) {
            let [result] = &results(&["predict", &example(name), "--target", target])[..] else {
                panic!("{name}")
            };
            assert!((0.7..1.4).contains(&(latency(result) / measured)), "{name}: {result}");
            let interval = [0, 1].map(|i| result["interval"][i].as_f64().unwrap());
            assert!(interval[0] < latency(result) && latency(result) < interval[1]);
            assert_eq!((&result["target"], &result["unit"]), (&(*target).into(), &"ms".into()));
            assert_eq!(result["in_distribution"], true, "{result}");
        }
    }
}

#[test]
fn an_answer_names_unit_device_batch_and_where_the_time_goes() {
    let names = ["resnet50", "resnet18", "vit_b_16"].map(example);
    let ask = ["predict", &names[0], &names[1], &names[2], "--target", "latency-rtx4090"];
    let with = |more: &[&str]| gennape(&[&ask[..], more].concat()).succeeds();
    let json = with(&["--format", "json", "--explain"]).json();
    assert_eq!((&json["schema"], &json["model"]), (&2.into(), &"latency-rtx4090".into()));
    assert_eq!(json["device"]["batch"], 1024);
    let ranks: Vec<u64> =
        json["results"].as_array().unwrap().iter().map(|r| r["rank"].as_u64().unwrap()).collect();
    assert_eq!(ranks, [2, 1, 3], "the fastest comes first");
    for result in json["results"].as_array().unwrap() {
        let parts = result["parts"].as_array().unwrap().iter();
        let sum: f64 = parts.map(|part| part[1].as_f64().unwrap()).sum();
        assert!((sum / latency(result) - 1.0).abs() < 1e-3, "{result}");
    }
    let table = with(&["--explain"]).stdout;
    for told in ["milliseconds for one input", "up to 1024", "RTX 4090", "inside", "%, "] {
        assert!(table.contains(told), "{told}: {table}");
    }
    let csv = with(&["--format", "csv"]).stdout;
    assert!(csv.starts_with("path,target,latency,unit,interval_low"), "{csv}");
    assert!(csv.lines().count() == 4 && csv.contains(",latency-rtx4090,"), "{csv}");
    // What is said of one does not depend on the others.
    let alone = &results(&["predict", &names[1], "--target", "latency-rtx4090"])[0];
    assert_eq!(alone["latency"], json["results"][1]["latency"]);
}

/// Nothing vouches for what small images take where none were measured.
#[test]
fn images_of_other_sizes_are_outside() {
    let (cell, large) = (example("nasbench201_best"), example("resnet50"));
    for target in ["latency-rtx4090", "latency-i7-12700h"] {
        let found = results(&["predict", &cell, &large, "--target", target]);
        let inside = |i: usize| found[i]["in_distribution"].as_bool().unwrap();
        assert!(!inside(0) && inside(1), "{found:?}");
        let told = gennape(&["predict", &cell, "--target", target]).stderr;
        assert!(told.contains("images are far from"), "{told}");
    }
}

#[test]
fn what_does_not_go_with_latencies_is_refused() {
    let network = example("resnet18");
    for (arguments, told) in [
        (&["predict", "--recipe", "plain"][..], "are about accuracies\nhint: leave them out"),
        (&["predict", "--neighbours", "3"], "are about accuracies\nhint: leave them out"),
        (&["predict", "--model", "gennape-nb101"], "hint: leave one of"),
        (&["compare", &network], "hint: `gennape predict --target latency-rtx4090 FILE FILE`"),
    ] {
        let more = [network.as_str(), "--target", "latency-rtx4090"];
        let stderr = gennape(&[arguments, &more].concat()).fails().stderr;
        assert!(stderr.contains(told), "{stderr}");
    }
}

/// Networks, and a device that takes so long for a MAC, an operation, an element.
fn measured(folder: &Path, count: usize) -> String {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut csv = "architecture,ms\n".to_string();
    for _ in 0..count {
        let network = MacroNetwork::sample(&mut rng);
        csv += &format!("{network},{}\n", device(&lower(&network.build()).unwrap()));
    }
    let path = folder.join(format!("{count}.csv"));
    fs::write(&path, csv).unwrap();
    text(&path)
}

fn device(graph: &ComputationGraph) -> f64 {
    let elements: u64 = graph.nodes().map(|node| node.output.elements()).sum();
    2e-8 * graph.macs() as f64 + 0.01 * graph.len() as f64 + 3e-7 * elements as f64
}

#[test]
fn a_device_of_ones_own_is_fitted_asked_and_searched_by() {
    let folder = folder("own_device");
    let (table, few) = (measured(&folder, 130), measured(&folder, 60));
    let model = text(&folder.join("phone"));
    let fit = ["finetune", "--space", "nasbench_macro", "--latency"];
    let with =
        |table: &str, more: &[&str]| gennape(&[&fit[..], &[table, "-o", &model], more].concat());
    let told = with(&few, &[]).fails().stderr;
    assert!(told.contains("networks are too few; at least 100"), "{told}");
    assert!(told.contains("hint: measure 100 networks or more"), "{told}");
    let report = with(&table, &["--format", "json"]).succeeds().json();
    let [own, macs, ..] = report["agreement"]["rankings"].as_array().unwrap().as_slice() else {
        panic!("{report}")
    };
    let within = |ranking: &Value| ranking["within_tenth"][0].as_f64().unwrap();
    assert_eq!(macs["estimated_by"], "MACs");
    assert!(within(own) > 0.95 && within(own) > within(macs), "{report}");
    let number = |ranking: &Value, name: &str| ranking[name].as_f64().unwrap();
    assert_eq!(number(own, "rank_of_fastest"), 1.0);
    assert!(number(own, "fastest_tenth") > 0.9, "{own}");
    // Larger is slower, but of networks of about the same MACs they tell less.
    let of_macs = number(macs, "at_equal_macs");
    assert!(of_macs < macs["spearman"][0].as_f64().unwrap(), "{macs}");
    assert!(number(own, "at_equal_macs") > of_macs.max(0.9), "{own} {macs}");
    assert!(with(&table, &[]).fails().stderr.contains("hint: --overwrite"));

    let network = text(&folder.join("network.onnx"));
    gennape(&["export", "nasbench_macro", "21012012", "-o", &network]).succeeds();
    let [answer] = &results(&["predict", &network, "--model", &model])[..] else { panic!() };
    let truth = device(&lower(&Space::NasBenchMacro.build("21012012").unwrap()).unwrap());
    assert!((latency(answer) / truth - 1.0).abs() < 0.05, "{answer} {truth}");
    // Another kind of network has operations that were not measured.
    let [foreign] = &results(&["predict", &example("vit_b_16"), "--model", &model])[..] else {
        panic!()
    };
    assert_eq!(foreign["in_distribution"], false);
    let [low, high] = [0, 1].map(|i| foreign["interval"][i].as_f64().unwrap());
    assert!(high > 50.0 * low, "{foreign}");
    let unknown = foreign["unknown_operations"].as_array().unwrap();
    assert!(unknown.contains(&"softmax".into()), "{foreign}");

    // It is no model of accuracies.
    for command in [&["embed", &network][..], &["compare", &network, &network]] {
        let told = gennape(&[command, &["--model", &model]].concat()).fails().stderr;
        assert!(told.contains("is a model of latencies\nhint: gennape predict"), "{told}");
    }
    // Nor one of a later version.
    let manifest = fs::read_to_string(folder.join("phone/manifest.json")).unwrap();
    let broken = folder.join("broken");
    fs::create_dir(&broken).unwrap();
    for (old, new) in
        [("\"schema\": 2", "\"schema\": 9"), ("\"half_width\": ", "\"half_width\": -")]
    {
        assert!(manifest.contains(old));
        fs::write(broken.join("manifest.json"), manifest.replace(old, new)).unwrap();
        let told = gennape(&["predict", &network, "--model", &text(&broken)]).fails().stderr;
        assert!(told.contains("manifest: "), "{told}");
    }

    let objective = format!("latency={model}");
    let search = |from: &[&str], output: &str, objective: &str, limit: &str| {
        let output = text(&folder.join(output));
        let more = ["--objective", objective, "--constraint", limit, "--budget", "20", "-o"];
        let json = [output.as_str(), "--format", "json"];
        gennape(&[&["search"][..], from, &more, &json].concat()).succeeds().json()
    };
    let limit = format!("{objective}<={}", 0.9 * truth);
    let space = ["--space", "nasbench_macro", "--objective", "accuracy"];
    let report = search(&space, "found", &objective, &limit);
    let front = report["front"].as_array().unwrap();
    assert!(!front.is_empty());
    for member in front {
        let architecture = member["architecture"].as_str().unwrap();
        let graph = lower(&Space::NasBenchMacro.build(architecture).unwrap()).unwrap();
        let estimate = member["measures"][&objective].as_f64().unwrap();
        assert!(estimate <= 0.9 * truth, "{member}");
        assert!((estimate / device(&graph) - 1.0).abs() < 0.1, "{member}");
    }
    let resnet = example("resnet18");
    let whole = latency(&results(&["predict", &resnet, "--target", TARGETS[1]])[0]);
    let limit = format!("latency=rtx4090<={}", 0.8 * whole);
    let report = search(&["--from", &resnet], "sub", "parameters:max", &limit);
    for member in report["front"].as_array().unwrap() {
        let estimate = member["measures"]["latency=rtx4090"].as_f64().unwrap();
        assert!(estimate <= 0.8 * whole, "{member}");
        let latency = &member["latencies"]["latency=rtx4090"];
        assert_eq!(latency["in_distribution"], true, "{member}");
        assert_eq!(latency["latency"], estimate);
    }
    // No network of images so small was measured: a search goes by what they may take at worst.
    let report = search(&space, "foreign", "latency=rtx4090", "parameters>=0");
    for member in report["front"].as_array().unwrap() {
        let latency = &member["latencies"]["latency=rtx4090"];
        assert_eq!(latency["in_distribution"], false, "{member}");
        assert_eq!(latency["interval"][1], member["measures"]["latency=rtx4090"]);
        assert!(latency["latency"].as_f64() < latency["interval"][1].as_f64());
    }
    let html = fs::read_to_string(folder.join("foreign/report.html")).unwrap();
    assert!(html.contains("are unlike those that were measured"));
}

#[test]
fn latencies_that_are_none_are_told() {
    let folder = folder("wrong_latencies");
    let table = measured(&folder, 110);
    let rows = fs::read_to_string(&table).unwrap();
    let wrong = folder.join("wrong.csv");
    let first = rows.lines().nth(1).unwrap();
    let architecture = first.split(',').next().unwrap();
    fs::write(&wrong, rows.replace(first, &format!("{architecture},0"))).unwrap();
    let (wrong, output) = (text(&wrong), text(&folder.join("model")));
    let fit = ["finetune", "--space", "nasbench_macro", "-o", &output, "--latency", &wrong];
    let told = gennape(&fit).fails().stderr;
    assert!(told.contains("a latency of 0 is not possible\nhint: give milliseconds"), "{told}");
    let both = [&fit[..], &["--labels", &wrong]].concat();
    assert!(gennape(&both).fails().stderr.contains("cannot be used with"));
    assert!(!Path::new(&output).exists());
}
