"""Instantiate the parts of a composed config and call the verb.

Only this module and `swapper.cli.main` depend on Hydra.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from swapper.cli.arguments import check_target
from swapper.errors import SwapperError, UsageError
from swapper.files import one_line
from swapper.options.fields import check_option
from swapper.options.verbs import fields_of

if TYPE_CHECKING:
    from omegaconf import DictConfig


def call(verb: str, cfg: DictConfig) -> Any:
    """Check the composed config, instantiate its parts and run the verb."""
    from omegaconf import OmegaConf

    order = list(fields_of(verb))
    missing = sorted(
        OmegaConf.missing_keys(cfg), key=lambda key: (order.index(key.split(".")[0]), key)
    )
    if missing:
        option = fields_of(verb).get(missing[0])
        help_text = f" ({option.metadata['help']})" if option and option.metadata else ""
        raise UsageError(f"{missing[0]} is missing: pass {missing[0]}=...{help_text}")
    options = OmegaConf.to_object(cfg)
    check_option(options)
    # Of several ranks on a machine only the first logs at INFO; all log warnings.
    first = os.environ.get("LOCAL_RANK", "0") == "0"
    level = logging.INFO if first else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr)
    return _RUNNERS[verb](options, cfg)


def build(cfg: DictConfig, key: str) -> Any:
    """Check the keys and types of the part at `key` and instantiate it."""
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    part = cfg[key]
    if part is None:
        return None
    check_target(OmegaConf.to_container(part, resolve=True), key)
    try:
        return instantiate(part, _convert_="all")
    except InstantiationException as error:
        for cause in causes(error):
            if isinstance(cause, SwapperError):
                raise cause from error
            if isinstance(cause, (ValueError, TypeError)):
                raise UsageError(f"{key}: {one_line(cause, 2000)}") from error
        raise UsageError(f"{key}: {one_line(error, 2000)}") from error


def _run_extract(options: Any, cfg: DictConfig) -> int:
    from swapper.extract import extract

    extract(options, lambda: build(cfg, "aligner"), lambda: _estimator(cfg))
    return 0


def _run_annotate(options: Any, cfg: DictConfig) -> int:
    from swapper.annotate import annotate

    annotate(options, lambda: _estimator(cfg))
    return 0


def _run_concept(options: Any, cfg: DictConfig) -> int:
    from swapper.concept import concept

    concept(options, lambda: build(cfg, "aligner"), lambda: _estimator(cfg))
    return 0


def _estimator(cfg: DictConfig) -> Any:
    """Return the estimator of ``affect=``; None for ``affect=none``."""
    return build(cfg, "affect") or None


def _run_convert(options: Any, cfg: DictConfig) -> int:
    from swapper.convert import convert

    convert(
        options,
        lambda: build(cfg, "aligner"),
        make_estimator=lambda: build(cfg, "estimator") or None,
    )
    return 0


def _run_evaluate(options: Any, cfg: DictConfig) -> int:
    from swapper.evaluate import evaluate

    evaluate(
        options,
        lambda: build(cfg, "aligner"),
        lambda: _judge(cfg),
        lambda: build(cfg, "recogniser") or None,
    )
    return 0


def _judge(cfg: DictConfig) -> Any:
    """Return the estimator for measuring, which permits estimators not allowed in training."""
    if "purpose" in cfg.affect:
        cfg.affect.purpose = "measuring"
    return _estimator(cfg)


def _run_compare(options: Any, cfg: DictConfig) -> int:
    from swapper.compare import PartFactories, compare

    makers = PartFactories(
        aligner=lambda: build(cfg, "aligner"),
        estimator=lambda: _judge(cfg),
        model_estimator=lambda: build(cfg, "estimator") or None,
        recogniser=lambda: build(cfg, "recogniser") or None,
    )
    compare(options, makers)
    return 0


def _run_export(options: Any, cfg: DictConfig) -> int:
    from swapper.export import export

    export(options)
    return 0


def _run_study(options: Any, cfg: DictConfig) -> int:
    from swapper.study import study

    study(options)
    return 0


def _run_synthesize(options: Any, cfg: DictConfig) -> int:
    from swapper.synthesize import synthesize

    synthesize(options)
    return 0


def _run_verify(options: Any, cfg: DictConfig) -> int:
    return int(importlib.import_module("swapper.verify").verify_file(options))


def _run_demo(options: Any, cfg: DictConfig) -> int:
    from swapper.demo.demo import demo

    return demo(options)


def _run_train(options: Any, cfg: DictConfig) -> float | None:
    from omegaconf import OmegaConf

    from swapper.train import Parts, train

    config = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(config, dict)
    names = ("data", "model", "loss", "optim", "trainer", "speed", "callbacks", "logger")
    parts = Parts(
        **{name: build(cfg, name) for name in names},
        affect=_estimator(cfg),
        expression=build(cfg, "expression") or None,
        pseudo=build(cfg, "pseudo") or None,
    )
    return train(options, parts, {str(key): value for key, value in config.items()})


_RUNNERS: Mapping[str, Callable[[Any, Any], Any]] = {
    "extract": _run_extract,
    "annotate": _run_annotate,
    "concept": _run_concept,
    "train": _run_train,
    "convert": _run_convert,
    "evaluate": _run_evaluate,
    "compare": _run_compare,
    "export": _run_export,
    "study": _run_study,
    "verify": _run_verify,
    "synthesize": _run_synthesize,
    "demo": _run_demo,
}


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes, most recent first."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__ or current.__context__
