"""The users file on disk: who may read it, read whole, and replaced whole.

An edit is read, change, write under a lock on the folder, so that of two edits none is lost. The lock is the folder's
own, and not a file's, because root and the service edit it in turn and neither could open the other's lock file.
Whoever can read the folder can take that lock and keep it, so it is waited for only so long.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from gatepost.backends import userformat
from gatepost.backends.roster import Roster
from gatepost.backends.userformat import Unusable
from gatepost.settings.problems import Problem

NEW_MODE = 0o600
# A group may read: Kubernetes mounts secrets as root's, mode 0440, with the pod's group (fsGroup) as the only way in,
# and a service under systemd reads root's file the same way. Whoever may write could add a user, so nobody else may.
_FORBIDDEN = stat.S_IWGRP | stat.S_IXGRP | stat.S_IRWXO

LOCK_SECONDS = 1.0  # an edit of ten thousand users takes about as long
_LOOK_SECONDS = 0.05
_TEMPORARY = re.compile(r"[a-z0-9_]{8}", re.ASCII)  # what `tempfile` adds to the prefix

Signature = tuple[int, ...]
Edit = Callable[[Roster], Roster]


class Unreadable(Unusable):
    """What is in the file is not known. That may pass without a change of the file."""


class Locked(OSError):
    """Somebody else holds the lock on the folder, and goes on holding it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(errno.EAGAIN, f"somebody holds the lock on {folder}")


@dataclass(frozen=True, slots=True)
class Loaded:
    """What stood in the file, and how to see that another thing does by now."""

    roster: Roster
    signature: Signature | None


def signature(path: Path) -> Signature | None:
    """Enough to see a change, also when a symlink on the way was swapped; None: there is no such file."""
    try:
        return _signature(path.stat())
    except (OSError, ValueError):
        return None


def load(path: Path, *, new: bool = False) -> Loaded:
    """With `new`, there may be no file yet, or an empty one. Raises Unusable."""
    status, text = (None, "") if new and _is_missing(path) else _read(path)
    roster = Roster.empty() if new and not text.strip() else _parse(path, text)
    return Loaded(roster, _signature(status) if status else None)


def edit(path: Path, change: Edit, *, new: bool = False, patience_seconds: float = LOCK_SECONDS) -> Loaded:
    """Replace the file by what `change` makes of it, keeping its mode and its owner. A symlink is followed.

    Raises Unusable, OSError (Locked among them), and what `change` raises; the file is then as it was.
    """
    try:
        real = path.resolve()
    except RuntimeError:  # so Python 3.11 says that symlinks go round in a circle
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from None
    with _locked(real.parent, patience_seconds):
        _remove_leftovers(real)
        after = change(load(path, new=new).roster)
        return Loaded(after, _replace(real, userformat.write(after, as_json=_is_json(path)).encode()))


def _signature(status: os.stat_result) -> Signature:
    """Mode and owner belong to it: a file that others may read or change by now is no longer fit."""
    content = status.st_ino, status.st_mtime_ns, status.st_size
    return (*content, status.st_mode, status.st_uid, status.st_gid)


def _is_json(path: Path) -> bool:
    return path.suffix == ".json"


# --- reading ---------------------------------------------------------------------------------------------------------


def _is_missing(path: Path) -> bool:
    try:
        path.stat()
    except FileNotFoundError:
        return True
    except (OSError, ValueError):  # it may be there
        return False
    return False


def _parse(path: Path, text: str) -> Roster:
    try:
        return userformat.read(text, as_json=_is_json(path))
    except Unusable as error:
        problems = error.problems
    raise Unusable(tuple(_placed(path, problem) for problem in problems))


def _placed(path: Path, problem: Problem) -> Problem:
    return type(problem)(f"{path}: {problem.key}", problem.found, problem.expected)


def _read(path: Path) -> tuple[os.stat_result, str]:
    kind = Unusable
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            status = os.fstat(file.fileno())
            trouble = _distrust(status)
            if not trouble:
                return status, file.read().decode()
    except UnicodeDecodeError:
        trouble = ("octets that are not UTF-8", "a text file")
    except OSError as error:
        kind, trouble = Unreadable, (error.strerror or type(error).__name__, "a file that can be read")
    except ValueError:
        trouble = ("NUL in its name", "a file that can be read")
    raise kind((Problem(str(path), *trouble),))


def _open_at_once(path: str, flags: int) -> int:
    """A pipe with nobody at its other end would be waited for, for ever."""
    return os.open(path, flags | os.O_NONBLOCK)


def _distrust(status: os.stat_result) -> tuple[str, str] | None:
    """What makes a file unfit to hold secrets, and what would be fit."""
    if not stat.S_ISREG(status.st_mode):
        return "something other than a file", "a file"
    mode = stat.S_IMODE(status.st_mode)
    if mode & _FORBIDDEN:
        return f"mode {mode:04o}, so that others can read or change it", "mode 0600, or at most 0640"
    if status.st_uid not in (0, os.geteuid()) and os.geteuid() != 0:
        return f"the owner {status.st_uid}, who could change it", f"the owner {os.geteuid()}, or root"
    return None


# --- writing ---------------------------------------------------------------------------------------------------------


@contextmanager
def _locked(folder: Path, patience_seconds: float) -> Iterator[None]:
    """Raises Locked."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        late = monotonic() + patience_seconds
        while not _lock(descriptor):
            if monotonic() >= late:
                raise Locked(folder)
            sleep(_LOOK_SECONDS)
        yield
    finally:
        os.close(descriptor)  # and with it the lock


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove_leftovers(path: Path) -> None:
    """What a crash left in the middle of `_replace` holds every secret. Under the lock, so nobody is at work on it."""
    prefix = f".{path.name}."
    for entry in path.parent.iterdir():
        if entry.name.startswith(prefix) and _TEMPORARY.fullmatch(entry.name.removeprefix(prefix)):
            with suppress(OSError):
                entry.unlink()


def _replace(path: Path, content: bytes) -> Signature:
    """Either the whole content stands there afterwards, also after a power cut, or what stood there before."""
    before = path.stat() if path.exists() else None
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            _set_access(file.fileno(), before)
            os.fsync(file.fileno())
            written = _signature(os.fstat(file.fileno()))
        Path(temporary).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(temporary).unlink()
        raise
    _sync_folder(path.parent)
    return written


def _set_access(descriptor: int, before: os.stat_result | None) -> None:
    """As it was; the owner first, for a change of it may clear bits of the mode."""
    if before is None:
        os.fchmod(descriptor, NEW_MODE)
        return
    status = os.fstat(descriptor)
    if (status.st_uid, status.st_gid) != (before.st_uid, before.st_gid):
        os.fchown(descriptor, before.st_uid, before.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(before.st_mode))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
