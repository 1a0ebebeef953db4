"""Instantiate the parts of a composed config and call the verb."""

from __future__ import annotations

import logging
import os
import pkgutil
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from swapper.cli.arguments import check_target
from swapper.errors import SwapperError, UsageError
from swapper.files import one_line
from swapper.options.fields import check_option
from swapper.options.verbs import fields_of

if TYPE_CHECKING:
    from omegaconf import DictConfig

_ALIGNER_AND_AFFECT = {"make_aligner": "aligner", "make_estimator": "affect"}
# Each verb's function, and which of its arguments builds which part of the config.
_FUNCTIONS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "extract": ("swapper.extract:extract", _ALIGNER_AND_AFFECT),
    "annotate": ("swapper.annotate:annotate", {"make_estimator": "affect"}),
    "concept": ("swapper.concept:concept", _ALIGNER_AND_AFFECT),
    "convert": (
        "swapper.convert:convert",
        {"make_aligner": "aligner", "make_estimator": "estimator"},
    ),
    "evaluate": (
        "swapper.evaluate:evaluate",
        _ALIGNER_AND_AFFECT | {"make_recogniser": "recogniser"},
    ),
    "export": ("swapper.export:export", {}),
    "study": ("swapper.study:study", {}),
    "verify": ("swapper.verify:verify_file", {}),
    "synthesize": ("swapper.synthesize:synthesize", {}),
    "demo": ("swapper.demo.demo:demo", {}),
}
_TRAIN_PARTS = (
    "data", "model", "loss", "optim", "trainer", "speed", "callbacks", "logger", "affect",
    "expression", "pseudo", "reverse",
)  # fmt: skip


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
    if verb == "train":
        return _train(options, cfg)
    if verb in ("evaluate", "compare") and "purpose" in cfg.affect:
        cfg.affect.purpose = "measuring"  # permits estimators that no training may use
    if verb == "compare":
        return _compare(options, cfg)
    name, parts = _FUNCTIONS[verb]
    factories = {argument: partial(build, cfg, part) for argument, part in parts.items()}
    return pkgutil.resolve_name(name)(options, **factories)


def _train(options: Any, cfg: DictConfig) -> float | None:
    from omegaconf import OmegaConf

    from swapper.train import Parts, train

    config = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(config, dict)
    parts = Parts(**{name: build(cfg, name) for name in _TRAIN_PARTS})
    return train(options, parts, {str(key): value for key, value in config.items()})


def _compare(options: Any, cfg: DictConfig) -> Any:
    from swapper.compare import PartFactories, compare

    factories = PartFactories(
        aligner=partial(build, cfg, "aligner"),
        estimator=partial(build, cfg, "affect"),
        model_estimator=partial(build, cfg, "estimator"),
        recogniser=partial(build, cfg, "recogniser"),
    )
    return compare(options, factories)


def build(cfg: DictConfig, key: str) -> Any:
    """Check the keys and types of the part at `key` and instantiate it; None for an empty part."""
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    part = cfg[key]
    if not part:
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


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes, most recent first."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__ or current.__context__
