"""What the package says is what the program says, however a network is given."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import gennape
import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "data" / "examples"
RESNET = EXAMPLES / "resnet18.onnx"
FILES = sorted(str(path) for path in EXAMPLES.glob("*.onnx"))


@pytest.fixture(scope="module")
def estimator():
    return gennape.Estimator()


def program(*arguments):
    command = [sys.executable, "-m", "gennape", *map(str, arguments), "--format", "json"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def test_estimates_are_the_programs_to_the_last_bit(estimator):
    options = ["--neighbours", "3", "--explain"]
    expected = program("predict", *FILES, *options)["results"]
    known = estimator.predict(FILES, neighbours=3, explain=True)
    assert len(known) == len(expected) == len(FILES)
    for name in ["accuracy", "distance", "in_distribution", "depends_on_input", "parameters", "macs"]:
        assert getattr(known, name).tolist() == [result[name] for result in expected], name
    assert known.interval.tolist() == [result["interval"] for result in expected]
    assert known.target == [result["target"] for result in expected]
    assert known.target_reason == [result["target_reason"] for result in expected]
    assert known.neighbours == [result.get("neighbours", []) for result in expected]
    assert known.voices == [result["voices"] for result in expected]


@pytest.mark.parametrize("question", [{"target": "cifar100"}, {"recipe": "strong"}, {"one_family": True}])
def test_questions_are_the_programs(estimator, question):
    (name, value), = question.items()
    flag = "--" + name.replace("_", "-")
    options = [flag] if value is True else [flag, value]
    expected = program("predict", RESNET, *options)["results"][0]
    known = estimator.predict(RESNET, **question)
    assert known.accuracy.tolist() == [expected["accuracy"]]
    assert known.target == [expected["target"]]


def test_profile_compare_space_and_latency_are_the_programs():
    other = EXAMPLES / "convnext_tiny.onnx"
    expected = program("profile", RESNET)["results"][0]
    del expected["path"]
    assert gennape.profile(RESNET) == expected
    assert [p["macs"] for p in gennape.profile([RESNET, other])] == [
        r["macs"] for r in program("profile", RESNET, other)["results"]
    ]
    expected = program("compare", RESNET, other)
    known = gennape.compare(RESNET, other)
    assert known["probability"] == expected["probability"]
    assert known["differences"] == expected["differences"]
    assert gennape.SuperNetwork(RESNET).space() == program("space", RESNET)
    for device in gennape.LatencyModel.names():
        expected = program("predict", RESNET, "--target", f"latency-{device}", "--explain")
        known = gennape.LatencyModel(device).predict(RESNET)
        assert known.latency.tolist() == [expected["results"][0]["latency"]]
        assert known.interval.tolist() == [expected["results"][0]["interval"]]
        assert list(known.parts[0].items()) == [tuple(p) for p in expected["results"][0]["parts"]]


def test_every_form_of_a_network_gives_the_same(estimator):
    onnx = pytest.importorskip("onnx")
    content = RESNET.read_bytes()
    forms = [str(RESNET), RESNET, content, bytearray(content), onnx.load(RESNET)]
    alone = [estimator.predict(form).accuracy[0] for form in forms]
    assert alone == estimator.predict(forms).accuracy.tolist() == alone[:1] * len(forms)


def test_architectures_are_what_their_files_are(estimator):
    for name in gennape.Space.names():
        space = gennape.Space(name)
        architectures = space.sample(3, rng=5)
        built = [space.build(a, stripped=True) for a in architectures]
        of_text = estimator.predict((space, architectures), embed=True)
        of_files = estimator.predict(built, embed=True)
        assert of_text.accuracy.tolist() == of_files.accuracy.tolist(), name
        assert np.array_equal(of_text.embedding, of_files.embedding), name
        assert of_text.macs.tolist() == [space.macs(a) for a in architectures]


def test_many_are_one_by_one_and_embeddings_come_with_estimates(estimator):
    space = gennape.Space("nasbench101")
    architectures = space.sample(60, rng=3)
    together = estimator.predict((space, architectures), embed=True)
    alone = [estimator.predict((space, a)).accuracy[0] for a in architectures]
    assert together.accuracy.tolist() == alone
    assert together.embedding.dtype == np.float32
    assert np.array_equal(together.embedding, estimator.embed(("nasbench101", architectures)))
    assert estimator.predict((space, architectures)).embedding is None


def test_everything_comes_back_from_a_pickle(estimator):
    assert len(pickle.dumps(estimator)) < 100
    space = gennape.Space("nasbench201")
    architectures = space.sample(20, rng=1)
    known = estimator.predict((space, architectures), embed=True)
    again = pickle.loads(pickle.dumps(known))
    assert np.array_equal(again.accuracy, known.accuracy)
    assert np.array_equal(again.embedding, known.embedding)
    tuned = gennape.finetune((space, architectures), np.arange(20.0))
    copy = pickle.loads(pickle.dumps(tuned))
    numbers = [e.predict((space, architectures)).accuracy.tolist() for e in (tuned, copy)]
    assert numbers[0] == numbers[1]
    assert pickle.loads(pickle.dumps(space)) == space
    network = gennape.SuperNetwork(RESNET.read_bytes())
    assert pickle.loads(pickle.dumps(network)).decisions == network.decisions
    latency = gennape.LatencyModel("rtx4090")
    copy = pickle.loads(pickle.dumps(latency))
    assert copy.predict(RESNET).latency == latency.predict(RESNET).latency


def test_a_fine_tuned_model_learns_labels_and_is_kept(tmp_path, estimator):
    space = gennape.Space("nasbench_macro")
    architectures = space.sample(60, rng=2)
    labels = [float(space.macs(a)) for a in architectures]
    tuned = gennape.finetune((space, architectures), labels, target="megahertz", name="mine")
    assert tuned.targets == ["megahertz"]
    fresh = space.sample(60, rng=9)
    ranks = lambda values: np.argsort(np.argsort(values))
    truth = [space.macs(a) for a in fresh]
    known = tuned.predict((space, fresh))
    assert np.corrcoef(ranks(known.accuracy), ranks(truth))[0, 1] > 0.9
    tuned.save(tmp_path / "mine")
    loaded = gennape.Estimator(tmp_path / "mine")
    assert np.array_equal(loaded.predict((space, fresh)).accuracy, known.accuracy)
    with pytest.raises(gennape.GennapeError, match="too few") as error:
        gennape.finetune((space, fresh[:5]), labels[:5])
    assert error.value.hint == "label more networks"
    with pytest.raises(ValueError, match="59 labels for 60 networks"):
        gennape.finetune((space, fresh), labels[:59])


def test_latencies_of_a_device_of_ones_own(tmp_path):
    space = gennape.Space("nasbench_macro")
    architectures = space.sample(160, rng=4)
    truth = [1e-8 * space.macs(a) for a in architectures]
    device = gennape.LatencyModel.fit((space, architectures), truth, name="abacus")
    device.save(tmp_path / "abacus")
    fresh = space.sample(20, rng=8)
    known = gennape.LatencyModel(tmp_path / "abacus").predict((space, fresh))
    assert np.allclose(known.latency, [1e-8 * space.macs(a) for a in fresh], rtol=0.2)
