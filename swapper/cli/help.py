"""Help texts: verbs, their options, and the choices of their config groups."""

from __future__ import annotations

import importlib.resources

from swapper.options.fields import describe_option
from swapper.options.verbs import VERBS, fields_of

CONFIGS = "swapper.configs"
# Training's groups have a separate root: else `model=` of convert would be taken for a group.
_ROOTS = {
    "compare": f"{CONFIGS}.judged",
    "evaluate": f"{CONFIGS}.judged",
    "train": f"{CONFIGS}.train",
}
FIRST_OPTION = {"verify": "file", "faceset": "action"}
"""The option that may be given as the first word, without its key."""
_HYDRA_FLAGS = (
    ("--cfg job", "print the composed config and stop (add --resolve to fill in references)"),
    ("--multirun, -m", "run once for each combination of comma-separated values"),
    ("--config-dir DIR", "a folder of your own configs, searched first"),
    ("--hydra-help", "Hydra's own options"),
)


def usage() -> str:
    """Return the text of ``swapper --help``."""
    lines = ["usage: swapper VERB [key=value ...]", "", "verbs:"]
    lines += [f"  {verb:10} {(kind.__doc__ or '').strip()}" for verb, kind in VERBS.items()]
    lines += [
        "",
        "swapper VERB --help      the verb's options",
        "swapper VERB --cfg job   the config that would run",
        'eval "$(swapper -sc install=bash)"   completion for this shell (zsh, fish: see README)',
    ]
    return "\n".join(lines)


def config_root(verb: str) -> str:
    """Return the package that holds the verb's config and groups."""
    return _ROOTS.get(verb, CONFIGS)


def group_choices(verb: str, group: str) -> list[str]:
    """Return the sorted choices of ``group=``; empty if there is no such group."""
    # A verb with a root of its own finds the common one as well (by its search path).
    choices: set[str] = set()
    for root in (config_root(verb), CONFIGS):
        folder = importlib.resources.files(root) / group
        if folder.is_dir():
            names = (entry.name for entry in folder.iterdir())
            choices |= {name.removesuffix(".yaml") for name in names if name.endswith(".yaml")}
    return sorted(choices)


def verb_help(verb: str) -> str:
    """Return the text of ``swapper VERB --help``."""
    kind = VERBS[verb]
    rows = describe_option(kind)
    width = min(34, max(len(key) for key, _ in rows))
    lines = [f"usage: swapper {verb} [key=value ...]", "", (kind.__doc__ or "").strip(), ""]
    if verb in FIRST_OPTION:
        lines[0] = f"usage: swapper {verb} {FIRST_OPTION[verb].upper()} [key=value ...]"
    lines += ["options:"] + [f"  {key:{width}}  {text}" for key, text in rows]
    groups = {name: group_choices(verb, name) for name in fields_of(verb)}
    if verb == "train":
        groups["experiment"] = group_choices(verb, "experiment")
    groups = {name: choices for name, choices in groups.items() if choices}
    if groups:
        lines += ["", "config groups (GROUP=CHOICE, then GROUP.key=value; see --cfg job):"]
        lines += [f"  {name:{width}}  [{', '.join(choices)}]" for name, choices in groups.items()]
    if verb == "train":
        from swapper.cli.group_help import group_rows

        inside = group_rows(config_root(verb), verb)
        wide = max(len(key) for key, _ in inside)
        lines += ["", "options inside the groups, of their default choices:"]
        lines += [f"  {key:{wide}}  {text}".rstrip() for key, text in inside]
    lines += ["", "flags:"] + [f"  {flag:{width}}  {text}" for flag, text in _HYDRA_FLAGS]
    return "\n".join(lines)
