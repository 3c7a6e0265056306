"""The folder that settings files are tried in."""

from pathlib import Path

import pytest

from settings_folder import Folder, fill


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    fill(tmp_path)
    (tmp_path / "users.toml").write_text("")
    (tmp_path / "keys.json").write_text("{}")
    (tmp_path / "secret").write_text("hunter2\n")
    return Folder(tmp_path)
