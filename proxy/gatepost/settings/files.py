"""Whether the files that the settings name can be read. Says what is wrong with a file, never what is in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gatepost.settings.problems import Problem, quote

ONE_LINE = "a password on one line, and nothing else"
_LONGEST_SECRET_BYTES = 65_536  # so that a disk image named by mistake is not taken for a password


def read_file(key: str, path: Path) -> bytes | Problem:
    """Read the file that `key` names."""
    shown = quote(str(path))
    expected = "a file that can be read"
    try:
        if path.exists() and not path.is_file():  # a device or a pipe may never end
            return Problem(key, f"{shown}, which is not a file", expected)
        return path.read_bytes()
    except OSError as error:
        return Problem(key, f"{shown}, which cannot be read ({error.strerror or type(error).__name__})", expected)
    except ValueError:  # NUL in a path
        return Problem(key, f"{shown}, which no file can be called", expected)


Look = tuple[int, int, int]


def look_at(path: Path) -> Look | None:
    """Enough to see a change of a file, also when a symlink on the way was swapped; None: it cannot be looked at."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def check_readable(key: str, path: Path) -> Iterator[Problem]:
    """Find what keeps a file from being read."""
    content = read_file(key, path)
    if isinstance(content, Problem):
        yield content


def check_secret(key: str, path: Path) -> Iterator[Problem]:
    """Find what is wrong with a file that holds one password."""
    content = read_file(key, path)
    if isinstance(content, Problem):
        # Who writes the password where its path belongs finds no file, and must not find it in a log.
        yield content if _exists(path) else Problem(key, "a path that names no file", "a file that can be read")
        return
    trouble = judge_secret(strip_newline(content))
    if trouble:
        yield Problem(key, f"{trouble} in {quote(str(path))}", ONE_LINE)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long for a name, or NUL in it
        return False


def strip_newline(content: bytes) -> bytes:
    """Take the one newline away that editors put at the end of a password's file. Spaces may belong to it."""
    return content.removesuffix(b"\n").removesuffix(b"\r")


def judge_secret(secret: bytes) -> str:
    """Say what is wrong with what a password's file holds; nothing when it is good."""
    if not secret:
        return "nothing"
    if len(secret) > _LONGEST_SECRET_BYTES:
        return f"more than {_LONGEST_SECRET_BYTES} octets"
    if b"\n" in secret or b"\r" in secret:
        return "several lines"
    if b"\0" in secret:  # no mechanism can carry one (RFC 4616 section 2)
        return "NUL"
    try:
        secret.decode()
    except UnicodeDecodeError:
        return "octets that are not UTF-8"
    return ""
