//! Least squares with coefficients that must not be negative.

use linfa_linalg::cholesky::SolveC;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};

/// The x ≥ 0 that makes |Ax − b|² least, given the Gram matrix AᵀA, `[n, n]` and positive definite,
/// and Aᵀb, `[n]`.
///
/// The active-set method of Lawson and Hanson (1974, "Solving Least Squares Problems", chapter 23) on
/// the normal equations, as Bro and de Jong (1997) write it.
pub fn nonnegative_least_squares(gram: ArrayView2<f64>, moments: ArrayView1<f64>) -> Array1<f64> {
    let n = moments.len();
    let largest = moments.iter().fold(0.0f64, |most, m| most.max(m.abs()));
    let tolerance = 1e-12 * largest;
    let mut x = Array1::zeros(n);
    let mut free: Vec<usize> = Vec::new();
    // Each step lets one coefficient go and lowers the sum of squares, so that no set of free ones
    // comes again; rounding may see to it that one does.
    for _ in 0..10 * n {
        let gradient = &moments - &gram.dot(&x);
        let bound = (0..n).filter(|i| !free.contains(i) && gradient[*i] > tolerance);
        let Some(next) = bound.max_by(|&a, &b| gradient[a].total_cmp(&gradient[b])) else { break };
        free.push(next);
        loop {
            let Some(solution) = solve(gram, moments, &free) else { return x };
            let step = |(&i, &s): (&usize, &f64)| (s <= 0.0).then(|| x[i] / (x[i] - s));
            let steps = free.iter().zip(&solution).filter_map(step);
            let Some(length) = steps.min_by(f64::total_cmp) else {
                free.iter().zip(&solution).for_each(|(&i, &s)| x[i] = s);
                break;
            };
            // What was let go last and wants to be negative is zero over zero.
            let length = if length.is_finite() { length } else { 0.0 };
            let mut least = (f64::INFINITY, 0);
            for (place, (&i, &s)) in free.iter().zip(&solution).enumerate() {
                x[i] += length * (s - x[i]);
                if s <= 0.0 && x[i] < least.0 {
                    least = (x[i], place);
                }
            }
            x[free.swap_remove(least.1)] = 0.0;
        }
    }
    x
}

/// The solution without bounds, of these coefficients alone.
fn solve(gram: ArrayView2<f64>, moments: ArrayView1<f64>, free: &[usize]) -> Option<Vec<f64>> {
    let mut part = gram.select(Axis(0), free).select(Axis(1), free);
    let right: Array2<f64> = moments.select(Axis(0), free).insert_axis(Axis(1));
    Some(part.solvec(&right).ok()?.column(0).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    /// One case of `tests/fixtures/nonnegative.json`, which `scripts/nonnegative_fixtures.py` made.
    #[derive(Deserialize)]
    struct Case {
        rows: Vec<Vec<f64>>,
        values: Vec<f64>,
        solution: Vec<f64>,
    }

    #[test]
    fn it_is_what_scipy_finds() {
        let cases = include_str!("../../tests/fixtures/nonnegative.json");
        let cases: std::collections::BTreeMap<String, Case> = serde_json::from_str(cases).unwrap();
        let mut bound = 0;
        for (name, Case { rows, values, solution }) in cases {
            let a = Array2::from_shape_fn((rows.len(), rows[0].len()), |(i, k)| rows[i][k]);
            let b = Array1::from(values);
            let x = nonnegative_least_squares(a.t().dot(&a).view(), a.t().dot(&b).view());
            let scale = solution.iter().fold(1.0f64, |most, s| most.max(*s));
            for (k, (x, expected)) in x.iter().zip(&solution).enumerate() {
                assert!((x - expected).abs() < 1e-6 * scale, "{name}, {k}: {x} {expected}");
                assert!(*x >= 0.0);
                bound += usize::from(*expected == 0.0);
            }
        }
        // Otherwise any solver would do.
        assert!(bound > 20, "{bound}");
    }
}
