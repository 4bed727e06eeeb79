"""Trains and evaluates what the table of settings in models/README.md needs besides models/evaluation.json:
each family ranked by a model of all the others, and NAS-Bench-101 from few labels.

Needs the labelled sets in $GENNAPE_DATA and libtorch (scripts/setup_libtorch.py), and takes about an
hour on one core. What WORK holds from an earlier run is not made again.

usage: python3 scripts/targets.py WORK
"""

import json
import subprocess
import sys
from pathlib import Path

import program

ROOT = Path(__file__).parent.parent
FAMILIES = ["nasbench_macro", "accel_nasbench", "nasbench201", "nasbench101", "metaqnn"]
# Of each family 10,000 networks at most and few passes: ten times as long makes a better model of
# the families it is trained on, not of the one that is left out.
OTHERS = ["--training-networks", "10000", "--epochs", "4"]
# Shares of 0.1 % and 1 % of the 423,624 cells, and how often they are drawn.
FEW = {424: 5, 4236: 3}
TOP = ["rank_of_first", "best_of_ten", "top50_overlap"]


def train(gennape: str, folder: Path, *arguments: str) -> Path:
    if not (folder / "manifest.json").exists():
        subprocess.run([gennape, "train", *arguments, "-o", folder], check=True, stdout=subprocess.DEVNULL)
    return folder


def left_out(gennape: str, work: Path, family: str) -> dict:
    model = train(gennape, work / "lofo" / family, "all", "--without", family, *OTHERS)
    path = work / f"lofo_{family}.json"
    if not path.exists():
        part = "test" if family == "nasbench101" else "all"
        command = [gennape, "evaluate", family, "--model", model, "--split", part, "--format", "json"]
        path.write_bytes(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    report = json.loads(path.read_text())["families"][0]
    by = ["model", "parameters", "MACs", "synflow", "training-free"]
    spearman = [
        next(m for m in ranking["measures"] if m["measure"] == "spearman")
        for ranking in report["rankings"]
    ]
    values = {name: {k: m[k] for k in ("value", "interval")} for name, m in zip(by, spearman)}
    return {"family": family, "networks": report["networks"], "spearman": values}


def few(gennape: str, work: Path, labels: int, draws: int) -> dict:
    # Draws from 40,000 cells, measured on the others of these; no model has a part in it.
    arguments = ["--split", "training", "--fine-tune", str(labels), "--seeds", str(draws)]
    command = ["evaluate", "nasbench101", "--model", "gennape-nb101", *arguments]
    path = work / f"few_{labels}.json"
    if not path.exists():
        run = subprocess.run([gennape, *command, "--format", "json"], check=True, stdout=subprocess.PIPE)
        path.write_bytes(run.stdout)
    rankings = json.loads(path.read_text())["families"][0]["rankings"]
    fitted = next(r for r in rankings if r["ranked_by"] == "training-free, fitted")
    kendall = next(m for m in fitted["measures"] if m["measure"] == "kendall")
    values = {key: kendall[key] for key in ("value", "deviation")}
    # The top of the ranking, in the mean over draws.
    top = {m["measure"]: m["value"] for m in fitted["measures"] if m["measure"] in TOP}
    command = " ".join(["gennape", *command])
    return {"labels": labels, "kendall": values, "top": top, "command": command}


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    work = Path(sys.argv[1])
    gennape = program.release("train")
    results = {
        "leave_one_out": [left_out(gennape, work, family) for family in FAMILIES],
        "few_labels": [few(gennape, work, labels, draws) for labels, draws in FEW.items()],
    }
    (ROOT / "models/targets.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
