"""``swapper VERB [key=value ...]``: the only place that knows Hydra.

Composes the verb's config, checks it, builds the parts named in it and calls the verb with plain
values. Whatever is wrong with the input ends as one line on stderr and a non-zero exit.
"""

from __future__ import annotations

import difflib
import importlib
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from swapper import __version__
from swapper.arguments import check_target
from swapper.errors import SwapperError, UsageError
from swapper.manual import config_root, group_choices, usage, verb_help
from swapper.options import MISSING, VERBS, check, describe, fields_of

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main() -> None:
    """Entry point of the ``swapper`` command."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Carry out one command line and return its exit status."""
    try:
        return _dispatch(list(arguments))
    except SwapperError as error:
        print(f"swapper: {_one_line(error)}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("swapper: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output has gone; keep the interpreter from complaining on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if arguments[0] in ("-V", "--version"):
        print(f"swapper {__version__}")
        return 0
    if arguments[0] in ("-sc", "--shell-completion", "--shell_completion"):
        return _completion(arguments)
    verb, overrides = arguments[0], arguments[1:]
    if verb not in VERBS:
        close = difflib.get_close_matches(verb, VERBS, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise UsageError(f"{verb}: no such verb, choose from {', '.join(VERBS)}{hint}")
    if "-h" in overrides or "--help" in overrides:
        print(verb_help(verb))
        return 0
    if verb == "verify" and overrides and not re.match(r"-|[+~]?[\w.@/]+=", overrides[0]):
        overrides[0] = f"file={overrides[0]}"
    status: list[int] = []
    _compose_and_call(verb, quote_text(verb, overrides), status)
    return max(status, default=0)


# --- composing ------------------------------------------------------------------------------------


def quote_text(verb: str, overrides: Sequence[str]) -> list[str]:
    """Quote free text, so that paths and rights statements need no Hydra quoting.

    ``rights=signed release, 2026`` would else be read as two values to sweep over. Under
    ``--multirun`` a value with a comma is left alone, since there it means a sweep.
    """
    fields = fields_of(verb)
    sweeping = "-m" in overrides or "--multirun" in overrides
    quoted = []
    for override in overrides:
        key, equals, value = override.partition("=")
        known = fields.get(key)
        text = known is not None and known.type == "str" and not known.metadata["choices"]
        listed = known is not None and known.type == "Any" and bool(known.metadata)
        plain = not value.startswith(("'", '"', "[", "${")) and value not in ("", "null", MISSING)
        if equals and plain and (text or listed) and not (sweeping and "," in value):
            escaped = re.sub(r'(\\*)"', r'\1\1\\"', value)
            trailing = len(escaped) - len(escaped.rstrip("\\"))
            override = f'{key}="{escaped}{chr(92) * trailing}"'
        quoted.append(override)
    return quoted


def _register_schemas() -> None:
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    store = ConfigStore.instance()
    for verb, kind in VERBS.items():
        schema = OmegaConf.structured(kind)
        _open_mappings(schema)
        store.store(name=f"schema_{verb}", node=schema, provider="swapper")


def _open_mappings(node: DictConfig) -> None:
    """Let options that are mappings take keys of the user's own."""
    from omegaconf import DictConfig, OmegaConf

    for key in node:
        if not OmegaConf.is_missing(node, key) and isinstance(node[key], DictConfig):
            if OmegaConf.get_type(node[key]) is dict:
                OmegaConf.set_struct(node[key], False)
            _open_mappings(node[key])


def _compose_and_call(verb: str, overrides: list[str], status: list[int]) -> None:
    """Let Hydra compose (or sweep, or print) the config of `verb` and call it."""
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    _register_schemas()
    before = list(sys.argv)

    def task(cfg: DictConfig) -> float | None:
        # Lightning starts its other ranks with our own argv, so the verb must be in it again.
        sys.argv = before
        try:
            result = call(verb, cfg)
        except SwapperError as error:  # Hydra would print a preamble of its own
            print(f"swapper: {_one_line(error)}", file=sys.stderr)
            status.append(error.exit_code)
            return None
        status.append(result if isinstance(result, int) else 0)
        return result if isinstance(result, float) else None

    full_error = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # raise, so that we and not Hydra word the message
    sys.argv = [before[0], *overrides]
    try:
        hydra.main(version_base="1.3", config_path=f"pkg://{config_root(verb)}", config_name=verb)(
            task
        )()
    except (HydraException, OmegaConfBaseException) as error:
        raise UsageError(_explain(verb, overrides, error)) from error
    except SystemExit as stop:
        if stop.code not in (None, 0):
            status.append(stop.code if isinstance(stop.code, int) else 1)
    finally:
        sys.argv = before
        if full_error is None:
            del os.environ["HYDRA_FULL_ERROR"]


def _explain(verb: str, overrides: Sequence[str], error: BaseException) -> str:
    """Say in one line which key is wrong and what would be legal."""
    texts = [str(each) for each in _causes(error)]
    whole = "\n".join(texts)
    if found := re.search(
        r"Could not find '([^']+)'\n\nAvailable options in '([^']+)':((?:\n\t.*)*)", whole
    ):
        group, _, value = found[1].rpartition("/")
        return f"{group}={value}: choose from {', '.join(found[3].split())}"
    if found := re.search(r"Could not override '([^']+)'.\s*No match in the defaults list", whole):
        return f"{found[1]}: no such config group; choose from {', '.join(_legal_keys(verb))}"
    if found := re.search(r"Could not override '([^']+)'", whole):
        return _unknown_key(verb, overrides, found[1], whole)
    if found := re.search(
        r"(Value .*|Invalid value .*|Cannot convert .*)\n\s*full_key: (\S+)", whole
    ):
        return f"{found[2]}: {found[1].rstrip('.')}"
    if found := re.search(r"Error merging override (([^=\s]+)=.*)", whole):
        helps = {key.partition("=")[0]: text for key, text in describe(VERBS[verb])}
        return f"{found[1]}: does not fit ({helps.get(found[2], 'see --help')})"
    if found := re.search(
        r"mismatched input|no viable alternative|extraneous input|token recog", whole
    ):
        grammar = re.sub(r"See https\S+.*", "", _one_line(error)).strip()
        return f"{grammar} (quote values that hold special characters: 'key=\"a (b), c\"')"
    return _one_line(error)


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _legal_keys(verb: str) -> list[str]:
    return sorted(fields_of(verb))


def _unknown_key(verb: str, overrides: Sequence[str], key: str, whole: str) -> str:
    from hydra import compose
    from hydra.core.global_hydra import GlobalHydra
    from hydra.initialize import initialize_config_module
    from omegaconf import DictConfig, OmegaConf

    GlobalHydra.instance().clear()
    parent, _, last = key.rpartition(".")
    # The choices made say which keys there could have been.
    chosen = [each for each in overrides if group_choices(verb, each.partition("=")[0])]
    with initialize_config_module(config_root(verb), version_base="1.3"):
        config = compose(verb, chosen)
        node = OmegaConf.select(config, parent) if parent else config
    if not isinstance(node, DictConfig):
        return f"{key}: no such option; {_one_line(Exception(whole.splitlines()[0]))}"
    legal = sorted(str(each) for each in node if not str(each).startswith("_"))
    close = difflib.get_close_matches(last, legal, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    where = f"under {parent}" if parent else "here"
    return f"{key}: no such option; {hint}legal {where}: {', '.join(legal)}"


# --- calling --------------------------------------------------------------------------------------


def call(verb: str, cfg: DictConfig) -> Any:
    """Check the composed config, build its parts and run the verb."""
    from omegaconf import OmegaConf

    order = list(fields_of(verb))
    missing = sorted(
        OmegaConf.missing_keys(cfg), key=lambda key: (order.index(key.split(".")[0]), key)
    )
    if missing:
        known = fields_of(verb).get(missing[0])
        help_text = f" ({known.metadata['help']})" if known and known.metadata else ""
        raise UsageError(f"{missing[0]} is missing: pass {missing[0]}=...{help_text}")
    options = OmegaConf.to_object(cfg)
    check(options)
    # Of several ranks on a machine the first one speaks; all may warn.
    first = os.environ.get("LOCAL_RANK", "0") == "0"
    level = logging.INFO if first else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr)
    if verb != "train":  # Lightning brings its own handling of signals
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    return _RUNNERS[verb](options, cfg)


def build(cfg: DictConfig, key: str) -> Any:
    """Instantiate the part at `key` after holding its keys and types to the signature."""
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
        for cause in _causes(error):
            if isinstance(cause, SwapperError):
                raise cause from error
            if isinstance(cause, (ValueError, TypeError)):
                raise UsageError(f"{key}: {_one_line(cause)}") from error
        raise UsageError(f"{key}: {_one_line(error)}") from error


def _run_extract(options: Any, cfg: DictConfig) -> int:
    from swapper.extract import extract

    extract(options, lambda: build(cfg, "aligner"), lambda: _estimator(cfg))
    return 0


def _run_affect(options: Any, cfg: DictConfig) -> int:
    from swapper.read_affect import read_affect

    read_affect(options, lambda: _estimator(cfg))
    return 0


def _run_concept(options: Any, cfg: DictConfig) -> int:
    from swapper.concept import concept

    concept(options, lambda: build(cfg, "aligner"), lambda: _estimator(cfg))
    return 0


def _estimator(cfg: DictConfig) -> Any:
    """The one that ``affect=`` names; None for ``affect=none``."""
    return build(cfg, "affect") or None


def _run_convert(options: Any, cfg: DictConfig) -> int:
    from swapper.convert import convert

    convert(
        options,
        lambda: build(cfg, "aligner"),
        make_estimator=lambda: build(cfg, "estimator") or None,
    )
    return 0


def _run_export(options: Any, cfg: DictConfig) -> int:
    from swapper.export import export

    export(options)
    return 0


def _run_study(options: Any, cfg: DictConfig) -> int:
    from swapper.study import study

    study(options)
    return 0


def _run_actors(options: Any, cfg: DictConfig) -> int:
    from swapper.perform import actors

    actors(options)
    return 0


def _run_verify(options: Any, cfg: DictConfig) -> int:
    return int(importlib.import_module("swapper.verify").verify_file(options))


def _run_demo(options: Any, cfg: DictConfig) -> int:
    from swapper.demo import demo

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
    )
    return train(options, parts, {str(key): value for key, value in config.items()})


_RUNNERS: Mapping[str, Callable[[Any, Any], Any]] = {
    "extract": _run_extract,
    "affect": _run_affect,
    "concept": _run_concept,
    "train": _run_train,
    "convert": _run_convert,
    "export": _run_export,
    "study": _run_study,
    "verify": _run_verify,
    "actors": _run_actors,
    "demo": _run_demo,
}


# --- completion -----------------------------------------------------------------------------------


def _completion(arguments: list[str]) -> int:
    """Hydra's own completion, with the verb taken out of the line that it sees.

    The shell function that ``-sc install=SHELL`` prints calls ``swapper -sc query=SHELL`` with the
    line so far in COMP_LINE.
    """
    import hydra

    request = arguments[1] if len(arguments) > 1 else ""
    if not re.fullmatch(r"(install|uninstall|query)=(bash|zsh|fish)", request):
        raise UsageError(f"{' '.join(arguments)}: pass -sc install=bash, zsh or fish")
    verb = next(iter(VERBS))
    if request.startswith("query="):
        words = os.environ.get("COMP_LINE", "").split(" ")
        typed = [word for word in words[1:] if word]
        if len(typed) < 1 or (len(typed) == 1 and words[-1]):
            start = typed[0] if typed else ""
            print(" ".join(name for name in VERBS if name.startswith(start)))
            return 0
        if typed[0] not in VERBS:
            return 0
        verb = typed[0]
        words.remove(verb)
        os.environ["COMP_LINE"] = " ".join(words)
    _register_schemas()
    sys.argv = [sys.argv[0], "-sc", request]
    hydra.main(version_base="1.3", config_path=f"pkg://{config_root(verb)}", config_name=verb)(
        lambda _: None
    )()
    return 0
