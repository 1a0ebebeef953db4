"""Run an estimator on facesets and store its readings in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from swapper.affect.annotation import AnnotationSummary, annotate_faceset, describe_annotation
from swapper.errors import UsageError
from swapper.facesets.affect_sheet import draw_affect
from swapper.facesets.faceset import Faceset
from swapper.facesets.faceset_errors import damaged
from swapper.media.images import write_image

if TYPE_CHECKING:
    from swapper.estimators.base import Estimator
    from swapper.options.verbs import AnnotateOptions


def annotate(
    options: AnnotateOptions, make_estimator: Callable[[], Estimator | None]
) -> list[AnnotationSummary]:
    """Annotate the facesets of `options`, reusing valid readings, and print a summary of each.

    `make_estimator` is called once the facesets are validated.

    Raises:
        UsageError: No faceset or no estimator was named, or there is no such device.
        FacesetError, EstimatorError, MediaError: In one line. Readings made before are kept.
    """
    paths = [options.facesets] if isinstance(options.facesets, str) else list(options.facesets)
    if not paths:
        raise UsageError("facesets is empty: pass facesets=[facesets/NAME,...]")
    facesets = [Faceset.open(Path(str(path))) for path in paths]
    for faceset in facesets:
        if not faceset.records:
            raise damaged(faceset.path, "has no faces", "run swapper extract on footage of them")
    estimator = make_estimator()
    if estimator is None:
        raise UsageError(
            "affect is missing: pass affect=...; swapper annotate --help lists the estimators"
        )
    # Imported here, since extraction alone does not need torch.
    from swapper.devices import pick_device

    estimator = estimator.to(pick_device(options.device))
    summaries = []
    for faceset in facesets:
        summary = annotate_faceset(faceset, estimator, refresh=options.refresh)
        summaries.append(summary)
        print(describe_annotation(summary))
        if options.sheet:
            path = faceset.path / "affect" / f"{estimator.name}.png"
            path.parent.mkdir(exist_ok=True)
            write_image(path, draw_affect(faceset, summary.readings))
            print(f"  {path}")
    return summaries
