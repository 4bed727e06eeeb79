//! Architecture parameters: what is drawn, and how rewards change what will be.

use crate::spaces::darts::{self, NODES, OPERATIONS};
use crate::spaces::genotype::{Cell, Edge, Genotype};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Inputs of a cell.
const INPUTS: usize = 2;

/// The two inputs that a node may read, each pair once.
fn pairs(node: usize) -> Vec<[usize; 2]> {
    (0..INPUTS + node).flat_map(|b| (0..b).map(move |a| [a, b])).collect()
}

/// An option that was taken: which decision, and which of its options.
pub(super) type Choice = (usize, usize);

/// A logit for each option of each decision; −∞ for what is dropped. For the normal, then the
/// reduction cell, and of each node: which two inputs it reads, and for each edge to it, what is done.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Alpha(Vec<Vec<f64>>);

/// Probabilities of options.
fn softmax(logits: &[f64]) -> Vec<f64> {
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = logits.iter().map(|l| (l - most).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|p| p / sum).collect()
}

/// The policy gradient of one decision of which `option` was drawn, with the reward `advantage` above the
/// baseline: (R − b)(onehot − softmax α).
pub(super) fn gradient(logits: &[f64], option: usize, advantage: f64) -> Vec<f64> {
    let shares = softmax(logits).into_iter().enumerate();
    shares.map(|(i, p)| advantage * (f64::from(u8::from(i == option)) - p)).collect()
}

/// The option with the largest logit, the first of equals.
fn strongest(logits: &[f64]) -> usize {
    (1..logits.len()).fold(0, |best, i| if logits[i] > logits[best] { i } else { best })
}

/// One option, as likely as its share.
fn draw(logits: &[f64], rng: &mut ChaCha8Rng) -> usize {
    let mut rest: f64 = rng.r#gen();
    let mut last = 0;
    for (option, share) in softmax(logits).into_iter().enumerate().filter(|(_, s)| *s > 0.0) {
        last = option;
        rest -= share;
        if rest < 0.0 {
            break;
        }
    }
    last
}

impl Alpha {
    /// All options are equally likely.
    pub fn new() -> Self {
        let node = |node: usize| {
            let edges = (0..INPUTS + node).map(|_| vec![0.0; OPERATIONS.len()]);
            std::iter::once(vec![0.0; pairs(node).len()]).chain(edges)
        };
        Self([(); 2].iter().flat_map(|()| (0..NODES).flat_map(node)).collect())
    }

    /// The logits, in which JSON would lose digits and infinities.
    pub fn bits(&self) -> Vec<Vec<u64>> {
        self.0.iter().map(|list| list.iter().map(|l| l.to_bits()).collect()).collect()
    }

    /// The same from [`bits`](Self::bits); `None` for other numbers of decisions and options.
    pub fn from_bits(bits: &[Vec<u64>]) -> Option<Self> {
        let new = Self::new();
        let alike =
            new.0.len() == bits.len() && new.0.iter().zip(bits).all(|(a, b)| a.len() == b.len());
        let list = |list: &Vec<u64>| list.iter().map(|&b| f64::from_bits(b)).collect();
        alike.then(|| Self(bits.iter().map(list).collect()))
    }

    /// The network whose decisions `choose` makes, and those decisions.
    fn decide(
        &self,
        [layers, channels]: [usize; 2],
        mut choose: impl FnMut(&[f64]) -> usize,
    ) -> Result<(darts::DartsNetwork, Vec<Choice>), String> {
        let mut choices = Vec::new();
        let mut first = 0;
        let mut cells = Vec::new();
        for _ in 0..2 {
            let mut nodes = Vec::new();
            for node in 0..NODES {
                let mut take = |decision: usize| {
                    let option = choose(&self.0[decision]);
                    choices.push((decision, option));
                    option
                };
                let inputs = pairs(node)[take(first)];
                nodes.push(
                    inputs.map(|from| Edge { from, operation: OPERATIONS[take(first + 1 + from)] }),
                );
                first += 1 + INPUTS + node;
            }
            cells.push(Cell::new(nodes, (INPUTS..INPUTS + NODES).collect())?);
        }
        let [Some(reduce), Some(normal)] = [cells.pop(), cells.pop()] else {
            return Err("there are two kinds of cells".into());
        };
        let genotype = Genotype::new(normal, reduce, layers, channels)?;
        Ok((darts::DartsNetwork::new(genotype)?, choices))
    }

    /// A network of this many cells and channels by chance, and the decisions that make it up.
    pub fn sample(
        &self,
        size: [usize; 2],
        rng: &mut ChaCha8Rng,
    ) -> Result<(darts::DartsNetwork, Vec<Choice>), String> {
        self.decide(size, |logits| draw(logits, rng))
    }

    /// The network of the strongest options.
    pub fn strongest(&self, size: [usize; 2]) -> Result<darts::DartsNetwork, String> {
        Ok(self.decide(size, strongest)?.0)
    }

    /// A step along the policy gradient.
    pub fn learn(&mut self, choices: &[Choice], advantage: f64, rate: f64) {
        for &(decision, option) in choices {
            let logits = &mut self.0[decision];
            let gradient = gradient(logits, option, advantage);
            logits.iter_mut().zip(gradient).for_each(|(logit, g)| *logit += rate * g);
        }
    }

    /// Keeps the `count` strongest operations of each edge.
    pub fn keep(&mut self, count: usize) {
        let mut decision = 0;
        for node in (0..2).flat_map(|_| 0..NODES) {
            for logits in &mut self.0[decision + 1..decision + 1 + INPUTS + node] {
                let mut order: Vec<usize> = (0..logits.len()).collect();
                order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
                order.iter().skip(count).for_each(|&weak| logits[weak] = f64::NEG_INFINITY);
            }
            decision += 1 + INPUTS + node;
        }
    }

    /// Mean entropy of the decisions, in nats: 0 when nothing is left to chance.
    pub fn entropy(&self) -> f64 {
        let entropy = |logits: &Vec<f64>| {
            let shares = softmax(logits).into_iter().filter(|p| *p > 0.0);
            shares.map(|p| -p * p.ln()).sum::<f64>()
        };
        self.0.iter().map(entropy).sum::<f64>() / self.0.len() as f64
    }
}

/// Weight of the past in the moving average of rewards.
const MEMORY: f64 = 0.95;
/// An advantage is cut off beyond so many standard deviations.
const FARTHEST: f64 = 3.0;

/// The moving average of rewards, and their moving variance.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct Baseline {
    count: u32,
    mean: Bits,
    variance: Bits,
}

/// A number by its bits, of which JSON loses none.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
struct Bits(u64);

impl Baseline {
    /// How far a reward is above the average of those before it, in standard deviations; 0 for the first.
    pub fn advantage(&mut self, reward: f64) -> f64 {
        let [mean, variance] = [self.mean, self.variance].map(|bits| f64::from_bits(bits.0));
        let difference = reward - mean;
        let weight = (1.0 - MEMORY).max(1.0 / f64::from(self.count + 1));
        let next = [
            mean + weight * difference,
            (1.0 - weight) * (variance + weight * difference * difference),
        ];
        [self.mean, self.variance] = next.map(|x| Bits(x.to_bits()));
        self.count = self.count.saturating_add(1);
        let spread = next[1].sqrt();
        if self.count == 1 || spread <= f64::EPSILON * reward.abs() {
            return 0.0;
        }
        (difference / spread).clamp(-FARTHEST, FARTHEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spaces::genotype::Operation;
    use rand::SeedableRng;

    fn rng() -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(5)
    }

    /// By hand: softmax of (0, ln 2, ln 5) is (1, 2, 5) / 8.
    #[test]
    fn the_gradient_is_the_log_probabilitys() {
        let logits = [0.0, 2f64.ln(), 5f64.ln()];
        let close = |found: &[f64], expected: &[f64]| {
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
        };
        close(&gradient(&logits, 1, 2.0), &[-0.25, 1.5, -1.25]);
        close(&gradient(&[f64::NEG_INFINITY, 0.0, 0.0], 2, 1.0), &[0.0, -0.5, 0.5]);
        // And the derivative of ln softmax, by differences.
        for option in 0..3 {
            let analytic = gradient(&logits, option, 1.0);
            for (i, expected) in analytic.iter().enumerate() {
                let at = |step: f64| {
                    let mut moved = logits;
                    moved[i] += step;
                    softmax(&moved)[option].ln()
                };
                assert!(((at(1e-5) - at(-1e-5)) / 2e-5 - expected).abs() < 1e-8);
            }
        }
        let mut alpha = Alpha::new();
        alpha.learn(&[(1, 3)], 0.7, 0.5);
        let p = 1.0 / 7.0;
        let expected: Vec<f64> = (0..7).map(|i| 0.35 * (f64::from(u8::from(i == 3)) - p)).collect();
        close(&alpha.0[1], &expected);
        assert!(alpha.0.iter().enumerate().all(|(i, l)| i == 1 || l.iter().all(|x| *x == 0.0)));
    }

    /// The reward counts separable 5×5 convolutions and edges from the first input, and shrinking follows what
    /// was learnt.
    #[test]
    fn the_expected_reward_rises_to_the_best() {
        let reward = |network: &darts::DartsNetwork| {
            let cells = [network.genotype().normal(), network.genotype().reduce()];
            let edges = cells.into_iter().flat_map(|c| c.nodes().iter().flatten());
            edges
                .map(|e| {
                    f64::from(u8::from(e.operation == Operation::SepConv5x5))
                        + f64::from(u8::from(e.from == 0))
                })
                .sum::<f64>()
        };
        let (mut alpha, mut baseline, mut rng) = (Alpha::new(), Baseline::default(), rng());
        let mut means = Vec::new();
        for keep in [7, 5, 3, 1] {
            alpha.keep(keep);
            let mut sum = 0.0;
            for _ in 0..800 {
                let (network, choices) = alpha.sample([3, 4], &mut rng).unwrap();
                // Any scale and offset of the reward does the same.
                let advantage = baseline.advantage(1000.0 * reward(&network) - 5e4);
                alpha.learn(&choices, advantage, 0.1);
                sum += reward(&network);
            }
            means.push(sum / 800.0);
        }
        assert!(means.windows(2).all(|m| m[0] < m[1]), "{means:?}");
        // 16 edges, and each of 8 nodes can read the first input once.
        assert_eq!(reward(&alpha.strongest([3, 4]).unwrap()), 24.0, "{means:?}");
    }

    #[test]
    fn nothing_that_was_dropped_is_drawn() {
        let (mut alpha, mut rng) = (Alpha::new(), rng());
        assert!(
            (alpha.entropy()
                - (28.0 * 7f64.ln() + 2.0 * (3f64.ln() + 6f64.ln() + 10f64.ln())) / 36.0)
                .abs()
                < 1e-12
        );
        for _ in 0..200 {
            let (_, choices) = alpha.sample([3, 4], &mut rng).unwrap();
            let advantage = rng.gen_range(-1.0..1.0);
            alpha.learn(&choices, advantage, 0.5);
        }
        for keep in [5, 3, 1] {
            let before = alpha.clone();
            alpha.keep(keep);
            assert_eq!(alpha.strongest([3, 4]), before.strongest([3, 4]));
            assert_eq!(Alpha::from_bits(&alpha.bits()), Some(alpha.clone()));
            let mut drawn = vec![std::collections::BTreeSet::new(); alpha.0.len()];
            for _ in 0..500 {
                let (_, choices) = alpha.sample([3, 4], &mut rng).unwrap();
                for (decision, option) in choices {
                    assert!(alpha.0[decision][option].is_finite());
                    drawn[decision].insert(option);
                }
                // A step brings nothing back.
                alpha.learn(&[(1, strongest(&alpha.0[1]))], 0.1, 0.1);
            }
            let operations = |list: &&Vec<f64>| list.len() == OPERATIONS.len();
            for list in alpha.0.iter().filter(operations) {
                assert_eq!(list.iter().filter(|l| l.is_finite()).count(), keep);
            }
            assert!(drawn.iter().zip(&alpha.0).all(|(d, l)| l.len() != 7 || d.len() <= keep));
        }
    }

    #[test]
    fn advantages_follow_the_moving_average() {
        let mut baseline = Baseline::default();
        assert_eq!(baseline.advantage(7.0), 0.0);
        assert_eq!(baseline.advantage(7.0), 0.0);
        assert!(baseline.advantage(8.0) > 0.0 && baseline.advantage(6.0) < 0.0);
        let values = (0..1000).map(|i| baseline.advantage(f64::from(i % 2)));
        assert!(
            values
                .skip(200)
                .enumerate()
                .all(|(i, a)| (a.abs() - 1.0).abs() < 0.2 && (a > 0.0) == (i % 2 == 1))
        );
    }
}
