"""Train the bundled affect networks on rendered actors.

    python scripts/train_actor_affect.py --which actors --faces DIR
    python scripts/train_actor_affect.py --which judge --faces DIR

renders missing faces, trains, writes ``swapper/estimators/weights/NAME.safetensors`` and prints
scores on unseen actors. The same command resumes an interrupted run. Faces of an older renderer are
not detected: use a new folder after changes of the renderer.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import actor_faces
import numpy as np
import torch
import torch.nn.functional as F
from actor_faces import Faces
from numpy.typing import NDArray
from torch import Tensor, nn
from wear import degrade

from swapper.estimators import actors_net, judge_net
from swapper.estimators.base import AffectBatch, Estimator
from swapper.estimators.preprocess import Preprocess
from swapper.estimators.weights_file import OWN, save_weights

TEST_IMAGES: Final = 2400
BATCH: Final = 64


@dataclass(frozen=True)
class Plan:
    """Training settings of one network.

    Attributes:
        module: Module that defines and loads it.
        net: Its class.
        images: Number of training faces.
        epochs: Number of epochs.
        rate: Maximum learning rate.
        seed: Seed of weights, order and degradation.
    """

    module: ModuleType
    net: type[nn.Module]
    images: int
    epochs: int
    rate: float
    seed: int


PLANS: Final = {
    "actors": Plan(actors_net, actors_net.ActorsNet, 9_600, 28, 3e-3, 20_261),
    "judge": Plan(judge_net, judge_net.JudgeNet, 6_000, 24, 3e-3, 77_003),
}


def batches(faces: Faces, seed: int, epoch: int) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """Yield an epoch in random order, mirrored and degraded; a function of (seed, epoch)."""
    random = torch.Generator().manual_seed(seed * 1000 + epoch)
    order = torch.randperm(len(faces), generator=random)
    for rows in order.split(BATCH):
        if len(rows) < BATCH:
            return  # too few for BatchNorm's statistics
        index = rows.numpy()
        pictures = torch.from_numpy(faces.pictures[index]).permute(0, 3, 1, 2).float() / 255
        units = torch.from_numpy(faces.units[index])
        mirrored = torch.rand(len(rows), generator=random) < 0.5
        pictures = torch.where(mirrored[:, None, None, None], pictures.flip(3), pictures)
        units = torch.where(mirrored[:, None, None], units.flip(1), units)
        truth = {
            "sides": units,
            "classes": torch.from_numpy(faces.classes[index]),
            "circumplex": torch.from_numpy(faces.circumplex[index]),
        }
        yield degrade(pictures, random), truth


def loss_of(answer: AffectBatch, truth: dict[str, Tensor]) -> Tensor:
    """Sum squared error of units per side, cross entropy of basic emotions, circumplex error."""
    assert answer.units is not None
    assert answer.asymmetry is not None
    assert answer.logits is not None
    half = answer.asymmetry.float() / 2
    per_side = torch.stack([answer.units.float() + half, answer.units.float() - half], dim=1)
    units = F.mse_loss(per_side, truth["sides"])
    # Other emotions have less weight: their classes sum to less than 1.
    classes = -(truth["classes"] * answer.logits.float().log_softmax(1)).sum(1).mean()
    circumplex = _circumplex(answer).float()
    # Replace NaN before the subtraction, or gradients would be NaN.
    true_circumplex = truth["circumplex"]
    error = (
        circumplex - torch.where(true_circumplex.isnan(), circumplex.detach(), true_circumplex)
    ).square()
    return 20 * units + 0.5 * classes + error.mean()


def _circumplex(answer: AffectBatch) -> Tensor:
    """Return (N, 2) valence and arousal."""
    assert answer.valence is not None
    assert answer.arousal is not None
    return torch.stack([answer.valence, answer.arousal], dim=1)


def train(name: str, plan: Plan, faces: Faces, state: Path) -> nn.Module:
    """Train a network, resuming from `state`, which is written every epoch."""
    torch.manual_seed(plan.seed)
    net, view = plan.net(), plan.module.view()
    optimiser = torch.optim.AdamW(net.parameters(), lr=plan.rate, weight_decay=0.02)
    steps = len(faces) // BATCH * plan.epochs
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, plan.rate, total_steps=steps, pct_start=0.15
    )
    parts: dict[str, Any] = {"net": net, "optimiser": optimiser, "schedule": schedule}
    first = _resume(parts, state)
    net.train()
    for epoch in range(first, plan.epochs):
        start, total, count = time.monotonic(), 0.0, 0
        for pictures, truth in batches(faces, plan.seed, epoch):
            loss = _step(net, view, pictures, truth)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            optimiser.step()
            schedule.step()
            total, count = total + loss.item(), count + 1
        seconds = time.monotonic() - start
        print(f"{name} {epoch + 1}/{plan.epochs}: loss {total / count:.4f}, {seconds:.0f} s")
        _keep({key: part.state_dict() for key, part in parts.items()}, epoch + 1, state)
    return net.eval()


def _step(net: nn.Module, view: Preprocess, pictures: Tensor, truth: dict[str, Tensor]) -> Tensor:
    # Half the time of float32 on CPUs with bfloat16, with equal results.
    with torch.autocast("cpu", torch.bfloat16):
        answer = net(view(pictures))
    return loss_of(answer, truth)


def _keep(state: dict[str, Any], epoch: int, path: Path) -> None:
    temporary = path.with_suffix(".partial")
    torch.save({**state, "epoch": epoch}, temporary)
    temporary.replace(path)


def _resume(parts: dict[str, Any], path: Path) -> int:
    """Load `parts` from `path`; return the next epoch."""
    if not path.is_file():
        return 0
    state = torch.load(path, weights_only=True)
    for key, part in parts.items():
        part.load_state_dict(state[key])
    return int(state["epoch"])


def report(estimator: Estimator, faces: Faces) -> dict[str, Any]:
    """Score an estimator on faces with ground truth.

    Returns:
        ``accuracy`` over frames in which a basic emotion dominates, ``recall`` of each, ``ccc`` of
        valence and arousal, and for each unit ``rho`` (correlation) and ``beta`` (slope).
    """
    answer = estimator.read(faces.pictures)
    assert answer.logits is not None
    assert answer.units is not None
    clear = faces.classes.max(axis=1) > 0.5
    guess = answer.logits.numpy().argmax(axis=1)[clear]
    true = faces.classes.argmax(axis=1)[clear]
    recall = {
        label: round(float((guess[true == column] == column).mean()), 3)
        for column, label in enumerate(estimator.labels)
    }
    labelled = np.isfinite(faces.circumplex[:, 0])
    read = _circumplex(answer).numpy()[labelled]
    true_circumplex = faces.circumplex[labelled]
    true_units = faces.units.mean(axis=1)
    table = {
        f"AU{unit}": _line(answer.units[:, column].numpy(), true_units[:, column])
        for column, unit in enumerate(estimator.units)
    }
    return {
        "faces": len(faces),
        "accuracy": round(float((guess == true).mean()), 3),
        "recall": recall,
        "ccc": [round(concordance(read[:, k], true_circumplex[:, k]), 3) for k in (0, 1)],
        "rho": round(float(np.mean([each["rho"] for each in table.values()])), 3),
        "units": table,
    }


def _line(read: NDArray[np.float32], true: NDArray[np.float32]) -> dict[str, float]:
    both = np.cov(read, true)
    rho = both[0, 1] / math.sqrt(max(both[0, 0] * both[1, 1], 1e-12))
    return {"rho": round(float(rho), 3), "beta": round(float(both[0, 1] / both[1, 1]), 3)}


def concordance(read: NDArray[np.float32], true: NDArray[np.float32]) -> float:
    """Lin's concordance correlation coefficient (1989)."""
    both = np.cov(read, true, bias=True)
    return float(2 * both[0, 1] / (both[0, 0] + both[1, 1] + (read.mean() - true.mean()) ** 2))


def main() -> None:
    """Render, train, save, test."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--which", choices=tuple(PLANS), required=True)
    parser.add_argument("--faces", type=Path, required=True, help="folder for drawn faces")
    parser.add_argument("--workers", type=int, default=2, help="processes that draw")
    parser.add_argument("--images", type=int, help="to learn from, instead of the plan's")
    parser.add_argument("--epochs", type=int, help="instead of the plan's")
    parser.add_argument("--draw-only", action="store_true", help="stop once all is drawn")
    parser.add_argument("--output", type=Path, default=OWN, help="folder for the weights")
    options = parser.parse_args()
    base = PLANS[options.which]
    plan = Plan(
        base.module, base.net, options.images or base.images, options.epochs or base.epochs,
        base.rate, base.seed,
    )  # fmt: skip
    for split, images in ((options.which, plan.images), ("test", TEST_IMAGES)):
        actor_faces.draw(options.faces, split, images, options.workers)
    if options.draw_only:
        return
    faces = actor_faces.read(options.faces, options.which, plan.images)
    state = options.faces / f"{options.which}-{plan.images}-{plan.epochs}.ckpt"
    net = train(options.which, plan, faces, state)
    path = options.output / f"{options.which}.safetensors"
    training_facts = {"faces": str(len(faces)), "epochs": str(plan.epochs), "seed": str(plan.seed)}
    save_weights(net, path, {**plan.module.METADATA, **training_facts})
    scores = report(plan.module.load(path), actor_faces.read(options.faces, "test", TEST_IMAGES))
    print(json.dumps(scores, indent=1))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
