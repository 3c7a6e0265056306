"""Sizes that keep the program readable, and nothing in the repository that only one machine knows."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = REPOSITORY / "proxy" / "gatepost"

MODULE_LINES = 400
FUNCTION_LINES = 40
SMALLER_MODULES = {"net/conversation.py": 199}  # the loop that performs the actions decides nothing

NOT_OURS = {".git", ".venv", "__pycache__", "build", "dist", "node_modules"}
MACHINE_PATHS = (b"/work" + b"/", b"/tmp/bash" + b"_jobs")  # in two pieces, so that this file does not hold them


def modules() -> Iterator[tuple[str, str]]:
    """Each module's path inside the package and its text."""
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).as_posix(), path.read_text(encoding="utf-8")


def functions(source: str) -> Iterator[tuple[str, int]]:
    """Each function's name and its lines, from `def` to its end."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def repository_files() -> Iterator[Path]:
    for folder, subfolders, names in os.walk(REPOSITORY):
        ignored = {name for name in subfolders if name in NOT_OURS or name.endswith("_cache") or name == ".hypothesis"}
        subfolders[:] = sorted(set(subfolders) - ignored)
        yield from (Path(folder, name) for name in sorted(names))


def test_modules_are_short() -> None:
    lines = {name: len(source.splitlines()) for name, source in modules()}
    assert len(lines) > 1
    assert {name: n for name, n in lines.items() if n > SMALLER_MODULES.get(name, MODULE_LINES)} == {}


def test_functions_are_short() -> None:
    lines = [(name, function, n) for name, source in modules() for function, n in functions(source)]
    assert len(lines) > 1
    assert [long for long in lines if long[2] > FUNCTION_LINES] == []


def test_no_file_names_a_path_of_one_machine() -> None:
    files = {path.relative_to(REPOSITORY).as_posix(): path.read_bytes() for path in repository_files()}
    assert "pyproject.toml" in files
    assert [name for name, content in files.items() if any(path in content for path in MACHINE_PATHS)] == []
