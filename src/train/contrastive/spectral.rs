//! How alike two computation graphs are in their connections: spectra of their Laplacians.

use crate::encoder::GraphStore;
use crate::files;
use ndarray::{Array2, Axis};
use rayon::prelude::*;
use std::collections::HashMap;
use std::io;
use std::path::Path;

/// First bytes of a file; the digit is the version of format and arithmetic.
const MAGIC: &[u8; 16] = b"gennape-spectra1";

/// Upper bound of the eigenvalues (Chung 1997, *Spectral Graph Theory*, lemma 1.7).
const LARGEST: f64 = 2.0;

/// Largest error of an eigenvalue, besides rounding.
const TOLERANCE: f64 = 1e-10;

/// Undirected, without loops and parallel edges: pairs in ascending order, the lower node first.
type SimpleEdges = Vec<(u32, u32)>;

fn simple(edges: &[(u32, u32)]) -> SimpleEdges {
    let mut edges: SimpleEdges =
        edges.iter().filter(|(a, b)| a != b).map(|&(a, b)| (a.min(b), a.max(b))).collect();
    edges.sort_unstable();
    edges.dedup();
    edges
}

/// The `count` smallest eigenvalues, ascending, of the normalised Laplacian
/// I − D^(−1/2) A D^(−1/2) of the undirected simple graph that has these edges between its
/// `nodes` nodes. A node without edges has a row of zeros, so that there are as many eigenvalues
/// of 0 as components.
///
/// A graph with fewer than `count` nodes is filled up with 2, which no eigenvalue exceeds: the
/// vector stays ascending, and a graph that lacks an eigenvalue is next to those in which it is
/// large. Zeros would look like further components.
///
/// Takes time in proportion to the cube of `nodes`.
///
/// # Panics
/// When an edge names a node that does not exist.
pub fn eigenvalues(nodes: usize, edges: &[(u32, u32)], count: usize) -> Vec<f64> {
    let edges = simple(edges);
    let mut degrees = vec![0f64; nodes];
    for &(a, b) in &edges {
        degrees[a as usize] += 1.0;
        degrees[b as usize] += 1.0;
    }
    let row = |(node, degree): (usize, &f64)| {
        let mut row = vec![0.0; node + 1];
        row[node] = f64::from(u8::from(*degree > 0.0));
        row
    };
    let mut lower: Vec<Vec<f64>> = degrees.iter().enumerate().map(row).collect();
    for (a, b) in edges.into_iter().map(|(a, b)| (a as usize, b as usize)) {
        lower[b][a] = -(degrees[a] * degrees[b]).sqrt().recip();
    }
    let mut values = tridiagonal(lower).smallest_eigenvalues(count);
    values.resize(count, LARGEST);
    values
}

/// A symmetric matrix with nothing beyond the elements next to its diagonal.
struct Tridiagonal {
    diagonal: Vec<f64>,
    /// Of the elements next to the diagonal.
    squares: Vec<f64>,
}

/// A matrix with the eigenvalues of the symmetric one with these rows up to the diagonal, by
/// Householder reflections from the last row to the first (Golub and Van Loan 2013, algorithm
/// 8.3.1). Bisection finds the few that are wanted in three fifths of the time that linfa-linalg takes
/// for all, of networks of cells; faer saves a seventh, for 2.6 MB of program.
fn tridiagonal(mut lower: Vec<Vec<f64>>) -> Tridiagonal {
    let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    let mut result = Tridiagonal { diagonal: Vec::new(), squares: Vec::new() };
    while let Some(mut v) = lower.pop() {
        result.diagonal.extend(v.pop());
        let Some((last, rest)) = v.split_last_mut() else { break };
        let rest = dot(rest, rest);
        let square = rest + *last * *last;
        result.squares.push(square);
        if rest == 0.0 {
            continue;
        }
        // The reflection I − 2 v vᵀ / vᵀv leaves of the row its last element alone.
        *last += square.sqrt().copysign(*last);
        let length = rest + *last * *last;
        let mut p = vec![0.0; v.len()];
        for (i, row) in lower.iter().enumerate() {
            let (own, before) = (row[i], &row[..i]);
            let of_row = dot(before, &v) + own * v[i];
            p.iter_mut().zip(before).for_each(|(p, x)| *p += x * v[i]);
            p[i] += of_row;
        }
        let scale = 2.0 / length;
        let share = scale * dot(&p, &v) / length;
        p.iter_mut().zip(&v).for_each(|(p, v)| *p = scale * *p - share * v);
        for (i, row) in lower.iter_mut().enumerate() {
            for ((x, vj), pj) in row.iter_mut().zip(&v).zip(&p) {
                *x -= v[i] * pj + p[i] * vj;
            }
        }
    }
    result
}

impl Tridiagonal {
    /// How many eigenvalues lie below `x`: the number of negative pivots of the matrix minus x.
    fn below(&self, x: f64) -> usize {
        let mut pivot = f64::INFINITY;
        let squares = [0.0].iter().chain(&self.squares);
        let negative = self.diagonal.iter().zip(squares).filter(|(diagonal, square)| {
            pivot = *diagonal - x - *square / pivot;
            if pivot.abs() < f64::MIN_POSITIVE {
                pivot = -f64::MIN_POSITIVE;
            }
            pivot < 0.0
        });
        negative.count()
    }

    /// The `count` smallest eigenvalues or all there are, ascending, if they lie between 0 and
    /// [`LARGEST`].
    fn smallest_eigenvalues(&self, count: usize) -> Vec<f64> {
        let mut from = 0.0;
        let bisect = |rank: usize| {
            let mut to = LARGEST;
            while to - from > TOLERANCE {
                let middle = (from + to) / 2.0;
                if self.below(middle) > rank { to = middle } else { from = middle }
            }
            // Not the middle, which could be less than the eigenvalue before.
            from
        };
        (0..count.min(self.diagonal.len())).map(bisect).collect()
    }
}

/// [`eigenvalues`] of these graphs of a store, `[graphs, count]`, on all cores; once for all
/// graphs with the same edges.
pub fn spectra(store: &GraphStore, graphs: &[usize], count: usize) -> Array2<f32> {
    let mut positions = HashMap::new();
    let mut distinct = Vec::new();
    let mut row = |&graph: &usize| {
        let (nodes, edges) = (store.nodes(graph).len(), store.edges(graph));
        *positions.entry((nodes, simple(edges))).or_insert_with(|| {
            distinct.push((nodes, edges));
            distinct.len() - 1
        })
    };
    let rows: Vec<usize> = graphs.iter().map(&mut row).collect();
    let values: Vec<f32> = distinct
        .par_iter()
        .flat_map_iter(|&(nodes, edges)| eigenvalues(nodes, edges, count))
        .map(|value| value as f32)
        .collect();
    // There are `count` values for each.
    let values = Array2::from_shape_vec((distinct.len(), count), values)
        .unwrap_or_else(|e| unreachable!("{e}"));
    values.select(Axis(0), &rows)
}

/// [`spectra`], or what an earlier run has left of the same graphs in the folder `cache`. Also why
/// the result can't be left there, if so.
pub fn cached(
    cache: &Path,
    store: &GraphStore,
    graphs: &[usize],
    count: usize,
) -> (Array2<f32>, Option<io::Error>) {
    let mut key = blake3::Hasher::new();
    key.update(&(count as u64).to_le_bytes());
    for &graph in graphs {
        let edges = store.edges(graph);
        for length in [store.nodes(graph).len(), edges.len()] {
            key.update(&(length as u64).to_le_bytes());
        }
        let bytes: Vec<u8> =
            edges.iter().flat_map(|&(a, b)| [a, b]).flat_map(u32::to_le_bytes).collect();
        key.update(&bytes);
    }
    let key = key.finalize();
    let path = cache.join(format!("spectra-{}.bin", &key.to_hex()[..16]));
    let shaped = |words: Vec<u32>| {
        let values = words.into_iter().map(f32::from_bits).collect();
        Array2::from_shape_vec((graphs.len(), count), values).ok()
    };
    if let Some(values) = files::words::load(&path, MAGIC, key.as_bytes()).and_then(shaped) {
        return (values, None);
    }
    let values = spectra(store, graphs, count);
    let words: Vec<u32> = values.iter().map(|value| value.to_bits()).collect();
    let saved = std::fs::create_dir_all(cache).and_then(|()| {
        files::sweep(cache);
        files::words::save(&path, MAGIC, key.as_bytes(), &words)
    });
    (values, saved.err())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::testing;
    use rand::seq::SliceRandom;
    use rand::{SeedableRng, rngs::StdRng};
    use serde::Deserialize;
    use std::collections::BTreeMap;

    /// One case of `tests/fixtures/spectra.json`, which `scripts/spectral_fixtures.py` made.
    #[derive(Deserialize)]
    struct Case {
        nodes: usize,
        edges: Vec<(u32, u32)>,
        eigenvalues: Vec<f64>,
    }

    fn assert_close(ours: &[f64], expected: &[f64], of: &str) {
        assert_eq!(ours.len(), expected.len(), "{of}");
        for (a, b) in ours.iter().zip(expected) {
            assert!((a - b).abs() < 1e-9, "{of}: {ours:?}, not {expected:?}");
        }
    }

    #[test]
    fn eigenvalues_are_those_of_scipy() {
        let cases = include_str!("../../../tests/fixtures/spectra.json");
        let cases: BTreeMap<String, Case> = serde_json::from_str(cases).unwrap();
        for (name, case) in cases {
            let ours = eigenvalues(case.nodes, &case.edges, case.nodes);
            assert_close(&ours, &case.eigenvalues, &name);
            let mut filled = case.eigenvalues.clone();
            filled.resize(21.max(case.nodes), 2.0);
            assert_close(&eigenvalues(case.nodes, &case.edges, 21), &filled[..21], &name);
        }
    }

    #[test]
    fn eigenvalues_do_not_depend_on_the_order_of_nodes() {
        let mut rng = StdRng::seed_from_u64(0);
        for seed in 0..50 {
            let (nodes, edges) = testing::parts(seed);
            let edges: Vec<_> = edges.iter().map(|&(a, b)| (a as u32, b as u32)).collect();
            let mut places: Vec<u32> = (0..nodes.len() as u32).collect();
            places.shuffle(&mut rng);
            let renumbered: Vec<_> =
                edges.iter().map(|&(a, b)| (places[a as usize], places[b as usize])).collect();
            let original = eigenvalues(nodes.len(), &edges, 40);
            assert_close(&eigenvalues(nodes.len(), &renumbered, 40), &original, "renumbered");
            assert!(original.is_sorted());
            assert!(original.iter().all(|v| (0.0..=2.0).contains(v)), "{original:?}");
        }
    }

    #[test]
    fn a_cache_gives_the_same_and_damage_or_other_graphs_are_noticed() {
        let store =
            GraphStore::build(30, |i| Ok::<_, ()>(testing::graph(i as u64)), &|_| ()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("cache");
        let graphs: Vec<usize> = (0..20).chain([3, 3]).collect();
        let expected = spectra(&store, &graphs, 21);
        for (row, &graph) in expected.rows().into_iter().zip(&graphs) {
            let direct = eigenvalues(store.nodes(graph).len(), store.edges(graph), 21);
            assert!(row.iter().zip(direct).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-6));
        }
        let of = |graphs: &[usize], count| {
            let (values, unsaved) = cached(&cache, &store, graphs, count);
            assert!(unsaved.is_none());
            values
        };
        let files = || -> Vec<_> {
            std::fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path()).collect()
        };
        assert_eq!(of(&graphs, 21), expected);
        let [file] = &files()[..] else { panic!("one file") };
        let bytes = std::fs::read(file).unwrap();
        assert_eq!(of(&graphs, 21), expected);
        let mut damaged = bytes.clone();
        damaged[bytes.len() / 2] ^= 1;
        for damaged in [&damaged, &bytes[..bytes.len() - 1], &[]] {
            std::fs::write(file, damaged).unwrap();
            assert_eq!(of(&graphs, 21), expected);
            assert_eq!(std::fs::read(file).unwrap(), bytes, "written again");
        }
        assert_eq!(of(&graphs[1..], 21), expected.slice(ndarray::s![1.., ..]));
        assert_eq!(of(&graphs, 7), expected.slice(ndarray::s![.., ..7]));
        assert_eq!(files().len(), 3);
    }
}
