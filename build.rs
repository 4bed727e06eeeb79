//! Lets binaries and tests find libtorch at run time without `LD_LIBRARY_PATH`, says which code makes
//! graphs, for caches of them, and which commit a program was built from.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

/// What turns architectures and files into featurised graphs.
const GRAPH_SOURCES: [&str; 8] = [
    "src/encoder/features.rs",
    "src/encoder/store.rs",
    "src/graph",
    "src/lower",
    "src/model_graph",
    "src/onnx",
    "src/proxies",
    "src/spaces",
];

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    let mut hasher = DefaultHasher::new();
    for source in GRAPH_SOURCES {
        println!("cargo:rerun-if-changed={source}");
        hash(Path::new(source), &mut hasher)?;
    }
    println!("cargo:rustc-env=GENNAPE_GRAPH_SOURCES={:016x}", hasher.finish());
    println!("cargo:rustc-env=GENNAPE_VERSION={}", version());
    // Set by torch-sys, which only the feature `train` pulls in.
    if let Ok(lib) = env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
    }
    Ok(())
}

fn hash(path: &Path, hasher: &mut DefaultHasher) -> io::Result<()> {
    if path.is_dir() {
        let mut entries: Vec<PathBuf> =
            fs::read_dir(path)?.map(|e| Ok(e?.path())).collect::<io::Result<_>>()?;
        entries.sort();
        return entries.iter().try_for_each(|entry| hash(entry, hasher));
    }
    fs::read(path)?.hash(hasher);
    Ok(())
}

/// The package's version and, of what people install from a checkout, the commit. While developing, a new
/// commit is no reason to compile everything again.
fn version() -> String {
    let package = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    if env::var("PROFILE").as_deref() != Ok("release") {
        return package;
    }
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?.trim().to_string();
        (output.status.success() && !text.is_empty()).then_some(text)
    };
    // A packaged crate may lie inside somebody else's checkout.
    if !Path::new(".git").exists() {
        return package;
    }
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo:rerun-if-changed={log}");
    }
    match git(&["log", "-1", "--format=%h %cs"]) {
        Some(commit) => format!("{package} ({commit})"),
        None => package,
    }
}
