"""Architectures of a search space as trials of Optuna.

A trial's parameters are the decisions of an architecture, ``decision_0``, ``decision_1`` and so on;
:func:`suggest` asks for them. :class:`PreScreeningSampler` proposes, of many candidates, the one that is
estimated best, so that only promising networks are trained.
"""

from __future__ import annotations

import random
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from . import Estimator, GennapeError, Space

__all__ = ["PreScreeningSampler", "distributions", "suggest"]


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """The parameters of an architecture."""
    if not space.decisions:
        raise GennapeError(f"architectures of {space.name} differ in their number of decisions")
    return {f"decision_{i}": IntDistribution(0, n - 1) for i, n in enumerate(space.decisions)}


def suggest(trial: Trial, space: Space) -> str:
    """The architecture of a trial, which is pruned if its decisions make up none."""
    names = distributions(space)
    choices = [trial.suggest_int(name, 0, n - 1) for name, n in zip(names, space.decisions)]
    architecture = space.decide(choices)
    if architecture is None:
        raise optuna.TrialPruned("these decisions make up no architecture")
    trial.set_user_attr("architecture", architecture)
    return architecture


class PreScreeningSampler(BaseSampler):
    """Proposes the candidate with the highest estimate among random ones and neighbours of the best
    trials, that no trial had before."""

    def __init__(
        self,
        space: Space,
        estimator: Estimator | None = None,
        *,
        candidates: int = 64,
        parents: int = 5,
        seed: int | None = None,
    ) -> None:
        self._space = space
        self._estimator = Estimator() if estimator is None else estimator
        self._candidates = candidates
        self._parents = parents
        self._random = random.Random(seed)
        self._independent = RandomSampler(seed=seed)
        self._estimates: dict[tuple[int, ...], float] = {}
        self._proposed: set[tuple[int, ...]] = set()

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return distributions(self._space)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        names = list(search_space)
        trials = study.get_trials(deepcopy=False)
        known = [t for t in trials if all(name in t.params for name in names)]
        met = {tuple(t.params[name] for name in names) for t in known} | self._proposed
        pool = self._pool(study, known, names, met)
        if not pool:
            return {}
        new = [choices for choices in pool if choices not in self._estimates]
        architectures = [self._space.decide(choices) or "" for choices in new]
        known_of_new = self._estimator.predict((self._space, architectures), one_family=True)
        self._estimates.update(zip(new, known_of_new.accuracy.tolist()))
        best = max(pool, key=self._estimates.__getitem__)
        # Trials that have just begun have no parameters yet that others could see.
        self._proposed.add(best)
        return dict(zip(names, best))

    def _pool(
        self,
        study: Study,
        known: list[FrozenTrial],
        names: list[str],
        met: set[tuple[int, ...]],
    ) -> list[tuple[int, ...]]:
        options = self._space.decisions
        done = [t for t in known if t.state == TrialState.COMPLETE]
        upwards = study.directions[0] == optuna.study.StudyDirection.MAXIMIZE
        done.sort(key=lambda t: t.values[0], reverse=upwards)
        parents = [[t.params[name] for name in names] for t in done[: self._parents]]
        pool: dict[tuple[int, ...], None] = {}
        for attempt in range(20 * self._candidates):
            if len(pool) == self._candidates:
                break
            if parents and attempt % 2:
                choices = list(self._random.choice(parents))
                at = self._random.randrange(len(options))
                choices[at] = self._random.randrange(options[at])
            else:
                choices = [self._random.randrange(n) for n in options]
            if tuple(choices) not in met and self._space.decide(choices) is not None:
                pool[tuple(choices)] = None
        return list(pool)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self._independent.sample_independent(study, trial, param_name, param_distribution)
