"""Footage of a performer to footage of an identity: decode, align, swap, blend, encode, sign."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from swapper import __version__
from swapper.devices import pick_device
from swapper.errors import MediaError, ProvenanceError, UsageError
from swapper.estimators.base import Estimator
from swapper.faces.aligner import Aligner, prepare_for_clip
from swapper.faces.compositing import mask_in_frame
from swapper.faces.tracking import smooth_alignments
from swapper.inference.affect_conditioner import (
    AffectConditioner,
    affect_space_of,
    conditioning_claim,
    describe_controls,
    estimate_neutral,
    make_conditioner,
    mean_neutral,
)
from swapper.inference.face_swapper import AlignedFace, FaceSwapper, Matrix, Picture
from swapper.media.sink import Sink, open_sink
from swapper.media.source import Footage, open_footage
from swapper.media.video import Frame, VideoReader
from swapper.models.model_file import LoadedModel, load_model
from swapper.options.verbs import ConvertOptions
from swapper.progress import progress
from swapper.provenance.manifest import Claim, Signer, sign
from swapper.provenance.sidecar import sidecar_path
from swapper.types import Face

log = logging.getLogger(__name__)

Watch = Callable[[int, Picture, NDArray[np.float32]], None]
"""Told of every frame as it is written: its index, the picture (H, W, 3), and the blend mask (H, W)
in [0, 1] that shows where a swap was laid in."""


@dataclass(frozen=True)
class ConvertSummary:
    """What a conversion did.

    Attributes:
        outputs: Files written.
        frames: Frames written.
        swapped: Frames on which a face was swapped.
    """

    outputs: list[Path]
    frames: int
    swapped: int


def convert(
    options: ConvertOptions,
    make_aligner: Callable[[], Aligner],
    watch: Watch | None = None,
    make_estimator: Callable[[], Estimator | None] = lambda: None,
) -> ConvertSummary:
    """Put `options.identity` onto the performer in `options.video`.

    Args:
        options: What, where and how.
        make_aligner: Called once the cheap checks have passed.
        watch: Told of every frame, in order; for measuring.
        make_estimator: Of the performer's affect, for a model that listens to it; None to take the
            one that the model names.

    Raises:
        SwapperError: In one line. Where footage breaks off, what was decoded has been converted
            and signed by then; in all other cases no output is left.
    """
    device = pick_device(options.device)
    model = load_model(Path(options.model), device)
    model.identity(options.identity)
    signer = _signer(options)
    output = Path(options.output)
    if output.exists() and not options.overwrite:
        raise UsageError(f"{output}: exists; pass overwrite=true or another output=")
    conditioner = make_conditioner(
        model,
        options.identity,
        options.affect,
        make_estimator,
        partial(_find_rest, options, model, make_aligner),
        device,
    )
    with open_footage(options.video) as footage:
        if output in footage.paths or output.resolve() in [p.resolve() for p in footage.paths]:
            raise UsageError(f"{output}: is the performer's own footage; pass another output=")
        sink = _sink(options, footage, signer is not None)
        aligner = make_aligner()
        try:
            prepare_for_clip(aligner, footage.info.path, footage.info.num_frames)
            swapper = FaceSwapper(
                model, options.identity, options.blend, device, options.precision, conditioner
            )
            summary = _run(options, footage, sink, aligner, swapper, watch)
        finally:
            aligner.close()
        summary = _publish(summary, output, footage, _claim(options, model), signer)
    _report(options, summary, conditioner)
    if footage.stopped is not None:
        raise MediaError(
            f"{options.video}: damaged or truncated, decoding stopped at {footage.stopped:.3f} s; "
            f"the {summary.frames} frames before are in {options.output}"
        )
    return summary


def _report(
    options: ConvertOptions, summary: ConvertSummary, conditioner: AffectConditioner | None
) -> None:
    named = describe_controls(options.affect)
    log.info(
        "%s: %d frames, %d of them swapped%s",
        options.output,
        summary.frames,
        summary.swapped,
        f"; {named}" if named else "",
    )
    if conditioner is not None and (told := conditioner.asked.describe()):
        log.info("%s: %s", options.output, told)


def _find_rest(
    options: ConvertOptions,
    model: LoadedModel,
    make_aligner: Callable[[], Aligner],
    estimator: Estimator,
    side: int,
) -> NDArray[np.float32]:
    """How the performer rests, from a first look at the clip."""
    with open_footage(options.video) as footage:
        aligner = make_aligner()
        try:
            prepare_for_clip(aligner, footage.info.path, footage.info.num_frames)
            rest = estimate_neutral(footage, aligner, estimator, model.card.coverage, side)
        finally:
            aligner.close()
    if rest is None:
        space = affect_space_of(model)
        assert space is not None
        log.warning(
            "%s: too few faces to know how the performer rests; the mean of %s is taken. Pass "
            "affect.performer= if one of them performs",
            options.video,
            ", ".join(space.neutrals),
        )
        return mean_neutral(space)
    return rest


def _unsigned(output: Path) -> Path:
    """Where a video waits for its signature; under its own name it is signed or not there."""
    return output.with_name(f".{output.stem}.unsigned{output.suffix}")


def _sink(options: ConvertOptions, footage: Footage, signed: bool) -> Sink:
    output = Path(options.output)
    return open_sink(
        _unsigned(output) if signed and isinstance(footage, VideoReader) else output,
        footage,
        codec=options.codec.name,
        crf=options.codec.crf,
        preset=options.codec.preset,
    )


def _publish(
    summary: ConvertSummary, output: Path, footage: Footage, claim: Claim, signer: Signer | None
) -> ConvertSummary:
    """Sign what was written and give it its name.

    Raises:
        ProvenanceError: It cannot be signed; says where the unsigned file lies.
    """
    if signer is None:
        sidecar_path(output).unlink(missing_ok=True)  # an older conversion's, no longer true
        return summary
    if not isinstance(footage, VideoReader):
        for parent, path in zip(footage.paths, summary.outputs, strict=True):
            sign(path, parent, claim, signer)
        return summary
    waiting = _unsigned(output)
    try:
        signed = sign(waiting, footage.paths[0], claim, signer)
    except ProvenanceError as error:
        raise ProvenanceError(
            f"{error}; the converted video is kept, unsigned: {waiting}"
        ) from error
    sidecar_path(output).unlink(missing_ok=True)
    if signed.kind == "sidecar":
        signed.path.replace(sidecar_path(output))
    waiting.replace(output)
    return replace(summary, outputs=[output])


def _signer(options: ConvertOptions) -> Signer | None:
    if options.provenance == "none":
        return None
    if bool(options.certificate) != bool(options.private_key):
        raise UsageError("certificate and private_key go together: pass both, or neither")
    if options.certificate:
        return Signer.from_files(Path(options.certificate), Path(options.private_key))
    return Signer.local()


def _claim(options: ConvertOptions, model: LoadedModel) -> Claim:
    return Claim(
        title=Path(options.output).name,
        model_sha256=model.sha256,
        model_name=Path(options.model).name,
        identities=[
            {"name": each.name, "rights": each.rights}
            for each in model.card.identities
            if each.name == options.identity
        ],
        performer_rights=options.performer_rights or None,
        software=f"swapper/{__version__}",
        parameters={
            "identity": options.identity,
            "faces": options.faces,
            "trained_with": list(model.card.lineage),  # who may not judge the result
        }
        | (
            {}
            if model.card.affect_space is None
            else {"affect": conditioning_claim(options.affect)}
        ),
    )


def _detect(footage: Footage, aligner: Aligner, which: str) -> Iterator[tuple[Frame, list[Face]]]:
    for frame in footage:
        faces = aligner(frame)
        yield frame, faces[:1] if which == "largest" else faces


def _chunks(
    placed: Iterable[tuple[Frame, list[AlignedFace]]], most: int
) -> Iterator[list[tuple[Frame, list[AlignedFace]]]]:
    """Group frames until they hold `most` faces, or four times as many frames."""
    chunk: list[tuple[Frame, list[AlignedFace]]] = []
    faces = 0
    for frame, each in placed:
        chunk.append((frame, each))
        faces += len(each)
        if faces >= most or len(chunk) >= 4 * most:
            yield chunk
            chunk, faces = [], 0
    if chunk:
        yield chunk


def _run(
    options: ConvertOptions,
    footage: Footage,
    sink: Sink,
    aligner: Aligner,
    swapper: FaceSwapper,
    watch: Watch | None,
) -> ConvertSummary:
    frames = swapped = 0
    aligned = smooth_alignments(
        _detect(footage, aligner, options.faces),
        radius=options.smooth if isinstance(footage, VideoReader) else 0,
        size=swapper.size,
        coverage=swapper.model.card.coverage,
    )
    placed = (
        (frame, [swapper.place(frame, face, matrix) for face, matrix in faces])
        for frame, faces in aligned
    )
    bar = progress(footage.info.num_frames, f"convert {footage.paths[0].name}", "frame")
    with sink, contextlib.closing(bar):
        for chunk in _chunks(placed, options.batch_size):
            swapped += _write(sink, swapper, chunk, watch)
            frames += len(chunk)
            bar.update(len(chunk))
            bar.set_postfix(swapped=swapped, refresh=False)
        if frames == 0:
            raise MediaError(f"{options.video}: not one frame could be decoded; nothing written")
        if footage.stopped is None:
            aligner.finish(frames)
    return ConvertSummary(sink.outputs, frames, swapped)


def _write(
    sink: Sink,
    swapper: FaceSwapper,
    chunk: list[tuple[Frame, list[AlignedFace]]],
    watch: Watch | None,
) -> int:
    """Swap, blend and write one chunk; returns how many frames were changed."""
    every = [each for _, faces in chunk for each in faces]
    results = iter(swapper.swap(every))
    swapped = 0
    for frame, faces in chunk:
        if not faces:
            sink.write(frame)
            if watch is not None:
                _tell(watch, frame.index, frame.image, [])
            continue
        picture = frame.image
        touched = np.zeros(picture.shape[:2], dtype=bool)
        laid = []
        for each in faces:
            swap, mask = next(results)
            blend_mask = swapper.blend_mask(each, mask)
            picture, changed = swapper.lay(picture, each, swap, blend_mask)
            touched |= changed
            laid.append((blend_mask, each.aligned_from_frame))
        sink.write(frame, picture, touched)
        _tell(watch, frame.index, picture, laid)
        swapped += 1
    return swapped


def _tell(
    watch: Watch | None,
    index: int,
    picture: Picture,
    laid: list[tuple[NDArray[np.float32], Matrix]],
) -> None:
    """Show a finished frame to who watches, with all its blend masks as one."""
    if watch is None:
        return
    height, width = picture.shape[:2]
    covered = np.zeros((height, width), np.float32)
    for blend_mask, aligned_from_frame in laid:
        part = mask_in_frame(blend_mask, aligned_from_frame, (width, height))
        np.maximum(covered, part, out=covered)
    watch(index, picture, covered)
