#!/usr/bin/env python3
"""Make tests/fixtures/pruning.json: one step of half-space projected gradient descent, in NumPy.

    python3 scripts/pruning_fixtures.py

Three units in two tensors: filters [3, 2, 2] and a vector of 5, whose first and last element are of
no unit. Each unit is handled on its own, as one long vector, after the formulas in
`src/pruning/projection.rs`.
"""

import json
from pathlib import Path

import numpy as np

OUTPUT = Path(__file__).resolve().parent.parent / "tests/fixtures/pruning.json"
LOWEST, ABOVE = 1e-3, 1.1


def step(w, v, dw, dv, chosen, zero, rate, left):
    new_w, new_v, gone = w - rate * dw, v - rate * dv, list(zero)
    for u in range(3):
        x = np.concatenate([w[u].ravel(), v[u + 1 : u + 2]])
        d = np.concatenate([dw[u].ravel(), dv[u + 1 : u + 2]])
        if chosen[u]:
            norm = np.sqrt(x @ x)
            pull = LOWEST
            if x @ d < 0:
                pull = max(pull, ABOVE * -(x @ d) / norm)
            pull += norm / left
            y = x - rate * (d + pull * x / norm)
            gone[u] = zero[u] or bool(y @ x <= 0)
            x = np.zeros_like(y) if gone[u] else y
        else:
            x = x - rate * d
        new_w[u], new_v[u + 1] = x[:-1].reshape(2, 2), x[-1]
    return new_w, new_v, gone


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    cases = []
    for chosen, rate, left in (
        ((True, False, True), 0.1, 2.0),
        ((True, True, True), 0.1, 0.1),
        ((False, True, False), 0.5, 0.7),
        ((True, True, False), 0.05, 40.0),
    ):
        for toward in (1.0, -1.0):
            w, v, noise = rng.normal(size=(3, 2, 2)), rng.normal(size=5), rng.normal(size=17)
            dw, dv = toward * w + 0.3 * noise[:12].reshape(3, 2, 2), toward * v + 0.3 * noise[12:]
            new_w, new_v, gone = step(w, v, dw, dv, chosen, (False,) * 3, rate, left)
            cases.append(
                {
                    "tensors": [w.ravel().tolist(), v.tolist()],
                    "directions": [dw.ravel().tolist(), dv.tolist()],
                    "chosen": chosen, "rate": rate, "left": left, "zero": gone,
                    "after": [new_w.ravel().tolist(), new_v.tolist()],
                }
            )  # fmt: skip
    OUTPUT.write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
