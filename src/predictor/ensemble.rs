//! Several predictors as one.

use super::Standardisation;

/// The weighted mean of predictors' scores, each standardised by its scores of the training
/// networks (arXiv 2211.17226). A network's score does not depend on which others are scored.
#[derive(Debug, Clone, PartialEq)]
pub struct Ensemble {
    members: Vec<Standardisation>,
    /// One for each member; they sum to 1.
    weights: Vec<f64>,
}

impl Ensemble {
    /// Equal weights, for when no labels tell the members apart.
    pub fn equal(members: Vec<Standardisation>) -> Self {
        let weights = vec![1.0 / members.len() as f64; members.len()];
        Self { members, weights }
    }

    /// Weights by the softmax of each member's Kendall τ on a labelled sample.
    ///
    /// # Panics
    /// Unless there is one for each member.
    pub fn weighted(members: Vec<Standardisation>, taus: &[f64]) -> Self {
        assert_eq!(members.len(), taus.len(), "members and τ");
        let exponentials: Vec<f64> = taus.iter().map(|tau| tau.exp()).collect();
        let total: f64 = exponentials.iter().sum();
        Self { members, weights: exponentials.into_iter().map(|e| e / total).collect() }
    }

    /// The members' weights.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// The scores of networks: one vector of all networks for each member, in order.
    ///
    /// # Panics
    /// Unless there is a vector for each member and all have the same length.
    pub fn scores(&self, members: &[Vec<f64>]) -> Vec<f64> {
        assert_eq!(members.len(), self.members.len(), "members and their scores");
        let networks = members.first().map_or(0, Vec::len);
        let mut scores = vec![0.0; networks];
        for ((standard, weight), values) in self.members.iter().zip(&self.weights).zip(members) {
            assert_eq!(values.len(), networks, "scores of each member");
            for (score, value) in scores.iter_mut().zip(values) {
                *score += weight * standard.apply(*value);
            }
        }
        scores
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_sum_to_one_and_the_best_member_has_the_most() {
        let standard = Standardisation { mean: 0.0, deviation: 1.0 };
        let equal = Ensemble::equal(vec![standard; 3]);
        assert_eq!(equal.weights(), [1.0 / 3.0; 3]);
        let weighted = Ensemble::weighted(vec![standard; 3], &[0.2, 0.9, -0.4]);
        let [a, b, c] = *weighted.weights() else { panic!("{weighted:?}") };
        assert!((a + b + c - 1.0).abs() < 1e-12 && b > a && a > c && c > 0.0);
        // One more of τ is a factor of e, however far all of them are from zero.
        let far = Ensemble::weighted(vec![standard; 2], &[0.0, 1.0]);
        assert!((far.weights()[1] / far.weights()[0] - std::f64::consts::E).abs() < 1e-12);
    }

    #[test]
    fn members_on_other_scales_count_as_much() {
        let (small, large) = ([0.1, 0.2, 0.4], [300.0, 100.0, 200.0]);
        let members = [Standardisation::fit(&small), Standardisation::fit(&large)];
        let ensemble = Ensemble::equal(members.to_vec());
        let scores = ensemble.scores(&[small.to_vec(), large.to_vec()]);
        let rescaled =
            Ensemble::equal(vec![Standardisation::fit(&small.map(|x| 7.0 * x - 3.0)), members[1]]);
        let again = rescaled.scores(&[small.map(|x| 7.0 * x - 3.0).to_vec(), large.to_vec()]);
        assert!(scores.iter().zip(&again).all(|(a, b)| (a - b).abs() < 1e-12));
        assert!(scores.iter().sum::<f64>().abs() < 1e-12);
        // One network alone has the score that it has among others.
        let alone = ensemble.scores(&[vec![0.4], vec![200.0]]);
        assert_eq!(alone[0], scores[2]);
    }
}
