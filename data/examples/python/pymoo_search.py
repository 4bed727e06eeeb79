"""pymoo searches a space by its decisions, for accuracy and multiply-accumulates.

    pip install gennape pymoo && python pymoo_search.py
"""

import gennape
import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.problem import Problem
from pymoo.operators.crossover.pntx import TwoPointCrossover
from pymoo.operators.mutation.pm import PM
from pymoo.operators.repair.rounding import RoundingRepair
from pymoo.operators.sampling.rnd import IntegerRandomSampling
from pymoo.optimize import minimize


class Architectures(Problem):
    """Decisions are integer variables; one call of the estimator for a whole population."""

    def __init__(self, space: gennape.Space, estimator: gennape.Estimator) -> None:
        options = np.array(space.decisions)
        super().__init__(n_var=len(options), n_obj=2, xl=0, xu=options - 1, vtype=int)
        self.space, self.estimator = space, estimator

    def _evaluate(self, x, out, *args, **kwargs):
        architectures = [self.space.decide(choices) for choices in x.tolist()]
        valid = [i for i, architecture in enumerate(architectures) if architecture is not None]
        out["F"] = np.full((len(x), 2), np.inf)
        known = self.estimator.predict(
            (self.space, [architectures[i] for i in valid]), one_family=True
        )
        out["F"][valid] = np.stack([-known.accuracy, known.macs], axis=1)


def front(space: gennape.Space, budget: int, seed: int = 0, population: int = 50) -> np.ndarray:
    """Accuracies and MACs that no other network found beats, `[networks, 2]`."""
    algorithm = NSGA2(
        pop_size=population,
        sampling=IntegerRandomSampling(),
        crossover=TwoPointCrossover(),
        mutation=PM(prob_var=1 / len(space.decisions), vtype=float, repair=RoundingRepair()),
        eliminate_duplicates=True,
    )
    problem = Architectures(space, gennape.Estimator())
    result = minimize(problem, algorithm, ("n_eval", budget), seed=seed)
    return result.F * [-1, 1]


if __name__ == "__main__":
    for accuracy, macs in sorted(front(gennape.Space("nasbench_macro"), 1000).tolist()):
        print(f"{accuracy:.2f} % {macs / 1e6:.0f} M")
