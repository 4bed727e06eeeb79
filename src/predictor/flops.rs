//! GENNAPE's transform of accuracies by cost.

use super::Standardisation;

/// Makes accuracies of networks of different cost comparable (arXiv 2211.17226):
///
/// ```text
/// y = Z(A / (log10(F + 1) + 1))
/// ```
///
/// with the accuracy A, the cost F in GFLOPs and Z standardising by the training networks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FlopsTransform {
    standardisation: Standardisation,
}

/// log10(F + 1) of a network's cost F in GFLOPs.
///
/// A multiply-accumulate counts as two FLOPs: the paper's 313 MFLOPs of a best NAS-Bench-201 cell
/// are about twice its MACs.
pub fn log_gflops(macs: u64) -> f64 {
    (2e-9 * macs as f64).ln_1p() / std::f64::consts::LN_10
}

fn divisor(macs: u64) -> f64 {
    log_gflops(macs) + 1.0
}

impl FlopsTransform {
    /// With the statistics of training networks: accuracy and multiply-accumulates of each.
    pub fn fit(networks: impl IntoIterator<Item = (f64, u64)>) -> Self {
        let scaled: Vec<f64> = networks.into_iter().map(|(a, macs)| a / divisor(macs)).collect();
        Self { standardisation: Standardisation::fit(&scaled) }
    }

    /// What stands for an accuracy of a network with this many multiply-accumulates.
    pub fn apply(&self, accuracy: f64, macs: u64) -> f64 {
        self.standardisation.apply(accuracy / divisor(macs))
    }

    /// The accuracy, in the unit of those fitted, that `value` stands for.
    pub fn invert(&self, value: f64, macs: u64) -> f64 {
        self.standardisation.invert(value) * divisor(macs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 4.5 G and 0.45 G multiply-accumulates are 9 and 0.9 GFLOPs.
    #[test]
    fn accuracies_are_divided_by_the_logarithm_of_gflops_and_standardised() {
        let transform = FlopsTransform::fit([(90.0, 4_500_000_000), (90.0, 0)]);
        // 45 and 90.
        assert!((transform.apply(90.0, 4_500_000_000) + 1.0).abs() < 1e-12);
        assert!((transform.apply(90.0, 0) - 1.0).abs() < 1e-12);
        let at = |macs| transform.apply(90.0, macs);
        let expected = (90.0 / (1.9_f64.log10() + 1.0) - 67.5) / 22.5;
        assert!((at(450_000_000) - expected).abs() < 1e-12);
    }

    #[test]
    fn the_inverse_gives_back_the_accuracy() {
        let transform = FlopsTransform::fit([(94.1, 5_000_000_000), (83.2, 600_000_000)]);
        for macs in [0, 1, 40_000_000, 9_000_000_000, u64::MAX] {
            for accuracy in [0.0, 10.0, 71.5, 99.9] {
                let again = transform.invert(transform.apply(accuracy, macs), macs);
                assert!((again - accuracy).abs() < 1e-9, "{again}, not {accuracy}");
            }
        }
    }
}
