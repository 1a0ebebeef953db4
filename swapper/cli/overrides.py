"""Check and complete the words of a command line before Hydra parses them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from swapper.errors import UsageError, choices_text
from swapper.options.fields import MISSING
from swapper.options.verbs import fields_of

_OVERRIDE = re.compile(r"\+{0,2}[\w@./-]+=|~[\w@./-]+(?:=|$)")
# Hydra's flags that are followed by a value, and the others.
_WITH_VALUE = (
    "--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn",
    "--config-dir", "-cd", "--experimental-rerun", "--info", "-i",
)  # fmt: skip
_FLAGS = ("--hydra-help", "--version", "--resolve", "--run", "-r", "--multirun", "-m")


def prepare_overrides(verb: str, words: Sequence[str]) -> list[str]:
    """Return overrides that Hydra understands.

    Lists that the shell has split at their spaces are joined, ``~`` is expanded, and free text is
    quoted.

    Raises:
        UsageError: A word is no override, or a value cannot be meant.
    """
    joined = list(_join_lists(words))
    _check_words(verb, joined)
    sweeping = not {"-m", "--multirun"}.isdisjoint(joined)
    for word in joined:
        key, _, value = word.partition("=")
        _check_value(verb, key, value, sweeping=sweeping)
    return quote_text(verb, [_with_home(word) for word in joined])


def quote_text(verb: str, overrides: Sequence[str]) -> list[str]:
    """Quote free text, so that paths and rights statements need no Hydra quoting.

    Otherwise ``rights=signed release, 2026`` would be parsed as a sweep over two values. Under
    ``--multirun`` a value with a comma is left unquoted, since it means a sweep.
    """
    fields = fields_of(verb)
    sweeping = "-m" in overrides or "--multirun" in overrides
    quoted = []
    for override in overrides:
        key, equals, value = override.partition("=")
        option = fields.get(key)
        text = option is not None and option.type == "str" and not option.metadata["choices"]
        listed = option is not None and option.type == "Any" and bool(option.metadata)
        literal = value in ("", "null", MISSING)
        unquoted = not literal and not value.startswith(("'", '"', "[", "${"))
        if equals and unquoted and (text or listed) and not (sweeping and "," in value):
            escaped = re.sub(r'(\\*)"', r'\1\1\\"', value)
            trailing = len(escaped) - len(escaped.rstrip("\\"))
            override = f'{key}="{escaped}{chr(92) * trailing}"'
        quoted.append(override)
    return quoted


def _join_lists(words: Sequence[str]) -> Iterator[str]:
    """Join ``facesets=[a,`` and ``b]``, which the shell takes for two words."""
    held = ""
    for word in words:
        held = f"{held} {word}" if held else word
        _, equals, value = held.partition("=")
        if not (equals and value.startswith("[") and value.count("[") > value.count("]")):
            yield held
            held = ""
    if held:
        yield held


def _check_words(verb: str, words: Sequence[str]) -> None:
    """Refuse words that are neither flags nor ``key=value``."""
    fields = fields_of(verb)
    bare: list[str] = []
    previous = ""
    for word, following in zip(words, [*words[1:], "..."], strict=False):
        name, _, value = word.partition("=")
        if word.startswith("-") and name not in (*_FLAGS, *_WITH_VALUE):
            key = name.lstrip("-").replace("-", "_")
            key = key if key in fields else choices_text(key, fields)
            raise UsageError(
                f"{word}: options are written without dashes: {key}={value or following}"
            )
        if not (word.startswith("-") or previous in _WITH_VALUE or _OVERRIDE.match(word)):
            key, _, text = previous.partition("=")
            if not bare and key in fields and fields[key].type == "str":
                raise UsageError(f'{word}: quote a value with spaces: {key}="{text} {word}"')
            bare.append(word)
        previous = word
    if not bare:
        return
    given = {word.partition("=")[0] for word in words}
    missing = [key for key, each in fields.items() if each.default == MISSING and key not in given]
    keys = [*missing, *(key for key in fields if key not in missing)]
    meant = " ".join(f"{key}={word}" for key, word in zip(keys, bare, strict=False))
    raise UsageError(f"{' '.join(bare)}: options are written key=value, such as {meant}")


def _check_value(verb: str, key: str, value: str, *, sweeping: bool) -> None:
    """Refuse addresses of the web, and lists without brackets."""
    option = fields_of(verb).get(key)
    if option is None or not option.metadata or option.type not in ("str", "Any"):
        return
    if re.match(r"[a-z]+://", value) and not key.endswith("rights"):
        raise UsageError(f"{key}={value}: only local files are read; download it first")
    listed = option.type == "Any" and not value.startswith(("[", "'", '"'))
    if listed and "," in value and not sweeping and not Path(value).expanduser().exists():
        raise UsageError(f"{key}={value}: a list is written {key}=[{value}]")


def _with_home(word: str) -> str:
    """Expand ``~/`` at the start of a value, and of the items of a list."""
    key, equals, value = word.partition("=")
    home = str(Path.home())
    if value.startswith("["):
        value = re.sub(r"(?<=[\[,\s])~(?=/)", lambda _: home, value)
    elif value.startswith("~/"):
        value = home + value[1:]
    return f"{key}{equals}{value}"
