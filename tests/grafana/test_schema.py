"""The dashboards have the types of @grafana/schema, which are Grafana's own, by TypeScript's compiler."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from peers import require

DASHBOARDS = Path(__file__).parents[2] / "grafana" / "dashboards"
SCHEMA = Path(__file__).parent / "schema"
COMPILER = SCHEMA / "node_modules" / "typescript" / "bin" / "tsc"
DECLARED = 'import type { Board } from "./board";\n\nexport const board: Board = '

# What may go wrong in a dashboard, by a name: what stands there, and what it becomes.
MISTAKES = {
    "unknown_key_of_a_panel": ('"gridPos": {', '"gridPosition": {'),
    "unknown_key_of_a_query": ('"expr": ', '"expression": '),
    "unknown_option_of_a_bargauge": ('"showUnfilled": ', '"showUnfiled": '),
    "unknown_custom_key_of_a_timeseries": ('"fillOpacity": ', '"filOpacity": '),
    "unknown_kind_of_panel": ('"type": "bargauge"', '"type": "gaugebar"'),
    "unknown_mode_of_a_colour": ('"mode": "fixed"', '"mode": "painted"'),
    "unknown_cell_of_a_table": ('"type": "color-text"', '"type": "color-txt"'),
    "unknown_property_of_an_override": ('"id": "custom.cellOptions"', '"id": "custom.cells"'),
    "unknown_word_of_a_transformation": ('"emptyValue": "zero"', '"emptyValue": "nil"'),
    "number_for_a_unit": ('"unit": "none"', '"unit": 3'),
    "number_beyond_an_enum": ('"graphTooltip": 1', '"graphTooltip": 7'),
    "missing_key": ('"frameIndex": 0,', ""),
}


def compiled(folder: Path, boards: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """What the compiler says of these boards, in JSON by their names. It emits nothing."""
    node = require("node", package="nodejs")
    if not COMPILER.exists():
        pytest.skip(
            "TypeScript's compiler is missing: ./test --install has npm install it, which the Debian package npm brings"
        )
    for file in ("board.ts", "tsconfig.json"):
        shutil.copy(SCHEMA / file, folder)
    (folder / "node_modules").symlink_to(SCHEMA / "node_modules")
    for name, text in boards.items():
        (folder / f"{name}.ts").write_text(f"{DECLARED}{text.rstrip()};\n")
    command = [node, str(COMPILER), "--project", str(folder), "--pretty", "false"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_every_dashboard_has_grafanas_types(tmp_path: Path) -> None:
    boards = {file.stem: file.read_text() for file in DASHBOARDS.glob("*.json")}
    assert boards
    done = compiled(tmp_path, boards)
    assert (done.returncode, done.stdout) == (0, "")


def test_a_wrong_key_word_or_type_is_found(tmp_path: Path) -> None:
    good = (DASHBOARDS / "authentication.json").read_text()
    for old, _ in MISTAKES.values():
        assert old in good, old
    done = compiled(tmp_path, {name: good.replace(old, new, 1) for name, (old, new) in MISTAKES.items()})
    assert set(re.findall(r"^(\w+)\.ts\(\d+,\d+\): error TS", done.stdout, re.MULTILINE)) == set(MISTAKES)
