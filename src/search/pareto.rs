//! Which of several networks is better when there are several objectives.

use std::cmp::Ordering;

/// How good a network is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fitness {
    /// By how much it violates the constraints, relative to their bounds; 0 when it meets them all.
    pub violation: f64,
    /// What is to be minimised; empty when constraints are violated.
    pub losses: Vec<f64>,
}

impl Fitness {
    /// Whether this is better in the sense of constrained domination (Deb et al. 2002, "A fast and
    /// elitist multiobjective genetic algorithm: NSGA-II", section VI): at least as good in every
    /// objective and better in one, when both meet the constraints; else, the lesser violation.
    pub fn dominates(&self, other: &Self) -> bool {
        if self.violation > 0.0 || other.violation > 0.0 {
            return self.violation < other.violation;
        }
        let pairs = || self.losses.iter().zip(&other.losses);
        pairs().all(|(a, b)| a <= b) && pairs().any(|(a, b)| a < b)
    }
}

/// The front that each network is on: 0 for those that none dominates, 1 for those that only
/// front 0 dominates, and so on (non-dominated sorting, Deb et al. 2002). In time and memory
/// quadratic in those that meet the constraints; the others, of which a search may see far more,
/// stand in a row by what they violate.
pub fn fronts(fitness: &[Fitness]) -> Vec<usize> {
    let (kept, mut others): (Vec<usize>, Vec<usize>) =
        (0..fitness.len()).partition(|&i| fitness[i].violation == 0.0);
    let mut dominated: Vec<Vec<u32>> = vec![Vec::new(); fitness.len()];
    let mut dominators = vec![0usize; fitness.len()];
    for (i, &a) in kept.iter().enumerate() {
        for &b in &kept[i + 1..] {
            let (winner, loser) = match () {
                () if fitness[a].dominates(&fitness[b]) => (a, b),
                () if fitness[b].dominates(&fitness[a]) => (b, a),
                () => continue,
            };
            dominated[winner].push(loser as u32);
            dominators[loser] += 1;
        }
    }
    let mut fronts = vec![0; fitness.len()];
    let mut current: Vec<usize> = kept.into_iter().filter(|&i| dominators[i] == 0).collect();
    let mut rank = 0;
    while !current.is_empty() {
        let mut next = Vec::new();
        for &winner in &current {
            fronts[winner] = rank;
            for &loser in &dominated[winner] {
                dominators[loser as usize] -= 1;
                if dominators[loser as usize] == 0 {
                    next.push(loser as usize);
                }
            }
        }
        (current, rank) = (next, rank + 1);
    }
    others.sort_by(|&a, &b| fitness[a].violation.total_cmp(&fitness[b].violation));
    for alike in others.chunk_by(|&a, &b| fitness[a].violation == fitness[b].violation) {
        alike.iter().for_each(|&i| fronts[i] = rank);
        rank += 1;
    }
    fronts
}

/// Positions of the networks that no other dominates, without repetitions of the same losses.
/// In `O(n log n)` for up to two objectives, in `O(n · front)` for more.
pub fn front(fitness: &[Fitness]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..fitness.len()).collect();
    let compare = |a: &usize, b: &usize| {
        let (a, b) = (&fitness[*a], &fitness[*b]);
        a.violation.total_cmp(&b.violation).then_with(|| lexicographic(&a.losses, &b.losses))
    };
    // After this, nobody is dominated by someone behind, and equals stand in their own order.
    order.sort_by(compare);
    let mut front: Vec<usize> = Vec::new();
    for i in order {
        let beaten = |&f: &usize| {
            fitness[f].dominates(&fitness[i])
                || (fitness[f] == fitness[i] && fitness[i].violation == 0.0)
        };
        // With two objectives the last of the front is the best in the second.
        let hidden = match fitness[i].losses.len() {
            ..=2 => front.last().is_some_and(beaten),
            _ => front.iter().any(beaten),
        };
        if !hidden {
            front.push(i);
        }
    }
    front
}

/// Unlike in the total order of floating-point numbers, the two zeros are equal.
fn lexicographic(a: &[f64], b: &[f64]) -> Ordering {
    let compare = |(a, b): (&f64, &f64)| a.partial_cmp(b).unwrap_or_else(|| a.total_cmp(b));
    a.iter().zip(b).map(compare).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
}

/// The crowding distance of each of these networks of one front: the sum over objectives of the
/// gap between its two neighbours, as a share of the objective's range; infinite at the ends
/// (Deb et al. 2002, section III-B), which two networks both are. An objective in which all are
/// equal has no ends, and infinite losses are nobody's neighbours.
pub fn crowding(front: &[&Fitness]) -> Vec<f64> {
    if front.len() <= 2 {
        return vec![f64::INFINITY; front.len()];
    }
    let mut distances = vec![0.0; front.len()];
    let objectives = front.iter().map(|f| f.losses.len()).min().unwrap_or(0);
    for objective in 0..objectives {
        let loss = |i: usize| front[i].losses[objective];
        let mut order: Vec<usize> = (0..front.len()).filter(|&i| loss(i).is_finite()).collect();
        order.sort_by(|&a, &b| loss(a).total_cmp(&loss(b)));
        let (Some(&first), Some(&last)) = (order.first(), order.last()) else { continue };
        let range = loss(last) - loss(first);
        if range > 0.0 {
            distances[first] = f64::INFINITY;
            distances[last] = f64::INFINITY;
            for three in order.windows(3) {
                distances[three[1]] += (loss(three[2]) - loss(three[0])) / range;
            }
        }
    }
    distances
}

/// Positions from the best to the worst: by front, and within one from the least crowded on; of
/// equals the earlier goes first.
pub fn order(fitness: &[Fitness]) -> Vec<usize> {
    let fronts = fronts(fitness);
    let mut distances = vec![0.0; fitness.len()];
    let mut members: Vec<Vec<usize>> = Vec::new();
    for (i, &rank) in fronts.iter().enumerate() {
        members.resize(members.len().max(rank + 1), Vec::new());
        members[rank].push(i);
    }
    for members in members {
        let crowded = crowding(&members.iter().map(|&i| &fitness[i]).collect::<Vec<_>>());
        for (i, distance) in members.into_iter().zip(crowded) {
            distances[i] = distance;
        }
    }
    let mut order: Vec<usize> = (0..fitness.len()).collect();
    order.sort_by(|&a, &b| {
        fronts[a].cmp(&fronts[b]).then_with(|| distances[b].total_cmp(&distances[a]))
    });
    order
}

/// The first of [`order`], for which the other fronts are not needed.
pub fn best(fitness: &[&Fitness]) -> Option<usize> {
    let beaten = |a: &&Fitness| fitness.iter().any(|b| b.dominates(a));
    let front: Vec<usize> = (0..fitness.len()).filter(|&i| !beaten(&fitness[i])).collect();
    let crowded = crowding(&front.iter().map(|&i| fitness[i]).collect::<Vec<_>>());
    let more_room = |a: &(usize, f64), b: &(usize, f64)| b.1.total_cmp(&a.1);
    front.into_iter().zip(crowded).min_by(more_room).map(|(i, _)| i)
}

/// Volume of what `points` dominate below `reference`, all to be minimised (Zitzler & Thiele 1999).
/// Exact; in `O(n log n)` for two objectives, by slicing along the last one for more.
pub fn hypervolume(points: &[Vec<f64>], reference: &[f64]) -> f64 {
    let inside = |p: &&Vec<f64>| p.iter().zip(reference).all(|(p, r)| p < r);
    let mut points: Vec<&[f64]> = points.iter().filter(inside).map(Vec::as_slice).collect();
    sliced(&mut points, reference)
}

/// [`hypervolume`] of points inside, in as many objectives as `reference` has.
fn sliced(points: &mut [&[f64]], reference: &[f64]) -> f64 {
    let Some((&limit, rest)) = reference.split_last() else { return 1.0 };
    let last = rest.len();
    points.sort_by(|a, b| a[last].total_cmp(&b[last]));
    if rest.len() == 1 {
        // The staircase: what a point adds ends where the best before it begins.
        let (mut volume, mut best) = (0.0, rest[0]);
        for p in points.iter() {
            if p[0] < best {
                volume += (best - p[0]) * (limit - p[1]);
                best = p[0];
            }
        }
        return volume;
    }
    let mut volume = 0.0;
    for i in 0..points.len() {
        let end = points.get(i + 1).map_or(limit, |next| next[last]);
        let height = end - points[i][last];
        if height > 0.0 {
            volume += height * sliced(&mut points[..=i].to_vec(), rest);
        }
    }
    volume
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::collections::BTreeMap;

    /// One case of `tests/fixtures/pareto.json`, which `scripts/pareto_fixtures.py` made.
    #[derive(Deserialize)]
    struct Case {
        losses: Vec<Vec<f64>>,
        fronts: Vec<usize>,
        /// `None` for infinity.
        crowding: Vec<Option<f64>>,
        reference: Vec<f64>,
        hypervolume: f64,
    }

    fn feasible(losses: &[f64]) -> Fitness {
        Fitness { violation: 0.0, losses: losses.to_vec() }
    }

    #[test]
    fn agrees_with_pymoo() {
        let cases = include_str!("../../tests/fixtures/pareto.json");
        let cases: BTreeMap<String, Case> = serde_json::from_str(cases).unwrap();
        for (name, case) in cases {
            let fitness: Vec<Fitness> = case.losses.iter().map(|l| feasible(l)).collect();
            let ranks = fronts(&fitness);
            assert_eq!(ranks, case.fronts, "{name}");
            let violating = |(i, f): (usize, &Fitness)| Fitness {
                violation: [0.5, 0.25, 2.0][i % 3],
                ..f.clone()
            };
            let violating: Vec<Fitness> = fitness.iter().enumerate().map(violating).collect();
            for fitness in [&fitness[..], &violating, &[&violating[..], &fitness].concat(), &[]] {
                let all: Vec<&Fitness> = fitness.iter().collect();
                assert_eq!(best(&all), order(fitness).first().copied(), "{name}");
            }
            for rank in 0..=ranks.iter().copied().max().unwrap() {
                let members: Vec<usize> = (0..ranks.len()).filter(|&i| ranks[i] == rank).collect();
                let of = crowding(&members.iter().map(|&i| &fitness[i]).collect::<Vec<_>>());
                for (&i, distance) in members.iter().zip(of) {
                    let expected = case.crowding[i].unwrap_or(f64::INFINITY);
                    let equal = distance == expected || (distance - expected).abs() < 1e-9;
                    assert!(equal, "{name}, point {i}: {distance} instead of {expected}");
                }
            }
            // Of copies, `front` keeps the first.
            let mut kept = front(&fitness);
            kept.sort_unstable();
            let first = |&i: &usize| ranks[i] == 0 && !fitness[..i].contains(&fitness[i]);
            assert_eq!(kept, (0..ranks.len()).filter(first).collect::<Vec<_>>(), "{name}");
            let volume = hypervolume(&case.losses, &case.reference);
            let error = (volume - case.hypervolume).abs() / case.hypervolume.max(1.0);
            assert!(error < 1e-9, "{name}: {volume} instead of {}", case.hypervolume);
        }
    }

    /// A network that could not be measured is no reason to prefer its neighbours.
    #[test]
    fn infinite_losses_and_signed_zeros_are_ordinary() {
        let inf = f64::INFINITY;
        let losses = [[0.0, inf], [1.0, 4.0], [2.0, 3.0], [4.0, 0.0]].map(|l| feasible(&l));
        let distances = crowding(&losses.iter().collect::<Vec<_>>());
        assert_eq!(distances, [inf, inf, 3.0 / 4.0 + 1.0, inf]);
        let zeros = [[-0.0, 7.0], [0.0, 5.0]].map(|l| feasible(&l));
        assert_eq!(front(&zeros), [1]);
    }

    #[test]
    fn what_meets_the_constraints_dominates_what_does_not() {
        let violating = |violation| Fitness { violation, losses: Vec::new() };
        let fitness = [violating(0.5), feasible(&[9.0]), violating(0.1), violating(f64::INFINITY)];
        assert_eq!(fronts(&fitness), [2, 0, 1, 3]);
        assert_eq!(order(&fitness), [1, 2, 0, 3]);
        assert_eq!(front(&fitness), [1]);
        assert_eq!(front(&fitness[2..]), [0], "the least violation where none meets them");
    }
}
