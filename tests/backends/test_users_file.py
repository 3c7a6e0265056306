"""The users file on disk: whom it may belong to, what an edit keeps, and that none is lost."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gatepost.backends import userfile, userformat
from gatepost.backends.roster import Roster, User
from gatepost.backends.userformat import Unusable
from users_made import KEY, everything, hashed, write

ROOT = os.geteuid() == 0


@pytest.fixture(params=["users.toml", "users.json"])
def file(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    return write(tmp_path / request.param, alice=hashed(), bob=everything())


def adding(name: str) -> userfile.Edit:
    return lambda roster: roster.including(name, User())


def complaint(path: Path) -> str:
    with pytest.raises(Unusable) as caught:
        userfile.load(path)
    assert caught.value.__context__ is None
    return str(caught.value).replace(str(path), "FILE")


def folder_of(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.parent.iterdir())


def test_an_edit_keeps_everyone_else(file: Path) -> None:
    before = userfile.load(file).roster
    userfile.edit(file, adding("carol"))
    after = userfile.load(file).roster
    assert after.users == {**before.users, "carol": User()}
    assert after.salt_key == KEY
    assert folder_of(file) == [file.name]


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o440])
def test_an_edit_keeps_the_mode(file: Path, mode: int) -> None:
    file.chmod(mode)
    userfile.edit(file, adding("carol"))
    assert stat.S_IMODE(file.stat().st_mode) == mode


@pytest.mark.skipif(not ROOT, reason="needs root")
def test_an_edit_by_root_keeps_the_owner(file: Path) -> None:
    os.chown(file, 12345, 54321)
    userfile.edit(file, adding("carol"))
    assert (file.stat().st_uid, file.stat().st_gid) == (12345, 54321)
    assert "carol" in userfile.load(file).roster.users


def test_a_new_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "users.toml"
    before = os.umask(0)
    try:
        userfile.edit(file, adding("carol"), new=True)
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_each_new_file_has_a_key_of_its_own(tmp_path: Path) -> None:
    keys = [userfile.edit(tmp_path / name, adding("a"), new=True).roster.salt_key for name in ("a.toml", "b.toml")]
    assert keys[0] != keys[1]
    assert len(keys[0].reveal()) == 32
    assert userfile.load(tmp_path / "a.toml").roster.salt_key == keys[0]


@pytest.mark.parametrize("content", ["", "\n"])
def test_an_empty_file_that_an_operator_made_is_as_good_as_new(tmp_path: Path, content: str) -> None:
    file = tmp_path / "users.toml"
    file.write_text(content)
    file.chmod(0o640)
    userfile.edit(file, adding("carol"), new=True)
    assert list(userfile.load(file).roster.users) == ["carol"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_without_new_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="No such file or directory"):
        userfile.edit(tmp_path / "users.toml", adding("carol"))


def test_a_symlink_stays_one(tmp_path: Path, file: Path) -> None:
    link = tmp_path / f"link{file.suffix}"
    link.symlink_to(file)
    userfile.edit(link, adding("carol"))
    assert link.is_symlink()
    assert "carol" in userfile.load(file).roster.users


def test_what_the_change_raises_leaves_everything_as_it_was(file: Path) -> None:
    content, signature = file.read_bytes(), userfile.signature(file)

    def failing(_roster: Roster) -> Roster:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        userfile.edit(file, failing)
    assert (file.read_bytes(), userfile.signature(file), folder_of(file)) == (content, signature, [file.name])


def test_a_disk_that_is_full_leaves_everything_as_it_was(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = file.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        userfile.edit(file, adding("carol"))
    assert (file.read_bytes(), folder_of(file)) == (content, [file.name])


def test_a_lock_is_given_back_after_a_failure(file: Path) -> None:
    def failing(_roster: Roster) -> Roster:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        userfile.edit(file, failing)
    assert "carol" in userfile.edit(file, adding("carol")).roster.users


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """By somebody else, who can read the folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


class Clock:
    """Passes by being waited for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.waits = 0
        monkeypatch.setattr(userfile, "monotonic", lambda: self.now)
        monkeypatch.setattr(userfile, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.waits += 1


def test_a_lock_that_somebody_keeps_is_waited_for_a_second(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, content = Clock(monkeypatch), file.read_bytes()
    with locked(file.parent), pytest.raises(userfile.Locked) as caught:
        userfile.edit(file, adding("carol"))
    assert 1 <= clock.now - 1000 < 1.1
    assert caught.value.strerror == f"somebody holds the lock on {file.parent}"
    assert (file.read_bytes(), folder_of(file)) == (content, [file.name])


def test_how_long_a_lock_is_waited_for_can_be_said(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    with locked(file.parent), pytest.raises(userfile.Locked):
        userfile.edit(file, adding("carol"), patience_seconds=60)
    assert 60 <= clock.now - 1000 < 60.5


def test_a_lock_that_is_given_back_in_time_is_taken(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    with locked(file.parent) as descriptor:

        def sleep(seconds: float) -> None:
            clock.sleep(seconds)
            if clock.waits == 3:
                fcntl.flock(descriptor, fcntl.LOCK_UN)

        monkeypatch.setattr(userfile, "sleep", sleep)
        assert "carol" in userfile.edit(file, adding("carol")).roster.users
    assert clock.waits == 3


def test_to_read_the_file_needs_no_lock(file: Path) -> None:
    with locked(file.parent):
        assert list(userfile.load(file).roster.users) == ["alice", "bob"]


def test_what_a_crash_left_is_removed_by_the_next_edit(file: Path) -> None:
    kept = [f".{file.name}.swp", f".{file.name}.abcdefgh.bak", f"{file.name}.abcdefgh", f".{file.name}.ABCDEFGH"]
    for name in (*kept, f".{file.name}.x_1efgh2"):
        (file.parent / name).write_text("every secret")
    userfile.edit(file, adding("carol"))
    assert folder_of(file) == sorted((*kept, file.name))


def test_what_a_crash_left_is_there_still_if_the_lock_is_not(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be what the one who holds it is writing."""
    Clock(monkeypatch)
    (file.parent / f".{file.name}.abcdefgh").write_text("every secret")
    with locked(file.parent), pytest.raises(userfile.Locked):
        userfile.edit(file, adding("carol"))
    assert len(folder_of(file)) == 2


def test_the_temporary_file_of_an_edit_is_one_that_the_next_would_remove(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(_descriptor: int) -> None:
        (left,) = set(folder_of(file)) - {file.name}
        (file.parent / "copy").write_bytes((file.parent / left).read_bytes())
        names.append(left)
        raise OSError(28, "No space left on device")

    names: list[str] = []
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", crash)
        with pytest.raises(OSError, match="No space"):
            userfile.edit(file, adding("carol"))
    (file.parent / "copy").rename(file.parent / names[0])
    userfile.edit(file, adding("carol"))
    assert folder_of(file) == [file.name]


def add_ten(path: Path, who: str) -> None:
    for number in range(10):
        userfile.edit(path, adding(f"{who}{number}"))


def test_of_edits_at_the_same_time_none_is_lost(file: Path) -> None:
    spawn = multiprocessing.get_context("fork")
    editors = [spawn.Process(target=add_ten, args=(file, who)) for who in "xyz"]
    for editor in editors:
        editor.start()
    for editor in editors:
        editor.join()
    users = set(userfile.load(file).roster.users)
    assert users == {"alice", "bob"} | {f"{who}{number}" for who in "xyz" for number in range(10)}


def test_the_signature_of_an_edit_is_that_of_the_file(file: Path) -> None:
    assert userfile.edit(file, adding("carol")).signature == userfile.signature(file) != None  # noqa: E711
    assert userfile.load(file).signature == userfile.signature(file)


@pytest.mark.parametrize(
    ("mode", "owner"),
    [
        (0o644, None),
        (None, (12345, -1)),
        (None, (-1, 54321)),
    ],
)
def test_mode_and_owner_belong_to_the_signature(file: Path, mode: int | None, owner: tuple[int, int] | None) -> None:
    if owner and not ROOT:
        pytest.skip("needs root")
    before = userfile.signature(file)
    if mode:
        file.chmod(mode)
    if owner:
        os.chown(file, *owner)
    assert userfile.signature(file) != before


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o601, 0o620, 0o660, 0o644, 0o610])
def test_a_file_that_others_can_read_or_a_group_can_change_is_refused(file: Path, mode: int) -> None:
    file.chmod(mode)
    assert complaint(file) == (
        f"FILE: found mode {mode:04o}, so that others can read or change it, expected mode 0600, or at most 0640"
    )
    with pytest.raises(Unusable):
        userfile.edit(file, adding("carol"))


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o440])
def test_a_file_of_its_owner_and_a_group_that_may_read_is_good(file: Path, mode: int) -> None:
    file.chmod(mode)
    assert list(userfile.load(file).roster.users) == ["alice", "bob"]


def test_a_file_of_somebody_else_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    me, owner = 4711, 4712
    file_status = os.stat_result((0o100600, 1, 1, 1, owner, 0, 0, 0, 0, 0))
    monkeypatch.setattr(os, "geteuid", lambda: me)
    monkeypatch.setattr(os, "fstat", lambda _descriptor: file_status)
    assert complaint(file) == "FILE: found the owner 4712, who could change it, expected the owner 4711, or root"
    owner = 0
    file_status = os.stat_result((0o100400, 1, 1, 1, owner, 0, 0, 0, 0, 0))
    assert list(userfile.load(file).roster.users) == ["alice", "bob"]


def test_what_is_no_file_or_no_text_is_refused(tmp_path: Path) -> None:
    pipe, octets = tmp_path / "pipe", tmp_path / "octets"
    os.mkfifo(pipe, 0o600)
    octets.write_bytes(b"\xffhunter2")
    octets.chmod(0o600)
    assert complaint(tmp_path / "none") == "FILE: found No such file or directory, expected a file that can be read"
    assert complaint(tmp_path / "\0") == "FILE: found NUL in its name, expected a file that can be read"
    assert complaint(tmp_path) == "FILE: found Is a directory, expected a file that can be read"
    assert complaint(pipe) == "FILE: found something other than a file, expected a file"
    assert complaint(octets) == "FILE: found octets that are not UTF-8, expected a text file"


@pytest.mark.parametrize("new", [False, True])
def test_a_file_that_cannot_be_looked_at_is_not_a_new_one(tmp_path: Path, *, new: bool) -> None:
    (tmp_path / "plain").write_text("")
    with pytest.raises(userfile.Unreadable, match="found Not a directory, expected a file that can be read"):
        userfile.load(tmp_path / "plain" / "users.toml", new=new)


def test_a_mistake_in_it_is_told_with_the_file(tmp_path: Path) -> None:
    file = tmp_path / "users.toml"
    file.write_text('salt_key = "hunter2"\nusers = 7\n')
    file.chmod(0o600)
    assert complaint(file).splitlines() == [
        f"FILE: salt_key: found a text that is not shown, expected {userformat.SALT_KEY_FORM}",
        "FILE: users: found something other than a text, expected a table",
    ]
