//! Featurised graphs of a whole labelled set, compact in memory and on disk.

use super::batch::{described, guess};
use super::{FEATURES, GraphFeatures};
use crate::files;
use crate::graph::{ComputationGraph, Operation};
use crate::proxies::{DESCRIPTORS, Descriptors, Proxies};
use etcetera::BaseStrategy;
use ndarray::Array2;
use rayon::prelude::*;
use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// One distinct node: the code of its operation and the bits of its numeric features.
type Row = (u8, [u32; FEATURES.len()]);

/// Many graphs whose nodes are indices into one table of distinct nodes: a search space repeats
/// few nodes very often.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GraphStore {
    rows: Vec<Row>,
    /// Row of each node of all graphs.
    nodes: Vec<u32>,
    /// Where a graph's nodes start; one more entry than graphs.
    node_starts: Vec<u32>,
    /// Edges of all graphs, between positions of nodes within the graph.
    edges: Vec<(u32, u32)>,
    /// Where a graph's edges start; one more entry than graphs.
    edge_starts: Vec<u32>,
    /// Of each graph.
    proxies: Vec<Proxies>,
    /// Of each graph, see [`GraphBatch::guesses`](super::GraphBatch::guesses).
    guesses: Vec<Option<u64>>,
    /// Of each graph, see [`GraphBatch::descriptors`](super::GraphBatch::descriptors).
    descriptors: Vec<Option<Box<Descriptors>>>,
}

/// First bytes of a file; the digit is the version of the format.
const MAGIC: &[u8; 16] = b"gennape-graphs-5";

/// Hash of the code that turns architectures and files into featurised graphs, from `build.rs`:
/// what other code has made is never taken from a cache.
const GRAPH_SOURCES: &str = env!("GENNAPE_GRAPH_SOURCES");

/// Graphs that are featurised before they are put into the store, which bounds the memory.
const CHUNK: usize = 4096;

impl GraphStore {
    /// Featurises `count` graphs, made by `graph` on all cores; `done` hears how many there are.
    ///
    /// # Errors
    /// The first error of `graph`.
    pub fn build<E: Send>(
        count: usize,
        graph: impl Fn(usize) -> Result<ComputationGraph, E> + Sync,
        done: &dyn Fn(usize),
    ) -> Result<Self, E> {
        let mut store = Self { node_starts: vec![0], edge_starts: vec![0], ..Self::default() };
        let mut index = HashMap::new();
        for start in (0..count).step_by(CHUNK) {
            let featurise = |i| {
                let graph = graph(i)?;
                let proxies = Proxies::new(&graph);
                let described = described(&graph, &proxies);
                Ok((GraphFeatures::new(&graph), proxies, guess(&graph), described))
            };
            let chunk: Result<Vec<_>, E> =
                (start..count.min(start + CHUNK)).into_par_iter().map(featurise).collect();
            for (features, proxies, guess, described) in chunk? {
                store.push(&features, proxies, &mut index);
                store.guesses.push(guess);
                store.descriptors.push(described);
            }
            done(store.len());
        }
        Ok(store)
    }

    /// [`build`](Self::build), or what an earlier run has left in the folder `cache` under `name`,
    /// which says what the graphs are made from. Also why the result can't be left there, if so.
    ///
    /// # Errors
    /// The first error of `graph`.
    pub fn cached<E: Send>(
        cache: &Path,
        name: &str,
        count: usize,
        graph: impl Fn(usize) -> Result<ComputationGraph, E> + Sync,
        done: &dyn Fn(usize),
    ) -> Result<(Self, Option<io::Error>), E> {
        let mut key = blake3::Hasher::new();
        for part in [GRAPH_SOURCES, name] {
            key.update(part.as_bytes());
        }
        let key = key.finalize();
        let path = cache.join(format!("graphs-{}.bin", &key.to_hex()[..16]));
        if let Some(store) = Self::load(&path, key.as_bytes())
            && store.len() == count
        {
            return Ok((store, None));
        }
        let store = Self::build(count, graph, done)?;
        let saved = std::fs::create_dir_all(cache).and_then(|()| {
            files::sweep(cache);
            store.save(&path, key.as_bytes())
        });
        Ok((store, saved.err()))
    }

    fn push(&mut self, graph: &GraphFeatures, proxies: Proxies, index: &mut HashMap<Row, u32>) {
        for (&code, numeric) in graph.operations.iter().zip(graph.numeric.rows()) {
            let row = (code, std::array::from_fn(|i| numeric[i].to_bits()));
            let next = self.rows.len() as u32;
            let at = *index.entry(row).or_insert(next);
            if at == next {
                self.rows.push(row);
            }
            self.nodes.push(at);
        }
        self.edges.extend_from_slice(&graph.edges);
        self.node_starts.push(self.nodes.len() as u32);
        self.edge_starts.push(self.edges.len() as u32);
        self.proxies.push(proxies);
    }

    /// Number of graphs.
    pub fn len(&self) -> usize {
        self.proxies.len()
    }

    /// Whether there are no graphs.
    pub fn is_empty(&self) -> bool {
        self.proxies.is_empty()
    }

    /// What ranks a graph without a model.
    pub fn proxies(&self, graph: usize) -> &Proxies {
        &self.proxies[graph]
    }

    /// How many classes a graph can but guess among, if its output does not depend on its input.
    pub fn guess(&self, graph: usize) -> Option<u64> {
        self.guesses[graph]
    }

    /// Descriptors of a graph that takes large images.
    pub fn descriptors(&self, graph: usize) -> Option<&Descriptors> {
        self.descriptors[graph].as_deref()
    }

    /// The operations of these graphs, in the order of the vocabulary.
    pub fn operations(&self, graphs: Range<usize>) -> Vec<Operation> {
        let mut met = vec![false; Operation::ALL.len()];
        for &row in graphs.flat_map(|g| self.nodes(g)) {
            met[usize::from(self.rows[row as usize].0)] = true;
        }
        Operation::ALL.iter().copied().filter(|o| met[o.code()]).collect()
    }

    /// Rows of a graph's nodes in [`codes`](Self::codes) and [`numeric`](Self::numeric).
    pub fn nodes(&self, graph: usize) -> &[u32] {
        &self.nodes[self.node_starts[graph] as usize..self.node_starts[graph + 1] as usize]
    }

    /// Edges of a graph between positions of its nodes.
    pub fn edges(&self, graph: usize) -> &[(u32, u32)] {
        &self.edges[self.edge_starts[graph] as usize..self.edge_starts[graph + 1] as usize]
    }

    /// Operation codes of the distinct nodes.
    pub fn codes(&self) -> impl Iterator<Item = u8> {
        self.rows.iter().map(|row| row.0)
    }

    /// Numeric features of the distinct nodes, `[rows, FEATURES.len()]`.
    pub fn numeric(&self) -> Array2<f32> {
        Array2::from_shape_fn((self.rows.len(), FEATURES.len()), |(row, column)| {
            f32::from_bits(self.rows[row].1[column])
        })
    }

    /// A graph as the encoder takes it.
    pub fn features(&self, graph: usize) -> GraphFeatures {
        let nodes = self.nodes(graph);
        let operations = nodes.iter().map(|&row| self.rows[row as usize].0).collect();
        let numeric = Array2::from_shape_fn((nodes.len(), FEATURES.len()), |(node, column)| {
            f32::from_bits(self.rows[nodes[node] as usize].1[column])
        });
        GraphFeatures::of_nodes(operations, numeric, self.edges(graph).to_vec())
    }

    /// Writes the store, to be read again under `key`.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn save(&self, path: &Path, key: &[u8; 32]) -> io::Result<()> {
        let mut words: Vec<u32> = Vec::new();
        let lengths = [self.rows.len(), self.nodes.len(), self.edges.len(), self.len()];
        words.extend(lengths.map(|l| l as u32));
        words.extend(
            self.rows.iter().flat_map(|(code, bits)| [u32::from(*code)].into_iter().chain(*bits)),
        );
        words.extend(&self.nodes);
        words.extend(&self.node_starts);
        words.extend(self.edges.iter().flat_map(|&(a, b)| [a, b]));
        words.extend(&self.edge_starts);
        let proxies = self.proxies.iter().flat_map(|p| p.to_words());
        // No graph guesses among 2^64 classes.
        let guesses = self.guesses.iter().map(|guess| guess.unwrap_or(u64::MAX));
        let described = self.descriptors.iter().flatten().flat_map(|d| d.map(f64::to_bits));
        let halves = |x: u64| [x as u32, (x >> 32) as u32];
        words.extend(proxies.chain(guesses).flat_map(halves));
        words.extend(self.descriptors.iter().map(|d| u32::from(d.is_some())));
        words.extend(described.flat_map(halves));
        files::words::save(path, MAGIC, key, &words)
    }

    /// Reads the store that was saved under `key`; `None` when there is none, or the file is
    /// damaged or belongs to another key.
    pub fn load(path: &Path, key: &[u8; 32]) -> Option<Self> {
        let mut words = files::words::load(path, MAGIC, key)?.into_iter();
        let mut take = |count: usize| -> Option<Vec<u32>> {
            let taken: Vec<u32> = words.by_ref().take(count).collect();
            (taken.len() == count).then_some(taken)
        };
        let lengths = take(4)?;
        let [rows, nodes, edges, graphs] = <[u32; 4]>::try_from(lengths).ok()?.map(|l| l as usize);
        let row = |w: &[u32; FEATURES.len() + 1]| {
            Some((u8::try_from(w[0]).ok()?, std::array::from_fn(|i| w[i + 1])))
        };
        let proxies = |words: &[u32; 2 * Proxies::WORDS]| {
            let word = |i: usize| u64::from(words[2 * i + 1]) << 32 | u64::from(words[2 * i]);
            Proxies::from_words(std::array::from_fn(word))
        };
        let described = |words: &[u32; 2 * DESCRIPTORS.len()]| -> Box<Descriptors> {
            let word = |i: usize| u64::from(words[2 * i + 1]) << 32 | u64::from(words[2 * i]);
            Box::new(std::array::from_fn(|i| f64::from_bits(word(i))))
        };
        let guess = |&[low, high]: &[u32; 2]| {
            Some(u64::from(high) << 32 | u64::from(low)).filter(|&guess| guess != u64::MAX)
        };
        let mut store = Self {
            rows: take(rows * (FEATURES.len() + 1))?
                .as_chunks()
                .0
                .iter()
                .map(row)
                .collect::<Option<_>>()?,
            nodes: take(nodes)?,
            node_starts: take(graphs + 1)?,
            edges: take(2 * edges)?.as_chunks().0.iter().map(|&[a, b]| (a, b)).collect(),
            edge_starts: take(graphs + 1)?,
            proxies: take(2 * Proxies::WORDS * graphs)?.as_chunks().0.iter().map(proxies).collect(),
            guesses: take(2 * graphs)?.as_chunks().0.iter().map(guess).collect(),
            descriptors: Vec::new(),
        };
        for there in take(graphs)? {
            let descriptors = match there {
                0 => None,
                _ => Some(described(take(2 * DESCRIPTORS.len())?.as_chunks().0.first()?)),
            };
            store.descriptors.push(descriptors);
        }
        Some(store)
    }
}

/// Where featurised graphs are kept unless said otherwise: `gennape` in the user's cache folder, which is
/// `$XDG_CACHE_HOME` or `~/.cache`, and on Windows `%LOCALAPPDATA%`.
pub fn default_cache() -> PathBuf {
    let user = etcetera::choose_base_strategy().map(|base| base.cache_dir());
    user.unwrap_or_else(|_| std::env::temp_dir()).join("gennape")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::testing;

    #[test]
    fn a_saved_store_is_the_same_and_a_damaged_one_is_not_read() {
        let graph = |i| Ok::<_, ()>(testing::graph(i as u64));
        let store = GraphStore::build(300, graph, &|_| ()).unwrap();
        assert_eq!(store.features(7), GraphFeatures::new(&testing::graph(7)));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.bin");
        let key = [3; 32];
        store.save(&path, &key).unwrap();
        assert_eq!(GraphStore::load(&path, &key).as_ref(), Some(&store));
        assert_eq!(GraphStore::load(&path, &[4; 32]), None);
        let bytes = std::fs::read(&path).unwrap();
        for damage in [bytes.len() / 2, bytes.len() - 1] {
            let mut damaged = bytes.clone();
            damaged[damage] ^= 1;
            std::fs::write(&path, &damaged).unwrap();
            assert_eq!(GraphStore::load(&path, &key), None);
            std::fs::write(&path, &bytes[..damage]).unwrap();
            assert_eq!(GraphStore::load(&path, &key), None);
        }
    }
}
