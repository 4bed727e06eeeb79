"""Optuna asks for architectures in batches, and is told what was measured.

    pip install gennape optuna && python optuna_search.py

`train` stands for hours on a GPU: put your own training there.
"""

import gennape
import optuna
from gennape.optuna import PreScreeningSampler, suggest


def train(architecture: str) -> float:
    """An accuracy. Here: what a model estimates that the sampler doesn't ask."""
    network = ("nasbench201", architecture)
    return float(gennape.Estimator("gennape-nb101").predict(network).accuracy[0])


def search(sampler: optuna.samplers.BaseSampler, batches: int = 5, size: int = 4) -> optuna.Study:
    space = gennape.Space("nasbench201")
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for _ in range(batches):
        trials = [study.ask() for _ in range(size)]
        architectures = [suggest(trial, space) for trial in trials]
        # All of them at once, where you have the machines.
        for trial, accuracy in zip(trials, map(train, architectures)):
            study.tell(trial, accuracy)
    return study


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = gennape.Space("nasbench201")
    for sampler in (PreScreeningSampler(space, seed=0), optuna.samplers.RandomSampler(seed=0)):
        best = search(sampler).best_trial
        print(f"{type(sampler).__name__}: {best.value:.2f} {best.user_attrs['architecture']}")
