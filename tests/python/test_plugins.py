"""The examples that people copy, with the real libraries where these are installed."""

import importlib.util
import os
from pathlib import Path

import gennape
import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "data" / "examples" / "python"


def example(name):
    specification = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_optuna_is_told_of_better_networks_when_it_screens():
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    from gennape.optuna import PreScreeningSampler

    module, space = example("optuna_search"), gennape.Space("nasbench201")
    values = {"screened": [], "random": []}
    for seed in range(3):
        screened = module.search(PreScreeningSampler(space, seed=seed), batches=3)
        drawn = module.search(optuna.samplers.RandomSampler(seed=seed), batches=3)
        values["screened"] += [trial.value for trial in screened.trials]
        values["random"] += [trial.value for trial in drawn.trials]
        architectures = [trial.user_attrs["architecture"] for trial in screened.trials]
        assert len(set(architectures)) == 12
    assert np.median(values["screened"]) > np.quantile(values["random"], 0.8)


def test_pymoo_and_our_nsga2_find_the_same_front():
    pytest.importorskip("pymoo")
    from pymoo.indicators.hv import HV

    module, space = example("pymoo_search"), gennape.Space("nasbench_macro")
    estimator = gennape.Estimator()
    scale = np.array([100.0, space.macs("22222222")])

    def volume(front):
        points = np.array([[-accuracy, macs] for accuracy, macs in front]) / scale
        return HV(ref_point=np.array([-0.5, 1.0]))(points)

    def ours(seed):
        found = gennape.search(
            space, ["accuracy-mean:max", "macs:min"], algorithm="nsga2", budget=800, seed=seed,
            model=estimator,
        )
        return [(found.measures["accuracy-mean"][i], found.measures["macs"][i]) for i in found.front]

    both = np.array(
        [[volume(module.front(space, 800, seed)), volume(ours(seed))] for seed in range(3)]
    )
    theirs, own = both.mean(axis=0)
    assert abs(own - theirs) < 0.03 * theirs, both


def test_torch_modules_are_exported_in_memory():
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    module = example("torch_module")
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Flatten(), torch.nn.LazyLinear(100))
    network(torch.zeros(1, 3, 32, 32))
    known = module.predict(network, torch.zeros(1, 3, 32, 32))
    assert known.target == ["cifar100"]
    assert known.parameters[0] == sum(p.numel() for p in network.parameters())


def test_naslib_fits_and_queries():
    pytest.importorskip("naslib")
    predictor = example("naslib_predictor").GennapePredictor()
    space = gennape.Space("nasbench201")
    architectures = space.sample(30, rng=0)
    labels = [space.macs(a) for a in architectures]
    assert len(predictor.query(architectures)) == 30
    fitted = predictor.fit(architectures, labels).query(architectures)
    assert np.corrcoef(fitted, labels)[0, 1] > 0.8


@pytest.mark.skipif("GENNAPE_TEST_RAY" not in os.environ, reason="it takes a minute to start")
def test_ray_answers_as_one_process_does(tmp_path, monkeypatch):
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("HOME", str(tmp_path))
    ray.init(
        num_cpus=3,
        include_dashboard=False,
        runtime_env={"env_vars": {"RAYON_NUM_THREADS": "1"}},
    )
    try:
        space = gennape.Space("nasbench201")
        architectures = space.sample(10_000, rng=0)
        known = example("ray_predict").predict(architectures, space=space.name, workers=2)
    finally:
        ray.shutdown()
    local = gennape.Estimator().predict((space, architectures)).accuracy
    assert [known[a] for a in architectures] == local.tolist()
