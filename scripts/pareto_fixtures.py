#!/usr/bin/env python3
"""Make tests/fixtures/pareto.json: non-dominated sorting, crowding and hypervolume by pymoo.

Each case holds `losses` (n, objectives), all to be minimised; the `fronts` they are on, 0 for those
that none dominates; the `crowding` distance of each within its front, null for infinity; and the
`hypervolume` of all below `reference`.

pymoo divides crowding distances by the number of objectives, which Deb et al. (2002) don't; this is
undone. Its NSGA-II keeps copies of a point, as here; of its other functions, which give them a
distance of zero, none is used.

    .venv/bin/python scripts/pareto_fixtures.py
"""

import json
from pathlib import Path

import numpy as np
from pymoo.indicators.hv import HV
from pymoo.operators.survival.rank_and_crowding.metrics import get_crowding_function
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

OUTPUT = Path(__file__).resolve().parent.parent / "tests/fixtures/pareto.json"


def cases() -> dict[str, np.ndarray]:
    """Losses by name."""
    rng = np.random.default_rng(0)
    results = {}
    for objectives in (2, 3, 4):
        uniform = rng.uniform(0, 1, (40, objectives)).round(3)
        # The part of a sphere where all are on one front, but for three behind it.
        sphere = np.abs(rng.normal(0, 1, (25, objectives)))
        sphere = 1 - sphere / np.linalg.norm(sphere, axis=1, keepdims=True)
        sphere[:3] += 0.05
        # Few values, so that many are equal in some objective, and some in all.
        grid = rng.integers(0, 4, (30, objectives)).astype(float)
        # Objectives of different sizes and signs.
        scales = rng.normal(0, 1, (30, objectives)) * 10.0 ** np.arange(-2, 2 * objectives - 2, 2)
        constant = uniform[:20].copy()
        constant[:, 0] = 0.5
        for name, losses in [
            ("uniform", uniform),
            ("sphere", sphere),
            ("grid", grid),
            ("scales", scales),
            ("constant", constant),
        ]:
            results[f"{name}_{objectives}"] = losses
    results["single_2"] = np.array([[0.25, 0.5]])
    results["pair_3"] = np.array([[0.25, 0.5, 0.0], [0.5, 0.25, 0.0]])
    return results


def case(losses: np.ndarray) -> dict[str, object]:
    fronts = NonDominatedSorting().do(losses)
    ranks = np.empty(len(losses), int)
    crowding = np.empty(len(losses))
    for rank, front in enumerate(fronts):
        # In their own order, which decides between copies.
        front = np.sort(front)
        ranks[front] = rank
        crowding[front] = get_crowding_function("cd").do(losses[front]) * losses.shape[1]
    # Within the range, so that some points are not inside of it.
    reference = np.quantile(losses, 0.9, axis=0)
    return {
        "losses": losses.tolist(),
        "fronts": ranks.tolist(),
        "crowding": [None if np.isinf(d) else d for d in crowding.tolist()],
        "reference": reference.tolist(),
        "hypervolume": float(HV(ref_point=reference)(losses)),
    }


def main() -> None:
    results = {name: case(losses) for name, losses in cases().items()}
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    lines = (f"  {json.dumps(name)}: {json.dumps(result)}" for name, result in results.items())
    OUTPUT.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(OUTPUT)


if __name__ == "__main__":
    main()
