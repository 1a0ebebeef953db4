"""Instantiate the parts of a composed config and call the verb."""

from __future__ import annotations

import dataclasses
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

# Each verb's function, and which of its arguments builds which part of the config.
_ALIGNER_AND_AFFECT = {"make_aligner": "aligner", "make_estimator": "affect"}
_JUDGED = _ALIGNER_AND_AFFECT | {"make_recogniser": "recogniser"}
_FUNCTIONS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "extract": ("swapper.extract:extract", _JUDGED),
    "annotate": ("swapper.annotate:annotate", {"make_estimator": "affect"}),
    "faceset": ("swapper.curate:curate", {}),
    "concept": ("swapper.concept:concept", _ALIGNER_AND_AFFECT),
    "convert": (
        "swapper.convert:convert",
        {"make_aligner": "aligner", "make_estimator": "estimator", "make_recogniser": "recogniser"},
    ),
    "evaluate": ("swapper.evaluate:evaluate", _JUDGED),
    "compare": ("swapper.compare:compare", _JUDGED | {"make_model_estimator": "estimator"}),
    "export": ("swapper.export:export", {}),
    "study": ("swapper.study:study", {}),
    "verify": ("swapper.verify:verify_file", {}),
    "synthesize": ("swapper.synthesize:synthesize", {}),
    "demo": ("swapper.demo.demo:demo", {}),
}


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
    options: Any = OmegaConf.to_object(cfg)
    check_option(options)
    # Of several ranks on a machine only the first logs at INFO; all log warnings.
    first = os.environ.get("LOCAL_RANK", "0") == "0"
    level = logging.INFO if first else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr)
    if verb == "train":  # needs its parts at once, and the config itself
        from swapper.train import Parts, train

        config: Any = OmegaConf.to_container(cfg, resolve=True)
        parts = Parts(**{each.name: build(cfg, each.name) for each in dataclasses.fields(Parts)})
        return train(options, parts, config)
    if verb in ("evaluate", "compare") and "purpose" in cfg.affect:
        cfg.affect.purpose = "measuring"  # permits estimators that no training may use
    name, arguments = _FUNCTIONS[verb]
    factories = {argument: partial(build, cfg, part) for argument, part in arguments.items()}
    return pkgutil.resolve_name(name)(options, **factories)


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
