//! Searches that are killed and gone on with; `scripts/kill_searches.py` does so for longer.

use super::cli::{command, folder, gennape};
use super::search::algorithms;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Everything in a folder but the picture of the search, which is only for people.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = PathBuf::from(path.file_name().unwrap());
        if path.is_dir() {
            files.extend(content(&path).into_iter().map(|(file, text)| (name.join(file), text)));
        } else if name != Path::new("report.html") {
            files.insert(name, fs::read(path).unwrap());
        }
    }
    files
}

#[test]
fn a_killed_search_goes_on_to_the_same_result() {
    let folder = folder("kills");
    let (whole, part) = (folder.join("whole"), folder.join("part"));
    let text = |path: &Path| path.to_str().unwrap().to_string();
    let (mut share, mut killed) = (0, 0);
    for algorithm in &algorithms() {
        let search = |output: &Path| {
            let space = ["search", "--space", "nasbench_macro", "--algorithm", algorithm];
            let problem =
                ["--objective", "macs", "--objective", "parameters:max", "--budget", "12"];
            [&space[..], &problem, &["-o", &text(output)]].concat().join("\n")
        };
        let resume = ["search", "--resume", &text(&part)].join("\n");
        let began = Instant::now();
        let arguments = search(&whole);
        gennape(&arguments.split('\n').collect::<Vec<_>>()).succeeds();
        let longest = began.elapsed();
        for _ in 0..2 {
            let begun = part.join("search.json").exists();
            let arguments = if begun { resume.clone() } else { search(&part) };
            let arguments: Vec<&str> = arguments.split('\n').collect();
            let mut process = command(&arguments).spawn().unwrap();
            // At fourteen different moments.
            share = (share + 5) % 14;
            std::thread::sleep(longest * share / 14);
            process.kill().unwrap();
            killed += u32::from(!process.wait().unwrap().success());
        }
        let begun = part.join("search.json").exists();
        let arguments = if begun { resume } else { search(&part) };
        gennape(&arguments.split('\n').collect::<Vec<_>>()).succeeds();
        assert!(content(&part) == content(&whole), "{algorithm}");
        fs::remove_dir_all(&whole).unwrap();
        fs::remove_dir_all(&part).unwrap();
    }
    assert!(killed > 7, "{killed} of 14 were killed");
}

#[test]
fn a_history_that_was_changed_is_noticed_and_a_folder_is_one_searchs() {
    let folder = folder("changed");
    let text = |name: &str| folder.join(name).to_str().unwrap().to_string();
    let search = |name: &str, budget: &str| {
        let space = ["search", "--space", "nasbench_macro", "--algorithm", "random"];
        let problem = ["--objective", "macs", "--seed", if name == "other" { "1" } else { "0" }];
        gennape(&[&space[..], &problem, &["--budget", budget, "-o", &text(name)]].concat())
    };
    for name in ["mine", "other"] {
        search(name, "6").succeeds();
    }
    let resume = || gennape(&["search", "--resume", &text("mine"), "--budget", "8"]);
    let file = folder.join("mine").join("history.csv");
    let history = fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = history.split_inclusive('\n').collect();
    let number = lines[3].split(',').nth(1).unwrap();
    let other = fs::read_to_string(folder.join("other").join("history.csv")).unwrap();
    for (row, changed) in [
        (3, history.replace(number, "1")),
        (2, [&lines[..2], &lines[3..]].concat().concat()),
        (2, [&lines[..2], &[lines[3], lines[2]], &lines[4..]].concat().concat()),
        (1, other),
        (7, history.clone() + "11111111,5,0123456789abcdef\n"),
        (7, history.clone() + "11111111,5\n"),
        (4, history.replace(lines[4], "\u{0}\n")),
    ] {
        fs::write(&file, &changed).unwrap();
        let told = resume().fails().stderr;
        assert!(told.contains(&format!("row {row} is not as this search wrote it")), "{told}");
        assert_eq!(fs::read_to_string(&file).unwrap(), changed, "left as it was");
    }
    fs::write(&file, &history[..history.len() - 3]).unwrap();
    resume().succeeds();
    assert!(fs::read_to_string(&file).unwrap().starts_with(&history));

    // What the front's folder holds besides would be lost.
    let notes = folder.join("mine").join("front").join("notes.txt");
    fs::write(&notes, "mine").unwrap();
    assert!(resume().fails().stderr.contains("'notes.txt', which no search wrote"));
    fs::remove_file(&notes).unwrap();
    fs::create_dir_all(folder.join("new").join("front")).unwrap();
    let told = search("new", "6").fails().stderr;
    assert!(told.contains("holds 'front', which a search would replace"), "{told}");
    assert_eq!(fs::read_dir(folder.join("new")).unwrap().count(), 1);
}

#[test]
fn one_search_at_a_time_runs_in_a_folder_and_none_runs_commands_unasked() {
    let folder = folder("commands");
    let (out, ran) = (folder.join("it's out"), folder.join("ran"));
    let out = out.to_str().unwrap();
    let objective = format!("cmd:touch '{}'; sleep 1; echo 5", ran.display());
    let search =
        ["search", "--space", "nasbench_macro", "--budget", "2", "--objective", &objective];
    let mut process = command(&[&search[..], &["-o", out]].concat()).spawn().unwrap();
    let began = Instant::now();
    while !ran.exists() {
        assert!(began.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(5));
    }
    let resume = ["search", "--resume", out, "--allow-command"];
    let told = gennape(&resume).fails().stderr;
    assert!(told.contains(&format!("process {} on", process.id())), "{told}");
    process.wait().unwrap();

    fs::remove_file(&ran).unwrap();
    let told = gennape(&["search", "--resume", out, "--budget", "3"]).fails().stderr;
    assert!(told.contains("do you trust it? touch") && !ran.exists(), "{told}");
    let hint = told.lines().find_map(|l| l.split_once("gennape search ")).unwrap().1;
    let script = format!("{} search {hint} --budget 3", env!("CARGO_BIN_EXE_gennape"));
    let status = std::process::Command::new("sh").args(["-c", &script]).output().unwrap().status;
    assert!(status.success() && ran.exists(), "{told}");

    let endless = |command: &str, more: &[&str]| {
        let out = folder.join("endless");
        let search = ["search", "--space", "nasbench_macro", "--budget", "2", "--objective"];
        let told = gennape(&[&search[..], &[command, "-o", out.to_str().unwrap()], more].concat());
        fs::remove_dir_all(out).unwrap();
        told.fails().stderr
    };
    assert!(endless("cmd:yes", &[]).contains("prints more than"));
    let told = endless("cmd:sleep 1000", &["--command-timeout", "1"]);
    assert!(told.contains("takes longer than the 1 s of --command-timeout"), "{told}");
}

/// Ctrl-C at a terminal reaches the whole group of processes.
#[cfg(unix)]
#[test]
fn ctrl_c_keeps_what_is_found_by_a_command() {
    use std::os::unix::process::CommandExt;
    let folder = folder("ctrl_c");
    let (out, slow) = (folder.join("out"), folder.join("slow"));
    let objective = format!(
        "cmd:if [ -e '{0}' ]; then touch '{0}-now'; sleep 600; fi; wc -c < {{onnx}}",
        slow.display()
    );
    let search = ["search", "--space", "nasbench_macro", "--budget", "1000", "--objective"];
    let arguments = [&search[..], &[&objective, "-o", out.to_str().unwrap()]].concat();
    let mut search = command(&arguments);
    let process = search.process_group(0).spawn().unwrap();
    let until = |what: &str, condition: &dyn Fn() -> bool| {
        let began = Instant::now();
        while !condition() {
            assert!(began.elapsed() < Duration::from_secs(120), "{what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    let rows =
        || fs::read_to_string(out.join("history.csv")).map_or(0, |text| text.lines().count());
    until("a row", &|| rows() > 4);
    fs::write(&slow, "").unwrap();
    until("a slow command", &|| folder.join("slow-now").exists());
    let id = process.id();
    let interrupt = || {
        let group = format!("-{id}");
        let kill =
            std::process::Command::new("sh").args(["-c", "kill -INT \"$0\"", &group]).status();
        assert!(kill.unwrap().success());
    };
    interrupt();
    std::thread::sleep(Duration::from_millis(300));
    interrupt();
    let began = Instant::now();
    let output = process.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(began.elapsed() < Duration::from_secs(60));
    let front = fs::read_to_string(out.join("front.json")).unwrap();
    assert!(front.contains("\"stop\": \"interrupted\""), "{front}");
}
