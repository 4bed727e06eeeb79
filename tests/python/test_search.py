"""Searches with objectives of the user's own, that may be interrupted."""

import os
import random
import signal
import threading
import time
from pathlib import Path

import gennape
import numpy as np
import pytest

RESNET = Path(__file__).parents[2] / "data" / "examples" / "resnet18.onnx"
SPACE = gennape.Space("nasbench_macro")


def test_a_space_draws_mutates_crosses_over_and_decides():
    for rng in (random.Random(3), np.random.default_rng(3)):
        a, b = SPACE.sample(2, rng=rng)
        mutant, child = SPACE.mutate(a, rng=rng), SPACE.crossover(a, b, rng=rng)
        assert sum(x != y for x, y in zip(a, mutant)) == 1
        assert all(c in (x, y) for c, x, y in zip(child, a, b))
        # The generator moves on.
        assert len({SPACE.sample(rng=rng) for _ in range(8)}) > 1
    assert SPACE.sample(5, rng=1) == SPACE.sample(5, rng=1)
    assert SPACE.decisions == [3] * 8 and SPACE.size == 3**8
    assert SPACE.decide([0, 1, 2, 0, 1, 2, 0, 1]) == "01201201"
    assert SPACE.decide([3] * 8) is None
    assert SPACE.parameters("21021120") > 0
    cells = gennape.Space("nasbench201")
    empty = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
    loose = "|avg_pool_3x3~0|+|none~0|none~1|+|none~0|none~1|none~2|"
    assert cells.canonical(empty) == cells.canonical(loose)


def test_a_search_repeats_itself_and_its_front_is_one():
    result = gennape.search(SPACE, ["macs:max", "parameters:min"], budget=150, seed=4)
    again = gennape.search("nasbench_macro", ["macs:max", "parameters:min"], budget=150, seed=4)
    assert result.architectures == again.architectures and len(result) == 150
    assert result.stop == "budget"
    macs, parameters = result.measures["macs"], result.measures["parameters"]
    for i in result.front:
        better = (macs >= macs[i]) & (parameters <= parameters[i])
        better &= (macs > macs[i]) | (parameters < parameters[i])
        assert not better.any()


def test_a_function_is_an_objective():
    asked = []

    def twos(architectures):
        asked.extend(architectures)
        return np.array([a.count("2") for a in architectures])

    result = gennape.search(
        SPACE, [(twos, "max")], constraints=["parameters<=700k"], budget=400, seed=1, batch=16
    )
    assert result.measures["twos"][result.front[0]] == np.nanmax(result.measures["twos"][result.feasible])
    # What the constraint rules out is never asked about.
    parameters = result.measures["parameters"]
    assert sorted(asked) == sorted(a for a, p in zip(result.architectures, parameters) if p <= 7e5)
    both = gennape.search(SPACE, [("mine", twos, "max"), "parameters:min"], budget=60)
    assert set(both.measures) == {"mine", "parameters"}


def test_every_algorithm_takes_functions():
    value = lambda architectures: [a.count("2") for a in architectures]
    with pytest.raises(gennape.GennapeError) as error:
        gennape.search(SPACE, algorithm="?")
    names = error.value.hint.removeprefix("give one of ").split(", ")
    assert "guided" in names
    for name in names:
        result = gennape.search(SPACE, [value], algorithm=name, budget=30)
        assert len(result) == 30, name


def test_a_callback_hears_of_everything_and_can_stop():
    heard = []

    def callback(progress):
        heard.extend(progress.architectures)
        assert len(progress.measures["macs"]) == len(progress.architectures)
        return progress.evaluated < 50

    own = lambda architectures: [0.0] * len(architectures)
    result = gennape.search(SPACE, ["macs:min", ("own", own, "max")], budget=1000, batch=10, callback=callback)
    assert result.stop == "interrupted" and 50 <= len(result) < 100
    assert heard == result.architectures


def test_an_exception_comes_out():
    def wrong(architectures):
        raise LookupError("my own")

    with pytest.raises(LookupError, match="my own"):
        gennape.search(SPACE, [wrong], budget=10)
    with pytest.raises(gennape.GennapeError, match="returns 1 numbers"):
        gennape.search(SPACE, [lambda architectures: [1.0]], budget=10)


@pytest.fixture
def heeded_interrupts():
    """Shells let what they start in the background ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(os.name != "posix", reason="signals are not sent here")
@pytest.mark.parametrize("slow", [True, False])
def test_ctrl_c_keeps_what_was_found(slow, heeded_interrupts):
    main = threading.get_ident()

    def measure(architectures):
        assert threading.get_ident() == main
        time.sleep(0.05)
        return [float(a.count("1")) for a in architectures]

    def press():
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press).start()
    objectives = [measure] if slow else ["accuracy:max", "macs:min"]
    space = SPACE if slow else "darts"
    result = gennape.search(space, objectives, budget=100_000, batch=4)
    assert result.stop == "interrupted"
    assert len(result) > 0 and len(result.front) > 0


def test_sub_networks_are_searched_and_cut(tmp_path):
    network = gennape.SuperNetwork(RESNET)
    result = gennape.search(network, ["macs:min", "parameters:max"], budget=60, start=["whole"])
    best = result.architectures[result.front[0]]
    small = gennape.profile(network.shrink(best))
    assert small["macs"] == result.measures["macs"][result.front[0]] == network.macs(best)
    assert small["parameters"] == network.parameters(best)
    keep = network.decide([0] * len(network.decisions))
    assert keep == "whole" and network.macs(keep) == gennape.profile(RESNET)["macs"]
    assert network.mutate(keep, rng=1) != keep
    child = network.crossover(best, keep, rng=1)
    assert network.macs(child) > 0 and network.macs(network.sample(rng=2)) > 0
