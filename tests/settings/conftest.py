"""The folder that settings files are tried in."""

from pathlib import Path

import pytest

from settings_folder import Folder, fill


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    fill(tmp_path)
    return Folder(tmp_path)
