"""Affect made comparable between people: from an estimator's embedding to a short code.

Faces differ at rest, and move by different amounts for the same affect. So an embedding is taken
relative to its person's neutral, and scaled by that person's own variance.

::

    code = (embedding - neutral of the person) @ basis @ whitening of the person

The basis holds the directions that encode expression (`affect.basis`), pooled over people and
scaled to unit variance. A person's whitening is shrunk towards the pooled one, the more the less
footage there is: of someone who was filmed at rest only, the variance in other directions is noise,
and dividing by it would amplify it.

Source: subtracting a person's neutral as Baltrusaitis et al. 2015 do for action units; shrinkage as
Ledoit and Wolf 2004, with a fixed prior strength.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from swapper.affect.basis import expression_basis, outputs
from swapper.affect.identity_probe import probe_identity
from swapper.affect.neutral import most_at_rest, neutral_embedding
from swapper.affect.observed_range import MAX_CODES, subsample_codes
from swapper.affect.readout import readable_axes, readout_step
from swapper.types import Readings

Floats = NDArray[np.float64]

MAX_DIM: Final = 64
_MAX_FEATURES: Final = 4096
_MAX_IDENTITIES: Final = 64


@dataclass(frozen=True, eq=False)
class AffectSpace:
    """Map from embeddings to affect codes; fitted once for a run, saved with its model.

    Attributes:
        lineage: Of the estimator whose embeddings it takes.
        basis: (D, K) float32.
        neutrals: Of each identity, (D,) float32.
        whitening: Of each identity, (K, K) float32.
        observed: Of each identity, up to 256 of its own codes (M, K) float32, evenly spaced over
            its footage.
        valence, arousal: (K,) float32, the shortest step by which a code's predicted valence or
            arousal rises by 1; (0,) where the codes do not predict it.
        readout_axes: (K, L) float32, orthonormal directions of codes that predict the estimator's
            outputs; L from 0 to K.
        figures: Plain values: identity leak before and after, faces used.
    """

    lineage: str
    basis: NDArray[np.float32]
    neutrals: Mapping[str, NDArray[np.float32]]
    whitening: Mapping[str, NDArray[np.float32]]
    observed: Mapping[str, NDArray[np.float32]]
    valence: NDArray[np.float32]
    arousal: NDArray[np.float32]
    readout_axes: NDArray[np.float32]
    figures: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def fit(
        cls,
        readings: Mapping[str, Readings],
        rest: Mapping[str, Floats],
        clips: Mapping[str, Sequence[str]],
        *,
        dim: int = 16,
        shrink: float = 500.0,
    ) -> AffectSpace:
        """Fit to the faces of all identities.

        Args:
            readings: Of each identity's faces, in footage order; all of one lineage.
            rest: (N,) neutral weight of each face, likewise; see `swapper.affect.neutral`.
            clips: Source file of each face, likewise.
            dim: Largest K, 1 to 64; fewer where the embedding has fewer directions.
            shrink: Number of independent faces that weighs as much as the pooled covariance.

        Raises:
            ValueError: An argument is out of range, or readings do not belong together.
        """
        _check(readings, dim, shrink)
        names = list(readings)
        neutrals = {name: neutral_embedding(readings[name], rest[name]) for name in names}
        deviations = {
            name: readings[name].embedding.astype(np.float64) - neutrals[name] for name in names
        }
        basis = expression_basis(deviations, readings, dim)
        whitening, own_codes = {}, {}
        for name in names:
            codes = deviations[name] @ basis
            weight = shrink / (shrink + _effective_sample_size(codes, clips[name]))
            own = (1 - weight) * (codes.T @ codes / len(codes)) + weight * np.eye(basis.shape[1])
            whitening[name] = _inverse_root(own)
            own_codes[name] = codes @ whitening[name]
        space = cls(
            lineage=readings[names[0]].lineage,
            basis=basis.astype(np.float32),
            neutrals={name: each.astype(np.float32) for name, each in neutrals.items()},
            whitening={name: each.astype(np.float32) for name, each in whitening.items()},
            observed={name: subsample_codes(each) for name, each in own_codes.items()},
            valence=readout_step(own_codes, {n: each.valence for n, each in readings.items()}),
            arousal=readout_step(own_codes, {n: each.arousal for n, each in readings.items()}),
            readout_axes=readable_axes(own_codes, {n: outputs(readings[n]) for n in names}),
        )
        return replace(space, figures=_figures(space, readings, rest, clips))

    @property
    def dim(self) -> int:
        """K, length of a code."""
        return int(self.basis.shape[1])

    def own(self, embedding: NDArray[np.float32], identity: str) -> NDArray[np.float32]:
        """Codes (N, K) of an identity's own faces, from embeddings (N, D)."""
        return self.code(embedding, identity, identity)

    def code(
        self,
        embedding: NDArray[np.float32],
        performer: str | NDArray[np.float32],
        identity: str,
        relative: float = 1.0,
    ) -> NDArray[np.float32]:
        """Codes of a performer's faces, for the decoder of an identity.

        Args:
            embedding: (N, D).
            performer: Who acts: one of the identities, or the neutral (D,) of someone else.
            identity: Whose decoder the codes condition.
            relative: 1 takes the performer's deviation from the performer's neutral; 0 takes the
                performer's face as if it were the identity's; values between interpolate.

        Returns:
            (N, K) float32.

        Raises:
            ValueError: Unknown performer or identity, or `relative` not in [0, 1].
        """
        if not 0 <= relative <= 1:
            raise ValueError(f"relative must be between 0 and 1, got {relative}")
        for name in (identity, *((performer,) if isinstance(performer, str) else ())):
            if name not in self.neutrals:
                raise ValueError(f"{name} is not in this affect space: {', '.join(self.neutrals)}")
        if isinstance(performer, str):
            neutral, whitening = self.neutrals[performer], self.whitening[performer]
        else:
            neutral, whitening = performer, np.eye(self.dim, dtype=np.float32)
        middle = relative * neutral + (1 - relative) * self.neutrals[identity]
        scale = relative * whitening + (1 - relative) * self.whitening[identity]
        return ((embedding - middle) @ self.basis @ scale).astype(np.float32)

    def linear(self, identity: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Matrix (D, K) and neutral (D,) by which ``(embedding - neutral) @ matrix`` is a code."""
        return self.basis @ self.whitening[identity], self.neutrals[identity]

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Its arrays by name; the inverse is `restore`."""
        tensors = {"basis": self.basis}
        for index, name in enumerate(self.neutrals):
            tensors[f"neutral.{index}"] = self.neutrals[name]
            tensors[f"whitening.{index}"] = self.whitening[name]
            tensors[f"observed.{index}"] = self.observed[name]
        optional = ("valence", "arousal", "readout_axes")
        arrays = {name: getattr(self, name) for name in optional}
        return tensors | {name: each for name, each in arrays.items() if each.size}

    def summary(self) -> dict[str, Any]:
        """Everything but the arrays, as plain values."""
        return {
            "lineage": self.lineage,
            "dim": self.dim,
            "identities": list(self.neutrals),
            "figures": dict(self.figures),
        }

    @classmethod
    def restore(
        cls, summary: Mapping[str, Any], tensors: Mapping[str, NDArray[np.float32]]
    ) -> AffectSpace:
        """Inverse of `summary` and `tensors`; the input is not trusted.

        Raises:
            ValueError: They are not a valid affect space.
        """
        tensors = {_current_name(name): each for name, each in tensors.items()}
        lineage, names = summary.get("lineage"), summary.get("identities")
        dim, figures = summary.get("dim"), summary.get("figures")
        if not isinstance(lineage, str) or len(lineage) > 200 or not isinstance(figures, dict):
            raise ValueError("the affect space does not name its estimator")
        if not isinstance(names, list) or not 1 <= len(names) <= _MAX_IDENTITIES:
            raise ValueError(f"the affect space must name 1 to {_MAX_IDENTITIES} identities")
        if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
            raise ValueError("the affect space's identities must be different names")
        if type(dim) is not int or not 1 <= dim <= MAX_DIM:
            raise ValueError(f"the affect space's dim must be 1 to {MAX_DIM}")
        basis = tensors.get("basis", np.zeros((0, 0), np.float32))
        if basis.ndim != 2 or not 1 <= len(basis) <= _MAX_FEATURES or basis.shape[1] != dim:
            raise ValueError("the affect space's basis has another shape")
        shapes = {"basis": basis.shape}
        for index in range(len(names)):
            shapes |= {f"neutral.{index}": (len(basis),), f"whitening.{index}": (dim, dim)}
            shapes[f"observed.{index}"] = (_observed_count(tensors, f"observed.{index}"), dim)
        shapes |= {name: (dim,) for name in ("valence", "arousal") if name in tensors}
        none, nowhere = np.zeros(0, np.float32), np.zeros((dim, 0), np.float32)
        readout_axes = tensors.get("readout_axes", nowhere)
        if readout_axes.ndim != 2 or readout_axes.shape[1] > dim:
            raise ValueError("readout_axes has more directions than the affect space")
        if "readout_axes" in tensors:
            shapes["readout_axes"] = (dim, readout_axes.shape[1])
        if {name: each.shape for name, each in tensors.items()} != shapes:
            raise ValueError("the affect space's numbers are not those of its identities")
        if not all(np.isfinite(each).all() for each in tensors.values()):
            raise ValueError("the affect space's numbers are not finite")
        return cls(
            lineage,
            basis,
            {name: tensors[f"neutral.{index}"] for index, name in enumerate(names)},
            {name: tensors[f"whitening.{index}"] for index, name in enumerate(names)},
            {name: tensors[f"observed.{index}"] for index, name in enumerate(names)},
            tensors.get("valence", none),
            tensors.get("arousal", none),
            readout_axes,
            figures,
        )


def _current_name(name: str) -> str:
    """Translate the name of an array as swapper wrote it before December 2026."""
    return {"told": "readout_axes"}.get(name, name.replace("shown.", "observed."))


def _observed_count(tensors: Mapping[str, NDArray[np.float32]], name: str) -> int:
    if name not in tensors:
        raise ValueError(
            "the affect space lacks its identities' observed codes; if an older swapper "
            "made it, train again"
        )
    count = len(tensors[name]) if tensors[name].ndim else 0
    if not 1 <= count <= MAX_CODES:
        raise ValueError(f"the affect space must hold 1 to {MAX_CODES} codes of an identity")
    return count


def _check(readings: Mapping[str, Readings], dim: int, shrink: float) -> None:
    if not 1 <= dim <= MAX_DIM:
        raise ValueError(f"dim must be from 1 to {MAX_DIM}, got {dim}")
    if not shrink >= 0:
        raise ValueError(f"shrink must be at least 0, got {shrink}")
    if not readings or any(len(each) < 2 for each in readings.values()):
        raise ValueError("every identity needs two faces at least")
    if len({each.lineage for each in readings.values()}) > 1:
        raise ValueError("the identities were read by different weights")


def _figures(
    space: AffectSpace,
    readings: Mapping[str, Readings],
    rest: Mapping[str, Floats],
    clips: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    """Number of faces, and identity leak of embeddings and codes."""
    # Calm faces only: where one is filmed angry and the other calm, anger identifies the person.
    calm = {
        name: np.sort(most_at_rest(each, rest[name])[: max(2, len(each) // 3)])
        for name, each in readings.items()
    }
    raw = {name: each.embedding[calm[name]] for name, each in readings.items()}
    shots = {name: [clips[name][row] for row in rows] for name, rows in calm.items()}
    identity_leak = {
        "chance": 1 / len(readings),
        "embedding": probe_identity(raw, shots),
        "code": probe_identity({name: space.own(each, name) for name, each in raw.items()}, shots),
    }
    return {
        "faces": {name: len(each) for name, each in readings.items()},
        "identity_leak": identity_leak,
    }


def _effective_sample_size(codes: Floats, clips: Sequence[str]) -> float:
    """Effective number of independent faces of codes (N, K) in order of time.

    Source: the usual correction for a first-order autoregressive series, n (1 - r) / (1 + r).
    """
    if len(codes) < 3:
        return 1.0
    same_clip = np.array([a == b for a, b in zip(clips[1:], clips[:-1], strict=True)])
    if not same_clip.any():
        return float(len(codes))
    earlier, later = codes[:-1][same_clip], codes[1:][same_clip]
    power = float(np.sqrt((earlier**2).sum() * (later**2).sum()))
    correlation = min(max(float((earlier * later).sum()) / max(power, 1e-12), 0.0), 0.999)
    return max(1.0, len(codes) * (1 - correlation) / (1 + correlation))


def _inverse_root(covariance: Floats) -> Floats:
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors / np.sqrt(values.clip(1e-6))) @ vectors.T)
