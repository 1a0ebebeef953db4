"""Export a trained model as a folder: weights, metadata, model card and, on request, ONNX."""

from __future__ import annotations

import logging
import re
import shutil
from pathlib import Path
from typing import Final

from swapper.errors import ModelError, UsageError
from swapper.files import check_output_folder, partial_folder
from swapper.inference.affect_conditioner import affect_space_of
from swapper.modelcard.model_card import OnnxFile, model_page
from swapper.modelcard.run_origin import find_origin
from swapper.models import onnx_export
from swapper.models.model_file import CARD, WEIGHTS, LoadedModel, load_model
from swapper.options.verbs import ExportOptions
from swapper.report.report_file import StoredReport, read_report

log = logging.getLogger(__name__)

PAGE: Final = "model.md"
_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")
_OURS: Final = re.compile(r"model\.(safetensors|json|md)|[A-Za-z0-9_.-]+\.onnx(\.data)?")


def export(options: ExportOptions) -> list[Path]:
    """Write a model into a folder of its own; equal models give equal bytes.

    Returns:
        The files, sorted by name.

    Raises:
        SwapperError: In one line; nothing is written, and an existing folder stays unchanged.
    """
    output = Path(options.output)
    if options.onnx:
        onnx_export.check_installed()
    model = load_model(Path(options.model))
    if output.resolve() == model.path.parent.resolve():
        raise UsageError(f"output={output}: is the model's own folder; pass another output=")
    check_output_folder(output, _OURS.fullmatch, "export", overwrite=options.overwrite)
    facesets = [options.facesets] if isinstance(options.facesets, str) else options.facesets
    origin = find_origin(model, [Path(each) for each in facesets])
    evaluations = _evaluations(options, model)
    try:
        with partial_folder(output) as partial:
            shutil.copyfile(model.path, partial / WEIGHTS)
            (partial / CARD).write_text(model.card.to_json(), encoding="utf-8")
            load_model(partial)  # to check the copy
            files = _write_onnx(model, partial, options.opset) if options.onnx else []
            page = model_page(model, affect_space_of(model), origin, files, evaluations)
            (partial / PAGE).write_text(page, encoding="utf-8")
    except OSError as error:
        raise ModelError(
            f"{output}: cannot be written ({error.strerror or error}); free space or check "
            "permissions"
        ) from error
    written = sorted(output.iterdir())
    log.info("%s: %s", output, ", ".join(each.name for each in written))
    return written


def _evaluations(options: ExportOptions, model: LoadedModel) -> list[StoredReport]:
    """Read the evaluation reports; a UsageError if one is not of a swap by this model."""
    evaluation = options.evaluation
    paths = [evaluation] if isinstance(evaluation, str) else list(evaluation)
    reports = []
    for path in paths:
        report = read_report(str(path))
        if report.model_sha256 != model.sha256:
            raise UsageError(
                f"evaluation={path}: is of another model than {options.model}; evaluate a swap of "
                "that one, with model= where the swap carries no provenance"
            )
        reports.append(report)
    return reports


def _write_onnx(model: LoadedModel, folder: Path, opset: int) -> list[OnnxFile]:
    """Write an ONNX file per identity; a ModelError if its output differs from torch."""
    files = []
    for identity, name in zip(model.net.identities, onnx_names(model.net.identities), strict=True):
        path = folder / name
        onnx_export.write_onnx(model, identity, path, opset)
        difference = onnx_export.torch_difference(model, identity, path)
        if difference is None:
            log.warning(
                "%s: not compared with torch: onnxruntime is not installed; %s",
                name,
                onnx_export.INSTALL,
            )
        elif not difference <= onnx_export.TOLERANCE:
            raise ModelError(
                f"{name}: differs from torch by {difference:.1g}, more than "
                f"{onnx_export.TOLERANCE:g}; pass another opset= or onnx=false"
            )
        files.append(OnnxFile(name, identity, opset, difference))
    return files


def onnx_names(identities: tuple[str, ...]) -> list[str]:
    """Return a file name per identity: its own name if all are safe and distinct."""
    lower = [each.lower() for each in identities]
    own = all(_PLAIN_NAME.fullmatch(each) for each in identities) and len(set(lower)) == len(lower)
    return [f"{each if own else f'identity_{i}'}.onnx" for i, each in enumerate(identities)]
