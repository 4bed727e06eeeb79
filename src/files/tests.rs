use super::faults::{Plan, with};
use super::*;
use std::io::Write;
use std::path::PathBuf;
use tempfile::TempDir;

/// Names and contents of the files in a folder and those below.
fn content(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(content(&path)),
            false => files.push((path.clone(), fs::read(&path).unwrap())),
        }
    }
    files.sort();
    files
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Writes to a file that the user names.
fn output(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut out = Output::create(path)?;
    out.write_all(content)?;
    out.finish()
}

/// More than fits any buffer.
fn long(byte: u8) -> Vec<u8> {
    vec![byte; 200_000]
}

#[test]
fn a_file_is_old_or_new_whatever_fails() {
    let (old, new) = (long(b'o'), long(b'n'));
    for before in [None, Some(&old)] {
        let plans = (0..10).map(Plan::Step).chain((0..10).map(Plan::Kill));
        let full = [0, 1, 70_000, 199_999].map(Plan::Full);
        let (mut failures, mut successes) = (0, 0);
        for plan in plans.chain(full) {
            let folder = folder();
            let path = folder.path().join("file");
            if let Some(before) = before {
                fs::write(&path, before).unwrap();
            }
            let result = with(plan, || output(&path, &new));
            sweep(folder.path());
            let names: Vec<_> = content(folder.path()).into_iter().map(|(name, _)| name).collect();
            let now = fs::read(&path).ok();
            match result {
                Ok(()) => {
                    successes += 1;
                    assert!(!matches!(plan, Plan::Full(_)));
                    assert_eq!(now.as_ref(), Some(&new), "{plan:?}");
                }
                // The last step makes the name last; the file is there by then.
                Err(_) => {
                    failures += 1;
                    assert!(now.as_ref() == before || now.as_ref() == Some(&new), "{plan:?}");
                }
            }
            let expected = if now.is_some() { vec![path] } else { vec![] };
            assert_eq!(names, expected, "{plan:?} leaves something");
            if matches!(plan, Plan::Full(_)) {
                assert_eq!(now.as_ref(), before, "{plan:?}");
            }
        }
        assert!(failures >= 12 && successes >= 4, "{failures} {successes}");
    }
}

#[test]
fn a_folder_is_old_or_new_whatever_fails() {
    let fill = |path: &Path, byte: u8| -> io::Result<()> {
        let folder = OutputFolder::create(path)?;
        for name in ["a", "b"] {
            write(&folder.path().join(name), &long(byte))?;
        }
        folder.finish()
    };
    for before in [false, true] {
        let plans = (0..20).map(Plan::Step).chain((0..20).map(Plan::Kill));
        let (mut failures, mut successes) = (0, 0);
        for plan in plans.chain([Plan::Full(300_000)]) {
            let around = folder();
            let path = around.path().join("folder");
            if before {
                fill(&path, b'o').unwrap();
                fs::write(path.join("c"), "of the old one").unwrap();
            }
            let old = content(around.path());
            let result = with(plan, || fill(&path, b'n'));
            sweep(around.path());
            let new = vec![(path.join("a"), long(b'n')), (path.join("b"), long(b'n'))];
            let now = content(around.path());
            match result {
                Ok(()) => successes += 1,
                Err(_) => failures += 1,
            }
            assert!(now == new || result.is_err() && now == old, "{plan:?}: {now:?}");
            assert!(result.is_ok() || now != new || !matches!(plan, Plan::Full(_)));
        }
        assert!(failures >= 20 && successes >= 5, "{failures} {successes}");
    }
}

#[test]
fn a_folder_is_replaced_where_the_system_cannot_exchange_two() {
    let around = folder();
    let path = around.path().join("folder");
    let with_file = |folder: &Path, text: &str| {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("file"), text).unwrap();
    };
    let text = || fs::read_to_string(path.join("file")).unwrap();
    for kill in 0..3 {
        with_file(&path, "old");
        let new = around.path().join("new");
        with_file(&new, "new");
        let killed = with(Plan::Kill(kill), || folder::replace(&new, &path));
        assert_eq!(killed.is_ok(), kill == 2);
        // The next process to write there sets it right.
        drop(OutputFolder::create(&path).unwrap());
        assert_eq!(text(), if kill == 2 { "new" } else { "old" });
        let _ = fs::remove_dir_all(new);
        assert_eq!(content(around.path()).len(), 1);
    }
}

#[cfg(unix)]
#[test]
fn permissions_are_kept_and_protected_files_too() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let (plain, ours) = (folder.path().join("plain"), folder.path().join("ours"));
    File::create(&plain).unwrap();
    write(&ours, b"new").unwrap();
    assert_eq!(mode(&ours), mode(&plain));
    for other in [0o600, 0o640, 0o755] {
        fs::set_permissions(&ours, PermissionsExt::from_mode(other)).unwrap();
        write(&ours, b"replaced").unwrap();
        assert_eq!(mode(&ours), other);
    }
    let made = folder.path().join("made");
    OutputFolder::create(&made).unwrap().finish().unwrap();
    let usual = folder.path().join("usual");
    fs::create_dir(&usual).unwrap();
    assert_eq!(mode(&made), mode(&usual));
}

#[cfg(unix)]
#[test]
fn nothing_is_written_through_links_and_devices_stay() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("file"), "mine").unwrap();
    for (link, target) in [("link", at("file")), ("dangling", at("nowhere"))] {
        std::os::unix::fs::symlink(&target, at(link)).unwrap();
        let refused = output(&at(link), b"other").unwrap_err().to_string();
        assert!(refused.contains("symbolic link"), "{refused}");
        assert!(!at("nowhere").exists());
    }
    std::os::unix::fs::symlink("/dev/null", at("null")).unwrap();
    for device in [at("null"), PathBuf::from("/dev/null")] {
        output(&device, b"away").unwrap();
        assert!(!fs::metadata(device).unwrap().is_file());
    }
    let full = output(Path::new("/dev/full"), b"no room").unwrap_err();
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    assert!(Path::new("/dev/full").exists());
    for write in [write, output] {
        assert_eq!(write(folder.path(), b"").unwrap_err().kind(), ErrorKind::IsADirectory);
    }
    // Under a name of the program's own, a link or a pipe is no more than in the way.
    write(&at("null"), b"mine").unwrap();
    write(&at("dangling"), b"mine").unwrap();
    assert!(!at("nowhere").exists() && fs::symlink_metadata(at("dangling")).unwrap().is_file());
    assert_eq!(fs::read_to_string(at("file")).unwrap(), "mine");
    // A hard link to what is replaced keeps it.
    fs::hard_link(at("file"), at("other name")).unwrap();
    assert!(same(&at("file"), &at("other name")) && same(&at("file"), &at("link")));
    write(&at("file"), b"new").unwrap();
    assert_eq!(fs::read_to_string(at("other name")).unwrap(), "mine");
    assert!(!same(&at("file"), &at("other name")));
}

#[test]
fn a_new_file_replaces_none() {
    let folder = folder();
    let path = folder.path().join("file");
    let mut early = Output::create_new(&path).unwrap();
    early.write_all(b"late").unwrap();
    fs::write(&path, "first").unwrap();
    assert_eq!(early.finish().unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert!(Output::create_new(&path).is_err_and(|e| e.kind() == ErrorKind::AlreadyExists));
    assert_eq!(content(folder.path()), [(path, b"first".to_vec())]);
}

#[test]
fn what_others_are_writing_is_not_swept_away() {
    let folder = folder();
    let path = folder.path().join("file");
    let mut out = Output::create(&path).unwrap();
    let made = OutputFolder::create(&folder.path().join("folder")).unwrap();
    out.write_all(b"whole").unwrap();
    for (name, mine) in [(".a.gennape-partial", false), ("b.gennape-partial", true)] {
        fs::write(folder.path().join(name), "").unwrap();
        sweep(folder.path());
        assert_eq!(folder.path().join(name).exists(), mine);
    }
    out.finish().unwrap();
    made.finish().unwrap();
    assert_eq!(fs::read(path).unwrap(), b"whole");
}

#[test]
fn a_log_loses_no_line_but_the_last() {
    let lines: Vec<String> = (0..20).map(|i| format!("line {i} of many\n")).collect();
    let whole: String = lines.concat();
    let folder = folder();
    let path = folder.path().join("log");
    for room in 0..whole.len() {
        // With room for so many bytes; then killed, then more room.
        fs::write(&path, "").unwrap();
        for plan in [Plan::Full(room), Plan::Never] {
            let (mut log, known) = Log::open(&path, 1 << 20).unwrap();
            let known = String::from_utf8(known).unwrap();
            assert!(
                whole.starts_with(&known) && known.lines().count() == known.matches('\n').count()
            );
            assert!(plan != Plan::Never || known.len() + lines[0].len() + 2 > room);
            let rest = &lines[known.lines().count()..];
            let written = with(plan, || rest.iter().try_for_each(|l| log.append(l.as_bytes())));
            assert_eq!(written.is_err(), plan != Plan::Never);
            if room % 2 == 0 && plan != Plan::Never {
                // Killed before it could be cut.
                fs::write(&path, &whole[..room]).unwrap();
            }
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), whole);
    }
    assert!(Log::open(&path, 100).is_err());
}

#[test]
fn one_lock_at_a_time() {
    let folder = folder();
    let lock = Lock::inside(folder.path()).unwrap();
    let refused = Lock::inside(folder.path()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ResourceBusy);
    assert!(refused.to_string().contains(&std::process::id().to_string()), "{refused}");
    drop(lock);
    assert_eq!(content(folder.path()), []);
    // A dead process's file locks nobody out, and a link leads nowhere.
    fs::write(folder.path().join(".model.gennape-lock"), "process 1").unwrap();
    drop(Lock::beside(&folder.path().join("model")).unwrap());
    #[cfg(unix)]
    {
        fs::write(folder.path().join("mine"), "mine").unwrap();
        let link = folder.path().join(LOCK);
        std::os::unix::fs::symlink(folder.path().join("mine"), link).unwrap();
        assert!(Lock::inside(folder.path()).is_err());
        assert_eq!(fs::read_to_string(folder.path().join("mine")).unwrap(), "mine");
    }
}

#[cfg(unix)]
#[test]
fn reading_stops_at_the_limit_and_takes_files_alone() {
    let folder = folder();
    let path = folder.path().join("file");
    fs::write(&path, "12345").unwrap();
    assert_eq!(read(&path, 5).unwrap(), b"12345");
    assert_eq!(read(&path, 4).unwrap_err().kind(), ErrorKind::FileTooLarge);
    let pipe = folder.path().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    for odd in [pipe.as_path(), Path::new("/dev/zero"), folder.path()] {
        assert!(open(odd).is_err(), "{odd:?}");
    }
}
