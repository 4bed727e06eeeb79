//! Building, embedding and estimating NAS-Bench-101 networks on one core, and what the arithmetic takes.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gennape::encoder::GraphFeatures;
use gennape::estimator::Estimator;
use gennape::graph::ComputationGraph;
use gennape::lower::lower;
use gennape::proxies::Proxies;
use gennape::spaces::Architecture;
use gennape::spaces::nasbench101::Cell;
use ndarray::Array2;
use ndarray::linalg::general_mat_mul;
use rand::SeedableRng;
use std::hint::black_box;
use std::time::Instant;

fn cells(count: usize) -> Vec<Cell> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(0);
    (0..count).map(|_| Cell::sample(&mut rng)).collect()
}

/// Multiply-accumulate operations of the matrix products that embed a graph of `nodes` nodes.
fn macs(estimator: &Estimator, nodes: usize) -> usize {
    let config = estimator.encoder().config();
    let layer = (1 + config.messages.parts()) * config.width * config.width;
    let input = gennape::encoder::FEATURES.len() * config.width;
    nodes * (config.layers * layer + input)
}

/// Multiply-accumulate operations per second of ndarray's matrix product on one core, with the
/// shape that message passing has.
fn product_rate(estimator: &Estimator) -> f64 {
    let config = estimator.encoder().config();
    let (rows, inner, columns) = (1024, (1 + config.messages.parts()) * config.width, config.width);
    let a = Array2::from_elem((rows, inner), 0.5f32);
    let b = Array2::from_elem((inner, columns), 0.5f32);
    let mut c = Array2::zeros((rows, columns));
    let best = (0..200)
        .map(|_| {
            let start = Instant::now();
            general_mat_mul(1.0, &a, &b, 0.0, &mut c);
            black_box(&c);
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min);
    (rows * inner * columns) as f64 / best
}

fn benches(criterion: &mut Criterion) {
    let estimator = Estimator::embedded();
    let cells = cells(256);
    let models: Vec<_> = cells.iter().map(Cell::build).collect();
    let graphs: Vec<_> = models.iter().map(|model| lower(model).unwrap()).collect();
    let nodes: usize = graphs.iter().map(ComputationGraph::len).sum();
    let rate = product_rate(&estimator);
    let floor = rate * graphs.len() as f64 / macs(&estimator, nodes) as f64;
    println!(
        "{} networks of {:.0} nodes and {:.1} M MACs each; ndarray's matrix products run at {:.1} \
         GFLOP/s on one core, with which it would be {floor:.0} networks/s at most",
        graphs.len(),
        nodes as f64 / graphs.len() as f64,
        macs(&estimator, nodes) as f64 / graphs.len() as f64 / 1e6,
        2.0 * rate / 1e9,
    );

    let one_core = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let mut group = criterion.benchmark_group("nasbench101");
    group.throughput(Throughput::Elements(graphs.len() as u64));
    group.bench_function("build", |b| {
        b.iter(|| cells.iter().map(Cell::build).for_each(|model| drop(black_box(model))));
    });
    group.bench_function("lower", |b| {
        b.iter(|| models.iter().map(lower).for_each(|graph| drop(black_box(graph))));
    });
    group.bench_function("fingerprint", |b| {
        b.iter(|| graphs.iter().map(ComputationGraph::fingerprint).collect::<Vec<_>>());
    });
    group.bench_function("proxies", |b| {
        b.iter(|| graphs.iter().map(Proxies::new).collect::<Vec<_>>());
    });
    group.bench_function("features", |b| {
        b.iter(|| graphs.iter().map(GraphFeatures::new).collect::<Vec<_>>());
    });
    group.bench_function("embed", |b| one_core.install(|| b.iter(|| estimator.embed(&graphs))));
    group.bench_function("estimate", |b| {
        one_core.install(|| b.iter(|| estimator.estimate(&graphs)))
    });
    group.finish();
    criterion.bench_function("estimate one network", |b| {
        one_core.install(|| b.iter(|| estimator.estimate(&graphs[..1])));
    });
}

criterion_group!(embed, benches);
criterion_main!(embed);
