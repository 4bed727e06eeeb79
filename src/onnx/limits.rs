//! What is accepted of a file; generous for real networks, small enough to bound time and memory.

/// Nodes, after local functions are inlined.
pub(super) const MAX_NODES: u64 = 1_000_000;
/// Messages inside one another in the file; a nested subgraph takes three.
pub(super) const MAX_NESTING: usize = 32;
/// Attributes of one node; operators define at most two dozen.
pub(super) const MAX_ATTRIBUTES: usize = 64;
/// Bytes that a network may take once decoded, without its weights, and again once inlined.
pub(super) const MAX_STRUCTURE: u64 = 512 << 20;
/// Calls of local functions inside one another.
pub(super) const MAX_CALLS: usize = 32;
/// Dimensions of one tensor.
pub(super) const MAX_RANK: usize = 16;
/// One dimension.
pub(super) const MAX_DIMENSION: u64 = 1 << 40;
/// Elements of one tensor.
pub(super) const MAX_ELEMENTS: u64 = 1 << 48;
/// Elements of a floating-point tensor whose values are kept: enough for the scalars and small
/// vectors that decide what a subgraph is, too few for weight matrices.
pub(super) const MAX_FLOATS: u64 = 4096;
/// Elements of all constants whose values are kept, stored and folded ones together.
pub(super) const MAX_KNOWN_ELEMENTS: u64 = 1 << 26;
/// Elements that constant folding may read, those of a tensor each time it is used.
pub(super) const MAX_FOLDING: u64 = 1 << 30;
/// Oldest version of the default operator set that is read.
pub(super) const MIN_OPSET: i64 = 7;
