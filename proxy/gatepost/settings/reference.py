"""The reference page of the settings, made from the models.

`python -m gatepost.settings.reference > docs/settings.md` brings the page up to date.
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
import textwrap
from collections.abc import Iterator
from enum import Enum
from typing import get_args, get_origin

from pydantic.fields import FieldInfo

from gatepost.settings.forms import describe, unwrap
from gatepost.settings.models import Settings
from gatepost.settings.section import Section

_INTRODUCTION = """# Settings

<!-- Made by `python -m gatepost.settings.reference` from the models in `proxy/gatepost/settings/`. Do not edit. -->

One TOML file holds everything that can be set. gatepost never writes to it. `gatepost check --config FILE` reports
every mistake in it at once and exits with code 78; of a good file it says what it will do. An unknown key is a mistake.
Paths are relative to the file. Every default is the safe choice. A file must have `[upstream]`, `[tls]` and
`[[listeners]]`; in another table, "must be set" holds where that table is.
`deploy/gatepost.toml` is an example to start from.
"""


def render() -> str:
    """Return the whole page, in Markdown."""
    return _INTRODUCTION + "".join(f"\n{_render_table(model)}" for model in _tables(Settings))


def _tables(model: type[Section]) -> Iterator[type[Section]]:
    """Yield the models of all tables below this one, in the order of their keys."""
    for field in model.model_fields.values():
        annotation, _ = unwrap(field.annotation, field.metadata)
        if get_origin(annotation) is tuple:
            annotation = get_args(annotation)[0]
        if isinstance(annotation, type) and issubclass(annotation, Section):
            yield annotation
            yield from _tables(annotation)


def _render_table(model: type[Section]) -> str:
    title, _, purpose = (model.__doc__ or "").partition(": ")
    sentences = _sentences(model)
    rows = []
    for name, field in model.model_fields.items():
        words = describe(field.annotation, field.metadata)
        if words not in ("a table", "a list of tables"):  # those have a section of their own
            rows.append(f"| `{name}` | {_cell(words)} | {_default(field)} | {_cell(sentences[name])} |")
    head = ["| Key | Takes | Default | Meaning |", "|---|---|---|---|"]
    return f"## {title}\n\n{purpose[:1].upper()}{purpose[1:]}\n\n" + "\n".join(head + rows) + "\n"


def _sentences(model: type[Section]) -> dict[str, str]:
    """Return the sentence under each key of a model. Python keeps none of them, so the source is read."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(model))).body[0]
    if not isinstance(tree, ast.ClassDef):
        raise TypeError(f"{model} is no class")
    found = {}
    for statement, following in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            text = following.value if isinstance(following, ast.Expr) else None
            if isinstance(text, ast.Constant):
                found[statement.target.id] = str(text.value)
    return found


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "must be set"
    value = field.default
    if value in (None, "", ()):
        return "none"
    return f"`{_write(value)}`"


def _write(value: object) -> str:
    """Write a value as TOML has it."""
    if isinstance(value, Enum):
        return _write(value.value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{value:g}" if isinstance(value, float) else str(value)
    if type(value) is tuple:
        return "[" + ", ".join(map(_write, value)) + "]"
    return json.dumps(str(value))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(render())
