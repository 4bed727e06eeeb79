//! What running a network takes, beside parameters and multiply-accumulates.

use super::ComputationGraph;

/// Bytes of an element of a feature map in single precision.
const BYTES: u64 = 4;

impl ComputationGraph {
    /// Elements of the outputs of all convolutions and matrix products for one input, which tells
    /// more of the time that a network takes than its MACs do (Radosavovic et al. 2020, "Designing
    /// Network Design Spaces", section 3.3); saturates.
    pub fn activations(&self) -> u64 {
        let outputs = self.nodes().filter(|n| n.macs > 0).map(|n| n.output.elements());
        outputs.fold(0, u64::saturating_add)
    }

    /// Most bytes of feature maps that are needed at once, for one input in single precision:
    /// operations run in this graph's order, none in place, and a map is kept until the last
    /// operation that reads it has run. Without weights; saturates.
    pub fn peak_memory(&self) -> u64 {
        let bytes = |i: usize| self.node(i).output.elements().saturating_mul(BYTES);
        let last_read = |i: usize| self.successors(i).max().unwrap_or(self.len());
        // Maps whose last reader is the operation at this position.
        let mut ending: Vec<Vec<usize>> = vec![Vec::new(); self.len() + 1];
        let (mut alive, mut peak) = (0u64, 0);
        for i in 0..self.len() {
            ending[last_read(i)].push(i);
            alive = alive.saturating_add(bytes(i));
            peak = peak.max(alive);
            for &read in &ending[i] {
                alive = alive.saturating_sub(bytes(read));
            }
        }
        peak
    }
}

#[cfg(test)]
mod tests {
    use crate::lower::lower;
    use crate::spaces::Space;

    #[test]
    fn a_chain_needs_two_maps_and_a_residual_three() {
        let graph =
            |architecture: &str| lower(&Space::NasBenchMacro.build(architecture).unwrap()).unwrap();
        // Stem 32×32×32, then 64×16×16, 128×8×8, 256×4×4 by 1×1 convolutions, head 1280×4×4, linear.
        let chain = graph("00000000");
        assert_eq!(chain.peak_memory(), 4 * 2 * 32 * 32 * 32);
        let outputs = [32 * 32 * 32, 64 * 16 * 16, 128 * 8 * 8, 256 * 4 * 4, 1280 * 4 * 4, 10];
        assert_eq!(chain.activations(), outputs.iter().sum::<u64>());
        // The second layer's block widens 64 channels to 192 and keeps its input for the sum: two
        // maps of 192 channels and one of 64.
        let residual = graph("01000000");
        assert_eq!(residual.peak_memory(), 4 * 16 * 16 * (2 * 192 + 64));
    }
}
