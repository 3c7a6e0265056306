"""Reading the settings file: TOML to models, every problem at once."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gatepost.settings.consistency import check_together
from gatepost.settings.models import Settings
from gatepost.settings.problems import Problem, SettingsError, problems_of

_TOML_PLACE = re.compile(r"^(.*) \(at (?:line (\d+), column (\d+)|end of document)\)$", re.DOTALL)


def load(path: Path) -> Settings:
    """Read this file and check it and the files that it names; raises SettingsError with every problem."""
    folder = path.absolute().parent
    raw = _parse(path)
    problems = list(check_together(raw, folder))
    try:
        settings = Settings.model_validate(raw, context={"folder": folder})
    except ValidationError as error:
        # From None: pydantic's own text shows the values it was given.
        raise SettingsError((*problems_of(error, raw), *problems)) from None
    if problems:
        raise SettingsError(tuple(problems))
    return settings


def _parse(path: Path) -> dict[str, Any]:
    text = _read(path)
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError also for a number of thousands of digits
        raise SettingsError((_toml_problem(path, text, error),)) from None


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        found = f"an octet that is not UTF-8 at offset {error.start}"
    except OSError as error:
        found = error.strerror or type(error).__name__
    except ValueError:
        found = "NUL in its name"
    raise SettingsError((Problem(str(path), found, "a TOML file that can be read"),))


def _toml_problem(path: Path, text: str, error: Exception) -> Problem:
    if isinstance(error, RecursionError):
        return Problem(str(path), "lists or tables nested too deeply", "TOML")
    place = _TOML_PLACE.match(str(error))
    if place is None:
        return Problem(str(path), "a number that is too long", "TOML")
    line, column = place[2], place[3]
    if line is None:
        last = text.rsplit("\n", 1)[-1]
        line, column = str(text.count("\n") + 1), str(len(last) + 1)
    return Problem(f"{path}, line {line}, column {column}", _lower_first(place[1]), "TOML")


def _lower_first(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]
