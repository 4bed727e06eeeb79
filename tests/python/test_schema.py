"""What the program prints as JSON is what its schemas say."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import gennape
import pytest

jsonschema = pytest.importorskip("jsonschema")

ROOT = Path(__file__).parents[2]
RESNET = "data/examples/resnet18.onnx"
CELL = "data/examples/nasbench201_best.onnx"


def run(*arguments):
    """What the program prints, and how it exits."""
    command = [sys.executable, "-m", "gennape", *map(str, arguments)]
    environment = {k: v for k, v in os.environ.items() if k != "GENNAPE_DATA"}
    outcome = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    return json.loads(outcome.stdout), outcome.returncode


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Labels of random cells, better the more parameters they have."""
    folder = tmp_path_factory.mktemp("schemas")
    cells = gennape.Space("nasbench201").sample(180, rng=3)
    size = gennape.Space("nasbench201").parameters
    rows = [f"{cell},{size(cell) / 2e6:.4f},{1 + size(cell) / 1e6:.4f}" for cell in cells]
    for name, count in [("labels.csv", 40), ("latencies.csv", 180)]:
        lines = ["architecture,top1,milliseconds", *rows[:count]]
        (folder / name).write_text("\n".join(lines))
    return folder


def answers(folder):
    """Each answer's name, the command that gives it, and its exit code."""
    ours = ["--space", "nasbench201", "--labels", folder / "labels.csv", "--target", "top1"]
    latencies = ["--space", "nasbench201", "--latency", folder / "latencies.csv"]
    known = ["--explain", RESNET, CELL]
    return [
        ("predict", ["predict", "--neighbours", "2", "missing.onnx", *known], 1),
        ("predict-latency", ["predict", "--target", "latency-rtx4090", *known], 0),
        ("compare", ["compare", RESNET, "data/examples/resnet50.onnx"], 0),
        ("check", ["check", RESNET, "--constraint", "macs<=1"], 1),
        ("profile", ["profile", "--explain-lowering", RESNET], 0),
        ("profile", ["profile", RESNET, CELL], 0),
        ("embed", ["embed", CELL], 0),
        ("embed-descriptors", ["embed", "--what", "descriptors", CELL], 0),
        ("space", ["space", RESNET], 0),
        ("shrink", ["shrink", RESNET, "--keep", "c0=1/2", "-o", folder / "small.onnx"], 0),
        ("evaluate", ["evaluate", *ours], 0),
        ("evaluate", ["evaluate", "--report", "models/evaluation.json"], 0),
        ("evaluate-left-out", ["evaluate", "--left-out", "svhn"], 0),
        ("finetune", ["finetune", *ours, "-o", folder / "mine"], 0),
        ("finetune-latency", ["finetune", *latencies, "--target", "milliseconds", "-o", folder / "device"], 0),
        ("search", ["search", "--space", "nasbench201", "--budget", "60", "--objective", "accuracy",
                    "--objective", "latency=rtx4090", "-o", folder / "found"], 0),
        ("data", ["data", "list", "--data", folder], 0),
        ("data", ["data", "list"], 0),
        ("ablate", ["ablate", "--report", "models/ablation.json"], 0),
        ("ablate-real", ["ablate", "--report", "models/ablation-real.json"], 0),
    ]  # fmt: skip


def places(value, path=()):
    """Where objects are in an answer, by the first element of each list."""
    if isinstance(value, dict):
        yield path
        for name, inner in value.items():
            yield from places(inner, (*path, name))
    elif isinstance(value, list) and value:
        yield from places(value[0], (*path, 0))


def at(value, path):
    for step in path:
        value = value[step]
    return value


def test_answers_are_what_their_schemas_say(folder):
    for name, command, code in answers(folder):
        answer, exited = run(*command, "--format", "json")
        assert exited == code, (name, command)
        schema, _ = run("schema", name)
        validator = jsonschema.Draft202012Validator(schema)
        validator.check_schema(schema)
        validator.validate(answer)
        # It says enough: of the answer without its first field, or with another kind of thing in it,
        # something is missing or wrong. Tables by names of the user's have no such field.
        wrong = []
        for path in places(answer):
            fields = at(answer, path)
            required = [field for field, value in fields.items() if value is not None]
            for spoil in (lambda d, f: d.pop(f), lambda d, f: d.__setitem__(f, {"no": ["such"]})):
                spoiled = copy.deepcopy(answer)
                if required:
                    spoil(at(spoiled, path), required[0])
                    wrong.append(not validator.is_valid(spoiled))
        assert wrong[:2] == [True, True] and sum(wrong) >= len(wrong) / 2, name


def test_every_field_is_described(folder):
    for name, command, _ in answers(folder)[:5]:
        schema, _ = run("schema", name)
        schema["unevaluatedProperties"] = False
        answer, _ = run(*command, "--format", "json")
        jsonschema.validate(answer, schema)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**answer, "new": 1}, schema)
