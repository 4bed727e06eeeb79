//! Lets binaries and tests find libtorch at run time without `LD_LIBRARY_PATH`, and says which code
//! makes graphs, for caches of them.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
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
