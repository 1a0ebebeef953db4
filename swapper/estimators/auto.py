"""``affect=auto``: choose an available estimator that took no part in the model's training."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from swapper.errors import EstimatorError
from swapper.estimators import emotieff, xception
from swapper.estimators.base import Estimator

log = logging.getLogger(__name__)


PREFERRED: Final[Mapping[str, Callable[[], Estimator]]] = {
    "emotieff": lambda: emotieff.load(),
    "xception": lambda: xception.load(),
}
"""In order of preference; none that was trained on rendered faces only."""


class AutoEstimator:
    """Chooses an estimator once the model's lineage is known.

    Attributes:
        skipped: After `pick`, for each estimator passed over, the reason.
    """

    def __init__(self) -> None:
        self.skipped: tuple[str, ...] = ()

    def pick(self, lineage: Sequence[str]) -> Estimator | None:
        """Return the first estimator that can be loaded and is not in the `lineage` of a model.

        None if there is none; `skipped` has the reasons.
        """
        self.skipped = ()
        for name, load in PREFERRED.items():
            if any(each.split(":")[0] == name for each in lineage):
                self.skipped += (f"{name}: the model was trained with it",)
                continue
            try:
                estimator = load()
            except EstimatorError as error:
                self.skipped += (f"{name}: {error}",)
                continue
            log.info("affect=auto: %s reads emotions", name)
            return estimator
        return None
