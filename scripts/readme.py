#!/usr/bin/env python3
"""Fill the generated sections of the README, its pages (src/guide, models, benches, data) and
src/security.md, or check with --check that they are current. With --figures only those that need no
program to run; --program FILE runs that one instead of building a release.

A section stands between <!-- begin:NAME --> and <!-- end:NAME -->. What programs print comes from
running them, figures come from models/*.json, models/*/manifest.json, benches/*.json and
tests/fuzz/figures.json.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import program

ROOT = Path(__file__).resolve().parent.parent
SHOWN = "cargo run --release --"
PROGRAM = "gennape"


def output(arguments: str, exit_code: int = 0) -> list[str]:
    """What the program prints, errors last; `arguments` are the shell's."""
    command = f"{PROGRAM} {arguments}"
    result = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True)
    if result.returncode != exit_code:
        raise subprocess.CalledProcessError(result.returncode, command, result.stdout, result.stderr)
    return (result.stdout + (result.stderr if exit_code else "")).splitlines()


def console(command: str, lines: list[str]) -> str:
    return "\n".join(["```console", f"$ {command}", *lines, "```"])


def predict() -> str:
    arguments = "predict data/examples/*.onnx"
    return console(f"{SHOWN} {arguments}", output(arguments))


def profile() -> str:
    lines = output("profile data/examples/resnet18.onnx")
    return console("gennape profile data/examples/resnet18.onnx", [*lines[:6], "…", *lines[-8:]])


def search() -> str:
    arguments = "search --space nasbench201 --objective accuracy:max --objective macs:min --constraint 'parameters<=1.0M'"
    with tempfile.TemporaryDirectory() as folder:
        lines = output(f"{arguments} -o {folder}/out")
    return console(f"gennape {arguments} -o out", lines)


def shrink() -> str:
    """A sub-network of an example, and what it takes."""
    arguments = "shrink data/examples/resnet18.onnx --keep c0=1/2,-b4,k0=5"
    with tempfile.TemporaryDirectory() as folder:
        command = f"{PROGRAM} {arguments} -o {folder}/small.onnx"
        result = subprocess.run(command, shell=True, cwd=ROOT, check=True, capture_output=True, text=True)
    told = [line for line in result.stderr.splitlines() if line.startswith("wrote")]
    return console(f"gennape {arguments} -o small.onnx", [line.replace(f"{folder}/", "") for line in told])


def measure(value: dict | None, digits: int = 3) -> str:
    if value is None:
        return ""
    low, high = value["interval"]
    return f"{value['value']:.{digits}f} ({low:.{digits}f} – {high:.{digits}f})"


def accuracy() -> str:
    rows = [
        "| model | held-out networks | ranked by | Spearman | Kendall τ-b | mean absolute error |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for path in sorted(ROOT.glob("models/*/manifest.json")):
        manifest = json.loads(path.read_text())
        if "config" not in manifest:
            continue
        for n, data in enumerate(manifest["data"]):
            order = ["model", "parameters", "macs"]
            test = manifest["metrics"][f"{data['set']} test"]
            for i, by in enumerate(sorted(test, key=order.index)):
                error = measure(test[by].get("mean_absolute_error"), 2)
                row = [
                    f"`{manifest['name']}`" if n + i == 0 else "",
                    f"{data['test']:,} of {data['set']}" if i == 0 else "",
                    {"model": "the model's estimate", "macs": "MACs"}.get(by, by),
                    measure(test[by]["spearman"]),
                    measure(test[by]["kendall"]),
                    f"{error} %" if error else "",
                ]
                rows.append(f"| {' | '.join(row)} |")
    return "\n".join(rows)


TARGETS = {"imagenet1k": "ImageNet-1k", "cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "svhn": "SVHN"}


def parts(only: tuple[str, ...]) -> list[tuple[dict, dict]]:
    """Evaluations of the models of real networks and their manifests."""
    found = []
    for path in sorted(ROOT.glob("models/*/manifest.json")):
        manifest = json.loads(path.read_text())
        found += [(manifest, part) for part in manifest.get("evaluation", []) if part["left_out"] in only]
    return sorted(found, key=lambda p: list(TARGETS).index(p[1]["target"]))


def bracket(value: list, digits: int) -> str:
    middle, (low, high) = value
    return f"{middle:.{digits}f} ({low:.{digits}f} – {high:.{digits}f})"


def real(only: tuple[str, ...], chosen: tuple[str, ...]) -> str:
    """What was left out, and how well it was predicted."""
    rows = [
        "| networks left out | ranked by | Spearman | MAE | in a family | at equal MACs | pairs | rank of best | top tenth | covered | width |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for manifest, part in parts(only):
        for i, ranking in enumerate(r for r in part["rankings"] if r["ranked_by"] in chosen):
            share = lambda key: f"{ranking[key]:.3f}" if ranking[key] is not None else ""
            width = f"{ranking['width']:.1f}" if ranking["width"] is not None else ""
            name = f"{TARGETS[part['target']]}, {part['networks']} networks, {part['groups']} {part['left_out']}"
            row = [
                name if i == 0 else "",
                f"`{manifest['name']}`" if ranking["ranked_by"] == "heads" else ranking["ranked_by"],
                bracket(ranking["spearman"], 3),
                f"{bracket(ranking['mean_absolute_error'], 2)} %",
                share("within_family"),
                share("at_equal_macs"),
                share("pairs"),
                str(ranking["rank_of_best"]),
                f"{ranking['precision_at_tenth']:.2f}",
                share("coverage"),
                width,
            ]
            rows.append(f"| {' | '.join(row)} |")
    return "\n".join(rows)


def real_all() -> str:
    everything = ("heads", "one head", "parameters", "MACs", "activations", "linear")
    return real(("families", "families, recipe known", "superfamilies"), everything)


def real_each() -> str:
    """Superfamilies one by one."""
    rows = [
        "| superfamily left out | networks | Spearman | parameters | MACs | MAE |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for _, part in parts(("superfamilies",)):
        for one in part["each"]:
            heads, parameters, macs = one["spearman"]
            name = f"{TARGETS[part['target']]}: {one['group']}"
            error = one["mean_absolute_error"]
            rows.append(
                f"| {name} | {one['networks']} | {heads:.3f} | {parameters:.3f} | {macs:.3f} | {error:.2f} % |"
            )
    return "\n".join(rows)


# What was aimed at for real networks: data set, what was left out, measure, aim. Of errors and widths less is
# better.
AIMS = [
    ("imagenet1k", "families", "spearman", 0.93),
    ("imagenet1k", "families", "kendall", 0.78),
    ("imagenet1k", "families", "mean_absolute_error", 1.10),
    ("imagenet1k", "families", "within_family", 0.92),
    ("imagenet1k", "families", "at_equal_macs", 0.82),
    ("imagenet1k", "families", "pairs", 0.85),
    ("imagenet1k", "families", "coverage", 0.90),
    ("imagenet1k", "families", "width", 5.0),
    ("imagenet1k", "superfamilies", "spearman", 0.90),
    ("imagenet1k", "superfamilies", "mean_absolute_error", 1.35),
    ("imagenet1k", "families, recipe known", "spearman", 0.965),
    ("imagenet1k", "families, recipe known", "mean_absolute_error", 0.89),
    ("cifar10", "families", "spearman", 0.965),
    ("cifar10", "families", "mean_absolute_error", 0.23),
    ("cifar10", "superfamilies", "spearman", 0.95),
    ("cifar10", "superfamilies", "mean_absolute_error", 0.25),
    ("cifar100", "families", "spearman", 0.945),
    ("cifar100", "families", "mean_absolute_error", 0.80),
    ("svhn", "families", "spearman", 0.90),
    ("svhn", "families", "mean_absolute_error", 0.105),
]
MEASURES = {
    "spearman": "Spearman",
    "kendall": "Kendall's τ",
    "mean_absolute_error": "mean absolute error",
    "within_family": "Spearman in a family",
    "at_equal_macs": "Spearman at equal MACs",
    "pairs": "pairs of different families in order",
    "coverage": "covered by the 90 % interval",
    "width": "its width",
}


def real_aims() -> str:
    """What was aimed at, and what came of it."""
    rows = [
        "| networks left out | measure | aim | measured | the best of parameters, MACs and activations | reached |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    known = {(part["target"], part["left_out"]): part for _, part in parts(("families", "families, recipe known", "superfamilies"))}

    def row(what: str, measure: str, aim: float, measured: float, trivial: list[float], less: bool) -> str:
        # Compared as they are shown.
        digits = 3 if aim < 0.2 or not less else 2
        shown, best = round(measured, digits), (min if less else max)(trivial, default=None)
        reached = shown <= aim if less else shown >= aim
        unit = " %" if less else ""
        return (
            f"| {what} | {measure} | {'at most' if less else 'at least'} {aim:.{digits}f}{unit} | {shown:.{digits}f}{unit} "
            f"| {'' if best is None else f'{best:.{digits}f}{unit}'} | {'yes' if reached else 'no'} |"
        )

    for target, left_out, measure, aim in AIMS:
        def value(ranking: dict) -> float | None:
            found = ranking[measure]
            return found[0] if isinstance(found, list) else found

        heads, *others = known[target, left_out]["rankings"]
        trivial = [value(other) for other in others if other["ranked_by"] in ("parameters", "MACs", "activations")]
        trivial = [x for x in trivial if x is not None]
        less = measure in ("mean_absolute_error", "width")
        rows.append(row(f"{TARGETS[target]}, {left_out}", MEASURES[measure], aim, value(heads), trivial, less))
    each = next(one for one in known["imagenet1k", "superfamilies"]["each"] if one["group"] == "vit")
    heads, *trivial = each["spearman"]
    rows.append(row("ImageNet-1k, all plain transformers", MEASURES["spearman"], 0.80, heads, trivial, False))
    return "\n".join(rows)


def latency() -> str:
    """Latencies of networks that were left out, and how well they were estimated."""
    rows = [
        "| networks left out | estimated by | within ±10 % | the same, of families | mean error | the same, of families | Spearman | at equal MACs | rank of fastest | fastest tenth | covered |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for path in sorted(ROOT.glob("models/latency-*/manifest.json")):
        manifest = json.loads(path.read_text())
        part = manifest["agreement"]
        name = f"{manifest['device']['name']}, {part['networks']} networks, {part['groups']} {part['left_out']}"
        for i, ranking in enumerate(part["rankings"]):
            share, (low, high) = ranking["relative_error"]
            row = [
                name if i == 0 else "",
                f"`{manifest['name']}`" if i == 0 else ranking["estimated_by"],
                bracket(ranking["within_tenth"], 3),
                f"{ranking['within_tenth_of_groups']:.3f}",
                f"{bracket([100 * share, [100 * low, 100 * high]], 1)} %",
                f"{100 * ranking['relative_error_of_groups']:.1f} %",
                bracket(ranking["spearman"], 3),
                f"{ranking['at_equal_macs']:.3f}",
                f"{ranking['rank_of_fastest']:.0f}",
                f"{ranking['fastest_tenth']:.2f}",
                f"{part['coverage']:.3f}" if i == 0 else "",
            ]
            rows.append(f"| {' | '.join(row)} |")
    return "\n".join(rows)


def compare() -> str:
    arguments = "compare data/examples/resnet50.onnx data/examples/convnext_tiny.onnx"
    return console(f"gennape {arguments}", output(arguments))


def check() -> str:
    examples = "data/examples"
    arguments = (
        f"check {examples}/efficientnet_b0.onnx --constraint 'accuracy>=1x {examples}/resnet50.onnx' "
        f"--constraint 'macs<=0.1x {examples}/resnet50.onnx' --constraint 'latency=rtx4090<=5'"
    )
    return console(f"gennape {arguments}", output(arguments, exit_code=1))


def speed() -> str:
    results = json.loads((ROOT / "benches/results.json").read_text())
    rows = [
        "| what | figure |",
        "| --- | --- |",
    ]
    one, all_examples = results["predict_resnet50"], results["predict_examples"]
    megabytes = results["resnet50_bytes"] / 1e6
    rows += [
        f"| `predict` on a ResNet-50 with its {megabytes:.0f} MB of weights, whole process "
        f"| {one['milliseconds']:.1f} ms, {one['peak_megabytes']:.0f} MB resident |",
        f"| `predict` on the {results['examples']} example networks, whole process "
        f"| {all_examples['milliseconds']:.1f} ms, {all_examples['peak_megabytes']:.0f} MB resident |",
    ]
    all_cells, cells = results["evaluate_nasbench101"], results["evaluate_nasbench201"]
    rows += [
        f"| `evaluate nasbench101 --split all`: 423,624 networks built, featurised, cached, scored and "
        f"measured | {all_cells['seconds']:.0f} s, {all_cells['seconds_cached']:.0f} s with cached graphs "
        f"({all_cells['cache_megabytes']:,} MB) |",
        f"| `evaluate nasbench201 --split all`, 15,625 networks | {cells['seconds']:.1f} s, "
        f"{cells['seconds_cached']:.1f} s with cached graphs |",
    ]
    floor = results["floor"]
    rows += [
        f"| ONNX file to computation graph, over the examples, one core "
        f"| {results['imports_per_second']:,} networks/s |",
        f"| NAS-Bench-101 networks embedded, one core "
        f"| {results['embeddings_per_second']:,} networks/s |",
        f"| the same if nothing but its {floor['million_macs']:.1f} M multiply-accumulates a network "
        f"took time, at the {floor['gflops']:.0f} GFLOP/s of a matrix product "
        f"| {floor['embeddings_per_second']:,} networks/s |",
    ]
    rows += ["", f"Measured on {results['cores']} cores ({results['cpu']}), files in the page cache."]
    return "\n".join(rows)


def growth() -> str:
    """Time and memory of whole processes by the number of nodes; see benches/growth."""
    report = json.loads((ROOT / "benches/growth.json").read_text())
    nodes = report["sizes"][-1]
    lines = [
        f"| {nodes:,} nodes | command | processor time | a node | grows as | memory | a node | grows as |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    last = None
    for row in report["rows"]:
        time, memory = row["processor_seconds"], row["megabytes"]
        shape = f"{row['shape']}, {row['bytes'] / 1e6:.0f} MB" if row["shape"] != last else ""
        last = row["shape"]
        command = "decoding alone" if row["command"] == "decode" else f"`{row['command']}`"
        lines.append(
            f"| {shape} | {command} | {time['values'][-1]:.1f} s "
            f"| {time['values'][-1] / nodes * 1e6:.1f} µs | n^{time['exponent']:.2f} "
            f"| {memory['values'][-1]:,.0f} MB | {memory['values'][-1] / nodes * 1e6:,.0f} bytes "
            f"| n^{memory['exponent']:.2f} |"
        )
    return "\n".join(lines)


def evaluation() -> str:
    return "\n".join(output("evaluate --report models/evaluation.json --format markdown"))


def settings() -> str:
    """Our figures beside the highest ones known, and what was aimed at; sources in the rows."""
    report = json.loads((ROOT / "models/evaluation.json").read_text())
    extra = json.loads((ROOT / "models/targets.json").read_text())
    searches = json.loads((ROOT / "benches/search.json").read_text())
    rows = [
        "| setting | highest reference | aim | measured | reached | lab book, page |",
        "| --- | --- | --- | --- | --- | --- |",
    ]

    def row(
        what: str, reference: str, aim: float, value: float, shown: str, pages: str,
        less: bool = False, unit: str = "",
    ) -> None:
        digits = 0 if aim >= 1 else 2 if unit else 3
        # Compared as it is shown.
        value = round(value, 0 if aim >= 1 else 3)
        reached = value <= aim if less else value >= aim
        bound = f"at {'most' if less else 'least'} {aim:.{digits}f}{unit}"
        reached, pages = ("yes", "") if reached else ("no", pages)
        rows.append(f"| {what} | {reference} | {bound} | {shown} | {reached} | {pages} |")

    def spread(m: dict, digits: int = 3) -> str:
        if m.get("interval"):
            return measure(m, digits)
        return f"{m['value']:.{digits}f} ± {m['deviation']:.{digits}f}"

    def of(family: str, column: int, what: str = "spearman") -> dict:
        rankings = next(f for f in report["families"] if f["family"] == family)["rankings"]
        # The model comes first, and first again among those fitted to labels.
        chosen = [r for r in rankings if bool(r["labels"]) == bool(column)][0]
        return next(m for m in chosen["measures"] if m["measure"] == what)

    own, error = of("nasbench101", 0), of("nasbench101", 0, "mean_absolute_error")
    row("NAS-Bench-101, 50,000 networks, 80/10/10: Spearman", ".934 (NPN)", 0.975, own["value"], spread(own), "")
    row("the same: mean absolute error", ".59 % (GENNAPE)", 0.50, error["value"], f"{spread(error, 2)} %", "", True, " %")
    for few in extra["few_labels"]:
        labels, top = few["labels"], few["top"]
        reference, aim = {424: (".809 (NN-Former)", 0.82), 4236: (".877 (NN-Former)", 0.885)}[labels]
        shown = (
            f"{spread(few['kendall'])} (first {top['rank_of_first']:.0f}, best of ten {top['best_of_ten']:.0f}, "
            f"top-50 {top['top50_overlap']:.2f})"
        )
        row(f"NAS-Bench-101, {labels:,} labels: Kendall τ", reference, aim, few["kendall"]["value"], shown, "9, 20")
    for name, family, fitted, reference, aim, pages in (
        ("NAS-Bench-201, all cells, no labels", "nasbench201", 0, ".804 (FLAN)", 0.92, "13b"),
        ("NAS-Bench-201 without `none`, no labels", "nasbench201-no-none", 0, ".859 (jacov)", 0.91, "13b"),
        ("NAS-Bench-201, all cells, 50 labels", "nasbench201", 1, "", 0.93, "7, 20"),
        ("NAS-Bench-201 without `none`, 50 labels", "nasbench201-no-none", 1, ".910 (GENNAPE)", 0.94, "7, 20"),
        ("NAS-Bench-Macro, no labels", "nasbench_macro", 0, ".748 (MACs)", 0.85, "13b, 25"),
        ("NAS-Bench-Macro, 50 labels", "nasbench_macro", 1, "", 0.95, "7"),
        ("Accel-NASBench, no labels", "accel_nasbench", 0, ".810 (parameters)", 0.85, "13b, 25"),
        ("Accel-NASBench, 50 labels", "accel_nasbench", 1, "", 0.92, "7"),
    ):
        found = of(family, fitted)
        row(name, reference, aim, found["value"], spread(found), pages)
    for what, aim, name in (
        ("rank_of_first", 50, "true rank of the network ranked first"),
        ("best_of_ten", 10, "best true rank of the first ten"),
        ("top50_overlap", 0.2, "precision at 50"),
    ):
        value = of("nasbench201", 0, what)["value"]
        less = what != "top50_overlap"
        ranking = next(f for f in report["families"] if f["family"] == "nasbench201")["rankings"][1]
        trivial = next(m["value"] for m in ranking["measures"] if m["measure"] == what)
        digits = 0 if less else 2
        reference, shown = f"{trivial:.{digits}f} (parameters)", f"{value:.{digits}f}"
        row(f"NAS-Bench-201, no labels: {name}", reference, aim, value, shown, "13", less)
    pareto = [r for r in searches["pareto"]["rows"] if (r["space"], r["algorithm"]) == ("NAS-Bench-201", "NSGA-II")]
    share = {r["by"]: r["share"][r["budgets"].index(3000)] for r in pareto}
    trivial, ours = (share[by] for by in ("parameters", "estimates"))
    row(
        "NAS-Bench-201, no labels: share of the front's hypervolume after 3,000 networks, "
        "median and quartiles over 20 seeds",
        f"{trivial['median']:.2f} (parameters)", 0.85, ours["median"], summary(ours, 3), "13",
    )
    guided = next(r for r in searches["queries-nasbench101"]["rows"] if r["algorithm"].startswith("guided"))
    queries = guided["queries"]
    # None where a run did not come to it.
    found = float("inf") if queries["mean"] is None else queries["mean"]
    shown = f"{summary(queries, cap=guided['cap'])}, found in {queries['reached']:.0%} of {queries['runs']} runs"
    row("NAS-Bench-101's best cell by guided search: queries", "", 195, found, shown, "11", True)
    # What is aimed at is the better of the two counts, unless more is said.
    for left in extra["leave_one_out"]:
        family, spearman = left["family"], left["spearman"]
        trivial = max(("parameters", "MACs"), key=lambda by: spearman[by]["value"])
        best = round(spearman[trivial]["value"], 3)
        aim = {"nasbench_macro": 0.85, "nasbench101": 0.86}.get(family, best)
        model, reference = spearman["model"], f"{best:.3f} ({trivial})"
        name = f"{family}, by a model of all other families"
        row(name, reference, aim, model["value"], measure(model), "10, 25")
    return "\n".join(rows)


def ablation() -> str:
    return "\n".join(output("ablate --report models/ablation.json --format markdown"))


def ablation_real() -> str:
    return "\n".join(output("ablate --report models/ablation-real.json --format markdown"))


def summary(value: dict, digits: int = 0, cap: int | None = None) -> str:
    """Median and quartiles over seeds; `null` stands for more than the cap."""

    def number(x: float | None) -> str:
        return f"{x:.{digits}f}" if x is not None else f"> {cap}"

    low, high = map(number, value["quartiles"])
    median = number(value["median"])
    return f"{median} ({low} – {high})" if low != median or high != median else median


def search_benchmark() -> str:
    """What searches find; see benches/search."""
    report = json.loads((ROOT / "benches/search.json").read_text())
    seeds = {section["seeds"] for name, section in report.items() if name != "schema"}
    rows = report["queries"]["rows"]
    algorithms = list(dict.fromkeys(row["algorithm"] for row in rows))
    lines = [
        f"Queries of true labels until the best network is found: median (quartiles) of "
        f"{max(seeds)} runs.",
        "",
        f"| what is queried | {' | '.join(algorithms)} |",
        "| --- |" + " --- |" * len(algorithms),
    ]
    for space, queried in dict.fromkeys((row["space"], row["queried"]) for row in rows):
        found = {r["algorithm"]: r for r in rows if (r["space"], r["queried"]) == (space, queried)}
        cells = [summary(found[a]["queries"], cap=found[a]["cap"]) for a in algorithms]
        lines.append(f"| {space}, {queried} | {' | '.join(cells)} |")
    lines += [
        "",
        "Architectures with one computation graph count once, and the label is that of the one proposed "
        "first. Two cells "
        "share the highest CIFAR-10 accuracy, and either counts. The optimum is the network with "
        "the best accuracy after full training, whatever is queried. The kernel and the "
        "training-free score were chosen with these spaces in view.",
        "",
        "| NAS-Bench-101 | best after 150 queries | at least 94.22 % | optimum within 300 |",
        "| --- | --- | --- | --- |",
    ]
    for row in report["queries-nasbench101"]["rows"]:
        lines.append(
            f"| {row['algorithm']} | {summary(row['best_after_150'], 2)} "
            f"| {row['reached_aim']:.0%} of runs | {row['queries']['reached']:.0%} |"
        )
    lines += [
        "",
        "What is queried there is the mean test accuracy, which papers keep for the end: they query "
        "validation accuracies, which the file has not.",
        "",
        "| no label at all | by | rank of the best estimate | its accuracy | best of the ten best "
        "estimates: rank | accuracy | highest there is |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in report["unlabelled"]["rows"]:
        lines.append(
            f"| {row['space']}, {row['networks']:,} networks | {row['by']} "
            f"| {summary(row['rank'])} | {summary(row['accuracy'], 2)} "
            f"| {summary(row['best_of_ten_rank'])} | {summary(row['best_of_ten_accuracy'], 2)} "
            f"| {row['best']:.2f} |"
        )
    rows = report["pareto"]["rows"]
    budgets = max((row["budgets"] for row in rows), key=len)
    lines += [
        "",
        "| front of accuracy and MACs | search, and what it takes for accuracy | "
        + " | ".join(f"{budget:,} networks" for budget in budgets)
        + " | networks proposed |",
        "| --- | --- |" + " --- |" * (len(budgets) + 1),
    ]
    for row in rows:
        shares = [summary(share, 3) for share in row["share"]]
        shares += [""] * (len(budgets) - len(shares))
        lines.append(
            f"| {row['space']} | {row['algorithm']}, {row['by']} | {' | '.join(shares)} "
            f"| {summary(row['proposed'])} |"
        )
    lines += [
        "",
        "Share of the hypervolume of the space's true front that the true accuracies of the "
        "proposed front have. The reference point is the space's median accuracy and its most MACs; "
        "both are scaled to its best accuracy and its fewest MACs. Estimates and priors are those "
        "of `gennape-nb101`, which has seen neither space; what the training-free score holds against "
        "depth was chosen with both in view. A few hundred true labels do far better.",
        "",
        "| better with fewer MACs | method | start: the best of | its accuracy | better ones there are "
        "| runs that found one, of those where there is one | gain, points | MACs, of the start's |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in report["better"]["rows"]:
        possible = sum(seed["exist"] > 0 for seed in row["seeds"])
        found = sum(seed["found"] is not None for seed in row["seeds"])
        gain, macs = (summary(row[k], 2) if found else "" for k in ("gain", "macs"))
        lines.append(
            f"| {row['space']} | {row['method']} | {row['from']} "
            f"| {summary(row['start'], 2)} | {summary(row['exist'])} | {found} of {possible} "
            f"| {gain} | {macs} |"
        )
    if "speed" in report:
        lines += [
            "",
            "| NAS-Bench-201, the default model, accuracy and MACs | candidates/s | of them new networks/s "
            "| choosing | building | estimating |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for row in report["speed"]["rows"]:
            shares = [f"{row[k]:.0%}" for k in ("proposing", "building", "evaluating")]
            lines.append(
                f"| {row['algorithm']}, {row['threads']} threads "
                f"| {summary(row['candidates_per_second'])} | {summary(row['networks_per_second'])} "
                f"| {' | '.join(shares)} |"
            )
    return "\n".join(lines)


def fuzzing() -> str:
    """What the runs of the fuzzer came to, the latest first; see tests/fuzz."""
    lines = [
        "| state | target | executions | edges of the crate covered | processor time | inputs that failed |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    found = []
    for report in json.loads((ROOT / "tests/fuzz/figures.json").read_text()):
        for i, row in enumerate(report["targets"]):
            # Older logs have the time that passed alone.
            seconds = row["processor_seconds"]
            time = f"{(row['seconds'] if seconds is None else seconds) / 3600:.1f} h"
            edges = row["edges"]
            lines.append(
                f"| {report['commit'] if i == 0 else ''} | `{row['target']}` | {row['executions']:,} "
                f"| {edges['covered']:,} of {edges['total']:,} "
                f"| {time if seconds is not None else f'less than {time}'} "
                f"| {sum(row['findings'].values()):,} |"
            )
        found += [
            f"- {report['commit']}, `{row['target']}`, {kind}: {count:,}"
            for row in report["targets"]
            for kind, count in row["findings"].items()
        ]
    if found:
        lines += ["", "What failed, and how many inputs that was found with:", "", *found]
    return "\n".join(lines)


def python() -> str:
    """How long the Python package takes, beside what was aimed at."""
    report = json.loads((ROOT / "benches/python.json").read_text())
    lines = [
        "| Python, processor time of one thread | measured: median (quartiles) | aim | the encoder's matrix products alone, by NumPy |",
        "| --- | --- | --- | --- |",
    ]
    for row in report["rows"]:
        rate = row["unit"] != "ms"

        def number(value: float) -> str:
            return f"{value:,.0f}" if rate else f"{value:.2f}"

        low, high = (number(q) for q in row["quartiles"])
        bound = f"{'at least' if rate else 'at most'} {row['aim']:,g} {row['unit']}" if row["aim"] else ""
        lines.append(
            f"| {row['what']} | {number(row['median'])} ({low} – {high}) {row['unit']} "
            f"| {bound} "
            f"| {'' if row['floor'] is None else number(row['floor']) + ' ' + row['unit']} |"
        )
    return "\n".join(lines)


def python_front() -> str:
    """The same in a sentence."""
    rows = json.loads((ROOT / "benches/python.json").read_text())["rows"]
    median = {row["what"].split(",")[0]: row["median"] for row in rows if row["unit"] == "ms"}
    rate = next(row["median"] for row in rows if row["unit"] != "ms")
    return (
        f"One core estimates a file of ResNet-50 in {median['ResNet-50 without weights']:.1f} ms, a NAS-Bench-201 cell in "
        f"{median['one NAS-Bench-201 cell drawn at random']:.2f} ms,\nand {rate:,.0f} of many such cells a second "
        "([measured](benches/README.md#python))."
    )


def supernet() -> str:
    """What one set of weights for all sub-networks is worth; see benches/supernet."""
    report = json.loads((ROOT / "benches/supernet.json").read_text())
    largest, smallest = (network["name"] for network in report["networks"][:2])

    def spread(values: list[float], digits: int, unit: str = "") -> str:
        if not values:
            return "not measured"
        mean = sum(values) / len(values)
        square = sum((value - mean) ** 2 for value in values) / max(len(values) - 1, 1)
        deviation = f" ± {square**0.5:.{digits}f}" if len(values) > 1 else ""
        return f"{mean:.{digits}f}{deviation}{unit}"

    def alone(name: str) -> list[float]:
        return [run["accuracy"] for run in report["alone"] if run["name"] == name]

    lines = [
        "| trained | runs | epochs | work | hypervolume | τ with training alone | largest | smallest |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for sampler, by in dict.fromkeys((run["sampler"], run["measure"]) for run in report["runs"]):
        runs = [r for r in report["runs"] if (r["sampler"], r["measure"]) == (sampler, by)]
        compared = [run for run in runs if run["tau"] is not None]
        counts = sorted({run["compared"] for run in compared})
        of = f" (of {' or '.join(map(str, counts))})" if counts else ""
        lines.append(
            f"| together, {sampler}{'' if by == 'none' else ' by ' + by} | {len(runs)} "
            f"| {' or '.join(str(e) for e in sorted({run['epochs'] for run in runs}))} "
            f"| {spread([run['work'] / 1e12 for run in runs], 2, ' T')} "
            f"| {spread([100 * run['hypervolume'] for run in runs], 2, ' %')} "
            f"| {spread([run['tau'] for run in compared], 2)}{of} "
            f"| {spread([run['accuracies'][0] for run in runs], 2, ' %')} "
            f"| {spread([run['accuracies'][1] for run in runs], 2, ' %')} |"
        )
    if alone(largest) or alone(smallest):
        lines.append(
            f"| each alone | {len(alone(largest))} | {report['epochs']} | | | "
            f"| {spread(alone(largest), 2, ' %')} | {spread(alone(smallest), 2, ' %')} |"
        )
    lines += [
        "",
        f"A residual network of 8 layers ({report['networks'][0]['parameters']:,} parameters, "
        f"{report['networks'][0]['macs']:,} MACs; the smallest sub-network has "
        f"{report['networks'][1]['macs']:,}) on {report['training_images']:,} images of Fashion-MNIST: a small "
        f"experiment. Sub-networks are chosen on {report['images_held_out']:,} held-out training images; "
        f"accuracies are those on the {report['test_images']:,} images for the test, mean and standard "
        "deviation over the runs where there are several; what is empty was not run. Work is multiply-accumulates in training; uniform sampling, "
        "which looks at one sub-network where BestUp looks at three, has as many epochs more as make it equal. "
        "The hypervolume is that of the front that a search finds, in the plane of error and share "
        "of MACs; τ is Kendall's, between accuracies with inherited weights and those after training alone for as "
        "many epochs as BestUp has, over random sub-networks.",
    ]
    missing = [] if any(run["sampler"] == "uniform" for run in report["runs"]) else ["uniform sampling"]
    missing += [] if report["alone"] else ["training alone"]
    if missing:
        lines += ["", f"Not measured yet: {', '.join(missing)}."]
    if min(sum(r["sampler"] == run["sampler"] for r in report["runs"]) for run in report["runs"]) == 1:
        lines += ["", "Where there is one run of a sampler, what differs between them may be chance."]
    return "\n".join(lines)


def cells() -> str:
    """Cells found by policy gradient beside random ones; see benches/cells.rs."""
    report = json.loads((ROOT / "benches/cells.json").read_text())
    settings, runs = report["settings"], report["runs"]

    def of(seed: int, what: str) -> list[dict]:
        return [run for run in runs if run["seed"] == seed and run["what"] == what]

    lines = [
        "| seed | parameters | found | random cells: mean ± standard deviation | number | best | found is above |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    differences = []
    for seed in sorted({run["seed"] for run in runs}):
        found, random = of(seed, "found"), [run["accuracy"] for run in of(seed, "random")]
        if not found or len(random) < 2:
            continue
        accuracy = found[0]["accuracy"]
        differences.append(100 * (accuracy - statistics.mean(random)))
        above = sum(accuracy > other for other in random)
        lines.append(
            f"| {seed} | {found[0]['parameters'] / 1e3:.1f} k | {100 * accuracy:.2f} % "
            f"| {100 * statistics.mean(random):.2f} ± {100 * statistics.stdev(random):.2f} % "
            f"| {len(random)} | {100 * max(random):.2f} % | {above} of them |"
        )
    deviation = f" ± {statistics.stdev(differences):.2f}" if len(differences) > 1 else ""
    shares = [run["accuracy"] for run in runs if run["accuracy"] is not None]
    chance = 100 * statistics.mean((p * (1 - p) / settings["test_images"]) ** 0.5 for p in shares)
    return "\n".join(lines) + (
        f"\n\nFound minus the mean of random cells: {statistics.mean(differences):+.2f}{deviation} points, "
        f"{len(differences)} of 3 seeds (aim: above 0); what images are in the test alone moves an accuracy by "
        f"{chance:.1f} points (standard deviation). {settings['cells']} cells of "
        f"{settings['channels']} channels, {settings['training_images']:,} training images of Fashion-MNIST "
        f"scaled to {settings['side']}x{settings['side']}, {settings['test_images']:,} of the test; "
        f"a search of {settings['search_epochs']} epochs for `{settings['reward']}`; then it and random cells with "
        f"parameters within {100 * settings['within']:.0f} % of its own are trained from scratch for "
        f"{settings['epochs']} epochs each."
    )


def front() -> str:
    """One table of accuracy: the ranking, and its top."""
    rows = [
        "| networks | labels of theirs | Spearman | parameters | MACs | first: ours, parameters', MACs' "
        "| of the best: ours, parameters', MACs' |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]

    def row(what: str, labels: str, spearmans: list[str], firsts: list[str], best: list[str]) -> None:
        cells = [what, labels, *spearmans, ", ".join(firsts), ", ".join(best)]
        rows.append(f"| {' | '.join(cells)} |")

    for _, part in parts(("families",)):
        by = {r["ranked_by"]: r for r in part["rankings"]}
        three = [by[name] for name in ("heads", "parameters", "MACs")]
        row(
            f"{TARGETS[part['target']]}, {part['networks']} networks of {part['groups']} families",
            "none",
            [f"{r['spearman'][0]:.3f}" for r in three],
            [f"{r['rank_of_best']:,}" for r in three],
            [f"{r['precision_at_tenth']:.2f}" for r in three],
        )
    report = json.loads((ROOT / "models/evaluation.json").read_text())
    names = {
        "nasbench201": "NAS-Bench-201, CIFAR-10",
        "nasbench_macro": "NAS-Bench-Macro, CIFAR-10",
        "accel_nasbench": "Accel-NASBench, ImageNet",
        "nasbench101": "NAS-Bench-101, CIFAR-10, held out",
    }
    for family in names:
        found = next(f for f in report["families"] if f["family"] == family)
        of = {(r["ranked_by"], r["labels"]): r["measures"] for r in found["rankings"]}
        baselines = [of["parameters", 0], of["MACs", 0]]
        for (by, labels), measures in of.items():
            if not by.startswith(report["model"]) or (labels and family == "nasbench101"):
                continue
            values = [{m["measure"]: m["value"] for m in m} for m in (measures, *baselines)]
            row(
                f"{names[family]}, {found['networks']:,} cells",
                "40,000" if family == "nasbench101" else str(labels or "none"),
                [f"{v['spearman']:.3f}" for v in values],
                [f"{v['rank_of_first']:,.0f}" for v in values],
                [f"{v['top50_overlap']:.2f}" for v in values],
            )
    return "\n".join(rows)


def pruning() -> str:
    """Training while cutting, beside other ways to networks of the same cost."""
    rows = json.loads((ROOT / "benches/training.json").read_text())["pruning"]

    def each(values: list[float], factor: float = 100) -> str:
        mean, spread = factor * statistics.mean(values), factor * statistics.pstdev(values)
        return f"{mean:.1f} ± {spread:.1f}" if len(values) > 1 else f"{mean:.1f}"

    def share(rows: list[dict], what: str) -> str:
        return f"{100 * statistics.mean(r['small'][what] / r['whole'][what] for r in rows):.0f} %"

    ways = {
        "whole": "whole network",
        "pruned": "`gennape prune`",
        "scratch": "the same from scratch",
        "tuned": "smallest cut, fine-tuned",
        "magnitude": "smallest cut, recalibrated",
        "random": "random cut, recalibrated",
    }
    head = ["network", "cut", "MACs", "parameters", *ways.values(), "seeds"]
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for network in dict.fromkeys(row["network"] for row in rows):
        own = [row for row in rows if row["network"] == network]
        of = f" of {own[0]['whole']['parameters'] / 1e3:.0f} k"
        cells = [network, own[0]["what"], share(own, "macs"), share(own, "parameters") + of]
        for way in ways:
            cells.append(each([r["accuracy"] if way == "pruned" else r["baselines"][way]["accuracy"] for r in own]))
        lines.append(f"| {' | '.join([*cells, str(len(own))])} |")
    settings = {(row["training"], row["epochs"], row["images"]) for row in rows}
    if len(settings) != 1:
        sys.exit("error: the rows of benches/training.json are of several settings")
    training, epochs, images = settings.pop()
    differing = sum(row["disagreements"] for row in rows)
    few = min(len([r for r in rows if r["network"] == row["network"]]) for row in rows) < 2

    def against(network: str, *ways: str) -> str:
        """By how many points pruning is better than the best of other ways, in the mean."""
        own = [r for r in rows if r["network"] == network]
        return f"{100 * statistics.mean(r['accuracy'] - max(r['baselines'][w]['accuracy'] for w in ways) for r in own):+.1f}"

    aims = {
        "whole network (aim: -0.2, the two of DemoSupNet's design)": ("whole",),
        "the same from scratch (aim: -0.5)": ("scratch",),
        "smallest cut, fine-tuned (aim: 0)": ("tuned",),
        "better of those recalibrated (aim: +20)": ("magnitude", "random"),
    }
    beside = [f"| `gennape prune` less | {' | '.join(aims)} |", f"|{' --- |' * (1 + len(aims))}"]
    for network in dict.fromkeys(row["network"] for row in rows):
        beside.append(f"| {network} | {' | '.join(against(network, *ways) for ways in aims.values())} |")
    return "\n".join(
        [
            f"Share of {images:,} test images of Fashion-MNIST that are told right, in %, mean ± standard deviation over "
            f"seeds; {training:,} training images ({9 * training // 10:,} of them trained on), {epochs} epochs in all for every "
            "way, which is little: what is compared is the ways, not the networks with what long training gives.",
            "",
            *lines,
            "",
            "In points, means over seeds:",
            "",
            *beside,
            "",
            "*Whole network*: trained, nothing cut. *From scratch*: what `prune` left, from new weights. *Fine-tuned*: the smallest "
            "parts cut where `prune` has cut all, and trained on along the same step sizes. *Recalibrated*: cut from the trained "
            "whole network, and the statistics of normalisations taken again. All are cut to at most the MACs of `prune`; the "
            "smallest by their size or by that for what they save, for each run whichever comes out better here. "
            + ("A row of one seed does not show what is chance. " if few else "")
            + f"The file that is cut and the network with zeros tell {differing:,} of {images * len(rows):,} images otherwise.",
        ]
    )


def data() -> str:
    """Labelled sets, as the program lists them."""
    with tempfile.TemporaryDirectory() as folder:
        command = f"{PROGRAM} data list --data {folder} --format json"
        listed = json.loads(subprocess.run(command, shell=True, cwd=ROOT, check=True, capture_output=True).stdout)
    lines = ["| name | what | licence | from | preparation |", "| --- | --- | --- | --- | --- |"]
    for one in listed["sets"]:
        cells = [f"`{one['name']}`", *(one[key] for key in ("description", "licence", "url", "preparation"))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


# Sections by file: those that a program prints, and those of figures.
PRINTED = {
    "README.md": {"predict": predict},
    "src/guide/rank.md": {"compare": compare, "check": check, "profile": profile},
    "src/guide/search.md": {"search": search},
    "src/guide/shrink.md": {"shrink": shrink},
    "models/README.md": {"evaluation": evaluation, "ablation": ablation, "ablation-real": ablation_real},
    "data/README.md": {"data": data},
}
FIGURES = {
    "README.md": {"front": front, "python-front": python_front},
    "models/README.md": {
        "real": real_all,
        "real-each": real_each,
        "real-aims": real_aims,
        "latency": latency,
        "accuracy": accuracy,
        "settings": settings,
    },
    "benches/README.md": {
        "search-benchmark": search_benchmark,
        "supernet": supernet,
        "speed": speed,
        "growth": growth,
        "python": python,
        "pruning": pruning,
        "cells": cells,
    },
    "src/security.md": {"fuzzing": fuzzing},
}


# Files that a program prints as a whole.
PICTURES = {"models/imagenet.svg": "evaluate --left-out imagenet1k --format svg"}


def picture(path: Path, arguments: str, check: bool) -> None:
    new = "\n".join([*output(arguments), ""])
    if not check:
        path.write_text(new)
    elif not path.exists() or path.read_text() != new:
        sys.exit(f"error: {path.name} is out of date\nhint: python3 scripts/readme.py")


def fill(path: Path, sections: dict, check: bool) -> None:
    text = path.read_text()
    for name, section in sections.items():
        begin, end = f"<!-- begin:{name} -->\n", f"\n<!-- end:{name} -->"
        pattern = re.compile(re.escape(begin) + "(.*?)" + re.escape(end), re.DOTALL)
        found = pattern.search(text)
        if not found:
            sys.exit(f"error: {path.name} has no section {name}")
        new = section()
        if check and found[1] != new:
            sys.exit(
                f"error: the section '{name}' of {path.name} is out of date\n"
                "hint: python3 scripts/readme.py"
            )
        text = text[: found.start(1)] + new + text[found.end(1) :]
    if not check:
        path.write_text(text)


def spaces() -> None:
    """That the table of search spaces, which is written by hand, has all of them."""
    source, table = [(ROOT / name).read_text() for name in ("src/spaces/mod.rs", "data/README.md")]
    for name in re.findall(r'^    \w+, "(\w+)", \w+::', source, re.MULTILINE):
        if f"`{name}`" not in table:
            sys.exit(f"error: data/README.md does not have the search space {name}")


def main() -> None:
    global PROGRAM
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--figures", action="store_true")
    parser.add_argument("--program", metavar="FILE")
    options = parser.parse_args()
    kinds = [FIGURES]
    if not options.figures:
        kinds.append(PRINTED)
        if options.program:
            PROGRAM = options.program
        else:
            PROGRAM = program.release()
        for name, arguments in PICTURES.items():
            picture(ROOT / name, arguments, options.check)
    spaces()
    for files in kinds:
        for name, sections in files.items():
            fill(ROOT / name, sections, options.check)


if __name__ == "__main__":
    main()
