"""The estimator as a performance predictor of NASLib.

    pip install gennape
    git clone https://github.com/automl/NASLib && pip install -e NASLib

`fit` adapts it to measured architectures, as `gennape finetune` does; without, it estimates CIFAR-10
accuracies.
"""

import gennape
import numpy as np
from naslib.predictors.predictor import Predictor


class GennapePredictor(Predictor):
    """Takes NASLib's NAS-Bench-201 graphs, or the texts of a space's architectures."""

    def __init__(self, space: str = "nasbench201", encoding_type=None, ss_type=None) -> None:
        super().__init__(encoding_type=encoding_type, ss_type=ss_type)
        self.space, self.estimator = space, gennape.Estimator()

    def fit(self, xtrain, ytrain, train_info=None):
        labels = np.asarray(ytrain, dtype=float).tolist()
        self.estimator = gennape.finetune((self.space, self._texts(xtrain)), labels)
        return self

    def query(self, xtest, info=None):
        texts = self._texts(xtest)
        return self.estimator.predict((self.space, texts), one_family=True).accuracy

    def _texts(self, architectures) -> list[str]:
        return [self._text(architecture) for architecture in architectures]

    @staticmethod
    def _text(architecture) -> str:
        if isinstance(architecture, str):
            return architecture
        from naslib.search_spaces.nasbench201.conversions import (
            convert_naslib_to_str,
        )

        return convert_naslib_to_str(architecture)
