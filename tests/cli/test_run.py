"""`gatepost run` and its users file: what is said when it cannot start, and when what was learned is written."""

from __future__ import annotations

import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from typer.testing import CliRunner

from gatepost import app
from gatepost.app import parts
from gatepost.backends import userfile
from gatepost.backends.desk import Desk, staffed
from gatepost.backends.roster import User
from gatepost.backends.users import Users
from gatepost.cli.main import program
from gatepost.net.listeners import listen as net_listen
from gatepost.sasl.questions import CheckPassword, UpstreamLogin
from gatepost.sasl.secret import Secret
from gatepost.settings import Address, Settings
from settings_folder import MINIMAL, Folder, fill
from users_made import PASSWORD, hashed, write

PATIENCE = 20.0
FREE = MINIMAL.replace(":5587", ":0").replace(":5465", ":0").replace(":9587", ":0")
LEARNING = (
    FREE.replace("[upstream]", '[upstream]\nrepresent = "secret"').replace("[tls]", "[tls]\nwatch_seconds = 3600")
    + '[users]\nfile = "users.toml"\nverify_passwords = true\nlearn = true\n'
)


@pytest.fixture(autouse=True)
def closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Sockets that a process would take with it."""

    def listen(address: Address, *, dual: bool) -> socket.socket:
        sockets.append(net_listen(address, dual=dual))
        return sockets[-1]

    sockets: list[socket.socket] = []
    monkeypatch.setattr(parts, "listen", listen)
    yield
    for one in sockets:
        one.close()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    fill(tmp_path)
    write(tmp_path / "users.toml", alice=hashed())
    return Folder(tmp_path)


def test_what_goes_wrong_when_it_has_begun_is_told_in_its_own_words(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> None:
        raise OSError(2, "No such file or directory")

    monkeypatch.setattr(parts, "staffed", fail)
    file = folder.path / "gatepost.toml"
    file.write_text(FREE)
    result = CliRunner().invoke(program, ["run", "--config", str(file)])
    assert result.exit_code == 69
    assert result.stderr.splitlines()[-1] == (
        "gatepost: a file for tokens cannot be used: [Errno 2] No such file or directory"
    )


class Running:
    """gatepost on a users file, and every edit of it."""

    def __init__(self, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._stores: list[Any] = []
        self._edit = userfile.edit
        self.written = threading.Semaphore(0)
        monkeypatch.setattr(userfile, "edit", self._edited)
        monkeypatch.setattr(parts, "staffed", self._staffed)

    def _edited(self, path: Path, change: userfile.Edit, **_patience: float) -> userfile.Loaded:
        loaded = self._edit(path, change)
        self.written.release()
        return loaded

    @asynccontextmanager
    async def _staffed(self, settings: Settings, store: Users, record: Any) -> AsyncIterator[Desk]:  # noqa: ANN401
        self._stores.append(store)
        async with staffed(settings, store, record) as desk:
            try:
                yield desk
            finally:
                with trio.CancelScope(shield=True):
                    await trio.lowlevel.checkpoint()
                    await self.leave(store)

    async def leave(self, store: Users) -> None:
        """What comes in when the desk is left."""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Users]:
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                await nursery.start(app.serve, self._folder.load(LEARNING))
                yield self._stores[0]
                nursery.cancel_scope.cancel()

    def kept(self) -> User:
        return userfile.load(self._folder.path / "users.toml").roster.users["alice"]


async def test_a_token_is_written_at_once_and_what_was_learned_at_the_end(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = Running(folder, monkeypatch)
    async with running.serving() as users:
        await users.replace_upstream_secret("alice", Secret(b"new"))
        await trio.to_thread.run_sync(running.written.acquire)
        assert running.kept().upstream == UpstreamLogin("", Secret(b"new"))
        assert await users.check_password(CheckPassword("alice", PASSWORD))
        assert running.kept().credentials.scram == {}
    assert len(running.kept().credentials.scram) == 2


async def test_a_token_that_comes_in_when_the_desk_is_left_is_written_as_well(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Late(Running):
        async def leave(self, store: Users) -> None:
            await store.replace_upstream_secret("alice", Secret(b"late"))

    running = Late(folder, monkeypatch)
    async with running.serving():
        pass
    assert running.kept().upstream == UpstreamLogin("", Secret(b"late"))
