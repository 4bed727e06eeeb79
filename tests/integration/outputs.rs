//! Files that commands write: never onto what they read, whole or not at all.

use super::cli::{CELL, command, folder, gennape};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_string()
}

/// A network in a folder of its own.
fn network(folder: &Path) -> PathBuf {
    let network = folder.join("network.onnx");
    gennape(&["export", "nasbench201", CELL, "-o", &text(&network)]).succeeds();
    network
}

/// Names and contents of all files in a folder.
fn content(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.map(|path| (path.clone(), fs::read(&path).unwrap())).collect();
    files.sort();
    files
}

#[cfg(unix)]
#[test]
fn no_command_writes_onto_what_it_reads() {
    let folder = folder("onto");
    let network = text(&network(&folder));
    let at = |name: &str| text(&folder.join(name));
    std::os::unix::fs::symlink("network.onnx", at("link.onnx")).unwrap();
    fs::hard_link(&network, at("hard.onnx")).unwrap();
    let before = content(&folder);
    let dotted = format!("{}/./network.onnx", text(&folder));
    for name in [&network, &dotted, &at("link.onnx"), &at("hard.onnx")] {
        let shrink = gennape(&["shrink", &network, "--keep", "c0=1/2", "-o", name]).fails();
        let space = gennape(&["space", &network, "--svg", name]).fails();
        for told in [shrink.stderr, space.stderr] {
            assert!(told.contains("which is read"), "{told}");
        }
        assert!(content(&folder) == before, "{name}");
    }
    // The rows that an import reads.
    let records = at("records.tfrecord");
    fs::copy("tests/fixtures/nasbench101/two_runs.tfrecord", &records).unwrap();
    let import = ["data", "import", "nasbench101", &records, "-o", &records];
    assert!(gennape(&import).fails().stderr.contains("is there already"));
}

#[cfg(unix)]
#[test]
fn what_was_there_stays_when_writing_fails() {
    let folder = folder("stays");
    let network = text(&network(&folder));
    let old = folder.join("old.onnx");
    fs::write(&old, "of some value").unwrap();
    fs::create_dir(folder.join("data")).unwrap();
    std::os::unix::fs::symlink("old.onnx", folder.join("link.onnx")).unwrap();
    // No file may grow beyond 2 blocks of 512 or 1024 bytes.
    let full = |arguments: &[&str]| {
        let script = "trap '' XFSZ; ulimit -f 2; exec \"$0\" \"$@\"";
        let mut shell = std::process::Command::new("sh");
        shell.arg("-c").arg(script).arg(env!("CARGO_BIN_EXE_gennape")).args(arguments);
        let output = shell.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains("File too large"), "{told}");
    };
    let names = || fs::read_dir(&folder).unwrap().count();
    let before = names();
    for output in ["old.onnx", "new.onnx"] {
        let output = text(&folder.join(output));
        full(&["shrink", &network, "--keep", "c0=1/2", "-o", &output]);
        full(&["export", "nasbench201", CELL, "-o", &output]);
        full(&["space", &network, "--svg", &output]);
    }
    let told = ["shrink", &network, "--keep", "c0=1/2", "-o", &text(&folder.join("link.onnx"))];
    let told = gennape(&told).fails().stderr;
    assert!(told.contains("this is a symbolic link to old.onnx"), "{told}");
    assert_eq!(fs::read_to_string(&old).unwrap(), "of some value");
    assert_eq!(names(), before, "something is left");

    // A process that is killed leaves a file that the next one deletes.
    fs::write(folder.join(".Ab12Cd.gennape-partial"), "half").unwrap();
    gennape(&["shrink", &network, "--keep", "c0=1/2", "-o", &text(&old)]).succeeds();
    assert_eq!(names(), before);
    assert!(fs::read(&old).unwrap().len() > 1000);
}

#[cfg(unix)]
#[test]
fn devices_and_pipes_are_written_to_and_stay() {
    let folder = folder("devices");
    let network = text(&network(&folder));
    let shrink = |output: &str| {
        let arguments = ["shrink", &network, "--keep", "c0=1/2", "-o", output, "--format", "json"];
        command(&arguments)
    };
    let file = folder.join("small.onnx");
    assert!(shrink(&text(&file)).stdout(Stdio::null()).status().unwrap().success());
    let expected = fs::read(&file).unwrap();
    assert!(shrink("/dev/null").status().unwrap().success());
    let full = shrink("/dev/full").output().unwrap();
    assert_eq!(full.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&full.stderr).contains("/dev/full: "));
    for device in ["/dev/null", "/dev/full"] {
        assert!(!fs::metadata(device).unwrap().is_file());
    }
    // Into a pipe, and into a file that the shell has opened.
    let piped = command(&["export", "nasbench201", CELL, "-o", "/dev/stdout"]).output().unwrap();
    assert!(piped.stdout == fs::read(&network).unwrap());
    let script = format!(
        "\"$0\" shrink {network} --keep c0=1/2 -o /dev/fd/3 3> {}",
        text(&folder.join("fd"))
    );
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &script, env!("CARGO_BIN_EXE_gennape")]);
    assert!(shell.stderr(Stdio::null()).status().unwrap().success());
    assert!(fs::read(folder.join("fd")).unwrap() == expected);
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_are_not_read_as_files() {
    let folder = folder("odd_inputs");
    let at = |name: &str| folder.join(name);
    let odd = |path: &Path, kind: &str| {
        let _ = fs::remove_file(path);
        match kind {
            "pipe" => {
                let made = std::process::Command::new("mkfifo").arg(path).status().unwrap();
                assert!(made.success());
            }
            _ => std::os::unix::fs::symlink("/dev/zero", path).unwrap(),
        }
    };
    let cell = text(&network(&folder));
    let model = at("model");
    fs::create_dir(&model).unwrap();
    let labels = text(&at("labels.csv"));
    for kind in ["pipe", "device"] {
        for (wrong, right) in
            [("manifest.json", "weights.safetensors"), ("weights.safetensors", "manifest.json")]
        {
            let _ = fs::remove_file(model.join(right));
            fs::copy(format!("models/gennape-nb101/{right}"), model.join(right)).unwrap();
            odd(&model.join(wrong), kind);
            let told = gennape(&["predict", &cell, "--model", &text(&model)]).fails().stderr;
            assert!(told.contains(wrong) && told.contains("a file is expected"), "{told}");
        }
        odd(Path::new(&labels), kind);
        let finetune = ["finetune", "--labels", &labels, "--space", "nasbench201"];
        let told = gennape(&[&finetune[..], &["-o", &text(&at("new"))]].concat()).fails().stderr;
        assert!(told.contains("labels.csv") && told.contains("a file is expected"), "{told}");
        let table = format!("latency={labels}");
        let search = ["search", "--space", "nasbench_macro", "--objective", &table];
        let told = gennape(&[&search[..], &["-o", &text(&at("new"))]].concat()).fails().stderr;
        assert!(told.contains("a file is expected"), "{told}");
        let told = gennape(&["evaluate", "--report", &labels]).fails().stderr;
        assert!(told.contains("a file is expected"), "{told}");
        let data = at("data");
        fs::create_dir_all(&data).unwrap();
        odd(&data.join("nasbench_macro.csv.gz"), kind);
        let list = gennape(&["data", "list", "--data", &text(&data)]).succeeds().stdout;
        assert!(list.contains("a file is expected"), "{list}");
    }
    // A manifest of any length.
    let _ = fs::remove_file(model.join("manifest.json"));
    fs::File::create(model.join("manifest.json")).unwrap().set_len(1 << 40).unwrap();
    let told = gennape(&["predict", &cell, "--model", &text(&model)]).fails().stderr;
    assert!(told.contains("holds more than"), "{told}");
}

#[cfg(unix)]
#[test]
fn what_a_cache_holds_is_checked_and_written_anew() {
    let folder = folder("odd_cache");
    let cache = folder.join("cache");
    let labels = folder.join("labels.csv");
    let row = |i: usize| {
        let operation = ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"];
        let at = |place: u32| operation[i / 5usize.pow(place) % 5];
        format!(
            "|{}~0|+|{}~0|none~1|+|nor_conv_3x3~0|skip_connect~1|nor_conv_3x3~2|,{i}\n",
            at(0),
            at(1)
        )
    };
    let rows: String = (0..25).map(row).collect();
    fs::write(&labels, format!("architecture,top1\n{rows}")).unwrap();
    let evaluate = || {
        let evaluate = ["evaluate", "--space", "nasbench201", "--labels", labels.to_str().unwrap()];
        let more = ["--cache", cache.to_str().unwrap(), "--format", "json"];
        gennape(&[&evaluate[..], &more].concat()).succeeds()
    };
    let report = evaluate().stdout;
    let file = fs::read_dir(&cache).unwrap().next().unwrap().unwrap().path();
    let whole = fs::read(&file).unwrap();
    for foreign in [&b"of somebody else"[..], &[0; 1 << 16], &whole[..whole.len() - 1], b""] {
        fs::write(&file, foreign).unwrap();
        assert_eq!(evaluate().stdout, report);
        assert!(fs::read(&file).unwrap() == whole, "written anew");
    }
    for kind in ["/dev/zero", "pipe"] {
        fs::remove_file(&file).unwrap();
        if kind == "pipe" {
            assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
        } else {
            std::os::unix::fs::symlink(kind, &file).unwrap();
        }
        assert_eq!(evaluate().stdout, report);
        assert!(fs::read(&file).unwrap() == whole, "written anew");
    }
    assert_eq!(fs::read_dir(&cache).unwrap().count(), 1);
}
