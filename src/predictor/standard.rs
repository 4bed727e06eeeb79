//! Values as deviations from those of the training networks.

/// Mean and standard deviation that values are standardised with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standardisation {
    /// Becomes 0.
    pub mean: f64,
    /// The distance from the mean that becomes 1; above zero.
    pub deviation: f64,
}

impl Standardisation {
    /// By the mean of `values` and their standard deviation, or 1 where they have none.
    pub fn fit(values: &[f64]) -> Self {
        let count = values.len().max(1) as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
        let deviation = variance.sqrt();
        // Rounding errors are no spread.
        let spread = deviation > 1e-12 * mean.abs() && deviation.is_finite();
        Self { mean, deviation: if spread { deviation } else { 1.0 } }
    }

    /// `value` in standard deviations from the mean.
    pub fn apply(self, value: f64) -> f64 {
        (value - self.mean) / self.deviation
    }

    /// The value that [`apply`](Self::apply) makes `standard` of.
    pub fn invert(self, standard: f64) -> f64 {
        self.mean + self.deviation * standard
    }
}
