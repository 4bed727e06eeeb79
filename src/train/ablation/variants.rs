//! What is compared, and the paper's figures (arXiv 2211.17226).

/// What heads are trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Accuracy,
    /// Accuracy after the [`FlopsTransform`](crate::predictor::FlopsTransform).
    Transformed,
    /// Which of two networks is better.
    Pairwise,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Predictor {
    KGnn,
    Flops,
    /// On contrastive embeddings, of which each fuzzy cluster may have a head.
    Heads {
        target: Target,
        fuzzy: bool,
    },
}

/// A predictor, and where the paper has it.
pub(super) struct Variant {
    pub name: &'static str,
    pub predictor: Predictor,
    /// Its mean absolute error and rank correlation in table 3, if it is there.
    pub table_3: Option<[f64; 2]>,
    /// Whether it is part of the ensemble.
    pub member: bool,
}

const fn heads(target: Target, fuzzy: bool) -> Predictor {
    Predictor::Heads { target, fuzzy }
}

const fn variant(
    name: &'static str,
    predictor: Predictor,
    table_3: Option<[f64; 2]>,
    member: bool,
) -> Variant {
    Variant { name, predictor, table_3, member }
}

#[rustfmt::skip]
pub(super) const VARIANTS: [Variant; 8] = [
    variant("k-GNN", Predictor::KGnn, Some([1.61, 0.814]), true),
    variant("FLOPs", Predictor::Flops, None, true),
    variant("CL", heads(Target::Accuracy, false), Some([1.51, 0.874]), false),
    variant("CL+FCM", heads(Target::Accuracy, true), Some([1.19, 0.896]), false),
    variant("CL+T", heads(Target::Transformed, false), Some([0.65, 0.921]), true),
    variant("CL+FCM+T", heads(Target::Transformed, true), Some([0.59, 0.930]), true),
    variant("CL+Pairwise", heads(Target::Pairwise, false), None, true),
    variant("CL+Pairwise+FCM", heads(Target::Pairwise, true), None, true),
];

/// What the ensemble is called.
pub(super) const ENSEMBLE: &str = "GENNAPE";

/// Rank correlations in table 5 without labels and with 50, by family and predictor.
pub(super) const TABLE_5: [(&str, &str, [f64; 2]); 2] = [
    ("nasbench201-no-none", "k-GNN", [0.4930, 0.8606]),
    ("nasbench201-no-none", ENSEMBLE, [0.8146, 0.9103]),
];

/// Those of table 3, with its figures.
pub(super) fn in_table_3() -> impl Iterator<Item = (&'static Variant, [f64; 2])> {
    VARIANTS.iter().filter_map(|variant| Some((variant, variant.table_3?)))
}

/// The members of the ensemble.
pub(super) fn members() -> impl Iterator<Item = &'static Variant> {
    VARIANTS.iter().filter(|variant| variant.member)
}
