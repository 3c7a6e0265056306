"""What a key takes, in words that can follow "expected". Read from the models, so that the words cannot drift."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from types import NoneType
from typing import Annotated, get_args, get_origin

import annotated_types

from gatepost.settings.models import Settings
from gatepost.settings.section import Section
from gatepost.settings.values import Form

Place = Sequence[str | int]


def describe(annotation: object, metadata: Iterable[object] = ()) -> str:
    """Return the words for a value of this type, as a field annotates it."""
    plain, marks = unwrap(annotation, metadata)
    words = next((mark.words for mark in marks if isinstance(mark, Form)), None)
    if words is not None:
        return words
    if get_origin(plain) is tuple:
        return _describe_list(get_args(plain)[0], marks)
    return _describe_scalar(plain) + _describe_range(marks)


def describe_key(place: Place) -> str:
    """Return the words for the value at this place of the settings, such as ("listeners", 0, "tls")."""
    annotation, marks = _find(place)
    return describe(annotation, marks)


def find_table(place: Place) -> type[Section]:
    """Return the model of the table at this place; raises TypeError if no table belongs there."""
    annotation, _ = _find(place)
    if not (isinstance(annotation, type) and issubclass(annotation, Section)):
        raise TypeError(f"{place} is no table")
    return annotation


def _find(place: Place) -> tuple[object, list[object]]:
    annotation: object = Settings
    marks: list[object] = []
    for step in place:
        if isinstance(annotation, type) and issubclass(annotation, Section):
            field = annotation.model_fields[str(step)]
            annotation, marks = unwrap(field.annotation, field.metadata)
        else:
            annotation, marks = unwrap(get_args(annotation)[0], ())
    return annotation, marks


def unwrap(annotation: object, metadata: Iterable[object]) -> tuple[object, list[object]]:
    """Return the type without Annotated and "or None", which TOML cannot say, and everything that marks it."""
    marks = list(metadata)
    if NoneType in get_args(annotation):
        annotation = next(choice for choice in get_args(annotation) if choice is not NoneType)
    if get_origin(annotation) is Annotated:
        annotation, *inner = get_args(annotation)
        marks += inner
    return annotation, marks


def _describe_scalar(plain: object) -> str:
    if not isinstance(plain, type):
        raise TypeError(f"{plain} has no words")
    if issubclass(plain, Enum):
        return _join([f'"{member.value}"' for member in plain])
    if issubclass(plain, Section):
        return "a table"
    return {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}[plain]


def _describe_list(item: object, marks: Sequence[object]) -> str:
    filled = any(isinstance(mark, annotated_types.MinLen) for mark in marks)
    words = describe(item)
    kind = "a list of one or more" if filled else "a list"
    if words == "a table":
        return f"{kind} tables" if filled else "a list of tables"
    return f"{kind}, each {words}" if filled else f"{kind}, each item {words}"


def _describe_range(marks: Sequence[object]) -> str:
    lowest = next((mark.ge for mark in marks if isinstance(mark, annotated_types.Ge)), None)
    highest = next((mark.le for mark in marks if isinstance(mark, annotated_types.Le)), None)
    if lowest is None:
        return ""
    return f" of at least {lowest}" if highest is None else f" from {lowest} to {highest}"


def _join(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
