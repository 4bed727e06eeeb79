"""What goes wrong is an exception that says what to do."""

import pickle
from pathlib import Path

import gennape
import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "data" / "examples"
RESNET = EXAMPLES / "resnet18.onnx"


def test_a_missing_file_is_a_missing_file(tmp_path):
    estimator = gennape.Estimator()
    for kind in (FileNotFoundError, OSError, gennape.FileError):
        with pytest.raises(kind, match="no such network.onnx"):
            estimator.predict(tmp_path / "no such network.onnx")
    (tmp_path / "net.onnx").write_bytes(RESNET.read_bytes()[:-50])
    with pytest.raises(ValueError, match="cut short") as error:
        estimator.predict(tmp_path / "net.onnx")
    assert error.value.hint == "download or export the file again"
    assert str(error.value).endswith("hint: download or export the file again")
    again = pickle.loads(pickle.dumps(error.value))
    assert (type(again), again.hint, str(again)) == (type(error.value), error.value.hint, str(error.value))


def test_hints_work_as_typed_in_python():
    onnx = pytest.importorskip("onnx")
    helper, types = onnx.helper, onnx.TensorProto

    def network(op, shape, domain=""):
        value = lambda name: helper.make_tensor_value_info(name, types.FLOAT, shape)
        graph = helper.make_graph([helper.make_node(op, ["x"], ["y"], domain=domain)], "g", [value("x")], [value("y")])
        opsets = [helper.make_opsetid("", 17)] + ([helper.make_opsetid(domain, 1)] if domain else [])
        return helper.make_model(graph, opset_imports=opsets)

    free = network("Relu", [1, 3, "height", "width"])
    with pytest.raises(gennape.GennapeError, match="free dimensions") as error:
        gennape.profile(free)
    assert error.value.hint.endswith(" would fit")
    options = eval("dict(" + error.value.hint.removesuffix(" would fit") + ")")
    assert gennape.profile(free, **options)["nodes"] == 2

    foreign = network("Teleport", [1, 3, 8, 8], domain="science.fiction")
    with pytest.raises(gennape.GennapeError, match="unknown operator") as error:
        gennape.profile(foreign)
    options = eval("dict(" + error.value.hint.split()[0] + ")")
    assert gennape.profile(foreign, **options)["unknown_operators"] == 1


@pytest.mark.parametrize(
    "action, message, hint",
    [
        (lambda: gennape.Estimator("gennape-x"), "no model", "gennape-nb101"),
        (lambda: gennape.Estimator("gennape-nb101").predict(RESNET, target="svhn"), "does not estimate", "Estimator()"),
        (lambda: gennape.Estimator().predict(RESNET, target="mnist"), "no target", "imagenet1k"),
        (lambda: gennape.Estimator().predict(RESNET, target="latency-rtx4090"), "no target", "LatencyModel"),
        (lambda: gennape.Estimator().predict(RESNET, recipe="none"), "recipe", "usual"),
        (lambda: gennape.Estimator().predict(3), "int is no network", "give a path"),
        (lambda: gennape.Estimator().predict(RESNET, on_error="skip"), "on_error", "raise"),
        (lambda: gennape.LatencyModel("abacus"), "no model", "rtx4090"),
        (lambda: gennape.Space("mars"), "no search space", None),
        (lambda: gennape.Estimator().predict(("mars", ["x"])), "no search space", None),
        (lambda: gennape.profile(("mars", ("x", "y"))), "no search space", None),
        (lambda: gennape.search(3), "3 is no search space", None),
        (lambda: gennape.Space("nasbench201").sample(2**40), "too many", "at most"),
        (lambda: gennape.Space("nasbench201").mutate("x"), "not a nasbench201 architecture", None),
        (lambda: gennape.SuperNetwork(RESNET).shrink("c99=1/2"), "c99", "SuperNetwork.space()"),
        (lambda: gennape.search("nasbench201", ["speed:max"]), "no measure", None),
        (lambda: gennape.search("nasbench201", algorithm="luck"), "no algorithm", "nsga2"),
        (lambda: gennape.search("nasbench201", budget=0), "budget must be at least 1", None),
        (lambda: gennape.search("nasbench201", batch=0), "batch must be at least 1", None),
        (lambda: gennape.search("mars"), "no search space", None),
        (lambda: gennape.search("nasbench201", budget=-1), "negative or too large: .*-1", None),
        (lambda: gennape.search("nasbench201", batch=-1), "negative or too large: .*-1", None),
        (lambda: gennape.search("nasbench201", seed=-1), "negative or too large: .*-1", None),
        (lambda: gennape.search("nasbench201", seed=2**64), "negative or too large: 18446744073709551616", None),
        (lambda: gennape.finetune([RESNET], [1.0], seed=-1), "negative or too large: .*-1", None),
        (lambda: gennape.Estimator().predict(RESNET, neighbours=-1), "negative or too large: .*-1", None),
        (lambda: gennape.Estimator().predict(RESNET, input_shapes={"input": (1, 3, -7, 224)}), "negative or too large: .*-7", None),
        (lambda: gennape.Estimator().embed(RESNET, input_shapes={"input": [-1]}), "negative or too large: .*-1", None),
        (lambda: gennape.LatencyModel("rtx4090").predict(RESNET, input_shapes={"input": [-1]}), "negative or too large: .*-1", None),
        (lambda: gennape.SuperNetwork(RESNET, input_shapes={"input": [-1]}), "negative or too large: .*-1", None),
        (lambda: gennape.SuperNetwork(RESNET).decide([-1]), "negative or too large: .*-1", None),
        (lambda: gennape.SuperNetwork(RESNET).sample(rng=-1), "negative or too large: .*-1", None),
        (lambda: gennape.profile(RESNET, input_shapes={"input": [-1]}), "negative or too large: .*-1", None),
        (lambda: gennape.Space("nasbench201").sample(-1), "negative or too large: .*-1", None),
        (lambda: gennape.Space("nasbench201").sample(rng=-1), "negative or too large: .*-1", None),
        (lambda: gennape.Space("nasbench201").decide([0, -1]), "negative or too large: .*-1", None),
        (lambda: gennape.Space("nasbench201").build("x", seed=-1), "negative or too large: .*-1", None),
        (lambda: gennape.compare(RESNET, EXAMPLES / "nasbench201_best.onnx"), "first network is one for", "target="),
    ],
)
def test_wrong_use_says_what_to_do(action, message, hint):
    with pytest.raises(ValueError, match=message) as error:
        action()
    assert isinstance(error.value, gennape.GennapeError)
    if hint is None:
        assert error.value.hint is None
    else:
        assert hint in error.value.hint


def test_one_wrong_network_costs_no_other_answer():
    estimator = gennape.Estimator()
    networks = [RESNET, b"no network", RESNET, "missing.onnx"] * 3
    known = estimator.predict(networks, on_error="nan", embed=True, neighbours=1)
    assert np.isnan(known.accuracy).tolist() == [False, True, False, True] * 3
    assert sorted(known.errors) == [1, 3, 5, 7, 9, 11]
    assert isinstance(known.errors[1], ValueError) and isinstance(known.errors[3], OSError)
    assert known.accuracy[0] == estimator.predict(RESNET).accuracy[0]
    assert known.parameters.tolist()[:2] == [known.parameters[0], -1]
    assert np.isnan(known.embedding[1]).all() and not np.isnan(known.embedding[0]).any()
    with pytest.raises(ValueError, match="network 1: "):
        estimator.predict(networks)
