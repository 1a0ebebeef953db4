"""The documented space is the real one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from swapper.head_renderer.identity import Identity


def test_every_field_of_an_identity_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "actors.md").read_text(encoding="utf-8")
    for field in dataclasses.fields(Identity):
        if field.name == "name":
            continue
        assert f"`{field.name}`" in text, field.name
        meaning = field.metadata.get("help")
        if field.metadata.get("least") == -1.0:
            assert meaning in text, field.name
        for choice in field.metadata.get("choices", ()):
            assert choice in text, (field.name, choice)
