"""Ray estimates many architectures or ONNX files on many machines, for who outgrows one.

    pip install gennape 'ray[data]' && python ray_predict.py

Each worker loads the model once and uses one core.
"""

import gennape
import ray


class Worker:
    """Estimates a batch: a column of architectures or of paths."""

    def __init__(self, space: str | None = None) -> None:
        self.space, self.estimator = space, gennape.Estimator()

    def __call__(self, batch: dict) -> dict:
        networks = [str(network) for network in batch["network"]]
        asked = networks if self.space is None else (self.space, networks)
        known = self.estimator.predict(asked, on_error="nan")
        return {**batch, "accuracy": known.accuracy, "distance": known.distance, "macs": known.macs}


def predict(networks: list[str], space: str | None = None, workers: int = 2) -> dict:
    """Accuracies by network."""
    rows = ray.data.from_items([{"network": network} for network in networks])
    estimated = rows.map_batches(
        Worker,
        fn_constructor_kwargs={"space": space},
        batch_size=500,
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=1,
    )
    return {row["network"]: row["accuracy"] for row in estimated.iter_rows()}


if __name__ == "__main__":
    # One thread for each worker: Ray gives it one core.
    ray.init(runtime_env={"env_vars": {"RAYON_NUM_THREADS": "1"}})
    space = gennape.Space("nasbench201")
    accuracies = predict(space.sample(10_000, rng=0), space=space.name)
    best = max(accuracies, key=accuracies.__getitem__)
    print(f"{len(accuracies)} architectures; the best: {accuracies[best]:.2f} % {best}")
