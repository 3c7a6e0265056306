"""What a service manager is told, and what it passes: real datagrams, and real descriptors from 3 on."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import trio
import trio.testing

from gatepost.net.systemd import Notifier, activated, keep_watched, watchdog_seconds

ACTIVATING = str(Path(__file__).parents[1] / "e2e" / "activating.py")
TAKE = """\
import json, os, socket
from gatepost.net.systemd import activated
try:
    taken = activated()
except ValueError as error:
    print(json.dumps(str(error)))
else:
    print(json.dumps({
        "sockets": {name: [one.getsockname()[:2] for one in sockets] for name, sockets in taken.items()},
        "ways": [
            [one.fileno(), one.getblocking(), one.get_inheritable(),
             one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) > 0,
             one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) > 0]
            for sockets in taken.values() for one in sockets
        ],
        "left": [name for name in os.environ if name.startswith("LISTEN_")],
        "again": len(activated()),
    }))
"""


class Manager:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening

    def heard(self) -> list[str]:
        """Everything so far."""
        messages = []
        while True:
            try:
                messages.append(self._listening.recv(4096).decode())
            except BlockingIOError:
                return messages


def manager_at(address: str) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listening.settimeout(0)
    listening.bind(address)
    return listening


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    path = str(tmp_path / "notify")
    with manager_at(path if request.param == "path" else "\0" + path) as listening:
        monkeypatch.setenv("NOTIFY_SOCKET", path if request.param == "path" else "@" + path)
        yield Manager(listening)


@pytest.fixture
def notifier(manager: Manager) -> Iterator[Notifier]:
    with closing(Notifier()) as notifier:
        yield notifier


def test_the_manager_is_told_everything_in_order(manager: Manager, notifier: Notifier) -> None:
    notifier.ready("serving")
    notifier.watchdog()
    notifier.status("busy")
    notifier.stopping()
    assert manager.heard() == ["READY=1\nSTATUS=serving", "WATCHDOG=1", "STATUS=busy", "STOPPING=1\nSTATUS=draining"]


def test_a_reload_is_told_with_the_time_of_the_clock_that_the_manager_reads(
    manager: Manager, notifier: Notifier
) -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.reloading()
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    (message,) = manager.heard()
    state, told = message.split("\n")
    key, _, value = told.partition("=")
    assert (state, key) == ("RELOADING=1", "MONOTONIC_USEC")
    assert before <= int(value) <= after


def test_a_status_of_several_lines_assigns_nothing_else(manager: Manager, notifier: Notifier) -> None:
    notifier.status("one\nMAINPID=1\r\n two")
    assert manager.heard() == ["STATUS=one MAINPID=1 two"]


def test_a_manager_that_does_not_listen_is_not_waited_for(manager: Manager, notifier: Notifier) -> None:
    for number in range(10_000):
        notifier.status(str(number))
    heard = manager.heard()
    assert 0 < len(heard) < 10_000
    assert heard == [f"STATUS={number}" for number in range(len(heard))]


def test_a_manager_that_is_away_hears_what_comes_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    with closing(Notifier()) as notifier:
        notifier.ready("serving")
        with manager_at(path) as listening:
            notifier.watchdog()
            assert Manager(listening).heard() == ["WATCHDOG=1"]


@pytest.mark.parametrize("address", ["", "vsock:2:1234", "x" * 200, "@" + "x" * 200])
def test_nobody_is_told_without_an_address_that_somebody_can_have(
    address: str, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with closing(Notifier()) as notifier:
        notifier.ready("serving")
        notifier.stopping()
    assert manager.heard() == []


@pytest.mark.parametrize(
    ("microseconds", "pid", "seconds"),
    [
        ("30000000", None, 30.0),
        ("500000", str(os.getpid()), 0.5),
        ("30000000", "1", None),
        ("0", None, None),
        ("soon", None, None),
        (None, None, None),
    ],
)
def test_the_watchdog_waits_for_this_process_alone(
    microseconds: str | None, pid: str | None, seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("WATCHDOG_USEC", microseconds), ("WATCHDOG_PID", pid)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert watchdog_seconds() == seconds


async def test_the_watchdog_is_fed_twice_in_its_time(
    manager: Manager, notifier: Notifier, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    with trio.move_on_after(59):
        await keep_watched(notifier)
    assert manager.heard() == ["WATCHDOG=1"] * 4  # at 0, 15, 30 and 45


async def test_a_watchdog_that_nobody_keeps_is_not_fed(
    manager: Manager, notifier: Notifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    await keep_watched(notifier)
    assert manager.heard() == []


def test_sockets_for_another_process_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("LISTEN_PID", "1"), ("LISTEN_FDS", "1"), ("LISTEN_FDNAMES", "submission")):
        monkeypatch.setenv(name, value)
    assert activated() == {}
    assert not [name for name in os.environ if name.startswith("LISTEN_")]


@pytest.mark.parametrize(
    ("number", "names", "complaint"),
    [("many", "", "LISTEN_FDS is no number"), ("2", "a", "LISTEN_FDNAMES names 1 sockets, and LISTEN_FDS says 2")],
)
def test_variables_that_contradict_each_other_are_refused(
    number: str, names: str, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("LISTEN_PID", str(os.getpid())), ("LISTEN_FDS", number), ("LISTEN_FDNAMES", names)):
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=complaint):
        activated()


def taken(*passed: tuple[str, socket.socket]) -> object:
    """What `activated` makes, in a process of its own, of these sockets."""
    arguments = [f"{name}={given.fileno()}" for name, given in passed]
    command = [sys.executable, ACTIVATING, *arguments, "--", "-c", TAKE]
    result = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, pass_fds=[given.fileno() for _, given in passed]
    )
    return json.loads(result.stdout)


def test_sockets_are_taken_by_their_names() -> None:
    with ExitStack() as stack:
        one, two = (stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2))
        six = stack.enter_context(socket.create_server(("::1", 0), family=socket.AF_INET6))
        assert taken(("submission", one), ("observe", two), ("submission", six)) == {
            "sockets": {
                "submission": [list(one.getsockname()), list(six.getsockname()[:2])],
                "observe": [list(two.getsockname())],
            },
            "ways": [[3, False, False, True, True], [5, False, False, True, True], [4, False, False, True, True]],
            "left": [],
            "again": 0,
        }


@pytest.mark.parametrize(
    ("family", "kind"),
    [
        (socket.AF_INET, socket.SOCK_STREAM),  # and nobody called listen
        (socket.AF_INET, socket.SOCK_DGRAM),
        (socket.AF_UNIX, socket.SOCK_DGRAM),
    ],
)
def test_a_socket_that_takes_no_connections_is_refused(family: socket.AddressFamily, kind: socket.SocketKind) -> None:
    with socket.socket(family, kind) as wrong:
        assert taken(("submission", wrong)) == (
            "the socket passed for 'submission' does not listen for TCP connections"
        )


def test_a_listening_socket_whose_clients_have_no_address_is_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as local:
        local.bind(str(tmp_path / "local"))
        local.listen()
        assert taken(("submission", local)) == "the socket passed for 'submission' does not listen for TCP connections"


def test_a_file_is_no_socket() -> None:
    with Path(os.devnull).open() as file:
        command = [sys.executable, ACTIVATING, f"submission={file.fileno()}", "--", "-c", TAKE]
        result = subprocess.run(command, check=True, stdout=subprocess.PIPE, pass_fds=[file.fileno()])
    assert json.loads(result.stdout) == "what was passed for 'submission' is no socket"
