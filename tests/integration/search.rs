//! `gennape search` on spaces small enough to know what is best.

use super::cli::{CELL, folder, gennape};
use gennape::lower::lower;
use gennape::onnx;
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// The names of all algorithms, as the program's own schema has them.
pub fn algorithms() -> Vec<String> {
    let schema = gennape(&["schema", "search"]).succeeds().json();
    let names = schema["$defs"]["AlgorithmName"]["oneOf"].as_array().unwrap();
    names.iter().map(|name| name["const"].as_str().unwrap().to_string()).collect()
}

/// A search of NAS-Bench-Macro that finds networks deep and cheap.
fn search(output: &str, more: &[&str]) -> Value {
    let common = ["search", "--space", "nasbench_macro", "-o", output, "--format", "json"];
    gennape(&[&common[..], more].concat()).succeeds().json()
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_string()
}

#[test]
fn every_network_of_the_front_exists_as_a_file() {
    let folder = folder("search");
    let out = folder.join("out");
    let more = ["--budget", "150", "--constraint", "parameters<=1.5M", "--seed", "3"];
    let report = search(&text(&out), &more);
    assert_eq!((&report["schema"], &report["evaluated"]), (&2.into(), &150.into()));
    assert_eq!(report["stop"], "budget");
    let file: Value = serde_json::from_slice(&fs::read(out.join("front.json")).unwrap()).unwrap();
    assert_eq!(file, report);
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    let front = report["front"].as_array().unwrap();
    assert!(front.len() > 3);
    let number = |member: &Value, name: &str| member["measures"][name].as_f64().unwrap();
    for pair in front.windows(2) {
        for name in ["accuracy", "macs"] {
            assert!(number(&pair[0], name) > number(&pair[1], name), "{pair:?}");
        }
    }
    for member in front {
        let path = out.join(member["onnx"].as_str().unwrap());
        let graph = lower(&onnx::read(&path, &Default::default()).unwrap()).unwrap();
        assert_eq!(member["fingerprint"], graph.fingerprint().to_string());
        assert_eq!(number(member, "macs"), graph.macs() as f64);
        assert_eq!(number(member, "parameters"), graph.parameters() as f64);
        assert!(graph.parameters() <= 1_500_000);
        assert!(page.contains(member["architecture"].as_str().unwrap()));
    }
    // Nothing is loaded from elsewhere.
    assert_eq!(page.matches("http").count(), page.matches("xmlns=\"http").count());
}

#[test]
fn an_interrupted_search_goes_on_to_the_same_result() {
    let folder = folder("resume");
    let (whole, part) = (folder.join("whole"), folder.join("part"));
    for algorithm in &algorithms() {
        let common = ["--algorithm", algorithm, "--start", "22222222"];
        let problem =
            ["--objective", "accuracy", "--objective", "parameters", "--constraint", "macs<=100M"];
        let with = |budget: &'static str| [&common[..], &problem, &["--budget", budget]].concat();
        let report = search(&text(&whole), &with("80"));
        search(&text(&part), &with("9"));
        let resume = ["search", "--resume", &text(&part), "--budget", "80", "--format", "json"];
        // As if power had failed in the middle of a line.
        let history = fs::read_to_string(part.join("history.csv")).unwrap();
        fs::write(part.join("history.csv"), history + "0000").unwrap();
        assert_eq!(gennape(&resume).succeeds().json(), report, "{algorithm}");
        let history = |folder: &Path| fs::read(folder.join("history.csv")).unwrap();
        assert_eq!(history(&part), history(&whole), "{algorithm}");
        fs::remove_dir_all(&whole).unwrap();
        fs::remove_dir_all(&part).unwrap();
    }
}

#[test]
fn measures_come_from_commands_and_tables() {
    let folder = folder("measures");
    // The file grows with the parameters, four bytes each.
    let size = "cmd:wc -c < {onnx}";
    let more = ["--budget", "12", "--objective", size, "--objective", "parameters:max"];
    let report = search(&text(&folder.join("size")), &more);
    for member in report["front"].as_array().unwrap() {
        let bytes = member["measures"][size].as_f64().unwrap();
        let weights = 4.0 * member["measures"]["parameters"].as_f64().unwrap();
        assert!((weights..1.3 * weights + 2e4).contains(&bytes), "{member}");
    }

    let network = text(&folder.join("network.onnx"));
    gennape(&["export", "nasbench_macro", "22222222", "-o", &network]).succeeds();
    let profile = gennape(&["profile", "--format", "csv", &network]).succeeds().stdout;
    let mut table = csv::Reader::from_reader(profile.as_bytes());
    let mut latencies =
        table.headers().unwrap().iter().collect::<Vec<_>>().join(",") + ",latency\n";
    for row in table.records() {
        let row = row.unwrap();
        // In milliseconds, of convolutions alone.
        if row[1].contains("conv") {
            latencies += &(row.iter().collect::<Vec<_>>().join(",") + ",0.5\n");
        }
    }
    let convolutions = latencies.lines().count() - 1;
    let path = folder.join("latencies.csv");
    fs::write(&path, latencies).unwrap();
    let objective = format!("latency={}", path.display());
    let more = ["--budget", "1", "--start", "22222222", "--objective", &objective];
    let report = search(&text(&folder.join("latency")), &more);
    assert_eq!(report["front"][0]["measures"][&objective], 0.5 * convolutions as f64);
    // Of the other networks the table lacks operations.
    let output = text(&folder.join("missing"));
    let common = ["search", "--space", "nasbench_macro", "-o", &output];
    let missing = gennape(&[&common[..], &["--objective", &objective]].concat()).fails().stderr;
    assert!(missing.contains("the table has no latency of"), "{missing}");
}

#[test]
fn what_cannot_be_searched_is_said_before_anything_is_written() {
    let folder = folder("wrong");
    let output = text(&folder.join("out"));
    let common = ["search", "--space", "nasbench_macro", "-o", &output, "--budget", "5"];
    let with = |more: &[&str]| gennape(&[&common[..], more].concat()).fails().stderr;
    for (more, message) in [
        (["--objective", "speed:max"], "there is no measure 'speed'"),
        (["--constraint", "macs<1M"], "is not like 'parameters<=1.0M'"),
        (["--start", "33333333"], "'33333333' is not a nasbench_macro architecture"),
        (["--objective", "latency=nowhere.csv"], "nowhere.csv"),
    ] {
        let told = with(&more);
        assert!(told.contains(message), "{told}");
        assert!(!Path::new(&output).exists(), "{told}");
    }
    let many: Vec<String> = (0..33).map(|n| format!("--constraint=macs<={n}M")).collect();
    let told = with(&many.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(told.contains("more than 32 objectives and constraints"), "{told}");
    assert!(!Path::new(&output).exists(), "{told}");
    let output_of_policy = text(&folder.join("policy"));
    let policy = ["search", "--space", "two_path", "--algorithm", "policy-gradient", "-o"];
    let told = gennape(&[&policy[..], &[&output_of_policy]].concat()).fails().stderr;
    assert!(told.contains("fixed number of decisions"), "{told}");
    assert!(!Path::new(&output_of_policy).exists(), "{told}");
    let told = with(&["--objective", "cmd:exit 7"]);
    assert!(told.contains("exit status: 7"), "{told}");
    fs::remove_dir_all(&output).unwrap();
    search(&output, &["--budget", "5"]);
    assert!(with(&[]).contains("--resume"));
    let nowhere = gennape(&["search", "--resume", &text(&folder)]).fails().stderr;
    assert!(nowhere.contains("search.json"), "{nowhere}");
}

#[test]
fn the_sub_networks_of_a_file_are_searched_and_keep_its_weights() {
    let folder = folder("from");
    let network = text(&folder.join("network.onnx"));
    gennape(&["export", "nasbench201", CELL, "-o", &network, "--seed", "5"]).succeeds();
    let out = folder.join("out");
    let search = ["search", "--from", &network, "-o", &text(&out), "--format", "json"];
    let problem = ["--objective", "accuracy", "--objective", "macs", "--budget", "40"];
    let report = gennape(&[&search[..], &problem].concat()).succeeds().json();
    let front = report["front"].as_array().unwrap();
    assert!(front.len() > 2);
    let whole = fs::metadata(&network).unwrap().len();
    for member in front {
        let path = out.join(member["onnx"].as_str().unwrap());
        let graph = lower(&onnx::read(&path, &Default::default()).unwrap()).unwrap();
        assert_eq!(member["fingerprint"], graph.fingerprint().to_string());
        assert!(fs::metadata(&path).unwrap().len() <= whole + 1000);
        // What `shrink` writes is the same file.
        let again = folder.join("again.onnx");
        let keep = member["architecture"].as_str().unwrap();
        gennape(&["shrink", &network, "--keep", keep, "-o", &text(&again)]).succeeds();
        assert_eq!(fs::read(&again).unwrap(), fs::read(&path).unwrap());
    }
    let resumed = gennape(&["search", "--resume", &text(&out), "--format", "json"]).succeeds();
    assert_eq!(resumed.json(), report);
    // Another network under the same name.
    gennape(&["export", "nasbench_macro", "00000000", "-o", &network]).succeeds();
    let told = gennape(&["search", "--resume", &text(&out)]).fails().stderr;
    assert!(told.contains("is not the network that the search began with"), "{told}");
}

/// The numbers of a member's estimate: accuracy, lower and upper end, distance.
fn estimate(member: &Value) -> [f64; 4] {
    let estimate = &member["estimate"];
    let ends = &estimate["interval"];
    [&estimate["accuracy"], &ends[0], &ends[1], &estimate["distance"]].map(|x| x.as_f64().unwrap())
}

/// The rows of a search's history, by the names of the columns.
fn history(folder: &Path) -> Vec<HashMap<String, String>> {
    let mut table = csv::Reader::from_path(folder.join("history.csv")).unwrap();
    table.deserialize().collect::<Result<_, _>>().unwrap()
}

const ALL_SKIP: &str = "|skip_connect~0|+|skip_connect~0|skip_connect~1|+|skip_connect~0|skip_connect~1|skip_connect~2|";
const IDENTITY: &str = "|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|";

/// Of the default's models the page names the one that spoke.
#[test]
fn a_page_names_the_model_of_its_networks() {
    let out = folder("spoken").join("out");
    gennape(&["search", "--space", "ofa_resnet50", "--budget", "4", "-o", &text(&out)]).succeeds();
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("gennape-imagenet") && !page.contains("gennape-cifar10"));
}

#[test]
fn a_front_says_how_sure_its_estimates_are_and_whose() {
    let folder = folder("sure");
    let out = folder.join("out");
    let common = ["search", "--space", "nasbench201", "-o", &text(&out), "--format", "json"];
    let report = gennape(&[&common[..], &["--budget", "40"]].concat()).succeeds().json();
    assert_eq!(report["estimates"]["target"], "cifar10");
    let front = report["front"].as_array().unwrap();
    for voice in report["estimates"]["voices"].as_array().unwrap() {
        assert_eq!(voice["model"], "gennape-cifar10");
        assert!((1..=front.len() as u64).contains(&voice["networks"].as_u64().unwrap()), "{voice}");
    }
    for member in front {
        let [accuracy, low, high, distance] = estimate(member);
        assert!(low < accuracy && accuracy < high, "{member}");
        assert_eq!(member["estimate"]["in_distribution"], distance <= 1.0);
        // `predict` says the same of the file.
        let path = text(&out.join(member["onnx"].as_str().unwrap()));
        let said = gennape(&["predict", "--one-family", "--format", "json", &path]).json();
        let said = &said["results"][0];
        let same = |a: f64, b: &Value| (a - b.as_f64().unwrap()).abs() < 1e-3;
        let ends = &said["interval"];
        assert!(same(accuracy, &said["accuracy"]) && same(distance, &said["distance"]), "{said}");
        assert!(same(low, &ends[0]) && same(high, &ends[1]), "{member} {said}");
        let asked: Vec<&String> = member["measures"].as_object().unwrap().keys().collect();
        assert_eq!(asked, ["accuracy", "macs"]);
    }
    // What is printed and the page have it too.
    let table = gennape(&["search", "--resume", &text(&out)]).succeeds().stdout;
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    for said in ["expected", "90 % interval", "inside", "estimates of cifar10, by gennape-cifar10"]
    {
        assert!(table.contains(said) && page.contains(said), "{said}: {table}");
    }
    let [accuracy, low, high, _] = estimate(&front[0]);
    for cell in [format!("{accuracy:.2} %"), format!("{low:.1} – {high:.1}")] {
        assert!(table.contains(&cell) && page.contains(&cell), "{cell}: {table}");
    }
    // And the history, of all networks that were estimated.
    for row in history(&out) {
        let [low, mean, high, distance] =
            ["accuracy-low", "accuracy-mean", "accuracy-high", "distance"]
                .map(|column| row[column].parse::<f64>().unwrap_or(f64::NAN));
        // Those that can but guess are not.
        let estimated = low <= mean && mean <= high && distance >= 0.0;
        assert!(estimated || row["accuracy"].is_empty(), "{row:?}");
    }
}

#[test]
fn what_is_foreign_is_searched_by_the_worse_end_of_its_interval() {
    let folder = folder("foreign");
    let foreign = |name: &str, objective: &str| {
        let out = folder.join(name);
        let more =
            ["--model", "gennape-nb101", "--objective", objective, "--objective", "parameters"];
        (search(&text(&out), &[&more[..], &["--budget", "30"]].concat()), out)
    };
    for (objective, measure, end) in [
        ("accuracy", "accuracy", 1),
        ("accuracy:min", "accuracy", 2),
        ("accuracy-low", "accuracy-low", 1),
        ("accuracy-mean", "accuracy-mean", 0),
    ] {
        let (report, out) = foreign(&objective.replace(':', "-"), objective);
        for member in report["front"].as_array().unwrap() {
            let estimate = estimate(member);
            // All of its nodes' kinds would have to be in NAS-Bench-101.
            assert!(estimate[3] >= 2.0, "{member}");
            assert!((member["measures"][measure].as_f64().unwrap() - estimate[end]).abs() < 1e-9);
        }
        let table = gennape(&["search", "--resume", &text(&out)]).succeeds().stdout;
        for said in ["about ", " outside", "are unlike what the model was made from"] {
            assert!(table.contains(said), "{said}: {table}");
        }
        assert!(!table.contains("inside"), "{table}");
    }
    // Without an estimate among the measures nothing is said of any.
    let out = folder.join("costs");
    let report = search(&text(&out), &["--objective", "depth:max", "--budget", "10"]);
    assert!(report["estimates"].is_null() && report["front"][0]["estimate"].is_null());
    let header = fs::read_to_string(out.join("history.csv")).unwrap();
    assert!(header.starts_with("architecture,depth,check"), "{header}");
}

/// A cell that sums its input up and has nothing to learn: 54.3 % on CIFAR-10, when it was trained.
#[test]
fn a_cell_that_learns_nothing_is_on_no_front_for_what_nobody_vouches_for() {
    let folder = folder("unlearned");
    for (model, more) in [("gennape-cifar10", "macs"), ("gennape-nb101", "parameters")] {
        let out = folder.join(model);
        let common = ["search", "--space", "nasbench201", "--format", "json", "-o", &text(&out)];
        let more = ["--model", model, "--objective", "accuracy", "--objective", more];
        let start = ["--start", ALL_SKIP, "--start", IDENTITY, "--budget", "2"];
        let report = gennape(&[&common[..], &more, &start].concat()).succeeds().json();
        let rows = history(&out);
        let [skips, identity] = [ALL_SKIP, IDENTITY].map(|cell| {
            let row = rows.iter().find(|row| row["architecture"] == cell).unwrap();
            |column: &str| row[column].parse::<f64>().unwrap()
        });
        // The two cost the same.
        assert_eq!(skips("accuracy"), skips("accuracy-low"), "{model}");
        assert!(skips("accuracy") < 70.0 && skips("distance") > 2.0, "{model}");
        assert!(skips("accuracy") < identity("accuracy"), "{model}");
        let front = report["front"].as_array().unwrap();
        assert_eq!(front.len(), 1, "{model}");
        assert_eq!(front[0]["architecture"], IDENTITY, "{model}");
    }
}

#[test]
fn only_networks_inside_can_be_asked_for() {
    let folder = folder("inside");
    let more = ["--constraint", "distance<=1", "--budget", "20"];
    let report = search(&text(&folder.join("out")), &more);
    let front = report["front"].as_array().unwrap();
    assert!(!front.is_empty() && front.iter().all(|m| m["estimate"]["in_distribution"] == true));
}

#[test]
fn a_search_whose_measures_meant_something_else_does_not_go_on() {
    let folder = folder("older");
    let out = folder.join("out");
    search(&text(&out), &["--budget", "5"]);
    let path = out.join("search.json");
    let settings = fs::read_to_string(&path).unwrap();
    fs::write(&path, settings.replacen("\"schema\": 3", "\"schema\": 2", 1)).unwrap();
    let told = gennape(&["search", "--resume", &text(&out)]).fails().stderr;
    assert!(told.contains("schema 2, expected 3") && told.contains("hint: "), "{told}");
}
