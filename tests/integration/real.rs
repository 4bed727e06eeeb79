//! Estimates of networks that people design.

use super::cli::{folder, gennape};
use serde_json::Value;

fn example(name: &str) -> String {
    format!("data/examples/{name}.onnx")
}

fn results(arguments: &[&str]) -> Vec<Value> {
    let json = gennape(&[arguments, &["--format", "json"]].concat()).succeeds().json();
    json["results"].as_array().unwrap().clone()
}

fn accuracy(result: &Value) -> f64 {
    result["accuracy"].as_f64().unwrap()
}

/// What torchvision and timm measured of these, give or take a recipe.
#[test]
fn well_known_networks_get_figures_that_engineers_know() {
    for (name, low, high) in [
        ("resnet18", 68.0, 74.5),
        ("resnet50", 75.5, 81.5),
        ("convnext_tiny", 80.0, 84.0),
        ("mobilenet_v3_large", 72.5, 78.5),
        ("efficientnet_b0", 75.0, 80.0),
        ("densenet121", 73.5, 79.5),
        ("swin_t", 79.5, 83.5),
        ("regnet_y_400mf", 70.5, 77.0),
    ] {
        let [result] = &results(&["predict", &example(name)])[..] else { panic!("{name}") };
        assert!((low..high).contains(&accuracy(result)), "{name}: {result}");
        assert_eq!(result["target"], "imagenet1k");
    }
}

#[test]
fn an_estimate_does_not_depend_on_what_else_is_asked() {
    let names = ["resnet18", "nasbench201_best", "vit_b_16", "nasbench101_best"].map(example);
    let all = results(&["predict", &names[0], &names[1], &names[2], &names[3]]);
    for (name, together) in names.iter().zip(&all) {
        let alone = &results(&["predict", name])[0];
        for key in ["accuracy", "interval", "distance", "target"] {
            assert_eq!(alone[key], together[key], "{name}");
        }
    }
    // Ranks are those among the networks of the same target.
    let ranks: Vec<u64> = all.iter().map(|r| r["rank"].as_u64().unwrap()).collect();
    assert_eq!(ranks.iter().filter(|&&rank| rank == 1).count(), 2, "{all:?}");
}

#[test]
fn targets_recipes_and_neighbours_are_heeded() {
    let cell = example("nasbench201_best");
    let of = |extra: &[&str]| results(&[&["predict", &cell], extra].concat())[0].clone();
    let targets = ["cifar10", "cifar100", "svhn"];
    let [ten, hundred, svhn] = targets.map(|target| of(&["--target", target]));
    assert!(accuracy(&hundred) < accuracy(&ten) && accuracy(&ten) < accuracy(&svhn));
    assert_eq!(ten["target_reason"], "as asked");

    let resnet = example("resnet50");
    let of = |extra: &[&str]| results(&[&["predict", &resnet], extra].concat())[0].clone();
    let [plain, usual, strong] =
        ["plain", "usual", "strong"].map(|recipe| of(&["--recipe", recipe]));
    assert!(accuracy(&plain) < accuracy(&usual) && accuracy(&usual) < accuracy(&strong));
    assert_eq!(usual["accuracy"], of(&[])["accuracy"]);
    let told = gennape(&["predict", &resnet, "--recipe", "magic"]).fails().stderr;
    assert!(told.contains("no recipe 'magic'") && told.contains("hint: give one of"), "{told}");

    let near = of(&["--neighbours", "3", "--explain"]);
    let neighbours = near["neighbours"].as_array().unwrap();
    assert_eq!(neighbours.len(), 3);
    assert!(neighbours[0]["name"].as_str().unwrap().starts_with("resnet50"), "{near}");
    // It is one of those that the model was made from.
    assert!(neighbours[0]["distance"].as_f64().unwrap() < 1e-6, "{near}");
    let weights = near["voices"].as_array().unwrap().iter();
    let sum: f64 = weights.map(|voice| voice["membership"].as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-9, "{near}");
    // Clusters that are known by the same networks would be one.
    let heads = near["voices"].as_array().unwrap();
    let mut like: Vec<String> = heads.iter().map(|voice| voice["like"].to_string()).collect();
    assert_eq!((heads.len(), like.last().unwrap().as_str()), (5, "[]"), "{near}");
    like.sort();
    like.dedup();
    assert_eq!(like.len(), 5, "{near}");
    let table = gennape(&["predict", &resnet, "--neighbours", "2"]).succeeds().stdout;
    assert_eq!(table.matches("% measured, distance").count(), 2, "{table}");
}

/// The head speaks of cells, whether the networks are said to be of one family or not.
#[test]
fn cells_are_the_heads_and_foreign_ones_are_ranked_by_who_is_asked() {
    let cell = example("nasbench201_best");
    let of = |extra: &[&str]| results(&[&["predict", &cell], extra].concat())[0].clone();
    let (alone, family) = (of(&[]), of(&["--one-family"]));
    assert_eq!(alone["accuracy"], family["accuracy"], "{alone} {family}");
    let foreign = folder("one_family").join("plain.onnx").to_str().unwrap().to_string();
    gennape(&["export", "plain", "--sample", "1", "-o", &foreign]).succeeds();
    let expert = |extra: &[&str]| {
        let arguments = [&["predict", &foreign, "--explain"], extra].concat();
        let result = results(&arguments)[0].clone();
        let heaviest = result["voices"].as_array().unwrap().last().unwrap();
        heaviest["expert"].as_str().unwrap().to_string()
    };
    assert_eq!(expert(&[]), "process");
    assert_eq!(expert(&["--one-family"]), "score");
}

#[test]
fn two_networks_are_compared_both_ways() {
    let (small, large) = (example("resnet18"), example("convnext_tiny"));
    let probability = |a: &str, b: &str| {
        let json = gennape(&["compare", a, b, "--format", "json"]).succeeds().json();
        assert_eq!(json["target"], "imagenet1k");
        json["probability"].as_f64().unwrap()
    };
    let (up, down) = (probability(&large, &small), probability(&small, &large));
    assert!(up > 0.9 && (up + down - 1.0).abs() < 1e-9, "{up} {down}");
    assert_eq!(probability(&small, &small), 0.5);
    let table = gennape(&["compare", &small, &large]).succeeds().stdout;
    assert!(table.contains(&format!("{large} is better than {small} with probability")), "{table}");

    // What is like no labelled network is doubted.
    let foreign = example("bert_6x384");
    let doubted = gennape(&["compare", &small, &foreign]).succeeds().stdout;
    assert!(doubted.contains(&format!("{foreign} is unlike all labelled networks")), "{doubted}");
    assert!(!table.contains("is unlike"), "{table}");

    let cell = example("nasbench201_best");
    let told = gennape(&["compare", &small, &cell]).fails().stderr;
    assert!(told.contains("hint: --target imagenet1k asks the same of both"), "{told}");
    gennape(&["compare", &small, &cell, "--target", "imagenet1k"]).succeeds();
    assert!(gennape(&["compare", &small]).fails().stderr.contains("two networks"));
}

#[test]
fn descriptors_have_names() {
    let json =
        gennape(&["embed", "--what", "descriptors", &example("resnet18"), "--format", "json"])
            .succeeds()
            .json();
    let descriptors = json["results"][0]["descriptors"].as_object().unwrap();
    let of = |name: &str| descriptors[name].as_f64().unwrap();
    assert!((of("log_resolution") - 224f64.ln()).abs() < 1e-9);
    assert!((of("log_head_input") - 513f64.ln()).abs() < 1e-9);
    assert_eq!(of("stem_kernel"), 7.0);
    let csv = gennape(&["embed", "--what", "descriptors", &example("resnet18")]).succeeds().stdout;
    let header: Vec<&str> = csv.lines().next().unwrap().split(',').collect();
    assert_eq!(header.len(), descriptors.len() + 1);
}

/// What is reported was left out: it beats parameters, and the model does what it says.
#[test]
fn a_model_of_real_networks_can_be_fitted() {
    let Some(data) = std::env::var_os("GENNAPE_DATA").map(std::path::PathBuf::from) else { return };
    if !data.join("cifar_zoo/labels.csv").exists() {
        return;
    }
    let model = folder("fit").join("mine").to_str().unwrap().to_string();
    let data = data.to_str().unwrap();
    let arguments = ["fit", "cifar", "--data", data, "-o", &model];
    let table = gennape(&arguments).succeeds().stdout;
    assert!(table.contains("superfamilies") && table.contains("parameters"), "{table}");
    let manifest: Value =
        serde_json::from_slice(&std::fs::read(format!("{model}/manifest.json")).unwrap()).unwrap();
    let rankings = manifest["evaluation"][0]["rankings"].as_array().unwrap();
    let spearman = |i: usize| rankings[i]["spearman"][0].as_f64().unwrap();
    assert_eq!(rankings[2]["ranked_by"], "parameters");
    assert!(spearman(0) > 0.93 && spearman(0) > spearman(2), "{rankings:?}");
    assert!(rankings[0]["coverage"].as_f64().unwrap() >= 0.85, "{rankings:?}");
    let cell = example("nasbench201_best");
    let [answer] = &results(&["predict", &cell, "--target", "svhn", "--model", &model])[..] else {
        panic!()
    };
    assert!((95.0..99.0).contains(&accuracy(answer)), "{answer}");
    let again = gennape(&arguments).fails().stderr;
    assert!(again.contains("hint: --overwrite"), "{again}");
}
