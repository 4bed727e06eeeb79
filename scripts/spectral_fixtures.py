#!/usr/bin/env python3
"""Make tests/fixtures/spectra.json: spectra of normalised Laplacians by SciPy.

Each case holds the number of `nodes`, the directed `edges` between them, some of them twice or in
both directions, and all `eigenvalues` of the normalised Laplacian of the undirected simple graph,
ascending.

    .venv/bin/python scripts/spectral_fixtures.py
"""

import json
from pathlib import Path

import networkx as nx
import numpy as np
from scipy.linalg import eigvalsh
from scipy.sparse import coo_array
from scipy.sparse.csgraph import laplacian

OUTPUT = Path(__file__).resolve().parent.parent / "tests/fixtures/spectra.json"

Edges = list[tuple[int, int]]


def random_dag(rng: np.random.Generator, nodes: int, share: float) -> Edges:
    return [(a, b) for b in range(nodes) for a in range(b) if rng.random() < share]


def cases() -> dict[str, tuple[int, Edges]]:
    """Number of nodes and edges by name."""
    rng = np.random.default_rng(0)
    triangles = [(0, 1), (1, 2), (0, 2), (3, 4), (4, 5), (3, 5)]
    dense = random_dag(rng, 25, 0.3)
    return {
        "single_node": (1, []),
        "three_isolated_nodes": (3, []),
        "one_edge": (2, [(0, 1)]),
        "chain_of_40": (40, list(nx.path_graph(40).edges)),
        "cycle": (24, list(nx.cycle_graph(24).edges)),
        "star": (12, list(nx.star_graph(11).edges)),
        "complete": (9, list(nx.complete_graph(9).edges)),
        "complete_bipartite": (11, list(nx.complete_bipartite_graph(4, 7).edges)),
        "two_triangles_and_an_isolated_node": (7, triangles),
        "parallel_and_opposite_edges": (25, dense + dense[::3] + [(b, a) for a, b in dense[::4]]),
        "sparse_and_disconnected": (60, random_dag(rng, 60, 0.02)),
        "random": (90, random_dag(rng, 90, 0.04)),
    }


def eigenvalues(nodes: int, edges: Edges) -> list[float]:
    adjacency = np.zeros((nodes, nodes))
    for a, b in edges:
        adjacency[a, b] = adjacency[b, a] = 1
    normalised = laplacian(coo_array(adjacency), normed=True).toarray()
    graph = nx.Graph(edges)
    graph.add_nodes_from(range(nodes))
    other = nx.normalized_laplacian_matrix(graph, nodelist=range(nodes)).toarray()
    assert np.allclose(normalised, other, atol=1e-12)
    # Not -0.0, nor what rounding adds to 0.
    return (eigvalsh(normalised).round(12) + 0.0).tolist()


def main() -> None:
    lines = []
    for name, (nodes, edges) in cases().items():
        case = {"nodes": nodes, "edges": edges, "eigenvalues": eigenvalues(nodes, edges)}
        lines.append(f"  {json.dumps(name)}: {json.dumps(case)}")
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(OUTPUT)


if __name__ == "__main__":
    main()
