"""The programs that tests talk to: where they are, and which Debian package has them."""

from __future__ import annotations

import os
import shutil

import pytest

_SYSTEM = "/usr/local/sbin:/usr/sbin:/sbin"  # servers live here, and it is rarely on a user's PATH


def require(program: str, *, package: str) -> str:
    """The path of `program`; skips the test when it is missing, naming the Debian package that has it."""
    path = shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM}")
    if path is None:
        pytest.skip(f"{program} is missing: install the Debian package {package}, or all of them with ./test --install")
    return path
