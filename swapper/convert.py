"""Convert footage of a performer: decode, align, swap, blend, encode, sign."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from swapper import __version__
from swapper.devices import pick_device
from swapper.errors import MediaError, NothingSwappedError, ProvenanceError, UsageError
from swapper.estimators.base import Estimator
from swapper.faces.aligner import Aligner, check_num_faces, opened
from swapper.faces.compositing import mask_in_frame
from swapper.faces.person import PersonFollower, find_reference
from swapper.faces.recognition import Recogniser
from swapper.faces.tracking import smooth_alignments
from swapper.inference.affect_conditioner import (
    AffectConditioner,
    conditioning_claim,
    describe_controls,
    make_conditioner,
)
from swapper.inference.face_swapper import AlignedFace, FaceSwapper, Picture
from swapper.inference.performer import (
    check_range,
    check_regions,
    follower_of,
    make_region_warp,
    performer_neutral,
    shared_files,
)
from swapper.media.sink import Sink, open_sink
from swapper.media.source import Footage, faults_text, open_footage
from swapper.media.video_reader import Frame, VideoReader
from swapper.models.model_file import LoadedModel, load_model
from swapper.options.verbs import ConvertOptions
from swapper.progress import progress
from swapper.provenance.manifest import Claim, Signer, sign
from swapper.provenance.sidecar import sidecar_path
from swapper.types import Face

log = logging.getLogger(__name__)

T = TypeVar("T")
FrameCallback = Callable[[int, Picture, NDArray[np.float32]], None]
"""Called with every written frame: its index, the picture (H, W, 3), and the blend mask (H, W)
in [0, 1], the share of the swap in each pixel."""


@dataclass(frozen=True)
class ConvertSummary:
    """Result of a conversion.

    Attributes:
        outputs: Files written.
        frames: Frames written.
        indices: Of the frames written.
        swapped_frames: Indices of the frames with a swapped face.
    """

    outputs: list[Path]
    indices: list[int]
    swapped_frames: frozenset[int]

    @property
    def frames(self) -> int:
        """Number of frames written."""
        return len(self.indices)

    @property
    def swapped(self) -> int:
        """Number of frames with a swapped face."""
        return len(self.swapped_frames)


def convert(
    options: ConvertOptions,
    make_aligner: Callable[[], Aligner],
    on_frame: FrameCallback | None = None,
    make_estimator: Callable[[], Estimator | None] = lambda: None,
    make_recogniser: Callable[[], Recogniser | None] = lambda: None,
) -> ConvertSummary:
    """Swap the performer in `options.video` for `options.identity`.

    Args:
        options: Of the command line.
        make_aligner: Called once the cheap checks have passed.
        on_frame: Called with every frame, in order; for measuring.
        make_estimator: For a model that is conditioned on affect; None to take the one that the
            model names.
        make_recogniser: For ``person=`` by pictures.

    Raises:
        NothingSwappedError: No face was found; the output is the footage as it was, unsigned.
        SwapperError: In one line. If footage is truncated, the decoded part is converted and
            signed; in all other cases no output is left.
    """
    check_regions(options)
    device = pick_device(options.device)
    model = load_model(Path(options.model), device)
    model.identity(options.identity)
    signer = _signer(options)
    output = Path(options.output)
    if output.exists() and not options.overwrite:
        raise UsageError(f"{output}: exists; pass overwrite=true or another output=")
    with open_footage(options.video) as footage:
        if output in footage.paths or output.resolve() in [p.resolve() for p in footage.paths]:
            raise UsageError(f"{output}: is the performer's own footage; pass another output=")
        check_range(footage)
        reference = find_reference(options.person, make_aligner, make_recogniser)
        follower = follower_of(options, footage, reference)
        codec = options.codec
        sink = open_sink(
            output, footage, codec=codec.name, crf=codec.crf, preset=codec.preset,
            target=_unsigned(output) if signer else None,
        )  # fmt: skip
        # After the cheap checks: it may read the whole clip.
        estimate = partial(performer_neutral, options, model, make_aligner, reference)
        conditioner = make_conditioner(
            model, options.identity, options.affect, make_estimator, estimate, device,
            settings=shared_files(make_aligner),
        )  # fmt: skip
        region_warp = make_region_warp(options, make_aligner, reference)
        aligner = make_aligner()
        check_num_faces(aligner, options.faces, options.person)
        with opened(aligner, footage.info.path, footage.info.num_frames):
            swapper = FaceSwapper(
                model, options.identity, options.blend, device, options.precision, conditioner,
                region_warp,
            )  # fmt: skip
            summary = _run(options, footage, sink, aligner, follower, swapper, on_frame)
        summary = _publish(summary, output, footage, _claim(options, model), signer)
    _log_summary(options, summary, footage, conditioner)
    _check_result(options, summary, footage)
    return summary


def _check_result(options: ConvertOptions, summary: ConvertSummary, footage: Footage) -> None:
    """Report what the footage, or the conversion, lacked.

    Raises:
        MediaError: Footage was truncated, or pictures could not be read.
        NothingSwappedError: No face was found.
    """
    if footage.stopped is not None:
        raise MediaError(
            f"{options.video}: damaged or truncated, decoding stopped at {footage.stopped:.3f} s; "
            f"the {summary.frames} frames before are in {options.output}"
        )
    if footage.faults:
        raise MediaError(faults_text(footage.faults, options.output))
    if not summary.swapped:
        raise NothingSwappedError(
            f"{options.output}: nothing was swapped, no face was found in {summary.frames} frames; "
            "the footage is written as it was, unsigned. Try another aligner="
        )


def _log_summary(
    options: ConvertOptions,
    summary: ConvertSummary,
    footage: Footage,
    conditioner: AffectConditioner | None,
) -> None:
    for note in footage.notes:
        log.warning("%s: %s", options.video, note)
    named = describe_controls(options.affect)
    log.info(
        "%s: %d frames, %d of them swapped%s", options.output, summary.frames, summary.swapped,
        f"; {named}" if named else "",
    )  # fmt: skip
    if conditioner is not None and (message := conditioner.stats.describe()):
        log.info("%s: %s", options.output, message)


def _unsigned(output: Path) -> Path:
    """Path of a video before it is signed; under its final name it is signed or absent."""
    return output.with_name(f".{output.stem}.unsigned{output.suffix}")


def _publish(
    summary: ConvertSummary, output: Path, footage: Footage, claim: Claim, signer: Signer | None
) -> ConvertSummary:
    """Sign the output, where a face was swapped, and move it to its final name.

    Raises:
        ProvenanceError: It cannot be signed; names the path of the unsigned file.
    """
    if signer is None:
        sidecar_path(output).unlink(missing_ok=True)  # of an earlier conversion, no longer valid
        return summary
    if not isinstance(footage, VideoReader):
        unsigned = list(summary.outputs)
        try:
            for index, path in zip(summary.indices, summary.outputs, strict=True):
                if index in summary.swapped_frames:
                    sign(path, footage.paths[index], claim, signer)
                else:
                    sidecar_path(path).unlink(missing_ok=True)
                unsigned.remove(path)
        except ProvenanceError:
            for path in unsigned:  # else swaps would stay that nothing marks
                path.unlink(missing_ok=True)
            raise
        return summary
    waiting = _unsigned(output)
    if not summary.swapped:
        sidecar_path(output).unlink(missing_ok=True)
        waiting.replace(output)
        return replace(summary, outputs=[output])
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
    parameters: dict[str, Any] = {
        "identity": options.identity,
        "faces": options.faces,
        "trained_with": list(model.card.lineage),  # estimators that may not evaluate the result
    }
    if model.card.affect_space is not None:
        parameters["affect"] = conditioning_claim(options.affect)
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
        parameters=parameters,
    )


def _detect(
    footage: Footage, aligner: Aligner, choose: PersonFollower | None
) -> Iterator[tuple[Frame, list[Face]]]:
    for frame in footage:
        faces = aligner(frame)
        yield frame, faces if choose is None else choose(frame, faces)


def _chunks(
    placed: Iterable[tuple[Frame, list[AlignedFace]]], most: int
) -> Iterator[list[tuple[Frame, list[AlignedFace]]]]:
    """Group frames into chunks of `most` faces, or four times as many frames."""
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
    follower: PersonFollower | None,
    swapper: FaceSwapper,
    on_frame: FrameCallback | None,
) -> ConvertSummary:
    indices, swapped = list[int](), set[int]()
    aligned = smooth_alignments(
        _detect(footage, aligner, follower),
        radius=options.smooth if isinstance(footage, VideoReader) else 0,
        size=swapper.size,
        coverage=swapper.model.card.coverage,
    )
    placed = (
        (frame, [swapper.crop(frame, face, matrix) for face, matrix in faces])
        for frame, faces in aligned
    )
    title = f"convert {footage.paths[0].name}"
    with sink, progress(footage.info.num_frames, title, "frame") as bar:
        for chunk in _chunks(placed, options.batch_size):
            swapped |= _write(sink, swapper, chunk, on_frame)
            indices += [frame.index for frame, _ in chunk]
            bar.update(len(chunk))
            bar.set_postfix(swapped=len(swapped), refresh=False)
        if not indices:
            raise MediaError(f"{options.video}: not one frame could be decoded; nothing written")
        if footage.stopped is None:
            aligner.finish(len(indices) + len(footage.faults))
    if follower is not None and (note := follower.describe()):
        log.warning("%s: %s", options.video, note)
    return ConvertSummary(sink.outputs, indices, frozenset(swapped))


def _write(
    sink: Sink,
    swapper: FaceSwapper,
    chunk: list[tuple[Frame, list[AlignedFace]]],
    on_frame: FrameCallback | None,
) -> set[int]:
    """Swap, blend and write one chunk; returns the indices of the changed frames."""
    all_faces = [face for _, faces in chunk for face in faces]
    results = iter(swapper.swap(all_faces))
    swapped = set()
    for frame, faces in chunk:
        deep = frame.deep if faces else None
        picture: NDArray[Any] = frame.image if deep is None else deep
        height, width = picture.shape[:2]
        touched = np.zeros((height, width), dtype=bool)
        covered = np.zeros((height, width), np.float32)
        for face in faces:
            swap, mask = next(results)
            picture, changed, blend_mask = swapper.paste(picture, face, swap, mask)
            touched |= changed
            if on_frame is not None:
                part = mask_in_frame(blend_mask, face.aligned_from_frame, (width, height))
                np.maximum(covered, part, out=covered)
        if faces:
            sink.write(frame, picture, touched)
        else:
            sink.write(frame)
        if on_frame is not None:
            on_frame(frame.index, np.rint(picture).astype(np.uint8), covered)
        if faces:
            swapped.add(frame.index)
    return swapped
