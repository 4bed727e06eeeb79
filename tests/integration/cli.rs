//! The program as its users meet it: output streams, exit codes, formats, errors and hints.

use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const RESNET: &str = "data/examples/resnet18.onnx";
const VIT: &str = "data/examples/vit_b_16.onnx";
pub const CELL: &str = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+\
                    |skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|";

pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    #[track_caller]
    pub fn succeeds(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self
    }

    #[track_caller]
    pub fn fails(self) -> Self {
        assert_eq!(self.code, Some(1), "{}", self.stderr);
        assert!(self.stderr.contains("error: "), "{}", self.stderr);
        self
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap()
    }
}

pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gennape"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments).env_remove("GENNAPE_DATA");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub fn gennape(arguments: &[&str]) -> Outcome {
    gennape_reading(arguments, Vec::new())
}

fn gennape_reading(arguments: &[&str], input: Vec<u8>) -> Outcome {
    run(command(arguments), input)
}

/// The program in the folder `folder`.
pub fn gennape_in(folder: &Path, arguments: &[&str]) -> Outcome {
    let mut command = command(arguments);
    command.current_dir(folder);
    run(command, Vec::new())
}

fn run(mut command: Command, input: Vec<u8>) -> Outcome {
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    // The program may end without reading what it has no use for.
    let _ = writer.join();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Outcome { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// An empty folder for one test.
pub fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn predictions_follow_the_json_schema() {
    let outcome = gennape(&["predict", VIT, RESNET, "--format", "json"]).succeeds();
    assert_eq!(outcome.stderr, "");
    let json = outcome.json();
    assert_eq!(json["schema"], 2);
    assert!(json["model"].is_string());
    assert_eq!(json["errors"], Value::Array(vec![]));
    let results = json["results"].as_array().unwrap();
    let paths: Vec<&str> = results.iter().map(|r| r["path"].as_str().unwrap()).collect();
    assert_eq!(paths, [VIT, RESNET], "the order of the arguments");
    for result in results {
        let accuracy = result["accuracy"].as_f64().unwrap();
        let bounds: Vec<f64> =
            result["interval"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
        assert!(0.0 <= bounds[0] && bounds[0] <= accuracy);
        assert!(accuracy <= bounds[1] && bounds[1] <= 100.0);
        let distance = result["distance"].as_f64().unwrap();
        assert_eq!(result["in_distribution"].as_bool().unwrap(), distance <= 1.0);
        for count in ["parameters", "macs", "nodes", "rank"] {
            assert!(result[count].as_u64().unwrap() > 0);
        }
        assert_eq!(result["target"], "imagenet1k");
        assert_eq!(result["target_reason"], "images of 224x224");
        assert_eq!(result["unknown_operators"], 0);
        assert_eq!(result["fingerprint"].as_str().unwrap().len(), 32);
    }
}

#[test]
fn formats_agree() {
    let json = gennape(&["predict", RESNET, VIT, "--format", "json"]).succeeds().json();
    let csv = gennape(&["predict", RESNET, VIT, "--format", "csv"]).succeeds();
    let table = gennape(&["predict", RESNET, VIT]).succeeds();
    assert_eq!(table.stderr, "");
    let mut rows = csv::Reader::from_reader(csv.stdout.as_bytes());
    for (result, row) in json["results"].as_array().unwrap().iter().zip(rows.deserialize()) {
        let row: std::collections::HashMap<String, String> = row.unwrap();
        for name in ["accuracy", "rank", "distance", "macs", "in_distribution"] {
            assert_eq!(result[name].to_string(), row[name], "{name}");
        }
        assert_eq!(result["target"], row["target"].as_str());
        assert_eq!(result["interval"][1].to_string(), row["interval_high"]);
        let line = table.stdout.lines().find(|l| l.contains(&row["path"])).unwrap();
        let accuracy: f64 = row["accuracy"].parse().unwrap();
        let shown = match row["in_distribution"].as_str() {
            "true" => format!("{accuracy:.2} %"),
            _ => format!("about {accuracy:.0} %"),
        };
        assert!(line.contains(&shown), "{line}");
    }
    let ranks = table.stdout.lines().skip(1).map(|l| l.contains(RESNET)).collect::<Vec<_>>();
    assert_eq!(ranks[0], json["results"][0]["rank"] == 1, "a table is sorted by rank");
}

#[test]
fn a_file_that_fails_does_not_stop_the_others() {
    let folder = folder("partial");
    let broken = folder.join("broken.onnx");
    fs::write(&broken, "not a network").unwrap();
    let broken = broken.to_str().unwrap();
    let outcome = gennape(&["predict", broken, RESNET, "--format", "json"]).fails();
    assert!(outcome.stderr.contains(broken) && outcome.stderr.contains("not an ONNX file"));
    let json = outcome.json();
    assert_eq!(json["results"].as_array().unwrap().len(), 1);
    assert_eq!(json["errors"][0]["path"], broken);
    assert!(json["errors"][0]["error"].as_str().unwrap().contains("not an ONNX file"));

    let outcome = gennape(&["profile", broken]).fails();
    assert_eq!(outcome.stdout, "");
}

#[test]
pub fn folders_are_searched_in_order() {
    let folder = folder("search");
    fs::create_dir_all(folder.join("b/deep")).unwrap();
    for name in ["c.onnx", "b/deep/x.ONNX", "a.onnx"] {
        fs::copy(RESNET, folder.join(name)).unwrap();
    }
    fs::write(folder.join("notes.txt"), "").unwrap();
    let path = folder.to_str().unwrap();
    let json = gennape(&["profile", path, "--format", "json"]).succeeds().json();
    let found: Vec<_> = json["results"].as_array().unwrap().iter().map(|r| &r["path"]).collect();
    let expected = ["a.onnx", "b/deep/x.ONNX", "c.onnx"].map(|n| folder.join(n));
    assert_eq!(found, expected.each_ref().map(|p| p.to_str().unwrap()));
}

#[test]
fn a_folder_without_networks_is_an_error() {
    let folder = folder("empty");
    let outcome = gennape(&["predict", folder.to_str().unwrap()]).fails();
    assert!(outcome.stderr.contains("no .onnx files"), "{}", outcome.stderr);
    assert_eq!(outcome.stdout, "");
}

#[test]
fn standard_input_is_a_file_too() {
    let bytes = fs::read(RESNET).unwrap();
    let piped = gennape_reading(&["profile", "-", "--format", "json"], bytes).succeeds().json();
    let read = gennape(&["profile", RESNET, "--format", "json"]).succeeds().json();
    assert_eq!(piped["results"][0]["fingerprint"], read["results"][0]["fingerprint"]);
    assert_eq!(piped["results"][0]["path"], "-");
    gennape(&["profile", "-", "-"]).fails();
}

#[test]
fn profile_adds_up() {
    let json = gennape(&["profile", RESNET, "--format", "json"]).succeeds().json();
    let network = &json["results"][0];
    let operations = network["operations"].as_array().unwrap();
    assert_eq!(operations.len() as u64, network["nodes"].as_u64().unwrap());
    for total in ["parameters", "macs"] {
        let sum: u64 = operations.iter().map(|o| o[total].as_u64().unwrap()).sum();
        assert_eq!(sum, network[total].as_u64().unwrap());
    }
    let csv = gennape(&["profile", RESNET, "--format", "csv"]).succeeds();
    assert_eq!(csv.stdout.lines().count(), operations.len() + 1);
    let table = gennape(&["profile", RESNET]).succeeds();
    assert!(table.stdout.contains("conv") && table.stdout.contains("7x7 /2"));
    assert!(table.stdout.contains("11.7 M"));
}

#[test]
fn drawings_hold_every_operation() {
    let nodes =
        gennape(&["profile", RESNET, "--format", "csv"]).succeeds().stdout.lines().count() - 1;
    let svg = gennape(&["profile", RESNET, "--format", "svg"]).succeeds().stdout;
    assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
    assert_eq!(svg.matches("<title>").count(), nodes);
    let dot = gennape(&["profile", RESNET, "--format", "dot"]).succeeds().stdout;
    assert_eq!(dot.matches("shape=box").count(), nodes);
    gennape(&["profile", RESNET, VIT, "--format", "svg"]).fails();
}

#[test]
fn an_exported_cell_is_read_back() {
    let folder = folder("export");
    let fingerprint = |extra: &[&str], name: &str| {
        let file = folder.join(name);
        let file = file.to_str().unwrap();
        let arguments = [&["export", "nasbench201", CELL, "-o", file], extra].concat();
        let outcome = gennape(&arguments).succeeds();
        assert_eq!(outcome.stdout, "");
        let json = gennape(&["profile", file, "--format", "json"]).succeeds().json();
        (fs::read(file).unwrap(), json["results"][0]["fingerprint"].clone())
    };
    let (weights, with) = fingerprint(&[], "with.onnx");
    let (other, _) = fingerprint(&["--seed", "1"], "other.onnx");
    let (stripped, without) = fingerprint(&["--stripped"], "without.onnx");
    assert_eq!(with, without);
    assert!(stripped.len() * 10 < weights.len());
    assert_ne!(weights, other);
    let piped = command(&["export", "nasbench201", CELL, "-o", "-"]).output().unwrap();
    assert_eq!(piped.stdout, weights);
}

#[test]
fn a_network_is_shrunk_to_what_its_space_offers() {
    let folder = folder("shrink");
    let (whole, small) = (folder.join("whole.onnx"), folder.join("small.onnx"));
    let (whole, small) = (whole.to_str().unwrap(), small.to_str().unwrap());
    gennape(&["export", "nasbench201", CELL, "-o", whole]).succeeds();
    let drawing = folder.join("space.svg");
    let space = gennape(&["space", whole, "--format", "json", "--svg", drawing.to_str().unwrap()]);
    let space = space.succeeds().json();
    assert_eq!(space["schema"], 1);
    assert!(space["smallest"]["macs"].as_u64() < space["whole"]["macs"].as_u64());
    assert!(fs::read_to_string(&drawing).unwrap().contains(">c1<"));
    let text = "-b1,c0=1/2";
    let report =
        gennape(&["shrink", whole, "--keep", text, "-o", small, "--format", "json"]).succeeds();
    let report = report.json();
    assert_eq!(report["text"], "c0=1/2,-b1");
    assert_eq!((report["weights"].as_bool(), report["exact"].as_bool()), (Some(true), Some(true)));
    let profile = gennape(&["profile", small, "--format", "json"]).succeeds().json();
    assert_eq!(profile["results"][0]["parameters"], report["parameters"]);
    assert!(report["macs"].as_u64() < space["whole"]["macs"].as_u64());

    let wrong = gennape(&["shrink", whole, "--keep", "c0=5", "-o", small]).fails();
    assert!(wrong.stderr.contains("hint: gennape space"), "{}", wrong.stderr);
    // The network that is read must not be emptied first.
    gennape(&["shrink", whole, "--keep", "whole", "-o", whole]).fails();
    gennape(&["profile", whole]).succeeds();
}

#[test]
fn samples_are_what_is_printed() {
    let folder = folder("samples");
    let folder = folder.to_str().unwrap();
    let sampled = gennape(&["export", "hiaml", "--sample", "2", "-o", folder]).succeeds().stdout;
    assert_eq!(sampled.lines().count(), 2);
    for line in sampled.lines() {
        let (path, architecture) = line.split_once('\t').unwrap();
        let alone = command(&["export", "hiaml", architecture, "-o", "-"]).output().unwrap();
        assert_eq!(fs::read(path).unwrap(), alone.stdout, "{line}");
    }
}

#[test]
fn wrong_arguments_say_what_is_right() {
    for (arguments, expected) in [
        (&["export", "nasbench", "x", "-o", "x"][..], "nasbench101, nasbench201"),
        (&["export", "nasbench201", "|x|", "-o", "x"], "'|x|' is not a nasbench201 architecture"),
        (&["predict", RESNET, "--model", "missing"], "hint: "),
        (&["predict", RESNET, "--input-shape", "1x3"], "NAME=1x3x224x224"),
        (&["evaluate", "nasbench101", "--data", "missing"], "hint: "),
        (&["predict"], "Usage:"),
        (&["search", "nasbench_macro", "-o", "x"], "hint: --space nasbench_macro"),
        (&["search", "my net.onnx", "-o", "x"], "hint: --from 'my net.onnx'"),
        (&["predict", "missing.onnx"], "missing.onnx: "),
    ] {
        let outcome = gennape(arguments).fails();
        assert!(outcome.stderr.contains(expected), "{arguments:?}: {}", outcome.stderr);
        assert_eq!(outcome.stdout, "");
    }
    let help = gennape(&["--help"]).succeeds();
    assert!(help.stdout.contains("predict") && help.stderr.is_empty());
}

#[cfg(not(feature = "train"))]
#[test]
fn training_is_explained_where_it_is_missing() {
    let prune =
        ["prune", RESNET, "--images", ".", "--keep-macs", "0.5", "--what", "both", "-o", "x"];
    for arguments in [&["train", "nasbench101", "-o", "x"][..], &prune, &["ablate", "nasbench101"]]
    {
        let outcome = gennape(arguments).fails();
        let hint = format!("--features train -- {}", arguments[0]);
        assert!(outcome.stderr.contains(&hint), "{}", outcome.stderr);
    }
}

/// A language model has no accuracy on ImageNet.
#[test]
fn a_target_that_is_but_a_stand_in_is_said_to_be_one() {
    let told = |arguments: &[&str]| gennape(arguments).succeeds().stderr;
    let bert = "data/examples/bert_6x384.onnx";
    let note = told(&["predict", RESNET, bert]);
    assert!(note.contains("bert_6x384.onnx: its input is no image"), "{note}");
    assert!(!told(&["predict", RESNET]).contains("stand-in"));
    assert!(!told(&["predict", bert, "--target", "imagenet1k"]).contains("stand-in"));
}

#[cfg(feature = "train")]
#[test]
fn no_network_is_written_onto_the_images() {
    let folder = folder("onto_images");
    let images = folder.join("images.npz");
    fs::copy("tests/fixtures/images/keras.npz", &images).unwrap();
    let (path, before) = (images.to_str().unwrap(), fs::read(&images).unwrap());
    let common = [RESNET, "--images", path, "-o", path];
    let prune = ["prune", "--what", "channels", "--keep-macs", "0.5"];
    for command in [&prune[..], &["supernet", "train"]] {
        let outcome = gennape(&[command, &common].concat()).fails();
        assert!(outcome.stderr.contains("which is read"), "{}", outcome.stderr);
    }
    assert_eq!(fs::read(&images).unwrap(), before);
}

/// Whoever wonders whether to build with libtorch can read what that would give.
#[test]
fn the_help_of_training_needs_no_libtorch() {
    for arguments in [&["train"][..], &["prune"], &["supernet", "train"], &["supernet", "search"]] {
        let help = gennape(&[arguments, &["--help"]].concat()).succeeds().stdout;
        assert!(help.contains("--seed"), "{help}");
        assert_eq!(help.contains("--features train"), cfg!(not(feature = "train")), "{help}");
    }
    assert!(gennape(&["ablate", "--help"]).succeeds().stdout.contains("--seeds"));
}

/// A report of another version is not taken for no report at all.
#[test]
fn the_schema_of_a_report_that_can_not_be_read_is_told() {
    let folder = folder("report_schema");
    for (name, field) in [("ablation", "agreement"), ("ablation-real", "rank_of_best")] {
        let report = format!("models/{name}.json");
        gennape(&["ablate", "--report", &report]).succeeds();
        let earlier = fs::read_to_string(report).unwrap().replace(field, "earlier");
        let path = folder.join(name);
        fs::write(&path, earlier).unwrap();
        let told = gennape(&["ablate", "--report", path.to_str().unwrap()]).fails().stderr;
        assert!(told.contains("schema is 2") && told.contains("hint: "), "{told}");
    }
}

#[test]
fn a_check_fails_where_a_constraint_does_not_hold() {
    const DENSENET: &str = "data/examples/densenet121.onnx";
    let check = |path: &str, constraints: &[&str]| {
        let constraints = constraints.iter().flat_map(|c| ["--constraint", *c]);
        let mut arguments = vec!["check", path, "--format", "json"];
        arguments.extend(constraints);
        gennape(&arguments)
    };
    let times = |measure: &str, sign: &str, factor: &str, path: &str| {
        format!("{measure}{sign}{factor}x {path}")
    };
    // A network is as large and as good as itself, and as other commands say.
    let own: Vec<String> = ["macs", "parameters", "accuracy", "latency=rtx4090", "depth"]
        .iter()
        .flat_map(|m| ["<=", ">="].map(|sign| times(m, sign, "1", RESNET)))
        .collect();
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let json = check(RESNET, &own).succeeds().json();
    let results = json["results"].as_array().unwrap();
    assert_eq!(results.len(), 10);
    assert!(results.iter().all(|r| r["holds"] == true && r["value"] == r["bound"]), "{json}");
    let profile = gennape(&["profile", RESNET, "--format", "json"]).succeeds().json();
    assert_eq!(results[0]["value"].as_f64(), profile["results"][0]["macs"].as_f64());
    let predict = gennape(&["predict", RESNET, "--format", "json"]).succeeds().json();
    let accuracy = predict["results"][0]["accuracy"].as_f64().unwrap();
    assert!((results[4]["value"].as_f64().unwrap() - accuracy).abs() < 1e-4);

    // What does not hold is told with everything else, and by the exit code.
    let constraints = [times("macs", "<=", "0.99", RESNET), times("macs", "<=", "1", DENSENET)];
    let outcome = check(RESNET, &constraints.each_ref().map(String::as_str)).fails();
    assert!(outcome.stderr.contains("1 of 2 constraints do not hold"), "{}", outcome.stderr);
    let json = outcome.json();
    assert_eq!(
        (&json["results"][0]["holds"], &json["results"][1]["holds"]),
        (&false.into(), &true.into())
    );

    // Accuracies on different data sets are not compared.
    let cell = "data/examples/nasbench201_best.onnx";
    let constraint = times("accuracy", ">=", "1", cell);
    let outcome = check(RESNET, &[&constraint]).fails();
    assert!(outcome.stderr.contains("imagenet1k") && outcome.stderr.contains("--target cifar10"));
    let asked = ["check", RESNET, "--target", "cifar10", "--constraint", &constraint];
    gennape(&asked).succeeds();
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    // More than a pipe holds.
    let arguments = ["profile", "data/examples/densenet121.onnx", "--format", "svg"];
    let mut child = command(&arguments).spawn().unwrap();
    let mut first = [0; 4];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn names_cannot_control_the_terminal() {
    let outcome = gennape(&["profile", "\u{1b}[31m.onnx"]).fails();
    assert!(!outcome.stderr.contains('\u{1b}'));
}

#[test]
fn networks_are_listed_in_files_and_on_standard_input() {
    let folder = folder("lists");
    let path = |name: &str| folder.join(name).to_str().unwrap().to_string();
    let json = |arguments: &[&str], stdin: &str| -> Value {
        let mut child = command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let results = |json: Value| json["results"].as_array().unwrap().clone();

    let listed = results(json(
        &["predict", "--from-file", "-", "--format", "json"],
        &format!("{RESNET}\r\n\n  {VIT}\n"),
    ));
    let named = results(json(&["predict", RESNET, VIT, "--format", "json"], ""));
    assert_eq!(listed, named);

    // An architecture's text stands for the file that it is written as.
    let cell = path("cell.onnx");
    gennape(&["export", "nasbench201", CELL, "-o", &cell]).succeeds();
    fs::write(path("cells.txt"), format!("{CELL}\n{CELL}\n")).unwrap();
    let space = ["--space", "nasbench201", "--architectures", &path("cells.txt")];
    let texts = results(json(&[&["predict", "--format", "json"], &space[..]].concat(), ""));
    let file = results(json(&["predict", &cell, "--one-family", "--format", "json"], ""));
    assert_eq!(texts.len(), 2);
    for field in ["accuracy", "interval", "fingerprint", "distance", "target"] {
        assert_eq!(texts[0][field], file[0][field], "{field}");
        assert_eq!(texts[1][field], file[0][field], "{field}");
    }
    assert_eq!(texts[0]["path"], CELL);

    fs::write(path("wrong.txt"), format!("{CELL}\n|nothing|\n")).unwrap();
    let wrong = path("wrong.txt");
    let one = gennape(&["predict", "--space", "nasbench201", "--architectures", &wrong]).fails();
    assert!(one.stderr.contains("|nothing|") && one.stdout.contains(CELL), "{}", one.stderr);
    fs::write(path("empty.txt"), "\n").unwrap();
    let empty = gennape(&["profile", "--from-file", &path("empty.txt")]).fails();
    assert!(empty.stderr.contains("no line"), "{}", empty.stderr);
    assert!(gennape(&["predict"]).stderr.contains("required"));
    // A space says nothing of files.
    let both = gennape(&["predict", RESNET, "--space", "nasbench201"]).fails();
    assert!(both.stderr.contains("--space"), "{}", both.stderr);
}

#[test]
fn a_search_that_finds_nothing_says_so_with_its_exit_code() {
    let out = folder("infeasible").join("out");
    let out = out.to_str().unwrap();
    let constraint = ["--constraint", "parameters<=1", "--budget", "5", "-o", out];
    let outcome = gennape(&[&["search", "--space", "nasbench_macro"], &constraint[..]].concat());
    assert!(outcome.fails().stderr.contains("no network keeps all constraints"));
}

#[test]
fn a_profile_is_a_page_and_a_table_to_paste() {
    let page = gennape(&["profile", RESNET, "--format", "html"]).succeeds().stdout;
    // Sums by module: the parameters of all convolutions of the last stage, batch normalisation folded.
    let of_layer4 = 4 * 512 * 512 * 9 - 256 * 512 * 9 + 512 * 256 + 5 * 512;
    assert!(page.contains(&format!("<data value=\"{of_layer4}\">")), "{of_layer4}");
    assert!(page.contains("<td class=\"text\">layer4</td>") && page.ends_with("</html>\n"));
    assert_eq!(page.matches("http").count(), page.matches("xmlns=\"http").count());
    assert!(page.matches("<tr>").count() > 49 && page.contains("<svg"));
    let two = gennape(&["profile", RESNET, VIT, "--format", "markdown"]).succeeds().stdout;
    let lines: Vec<&str> = two.lines().collect();
    assert!(lines.len() == 4 && lines.iter().all(|line| line.matches('|').count() == 7), "{two}");
    gennape(&["profile", RESNET, VIT, "--format", "html"]).fails();
}
