"""Children of a process that has threads answer as it does; threads let each other work."""

import multiprocessing
import os
import threading

import gennape
import numpy as np
import pytest

ESTIMATOR = gennape.Estimator()
SPACE = gennape.Space("nasbench201")
ARCHITECTURES = SPACE.sample(64, rng=7)


def estimate(estimator, architectures):
    return estimator.predict((SPACE, architectures)).accuracy


def search(seed):
    return gennape.search("nasbench_macro", budget=60, seed=seed).architectures


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_children_give_equal_answers(method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"there is no {method} here")
    # The parent's threads are at work before it forks.
    expected, found = estimate(ESTIMATOR, ARCHITECTURES), search(1)
    with multiprocessing.get_context(method).Pool(2) as pool:
        jobs = [pool.apply_async(estimate, (ESTIMATOR, ARCHITECTURES)) for _ in range(4)]
        searches = [pool.apply_async(search, (1,)) for _ in range(2)]
        for job in jobs:
            assert np.array_equal(job.get(timeout=120), expected)
        for job in searches:
            assert job.get(timeout=120) == found
    assert np.array_equal(estimate(ESTIMATOR, ARCHITECTURES), expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_of_a_child_works():
    expected = estimate(ESTIMATOR, ARCHITECTURES)

    def child(depth):
        same = np.array_equal(estimate(ESTIMATOR, ARCHITECTURES), expected)
        if not same or depth == 0:
            os._exit(0 if same else 1)
        pid = os.fork()
        if pid == 0:
            child(depth - 1)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    pid = os.fork()
    if pid == 0:
        child(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_other_threads_go_on_meanwhile():
    ticks, done = 0, threading.Event()

    def work():
        estimate(ESTIMATOR, ARCHITECTURES * 20)
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    while not done.wait(0.001):
        ticks += 1
    thread.join()
    assert ticks > 3
