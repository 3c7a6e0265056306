"""What is wrong with a settings file, one value for each mistake.

A problem shows the text that stands in the settings file, unless that text may be a secret in the wrong place. It
never shows the contents of another file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from difflib import get_close_matches
from typing import Any, cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gatepost.settings.forms import Place, describe_key, find_table

_LONGEST_SHOWN = 300
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_MAY_BE_SECRET = re.compile(r"-----BEGIN|:.*@", re.ASCII)  # a key itself instead of its path; user:password@host
_NAME_A_SECRET = ("_password_file", "_secret_file")  # where the secret itself may stand by mistake
_TOML_INTEGER_BITS = 64  # what TOML promises; Python reads more, and will not write the longest in decimal
_WORD_ERRORS = ("enum", "value_error")  # of values that are words: anything but a text has the wrong type
_TYPES: Mapping[type, str] = {
    str: "the text ",
    int: "the whole number ",
    float: "the number ",
    bool: "the boolean ",
}
_UNSHOWN: Mapping[type, str] = {dict: "a table", datetime: "a date and time", date: "a date", time: "a time"}


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: the dotted key (or the file), what was found there, what was expected."""

    key: str
    found: str
    expected: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.key}: found {self.found}, expected {self.expected}"


@dataclass(frozen=True, slots=True)
class UnknownKey(Problem):
    """A key that nobody reads. `expected` holds the name that was probably meant, or every name that could be."""

    def __str__(self) -> str:
        """One line."""
        return f"{self.key}: unknown key, {self.expected}"


class SettingsError(Exception):
    """The settings file cannot be used; `problems` are all the reasons."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        """At least one problem."""
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


def problems_of(error: ValidationError, raw: object) -> list[Problem]:
    """Pydantic's findings about the parsed file `raw`, in the words of the settings file."""
    details = error.errors(include_url=False, include_input=False)
    return [_translate(detail, raw) for detail in details if not _is_echo(detail, raw)]


def write_key(place: Place) -> str:
    """Write a place as the dotted key that the operator knows: ("listeners", 0, "tls") is "listeners[0].tls"."""
    key = ""
    for step in place:
        if isinstance(step, int):
            key += f"[{step}]"
        else:
            key += ("." if key else "") + (step if _BARE_KEY.fullmatch(step) else quote(step))
    return key


def quote(text: str) -> str:
    """Quote a text on one line, shortened, without control characters; withhold it if it may be a secret."""
    if _MAY_BE_SECRET.search(text):
        return "a text that is not shown, for it may be a secret"
    shown = text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "..."
    return json.dumps(shown, ensure_ascii=not shown.isprintable())


def _is_echo(detail: ErrorDetails, raw: object) -> bool:
    """Tell whether a list is only called too short because its items are bad, which is reported for each item."""
    return detail["type"] == "too_short" and _value_at(detail["loc"], raw) != []


def _translate(detail: ErrorDetails, raw: object) -> Problem:
    place = detail["loc"]
    key = write_key(place)
    if detail["type"] == "extra_forbidden":
        return UnknownKey(key, "an unknown key", _suggest(str(place[-1]), find_table(place[:-1]).model_fields))
    if detail["type"] == "missing":
        return Problem(key, "nothing", describe_key(place))
    own_words = detail["type"] == "value_error"
    expected = str(detail["ctx"]["error"]) if own_words else describe_key(place)
    value = _value_at(place, raw)
    if isinstance(value, int | float) and key.endswith(_NAME_A_SECRET):
        return Problem(key, "a value that is not shown, for it may be a secret", expected)
    return Problem(key, _show(value, detail["type"]), expected)


def _suggest(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name.lower(), known, n=1)
    return f'did you mean "{near[0]}"?' if near else "the keys here are " + ", ".join(known)


def _value_at(place: Place, raw: object) -> object:
    for step in place:
        raw = cast("Any", raw)[step]
    return raw


def _show(value: object, error: str) -> str:
    """Show a value as the file has it; with its type in front when the type is what is wrong."""
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if type(value) in _UNSHOWN:
        return _UNSHOWN[type(value)]
    if isinstance(value, int) and value.bit_length() > _TOML_INTEGER_BITS:
        return "a whole number of more than 64 bits"
    wrong_type = error.endswith("_type") or (error in _WORD_ERRORS and not isinstance(value, str))
    return (_TYPES[type(value)] if wrong_type else "") + _show_scalar(value)


def _show_scalar(value: object) -> str:
    if isinstance(value, str):
        kept, query, _ = value.partition("?")  # a URL's query may hold a key
        return quote(f"{kept}?..." if query else kept)
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)
