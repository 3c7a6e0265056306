"""What stands in those files of the settings that backends read: the users, and the provider's keys.

The settings cannot look into them, for they are below the backends. A mistake there is one of the settings all the
same: starting again does not help.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gatepost.backends import userfile
from gatepost.backends.asking import NoAnswer
from gatepost.backends.keys import read_document, read_keys
from gatepost.backends.userformat import Unusable
from gatepost.settings import Problem, Settings, SettingsError
from gatepost.settings.problems import quote


def check_contents(settings: Settings) -> None:
    """Raises SettingsError with every problem."""
    problems = tuple(_find_problems(settings))
    if problems:
        raise SettingsError(problems)


def _find_problems(settings: Settings) -> Iterator[Problem]:
    if settings.users is not None:
        yield from _find_in_users(settings.users.file)
    tokens = settings.tokens
    if tokens is not None and tokens.jwks_file is not None:
        yield from _find_in_keys(tokens.jwks_file, tokens.algorithms)


def _find_in_users(file: Path) -> Iterator[Problem]:
    try:
        userfile.load(file)
    except Unusable as error:
        for problem in error.problems:
            yield type(problem)(f"users.file: {problem.key}", problem.found, problem.expected)


def _find_in_keys(file: Path, algorithms: tuple[str, ...]) -> Iterator[Problem]:
    try:
        document = read_document(file)
        if document is not None:
            read_keys(document, algorithms)
            return
        found = "no JSON object"
    except OSError as error:
        found = error.strerror or type(error).__name__
    except NoAnswer:
        found = "no key of use"
    expected = f"a set of keys (RFC 7517), with one for {' or '.join(algorithms)}"
    yield Problem("tokens.jwks_file", f"{found} in {quote(str(file))}", expected)
