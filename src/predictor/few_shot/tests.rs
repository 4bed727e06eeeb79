use super::kernel::CHOOSING;
use super::*;
use crate::metrics::spearman;
use ndarray::{Axis, s};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub(super) fn random(rows: usize, columns: usize, seed: u64) -> Array2<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    Array2::from_shape_fn((rows, columns), |_| rng.gen_range(-1.0..1.0))
}

/// The structure of graphs that no kernel looks at.
fn unasked(_: usize) -> Neighbourhoods {
    unreachable!("there is none")
}

#[test]
fn finds_the_group_that_matters() {
    let (noise, signal) = (random(400, 40, 1), random(400, 3, 2));
    let truth: Vec<f64> = signal.rows().into_iter().map(|r| 70.0 + r[0] - 2.0 * r[2]).collect();
    let train = [noise.slice(s![..50, ..]), signal.slice(s![..50, ..])];
    let regressor = FewShotRegressor::fit(&train, &[], &truth[..50]).unwrap();
    let test = [noise.slice(s![50.., ..]), signal.slice(s![50.., ..])];
    let predicted = regressor.predict(&test, unasked);
    assert!(spearman(&truth[50..], &predicted).unwrap() > 0.99);
    let error = predicted.iter().zip(&truth[50..]).map(|(p, t)| (p - t).abs()).sum::<f64>();
    assert!(error / 350.0 < 0.3, "{error}");
}

/// What a label is predicted from does not hold it: from noise it is predicted no better than
/// chance, though a fit to all labels follows them.
#[test]
fn left_out_ranks_know_nothing_of_their_label() {
    let targets = random(60, 1, 9).column(0).to_vec();
    let of = |features: &Array2<f64>| {
        let views = [features.view()];
        let (regressor, left_out) = FewShotRegressor::fit_left_out(&views, &[], &targets).unwrap();
        let fitted = regressor.predict(&views, unasked);
        [&fitted, &left_out].map(|predicted| spearman(&targets, predicted).unwrap())
    };
    let [fitted, left_out] = of(&random(60, 30, 10));
    assert!(fitted > 0.4 && left_out < 0.3, "{fitted} {left_out}");
    let signal = Array2::from_shape_fn((60, 1), |(i, _)| targets[i].exp());
    assert!(of(&signal)[1] > 0.95);
}

/// Networks whose estimate says less than one of their two costs.
fn networks(count: usize) -> ([Array2<f64>; 3], Vec<f64>) {
    let groups = [random(count, 1, 6), random(count, 4, 7), random(count, MEASURES, 8)];
    let targets = (0..count).map(|i| 90.0 + groups[0][[i, 0]] + 2.0 * groups[2][[i, 1]]);
    let targets = targets.collect();
    (groups, targets)
}

fn views(groups: &[Array2<f64>], rows: std::ops::Range<usize>) -> Vec<ArrayView2<'_, f64>> {
    groups.iter().map(|g| g.slice(s![rows.clone(), ..])).collect()
}

#[test]
fn what_is_stored_predicts_the_same() {
    let (groups, targets) = networks(180);
    let (train, test) = (views(&groups, 0..100), views(&groups, 100..180));
    let estimates: Vec<f64> = groups[0].column(0).to_vec();
    let cells: Vec<_> = (0..180).map(nasbench201).collect();
    let structures: Vec<Neighbourhoods> = cells.iter().map(|(graph, _)| graph.clone()).collect();
    let chained: Vec<f64> = cells.iter().map(|&(_, chained)| chained).collect();
    let regressors = [
        FewShotRegressor::fit(&train, &structures[..100], &chained[..100]).unwrap(),
        FewShotRegressor::fit(&train, &[], &targets[..100]).unwrap(),
        FewShotRegressor::recalibrate(&estimates[..100], &targets[..100]).unwrap().0,
    ];
    assert_eq!(regressors[0].kind(), RegressionKind::Neighbourhoods);
    assert_ne!(regressors[1].kind(), RegressionKind::Increasing);
    for regressor in regressors {
        let mut file = WeightFile::default();
        regressor.store(&mut file);
        let bytes = file.to_bytes().unwrap();
        let weights = Weights::parse(&bytes).unwrap();
        let loaded = FewShotRegressor::load(regressor.kind(), 4, &weights).unwrap();
        assert_eq!(loaded.kind(), regressor.kind());
        let test = |of: &FewShotRegressor| of.predict(&test, |i| structures[100 + i].clone());
        assert_eq!(test(&loaded), test(&regressor));
        assert_eq!(loaded.interval(0.3, 1.5), regressor.interval(0.3, 1.5));
    }
}

/// What leads to what is all that matters here, which no group of features knows.
#[test]
fn a_structure_tells_what_features_do_not() {
    let graphs: Vec<_> = (0..240).map(nasbench201).collect();
    let structures: Vec<Neighbourhoods> = graphs.iter().map(|(graph, _)| graph.clone()).collect();
    let targets: Vec<f64> = graphs.iter().map(|&(_, target)| target).collect();
    let noise = random(240, 3, 11);
    let (train, test) = (noise.slice(s![..120, ..]), noise.slice(s![120.., ..]));
    let regressor = FewShotRegressor::fit(&[train], &structures[..120], &targets[..120]).unwrap();
    let predicted = regressor.predict(&[test], |i| structures[120 + i].clone());
    assert!(spearman(&targets[120..], &predicted).unwrap() > 0.8);
    let blind = FewShotRegressor::fit(&[train], &[], &targets[..120]).unwrap();
    assert!(spearman(&targets[120..], &blind.predict(&[test], unasked)).unwrap() < 0.3);
}

/// The first labels choose the kernel; all are fitted alike.
#[test]
fn the_order_of_further_labels_does_not_matter() {
    let (groups, targets) = networks(CHOOSING + 80);
    let fit = |order: &[usize]| {
        let groups: Vec<Array2<f64>> = groups.iter().map(|g| g.select(Axis(0), order)).collect();
        let views: Vec<_> = groups.iter().map(Array2::view).collect();
        let labels: Vec<f64> = order.iter().map(|&i| targets[i]).collect();
        FewShotRegressor::fit(&views, &[], &labels).unwrap()
    };
    let all: Vec<usize> = (0..targets.len()).collect();
    let mut other = all.clone();
    other[CHOOSING..].reverse();
    let views: Vec<_> = groups.iter().map(Array2::view).collect();
    let [one, other] = [&all, &other].map(|order| fit(order).predict(&views, unasked));
    assert!(one.iter().zip(&other).all(|(a, b)| (a - b).abs() < 1e-6));
    // And they are fitted.
    let first = fit(&all[..CHOOSING]).predict(&views, unasked);
    let error = |predicted: &[f64]| -> f64 {
        (CHOOSING..all.len()).map(|i| (predicted[i] - targets[i]).abs()).sum()
    };
    assert!(error(&one) < error(&first));
}

/// A cell and how many of its convolutions follow upon another.
pub(super) fn nasbench201(seed: u64) -> (Neighbourhoods, f64) {
    use crate::encoder::GraphFeatures;
    use crate::lower::lower;
    use crate::spaces::{Architecture, nasbench201::Cell};
    let cell = Cell::sample(&mut ChaCha8Rng::seed_from_u64(seed));
    let graph = lower(&cell.build()).unwrap();
    let convolution = |i: usize| graph.node(i).operation == crate::graph::Operation::Conv;
    let chained = graph.edges().filter(|&(a, b)| !convolution(a) && convolution(b)).count();
    (Neighbourhoods::new(&GraphFeatures::new(&graph)), chained as f64 + 1e-3 * seed as f64)
}

#[test]
fn intervals_cover_networks_without_labels() {
    let (groups, targets) = networks(2000);
    let regressor = FewShotRegressor::fit(&views(&groups, 0..100), &[], &targets[..100]).unwrap();
    let test = views(&groups, 100..2000);
    let covered = (0..1900).filter(|&i| {
        let rank = regressor.rank(&test, i, Neighbourhoods::default);
        let [low, high] = regressor.interval(rank, 0.7);
        assert!(low <= regressor.value(rank) && regressor.value(rank) <= high);
        (low..=high).contains(&targets[100 + i])
    });
    let coverage = covered.count() as f64 / 1900.0;
    assert!((0.8..0.97).contains(&coverage), "{coverage}");
    let width = |distance| {
        let [low, high] = regressor.interval(0.0, distance);
        high - low
    };
    assert_eq!(width(0.0), width(1.0));
    assert!(width(1.0) < width(1.1) && width(1.1) < width(3.0));
}

/// Also when the estimates have it the wrong way round, or say nothing.
#[test]
fn recalibration_keeps_the_order() {
    for seed in 0..20 {
        let estimates = random(30, 1, seed).into_raw_vec_and_offset().0;
        let noise = random(30, 1, 100 + seed).into_raw_vec_and_offset().0;
        let sign = [-1.0, 0.0, 1.0][seed as usize % 3];
        let targets: Vec<f64> =
            estimates.iter().zip(noise).map(|(e, n)| 1e-4 * (sign * e + n)).collect();
        let (regressor, _) = FewShotRegressor::recalibrate(&estimates, &targets).unwrap();
        let ascending: Vec<f64> = (-40..40).map(|i| f64::from(i) / 10.0).collect();
        let column = Array2::from_shape_vec((80, 1), ascending).unwrap();
        let predicted = regressor.predict(&[column.view()], unasked);
        assert!(predicted.windows(2).all(|w| w[0] < w[1]), "{predicted:?}");
    }
    let same = FewShotRegressor::recalibrate(&[91.0; 9], &[1., 2., 3., 4., 5., 6., 7., 8., 9.]);
    let at = |estimate| {
        same.as_ref().unwrap().0.predict(&[Array2::from_elem((1, 1), estimate).view()], unasked)[0]
    };
    assert!(at(90.0) < at(91.0) && at(91.0) < at(92.0));
    assert!((at(91.0) - 5.0).abs() < 0.1, "{}", at(91.0));
}

/// Of those with low estimates a third failed to train, which nothing foretells: what is said of the others
/// is hardly worse for it.
#[test]
fn networks_that_failed_to_train_draw_no_others_away() {
    let estimates = random(90, 1, 3).into_raw_vec_and_offset().0;
    let label = |estimate: f64| 90.0 + 2.0 * estimate;
    let mut order: Vec<usize> = (0..90).collect();
    order.sort_by(|&a, &b| estimates[a].total_cmp(&estimates[b]));
    let mut targets: Vec<f64> = estimates.iter().map(|&e| label(e)).collect();
    order[..30].iter().step_by(3).for_each(|&i| targets[i] = 10.0);
    let (regressor, _) = FewShotRegressor::recalibrate(&estimates, &targets).unwrap();
    let unseen = random(300, 1, 4);
    let predicted = regressor.predict(&[unseen.view()], unasked);
    let error = predicted.iter().zip(&unseen).map(|(p, &e)| (p - label(e)).abs()).sum::<f64>();
    assert!(error / 300.0 < 0.4, "{}", error / 300.0);
}

#[test]
fn labels_that_say_nothing_are_errors() {
    let features = random(8, 2, 5);
    let fit = |targets: &[f64]| {
        FewShotRegressor::fit(&[features.slice(s![..targets.len(), ..])], &[], targets).unwrap_err()
    };
    assert_eq!(fit(&[1.0; 8]), FewShotError::Constant);
    assert_eq!(fit(&[1.0, f64::NAN, 2.0, 3.0, 4.0]), FewShotError::Constant);
    assert_eq!(fit(&[1.0, 2.0]), FewShotError::Few(2));
}
