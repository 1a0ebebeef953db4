"""Entry point: ``swapper VERB [key=value ...]``.

Composes the verb's config and calls the verb. Faulty input ends with one line on stderr and a
non-zero exit status. Only this module and `swapper.cli.launch` depend on Hydra.
"""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from swapper import __version__
from swapper.cli.help import CONFIGS, FIRST_OPTION, config_root, group_choices, usage, verb_help
from swapper.cli.launch import call, causes
from swapper.cli.overrides import prepare_overrides
from swapper.errors import SwapperError, UsageError, choices_text
from swapper.files import one_line
from swapper.options.fields import describe_option
from swapper.options.verbs import VERBS

if TYPE_CHECKING:
    from omegaconf import DictConfig

_MAX_MESSAGE = 2000


def main() -> None:
    """Entry point of the ``swapper`` command."""
    if sys.argv[1:2] != ["train"]:  # Lightning has its own handling of signals
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit status."""
    try:
        return _dispatch(list(arguments))
    except KeyboardInterrupt:
        print("swapper: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # stdout was closed by its reader; avoid the interpreter's error message on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (SwapperError, OSError) as error:
        return _report(error)


def _report(error: SwapperError | OSError) -> int:
    """Print an error as one line and return the exit status."""
    if isinstance(error, SwapperError):
        print(f"swapper: {one_line(error, _MAX_MESSAGE)}", file=sys.stderr)
        return error.exit_code
    # Of the system, on any path: a disk that is full or read-only, a file that vanished.
    where = "a file" if error.filename is None else one_line(error.filename)
    print(
        f"swapper: {where}: {error.strerror or one_line(error)}; check permissions, free space and "
        "whether the disk can be written",
        file=sys.stderr,
    )
    return 1


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
        raise UsageError(f"{verb}: no such verb, choose from {choices_text(verb, VERBS)}")
    if importlib.util.find_spec(CONFIGS) is None:
        checkout = Path(__file__).resolve().parents[2]
        raise UsageError(
            f"{CONFIGS}: not found, {checkout} is a checkout that is not installed; run "
            f"pip install --editable {checkout}"
        )
    if {"-h", "--help", "help"} & set(overrides):
        print(verb_help(verb))
        return 0
    first = FIRST_OPTION.get(verb)
    if first and overrides and not re.match(r"-|[+~]?[\w.@/]+=", overrides[0]):
        overrides[0] = f"{first}={overrides[0]}"
    status: list[int] = []
    _compose_and_call(verb, prepare_overrides(verb, overrides), status)
    return max(status, default=0)


# --- composing ------------------------------------------------------------------------------------


def _register_schemas() -> None:
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    store = ConfigStore.instance()
    for verb, kind in VERBS.items():
        schema = OmegaConf.structured(kind)
        _open_mappings(schema)
        store.store(name=f"schema_{verb}", node=schema, provider="swapper")


def _hydra_main(verb: str, argv: list[str], task: Callable[[DictConfig], object]) -> None:
    """Run a task under `hydra.main`, which takes its arguments from ``sys.argv`` alone."""
    import hydra

    _register_schemas()
    sys.argv = argv
    root = f"pkg://{config_root(verb)}"
    hydra.main(version_base="1.3", config_path=root, config_name=verb)(task)()


def _open_mappings(node: DictConfig) -> None:
    """Allow arbitrary keys in options that are mappings."""
    from omegaconf import DictConfig, OmegaConf

    for key in node:
        if not OmegaConf.is_missing(node, key) and isinstance(node[key], DictConfig):
            if OmegaConf.get_type(node[key]) is dict:
                OmegaConf.set_struct(node[key], False)
            _open_mappings(node[key])


def _compose_and_call(verb: str, overrides: list[str], status: list[int]) -> None:
    """Let Hydra compose (or sweep, or print) the config of `verb`, then call the verb."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    before = list(sys.argv)

    def task(cfg: DictConfig) -> float | None:
        # Lightning starts its other ranks with sys.argv, so it must contain the verb.
        sys.argv = before
        try:
            result = call(verb, cfg)
        except BrokenPipeError:
            raise
        except (SwapperError, OSError) as error:  # Hydra would print a preamble of its own
            status.append(_report(error))
            return None
        status.append(result if isinstance(result, int) else 0)
        return result if isinstance(result, float) else None

    full_error = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # raise, so that `_explain` words the message
    try:
        _hydra_main(verb, [before[0], *overrides], task)
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
    """Return one line that names the wrong key and the legal values."""
    from hydra.errors import OverrideParseException
    from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

    chain = list(causes(error))
    if any(isinstance(each, OverrideParseException) for each in chain):
        grammar = one_line(error, _MAX_MESSAGE).partition("See https")[0].strip()
        return f"{grammar} (quote values that hold special characters: 'key=\"a (b), c\"')"
    groups = []
    for override in overrides:
        group, _, choice = override.partition("=")
        choices = group_choices(verb, group)
        if choices:
            groups.append(override)
            if choice not in choices:
                return f"{override}: choose from {', '.join(choices)}"
    for each in chain:
        if not (isinstance(each, OmegaConfBaseException) and each.full_key):
            continue
        key, problem = str(each.full_key), str(each.msg).splitlines()[0].rstrip(".")
        if isinstance(each, (ConfigKeyError, ConfigAttributeError)):
            return _unknown_key(verb, groups, key, problem)
        helps = {row.partition("=")[0]: text for row, text in describe_option(VERBS[verb])}
        return f"{key}: {problem}" + (f" ({helps[key]})" if key in helps else "")
    return one_line(error, _MAX_MESSAGE)


def _unknown_key(verb: str, groups: list[str], key: str, problem: str) -> str:
    """Return one line with the legal keys, given the overrides that choose config groups."""
    from hydra import compose
    from hydra.core.global_hydra import GlobalHydra
    from hydra.initialize import initialize_config_module
    from omegaconf import DictConfig, OmegaConf

    GlobalHydra.instance().clear()
    parent, _, last = key.rpartition(".")
    with initialize_config_module(config_root(verb), version_base="1.3"):
        config = compose(verb, groups)
        node = OmegaConf.select(config, parent) if parent else config
    if not isinstance(node, DictConfig):
        return f"{key}: no such option; {problem}"
    legal = sorted(str(each) for each in node if not str(each).startswith("_"))
    where = f"under {parent}" if parent else "here"
    return f"{key}: no such option; legal {where}: {choices_text(last, legal)}"


# --- completion -----------------------------------------------------------------------------------


def _completion(arguments: list[str]) -> int:
    """Run Hydra's completion on the command line without the verb.

    The shell function that ``-sc install=SHELL`` prints calls ``swapper -sc query=SHELL`` with the
    line so far in COMP_LINE.
    """
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
    _hydra_main(verb, [sys.argv[0], "-sc", request], lambda _: None)
    return 0
