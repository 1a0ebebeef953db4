"""``affect=auto``: a reader of emotions that is here, and that the model did not learn from."""

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
"""Best first; none that has only ever seen drawn faces."""


class AutoEstimator:
    """Chooses when it is known who must not judge.

    Attributes:
        missed: After `pick`, why each that was passed over was, in words.
    """

    def __init__(self) -> None:
        self.missed: tuple[str, ...] = ()

    def pick(self, lineage: Sequence[str]) -> Estimator | None:
        """The first that can be loaded and took no part in a training.

        Args:
            lineage: Estimators that a model was trained with, as `Estimator.lineage` names them.

        Returns:
            None if there is none; `missed` says why.
        """
        missed = []
        for name, load in PREFERRED.items():
            if any(each.split(":")[0] == name for each in lineage):
                missed.append(f"{name}: the model was trained with it")
                continue
            try:
                found = load()
            except EstimatorError as error:
                missed.append(f"{name}: {error}")
                continue
            self.missed = tuple(missed)
            log.info("affect=auto: %s reads emotions", name)
            return found
        self.missed = tuple(missed)
        return None
