//! How fast ONNX files become computation graphs: reading, shape inference and lowering of
//! `data/examples`, on one core.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gennape::lower::lower;
use gennape::onnx::{ReadOptions, read};
use std::hint::black_box;
use std::path::{Path, PathBuf};

fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/examples");
    let entries = folder.read_dir().expect("data/examples is part of the repository");
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "onnx"));
    files.sort();
    files
}

fn import(path: &Path) -> usize {
    let model = read(path, &ReadOptions::default()).expect("examples can be read");
    lower(&model).expect("examples can be lowered").len()
}

fn benchmark(c: &mut Criterion) {
    let files = examples();
    let mut group = c.benchmark_group("import");
    for path in &files {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        group.bench_function(name, |b| b.iter(|| black_box(import(path))));
    }
    group.throughput(Throughput::Elements(files.len() as u64));
    group.bench_function("all", |b| {
        b.iter(|| files.iter().map(|path| black_box(import(path))).sum::<usize>());
    });
    group.finish();
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
