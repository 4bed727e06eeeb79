#!/usr/bin/env python3
"""Fill the generated sections of README.md, or check with --check that they are current.

A section stands between <!-- begin:NAME --> and <!-- end:NAME -->. What programs print comes from
running them, figures come from models/*.json, models/*/manifest.json and
benches/results.json.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
PROGRAM = "cargo run --release --"


def output(arguments: str) -> list[str]:
    """What the program prints; `arguments` are the shell's."""
    command = f"target/release/gennape {arguments}"
    result = subprocess.run(command, shell=True, cwd=ROOT, check=True, capture_output=True, text=True)
    return result.stdout.splitlines()


def console(command: str, lines: list[str]) -> str:
    return "\n".join(["```console", f"$ {command}", *lines, "```"])


def predict() -> str:
    arguments = "predict data/examples/*.onnx"
    return console(f"{PROGRAM} {arguments}", output(arguments))


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
        command = f"target/release/gennape {arguments} -o {folder}/small.onnx"
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


def evaluation() -> str:
    return "\n".join(output("evaluate --report models/evaluation.json --format markdown"))


def settings() -> str:
    """Our figures beside the highest ones known; sources in the rows."""
    report = json.loads((ROOT / "models/evaluation.json").read_text())
    extra = json.loads((ROOT / "models/targets.json").read_text())

    def of(family: str, column: int, what: str = "spearman") -> str:
        rankings = next(f for f in report["families"] if f["family"] == family)["rankings"]
        # The model comes first, and first again among those fitted to labels.
        chosen = [r for r in rankings if bool(r["labels"]) == bool(column)][0]
        m = next((m for m in chosen["measures"] if m["measure"] == what), None)
        digits = 2 if what == "mean_absolute_error" else 3
        if m.get("interval"):
            return measure(m, digits)
        return f"{m['value']:.{digits}f} ± {m['deviation']:.{digits}f}"

    rows = [
        "| setting | highest reference | aim | measured |",
        "| --- | --- | --- | --- |",
        "| NAS-Bench-101, 50,000 networks, 80/10/10: Spearman | .934 (NPN) | .975 "
        f"| {of('nasbench101', 0)} |",
        "| the same: mean absolute error | .59 % (GENNAPE) | .50 % "
        f"| {of('nasbench101', 0, 'mean_absolute_error')} % |",
    ]
    few = {f["labels"]: measure(f["kendall"]) for f in extra["few_labels"]}
    rows += [
        f"| NAS-Bench-101, {labels:,} labels: Kendall τ | {reference} (NN-Former) | {reference} "
        f"| {few[labels]} |"
        for labels, reference in ((424, ".809"), (4236, ".877"))
    ]
    for name, family, references in (
        ("NAS-Bench-201 without `none`", "nasbench201-no-none",
         ((".859 (jacov)", ".90"), (".910 (GENNAPE)", ".94"))),
        ("NAS-Bench-201, all cells", "nasbench201", ((".804 (FLAN)", ".88"), ("", ""))),
        ("NAS-Bench-Macro", "nasbench_macro", ((".748 (MACs)", ".85"), ("", ".95"))),
        ("Accel-NASBench", "accel_nasbench", ((".810 (parameters)", ".85"), ("", ".92"))),
    ):
        for fitted, (reference, aim) in enumerate(references):
            labels = "50 labels" if fitted else "no labels"
            rows.append(f"| {name}, {labels} | {reference} | {aim} | {of(family, fitted)} |")
    for left in extra["leave_one_out"]:
        spearman = left["spearman"]
        trivial = max(("parameters", "MACs"), key=lambda by: spearman[by]["value"])
        aim = f"{spearman[trivial]['value']:.3f}"
        rows.append(
            f"| {left['family']}, by a model of all other families | {aim} ({trivial}) "
            f"| {'.85' if left['family'] == 'nasbench_macro' else aim} | {measure(spearman['model'])} |"
        )
    return "\n".join(rows)


def ablation() -> str:
    return "\n".join(output("ablate --report models/ablation.json --format markdown"))


SECTIONS = {
    "predict": predict,
    "profile": profile,
    "search": search,
    "shrink": shrink,
    "accuracy": accuracy,
    "settings": settings,
    "evaluation": evaluation,
    "ablation": ablation,
    "speed": speed,
}


def main() -> None:
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        sys.exit(__doc__)
    subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=ROOT, check=True)
    text = README.read_text()
    for name, section in SECTIONS.items():
        begin, end = f"<!-- begin:{name} -->\n", f"\n<!-- end:{name} -->"
        pattern = re.compile(re.escape(begin) + "(.*?)" + re.escape(end), re.DOTALL)
        found = pattern.search(text)
        if not found:
            sys.exit(f"error: README.md has no section {name}")
        new = section()
        if check and found[1] != new:
            sys.exit(
                f"error: the section '{name}' of README.md is out of date\n"
                "hint: python3 scripts/readme.py"
            )
        text = text[: found.start(1)] + new + text[found.end(1) :]
    if not check:
        README.write_text(text)


if __name__ == "__main__":
    main()
