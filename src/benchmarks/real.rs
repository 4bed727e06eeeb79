//! Hand-designed networks with measured accuracies: ONNX files beside a table.
//!
//! Two folders are read: `onnx_zoo`, whose `imagenet_labels.csv` has ImageNet-1k accuracies, and
//! `cifar_zoo`, whose `labels.csv` has accuracies on CIFAR-10, CIFAR-100 and SVHN by several authors.

use super::{BenchmarkError, Target};
use crate::files;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A label of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct Label {
    /// The network's ONNX file.
    pub file: PathBuf,
    /// What its authors call it, and how it was trained where there are several ways.
    pub name: String,
    /// Networks of one family are variants of one design.
    pub family: String,
    /// Families that resemble one another.
    pub superfamily: String,
    /// What was measured.
    pub target: Target,
    /// Accuracy in per cent.
    pub accuracy: f64,
    /// What is known of how it came about; of one length for all labels of a set.
    pub covariates: Vec<f64>,
    /// Labels with the same recipe have something in common.
    pub recipe: Option<String>,
    /// Whether the label counts when accuracies are reported: one an architecture, of the author
    /// whose labels the estimates are to agree with.
    pub reference: bool,
}

/// A set of labelled networks whose targets help one another.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelSet {
    /// All labels.
    pub labels: Vec<Label>,
    /// What the covariates are.
    pub covariates: Vec<String>,
    /// What is asked of a network of unknown recipe, and of known ones by name, for each target.
    pub recipes: Vec<TargetRecipes>,
}

/// Covariates to predict with.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetRecipes {
    /// The target.
    pub target: Target,
    /// Names, the one that holds when none is named first, and the covariates of each.
    pub recipes: Vec<(&'static str, Vec<f64>)>,
}

/// A recipe that is not known: what labels were trained by, in the mean.
pub const USUAL: &str = "usual";

pub(super) const IMAGENET: &str = "onnx_zoo/imagenet_labels.csv";
const CIFAR: &str = "cifar_zoo/labels.csv";
/// The targets that it has labels of.
const CIFAR_TARGETS: [Target; 3] = [Target::Cifar10, Target::Cifar100, Target::Svhn];

/// Which recipes there are for ImageNet: old ones, plain ones, and two grades of strong ones.
const STRENGTHS: usize = 4;

#[derive(Deserialize)]
struct ImageNetRow {
    file: String,
    name: String,
    family: String,
    superfamily: String,
    recipe: String,
    strength: usize,
    img_size: f64,
    input: f64,
    top1: f64,
    best: u8,
}

#[derive(Deserialize)]
struct CifarRow {
    file: String,
    source: String,
    network: String,
    family: String,
    dataset: String,
    accuracy: f64,
}

/// A row that can't be used.
pub(super) fn wrong(path: &Path, row: usize, what: impl std::fmt::Display) -> BenchmarkError {
    // The header is line 1.
    BenchmarkError::Malformed { path: path.into(), reason: format!("line {}: {what}", row + 2) }
}

pub(super) fn rows<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<Vec<T>, BenchmarkError> {
    const MAX_BYTES: u64 = 1 << 26;
    let bytes = files::read(path, MAX_BYTES)
        .map_err(|source| BenchmarkError::Unreadable { path: path.into(), source })?;
    let mut reader = csv::Reader::from_reader(bytes.as_slice());
    let row = |(i, row): (usize, Result<T, csv::Error>)| row.map_err(|e| wrong(path, i, e));
    reader.deserialize().enumerate().map(row).collect()
}

impl LabelSet {
    /// Labels of ImageNet-1k, from the folder of labelled sets.
    ///
    /// # Errors
    /// When the table can't be read.
    pub fn imagenet(data: &Path) -> Result<Self, BenchmarkError> {
        let path = data.join(IMAGENET);
        let mut labels = Vec::new();
        for (i, row) in rows::<ImageNetRow>(&path)?.into_iter().enumerate() {
            if row.strength >= STRENGTHS || !(row.img_size > 0.0 && row.input > 0.0) {
                return Err(wrong(&path, i, "strength or size is out of range"));
            }
            let mut covariates = vec![0.0; STRENGTHS];
            covariates[row.strength] = 1.0;
            covariates.push((row.img_size / row.input).ln());
            labels.push(Label {
                file: data.join("onnx_zoo").join(&row.file),
                name: format!("{}.{}", row.name, row.recipe),
                family: row.family,
                superfamily: row.superfamily,
                target: Target::ImageNet1k,
                accuracy: checked(row.top1).ok_or_else(|| wrong(&path, i, OUT_OF_RANGE))?,
                covariates,
                // The tag of nobody in particular.
                recipe: Some(row.recipe).filter(|tag| tag != "in1k"),
                reference: row.best == 1,
            });
        }
        let names = ["old", "plain", "improved", "strong"];
        let covariates = names.iter().map(|n| format!("recipe: {n}"));
        let pure = |at: usize| (0..=STRENGTHS).map(|i| f64::from(u8::from(i == at))).collect();
        let recipes =
            vec![(USUAL, vec![0.0, 0.0, 0.7, 0.3, 0.0]), ("plain", pure(1)), ("strong", pure(3))];
        Ok(Self {
            labels,
            covariates: covariates.chain(["log of evaluated by exported size".into()]).collect(),
            recipes: vec![TargetRecipes { target: Target::ImageNet1k, recipes }],
        })
    }

    /// Labels of CIFAR-10, CIFAR-100 and SVHN, from the folder of labelled sets. Authors differ by a
    /// point on one network, so that each has an offset for each target; estimates are to agree with
    /// pytorchcv's, whose networks were trained long and tuned one by one.
    ///
    /// # Errors
    /// When the table can't be read.
    pub fn cifar(data: &Path) -> Result<Self, BenchmarkError> {
        const REFERENCE: &str = "pytorchcv";
        let path = data.join(CIFAR);
        let table = rows::<CifarRow>(&path)?;
        let offsets: BTreeSet<(&str, &str)> =
            table.iter().map(|row| (row.dataset.as_str(), row.source.as_str())).collect();
        let offsets: Vec<(&str, &str)> = offsets.into_iter().collect();
        let pure = |which: &dyn Fn(&(&str, &str)) -> bool| -> Vec<f64> {
            let chosen = offsets.iter().filter(|o| which(o)).count().max(1) as f64;
            offsets.iter().map(|o| if which(o) { 1.0 / chosen } else { 0.0 }).collect()
        };
        let target = |set: &str| CIFAR_TARGETS.into_iter().find(|target| target.data_set() == set);
        let mut labels = Vec::new();
        for (i, row) in table.iter().enumerate() {
            let own = (row.dataset.as_str(), row.source.as_str());
            labels.push(Label {
                file: data.join("cifar_zoo").join(&row.file),
                name: format!("{}.{}", row.network, row.source),
                superfamily: superfamily(&row.family).to_string(),
                family: row.family.clone(),
                target: target(&row.dataset)
                    .ok_or_else(|| wrong(&path, i, format!("unknown data set '{}'", own.0)))?,
                accuracy: checked(row.accuracy).ok_or_else(|| wrong(&path, i, OUT_OF_RANGE))?,
                covariates: pure(&|o| *o == own),
                recipe: None,
                reference: row.source == REFERENCE,
            });
        }
        let of = |target: Target| TargetRecipes {
            target,
            recipes: [
                (USUAL, pure(&|o| *o == (target.data_set(), REFERENCE))),
                ("plain", pure(&|o| o.0 == target.data_set() && o.1 != REFERENCE)),
            ]
            .into_iter()
            // Nobody else has labels of SVHN.
            .filter(|(_, covariates)| covariates.iter().any(|&x| x > 0.0))
            .collect(),
        };
        let recipes = CIFAR_TARGETS.map(of).into();
        let covariates = offsets.iter().map(|(set, source)| format!("{source} on {set}")).collect();
        Ok(Self { labels, covariates, recipes })
    }
}

const OUT_OF_RANGE: &str = "the accuracy is not between 0 and 100";

fn checked(accuracy: f64) -> Option<f64> {
    (accuracy > 0.0 && accuracy < 100.0).then_some(accuracy)
}

/// Families of networks for small images that are variations of one design.
fn superfamily(family: &str) -> &str {
    match family {
        "nin" | "vgg" | "alexnet" | "lenet" => "plain",
        "resnet" | "preresnet" | "rir" | "ror3" => "residual",
        "seresnet" | "sepreresnet" | "diaresnet" | "diapreresnet" => "attentive residual",
        "resnext" | "shake" => "branched residual",
        "mobilenet" | "shufflev1" | "shufflev2" => "mobile",
        // densenet, wrn, pyramidnet, cct
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(
        path: &str,
        table: &str,
        load: fn(&Path) -> Result<LabelSet, BenchmarkError>,
    ) -> Result<LabelSet, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, table).unwrap();
        load(folder.path()).map_err(|e| e.to_string())
    }

    #[test]
    fn imagenet_labels_have_recipes() {
        let header = "file,name,family,superfamily,recipe,strength,img_size,input,top1,best\n";
        let table = |rows: &str| read(IMAGENET, &format!("{header}{rows}"), LabelSet::imagenet);
        let set = table("a/n.onnx,n,f,s,in1k,3,448,224,80.5,1\nb.onnx,m,f,s,ra,0,224,224,70,0\n");
        let labels = set.unwrap().labels;
        assert!(labels[0].file.ends_with("onnx_zoo/a/n.onnx") && labels[0].name == "n.in1k");
        assert_eq!(labels[0].covariates, [0.0, 0.0, 0.0, 1.0, 2f64.ln()]);
        assert_eq!((&labels[0].recipe, labels[0].reference), (&None, true));
        assert_eq!((labels[1].recipe.as_deref(), labels[1].reference), (Some("ra"), false));
        for (row, expected) in [
            ("n.onnx,n,f,s,r,4,224,224,80,1", "line 2: strength or size"),
            ("n.onnx,n,f,s,r,1,0,224,80,1", "line 2: strength or size"),
            ("n.onnx,n,f,s,r,1,224,224,180,1", "line 2: the accuracy is not between"),
            ("n.onnx,n,f,s,r,1,224,224,NaN,1", "line 2: the accuracy is not between"),
            ("n.onnx,n,f,s,r,1,224,224,good,1", "line 2: "),
            ("n.onnx,n", "line 2: "),
        ] {
            let told = table(row).unwrap_err();
            assert!(told.contains(expected), "{row}: {told}");
        }
    }

    #[test]
    fn authors_of_cifar_labels_have_an_offset_for_each_target() {
        let header = "file,source,network,family,dataset,accuracy\n";
        let table = |rows: &str| read(CIFAR, &format!("{header}{rows}"), LabelSet::cifar);
        let rows = "a.onnx,pytorchcv,a,resnet,CIFAR-10,95\n\
                    a.onnx,other,a,resnet,CIFAR-10,94\na.onnx,pytorchcv,a,resnet,SVHN,97\n";
        let set = table(rows).unwrap();
        let covariates = |i: usize| &set.labels[i].covariates;
        assert_eq!((covariates(0).len(), set.covariates.len()), (3, 3));
        assert!((0..3).all(|i| covariates(i).iter().sum::<f64>() == 1.0));
        assert!(covariates(0) != covariates(1) && covariates(0) != covariates(2));
        let of = |target| set.recipes.iter().find(|r| r.target == target).unwrap();
        assert_eq!(&of(Target::Cifar10).recipes[0], &(USUAL, covariates(0).clone()));
        assert_eq!(&of(Target::Cifar10).recipes[1], &("plain", covariates(1).clone()));
        assert_eq!(of(Target::Svhn).recipes.len(), 1);
        let told = table("a.onnx,s,a,f,MNIST,99").unwrap_err();
        assert!(told.contains("unknown data set 'MNIST'"), "{told}");
    }
}
