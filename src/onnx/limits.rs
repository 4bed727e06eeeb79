//! What is accepted of a file; generous for real networks, small enough to bound time and memory.

/// Nodes, after local functions are inlined.
pub(super) const MAX_NODES: u64 = 1_000_000;
/// Nodes after which no further function is inlined.
pub(super) const MAX_INLINED: u64 = 200_000;
/// Nodes that loops may be unrolled to.
pub(super) const MAX_UNROLLED: u64 = 20_000;
/// Messages inside one another in the file; a nested subgraph takes three.
pub(super) const MAX_NESTING: usize = 32;
/// Bytes of a file that is taken into memory: protobuf's own limit.
pub(super) const MAX_FILE: u64 = 2 << 30;
/// Bytes of one list of numbers.
pub(super) const MAX_LIST: u64 = 4 << 20;
/// Attributes of one node; operators define at most two dozen.
pub(super) const MAX_ATTRIBUTES: usize = 64;
/// Bytes that a network may take once decoded, without its weights, and again once inlined.
pub(super) const MAX_STRUCTURE: u64 = 512 << 20;
/// Calls of local functions inside one another.
pub(super) const MAX_CALLS: usize = 32;
/// One dimension.
pub(super) const MAX_DIMENSION: u64 = 1 << 40;
/// Elements of a floating-point tensor whose values are kept: enough for the scalars and small
/// vectors that decide what a subgraph is, too few for weight matrices.
pub(super) const MAX_FLOATS: u64 = 4096;
/// Elements of all stored constants whose values are kept.
pub(super) const MAX_KNOWN_ELEMENTS: u64 = 1 << 24;
/// Oldest version of the default operator set that is read.
pub(super) const MIN_OPSET: i64 = 7;
