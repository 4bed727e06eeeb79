#!/usr/bin/env python3
"""Make tests/fixtures/nonnegative.json: non-negative least squares by SciPy.

Each case holds the rows of a matrix, as many values, and the non-negative coefficients that fit them
best.

    .venv/bin/python scripts/nonnegative_fixtures.py
"""

import json
from pathlib import Path

import numpy as np
from scipy.optimize import nnls

OUTPUT = Path(__file__).resolve().parent.parent / "tests/fixtures/nonnegative.json"


def cases() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    random = rng.normal(size=(30, 10)).round(3)
    counts = rng.poisson(2.0, (40, 15)).astype(float)
    truth = np.maximum(rng.normal(0.2, 1.0, 15), 0.0).round(3)
    # Columns that almost say the same, as counts and bytes of one kind of operation do.
    twins = np.hstack([counts[:, :6], counts[:, :6] + rng.normal(0.0, 0.01, (40, 6)).round(4)])
    return {
        "random": (random, rng.normal(size=30).round(3)),
        "nothing fits": (np.abs(random), -np.abs(rng.normal(size=30)).round(3)),
        "exact": (counts, (counts @ truth).round(6)),
        "noisy": (counts, (counts @ truth + rng.normal(0.0, 1.0, 40)).round(3)),
        "twins": (twins, (twins[:, :6].sum(1) + rng.normal(0.0, 0.3, 40)).round(3)),
        "scales": (counts * 10.0 ** rng.integers(-3, 4, 15), (counts @ truth).round(6)),
    }


def main() -> None:
    fixtures = {}
    for name, (rows, values) in cases().items():
        solution, _ = nnls(rows, values)
        fixtures[name] = {
            "rows": rows.tolist(),
            "values": values.tolist(),
            "solution": solution.tolist(),
        }
    OUTPUT.write_text(json.dumps(fixtures) + "\n")


if __name__ == "__main__":
    main()
