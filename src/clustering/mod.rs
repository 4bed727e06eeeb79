//! Clusters that share their points.
//!
//! Fuzzy c-means gives each point a membership in every cluster instead of assigning it to one.
//! For centroids c_1…c_k and a fuzzifier m > 1, the membership of point x_i in cluster j is
//!
//! ```text
//! U_ij = 1 / Σ_l (d_ij / d_il)^(2 / (m − 1)),    d_ij = ‖x_i − c_j‖
//! ```
//!
//! which lies in [0, 1] and sums to 1 over the clusters. Memberships become those of k-means as m
//! approaches 1, and equal as m grows. Source: J. C. Bezdek, *Pattern Recognition with Fuzzy
//! Objective Function Algorithms*, Plenum Press 1981, theorem 11.1.
//!
//! A point that is far from all centroids can belong to a noise cluster instead, which is at the same
//! distance δ from every point: l runs over it too, and what a point's memberships lack to 1 is its
//! membership in noise. Source: R. N. Davé, *Characterization and detection of noise in clustering*,
//! Pattern Recognition Letters 12 (1991), section 3.
//!
//! [`memberships`] needs no more than the centroids. `FuzzyCMeans`, which finds these, is built on
//! linfa and there with the feature `clustering`.

#[cfg(feature = "clustering")]
mod fuzzy_cmeans;

#[cfg(feature = "clustering")]
pub use fuzzy_cmeans::*;

use ndarray::{
    Array1, Array2, ArrayBase, ArrayView1, ArrayView2, ArrayViewMut1, ArrayViewMut2, Data, Ix2,
    NdFloat, Zip,
};

/// The memberships U (n, k) of `observations` (n, features) in clusters around `centroids`
/// (k, features).
///
/// A point that lies on a centroid belongs to it alone, and if several centroids lie there, to
/// these in equal parts. A point so far from all centroids that squared distances overflow belongs
/// to all in equal parts. The row of a point with NaN or an infinity in it means nothing.
///
/// # Panics
/// If centroids and observations differ in their number of features, or `fuzzifier` is not finite
/// or not above 1.
pub fn memberships<F: NdFloat>(
    centroids: &ArrayBase<impl Data<Elem = F>, Ix2>,
    fuzzifier: F,
    observations: &ArrayBase<impl Data<Elem = F>, Ix2>,
) -> Array2<F> {
    assert_eq!(centroids.ncols(), observations.ncols(), "features of centroids and observations");
    assert!(fuzzifier.is_finite() && fuzzifier > F::one(), "fuzzifier {fuzzifier}");
    let mut memberships = Array2::zeros((observations.nrows(), centroids.nrows()));
    let view = memberships.view_mut();
    write_memberships(centroids.view(), fuzzifier, observations.view(), view);
    memberships
}

/// The memberships U (n, k) of `observations` (n, features) in clusters around `centroids`
/// (k, features) beside a noise cluster at the distance `noise` of every point.
///
/// # Panics
/// As [`memberships`], and if `noise` is not positive.
pub fn memberships_beside_noise<F: NdFloat>(
    centroids: &ArrayBase<impl Data<Elem = F>, Ix2>,
    fuzzifier: F,
    noise: F,
    observations: &ArrayBase<impl Data<Elem = F>, Ix2>,
) -> Array2<F> {
    assert!(noise > F::zero(), "noise at a distance of {noise}");
    let mut memberships = memberships(centroids, fuzzifier, observations);
    let exponent = (fuzzifier - F::one()).recip();
    Zip::from(memberships.rows_mut()).and(observations.rows()).for_each(|mut row, point| {
        let distance = |centroid| squared_distance(point, centroid);
        let squares = centroids.rows().into_iter().map(distance);
        // The nearest cluster and noise share what they have in the proportion of the formula; the
        // others' part is known in units of the nearest's.
        let nearest = squares.fold(F::infinity(), F::min);
        let first = row.iter().copied().fold(F::zero(), F::max);
        let ratio = (nearest / (noise * noise)).powf(exponent);
        if first > F::zero() {
            row /= F::one() + ratio * first;
        }
    });
    memberships
}

/// Fewer points than this are the calling thread's.
const FEW: usize = 1024;

/// How evenly each point is shared: the entropy of its memberships (n, k) over that of equal ones,
/// from 0 for a point that belongs to one cluster alone to 1.
pub fn membership_entropy<F: NdFloat>(memberships: ArrayView2<F>) -> Array1<F> {
    let clusters = F::from(memberships.ncols()).unwrap_or_else(F::one);
    let most = if clusters > F::one() { clusters.ln() } else { F::one() };
    let surprise = |u: F| if u > F::zero() { -u * u.ln() } else { F::zero() };
    memberships.rows().into_iter().map(|row| row.mapv(surprise).sum() / most).collect()
}

/// Writes the memberships (n, k) and returns the points' shares of the objective, in their order.
fn write_memberships<F: NdFloat>(
    centroids: ArrayView2<F>,
    fuzzifier: F,
    observations: ArrayView2<F>,
    mut memberships: ArrayViewMut2<F>,
) -> Vec<F> {
    let share = |point: ArrayView1<F>, row: ArrayViewMut1<F>| {
        write_point_memberships(centroids, fuzzifier, point, row)
    };
    let rows = Zip::from(observations.rows()).and(memberships.rows_mut());
    match observations.nrows() {
        // Waking other threads takes longer, and whoever asks about one network may have forked.
        ..FEW => rows.map_collect(share).to_vec(),
        _ => rows.par_map_collect(share).to_vec(),
    }
}

/// Writes the memberships of one point and returns its share of the objective, Σ_j U_ij^m d_ij².
///
/// With r_j = (d_min / d_ij)^(2 / (m − 1)), which never exceeds 1 and therefore never overflows,
/// memberships are r_j / Σ r, and the share of the objective is d_min² (Σ r)^(1 − m).
fn write_point_memberships<F: NdFloat>(
    centroids: ArrayView2<F>,
    fuzzifier: F,
    point: ArrayView1<F>,
    mut memberships: ArrayViewMut1<F>,
) -> F {
    Zip::from(&mut memberships)
        .and(centroids.rows())
        .for_each(|out, centroid| *out = squared_distance(point, centroid));
    let nearest = memberships.iter().copied().fold(F::infinity(), F::min);
    let exponent = (fuzzifier - F::one()).recip();
    let mut total = F::zero();
    for out in &mut memberships {
        // Equality is a case of its own because neither 0 / 0 nor ∞ / ∞ is 1.
        *out = if *out == nearest { F::one() } else { (nearest / *out).powf(exponent) };
        total += *out;
    }
    memberships /= total;
    nearest * total.powf(F::one() - fuzzifier)
}

fn squared_distance<F: NdFloat>(a: ArrayView1<F>, b: ArrayView1<F>) -> F {
    Zip::from(a).and(b).fold(F::zero(), |sum, &a, &b| sum + (a - b) * (a - b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    /// From the definition, by hand.
    #[test]
    fn memberships_are_those_of_the_formula() {
        let centroids = array![[0.0_f64, 0.0], [4.0, 0.0], [0.0, 8.0]];
        // Distances 1, 3 and √65.
        let [a, b, c] = [1.0_f64, 1.0 / 9.0, 1.0 / 65.0];
        let u = memberships(&centroids, 2.0, &array![[1.0, 0.0]]);
        for (&u, r) in u.iter().zip([a, b, c]) {
            assert!((u - r / (a + b + c)).abs() < 1e-15);
        }
        // With m = 3 the powers of the distances are halved.
        let u = memberships(&centroids, 3.0, &array![[1.0, 0.0]]);
        assert!((u[[0, 1]] / u[[0, 0]] - 1.0 / 3.0).abs() < 1e-15);
    }

    #[test]
    fn noise_is_one_more_cluster_at_the_same_distance_of_all() {
        let centroids = array![[0.0_f64, 0.0], [4.0, 0.0], [0.0, 8.0]];
        let points = array![[1.0, 0.0], [0.0, 0.0], [100.0, -3.0], [2.0, 4.0]];
        for (fuzzifier, noise) in [(2.0, 2.0_f64), (1.5, 0.3), (3.0, 20.0)] {
            let u = memberships_beside_noise(&centroids, fuzzifier, noise, &points);
            for (point, u) in points.rows().into_iter().zip(u.rows()) {
                let power = |square: f64| square.powf(-1.0 / (fuzzifier - 1.0));
                let shares: Vec<f64> = centroids
                    .rows()
                    .into_iter()
                    .map(|c| power(squared_distance(point, c)))
                    .collect();
                let all = shares.iter().sum::<f64>() + power(noise * noise);
                for (u, share) in u.iter().zip(&shares) {
                    let expected = if share.is_infinite() { 1.0 } else { share / all };
                    let expected =
                        if all.is_infinite() && share.is_finite() { 0.0 } else { expected };
                    assert!((u - expected).abs() < 1e-12, "{u}, not {expected}");
                }
            }
        }
        // Far away, everything is noise.
        let u = memberships_beside_noise(&centroids, 2.0, 1.0, &array![[1e9, 1e9], [1e200, 0.0]]);
        assert!(u.sum() < 1e-12);
    }

    #[test]
    fn points_on_centroids_belong_to_these_alone() {
        let centroids = array![[0.0, 0.0], [1.0, 1.0], [0.0, 0.0]];
        for fuzzifier in [1.001, 2.0, 50.0] {
            let u = memberships(&centroids, fuzzifier, &array![[0.0, 0.0], [1.0, 1.0]]);
            assert_eq!(u, array![[0.5, 0.0, 0.5], [0.0, 1.0, 0.0]]);
        }
    }

    #[test]
    fn extreme_values_leave_rows_that_sum_to_one() {
        let centroids = array![[0.0], [1.0], [3.0], [-1e100]];
        let points = array![[0.4], [1e-300], [1.0 + 1e-15], [1e200], [-1e300], [f64::MAX], [1e154]];
        for fuzzifier in [1.0 + f64::EPSILON, 1.0001, 1.5, 2.0, 1e3, 1e300] {
            let u = memberships(&centroids, fuzzifier, &points);
            for row in u.rows() {
                assert!((row.sum() - 1.0).abs() < 1e-12, "m = {fuzzifier}: {row}");
                assert!(row.iter().all(|u| (0.0..=1.0).contains(u)), "m = {fuzzifier}: {row}");
            }
        }
        let u = memberships(&array![[0.0_f32], [1.0]], 1.001, &array![[0.2], [1e30]]);
        assert_eq!(u, array![[1.0, 0.0], [0.5, 0.5]]);
        let u = memberships(&centroids, 2.0, &array![[f64::NAN], [0.0]]);
        assert!(u.row(0).iter().all(|u| u.is_nan()));
        assert_eq!(u.row(1), Array1::from_vec(vec![1.0, 0.0, 0.0, 0.0]));
    }

    #[test]
    #[should_panic(expected = "fuzzifier 1")]
    fn a_fuzzifier_of_one_is_refused() {
        memberships(&array![[0.0], [1.0]], 1.0, &array![[0.5]]);
    }

    #[test]
    fn entropy_is_highest_between_the_clusters() {
        let u = array![[1.0, 0.0, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0.0, 0.0]];
        assert_eq!(membership_entropy(u.view()), array![0.0, 1.0, 0.5]);
        assert_eq!(membership_entropy(array![[1.0]].view()), array![0.0]);
    }

    /// The share of the objective in closed form is what its definition says.
    #[test]
    fn objective_is_the_weighted_sum_of_squared_distances() {
        let centroids = array![[0.0, 0.5], [2.0, 1.0], [-1.0, 4.0]];
        let point = array![0.7, -0.2];
        for fuzzifier in [1.2_f64, 2.0, 3.5] {
            let mut u = Array1::<f64>::zeros(3);
            let share =
                write_point_memberships(centroids.view(), fuzzifier, point.view(), u.view_mut());
            let expected: f64 = (centroids.rows().into_iter().zip(&u))
                .map(|(c, u)| u.powf(fuzzifier) * squared_distance(point.view(), c))
                .sum();
            assert!((share - expected).abs() < 1e-14, "{share}, not {expected}");
        }
    }
}
